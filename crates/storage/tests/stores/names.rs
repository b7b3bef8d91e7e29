//! Names that a bucket takes and a disk does not: what is a courtesy fails alone, and what cannot be is refused at once,
//! with the reason.

use std::fs;

use opentaco_domain::Holding;
use opentaco_storage::commit::Committing;
use opentaco_storage::listing::ListUnits;
use opentaco_storage::local::LocalStore;
use opentaco_storage::locks::{Locked, Unlocked};
use opentaco_storage::{Kind, StorageError, Vault, Verb};
use tempfile::TempDir;

use crate::vault::{lock, over, read, state, unit, uuid, write};

fn opened() -> (TempDir, Vault) {
    let directory = tempfile::tempdir().unwrap();
    let vault = over(LocalStore::open(directory.path()).unwrap());
    (directory, vault)
}

/// The life of a lock: taken, written under, refused to another, given back, taken by the other.
async fn works(vault: &Vault, id: &str) {
    let unit = unit(id);
    for (mine, theirs, serial) in [(1, 2, 1), (3, 4, 2)] {
        let locked = lock(vault, &unit, &uuid(mine)).await.unwrap();
        assert!(matches!(locked, Locked::Granted(_)), "`{id}`: {locked:?}");
        let refused = lock(vault, &unit, &uuid(theirs)).await.unwrap();
        assert!(matches!(refused, Locked::Held(_)), "`{id}`: {refused:?}");
        let written = write(vault, &unit, Holding::Lock(uuid(mine)), state(serial)).await;
        assert!(matches!(written, Ok(Committing::Done(_))), "`{id}`: {written:?}");
        assert_eq!(read(vault, &unit).await.unwrap(), Some(state(serial)), "`{id}`");
        let unlocked = vault.unlock(&unit, &uuid(mine)).await.unwrap();
        assert!(
            matches!(unlocked, Unlocked::Free(Some(_))),
            "`{id}`: {unlocked:?}"
        );
    }
    vault.settle_down().await;
    let listed = vault.list(&ListUnits::default()).await.unwrap();
    assert!(
        listed.units.iter().any(|listed| listed.unit == unit),
        "`{id}` is listed"
    );
}

/// A segment has room for 255 bytes: with `.lock` behind it, 250 are the most that have a lock copy.
#[tokio::test(start_paused = true)]
async fn a_unit_whose_lock_copy_has_no_name_on_a_disk_works_without_one() {
    for (bytes, has_lock_copy) in [(250, true), (251, false), (255, false)] {
        let (directory, vault) = opened();
        for above in ["", "team/"] {
            let id = format!("{above}{}.tfstate", "n".repeat(bytes - ".tfstate".len()));
            works(&vault, &id).await;
            let head = directory.path().join(format!("__opentaco_units/{id}/@head.json"));
            assert!(head.is_file(), "its head is where every head is");

            lock(&vault, &unit(&id), &uuid(9)).await.unwrap();
            vault.settle_down().await;
            let copy = directory.path().join(format!("{id}.lock"));
            assert_eq!(fs::metadata(copy).is_ok(), has_lock_copy, "{bytes} bytes");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_copy_that_can_never_be_is_tried_once() {
    let (_directory, vault) = opened();
    let id = unit(&format!("{}.tfstate", "n".repeat(247)));
    lock(&vault, &id, &uuid(1)).await.unwrap();
    vault.settle_down().await;
    let puts = vault.bucket().counts().snapshot();
    assert_eq!(puts.get(&(Verb::Put, Kind::LockCopy)), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn a_folder_in_the_place_of_a_lock_copy_keeps_no_unit_from_being_locked() {
    let (directory, vault) = opened();
    let folder = directory.path().join("a/terraform.tfstate.lock");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("theirs"), "theirs").unwrap();
    works(&vault, "a").await;
    assert_eq!(fs::read_to_string(folder.join("theirs")).unwrap(), "theirs");
}

/// Else its state could be written or not by whether another unit is locked at that moment.
#[tokio::test(start_paused = true)]
async fn a_unit_in_a_folder_that_is_called_like_a_lock_copy_is_refused_whether_or_not_that_lock_is_held() {
    let (_directory, vault) = opened();
    for held in [false, true] {
        if held {
            lock(&vault, &unit("a"), &uuid(1)).await.unwrap();
            vault.settle_down().await;
        }
        for id in ["a/terraform.tfstate.lock/b", "a.tfstate.lock/b/c"] {
            refused(&vault, id, "is the name of a lock's file").await;
        }
    }
    vault.unlock(&unit("a"), &uuid(1)).await.unwrap();
    works(&vault, "a.lock/b").await;
    works(&vault, "terraform.lock/b").await;
}

#[tokio::test(start_paused = true)]
async fn a_unit_among_the_files_of_the_store_itself_is_refused() {
    let (_directory, vault) = opened();
    refused(
        &vault,
        ".opentaco-local/b",
        "keeps its own files in `.opentaco-local`",
    )
    .await;
}

/// At once, for good and with the reason, whatever is asked.
async fn refused(vault: &Vault, id: &str, reason: &str) {
    let unit = unit(id);
    let began = tokio::time::Instant::now();
    let answers = [
        ("read", read(vault, &unit).await.map(|_| ())),
        ("lock", lock(vault, &unit, &uuid(1)).await.map(|_| ())),
        (
            "write",
            write(vault, &unit, Holding::Nothing, state(1)).await.map(|_| ()),
        ),
    ];
    for (what, answer) in answers {
        let Err(error @ StorageError::Denied { .. }) = answer else {
            panic!("{what} of `{id}` answered {answer:?}")
        };
        let why = error.unfit_name().unwrap();
        assert!(
            why.contains(id) && why.contains(reason),
            "{what} of `{id}`: {why}"
        );
    }
    // Time stands still but for the pauses before something is tried again.
    assert_eq!(
        began.elapsed().as_millis(),
        0,
        "`{id}` is asked for more than once"
    );
    let listed = vault.list(&ListUnits::default()).await.unwrap();
    assert!(
        listed.units.iter().all(|listed| listed.unit != unit),
        "`{id}` is listed"
    );
}
