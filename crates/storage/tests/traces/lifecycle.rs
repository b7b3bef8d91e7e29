//! Units that are older than us, that are deleted, and that live again.

use std::collections::BTreeMap;
use std::slice::from_ref;

use opentaco_storage::commit::Committing;
use opentaco_storage::head::Origin;
use opentaco_storage::lifecycle::{Creating, Deleting, Described, Undeleting};
use opentaco_storage::listing::ListUnits;
use opentaco_storage::locks::Locked;
use opentaco_storage::{StorageError, Vault, is_vacant};
use opentaco_testkit::buckets::World;
use opentaco_testkit::faults::{Does, Fate, Gate, Late};
use tokio::task::JoinHandle;

use super::{
    COPY, copy_get, copy_put, count, head, head_put, history, holder, recorded, stands, version_key,
    writing_unlocked,
};
use crate::common::{
    alice, dies, done, lock, locked, meanwhile, read, state, unit, unlocked, uuid, write, write_unlocked,
};

async fn create(replica: &Vault) -> Result<Creating, StorageError> {
    replica.create(&unit(), BTreeMap::new(), String::new()).await
}

/// Whether a copy lies there, and no state in it.
async fn is_empty(world: &World) -> bool {
    world.copy(&unit()).await.is_some_and(|bytes| is_vacant(&bytes))
}

fn deleting(replica: &Vault) -> JoinHandle<Result<Deleting, StorageError>> {
    meanwhile(replica, |replica| async move {
        replica.delete(&unit(), &alice()).await
    })
}

#[tokio::test(start_paused = true)]
async fn trace_10_the_first_head_of_an_old_bucket_is_made_from_its_state() {
    for world in World::of_each_kind() {
        let ((r0, f0), r1) = (world.failing_replica(), world.replica());
        let (x, old, v2) = (uuid(1), state(7, "older than us"), state(8, "b"));
        world.person_puts(COPY, old.clone()).await;
        assert_eq!(read(&r1).await.unwrap(), Some(old.clone()));
        assert!(world.head(&unit()).await.is_none(), "reading makes no head");

        f0.say(copy_get().always(), Fate::InternalError);
        assert!(lock(&r0, &x).await.is_err());
        assert!(create(&r0).await.is_err());
        assert!(write_unlocked(&r0, v2.clone()).await.is_err());
        assert!(
            count(&f0, Does::Get, COPY) >= 3,
            "each of them wanted to know the state"
        );
        assert!(world.head(&unit()).await.is_none(), "no head without the state");
        f0.heal();

        locked(&r0, &x).await;
        for replica in [&r0, &r1] {
            assert_eq!(read(replica).await.unwrap(), Some(old.clone()));
        }
        assert_eq!(head(&world).await.current.unwrap().origin, Origin::Adopted);
        let answer = create(&r1).await.unwrap();
        assert!(matches!(answer, Creating::Exists(_)), "{answer:?}");
        stands(&world, &old).await;
        done(write(&r1, &x, v2.clone()).await);
        assert_eq!(history(&world).await, [v2, old]);
    }
}

#[tokio::test(start_paused = true)]
async fn trace_10_of_two_first_touches_one_makes_the_head_and_both_are_decided_on_it() {
    for world in World::of_each_kind() {
        let ((r0, f0), r1) = (world.failing_replica(), world.replica());
        let (x, old, v2) = (uuid(1), state(7, "older than us"), state(8, "b"));
        world.person_puts(COPY, old.clone()).await;

        let gate = Gate::new();
        f0.say(head_put(), Fate::HeldBefore(gate.clone()));
        let slow = meanwhile(&r0, |r0| async move { lock(&r0, &uuid(2)).await });
        gate.reached().await;
        locked(&r1, &x).await;
        done(write(&r1, &x, v2.clone()).await);
        gate.open();

        let answer = slow.await.unwrap().unwrap();
        assert!(
            matches!(&answer, Locked::Held(lock) if lock.info.id == x),
            "{answer:?}"
        );
        r0.settle_down().await;
        stands(&world, &v2).await;
        assert_eq!(history(&world).await, [v2, old]);
        assert_eq!(
            super::version_objects(&world).await.len(),
            2,
            "the adoption that lost is cleared away"
        );
        assert!(f0.all_used());
    }
}

#[tokio::test(start_paused = true)]
async fn trace_13_a_unit_that_is_created_again_keeps_its_history() {
    for world in World::of_each_kind() {
        let (r0, r1) = (world.replica(), world.replica());
        let (x, a, b) = (uuid(1), state(1, "a"), state(2, "b"));
        locked(&r0, &x).await;
        let version = done(write(&r0, &x, a.clone()).await).version;
        unlocked(&r0, &x).await;
        r0.delete(&unit(), &alice()).await.unwrap();
        let answer = create(&r1).await.unwrap();
        assert!(matches!(answer, Creating::Created(_)), "{answer:?}");

        assert_eq!(history(&world).await, from_ref(&a));
        assert!(head(&world).await.current.is_none());
        assert_eq!(
            done(write(&r0, &x, a.clone()).await).version,
            version,
            "its retry is what was committed"
        );
        assert_eq!(read(&r0).await.unwrap(), None);
        assert!(r1.read_version(&unit(), &version).await.unwrap().is_some());

        done(write_unlocked(&r0, b.clone()).await);
        stands(&world, &b).await;
        assert_eq!(history(&world).await, [b, a]);
    }
}

#[tokio::test(start_paused = true)]
async fn trace_14_neither_a_late_emptying_nor_a_late_first_copy_reaches_the_unit_created_since() {
    for world in World::of_each_kind() {
        let ((r0, f0), r1) = (world.failing_replica(), world.replica());
        let (v1, v2) = (state(1, "a"), state(2, "b"));
        let (first_copy, emptying) = (Late::new(), Late::new());
        f0.say(copy_put(), Fate::LandsLater(first_copy.clone()));
        done(write_unlocked(&r0, v1.clone()).await);
        r0.settle_down().await;
        stands(&world, &v1).await;

        f0.say(copy_put(), Fate::LandsLater(emptying.clone()));
        r0.delete(&unit(), &alice()).await.unwrap();
        r0.settle_down().await;
        assert!(
            first_copy.land().await.is_err(),
            "there is a copy, though an empty one"
        );
        assert!(is_empty(&world).await);

        create(&r1).await.unwrap();
        done(write_unlocked(&r1, v2.clone()).await);
        assert!(emptying.land().await.is_err(), "another state is there by now");
        stands(&world, &v2).await;
        assert_eq!(read(&r0).await.unwrap(), Some(v2.clone()));
        assert_eq!(history(&world).await, [v2, v1]);
        assert_eq!(count(&f0, Does::Delete, COPY), 0);
        assert!(f0.all_used());
    }
}

#[tokio::test(start_paused = true)]
async fn trace_30_a_deleted_state_that_was_left_in_the_copy_is_not_adopted() {
    // What the copy holds was recorded before the delete, or it was not. Then somebody reads the tombstone; or creates
    // the unit again; or dies while creating it.
    for recorded_before in [false, true] {
        for then in ["read", "create", "die"] {
            for world in World::of_each_kind() {
                let ((r0, f0), (r1, f1), r2) =
                    (world.failing_replica(), world.failing_replica(), world.replica());
                let v1 = state(1, "a");
                locked(&r2, &uuid(1)).await;
                let version = done(write(&r2, &uuid(1), v1.clone()).await).version;
                match recorded_before {
                    true => unlocked(&r2, &uuid(1)).await,
                    false => assert!(r0.force_unlock(&unit()).await.unwrap().is_some()),
                }
                assert_eq!(recorded(&world).await == Some(version), recorded_before);

                let gate = Gate::new();
                f0.say(copy_put(), Fate::HeldBefore(gate.clone()));
                let crashing = deleting(&r0);
                gate.reached().await;
                dies(crashing).await;
                assert!(head(&world).await.deleted.is_some());
                assert_eq!(
                    world.copy(&unit()).await,
                    Some(v1.clone()),
                    "it died before the emptying"
                );
                match then {
                    "create" => drop(create(&r1).await.unwrap()),
                    "die" => {
                        f1.say(copy_put().always(), Fate::Denied);
                        assert!(create(&r1).await.is_err());
                        assert_eq!(world.copy(&unit()).await, Some(v1.clone()));
                    }
                    _ => {}
                }

                for _ in 0..2 {
                    assert_eq!(read(&r2).await.unwrap(), None, "{then}");
                    r2.settle_down().await;
                }
                let head = head(&world).await;
                assert!(head.current.is_none(), "{then}");
                assert_eq!(head.deleted.is_some(), then == "read");
                assert!(is_empty(&world).await, "{then}");
                assert_eq!(history(&world).await, [v1]);
                assert!(f0.all_used());
            }
        }
    }
}

/// A unit whose delete died with the emptying of the copy under way, and which was brought back since.
async fn undeleted_with_a_late_emptying(world: &World) -> Late {
    let ((r0, f0), r1) = (world.failing_replica(), world.replica());
    let v1 = state(1, "a");
    done(write_unlocked(&r0, v1.clone()).await);
    r0.settle_down().await;
    let late = Late::new();
    f0.say(copy_put(), Fate::LandsLater(late.clone()));
    let crashing = deleting(&r0);
    late.sent().await;
    dies(crashing).await;
    assert!(head(world).await.deleted.is_some());
    assert_eq!(
        world.copy(&unit()).await,
        Some(v1.clone()),
        "the very bytes still stand"
    );

    let answer = r1
        .undelete(&unit(), &alice(), "management")
        .await
        .expect("the bucket answers");
    assert!(
        matches!(answer, Undeleting::Committed(Committing::Done(_))),
        "{answer:?}"
    );
    r1.settle_down().await;
    stands(world, &v1).await;
    late
}

#[tokio::test(start_paused = true)]
async fn trace_35_a_late_emptying_does_not_reach_a_unit_that_was_brought_back() {
    let world = World::new();
    let late = undeleted_with_a_late_emptying(&world).await;
    assert!(late.land().await.is_err(), "the copy was put again");
    let v1 = state(1, "a");
    stands(&world, &v1).await;
    assert_eq!(read(&world.replica()).await.unwrap(), Some(v1.clone()));
    let versions: Vec<_> = head(&world)
        .await
        .known()
        .map(|committed| version_key(&committed.version))
        .collect();
    assert_eq!(versions.len(), 2);
    assert_ne!(versions[0], versions[1], "it is a version of its own");
    assert_eq!(history(&world).await, [v1.clone(), v1]);
    assert_eq!(holder(&world).await, None);
}

#[tokio::test(start_paused = true)]
async fn trace_35_where_a_late_emptying_finds_the_same_bytes_the_next_read_mends_it() {
    // Where a tag is a digest of the content, putting the copy again does not change it.
    let world = World::with_content_tags();
    let late = undeleted_with_a_late_emptying(&world).await;
    assert!(late.land().await.is_ok(), "its condition is true again");
    assert!(is_empty(&world).await);

    let (v1, reader) = (state(1, "a"), world.replica());
    assert_eq!(read(&reader).await.unwrap(), Some(v1.clone()));
    reader.settle_down().await;
    stands(&world, &v1).await;
    assert_eq!(history(&world).await, [v1.clone(), v1]);
}

#[tokio::test(start_paused = true)]
async fn trace_39_a_first_copy_that_is_still_on_its_way_does_not_reach_a_unit_that_was_deleted_meanwhile() {
    for world in World::of_each_kind() {
        let ((r0, f0), (r1, f1)) = (world.failing_replica(), world.failing_replica());
        let v1 = state(1, "a");
        // It was touched, and there is nothing of it: the delete finds nothing to mend when it looks first.
        locked(&r0, &uuid(1)).await;
        unlocked(&r0, &uuid(1)).await;
        r0.settle_down().await;
        let gate = Gate::new();
        f1.say(copy_get().after(1), Fate::HeldAfter(gate.clone()));
        let under_way = deleting(&r1);
        gate.reached().await;
        let late = Late::new();
        f0.say(copy_put(), Fate::LandsLater(late.clone()));
        let crashing = writing_unlocked(&r0, &v1);
        late.sent().await;
        dies(crashing).await;
        assert!(
            world.copy(&unit()).await.is_none(),
            "there was no copy before the first"
        );
        gate.open();

        let answer = under_way.await.unwrap().unwrap();
        assert!(matches!(answer, Deleting::Deleted), "{answer:?}");
        assert!(late.land().await.is_err(), "it finds an empty copy");
        assert!(is_empty(&world).await);
        assert_eq!(read(&r1).await.unwrap(), None);
        assert_eq!(history(&world).await, [v1]);
    }
}

#[tokio::test(start_paused = true)]
async fn trace_35_an_undelete_whose_put_was_refused_puts_the_copy_all_the_same() {
    let world = World::new();
    let ((r0, f0), (r1, f1)) = (world.failing_replica(), world.failing_replica());
    let v1 = state(1, "a");
    done(write_unlocked(&r0, v1.clone()).await);
    r0.settle_down().await;
    let late = Late::new();
    f0.say(copy_put(), Fate::LandsLater(late.clone()));
    let crashing = deleting(&r0);
    late.sent().await;
    dies(crashing).await;

    f1.say(copy_put(), Fate::PreconditionFailed);
    let answer = r1.undelete(&unit(), &alice(), "management").await.unwrap();
    assert!(
        matches!(answer, Undeleting::Committed(Committing::Done(_))),
        "{answer:?}"
    );
    r1.settle_down().await;
    assert!(f1.all_used());
    assert!(
        late.land().await.is_err(),
        "the right bytes stood there, and were put again"
    );
    stands(&world, &v1).await;
}

#[tokio::test(start_paused = true)]
async fn trace_42_the_put_of_a_write_that_was_deleted_does_not_find_the_empty_copy_it_was_made_for() {
    for world in World::of_each_kind() {
        let ((r0, f0), (r1, f1)) = (world.failing_replica(), world.failing_replica());
        let v1 = state(1, "a");
        let created = create(&r0).await.unwrap();
        assert!(matches!(created, Creating::Created(_)), "{created:?}");
        r0.settle_down().await;
        // The delete has mended the copy and is about to swap the head when the write comes in between.
        let gate = Gate::new();
        f1.say(head_put(), Fate::HeldBefore(gate.clone()));
        let under_way = deleting(&r1);
        gate.reached().await;
        let late = Late::new();
        f0.say(copy_put(), Fate::LandsLater(late.clone()));
        let crashing = writing_unlocked(&r0, &v1);
        late.sent().await;
        dies(crashing).await;
        gate.open();

        let answer = under_way.await.unwrap().unwrap();
        assert!(matches!(answer, Deleting::Deleted), "{answer:?}");
        assert!(late.land().await.is_err(), "the empty copy was put once more");
        assert!(is_empty(&world).await);
        assert_eq!(read(&r1).await.unwrap(), None);
        assert_eq!(history(&world).await, [v1]);
    }
}

#[tokio::test(start_paused = true)]
async fn trace_42_a_copy_that_others_emptied_before_the_deleted_write_is_emptied_once_more_too() {
    for world in World::of_each_kind() {
        let (r0, (r1, f1), r2) = (world.replica(), world.failing_replica(), world.replica());
        let ((r3, f3), (r4, f4)) = (world.failing_replica(), world.failing_replica());
        let (v1, v2) = (state(1, "a"), state(2, "b"));
        done(write_unlocked(&r0, v1.clone()).await);
        r0.settle_down().await;

        // One delete has its tombstone, and is about to empty the copy.
        let emptying = Gate::new();
        f1.say(copy_put(), Fate::HeldBefore(emptying.clone()));
        let slow = deleting(&r1);
        emptying.reached().await;
        // Others empty it first, and make the unit anew.
        assert_eq!(read(&r2).await.unwrap(), None);
        r2.settle_down().await;
        create(&r2).await.unwrap();
        r2.settle_down().await;
        // A second delete is about to swap the head when a write comes in between, whose copy travels.
        let swapping = Gate::new();
        f4.say(head_put(), Fate::HeldBefore(swapping.clone()));
        let second = deleting(&r4);
        swapping.reached().await;
        let late = Late::new();
        // The first put is refused, for the second delete has emptied the copy anew; the one that settling makes travels.
        f3.say(copy_put().after(1), Fate::LandsLater(late.clone()));
        let crashing = writing_unlocked(&r3, &v2);
        late.sent().await;
        dies(crashing).await;
        // The second delete has its tombstone too, and dies before it looks at the copy.
        let looking = Gate::new();
        f4.say(copy_get(), Fate::HeldBefore(looking.clone()));
        swapping.open();
        looking.reached().await;
        dies(second).await;
        assert!(head(&world).await.deleted.is_some());

        emptying.open();
        let answer = slow.await.unwrap().unwrap();
        assert!(matches!(answer, Deleting::Deleted), "{answer:?}");
        assert!(
            late.land().await.is_err(),
            "what is empty since before the write does not count as emptied"
        );
        assert!(is_empty(&world).await);
        assert_eq!(history(&world).await, [v2, v1]);
    }
}

#[tokio::test(start_paused = true)]
async fn trace_43_the_first_copy_of_a_unit_that_was_deleted_finds_no_empty_copy_like_the_one_it_was_made_for()
{
    for world in World::of_each_kind() {
        let ((r0, faults), r1) = (world.failing_replica(), world.replica());
        create(&r0).await.unwrap();
        r0.settle_down().await;
        let late = Late::new();
        faults.say(copy_put(), Fate::LandsLater(late.clone()));
        let v1 = state(1, "a");
        done(write_unlocked(&r0, v1.clone()).await);
        r0.settle_down().await;
        let answer = r1.delete(&unit(), &alice()).await.unwrap();
        assert!(matches!(answer, Deleting::Deleted), "{answer:?}");
        r1.settle_down().await;
        assert!(is_empty(&world).await);

        assert!(
            late.land().await.is_err(),
            "it was made for the empty copy of before the write"
        );
        assert!(is_empty(&world).await);
        let listed = r1.list(&ListUnits::default()).await.unwrap().units;
        assert!(listed.is_empty(), "{listed:?}");
        assert_eq!(read(&r1).await.unwrap(), None);
        assert_eq!(history(&world).await, [v1]);
    }
}

#[tokio::test(start_paused = true)]
async fn trace_43_a_unit_that_is_created_anew_has_no_state_whatever_emptied_its_copy() {
    for world in World::of_each_kind() {
        let (r0, r1) = (world.replica(), world.replica());
        done(write_unlocked(&r0, state(1, "a")).await);
        r0.settle_down().await;
        r0.delete(&unit(), &alice()).await.unwrap();
        r0.settle_down().await;
        create(&r1).await.unwrap();
        r1.settle_down().await;
        assert_eq!(read(&r0).await.unwrap(), None);
        let listed = world.replica().list(&ListUnits::default()).await.unwrap().units;
        let [listed] = &*listed else {
            panic!("it is listed: {listed:?}")
        };
        assert_eq!((&listed.unit, listed.size), (&unit(), 0));

        // Its head is lost: what lies in the copy is nobody's state all the same.
        world
            .person_removes(&format!("__opentaco_units/{}/@head.json", unit()))
            .await;
        let r2 = world.replica();
        assert_eq!(read(&r2).await.unwrap(), None);
        assert!(
            matches!(r2.describe(&unit()).await.unwrap(), Described::Untouched(meta, None) if meta.size == 0)
        );
        done(write_unlocked(&r2, state(2, "b")).await);
        assert_eq!(read(&r2).await.unwrap(), Some(state(2, "b")));
    }
}

#[tokio::test(start_paused = true)]
async fn trace_42_a_delete_that_finds_the_unit_deleted_and_made_anew_by_others_empties_its_copy_all_the_same()
{
    for world in World::of_each_kind() {
        let ((r0, f0), (r1, f1)) = (world.failing_replica(), world.failing_replica());
        let ((r2, f2), (r3, f3)) = (world.failing_replica(), world.failing_replica());
        let v1 = state(1, "a");
        create(&r0).await.unwrap();
        r0.settle_down().await;
        // Two deletes have seen to the copy and are about to swap the head when a write comes in between.
        let (first, second) = (Gate::new(), Gate::new());
        f1.say(head_put(), Fate::HeldBefore(first.clone()));
        let under_way = deleting(&r1);
        first.reached().await;
        f2.say(head_put(), Fate::HeldBefore(second.clone()));
        let faster = deleting(&r2);
        second.reached().await;
        let late = Late::new();
        // The first put is refused, for the deletes have emptied the copy anew; the one that settling makes travels.
        f0.say(copy_put().after(1), Fate::LandsLater(late.clone()));
        let crashing = writing_unlocked(&r0, &v1);
        late.sent().await;
        dies(crashing).await;
        // One of them has its tombstone, and dies before it looks at the copy; so does whoever makes the unit anew.
        let looking = Gate::new();
        f2.say(copy_get(), Fate::HeldBefore(looking.clone()));
        second.open();
        looking.reached().await;
        dies(faster).await;
        assert!(head(&world).await.deleted.is_some());
        let showing = Gate::new();
        f3.say(copy_put(), Fate::HeldBefore(showing.clone()));
        let creating = meanwhile(&r3, |r3| async move { create(&r3).await });
        showing.reached().await;
        dies(creating).await;
        assert!(head(&world).await.deleted.is_none());

        first.open();
        let answer = under_way.await.unwrap().unwrap();
        assert!(matches!(answer, Deleting::Deleted), "{answer:?}");
        assert!(
            late.land().await.is_err(),
            "it was made for the copy that lay there before the write"
        );
        assert!(is_empty(&world).await);
        assert!(head(&world).await.exists(), "the new unit stays");
        assert_eq!(history(&world).await, [v1]);
    }
}

#[tokio::test(start_paused = true)]
async fn trace_43_a_written_unit_is_listed_with_its_state_whatever_emptied_its_copy_before() {
    for world in World::of_each_kind() {
        let ((r0, faults), r1) = (world.failing_replica(), world.replica());
        done(write_unlocked(&r0, state(1, "a")).await);
        r0.settle_down().await;
        r0.delete(&unit(), &alice()).await.unwrap();
        r0.settle_down().await;
        create(&r0).await.unwrap();
        r0.settle_down().await;
        let gate = Gate::new();
        faults.say(copy_put(), Fate::HeldBefore(gate.clone()));
        let v2 = state(2, "b");
        let crashing = writing_unlocked(&r0, &v2);
        gate.reached().await;
        dies(crashing).await;
        assert!(is_empty(&world).await, "its copy is not written yet");

        let listed = r1.list(&ListUnits::default()).await.unwrap().units;
        let [listed] = &*listed else {
            panic!("it is listed: {listed:?}")
        };
        assert_eq!((&listed.unit, listed.size), (&unit(), v2.len() as u64));
        assert!(listed.head.is_some(), "it was read");
    }
}

#[tokio::test(start_paused = true)]
async fn trace_43_a_copy_that_a_person_removed_does_not_come_back_as_the_empty_one_of_before() {
    for then in ["create", "delete"] {
        for world in World::of_each_kind() {
            let ((r0, faults), r1) = (world.failing_replica(), world.replica());
            create(&r0).await.unwrap();
            r0.settle_down().await;
            let late = Late::new();
            faults.say(copy_put(), Fate::LandsLater(late.clone()));
            let v1 = state(1, "a");
            done(write_unlocked(&r0, v1.clone()).await);
            r0.settle_down().await;
            r1.delete(&unit(), &alice()).await.unwrap();
            r1.settle_down().await;

            world.person_removes(COPY).await;
            match then {
                "create" => drop(create(&r1).await.unwrap()),
                _ => drop(r1.delete(&unit(), &alice()).await.unwrap()),
            }
            r1.settle_down().await;
            assert!(is_empty(&world).await, "{then}");
            assert!(late.land().await.is_err(), "{then}");
            assert!(is_empty(&world).await, "{then}");
            assert_eq!(history(&world).await, from_ref(&v1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn trace_43_a_delete_that_is_repeated_leaves_the_head_knowing_what_the_copy_holds() {
    for world in World::of_each_kind() {
        let (r0, r1) = (world.replica(), world.replica());
        done(write_unlocked(&r0, state(1, "a")).await);
        r0.settle_down().await;
        for replica in [&r0, &r1] {
            replica.delete(&unit(), &alice()).await.unwrap();
            replica.settle_down().await;
        }
        let r2 = world.replica();
        let before = r2.bucket().counts().total();
        assert!(r2.list(&ListUnits::default()).await.unwrap().units.is_empty());
        r2.settle_down().await;
        let requests = r2.bucket().counts().total() - before;
        assert_eq!(requests, 3, "two listings, one head, and no copy");
    }
}
