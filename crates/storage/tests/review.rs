//! Histories that a hostile reader of the code found, each with the rule that stops it now.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use opentaco_domain::{Clock, Principal, StateSummary, StoppedClock};
use opentaco_storage::bucket::Kind;
use opentaco_storage::commit::{CommitRequest, Made};
use opentaco_storage::head::Committed;
use opentaco_storage::lifecycle::{Annotation, Creating, Undeleting};
use opentaco_storage::listing::ListUnits;
use opentaco_storage::{Bucket, Retention, Surroundings, Vault};
use opentaco_testkit::buckets::World;
use opentaco_testkit::faults::{Does, Fate, Gate, Late, On};

use crate::common::{
    alice, dies, done, lock, locked, meanwhile, read, refused, rejected, state, unit, unlocked, uuid, write,
    write_unlocked,
};

const COPY: &str = "myapp/prod/terraform.tfstate";

/// A replica with a clock of its own.
fn with_clock(world: &World, at: &str) -> Vault {
    let clock: Arc<dyn Clock> = Arc::new(StoppedClock::new(
        at.parse().expect("tests write times that can be read"),
    ));
    Vault::new(
        Bucket::new(
            world.store(),
            "",
            Surroundings {
                clock,
                ..world.surroundings()
            },
        ),
        world.retention,
    )
}

#[tokio::test(start_paused = true)]
async fn an_undelete_that_hangs_does_not_put_the_old_state_over_what_was_written_since() {
    for world in World::of_each_kind() {
        let ((r0, faults), r1) = (world.failing_replica(), world.replica());
        let new = state(7, "acknowledged");
        done(write_unlocked(&r1, state(1, "old")).await);
        r1.settle_down().await;
        r1.delete(&unit(), &alice()).await.unwrap();
        r1.settle_down().await;
        let gate = Gate::new();
        faults.say(
            On::next(Does::Get, "__opentaco_versions/"),
            Fate::HeldBefore(gate.clone()),
        );
        let undeleting = meanwhile(&r0, |r| async move {
            r.undelete(&unit(), &alice(), "management").await
        });
        gate.reached().await;
        locked(&r1, &uuid(1)).await;
        done(write(&r1, &uuid(1), new.clone()).await);
        unlocked(&r1, &uuid(1)).await;
        gate.open();
        let answer = undeleting.await.unwrap().unwrap();
        assert!(matches!(answer, Undeleting::Lives), "{answer:?}");
        assert_eq!(read(&r1).await.unwrap(), Some(new));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_state_that_still_lies_in_the_copy_when_its_versions_expire_does_not_come_alive() {
    for world in World::of_each_kind() {
        let ((r0, faults), r1) = (world.failing_replica(), world.replica());
        locked(&r1, &uuid(1)).await;
        done(write(&r1, &uuid(1), state(1, "deleted")).await);
        unlocked(&r0, &uuid(1)).await;
        r0.settle_down().await;
        r1.settle_down().await;
        let r1 = world.replica();
        let gate = Gate::new();
        faults.say(On::next(Does::Put, COPY).ending(), Fate::HeldBefore(gate.clone()));
        let deleting = meanwhile(&r0, |r| async move { r.delete(&unit(), &alice()).await });
        gate.reached().await;
        dies(deleting).await;
        assert!(
            world.head(&unit()).await.unwrap().deleted.is_some(),
            "the tombstone stands"
        );
        world.clock.set("2100-01-01T12:00:00Z".parse().unwrap());
        let labels: BTreeMap<String, String> = [("team".to_owned(), "x".to_owned())].into();
        let _ = r1
            .list(&ListUnits {
                labels,
                ..ListUnits::default()
            })
            .await
            .unwrap();
        r1.settle_down().await;
        assert_eq!(read(&r1).await.unwrap(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_write_outlives_the_next_one_though_its_replica_has_a_slow_clock() {
    let world = World::new();
    let (slow, right) = (with_clock(&world, "2026-10-01T12:00:00Z"), world.replica());
    locked(&right, &uuid(1)).await;
    done(write(&right, &uuid(1), state(1, "a")).await);
    refused(write(&slow, &uuid(2), state(2, "the cloud has changed")).await);
    slow.settle_down().await;
    refused(write(&right, &uuid(3), state(3, "another")).await);
    right.settle_down().await;
    assert_eq!(rejected(&right).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_a_replica_with_a_slow_clock_deletes_can_be_brought_back() {
    let world = World::new();
    let (slow, right) = (with_clock(&world, "2026-10-01T12:00:00Z"), world.replica());
    done(write_unlocked(&right, state(1, "a")).await);
    right.settle_down().await;
    slow.delete(&unit(), &alice()).await.unwrap();
    slow.settle_down().await;
    let right = world.replica();
    let _ = right.list(&ListUnits::default()).await.unwrap();
    right.settle_down().await;
    let answer = right.undelete(&unit(), &alice(), "management").await.unwrap();
    assert!(matches!(answer, Undeleting::Committed(_)), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_unit_without_a_state_whose_copy_never_stands_still_does_not_read_as_empty() {
    let world = World::new();
    let (replica, faults) = world.failing_replica();
    replica
        .create(&unit(), BTreeMap::new(), String::new())
        .await
        .unwrap();
    replica.settle_down().await;
    world.person_puts(COPY, state(1, "x0")).await;
    let gates: Vec<Gate> = (0..4).map(|_| Gate::new()).collect();
    for gate in &gates {
        faults.say(
            On::next(Does::Get, "/@head.json").ending(),
            Fate::HeldBefore(gate.clone()),
        );
    }
    let reading = meanwhile(&replica, |r| async move { read(&r).await });
    for (n, gate) in (0..).zip(gates) {
        gate.reached().await;
        if n > 0 {
            world.person_puts(COPY, state(1 + n, &format!("x{n}"))).await;
        }
        gate.open();
    }
    let answer = reading.await.unwrap();
    assert!(!matches!(answer, Ok(None)), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_the_copy_may_still_hold_is_not_pruned_and_never_comes_back_as_a_strangers() {
    let mut world = World::new();
    world.retention = Retention {
        versions_max: 2,
        versions_min_age: Duration::ZERO,
        ..Retention::default()
    };
    let first = world.replica();
    locked(&first, &uuid(1)).await;
    done(write(&first, &uuid(1), state(1, "a")).await);
    drop(first);
    let (replica, faults) = world.failing_replica();
    faults.say(On::next(Does::Any, COPY).ending().always(), Fate::Denied);
    for serial in 2..40 {
        drop(write(&replica, &uuid(1), state(serial, "b")).await.unwrap());
        replica.settle_down().await;
    }
    faults.heal();
    unlocked(&replica, &uuid(1)).await;
    replica.settle_down().await;
    assert_eq!(read(&replica).await.unwrap(), Some(state(39, "b")));
}

#[tokio::test(start_paused = true)]
async fn a_lock_copy_that_landed_late_does_not_show_its_unit_as_locked_for_ever() {
    let world = World::new();
    let r0 = world.replica();
    done(write_unlocked(&r0, state(1, "a")).await);
    r0.settle_down().await;
    world.person_puts(&format!("{COPY}.lock"), "{}").await;

    for (seen, locked) in [("as its copy says", true), ("as it is", false)] {
        let lister = world.replica();
        let units = lister.list(&ListUnits::default()).await.unwrap().units;
        assert_eq!(units[0].locked, locked, "{seen}");
        lister.settle_down().await;
    }
    assert!(world.person_gets(&format!("{COPY}.lock")).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_lock_file_beside_a_unit_that_nobody_has_touched_is_left_alone_by_a_listing() {
    let world = World::new();
    world.person_puts(COPY, state(1, "older than us")).await;
    world.person_puts(&format!("{COPY}.lock"), "{}").await;
    let lister = world.replica();
    assert!(lister.list(&ListUnits::default()).await.unwrap().units[0].locked);
    lister.settle_down().await;
    assert!(world.person_gets(&format!("{COPY}.lock")).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn writers_do_not_wait_one_after_another_for_a_copy_that_gives_no_answer() {
    let world = World::new();
    let (replica, faults) = world.failing_replica();
    done(write_unlocked(&replica, state(1, "a")).await);
    replica.settle_down().await;
    faults.say(On::next(Does::Put, COPY).ending().always(), Fate::Silence);
    let alone = tokio::time::Instant::now();
    write_unlocked(&replica, state(2, "alone")).await.unwrap();
    let alone = alone.elapsed();

    let together = tokio::time::Instant::now();
    let writers = (3..13).map(|serial| write_unlocked(&replica, state(serial, "b")));
    for answer in futures::future::join_all(writers).await {
        answer.unwrap();
    }
    let together = together.elapsed();
    assert!(
        together < 3 * alone,
        "ten writers take {together:?}, and one {alone:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_large_copy_that_has_another_tag_than_was_recorded_is_not_hashed_at_every_read() {
    let world = World::new();
    let replica = world.replica();
    let large = state(1, &"a".repeat(5 * 1024 * 1024));
    done(write_unlocked(&replica, large.clone()).await);
    replica.settle_down().await;
    // A bucket that was brought back from a backup, or moved: the same bytes everywhere, and no tag is what it was.
    world.person_puts(COPY, large.clone()).await;

    let restarted = world.replica();
    read(&restarted).await.unwrap();
    restarted.settle_down().await;
    let before = restarted.bucket().counts().total();
    assert_eq!(read(&restarted).await.unwrap(), Some(large));
    restarted.settle_down().await;
    assert_eq!(
        restarted.bucket().counts().total() - before,
        2,
        "what a read costs"
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_copy_was_seen_to_be_right_is_acknowledged_however_fast_the_head_moves() {
    for world in World::of_each_kind() {
        let ((r0, faults), r1) = (world.failing_replica(), world.replica());
        done(write_unlocked(&r0, state(1, "a")).await);
        r0.settle_down().await;
        let before_copying = Gate::new();
        faults.say(
            On::next(Does::Put, COPY).ending(),
            Fate::HeldBefore(before_copying.clone()),
        );
        let mut writing = meanwhile(&r0, |r| async move { write_unlocked(&r, state(2, "b")).await });
        before_copying.reached().await;
        // Somebody else's settling puts it first. Then the head moves before each attempt to record what is found.
        world.person_puts(COPY, state(2, "b")).await;
        let gates: Vec<Gate> = (0..40).map(|_| Gate::new()).collect();
        for gate in &gates {
            faults.say(
                On::next(Does::Put, "/@head.json").ending(),
                Fate::HeldBefore(gate.clone()),
            );
        }
        before_copying.open();
        let moving = async {
            for (n, gate) in gates.iter().enumerate() {
                gate.reached().await;
                let annotation = Annotation {
                    description: Some(n.to_string()),
                    ..Annotation::default()
                };
                drop(r1.annotate(&unit(), &annotation).await.unwrap());
                gate.open();
            }
        };
        let answer = tokio::select! {
            answer = &mut writing => answer.unwrap(),
            () = moving => panic!("it records, and records, and does not answer"),
        };
        done(answer);
    }
}

/// Whoever settles or touches first holds the whole state in memory, outside of what the doors budget.
async fn versions_put_by_a_crowd<T>(world: &World, crowd: impl AsyncFn(Vault) -> T) -> usize {
    let (replica, faults) = world.failing_replica();
    faults.say(
        On::next(Does::Get, COPY).ending().always(),
        Fate::Slow(Duration::from_secs(1)),
    );
    futures::future::join_all((0..12).map(|_| crowd(replica.clone()))).await;
    replica.settle_down().await;
    let put = |(does, key): &&(Does, String)| *does == Does::Put && key.contains("_versions/");
    faults.seen().iter().filter(put).count()
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_finds_what_a_person_put_adopts_it_once() {
    for world in World::of_each_kind() {
        let replica = world.replica();
        done(write_unlocked(&replica, state(1, "a")).await);
        replica.settle_down().await;
        world.person_puts(COPY, state(2, "by hand")).await;
        let puts = versions_put_by_a_crowd(&world, async |replica| {
            assert_eq!(read(&replica).await.unwrap(), Some(state(2, "by hand")));
        })
        .await;
        assert_eq!(puts, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_touches_an_old_unit_adopts_it_once() {
    for world in World::of_each_kind() {
        world.person_puts(COPY, state(1, "older than us")).await;
        let puts = versions_put_by_a_crowd(&world, async |replica| {
            lock(&replica, &uuid(1)).await.unwrap();
        })
        .await;
        assert_eq!(puts, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_fetched_whole_at_the_same_time_is_bounded_and_never_stuck() {
    let world = World::new();
    world
        .person_puts(COPY, state(1, &"a".repeat(40 * 1024 * 1024)))
        .await;
    let bucket = world.replica().bucket().clone();
    let fetch = || async { bucket.fetch(Kind::Copy, COPY).await.unwrap().unwrap().1 };
    let start = tokio::time::Instant::now();
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(fetch().await);
    }
    assert!(start.elapsed().is_zero(), "256 MiB have room for six of 40 MiB");

    let seventh = pin!(fetch());
    let (seventh, held) = futures::future::join(seventh, async {
        let never = std::future::pending::<()>();
        assert!(tokio::time::timeout(Duration::from_secs(1), never).await.is_err());
        held.pop();
        held
    })
    .await;
    assert_eq!(start.elapsed(), Duration::from_secs(1), "it waited for room");

    // Whoever holds one may need another before it lets go.
    let eighth = fetch().await;
    assert_eq!([&*seventh, &*held[0]], [&*eighth, &*eighth]);
}

#[tokio::test(start_paused = true)]
async fn a_create_whose_answer_is_lost_is_told_as_done_though_the_head_has_moved_since() {
    for world in World::of_each_kind() {
        let ((r0, faults), r1) = (world.failing_replica(), world.replica());
        // Touched, so that the create is a swap and not a first head.
        locked(&r1, &uuid(1)).await;
        unlocked(&r1, &uuid(1)).await;
        r1.settle_down().await;
        let late = Late::new();
        faults.say(
            On::next(Does::Put, "/@head.json").ending(),
            Fate::LandsLater(late.clone()),
        );
        let creating = meanwhile(&r0, |r| async move {
            r.create(&unit(), BTreeMap::new(), "mine".to_owned()).await
        });
        late.sent().await;
        late.land().await.unwrap();
        locked(&r1, &uuid(2)).await;

        let answer = creating.await.unwrap().unwrap();
        assert!(matches!(answer, Creating::Created(_)), "{answer:?}");
        let again = r1.create(&unit(), BTreeMap::new(), String::new()).await.unwrap();
        assert!(matches!(again, Creating::Exists(_)), "{again:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_creates_at_one_instant_only_one_is_told_that_it_made_the_unit() {
    for world in World::of_each_kind() {
        let ((r0, faults), r1) = (world.failing_replica(), world.replica());
        // Touched, so that both creates are swaps of one head; and the clock of both stands still.
        locked(&r1, &uuid(1)).await;
        unlocked(&r1, &uuid(1)).await;
        r1.settle_down().await;
        let gate = Gate::new();
        faults.say(
            On::next(Does::Put, "/@head.json").ending(),
            Fate::HeldBefore(gate.clone()),
        );
        let creating = meanwhile(&r0, |r| async move {
            r.create(&unit(), BTreeMap::new(), "mine too".to_owned()).await
        });
        gate.reached().await;
        let first = r1
            .create(&unit(), BTreeMap::new(), "mine".to_owned())
            .await
            .unwrap();
        gate.open();

        let second = creating.await.unwrap().unwrap();
        assert!(matches!(first, Creating::Created(_)), "{first:?}");
        assert!(matches!(second, Creating::Exists(_)), "{second:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_service_writes_of_the_graph_is_dropped_and_pushes_nobodys_version_out() {
    let mut world = World::new();
    world.retention = Retention {
        versions_max: 10,
        versions_min_age: Duration::ZERO,
        collect_every: 4,
    };
    let replica = world.replica();
    let mut sent = Vec::new();
    for serial in 1..10 {
        sent.push(done(write_unlocked(&replica, state(serial, "sent")).await));
        replica.settle_down().await;
    }
    let mut current = sent.last().unwrap().version;
    let mut followed = Vec::new();
    for serial in 10..70 {
        let bytes = state(serial, "followed");
        let made = Made {
            summary: StateSummary::read(&bytes).unwrap(),
            bytes,
            beside: Some(current),
        };
        let request = CommitRequest::by_the_service(made, Principal::new("opentaco"));
        current = done(replica.commit(&unit(), &request).await).version;
        followed.push(current);
        replica.settle_down().await;
    }
    let head = replica.load(&unit()).await.unwrap().unwrap().head;
    let lost: Vec<_> = sent.iter().filter(|sent| !head.names(&sent.version)).collect();
    assert_eq!(lost, Vec::<&Committed>::new(), "nobody's version is pushed out");
    let named = followed.iter().filter(|version| head.names(version)).count();
    assert!(named <= 4 + 4 + 1, "{named} versions of the service are named");
    assert!(head.names(&current));
}
