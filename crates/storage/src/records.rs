//! Small documents of ours beside the units: who may do what, which tokens are over. Each is one object that is changed
//! by compare-and-swap, or put once under a name that nobody else uses.
//!
//! ```text
//! __opentaco_access/policy.json         { "format": 1, "nonce": "…", "trail": ["…", …], "record": … }
//! ```
//!
//! Every change draws a nonce, so no two records have the same bytes, and a swap whose answer was lost is told from
//! somebody else's by reading back. The nonces of the changes before stay in the record for a while (its trail): a swap
//! that landed, and was followed by another before anybody could look, is found there. Without it the change would be
//! made a second time, and give back a right that somebody took away in between.
//!
//! What a record says is not looked at here.

use bytes::Bytes;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::StorageError;
use crate::bucket::{Bucket, If, Kind, Listing, Put, Tag};
use crate::planted::{Bug, planted};

const FORMAT: u32 = 1;
/// How often a swap is tried before the doubt is passed on.
const TRIES: usize = 4;
/// How many changes before the last one a record names. More than replicas make while one of them asks four times.
const TRAIL: usize = 64;
/// How long a part of a name may be, in bytes.
const PART_BYTES_MAX: usize = 128;

/// What a record is about: where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shelf {
    /// Who may do what.
    Access,
    /// Tokens and those who hold them.
    Tokens,
}

impl Shelf {
    fn directory(self) -> &'static str {
        match self {
            Self::Access => "__opentaco_access",
            Self::Tokens => "__opentaco_tokens",
        }
    }
}

/// The name of a record: nothing in it leads anywhere else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordName {
    shelf: Shelf,
    parts: String,
}

/// The text can be no part of a record's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a part of a record's name is 1 to {PART_BYTES_MAX} letters, digits, `-`, `_` and `.`, a letter or digit first"
)]
pub struct RecordNameError;

impl RecordName {
    /// The record of this name on a shelf; parts become folders.
    ///
    /// # Errors
    /// If a part is empty, too long, or has anything in it that a path could be made of.
    pub fn new(shelf: Shelf, parts: &[&str]) -> Result<Self, RecordNameError> {
        let fits = |part: &&str| {
            let begins = part
                .bytes()
                .next()
                .is_some_and(|byte| byte.is_ascii_alphanumeric());
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            begins && part.len() <= PART_BYTES_MAX && part.bytes().all(plain)
        };
        if parts.is_empty() || !parts.iter().all(fits) {
            return Err(RecordNameError);
        }
        Ok(Self {
            shelf,
            parts: parts.join("/"),
        })
    }
}

/// A record as it was found.
#[derive(Debug, Clone)]
pub struct Record<T> {
    /// What it says.
    pub value: T,
    /// What to compare.
    pub seen: Seen,
}

/// Which record it was that somebody saw, or put: what a change is made on top of.
#[derive(Debug, Clone)]
pub struct Seen {
    tag: Tag,
    /// The nonces of the last changes, newest first.
    trail: Vec<String>,
}

/// What became of a change.
#[derive(Debug, Clone)]
#[must_use]
pub enum Swapped {
    /// It is made, and this is the record now.
    Done(Seen),
    /// It was made, and somebody has changed the record since.
    Overtaken,
    /// Nothing is changed: it is another record than the one that was seen.
    Moved,
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    format: u32,
    nonce: String,
    #[serde(default)]
    trail: Vec<String>,
    record: T,
}

/// The records of one bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Records {
    bucket: Bucket,
}

impl Records {
    /// Those of this bucket.
    #[must_use]
    pub fn new(bucket: Bucket) -> Self {
        Self { bucket }
    }

    /// Reads a record; `None` if there is none.
    ///
    /// # Errors
    /// If the bucket gives no answer, or what lies there is no such record.
    pub async fn load<T: DeserializeOwned>(
        &self,
        name: &RecordName,
    ) -> Result<Option<Record<T>>, StorageError> {
        let key = self.key(name);
        let Some((meta, bytes)) = self.bucket.fetch(Kind::Record, &key).await? else {
            return Ok(None);
        };
        let envelope: Envelope<T> = read(&key, &bytes)?;
        Ok(Some(Record {
            value: envelope.record,
            seen: Seen {
                tag: meta.tag,
                trail: lengthened(envelope.nonce, &envelope.trail),
            },
        }))
    }

    /// Changes a record if it still is the one that was seen, or makes it if none was. Where it was taken away by hand and
    /// put back from an earlier copy, a change that was made in between is told as [`Swapped::Moved`].
    ///
    /// # Errors
    /// If the bucket gives no answer that can be relied on; it may have been changed, or may yet be.
    pub async fn swap<T: Serialize>(
        &self,
        name: &RecordName,
        from: Option<&Seen>,
        value: &T,
    ) -> Result<Swapped, StorageError> {
        let key = self.key(name);
        let before = from.map_or([].as_slice(), |seen| &seen.trail);
        let nonce = self.draw();
        let envelope = Envelope {
            format: FORMAT,
            nonce: nonce.clone(),
            trail: before.to_vec(),
            record: value,
        };
        let bytes: Bytes = serde_json::to_vec(&envelope)
            .map_err(|error| corrupt(&key, &error))?
            .into();
        let done = |tag| {
            let trail = lengthened(nonce.clone(), before);
            Swapped::Done(Seen { tag, trail })
        };
        let mut tries = 1;
        loop {
            let condition = from.map_or(If::Absent, |seen| If::Still(seen.tag.clone()));
            let doubt = match self
                .bucket
                .put_if(Kind::Record, &key, bytes.clone(), condition)
                .await
            {
                Ok(Put::Done(tag)) => return Ok(done(tag)),
                Ok(Put::Refused) => None,
                Err(error) if error.in_doubt() => Some(error),
                Err(denied) => return Err(denied),
            };
            // A refusal may be our own attempt colliding with itself, a silence may be a success: look.
            let now = self.bucket.fetch(Kind::Record, &key).await?;
            let unchanged = match (&now, from) {
                (Some((meta, there)), _) if **there == bytes => return Ok(done(meta.tag.clone())),
                (Some((meta, _)), Some(from)) => meta.tag.same(&from.tag),
                (None, None) => true,
                _ => false,
            };
            if !unchanged {
                let there: Option<Envelope<IgnoredAny>> =
                    now.map(|(_, bytes)| read(&key, &bytes)).transpose()?;
                let landed = there.is_some_and(|there| there.trail.contains(&nonce));
                return Ok(match landed && !planted(Bug::TrailForgotten) {
                    true => Swapped::Overtaken,
                    false => Swapped::Moved,
                });
            }
            if tries == TRIES {
                return Err(doubt.unwrap_or(StorageError::Busy { key, tries }));
            }
            self.bucket.pause(tries).await;
            tries += 1;
        }
    }

    /// The last parts of the names of all records below some parts, in byte order.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub async fn list(&self, below: &RecordName) -> Result<Vec<String>, StorageError> {
        let prefix = format!("{}/", self.key(below));
        let (mut names, mut page) = (Vec::new(), None);
        loop {
            let listing = Listing {
                prefix: &prefix,
                page,
                ..Listing::default()
            };
            let answer = self.bucket.list(Kind::Record, listing).await?;
            let found = answer
                .objects
                .iter()
                .filter_map(|(key, _)| key.strip_prefix(&prefix));
            names.extend(found.filter(|name| !name.contains('/')).map(str::to_owned));
            page = answer.next;
            if page.is_none() {
                return Ok(names);
            }
        }
    }

    /// Removes a record that is of no use any more.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub async fn remove(&self, name: &RecordName) -> Result<(), StorageError> {
        self.bucket.delete(Kind::Record, &self.key(name)).await
    }

    fn key(&self, name: &RecordName) -> String {
        let prefix = self.bucket.layout().prefix();
        format!("{prefix}{}/{}", name.shelf.directory(), name.parts)
    }

    /// 128 random bits.
    fn draw(&self) -> String {
        let draw = || self.bucket.surroundings().entropy.draw();
        format!("{:016x}{:016x}", draw(), draw())
    }
}

/// The trail of what follows a record with this nonce and this trail.
fn lengthened(nonce: String, trail: &[String]) -> Vec<String> {
    let older = trail.iter().take(TRAIL - 1).cloned();
    std::iter::once(nonce).chain(older).collect()
}

fn read<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<Envelope<T>, StorageError> {
    let envelope: Envelope<T> = serde_json::from_slice(bytes).map_err(|error| corrupt(key, &error))?;
    if envelope.format > FORMAT {
        let newer = format!("it has format {}, which a newer version wrote", envelope.format);
        return Err(corrupt(key, &newer));
    }
    Ok(envelope)
}

fn corrupt(key: &str, reason: &impl ToString) -> StorageError {
    StorageError::Corrupt {
        key: key.to_owned(),
        reason: format!(
            "it is no record of ours ({}); put back an earlier copy of it",
            reason.to_string()
        ),
    }
}
