//! Who holds, and who never did.

use opentaco_domain::LockId;
use opentaco_storage::commit::Refusal;
use opentaco_storage::locks::{Locked, Unlocked};
use opentaco_testkit::buckets::World;
use opentaco_testkit::faults::{Fate, Gate};

use super::{head_get, head_put, history, holder, stands};
use crate::common::{
    done, lock, locked, meanwhile, refused, rejected, state, unit, unlocked, uuid, write, write_unlocked,
};

#[tokio::test(start_paused = true)]
async fn trace_01_an_attempt_to_lock_that_hung_takes_nothing_once_its_lock_is_over() {
    for broken in [false, true] {
        for world in World::of_each_kind() {
            let ((r0, f0), r1) = (world.failing_replica(), world.replica());
            let (x, a, b) = (uuid(1), state(1, "a"), state(2, "b"));
            done(write_unlocked(&r1, a.clone()).await);
            r1.settle_down().await;

            let gate = Gate::new();
            f0.say(head_put(), Fate::HeldBefore(gate.clone()));
            let hung = meanwhile(&r0, |r0| async move { lock(&r0, &uuid(1)).await });
            gate.reached().await;
            locked(&r1, &x).await;
            match broken {
                true => assert!(r1.force_unlock(&unit()).await.unwrap().is_some()),
                false => unlocked(&r1, &x).await,
            }
            gate.open();

            let answer = hung.await.unwrap().unwrap();
            assert!(matches!(answer, Locked::Over), "{answer:?}");
            assert_eq!(holder(&world).await, None);
            let why = refused(write(&r0, &x, b.clone()).await);
            assert!(matches!(&why, Refusal::Lost(id) if *id == x), "{why:?}");
            assert_eq!(rejected(&r1).await, [b]);
            stands(&world, &a).await;
            assert!(f0.all_used());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn trace_02_an_unlock_whose_answer_was_lost_succeeds_again_though_another_holds_by_now() {
    for world in World::of_each_kind() {
        let ((r0, f0), r1) = (world.failing_replica(), world.replica());
        let (x, y) = (uuid(1), uuid(2));
        locked(&r0, &x).await;

        f0.say(head_put(), Fate::SilenceAfterEffect);
        f0.say(head_get().always(), Fate::Unavailable);
        assert!(r0.unlock(&unit(), &x).await.is_err(), "nobody can know");
        assert!(f0.all_used());
        f0.heal();
        assert_eq!(holder(&world).await, None, "it took effect");
        locked(&r1, &y).await;

        for replica in [&r0, &r1, &world.replica()] {
            let again = replica.unlock(&unit(), &x).await.unwrap();
            assert!(matches!(again, Unlocked::Free(None)), "{again:?}");
        }
        assert_eq!(holder(&world).await, Some(y));
    }
}

#[tokio::test(start_paused = true)]
async fn trace_03_already_released_is_never_said_from_memory() {
    for world in World::of_each_kind() {
        let (r0, r1) = (world.replica(), world.replica());
        done(write_unlocked(&r0, state(1, "a")).await);
        r0.settle_down().await;
        locked(&r1, &uuid(1)).await;

        let answer = r0.unlock(&unit(), &uuid(1)).await.unwrap();
        assert!(matches!(answer, Unlocked::Free(Some(_))), "{answer:?}");
        assert_eq!(holder(&world).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn trace_03_already_yours_is_never_said_from_memory() {
    for world in World::of_each_kind() {
        let (r0, r1) = (world.replica(), world.replica());
        let (x, y) = (uuid(1), uuid(2));
        locked(&r0, &x).await;
        unlocked(&r1, &x).await;
        locked(&r1, &y).await;
        let answer = lock(&r0, &x).await.unwrap();
        assert!(matches!(answer, Locked::Over), "{answer:?}");
        assert_eq!(holder(&world).await, Some(y.clone()));
        unlocked(&r1, &y).await;

        // An id chosen by hand may lock again, and then it must really hold.
        let by_hand = LockId::parse("by-hand").unwrap();
        locked(&r0, &by_hand).await;
        unlocked(&r1, &by_hand).await;
        locked(&r0, &by_hand).await;
        assert_eq!(holder(&world).await, Some(by_hand));
    }
}

#[tokio::test(start_paused = true)]
async fn trace_03_nothing_to_break_is_never_said_from_memory() {
    for world in World::of_each_kind() {
        let (r0, r1) = (world.replica(), world.replica());
        done(write_unlocked(&r0, state(1, "a")).await);
        r0.settle_down().await;
        locked(&r1, &uuid(1)).await;

        let broken = r0.force_unlock(&unit()).await.unwrap();
        assert_eq!(broken.map(|lock| lock.info.id), Some(uuid(1)));
        assert_eq!(holder(&world).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn trace_22_of_two_who_saw_the_unit_free_one_gets_the_lock() {
    for first in [0, 1] {
        for world in World::of_each_kind() {
            done(write_unlocked(&world.replica(), state(1, "a")).await);
            let gates = [Gate::new(), Gate::new()];
            let mut attempts = Vec::new();
            for (n, gate) in gates.iter().enumerate() {
                let (replica, faults) = world.failing_replica();
                faults.say(head_put(), Fate::HeldBefore(gate.clone()));
                let id = [uuid(1), uuid(2)][n].clone();
                attempts.push(meanwhile(
                    &replica,
                    |replica| async move { lock(&replica, &id).await },
                ));
                gate.reached().await;
            }
            let second = 1 - first;
            gates[first].open();
            let winner = (&mut attempts[first]).await.unwrap().unwrap();
            gates[second].open();
            let loser = (&mut attempts[second]).await.unwrap().unwrap();

            let winning = [uuid(1), uuid(2)][first].clone();
            assert!(
                matches!(&winner, Locked::Granted(lock) if lock.info.id == winning),
                "{winner:?}"
            );
            assert!(
                matches!(&loser, Locked::Held(lock) if lock.info.id == winning),
                "{loser:?}"
            );
            assert_eq!(holder(&world).await, Some(winning));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn trace_23_what_a_lost_or_wrong_answer_hides_is_read_back() {
    let fates = [
        Fate::AnswerLost,
        Fate::SilenceAfterEffect,
        Fate::Twice,
        Fate::Conflict,
        Fate::PreconditionFailed,
        Fate::Unavailable,
        Fate::Silence,
    ];
    for fate in fates {
        for world in World::of_each_kind() {
            let (r0, f0) = world.failing_replica();
            let (x, a, b) = (uuid(1), state(1, "a"), state(2, "b"));
            done(write_unlocked(&r0, a.clone()).await);
            r0.settle_down().await;

            f0.say(head_put(), fate.clone());
            locked(&r0, &x).await;
            assert!(f0.all_used());
            assert_eq!(holder(&world).await, Some(x.clone()), "{fate:?}");

            f0.say(head_put(), fate.clone());
            done(write(&r0, &x, b.clone()).await);
            assert!(f0.all_used());
            r0.settle_down().await;
            assert_eq!(history(&world).await, [b.clone(), a], "{fate:?}");
            stands(&world, &b).await;

            f0.say(head_put(), fate.clone());
            let answer = r0.unlock(&unit(), &x).await.unwrap();
            assert!(f0.all_used());
            assert!(matches!(answer, Unlocked::Free(Some(_))), "{fate:?}: {answer:?}");
            assert_eq!(holder(&world).await, None, "{fate:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn trace_23_a_commit_whose_answer_was_lost_is_found_behind_a_later_one() {
    for world in World::of_each_kind() {
        let ((r0, f0), r1) = (world.failing_replica(), world.replica());
        let (a, b, c) = (state(1, "a"), state(2, "b"), state(3, "c"));
        done(write_unlocked(&r0, a.clone()).await);
        r0.settle_down().await;

        let gate = Gate::new();
        f0.say(head_put(), Fate::AnswerLost);
        f0.say(head_get(), Fate::HeldBefore(gate.clone()));
        let first = super::writing_unlocked(&r0, &b);
        gate.reached().await;
        done(write_unlocked(&r1, c.clone()).await);
        gate.open();

        let committed = done(first.await.unwrap());
        r0.settle_down().await;
        r1.settle_down().await;
        assert_eq!(super::head(&world).await.recent[0].version, committed.version);
        assert_eq!(history(&world).await, [c, b, a]);
        assert!(f0.all_used());
    }
}

#[tokio::test(start_paused = true)]
async fn trace_24_nobody_is_refused_for_a_head_that_is_old() {
    for world in World::of_each_kind() {
        let (r0, r1) = (world.replica(), world.replica());
        let (x, y, z) = (uuid(1), uuid(2), uuid(3));

        locked(&r0, &x).await;
        unlocked(&r1, &x).await;
        locked(&r0, &y).await;

        assert!(r1.force_unlock(&unit()).await.unwrap().is_some());
        locked(&r1, &z).await;
        let b = state(2, "b");
        done(write(&r0, &z, b.clone()).await);
        stands(&world, &b).await;

        unlocked(&r1, &z).await;
        let c = state(3, "c");
        done(write_unlocked(&r0, c.clone()).await);
        stands(&world, &c).await;
        assert!(rejected(&r1).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn trace_31_a_late_lock_takes_nothing_again_on_a_free_unit() {
    for world in World::of_each_kind() {
        let (r0, (r1, f1), r2) = (world.replica(), world.failing_replica(), world.replica());
        let x = uuid(1);
        done(write_unlocked(&r0, state(1, "a")).await);
        r0.settle_down().await;

        let gate = Gate::new();
        f1.say(head_get(), Fate::HeldBefore(gate.clone()));
        let hung = meanwhile(&r1, |r1| async move { lock(&r1, &uuid(1)).await });
        gate.reached().await;
        locked(&r0, &x).await;
        unlocked(&r0, &x).await;
        gate.open();

        let late = [hung.await.unwrap(), lock(&r0, &x).await, lock(&r2, &x).await];
        for answer in late {
            assert!(matches!(answer, Ok(Locked::Over)), "{answer:?}");
        }
        assert_eq!(holder(&world).await, None);
        assert!(f1.all_used());
    }
}
