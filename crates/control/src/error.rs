//! How an operation can be refused or fail, by what a door answers. Nothing here knows a status code.

use jiff::Timestamp;
use opentaco_domain::{Action, LockId, LockInfo, PolicyUnreadable, Principal, UnitId, VersionId};
use opentaco_storage::{Lock, StorageError};

use crate::Unwritten;

/// Who holds a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// What the holder said of itself, id included.
    pub info: LockInfo,
    /// Who asked for the lock.
    pub principal: Principal,
    /// When it was taken, by our clock.
    pub since: Timestamp,
}

impl Holder {
    /// What people know the holder by: what it said of itself, or else who asked for the lock.
    #[must_use]
    pub fn name(&self) -> &str {
        match self.info.who.as_str() {
            "" => self.principal.as_str(),
            who => who,
        }
    }
}

impl From<Lock> for Holder {
    fn from(lock: Lock) -> Self {
        Self {
            info: lock.info,
            principal: lock.principal,
            since: lock.since,
        }
    }
}

/// Why an operation was not done.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The caller may not. Said before anything is looked up.
    #[error("`{}` on `{unit}` is not allowed", action.as_str())]
    Forbidden {
        /// What was asked for.
        action: Action,
        /// On what.
        unit: UnitId,
    },
    /// Nobody can say whether the caller may. Never read as "allowed".
    #[error(
        "the access policy cannot be read, so nothing is allowed and nothing was changed; try again, and if it stays so, the log of the service tells the operator why"
    )]
    PolicyUnreadable {
        /// Why not.
        #[source]
        source: PolicyUnreadable,
    },
    /// It was done, and its event could not be written in time.
    #[error(transparent)]
    Unwritten(Unwritten),
    /// Somebody else holds the unit.
    #[error("`{unit}` is locked by {} since {}", holder.name(), holder.since)]
    Locked {
        /// Which.
        unit: UnitId,
        /// Who holds it.
        holder: Box<Holder>,
    },
    /// A write or an unlock under a lock that is not the present one.
    #[error("the lock of `{unit}` is not held under that id{}", kept_note(kept.as_deref()))]
    NotHolder {
        /// Which.
        unit: UnitId,
        /// Who holds it instead, if anybody.
        holder: Option<Box<Holder>>,
        /// Under which id the refused bytes are kept.
        kept: Option<String>,
    },
    /// A lock with this id was released or broken before. An id that is a UUID locks once.
    #[error("lock {id} of `{unit}` is over: it was released or broken, and an id like this locks only once")]
    LockOver {
        /// Which unit.
        unit: UnitId,
        /// Which lock.
        id: LockId,
    },
    /// An older write of the same lock came after a newer one.
    #[error("a newer state was already written to `{unit}` under this lock{}", kept_note(kept.as_deref()))]
    Late {
        /// Which.
        unit: UnitId,
        /// Under which id the refused bytes are kept.
        kept: Option<String>,
    },
    /// What is current is not what the request asked for.
    #[error("the current version of `{unit}` is another one")]
    Conflict {
        /// Which.
        unit: UnitId,
        /// What is current.
        current: Option<VersionId>,
    },
    /// The state belongs to another lineage than the current one.
    #[error("the state is of another lineage than the current state of `{unit}`; force it if that is meant")]
    OtherLineage {
        /// Which.
        unit: UnitId,
        /// The lineage that is current.
        current: Option<String>,
    },
    /// The state is older than the current one, or other than the current one under the same serial.
    #[error(
        "the state is no newer than the current one of `{unit}`, whose serial is {current}: it has {}; force it if that is meant",
        sent.map_or_else(|| "none".to_owned(), |sent| sent.to_string())
    )]
    OlderSerial {
        /// Which.
        unit: UnitId,
        /// The serial that is current.
        current: u64,
        /// The serial that was sent.
        sent: Option<u64>,
    },
    /// The unit refuses to be deleted.
    #[error("`{unit}` is protected from being deleted; take the protection off first")]
    Protected {
        /// Which.
        unit: UnitId,
    },
    /// The state is encrypted, and what was asked for is sealed in it.
    #[error("the state of `{unit}` is encrypted, and its outputs with it")]
    Encrypted {
        /// Which.
        unit: UnitId,
    },
    /// The graph of dependencies is no graph that can be read, so nothing is said of any dependency.
    #[error("the graph of dependencies in `{unit}` cannot be read: {why}")]
    GraphUnreadable {
        /// The unit that holds it.
        unit: UnitId,
        /// Why not.
        why: String,
    },
    /// The unit was deleted after the write was sent.
    #[error("`{unit}` was deleted meanwhile{}", kept_note(kept.as_deref()))]
    DeletedMeanwhile {
        /// Which.
        unit: UnitId,
        /// Under which id the refused bytes are kept.
        kept: Option<String>,
    },
    /// The unit has no state.
    #[error("`{unit}` has no state")]
    NoState {
        /// Which.
        unit: UnitId,
    },
    /// There is no such thing.
    #[error("there is no {what}")]
    NotFound {
        /// Which thing, as in "unit `a`".
        what: String,
    },
    /// There is such a unit already.
    #[error("unit `{unit}` exists already")]
    AlreadyExists {
        /// Which.
        unit: UnitId,
    },
    /// The request cannot mean anything: what, why, and what to do.
    #[error("{what}")]
    Invalid {
        /// The sentence.
        what: String,
    },
    /// Committed and safe, but the copy in the bucket is not up to date yet: the same request again finishes it.
    #[error(
        "version {version} of `{unit}` is committed and safe, but the copy in the bucket is not up to date yet; repeat the request"
    )]
    Saved {
        /// Which.
        unit: UnitId,
        /// The version that is safe.
        version: Box<VersionId>,
        /// Why the copy could not be written.
        #[source]
        source: StorageError,
    },
    /// The bucket did not answer, or not usably. Nothing is assumed; the same request again is safe.
    #[error("{}", unavailable(source))]
    Unavailable {
        /// Why.
        #[source]
        source: StorageError,
    },
    /// An object in the bucket is not readable, and nothing is guessed from it.
    #[error("the bucket holds something that cannot be read")]
    Corrupt {
        /// What, and why.
        #[source]
        source: StorageError,
    },
    /// The service cannot be opened over this bucket.
    #[error("{what}")]
    Unopened {
        /// What was tried, why it failed and what to do.
        what: String,
    },
}

impl ControlError {
    /// Whether too many others were at it at the same time, and nothing else is wrong.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        matches!(
            self,
            Self::Unavailable {
                source: StorageError::Busy { .. }
            }
        )
    }

    /// What a storage failure means to a caller.
    #[must_use]
    pub fn from_storage(source: StorageError) -> Self {
        if let Some(why) = source.unfit_name() {
            return Self::Invalid {
                what: format!("this cannot be kept in the store below: {why}; choose another name"),
            };
        }
        match source {
            StorageError::Corrupt { .. } => Self::Corrupt { source },
            StorageError::Denied { .. } | StorageError::Unavailable { .. } | StorageError::Busy { .. } => {
                Self::Unavailable { source }
            }
        }
    }
}

fn unavailable(source: &StorageError) -> &'static str {
    match source {
        StorageError::Busy { .. } => "too many others are writing at the same time; repeat the request",
        _ => "the bucket is not available",
    }
}

fn kept_note(kept: Option<&str>) -> String {
    kept.map(|id| format!("; what was sent is kept as rejected write {id}"))
        .unwrap_or_default()
}
