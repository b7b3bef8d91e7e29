//! How units and the edges between them are told, wherever they are: in a status, in the graph, in an order.

use opentaco_domain::graph::{EdgeStatus, UnitStatus as Colour};
use opentaco_sdk::api::Edge;

use crate::output::{BAD, Cell, GOOD, PLAIN, WARN};

/// How many names stand in a cell before the rest is counted.
const NAMES_MAX: usize = 3;
/// How many units of a circle are named.
const CIRCLE_MAX: usize = 10;

/// The status of a unit, in words and in its colour.
pub(super) fn status(status: Colour) -> Cell {
    Cell::text(status.label()).style(match status {
        Colour::Green => GOOD,
        Colour::Yellow => WARN,
        Colour::Red => BAD,
    })
}

/// What is said of an edge.
pub(super) fn edge_status(status: EdgeStatus) -> Cell {
    Cell::text(status.as_str()).style(match status {
        EdgeStatus::Ok => PLAIN,
        EdgeStatus::Pending => BAD,
        EdgeStatus::Unknown => WARN,
    })
}

/// A number that matters unless it is none.
pub(super) fn number(number: usize) -> Cell {
    match number {
        0 => Cell::two("-", "0"),
        more => Cell::text(more.to_string()),
    }
}

/// Names: the first of them for people, all of them for programs.
pub(super) fn names(names: &[String]) -> Cell {
    if names.is_empty() {
        return Cell::none();
    }
    let mut shown: Vec<String> = names.iter().take(NAMES_MAX).cloned().collect();
    if names.len() > NAMES_MAX {
        shown.push(format!("+{}", names.len() - NAMES_MAX));
    }
    Cell::two(shown.join(", "), names.join(", "))
}

/// The output that an edge is about, with its unit.
pub(super) fn source(edge: &Edge) -> String {
    format!("{}.{}", edge.from_unit_id, edge.from_output)
}

/// What stands in a circle, in a sentence.
pub(super) fn circle(units: &[impl AsRef<str>]) -> String {
    let mut named: Vec<String> = units
        .iter()
        .take(CIRCLE_MAX)
        .map(|unit| format!("`{}`", unit.as_ref()))
        .collect();
    if let [alone] = named.as_slice() {
        return format!("{alone} depends on itself");
    }
    if units.len() > CIRCLE_MAX {
        named.push(format!("{} more", units.len() - CIRCLE_MAX));
    }
    let last = named.pop().unwrap_or_default();
    format!("{} and {last} depend on each other in a circle", named.join(", "))
}

/// A way around, from a unit back to it.
pub(super) fn way_around(units: &[String]) -> String {
    if units.len() <= CIRCLE_MAX + 1 {
        return units.join(" -> ");
    }
    let (shown, rest) = units.split_at(CIRCLE_MAX);
    let last = rest.last().map_or("", String::as_str);
    format!("{} -> {} more -> {last}", shown.join(" -> "), rest.len() - 1)
}

/// So many of something, in words.
pub(super) fn counted(number: usize, one: &str, more: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        number => format!("{number} {more}"),
    }
}

/// How many units have which colour, in words; of the colours that none has, nothing.
pub(super) fn tally(statuses: impl IntoIterator<Item = Colour>) -> String {
    let mut numbers = [0_usize; 3];
    for status in statuses {
        numbers[match status {
            Colour::Red => 0,
            Colour::Yellow => 1,
            Colour::Green => 2,
        }] += 1;
    }
    let parts = [
        (numbers[0], counted(numbers[0], "needs re-apply", "need re-apply")),
        (numbers[1], format!("{} might need re-apply", numbers[1])),
        (numbers[2], counted(numbers[2], "is up to date", "are up to date")),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(_, words)| words)
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_and_tallies_are_sentences() {
        assert_eq!(circle(&["a"]), "`a` depends on itself");
        assert_eq!(
            circle(&["a", "b", "c"]),
            "`a`, `b` and `c` depend on each other in a circle"
        );
        let many: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        assert!(
            circle(&many).ends_with("`9` and 990 more depend on each other in a circle"),
            "{}",
            circle(&many)
        );
        let around =
            |names: &[&str]| way_around(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(around(&["a", "b", "a"]), "a -> b -> a");
        let way = way_around(&[&many[..], &many[..1]].concat());
        assert!(way.ends_with(" -> 8 -> 9 -> 990 more -> 0"), "{way}");
        assert_eq!(
            tally([Colour::Green, Colour::Red, Colour::Green]),
            "1 needs re-apply, 2 are up to date"
        );
        assert_eq!(
            tally([Colour::Yellow, Colour::Red, Colour::Red]),
            "2 need re-apply, 1 might need re-apply"
        );
    }
}
