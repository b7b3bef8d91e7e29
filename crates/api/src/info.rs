//! The service itself.

use opentaco_domain::{Principal, UnitId};
use serde::{Deserialize, Serialize};

/// What a client may want to know before it asks for anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Info {
    /// The version of the service.
    pub version: String,
    /// The unit that holds the dependency graph.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "__opentaco_system"))]
    pub system_unit: UnitId,
    /// Who is asking, as the service sees it.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub principal: Principal,
    /// The largest state that is accepted, in bytes.
    pub body_bytes_max: u64,
}
