//! The head: the one document that decides who holds a unit and which version is current.
//!
//! Every change counts `epoch` up and draws a fresh `nonce`, so no two heads have equal bytes and a compare-and-swap
//! on them never mistakes one for another.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use opentaco_domain::graph::{Outputs, Source, Unknown};
use opentaco_domain::limits::{
    BROKEN_SESSIONS_MAX, DONE_SESSIONS_MAX, HEAD_OUTPUT_NAMES_BYTES_MAX, HEAD_OUTPUTS_MAX, RELEASED_LOCKS_MAX,
};
use opentaco_domain::state::{OutputDigests, StateSummary};
use opentaco_domain::{CredentialSession, LockId, LockInfo, Principal, Session, Sha256, Signed, VersionId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};
use serde_json::value::RawValue;

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
    /// Locks of S3 sessions that are over, newest first: their writes name no lock, so it is the session that is late.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<Ended>,
    /// The current version, unless the unit has no state.
    pub current: Option<Committed>,
    /// The committed history before it, newest first: at least the 32 newest.
    #[serde(default)]
    pub recent: Vec<Past>,
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
    /// It refuses to be deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deletion_protection: bool,
    /// When the unit came to be; none for a unit that was only ever locked.
    pub created: Option<Timestamp>,
    /// The epoch since which the unit lives: tells one incarnation from the next.
    #[serde(default)]
    pub living_since: u64,
    /// What the request that created it drew, so that it knows its own work among creations of the same instant; none
    /// for a unit that came to be by a write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation: Option<String>,
    /// Digests of the outputs of the version that [`Head::outputs_of`] tells, so that a dependency can be declared on them
    /// without reading a state.
    #[serde(default)]
    pub outputs: OutputDigests,
    /// The epoch of the version whose outputs these are; none where nobody has read them, or where there are too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs_of: Option<u64>,
    /// That version is encrypted by OpenTofu, and so are its outputs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encrypted: bool,
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
    /// The session that took it through the lock file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialSession>,
    /// When that session signed its request for it, by the clock of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Timestamp>,
}

impl Lock {
    /// Whether this session of this principal took it through the lock file.
    #[must_use]
    pub fn is_of(&self, principal: &Principal, session: &CredentialSession) -> bool {
        self.credential.as_ref() == Some(session)
            && (self.principal == *principal || planted(Bug::SessionsAlike))
    }

    /// Whether a request of the session that holds it was made before it was asked for: it belongs to an earlier lock.
    #[must_use]
    pub fn is_younger_than(&self, request: &Signed) -> bool {
        matches!((self.signed, request.at), (Some(taken), Some(asked)) if asked < taken)
            && !planted(Bug::OlderThanItsLock)
    }
}

/// How the lock of an S3 session came to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Whose session.
    pub principal: Principal,
    /// The session.
    pub credential: CredentialSession,
    /// The lock.
    pub lock: LockId,
    /// When it was asked for, by the clock of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Timestamp>,
    /// The request of the session that gave it back; none for a lock that was broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_back: Option<GivenBack>,
}

/// The request by which a session gave its lock back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GivenBack {
    /// When it was signed, by the clock of the client.
    pub signed: Option<Timestamp>,
    /// What the client calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocation: Option<String>,
}

impl Ended {
    /// Whether a request of the session was made before the lock that is over was asked for: it was about an earlier one.
    #[must_use]
    pub fn is_younger_than(&self, request: &Signed) -> bool {
        matches!((self.signed, request.at), (Some(taken), Some(asked)) if asked < taken)
    }

    /// Whether a request of the session was made under the lock that is over. Once it was broken, all are, until the
    /// session takes another. One that gave it back has gone on since; by its own clock, which is compared with itself
    /// and with no other.
    fn is_late(&self, request: &Signed) -> bool {
        match &self.given_back {
            None => !planted(Bug::BrokenSessionWrites),
            Some(given_back) => match (request.at, given_back.signed) {
                (Some(asked), Some(ended)) => asked < ended && !planted(Bug::SignedBeforeCounts),
                _ => false,
            },
        }
    }
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
    /// The graph after a unit at one of its edges has changed: written by the service, whoever holds the graph.
    Graph,
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
            Self::Graph => f.write_str("graph"),
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
    /// When the service got to know of the request, where that was more than [a second](opentaco_domain::limits::COMMITTED_AT_ONCE)
    /// earlier: what its client has seen was there by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Timestamp>,
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
    /// The door it came through; none for what was found in the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<String>,
    /// How it came to be.
    #[serde(flatten)]
    pub origin: Origin,
}

impl Committed {
    /// The unit as the source of dependencies in this version, with these outputs.
    #[must_use]
    pub fn source(&self, outputs: Outputs) -> Source {
        Source {
            version: Some(self.version),
            epoch: self.version.epoch,
            by: Some(self.by.clone()),
            at: Some(self.committed_at),
            outputs,
        }
    }

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

/// A version that was current once. Nothing about it changes any more, so it is shared by all heads that name it, and
/// its JSON is made once: a commit puts one such entry before thirty others, and need not spell those again.
#[derive(Clone, Debug)]
pub struct Past(Arc<Entry>);

#[derive(Debug)]
struct Entry {
    committed: Committed,
    json: OnceLock<Box<RawValue>>,
}

impl Past {
    /// `committed`, [shortened](Committed::shortened).
    #[must_use]
    pub fn new(committed: &Committed) -> Self {
        Self::from(committed.shortened())
    }
}

impl From<Committed> for Past {
    fn from(committed: Committed) -> Self {
        let json = OnceLock::new();
        Self(Arc::new(Entry { committed, json }))
    }
}

impl Deref for Past {
    type Target = Committed;

    fn deref(&self) -> &Committed {
        &self.0.committed
    }
}

impl PartialEq for Past {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || **self == **other
    }
}

impl Serialize for Past {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json = match self.0.json.get() {
            Some(json) => json,
            None => {
                let json = serde_json::value::to_raw_value(&**self).map_err(ser::Error::custom)?;
                self.0.json.get_or_init(|| json)
            }
        };
        json.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Past {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Committed::deserialize(deserializer).map(Self::from)
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
            ended: Vec::new(),
            current: None,
            recent: Vec::new(),
            kept: Vec::new(),
            copy: None,
            labels: BTreeMap::new(),
            description: String::new(),
            deletion_protection: false,
            created: None,
            living_since: 0,
            creation: None,
            outputs: OutputDigests::new(),
            outputs_of: None,
            encrypted: false,
            deleted: None,
            rest: serde_json::Map::new(),
        }
    }

    /// Whether there is such a unit: created or written, and not deleted. One that was only locked is none.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.deleted.is_none() && (self.created.is_some() || self.current.is_some())
    }

    /// Begins another life, with the next epoch: by the request that drew `creation`, or by a write.
    pub(crate) fn begin_to_live(&mut self, now: Timestamp, creation: Option<String>) {
        self.deleted = None;
        self.created = Some(now);
        self.living_since = self.epoch + 1;
        self.creation = creation;
    }

    /// The version that is current, by name.
    #[must_use]
    pub fn current_version(&self) -> Option<VersionId> {
        self.current.as_ref().map(|current| current.version)
    }

    /// The committed versions that the head knows in full, newest first.
    pub fn known(&self) -> impl Iterator<Item = &Committed> {
        self.current.iter().chain(self.recent.iter().map(Deref::deref))
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

    /// What a session holds, as far as this head tells: its lock, or one under which the request was made and that is
    /// over. A request that is older than the lock of its session belongs to the one before.
    #[must_use]
    pub fn lock_of(&self, principal: &Principal, request: &Signed) -> Option<&LockId> {
        let ended = self.ended_of(principal, &request.session);
        match &self.lock {
            Some(lock) if lock.is_of(principal, &request.session) => match lock.is_younger_than(request) {
                false => Some(&lock.info.id),
                true => ended.map(|ended| &ended.lock),
            },
            _ => ended
                .filter(|ended| ended.is_late(request))
                .map(|ended| &ended.lock),
        }
    }

    /// How the last lock of a session came to its end.
    #[must_use]
    pub fn ended_of(&self, principal: &Principal, session: &CredentialSession) -> Option<&Ended> {
        self.ended
            .iter()
            .find(|ended| ended.credential == *session && ended.principal == *principal)
    }

    /// Ends the lock; `by` is the request of an S3 client that asked for it.
    pub(crate) fn release(&mut self, by: Option<(&Principal, &Signed)>) -> Option<Lock> {
        let lock = self.lock.take()?;
        self.released.insert(0, lock.info.id.clone());
        self.released.truncate(RELEASED_LOCKS_MAX);
        if let Some(credential) = lock.credential.clone().filter(CredentialSession::is_somebody) {
            self.forget_ended(&lock.principal, &credential);
            let by_itself = by.filter(|(principal, request)| lock.is_of(principal, &request.session));
            let ended = Ended {
                principal: lock.principal.clone(),
                credential,
                lock: lock.info.id.clone(),
                signed: lock.signed,
                given_back: by_itself.map(|(_, request)| GivenBack {
                    signed: request.at,
                    invocation: request.invocation.clone(),
                }),
            };
            self.ended.insert(0, ended);
            let (mut broken, mut done) = (0, 0);
            self.ended.retain(|ended| {
                let (count, most) = match ended.given_back {
                    None => (&mut broken, BROKEN_SESSIONS_MAX),
                    Some(_) => (&mut done, DONE_SESSIONS_MAX),
                };
                *count += 1;
                *count <= most
            });
        }
        Some(lock)
    }

    fn forget_ended(&mut self, principal: &Principal, session: &CredentialSession) {
        self.ended
            .retain(|ended| ended.credential != *session || ended.principal != *principal);
    }

    /// Makes `next` current and moves what was into the history.
    pub(crate) fn advance(&mut self, next: Option<Committed>) {
        if let Some(before) = self.current.take() {
            self.recent.insert(0, Past::new(&before));
        }
        self.current = next;
        self.outputs.clear();
        self.outputs_of = None;
        self.encrypted = false;
    }

    /// Says what the outputs of the current version are, unless there are too many for a head.
    pub(crate) fn tell_outputs(&mut self, of: &StateSummary) {
        let bytes: usize = of.outputs.keys().map(String::len).sum();
        if of.outputs.len() > HEAD_OUTPUTS_MAX || bytes > HEAD_OUTPUT_NAMES_BYTES_MAX {
            return;
        }
        self.outputs.clone_from(&of.outputs);
        self.encrypted = of.encrypted;
        self.outputs_of = self.current.as_ref().map(|current| current.version.epoch);
    }

    /// The outputs of the current version, if they stand here.
    #[must_use]
    pub fn current_outputs(&self) -> Option<&OutputDigests> {
        let current = self.current.as_ref()?;
        (self.outputs_of == Some(current.version.epoch) && !self.encrypted).then_some(&self.outputs)
    }

    /// The unit as the source of dependencies. None: its outputs do not stand here, and must be read from its state.
    #[must_use]
    pub fn source(&self) -> Option<Source> {
        let Some(current) = self.current.as_ref().filter(|_| self.exists()) else {
            let last = self.deleted.as_ref().and_then(|deleted| deleted.version);
            return Some(Source::nothing(self.epoch, last));
        };
        if self.outputs_of != Some(current.version.epoch) {
            return None;
        }
        Some(current.source(match self.encrypted {
            true => Outputs::Unknown(Unknown::Encrypted),
            false => Outputs::Known(self.outputs.clone()),
        }))
    }
}

/// How [`Head::kept`] names a version.
#[must_use]
pub fn kept_name(version: &VersionId) -> String {
    format!("{:x}-{:08x}", version.epoch, version.nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(epoch: u64) -> Committed {
        let sha256 = Sha256::of(&epoch.to_be_bytes());
        Committed {
            version: VersionId {
                epoch,
                serial: epoch,
                session: Session::NONE,
                sha256,
                nonce: 7,
            },
            sha256,
            md5: Some("kAFQmDzST7DWlj99KOF/cg==".to_owned()),
            size: 3,
            serial: Some(epoch),
            lineage: Some("a \"quoted\" lineage".to_owned()),
            terraform_version: Some("1.9.0".to_owned()),
            committed_at: Timestamp::UNIX_EPOCH,
            asked_at: None,
            by: Principal::new("alice"),
            lock_id: None,
            sent_sha256: sha256,
            sent_serial: None,
            key: None,
            door: None,
            origin: Origin::Promote("an-id".to_owned()),
        }
    }

    #[test]
    fn a_history_is_spelled_as_its_versions_are_whoever_spells_it_and_however_often() {
        let mut head = Head::blank();
        for epoch in 1..5 {
            head.advance(Some(committed(epoch)));
            let spelled = serde_json::to_string(&head).unwrap();
            let read: Head = serde_json::from_str(&spelled).unwrap();
            assert_eq!(read, head);
            assert_eq!(serde_json::to_string(&read).unwrap(), spelled);
        }
        let spelled: Vec<_> = [3, 2, 1].map(|epoch| committed(epoch).shortened()).into();
        assert_eq!(
            serde_json::to_string(&head.recent).unwrap(),
            serde_json::to_string(&spelled).unwrap()
        );
    }

    #[test]
    fn a_version_of_the_history_is_spelled_once_for_all_heads_that_name_it() {
        let mut head = Head::blank();
        head.advance(Some(committed(1)));
        head.advance(Some(committed(2)));
        let before = head.recent[0].clone();
        assert!(before.0.json.get().is_none());
        serde_json::to_string(&head).unwrap();
        let json: *const RawValue = &**before.0.json.get().unwrap();
        let mut next = head.clone();
        next.advance(Some(committed(3)));
        serde_json::to_string(&next).unwrap();
        assert!(std::ptr::eq(json, &**next.recent[1].0.json.get().unwrap()));
    }
}
