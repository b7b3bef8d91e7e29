//! The simulated bucket: honest about its conditions, and a liar about everything else, as real ones are.
//!
//! A request travels, takes effect and is answered; any of these can go wrong, and a request outlives its sender.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::channel::oneshot;
use futures::stream::{self, BoxStream};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use opentaco_domain::Sha256;

use crate::executor::{Executor, Group, Instant};

/// An object at rest.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its bytes.
    pub bytes: Bytes,
    /// Which put made it: unique, unless etags are digests here.
    pub etag: u64,
    attributes: Attributes,
    modified: Instant,
}

/// Something that happened in the bucket.
#[derive(Debug, Clone)]
pub struct Event {
    /// When.
    pub at: Instant,
    /// Whose request it was; none for a person's.
    pub by: Option<Group>,
    /// What it was, for people.
    pub what: String,
    /// The object's key.
    pub key: String,
    /// What stands there now, if it was changed; `Some(None)` if it is gone.
    pub now: Option<Option<Bytes>>,
}

/// What a bucket holds and what happened in it, for whoever judges: simulated ones and real ones alike.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Everything that happened, in order.
    pub events: Vec<Event>,
    /// What lies there now.
    pub objects: BTreeMap<String, Bytes>,
    /// Whether the same bytes have the same etag.
    pub digests: bool,
}

impl Ledger {
    /// Everything that happened, in order.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// What a person with `aws s3 cp` sees.
    #[must_use]
    pub fn person_gets(&self, key: &str) -> Option<Bytes> {
        self.objects.get(key).cloned()
    }

    /// Whether the same bytes have the same etag.
    #[must_use]
    pub fn tags_by_digest(&self) -> bool {
        self.digests
    }
}

/// How much goes wrong, in cases per thousand requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// Anything at all.
    pub faults: u32,
}

/// A sort of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// The head of a unit.
    Head,
    /// The copy of its state.
    Copy,
    /// The bytes of a version.
    Version,
    /// The bytes of a refused write.
    Rejected,
    /// A lock file.
    Lock,
}

impl Sort {
    /// Every sort there is.
    pub const ALL: [Self; 5] = [Self::Head, Self::Copy, Self::Version, Self::Rejected, Self::Lock];

    fn of(key: &str) -> Self {
        match key {
            key if key.starts_with("__opentaco_units/") => Self::Head,
            key if key.starts_with("__opentaco_versions/") => Self::Version,
            key if key.starts_with("__opentaco_rejected/") => Self::Rejected,
            key if key.ends_with("lock") => Self::Lock,
            _ => Self::Copy,
        }
    }
}

/// Until when most requests about one sort of objects go wrong.
#[derive(Debug, Clone, Copy)]
struct Storm {
    over: Sort,
    until: Instant,
    kind: Fury,
}

/// What a storm does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fury {
    /// Anything at all.
    Anything,
    /// Whatever goes wrong with a write lands late: something on the way holds requests back.
    HoldsBack,
    /// Every write lands late.
    HoldsAllBack,
    /// Every write is refused with a 503, and every read is answered.
    RefusesWrites,
}

/// How a whole bucket is gone for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// There is no such bucket: 404 to everything, and it says so where an answer has a body.
    NoSuchBucket,
    /// There is no such bucket: 404 to everything, and nothing says of what.
    Unsaid,
    /// We may not: 403 to everything.
    Denied,
}

impl Outage {
    fn error(self, key: &str, head: bool) -> Error {
        let path = key.to_owned();
        match self {
            // What is asked for without its body cannot say what is missing.
            Self::Unsaid => Error::NotFound {
                path,
                source: "404".into(),
            },
            Self::NoSuchBucket if head => Self::Unsaid.error(key, head),
            Self::NoSuchBucket => Error::NotFound {
                path,
                source: "404: <Code>NoSuchBucket</Code>".into(),
            },
            Self::Denied => Error::PermissionDenied {
                path,
                source: "403 AccessDenied".into(),
            },
        }
    }
}

/// In how many cases of a thousand a request goes wrong in a storm.
const STORM_FAULTS: u32 = 700;

#[derive(Default)]
struct Inside {
    objects: BTreeMap<String, Object>,
    puts: u64,
    events: Vec<Event>,
    digests: bool,
    storm: Option<Storm>,
    outage: Option<(Outage, Instant)>,
    watchers: Vec<oneshot::Sender<()>>,
}

impl Inside {
    /// The tag of what is put now.
    fn tag(&mut self, bytes: &Bytes) -> u64 {
        self.puts += 1;
        match self.digests {
            true => {
                DIGEST | u64::from_str_radix(&Sha256::of(bytes).to_string()[..15], 16).unwrap_or_default()
            }
            false => self.puts,
        }
    }
}

/// The bucket. Cheap to clone; every replica sees it through a [`Door`].
#[derive(Clone)]
pub struct SimBucket {
    executor: Executor,
    inside: Arc<Mutex<Inside>>,
    weather: Arc<Mutex<Weather>>,
}

impl fmt::Debug for SimBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimBucket")
    }
}

#[derive(Debug, Clone)]
enum Request {
    Get {
        head: bool,
    },
    Put {
        bytes: Bytes,
        mode: PutMode,
        attributes: Attributes,
    },
    Delete,
}

#[derive(Debug, Clone)]
enum Answer {
    Got(Object),
    Put(u64),
    Deleted,
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    FailsBefore,
    AnswerLost,
    LandsLate,
    SilentAfter,
    Spurious,
    Twice,
    Echo,
    Slow,
}

impl SimBucket {
    /// An empty bucket.
    #[must_use]
    pub fn new(executor: Executor, weather: Weather) -> Self {
        Self {
            executor,
            inside: Arc::default(),
            weather: Arc::new(Mutex::new(weather)),
        }
    }

    /// Changes the weather.
    pub fn set_weather(&self, weather: Weather) {
        *self.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }

    /// From here on an etag is a digest of the content, as S3's is: the same bytes have the same one.
    pub fn tag_by_digest(&self) {
        self.hold().digests = true;
    }

    /// Whether the same bytes have the same etag.
    #[must_use]
    pub fn tags_by_digest(&self) -> bool {
        self.hold().digests
    }

    /// For so long most requests about these objects go wrong.
    pub fn storm(&self, over: Sort, duration: Duration) {
        let until = self.executor.now() + u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4);
        let kind = match self.executor.below(10) {
            0..4 => Fury::Anything,
            4..8 => Fury::HoldsBack,
            _ => Fury::RefusesWrites,
        };
        self.hold().storm = Some(Storm { over, until, kind });
    }

    /// Until the weather clears, every write of such an object lands late.
    pub fn hold_back(&self, over: Sort) {
        let kind = Fury::HoldsAllBack;
        let until = Instant::MAX;
        self.hold().storm = Some(Storm { over, until, kind });
    }

    /// Whatever storm there is ends; what is under way stays so.
    pub fn clear_up(&self) {
        self.hold().storm = None;
    }

    /// For so long the bucket is gone, for the service.
    pub fn lose(&self, how: Outage, duration: Duration) {
        let until = self.executor.now() + u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4);
        self.hold().outage = Some((how, until));
    }

    /// The bucket is there again.
    pub fn find(&self) {
        self.hold().outage = None;
    }

    /// How the bucket is gone now.
    fn outage(&self) -> Option<Outage> {
        let now = self.executor.now();
        self.hold()
            .outage
            .filter(|(_, until)| *until > now)
            .map(|(how, _)| how)
    }

    /// Returns when something in the bucket changes next.
    pub fn next_change(&self) -> oneshot::Receiver<()> {
        let (watcher, change) = oneshot::channel();
        self.hold().watchers.push(watcher);
        change
    }

    /// The way to the bucket of one life of one replica.
    #[must_use]
    pub fn door(&self, group: Group) -> Door {
        Door {
            bucket: self.clone(),
            group,
        }
    }

    /// What a person with `aws s3 cp` puts.
    pub fn person_puts(&self, key: &str, bytes: Bytes) {
        let request = Request::Put {
            bytes,
            mode: PutMode::Overwrite,
            attributes: Attributes::new(),
        };
        let _ = self.apply(None, key, &request);
    }

    /// What a person with `aws s3 rm` removes.
    pub fn person_deletes(&self, key: &str) {
        let _ = self.apply(None, key, &Request::Delete);
    }

    /// What a person with `aws s3 cp` sees.
    #[must_use]
    pub fn person_gets(&self, key: &str) -> Option<Bytes> {
        self.hold().objects.get(key).map(|object| object.bytes.clone())
    }

    /// All keys that start so.
    #[must_use]
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.hold()
            .objects
            .keys()
            .filter(|key| key.starts_with(prefix))
            .cloned()
            .collect()
    }

    /// Everything that happened, in order.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.hold().events.clone()
    }

    /// What it holds and what happened in it.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let inside = self.hold();
        let objects = inside.objects.iter();
        Ledger {
            events: inside.events.clone(),
            objects: objects
                .map(|(key, object)| (key.clone(), object.bytes.clone()))
                .collect(),
            digests: inside.digests,
        }
    }

    fn hold(&self) -> std::sync::MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, by: Option<Group>, key: &str, request: &Request) -> Result<Answer> {
        let at = self.executor.now();
        let outage = self.outage().filter(|_| by.is_some());
        let mut inside = self.hold();
        let inside = &mut *inside;
        if let Some(outage) = outage {
            let verb = match request {
                Request::Get { .. } => "GET",
                Request::Put { .. } => "PUT",
                Request::Delete => "DELETE",
            };
            inside.events.push(Event {
                at,
                by,
                what: format!("{verb} -> the bucket is gone: {outage:?}"),
                key: key.to_owned(),
                now: None,
            });
            return Err(outage.error(key, matches!(request, Request::Get { head: true })));
        }
        let (result, what, now) = match request {
            Request::Get { head } => {
                let found = inside.objects.get(key).cloned();
                let what = format!(
                    "{} {}",
                    if *head { "HEAD" } else { "GET" },
                    found.as_ref().map_or("-> 404".to_owned(), |o| format!(
                        "-> #{} {} B",
                        o.etag,
                        o.bytes.len()
                    ))
                );
                (found.map(Answer::Got).ok_or_else(|| not_found(key)), what, None)
            }
            Request::Put {
                bytes,
                mode,
                attributes,
            } => {
                let there = inside.objects.get(key).map(|object| object.etag);
                let (condition, holds) = match mode {
                    PutMode::Overwrite => (String::new(), true),
                    PutMode::Create => (" if absent".to_owned(), there.is_none()),
                    PutMode::Update(version) => {
                        let wanted = version.e_tag.as_deref().and_then(number_of);
                        (
                            format!(" if #{}", wanted.unwrap_or(0)),
                            wanted.is_some() && there == wanted,
                        )
                    }
                };
                if holds {
                    let etag = inside.tag(bytes);
                    let object = Object {
                        bytes: bytes.clone(),
                        etag,
                        attributes: attributes.clone(),
                        modified: at,
                    };
                    inside.objects.insert(key.to_owned(), object);
                    (
                        Ok(Answer::Put(etag)),
                        format!("PUT{condition} -> #{etag} {} B", bytes.len()),
                        Some(Some(bytes.clone())),
                    )
                } else {
                    let error = match mode {
                        PutMode::Create => Error::AlreadyExists {
                            path: key.to_owned(),
                            source: "412".into(),
                        },
                        _ => Error::Precondition {
                            path: key.to_owned(),
                            source: "412".into(),
                        },
                    };
                    (Err(error), format!("PUT{condition} -> 412"), None)
                }
            }
            Request::Delete => {
                inside.objects.remove(key);
                (Ok(Answer::Deleted), "DELETE".to_owned(), Some(None))
            }
        };
        if now.is_some() {
            for watcher in inside.watchers.drain(..) {
                let _ = watcher.send(());
            }
        }
        inside.events.push(Event {
            at,
            by,
            what,
            key: key.to_owned(),
            now,
        });
        result
    }

    fn fate(&self, key: &str, request: &Request) -> Fate {
        let storm = self
            .hold()
            .storm
            .filter(|storm| storm.until > self.executor.now() && storm.over == Sort::of(key));
        let faults = self.weather.lock().unwrap_or_else(PoisonError::into_inner).faults;
        let faults = storm.map_or(faults, |_| STORM_FAULTS);
        let writes = !matches!(request, Request::Get { .. });
        if storm.is_some_and(|storm| storm.kind == Fury::RefusesWrites) {
            return if writes { Fate::FailsBefore } else { Fate::Fine };
        }
        if writes && storm.is_some_and(|storm| storm.kind == Fury::HoldsAllBack) {
            return Fate::LandsLate;
        }
        if faults == 0 || !self.executor.chance(faults) {
            return Fate::Fine;
        }
        if writes && storm.is_some_and(|storm| storm.kind == Fury::HoldsBack) {
            return Fate::LandsLate;
        }
        match self.executor.below(if writes { 11 } else { 4 }) {
            0 => Fate::FailsBefore,
            1 => Fate::Slow,
            2 => Fate::AnswerLost,
            3 | 4 => Fate::SilentAfter,
            5 | 6 => Fate::LandsLate,
            7 => Fate::Spurious,
            8 | 9 => Fate::Twice,
            _ => Fate::Echo,
        }
    }

    async fn send(&self, group: Group, key: String, request: Request) -> Result<Answer> {
        let fate = self.fate(&key, &request);
        let (answer, answered) = oneshot::channel();
        let bucket = self.clone();
        let ms = |ms: u64| Duration::from_millis(ms);
        let (there, back) = (self.executor.below(20), self.executor.below(20));
        self.executor.spawn(Group::Network, async move {
            let executor = bucket.executor.clone();
            executor.sleep(ms(there)).await;
            let apply = || bucket.apply(Some(group), &key, &request);
            let outcome = match fate {
                Fate::Fine | Fate::Echo => apply(),
                Fate::FailsBefore => Err(generic("503 SlowDown")),
                Fate::AnswerLost => {
                    let _ = apply();
                    Err(generic("500 InternalError, after the effect"))
                }
                Fate::SilentAfter => {
                    let _ = apply();
                    // The sender waits until its own patience ends.
                    executor.sleep(Duration::from_secs(3600)).await;
                    return;
                }
                Fate::LandsLate => {
                    let late = 20 + executor.below(600);
                    executor.sleep(Duration::from_secs(late)).await;
                    let _ = apply();
                    return;
                }
                Fate::Spurious => Err(match &request {
                    Request::Put {
                        mode: PutMode::Create,
                        ..
                    } => Error::AlreadyExists {
                        path: key.clone(),
                        source: "409 ConditionalRequestConflict".into(),
                    },
                    Request::Put {
                        mode: PutMode::Update(_),
                        ..
                    } => Error::Precondition {
                        path: key.clone(),
                        source: "409 ConditionalRequestConflict".into(),
                    },
                    _ => generic("409"),
                }),
                Fate::Twice => {
                    let _ = apply();
                    let again = executor.below(3000);
                    executor.sleep(ms(again)).await;
                    apply()
                }
                Fate::Slow => {
                    let slow = executor.below(14_000);
                    executor.sleep(ms(slow)).await;
                    apply()
                }
            };
            executor.sleep(ms(back)).await;
            let _ = answer.send(outcome);
            if fate == Fate::Echo {
                // Something on the way has kept it, and sends it once more.
                let late = 1 + executor.below(600);
                executor.sleep(Duration::from_secs(late)).await;
                let _ = apply();
            }
        });
        match answered.await {
            Ok(outcome) => outcome,
            Err(_) => std::future::pending().await,
        }
    }
}

fn generic(what: &'static str) -> Error {
    Error::Generic {
        store: "sim",
        source: what.into(),
    }
}

fn not_found(key: &str) -> Error {
    Error::NotFound {
        path: key.to_owned(),
        source: "404".into(),
    }
}

/// Marks the numbers that are digests, which are spelled as such.
const DIGEST: u64 = 1 << 60;

fn etag(number: u64) -> Option<String> {
    Some(match number & DIGEST {
        0 => format!("\"{number}\""),
        _ => format!("\"{number:032x}\""),
    })
}

/// The number that an etag spells.
pub(crate) fn number_of(etag: &str) -> Option<u64> {
    let etag = etag.trim_matches('"');
    match etag.len() {
        32 => u64::from_str_radix(etag, 16).ok(),
        _ => etag.parse().ok(),
    }
}

fn meta(key: &str, object: &Object) -> ObjectMeta {
    let modified = chrono::DateTime::from_timestamp_nanos(i64::try_from(object.modified).unwrap_or_default());
    ObjectMeta {
        location: Path::parse(key).unwrap_or_default(),
        last_modified: modified,
        size: object.bytes.len() as u64,
        e_tag: etag(object.etag),
        version: None,
    }
}

/// The bucket as one life of one replica sees it.
#[derive(Debug, Clone)]
pub struct Door {
    bucket: SimBucket,
    group: Group,
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulated bucket")
    }
}

#[async_trait]
impl ObjectStore for Door {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let request = Request::Put {
            bytes: payload.into(),
            mode: options.mode,
            attributes: options.attributes,
        };
        match self
            .bucket
            .send(self.group, location.to_string(), request)
            .await?
        {
            Answer::Put(number) => Ok(PutResult {
                e_tag: etag(number),
                version: None,
                extensions: Default::default(),
            }),
            Answer::Got(_) | Answer::Deleted => Err(generic("an answer to another request")),
        }
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(generic("nothing here uploads in parts"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let key = location.to_string();
        match self
            .bucket
            .send(self.group, key.clone(), Request::Get { head: options.head })
            .await?
        {
            Answer::Got(object) => {
                let meta = meta(&key, &object);
                let size = meta.size;
                let bytes = object.bytes.clone();
                let body = stream::once(async move { Ok(bytes) }).boxed();
                Ok(GetResult {
                    payload: GetResultPayload::Stream(body),
                    meta,
                    range: 0..size,
                    attributes: object.attributes,
                    extensions: Default::default(),
                })
            }
            Answer::Put(_) | Answer::Deleted => Err(generic("an answer to another request")),
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let door = self.clone();
        locations
            .then(move |location| {
                let door = door.clone();
                async move {
                    let location = location?;
                    door.bucket
                        .send(door.group, location.to_string(), Request::Delete)
                        .await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::once(async { Err(generic("nothing here lists without pages")) }).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(generic("nothing here lists without pages"))
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(generic("nothing here copies"))
    }
}

#[async_trait]
impl PaginatedListStore for Door {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        _: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        let delay = self.bucket.executor.below(40);
        self.bucket.executor.sleep(Duration::from_millis(delay)).await;
        let prefix = prefix.unwrap_or_default();
        if self.bucket.outage().is_some() {
            // `object_store` keeps no kind of failure apart when it lists.
            return Err(generic("404 or 403: the bucket is gone"));
        }
        let objects = {
            let inside = self.bucket.hold();
            let below = inside.objects.iter().filter(|(key, _)| key.starts_with(prefix));
            below.map(|(key, object)| meta(key, object)).collect()
        };
        let delay = self.bucket.executor.below(40);
        self.bucket.executor.sleep(Duration::from_millis(delay)).await;
        let result = ListResult {
            objects,
            common_prefixes: Vec::new(),
            extensions: Default::default(),
        };
        Ok(PaginatedListResult {
            result,
            page_token: None,
        })
    }
}
