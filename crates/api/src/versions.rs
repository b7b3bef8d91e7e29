//! The history of a unit, and the writes that did not become part of it.

use jiff::Timestamp;
use opentaco_domain::{LockId, Principal, Sha256, UnitId, VersionId};
use serde::{Deserialize, Serialize};

/// How a version came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// Written through a door.
    Write,
    /// Found in a bucket older than the service.
    Adopted,
    /// Somebody wrote the state in the bucket directly.
    External,
    /// The content of an earlier version, again.
    Restore,
    /// A refused write that somebody accepted after all.
    Promote,
    /// The last content of a unit that was deleted.
    Undelete,
    /// The graph after a unit at one of its edges has changed, written by the service.
    Graph,
    /// In a way that this client does not know.
    #[serde(other)]
    Other,
}

impl Origin {
    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Adopted => "adopted",
            Self::External => "external",
            Self::Restore => "restore",
            Self::Promote => "promote",
            Self::Undelete => "undelete",
            Self::Graph => "graph",
            Self::Other => "other",
        }
    }
}

/// A version of a unit's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Version {
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub version: VersionId,
    /// Whether it is the current one.
    pub current: bool,
    /// When it was committed.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created: Timestamp,
    /// Who wrote it.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub by: Principal,
    /// How it came to be.
    pub origin: Origin,
    /// What it came from: the version that was restored, the refused write that was promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub origin_of: Option<String>,
    /// In bytes.
    pub size: u64,
    /// SHA-256 of its bytes, in hex.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub sha256: Sha256,
    /// As the state says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = u64, nullable = false))]
    pub serial: Option<u64>,
    /// As the state says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub lineage: Option<String>,
    /// The lock it was written under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub lock_id: Option<LockId>,
    /// The door it came through: `terraform`, `management` or `s3`; none for what was found in the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub door: Option<String>,
}

/// The history of a unit, newest first: one page of it, or all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Versions {
    /// The versions.
    pub versions: Vec<Version>,
    /// How many versions are in this answer.
    pub count: usize,
    /// How to ask for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub next_page_token: Option<String>,
}

/// What a write, a restore or a promotion became.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Receipt {
    /// Which unit.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "myapp/prod"))]
    pub id: UnitId,
    /// The version it became.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub version: VersionId,
    /// The serial of that version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = u64, nullable = false))]
    pub serial: Option<u64>,
    /// In bytes.
    pub size: u64,
}

/// The version that is to be made current again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub version: VersionId,
}

/// A write that was refused, and kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Rejected {
    /// What it is known by.
    pub id: String,
    /// When it was refused.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created: Timestamp,
    /// Who sent it.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub by: Principal,
    /// Why it was refused, in a word: `held-by-another`, `lock-lost`, `late`, `deleted-meanwhile` or `external`.
    pub why: String,
    /// The lock it was sent under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub lock_id: Option<String>,
    /// Who held the unit instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub holder: Option<String>,
    /// The door it came through; `bucket` for what somebody wrote directly.
    pub door: String,
    /// In bytes.
    pub size: u64,
}

/// The refused writes of a unit, newest first: the hundred newest of the last thirty days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RejectedWrites {
    /// The refused writes.
    pub rejected: Vec<Rejected>,
    /// How many there are.
    pub count: usize,
}
