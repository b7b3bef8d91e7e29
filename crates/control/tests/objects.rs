//! States and locks as objects: pages of names, parts of states, lock files, uploads in parts.

#![expect(clippy::unwrap_used, reason = "where a fixture fails, the test fails")]

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::TryStreamExt as _;
use opentaco_control::objects::{ListObjects, Wanted};
use opentaco_control::uploads::{Completed, Standing};
use opentaco_control::{ControlError, Door, StateControl, StateWrite};
use opentaco_domain::{
    Action, Caller, Clock as _, CredentialSession, Holding, ObjectName, Principal, Signed, SystemClock,
};
use opentaco_storage::{Kind, Verb};
use opentaco_testkit::buckets::World;

use crate::common::{alice, lock_request, prod, replica, state, unit, uuid, written};

fn wanted(prefix: &str, after: &str, delimiter: Option<&str>, limit: usize) -> ListObjects {
    ListObjects {
        bucket: "opentaco".to_owned(),
        prefix: prefix.to_owned(),
        after: after.to_owned(),
        delimiter: delimiter.map(str::to_owned),
        limit,
    }
}

/// What is listed, in pages of `limit`: keys, and what keys were folded into.
async fn listed(control: &StateControl, prefix: &str, delimiter: Option<&str>, limit: usize) -> Vec<String> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = control
            .list_objects(&alice(), &wanted(prefix, &after, delimiter, limit))
            .await
            .unwrap();
        let mut names: Vec<String> = page
            .objects
            .into_iter()
            .map(|object| object.key)
            .chain(page.folded)
            .collect();
        names.sort();
        assert!(names.len() <= limit);
        assert!(
            page.next.is_none() || names.len() == limit,
            "a short page that is not the last"
        );
        all.extend(names);
        match page.next {
            Some(next) => after = next,
            None => return all,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pages_of_any_size_tell_every_name_once_in_order_whatever_is_locked_and_folded() {
    let world = World::new();
    let control = replica(&world);
    let mut keys = BTreeSet::new();
    // Names between which those of lock files sort: behind a state, and behind what begins like it.
    let units = [
        "a",
        "a/b",
        "a/terraform.tfstate-x",
        "a/terraform.tfstate0",
        "app",
        "b.tfstate",
        "b.tfstate-2/c",
        "b.tfstate.d/e",
        "env:/dev/app",
        "z/__opentaco_inside",
    ];
    for (at, id) in units.into_iter().enumerate() {
        let unit = unit(id);
        written(&control, &unit, &state(1, "a")).await;
        keys.insert(ObjectName::State(unit.clone()).key());
        if at % 2 == 0 {
            control
                .lock(&alice(), &unit, lock_request(&uuid(u32::try_from(at).unwrap())))
                .await
                .unwrap();
            keys.insert(ObjectName::Lock(unit).key());
        }
    }
    control.settle_down().await;
    let prefixes: BTreeSet<String> = keys
        .iter()
        .flat_map(|key| (0..=key.len()).map(|end| key[..end].to_owned()))
        .chain(["none".to_owned(), "__opentaco_".to_owned()])
        .collect();
    for prefix in &prefixes {
        let expected: Vec<String> = keys
            .iter()
            .filter(|key| key.starts_with(prefix))
            .cloned()
            .collect();
        assert_eq!(
            listed(&control, prefix, None, 1000).await,
            expected,
            "below `{prefix}`"
        );
        let mut folded: Vec<String> = expected
            .iter()
            .map(|key| match key[prefix.len()..].find('/') {
                Some(at) => key[..=prefix.len() + at].to_owned(),
                None => key.clone(),
            })
            .collect();
        folded.dedup();
        assert_eq!(
            listed(&control, prefix, Some("/"), 1000).await,
            folded,
            "folded below `{prefix}`"
        );
        for limit in [1, 2, 3] {
            assert_eq!(
                listed(&control, prefix, None, limit).await,
                expected,
                "`{prefix}` by {limit}"
            );
            assert_eq!(
                listed(&control, prefix, Some("/"), limit).await,
                folded,
                "`{prefix}` folded by {limit}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_listing_of_many_units_costs_a_request_per_thousand_names_and_reads_no_heads() {
    let world = World::new();
    let control = replica(&world);
    for number in 0..50 {
        written(&control, &unit(&format!("app/{number:02}")), &state(1, "a")).await;
    }
    control.settle_down().await;
    let before = control.counts().snapshot();
    assert_eq!(listed(&control, "app/", None, 1000).await.len(), 50);
    let mut sent = control.counts().snapshot();
    sent.retain(|kind, count| before.get(kind) != Some(count));
    assert_eq!(
        sent.keys().copied().collect::<Vec<_>>(),
        [(Verb::List, Kind::Units)]
    );
    let lists = sent.values().sum::<u64>() - before.get(&(Verb::List, Kind::Units)).copied().unwrap_or(0);
    assert_eq!(lists, 1);
}

#[tokio::test(start_paused = true)]
async fn a_part_of_a_state_is_fetched_alone_and_looking_fetches_nothing() {
    let world = World::new();
    let control = replica(&world);
    let bytes = state(1, &"x".repeat(100_000));
    written(&control, &prod(), &bytes).await;
    control.settle_down().await;
    let read = async |wanted: Wanted| {
        let part = control.read_part(&alice(), &prod(), &wanted).await.unwrap();
        let pieces: Vec<Bytes> = part.body.try_collect().await.unwrap();
        assert_eq!(part.look.size, bytes.len() as u64);
        (part.range, pieces.concat())
    };
    let size = bytes.len() as u64;
    for (wanted, range) in [
        (Wanted::Bounded(10..20), 10..20),
        (Wanted::Bounded(10..u64::MAX), 10..size),
        (Wanted::Offset(size - 3), size - 3..size),
        (Wanted::Suffix(7), size - 7..size),
    ] {
        let before = control.counts().total();
        let expected = &bytes[range.start as usize..range.end as usize];
        assert_eq!(
            read(wanted.clone()).await,
            (range, expected.to_vec()),
            "{wanted:?}"
        );
        assert_eq!(control.counts().total() - before, 2, "the head, and that part");
    }
    assert!(read(Wanted::Offset(size)).await.0.is_empty());
    let before = control.counts().snapshot();
    let look = control.look_at_state(&alice(), &prod(), None).await.unwrap();
    assert_eq!(look.size, size);
    let sent = control.counts().snapshot();
    assert_eq!(
        sent.get(&(Verb::Get, Kind::Copy)),
        before.get(&(Verb::Get, Kind::Copy))
    );
}

#[tokio::test(start_paused = true)]
async fn a_part_is_of_what_is_current_also_where_the_copy_is_behind_or_was_overwritten() {
    let world = World::new();
    let control = replica(&world);
    written(&control, &prod(), &state(1, "first")).await;
    control.settle_down().await;
    let by_hand = state(2, "by hand");
    world
        .person_puts("myapp/prod/terraform.tfstate", by_hand.clone())
        .await;
    let part = control
        .read_part(&alice(), &prod(), &Wanted::Bounded(0..u64::MAX))
        .await
        .unwrap();
    let pieces: Vec<Bytes> = part.body.try_collect().await.unwrap();
    assert_eq!(pieces.concat(), by_hand);
    assert_eq!(
        control.look_at_state(&alice(), &prod(), None).await.unwrap().size,
        by_hand.len() as u64
    );
}

fn session(name: &str, second: i64) -> Signed {
    Signed {
        session: CredentialSession::new(name),
        at: jiff::Timestamp::from_second(second).ok(),
        invocation: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_file_is_shown_to_whoever_may_read_or_lock_and_removed_by_its_session_or_with_the_right() {
    let world = World::new();
    let by_name = replica(&world);
    let rights = |actions: &[Action]| {
        let names: Vec<&str> = actions.iter().map(|action| action.as_str()).collect();
        Caller::new(Principal::new(names.join(" ")))
    };
    let control = StateControl::new(
        world.replica(),
        std::sync::Arc::new(crate::permit::ByName::default()),
        "memory",
    );
    let holder = rights(&[Action::Lock]);
    let request = opentaco_control::LockRequest {
        door: Door::S3,
        credential: Some(session("one", 0)),
        ..lock_request(&uuid(1))
    };
    let sent = request.sent.clone();
    control.lock(&holder, &prod(), request).await.unwrap();
    for (caller, shown) in [
        (rights(&[Action::Read]), true),
        (rights(&[Action::Lock]), true),
        (rights(&[Action::Write, Action::ReadOutputs]), false),
    ] {
        let file = control.lock_file(&caller, &prod(), "opentaco", None).await;
        match file {
            Ok(Some(file)) => assert!(shown && file.bytes == sent),
            other => assert!(
                !shown && matches!(other, Err(ControlError::Forbidden { .. })),
                "{other:?}"
            ),
        }
    }
    for (caller, signed) in [
        (holder.clone(), session("two", 1)),
        (rights(&[Action::Lock, Action::Read]), session("one", 1)),
    ] {
        let refused = control.remove_lock_file(&caller, &prod(), &signed).await;
        assert!(
            matches!(refused, Err(ControlError::NotHolder { holder: Some(_), .. })),
            "{refused:?}"
        );
    }
    let refused = control
        .remove_lock_file(&rights(&[Action::Read]), &prod(), &session("one", 1))
        .await;
    assert!(
        matches!(
            refused,
            Err(ControlError::Forbidden {
                action: Action::ForceUnlock,
                ..
            })
        ),
        "{refused:?}"
    );
    control
        .remove_lock_file(&holder, &prod(), &session("one", 2))
        .await
        .unwrap();
    assert_eq!(
        control
            .lock_file(&holder, &prod(), "opentaco", None)
            .await
            .unwrap(),
        None
    );
    by_name
        .lock(&alice(), &prod(), lock_request(&uuid(2)))
        .await
        .unwrap();
    let breaker = rights(&[Action::ForceUnlock]);
    control
        .remove_lock_file(&breaker, &prod(), &session("x", 3))
        .await
        .unwrap();
    assert_eq!(
        control
            .lock_file(&holder, &prod(), "opentaco", None)
            .await
            .unwrap(),
        None
    );
}

#[tokio::test(start_paused = true)]
async fn parts_that_nobody_completed_are_collected_after_a_day_and_what_became_of_the_others_too() {
    let world = World::new();
    let (control, other) = (replica(&world), replica(&world));
    let kept = control.begin_upload(&alice(), &prod()).await.unwrap();
    control
        .put_part(&alice(), &prod(), &kept, (1, "ab"), state(1, "a"))
        .await
        .unwrap();
    other
        .put_part(&alice(), &prod(), &kept, (2, "cd"), state(2, "b"))
        .await
        .unwrap();
    assert_eq!(other.uploads(&alice()).await.unwrap().len(), 1);
    let parts = other.parts(&alice(), &prod(), &kept).await.unwrap();
    assert_eq!(parts.iter().map(|part| part.number).collect::<Vec<_>>(), [1, 2]);
    let whole = control.assemble(&alice(), &prod(), &kept, &parts).await.unwrap();
    assert_eq!(whole, [state(1, "a"), state(2, "b")].concat());

    let vault = world.replica();
    world.clock.set(SystemClock.now());
    assert_eq!(
        vault.collect_uploads().await.unwrap(),
        0,
        "it may still be completed"
    );
    world
        .clock
        .set(SystemClock.now() + jiff::SignedDuration::from_hours(25));
    assert_eq!(vault.collect_uploads().await.unwrap(), 3);
    assert_eq!(
        control.upload(&alice(), &prod(), &kept).await.unwrap(),
        Standing::Unknown
    );
    assert!(control.uploads(&alice()).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn whoever_may_not_write_a_unit_sees_none_of_its_uploads() {
    let world = World::new();
    let control = StateControl::new(
        world.replica(),
        std::sync::Arc::new(crate::permit::ByName::default()),
        "memory",
    );
    let writer = Caller::new(Principal::new("myapp:unit.write unit.create"));
    control.begin_upload(&writer, &prod()).await.unwrap();
    assert_eq!(control.uploads(&writer).await.unwrap().len(), 1);
    for stranger in ["unit.read", "other:unit.write"] {
        let stranger = Caller::new(Principal::new(stranger));
        assert!(control.uploads(&stranger).await.unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_of_a_session_is_told_with_its_door_and_its_lock() {
    let world = World::new();
    let control = replica(&world);
    let request = opentaco_control::LockRequest {
        door: Door::S3,
        credential: Some(session("one", 0)),
        ..lock_request(&uuid(1))
    };
    control.lock(&alice(), &prod(), request).await.unwrap();
    let write = StateWrite::new(state(1, "a"), Holding::Session(session("one", 1)), Door::S3);
    control.write_state(&alice(), &prod(), write).await.unwrap();
    let versions = control.versions(&alice(), &prod(), None, None).await.unwrap();
    assert_eq!(versions[0].door.as_deref(), Some("s3"));
    assert_eq!(versions[0].lock_id, Some(uuid(1)));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_holds_a_unit_is_told_from_memory_what_decides_nothing_and_nobody_else_is() {
    let world = World::new();
    let (control, other) = (replica(&world), replica(&world));
    written(&control, &prod(), &state(1, "a")).await;
    let request = opentaco_control::LockRequest {
        door: Door::S3,
        credential: Some(session("one", 0)),
        ..lock_request(&uuid(1))
    };
    control.lock(&alice(), &prod(), request).await.unwrap();
    control.settle_down().await;
    let cost = async |signed: Option<&Signed>| {
        let before = control.counts().total();
        control.look_at_state(&alice(), &prod(), signed).await.unwrap();
        let file = control
            .lock_file(&alice(), &prod(), "opentaco", signed)
            .await
            .unwrap();
        (file.is_some(), control.counts().total() - before)
    };
    assert_eq!(cost(Some(&session("one", 1))).await, (true, 0));
    assert_eq!(cost(Some(&session("two", 1))).await, (true, 3));
    assert_eq!(cost(None).await, (true, 3));

    // The lock is broken elsewhere: what decides is asked of the bucket all the same.
    other.force_unlock(&alice(), &prod()).await.unwrap();
    let write = StateWrite::new(state(2, "b"), Holding::Session(session("one", 2)), Door::S3);
    let refused = control.write_state(&alice(), &prod(), write).await;
    assert!(
        matches!(refused, Err(ControlError::NotHolder { .. })),
        "{refused:?}"
    );
    let (is_locked, _) = cost(Some(&session("one", 3))).await;
    assert!(!is_locked, "and is remembered from then on");
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_told_to_the_holder_for_a_minute() {
    let world = World::new();
    let control = replica(&world);
    written(&control, &prod(), &state(1, "a")).await;
    let request = opentaco_control::LockRequest {
        door: Door::S3,
        credential: Some(session("one", 0)),
        ..lock_request(&uuid(1))
    };
    control.lock(&alice(), &prod(), request).await.unwrap();
    control.settle_down().await;
    let later = world.surroundings().clock.now() + jiff::SignedDuration::from_secs(61);
    world.clock.set(later);
    let before = control.counts().total();
    control
        .look_at_state(&alice(), &prod(), Some(&session("one", 1)))
        .await
        .unwrap();
    assert_eq!(control.counts().total() - before, 2);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_complete_is_told_as_that_also_while_its_parts_are_being_removed() {
    let world = World::new();
    let control = replica(&world);
    let version = written(&control, &prod(), &state(1, "a")).await;
    let id = control.begin_upload(&alice(), &prod()).await.unwrap();
    control
        .put_part(&alice(), &prod(), &id, (1, "ab"), state(1, "a"))
        .await
        .unwrap();
    let completed = Completed {
        version,
        md5: "md5".to_owned(),
        parts: "1-ab".to_owned(),
    };
    control
        .complete_upload(&alice(), &prod(), &id, &completed)
        .await
        .unwrap();
    for _ in 0..2 {
        let standing = control.upload(&alice(), &prod(), &id).await.unwrap();
        assert_eq!(standing, Standing::Completed(completed.clone()));
        control.settle_down().await;
    }
    assert!(control.uploads(&alice()).await.unwrap().is_empty());
}
