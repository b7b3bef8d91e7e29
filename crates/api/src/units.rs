//! Units.

use std::collections::BTreeMap;

use jiff::Timestamp;
use opentaco_domain::{UnitId, VersionId};
use serde::{Deserialize, Serialize};

use crate::locks::Lock;

/// A unit that is to be created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateUnit {
    /// Its id, as people write it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, min_length = 1, example = "myapp/prod"))]
    pub id: UnitId,
    /// What people sort units by: up to 64, names and values of up to 255 bytes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What people say of it: up to 4,096 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// A unit was created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Created {
    /// Which.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "myapp/prod"))]
    pub id: UnitId,
    /// When.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created: Timestamp,
}

/// What is true of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Unit {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "myapp/prod"))]
    pub id: UnitId,
    /// Size of its state in bytes; 0 without one.
    pub size: u64,
    /// When its state was last written, or else when it was created.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub updated: Timestamp,
    /// When it came to be, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime, nullable = false))]
    pub created: Option<Timestamp>,
    /// Whether somebody holds it.
    pub locked: bool,
    /// Who holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Lock, nullable = false))]
    pub lock: Option<Lock>,
    /// What people sort units by.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub labels: BTreeMap<String, String>,
    /// What people say of it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub description: String,
    /// Whether it refuses to be deleted.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub deletion_protection: bool,
    /// The version that is current, where there is a state and it was written through the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub version: Option<VersionId>,
    /// As the state says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = u64, nullable = false))]
    pub serial: Option<u64>,
    /// As the state says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub lineage: Option<String>,
    /// The client that wrote the state, as the state says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub terraform_version: Option<String>,
}

/// A unit in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UnitSummary {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "myapp/prod"))]
    pub id: UnitId,
    /// Size of its state in bytes; 0 without one.
    pub size: u64,
    /// When its state was last written, or else when it was created.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub updated: Timestamp,
    /// Whether somebody holds it.
    pub locked: bool,
}

/// One page of units, or all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Units {
    /// The units.
    pub units: Vec<UnitSummary>,
    /// How many units are in this answer.
    pub count: usize,
    /// How to ask for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub next_page_token: Option<String>,
}

/// What is to be changed about a unit. What is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangeUnit {
    /// Labels to set; a label that is `null` is taken off, one that is not named stays.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Option<String>>,
    /// What people say of it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub description: Option<String>,
    /// Whether it refuses to be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schema(value_type = bool, nullable = false))]
    pub deletion_protection: Option<bool>,
}

/// A deleted unit was brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Undeleted {
    /// Which.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "myapp/prod"))]
    pub id: UnitId,
    /// The version that its last state became; absent if it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub version: Option<VersionId>,
}

/// A member that may be absent, and is never `null`: who says `null` means something else than leaving it out.
pub(crate) fn given<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
