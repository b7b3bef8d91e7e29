//! Dependencies between units, and what they say of them.

use http::Method;
use opentaco_api::{Edge, Graph, Reconciled, Statuses, UnitStatus, paths};
use opentaco_domain::UnitId;
use opentaco_domain::graph::{EdgeEnds, EdgeId};

use crate::client::{Call, Client};
use crate::error::SdkError;
use crate::retry::Repeatable;

/// Of which units the status is asked.
#[derive(Debug, Clone, Default)]
pub struct ListStatus {
    /// How their ids begin.
    pub prefix: String,
    /// Only units at an end of an edge: one read of the graph, and no listing of units.
    pub dependent: bool,
}

impl Client {
    /// What the dependencies of a unit say of it.
    ///
    /// # Errors
    /// [`SdkError::NotFound`] if there is no such unit and no edge names it; an error of the service if the graph cannot
    /// be read.
    pub async fn unit_status(&self, unit: &UnitId) -> Result<UnitStatus, SdkError> {
        self.ask_json(Call::get(paths::unit_status(unit)).about(unit))
            .await
    }

    /// What the dependencies of many units say of them, in the byte order of their names.
    ///
    /// # Errors
    /// If the service refuses or does not answer, or if the graph cannot be read.
    pub async fn statuses(&self, wanted: &ListStatus) -> Result<Statuses, SdkError> {
        let call = Call::get(paths::STATUS.to_owned())
            .maybe("prefix", Some(&wanted.prefix).filter(|prefix| !prefix.is_empty()))
            .maybe("dependent", wanted.dependent.then_some(true));
        self.ask_json(call).await
    }

    /// The graph, as far as the caller may see it.
    ///
    /// # Errors
    /// If the service refuses or does not answer, or if the graph cannot be read.
    pub async fn graph(&self, prefix: &str) -> Result<Graph, SdkError> {
        let call = Call::get(paths::GRAPH.to_owned())
            .maybe("prefix", Some(prefix).filter(|prefix| !prefix.is_empty()));
        self.ask_json(call).await
    }

    /// An edge by its ends: as it stands in the graph, or as it would be if it were declared now.
    ///
    /// # Errors
    /// If the service refuses or does not answer, or if the graph cannot be read.
    pub async fn edge(&self, ends: &EdgeEnds) -> Result<Edge, SdkError> {
        let call = Call::get(paths::GRAPH_EDGE.to_owned())
            .query("from_unit_id", &ends.from_unit)
            .query("from_output", &ends.from_output)
            .query("to_unit_id", &ends.to_unit)
            .query("to_input", &ends.to_input);
        self.ask_json(call).await
    }

    /// An edge by its id: as it stands in the graph, or as it last stood in one of the graph's recent versions.
    ///
    /// # Errors
    /// [`SdkError::NotFound`] if it is in none of them.
    pub async fn edge_by_id(&self, id: &EdgeId) -> Result<Edge, SdkError> {
        self.ask_json(Call::get(paths::graph_edge(id))).await
    }

    /// Compares every edge with the current states, and mends what is not so. With `taken_by`, what the incoming edges of
    /// this unit have is said to be taken by it.
    ///
    /// # Errors
    /// If the caller may not write the graph's unit and the one in `taken_by`, or if the graph cannot be read;
    /// [`SdkError::NoState`] if that unit has none.
    pub async fn reconcile_graph(&self, taken_by: Option<&UnitId>) -> Result<Reconciled, SdkError> {
        let call = Call::new(
            Method::POST,
            paths::GRAPH_RECONCILE.to_owned(),
            Repeatable::Freely,
        )
        .maybe("taken_by", taken_by);
        self.ask_json(call).await
    }
}
