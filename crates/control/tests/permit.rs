//! Who may do what: every operation asks first, asks for the right thing, and asks before the bucket is asked.

#![expect(clippy::unwrap_used, reason = "where a fixture fails, the test fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use opentaco_control::objects::Wanted;
use opentaco_control::uploads::{Completed, UploadId};
use opentaco_control::versions::Reinstate;
use opentaco_control::{ControlError, CreateUnit, Door, ListUnits, StateControl, StateWrite};
use opentaco_domain::{
    Action, Caller, Decision, Holding, Policy, PolicyUnreadable, Principal, UnitId, VersionId,
};
use opentaco_testkit::buckets::World;

use crate::common::{alice, lock_request, prod, replica, said, state, under, unit, uuid, write, written};

/// What a caller may do is what its name says, separated by spaces; `team:` before it limits that to units of the team.
/// Nobody can say what `unreadable` may do.
#[derive(Debug, Default)]
pub(crate) struct ByName {
    asked: Mutex<Vec<Action>>,
}

impl Policy for ByName {
    fn decide(&self, caller: &Caller, action: Action, unit: &UnitId) -> Result<Decision, PolicyUnreadable> {
        self.asked.lock().unwrap().push(action);
        let name = caller.principal().as_str();
        if name == "unreadable" {
            return Err(PolicyUnreadable {
                reason: "the roles cannot be fetched".to_owned(),
            });
        }
        let (team, rights) = name.split_once(':').unwrap_or(("", name));
        let allowed =
            rights.split(' ').any(|right| right == action.as_str()) && unit.as_str().starts_with(team);
        Ok(if allowed { Decision::Allow } else { Decision::Deny })
    }
}

fn may(actions: &[Action]) -> Caller {
    let rights: Vec<&str> = actions.iter().map(|action| action.as_str()).collect();
    Caller::new(Principal::new(rights.join(" ")))
}

fn all_but(action: Action) -> Caller {
    let others: Vec<Action> = Action::ALL.into_iter().filter(|other| *other != action).collect();
    may(&others)
}

fn unreadable() -> Caller {
    Caller::new(Principal::new("unreadable"))
}

/// The bucket, a replica that knows nothing of it yet, and what a person has picked from its lists.
struct Scene {
    control: StateControl,
    policy: Arc<ByName>,
    version: VersionId,
    rejected: String,
}

impl Scene {
    /// `myapp/prod` has two versions and a refused write; `myapp/gone` has the same and is deleted.
    async fn new() -> Self {
        let world = World::new();
        let before = replica(&world);
        let mut picked = None;
        for unit in [unit("myapp/gone"), prod()] {
            let version = written(&before, &unit, &state(1, "a")).await;
            written(&before, &unit, &state(2, "b")).await;
            write(&before, &unit, under(9), &state(3, "c")).await.unwrap_err();
            let rejected = before.rejected(&alice(), &unit).await.unwrap();
            picked = Some((version, rejected[0].id.clone()));
        }
        before.delete_unit(&alice(), &unit("myapp/gone")).await.unwrap();
        before.settle_down().await;
        let (version, rejected) = picked.unwrap();
        let policy = Arc::new(ByName::default());
        let control = StateControl::new(world.replica(), policy.clone(), "memory");
        Self {
            control,
            policy,
            version,
            rejected,
        }
    }

    fn requests(&self) -> u64 {
        self.control.counts().total()
    }

    fn asked(&self) -> Vec<Action> {
        std::mem::take(&mut self.policy.asked.lock().unwrap())
    }
}

type Perform = for<'a> fn(&'a Scene, &'a Caller, &'a UnitId) -> BoxFuture<'a, Result<(), ControlError>>;

/// Every operation on a unit, and what it asks first.
const OPERATIONS: [(&str, Action, Perform); 30] = [
    ("unit_status", Action::Read, |scene, caller, unit| {
        async { scene.control.unit_status(caller, unit).await.map(drop) }.boxed()
    }),
    ("lock", Action::Lock, |scene, caller, unit| {
        async {
            scene
                .control
                .lock(caller, unit, lock_request(&uuid(1)))
                .await
                .map(drop)
        }
        .boxed()
    }),
    ("lock_existing", Action::Lock, |scene, caller, unit| {
        async {
            scene
                .control
                .lock_existing(caller, unit, lock_request(&uuid(1)))
                .await
                .map(drop)
        }
        .boxed()
    }),
    ("unlock", Action::Lock, |scene, caller, unit| {
        async { scene.control.unlock(caller, unit, &uuid(1)).await }.boxed()
    }),
    ("force_unlock", Action::ForceUnlock, |scene, caller, unit| {
        async { scene.control.force_unlock(caller, unit).await.map(drop) }.boxed()
    }),
    ("prepare_write", Action::Write, |scene, caller, unit| {
        async {
            scene
                .control
                .prepare_write(caller, unit, &Holding::Nothing)
                .await
                .map(drop)
        }
        .boxed()
    }),
    ("write_state", Action::Write, |scene, caller, unit| {
        async {
            let write = StateWrite::new(state(3, "new"), Holding::Nothing, Door::Terraform);
            scene.control.write_state(caller, unit, write).await.map(drop)
        }
        .boxed()
    }),
    ("read_state", Action::Read, |scene, caller, unit| {
        async { scene.control.read_state(caller, unit).await.map(drop) }.boxed()
    }),
    ("read_existing", Action::Read, |scene, caller, unit| {
        async { scene.control.read_existing(caller, unit).await.map(drop) }.boxed()
    }),
    ("create_unit", Action::Create, |scene, caller, unit| {
        async {
            scene
                .control
                .create_unit(caller, unit, CreateUnit::default())
                .await
                .map(drop)
        }
        .boxed()
    }),
    ("describe_unit", Action::Read, |scene, caller, unit| {
        async { scene.control.describe_unit(caller, unit).await.map(drop) }.boxed()
    }),
    ("annotate_unit", Action::Write, |scene, caller, unit| {
        async {
            scene
                .control
                .annotate_unit(caller, unit, &said("new"))
                .await
                .map(drop)
        }
        .boxed()
    }),
    ("delete_unit", Action::Delete, |scene, caller, unit| {
        async { scene.control.delete_unit(caller, unit).await }.boxed()
    }),
    ("undelete_unit", Action::Create, |scene, caller, unit| {
        async {
            scene
                .control
                .undelete_unit(caller, unit, Door::Management)
                .await
                .map(drop)
        }
        .boxed()
    }),
    ("versions", Action::Read, |scene, caller, unit| {
        async { scene.control.versions(caller, unit, None, None).await.map(drop) }.boxed()
    }),
    ("history", Action::Read, |scene, caller, unit| {
        async { scene.control.history(caller, unit, None, 1).await.map(drop) }.boxed()
    }),
    ("read_version", Action::Read, |scene, caller, unit| {
        async {
            scene
                .control
                .read_version(caller, unit, &scene.version)
                .await
                .map(drop)
        }
        .boxed()
    }),
    ("restore", Action::Write, |scene, caller, unit| {
        async {
            let how = Reinstate::plainly(Door::Management);
            scene
                .control
                .restore(caller, unit, &scene.version, how)
                .await
                .map(drop)
        }
        .boxed()
    }),
    ("rejected", Action::Read, |scene, caller, unit| {
        async { scene.control.rejected(caller, unit).await.map(drop) }.boxed()
    }),
    ("read_rejected", Action::Read, |scene, caller, unit| {
        async {
            scene
                .control
                .read_rejected(caller, unit, &scene.rejected)
                .await
                .map(drop)
        }
        .boxed()
    }),
    ("promote", Action::Write, |scene, caller, unit| {
        async {
            let how = Reinstate::plainly(Door::Management);
            scene
                .control
                .promote(caller, unit, &scene.rejected, how)
                .await
                .map(drop)
        }
        .boxed()
    }),
    ("look_at_state", Action::Read, |scene, caller, unit| {
        async { scene.control.look_at_state(caller, unit, None).await.map(drop) }.boxed()
    }),
    ("read_part", Action::Read, |scene, caller, unit| {
        async {
            let wanted = Wanted::Bounded(0..5);
            scene.control.read_part(caller, unit, &wanted).await.map(drop)
        }
        .boxed()
    }),
    ("begin_upload", Action::Write, |scene, caller, unit| {
        async { scene.control.begin_upload(caller, unit).await.map(drop) }.boxed()
    }),
    ("upload", Action::Write, |scene, caller, unit| {
        async { scene.control.upload(caller, unit, &upload()).await.map(drop) }.boxed()
    }),
    ("put_part", Action::Write, |scene, caller, unit| {
        async {
            let part = (1, "00000000000000000000000000000000");
            let bytes = state(1, "a");
            scene.control.put_part(caller, unit, &upload(), part, bytes).await
        }
        .boxed()
    }),
    ("parts", Action::Write, |scene, caller, unit| {
        async { scene.control.parts(caller, unit, &upload()).await.map(drop) }.boxed()
    }),
    ("assemble", Action::Write, |scene, caller, unit| {
        async {
            scene.control.assemble(caller, unit, &upload(), &[]).await?;
            // Of no parts there is nothing to fetch.
            scene.control.ready().await
        }
        .boxed()
    }),
    ("complete_upload", Action::Write, |scene, caller, unit| {
        async {
            let completed = Completed {
                version: scene.version,
                md5: String::new(),
                parts: String::new(),
            };
            scene
                .control
                .complete_upload(caller, unit, &upload(), &completed)
                .await
        }
        .boxed()
    }),
    ("abort_upload", Action::Write, |scene, caller, unit| {
        async { scene.control.abort_upload(caller, unit, &upload()).await }.boxed()
    }),
];

/// An upload that nobody has begun.
fn upload() -> UploadId {
    "0".repeat(32).parse().unwrap()
}

/// Operations that are about no unit, or about many: these have tests of their own, or nothing to protect.
const OTHERS: [&str; 17] = [
    // Of the graph, which `graph` tests.
    "unit_statuses",
    "graph",
    "edge",
    "edge_by_id",
    "reconcile_graph",
    "open",
    "doctor",
    "ready",
    "settle_down",
    "close",
    "list_units",
    "outputs_of",
    // About the caller's own lock.
    "holds_since",
    // Of several rights each is enough, which `objects` tests.
    "lock_file",
    "remove_lock_file",
    "list_objects",
    "uploads",
];

/// What is done to the policy itself: it asks for the right to, and `access` tests that.
const OF_ACCESS: [&str; 4] = ["open", "refresh", "initialise", "change"];

/// What is done to tokens: it asks for the right to where that is not somebody's own, and `tokens` tests that.
const OF_TOKENS: [&str; 10] = [
    "keep_fresh",
    "refresh",
    "revoke_logins",
    "regroup",
    "keep_token",
    "tokens",
    "revoke_token",
    "create_account",
    "accounts",
    "remove_account",
];

/// What is done to the records of logins, by whoever has proved whose login it is.
const OF_SESSIONS: [&str; 4] = ["begin", "change", "of", "forget"];

/// What is done to the audit: reading it asks for the right to, and `audit` tests that.
const OF_AUDIT: [&str; 6] = [
    "done",
    "flush",
    "close",
    "search_audit",
    "audit_segments",
    "audit_segment",
];

/// Every source file below a directory.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => sources(&path),
            false => vec![path],
        })
        .collect()
}

#[test]
fn no_operation_is_missing_from_the_table() {
    let (mut written, mut of_access) = (BTreeSet::new(), BTreeSet::new());
    let (mut of_tokens, mut of_sessions) = (BTreeSet::new(), BTreeSet::new());
    let mut of_audit = BTreeSet::new();
    let all = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    for path in sources(all) {
        let source = std::fs::read_to_string(&path).unwrap();
        let module = path.strip_prefix(all).unwrap().iter().next().unwrap();
        let written = match module.to_str().unwrap().trim_end_matches(".rs") {
            "access" => &mut of_access,
            "tokens" => &mut of_tokens,
            "sessions" => &mut of_sessions,
            "audit" => &mut of_audit,
            _ => &mut written,
        };
        for line in source
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("pub async fn "))
        {
            let name: String = line
                .chars()
                .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                .collect();
            assert!(written.insert(name.clone()), "{name} is there twice");
        }
    }
    let tested: BTreeSet<String> = OPERATIONS
        .iter()
        .map(|(name, ..)| *name)
        .chain(OTHERS)
        .map(str::to_owned)
        .collect();
    assert_eq!(written, tested);
    assert_eq!(of_access, OF_ACCESS.map(str::to_owned).into());
    assert_eq!(of_tokens, OF_TOKENS.map(str::to_owned).into());
    assert_eq!(of_audit, OF_AUDIT.map(str::to_owned).into());
    assert_eq!(of_sessions, OF_SESSIONS.map(str::to_owned).into());
}

#[tokio::test(start_paused = true)]
async fn without_the_right_an_operation_is_forbidden_before_the_bucket_is_asked_whether_the_unit_exists_or_not()
 {
    let scene = Scene::new().await;
    let stranger = Caller::new(Principal::new("stranger"));
    for (name, needed, perform) in OPERATIONS {
        for unit in [prod(), unit("myapp/gone"), unit("never/heard/of")] {
            for caller in [&stranger, &all_but(needed)] {
                scene.asked();
                let answer = perform(&scene, caller, &unit).await;
                let Err(ControlError::Forbidden { action, unit: named }) = answer else {
                    panic!("{name} of {unit}: {answer:?}");
                };
                assert_eq!((action, named), (needed, unit.clone()), "{name}");
                assert_eq!(scene.asked(), [needed], "{name}");
                assert_eq!(scene.requests(), 0, "{name}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_cannot_be_read_is_an_error_in_every_operation_before_the_bucket_is_asked() {
    let scene = Scene::new().await;
    for (name, _, perform) in OPERATIONS {
        let answer = perform(&scene, &unreadable(), &prod()).await;
        assert!(
            matches!(answer, Err(ControlError::PolicyUnreadable { .. })),
            "{name}: {answer:?}"
        );
        assert_eq!(scene.requests(), 0, "{name}");
    }
    let answer = scene
        .control
        .list_units(&unreadable(), ListUnits::default())
        .await;
    assert!(
        matches!(answer, Err(ControlError::PolicyUnreadable { .. })),
        "{answer:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_one_right_an_operation_asks_for_is_enough_on_a_unit_that_lives() {
    for (name, needed, perform) in OPERATIONS {
        let scene = Scene::new().await;
        let answer = perform(&scene, &may(&[needed]), &prod()).await;
        match name {
            "create_unit" | "undelete_unit" => {
                assert!(
                    matches!(answer, Err(ControlError::AlreadyExists { .. })),
                    "{name}: {answer:?}"
                );
            }
            _ => assert!(answer.is_ok(), "{name}: {answer:?}"),
        }
        assert_eq!(scene.asked(), [needed], "{name}");
        assert!(scene.requests() > 0, "{name} did nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_reads_and_changes_nothing_and_a_writer_neither_creates_nor_deletes_nor_breaks_locks() {
    let reader = may(&[Action::Read]);
    let writer = may(&[Action::Read, Action::Write, Action::Lock]);
    let allowed: BTreeMap<&str, (bool, bool)> = [
        ("unit_status", (true, true)),
        ("lock", (false, true)),
        ("lock_existing", (false, true)),
        ("unlock", (false, true)),
        ("force_unlock", (false, false)),
        ("prepare_write", (false, true)),
        ("write_state", (false, true)),
        ("read_state", (true, true)),
        ("read_existing", (true, true)),
        ("create_unit", (false, false)),
        ("describe_unit", (true, true)),
        ("annotate_unit", (false, true)),
        ("delete_unit", (false, false)),
        ("undelete_unit", (false, false)),
        ("versions", (true, true)),
        ("history", (true, true)),
        ("read_version", (true, true)),
        ("restore", (false, true)),
        ("rejected", (true, true)),
        ("read_rejected", (true, true)),
        ("promote", (false, true)),
        ("look_at_state", (true, true)),
        ("read_part", (true, true)),
        ("begin_upload", (false, true)),
        ("upload", (false, true)),
        ("put_part", (false, true)),
        ("parts", (false, true)),
        ("assemble", (false, true)),
        ("complete_upload", (false, true)),
        ("abort_upload", (false, true)),
    ]
    .into();
    for (name, _, perform) in OPERATIONS {
        let (by_reader, by_writer) = allowed[name];
        for (caller, allowed) in [(&reader, by_reader), (&writer, by_writer)] {
            let scene = Scene::new().await;
            let answer = perform(&scene, caller, &prod()).await;
            assert_eq!(
                answer.is_ok(),
                allowed,
                "{name} as `{}`: {answer:?}",
                caller.principal()
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_makes_a_unit_live_needs_create_as_well() {
    let (writer, creator) = (may(&[Action::Write]), may(&[Action::Write, Action::Create]));
    for (name, dead) in [
        ("prepare_write", "never/heard/of"),
        ("prepare_write", "myapp/gone"),
        ("write_state", "never/heard/of"),
        ("write_state", "myapp/gone"),
        ("promote", "myapp/gone"),
        ("begin_upload", "never/heard/of"),
    ] {
        let mut scene = Scene::new().await;
        if dead == "myapp/gone" {
            let rejected = scene
                .control
                .rejected(&may(&[Action::Read]), &unit(dead))
                .await
                .unwrap();
            scene.rejected.clone_from(&rejected[0].id);
        }
        scene.asked();
        let (_, _, perform) = OPERATIONS.into_iter().find(|(other, ..)| *other == name).unwrap();
        let answer = perform(&scene, &writer, &unit(dead)).await;
        assert!(
            matches!(
                answer,
                Err(ControlError::Forbidden {
                    action: Action::Create,
                    ..
                })
            ),
            "{name} of {dead}: {answer:?}"
        );
        assert_eq!(scene.asked(), [Action::Write, Action::Create], "{name} of {dead}");
        let described = scene
            .control
            .describe_unit(&may(&[Action::Read]), &unit(dead))
            .await;
        assert!(
            matches!(described, Err(ControlError::NotFound { .. })),
            "{name} of {dead}: {described:?}"
        );

        let answer = perform(&scene, &creator, &unit(dead)).await;
        assert!(answer.is_ok(), "{name} of {dead}: {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn restoring_a_version_of_a_deleted_unit_needs_create_as_well() {
    let scene = Scene::new().await;
    let gone = unit("myapp/gone");
    let listed = scene
        .control
        .versions(&may(&[Action::Read]), &gone, None, None)
        .await
        .unwrap();
    let how = || Reinstate::plainly(Door::Management);
    let writer = may(&[Action::Write]);
    let answer = scene
        .control
        .restore(&writer, &gone, &listed[1].version, how())
        .await;
    assert!(
        matches!(
            answer,
            Err(ControlError::Forbidden {
                action: Action::Create,
                ..
            })
        ),
        "{answer:?}"
    );
    assert!(
        scene
            .control
            .describe_unit(&may(&[Action::Read]), &gone)
            .await
            .is_err()
    );
    let creator = may(&[Action::Write, Action::Create]);
    scene
        .control
        .restore(&creator, &gone, &listed[1].version, how())
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_list_shows_only_what_its_caller_may_see_on_full_pages() {
    let world = World::new();
    let before = replica(&world);
    for n in 0..7 {
        written(&before, &unit(&format!("blue/{n}")), &state(1, "b")).await;
        written(&before, &unit(&format!("red/{n}")), &state(1, "r")).await;
        written(&before, &unit(&format!("violet/{n}")), &state(1, "v")).await;
    }
    let control = StateControl::new(world.replica(), Arc::new(ByName::default()), "memory");
    let red = Caller::new(Principal::new("red:unit.read"));
    let all: Vec<String> = (0..7).map(|n| format!("red/{n}")).collect();
    let names = |units: &[opentaco_control::UnitView]| -> Vec<String> {
        units.iter().map(|view| view.unit.to_string()).collect()
    };

    let page = control.list_units(&red, ListUnits::default()).await.unwrap();
    assert_eq!(names(&page.units), all);
    for limit in 1..=8 {
        let (mut seen, mut token) = (Vec::new(), None);
        loop {
            let wanted = ListUnits {
                limit: Some(limit),
                page_token: token,
                ..ListUnits::default()
            };
            let page = control.list_units(&red, wanted).await.unwrap();
            seen.extend(names(&page.units));
            assert!(
                page.units.len() == limit || page.next_page_token.is_none(),
                "a page of {limit} is full"
            );
            token = page.next_page_token;
            let Some(token) = &token else { break };
            // It is the name of the last one on the page, and tells nobody what else there is.
            let last = format!("{}/terraform.tfstate", seen.last().unwrap());
            assert_eq!(hex::decode(token).unwrap(), last.as_bytes());
        }
        assert_eq!(seen, all, "pages of {limit}");
    }
    let writer = Caller::new(Principal::new("red:unit.write unit.lock"));
    assert!(
        control
            .list_units(&writer, ListUnits::default())
            .await
            .unwrap()
            .units
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn a_page_costs_no_more_for_the_units_that_its_caller_may_not_see() {
    let world = World::new();
    for n in 0..50 {
        world
            .person_puts(
                &format!("blue/{n}/terraform.tfstate"),
                r#"{"version":4,"serial":1,"lineage":"one"}"#,
            )
            .await;
    }
    world
        .person_puts(
            "red/1/terraform.tfstate",
            r#"{"version":4,"serial":1,"lineage":"one"}"#,
        )
        .await;
    let (vault, faults) = world.failing_replica();
    let control = StateControl::new(vault, Arc::new(ByName::default()), "memory");
    for (caller, found) in [
        (Caller::new(Principal::new("red:unit.read")), "red/1"),
        (Caller::new(Principal::new("blue/4:unit.read")), "blue/4"),
    ] {
        let before = faults.seen().len();
        let wanted = ListUnits {
            limit: Some(1),
            ..ListUnits::default()
        };
        let page = control.list_units(&caller, wanted).await.unwrap();
        assert_eq!(page.units[0].unit, unit(found));
        let asked = faults.seen().len() - before;
        assert!(asked <= 3, "{asked} requests to find {found}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_remembers_a_unit_from_before_its_deletion_asks_for_create_all_the_same() {
    let world = World::new();
    let elsewhere = replica(&world);
    let control = StateControl::new(world.replica(), Arc::new(ByName::default()), "memory");
    let creator = may(&[Action::Write, Action::Create]);
    let writer = may(&[Action::Write]);
    let write = |serial, holding| StateWrite::new(state(serial, "x"), holding, Door::Management);
    control
        .write_state(&creator, &prod(), write(1, Holding::Nothing))
        .await
        .unwrap();
    control.settle_down().await;
    elsewhere.delete_unit(&alice(), &prod()).await.unwrap();
    elsewhere
        .lock(&alice(), &prod(), lock_request(&uuid(1)))
        .await
        .unwrap();
    elsewhere.settle_down().await;

    let answer = control.write_state(&writer, &prod(), write(2, under(1))).await;
    assert!(
        matches!(
            answer,
            Err(ControlError::Forbidden {
                action: Action::Create,
                ..
            })
        ),
        "{answer:?}"
    );
    assert!(
        elsewhere.describe_unit(&alice(), &prod()).await.is_err(),
        "it is still deleted"
    );
    control
        .write_state(&creator, &prod(), write(2, under(1)))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_is_no_answer_while_the_policy_cannot_be_read() {
    let control = StateControl::new(World::new().replica(), Arc::new(ByName::default()), "memory");
    let answer = control.list_units(&unreadable(), ListUnits::default()).await;
    assert!(
        matches!(answer, Err(ControlError::PolicyUnreadable { .. })),
        "{answer:?}"
    );
}
