//! Records beside the units are changed by compare-and-swap, and nothing about them is believed that was not seen.

#![expect(clippy::unwrap_used, reason = "where a fixture fails, the test fails")]

use opentaco_storage::records::{RecordName, Records, Seen, Shelf, Swapped};
use opentaco_storage::{StorageError, Vault};
use opentaco_testkit::buckets::World;
use opentaco_testkit::faults::{Does, Fate, Late, On};

use crate::common::meanwhile;

const KEY: &str = "__opentaco_access/policy.json";

fn policy() -> RecordName {
    RecordName::new(Shelf::Access, &["policy.json"]).unwrap()
}

fn records(replica: &Vault) -> Records {
    Records::new(replica.bucket().clone())
}

async fn says(records: &Records) -> Option<String> {
    records.load(&policy()).await.unwrap().map(|record| record.value)
}

/// What is seen after a change that has to be made.
fn done(swapped: Result<Swapped, StorageError>) -> Seen {
    match swapped.unwrap() {
        Swapped::Done(seen) => seen,
        other => panic!("{other:?}"),
    }
}

fn moved(swapped: Result<Swapped, StorageError>) -> bool {
    matches!(swapped.unwrap(), Swapped::Moved)
}

#[tokio::test(start_paused = true)]
async fn of_two_who_change_what_they_have_read_one_is_told_to_read_again() {
    for world in World::of_each_kind() {
        let (a, b) = (records(&world.replica()), records(&world.replica()));
        let first = done(a.swap(&policy(), None, &"one").await);
        assert!(moved(b.swap(&policy(), None, &"other").await), "it is there");
        done(b.swap(&policy(), Some(&first), &"two").await);
        assert!(moved(a.swap(&policy(), Some(&first), &"three").await));
        assert_eq!(says(&a).await.as_deref(), Some("two"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_words_put_again_are_another_record() {
    for world in World::of_each_kind() {
        let records = records(&world.replica());
        let first = done(records.swap(&policy(), None, &"on").await);
        let second = done(records.swap(&policy(), Some(&first), &"off").await);
        done(records.swap(&policy(), Some(&second), &"on").await);
        let late = records.swap(&policy(), Some(&first), &"off").await;
        assert!(moved(late), "what was read first is not there any more");
    }
}

#[tokio::test(start_paused = true)]
async fn a_swap_whose_answer_is_lost_is_known_by_its_nonce_and_one_that_was_refused_is_not_believed() {
    for fate in [
        Fate::AnswerLost,
        Fate::SilenceAfterEffect,
        Fate::Twice,
        Fate::PreconditionFailed,
        Fate::Conflict,
        Fate::Unavailable,
    ] {
        for world in World::of_each_kind() {
            let (replica, faults) = world.failing_replica();
            let records = records(&replica);
            faults.say(On::next(Does::Put, KEY).ending(), fate.clone());
            done(records.swap(&policy(), None, &"one").await);
            assert!(faults.all_used());
            assert_eq!(says(&records).await.as_deref(), Some("one"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_swap_that_landed_is_known_though_others_followed_it_before_anybody_looked() {
    // As many as a record names, and no more.
    for (others, known) in [(1, true), (64, true), (65, false)] {
        for world in World::of_each_kind() {
            let (replica, faults) = world.failing_replica();
            let theirs = records(&world.replica());
            let first = done(theirs.swap(&policy(), None, &"one").await);
            let late = Late::new();
            faults.say(On::next(Does::Put, KEY).ending(), Fate::LandsLater(late.clone()));
            let swapping = meanwhile(&replica, |replica| async move {
                records(&replica).swap(&policy(), Some(&first), &"mine").await
            });
            late.sent().await;
            late.land().await.unwrap();
            for _ in 0..others {
                let there = theirs.load::<String>(&policy()).await.unwrap().unwrap();
                done(theirs.swap(&policy(), Some(&there.seen), &"theirs").await);
            }
            let told = swapping.await.unwrap().unwrap();
            assert_eq!(matches!(told, Swapped::Overtaken), known, "{others}: {told:?}");
            assert_eq!(says(&theirs).await.as_deref(), Some("theirs"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_record_is_an_error_and_never_none() {
    let world = World::new();
    let records = records(&world.replica());
    for wrong in [
        "",
        "{",
        "[]",
        r#"{"format":9,"nonce":"","record":"x"}"#,
        r#"{"format":1,"nonce":"","record":5}"#,
    ] {
        world.person_puts(KEY, wrong.to_owned()).await;
        let read = records.load::<String>(&policy()).await;
        assert!(
            matches!(read, Err(StorageError::Corrupt { .. })),
            "{wrong}: {read:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn records_are_listed_below_a_name_and_removed() {
    let world = World::new();
    let records = records(&world.replica());
    let name = |parts: &[&str]| RecordName::new(Shelf::Tokens, parts).unwrap();
    for parts in [["family", "b"], ["family", "a"], ["api", "c"]] {
        done(records.swap(&name(&parts), None, &1).await);
    }
    assert_eq!(records.list(&name(&["family"])).await.unwrap(), ["a", "b"]);
    records.remove(&name(&["family", "a"])).await.unwrap();
    assert_eq!(records.list(&name(&["family"])).await.unwrap(), ["b"]);
}

#[test]
fn no_part_of_a_name_leads_anywhere_else() {
    for wrong in [
        "",
        ".",
        "..",
        "a/b",
        "../x",
        "a\\b",
        "%2e",
        "a b",
        "é",
        "-a",
        "a\0",
        &"a".repeat(129),
    ] {
        assert!(RecordName::new(Shelf::Tokens, &[wrong]).is_err(), "{wrong:?}");
    }
    assert!(RecordName::new(Shelf::Tokens, &[]).is_err());
}
