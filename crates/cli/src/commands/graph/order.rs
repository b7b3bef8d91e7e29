//! `taco graph order`

use std::collections::BTreeMap;

use opentaco_domain::UnitPrefix;
use opentaco_domain::graph::{EdgeStatus, UnitStatus as Colour};
use opentaco_sdk::api::Graph;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{colours, edges, view, whole};
use crate::args::{self, OrderFormat};
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::output::{Cell, Table};

/// How many jobs a matrix of GitHub's may have.
const GITHUB_JOBS_MAX: usize = 256;

pub(super) async fn run(context: &Context, args: args::GraphOrder) -> Result<(), Failure> {
    let graph = whole(context).await?;
    let order = Order::of(&graph, args.prefix.as_ref(), args.wave);
    let output = context.output;
    match args.format {
        OrderFormat::Text if !output.is_json() => match order.units.is_empty() {
            true => output.note(match order.circular.is_empty() {
                true => "nothing is to be applied",
                false => "nothing can be applied in order",
            }),
            false => output.table(&order.table(&graph))?,
        },
        OrderFormat::Text | OrderFormat::Json => output.json(&order)?,
        // One line: that is what a line of $GITHUB_OUTPUT holds.
        OrderFormat::Github => output.data(&format!("{}\n", order.matrix()))?,
        OrderFormat::Gitlab => output.json(&order.pipeline())?,
    }
    if args.format == OrderFormat::Github && order.units.len() > GITHUB_JOBS_MAX {
        output.warn(&format!(
            "GitHub takes {GITHUB_JOBS_MAX} jobs in a matrix, and these are {}; --wave and --prefix print a part",
            order.units.len()
        ));
    }
    order.unless_circular()
}

/// Stale units in the order in which they can be applied.
#[derive(Debug, Serialize)]
struct Order<'a> {
    /// Wave by wave.
    units: Vec<Place<'a>>,
    /// Groups that depend on themselves: no order can be told.
    circular: Vec<Vec<&'a str>>,
    /// What waits for such a group.
    behind: Vec<&'a str>,
}

/// A unit and the wave that it is in.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Place<'a> {
    unit: &'a str,
    wave: usize,
    status: Colour,
}

impl<'a> Order<'a> {
    /// The order of the units with that prefix, and of that wave of theirs alone.
    fn of(graph: &'a Graph, prefix: Option<&UnitPrefix>, wave: Option<usize>) -> Self {
        let colours = colours(graph);
        let colour = |unit: &str| colours.get(unit).copied().unwrap_or(Colour::Green);
        let asked = |unit: &&str| prefix.is_none_or(|prefix| unit.starts_with(prefix.as_str()));
        let waves = view(&graph.edges).waves_of(|unit| colour(unit).is_stale());
        let ours = waves
            .waves
            .into_iter()
            .map(|wave| wave.into_iter().filter(asked).collect::<Vec<_>>())
            .filter(|wave| !wave.is_empty());
        let units = (1..)
            .zip(ours)
            .filter(|(number, _)| wave.is_none_or(|wave| wave == *number))
            .flat_map(|(wave, units)| {
                units.into_iter().map(move |unit| Place {
                    unit,
                    wave,
                    status: colour(unit),
                })
            })
            .collect();
        let behind: Vec<&str> = waves.behind.into_iter().filter(asked).collect();
        // Whoever waits for a circle wants to know of it, also if it is none of theirs.
        let circular = waves
            .circular
            .into_iter()
            .filter(|circle| !behind.is_empty() || circle.iter().any(asked))
            .collect();
        Self {
            units,
            circular,
            behind,
        }
    }

    fn table(&self, graph: &Graph) -> Table {
        let mut because: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let colours = colours(graph);
        for edge in &graph.edges {
            let of = because.entry(&edge.to_unit_id).or_default();
            let before = colours.get(edge.from_unit_id.as_str()).copied();
            if edge.status == EdgeStatus::Pending {
                of.push(edges::source(edge));
            } else if before.is_some_and(Colour::is_stale) && !of.contains(&edge.from_unit_id) {
                of.push(edge.from_unit_id.clone());
            }
        }
        let mut table = Table::new(&["WAVE", "UNIT", "STATUS", "BECAUSE OF"]);
        for place in &self.units {
            table.row(vec![
                Cell::text(place.wave.to_string()),
                Cell::text(place.unit),
                edges::status(place.status),
                edges::names(because.get(place.unit).map_or(&[], Vec::as_slice)),
            ]);
        }
        table
    }

    /// What `strategy.matrix` of a job takes.
    fn matrix(&self) -> String {
        #[derive(Serialize)]
        struct Matrix<'a> {
            include: &'a [Place<'a>],
        }
        let matrix = Matrix { include: &self.units };
        serde_json::to_string(&matrix).expect("names and numbers are JSON")
    }

    /// A pipeline whose stages are the waves. What a job does stands in `.apply`, which is not ours to write.
    fn pipeline(&self) -> Value {
        let stage = |wave: usize| format!("wave-{wave}");
        let mut stages: Vec<String> = self.units.iter().map(|place| stage(place.wave)).collect();
        stages.dedup();
        let mut pipeline = Map::new();
        if stages.is_empty() {
            // GitLab takes a pipeline without jobs for a mistake.
            stages.push("nothing".to_owned());
            pipeline.insert(
                "nothing to apply".to_owned(),
                json!({"stage": "nothing", "script": ["true"]}),
            );
        }
        pipeline.insert("stages".to_owned(), json!(stages));
        for place in &self.units {
            // A dollar would begin a variable.
            let unit = place.unit.replace('$', "$$");
            let job = json!({"extends": ".apply", "stage": stage(place.wave), "variables": {"UNIT": unit}});
            pipeline.insert(format!("apply {}", place.unit), job);
        }
        Value::Object(pipeline)
    }

    fn unless_circular(&self) -> Result<(), Failure> {
        if self.circular.is_empty() {
            return Ok(());
        }
        let circles: Vec<String> = self.circular.iter().map(|circle| edges::circle(circle)).collect();
        let mut message = format!("no order can be told: {}", circles.join("; "));
        if !self.behind.is_empty() {
            message.push_str(&format!(
                ", and {} behind",
                edges::counted(self.behind.len(), "unit waits", "units wait")
            ));
        }
        let mut failure = Failure::new(Kind::Conflict, message).hint(
            "apply one of them by hand, or take a dependency out of the circle; `taco unit status UNIT` shows the way around",
        );
        failure
            .details
            .insert("circular".to_owned(), json!(self.circular));
        failure.details.insert("behind".to_owned(), json!(self.behind));
        Err(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{edge, graph, shop};
    use super::*;

    fn prefix(text: &str) -> UnitPrefix {
        UnitPrefix::parse(text).unwrap()
    }

    fn places<'a>(order: &Order<'a>) -> Vec<(usize, &'a str)> {
        order.units.iter().map(|place| (place.wave, place.unit)).collect()
    }

    #[test]
    fn each_stale_unit_stands_in_a_wave_behind_what_it_waits_for() {
        let graph = shop();
        let order = Order::of(&graph, None, None);
        assert_eq!(
            anstream::adapter::strip_str(&order.table(&graph).for_people()).to_string(),
            "\
WAVE  UNIT      STATUS               BECAUSE OF
1     app/prod  needs re-apply       network/prod.vpc_id
2     dns       might need re-apply  app/prod
"
        );
        assert!(order.unless_circular().is_ok());
        assert_eq!(places(&Order::of(&graph, None, Some(2))), [(2, "dns")]);
        assert_eq!(places(&Order::of(&graph, None, Some(3))), []);
    }

    #[test]
    fn a_part_of_the_units_is_ordered_by_what_lies_between_them_too() {
        let graph = graph(vec![
            edge("x/a.o->y/b", EdgeStatus::Pending),
            edge("z.o->x/a", EdgeStatus::Pending),
            edge("y/b.o->x/c", EdgeStatus::Ok),
        ]);
        let order = Order::of(&graph, Some(&prefix("x/")), None);
        assert_eq!(places(&order), [(1, "x/a"), (2, "x/c")]);
        assert_eq!(
            places(&Order::of(&graph, Some(&prefix("x/")), Some(2))),
            [(2, "x/c")]
        );
    }

    #[test]
    fn what_the_service_says_of_a_unit_counts_where_the_reason_may_not_be_seen() {
        let mut graph = graph(vec![edge("a.o->b", EdgeStatus::Ok)]);
        for unit in &mut graph.units {
            unit.status = Colour::Yellow;
        }
        assert_eq!(places(&Order::of(&graph, None, None)), [(1, "a"), (2, "b")]);
    }

    #[test]
    fn a_matrix_has_an_entry_for_each_unit_and_is_one_line() {
        let graph = shop();
        assert_eq!(
            Order::of(&graph, None, None).matrix(),
            r#"{"include":[{"unit":"app/prod","wave":1,"status":"red"},{"unit":"dns","wave":2,"status":"yellow"}]}"#
        );
        let nothing = Order::of(&graph, Some(&prefix("none/")), None);
        assert_eq!(nothing.matrix(), r#"{"include":[]}"#);
    }

    #[test]
    fn a_pipeline_has_a_stage_for_each_wave_and_is_never_empty() {
        let graph = graph(vec![
            edge("a.o->b$x", EdgeStatus::Pending),
            edge("a.o->c", EdgeStatus::Pending),
            edge("c.o->d", EdgeStatus::Ok),
        ]);
        let pipeline = Order::of(&graph, None, None).pipeline();
        assert_eq!(pipeline["stages"], json!(["wave-1", "wave-2"]));
        assert_eq!(
            pipeline["apply b$x"],
            json!({"extends": ".apply", "stage": "wave-1", "variables": {"UNIT": "b$$x"}})
        );
        assert_eq!(pipeline["apply d"]["stage"], "wave-2");
        let nothing = Order::of(&graph, Some(&prefix("none/")), None).pipeline();
        assert_eq!(nothing["nothing to apply"]["script"], json!(["true"]));
    }

    #[test]
    fn a_circle_fails_and_is_named_to_whoever_waits_for_it() {
        let graph = graph(vec![
            edge("a.o->b", EdgeStatus::Pending),
            edge("b.o->a", EdgeStatus::Ok),
            edge("b.o->last", EdgeStatus::Ok),
            edge("x.o->free", EdgeStatus::Pending),
        ]);
        let order = Order::of(&graph, None, None);
        assert_eq!(places(&order), [(1, "free")]);
        let failure = order.unless_circular().unwrap_err();
        assert_eq!(failure.kind, Kind::Conflict);
        assert_eq!(
            failure.message,
            "no order can be told: `a` and `b` depend on each other in a circle, and 1 unit waits behind"
        );
        assert!(
            Order::of(&graph, Some(&prefix("free")), None)
                .unless_circular()
                .is_ok()
        );
        assert!(
            Order::of(&graph, Some(&prefix("last")), None)
                .unless_circular()
                .is_err()
        );
    }
}
