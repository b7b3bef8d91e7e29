//! Replicas over one bucket, in memory, as tests of the protocol need them: each replica has a memory of its own and a
//! way to the bucket that can be made to fail; a person has `aws s3 cp`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::TryStreamExt;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use opentaco_domain::{Clock, StoppedClock, UnitId};
use opentaco_storage::head::Head;
use opentaco_storage::memory::MemoryStore;
use opentaco_storage::surroundings::{Entropy, TokioTasks};
use opentaco_storage::{Bucket, Retention, Store, Surroundings, Vault};

use crate::content_tags::ContentTags;
use crate::faults::Faults;

/// Numbers that are the same in every run, and never twice the same.
#[derive(Debug, Default)]
pub struct Counting(AtomicU64);

impl Entropy for Counting {
    fn draw(&self) -> u64 {
        // Spread over all 64 bits, so that halves of it differ as well.
        self.0
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// One bucket in memory, with a clock that stands still.
#[derive(Debug, Clone)]
pub struct World {
    store: Arc<dyn Store>,
    /// The clock of every replica.
    pub clock: Arc<StoppedClock>,
    entropy: Arc<Counting>,
    /// How long replicas keep versions.
    pub retention: Retention,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// An empty bucket whose tags count: the same bytes put again have another tag.
    #[must_use]
    pub fn new() -> Self {
        Self::over(Arc::new(MemoryStore::new()))
    }

    /// An empty bucket whose tags are digests of the content: the same bytes put again have the same tag, as in S3.
    #[must_use]
    pub fn with_content_tags() -> Self {
        Self::over(Arc::new(ContentTags::over(Arc::new(MemoryStore::new()))))
    }

    /// One empty bucket of each kind.
    #[must_use]
    pub fn of_each_kind() -> [Self; 2] {
        [Self::new(), Self::with_content_tags()]
    }

    fn over(store: Arc<dyn Store>) -> Self {
        let noon = "2026-11-22T12:00:00Z".parse::<Timestamp>().unwrap_or_default();
        Self {
            store,
            clock: Arc::new(StoppedClock::new(noon)),
            entropy: Arc::default(),
            retention: Retention::default(),
        }
    }

    /// The bucket itself, for a replica that a test puts together by hand.
    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// Time, chance and tasks of this world.
    #[must_use]
    pub fn surroundings(&self) -> Surroundings {
        let clock: Arc<dyn Clock> = self.clock.clone();
        Surroundings {
            clock,
            entropy: self.entropy.clone(),
            tasks: Arc::new(TokioTasks),
        }
    }

    /// A replica that has just started and remembers nothing.
    #[must_use]
    pub fn replica(&self) -> Vault {
        self.failing_replica().0
    }

    /// The same, with a way to the bucket that can be made to fail.
    #[must_use]
    pub fn failing_replica(&self) -> (Vault, Faults) {
        let faults = Faults::over(Arc::clone(&self.store));
        let store: Arc<dyn Store> = Arc::new(faults.clone());
        (
            Vault::new(Bucket::new(store, "", self.surroundings()), self.retention),
            faults,
        )
    }

    /// What a person does with `aws s3 cp FILE s3://…/KEY`.
    pub async fn person_puts(&self, key: &str, bytes: impl Into<Bytes>) {
        self.store
            .put(&path(key), PutPayload::from(bytes.into()))
            .await
            .expect("memory takes every put");
    }

    /// What a person sees with `aws s3 cp s3://…/KEY -`; none if there is no such object.
    pub async fn person_gets(&self, key: &str) -> Option<Bytes> {
        let got = self.store.get(&path(key)).await.ok()?;
        got.bytes().await.ok()
    }

    /// What a person does with `aws s3 rm s3://…/KEY`.
    pub async fn person_removes(&self, key: &str) {
        self.store
            .delete(&path(key))
            .await
            .expect("memory deletes everything");
    }

    /// Every key of the bucket, in order.
    pub async fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self
            .store
            .list(None)
            .map_ok(|meta| meta.location.to_string())
            .try_collect()
            .await
            .expect("memory lists everything");
        keys.sort();
        keys
    }

    /// The state copy of a unit, as a person reads it.
    pub async fn copy(&self, unit: &UnitId) -> Option<Bytes> {
        self.person_gets(&unit.state_key()).await
    }

    /// The head of a unit, as it lies in the bucket.
    pub async fn head(&self, unit: &UnitId) -> Option<Head> {
        let bytes = self
            .person_gets(&format!("__opentaco_units/{unit}/@head.json"))
            .await?;
        Some(serde_json::from_slice(&bytes).expect("a head of ours can be read"))
    }
}

fn path(key: &str) -> Path {
    Path::parse(key).expect("tests use keys that can be written")
}
