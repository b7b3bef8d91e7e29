//! Counting, exactly, what an operation waits for.
//!
//! No clock is involved. Every request to the store stops at a [`Gate`]; when nothing can go on without an answer, the
//! gate opens once, for all that wait there together. How often it opened until the operation answered is the number
//! of round trips the operation awaited: two requests in parallel are one, a request behind the answer is none.

use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use opentaco_domain::SystemClock;
use opentaco_storage::Surroundings;
use opentaco_storage::memory::MemoryStore;
use opentaco_storage::surroundings::{Entropy, Tasks};

/// What an operation cost.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Requests to the bucket, with those that follow behind the answer.
    pub requests: u64,
    /// How many of them had begun when the answer was given.
    pub begun_before_answer: u64,
    /// How many round trips to the bucket lay between the question and the answer.
    pub awaited_round_trips: u64,
}

impl Cost {
    /// The worse of both in every respect.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            requests: self.requests.max(other.requests),
            begun_before_answer: self.begun_before_answer.max(other.begun_before_answer),
            awaited_round_trips: self.awaited_round_trips.max(other.awaited_round_trips),
        }
    }
}

/// Nothing can go on, and no request is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the operation waits for something that is no request to the bucket; its round trips cannot be counted"
)]
pub struct Stuck;

/// One bucket in memory whose every request waits until it is let through, and whoever lets them through.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    store: MemoryStore,
    opened: AtomicU64,
    begun: AtomicU64,
    waiting: Mutex<Vec<Waker>>,
    behind: Mutex<Vec<BoxFuture<'static, ()>>>,
    drawn: AtomicU64,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("opened", &self.opened)
            .field("begun", &self.begun)
            .finish_non_exhaustive()
    }
}

impl Gate {
    /// An empty bucket behind a gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Time, chance and tasks for replicas over this bucket: what they do behind their answers is done by
    /// [`drive`](Self::drive), and no time passes, so nothing is ever given up.
    #[must_use]
    pub fn surroundings(&self) -> Surroundings {
        Surroundings {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(self.clone()),
            tasks: Arc::new(self.clone()),
        }
    }

    /// Requests that have begun so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.inner.begun.load(Ordering::Relaxed)
    }

    /// Objects in the bucket.
    #[must_use]
    pub fn objects(&self) -> u64 {
        let everything = self
            .inner
            .store
            .list(None)
            .fold(0, async |objects, _| objects + 1);
        futures::FutureExt::now_or_never(everything).unwrap_or_default()
    }

    /// The bucket itself, which lets everything through at once: to fill it, or to look into it.
    #[must_use]
    pub fn store(&self) -> &MemoryStore {
        &self.inner.store
    }

    /// Runs `work` to its end, and meanwhile, as far as that gets, what is left to do behind answers. Returns its answer
    /// and the round trips it awaited.
    ///
    /// # Errors
    /// [`Stuck`] if the work waits for anything but requests.
    pub fn drive<T>(&self, work: impl Future<Output = T>) -> Result<(T, u64), Stuck> {
        let mut work = pin!(work);
        let mut behind = FuturesUnordered::new();
        let mut round_trips = 0;
        held(&self.inner.waiting).clear();
        loop {
            let progress = Arc::new(Progress(AtomicBool::new(true)));
            let waker = Waker::from(Arc::clone(&progress));
            let mut context = Context::from_waker(&waker);
            while progress.0.swap(false, Ordering::SeqCst) {
                if let Poll::Ready(answer) = work.as_mut().poll(&mut context) {
                    held(&self.inner.behind).extend(behind);
                    return Ok((answer, round_trips));
                }
                let begun = std::mem::take(&mut *held(&self.inner.behind));
                behind.extend(begun);
                while let Poll::Ready(Some(())) = behind.poll_next_unpin(&mut context) {
                    progress.0.store(true, Ordering::SeqCst);
                }
                if !held(&self.inner.behind).is_empty() {
                    progress.0.store(true, Ordering::SeqCst);
                }
            }
            if !self.open() {
                return Err(Stuck);
            }
            round_trips += 1;
        }
    }

    /// What `work` costs; `afterwards` returns when everything behind its answer is done.
    ///
    /// # Errors
    /// As [`drive`](Self::drive).
    pub fn cost<T>(
        &self,
        work: impl Future<Output = T>,
        afterwards: impl Future<Output = ()>,
    ) -> Result<(T, Cost), Stuck> {
        let before = self.requests();
        let (answer, awaited_round_trips) = self.drive(work)?;
        let begun_before_answer = self.requests() - before;
        self.drive(afterwards)?;
        let requests = self.requests() - before;
        Ok((
            answer,
            Cost {
                requests,
                begun_before_answer,
                awaited_round_trips,
            },
        ))
    }

    /// Lets through all that wait now. False if nobody does.
    fn open(&self) -> bool {
        self.inner.opened.fetch_add(1, Ordering::SeqCst);
        let waiting = std::mem::take(&mut *held(&self.inner.waiting));
        let any = !waiting.is_empty();
        waiting.into_iter().for_each(Waker::wake);
        any
    }

    /// Begins a request, and returns when the gate opens for it.
    async fn pass(&self) {
        self.inner.begun.fetch_add(1, Ordering::Relaxed);
        let begun = self.inner.opened.load(Ordering::SeqCst);
        poll_fn(|context| {
            if self.inner.opened.load(Ordering::SeqCst) > begun {
                return Poll::Ready(());
            }
            held(&self.inner.waiting).push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Set when somebody who waited can go on.
struct Progress(AtomicBool);

impl Wake for Progress {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Entropy for Gate {
    fn draw(&self) -> u64 {
        // Spread over all 64 bits: halves of it are used as names.
        self.inner
            .drawn
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl Tasks for Gate {
    fn spawn(&self, work: BoxFuture<'static, ()>) {
        held(&self.inner.behind).push(work);
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory, one round trip at a time")
    }
}

#[async_trait]
impl PaginatedListStore for Gate {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        options: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        self.pass().await;
        self.inner.store.list_paginated(prefix, options).await
    }
}

#[async_trait]
impl ObjectStore for Gate {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.pass().await;
        self.inner.store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.pass().await;
        self.inner.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.pass().await;
        self.inner.store.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.pass().await;
        self.inner.store.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let gate = self.clone();
        let let_through = locations.then(move |location| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                location
            }
        });
        self.inner.store.delete_stream(let_through.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let gate = self.clone();
        let prefix = prefix.cloned();
        futures::stream::once(async move {
            gate.pass().await;
            gate.inner.store.list(prefix.as_ref())
        })
        .flatten()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.pass().await;
        self.inner.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.pass().await;
        self.inner.store.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt as _;

    use super::*;

    async fn ask(gate: &Gate) {
        gate.put(&Path::from("a"), PutPayload::from_static(b"a"))
            .await
            .unwrap();
    }

    #[test]
    fn requests_in_parallel_are_one_round_trip_and_in_sequence_two() {
        let gate = Gate::new();
        let together = gate.drive(async { futures::join!(ask(&gate), ask(&gate)) });
        assert_eq!(together.unwrap().1, 1);
        let one_by_one = gate.drive(async {
            ask(&gate).await;
            ask(&gate).await;
        });
        assert_eq!(one_by_one.unwrap().1, 2);
        assert_eq!(gate.requests(), 4);
    }

    #[test]
    fn a_request_behind_the_answer_is_counted_and_not_awaited() {
        let gate = Gate::new();
        let (said, done) = futures::channel::oneshot::channel();
        let work = async {
            ask(&gate).await;
            let later = gate.clone();
            gate.spawn(Box::pin(async move {
                ask(&later).await;
                said.send(()).unwrap();
            }));
        };
        let ((), cost) = gate.cost(work, async { done.await.unwrap() }).unwrap();
        assert_eq!(
            cost,
            Cost {
                requests: 2,
                begun_before_answer: 1,
                awaited_round_trips: 1
            }
        );
    }

    #[test]
    fn waiting_for_anything_but_a_request_is_an_error_and_no_hang() {
        let gate = Gate::new();
        assert_eq!(gate.drive(std::future::pending::<()>()), Err(Stuck));
    }
}
