//! Records beside the units are changed by compare-and-swap, and nothing about them is believed that was not seen.

#![expect(clippy::unwrap_used, reason = "where a fixture fails, the test fails")]

use opentaco_storage::records::{RecordName, Records, Shelf};
use opentaco_storage::{StorageError, Vault};
use opentaco_testkit::buckets::World;
use opentaco_testkit::faults::{Does, Fate, On};

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

#[tokio::test(start_paused = true)]
async fn of_two_who_change_what_they_have_read_one_is_told_to_read_again() {
    for world in World::of_each_kind() {
        let (a, b) = (records(&world.replica()), records(&world.replica()));
        let first = a.swap(&policy(), None, &"one").await.unwrap().unwrap();
        assert_eq!(
            b.swap(&policy(), None, &"other").await.unwrap(),
            None,
            "it is there"
        );
        let second = b.swap(&policy(), Some(&first), &"two").await.unwrap();
        assert!(second.is_some());
        assert_eq!(a.swap(&policy(), Some(&first), &"three").await.unwrap(), None);
        assert_eq!(says(&a).await.as_deref(), Some("two"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_words_put_again_are_another_record() {
    for world in World::of_each_kind() {
        let records = records(&world.replica());
        let first = records.swap(&policy(), None, &"on").await.unwrap().unwrap();
        let second = records
            .swap(&policy(), Some(&first), &"off")
            .await
            .unwrap()
            .unwrap();
        records
            .swap(&policy(), Some(&second), &"on")
            .await
            .unwrap()
            .unwrap();
        let late = records.swap(&policy(), Some(&first), &"off").await.unwrap();
        assert_eq!(late, None, "what was read first is not there any more");
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
            let tag = records.swap(&policy(), None, &"one").await.unwrap();
            assert!(tag.is_some(), "{fate:?}");
            assert!(faults.all_used());
            assert_eq!(says(&records).await.as_deref(), Some("one"));
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
        records.swap(&name(&parts), None, &1).await.unwrap();
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
