//! One contract, every store, two clients.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use opentaco_storage::contract;
use opentaco_storage::local::LocalStore;
use opentaco_storage::memory::MemoryStore;
use opentaco_storage::proof::SingleReplica;

use crate::liars::{Liar, Lie};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_keeps_the_contract() {
    let store = MemoryStore::new();
    contract::run(Arc::new(store.clone()), Arc::new(store), "team/a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_disk_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::open(directory.path()).unwrap();
    contract::run(Arc::new(store.clone()), Arc::new(store), "team/a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_can_be_run_at_the_root_of_a_bucket() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::open(directory.path()).unwrap();
    contract::run(Arc::new(store.clone()), Arc::new(store), "").await;
}

/// A store that ignores every condition, behind the process that writes alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_replica_keeps_the_contract_on_a_store_without_conditions() {
    let store = SingleReplica::new(Arc::new(Liar::new(Lie::IgnoresConditions)));
    contract::run(Arc::new(store.clone()), Arc::new(store), "team/a").await;
}

/// The contract is worth what it catches.
#[tokio::test]
async fn no_liar_keeps_the_contract() {
    for lie in [
        Lie::DeniesWrites,
        Lie::SpoilsBytes,
        Lie::RenamesEtags,
        Lie::OneEtag,
        Lie::IgnoresConditions,
        Lie::CreatesOverAnything,
        Lie::LosesCreateRaces,
        Lie::LosesUpdateRaces,
        Lie::RefusesUpdates,
        Lie::KnowsNoConditions,
        Lie::AcceptsStaleUpdates,
        Lie::KeepsTheLosersBytes,
        Lie::ListsLate,
        Lie::ForgetsMetadata,
        Lie::KeepsDeleted,
    ] {
        let store = Arc::new(Liar::new(lie));
        let run = contract::run(Arc::<Liar>::clone(&store), store, "team/a");
        assert!(
            AssertUnwindSafe(run).catch_unwind().await.is_err(),
            "{lie:?} is not caught by the contract"
        );
    }
}
