//! Who may do what is read from the bucket, believed for a moment, and changed by those who may and nobody else.

#![expect(clippy::unwrap_used, reason = "where a fixture fails, the test fails")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use opentaco_control::access::{Access, AccessError, Change};
use opentaco_control::{ControlError, Door, StateControl, StateWrite};
use opentaco_domain::access::document::{Permission, Role};
use opentaco_domain::access::{Member, Name};
use opentaco_domain::{Action, Caller, Clock as _, Decision, Holding, Policy};
use opentaco_storage::Vault;
use opentaco_storage::records::Records;
use opentaco_testkit::buckets::World;
use opentaco_testkit::faults::{Does, Fate, Gate, Late, On};

use crate::common::prod;

const POLICY: &str = "__opentaco_access/policy.json";

async fn of(replica: &Vault) -> Access {
    let bucket = replica.bucket().clone();
    let surroundings = bucket.surroundings().clone();
    Access::open(Records::new(bucket), surroundings).await
}

fn ada() -> Caller {
    Caller::user("ada")
}

fn member(text: &str) -> Member {
    text.parse().unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn assign(who: &str, role: &str) -> Change {
    Change::Assign {
        member: member(who),
        role: name(role),
    }
}

fn revoke(who: &str, role: &str) -> Change {
    Change::Revoke {
        member: member(who),
        role: name(role),
    }
}

/// A bucket in which Ada is the administrator, and a replica that knows.
async fn with_ada(world: &World) -> Access {
    let access = of(&world.replica()).await;
    access
        .initialise(&Caller::root(), &[member("user:ada")])
        .await
        .unwrap();
    access
}

/// So many seconds pass, for clocks and for sleepers.
async fn pass(world: &World, seconds: u64) {
    for _ in 0..seconds {
        world.clock.advance(Duration::from_secs(1));
        let tasks = world.surroundings().tasks;
        tasks.sleep(Duration::from_secs(1)).await;
    }
}

fn may(access: &Access, caller: &Caller, action: Action) -> bool {
    access.decide(caller, action, &prod()).unwrap() == Decision::Allow
}

#[tokio::test(start_paused = true)]
async fn what_was_read_while_a_change_was_on_its_way_does_not_replace_the_change() {
    let world = World::new();
    let (replica, faults) = world.failing_replica();
    let access = of(&replica).await;
    access.keep_fresh();
    access
        .initialise(&Caller::root(), &[member("user:ada")])
        .await
        .unwrap();
    let gate = Gate::new();
    faults.say(On::next(Does::Put, POLICY), Fate::HeldBefore(gate.clone()));
    let (changing, tasks) = (access.clone(), world.surroundings().tasks);
    let (done, ended) = futures::channel::oneshot::channel();
    tasks.spawn(Box::pin(async move {
        changing
            .change(&ada(), &assign("user:bob", "reader"))
            .await
            .unwrap();
        let _ = done.send(());
    }));
    gate.reached().await;
    // The policy is read every two seconds, and is still the old one.
    pass(&world, 3).await;
    gate.open();
    ended.await.unwrap();
    assert!(may(&access, &Caller::user("bob"), Action::Read));
}

#[tokio::test(start_paused = true)]
async fn until_somebody_has_a_role_the_root_token_is_the_only_way_in() {
    let world = World::new();
    let access = of(&world.replica()).await;
    assert!(may(&access, &Caller::root(), Action::Write));
    assert!(!may(&access, &ada(), Action::Read));
    for nobody in [ada(), Caller::service("ci"), Caller::user("root")] {
        let refused = access.initialise(&nobody, &[member("user:ada")]).await;
        assert!(
            matches!(refused, Err(AccessError::Forbidden { .. })),
            "{refused:?}"
        );
    }
    let nobody = access.initialise(&Caller::root(), &[]).await;
    assert!(
        matches!(nobody, Err(AccessError::LastAdministrator)),
        "{nobody:?}"
    );

    access
        .initialise(&Caller::root(), &[member("user:ada")])
        .await
        .unwrap();
    assert!(may(&access, &ada(), Action::Delete));
    let other = of(&world.replica()).await;
    assert!(may(&other, &ada(), Action::Delete), "it is in the bucket");
    let again = other.initialise(&Caller::root(), &[member("user:eve")]).await;
    assert!(matches!(again, Err(AccessError::Initialised)), "{again:?}");
    assert!(!may(&other, &Caller::user("eve"), Action::Read));
}

#[tokio::test(start_paused = true)]
async fn nobody_gives_themselves_or_others_a_right_but_those_who_may() {
    let world = World::new();
    let access = with_ada(&world).await;
    for (who, role) in [
        ("user:bob", "writer"),
        ("service:ci", "writer"),
        ("group:staff", "reader"),
    ] {
        access.change(&ada(), &assign(who, role)).await.unwrap();
    }
    let callers = [
        Caller::user("bob"),
        Caller::service("ci"),
        Caller::user("eve").in_groups(["staff"]),
        Caller::ci("job", vec![name("writer")]),
        ada().within(vec![name("writer")]),
        Caller::user("nobody"),
    ];
    for caller in callers {
        for change in [
            assign("user:bob", "admin"),
            revoke("user:ada", "admin"),
            Change::SetRoot { disabled: true },
        ] {
            let refused = access.change(&caller, &change).await;
            assert!(
                matches!(refused, Err(AccessError::Forbidden { .. })),
                "{caller:?}: {refused:?}"
            );
        }
        let about_others = access.explain(&caller, &ada(), Action::Read, Some(&prod()));
        assert!(matches!(about_others, Err(AccessError::Forbidden { .. })));
        assert!(
            access
                .explain(&caller, &caller, Action::Read, Some(&prod()))
                .is_ok()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_administrator_keeps_the_right_whichever_way_it_would_be_taken() {
    let world = World::new();
    let access = with_ada(&world).await;
    access
        .change(&ada(), &assign("group:staff", "admin"))
        .await
        .unwrap();
    access
        .change(&ada(), &assign("service:ci", "admin"))
        .await
        .unwrap();
    let nothing = Role {
        description: String::new(),
        permissions: BTreeSet::new(),
    };
    let mut denied =
        serde_json::from_str::<Permission>(r#"{"rules":[{"effect":"deny","actions":["access.manage"]}]}"#)
            .unwrap();
    denied.description = "takes it away".to_owned();
    access
        .change(
            &ada(),
            &Change::SetPermission {
                name: name("no-access"),
                permission: denied,
            },
        )
        .await
        .unwrap();
    let with_denial = Role {
        description: String::new(),
        permissions: BTreeSet::from([name("admin"), name("no-access")]),
    };
    for change in [
        revoke("user:ada", "admin"),
        Change::RemoveRole { name: name("admin") },
        Change::SetRole {
            name: name("admin"),
            role: nothing,
        },
        Change::SetRole {
            name: name("admin"),
            role: with_denial,
        },
    ] {
        for caller in [ada(), Caller::root()] {
            let refused = access.change(&caller, &change).await;
            assert!(
                matches!(refused, Err(AccessError::LastAdministrator)),
                "{change:?}: {refused:?}"
            );
        }
    }
    let used = access
        .change(&ada(), &Change::RemovePermission { name: name("admin") })
        .await;
    assert!(matches!(used, Err(AccessError::InUse { .. })), "{used:?}");
    access.change(&ada(), &assign("user:bob", "admin")).await.unwrap();
    access.change(&ada(), &revoke("user:ada", "admin")).await.unwrap();
    assert!(!may(&access, &ada(), Action::Read));
}

#[tokio::test(start_paused = true)]
async fn the_root_token_is_switched_off_and_on_again_by_an_administrator() {
    let world = World::new();
    let access = with_ada(&world).await;
    // Whoever does it shows that there is another way in.
    let by_itself = access
        .change(&Caller::root(), &Change::SetRoot { disabled: true })
        .await;
    assert!(
        matches!(by_itself, Err(AccessError::RootByItself)),
        "{by_itself:?}"
    );
    assert!(may(&access, &Caller::root(), Action::Read));
    access
        .change(&ada(), &Change::SetRoot { disabled: true })
        .await
        .unwrap();
    assert!(!may(&access, &Caller::root(), Action::Read));
    let refused = access
        .change(&Caller::root(), &Change::SetRoot { disabled: false })
        .await;
    assert!(
        matches!(refused, Err(AccessError::Forbidden { .. })),
        "{refused:?}"
    );
    access
        .change(&ada(), &Change::SetRoot { disabled: false })
        .await
        .unwrap();
    assert!(may(&access, &Caller::root(), Action::Read));
}

#[tokio::test(start_paused = true)]
async fn decisions_cost_no_request_and_a_change_elsewhere_is_seen_within_five_seconds() {
    let world = World::new();
    let here = with_ada(&world).await;
    let (replica, faults) = world.failing_replica();
    let there = of(&replica).await;
    there.keep_fresh();
    let asked = faults.seen().len();
    for _ in 0..1_000 {
        assert!(!may(&there, &Caller::user("bob"), Action::Read));
    }
    assert_eq!(faults.seen().len(), asked);
    here.change(&ada(), &assign("user:bob", "reader")).await.unwrap();
    pass(&world, 3).await;
    assert!(may(&there, &Caller::user("bob"), Action::Read));
}

#[tokio::test(start_paused = true)]
async fn a_role_whose_grant_was_answered_late_is_not_given_again_after_somebody_took_it_back() {
    let world = World::new();
    let there = with_ada(&world).await;
    let (replica, faults) = world.failing_replica();
    let here = of(&replica).await;
    let late = Late::new();
    faults.say(
        On::next(Does::Put, POLICY).ending(),
        Fate::LandsLater(late.clone()),
    );
    let grant = assign("user:bob", "writer");
    let (ada, back) = (ada(), revoke("user:bob", "writer"));
    let (granted, taken) = futures::join!(here.change(&ada, &grant), async {
        late.sent().await;
        late.land().await.unwrap();
        there.change(&ada, &back).await
    });
    taken.unwrap();
    granted.unwrap();
    for access in [&here, &there] {
        assert!(!may(access, &Caller::user("bob"), Action::Write));
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_opens_asks_for_the_policy_once_and_marks_it_behind() {
    let world = World::new();
    with_ada(&world).await;
    world.person_removes("__opentaco_access/initialised.json").await;
    let (replica, faults) = world.failing_replica();
    let access = of(&replica).await;
    let asked: Vec<String> = faults.seen().into_iter().map(|(_, key)| key).collect();
    assert_eq!(asked, [POLICY], "nobody waits for more");
    assert!(may(&access, &ada(), Action::Read));
    pass(&world, 1).await;
    world.person_removes(POLICY).await;
    let later = of(&world.replica()).await;
    assert!(later.current().is_err(), "it is marked that there was one");
}

#[tokio::test(start_paused = true)]
async fn who_makes_the_first_administrators_is_told_so_even_if_the_mark_of_it_comes_later() {
    let world = World::new();
    let (replica, faults) = world.failing_replica();
    let access = of(&replica).await;
    faults.say(
        On::next(Does::Put, "initialised.json").always(),
        Fate::Unavailable,
    );
    let made = access.initialise(&Caller::root(), &[member("user:ada")]).await;
    assert!(made.is_ok(), "{made:?}");
    pass(&world, 10).await;
    assert_eq!(
        world.person_gets("__opentaco_access/initialised.json").await,
        None
    );
    faults.heal();
    pass(&world, 10).await;
    world.person_removes(POLICY).await;
    let later = of(&world.replica()).await;
    assert!(later.current().is_err(), "it is marked that there was one");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_ahead_and_is_set_back_shuts_nobody_out() {
    let world = World::new();
    let access = with_ada(&world).await;
    let noon = world.clock.now();
    world.clock.advance(Duration::from_secs(3600));
    access.refresh().await;
    assert!(may(&access, &ada(), Action::Read));
    world.clock.set(noon);
    access.refresh().await;
    assert!(
        may(&access, &ada(), Action::Read),
        "what is read from now on is believed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_denial_to_a_group_locks_nobody_out_once_the_root_token_is_off() {
    let world = World::new();
    let access = with_ada(&world).await;
    let ada = ada().in_groups(["staff"]);
    let denied: Permission =
        serde_json::from_str(r#"{"rules":[{"effect":"deny","actions":["access.manage"]}]}"#).unwrap();
    let (permission, role) = (name("no-access"), name("suspended"));
    let suspended = Role {
        description: String::new(),
        permissions: BTreeSet::from([permission.clone()]),
    };
    for change in [
        Change::SetPermission {
            name: permission,
            permission: denied,
        },
        Change::SetRole {
            name: role,
            role: suspended,
        },
        Change::SetRoot { disabled: true },
    ] {
        access.change(&ada, &change).await.unwrap();
    }
    let refused = access.change(&ada, &assign("group:staff", "suspended")).await;
    assert!(
        matches!(refused, Err(AccessError::UncertainAdministrator)),
        "{refused:?}"
    );
    access
        .change(&ada, &assign("group:interns", "suspended"))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn where_nobody_is_asked_who_they_are_there_are_no_roles_to_give_oneself() {
    let control = crate::common::replica(&World::new());
    assert!(matches!(control.access(), Err(AccessError::NoRoles)));
}

#[tokio::test(start_paused = true)]
async fn where_the_policy_cannot_be_read_nothing_is_decided_and_where_it_can_again_everything_is() {
    for fate in [Fate::Unavailable, Fate::Denied, Fate::Silence, Fate::Truncated] {
        let world = World::new();
        with_ada(&world).await;
        let (replica, faults) = world.failing_replica();
        let access = of(&replica).await;
        access.keep_fresh();
        faults.say(On::next(Does::Get, POLICY).ending().always(), fate.clone());
        pass(&world, 4).await;
        assert!(
            may(&access, &ada(), Action::Read),
            "it is believed for five seconds: {fate:?}"
        );
        pass(&world, 60).await;
        for caller in [ada(), Caller::root(), Caller::user("bob")] {
            assert!(access.decide(&caller, Action::Read, &prod()).is_err(), "{fate:?}");
            let refused = access.change(&caller, &assign("user:bob", "admin")).await;
            assert!(matches!(refused, Err(AccessError::Unreadable(_))), "{refused:?}");
        }
        faults.heal();
        pass(&world, 60).await;
        assert!(may(&access, &ada(), Action::Read), "{fate:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_is_truncated_or_gone_after_there_was_one_decides_nothing() {
    for there in [Some("{\"format\":1,\"nonce\":\"\",\"rec"), Some("{}"), None] {
        let world = World::new();
        with_ada(&world).await;
        match there {
            Some(text) => world.person_puts(POLICY, text).await,
            None => world.person_removes(POLICY).await,
        }
        let access = of(&world.replica()).await;
        for caller in [ada(), Caller::root(), Caller::user("bob")] {
            assert!(
                access.decide(&caller, Action::Read, &prod()).is_err(),
                "{there:?}"
            );
        }
        let again = access.initialise(&Caller::root(), &[member("user:eve")]).await;
        assert!(matches!(again, Err(AccessError::Unreadable(_))), "{again:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_administrators_who_change_something_at_once_both_changes_stand() {
    for world in World::of_each_kind() {
        let here = with_ada(&world).await;
        let there = of(&world.replica()).await;
        let (a, b) = (assign("user:bob", "writer"), assign("user:cid", "reader"));
        let root = Caller::root();
        let (a, b) = tokio::join!(here.change(&root, &a), there.change(&root, &b));
        assert!(a.is_ok() && b.is_ok());
        let access = of(&world.replica()).await;
        assert!(may(&access, &Caller::user("bob"), Action::Write));
        assert!(may(&access, &Caller::user("cid"), Action::Read));
    }
}

#[tokio::test(start_paused = true)]
async fn a_right_that_was_taken_away_elsewhere_changes_nothing_any_more() {
    let world = World::new();
    let here = with_ada(&world).await;
    here.change(&ada(), &assign("user:bob", "admin")).await.unwrap();
    let there = of(&world.replica()).await;
    here.change(&ada(), &revoke("user:bob", "admin")).await.unwrap();
    let bob = Caller::user("bob");
    assert!(may(&there, &bob, Action::Write), "it has not heard of it yet");
    let refused = there.change(&bob, &assign("user:bob", "admin")).await;
    assert!(
        matches!(refused, Err(AccessError::Forbidden { .. })),
        "{refused:?}"
    );
}

/// The JSON of what a caller reads, or why they do not.
async fn seen(control: &StateControl, caller: &Caller) -> Result<serde_json::Value, ControlError> {
    let state = control.read_state(caller, &prod()).await?;
    assert!(
        state.version.is_none() || control.describe_unit(caller, &prod()).await.is_ok(),
        "a view has no version"
    );
    let pieces: Vec<Bytes> = state.body.try_collect().await?;
    Ok(serde_json::from_slice(&pieces.concat()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn whoever_may_see_outputs_alone_is_shown_a_state_that_has_nothing_else() {
    let world = World::new();
    let replica = world.replica();
    let access = with_ada(&world).await;
    access
        .change(
            &ada(),
            &Change::SetPermission {
                name: name("network"),
                permission: serde_json::from_str(
                    r#"{"rules":[{"actions":["unit.read-outputs"],"units":["**"],"outputs":["vpc_*","key"]},
                       {"actions":["unit.lock"],"units":["nothing"]}]}"#,
                )
                .unwrap(),
            },
        )
        .await
        .unwrap();
    let role = Role {
        description: String::new(),
        permissions: BTreeSet::from([name("network")]),
    };
    for (role_name, permissions) in [("consumer", &["network"][..]), ("odd", &["network", "locks"])] {
        let mut role = role.clone();
        role.permissions = permissions.iter().map(|text| name(text)).collect();
        if role_name == "odd" {
            let permission =
                serde_json::from_str(r#"{"rules":[{"actions":["unit.lock"],"units":["**"]}]}"#).unwrap();
            let locks = Change::SetPermission {
                name: name("locks"),
                permission,
            };
            access.change(&ada(), &locks).await.unwrap();
        }
        let set = Change::SetRole {
            name: name(role_name),
            role,
        };
        access.change(&ada(), &set).await.unwrap();
    }
    access
        .change(&ada(), &assign("service:app", "consumer"))
        .await
        .unwrap();
    access
        .change(&ada(), &assign("service:odd", "odd"))
        .await
        .unwrap();
    let control = StateControl::new(replica, Arc::new(access), "memory");
    let state = r#"{"version":4,"terraform_version":"1.11.4","serial":7,"lineage":"one",
        "outputs":{"vpc_id":{"value":"vpc-1","type":"string"},"key":{"value":"canary","type":"string","sensitive":true},
                   "other":{"value":1,"type":"number"}},
        "resources":[{"type":"secret","instances":[{"attributes":{"password":"canary"}}]}]}"#;
    let write = StateWrite::new(Bytes::from(state), Holding::Nothing, Door::Terraform);
    control.write_state(&ada(), &prod(), write).await.unwrap();

    let view = seen(&control, &Caller::service("app")).await.unwrap();
    let expected = serde_json::json!({
        "version": 4, "terraform_version": "1.11.4", "serial": 7, "lineage": "one",
        "outputs": {"vpc_id": {"value": "vpc-1", "type": "string", "sensitive": false}},
        "resources": [],
    });
    assert_eq!(view, expected);
    assert_eq!(
        seen(&control, &ada()).await.unwrap()["outputs"]["key"]["value"],
        "canary"
    );
    for refused in [Caller::service("odd"), Caller::user("eve")] {
        let read = seen(&control, &refused).await;
        assert!(
            matches!(read, Err(ControlError::Forbidden { .. })),
            "{refused:?}: {read:?}"
        );
    }

    let sealed = r#"{"serial":8,"lineage":"one","encrypted_data":"c2VhbGVk","encryption_version":"v0"}"#;
    let write = StateWrite::new(Bytes::from(sealed), Holding::Nothing, Door::Terraform);
    control.write_state(&ada(), &prod(), write).await.unwrap();
    let read = seen(&control, &Caller::service("app")).await;
    assert!(matches!(read, Err(ControlError::Encrypted { .. })), "{read:?}");
}
