//! Between the replicas and the bucket: every write that takes effect is an event, in the order in which writes of an
//! object do; and requests are lost, answered with failures, held back for seconds, or delivered twice.
//!
//! To know that order, writes of one object go one at a time, and nobody reads it while it is written. Nothing is
//! decided by that: which of two comes first is still a race.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use opentaco_sim::bucket::{Event, Ledger};
use opentaco_sim::executor::{self, Group};
use opentaco_storage::Store;
use percent_encoding::percent_decode_str;
use tokio::sync::RwLock;

use crate::dice::Dice;
use crate::fate::{Fate, Fates};
use crate::hold;
use crate::http::{Answer, Body, Cut, Sender, handed_on, listen, serve};

/// How long a request is held back at most, in milliseconds.
const HELD_BACK_MAX: u64 = 20_000;
/// Of a thousand requests, so many meet one of these.
const FAULTS_PER_MILLE: u64 = 25;
const FAULTS: &[Fate] = &[
    Fate::Slow,
    Fate::Slow,
    Fate::Lost,
    Fate::AnswerLost,
    Fate::AnswerLost,
    Fate::Busy,
    Fate::FailsAfter,
    Fate::HeldBack,
    Fate::HeldBack,
    Fate::Twice,
];

/// The way to the bucket. Cheap to clone.
#[derive(Clone)]
pub struct Wire {
    inner: Arc<Inner>,
}

struct Inner {
    sender: Sender,
    server: u16,
    bucket: String,
    started: Instant,
    by_hand: Arc<dyn Store>,
    dice: Dice,
    seen: Mutex<Seen>,
    turns: Mutex<BTreeMap<String, Arc<RwLock<()>>>>,
    fates: Fates,
    under_way: AtomicU64,
    lives: Vec<AtomicU32>,
    requests: AtomicU64,
}

#[derive(Default)]
struct Seen {
    events: Vec<Event>,
    objects: BTreeMap<String, Bytes>,
    unclear: BTreeSet<String>,
}

/// What a request does to objects.
enum Does {
    Reads(String),
    Puts(String),
    Removes(Vec<String>),
    /// What it leaves behind is looked at afterwards.
    Something(String),
    Nothing,
}

impl Wire {
    /// To this bucket of a server on loopback, for so many replicas. `by_hand` is a way past it, for people.
    #[must_use]
    pub fn new(server: u16, bucket: &str, replicas: usize, by_hand: Arc<dyn Store>, dice: Dice) -> Self {
        Self {
            inner: Arc::new(Inner {
                sender: Sender::default(),
                server,
                bucket: bucket.to_owned(),
                started: Instant::now(),
                by_hand,
                fates: Fates::new(dice.clone(), FAULTS_PER_MILLE, FAULTS),
                dice,
                seen: Mutex::default(),
                turns: Mutex::default(),
                under_way: AtomicU64::new(0),
                lives: (0..replicas).map(|_| AtomicU32::new(0)).collect(),
                requests: AtomicU64::new(0),
            }),
        }
    }

    /// The time of this run.
    #[must_use]
    pub fn now(&self) -> executor::Instant {
        u64::try_from(self.inner.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Opens the way of one replica, and says at which port.
    ///
    /// # Errors
    /// If loopback has no port.
    pub async fn open(&self, replica: usize) -> std::io::Result<u16> {
        let (listener, port) = listen().await?;
        let wire = self.clone();
        serve(listener, move |request| {
            let wire = wire.clone();
            async move { wire.handle(replica, request).await }
        });
        Ok(port)
    }

    /// A replica begins another life.
    pub fn reborn(&self, replica: usize) {
        self.inner.lives[replica].fetch_add(1, Ordering::SeqCst);
    }

    /// Whether things go wrong here.
    pub fn rough(&self, rough: bool) {
        self.inner.fates.rough(rough);
    }

    /// Whether nothing is held back any more.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.inner.under_way.load(Ordering::SeqCst) == 0
    }

    /// How many requests passed, and how many of them went wrong.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let requests = self.inner.requests.load(Ordering::SeqCst);
        (requests, self.inner.fates.met())
    }

    /// What happened so far, and what lies there.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let seen = hold(&self.inner.seen);
        Ledger {
            events: seen.events.clone(),
            objects: seen.objects.clone(),
            digests: true,
        }
    }

    /// Objects of which it is not known what lies there: the server gave no answer.
    #[must_use]
    pub fn unclear(&self) -> BTreeSet<String> {
        hold(&self.inner.seen).unclear.clone()
    }

    /// What somebody with `aws s3 cp` puts.
    pub async fn person_puts(&self, key: &str, bytes: Bytes) -> bool {
        let turn = self.turn(key);
        let _mine = turn.write().await;
        let put = self
            .inner
            .by_hand
            .put(&Path::from(key), PutPayload::from(bytes.clone()))
            .await;
        if put.is_ok() {
            self.note(None, "a person's PUT", key, Some(Some(bytes)));
        }
        put.is_ok()
    }

    fn turn(&self, key: &str) -> Arc<RwLock<()>> {
        Arc::clone(hold(&self.inner.turns).entry(key.to_owned()).or_default())
    }

    fn note(&self, by: Option<Group>, what: &str, key: &str, now: Option<Option<Bytes>>) {
        let at = self.now();
        let mut seen = hold(&self.inner.seen);
        match &now {
            Some(Some(bytes)) => {
                seen.objects.insert(key.to_owned(), bytes.clone());
            }
            Some(None) => {
                seen.objects.remove(key);
            }
            None => {}
        }
        seen.events.push(Event {
            at,
            by,
            what: what.to_owned(),
            key: key.to_owned(),
            now,
        });
    }

    async fn handle(&self, replica: usize, request: Request<Bytes>) -> Result<Response<Body>, Cut> {
        let life = self.inner.lives[replica].load(Ordering::SeqCst);
        let by = Group::Replica(replica, life);
        let fate = self.inner.fates.draw();
        self.inner.requests.fetch_add(1, Ordering::Relaxed);
        let dice = &self.inner.dice;
        match fate {
            Fate::Lost => return Err(Cut),
            Fate::Busy => return Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown")),
            Fate::Slow => tokio::time::sleep(dice.up_to(500)).await,
            Fate::Passes | Fate::AnswerLost | Fate::FailsAfter | Fate::HeldBack | Fate::Twice => {}
        }
        if fate == Fate::HeldBack {
            let (wire, later) = (self.clone(), dice.up_to(HELD_BACK_MAX));
            self.inner.under_way.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                tokio::time::sleep(later).await;
                wire.pass(by, request).await;
                wire.inner.under_way.fetch_sub(1, Ordering::SeqCst);
            });
            return Err(Cut);
        }
        // A request that is on its way arrives, whatever becomes of its sender.
        let wire = self.clone();
        let answer = tokio::spawn(async move {
            if fate == Fate::Twice {
                wire.pass(by, request.clone()).await;
            }
            wire.pass(by, request).await
        });
        let answer = answer.await.ok().flatten().ok_or(Cut)?;
        match fate {
            Fate::AnswerLost => Err(Cut),
            Fate::FailsAfter => Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")),
            _ => Ok(handed_on(answer, fate == Fate::Slow)),
        }
    }

    /// The request reaches the server, and what it does there is noted. None: the server gave no answer.
    async fn pass(&self, by: Group, request: Request<Bytes>) -> Option<Answer> {
        let does = self.does(&request);
        let keys = match &does {
            Does::Reads(key) => {
                let turn = self.turn(key);
                let _shared = turn.read().await;
                return self.inner.sender.forward(self.inner.server, &request).await;
            }
            Does::Nothing => return self.inner.sender.forward(self.inner.server, &request).await,
            Does::Puts(key) | Does::Something(key) => vec![key.clone()],
            Does::Removes(keys) => keys.clone(),
        };
        let turns: Vec<_> = keys.iter().map(|key| self.turn(key)).collect();
        let mut mine = Vec::new();
        for turn in &turns {
            mine.push(turn.write().await);
        }
        let answer = self.inner.sender.forward(self.inner.server, &request).await;
        let verb = request.method().as_str();
        let Some(answer) = answer else {
            hold(&self.inner.seen).unclear.extend(keys);
            return None;
        };
        if answer.status().is_success() {
            match &does {
                Does::Puts(key) => self.note(Some(by), verb, key, Some(Some(request.body().clone()))),
                Does::Removes(_) => {
                    for key in &keys {
                        self.note(Some(by), verb, key, Some(None));
                    }
                }
                Does::Something(key) => {
                    let got = self.inner.by_hand.get(&Path::from(key.as_str())).await;
                    if let Ok(got) = got
                        && let Ok(bytes) = got.bytes().await
                    {
                        self.note(Some(by), verb, key, Some(Some(bytes)));
                    }
                }
                Does::Reads(_) | Does::Nothing => {}
            }
        } else if matches!(does, Does::Puts(_)) {
            self.note(
                Some(by),
                &format!("{verb} -> {}", answer.status().as_u16()),
                &keys[0],
                None,
            );
        }
        Some(answer)
    }

    fn does(&self, request: &Request<Bytes>) -> Does {
        let path = request.uri().path();
        let query = request.uri().query().unwrap_or_default();
        let below = format!("/{}", self.inner.bucket);
        let key = path.strip_prefix(&below).map(|key| key.trim_start_matches('/'));
        let key = key.map(|key| percent_decode_str(key).decode_utf8_lossy().into_owned());
        let Some(key) = key else { return Does::Nothing };
        let of_uploads = query.contains("uploadId=") || query.contains("uploads");
        match *request.method() {
            Method::GET | Method::HEAD if !key.is_empty() => Does::Reads(key),
            Method::PUT if !key.is_empty() && !of_uploads => Does::Puts(key),
            Method::DELETE if !key.is_empty() && !of_uploads => Does::Removes(vec![key]),
            Method::POST if query.contains("delete") => Does::Removes(named(request.body())),
            Method::POST if query.contains("uploadId=") => Does::Something(key),
            _ => Does::Nothing,
        }
    }
}

/// The keys in the body of a DeleteObjects, in one order for everybody who waits for their turns.
fn named(body: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(body);
    let mut keys: Vec<String> = text
        .split("<Key>")
        .skip(1)
        .filter_map(|rest| rest.split("</Key>").next())
        .map(|key| {
            key.replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&amp;", "&")
        })
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn refusal(status: StatusCode, code: &str) -> Response<Body> {
    let body = format!("<Error><Code>{code}</Code><Message>tortured</Message></Error>");
    let answer = Response::builder()
        .status(status)
        .header("content-type", "application/xml")
        .body(Bytes::from(body))
        .expect("a status and a header make an answer");
    handed_on(answer, false)
}

/// Waits until `holds`, for so long at most. Whether it does.
pub async fn eventually(most: Duration, holds: impl Fn() -> bool) -> bool {
    let until = Instant::now() + most;
    while !holds() {
        if Instant::now() > until {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    true
}
