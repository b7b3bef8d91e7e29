//! What only a disk is asked for: files that people can handle, and a file system that is no key space.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;

use futures::future::join_all;
use futures::{StreamExt, TryStreamExt};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    Attribute, Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, Result, UpdateVersion,
};
use opentaco_storage::bucket::{Kind, Whole};
use opentaco_storage::local::{LocalError, LocalStore};
use opentaco_storage::{Bucket, Surroundings};
use tempfile::TempDir;

fn opened() -> (TempDir, LocalStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::open(directory.path()).unwrap();
    (directory, store)
}

fn key(name: &str) -> Path {
    Path::parse(name).unwrap()
}

async fn read(store: &LocalStore, name: &str) -> String {
    let bytes = store.get(&key(name)).await.unwrap().bytes().await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn names(store: &LocalStore) -> Vec<String> {
    let all: Vec<_> = store.list(None).try_collect().await.unwrap();
    all.into_iter().map(|meta| meta.location.to_string()).collect()
}

fn described(who: &str) -> PutOptions {
    let attributes = [(Attribute::Metadata("who".into()), who.to_owned())]
        .into_iter()
        .collect();
    PutOptions {
        attributes,
        ..PutOptions::default()
    }
}

fn sidecars(directory: &TempDir) -> usize {
    fs::read_dir(directory.path().join(".opentaco-local/metadata"))
        .unwrap()
        .count()
}

#[tokio::test]
async fn an_object_is_a_plain_file_at_its_own_name() {
    let (directory, store) = opened();
    store
        .put(&key("myapp/prod/terraform.tfstate"), "{}".into())
        .await
        .unwrap();
    assert_eq!(
        fs::read_to_string(directory.path().join("myapp/prod/terraform.tfstate")).unwrap(),
        "{}"
    );

    fs::create_dir_all(directory.path().join("by/hand")).unwrap();
    fs::write(directory.path().join("by/hand/terraform.tfstate"), "theirs").unwrap();
    assert_eq!(read(&store, "by/hand/terraform.tfstate").await, "theirs");
    assert_eq!(
        names(&store).await,
        ["by/hand/terraform.tfstate", "myapp/prod/terraform.tfstate"]
    );
}

/// `cp` writes into the very file, so the inode stays, and the size may be the same too.
#[tokio::test]
async fn an_overwrite_by_hand_changes_the_etag_even_at_once_and_with_the_same_size() {
    let (directory, store) = opened();
    let mut etags = Vec::new();
    for n in 0..200 {
        let name = key(&format!("unit-{n}.tfstate"));
        let put = store.put(&name, "ours".into()).await.unwrap();
        fs::write(directory.path().join(name.as_ref()), "hand").unwrap();
        let seen = store.head(&name).await.unwrap();
        assert_ne!(seen.e_tag, put.e_tag, "an overwrite by hand shows");
        let late = store
            .put_opts(&name, "late".into(), PutMode::Update(put.into()).into())
            .await;
        assert!(matches!(late, Err(Error::Precondition { .. })), "{late:?}");
        assert_eq!(
            read(&store, name.as_ref()).await,
            "hand",
            "and is not overwritten"
        );
        let present = UpdateVersion {
            e_tag: seen.e_tag.clone(),
            version: None,
        };
        store
            .put_opts(&name, "next".into(), PutMode::Update(present).into())
            .await
            .unwrap();
        etags.extend(seen.e_tag);
    }
    assert_eq!(etags.len(), 200);
}

/// Newer kernels give a finer time to a file that was looked at; on older ones this is all that tells two puts apart.
#[tokio::test]
async fn each_file_carries_a_ticket_of_its_own_in_its_time() {
    use std::os::unix::fs::MetadataExt;
    let (directory, store) = opened();
    let mut tickets = Vec::new();
    for name in ["a", "b", "c"] {
        store.put(&key(name), "x".into()).await.unwrap();
        tickets.push(fs::metadata(directory.path().join(name)).unwrap().mtime_nsec() % 1_000_000);
    }
    let next = |ticket: i64| (ticket + 1) % 1_000_000;
    assert_eq!(tickets[1..], [next(tickets[0]), next(tickets[1])]);
}

/// The kernel's clock ticks in milliseconds, and it gives a new file the inode of one that was just removed.
#[tokio::test]
async fn no_two_puts_of_one_size_ever_share_an_etag() {
    let (_directory, store) = opened();
    let mut etags = std::collections::HashSet::new();
    for n in 0..1000 {
        let put = store
            .put(&key("a.tfstate"), format!("{n:04}").into())
            .await
            .unwrap();
        assert!(
            etags.insert(put.e_tag.unwrap()),
            "put {n} has an ETag that was there before"
        );
    }
}

#[tokio::test]
async fn a_directory_is_served_once() {
    let (directory, store) = opened();
    let second = LocalStore::open(directory.path());
    let Err(LocalError::InUse { .. }) = &second else {
        panic!("{second:?}")
    };
    let text = second.unwrap_err().to_string();
    let path = fs::canonicalize(directory.path()).unwrap();
    assert!(
        text.contains(path.to_str().unwrap()) && text.contains("choose another data directory"),
        "{text}"
    );
    drop(store);
    LocalStore::open(directory.path()).expect("it is free again");
}

#[tokio::test]
async fn a_directory_that_is_made_is_for_its_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("deep/data");
    let store = LocalStore::open(&root).unwrap();
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
    store.put(&key("a"), "x".into()).await.unwrap();
}

#[tokio::test]
async fn a_key_below_a_key_is_refused_and_harms_neither() {
    let (directory, store) = opened();
    store.put(&key("a.tfstate"), "state".into()).await.unwrap();
    for below in ["a.tfstate/x", "a.tfstate/x/y"] {
        for mode in [PutMode::Overwrite, PutMode::Create] {
            let refused = store.put_opts(&key(below), "x".into(), mode.into()).await;
            let Err(error @ Error::NotSupported { .. }) = refused else {
                panic!("{refused:?}")
            };
            assert!(error.to_string().contains(below), "it names the key: {error}");
        }
        assert!(matches!(
            store.get(&key(below)).await,
            Err(Error::NotFound { .. })
        ));
        store
            .delete(&key(below))
            .await
            .expect("what cannot be there is deleted already");
    }
    assert_eq!(read(&store, "a.tfstate").await, "state");

    store.put(&key("b/c/d"), "leaf".into()).await.unwrap();
    for above in ["b", "b/c"] {
        let refused = store.put(&key(above), "x".into()).await;
        assert!(matches!(refused, Err(Error::NotSupported { .. })), "{refused:?}");
        assert!(
            matches!(store.head(&key(above)).await, Err(Error::NotFound { .. })),
            "a directory is no object"
        );
        store.delete(&key(above)).await.unwrap();
    }
    assert_eq!(read(&store, "b/c/d").await, "leaf");
    assert_eq!(
        fs::read_dir(directory.path().join(".opentaco-local/tmp"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn a_name_becomes_free_for_the_other_use_once_its_objects_are_gone() {
    let (_directory, store) = opened();
    for _ in 0..3 {
        store.put(&key("a/b/c"), "x".into()).await.unwrap();
        store.delete(&key("a/b/c")).await.unwrap();
        store.put(&key("a"), "x".into()).await.unwrap();
        store.delete(&key("a")).await.unwrap();
    }
}

#[tokio::test]
async fn a_segment_of_255_bytes_is_a_name_and_a_longer_one_is_refused() {
    let (_directory, store) = opened();
    let longest = format!("{}/{}", "d".repeat(255), "é".repeat(127));
    store
        .put_opts(&key(&longest), "x".into(), described("me"))
        .await
        .unwrap();
    assert_eq!(names(&store).await, [longest]);
    let longer = "f".repeat(256);
    let refused = store.put(&key(&longer), "x".into()).await;
    assert!(matches!(refused, Err(Error::NotSupported { .. })), "{refused:?}");
    assert!(matches!(
        store.get(&key(&longer)).await,
        Err(Error::NotFound { .. })
    ));
}

#[tokio::test]
async fn names_of_our_own_are_neither_listed_nor_read_nor_written() {
    let (_directory, store) = opened();
    store
        .put_opts(&key("a"), "x".into(), described("me"))
        .await
        .unwrap();
    assert_eq!(names(&store).await, ["a"]);
    for own in [".opentaco-local", ".opentaco-local/lock", ".opentaco-local/tmp/x"] {
        assert!(
            matches!(store.get(&key(own)).await, Err(Error::NotSupported { .. })),
            "{own}"
        );
        assert!(
            matches!(
                store.put(&key(own), "x".into()).await,
                Err(Error::NotSupported { .. })
            ),
            "{own}"
        );
        assert!(
            matches!(store.delete(&key(own)).await, Err(Error::NotSupported { .. })),
            "{own}"
        );
    }
    for prefix in [".opentaco-local", ".opentaco-local/", "../", "/", "./"] {
        let page = store
            .list_paginated(Some(prefix), PaginatedListOptions::default())
            .await
            .unwrap();
        assert_eq!(page.result.objects, [], "{prefix}");
    }
    store
        .put(&key("x/.opentaco-local"), "x".into())
        .await
        .expect("elsewhere it is a name like any other");
    assert_eq!(names(&store).await, ["a", "x/.opentaco-local"]);
}

#[tokio::test]
async fn a_name_that_can_be_no_key_is_passed_over_in_a_listing() {
    use std::os::unix::ffi::OsStrExt;
    let (directory, store) = opened();
    store.put(&key("a/b"), "x".into()).await.unwrap();
    for odd in [&b"a/\xff"[..], b"a/with\nnewline", b"empty"] {
        let path = directory.path().join(std::ffi::OsStr::from_bytes(odd));
        if odd == b"empty" {
            fs::create_dir(path).unwrap();
        } else {
            fs::write(path, "x").unwrap();
        }
    }
    assert_eq!(names(&store).await, ["a/b"]);
}

#[tokio::test]
async fn a_body_that_is_being_read_stays_that_body() {
    let (_directory, store) = opened();
    let name = key("large");
    for replace in [true, false] {
        let old = vec![b'o'; 3 * 1024 * 1024 + 17];
        store.put(&name, old.clone().into()).await.unwrap();
        let mut body = store.get(&name).await.unwrap().into_stream();
        let mut read = body.next().await.unwrap().unwrap().to_vec();
        if replace {
            store.put(&name, vec![b'n'; old.len()].into()).await.unwrap();
        } else {
            store.delete(&name).await.unwrap();
        }
        while let Some(chunk) = body.next().await {
            read.extend_from_slice(&chunk.unwrap());
        }
        assert!(read == old);
    }
}

#[tokio::test]
async fn a_body_that_is_overwritten_by_hand_while_it_is_read_is_an_error_and_no_mixture() {
    let (directory, store) = opened();
    let size = 3 * 1024 * 1024 + 17;
    for by_hand in [vec![b'n'; size], vec![b'n'; 10]] {
        store.put(&key("large"), vec![b'o'; size].into()).await.unwrap();
        let mut body = store.get(&key("large")).await.unwrap().into_stream();
        body.next().await.unwrap().unwrap();
        fs::write(directory.path().join("large"), by_hand).unwrap();
        let rest: Result<Vec<_>> = body.try_collect().await;
        assert!(rest.is_err(), "a mixture must not look like an object");
    }
}

#[tokio::test]
async fn metadata_goes_with_its_object() {
    let (directory, store) = opened();
    let who = Attribute::Metadata("who".into());
    let who_of = async |name: &str| {
        let got = store.get(&key(name)).await.unwrap();
        got.attributes.get(&who).map(|value| value.as_ref().to_owned())
    };
    store
        .put_opts(&key("a"), "1".into(), described("alice"))
        .await
        .unwrap();
    store
        .put_opts(&key("a"), "2".into(), described("bob"))
        .await
        .unwrap();
    assert_eq!(who_of("a").await.as_deref(), Some("bob"));
    assert_eq!(
        sidecars(&directory),
        1,
        "an overwritten object takes its metadata with it"
    );

    let refused = PutOptions {
        mode: PutMode::Create,
        ..described("mallory")
    };
    store.put_opts(&key("a"), "3".into(), refused).await.unwrap_err();
    assert_eq!(who_of("a").await.as_deref(), Some("bob"));
    assert_eq!(sidecars(&directory), 1, "a refused put leaves none");

    fs::copy(directory.path().join("a"), directory.path().join("copied")).unwrap();
    assert_eq!(who_of("copied").await, None, "a copy by hand is nobody's word");
    fs::write(directory.path().join("a"), "by hand").unwrap();
    assert_eq!(who_of("a").await, None, "nor is an overwrite");

    store
        .put_opts(&key("b"), "1".into(), described("alice"))
        .await
        .unwrap();
    let before = sidecars(&directory);
    store.delete(&key("b")).await.unwrap();
    assert_eq!(
        sidecars(&directory),
        before - 1,
        "a deleted object takes its metadata with it"
    );
}

#[tokio::test]
async fn metadata_survives_a_restart_and_a_move_of_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    let store = LocalStore::open(&old).unwrap();
    store
        .put_opts(&key("x/a"), "1".into(), described("alice"))
        .await
        .unwrap();
    drop(store);
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(&old)
        .arg(&new)
        .status()
        .unwrap();
    assert!(copied.success());
    for root in [old, new] {
        let got = LocalStore::open(&root).unwrap().get(&key("x/a")).await.unwrap();
        assert_eq!(
            got.attributes,
            described("alice").attributes,
            "{}",
            root.display()
        );
    }
}

#[tokio::test]
async fn a_link_is_replaced_and_deleted_and_its_target_left_alone() {
    let (directory, store) = opened();
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("target");
    fs::write(&target, "target").unwrap();
    symlink(&target, directory.path().join("link")).unwrap();
    symlink(elsewhere.path(), directory.path().join("directory")).unwrap();
    symlink("nowhere", directory.path().join("dangling")).unwrap();
    assert_eq!(read(&store, "link").await, "target");
    assert_eq!(
        names(&store).await,
        ["link"],
        "a link to a directory, or to nothing, is not listed"
    );
    store.put(&key("link"), "ours".into()).await.unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "target");
    assert_eq!(read(&store, "link").await, "ours");
}

/// Puts and deletes in one directory that is always about to vanish.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_survives_deletes_that_take_its_directory_away() {
    let (directory, store) = opened();
    let store = Arc::new(store);
    let turns = (0..8).map(|n| {
        let store = Arc::clone(&store);
        async move {
            let name = key(&format!("deep/er/and/deeper/{n}"));
            for turn in 0..60 {
                store
                    .put(&name, PutPayload::from(format!("{turn}")))
                    .await
                    .unwrap();
                assert_eq!(
                    store.get(&name).await.unwrap().bytes().await.unwrap(),
                    format!("{turn}")
                );
                store.delete(&name).await.unwrap();
            }
        }
    });
    join_all(turns).await;
    assert_eq!(names(&store).await, Vec::<String>::new());
    assert!(
        !directory.path().join("deep").exists(),
        "empty directories are not left"
    );
}

#[tokio::test]
async fn a_put_that_fails_leaves_what_was_there_and_nothing_else() {
    let (directory, store) = opened();
    store
        .put_opts(&key("a/b"), "before".into(), described("me"))
        .await
        .unwrap();
    let tmp = directory.path().join(".opentaco-local/tmp");
    fs::remove_dir(&tmp).unwrap();
    fs::write(&tmp, "no directory").unwrap();
    store
        .put_opts(&key("a/b"), "after".into(), described("me"))
        .await
        .unwrap_err();
    store.put(&key("a/c"), "after".into()).await.unwrap_err();
    assert_eq!(read(&store, "a/b").await, "before");
    assert_eq!(names(&store).await, ["a/b"]);
    assert_eq!(sidecars(&directory), 1);
}

#[tokio::test]
async fn what_is_fetched_whole_can_be_changed_where_it_lies() {
    let (_directory, store) = opened();
    let bucket = Bucket::new(Arc::new(store), "", Surroundings::real());
    let large = vec![b'x'; 2 * 1024 * 1024];
    bucket
        .put(Kind::Version, "large", large.into(), &[])
        .await
        .unwrap();
    let (_, whole) = bucket.fetch(Kind::Version, "large").await.unwrap().unwrap();
    let Whole { bytes, room } = whole;
    let at = bytes.as_ptr();
    let changed = Vec::from(bytes);
    assert_eq!(changed.as_ptr(), at, "it was copied");
    drop(room);
}
