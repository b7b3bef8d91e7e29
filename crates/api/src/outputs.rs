//! Outputs of a state. Their values are passed on as they were written: numbers keep their digits.

use std::collections::BTreeMap;

use opentaco_domain::VersionId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// One output.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Output {
    /// Its value.
    #[cfg_attr(feature = "openapi", schema(value_type = serde_json::Value))]
    pub value: Box<RawValue>,
    /// Its type, as Terraform spells types; absent where the state does not say.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = serde_json::Value))]
    pub kind: Option<Box<RawValue>>,
    /// Whether it was marked as one that is not to be shown.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub sensitive: bool,
}

/// The outputs of the current state.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Outputs {
    /// The version they were read from; absent for a state that nobody has touched through the service yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub version: Option<VersionId>,
    /// By name.
    pub outputs: BTreeMap<String, Output>,
}
