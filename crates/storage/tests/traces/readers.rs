//! Readers who are overtaken, and readers who could be in the way.

use opentaco_testkit::buckets::World;
use opentaco_testkit::faults::{Does, Fate, Gate};

use super::{COPY, HEAD, copy_get, copy_put, count, head_get, history, reading, stands, writing_unlocked};
use crate::common::{done, locked, read, rejected, state, unit, uuid, write, write_unlocked};

#[tokio::test(start_paused = true)]
async fn trace_18_a_commit_that_overtakes_a_reader_is_not_taken_for_a_strangers_write() {
    for world in World::of_each_kind() {
        let (r0, (r1, f1)) = (world.replica(), world.failing_replica());
        let (x, v1, v2) = (uuid(1), state(1, "a"), state(2, "b"));
        locked(&r0, &x).await;
        done(write(&r0, &x, v1.clone()).await);

        let gate = Gate::new();
        f1.say(copy_get(), Fate::HeldBefore(gate.clone()));
        let overtaken = reading(&r1);
        gate.reached().await;
        done(write(&r0, &x, v2.clone()).await);
        gate.open();

        assert_eq!(overtaken.await.unwrap().unwrap(), Some(v2.clone()));
        r1.settle_down().await;
        assert_eq!(
            count(&f1, Does::Get, HEAD),
            2,
            "the first head it saw was the old one"
        );
        assert!(
            f1.seen().iter().all(|(does, _)| *does == Does::Get),
            "it had nothing to mend: {:?}",
            f1.seen()
        );
        stands(&world, &v2).await;
        assert_eq!(history(&world).await, [v2, v1]);
        assert!(rejected(&r0).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn trace_18_a_copy_that_changed_around_the_head_is_looked_at_again() {
    for world in World::of_each_kind() {
        let (r0, (r1, f1)) = (world.replica(), world.failing_replica());
        let (x, v1, v2, v3) = (uuid(1), state(1, "a"), state(2, "b"), state(3, "c"));
        locked(&r0, &x).await;
        done(write(&r0, &x, v1.clone()).await);

        let (before_the_copy, behind_the_head) = (Gate::new(), Gate::new());
        f1.say(copy_get(), Fate::HeldBefore(before_the_copy.clone()));
        let overtaken = reading(&r1);
        before_the_copy.reached().await;
        done(write(&r0, &x, v2.clone()).await);
        f1.say(head_get(), Fate::HeldAfter(behind_the_head.clone()));
        before_the_copy.open();
        behind_the_head.reached().await;
        done(write(&r0, &x, v3.clone()).await);
        behind_the_head.open();

        assert_eq!(overtaken.await.unwrap().unwrap(), Some(v3.clone()));
        r1.settle_down().await;
        assert!(
            f1.seen().iter().all(|(does, _)| *does == Does::Get),
            "it had nothing to mend: {:?}",
            f1.seen()
        );
        stands(&world, &v3).await;
        assert_eq!(history(&world).await, [v3, v2, v1]);
        assert!(rejected(&r0).await.is_empty());
        assert!(f1.all_used());
    }
}

#[tokio::test(start_paused = true)]
async fn trace_38_a_commit_under_way_is_served_at_once_and_not_judged() {
    for world in World::of_each_kind() {
        let ((r0, f0), (r1, f1)) = (world.failing_replica(), world.failing_replica());
        let (v1, v2) = (state(1, "a"), state(2, "b"));
        done(write_unlocked(&r0, v1.clone()).await);
        r0.settle_down().await;

        let gate = Gate::new();
        f0.say(copy_put(), Fate::HeldBefore(gate.clone()));
        let under_way = writing_unlocked(&r0, &v2);
        gate.reached().await;
        assert_eq!(read(&r1).await.unwrap(), Some(v2.clone()));
        let asked = f1.seen();
        assert_eq!(asked.len(), 3, "head and copy, then the version: {asked:?}");
        assert!(asked.iter().all(|(does, _)| *does == Does::Get), "{asked:?}");
        gate.open();
        done(under_way.await.unwrap());
        r1.settle_down().await;
        stands(&world, &v2).await;
        assert_eq!(history(&world).await, [v2, v1]);
    }
}

#[tokio::test(start_paused = true)]
async fn trace_38_a_steady_writer_does_not_starve_a_reader_nor_the_reader_the_writer() {
    for world in World::of_each_kind() {
        let (r0, (r1, f1)) = (world.replica(), world.failing_replica());
        let x = uuid(1);
        let mut serial = 1;
        done(write_unlocked(&r0, state(serial, "v")).await);
        r0.settle_down().await;
        locked(&r0, &x).await;
        r0.settle_down().await;

        // Wherever the reader stands, the writer commits once more before it goes on.
        let mut gate = Gate::new();
        f1.say(copy_get(), Fate::HeldBefore(gate.clone()));
        let reader = reading(&r1);
        for _ in 0..4 {
            gate.reached().await;
            serial += 1;
            let before = r0.bucket().counts().total();
            done(write(&r0, &x, state(serial, "v")).await);
            assert_eq!(
                r0.bucket().counts().total() - before,
                3,
                "the writer still knows its head"
            );
            let next = Gate::new();
            if serial < 5 {
                f1.say(head_get(), Fate::HeldAfter(next.clone()));
            }
            gate.open();
            gate = next;
        }

        assert_eq!(reader.await.unwrap().unwrap(), Some(state(serial, "v")));
        assert_eq!(
            count(&f1, Does::Get, COPY),
            1 + 3 * 2,
            "one look, and two in each of three rounds"
        );
        assert!(
            f1.seen().iter().all(|(does, _)| *does == Does::Get),
            "{:?}",
            f1.seen()
        );
        assert!(f1.all_used());
        stands(&world, &state(serial, "v")).await;
        assert_eq!(world.copy(&unit()).await, Some(state(5, "v")));
    }
}
