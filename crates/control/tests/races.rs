//! Races of two replicas on one bucket, on real threads and in real time.

use std::collections::HashSet;

use bytes::Bytes;
use futures::future::join_all;
use opentaco_control::{ControlError, Door, Receipt, StateControl, StateWrite};
use opentaco_domain::{Holding, LockId, VersionId};
use opentaco_testkit::buckets::World;
use tokio::task::JoinHandle;

use crate::common::{
    alice, create, described, history, lock, prod, read, rejected, replica, state, unlock, uuid, versions,
    write, written,
};

/// Does the same on one replica or the other, by turns, all at once.
async fn at_once<T, W>(
    replicas: &[StateControl; 2],
    count: u32,
    work: impl Fn(StateControl, u32) -> W,
) -> Vec<T>
where
    T: Send + 'static,
    W: Future<Output = T> + Send + 'static,
{
    let running: Vec<JoinHandle<T>> = (0..count)
        .map(|n| {
            #[expect(clippy::disallowed_methods, reason = "the runtime of a test is its own")]
            tokio::spawn(work(replicas[n as usize % 2].clone(), n))
        })
        .collect();
    let all = join_all(running).await.into_iter().map(Result::unwrap).collect();
    for replica in replicas {
        replica.settle_down().await;
    }
    all
}

fn two(world: &World) -> [StateControl; 2] {
    [replica(world), replica(world)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_hundred_locks_at_once_one_is_granted_and_all_others_are_told_who_holds() {
    for world in World::of_each_kind() {
        let replicas = two(&world);
        for known in [false, true] {
            if known {
                written(&replicas[0], &prod(), &state(1, "a")).await;
                replicas[0].force_unlock(&alice(), &prod()).await.unwrap();
            }
            let first = if known { 1000 } else { 0 };
            let answers = at_once(&replicas, 200, |control, n| async move {
                lock(&control, &prod(), first + n).await
            })
            .await;

            let granted: Vec<LockId> = answers.iter().flatten().map(|info| info.id.clone()).collect();
            let [holder] = granted.as_slice() else {
                panic!("{} were granted", granted.len())
            };
            let told: Vec<&LockId> = answers
                .iter()
                .filter_map(|answer| match answer {
                    Err(ControlError::Locked { holder, .. }) => Some(&holder.info.id),
                    _ => None,
                })
                .collect();
            assert_eq!(told, vec![holder; 199]);
            for control in &replicas {
                assert_eq!(
                    control
                        .force_unlock(&alice(), &prod())
                        .await
                        .unwrap()
                        .map(|info| info.id)
                        .as_ref(),
                    {
                        // The first breaks it, the second finds nothing to break.
                        (std::ptr::eq(control, &replicas[0])).then_some(holder)
                    }
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lock_is_never_held_by_two_while_many_take_it_and_give_it_back() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    let replicas = two(&World::new());
    let (inside, rounds) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    at_once(&replicas, 16, |control, n| {
        let (inside, rounds) = (Arc::clone(&inside), Arc::clone(&rounds));
        async move {
            let mut attempts = n * 1_000_000..;
            for _ in 0..3 {
                let id = loop {
                    let id = attempts.next().unwrap();
                    match lock(&control, &prod(), id).await {
                        Ok(_) => break id,
                        Err(ControlError::Locked { .. }) => tokio::task::yield_now().await,
                        Err(other) => panic!("{other:?}"),
                    }
                };
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
                tokio::task::yield_now().await;
                let bytes = state(u64::from(rounds.fetch_add(1, Ordering::SeqCst)) + 1, "r");
                write(&control, &prod(), Holding::Lock(uuid(id)), &bytes)
                    .await
                    .unwrap();
                inside.fetch_sub(1, Ordering::SeqCst);
                unlock(&control, &prod(), id).await.unwrap();
            }
        }
    })
    .await;
    let serials: Vec<u64> = versions(&replicas[0], &prod())
        .await
        .iter()
        .map(|committed| committed.serial.unwrap())
        .collect();
    let expected: Vec<u64> = (1..=48).rev().collect();
    assert_eq!(serials, expected, "the history is in the order of the holders");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_first_writes_and_creates_at_once_nothing_acknowledged_is_lost() {
    for world in World::of_each_kind() {
        let replicas = two(&world);
        enum Did {
            Wrote(Bytes, Result<Receipt, ControlError>),
            Created(bool),
        }
        let answers = at_once(&replicas, 100, |control, n| async move {
            // Both kinds on both replicas.
            if n % 4 < 2 {
                let bytes = state(1, &format!("by {n}"));
                let answer = write(&control, &prod(), Holding::Nothing, &bytes).await;
                return Did::Wrote(bytes, answer);
            }
            match create(&control, &prod()).await {
                Ok(_) => Did::Created(true),
                Err(ControlError::AlreadyExists { .. }) => Did::Created(false),
                Err(other) => panic!("{other:?}"),
            }
        })
        .await;

        let created = answers
            .iter()
            .filter(|did| matches!(did, Did::Created(true)))
            .count();
        assert!(created <= 1, "{created} made the same unit");
        let acknowledged: HashSet<Bytes> = answers
            .iter()
            .filter_map(|did| match did {
                Did::Wrote(bytes, answer) => {
                    assert!(answer.is_ok(), "{answer:?}");
                    Some(bytes.clone())
                }
                Did::Created(_) => None,
            })
            .collect();
        let committed = history(&replica(&world), &prod()).await;
        assert_eq!(committed.len(), 50);
        assert_eq!(committed.iter().cloned().collect::<HashSet<_>>(), acknowledged);
        assert_eq!(
            read(&replica(&world), &prod()).await.unwrap().as_ref(),
            committed.first()
        );
        assert_eq!(world.copy(&prod()).await.as_ref(), committed.first());
        let heads = world
            .keys()
            .await
            .into_iter()
            .filter(|key| key.ends_with("@head.json"))
            .count();
        assert_eq!(heads, 1);
        assert!(rejected(&replicas[0], &prod()).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_writes_without_a_lock_at_once_are_all_in_the_history_in_one_order_for_everybody() {
    for world in World::of_each_kind() {
        let replicas = two(&world);
        let first = state(1, "first");
        written(&replicas[0], &prod(), &first).await;
        let answers = at_once(&replicas, 50, |control, n| async move {
            let bytes = state(2, &format!("by {n}"));
            write(&control, &prod(), Holding::Nothing, &bytes)
                .await
                .map(|receipt| (receipt.version, bytes))
        })
        .await;
        let acknowledged: HashSet<(VersionId, Bytes)> = answers.into_iter().map(Result::unwrap).collect();

        let committed = history(&replica(&world), &prod()).await;
        assert_eq!(committed.len(), 51);
        assert_eq!(committed.last(), Some(&first));
        for control in &replicas {
            assert_eq!(history(control, &prod()).await, committed);
        }
        let named: HashSet<(VersionId, Bytes)> = versions(&replica(&world), &prod())
            .await
            .iter()
            .map(|committed| committed.version)
            .zip(committed.iter().cloned())
            .take(50)
            .collect();
        assert_eq!(
            named, acknowledged,
            "each under the version that its writer was told"
        );
        assert_eq!(world.copy(&prod()).await.as_ref(), committed.first());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_writes_at_once_on_top_of_one_version_exactly_one_wins() {
    for world in World::of_each_kind() {
        let replicas = two(&world);
        let base = written(&replicas[0], &prod(), &state(1, "base")).await;
        let answers = at_once(&replicas, 50, |control, n| async move {
            let mut write = StateWrite::new(state(2, &format!("by {n}")), Holding::Nothing, Door::Management);
            write.if_match = Some(base);
            control.write_state(&alice(), &prod(), write).await
        })
        .await;

        let won: Vec<VersionId> = answers.iter().flatten().map(|receipt| receipt.version).collect();
        let [winner] = won.as_slice() else {
            panic!("{} won", won.len())
        };
        let lost = answers.iter().filter(|answer| {
            matches!(answer, Err(ControlError::Conflict { current, .. }) if *current == Some(*winner))
        });
        assert_eq!(lost.count(), 49, "the others are told what is current");
        assert_eq!(
            described(&replica(&world), &prod())
                .await
                .current
                .unwrap()
                .version,
            *winner
        );
        assert_eq!(versions(&replica(&world), &prod()).await.len(), 2);
    }
}
