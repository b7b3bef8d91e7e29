//! The head: the one document that decides who holds a unit and which version is current.
//!
//! Every change counts `epoch` up and draws a fresh `nonce`, so no two heads have equal bytes and a compare-and-swap
//! on them never mistakes one for another.

use std::collections::BTreeMap;

use jiff::Timestamp;
use opentaco_domain::limits::RELEASED_LOCKS_MAX;
use opentaco_domain::{LockId, LockInfo, Principal, Session, Sha256, VersionId};
use serde::{Deserialize, Serialize};

use crate::bucket::{Meta, Tag};
use crate::planted::{Bug, planted};

/// The format this code writes. A head with a higher one is refused, never guessed at.
pub const FORMAT: u32 = 1;

/// What is true of a unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// See [`FORMAT`].
    pub format: u32,
    /// Counts every change.
    pub epoch: u64,
    /// Fresh at every change: whose compare-and-swap this was.
    pub nonce: String,
    /// Who holds the unit.
    pub lock: Option<Lock>,
    /// Locks that are over, however they ended, newest first.
    #[serde(default)]
    pub released: Vec<LockId>,
    /// The current version, unless the unit has no state.
    pub current: Option<Committed>,
    /// The committed history before it, newest first: at least the 32 newest.
    #[serde(default)]
    pub recent: Vec<Committed>,
    /// The committed and kept versions before those, newest first. Only what tells their objects apart from ones that
    /// were never committed: `<epoch>-<nonce>` of the name.
    #[serde(default)]
    pub kept: Vec<String>,
    /// The state copy as last judged.
    pub copy: Option<CopyRecord>,
    /// What people sort units by.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What people say of the unit.
    #[serde(default)]
    pub description: String,
    /// When the unit came to be; none for a unit that was only ever locked.
    pub created: Option<Timestamp>,
    /// The epoch since which the unit lives: tells one incarnation from the next.
    #[serde(default)]
    pub living_since: u64,
    /// Digests of the outputs.
    #[serde(default)]
    pub outputs: BTreeMap<String, String>,
    /// Set while the unit is deleted.
    pub deleted: Option<Deleted>,
    /// What a later version of us has added; kept as it is.
    #[serde(flatten)]
    pub rest: serde_json::Map<String, serde_json::Value>,
}

/// A lock that is held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lock {
    /// What the holder said of itself, id included.
    #[serde(flatten)]
    pub info: LockInfo,
    /// Who asked for it.
    pub principal: Principal,
    /// The door it was taken through.
    pub door: String,
    /// When it was taken, by our clock. For display.
    pub since: Timestamp,
    /// This one time of holding: an id chosen by hand may be used again, a session never is.
    pub session: Session,
    /// The bytes that were sent, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<String>,
    /// Found beside the state of a bucket older than us, rather than taken through a door.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
}

/// How a version came to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how", content = "of")]
pub enum Origin {
    /// Written through a door.
    Write,
    /// Found in a bucket older than us.
    Adopted,
    /// Somebody wrote the state copy directly.
    External,
    /// The content of an earlier version, again.
    Restore(VersionId),
    /// A refused write that somebody accepted after all.
    Promote(String),
    /// The last content of a unit that was deleted.
    Undelete,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Write => f.write_str("write"),
            Self::Adopted => f.write_str("adopted"),
            Self::External => f.write_str("external"),
            Self::Restore(version) => write!(f, "restore of {version}"),
            Self::Promote(id) => write!(f, "promotion of {id}"),
            Self::Undelete => f.write_str("undelete"),
        }
    }
}

/// A committed version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Committed {
    /// Its name, which says its epoch, serial, lock session and content hash.
    pub version: VersionId,
    /// SHA-256 of its bytes.
    pub sha256: Sha256,
    /// MD5 of its bytes, base64; not kept in `recent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<String>,
    /// In bytes.
    pub size: u64,
    /// As the state says; none if it does not.
    pub serial: Option<u64>,
    /// As the state says; none if it does not.
    pub lineage: Option<String>,
    /// As the state says; not kept in `recent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terraform_version: Option<String>,
    /// By our clock. For display, and for retention.
    pub committed_at: Timestamp,
    /// Who wrote it.
    pub by: Principal,
    /// The lock it was written under.
    pub lock_id: Option<LockId>,
    /// SHA-256 of what the client sent.
    pub sent_sha256: Sha256,
    /// The serial of what the client sent.
    pub sent_serial: Option<u64>,
    /// The request's own key, where its door has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How it came to be.
    #[serde(flatten)]
    pub origin: Origin,
}

impl Committed {
    /// As it stands in `recent`.
    #[must_use]
    pub fn shortened(&self) -> Self {
        Self {
            md5: None,
            terraform_version: None,
            ..self.clone()
        }
    }
}

/// What is known of the state copy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CopyRecord {
    /// The version it held; none for bytes that are no version (empty, or refused).
    pub version: Option<VersionId>,
    /// What the store compares.
    #[serde(flatten)]
    pub tag: Tag,
}

impl CopyRecord {
    /// Whether the copy that the store shows is the one of this record.
    #[must_use]
    pub fn is(&self, seen: &Meta) -> bool {
        self.tag.same(&seen.tag)
    }
}

/// A tombstone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deleted {
    /// By our clock; the versions outlive it by thirty days.
    pub at: Timestamp,
    /// Who deleted it.
    pub by: Principal,
    /// What was current.
    pub version: Option<VersionId>,
    /// That version was dropped since, with all others: it was deleted so long ago.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
}

impl Head {
    /// The head before there was one: what the first head is made from.
    pub(crate) fn blank() -> Self {
        Self {
            format: FORMAT,
            epoch: 0,
            nonce: String::new(),
            lock: None,
            released: Vec::new(),
            current: None,
            recent: Vec::new(),
            kept: Vec::new(),
            copy: None,
            labels: BTreeMap::new(),
            description: String::new(),
            created: None,
            living_since: 0,
            outputs: BTreeMap::new(),
            deleted: None,
            rest: serde_json::Map::new(),
        }
    }

    /// Whether there is such a unit: created or written, and not deleted. One that was only locked is none.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.deleted.is_none() && (self.created.is_some() || self.current.is_some())
    }

    /// The version that is current, by name.
    #[must_use]
    pub fn current_version(&self) -> Option<VersionId> {
        self.current.as_ref().map(|current| current.version)
    }

    /// The committed versions that the head knows in full, newest first.
    pub fn known(&self) -> impl Iterator<Item = &Committed> {
        self.current.iter().chain(&self.recent)
    }

    /// Whether `version` was ever committed and is still kept.
    #[must_use]
    pub fn names(&self, version: &VersionId) -> bool {
        self.known().any(|committed| committed.version == *version) || self.kept.contains(&kept_name(version))
    }

    /// Whether the present holder has committed under this very lock.
    #[must_use]
    pub fn holder_has_committed(&self) -> bool {
        self.lock.as_ref().is_some_and(|lock| {
            self.known().any(|committed| {
                committed.version.session == lock.session && committed.lock_id.as_ref() == Some(&lock.info.id)
            })
        })
    }

    /// Whether the state copy is known to hold the current version under this tag.
    #[must_use]
    pub fn copy_is_current(&self, seen: &Meta) -> bool {
        match (&self.current, &self.copy) {
            (Some(current), Some(copy)) => {
                let holds_it = copy.version == Some(current.version) && seen.size == current.size;
                copy.is(seen) && (holds_it || planted(Bug::EtagAloneTrusted))
            }
            _ => false,
        }
    }

    pub(crate) fn release(&mut self) -> Option<Lock> {
        let lock = self.lock.take()?;
        self.released.insert(0, lock.info.id.clone());
        self.released.truncate(RELEASED_LOCKS_MAX);
        Some(lock)
    }

    /// Makes `next` current and moves what was into the history.
    pub(crate) fn advance(&mut self, next: Option<Committed>) {
        if let Some(before) = self.current.take() {
            self.recent.insert(0, before.shortened());
        }
        self.current = next;
    }
}

/// How [`Head::kept`] names a version.
#[must_use]
pub fn kept_name(version: &VersionId) -> String {
    format!("{:x}-{:08x}", version.epoch, version.nonce)
}
