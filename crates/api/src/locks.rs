//! Locks.

use jiff::Timestamp;
use opentaco_domain::{LockId, Principal, UnitId};
use serde::{Deserialize, Serialize};

use crate::units::given;

/// A lock that is asked for. All of it is optional: without an id the service makes one up, and answers with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LockRequest {
    /// What the lock is to be known by. A UUID locks once, an id chosen by hand as often as you like.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false, min_length = 1, example = "6f1c9a52-5f0e-4a53-9a39-0b2f4d1e7a01"))]
    pub id: Option<LockId>,
    /// Who holds it, such as `alice@laptop`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub who: String,
    /// What for, such as `OperationTypeApply`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub operation: String,
    /// Anything else there is to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub info: String,
    /// The version of the client.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Since when, by the clock of the client.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created: String,
    /// What is locked, as the client calls it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
}

/// A lock that is held, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Lock {
    /// What it is known by.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub id: LockId,
    /// Who holds it, as the holder says.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub who: String,
    /// What for.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub operation: String,
    /// Anything else the holder had to say.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub info: String,
    /// The version of the holder's client.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub version: String,
    /// Since when, by the holder's clock and in its spelling; may be empty.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub created: String,
    /// What is locked, as the holder's client calls it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub path: String,
    /// Who asked for it, as they have proved.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub principal: Principal,
    /// Since when, by the service's clock.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub since: Timestamp,
}

/// The lock that is to be given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UnlockRequest {
    /// What it is known by.
    #[cfg_attr(feature = "openapi", schema(value_type = String, min_length = 1))]
    pub id: LockId,
}

/// A unit that nobody holds any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Unlocked {
    /// Which.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "myapp/prod"))]
    pub id: UnitId,
    /// Always false: that is what was asked for.
    pub locked: bool,
}
