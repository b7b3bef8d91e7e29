//! A head that somebody has removed by hand takes no history with it.

use opentaco_domain::VersionId;
use opentaco_testkit::buckets::World;

use crate::common::{done, locked, read, state, unit, unlocked, uuid, write, write_unlocked};

#[tokio::test(start_paused = true)]
async fn the_versions_of_a_lost_head_stay_in_the_history_and_are_not_collected() {
    let world = World::new();
    let replica = world.replica();
    let mut versions: Vec<VersionId> = Vec::new();
    for serial in 1..=3 {
        versions.push(done(write_unlocked(&replica, state(serial, "before")).await).version);
    }
    replica.settle_down().await;
    world
        .person_removes("__opentaco_units/myapp/prod/@head.json")
        .await;

    let replica = world.replica();
    assert_eq!(
        read(&replica).await.unwrap().unwrap(),
        state(3, "before"),
        "read as it is"
    );
    locked(&replica, &uuid(1)).await;
    let after = done(write(&replica, &uuid(1), state(4, "after")).await);
    unlocked(&replica, &uuid(1)).await;
    replica.tidy(&unit()).await.unwrap();

    assert!(
        after.version.epoch > versions[2].epoch,
        "the order of names is the order of history"
    );
    let known = replica.load(&unit()).await.unwrap().unwrap();
    let history = replica.history(&unit(), &known, None, 100).await.unwrap();
    let named: Vec<VersionId> = history.iter().map(|committed| committed.version).collect();
    for version in versions {
        assert!(named.contains(&version), "{version} left the history");
        assert!(
            replica.version_bytes(&unit(), &version).await.is_ok(),
            "the bytes of {version} are gone"
        );
    }
}
