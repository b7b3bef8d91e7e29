//! The directory under a running service is not there any more. Promise 6: then every answer is an error, nothing
//! changes anywhere, and when it is back all goes on as before.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path as FilePath, PathBuf};
use std::process::Command;

use futures::TryStreamExt;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, UpdateVersion};
use opentaco_domain::{Holding, Principal};
use opentaco_storage::Vault;
use opentaco_storage::listing::ListUnits;
use opentaco_storage::local::LocalStore;

use crate::vault::{lock, over, read, state, unit, uuid, write};

/// What becomes of the directory, and how it comes back.
struct Fate {
    name: &'static str,
    befalls: fn(&Places),
    ends: fn(&Places),
}

struct Places {
    root: PathBuf,
    aside: PathBuf,
}

impl Places {
    fn move_away(&self) {
        fs::rename(&self.root, &self.aside).unwrap();
    }

    fn put_back(&self) {
        fs::rename(&self.aside, &self.root).unwrap();
    }

    fn copy(&self, flags: &str) {
        let copied = Command::new("cp")
            .arg(flags)
            .arg(&self.aside)
            .arg(&self.root)
            .status()
            .unwrap();
        assert!(copied.success());
    }
}

const FATES: [Fate; 8] = [
    Fate {
        name: "moved away",
        befalls: Places::move_away,
        ends: Places::put_back,
    },
    Fate {
        name: "replaced by a file",
        befalls: |places| {
            places.move_away();
            fs::write(&places.root, "a file").unwrap();
        },
        ends: |places| {
            fs::remove_file(&places.root).unwrap();
            places.put_back();
        },
    },
    Fate {
        // What is below a mount point once the disk is unmounted.
        name: "replaced by an empty directory",
        befalls: |places| {
            places.move_away();
            fs::create_dir(&places.root).unwrap();
        },
        ends: |places| {
            fs::remove_dir(&places.root).expect("nothing was put there");
            places.put_back();
        },
    },
    Fate {
        name: "replaced by a copy",
        befalls: |places| {
            places.move_away();
            places.copy("-a");
        },
        ends: |places| {
            fs::remove_dir_all(&places.root).unwrap();
            places.put_back();
        },
    },
    Fate {
        // As snapshots are made. Our lock file is in it too.
        name: "replaced by a copy of hard links",
        befalls: |places| {
            places.move_away();
            places.copy("-al");
        },
        ends: |places| {
            fs::remove_dir_all(&places.root).unwrap();
            places.put_back();
        },
    },
    Fate {
        name: "replaced by a link to nothing",
        befalls: |places| {
            places.move_away();
            symlink("nowhere", &places.root).unwrap();
        },
        ends: |places| {
            fs::remove_file(&places.root).unwrap();
            places.put_back();
        },
    },
    Fate {
        name: "replaced by a link that leads to itself",
        befalls: |places| {
            places.move_away();
            symlink(&places.root, &places.root).unwrap();
        },
        ends: |places| {
            fs::remove_file(&places.root).unwrap();
            places.put_back();
        },
    },
    Fate {
        // A second process could take the directory now.
        name: "without our lock file",
        befalls: |places| {
            let hidden = places.root.join(".opentaco-local");
            fs::rename(hidden, &places.aside).unwrap();
        },
        ends: |places| {
            let hidden = places.root.join(".opentaco-local");
            fs::rename(&places.aside, hidden).unwrap();
        },
    },
];

/// Every file below `directory`, with its bytes.
fn files(directory: &FilePath) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut below = vec![directory.to_owned()];
    while let Some(directory) = below.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                below.push(entry.path());
            } else if kind.is_file() {
                all.insert(entry.path(), fs::read(entry.path()).unwrap());
            }
        }
    }
    all
}

fn key(name: &str) -> Path {
    Path::parse(name).unwrap()
}

const PRESENT: &str = "by/hand/terraform.tfstate";
const ABSENT: &str = "never/terraform.tfstate";

/// Every request a store knows, for an object that was there and for one that was not. Each must fail, and not with
/// what would be believed.
async fn no_request_is_answered(store: &LocalStore, seen: &UpdateVersion, fate: &str) {
    for name in [PRESENT, ABSENT] {
        let key = key(name);
        let mut answers = vec![
            ("get", store.get(&key).await.map(|_| ())),
            ("head", store.head(&key).await.map(|_| ())),
            ("delete", store.delete(&key).await),
        ];
        for (what, mode) in [
            ("put", PutMode::Overwrite),
            ("create", PutMode::Create),
            ("update", PutMode::Update(seen.clone())),
        ] {
            let put = store.put_opts(&key, "other".into(), mode.into()).await;
            answers.push((what, put.map(|_| ())));
        }
        for (what, answer) in answers {
            let Err(error) = answer else {
                panic!("{fate}: {what} of `{name}` succeeded")
            };
            let error_is_honest = matches!(error, Error::Generic { .. } | Error::PermissionDenied { .. });
            assert!(error_is_honest, "{fate}: {what} of `{name}` answered {error:?}");
        }
    }
    for prefix in [None, Some("by/"), Some("never/")] {
        let page = store
            .list_paginated(prefix, PaginatedListOptions::default())
            .await;
        assert!(page.is_err(), "{fate}: a listing of {prefix:?} answered {page:?}");
    }
    let all: Result<Vec<_>, _> = store.list(None).try_collect().await;
    assert!(all.is_err(), "{fate}: a listing answered {all:?}");
}

/// What Terraform, and people, ask for: of a unit that we know, of one that somebody put there by hand, and of one that
/// never was.
async fn no_operation_is_answered(vault: &Vault, fate: &str) {
    for id in ["ours", "by/hand", "never"] {
        let unit = unit(id);
        let answer = read(vault, &unit).await;
        assert!(answer.is_err(), "{fate}: a read of `{id}` answered {answer:?}");
        let answer = vault.describe(&unit).await;
        assert!(answer.is_err(), "{fate}: `{id}` is described as {answer:?}");
        let answer = lock(vault, &unit, &uuid(7)).await;
        assert!(answer.is_err(), "{fate}: a lock of `{id}` answered {answer:?}");
        let answer = vault.unlock(&unit, &uuid(1)).await;
        assert!(answer.is_err(), "{fate}: an unlock of `{id}` answered {answer:?}");
        let answer = write(vault, &unit, Holding::Nothing, state(9)).await;
        assert!(answer.is_err(), "{fate}: a write to `{id}` answered {answer:?}");
        let answer = vault.delete(&unit, &Principal::new("alice")).await;
        assert!(answer.is_err(), "{fate}: a delete of `{id}` answered {answer:?}");
        let answer = vault.create(&unit, BTreeMap::new(), String::new()).await;
        assert!(answer.is_err(), "{fate}: a create of `{id}` answered {answer:?}");
    }
    let answer = vault.list(&ListUnits::default()).await;
    assert!(answer.is_err(), "{fate}: the units are {answer:?}");
    assert!(vault.bucket().ping().await.is_err(), "{fate}: it is ready");
    vault.settle_down().await;
}

/// A directory with a unit of ours, under a lock, and one that was put there by hand.
async fn settled(root: &FilePath) -> (LocalStore, Vault) {
    let store = LocalStore::open(root).unwrap();
    let vault = over(store.clone());
    lock(&vault, &unit("ours"), &uuid(1)).await.unwrap();
    write(&vault, &unit("ours"), Holding::Lock(uuid(1)), state(1))
        .await
        .unwrap();
    fs::create_dir_all(root.join("by/hand")).unwrap();
    fs::write(root.join(PRESENT), state(5)).unwrap();
    vault.settle_down().await;
    (store, vault)
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_is_not_there_answers_nothing_changes_nothing_and_goes_on_when_it_is_back() {
    for Fate { name, befalls, ends } in FATES {
        let directory = tempfile::tempdir().unwrap();
        let places = Places {
            root: directory.path().join("root"),
            aside: directory.path().join("aside"),
        };
        let (store, vault) = settled(&places.root).await;
        let seen = store.head(&key(PRESENT)).await.unwrap();
        let seen = UpdateVersion {
            e_tag: seen.e_tag,
            version: None,
        };

        befalls(&places);
        let before = files(directory.path());
        no_request_is_answered(&store, &seen, name).await;
        no_operation_is_answered(&vault, name).await;
        assert_eq!(files(directory.path()), before, "{name}: something has changed");

        ends(&places);
        let bytes = read(&vault, &unit("ours")).await.unwrap();
        assert_eq!(bytes, Some(state(1)), "{name}");
        let bytes = read(&vault, &unit("by/hand")).await.unwrap();
        assert_eq!(bytes, Some(state(5)), "{name}");
        assert_eq!(read(&vault, &unit("never")).await.unwrap(), None, "{name}");
        write(&vault, &unit("ours"), Holding::Lock(uuid(1)), state(2))
            .await
            .unwrap();
        assert_eq!(
            read(&vault, &unit("ours")).await.unwrap(),
            Some(state(2)),
            "{name}"
        );
        let listed = vault.list(&ListUnits::default()).await.unwrap();
        assert_eq!(listed.units.len(), 2, "{name}");
    }
}

const DENIED_IN: &str = "OPENTACO_TEST_DENIED_IN";
const NOBODY: u32 = 65_534;

/// Run by the test below, in a process of its own that is not root: to root, no permission is ever missing.
#[tokio::test(start_paused = true)]
#[ignore = "it is started by the test below, as nobody"]
async fn a_process_whose_permissions_are_taken() {
    let directory = PathBuf::from(std::env::var_os(DENIED_IN).expect("only started by its parent"));
    let root = directory.join("root");
    let (store, vault) = settled(&root).await;
    let seen = store.head(&key(PRESENT)).await.unwrap();
    let seen = UpdateVersion {
        e_tag: seen.e_tag,
        version: None,
    };
    let allow = |path: &FilePath, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();

    // Of the directory above, and of the directory itself.
    for taken in [&directory, &root] {
        allow(taken, 0);
        no_request_is_answered(&store, &seen, "permissions taken").await;
        no_operation_is_answered(&vault, "permissions taken").await;
        allow(taken, 0o755);
        assert_eq!(read(&vault, &unit("ours")).await.unwrap(), Some(state(1)));
    }
    // Of one unit's directory alone.
    allow(&root.join("by/hand"), 0);
    let answer = read(&vault, &unit("by/hand")).await;
    assert!(answer.is_err(), "a read answered {answer:?}");
    let answer = lock(&vault, &unit("by/hand"), &uuid(7)).await;
    assert!(answer.is_err(), "a lock answered {answer:?}");
    let answer = vault.list(&ListUnits::default()).await;
    assert!(answer.is_err(), "the units are {answer:?}");
    allow(&root.join("by/hand"), 0o755);
    assert_eq!(read(&vault, &unit("by/hand")).await.unwrap(), Some(state(5)));
}

#[test]
fn permissions_that_are_taken_are_an_error_and_never_an_absence() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    fs::create_dir(&home).unwrap();
    // Nobody may not go where the test was built.
    let program = directory.path().join("test");
    let built = std::env::current_exe().unwrap();
    if fs::hard_link(&built, &program).is_err() {
        fs::copy(&built, &program).unwrap();
    }
    let mut child = Command::new(&program);
    child
        .args([
            "--ignored",
            "--exact",
            "vanished::a_process_whose_permissions_are_taken",
        ])
        .env(DENIED_IN, &home)
        .current_dir("/");
    if fs::metadata(&home).unwrap().uid() == 0 {
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
        child.uid(NOBODY).gid(NOBODY);
    }
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A unit's directory may be a link to another disk; if that one is gone, nobody knows what is on it.
#[tokio::test(start_paused = true)]
async fn a_link_whose_target_is_gone_is_an_error_and_no_absence() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let store = LocalStore::open(directory.path()).unwrap();
    let vault = over(store.clone());
    fs::create_dir(elsewhere.path().join("disk")).unwrap();
    fs::write(elsewhere.path().join("disk/terraform.tfstate"), state(1)).unwrap();
    symlink(elsewhere.path().join("disk"), directory.path().join("linked")).unwrap();
    assert_eq!(read(&vault, &unit("linked")).await.unwrap(), Some(state(1)));
    assert_eq!(
        read(&vault, &unit("linked/other")).await.unwrap(),
        None,
        "what is not on that disk is not there"
    );

    fs::rename(elsewhere.path().join("disk"), elsewhere.path().join("gone")).unwrap();
    for id in ["linked", "linked/other"] {
        let answer = read(&vault, &unit(id)).await;
        assert!(answer.is_err(), "`{id}` answered {answer:?}");
    }
    symlink("nowhere", directory.path().join("dangling.tfstate")).unwrap();
    let answer = read(&vault, &unit("dangling.tfstate")).await;
    assert!(answer.is_err(), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn below_an_object_nothing_is_and_below_anything_else_that_is_no_directory_nobody_knows() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::open(directory.path()).unwrap();
    let vault = over(store.clone());
    fs::write(directory.path().join("object"), "a file").unwrap();
    assert_eq!(read(&vault, &unit("object/x")).await.unwrap(), None);
    assert_eq!(read(&vault, &unit("object/x/y")).await.unwrap(), None);

    let made = Command::new("mkfifo")
        .arg(directory.path().join("pipe"))
        .status()
        .unwrap();
    assert!(made.success());
    let answer = read(&vault, &unit("pipe/x")).await;
    assert!(answer.is_err(), "{answer:?}");
}
