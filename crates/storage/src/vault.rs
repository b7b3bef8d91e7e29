//! The vault: one bucket with its protocol, and what a replica remembers of it.
//!
//! Everything remembered may be dropped at any time. A remembered head serves one purpose, to save a request before a
//! compare-and-swap: if that succeeds, the memory was right; if not, the bucket is asked.

use std::fmt;
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use lru::LruCache;
use opentaco_domain::{UnitId, VersionId, limits};
use tokio::sync::Notify;

use crate::bucket::Bucket;
use crate::head::Head;
use crate::heads::{Known, Sight};
use crate::lock_copies::LockCopies;

/// How many heads a replica remembers: a head with a full history is about 20 KB.
const REMEMBERED_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("1024 is not 0");

/// How long and how many versions are kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// More than this are pruned, oldest first, the first and the last write of each lock session later than others.
    pub versions_max: usize,
    /// Nothing younger than this is pruned.
    pub versions_min_age: Duration,
    /// One collection of version objects that no head names, and one pruning, every so many commits of a unit.
    pub collect_every: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            versions_max: limits::VERSIONS_MAX_DEFAULT,
            versions_min_age: Duration::from_secs(24 * 60 * 60),
            collect_every: limits::COMMITS_BETWEEN_COLLECTIONS,
        }
    }
}

/// How long a turn is waited for. It saves requests and decides nothing, so nobody waits behind a copy that takes
/// forever.
const TURN_AWAITED: Duration = Duration::from_secs(5);

/// Where those who would get into each other's way queue, in one replica. A queue decides nothing.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// Writers that have lost a race, for the next try, and whoever mends the copy: fifty of them make fifty swaps and
    /// not a thousand.
    pub(crate) writing: tokio::sync::Mutex<()>,
    /// Whoever makes a version of what was found in the bucket.
    pub(crate) adopting: tokio::sync::Mutex<()>,
}

/// What a vault finds in the bucket that nobody did through us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noticed {
    /// Somebody wrote the state directly; it was adopted as this version.
    Adopted(VersionId),
    /// Somebody wrote the state directly while it was locked and written; their bytes are kept as this refused write.
    KeptAside(String),
    /// The head is gone, and so many versions are there.
    HeadLost(usize),
}

/// Who is told what a vault finds. It must not keep the vault waiting.
pub trait Observer: Send + Sync + fmt::Debug {
    /// This was found of a unit.
    fn notice(&self, unit: &UnitId, noticed: Noticed);
}

/// One bucket with its protocol. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    inner: Arc<Inner>,
}

struct Inner {
    bucket: Bucket,
    retention: Retention,
    memory: Mutex<LruCache<UnitId, Known>>,
    sights: Mutex<LruCache<UnitId, Sight>>,
    turns: Mutex<LruCache<UnitId, Arc<Turns>>>,
    lock_copies: LockCopies,
    behind: AtomicUsize,
    done: Notify,
    observer: Option<Arc<dyn Observer>>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({:?})", self.inner.bucket)
    }
}

impl Vault {
    /// The protocol over a bucket.
    #[must_use]
    pub fn new(bucket: Bucket, retention: Retention) -> Self {
        Self::with(bucket, retention, None)
    }

    /// The same, telling somebody what it finds in the bucket.
    #[must_use]
    pub fn observed(bucket: Bucket, retention: Retention, observer: Arc<dyn Observer>) -> Self {
        Self::with(bucket, retention, Some(observer))
    }

    fn with(bucket: Bucket, retention: Retention, observer: Option<Arc<dyn Observer>>) -> Self {
        Self {
            inner: Arc::new(Inner {
                bucket,
                retention,
                memory: Mutex::new(LruCache::new(REMEMBERED_MAX)),
                sights: Mutex::new(LruCache::new(REMEMBERED_MAX)),
                turns: Mutex::new(LruCache::new(REMEMBERED_MAX)),
                lock_copies: LockCopies::default(),
                behind: AtomicUsize::new(0),
                done: Notify::new(),
                observer,
            }),
        }
    }

    /// The bucket below.
    #[must_use]
    pub fn bucket(&self) -> &Bucket {
        &self.inner.bucket
    }

    /// How long versions are kept.
    #[must_use]
    pub fn retention(&self) -> Retention {
        self.inner.retention
    }

    /// Returns when all work behind answers is done.
    pub async fn settle_down(&self) {
        loop {
            let done = self.inner.done.notified();
            if self.inner.behind.load(Ordering::SeqCst) == 0 {
                return;
            }
            done.await;
        }
    }

    /// Does `work` behind the answer; [`Vault::settle_down`] waits for it.
    pub fn behind(&self, work: impl Future<Output = ()> + Send + 'static) {
        let guard = Behind::enter(&self.inner);
        self.inner.bucket.surroundings().tasks.spawn(Box::pin(async move {
            let _guard = guard;
            work.await;
        }));
    }

    /// Tells whoever wants to know.
    pub(crate) fn notice(&self, unit: &UnitId, noticed: Noticed) {
        if let Some(observer) = &self.inner.observer {
            observer.notice(unit, noticed);
        }
    }

    pub(crate) fn lock_copies(&self) -> &LockCopies {
        &self.inner.lock_copies
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.bucket().surroundings().clock.now()
    }

    pub(crate) fn draw(&self) -> u64 {
        self.bucket().surroundings().entropy.draw()
    }

    /// 32 random bits, for names that nobody else uses.
    pub(crate) fn draw_short(&self) -> u32 {
        u32::try_from(self.draw() >> 32).unwrap_or_default()
    }

    /// The queues of a unit on this replica.
    pub(crate) fn turns(&self, unit: &UnitId) -> Arc<Turns> {
        let mut turns = hold(&self.inner.turns);
        turns.get_or_insert(unit.clone(), Arc::default).clone()
    }

    /// A turn in one of these queues, as soon as it comes; none if that takes too long, and then one goes on without.
    pub(crate) async fn queue<'q>(
        &self,
        queue: &'q tokio::sync::Mutex<()>,
    ) -> Option<tokio::sync::MutexGuard<'q, ()>> {
        self.bucket().within(TURN_AWAITED, queue.lock()).await.ok()
    }

    /// The head of a unit as it was last seen here. It decides nothing.
    #[must_use]
    pub fn remembered_head(&self, unit: &UnitId) -> Option<Arc<Head>> {
        self.remembered(unit).map(|known| known.head)
    }

    pub(crate) fn remembered(&self, unit: &UnitId) -> Option<Known> {
        hold(&self.inner.memory).get(unit).cloned()
    }

    pub(crate) fn remember(&self, unit: &UnitId, known: &Known) {
        let mut memory = hold(&self.inner.memory);
        // An answer that was overtaken on its way must not replace a later one.
        if memory
            .peek(unit)
            .is_none_or(|before| before.head.epoch <= known.head.epoch)
        {
            memory.put(unit.clone(), known.clone());
        }
    }

    pub(crate) fn forget(&self, unit: &UnitId) {
        hold(&self.inner.memory).pop(unit);
    }

    pub(crate) fn sight(&self, unit: &UnitId) -> Option<Sight> {
        hold(&self.inner.sights).get(unit).cloned()
    }

    pub(crate) fn keep_sight(&self, unit: &UnitId, sight: Sight) {
        hold(&self.inner.sights).put(unit.clone(), sight);
    }

    pub(crate) fn drop_sight(&self, unit: &UnitId) {
        hold(&self.inner.sights).pop(unit);
    }
}

/// One piece of work behind an answer, counted until it is dropped, be it unfinished.
struct Behind(Arc<Inner>);

impl Behind {
    fn enter(inner: &Arc<Inner>) -> Self {
        inner.behind.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(inner))
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        if self.0.behind.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.done.notify_waiters();
        }
    }
}

/// What these mutexes guard is replaced whole: a panic in between leaves nothing half done.
pub(crate) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
