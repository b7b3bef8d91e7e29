//! Who did what.

use jiff::Timestamp;
use opentaco_domain::audit::{Event, Outcome, SegmentId};
use opentaco_domain::{LockId, Principal, UnitId, VersionId};
use serde::{Deserialize, Serialize};

/// One thing that was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditEvent {
    /// Where it stands: the segment, and its place in it from 0.
    #[cfg_attr(
        feature = "openapi",
        schema(example = "2026-11-23T14.15.30.123-9f86d081884c7d65-0000000007.0")
    )]
    pub id: String,
    /// When, by the clock of the replica.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// Who asked.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub principal: Principal,
    /// What kind of caller that is: `root`, `anonymous`, `user`, `service` or `ci`; none of whoever wrote to the bucket
    /// directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub kind: Option<String>,
    /// The right that was asked for, or what was done to credentials.
    #[cfg_attr(feature = "openapi", schema(example = "unit.write"))]
    pub action: String,
    /// `done`, `denied` or `refused`.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "done"))]
    pub decision: Outcome,
    /// What was done, or why it was not.
    #[cfg_attr(feature = "openapi", schema(example = "committed: write"))]
    pub what: String,
    /// To which unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false, example = "myapp/prod"))]
    pub unit: Option<UnitId>,
    /// Which version it was, or became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub version: Option<VersionId>,
    /// Under which lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub lock: Option<LockId>,
    /// As which refused write the bytes are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub kept: Option<String>,
    /// About whom or what it was, where that is no unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub about: Option<String>,
    /// By which credential: its kind and its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub via: Option<String>,
    /// The address of the CI run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub run: Option<String>,
    /// Through which door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub door: Option<String>,
    /// The number of the request, as the log has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub request: Option<String>,
    /// The address that the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub address: Option<String>,
}

impl AuditEvent {
    /// The event that stands in this place of a segment.
    #[must_use]
    pub fn of(segment: &SegmentId, index: usize, event: Event) -> Self {
        let Event {
            at,
            principal,
            kind,
            action,
            decision,
            what,
            unit,
            version,
            lock,
            kept,
            about,
            via,
            run,
            door,
            request,
            address,
        } = event;
        Self {
            id: format!("{segment}.{index}"),
            at,
            principal,
            kind,
            action,
            decision,
            what,
            unit,
            version,
            lock,
            kept,
            about,
            via,
            run,
            door,
            request,
            address,
        }
    }
}

/// One page of what happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditEvents {
    /// Newest first; events of different replicas within seconds by segment.
    pub events: Vec<AuditEvent>,
    /// How to ask for the next page, if there may be one. A page may be empty and not be the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub next_page_token: Option<String>,
    /// Segments that are there and cannot be read: somebody has changed them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub damaged: Vec<SegmentId>,
}

/// One page of the names of segments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditSegments {
    /// Oldest first.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub segments: Vec<SegmentId>,
    /// How to ask for the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub next_page_token: Option<SegmentId>,
}
