//! Small documents of ours beside the units: who may do what, which tokens are over. Each is one object that is changed
//! by compare-and-swap, or put once under a name that nobody else uses.
//!
//! ```text
//! __opentaco_access/policy.json         { "format": 1, "nonce": "…", "record": … }
//! ```
//!
//! A record carries a nonce, so no two of them have the same bytes, and a swap whose answer was lost is told from
//! somebody else's by reading back. What a record says is not looked at here.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::StorageError;
use crate::bucket::{Bucket, If, Kind, Listing, Put, Tag};

const FORMAT: u32 = 1;
/// How often a swap is tried before the doubt is passed on.
const TRIES: usize = 4;
/// How long a part of a name may be, in bytes.
const PART_BYTES_MAX: usize = 128;

/// What a record is about: where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shelf {
    /// Who may do what.
    Access,
    /// Tokens and those who hold them.
    Tokens,
    /// What was decided, and for whom.
    Audit,
}

impl Shelf {
    fn directory(self) -> &'static str {
        match self {
            Self::Access => "__opentaco_access",
            Self::Tokens => "__opentaco_tokens",
            Self::Audit => "__opentaco_audit",
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
    pub tag: Tag,
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    format: u32,
    nonce: String,
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
        let envelope: Envelope<T> = serde_json::from_slice(&bytes).map_err(|error| corrupt(&key, &error))?;
        if envelope.format > FORMAT {
            let newer = format!("it has format {}, which a newer version wrote", envelope.format);
            return Err(corrupt(&key, &newer));
        }
        Ok(Some(Record {
            value: envelope.record,
            tag: meta.tag,
        }))
    }

    /// Changes a record if it still is the one that was read, or makes it if there was none. `None`: it is another one by
    /// now, read it again. Ours may have been there in between, so what is made of the new one must bear that.
    ///
    /// # Errors
    /// If the bucket gives no answer that can be relied on; it may have been changed, or may yet be.
    pub async fn swap<T: Serialize>(
        &self,
        name: &RecordName,
        from: Option<&Tag>,
        value: &T,
    ) -> Result<Option<Tag>, StorageError> {
        let key = self.key(name);
        let bytes = self.spelled(&key, value)?;
        let mut tries = 1;
        loop {
            let condition = from.map_or(If::Absent, |tag| If::Still(tag.clone()));
            let doubt = match self
                .bucket
                .put_if(Kind::Record, &key, bytes.clone(), condition)
                .await
            {
                Ok(Put::Done(tag)) => return Ok(Some(tag)),
                Ok(Put::Refused) => None,
                Err(error) if error.in_doubt() => Some(error),
                Err(denied) => return Err(denied),
            };
            // A refusal may be our own attempt colliding with itself, a silence may be a success: look.
            let now = self.bucket.fetch(Kind::Record, &key).await?;
            let unchanged = match (&now, from) {
                (Some((meta, there)), _) if **there == bytes => return Ok(Some(meta.tag.clone())),
                (Some((meta, _)), Some(from)) => meta.tag.same(from),
                (None, None) => true,
                _ => false,
            };
            if !unchanged {
                return Ok(None);
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

    fn spelled<T: Serialize>(&self, key: &str, record: &T) -> Result<Bytes, StorageError> {
        let draw = || self.bucket.surroundings().entropy.draw();
        let envelope = Envelope {
            format: FORMAT,
            nonce: format!("{:016x}{:016x}", draw(), draw()),
            record,
        };
        let bytes = serde_json::to_vec(&envelope).map_err(|error| corrupt(key, &error))?;
        Ok(bytes.into())
    }
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
