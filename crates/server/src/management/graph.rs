//! Dependencies between units: what they say of one unit, of many, and the graph itself.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use opentaco_api::{
    Edge, ErrorBody, Graph, GraphUnit, IncomingSummary, Reconciled, Statuses, UnitStatus, paths,
};
use opentaco_control::{EdgeView, GraphView, UnitStatusView};
use opentaco_domain::graph::view::Counts;
use opentaco_domain::graph::{EdgeEnds, EdgeId, EdgeStatus, drawing};
use opentaco_domain::{UnitId, UnitPrefix};
use utoipa::IntoParams;

use crate::app::App;
use crate::extract::Asking;
use crate::management::Refused;
use crate::management::error::invalid;
use crate::management::query::{Asked, FromQuery, Query, bad_query};
use crate::management::request::Named;
use crate::problem::Problem;

/// What the dependencies of a unit say of it.
///
/// # Errors
/// 404 if there is no such unit and no dependency names it; 409 if the graph cannot be read.
#[utoipa::path(
    get, path = paths::UNIT_STATUS, operation_id = "unit_status", tag = "graph",
    params(Named),
    responses(
        (status = 200, description = "The status, with every incoming dependency and why it is what it is.", body = UnitStatus),
        (status = 404, description = "`not_found`: there is no such unit, and no dependency names it.", body = ErrorBody),
        (status = 409, description = "`graph_unreadable`: nothing is said of any dependency.", body = ErrorBody),
    ),
)]
pub async fn status(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(unit): Named,
) -> Result<Json<UnitStatus>, Refused> {
    let view = app.control.unit_status(&caller, &unit).await?;
    Ok(Json(status_of(view)))
}

/// Of which units the status is asked.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StatusQuery {
    /// Only units whose id starts so.
    #[param(value_type = Option<String>, example = "myapp/", required = false)]
    pub prefix: UnitPrefix,
    /// Only units at an end of a dependency: that is one read of the graph, and no listing of units.
    #[param(value_type = Option<bool>, required = false)]
    pub dependent: bool,
}

impl FromQuery for StatusQuery {
    fn take(query: &mut Query) -> Result<Self, Problem> {
        Ok(Self {
            prefix: query.prefix()?,
            dependent: query.flag("dependent")?,
        })
    }
}

/// What the dependencies of many units say of them, of one moment, in the order of their names. With each unit come
/// those of its incoming dependencies that are not `ok`.
///
/// # Errors
/// 409 if the graph cannot be read.
#[utoipa::path(
    get, path = paths::STATUS, operation_id = "list_statuses", tag = "graph",
    params(StatusQuery),
    responses(
        (status = 200, description = "Every unit that the caller may read.", body = Statuses),
        (status = 409, description = "`graph_unreadable`: nothing is said of any dependency.", body = ErrorBody),
    ),
)]
pub async fn statuses(
    State(app): State<App>,
    Asking(caller): Asking,
    Asked(query): Asked<StatusQuery>,
) -> Result<Json<Statuses>, Refused> {
    let StatusQuery { prefix, dependent } = query;
    let views = app.control.unit_statuses(&caller, prefix, dependent).await?;
    let units: Vec<UnitStatus> = views.into_iter().map(status_of).collect();
    Ok(Json(Statuses {
        count: units.len(),
        units,
    }))
}

/// In which language the graph is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As a document of this API.
    Json,
    /// For Graphviz.
    Dot,
    /// For Mermaid.
    Mermaid,
}

/// Which part of the graph is asked for, and how it is told.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct GraphQuery {
    /// Only dependencies with a unit at one end whose id starts so.
    #[param(value_type = Option<String>, example = "myapp/", required = false)]
    pub prefix: UnitPrefix,
    /// `json`, or a drawing as `dot` or `mermaid`.
    #[param(value_type = Option<String>, required = false)]
    pub format: Format,
}

impl FromQuery for GraphQuery {
    fn take(query: &mut Query) -> Result<Self, Problem> {
        Ok(Self {
            prefix: query.prefix()?,
            format: match query.one("format")?.as_deref() {
                None | Some("json") => Format::Json,
                Some("dot") => Format::Dot,
                Some("mermaid") => Format::Mermaid,
                Some(_) => return Err(bad_query("`format` is json, dot or mermaid".to_owned())),
            },
        })
    }
}

/// The graph of dependencies, as far as the caller may see it: those of which both units may be read.
///
/// # Errors
/// 409 if the graph cannot be read.
#[utoipa::path(
    get, path = paths::GRAPH, operation_id = "graph", tag = "graph",
    params(GraphQuery),
    responses(
        (status = 200, description = "The graph.", content(
            (Graph = "application/json"),
            (String = "text/vnd.graphviz"),
            (String = "text/vnd.mermaid"),
        )),
        (status = 409, description = "`graph_unreadable`: nothing is said of any dependency.", body = ErrorBody),
    ),
)]
pub async fn graph(
    State(app): State<App>,
    Asking(caller): Asking,
    Asked(query): Asked<GraphQuery>,
) -> Result<Response, Refused> {
    let view = app.control.graph(&caller, &query.prefix).await?;
    let system_unit = app.control.graph_unit().clone();
    Ok(match query.format {
        Format::Json => Json(graph_of(view, system_unit)).into_response(),
        Format::Dot => drawn(
            "text/vnd.graphviz",
            drawing::dot(units_of(&view), edges_of(&view)),
        ),
        Format::Mermaid => drawn(
            "text/vnd.mermaid",
            drawing::mermaid(units_of(&view), edges_of(&view)),
        ),
    })
}

/// Which edge is asked for, by its ends.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EdgeQuery {
    /// The unit that has the output.
    pub from_unit_id: String,
    /// Which output.
    pub from_output: String,
    /// The unit that takes it.
    pub to_unit_id: String,
    /// As what; like the output without it.
    #[param(value_type = Option<String>, required = false)]
    pub to_input: String,
}

impl FromQuery for EdgeQuery {
    fn take(query: &mut Query) -> Result<Self, Problem> {
        let mut needed = |name: &str| match query.one(name)? {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(bad_query(format!("`{name}` is missing"))),
        };
        let (from_unit_id, from_output, to_unit_id) = (
            needed("from_unit_id")?,
            needed("from_output")?,
            needed("to_unit_id")?,
        );
        let to_input = query.one("to_input")?.filter(|input| !input.is_empty());
        Ok(Self {
            to_input: to_input.unwrap_or_else(|| from_output.clone()),
            from_unit_id,
            from_output,
            to_unit_id,
        })
    }
}

/// One dependency by its ends: as it stands in the graph, or as it would be if it were declared now.
///
/// # Errors
/// 400 for an end that can be no unit; 409 if the graph cannot be read.
#[utoipa::path(
    get, path = paths::GRAPH_EDGE, operation_id = "find_edge", tag = "graph",
    params(EdgeQuery),
    responses(
        (status = 200, description = "The dependency; `declared` says whether it stands in the graph.", body = Edge),
        (status = 409, description = "`graph_unreadable`: nothing is said of any dependency.", body = ErrorBody),
    ),
)]
pub async fn edge(
    State(app): State<App>,
    Asking(caller): Asking,
    Asked(query): Asked<EdgeQuery>,
) -> Result<Json<Edge>, Refused> {
    let ends = EdgeEnds::new(
        &query.from_unit_id,
        &query.from_output,
        &query.to_unit_id,
        &query.to_input,
    );
    Ok(Json(edge_of(app.control.edge(&caller, &ends).await?)))
}

/// One dependency by its id: as it stands in the graph, or if it stands in one of the graph's last versions alone, as it
/// would be if it were declared again.
///
/// # Errors
/// 404 if it stands in none; 409 if the graph cannot be read.
#[utoipa::path(
    get, path = paths::GRAPH_EDGE_BY_ID, operation_id = "get_edge", tag = "graph",
    params(("edge" = String, Path, description = "Its id.")),
    responses(
        (status = 200, description = "The dependency.", body = Edge),
        (status = 404, description = "`not_found`: it stands in none of the graph's last versions.", body = ErrorBody),
        (status = 409, description = "`graph_unreadable`: nothing is said of any dependency.", body = ErrorBody),
    ),
)]
pub async fn edge_by_id(
    State(app): State<App>,
    Asking(caller): Asking,
    Path(id): Path<String>,
) -> Result<Json<Edge>, Refused> {
    let id: EdgeId = id
        .parse()
        .map_err(|error| invalid(format!("`{id}` is {error}")))?;
    Ok(Json(edge_of(app.control.edge_by_id(&caller, &id).await?)))
}

/// What is reconciled.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReconcileQuery {
    /// A unit that has taken what its incoming dependencies have: somebody has looked, or applied it without a change that
    /// would have been written.
    #[param(value_type = Option<String>, required = false)]
    pub taken_by: Option<UnitId>,
}

impl FromQuery for ReconcileQuery {
    fn take(query: &mut Query) -> Result<Self, Problem> {
        Ok(Self {
            taken_by: query.parsed("taken_by", UnitId::parse)?,
        })
    }
}

/// Compares every dependency with the current state of its source, and mends what is not so.
///
/// # Errors
/// 404 if the unit in `taken_by` has no state; 409 if the graph cannot be read.
#[utoipa::path(
    post, path = paths::GRAPH_RECONCILE, operation_id = "reconcile_graph", tag = "graph",
    params(ReconcileQuery),
    responses(
        (status = 200, description = "What was not so, as it is now.", body = Reconciled),
        (status = 404, description = "`no_state`: the unit that is said to have taken them has none.", body = ErrorBody),
        (status = 409, description = "`graph_unreadable`: nothing is said of any dependency.", body = ErrorBody),
    ),
)]
pub async fn reconcile(
    State(app): State<App>,
    Asking(caller): Asking,
    Asked(query): Asked<ReconcileQuery>,
) -> Result<Json<Reconciled>, Refused> {
    let reconciled = app
        .carry_through(
            |control| async move { control.reconcile_graph(&caller, query.taken_by.as_ref()).await },
        )
        .await?;
    Ok(Json(Reconciled {
        edges: reconciled.edges,
        changed: reconciled.changed.into_iter().map(edge_of).collect(),
        version: reconciled.version,
    }))
}

fn edge_of(view: EdgeView) -> Edge {
    let EdgeView {
        ends,
        id,
        status,
        unknown,
        state,
        why,
        declared,
    } = view;
    Edge {
        edge_id: id,
        from_unit_id: ends.from_unit,
        from_output: ends.from_output,
        to_unit_id: ends.to_unit,
        to_input: ends.to_input,
        status,
        reason: unknown,
        why,
        in_digest: state.in_digest.map(|digest| digest.to_string()),
        out_digest: state.out_digest.map(|digest| digest.to_string()),
        last_in_at: state.last_in_at,
        last_out_at: state.last_out_at,
        in_version: state.in_version,
        in_by: state.in_by,
        out_version: state.out_version,
        declared,
    }
}

fn summary_of(counts: Counts) -> IncomingSummary {
    IncomingSummary {
        incoming_ok: counts.ok,
        incoming_pending: counts.pending,
        incoming_unknown: counts.unknown,
    }
}

fn status_of(view: UnitStatusView) -> UnitStatus {
    UnitStatus {
        unit_id: view.unit,
        status: view.status,
        incoming: view.incoming.into_iter().map(edge_of).collect(),
        summary: summary_of(view.counts),
        because_of: view.because_of,
        cycle: view.cycle,
    }
}

fn graph_of(view: GraphView, system_unit: UnitId) -> Graph {
    Graph {
        system_unit,
        version: view.version,
        units: view
            .units
            .into_iter()
            .map(|(unit_id, status, counts)| GraphUnit {
                unit_id,
                status,
                summary: summary_of(counts),
            })
            .collect(),
        edges: view.edges.into_iter().map(edge_of).collect(),
        cycles: view.cycles,
    }
}

fn units_of(view: &GraphView) -> impl Iterator<Item = (&str, opentaco_domain::graph::UnitStatus)> {
    view.units
        .iter()
        .map(|(unit, status, _)| (unit.as_str(), *status))
}

fn edges_of(view: &GraphView) -> impl Iterator<Item = (&EdgeEnds, EdgeStatus)> {
    view.edges.iter().map(|edge| (&edge.ends, edge.status))
}

fn drawn(kind: &'static str, text: String) -> Response {
    let mut response = text.into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
