//! What this door reads of strangers, without a connection, a caller or a bucket: for the fuzzers in `fuzz/`.
//!
//! Nothing of the service calls it, and nothing here decides anything: each function is the reader that a request meets,
//! and what it read. Bodies in pieces are read by [`Announced`](super::payload::Announced), which is public anyway.

use std::ops::Range;

use http::{HeaderMap, Method};

use super::error::Refused;
use super::{Operation, Query, objects, parts, target};

/// A request, as far as the address tells: its operation, its bucket and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressed {
    /// Which operation.
    pub operation: &'static str,
    /// Of which bucket.
    pub bucket: String,
    /// On which object, if on one.
    pub key: Option<String>,
}

/// Reads method and address.
///
/// # Errors
/// As the door answers.
pub fn addressed(
    method: &Method,
    path: &str,
    query: &str,
    headers: &HeaderMap,
) -> Result<Addressed, Refused> {
    let (bucket, key) = target(path)?;
    let operation = Operation::of(method, key.is_some(), &Query::read(query), headers)?;
    Ok(Addressed {
        operation: operation.name(),
        bucket,
        key,
    })
}

/// Reads the body of CompleteMultipartUpload: number and ETag of each part.
///
/// # Errors
/// As the door answers.
pub fn completed(document: &[u8]) -> Result<Vec<(u16, String)>, Refused> {
    parts::read(document)
}

/// What the body of DeleteObjects says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletions {
    /// Key and version of each object.
    pub objects: Vec<(String, Option<String>)>,
    /// Whether the answer is to be short.
    pub is_quiet: bool,
}

/// Reads the body of DeleteObjects.
///
/// # Errors
/// As the door answers.
pub fn deleted(document: &[u8]) -> Result<Deletions, Refused> {
    objects::read(document)
}

/// The bytes that a read asks for, of so many; none if it asks for all.
#[must_use]
pub fn range(headers: &HeaderMap, size: u64) -> Option<Range<u64>> {
    objects::wanted(headers).map(|wanted| objects::part_of(&wanted, size))
}

/// Whether a write has a condition.
///
/// # Errors
/// As the door answers.
pub fn is_conditional(headers: &HeaderMap) -> Result<bool, Refused> {
    objects::condition(headers).map(|condition| condition.is_some())
}
