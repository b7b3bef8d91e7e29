//! The copy never goes back, and an old record of it is never trusted.

use opentaco_storage::commit::Committing;
use opentaco_testkit::buckets::World;
use opentaco_testkit::faults::{Does, Fate, Gate, Late, On};

use super::{VERSIONS, copy_put, head, head_put, history, recorded, stands, writing, writing_unlocked};
use crate::common::{done, locked, read, state, unit, uuid, write, write_unlocked};

#[tokio::test(start_paused = true)]
async fn trace_15_after_a_late_copy_found_the_content_it_was_made_for_the_next_read_makes_one_story_of_it() {
    // Only where a tag is a digest of the content can the late put find its condition true again.
    let world = World::with_content_tags();
    let ((r0, f0), r1) = (world.failing_replica(), world.replica());
    let (a, b) = (state(1, "a"), state(2, "b"));
    done(write_unlocked(&r0, a.clone()).await);
    r0.settle_down().await;
    let late = Late::new();
    f0.say(copy_put(), Fate::LandsLater(late.clone()));
    done(write_unlocked(&r0, b.clone()).await);
    done(write_unlocked(&r0, a.clone()).await);
    r0.settle_down().await;
    stands(&world, &a).await;
    assert!(late.land().await.is_ok(), "its condition is true again");
    assert_eq!(world.copy(&unit()).await, Some(b.clone()));

    let seen = read(&r1)
        .await
        .unwrap()
        .expect("a living unit never reads as empty");
    r1.settle_down().await;
    stands(&world, &seen).await;
    assert_eq!(read(&r0).await.unwrap(), Some(seen.clone()));
    stands(&world, &seen).await;
    let history = history(&world).await;
    assert!(
        history.ends_with(&[a.clone(), b, a]),
        "nothing acknowledged is lost"
    );
    assert!(history.len() <= 4, "what was seen is at most one version more");
}

#[tokio::test(start_paused = true)]
async fn trace_19_a_copy_with_the_recorded_tag_of_an_older_version_is_not_served() {
    for world in World::of_each_kind() {
        let ((r0, f0), (r1, f1)) = (world.failing_replica(), world.failing_replica());
        let (v1, v2, v3) = (state(1, "a"), state(2, "b"), state(3, "c"));
        assert_eq!(v1.len(), v2.len(), "their sizes do not tell them apart");
        let first = done(write_unlocked(&r0, v1.clone()).await);
        r0.settle_down().await;
        assert_eq!(recorded(&world).await, Some(first.version));

        let gate = Gate::new();
        f0.say(copy_put(), Fate::HeldBefore(gate.clone()));
        let second = writing_unlocked(&r0, &v2);
        gate.reached().await;
        assert_eq!(world.copy(&unit()).await, Some(v1.clone()));
        assert_eq!(recorded(&world).await, Some(first.version));
        assert_eq!(read(&r1).await.unwrap(), Some(v2.clone()));
        gate.open();
        done(second.await.unwrap());
        stands(&world, &v2).await;
        r0.settle_down().await;
        r1.settle_down().await;

        f0.say(copy_put().always(), Fate::Denied);
        f1.say(copy_put().always(), Fate::Denied);
        let answer = write_unlocked(&r0, v3.clone()).await.unwrap();
        assert!(matches!(answer, Committing::Uncopied(..)), "{answer:?}");
        assert_eq!(world.copy(&unit()).await, Some(v2.clone()));
        for replica in [&r0, &r1, &r1] {
            assert_eq!(read(replica).await.unwrap(), Some(v3.clone()));
        }
        assert_eq!(history(&world).await, [v3, v2, v1]);
    }
}

#[tokio::test(start_paused = true)]
async fn trace_28_a_copy_under_way_for_long_does_not_replace_what_came_after_its_version() {
    // A person who puts back the very bytes that the late put was made for is not told apart where a tag is a digest
    // of the content; the design promises nothing then. So this is tried where tags count.
    for hangs_while_settling in [false, true] {
        let world = World::new();
        let ((r0, f0), r1, r2) = (world.failing_replica(), world.replica(), world.replica());
        let (x, v2, v4, v6) = (uuid(1), state(2, "a"), state(4, "b"), state(6, "c"));
        let old = done(write_unlocked(&r0, v2.clone()).await);
        r0.settle_down().await;
        locked(&r0, &x).await;

        let gate = Gate::new();
        if hangs_while_settling {
            f0.say(copy_put(), Fate::InternalError);
            f0.say(On::next(Does::Get, VERSIONS), Fate::HeldBefore(gate.clone()));
        } else {
            f0.say(head_put(), Fate::HeldAfter(gate.clone()));
        }
        let hung = writing(&r0, &x, &v4);
        gate.reached().await;
        done(write(&r1, &x, v6.clone()).await);
        stands(&world, &v6).await;
        assert_eq!(
            recorded(&world).await,
            Some(old.version),
            "nobody has recorded what the copy holds since"
        );
        world.person_puts(super::COPY, v2.clone()).await;
        gate.open();

        done(hung.await.unwrap());
        stands(&world, &v6).await;
        assert_eq!(read(&r2).await.unwrap(), Some(v6.clone()));
        r2.settle_down().await;
        assert_eq!(history(&world).await, [v6, v4, v2]);
        assert_eq!(head(&world).await.lock.map(|lock| lock.info.id), Some(x));
        assert!(f0.all_used());
    }
}
