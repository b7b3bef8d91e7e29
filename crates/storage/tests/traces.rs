//! The histories that broke earlier wordings of the protocol, by their numbers (design.md section 4 has the rules).
//!
//! Each is tried over both kinds of buckets, those whose tags count and those whose tags are digests of the content,
//! unless it says why not. Every version that a history leaves committed must lie there byte for byte.

mod collector;
mod commits;
mod copies;
mod lifecycle;
mod locks;
mod people;
mod readers;
mod sessions;

use bytes::Bytes;
use opentaco_domain::{LockId, VersionId};
use opentaco_storage::commit::Committing;
use opentaco_storage::head::Head;
use opentaco_storage::{StorageError, Vault};
use opentaco_testkit::buckets::World;
use opentaco_testkit::faults::{Does, Faults, On};
use tokio::task::JoinHandle;

use crate::common::{meanwhile, read, unit, write, write_unlocked};

/// The key of the state copy.
const COPY: &str = "myapp/prod/terraform.tfstate";
const HEAD: &str = "/@head.json";
const VERSIONS: &str = "__opentaco_versions/";
const REJECTED: &str = "__opentaco_rejected/";

fn head_put() -> On {
    On::next(Does::Put, HEAD).ending()
}

fn head_get() -> On {
    On::next(Does::Get, HEAD).ending()
}

fn copy_put() -> On {
    On::next(Does::Put, COPY).ending()
}

fn copy_get() -> On {
    On::next(Does::Get, COPY).ending()
}

fn version_put() -> On {
    On::next(Does::Put, VERSIONS)
}

/// How many such requests to objects with such a name went this way.
fn count(faults: &Faults, does: Does, key_end: &str) -> usize {
    faults
        .seen()
        .iter()
        .filter(|(did, key)| *did == does && key.ends_with(key_end))
        .count()
}

fn writing(replica: &Vault, id: &LockId, bytes: &Bytes) -> JoinHandle<Result<Committing, StorageError>> {
    let (id, bytes) = (id.clone(), bytes.clone());
    meanwhile(
        replica,
        |replica| async move { write(&replica, &id, bytes).await },
    )
}

fn writing_unlocked(replica: &Vault, bytes: &Bytes) -> JoinHandle<Result<Committing, StorageError>> {
    let bytes = bytes.clone();
    meanwhile(
        replica,
        |replica| async move { write_unlocked(&replica, bytes).await },
    )
}

fn reading(replica: &Vault) -> JoinHandle<Result<Option<Bytes>, StorageError>> {
    meanwhile(replica, |replica| async move { read(&replica).await })
}

async fn head(world: &World) -> Head {
    world.head(&unit()).await.expect("the unit was touched")
}

async fn holder(world: &World) -> Option<LockId> {
    head(world).await.lock.map(|lock| lock.info.id)
}

/// The version that the state copy is recorded to hold.
async fn recorded(world: &World) -> Option<VersionId> {
    head(world).await.copy.and_then(|copy| copy.version)
}

fn version_key(version: &VersionId) -> String {
    format!("{VERSIONS}{}/@/{version}", unit())
}

/// The names of all version objects, committed or not.
async fn version_objects(world: &World) -> Vec<String> {
    let keys = world.keys().await;
    keys.into_iter().filter(|key| key.starts_with(VERSIONS)).collect()
}

/// The committed history, newest first, each version with the bytes that lie under its name.
async fn history(world: &World) -> Vec<Bytes> {
    let mut history = Vec::new();
    for committed in head(world).await.known() {
        let bytes = world.person_gets(&version_key(&committed.version)).await;
        history.push(bytes.unwrap_or_else(|| panic!("{} is committed and not there", committed.version)));
    }
    history
}

/// The head names these bytes as current, and the copy holds them.
async fn stands(world: &World, bytes: &Bytes) {
    assert!(head(world).await.current.is_some(), "nothing is current");
    assert_eq!(history(world).await.first(), Some(bytes), "what is current");
    assert_eq!(
        world.copy(&unit()).await.as_ref(),
        Some(bytes),
        "what the copy holds"
    );
}
