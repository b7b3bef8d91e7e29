//! States, up and down: never held as a whole, and checked at both ends.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{ACCEPT, ETAG, IF_MATCH};
use http::{HeaderMap, HeaderName, Method};
use opentaco_api::{Receipt, header, paths};
use opentaco_domain::{LockId, Sha256Hasher, UnitId, VersionId};

use crate::body::Outgoing;
use crate::client::{Answer, Call, Client};
use crate::error::SdkError;
use crate::retry::Repeatable;

/// How to write a state.
#[derive(Debug, Clone, Default)]
pub struct Upload {
    /// The lock to write under.
    pub holding: Option<LockId>,
    /// Only if this version is current.
    pub if_match: Option<VersionId>,
    /// Also if it is of another lineage, or older than what is there.
    pub force: bool,
    /// The request's own key, by which it is known if it is made again; one is drawn without.
    pub idempotency_key: Option<String>,
}

/// What to read.
#[derive(Debug, Clone)]
pub enum Source {
    /// The current state.
    Current,
    /// A version of the history.
    Version(VersionId),
    /// A refused write.
    Rejected(String),
}

/// A state that was read, whole and checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Downloaded {
    /// In bytes.
    pub size: u64,
    /// Its version; none for a refused write, and for a unit that nobody has touched through the service yet.
    pub version: Option<VersionId>,
}

impl Client {
    /// Makes `state` the current state of a unit; creates the unit if need be.
    ///
    /// It is sent with its length and digest, and with a key, so that an attempt whose answer was lost is safely made
    /// again. `sent` counts the bytes of the attempt that is under way.
    ///
    /// # Errors
    /// [`SdkError::Locked`] with the holder and with the id under which the state is kept; [`SdkError::Conflict`] if it
    /// is of another lineage or older, or if another version is current; [`SdkError::Invalid`] if it is no state.
    pub async fn upload(
        &self,
        unit: &UnitId,
        state: &Outgoing,
        how: &Upload,
        sent: &Arc<AtomicU64>,
    ) -> Result<Receipt, SdkError> {
        let drawn = uuid::Uuid::new_v4().to_string();
        let key = how.idempotency_key.as_deref().unwrap_or(&drawn);
        let mut call = Call::new(Method::POST, paths::upload(unit), Repeatable::Freely)
            .about(unit)
            .header(HeaderName::from_static(header::IDEMPOTENCY_KEY), key)
            .header(HeaderName::from_static("content-md5"), state.md5())
            .maybe("if_locked_by", how.holding.as_ref())
            .state(state, sent);
        if let Some(version) = &how.if_match {
            call = call.header(IF_MATCH, &format!("\"{version}\""));
        }
        if how.force {
            call = call.query("force", true);
        }
        let receipt: Receipt = self.ask_json(call).await?;
        // The graph unit is the one whose writes are merged on the way in; any other is kept as it was sent.
        if !unit.is_reserved() && receipt.version.sha256 != state.sha256() {
            return Err(SdkError::Corrupt {
                what: format!(
                    "{} was sent, and the service has committed {}",
                    state.sha256(),
                    receipt.version.sha256
                ),
            });
        }
        Ok(receipt)
    }

    /// Reads a state into a file, from its beginning.
    ///
    /// What was read is checked against its length and, where it has a version, against the digest that is part of a
    /// version's name; an attempt that fails in the middle is made again. `moved` counts the bytes of the attempt that is
    /// under way, `total` is how many there will be, or 0 while that is not known.
    ///
    /// # Errors
    /// [`SdkError::NotFound`], [`SdkError::NoState`]; [`SdkError::Corrupt`] if the bytes are not those that were
    /// committed; [`SdkError::File`] if they cannot be written. The file is then of no use.
    pub async fn download(
        &self,
        unit: &UnitId,
        source: &Source,
        into: &mut File,
        moved: &AtomicU64,
        total: &AtomicU64,
    ) -> Result<Downloaded, SdkError> {
        let path = match source {
            Source::Current => paths::download(unit),
            Source::Version(version) => paths::version(unit, version),
            Source::Rejected(id) => paths::rejected_write(unit, id),
        };
        let call = Call::get(path).about(unit).header(ACCEPT, "*/*");
        self.attempts(&call, async |answer: Answer| {
            self.receive(answer, into, moved, total).await
        })
        .await
    }

    async fn receive(
        &self,
        answer: Answer,
        into: &mut File,
        moved: &AtomicU64,
        total: &AtomicU64,
    ) -> Result<Downloaded, SdkError> {
        let mut response = answer.response;
        let file = |source| SdkError::File { source };
        into.set_len(0).and_then(|()| into.rewind()).map_err(file)?;
        let version = version_of(response.headers());
        let length = response.content_length();
        total.store(length.unwrap_or(0), Ordering::Relaxed);
        moved.store(0, Ordering::Relaxed);
        let mut hasher = Sha256Hasher::new();
        let mut size = 0;
        while let Some(piece) = self.next_piece(&mut response).await? {
            hasher.update(&piece);
            size += piece.len() as u64;
            moved.store(size, Ordering::Relaxed);
            into.write_all(&piece).map_err(file)?;
        }
        if let Some(length) = length.filter(|length| *length != size) {
            return Err(SdkError::Corrupt {
                what: format!("{size} bytes of {length} came"),
            });
        }
        let digest = hasher.finish();
        match version {
            Some(version) if version.sha256 != digest => Err(SdkError::Corrupt {
                what: format!("it hashes to {digest}, and version {version} does not"),
            }),
            version => Ok(Downloaded { size, version }),
        }
    }
}

/// The version that an answer names as its ETag.
fn version_of(headers: &HeaderMap) -> Option<VersionId> {
    let tag = headers.get(ETAG)?.to_str().ok()?;
    tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}
