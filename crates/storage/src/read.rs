//! Reading: the head and the copy side by side, and the copy served if it is what the head names.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::SignedDuration;
use object_store::GetRange;
use opentaco_domain::digest::Sha256Hasher;
use opentaco_domain::{CredentialSession, Principal, Sha256, UnitId, VersionId, limits};

use crate::StorageError;
use crate::bucket::{ByteStream, Got, Kind, Meta, Whole};
use crate::head::{Committed, Head};
use crate::heads::applies;
use crate::planted::{Bug, planted};
use crate::settle::{Insist, Settled};
use crate::vacancy::{is_vacant, may_be_vacant};
use crate::vault::Vault;

/// A copy up to this size is hashed in memory and served from there; a larger one is hashed as it streams by, and its
/// version is served instead.
pub(crate) const BUFFERED_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How old a remembered head may be to say something to the session that holds the unit by it.
const REMEMBERED_FOR_MAX: SignedDuration = SignedDuration::from_secs(60);

/// A state that is being read.
pub struct Reading {
    /// In bytes.
    pub size: u64,
    /// The version that is read; none for a unit that nobody has touched through us yet.
    pub committed: Option<Committed>,
    /// What the store says of it, for a unit that nobody has touched through us.
    pub found: Option<Meta>,
    /// The bytes.
    pub body: ByteStream,
}

/// A part of a state that is being read.
pub struct Portion {
    /// The state.
    pub committed: Committed,
    /// Which of its bytes.
    pub range: Range<u64>,
    /// Those bytes.
    pub body: ByteStream,
}

impl std::fmt::Debug for Portion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Portion")
            .field("committed", &self.committed)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading")
            .field("size", &self.size)
            .field("committed", &self.committed)
            .finish_non_exhaustive()
    }
}

/// What the copy turned out to be, beside a head.
#[expect(
    clippy::large_enum_variant,
    reason = "one is made per request and matched at once"
)]
enum Look {
    /// The current version; here it is.
    Current(Reading),
    /// Nothing, and nothing is what the head names.
    Empty,
    /// The version before the current one: a commit is under way.
    Before,
    /// Anything else: to be settled.
    Other,
}

impl Vault {
    /// Reads the current state; `None` if the unit has none.
    ///
    /// # Errors
    /// If the head or the copy cannot be read, or the copy holds bytes that are not ours and could not be judged. Never
    /// "no state" because of a fault.
    pub async fn read(&self, unit: &UnitId) -> Result<Option<Reading>, StorageError> {
        let key = self.bucket().layout().copy(unit);
        let (known, copy) = futures::try_join!(self.load(unit), self.bucket().get(Kind::Copy, &key))?;
        let Some(known) = known else {
            return self.read_untouched(unit, copy).await;
        };
        match self.look_at(unit, &known.head, copy).await? {
            Look::Current(reading) => Ok(Some(reading)),
            Look::Empty => Ok(None),
            Look::Before => {
                self.settle_behind(unit);
                self.serve(unit, &known.head).await
            }
            Look::Other => match self.settle(unit, limits::READ_SETTLE_ROUNDS, Insist::No).await? {
                Settled::Done(known) => {
                    self.record_copy_behind(unit);
                    self.serve(unit, &known.head).await
                }
                Settled::Unsettled {
                    known,
                    foreign: false,
                    ..
                } => self.serve(unit, &known.head).await,
                Settled::Unsettled {
                    foreign: true,
                    failure: Some(failure),
                    ..
                } => Err(failure),
                Settled::Unsettled {
                    foreign: true,
                    failure: None,
                    ..
                } => Err(StorageError::Busy {
                    key,
                    tries: limits::READ_SETTLE_ROUNDS,
                }),
            },
        }
    }

    /// The head as this replica remembers it from the last minute, if by it this session holds the unit: then nobody else
    /// writes, unless the lock was broken since. Good for what decides nothing: how large the state is that will be
    /// read next, and which lock file it was that will be removed. Both of these look at the bucket themselves.
    #[must_use]
    pub fn remembered_under(
        &self,
        unit: &UnitId,
        principal: &Principal,
        session: &CredentialSession,
    ) -> Option<Arc<Head>> {
        let known = self.remembered(unit)?;
        let is_held = known
            .head
            .lock
            .as_ref()
            .is_some_and(|lock| lock.is_of(principal, session));
        let is_recent = self.now().duration_since(known.seen).abs() <= REMEMBERED_FOR_MAX;
        (is_held && is_recent && session.is_somebody()).then_some(known.head)
    }

    /// What is current, without its bytes, where head and copy agree on it; else it has to be read to be known.
    ///
    /// # Errors
    /// As [`Vault::read`].
    pub async fn glance(&self, unit: &UnitId) -> Result<Option<Committed>, StorageError> {
        let key = self.bucket().layout().copy(unit);
        let (known, copy) = futures::try_join!(self.load(unit), self.bucket().head(Kind::Copy, &key))?;
        let (Some(known), Some(copy)) = (known, copy) else {
            return Ok(None);
        };
        Ok(self.agreed(unit, &known.head, &copy).cloned())
    }

    /// Some bytes of the current state, where head and copy agree on it; else it has to be read whole.
    ///
    /// # Errors
    /// As [`Vault::read`].
    pub async fn read_part(&self, unit: &UnitId, part: GetRange) -> Result<Option<Portion>, StorageError> {
        let key = self.bucket().layout().copy(unit);
        let (known, got) =
            futures::try_join!(self.load(unit), self.bucket().get_part(Kind::Copy, &key, part))?;
        let (Some(known), Some((got, range))) = (known, got) else {
            return Ok(None);
        };
        Ok(self.agreed(unit, &known.head, &got.meta).map(|current| Portion {
            committed: current.clone(),
            range,
            body: got.body,
        }))
    }

    /// The current version, if the copy is known to hold it.
    fn agreed<'a>(&self, unit: &UnitId, head: &'a Head, copy: &Meta) -> Option<&'a Committed> {
        let current = head.current.as_ref()?;
        (head.copy_is_current(copy) || self.saw_current(unit, head, copy)).then_some(current)
    }

    /// A unit without a head is read as it is, if it has none indeed. Some stores say "not found" of a whole bucket that
    /// they cannot find; it may go in the middle of a read, or come back, and there was a head all the time.
    async fn read_untouched(
        &self,
        unit: &UnitId,
        copy: Option<Got>,
    ) -> Result<Option<Reading>, StorageError> {
        let key = self.bucket().layout().copy(unit);
        self.bucket().ping().await?;
        let appears = copy.is_none() && self.bucket().head(Kind::Copy, &key).await?.is_some();
        if appears || self.load(unit).await?.is_some() {
            let source = "parts of the unit were not found at first, and then they were: it is being written, or the bucket itself was not found for a moment";
            return Err(StorageError::Unavailable {
                doing: "reading",
                key,
                source: Arc::from(Box::from(source)),
            });
        }
        untouched(copy).await
    }

    /// The bytes of a version, streamed; `None` if it is not in the history of the unit.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub async fn read_version(
        &self,
        unit: &UnitId,
        version: &VersionId,
    ) -> Result<Option<Reading>, StorageError> {
        let Some(known) = self.load(unit).await? else {
            return Ok(None);
        };
        if !known.head.names(version) {
            return Ok(None);
        }
        let committed = known
            .head
            .known()
            .find(|committed| committed.version == *version)
            .cloned();
        let Some(got) = self
            .bucket()
            .get(Kind::Version, &self.bucket().layout().version(unit, version))
            .await?
        else {
            return Ok(None);
        };
        let committed =
            committed.or_else(|| crate::versions::from_attributes(version, &got.meta, &got.attributes));
        Ok(Some(Reading {
            size: got.meta.size,
            committed,
            found: None,
            body: got.body,
        }))
    }

    async fn look_at(&self, unit: &UnitId, head: &Head, copy: Option<Got>) -> Result<Look, StorageError> {
        let Some(current) = &head.current else {
            // That there is no copy may be said of a bucket that is not there; settling looks on both sides of the head.
            let is_empty = match copy {
                Some(got) if may_be_vacant(&got.meta) => is_vacant(&got.bytes().await?),
                _ => planted(Bug::EmptyBesideState),
            };
            return Ok(if is_empty { Look::Empty } else { Look::Other });
        };
        let Some(got) = copy else { return Ok(Look::Other) };
        let meta = got.meta.clone();
        if head.copy_is_current(&meta) || self.saw_current(unit, head, &meta) {
            return Ok(Look::Current(Reading {
                size: meta.size,
                committed: Some(current.clone()),
                found: None,
                body: got.body,
            }));
        }
        if is_before(head, &meta) {
            return Ok(Look::Before);
        }
        if meta.size != current.size {
            return Ok(Look::Other);
        }
        if meta.size > BUFFERED_BYTES_MAX {
            if digest(got.body).await? != current.sha256 {
                return Ok(Look::Other);
            }
            self.record_found_behind(unit, head, Some(&meta));
            return Ok(match self.serve(unit, head).await? {
                Some(reading) => Look::Current(reading),
                None => Look::Other,
            });
        }
        let bytes = got.bytes().await?;
        if Sha256::of(&bytes) != current.sha256 {
            return Ok(Look::Other);
        }
        self.record_found_behind(unit, head, Some(&meta));
        Ok(Look::Current(Reading {
            size: meta.size,
            committed: Some(current.clone()),
            found: None,
            body: whole(bytes),
        }))
    }

    /// What the head names, from its version object.
    async fn serve(&self, unit: &UnitId, head: &Head) -> Result<Option<Reading>, StorageError> {
        let Some(current) = &head.current else {
            return Ok(None);
        };
        let key = self.bucket().layout().version(unit, &current.version);
        let Some(got) = self.bucket().get(Kind::Version, &key).await? else {
            return Err(missing(key));
        };
        Ok(Some(Reading {
            size: got.meta.size,
            committed: Some(current.clone()),
            found: None,
            body: got.body,
        }))
    }

    /// The bytes of a version that the head names, whole and checked against the hash in its name.
    ///
    /// # Errors
    /// If the bucket gives no answer, or does not hold those bytes.
    pub async fn version_bytes(&self, unit: &UnitId, version: &VersionId) -> Result<Whole, StorageError> {
        let key = self.bucket().layout().version(unit, version);
        match self.bucket().fetch(Kind::Version, &key).await? {
            Some((_, whole)) if Sha256::of(&whole) == version.sha256 => Ok(whole),
            Some(_) => Err(StorageError::Corrupt {
                key,
                reason: "its bytes are not those that its name tells; restore it from a backup of the bucket"
                    .to_owned(),
            }),
            None => Err(missing(key)),
        }
    }

    /// Has the head of a free unit say what its copy holds, where nobody who knows will: until it does, an old version
    /// that a person puts back is taken for a copy that lags, and every read of the copy hashes it.
    ///
    /// `seen` is the copy, where it was looked at: the same bytes may have another tag than was recorded, as in a bucket
    /// that was brought back from a backup.
    pub(crate) fn record_found_behind(&self, unit: &UnitId, head: &Head, seen: Option<&Meta>) {
        let recorded = head.copy.as_ref().is_some_and(|copy| {
            copy.version == head.current_version() && seen.is_none_or(|seen| copy.is(seen))
        });
        let known = self.sight(unit).is_some_and(|sight| applies(&sight, head));
        if head.lock.is_none() && head.current.is_some() && !recorded && !known {
            self.settle_behind(unit);
        }
    }

    pub(crate) fn settle_behind(&self, unit: &UnitId) {
        let vault = self.clone();
        let unit = unit.clone();
        self.behind(async move {
            match vault.settle(&unit, limits::READ_SETTLE_ROUNDS, Insist::No).await {
                Ok(_) => vault.record_copy_behind(&unit),
                Err(error) => tracing::debug!(%unit, %error, "the state copy is not settled yet"),
            }
        });
    }
}

/// A unit without a head is read as it is.
async fn untouched(copy: Option<Got>) -> Result<Option<Reading>, StorageError> {
    let Some(got) = copy else { return Ok(None) };
    let size = got.meta.size;
    let found = Some(got.meta.clone());
    let body = match may_be_vacant(&got.meta) {
        true => {
            let bytes = got.bytes().await?;
            if is_vacant(&bytes) {
                return Ok(None);
            }
            whole(bytes)
        }
        false => got.body,
    };
    let committed = None;
    Ok(Some(Reading {
        size,
        committed,
        found,
        body,
    }))
}

/// Whether the copy is known to hold the version just before the current one.
fn is_before(head: &Head, seen: &Meta) -> bool {
    match (&head.copy, head.recent.first()) {
        (Some(copy), Some(before)) => copy.version == Some(before.version) && copy.is(seen),
        _ => false,
    }
}

fn missing(key: String) -> StorageError {
    StorageError::Corrupt {
        key,
        reason: "the head names it and it is not there; restore it from a backup of the bucket, or restore another version"
            .to_owned(),
    }
}

pub(crate) fn whole(bytes: Bytes) -> ByteStream {
    stream::once(async move { Ok(bytes) }).boxed()
}

/// The hash of a body that is read to its end without being kept.
pub(crate) async fn digest(mut body: ByteStream) -> Result<Sha256, StorageError> {
    let mut hasher = Sha256Hasher::new();
    while let Some(chunk) = body.try_next().await? {
        hasher.update(&chunk);
    }
    Ok(hasher.finish())
}
