//! Requests to the bucket in steady state, exactly (design.md section 4, "Budget").

use opentaco_storage::Vault;
use opentaco_testkit::buckets::World;

use crate::common::{done, locked, read, state, unit, unlocked, uuid, write, write_unlocked};

/// How many requests `work` costs, with what follows behind its answer.
async fn cost(replica: &Vault, work: impl Future<Output = ()>) -> u64 {
    replica.settle_down().await;
    let before = replica.bucket().counts().total();
    work.await;
    replica.settle_down().await;
    replica.bucket().counts().total() - before
}

#[tokio::test(start_paused = true)]
async fn a_lock_a_read_a_commit_and_an_unlock_cost_nine_requests() {
    let world = World::new();
    let replica = world.replica();
    done(write_unlocked(&replica, state(1, "a")).await);

    assert_eq!(cost(&replica, locked(&replica, &uuid(1))).await, 2, "lock");
    assert_eq!(
        cost(&replica, async {
            assert!(read(&replica).await.unwrap().is_some());
        })
        .await,
        2,
        "read"
    );
    assert_eq!(
        cost(&replica, async {
            drop(done(write(&replica, &uuid(1), state(2, "b")).await));
        })
        .await,
        3,
        "commit"
    );
    assert_eq!(
        cost(&replica, async {
            drop(done(write(&replica, &uuid(1), state(3, "c")).await));
        })
        .await,
        3,
        "commit"
    );
    assert_eq!(
        cost(&replica, async {
            assert!(read(&replica).await.unwrap().is_some());
        })
        .await,
        2,
        "read while locked"
    );
    assert_eq!(cost(&replica, unlocked(&replica, &uuid(1))).await, 2, "unlock");
    assert_eq!(
        cost(&replica, async {
            assert!(read(&replica).await.unwrap().is_some());
        })
        .await,
        2,
        "read after"
    );
}

#[tokio::test(start_paused = true)]
async fn a_commit_without_a_lock_costs_four_requests_and_a_description_one() {
    let world = World::new();
    let replica = world.replica();
    done(write_unlocked(&replica, state(1, "a")).await);
    assert_eq!(
        cost(&replica, async {
            drop(done(write_unlocked(&replica, state(2, "b")).await));
        })
        .await,
        4
    );
    assert_eq!(
        cost(&replica, async { drop(replica.describe(&unit()).await.unwrap()) }).await,
        1
    );
}
