//! What is committed, what was committed already, and what comes too late.

use opentaco_storage::commit::{Committing, Refusal};
use opentaco_testkit::buckets::World;
use opentaco_testkit::faults::{Does, Fate, Gate, Late, On};

use super::{
    COPY, REJECTED, VERSIONS, copy_put, count, head, head_get, head_put, history, stands, version_objects,
    version_put, writing, writing_unlocked,
};
use crate::common::{
    dies, done, locked, read, refused, rejected, state, unit, unlocked, uuid, write, write_unlocked,
};

#[tokio::test(start_paused = true)]
async fn trace_04_a_retry_of_what_was_committed_succeeds_though_the_lock_is_gone() {
    for world in World::of_each_kind() {
        let ((r0, f0), r1) = (world.failing_replica(), world.replica());
        let (x, y) = (uuid(1), uuid(2));
        let (a, b, c) = (state(1, "a"), state(2, "b"), state(3, "c"));
        done(write_unlocked(&r0, a.clone()).await);
        r0.settle_down().await;
        locked(&r0, &x).await;

        f0.say(head_put(), Fate::SilenceAfterEffect);
        f0.say(head_get().always(), Fate::Unavailable);
        assert!(write(&r0, &x, b.clone()).await.is_err(), "nobody can know");
        assert!(f0.all_used());
        f0.heal();
        let committed = head(&world).await.current_version().unwrap();
        assert!(r1.force_unlock(&unit()).await.unwrap().is_some());

        assert_eq!(done(write(&r1, &x, b.clone()).await).version, committed);
        stands(&world, &b).await;

        locked(&r1, &y).await;
        done(write(&r1, &y, c.clone()).await);
        for released in [false, true] {
            if released {
                unlocked(&r1, &y).await;
            }
            for replica in [&r0, &r1, &world.replica()] {
                assert_eq!(done(write(replica, &x, b.clone()).await).version, committed);
            }
        }
        stands(&world, &c).await;
        assert_eq!(history(&world).await, [c, b, a]);
        assert!(rejected(&r1).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn trace_05_an_older_write_of_the_same_lock_that_hung_does_not_follow_a_newer_one() {
    for hangs_at in [version_put, head_put] {
        for world in World::of_each_kind() {
            let ((r0, f0), r1) = (world.failing_replica(), world.replica());
            let (x, a, b1, b2) = (uuid(1), state(1, "a"), state(2, "b1"), state(3, "b2"));
            done(write_unlocked(&r0, a.clone()).await);
            r0.settle_down().await;
            locked(&r0, &x).await;

            let gate = Gate::new();
            f0.say(hangs_at(), Fate::HeldBefore(gate.clone()));
            let hung = writing(&r0, &x, &b1);
            gate.reached().await;
            done(write(&r1, &x, b2.clone()).await);
            gate.open();

            let why = refused(hung.await.unwrap());
            assert!(matches!(why, Refusal::Late), "{why:?}");
            assert_eq!(rejected(&r1).await, [b1]);
            stands(&world, &b2).await;
            assert_eq!(history(&world).await, [b2, a]);
            assert!(f0.all_used());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn trace_06_a_write_whose_copy_was_lost_is_not_answered_while_the_copy_is_older_than_it() {
    for world in World::of_each_kind() {
        let ((r0, f0), (r1, f1)) = (world.failing_replica(), world.failing_replica());
        let (a, b, c) = (state(1, "a"), state(2, "b"), state(3, "c"));
        done(write_unlocked(&r0, a.clone()).await);
        r0.settle_down().await;

        let (committed, copying) = (Gate::new(), Gate::new());
        f0.say(head_put(), Fate::HeldAfter(committed.clone()));
        f0.say(copy_put(), Fate::InternalError);
        f1.say(copy_put(), Fate::HeldBefore(copying.clone()));
        let w1 = writing_unlocked(&r0, &b);
        committed.reached().await;
        let w2 = writing_unlocked(&r1, &c);
        copying.reached().await;
        assert_eq!(
            world.copy(&unit()).await,
            Some(a.clone()),
            "nothing is copied yet"
        );
        committed.open();

        done(w1.await.unwrap());
        stands(&world, &c).await;
        copying.open();
        done(w2.await.unwrap());
        stands(&world, &c).await;
        assert_eq!(history(&world).await, [c, b, a]);
        assert!(f0.all_used() && f1.all_used());
    }
}

#[tokio::test(start_paused = true)]
async fn trace_12_a_conflict_on_a_version_object_does_not_mean_that_it_is_there() {
    for world in World::of_each_kind() {
        let (r0, f0) = world.failing_replica();
        let (a, b, c) = (state(1, "a"), state(2, "b"), state(3, "c"));
        done(write_unlocked(&r0, a.clone()).await);

        f0.say(version_put(), Fate::Conflict);
        done(write_unlocked(&r0, b.clone()).await);
        assert!(f0.all_used());
        stands(&world, &b).await;

        f0.say(version_put().always(), Fate::Conflict);
        let tries = f0.seen().len();
        assert!(write_unlocked(&r0, c).await.is_err());
        assert!(
            f0.seen()[tries..]
                .iter()
                .any(|(does, key)| *does == Does::Put && key.contains(VERSIONS))
        );
        f0.heal();
        assert_eq!(history(&world).await, [b, a]);
    }
}

#[tokio::test(start_paused = true)]
async fn trace_12_what_one_of_two_equal_writes_clears_away_is_not_the_version_of_the_other() {
    for world in World::of_each_kind() {
        let ((r0, f0), r1) = (world.failing_replica(), world.replica());
        let (a, b) = (state(1, "a"), state(2, "b"));
        done(write_unlocked(&r0, a.clone()).await);
        r0.settle_down().await;

        let gate = Gate::new();
        f0.say(head_put(), Fate::HeldBefore(gate.clone()));
        let w0 = writing_unlocked(&r0, &b);
        gate.reached().await;
        let theirs = done(write_unlocked(&r1, b.clone()).await);
        assert_eq!(
            version_objects(&world).await.len(),
            3,
            "two of them have the same bytes"
        );
        gate.open();

        assert_eq!(done(w0.await.unwrap()).version, theirs.version);
        r0.settle_down().await;
        assert_eq!(
            version_objects(&world).await.len(),
            2,
            "the one that did not commit is cleared away"
        );
        assert_eq!(history(&world).await, [b, a]);
        assert!(f0.all_used());
    }
}

#[tokio::test(start_paused = true)]
async fn trace_16_what_could_not_be_kept_is_not_refused() {
    for world in World::of_each_kind() {
        let (r0, f0) = world.failing_replica();
        let (x, a, b) = (uuid(1), state(1, "a"), state(2, "b"));
        done(write_unlocked(&r0, a.clone()).await);
        locked(&r0, &x).await;
        unlocked(&r0, &x).await;

        f0.say(On::next(Does::Put, REJECTED).always(), Fate::InternalError);
        let answer = write(&r0, &x, b.clone()).await;
        assert!(answer.is_err(), "{answer:?}");
        assert!(
            f0.seen()
                .iter()
                .any(|(does, key)| *does == Does::Put && key.contains(REJECTED))
        );
        f0.heal();
        assert!(rejected(&r0).await.is_empty());

        let gate = Gate::new();
        f0.say(On::next(Does::Put, REJECTED), Fate::HeldBefore(gate.clone()));
        let waiting = writing(&r0, &x, &b);
        gate.reached().await;
        dies(waiting).await;
        assert!(rejected(&world.replica()).await.is_empty());

        refused(write(&r0, &x, b.clone()).await);
        assert_eq!(rejected(&world.replica()).await, [b]);
        stands(&world, &a).await;
    }
}

#[tokio::test(start_paused = true)]
async fn trace_17_a_write_is_answered_when_the_copy_holds_it_and_not_before() {
    for world in World::of_each_kind() {
        let (r0, f0) = world.failing_replica();
        let (a, b, c) = (state(1, "a"), state(2, "b"), state(3, "c"));
        done(write_unlocked(&r0, a.clone()).await);
        r0.settle_down().await;

        let gate = Gate::new();
        f0.say(copy_put(), Fate::HeldBefore(gate.clone()));
        let waiting = writing_unlocked(&r0, &b);
        gate.reached().await;
        dies(waiting).await;
        assert_eq!(
            world.copy(&unit()).await,
            Some(a.clone()),
            "it died before the copy"
        );
        done(write_unlocked(&world.replica(), b.clone()).await);
        stands(&world, &b).await;

        f0.say(copy_put().always(), Fate::Denied);
        let answer = write_unlocked(&r0, c.clone()).await.unwrap();
        let Committing::Uncopied(committed, _) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(world.copy(&unit()).await, Some(b.clone()));
        f0.heal();
        assert_eq!(
            done(write_unlocked(&r0, c.clone()).await).version,
            committed.version
        );
        stands(&world, &c).await;
        assert_eq!(history(&world).await, [c, b, a]);
    }
}

#[tokio::test(start_paused = true)]
async fn trace_21_a_copy_that_lands_late_does_not_replace_a_newer_one() {
    for world in World::of_each_kind() {
        let ((r0, f0), r1) = (world.failing_replica(), world.replica());
        let (a, b, c) = (state(1, "a"), state(2, "b"), state(3, "c"));
        done(write_unlocked(&r0, a.clone()).await);
        r0.settle_down().await;

        let late = Late::new();
        f0.say(copy_put(), Fate::LandsLater(late.clone()));
        done(write_unlocked(&r0, b.clone()).await);
        assert_eq!(late.waiting(), 1);
        stands(&world, &b).await;
        assert!(late.land().await.is_err(), "one was put instead of it");

        let late = Late::new();
        f0.say(copy_put(), Fate::LandsLater(late.clone()));
        let dying = writing_unlocked(&r0, &c);
        late.sent().await;
        dies(dying).await;
        let d = state(4, "d");
        done(write_unlocked(&r1, d.clone()).await);
        assert!(late.land().await.is_err(), "another is there by now");
        stands(&world, &d).await;
        assert_eq!(read(&r1).await.unwrap(), Some(d.clone()));
        assert_eq!(history(&world).await, [d, c, b, a]);
    }
}

#[tokio::test(start_paused = true)]
async fn trace_32_without_a_lock_the_same_bytes_may_be_meant_anew() {
    for who in [[0, 0, 0], [0, 1, 0]] {
        for world in World::of_each_kind() {
            let replicas = [world.replica(), world.replica()];
            let (a, b) = (state(1, "a"), state(2, "b"));
            for (who, bytes) in who.into_iter().zip([&a, &b, &a]) {
                done(write_unlocked(&replicas[who], bytes.clone()).await);
            }
            stands(&world, &a).await;
            assert_eq!(history(&world).await, [a.clone(), b, a]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn trace_36_who_learns_late_that_it_has_committed_does_not_put_its_copy_over_a_newer_one() {
    for world in World::of_each_kind() {
        let ((r0, f0), r1) = (world.failing_replica(), world.replica());
        let (a, b, c) = (state(1, "a"), state(2, "b"), state(3, "c"));
        done(write_unlocked(&r0, a.clone()).await);
        r0.settle_down().await;
        let copies_before = count(&f0, Does::Put, COPY);

        let gate = Gate::new();
        f0.say(head_put(), Fate::AnswerLost);
        f0.say(head_get(), Fate::HeldBefore(gate.clone()));
        let w1 = writing_unlocked(&r0, &b);
        gate.reached().await;
        let second = done(write_unlocked(&r1, c.clone()).await);
        r1.settle_down().await;
        assert_eq!(super::recorded(&world).await, Some(second.version));
        gate.open();

        done(w1.await.unwrap());
        stands(&world, &c).await;
        r0.settle_down().await;
        assert_eq!(
            count(&f0, Does::Put, COPY),
            copies_before,
            "the first had nothing to put any more"
        );
        assert_eq!(read(&r1).await.unwrap(), Some(c.clone()));
        assert_eq!(history(&world).await, [c, b, a]);
        assert!(f0.all_used());
    }
}
