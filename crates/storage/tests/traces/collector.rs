//! Housekeeping: what is collected was never committed, and what is pruned is never needed again.

use std::time::Duration;

use opentaco_storage::commit::Committing;
use opentaco_storage::head::Origin;
use opentaco_storage::{Retention, Vault};
use opentaco_testkit::buckets::World;
use opentaco_testkit::faults::{Does, Fate, Gate, On};

use super::{
    VERSIONS, copy_put, head, head_put, history, recorded, stands, version_key, version_objects,
    writing_unlocked,
};
use crate::common::{done, locked, meanwhile, read, state, unit, uuid, write, write_unlocked};

fn tidying(replica: &Vault) -> tokio::task::JoinHandle<Result<(), opentaco_storage::StorageError>> {
    meanwhile(replica, |replica| async move { replica.tidy(&unit()).await })
}

#[tokio::test(start_paused = true)]
async fn trace_11_what_was_an_orphan_when_it_was_listed_and_is_committed_since_is_not_collected() {
    // The commit lands behind the listing, or even behind the look at the head, before the bump.
    for (does, key) in [(Does::List, VERSIONS), (Does::Put, super::HEAD)] {
        for world in World::of_each_kind() {
            let ((r0, f0), (r1, f1)) = (world.failing_replica(), world.failing_replica());
            let (a, b) = (state(1, "a"), state(2, "b"));
            done(write_unlocked(&r0, a.clone()).await);
            r0.settle_down().await;

            let (committing, collecting) = (Gate::new(), Gate::new());
            f0.say(head_put(), Fate::HeldBefore(committing.clone()));
            let commit = writing_unlocked(&r0, &b);
            committing.reached().await;
            let fate = match does {
                Does::List => Fate::HeldAfter(collecting.clone()),
                _ => Fate::HeldBefore(collecting.clone()),
            };
            f1.say(On::next(does, key), fate);
            let collector = tidying(&r1);
            collecting.reached().await;
            assert_eq!(version_objects(&world).await.len(), 2, "the orphan lies there");
            committing.open();
            done(commit.await.unwrap());
            collecting.open();
            collector.await.unwrap().unwrap();

            r0.settle_down().await;
            stands(&world, &b).await;
            assert_eq!(history(&world).await, [b, a]);
            assert!(f0.all_used() && f1.all_used());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn trace_11_a_commit_whose_object_was_collected_starts_again_under_a_new_name() {
    for world in World::of_each_kind() {
        let ((r0, f0), r1) = (world.failing_replica(), world.replica());
        let (a, b) = (state(1, "a"), state(2, "b"));
        done(write_unlocked(&r0, a.clone()).await);
        r0.settle_down().await;

        let gate = Gate::new();
        f0.say(head_put(), Fate::HeldBefore(gate.clone()));
        let commit = writing_unlocked(&r0, &b);
        gate.reached().await;
        let before = version_objects(&world).await;
        assert_eq!(before.len(), 2);
        r1.tidy(&unit()).await.unwrap();
        assert_eq!(version_objects(&world).await.len(), 1, "the orphan is collected");
        gate.open();

        let version = done(commit.await.unwrap()).version;
        r0.settle_down().await;
        assert!(!before.contains(&version_key(&version)));
        stands(&world, &b).await;
        assert_eq!(history(&world).await, [b, a]);
        assert!(f0.all_used());
    }
}

#[tokio::test(start_paused = true)]
async fn trace_20_a_copy_that_could_not_be_mended_for_long_is_still_known_as_ours() {
    for mut world in World::of_each_kind() {
        world.retention = Retention {
            versions_max: 4,
            versions_min_age: Duration::ZERO,
            ..Retention::default()
        };
        let (r0, (r1, f1), r2) = (world.replica(), world.failing_replica(), world.replica());
        let x = uuid(1);
        let oldest = done(write_unlocked(&r0, state(1, "v")).await).version;
        for serial in 2..=10 {
            done(write_unlocked(&r0, state(serial, "v")).await);
            r0.settle_down().await;
        }
        let known_copy = recorded(&world).await;
        locked(&r0, &x).await;
        let copied = state(11, "v");
        let version = done(write(&r0, &x, copied.clone()).await).version;
        assert_eq!(world.copy(&unit()).await, Some(copied.clone()));
        assert_eq!(
            recorded(&world).await,
            known_copy,
            "that the copy holds it is not recorded, and r0 dies"
        );

        f1.say(copy_put().always(), Fate::Denied);
        for serial in 12..=80 {
            let answer = write(&r1, &x, state(serial, "v")).await.unwrap();
            assert!(matches!(answer, Committing::Uncopied(..)), "{answer:?}");
            r1.settle_down().await;
        }
        let now = head(&world).await;
        assert!(
            !now.names(&oldest) && world.person_gets(&version_key(&oldest)).await.is_none(),
            "it was pruned"
        );
        assert!(
            now.known().all(|known| known.version != version),
            "it has left the recent ones"
        );
        assert!(now.names(&version), "it is kept all the same");
        assert_eq!(
            world.person_gets(&version_key(&version)).await,
            Some(copied.clone())
        );
        assert_eq!(world.copy(&unit()).await, Some(copied));

        let last = state(80, "v");
        assert_eq!(read(&r2).await.unwrap(), Some(last.clone()));
        stands(&world, &last).await;
        assert!(
            head(&world)
                .await
                .known()
                .all(|known| known.origin == Origin::Write),
            "nobody's write was adopted"
        );
    }
}
