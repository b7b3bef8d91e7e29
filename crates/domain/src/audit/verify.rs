//! Whether somebody has changed the audit.
//!
//! An [`Auditor`] is given every segment of each chain in the order of their places, and tells what is wrong: bytes that were changed,
//! segments that are missing, that stand in another's place, or that nobody of ours signed. One thing cannot be told: that
//! the last segments of a chain were removed after its replica was killed and before anybody else saw them. A chain that
//! did not end of its own is therefore told as open; each chain that begins says of the others how far it saw them.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::segment::{Beside, Read, Replica, SegmentId, Signature, Unreadable};
use crate::Sha256;

/// The public keys that segments may be signed with, by name.
#[derive(Debug, Clone, Default)]
pub struct Keys(BTreeMap<String, Vec<u8>>);

/// The document holds no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("that is no JSON Web Key Set, as /oidc/jwks.json is one: {0}")]
pub struct NoKeys(String);

impl Keys {
    /// Reads the Ed25519 keys of a JSON Web Key Set (RFC 7517, RFC 8037), as `/oidc/jwks.json` has them; keys of other
    /// kinds are passed over.
    ///
    /// # Errors
    /// If it is none.
    pub fn from_jwks(document: &[u8]) -> Result<Self, NoKeys> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Key>,
        }
        #[derive(Deserialize)]
        struct Key {
            kid: Option<String>,
            crv: Option<String>,
            x: Option<String>,
        }
        let set: Set = serde_json::from_slice(document).map_err(|error| NoKeys(error.to_string()))?;
        let keys = set.keys.into_iter().filter_map(|key| {
            let x = URL_SAFE_NO_PAD.decode(key.x?).ok()?;
            (key.crv.as_deref() == Some("Ed25519") && x.len() == 32).then_some((key.kid?, x))
        });
        Ok(Self(keys.collect()))
    }

    /// With the keys of another set.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn judge(&self, seal: &Signature, signed: &[u8]) -> Result<(), Flaw> {
        let key = self
            .0
            .get(&seal.kid)
            .ok_or_else(|| Flaw::UnknownKey(seal.kid.clone()))?;
        let signature = URL_SAFE_NO_PAD
            .decode(&seal.signature)
            .map_err(|_| Flaw::BadSeal)?;
        UnparsedPublicKey::new(&ED25519, key)
            .verify(signed, &signature)
            .map_err(|_| Flaw::BadSeal)
    }
}

/// What is wrong with a segment, or with a place where one should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// It is no segment, or another one.
    Unreadable(Unreadable),
    /// It was changed since it was signed.
    BadSeal,
    /// Nobody signed it.
    Unsealed,
    /// It is signed with a key that is not known.
    UnknownKey(String),
    /// The one before it in the chain is not the one that it was made after.
    Broken,
    /// Segments before it are missing.
    Missing {
        /// From which place.
        from: u64,
        /// Up to which.
        to: u64,
    },
    /// A chain has ended, and it follows.
    AfterTheEnd,
    /// The replica had to let events go that the bucket did not take.
    Lost(u64),
    /// Another chain saw this one reach further.
    Truncated {
        /// The last place that was seen.
        seen: u64,
    },
}

impl fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(reason) => write!(formatter, "cannot be read: {reason}"),
            Self::BadSeal => formatter.write_str("was changed since it was signed"),
            Self::Unsealed => formatter.write_str("is not signed"),
            Self::UnknownKey(kid) => write!(formatter, "is signed with the key `{kid}`, which is not known"),
            Self::Broken => formatter.write_str("was made after another segment than the one before it"),
            Self::Missing { from, to } if from == to => {
                write!(formatter, "segment {from} before it is missing")
            }
            Self::Missing { from, to } => write!(formatter, "segments {from} to {to} before it are missing"),
            Self::AfterTheEnd => formatter.write_str("follows on the last segment of its chain"),
            Self::Lost(events) => write!(
                formatter,
                "{events} events before it were let go, because the bucket did not take them"
            ),
            Self::Truncated { seen } => write!(
                formatter,
                "is the last one of its chain, and segment {seen} was there once"
            ),
        }
    }
}

/// Something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where: the segment, or the chain whose segments are gone.
    pub place: Place,
    /// What.
    pub flaw: Flaw,
}

/// Where something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a segment.
    Segment(SegmentId),
    /// In a chain of which no segment is there.
    Chain(Replica),
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Segment(id) => write!(formatter, "{id}: {}", self.flaw),
            Place::Chain(replica) => write!(
                formatter,
                "chain {replica}: nothing is left of it, and {}",
                match self.flaw {
                    Flaw::Truncated { seen } => format!("segment {seen} was there once"),
                    ref other => other.to_string(),
                }
            ),
        }
    }
}

/// A chain as far as it was read.
#[derive(Debug, Clone)]
struct Chain {
    last: SegmentId,
    /// Unknown after a segment that cannot be read, or is not the right one.
    digest: Option<Sha256>,
    ended: bool,
}

/// Reads segments, and finds what is wrong with them.
#[derive(Debug)]
pub struct Auditor {
    keys: Keys,
    /// What is older is not read: a chain that has such segments goes on from them.
    since: Option<Timestamp>,
    chains: BTreeMap<Replica, Chain>,
    beside: Vec<Beside>,
    report: Report,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Segments that were read.
    pub segments: u64,
    /// Events in them.
    pub events: u64,
    /// Segments that nobody signed.
    pub unsealed: u64,
    /// Chains that were read.
    pub chains: u64,
    /// Chains that did not end of their own: the replica is running, was killed, or the end was removed.
    pub open: Vec<Replica>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl Auditor {
    /// Judges by these keys. Whoever reads from a moment in the middle says so, and names the older segments by
    /// [`Auditor::pass_over`].
    #[must_use]
    pub fn new(keys: Keys, since: Option<Timestamp>) -> Self {
        Self {
            keys,
            since,
            chains: BTreeMap::new(),
            beside: Vec::new(),
            report: Report::default(),
        }
    }

    /// That there is this segment, from before the moment from which on is read.
    pub fn pass_over(&mut self, id: SegmentId) {
        let chain = Chain {
            last: id,
            digest: None,
            ended: false,
        };
        self.chains.insert(id.replica, chain);
    }

    /// Reads one more segment; those of a chain come in the order of their places.
    pub fn read(&mut self, id: SegmentId, bytes: &[u8]) {
        self.report.segments += 1;
        let before = self.chains.get(&id.replica).cloned();
        let expected = before
            .as_ref()
            .map_or(0, |chain| chain.last.sequence.saturating_add(1));
        // Older ones may have been removed when their time was over; those since then may not.
        let anywhere = before.is_none() && self.since.is_some_and(|since| id.at < since);
        if id.sequence > expected && !anywhere {
            let to = id.sequence - 1;
            self.find(id, Flaw::Missing { from: expected, to });
        }
        let follows = id.sequence == expected;
        let read = match Read::parse(&id, bytes) {
            Ok(read) => read,
            Err(reason) => {
                self.find(id, Flaw::Unreadable(reason));
                let chain = Chain {
                    last: id,
                    digest: None,
                    ended: false,
                };
                self.chains.insert(id.replica, chain);
                return;
            }
        };
        self.report.events += read.events.len() as u64;
        match &read.seal {
            Some(seal) => {
                if let Err(flaw) = self.keys.judge(seal, &read.signed) {
                    self.find(id, flaw);
                }
            }
            None => {
                self.report.unsealed += 1;
                if !self.keys.is_empty() {
                    self.find(id, Flaw::Unsealed);
                }
            }
        }
        // Behind a gap, nobody knows what was there.
        let digest = before.as_ref().and_then(|chain| chain.digest).filter(|_| follows);
        let is_broken = match (&before, digest) {
            (None, _) if follows => read.header.previous.is_some(),
            (_, Some(digest)) => read.header.previous != Some(digest),
            (_, None) => id.sequence < expected,
        };
        if is_broken {
            self.find(id, Flaw::Broken);
        }
        if before.is_some_and(|chain| chain.ended) {
            self.find(id, Flaw::AfterTheEnd);
        }
        if read.header.lost > 0 {
            self.find(id, Flaw::Lost(read.header.lost));
        }
        self.beside.extend(&read.header.beside);
        let chain = Chain {
            last: id,
            digest: Some(Sha256::of(bytes)),
            ended: read.header.last,
        };
        self.chains.insert(id.replica, chain);
    }

    /// That a segment has a name and cannot be had.
    pub fn gone(&mut self, id: SegmentId) {
        self.read(id, b"");
    }

    /// What was found.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let mut seen: BTreeMap<Replica, u64> = BTreeMap::new();
        for beside in &self.beside {
            let furthest = seen.entry(beside.replica).or_default();
            *furthest = (*furthest).max(beside.sequence);
        }
        for (replica, seen) in seen {
            let place = match self.chains.get(&replica) {
                Some(chain) if chain.last.sequence < seen => Place::Segment(chain.last),
                None => Place::Chain(replica),
                Some(_) => continue,
            };
            let flaw = Flaw::Truncated { seen };
            self.report.findings.push(Finding { place, flaw });
        }
        let open = self.chains.iter().filter(|(_, chain)| !chain.ended);
        self.report.open = open.map(|(replica, _)| *replica).collect();
        self.report.chains = self.chains.len() as u64;
        self.report
    }

    fn find(&mut self, id: SegmentId, flaw: Flaw) {
        let place = Place::Segment(id);
        self.report.findings.push(Finding { place, flaw });
    }
}

impl Serialize for Finding {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests;
