//! `taco graph impact`

use opentaco_domain::UnitId;
use opentaco_domain::graph::{UnitStatus as Colour, View};
use opentaco_sdk::api::{Edge, Graph};
use serde::Serialize;

use super::{colours, edges, view, whole};
use crate::args;
use crate::commands::support::most_similar;
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::output::{Cell, Table, one_line};

pub(super) async fn run(context: &Context, args: args::GraphImpact) -> Result<(), Failure> {
    let graph = whole(context).await?;
    let impact = Impact::of(&graph, &args.of, args.output.as_deref())?;
    let output = context.output;
    if let Some(hint) = impact.also(&graph) {
        output.hint(&one_line(&hint));
    }
    if output.is_json() {
        return output.json(&impact);
    }
    if impact.reached.is_empty() {
        output.note(&one_line(&impact.nothing(&graph)));
        return Ok(());
    }
    output.table(&impact.table())?;
    if output.is_for_people() {
        output.note(&format!(
            "{} to look at if {} changed",
            edges::counted(impact.reached.len(), "unit", "units"),
            one_line(&impact.subject())
        ));
    }
    Ok(())
}

/// How far a change reaches.
#[derive(Debug, Serialize)]
struct Impact<'a> {
    unit: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a str>,
    /// Nearest first.
    reached: Vec<Reached<'a>>,
}

#[derive(Debug, Serialize)]
struct Reached<'a> {
    unit: &'a str,
    distance: usize,
    status: Colour,
    /// The edges over which the change comes to it first.
    through: Vec<Through<'a>>,
}

#[derive(Debug, Serialize)]
struct Through<'a> {
    from_unit: &'a str,
    from_output: &'a str,
    to_input: &'a str,
}

impl<'a> Impact<'a> {
    fn of(graph: &'a Graph, text: &'a str, named: Option<&'a str>) -> Result<Self, Failure> {
        let view = view(&graph.edges);
        let found = match named {
            Some(_) => known(&view, text).map(|unit| (unit, named)),
            None => subject(&view, text),
        };
        let (unit, output) = found.ok_or_else(|| unknown(&view, text))?;
        let starts: Vec<usize> = view
            .outgoing(unit)
            .iter()
            .copied()
            .filter(|&edge| output.is_none_or(|output| graph.edges[edge].from_output == output))
            .collect();
        let colours = colours(graph);
        let through = |edge: usize| {
            let edge: &Edge = &graph.edges[edge];
            Through {
                from_unit: &edge.from_unit_id,
                from_output: &edge.from_output,
                to_input: &edge.to_input,
            }
        };
        let reached = view.impact(starts).into_iter().map(|reached| Reached {
            unit: reached.unit,
            distance: reached.distance,
            status: colours.get(reached.unit).copied().unwrap_or(Colour::Green),
            through: reached.through.into_iter().map(through).collect(),
        });
        Ok(Self {
            unit,
            output,
            reached: reached.collect(),
        })
    }

    /// Where the name of the unit could be meant for an output of another one: how to ask for that.
    fn also(&self, graph: &Graph) -> Option<String> {
        let (unit, output) = self.unit.rsplit_once('.').filter(|_| self.output.is_none())?;
        let is_taken = |edge: &Edge| edge.from_unit_id == unit && edge.from_output == output;
        graph.edges.iter().any(is_taken).then(|| {
            format!(
                "this is about the unit `{}`; about the output `{output}` of `{unit}`: `taco graph impact {unit} --output {output}`",
                self.unit
            )
        })
    }

    fn subject(&self) -> String {
        match self.output {
            Some(output) => format!("output `{output}` of `{}`", self.unit),
            None => format!("an output of `{}`", self.unit),
        }
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["DISTANCE", "UNIT", "STATUS", "THROUGH"]);
        for reached in &self.reached {
            let through: Vec<String> = reached
                .through
                .iter()
                .map(|edge| format!("{}.{}", edge.from_unit, edge.from_output))
                .collect();
            table.row(vec![
                Cell::text(reached.distance.to_string()),
                Cell::text(reached.unit),
                edges::status(reached.status),
                edges::names(&through),
            ]);
        }
        table
    }

    fn nothing(&self, graph: &Graph) -> String {
        let mut taken: Vec<&str> = graph
            .edges
            .iter()
            .filter(|edge| edge.from_unit_id == self.unit)
            .map(|edge| edge.from_output.as_str())
            .collect();
        taken.sort_unstable();
        taken.dedup();
        let nobody = format!("no unit takes {}", self.subject());
        match taken.is_empty() {
            true => nobody,
            false => format!("{nobody}; taken are {}", taken.join(", ")),
        }
    }
}

/// A unit of the graph by that very name; else one before the last dot, and an output.
fn subject<'a>(view: &View<'a>, text: &'a str) -> Option<(&'a str, Option<&'a str>)> {
    if let Some(unit) = known(view, text) {
        return Some((unit, None));
    }
    let (unit, output) = text.rsplit_once('.')?;
    Some((known(view, unit)?, Some(output)))
}

/// A unit of the graph, however it is spelled.
fn known<'a>(view: &View<'a>, text: &str) -> Option<&'a str> {
    let find = |name: &str| view.units().iter().copied().find(|unit| *unit == name);
    find(text).or_else(|| find(UnitId::parse(text).ok()?.as_str()))
}

fn unknown(view: &View<'_>, text: &str) -> Failure {
    let failure = Failure::new(Kind::NotFound, format!("no dependency names a unit `{text}`"));
    let named = || view.units().iter().map(|unit| (*unit).to_owned());
    // A wrong unit with a right output is likelier than a unit that ends in one.
    let unit = text.rsplit_once('.').map_or(text, |(unit, _)| unit);
    match most_similar(text, named()).or_else(|| most_similar(unit, named())) {
        Some(name) => failure.hint(format!("did you mean `{name}`?")),
        None => failure.hint("`taco graph show` shows which there are"),
    }
}

#[cfg(test)]
mod tests {
    use opentaco_domain::graph::EdgeStatus;

    use super::super::tests::{edge, graph, shop};
    use super::*;

    fn told(graph: &Graph, of: &str) -> String {
        Impact::of(graph, of, None).unwrap().table().for_programs()
    }

    #[test]
    fn a_unit_reaches_all_that_takes_anything_of_it_and_an_output_what_takes_that() {
        let graph = shop();
        assert_eq!(
            told(&graph, "network/prod"),
            "1\tapp/prod\tneeds re-apply\tnetwork/prod.vpc_id, network/prod.cidr, network/prod.zones\n\
             2\tdns\tmight need re-apply\tapp/prod.address\n"
        );
        assert_eq!(
            told(&graph, "network/prod.cidr"),
            "1\tapp/prod\tneeds re-apply\tnetwork/prod.cidr\n2\tdns\tmight need re-apply\tapp/prod.address\n"
        );
        assert_eq!(told(&graph, "/network/test/terraform.tfstate").lines().count(), 1);
    }

    #[test]
    fn a_unit_with_a_dot_goes_before_an_output_behind_one() {
        let graph = graph(vec![
            edge("a.b.x->c", EdgeStatus::Ok),
            edge("a.b->d", EdgeStatus::Ok),
        ]);
        let of = |text| {
            let impact = Impact::of(&graph, text, None).unwrap();
            (impact.unit.to_owned(), impact.output.map(str::to_owned))
        };
        assert_eq!(of("a.b"), ("a.b".to_owned(), None));
        assert_eq!(of("a.b.x"), ("a.b".to_owned(), Some("x".to_owned())));
        assert_eq!(of("a"), ("a".to_owned(), None));
    }

    #[test]
    fn where_a_unit_is_called_like_an_output_both_can_be_asked_for() {
        let graph = graph(vec![
            edge("a.b->c", EdgeStatus::Ok),
            edge("a.b.x->d", EdgeStatus::Ok),
        ]);
        let unit = Impact::of(&graph, "a.b", None).unwrap();
        assert_eq!((unit.unit, unit.output), ("a.b", None));
        assert_eq!(
            unit.also(&graph).unwrap(),
            "this is about the unit `a.b`; about the output `b` of `a`: `taco graph impact a --output b`"
        );
        let output = Impact::of(&graph, "a", Some("b")).unwrap();
        assert_eq!(output.reached[0].unit, "c");
        assert_eq!(output.also(&graph), None);
        assert_eq!(Impact::of(&graph, "a.b.x", None).unwrap().also(&graph), None);
    }

    #[test]
    fn what_nobody_takes_reaches_nobody_and_what_nothing_names_is_not_found() {
        let graph = shop();
        let impact = Impact::of(&graph, "network/prod.tags", None).unwrap();
        assert!(impact.reached.is_empty());
        assert_eq!(
            impact.nothing(&graph),
            "no unit takes output `tags` of `network/prod`; taken are cidr, vpc_id, zones"
        );
        assert_eq!(
            Impact::of(&graph, "dns", None).unwrap().nothing(&graph),
            "no unit takes an output of `dns`"
        );
        let failure = Impact::of(&graph, "netwrk/prod.vpc_id", None).unwrap_err();
        assert_eq!(failure.kind, Kind::NotFound);
        assert_eq!(failure.hint.as_deref(), Some("did you mean `network/prod`?"));
    }
}
