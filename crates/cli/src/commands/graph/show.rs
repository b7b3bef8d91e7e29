//! `taco graph show`

use std::collections::BTreeMap;

use opentaco_domain::graph::{EdgeEnds, EdgeStatus, UnitStatus as Colour, drawing};
use opentaco_sdk::api::{Edge, Graph};

use super::{colours, edges};
use crate::args::{self, GraphFormat};
use crate::context::Context;
use crate::error::Failure;
use crate::output::{Cell, DIM, Output, Table};

/// How many rows a person looks at without having asked for all.
const ROWS_MAX: usize = 40;
/// How many outputs that are up to date are named in a row for people.
const NAMES_MAX: usize = 3;
/// How many arrows Mermaid draws unless it is configured otherwise.
const MERMAID_ARROWS_MAX: usize = 500;

pub(super) async fn run(context: &Context, args: args::GraphShow) -> Result<(), Failure> {
    let prefix = args.prefix.as_ref().map(ToString::to_string).unwrap_or_default();
    let graph = context.client()?.graph(&prefix).await?;
    let output = context.output;
    match args.format {
        GraphFormat::Text if !output.is_json() => text(&graph, args.all, output),
        GraphFormat::Text | GraphFormat::Json => output.json(&graph),
        GraphFormat::Dot => output.data(&dot(&graph)),
        GraphFormat::Mermaid => {
            output.data(&mermaid(&graph))?;
            if pairs(&graph).len() > MERMAID_ARROWS_MAX {
                output.hint(&format!(
                    "Mermaid draws {MERMAID_ARROWS_MAX} arrows unless `maxEdges` says otherwise; --prefix shows a part"
                ));
            }
            Ok(())
        }
    }
}

fn dot(graph: &Graph) -> String {
    drawing::dot(colours(graph), borrowed(&ends(graph)))
}

fn mermaid(graph: &Graph) -> String {
    drawing::mermaid(colours(graph), borrowed(&ends(graph)))
}

fn ends(graph: &Graph) -> Vec<(EdgeEnds, EdgeStatus)> {
    let edges = graph.edges.iter();
    edges.map(|edge| (edge.ends(), edge.status)).collect()
}

fn borrowed(ends: &[(EdgeEnds, EdgeStatus)]) -> impl Iterator<Item = (&EdgeEnds, EdgeStatus)> {
    ends.iter().map(|(ends, status)| (ends, *status))
}

fn text(graph: &Graph, all: bool, output: Output) -> Result<(), Failure> {
    for circle in &graph.cycles {
        output.warn(&edges::circle(circle));
    }
    if graph.edges.is_empty() {
        output.note("no dependencies");
        return Ok(());
    }
    let rows = pairs(graph);
    // A program that reads this should not have to know how much a person can look at.
    let is_everything = all || !output.is_for_people() || rows.len() <= ROWS_MAX;
    let shown: Vec<&Pair<'_>> = rows
        .iter()
        .filter(|pair| is_everything || pair.is_worth_a_look())
        .collect();
    output.table(&table(&shown, all))?;
    if output.is_for_people() {
        output.note(&summary(graph));
        if shown.len() < rows.len() {
            output.hint("what is up to date is not shown; --all shows it, --prefix a part of the graph");
        }
    }
    Ok(())
}

/// All edges from one unit to another.
struct Pair<'a> {
    from: &'a str,
    to: &'a str,
    status: Colour,
    edges: Vec<&'a Edge>,
}

impl Pair<'_> {
    fn is_worth_a_look(&self) -> bool {
        self.status.is_stale() || self.edges.iter().any(|edge| edge.status != EdgeStatus::Ok)
    }

    /// The outputs: those that are not as they should be, with what is wrong; then the others.
    fn outputs(&self, all: bool) -> Cell {
        let (fine, other): (Vec<&Edge>, Vec<&Edge>) =
            self.edges.iter().partition(|edge| edge.status == EdgeStatus::Ok);
        let wrong = other.into_iter().map(|edge| {
            let reason = edge.reason.map(|reason| format!(": {}", reason.as_str()));
            format!("{} ({}{})", named(edge), edge.status, reason.unwrap_or_default())
        });
        let mut names: Vec<String> = wrong.collect();
        let told = names.len();
        names.extend(fine.into_iter().map(named));
        let plain = names.join(", ");
        if !all && names.len() > told + NAMES_MAX {
            let left = names.len() - told - NAMES_MAX;
            names.truncate(told + NAMES_MAX);
            names.push(format!("+{left}"));
        }
        Cell::two(names.join(", "), plain)
    }
}

fn named(edge: &Edge) -> String {
    match edge.from_output == edge.to_input {
        true => edge.from_output.clone(),
        false => format!("{} as {}", edge.from_output, edge.to_input),
    }
}

/// By the unit that depends, then by what it depends on.
fn pairs(graph: &Graph) -> Vec<Pair<'_>> {
    let colours = colours(graph);
    let mut pairs: BTreeMap<(&str, &str), Vec<&Edge>> = BTreeMap::new();
    for edge in &graph.edges {
        let ends = (edge.to_unit_id.as_str(), edge.from_unit_id.as_str());
        pairs.entry(ends).or_default().push(edge);
    }
    pairs
        .into_iter()
        .map(|((to, from), edges)| Pair {
            from,
            to,
            status: colours.get(to).copied().unwrap_or(Colour::Green),
            edges,
        })
        .collect()
}

fn table(pairs: &[&Pair<'_>], all: bool) -> Table {
    let mut table = Table::new(&["UNIT", "STATUS", "DEPENDS ON", "OUTPUTS"]);
    let mut before = None;
    for pair in pairs {
        let status = edges::status(pair.status);
        let again = before.replace(pair.to) == Some(pair.to);
        table.row(vec![
            match again {
                // For people a name is said once; a program takes each line for itself.
                true => Cell::two("", pair.to),
                false => Cell::text(pair.to),
            },
            match again {
                true => Cell::two("", pair.status.label()).style(DIM),
                false => status,
            },
            Cell::text(pair.from),
            pair.outputs(all),
        ]);
    }
    table
}

fn summary(graph: &Graph) -> String {
    let count = |status| graph.edges.iter().filter(|edge| edge.status == status).count();
    format!(
        "{}: {}; {}: {} ok, {} pending, {} unknown",
        edges::counted(graph.units.len(), "unit", "units"),
        edges::tally(graph.units.iter().map(|unit| unit.status)),
        edges::counted(graph.edges.len(), "dependency", "dependencies"),
        count(EdgeStatus::Ok),
        count(EdgeStatus::Pending),
        count(EdgeStatus::Unknown)
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{edge, graph, shop};
    use super::*;

    fn for_people(graph: &Graph, all: bool) -> String {
        let rows = pairs(graph);
        let shown: Vec<_> = rows.iter().filter(|pair| all || pair.is_worth_a_look()).collect();
        anstream::adapter::strip_str(&table(&shown, all).for_people()).to_string()
    }

    #[test]
    fn edges_between_two_units_are_one_row_and_what_is_stale_is_told_in_full() {
        assert_eq!(
            for_people(&shop(), false),
            "\
UNIT      STATUS               DEPENDS ON    OUTPUTS
app/prod  needs re-apply       db/prod       url (unknown: no-output)
                               network/prod  vpc_id (pending), cidr as range, zones
dns       might need re-apply  app/prod      address
"
        );
        assert!(for_people(&shop(), true).contains("app/test  up to date           network/test  vpc_id\n"));
        assert_eq!(
            summary(&shop()),
            "6 units: 1 needs re-apply, 1 might need re-apply, 4 are up to date; 6 dependencies: 4 ok, 1 pending, 1 unknown"
        );
    }

    #[test]
    fn a_program_gets_every_name_on_every_line() {
        let graph = shop();
        let rows = pairs(&graph);
        let text = table(&rows.iter().collect::<Vec<_>>(), false).for_programs();
        assert_eq!(
            text,
            "app/prod\tneeds re-apply\tdb/prod\turl (unknown: no-output)\n\
             app/prod\tneeds re-apply\tnetwork/prod\tvpc_id (pending), cidr as range, zones\n\
             app/test\tup to date\tnetwork/test\tvpc_id\n\
             dns\tmight need re-apply\tapp/prod\taddress\n"
        );
    }

    #[test]
    fn many_outputs_that_are_up_to_date_are_counted_for_people() {
        let edges: Vec<_> = (0..9)
            .map(|n| edge(&format!("a.o{n}->b"), EdgeStatus::Ok))
            .chain([edge("a.p->b", EdgeStatus::Pending)])
            .collect();
        let graph = graph(edges);
        let pair = &pairs(&graph)[0];
        assert_eq!(pair.outputs(false).to_string(), "p (pending), o0, o1, o2, +6");
        assert!(!pair.outputs(true).to_string().contains('+'));
    }

    #[test]
    fn a_drawing_has_the_colours_that_the_service_tells() {
        let mut graph = graph(vec![edge("a.x->b", EdgeStatus::Ok)]);
        graph.units[1].status = Colour::Yellow;
        assert!(mermaid(&graph).contains("u1[\"b<br/>might need re-apply\"]:::yellow"));
        assert!(dot(&graph).contains("\"b\" [label=\"b\\nmight need re-apply\""));
    }
}
