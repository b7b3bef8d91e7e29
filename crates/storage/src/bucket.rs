//! Requests to the bucket: each counted where it is made, each bounded in time, and each answer told apart by what may
//! be concluded from it.
//!
//! Nothing below this file repeats a request. Here, what cannot do harm twice (reading, listing, deleting, and putting
//! an object whose name nobody else uses) is tried again; a conditional put never is: who asked for it reads back.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::{Either, select};
use futures::stream::BoxStream;
use futures::{Future, FutureExt, StreamExt, TryStreamExt, pin_mut};
use object_store::list::PaginatedListOptions;
use object_store::{
    Attribute, Attributes, Error, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStoreExt, PutMode,
    PutOptions, PutPayload, UpdateVersion,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::StorageError;
use crate::counts::{Counts, End};
use crate::error::TimedOut;
use crate::layout::Layout;
use crate::planted::{Bug, planted};
use crate::store::Store;
use crate::surroundings::Surroundings;

/// How long a request may take before its size is considered.
const PATIENCE: Duration = Duration::from_secs(15);

/// What objects that are fetched whole may take of memory together: to judge what a person put, to mend a copy, to bring a
/// version back. A larger one takes all of it.
const FETCHED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Up to this size an object is nobody's concern.
const ROOMLESS_BYTES_MAX: u64 = 1024 * 1024;
/// The slowest transfer that is still waited for.
const BYTES_PER_SECOND_MIN: u64 = 1024 * 1024;
/// How often a request that may be repeated is made at most.
const TRIES: usize = 3;
/// How long to wait before the second try; four times as long before the third.
const PAUSE: Duration = Duration::from_millis(100);

/// What a request asks of the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Fetch an object.
    Get,
    /// Ask for an object's size and tag.
    Head,
    /// Store an object.
    Put,
    /// Remove an object.
    Delete,
    /// One page of names.
    List,
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The head of a unit.
    Head,
    /// The state copy of a unit.
    Copy,
    /// The lock copy of a unit, or the lock file of another tool.
    LockCopy,
    /// A version of a unit.
    Version,
    /// A refused write of a unit.
    Rejected,
    /// Names of units.
    Units,
    /// A record of ours beside the units.
    Record,
    /// A segment of the audit.
    Audit,
    /// A part of an upload that is not complete yet, or the note that began it.
    Upload,
}

impl Verb {
    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Head => "head",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::List => "list",
        }
    }
}

impl Kind {
    /// In a word or two.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Copy => "copy",
            Self::LockCopy => "lock_copy",
            Self::Version => "version",
            Self::Rejected => "rejected",
            Self::Units => "units",
            Self::Record => "record",
            Self::Audit => "audit",
            Self::Upload => "upload",
        }
    }
}

/// What the store compares when it is told "only if it is still this one".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// The entity tag.
    pub etag: Option<String>,
    /// Google's generation, or the version id of a versioned bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
}

impl Tag {
    /// Whether both name the same bytes put by the same request, as far as the store tells. A part that only one side
    /// knows (some stores tell it in some answers only) is not compared.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        fn agree(a: Option<&String>, b: Option<&String>) -> Option<bool> {
            Some(a? == b?)
        }
        let etags = agree(self.etag.as_ref(), other.etag.as_ref());
        let generations = agree(self.generation.as_ref(), other.generation.as_ref());
        match (etags, generations) {
            (None, None) => false,
            (etags, generations) => etags.unwrap_or(true) && generations.unwrap_or(true),
        }
    }

    /// Whether it has the shape of a digest of the content, as S3's have: the same bytes put again may have it again.
    pub(crate) fn tells_content(&self) -> bool {
        let etag = self.etag.as_deref().unwrap_or_default();
        let digest = etag.trim_start_matches("W/").trim_matches('"');
        // What was put in several parts has their number behind it.
        let digest = digest.split_once('-').map_or(digest, |(digest, _)| digest);
        digest.len() >= 32 && digest.bytes().all(|digit| digit.is_ascii_hexdigit())
    }

    fn of(meta: &ObjectMeta) -> Self {
        Self {
            etag: meta.e_tag.clone(),
            generation: meta.version.clone(),
        }
    }
}

/// The condition of a put.
#[derive(Debug, Clone)]
pub enum If {
    /// There is no such object (`If-None-Match: *`).
    Absent,
    /// The object is still the one with this tag (`If-Match`).
    Still(Tag),
}

/// How a conditional put was answered.
#[derive(Debug, Clone)]
pub enum Put {
    /// It took effect.
    Done(Tag),
    /// The store says that the condition did not hold. It may be wrong about that when an attempt collided with itself
    /// (409, or a repeat below us): read back.
    Refused,
}

/// An object: what the store says of it.
#[derive(Debug, Clone)]
pub struct Meta {
    /// What to compare.
    pub tag: Tag,
    /// In bytes.
    pub size: u64,
    /// By the clock of the store.
    pub modified: jiff::Timestamp,
}

impl Meta {
    fn of(meta: &ObjectMeta) -> Self {
        Self {
            tag: Tag::of(meta),
            size: meta.size,
            modified: jiff::Timestamp::from_nanosecond(i128::from(
                meta.last_modified.timestamp_nanos_opt().unwrap_or_default(),
            ))
            .unwrap_or_default(),
        }
    }
}

/// Bytes on their way.
pub type ByteStream = BoxStream<'static, Result<Bytes, StorageError>>;

/// An object that is being fetched.
pub struct Got {
    /// What the store says of it.
    pub meta: Meta,
    /// Its metadata as it was put.
    pub attributes: BTreeMap<String, String>,
    /// Its bytes.
    pub body: ByteStream,
    key: String,
}

impl fmt::Debug for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Got")
            .field("key", &self.key)
            .field("meta", &self.meta)
            .finish_non_exhaustive()
    }
}

/// An object in memory, whole.
#[derive(Debug, Clone, Default)]
pub struct Whole {
    /// Its bytes. They outlive the room, so whoever takes them out keeps that as well.
    pub bytes: Bytes,
    /// What they take of the memory that is set aside.
    pub room: Room,
}

/// Bytes that take no room worth speaking of.
impl From<Bytes> for Whole {
    fn from(bytes: Bytes) -> Self {
        let room = Room::default();
        Self { bytes, room }
    }
}

impl Deref for Whole {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

/// A part of the memory that is set aside for objects fetched whole. It is given back with the last clone.
#[derive(Debug, Clone, Default)]
pub struct Room(#[expect(dead_code, reason = "it is held, not looked at")] Option<Arc<OwnedSemaphorePermit>>);

impl Got {
    fn of(key: &str, got: GetResult) -> Self {
        let attributes = metadata(&got.attributes);
        let meta = Meta::of(&got.meta);
        let name = key.to_owned();
        let body = got
            .into_stream()
            .map_err(move |source| failed("reading", &name, source))
            .boxed();
        Self {
            meta,
            attributes,
            body,
            key: key.to_owned(),
        }
    }

    /// All bytes, in memory once.
    ///
    /// # Errors
    /// If the body breaks off or is shorter than announced.
    pub async fn bytes(mut self) -> Result<Bytes, StorageError> {
        let size = usize::try_from(self.meta.size).unwrap_or(usize::MAX);
        let Some(first) = self.body.try_next().await? else {
            return self.complete(Bytes::new());
        };
        if first.len() >= size {
            return self.complete(first);
        }
        let mut all = BytesMut::with_capacity(size);
        all.extend_from_slice(&first);
        while let Some(chunk) = self.body.try_next().await? {
            all.extend_from_slice(&chunk);
        }
        self.complete(all.freeze())
    }

    fn complete(&self, bytes: Bytes) -> Result<Bytes, StorageError> {
        if bytes.len() as u64 == self.meta.size {
            return Ok(bytes);
        }
        let source = format!("{} of {} bytes arrived", bytes.len(), self.meta.size);
        Err(StorageError::Unavailable {
            doing: "reading",
            key: self.key.clone(),
            source: Arc::from(Box::from(source)),
        })
    }
}

/// One page of names.
#[derive(Debug, Default)]
pub struct Page {
    /// Keys with what the store says of them, in byte order.
    pub objects: Vec<(String, Meta)>,
    /// What several keys were folded into by the delimiter.
    pub folded: Vec<String>,
    /// How to go on, if there is more.
    pub next: Option<String>,
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct Listing<'a> {
    /// Only keys that start so.
    pub prefix: &'a str,
    /// Only keys strictly after this one.
    pub after: Option<String>,
    /// The page token of the page before.
    pub page: Option<String>,
    /// Fold keys that contain this behind the prefix.
    pub fold: Option<&'static str>,
}

/// One prefix of one bucket.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<dyn Store>,
    layout: Layout,
    counts: Arc<Counts>,
    surroundings: Surroundings,
    room: Arc<Semaphore>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({} below `{}`)", self.store, self.layout.prefix())
    }
}

impl Bucket {
    /// The part of `store` below `prefix`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, prefix: &str, surroundings: Surroundings) -> Self {
        Self {
            store,
            layout: Layout::new(prefix),
            counts: Arc::default(),
            surroundings,
            room: Arc::new(Semaphore::new((FETCHED_BYTES_MAX / 1024) as usize)),
        }
    }

    /// The names of objects here.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What has been sent so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What was passed in.
    #[must_use]
    pub fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// Fetches an object, or `None` if there is none.
    ///
    /// # Errors
    /// If the bucket denies it, or gives no answer in three tries.
    pub async fn get(&self, kind: Kind, key: &str) -> Result<Option<Got>, StorageError> {
        let path = Self::path("reading", key)?;
        let answer = self
            .again("reading", key, || {
                self.ask(Verb::Get, kind, self.store.get_opts(&path, GetOptions::default()))
            })
            .await?;
        Ok(answer.map(|got| Got::of(key, got)))
    }

    /// Fetches a part of an object, with what the store says of all of it; `None` if there is none, and also if the store
    /// has no such part: then it is asked for the whole.
    ///
    /// # Errors
    /// If the bucket denies it.
    pub async fn get_part(
        &self,
        kind: Kind,
        key: &str,
        part: GetRange,
    ) -> Result<Option<(Got, Range<u64>)>, StorageError> {
        let path = Self::path("reading", key)?;
        let options = GetOptions {
            range: Some(part),
            ..GetOptions::default()
        };
        let request = self.ask(Verb::Get, kind, self.store.get_opts(&path, options));
        let got = match self.within(PATIENCE, request).await {
            Ok(Ok(got)) => got,
            Ok(Err(source)) => {
                return match failed("reading", key, source) {
                    denied @ StorageError::Denied { .. } => Err(denied),
                    _ => Ok(None),
                };
            }
            Err(_) => return Ok(None),
        };
        let range = got.range.clone();
        Ok(Some((Got::of(key, got), range)))
    }

    /// Fetches an object whole, with its tag. A body that breaks off is fetched again.
    ///
    /// # Errors
    /// If the bucket denies it, or gives no whole answer in three tries.
    pub async fn fetch(&self, kind: Kind, key: &str) -> Result<Option<(Meta, Whole)>, StorageError> {
        let mut tries = 1;
        loop {
            let Some(got) = self.get(kind, key).await? else {
                return Ok(None);
            };
            let meta = got.meta.clone();
            let within = patience(meta.size);
            let room = self.room(meta.size).await;
            let failure = match self.within(within, got.bytes()).await {
                Ok(Ok(bytes)) => return Ok(Some((meta, Whole { bytes, room }))),
                Ok(Err(error)) => error,
                Err(late) => StorageError::Unavailable {
                    doing: "reading",
                    key: key.to_owned(),
                    source: Arc::new(late),
                },
            };
            if tries == TRIES {
                return Err(failure);
            }
            self.pause(tries).await;
            tries += 1;
        }
    }

    /// Asks for an object's size and tag.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    pub async fn head(&self, kind: Kind, key: &str) -> Result<Option<Meta>, StorageError> {
        let path = Self::path("looking at", key)?;
        let answer = self
            .again("looking at", key, || {
                self.ask(Verb::Head, kind, self.store.head(&path))
            })
            .await?;
        Ok(answer.map(|meta| Meta::of(&meta)))
    }

    /// Asks for what the store says of an object, its metadata included, without its bytes.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    pub async fn describe(
        &self,
        kind: Kind,
        key: &str,
    ) -> Result<Option<(Meta, BTreeMap<String, String>)>, StorageError> {
        let path = Self::path("looking at", key)?;
        let answer = self
            .again("looking at", key, || {
                let options = GetOptions {
                    head: true,
                    ..GetOptions::default()
                };
                self.ask(Verb::Head, kind, self.store.get_opts(&path, options))
            })
            .await?;
        Ok(answer.map(|got| (Meta::of(&got.meta), metadata(&got.attributes))))
    }

    /// Stores an object under a condition. Sent once: on an error that leaves a doubt, and on a refusal, read back.
    ///
    /// # Errors
    /// [`StorageError::Denied`]: nothing happened. Otherwise nobody knows.
    pub async fn put_if(
        &self,
        kind: Kind,
        key: &str,
        bytes: Bytes,
        condition: If,
    ) -> Result<Put, StorageError> {
        let mode = match condition {
            _ if kind == Kind::Head && planted(Bug::HeadPutUnconditionally) => PutMode::Overwrite,
            _ if kind == Kind::Copy && planted(Bug::CopyPutUnconditionally) => PutMode::Overwrite,
            If::Absent => PutMode::Create,
            If::Still(tag) => PutMode::Update(UpdateVersion {
                e_tag: tag.etag,
                version: tag.generation,
            }),
        };
        let options = PutOptions {
            mode,
            ..PutOptions::default()
        };
        let path = Self::path("writing", key)?;
        let within = patience(bytes.len() as u64);
        let request = self.store.put_opts(&path, PutPayload::from(bytes), options);
        match self.within(within, self.ask(Verb::Put, kind, request)).await {
            Ok(Ok(done)) => Ok(Put::Done(Tag {
                etag: done.e_tag,
                generation: done.version,
            })),
            Ok(Err(Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotModified { .. })) => {
                Ok(Put::Refused)
            }
            Ok(Err(source)) => Err(failed("writing", key, source)),
            Err(late) => Err(StorageError::Unavailable {
                doing: "writing",
                key: key.to_owned(),
                source: Arc::new(late),
            }),
        }
    }

    /// Stores an object whose name nobody else uses, or whose content does not matter much (a courtesy copy).
    ///
    /// # Errors
    /// If the bucket denies it, or has not confirmed it in three tries; then it may be there all the same.
    pub async fn put(
        &self,
        kind: Kind,
        key: &str,
        bytes: Bytes,
        attributes: &[(&'static str, String)],
    ) -> Result<(), StorageError> {
        let path = Self::path("writing", key)?;
        let within = patience(bytes.len() as u64);
        let attributes: Attributes = attributes
            .iter()
            .map(|(name, value)| (Attribute::Metadata((*name).into()), encode(value)))
            .collect();
        let mut tries = 1;
        loop {
            let options = PutOptions {
                attributes: attributes.clone(),
                ..PutOptions::default()
            };
            let payload = PutPayload::from(bytes.clone());
            let request = self.store.put_opts(&path, payload, options);
            let failure = match self.within(within, self.ask(Verb::Put, kind, request)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(source)) => failed("writing", key, source),
                Err(late) => StorageError::Unavailable {
                    doing: "writing",
                    key: key.to_owned(),
                    source: Arc::new(late),
                },
            };
            if tries == TRIES || !failure.in_doubt() {
                return Err(failure);
            }
            self.pause(tries).await;
            tries += 1;
        }
    }

    /// Removes an object; one that is not there is removed already.
    ///
    /// # Errors
    /// If the bucket denies it, or has not confirmed it in three tries.
    pub async fn delete(&self, kind: Kind, key: &str) -> Result<(), StorageError> {
        let path = Self::path("deleting", key)?;
        self.again("deleting", key, || {
            self.ask(Verb::Delete, kind, self.store.delete(&path))
        })
        .await
        .map(|_| ())
    }

    /// One page of names, at most a thousand.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    pub async fn list(&self, kind: Kind, listing: Listing<'_>) -> Result<Page, StorageError> {
        let prefix = (!listing.prefix.is_empty()).then_some(listing.prefix);
        let answer = self
            .again("listing", listing.prefix, || {
                let options = PaginatedListOptions {
                    offset: listing.after.clone(),
                    delimiter: listing.fold.map(Into::into),
                    max_keys: Some(opentaco_domain::limits::LIST_PAGE),
                    page_token: listing.page.clone(),
                    ..PaginatedListOptions::default()
                };
                self.ask(Verb::List, kind, self.store.list_paginated(prefix, options))
            })
            .await?;
        let Some(answer) = answer else {
            return Ok(Page::default());
        };
        let mut objects: Vec<_> = answer
            .result
            .objects
            .iter()
            .map(|meta| (meta.location.to_string(), Meta::of(meta)))
            .collect();
        objects.sort_by(|(a, _), (b, _)| a.cmp(b));
        let folded = answer
            .result
            .common_prefixes
            .iter()
            .map(ToString::to_string)
            .collect();
        Ok(Page {
            objects,
            folded,
            next: answer.page_token,
        })
    }

    /// Asks the bucket whether it answers at all: one listing of nothing.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    pub async fn ping(&self) -> Result<(), StorageError> {
        let nothing = format!("{}ping/", self.layout.reserved());
        self.list(
            Kind::Units,
            Listing {
                prefix: &nothing,
                ..Listing::default()
            },
        )
        .await
        .map(|_| ())
    }

    /// Waits before the next try: about a tenth of a second after the first, up to four times as long after each
    /// further one. By chance longer or shorter, so that two who collide do not collide again.
    pub(crate) async fn pause(&self, tries: usize) {
        let exponent = u32::try_from(tries.saturating_sub(1)).unwrap_or(u32::MAX).min(3);
        let longest = PAUSE * 4u32.pow(exponent);
        let share = u32::try_from(self.surroundings.entropy.draw() % 1000).unwrap_or_default();
        self.surroundings
            .tasks
            .sleep(longest / 2 + longest * share / 2000)
            .await;
    }

    fn path(doing: &'static str, key: &str) -> Result<object_store::path::Path, StorageError> {
        Layout::path(key).map_err(|source| failed(doing, key, source.into()))
    }

    /// Counts and times one request.
    async fn ask<T>(
        &self,
        verb: Verb,
        kind: Kind,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> object_store::Result<T> {
        let under_way = self.counts.begin(verb, kind);
        let answer = request.await;
        under_way.end(match &answer {
            Err(error) if !is_an_answer(error) => End::Failed,
            Ok(_) | Err(_) => End::Answered,
        });
        answer
    }

    /// Makes a request that may be repeated, up to three times. "Not found" is `None`.
    async fn again<T, F>(
        &self,
        doing: &'static str,
        key: &str,
        mut request: impl FnMut() -> F,
    ) -> Result<Option<T>, StorageError>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let mut tries = 1;
        loop {
            let failure = match self.within(PATIENCE, request()).await {
                Ok(Ok(answer)) => return Ok(Some(answer)),
                Ok(Err(source @ Error::NotFound { .. })) if !is_about_the_bucket(&source) => return Ok(None),
                Ok(Err(source)) => failed(doing, key, source),
                Err(late) => StorageError::Unavailable {
                    doing,
                    key: key.to_owned(),
                    source: Arc::new(late),
                },
            };
            if tries == TRIES || !failure.in_doubt() {
                return Err(failure);
            }
            self.pause(tries).await;
            tries += 1;
        }
    }

    /// Memory for an object that is fetched whole. Nobody waits for it longer than a large transfer takes: whoever holds
    /// one object may need another before it lets go.
    async fn room(&self, bytes: u64) -> Room {
        if bytes <= ROOMLESS_BYTES_MAX {
            return Room::default();
        }
        let kib =
            u32::try_from(bytes.min(FETCHED_BYTES_MAX) / 1024).expect("the bound has far less than 32 bits");
        let permits = Arc::clone(&self.room).acquire_many_owned(kib);
        let permits = self.within(PATIENCE, permits).await.ok().and_then(Result::ok);
        Room(permits.map(Arc::new))
    }

    /// Waits for `work`, but not longer than that; then it is dropped where it is, and this is none.
    pub async fn at_most<T>(&self, time: Duration, work: impl Future<Output = T>) -> Option<T> {
        self.within(time, work).await.ok()
    }

    pub(crate) async fn within<T>(
        &self,
        time: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, TimedOut> {
        let late = self.surroundings.tasks.sleep(time).fuse();
        pin_mut!(work);
        match select(work, late).await {
            Either::Left((done, _)) => Ok(done),
            Either::Right(((), _)) => Err(TimedOut {
                seconds: time.as_secs(),
            }),
        }
    }
}

/// How long a transfer of so many bytes is waited for.
fn patience(bytes: u64) -> Duration {
    PATIENCE + Duration::from_secs(bytes / BYTES_PER_SECOND_MIN)
}

/// A failure by what may be concluded from it: nothing that comes after it helps against a right that is missing, nor
/// against a name or a condition that this store can never have.
fn failed(doing: &'static str, key: &str, source: Error) -> StorageError {
    match source {
        source @ Error::NotFound { .. } if is_about_the_bucket(&source) => StorageError::Denied {
            doing,
            key: key.to_owned(),
            source: Arc::new(source),
        },
        Error::PermissionDenied { .. }
        | Error::Unauthenticated { .. }
        | Error::NotSupported { .. }
        | Error::NotImplemented { .. }
        | Error::InvalidPath { .. } => StorageError::Denied {
            doing,
            key: key.to_owned(),
            source: Arc::new(source),
        },
        source => StorageError::Unavailable {
            doing,
            key: key.to_owned(),
            source: Arc::new(source),
        },
    }
}

/// Whether an error is the answer to what was asked: is it there, is it still the same.
fn is_an_answer(error: &Error) -> bool {
    match error {
        Error::NotFound { .. } => !is_about_the_bucket(error),
        Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotModified { .. } => true,
        _ => false,
    }
}

/// Whether "not found" is said of the whole bucket: the object may well be there. AWS and Google say the first of these,
/// Azure the second; an answer to HEAD has no body to say it in.
fn is_about_the_bucket(not_found: &Error) -> bool {
    let said = not_found.to_string();
    if planted(Bug::GoneMeansAbsent) {
        return false;
    }
    ["<Code>NoSuchBucket</Code>", "<Code>ContainerNotFound</Code>"]
        .iter()
        .any(|code| said.contains(code))
}

fn metadata(attributes: &Attributes) -> BTreeMap<String, String> {
    attributes
        .into_iter()
        .filter_map(|(name, value)| match name {
            Attribute::Metadata(name) => Some((name.to_string(), decode(value))),
            _ => None,
        })
        .collect()
}

/// Metadata travels in HTTP headers: what is not plain ASCII is percent-encoded.
fn encode(value: &str) -> String {
    percent_encoding::utf8_percent_encode(value, METADATA).to_string()
}

fn decode(value: &str) -> String {
    percent_encoding::percent_decode_str(value)
        .decode_utf8_lossy()
        .into_owned()
}

const METADATA: &percent_encoding::AsciiSet =
    &percent_encoding::CONTROLS.add(b'%').add(b' ').add(b'"').add(b',');
