//! S3 clients name no lock when they write: what they hold is told by the session of their credentials.

#![expect(clippy::unwrap_used, reason = "where a fixture fails, the test fails")]

use bytes::Bytes;
use jiff::Timestamp;
use opentaco_domain::{CredentialSession, Holding, LockId, Principal, Signed};
use opentaco_storage::Vault;
use opentaco_storage::commit::{CommitRequest, Committing, IfContent, Refusal};
use opentaco_storage::locks::{Locked, Locking, Unlocked};
use opentaco_testkit::buckets::World;
use opentaco_testkit::faults::{Fate, Gate};

use super::{head_put, holder, stands};
use crate::common::{
    alice, done, info, locked, meanwhile, post, refused, rejected, state, unit, unlocked, uuid, write,
};

/// A request of a session, signed at this second of its clock.
fn signed(session: &str, second: i64) -> Signed {
    Signed {
        session: CredentialSession::new(session),
        at: Some(Timestamp::from_second(second).unwrap()),
        invocation: Some(format!("{session}-{second}")),
    }
}

fn put(session: &Signed, bytes: Bytes) -> CommitRequest {
    CommitRequest {
        door: "s3",
        ..post(Holding::Session(session.clone()), bytes)
    }
}

async fn put_state(
    replica: &Vault,
    session: &Signed,
    bytes: Bytes,
) -> Result<Committing, opentaco_storage::StorageError> {
    replica.commit(&unit(), &put(session, bytes)).await
}

async fn put_lock(
    replica: &Vault,
    principal: &Principal,
    session: &Signed,
    id: &LockId,
    sent: &[u8],
) -> Locked {
    let request = Locking {
        info: info(id),
        principal,
        door: "s3",
        sent,
        credential: Some(session),
    };
    replica.lock(&unit(), request).await.unwrap()
}

async fn locked_by(replica: &Vault, session: &Signed, id: &LockId) {
    let answer = put_lock(replica, &alice(), session, id, b"{}").await;
    assert!(matches!(answer, Locked::Granted(_)), "{answer:?}");
}

async fn delete_lock(replica: &Vault, session: &Signed) -> Unlocked {
    replica.unlock_session(&unit(), &alice(), session).await.unwrap()
}

/// Somebody else locks, writes and unlocks, through another door and another replica.
async fn somebody_else_writes(world: &World, bytes: Bytes) {
    let other = world.replica();
    locked(&other, &uuid(9)).await;
    done(write(&other, &uuid(9), bytes).await);
    unlocked(&other, &uuid(9)).await;
    other.settle_down().await;
}

#[tokio::test(start_paused = true)]
async fn trace_44_a_session_whose_lock_was_broken_writes_nothing_on_the_free_unit_until_it_locks_again() {
    for world in World::of_each_kind() {
        let (r0, r1) = (world.replica(), world.replica());
        let (a, late, b) = (state(1, "a"), state(2, "late"), state(2, "b"));
        locked_by(&r0, &signed("s", 1), &uuid(1)).await;
        done(put_state(&r0, &signed("s", 2), a.clone()).await);
        assert!(r1.force_unlock(&unit()).await.unwrap().is_some());
        somebody_else_writes(&world, b.clone()).await;

        for replica in [&r0, &r1, &world.replica()] {
            let why = refused(put_state(replica, &signed("s", 9), late.clone()).await);
            assert!(matches!(&why, Refusal::Lost(id) if *id == uuid(1)), "{why:?}");
        }
        assert_eq!(rejected(&r1).await.len(), 3, "kept, each of them");
        stands(&world, &b).await;

        locked_by(&r0, &signed("s", 10), &uuid(2)).await;
        let c = state(3, "c");
        done(put_state(&r1, &signed("s", 11), c.clone()).await);
        stands(&world, &c).await;
    }
}

#[tokio::test(start_paused = true)]
async fn trace_45_a_put_that_was_sent_under_a_lock_and_arrives_after_it_was_given_back_is_late() {
    for world in World::of_each_kind() {
        let (r0, r1) = (world.replica(), world.replica());
        let (late, b) = (state(1, "late"), state(1, "b"));
        locked_by(&r0, &signed("s", 1), &uuid(1)).await;
        // The client has given the PUT up that it sent at 2.
        let answer = delete_lock(&r1, &signed("s", 3)).await;
        assert!(matches!(answer, Unlocked::Free(Some(_))), "{answer:?}");
        somebody_else_writes(&world, b.clone()).await;

        let why = refused(put_state(&r0, &signed("s", 2), late.clone()).await);
        assert!(matches!(&why, Refusal::Lost(id) if *id == uuid(1)), "{why:?}");
        assert_eq!(rejected(&r1).await, [late]);
        stands(&world, &b).await;

        // What it sends afterwards is a plain write, as of any other session.
        let c = state(2, "c");
        done(put_state(&r0, &signed("s", 4), c.clone()).await);
        stands(&world, &c).await;
    }
}

#[tokio::test(start_paused = true)]
async fn trace_46_a_put_that_hangs_in_a_replica_while_its_lock_is_broken_commits_nothing() {
    for world in World::of_each_kind() {
        let ((r0, f0), r1) = (world.failing_replica(), world.replica());
        let (late, b) = (state(1, "late"), state(1, "b"));
        locked_by(&r0, &signed("s", 1), &uuid(1)).await;
        let gate = Gate::new();
        f0.say(head_put(), Fate::HeldBefore(gate.clone()));
        let bytes = late.clone();
        let hung = meanwhile(
            &r0,
            |r0| async move { put_state(&r0, &signed("s", 2), bytes).await },
        );
        gate.reached().await;
        assert!(r1.force_unlock(&unit()).await.unwrap().is_some());
        somebody_else_writes(&world, b.clone()).await;
        gate.open();

        let why = refused(hung.await.unwrap());
        assert!(matches!(&why, Refusal::Lost(id) if *id == uuid(1)), "{why:?}");
        stands(&world, &b).await;
        assert!(f0.all_used());
    }
}

#[tokio::test(start_paused = true)]
async fn trace_47_what_was_committed_before_the_lock_was_broken_is_answered_as_committed() {
    for world in World::of_each_kind() {
        let (r0, r1) = (world.replica(), world.replica());
        let (a, b) = (state(1, "a"), state(2, "b"));
        locked_by(&r0, &signed("s", 1), &uuid(1)).await;
        let first = done(put_state(&r0, &signed("s", 2), a.clone()).await);
        assert!(r1.force_unlock(&unit()).await.unwrap().is_some());
        somebody_else_writes(&world, b.clone()).await;

        let again = done(put_state(&r1, &signed("s", 4), a).await);
        assert_eq!(again.version, first.version);
        assert_eq!(again.lock_id, Some(uuid(1)));
        stands(&world, &b).await;
    }
}

#[tokio::test(start_paused = true)]
async fn trace_48_sessions_of_one_person_are_others_to_each_other_and_so_are_persons_with_sessions_of_one_name()
 {
    for world in World::of_each_kind() {
        let (r0, r1) = (world.replica(), world.replica());
        locked_by(&r0, &signed("one", 1), &uuid(1)).await;

        let why = refused(put_state(&r1, &signed("two", 2), state(1, "x")).await);
        assert!(matches!(&why, Refusal::Held(_)), "{why:?}");
        let theirs = CommitRequest {
            principal: Principal::new("mallory"),
            ..put(&signed("one", 2), state(1, "y"))
        };
        let why = refused(r1.commit(&unit(), &theirs).await);
        assert!(matches!(&why, Refusal::Held(_)), "{why:?}");
        let held = delete_lock(&r1, &signed("two", 3)).await;
        assert!(matches!(held, Unlocked::Held(_)), "{held:?}");
        let held = r1
            .unlock_session(&unit(), &Principal::new("mallory"), &signed("one", 3))
            .await;
        assert!(matches!(held, Ok(Unlocked::Held(_))), "{held:?}");
        assert_eq!(holder(&world).await, Some(uuid(1)));
    }
}

#[tokio::test(start_paused = true)]
async fn trace_49_the_retry_of_a_delete_whose_answer_was_lost_breaks_nobody_elses_lock() {
    for world in World::of_each_kind() {
        let (r0, r1) = (world.replica(), world.replica());
        locked_by(&r0, &signed("s", 1), &uuid(1)).await;
        let removing = signed("s", 2);
        assert!(matches!(
            delete_lock(&r0, &removing).await,
            Unlocked::Free(Some(_))
        ));
        locked(&r1, &uuid(2)).await;

        // The SDK signs each attempt anew, and calls all of them the same.
        let again = Signed {
            at: Some(Timestamp::from_second(3).unwrap()),
            ..removing
        };
        for replica in [&r0, &r1] {
            let answer = delete_lock(replica, &again).await;
            assert!(matches!(answer, Unlocked::Free(None)), "{answer:?}");
        }
        let another = delete_lock(&r0, &signed("s", 4)).await;
        assert!(matches!(another, Unlocked::Held(_)), "{another:?}");
        assert_eq!(holder(&world).await, Some(uuid(2)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_file_put_again_is_granted_byte_for_byte_and_to_its_session_alone() {
    for world in World::of_each_kind() {
        let (r0, r1) = (world.replica(), world.replica());
        let mine = signed("mine", 1);
        assert!(matches!(
            put_lock(&r0, &alice(), &mine, &uuid(1), b"{\"a\":1}").await,
            Locked::Granted(_)
        ));
        for (who, session, sent, granted) in [
            (alice(), &mine, b"{\"a\":1}".as_slice(), true),
            (alice(), &mine, b"{\"a\":2}", false),
            (alice(), &signed("other", 1), b"{\"a\":1}", false),
            (Principal::new("mallory"), &mine, b"{\"a\":1}", false),
        ] {
            let answer = put_lock(&r1, &who, session, &uuid(1), sent).await;
            assert_eq!(
                matches!(answer, Locked::Granted(_)),
                granted,
                "{who} {session:?}: {answer:?}"
            );
        }
        let through_http = crate::common::lock(&r1, &uuid(1)).await.unwrap();
        assert!(matches!(through_http, Locked::Held(_)), "{through_http:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_was_taken_through_another_door_is_not_the_sessions_and_the_other_way_round() {
    for world in World::of_each_kind() {
        let (r0, r1) = (world.replica(), world.replica());
        locked(&r0, &uuid(1)).await;
        let why = refused(put_state(&r1, &signed("s", 1), state(1, "s3")).await);
        assert!(matches!(&why, Refusal::Held(_)), "{why:?}");
        unlocked(&r0, &uuid(1)).await;

        locked_by(&r0, &signed("s", 2), &uuid(2)).await;
        let why = refused(write(&r1, &uuid(1), state(1, "http")).await);
        assert!(matches!(&why, Refusal::Held(_)), "{why:?}");
        let why = refused(
            r1.commit(&unit(), &post(Holding::Nothing, state(1, "push")))
                .await,
        );
        assert!(matches!(&why, Refusal::Held(_)), "{why:?}");
        // Whoever can say the id may give the lock back, as everywhere; to its session it was broken.
        unlocked(&r1, &uuid(2)).await;
        let why = refused(put_state(&r0, &signed("s", 3), state(1, "late")).await);
        assert!(matches!(&why, Refusal::Lost(_)), "{why:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_nobody_signs_all_clients_are_one_holder_and_no_free_unit_is_closed_to_them() {
    for world in World::of_each_kind() {
        let r0 = world.replica();
        let nobody = Signed {
            session: CredentialSession::of_nobody(),
            at: None,
            invocation: None,
        };
        locked_by(&r0, &nobody, &uuid(1)).await;
        done(put_state(&r0, &nobody, state(1, "a")).await);
        assert!(r0.force_unlock(&unit()).await.unwrap().is_some());
        done(put_state(&r0, &nobody, state(2, "b")).await);
    }
}

#[tokio::test(start_paused = true)]
async fn of_writes_that_each_want_to_be_the_first_or_over_the_same_content_one_is_committed() {
    for world in World::of_each_kind() {
        let (r0, r1) = (world.replica(), world.replica());
        let conditional = |wanted: IfContent, bytes: Bytes| CommitRequest {
            if_content: Some(wanted),
            ..put(&signed("s", 1), bytes)
        };
        let first = done(
            r0.commit(&unit(), &conditional(IfContent::Nothing, state(1, "a")))
                .await,
        );
        // Not even the same bytes: somebody who counts on being the first would not be.
        for bytes in [state(1, "a"), state(1, "b")] {
            let answer = r1.commit(&unit(), &conditional(IfContent::Nothing, bytes)).await;
            assert!(matches!(answer, Ok(Committing::Unmet { .. })), "{answer:?}");
        }
        let seen = first.md5.clone().unwrap();
        done(
            r1.commit(&unit(), &conditional(IfContent::Is(seen.clone()), state(2, "c")))
                .await,
        );
        let answer = r0
            .commit(&unit(), &conditional(IfContent::Is(seen), state(2, "d")))
            .await;
        assert!(matches!(answer, Ok(Committing::Unmet { .. })), "{answer:?}");
        stands(&world, &state(2, "c")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn trace_50_a_put_that_was_sent_under_a_lock_is_late_also_when_its_session_holds_the_unit_again() {
    for world in World::of_each_kind() {
        let (r0, r1) = (world.replica(), world.replica());
        let (late, b, c) = (state(1, "late"), state(1, "b"), state(2, "c"));
        locked_by(&r0, &signed("s", 1), &uuid(1)).await;
        let answer = delete_lock(&r0, &signed("s", 3)).await;
        assert!(matches!(answer, Unlocked::Free(Some(_))), "{answer:?}");
        somebody_else_writes(&world, b.clone()).await;
        locked_by(&r1, &signed("s", 5), &uuid(2)).await;

        // Signed at 2, under the first lock.
        for replica in [&r0, &r1] {
            let why = refused(put_state(replica, &signed("s", 2), late.clone()).await);
            assert!(matches!(&why, Refusal::Held(_)), "{why:?}");
        }
        stands(&world, &b).await;
        done(put_state(&r0, &signed("s", 5), c.clone()).await);
        stands(&world, &c).await;
    }
}

#[tokio::test(start_paused = true)]
async fn trace_51_a_delete_of_an_earlier_lock_that_comes_late_does_not_end_the_next_one_of_its_session() {
    for world in World::of_each_kind() {
        let (r0, r1) = (world.replica(), world.replica());
        locked_by(&r0, &signed("s", 1), &uuid(1)).await;
        assert!(matches!(
            delete_lock(&r0, &signed("s", 4)).await,
            Unlocked::Free(Some(_))
        ));
        locked_by(&r1, &signed("s", 5), &uuid(2)).await;

        // The first attempt of that delete.
        for replica in [&r0, &r1] {
            let answer = delete_lock(replica, &signed("s", 3)).await;
            assert!(matches!(answer, Unlocked::Free(None)), "{answer:?}");
        }
        assert_eq!(holder(&world).await, Some(uuid(2)));
        assert!(matches!(
            delete_lock(&r0, &signed("s", 5)).await,
            Unlocked::Free(Some(_))
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn trace_61_a_delete_of_an_earlier_lock_that_comes_late_breaks_nobodys_lock_after_the_next_one_was_broken()
 {
    for world in World::of_each_kind() {
        let (r0, r1) = (world.replica(), world.replica());
        locked_by(&r0, &signed("s", 1), &uuid(1)).await;
        assert!(matches!(
            delete_lock(&r0, &signed("s", 4)).await,
            Unlocked::Free(Some(_))
        ));
        locked_by(&r0, &signed("s", 5), &uuid(2)).await;
        assert!(r1.force_unlock(&unit()).await.unwrap().is_some());
        locked_by(&r0, &signed("t", 1), &uuid(3)).await;

        // The first attempt of that delete. Whoever is told "held" here may break that lock.
        for replica in [&r0, &r1] {
            let answer = delete_lock(replica, &signed("s", 3)).await;
            assert!(matches!(answer, Unlocked::Free(None)), "{answer:?}");
        }
        assert_eq!(holder(&world).await, Some(uuid(3)));
        // What is signed after that is meant for whoever holds now.
        assert!(matches!(
            delete_lock(&r0, &signed("s", 6)).await,
            Unlocked::Held(_)
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_remembers_few_sessions_that_are_done_and_many_that_were_broken() {
    let world = World::new();
    let r0 = world.replica();
    locked_by(&r0, &signed("broken", 1), &uuid(255)).await;
    assert!(r0.force_unlock(&unit()).await.unwrap().is_some());
    for number in 0..40u8 {
        let session = signed(&format!("s-{number}"), i64::from(number));
        locked_by(&r0, &session, &uuid(number)).await;
        assert!(matches!(
            delete_lock(&r0, &session).await,
            Unlocked::Free(Some(_))
        ));
    }
    let head = world.head(&unit()).await.unwrap();
    assert_eq!(head.ended.len(), 33, "32 that are done");
    let why = refused(put_state(&r0, &signed("broken", 900), state(1, "late")).await);
    assert!(matches!(&why, Refusal::Lost(id) if *id == uuid(255)), "{why:?}");
}
