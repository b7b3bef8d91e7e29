//! Dependencies between units, and what they say of them.

use jiff::Timestamp;
use opentaco_domain::graph::{EdgeEnds, EdgeId, EdgeStatus, UnitStatus as Colour, Unknown};
use opentaco_domain::{Principal, UnitId, VersionId};
use serde::{Deserialize, Serialize};

/// An edge: an output of one unit that is an input of another, and whether the target has taken the value it has now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Edge {
    /// What it is known by: base58 of the SHA-256 of its ends.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub edge_id: EdgeId,
    /// The unit that has the output.
    #[cfg_attr(feature = "openapi", schema(example = "network/prod"))]
    pub from_unit_id: String,
    /// Which output.
    #[cfg_attr(feature = "openapi", schema(example = "vpc_id"))]
    pub from_output: String,
    /// The unit that takes it.
    #[cfg_attr(feature = "openapi", schema(example = "myapp/prod"))]
    pub to_unit_id: String,
    /// As what.
    #[cfg_attr(feature = "openapi", schema(example = "vpc_id"))]
    pub to_input: String,
    /// `ok`, `pending` if the output has another value than the target has taken, `unknown` if that cannot be told.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^(ok|pending|unknown)$"))]
    pub status: EdgeStatus,
    /// Of an `unknown` edge, why: `no-unit`, `no-output`, `encrypted`, `unreadable`, `bad-unit-id` or `not-looked-at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub reason: Option<Unknown>,
    /// Why the edge is what it is, in a sentence.
    #[serde(default)]
    pub why: String,
    /// The digest of the value that the output has now; only for those who may read the source.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub in_digest: Option<String>,
    /// The digest of the value that the target has taken; only for those who may read the source.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub out_digest: Option<String>,
    /// When the output last changed.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime, required = true))]
    pub last_in_at: Option<Timestamp>,
    /// When the target last took a value.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime, required = true))]
    pub last_out_at: Option<Timestamp>,
    /// The version of the source in which the output last changed; only for those who may read the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub in_version: Option<VersionId>,
    /// Who wrote that version; only for those who may read the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub in_by: Option<Principal>,
    /// The version of the target that last took a value; only for those who may read the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub out_version: Option<VersionId>,
    /// Whether it stands in the graph. If not, this is what it would be if it were declared now.
    #[serde(default = "yes")]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub declared: bool,
}

fn yes() -> bool {
    true
}

impl Edge {
    /// Its two ends.
    #[must_use]
    pub fn ends(&self) -> EdgeEnds {
        EdgeEnds::new(
            &self.from_unit_id,
            &self.from_output,
            &self.to_unit_id,
            &self.to_input,
        )
    }
}

/// How many incoming edges of a unit are what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IncomingSummary {
    /// Taken.
    pub incoming_ok: usize,
    /// Not taken yet.
    pub incoming_pending: usize,
    /// Of which that cannot be told. They do not change the colour.
    pub incoming_unknown: usize,
}

/// What the dependencies of a unit say of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UnitStatus {
    /// Which unit.
    #[cfg_attr(feature = "openapi", schema(example = "myapp/prod"))]
    pub unit_id: String,
    /// `red`: it needs another apply. `yellow`: a unit before it does. `green`: neither.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^(green|yellow|red)$"))]
    pub status: Colour,
    /// Its incoming edges: all of them where one unit is asked for, those that are not `ok` in a list of units.
    pub incoming: Vec<Edge>,
    /// How many incoming edges are what.
    pub summary: IncomingSummary,
    /// Of a `yellow` unit: the red units before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because_of: Vec<String>,
    /// If it depends on itself: one way around, from it and back to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cycle: Vec<String>,
}

/// The status of many units, of one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Statuses {
    /// In the byte order of their names.
    pub units: Vec<UnitStatus>,
    /// How many.
    pub count: usize,
}

/// A unit of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GraphUnit {
    /// Which unit.
    pub unit_id: String,
    /// As in the status of the unit.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^(green|yellow|red)$"))]
    pub status: Colour,
    /// How many incoming edges are what.
    pub summary: IncomingSummary,
}

/// The graph, as far as the caller may see it, of one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Graph {
    /// The unit that holds it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "__opentaco_system"))]
    pub system_unit: UnitId,
    /// The version of that unit; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub version: Option<VersionId>,
    /// Every unit at an end of an edge, in the byte order of their names.
    pub units: Vec<GraphUnit>,
    /// Every edge, by its ends.
    pub edges: Vec<Edge>,
    /// Groups of units that depend on each other in a circle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cycles: Vec<Vec<String>>,
}

/// What a reconciliation found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reconciled {
    /// How many edges there are.
    pub edges: usize,
    /// Those that were not as the states say, as they are now.
    pub changed: Vec<Edge>,
    /// The version of the graph that holds; absent if there is no graph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub version: Option<VersionId>,
}
