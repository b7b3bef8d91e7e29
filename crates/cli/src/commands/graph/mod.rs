//! `taco graph`: dependencies between units, all at once.

mod impact;
mod order;
mod show;

use std::collections::BTreeMap;

use opentaco_domain::graph::{UnitStatus as Colour, View};
use opentaco_sdk::api::{Edge, Graph};

use super::edges;
use crate::args::{GraphReconcile, GraphVerb};
use crate::context::Context;
use crate::error::Failure;
use crate::output::{Cell, Table};

pub(super) async fn run(context: &Context, verb: GraphVerb) -> Result<(), Failure> {
    match verb {
        GraphVerb::Show(args) => show::run(context, args).await,
        GraphVerb::Order(args) => order::run(context, args).await,
        GraphVerb::Impact(args) => impact::run(context, args).await,
        GraphVerb::Reconcile(args) => reconcile(context, &args).await,
    }
}

/// The whole graph, whichever part of it is asked about: what lies between two units of a part may lie outside of it.
async fn whole(context: &Context) -> Result<Graph, Failure> {
    context.client()?.graph("").await.map_err(Failure::from)
}

fn view(edges: &[Edge]) -> View<'_> {
    View::new(
        edges
            .iter()
            .map(|edge| (edge.from_unit_id.as_str(), edge.to_unit_id.as_str(), edge.status)),
    )
}

/// The colours that the service tells: it may know of more edges than it shows.
fn colours(graph: &Graph) -> BTreeMap<&str, Colour> {
    graph
        .units
        .iter()
        .map(|unit| (unit.unit_id.as_str(), unit.status))
        .collect()
}

async fn reconcile(context: &Context, args: &GraphReconcile) -> Result<(), Failure> {
    let output = context.output;
    let found = context.client()?.reconcile_graph(args.taken_by.as_ref()).await?;
    if output.is_json() {
        return output.json(&found);
    }
    output.table(&changed(&found.changed))?;
    output.said(&mended(found.edges, found.changed.len()));
    Ok(())
}

fn mended(edges: usize, changed: usize) -> String {
    let all = edges::counted(edges, "dependency", "dependencies");
    match changed {
        0 => format!("{all} looked at, and nothing had to be mended"),
        1 => format!("{all} looked at; 1 was not as the states say, and is mended"),
        more => format!("{all} looked at; {more} were not as the states say, and are mended"),
    }
}

fn changed(changed: &[Edge]) -> Table {
    let mut table = Table::new(&["FROM", "TO", "NOW", "WHY"]);
    for edge in changed {
        table.row(vec![
            Cell::text(edges::source(edge)),
            Cell::text(format!("{}.{}", edge.to_unit_id, edge.to_input)),
            edges::edge_status(edge.status),
            Cell::text(edge.why.as_str()),
        ]);
    }
    table
}

#[cfg(test)]
pub(super) mod tests {
    use opentaco_domain::graph::{EdgeEnds, EdgeStatus, Unknown};
    use opentaco_sdk::api::{GraphUnit, IncomingSummary};

    use super::*;

    /// An edge as the service tells it, from `unit.output->unit.input`.
    pub(in crate::commands) fn edge(ends: &str, status: EdgeStatus) -> Edge {
        let ends: EdgeEnds = ends.parse().unwrap();
        Edge {
            edge_id: ends.id(),
            from_unit_id: ends.from_unit,
            from_output: ends.from_output,
            to_unit_id: ends.to_unit,
            to_input: ends.to_input,
            status,
            reason: (status == EdgeStatus::Unknown).then_some(Unknown::NoOutput),
            why: String::new(),
            in_digest: None,
            out_digest: None,
            last_in_at: None,
            last_out_at: None,
            in_version: None,
            in_by: None,
            out_version: None,
            declared: true,
        }
    }

    /// A graph of these edges, with the colours that they say.
    pub(super) fn graph(edges: Vec<Edge>) -> Graph {
        let view = view(&edges);
        let units = view
            .units()
            .iter()
            .map(|unit| {
                let counts = view.counts(unit);
                GraphUnit {
                    unit_id: (*unit).to_owned(),
                    status: view.status(unit),
                    summary: IncomingSummary {
                        incoming_ok: counts.ok,
                        incoming_pending: counts.pending,
                        incoming_unknown: counts.unknown,
                    },
                }
            })
            .collect();
        let cycles = view
            .cycles()
            .into_iter()
            .map(|circle| circle.into_iter().map(str::to_owned).collect())
            .collect();
        Graph {
            system_unit: "__opentaco_system".parse().unwrap(),
            version: None,
            units,
            cycles,
            edges,
        }
    }

    /// A network, an application on it in two places, and the names of the application.
    pub(super) fn shop() -> Graph {
        use EdgeStatus::{Ok, Pending, Unknown};
        graph(vec![
            edge("network/prod.vpc_id->app/prod", Pending),
            edge("network/prod.cidr->app/prod.range", Ok),
            edge("network/prod.zones->app/prod", Ok),
            edge("db/prod.url->app/prod", Unknown),
            edge("app/prod.address->dns", Ok),
            edge("network/test.vpc_id->app/test", Ok),
        ])
    }

    #[test]
    fn what_was_mended_is_told_edge_by_edge() {
        let table = changed(&[edge("a.x->b.y", EdgeStatus::Pending)]);
        assert_eq!(table.for_programs(), "a.x\tb.y\tpending\t\n");
        assert_eq!(
            super::mended(1, 0),
            "1 dependency looked at, and nothing had to be mended"
        );
        assert_eq!(
            super::mended(4, 1),
            "4 dependencies looked at; 1 was not as the states say, and is mended"
        );
    }
}
