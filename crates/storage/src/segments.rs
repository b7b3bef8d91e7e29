//! The files of the audit: each is put once, and neither changed nor removed by us.
//!
//! ```text
//! __opentaco_audit/2026-11-23/2026-11-23T14.15.30.123-9f86d081884c7d65-0000000007.jsonl
//! ```
//!
//! Nobody else draws the same replica, so a segment that is in our place was put there by us, or by somebody who should
//! not. What stands in it is not looked at here.

use bytes::Bytes;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use opentaco_domain::audit::SegmentId;

use crate::StorageError;
use crate::bucket::{Bucket, If, Kind, Listing, Put};

/// More than a segment of ours ever has.
const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The segments in one bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Segments {
    bucket: Bucket,
}

/// What became of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Stored {
    /// It is there.
    Done,
    /// Something else is in its place.
    Taken,
}

impl Segments {
    /// Those of this bucket.
    #[must_use]
    pub fn new(bucket: Bucket) -> Self {
        Self { bucket }
    }

    /// Puts a segment where none is. Whether it came through is asked, where that is not answered.
    ///
    /// # Errors
    /// If the bucket gives no answer that can be relied on.
    pub async fn put(&self, id: &SegmentId, bytes: &Bytes) -> Result<Stored, StorageError> {
        let key = self.bucket.layout().segment(id);
        let doubt = match self
            .bucket
            .put_if(Kind::Audit, &key, bytes.clone(), If::Absent)
            .await
        {
            Ok(Put::Done(_)) => return Ok(Stored::Done),
            Ok(Put::Refused) => StorageError::Busy {
                key: key.clone(),
                tries: 1,
            },
            Err(error) if error.in_doubt() => error,
            Err(denied) => return Err(denied),
        };
        // It may be our own, of this attempt or of one before it, whose answer was lost.
        match self.bucket.fetch(Kind::Audit, &key).await? {
            Some((_, there)) if *there == *bytes => Ok(Stored::Done),
            Some(_) => Ok(Stored::Taken),
            None => Err(doubt),
        }
    }

    /// A segment's bytes; `None` if there is none. What is larger than any of ours is somebody else's, and read as empty.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub async fn get(&self, id: &SegmentId) -> Result<Option<Bytes>, StorageError> {
        let key = self.bucket.layout().segment(id);
        let Some(got) = self.bucket.get(Kind::Audit, &key).await? else {
            return Ok(None);
        };
        match got.meta.size > SEGMENT_BYTES_MAX {
            true => Ok(Some(Bytes::new())),
            false => got.bytes().await.map(Some),
        }
    }

    /// The segments that begin in `from..to`, in the order of their names: one request for each thousand.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub async fn between(&self, from: Timestamp, to: Timestamp) -> Result<Vec<SegmentId>, StorageError> {
        let mut found = Vec::new();
        let mut page = None;
        loop {
            let (ids, next) = self.page(from, to, page).await?;
            found.extend(ids);
            page = next;
            if page.is_none() {
                return Ok(found);
            }
        }
    }

    /// Up to a thousand of the segments that begin in `from..to`, in the order of their names, and how to go on.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub async fn page(
        &self,
        from: Timestamp,
        to: Timestamp,
        page: Option<String>,
    ) -> Result<(Vec<SegmentId>, Option<String>), StorageError> {
        let layout = self.bucket.layout();
        let (prefix, end) = (layout.audit(), layout.segments_from(to));
        let listing = Listing {
            prefix: &prefix,
            after: Some(layout.segments_from(from)),
            page,
            fold: None,
        };
        let answer = self.bucket.list(Kind::Audit, listing).await?;
        let is_over = answer.objects.last().is_none_or(|(key, _)| *key >= end);
        let keys = answer.objects.iter().map(|(key, _)| key);
        let ids = keys.take_while(|key| **key < end);
        let ids = ids.filter_map(|key| layout.named_segment(key)).collect();
        Ok((ids, answer.next.filter(|_| !is_over)))
    }

    /// The beginnings of the days that have segments, oldest first.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub async fn days(&self) -> Result<Vec<Timestamp>, StorageError> {
        let prefix = self.bucket.layout().audit();
        let (mut days, mut page) = (Vec::new(), None);
        loop {
            let listing = Listing {
                prefix: &prefix,
                page,
                fold: Some("/"),
                ..Listing::default()
            };
            let answer = self.bucket.list(Kind::Audit, listing).await?;
            let folders = answer
                .folded
                .iter()
                .filter_map(|folder| folder.strip_prefix(&prefix));
            days.extend(folders.filter_map(|folder| day_of(folder.trim_end_matches('/'))));
            page = answer.next;
            if page.is_none() {
                days.sort_unstable();
                return Ok(days);
            }
        }
    }
}

/// How long a day is, in UTC.
pub const DAY: SignedDuration = SignedDuration::from_hours(24);

fn day_of(name: &str) -> Option<Timestamp> {
    let date: Date = name.parse().ok()?;
    let midnight = date.to_zoned(TimeZone::UTC).ok()?;
    Some(midnight.timestamp())
}
