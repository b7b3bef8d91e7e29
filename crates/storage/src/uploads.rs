//! States that arrive in parts: the parts rest in the bucket, so any replica takes any of them, in any order.
//!
//! ```text
//! __opentaco_uploads/<unit>/@/<upload>/begun            who began it, and when
//! __opentaco_uploads/<unit>/@/<upload>/00003-<md5>      a part: its number, and what it is
//! __opentaco_uploads/<unit>/@/<upload>/completed        what became of it, for whoever asks again
//! ```
//!
//! A part that is sent again with other bytes has another name, and completing names the parts that are meant: no part
//! ever replaces another, however late it comes. Nothing here is a state; that begins with the commit of the whole.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use opentaco_domain::{Principal, UnitId, VersionId};
use serde::{Deserialize, Serialize};

use crate::StorageError;
use crate::bucket::{Kind, Meta};
use crate::planted::{Bug, planted};
use crate::vault::Vault;

/// How long an upload may take. One that is older was abandoned, and is collected.
pub const UPLOAD_MAX: SignedDuration = SignedDuration::from_hours(24);

const BEGUN: &str = "begun";
const COMPLETED: &str = "completed";

/// Which upload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(String);

/// The text names no upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an upload id has 32 hex digits")]
pub struct NotAnUpload;

impl FromStr for UploadId {
    type Err = NotAnUpload;

    fn from_str(text: &str) -> Result<Self, NotAnUpload> {
        let digits = text.bytes().all(|byte| b"0123456789abcdef".contains(&byte));
        match text.len() == 32 && digits {
            true => Ok(Self(text.to_owned())),
            false => Err(NotAnUpload),
        }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An upload that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// To which unit.
    pub unit: UnitId,
    /// Which.
    pub id: UploadId,
    /// When, by the clock of the store.
    pub begun: Timestamp,
}

/// A part that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its place, from 1.
    pub number: u16,
    /// MD5 of its bytes, in hex.
    pub md5: String,
    /// In bytes.
    pub size: u64,
    /// When it arrived, by the clock of the store.
    pub arrived: Timestamp,
}

/// What became of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completed {
    /// The version.
    pub version: VersionId,
    /// MD5 of all its bytes, in base64.
    pub md5: String,
    /// The parts it was made of, in the words of the request: whoever asks for others is told so.
    pub parts: String,
}

#[derive(Serialize)]
struct Begun<'a> {
    by: &'a Principal,
    at: Timestamp,
}

impl Vault {
    /// Begins an upload.
    ///
    /// # Errors
    /// If the bucket does not confirm it.
    pub async fn begin_upload(&self, unit: &UnitId, by: &Principal) -> Result<UploadId, StorageError> {
        let id = UploadId(format!("{:016x}{:016x}", self.draw(), self.draw()));
        let begun = Begun { by, at: self.now() };
        let note = serde_json::to_vec(&begun).map_err(|error| StorageError::Corrupt {
            key: self.of_upload(unit, &id, BEGUN),
            reason: error.to_string(),
        })?;
        self.put_of_upload(unit, &id, BEGUN, note.into()).await?;
        Ok(id)
    }

    /// Whether there is such an upload that can be gone on with.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub async fn is_uploading(&self, unit: &UnitId, id: &UploadId) -> Result<bool, StorageError> {
        let begun = self.of_upload(unit, id, BEGUN);
        Ok(self.bucket().head(Kind::Upload, &begun).await?.is_some())
    }

    /// Keeps a part.
    ///
    /// # Errors
    /// If the bucket does not confirm it.
    pub async fn put_part(
        &self,
        unit: &UnitId,
        id: &UploadId,
        (number, md5): (u16, &str),
        bytes: Bytes,
    ) -> Result<(), StorageError> {
        self.put_of_upload(unit, id, &part_name(number, md5), bytes).await
    }

    /// The parts that have arrived, in order; of those of one number the last first.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub async fn parts(&self, unit: &UnitId, id: &UploadId) -> Result<Vec<Part>, StorageError> {
        let folder = self.of_upload(unit, id, "");
        let listed = self.list_all(Kind::Upload, &folder).await?;
        let mut parts: Vec<Part> = listed
            .iter()
            .filter_map(|(key, meta)| part(key.strip_prefix(&folder)?, meta))
            .collect();
        parts.sort_by(|a, b| a.number.cmp(&b.number).then(b.arrived.cmp(&a.arrived)));
        Ok(parts)
    }

    /// The bytes of a part, whole.
    ///
    /// # Errors
    /// If the bucket gives no answer, or the part is gone.
    pub async fn part(&self, unit: &UnitId, id: &UploadId, part: &Part) -> Result<Bytes, StorageError> {
        let mut key = self.of_upload(unit, id, &part_name(part.number, &part.md5));
        if planted(Bug::PartsOfAnother) {
            let folder = self.bucket().layout().uploads(unit);
            let listed = self.list_all(Kind::Upload, &folder).await?;
            let named = format!("/{:05}-", part.number);
            key = listed
                .into_iter()
                .map(|(key, _)| key)
                .rfind(|other| other.contains(&named))
                .unwrap_or(key);
        }
        let gone = |key: &str| StorageError::Corrupt {
            key: key.to_owned(),
            reason: "a part that was listed is not there any more: the upload was aborted meanwhile"
                .to_owned(),
        };
        let fetched = self.bucket().fetch(Kind::Upload, &key).await?;
        fetched.map(|(_, whole)| whole.bytes).ok_or_else(|| gone(&key))
    }

    /// Notes what became of an upload, and drops its parts behind the answer.
    ///
    /// # Errors
    /// If the bucket does not confirm it.
    pub async fn complete_upload(
        &self,
        unit: &UnitId,
        id: &UploadId,
        completed: &Completed,
    ) -> Result<(), StorageError> {
        let key = self.of_upload(unit, id, COMPLETED);
        let note = serde_json::to_vec(completed).map_err(|error| StorageError::Corrupt {
            key,
            reason: error.to_string(),
        })?;
        self.put_of_upload(unit, id, COMPLETED, note.into()).await?;
        let (vault, unit, id) = (self.clone(), unit.clone(), id.clone());
        self.behind(async move {
            let _collected_later = vault.drop_upload(&unit, &id, false).await;
        });
        Ok(())
    }

    /// What became of an upload, if it was completed.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub async fn completed_upload(
        &self,
        unit: &UnitId,
        id: &UploadId,
    ) -> Result<Option<Completed>, StorageError> {
        let key = self.of_upload(unit, id, COMPLETED);
        let note = self.bucket().fetch(Kind::Upload, &key).await?;
        Ok(note.and_then(|(_, note)| serde_json::from_slice(&note).ok()))
    }

    /// Drops an upload with all that has arrived of it.
    ///
    /// # Errors
    /// If the bucket does not confirm it.
    pub async fn abort_upload(&self, unit: &UnitId, id: &UploadId) -> Result<(), StorageError> {
        self.drop_upload(unit, id, true).await
    }

    async fn drop_upload(&self, unit: &UnitId, id: &UploadId, wholly: bool) -> Result<(), StorageError> {
        // Without this no further part is taken.
        let begun = self.of_upload(unit, id, BEGUN);
        self.bucket().delete(Kind::Upload, &begun).await?;
        let folder = self.of_upload(unit, id, "");
        for (key, _) in self.list_all(Kind::Upload, &folder).await? {
            if wholly || !key.ends_with(COMPLETED) {
                self.bucket().delete(Kind::Upload, &key).await?;
            }
        }
        Ok(())
    }

    /// The uploads that are under way, of all units, in the order of their keys.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub async fn uploads(&self) -> Result<Vec<Upload>, StorageError> {
        let folder = self.bucket().layout().all_uploads();
        let listed = self.list_all(Kind::Upload, &folder).await?;
        let begun = listed.into_iter().filter_map(|(key, meta)| {
            let (unit, name) = key.strip_prefix(&folder)?.rsplit_once("/@/")?;
            let (id, BEGUN) = name.split_once('/')? else {
                return None;
            };
            Some(Upload {
                unit: UnitId::parse(unit).ok()?,
                id: id.parse().ok()?,
                begun: meta.modified,
            })
        });
        Ok(begun.collect())
    }

    /// Drops what was abandoned: everything of uploads that is older than any of them may be.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub async fn collect_uploads(&self) -> Result<u64, StorageError> {
        let folder = self.bucket().layout().all_uploads();
        let oldest = self.now() - UPLOAD_MAX;
        let mut collected = 0;
        for (key, meta) in self.list_all(Kind::Upload, &folder).await? {
            if meta.modified < oldest {
                self.bucket().delete(Kind::Upload, &key).await?;
                collected += 1;
            }
        }
        Ok(collected)
    }

    fn of_upload(&self, unit: &UnitId, id: &UploadId, name: &str) -> String {
        format!("{}{id}/{name}", self.bucket().layout().uploads(unit))
    }

    async fn put_of_upload(
        &self,
        unit: &UnitId,
        id: &UploadId,
        name: &str,
        bytes: Bytes,
    ) -> Result<(), StorageError> {
        let key = self.of_upload(unit, id, name);
        self.bucket().put(Kind::Upload, &key, bytes, &[]).await
    }
}

fn part_name(number: u16, md5: &str) -> String {
    format!("{number:05}-{md5}")
}

fn part(name: &str, meta: &Meta) -> Option<Part> {
    let (number, md5) = name.split_once('-')?;
    Some(Part {
        number: number.parse().ok()?,
        md5: md5.to_owned(),
        size: meta.size,
        arrived: meta.modified,
    })
}
