//! Reading the bodies of requests: whole, once, checked on the way in, and never more of them than memory was promised.
//!
//! A body is copied once, from the pieces it arrives in to one buffer of its announced length. What all bodies in
//! flight may take together is a budget in bytes. A large body, more than half of the budget, takes no part of it: large
//! ones take one seat, one after another, so that however slow they are no other body waits for them. A slow body may
//! take as long as it likes while it makes progress; one that stands still is given up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, mem};

use axum::body::{Body, BodyDataStream};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::{HeaderMap, StatusCode};
use opentaco_api::ErrorCode;
use opentaco_domain::digest::Md5Hasher;
use opentaco_domain::limits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::problem::Problem;
use crate::s3::error::Code;

/// The unit of the budget: permits of a semaphore are counted in 32 bits, and budgets are larger than 4 GiB.
const BUDGET_UNIT_BYTES: u64 = 1024;

/// A body that does not tell its length is taken for one of this size, and for a large one when it turns out longer.
const UNTOLD_BYTES: u64 = 1024 * 1024;

/// How much of a body that nobody wanted is read and thrown away, so that the client reads our answer instead of
/// finding its connection reset: what usually is on its way already.
const LINGER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long that may take.
const LINGER_MAX: Duration = Duration::from_secs(10);

/// What the operator allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// The largest state.
    pub one_bytes_max: u64,
    /// All states in flight together.
    pub in_flight_bytes_max: u64,
    /// How long a body may stand still.
    pub idle: Duration,
    /// How long a body may wait until there is room for it.
    pub admission: Duration,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            one_bytes_max: limits::STATE_BODY_BYTES_MAX,
            in_flight_bytes_max: limits::BODIES_IN_FLIGHT_BYTES_MAX,
            idle: Duration::from_secs(60),
            admission: Duration::from_secs(600),
        }
    }
}

/// Reads bodies within limits. Clones share the budget.
#[derive(Debug, Clone)]
pub struct Bodies {
    limits: BodyLimits,
    budget: Arc<Semaphore>,
    budget_units: u32,
    large: Arc<Semaphore>,
    large_bytes: Arc<AtomicU64>,
    waiting: Arc<AtomicU64>,
}

/// How full it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlight {
    /// What bodies have taken, of the budget and beside it.
    pub bytes: u64,
    /// The budget.
    pub bytes_max: u64,
    /// Bodies for which there is no room yet.
    pub waiting: u64,
}

/// A body that has arrived whole. Its part of the budget is given back when this is dropped.
#[derive(Debug)]
pub struct Arrived {
    /// The body.
    pub bytes: Bytes,
    /// Its MD5 in base64, if the client sent one and it was found right.
    pub md5: Option<String>,
    _room: Room,
}

/// Memory for one body. It is given back when this is dropped.
#[derive(Debug)]
pub struct Room {
    _permits: OwnedSemaphorePermit,
    /// What the one large body is counted with.
    large: Option<(Arc<AtomicU64>, u64)>,
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some((all, bytes)) = &self.large {
            all.fetch_sub(*bytes, Ordering::Relaxed);
        }
    }
}

/// Why a body was not taken.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is, or says it is, larger than allowed.
    #[error("the body is larger than the {limit} bytes that are accepted here")]
    TooLarge {
        /// What is allowed.
        limit: u64,
    },
    /// Nothing more came of it.
    #[error("the body stood still for {} seconds", after.as_secs_f32())]
    Stalled {
        /// For how long.
        after: Duration,
    },
    /// There was no room for it.
    #[error("other bodies have taken all the memory that is set aside for them")]
    Crowded,
    /// The connection broke, or what came was no HTTP body.
    #[error("the body broke off")]
    Broken {
        /// How.
        #[source]
        source: axum::Error,
    },
    /// It comes in pieces, and something about one of them is wrong.
    #[error("the body cannot be read: {reason}")]
    Wrapped {
        /// What S3 calls it.
        code: Code,
        /// What is wrong.
        reason: String,
    },
    /// `Content-MD5` is not how an MD5 digest is written.
    #[error("the Content-MD5 header is not one digest of 16 bytes in base64")]
    DigestUnreadable,
    /// The body is not the one that was sent.
    #[error(
        "the body does not match its Content-MD5: it was changed on the way; nothing was written, send it again"
    )]
    DigestDiffers,
}

impl Bodies {
    /// Reads within these limits.
    #[must_use]
    pub fn new(limits: BodyLimits) -> Self {
        let units = limits
            .in_flight_bytes_max
            .div_ceil(BUDGET_UNIT_BYTES)
            .clamp(1, u64::from(u32::MAX >> 4));
        let budget_units = u32::try_from(units).expect("clamped to 28 bits");
        Self {
            limits,
            budget: Arc::new(Semaphore::new(budget_units as usize)),
            budget_units,
            large: Arc::new(Semaphore::new(1)),
            large_bytes: Arc::default(),
            waiting: Arc::default(),
        }
    }

    /// How full it is right now.
    #[must_use]
    pub fn in_flight(&self) -> InFlight {
        let taken = u64::from(self.budget_units).saturating_sub(self.budget.available_permits() as u64);
        InFlight {
            bytes: taken * BUDGET_UNIT_BYTES + self.large_bytes.load(Ordering::Relaxed),
            bytes_max: u64::from(self.budget_units) * BUDGET_UNIT_BYTES,
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }

    /// Reads a state, when there is room for it.
    ///
    /// # Errors
    /// If it is too large, stands still, breaks off, or is not what its `Content-MD5` says.
    pub async fn read_state(&self, headers: &HeaderMap, body: Body) -> Result<Arrived, BodyError> {
        let limit = self.limits.one_bytes_max;
        let announced = announced_length(&body);
        if announced.is_some_and(|length| length > limit) {
            return Err(BodyError::TooLarge { limit });
        }
        let mut room = self
            .room_for(announced.unwrap_or(UNTOLD_BYTES.min(limit)))
            .await?;
        let (bytes, md5) = self
            .read(headers, (body, &mut Bare), announced, limit, Some(&mut room))
            .await?;
        Ok(Arrived {
            bytes,
            md5,
            _room: room,
        })
    }

    /// Reads a state that comes wrapped up, of this length once it is unwrapped.
    ///
    /// # Errors
    /// As [`read_state`](Self::read_state); [`BodyError::Wrapped`].
    pub async fn read_wrapped(
        &self,
        headers: &HeaderMap,
        body: Body,
        length: u64,
        wrapping: &mut dyn Wrapping,
    ) -> Result<Arrived, BodyError> {
        let limit = self.limits.one_bytes_max;
        if length > limit {
            return Err(BodyError::TooLarge { limit });
        }
        let mut room = self.room_for(length).await?;
        let (bytes, md5) = self
            .read(headers, (body, wrapping), Some(length), limit, Some(&mut room))
            .await?;
        Ok(Arrived {
            bytes,
            md5,
            _room: room,
        })
    }

    /// Reads a small body that comes wrapped up, of this length once it is unwrapped.
    ///
    /// # Errors
    /// As [`read_wrapped`](Self::read_wrapped).
    pub async fn read_small_wrapped(
        &self,
        headers: &HeaderMap,
        body: Body,
        length: u64,
        limit: u64,
        wrapping: &mut dyn Wrapping,
    ) -> Result<Bytes, BodyError> {
        if length > limit {
            return Err(BodyError::TooLarge { limit });
        }
        let read = self.read(headers, (body, wrapping), Some(length), limit, None);
        Ok(read.await?.0)
    }

    /// Reads a body that says something about a lock: small enough to be nobody's concern.
    ///
    /// # Errors
    /// As [`read_state`](Self::read_state).
    pub async fn read_note(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, BodyError> {
        self.read_small(headers, body, limits::LOCK_BODY_BYTES_MAX as u64)
            .await
    }

    /// Reads a body of so few bytes that it is nobody's concern.
    ///
    /// # Errors
    /// As [`read_state`](Self::read_state).
    pub async fn read_small(&self, headers: &HeaderMap, body: Body, limit: u64) -> Result<Bytes, BodyError> {
        let announced = announced_length(&body);
        if announced.is_some_and(|length| length > limit) {
            return Err(BodyError::TooLarge { limit });
        }
        let mut bare = Bare;
        let read = self.read(headers, (body, &mut bare), announced, limit, None);
        Ok(read.await?.0)
    }

    /// Memory for what is read from a state of this size, until the room is dropped.
    ///
    /// # Errors
    /// [`BodyError::Crowded`].
    pub async fn room_for(&self, bytes: u64) -> Result<Room, BodyError> {
        let units = bytes.div_ceil(BUDGET_UNIT_BYTES);
        if units > u64::from(self.budget_units / 2).max(1) {
            return self.seat(bytes).await;
        }
        let units = u32::try_from(units).expect("less than the budget, which has 32 bits");
        let permits = self.admit(&self.budget, units).await?;
        Ok(Room {
            _permits: permits,
            large: None,
        })
    }

    /// The one seat for large bodies.
    async fn seat(&self, bytes: u64) -> Result<Room, BodyError> {
        let permits = self.admit(&self.large, 1).await?;
        self.large_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(Room {
            _permits: permits,
            large: Some((Arc::clone(&self.large_bytes), bytes)),
        })
    }

    /// What the operator allows.
    #[must_use]
    pub fn limits(&self) -> BodyLimits {
        self.limits
    }

    async fn admit(&self, to: &Arc<Semaphore>, units: u32) -> Result<OwnedSemaphorePermit, BodyError> {
        if let Ok(permits) = Arc::clone(to).try_acquire_many_owned(units) {
            return Ok(permits);
        }
        let _waiting = Waiting::one_of(&self.waiting);
        let admission = Arc::clone(to).acquire_many_owned(units);
        match timeout(self.limits.admission, admission).await {
            Ok(permits) => Ok(permits.expect("it is never closed")),
            Err(_) => Err(BodyError::Crowded),
        }
    }

    async fn read(
        &self,
        headers: &HeaderMap,
        (body, wrapping): (Body, &mut dyn Wrapping),
        announced: Option<u64>,
        limit: u64,
        mut room: Option<&mut Room>,
    ) -> Result<(Bytes, Option<String>), BodyError> {
        let mut digest = ContentMd5::of(headers)?;
        let capacity = usize::try_from(announced.unwrap_or(0)).map_err(|_| BodyError::TooLarge { limit })?;
        let mut whole = BytesMut::with_capacity(capacity);
        let mut pieces = body.into_data_stream();
        while let Some(piece) = self.next_piece(&mut pieces).await? {
            if (whole.len() + wrapping.least(&piece)) as u64 > limit {
                return Err(BodyError::TooLarge { limit });
            }
            let outgrown = announced.is_none() && (whole.len() + piece.len()) as u64 > UNTOLD_BYTES;
            if outgrown
                && let Some(room) = room.as_deref_mut()
                && room.large.is_none()
            {
                // Whoever sits there waits for nobody, so this comes to an end.
                *room = self.seat(limit).await?;
            }
            let before = whole.len();
            wrapping.unwrap_into(&piece, &mut whole)?;
            if announced.is_some_and(|length| whole.len() as u64 > length) {
                return Err(BodyError::Wrapped {
                    code: Code::IncompleteBody,
                    reason: "it is longer than was announced".to_owned(),
                });
            }
            digest.update(&whole[before..]);
        }
        wrapping.end()?;
        let digest = digest.verify()?;
        Ok((whole.freeze(), digest))
    }

    async fn next_piece(&self, pieces: &mut BodyDataStream) -> Result<Option<Bytes>, BodyError> {
        let idle = self.limits.idle;
        match timeout(idle, pieces.next()).await {
            Ok(Some(Ok(piece))) => Ok(Some(piece)),
            Ok(Some(Err(source))) => Err(BodyError::Broken { source }),
            Ok(None) => Ok(None),
            Err(_) => Err(BodyError::Stalled { after: idle }),
        }
    }
}

/// How a body comes: as it is, or in pieces with something said about each.
pub trait Wrapping: Send {
    /// Takes the next bytes of the body, and puts those that are meant into `whole`.
    ///
    /// # Errors
    /// [`BodyError::Wrapped`].
    fn unwrap_into(&mut self, piece: &[u8], whole: &mut BytesMut) -> Result<(), BodyError>;

    /// The body has ended.
    ///
    /// # Errors
    /// [`BodyError::Wrapped`], if that is too early.
    fn end(&mut self) -> Result<(), BodyError>;

    /// How many bytes of `piece` are meant for certain.
    fn least(&self, piece: &[u8]) -> usize;
}

/// As it is.
struct Bare;

impl Wrapping for Bare {
    fn unwrap_into(&mut self, piece: &[u8], whole: &mut BytesMut) -> Result<(), BodyError> {
        whole.extend_from_slice(piece);
        Ok(())
    }

    fn end(&mut self) -> Result<(), BodyError> {
        Ok(())
    }

    fn least(&self, piece: &[u8]) -> usize {
        piece.len()
    }
}

/// Counts somebody who waits, until dropped.
struct Waiting<'a>(&'a AtomicU64);

impl<'a> Waiting<'a> {
    fn one_of(all: &'a AtomicU64) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(all)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn announced_length(body: &Body) -> Option<u64> {
    axum::body::HttpBody::size_hint(body).exact()
}

/// The digest a client sent along, if it did, computed while the body comes in.
enum ContentMd5 {
    NotSent,
    Sent { digest: String, hasher: Box<Md5Hasher> },
}

impl ContentMd5 {
    fn of(headers: &HeaderMap) -> Result<Self, BodyError> {
        let mut digests = headers.get_all("content-md5").iter();
        let Some(digest) = digests.next() else {
            return Ok(Self::NotSent);
        };
        if digests.any(|other| other != digest) {
            return Err(BodyError::DigestUnreadable);
        }
        let digest = digest.to_str().map_err(|_| BodyError::DigestUnreadable)?.trim();
        match BASE64_STANDARD.decode(digest) {
            Ok(bytes) if bytes.len() == 16 => Ok(Self::Sent {
                digest: digest.to_owned(),
                hasher: Box::new(Md5Hasher::new()),
            }),
            _ => Err(BodyError::DigestUnreadable),
        }
    }

    fn update(&mut self, piece: &[u8]) {
        if let Self::Sent { hasher, .. } = self {
            hasher.update(piece);
        }
    }

    /// The digest, if one was sent.
    fn verify(self) -> Result<Option<String>, BodyError> {
        match self {
            Self::NotSent => Ok(None),
            Self::Sent { digest, hasher } => {
                if hasher.finish() == digest {
                    Ok(Some(digest))
                } else {
                    Err(BodyError::DigestDiffers)
                }
            }
        }
    }
}

impl IntoResponse for BodyError {
    fn into_response(self) -> Response {
        let (status, code, hint) = match &self {
            Self::TooLarge { .. } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                ErrorCode::BodyTooLarge,
                ". Nothing was changed; the operator can raise the limit for states with -max-body-size",
            ),
            Self::Stalled { .. } => (
                StatusCode::REQUEST_TIMEOUT,
                ErrorCode::BodyStalled,
                ". Nothing was changed",
            ),
            Self::Crowded => (
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorCode::Crowded,
                ". Nothing was changed; try again",
            ),
            Self::Broken { .. } => (
                StatusCode::BAD_REQUEST,
                ErrorCode::BodyBroken,
                ". Nothing was changed",
            ),
            Self::DigestUnreadable | Self::Wrapped { .. } => (
                StatusCode::BAD_REQUEST,
                ErrorCode::BadDigest,
                ". Nothing was changed",
            ),
            Self::DigestDiffers => (StatusCode::BAD_REQUEST, ErrorCode::DigestDiffers, ""),
        };
        let problem = Problem::new(status, code, format!("{self}{hint}"));
        match &self {
            Self::Broken { source } => problem.caused_by(source),
            Self::TooLarge { .. }
            | Self::Stalled { .. }
            | Self::Crowded
            | Self::DigestUnreadable
            | Self::Wrapped { .. }
            | Self::DigestDiffers => problem,
        }
        .into_response()
    }
}

/// A body on loan: what its reader leaves unread comes back.
///
/// A server that closes a connection with unread bytes in it resets it, and the client may never see the answer that
/// was sent before: a refused upload of 250 MB would look like a broken network, and be tried again. So whatever a
/// refusal left unread is read on, within bounds, while the answer is on its way.
pub struct Lent {
    body: Body,
    back: Arc<Mutex<Option<Body>>>,
    touched: Arc<AtomicBool>,
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").finish_non_exhaustive()
    }
}

/// Where a lent body comes back to.
#[derive(Debug, Default)]
pub struct Rest {
    back: Arc<Mutex<Option<Body>>>,
    touched: Arc<AtomicBool>,
}

impl Rest {
    /// Lends `body` out.
    pub fn lend(&self, body: Body) -> Body {
        Body::new(Lent {
            body,
            back: Arc::clone(&self.back),
            touched: Arc::clone(&self.touched),
        })
    }

    /// Whether anybody has asked for its bytes.
    #[must_use]
    pub fn is_touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed)
    }

    /// Reads and throws away what came back unread, behind the answer.
    pub fn drain(self) {
        let rest = self.back.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(rest) = rest.filter(|rest| !axum::body::HttpBody::is_end_stream(rest)) else {
            return;
        };
        let draining = timeout(LINGER_MAX, async move {
            let mut pieces = rest.into_data_stream();
            let mut read = 0;
            while let Some(Ok(piece)) = pieces.next().await {
                read += piece.len();
                if read > LINGER_BYTES_MAX {
                    return;
                }
            }
        });
        #[expect(
            clippy::disallowed_methods,
            reason = "belongs to a connection, not to an operation: no simulation has it"
        )]
        drop(tokio::spawn(draining));
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let rest = mem::take(&mut self.body);
        *self.back.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest);
    }
}

impl axum::body::HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        self.touched.store(true, Ordering::Relaxed);
        std::pin::Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
