//! A bucket that fails on purpose: requests that are refused, lost, held back, or land long after their sender has
//! given up.
//!
//! [`Faults`] wraps any store. A test says which request it means ([`On`]) and what becomes of it ([`Fate`]); a request
//! that nothing was said about passes. A fate is used up by the request it befalls, unless it was said [`On::always`].

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use opentaco_storage::Store;
use tokio::sync::Notify;

/// How long a gate waits for its first request: longer than any request and its repeats may take.
const REACHED_WITHIN: Duration = Duration::from_secs(600);

/// What a request does, as a bucket sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// A get, a look or a listing.
    Read,
    /// A get or a look.
    Get,
    /// A listing.
    List,
    /// A put, conditional or not.
    Put,
    /// A delete.
    Delete,
    /// A put or a delete.
    Write,
    /// Anything.
    Any,
}

/// Which requests are meant.
#[derive(Debug, Clone)]
pub struct On {
    does: Does,
    key_part: String,
    at_end: bool,
    whole: bool,
    pass: usize,
    always: bool,
}

impl On {
    /// The next request that does this to a key that contains `key_part`.
    #[must_use]
    pub fn next(does: Does, key_part: &str) -> Self {
        Self {
            does,
            key_part: key_part.to_owned(),
            at_end: false,
            whole: false,
            pass: 0,
            always: false,
        }
    }

    /// Only keys that end so: a state copy, and not the lock copy beside it.
    #[must_use]
    pub fn ending(mut self) -> Self {
        self.at_end = true;
        self
    }

    /// Only this very key; of a listing, only one of everything that starts so.
    #[must_use]
    pub fn exactly(mut self) -> Self {
        self.whole = true;
        self
    }

    /// Not the next but the one after so many others.
    #[must_use]
    pub fn after(mut self, others: usize) -> Self {
        self.pass = others;
        self
    }

    /// Not one request but every one from there on.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.always = true;
        self
    }

    fn meets(&self, does: Does, key: &str) -> bool {
        let fits = match self.does {
            Does::Any => true,
            Does::Read => matches!(does, Does::Get | Does::List),
            Does::Write => matches!(does, Does::Put | Does::Delete),
            mine => mine == does,
        };
        fits && match (self.whole, self.at_end) {
            (true, _) => key == self.key_part,
            (false, true) => key.ends_with(&self.key_part),
            (false, false) => key.contains(&self.key_part),
        }
    }
}

/// What becomes of a request.
#[derive(Clone)]
pub enum Fate {
    /// 403: nothing happens.
    Denied,
    /// 500: nothing happens.
    InternalError,
    /// 503: nothing happens.
    Unavailable,
    /// 409 for a conditional put: nothing happens, though the condition may hold.
    Conflict,
    /// 412 for a conditional put: nothing happens, though the condition may hold.
    PreconditionFailed,
    /// No answer ever: nothing happens.
    Silence,
    /// It takes effect, and its answer is lost at once.
    AnswerLost,
    /// It takes effect, and no answer ever comes.
    SilenceAfterEffect,
    /// A body ends half-way: of a get or a listing on its way to us, of a put on its way there, and then nothing
    /// happens. A delete has no body, and passes.
    Truncated,
    /// It takes effect twice (a repeat below us); the second answer is given.
    Twice,
    /// It waits at the gate before anything happens.
    HeldBefore(Gate),
    /// It takes effect and waits at the gate before its answer is given.
    HeldAfter(Gate),
    /// Its sender is told nothing in time; it lands when the test says so.
    LandsLater(Late),
    /// Its sender is told nothing in time; it lands so long after it was sent.
    LandsAfter(Duration, Late),
    /// It takes so long, and then it is done.
    Slow(Duration),
}

impl fmt::Debug for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied => "denied",
            Self::InternalError => "500",
            Self::Unavailable => "503",
            Self::Conflict => "409",
            Self::PreconditionFailed => "412",
            Self::Silence => "silence",
            Self::AnswerLost => "answer lost",
            Self::SilenceAfterEffect => "silence after effect",
            Self::Truncated => "truncated",
            Self::Twice => "twice",
            Self::HeldBefore(_) => "held before",
            Self::HeldAfter(_) => "held after",
            Self::LandsLater(_) => "lands later",
            Self::LandsAfter(..) => "lands after a time",
            Self::Slow(_) => "slow",
        })
    }
}

/// Where requests wait until a test lets them pass.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<GateState>);

#[derive(Debug, Default)]
struct GateState {
    state: Mutex<(usize, bool)>,
    changed: Notify,
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns when a request stands at the gate.
    ///
    /// # Panics
    /// If none comes within ten minutes of the runtime's time: then the test does not test what it says.
    pub async fn reached(&self) {
        let reached = tokio::time::timeout(REACHED_WITHIN, self.until(|(waiting, _)| waiting > 0)).await;
        reached.expect("a request comes to the gate");
    }

    /// Lets everything pass from now on.
    pub fn open(&self) {
        self.change(|state| state.1 = true);
    }

    async fn pass(&self) {
        self.change(|state| state.0 += 1);
        self.until(|(_, open)| open).await;
    }

    fn change(&self, change: impl FnOnce(&mut (usize, bool))) {
        change(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.changed.notify_waiters();
    }

    async fn until(&self, holds: impl Fn((usize, bool)) -> bool) {
        loop {
            let changed = self.0.changed.notified();
            if holds(*self.0.state.lock().unwrap_or_else(PoisonError::into_inner)) {
                return;
            }
            changed.await;
        }
    }
}

/// Writes that are on their way after their sender has given up.
#[derive(Clone, Default)]
pub struct Late {
    writes: Arc<Mutex<VecDeque<BoxFuture<'static, Result<()>>>>>,
    sent: Arc<Notify>,
}

impl Late {
    /// Nothing is on its way yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many writes are on their way.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Returns when a write is on its way.
    ///
    /// # Panics
    /// As [`Gate::reached`].
    pub async fn sent(&self) {
        let sent = tokio::time::timeout(REACHED_WITHIN, async {
            loop {
                let sent = self.sent.notified();
                if self.waiting() > 0 {
                    return;
                }
                sent.await;
            }
        });
        sent.await.expect("a write is sent that lands later");
    }

    /// Lets the oldest land now, or waits until it does. What the store made of it.
    ///
    /// # Panics
    /// If nothing is on its way: then the test does not test what it says.
    pub async fn land(&self) -> Result<()> {
        let write = self
            .writes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        write.expect("a write is on its way").await
    }

    fn send(&self, write: BoxFuture<'static, Result<()>>) {
        self.writes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(write);
        self.sent.notify_waiters();
    }
}

/// A store that fails on purpose.
#[derive(Clone)]
pub struct Faults {
    store: Arc<dyn Store>,
    script: Arc<Mutex<Vec<(On, Fate)>>>,
    seen: Arc<Mutex<Vec<(Does, String)>>>,
    befallen: Arc<AtomicUsize>,
}

impl Faults {
    /// Wraps `store`; everything passes until something is said.
    #[must_use]
    pub fn over(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            script: Arc::default(),
            seen: Arc::default(),
            befallen: Arc::default(),
        }
    }

    /// Says what becomes of a request. What was said first is asked first.
    pub fn say(&self, on: On, fate: Fate) {
        self.script
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((on, fate));
    }

    /// Everything passes again.
    pub fn heal(&self) {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether every fate has befallen a request. A test whose faults never happened tests nothing.
    #[must_use]
    pub fn all_used(&self) -> bool {
        self.script
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .all(|(on, _)| on.always)
    }

    /// How many requests a fate has befallen so far.
    #[must_use]
    pub fn befallen(&self) -> usize {
        self.befallen.load(Ordering::Relaxed)
    }

    /// The requests so far, in the order they came.
    #[must_use]
    pub fn seen(&self) -> Vec<(Does, String)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fate(&self, does: Does, key: &str) -> Option<Fate> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((does, key.to_owned()));
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        let index = script.iter_mut().position(|(on, _)| {
            if !on.meets(does, key) {
                return false;
            }
            if on.pass > 0 {
                on.pass -= 1;
                return false;
            }
            true
        })?;
        let fate = script[index].1.clone();
        self.befallen.fetch_add(1, Ordering::Relaxed);
        if !script[index].0.always {
            script.remove(index);
        }
        Some(fate)
    }

    /// Runs `work` as `fate` will have it. `late` is the same work, for after its sender has given up.
    async fn befall<T: Send + 'static>(
        &self,
        fate: Option<Fate>,
        key: &str,
        mode: Option<&PutMode>,
        mut work: impl FnMut() -> BoxFuture<'static, Result<T>>,
    ) -> Result<T> {
        let Some(fate) = fate else { return work().await };
        match fate {
            Fate::Denied => Err(Error::PermissionDenied {
                path: key.to_owned(),
                source: "403 AccessDenied".into(),
            }),
            Fate::InternalError => Err(generic("500 InternalError")),
            Fate::Unavailable => Err(generic("503 SlowDown")),
            Fate::Conflict | Fate::PreconditionFailed => match (&fate, mode) {
                // As `object_store` reports them: 409 and 412 on a create alike, 412 on an update; a 409 that outlasts
                // its repeats is an error like any other.
                (_, Some(PutMode::Create)) => Err(Error::AlreadyExists {
                    path: key.to_owned(),
                    source: "conflict".into(),
                }),
                (Fate::PreconditionFailed, Some(PutMode::Update(_))) => Err(Error::Precondition {
                    path: key.to_owned(),
                    source: "412".into(),
                }),
                _ => Err(generic("409 ConditionalRequestConflict")),
            },
            Fate::Silence => std::future::pending().await,
            Fate::AnswerLost => {
                let _ = work().await;
                Err(generic("connection reset"))
            }
            Fate::SilenceAfterEffect => {
                let _ = work().await;
                std::future::pending().await
            }
            Fate::Truncated if mode.is_some() => Err(generic("400 IncompleteBody")),
            Fate::Truncated => work().await,
            Fate::Twice => {
                let _ = work().await;
                work().await
            }
            Fate::HeldBefore(gate) => {
                gate.pass().await;
                work().await
            }
            Fate::HeldAfter(gate) => {
                let answer = work().await;
                gate.pass().await;
                answer
            }
            Fate::LandsLater(late) => {
                late.send(work().map(|answer| answer.map(|_| ())).boxed());
                std::future::pending().await
            }
            Fate::LandsAfter(time, late) => {
                let landing = work();
                #[expect(
                    clippy::disallowed_methods,
                    reason = "what is on its way belongs to nobody; tests run on paused time"
                )]
                let landing = tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    landing.await.map(|_| ())
                });
                late.send(
                    landing
                        .map(|landed| landed.unwrap_or_else(|_| Err(generic("the way was cut off"))))
                        .boxed(),
                );
                std::future::pending().await
            }
            Fate::Slow(time) => {
                #[expect(clippy::disallowed_methods, reason = "tests run on paused time")]
                tokio::time::sleep(time).await;
                work().await
            }
        }
    }
}

fn generic(what: &'static str) -> Error {
    Error::Generic {
        store: "faults",
        source: what.into(),
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faults({})", self.store)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} that fails on purpose", self.store)
    }
}

#[async_trait]
impl ObjectStore for Faults {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let fate = self.fate(Does::Put, location.as_ref());
        let mode = options.mode.clone();
        self.befall(fate, location.as_ref(), Some(&mode), || {
            let (store, location, payload, options) = (
                Arc::clone(&self.store),
                location.clone(),
                payload.clone(),
                options.clone(),
            );
            async move { store.put_opts(&location, payload, options).await }.boxed()
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let fate = self.fate(Does::Get, location.as_ref());
        let truncated = matches!(fate, Some(Fate::Truncated)) && !options.head;
        let got = self
            .befall(fate, location.as_ref(), None, || {
                let (store, location, options) = (Arc::clone(&self.store), location.clone(), options.clone());
                async move { store.get_opts(&location, options).await }.boxed()
            })
            .await?;
        if !truncated {
            return Ok(got);
        }
        let (meta, range, attributes, extensions) = (
            got.meta.clone(),
            got.range.clone(),
            got.attributes.clone(),
            got.extensions.clone(),
        );
        let whole = got.bytes().await?;
        let half = whole.slice(..whole.len() / 2);
        let broken = stream::iter([Ok(half), Err(generic("connection reset in the body"))]).boxed();
        Ok(GetResult {
            payload: GetResultPayload::Stream(broken),
            meta,
            range,
            attributes,
            extensions,
        })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let faults = self.clone();
        locations
            .and_then(move |location| {
                let faults = faults.clone();
                async move {
                    let fate = faults.fate(Does::Delete, location.as_ref());
                    faults
                        .befall(fate, location.as_ref(), None, || {
                            let (store, location) = (Arc::clone(&faults.store), location.clone());
                            async move { store.delete(&location).await }.boxed()
                        })
                        .await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl PaginatedListStore for Faults {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        options: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        let fate = self.fate(Does::List, prefix.unwrap_or_default());
        let truncated = matches!(fate, Some(Fate::Truncated));
        let prefix = prefix.map(str::to_owned);
        self.befall(fate, prefix.as_deref().unwrap_or_default(), None, || {
            let (store, prefix) = (Arc::clone(&self.store), prefix.clone());
            let options = PaginatedListOptions {
                offset: options.offset.clone(),
                delimiter: options.delimiter.clone(),
                max_keys: options.max_keys,
                page_token: options.page_token.clone(),
                extensions: options.extensions.clone(),
            };
            async move { store.list_paginated(prefix.as_deref(), options).await }.boxed()
        })
        .await
        .and_then(|page| {
            if truncated {
                Err(generic("the page ends half-way"))
            } else {
                Ok(page)
            }
        })
    }
}
