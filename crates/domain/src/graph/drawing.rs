//! The graph as text that others draw: [`dot`] for Graphviz, [`mermaid`] for Markdown.
//!
//! Units are boxes in the colour of their status, and a stale one says so in words too. All edges between the same two
//! units are one arrow that names the outputs: it is thick if one of them is pending, else dashed if one is unknown.
//! The same graph gives the same text, in whatever order it is told, and a name is never read as a part of a drawing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::edge::{EdgeEnds, EdgeStatus, UnitStatus};

/// How many outputs an arrow names before it only counts them.
const NAMES_MAX: usize = 3;

/// The graph in the language of Graphviz. A unit that only edges name has no colour.
#[must_use]
pub fn dot<'a>(
    units: impl IntoIterator<Item = (&'a str, UnitStatus)>,
    edges: impl IntoIterator<Item = (&'a EdgeEnds, EdgeStatus)>,
) -> String {
    let drawing = Drawing::of(units, edges);
    let mut text = "digraph dependencies {\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fillcolor=\"#ffffff\"];\n"
        .to_owned();
    for (unit, status) in &drawing.units {
        let name = in_dot(unit);
        let look = match status {
            None => String::new(),
            Some(status) => {
                let (fill, line) = colours(*status);
                let words = if status.is_stale() {
                    format!("label=\"{name}\\n{}\", ", status.label())
                } else {
                    String::new()
                };
                format!(" [{words}fillcolor=\"{fill}\", color=\"{line}\"]")
            }
        };
        line(&mut text, format_args!("  \"{name}\"{look};"));
    }
    for ((from, to), arrow) in &drawing.arrows {
        let look = match arrow.status() {
            EdgeStatus::Ok => "",
            EdgeStatus::Pending => ", color=\"#b42318\", penwidth=2",
            EdgeStatus::Unknown => ", color=\"#667085\", style=dashed",
        };
        line(
            &mut text,
            format_args!(
                "  \"{}\" -> \"{}\" [label=\"{}\"{look}];",
                in_dot(from),
                in_dot(to),
                arrow.label(in_dot)
            ),
        );
    }
    text.push_str("}\n");
    text
}

/// The graph as a flowchart of Mermaid. A unit that only edges name has no colour.
#[must_use]
pub fn mermaid<'a>(
    units: impl IntoIterator<Item = (&'a str, UnitStatus)>,
    edges: impl IntoIterator<Item = (&'a EdgeEnds, EdgeStatus)>,
) -> String {
    let drawing = Drawing::of(units, edges);
    let mut text = "flowchart LR\n".to_owned();
    for status in [UnitStatus::Green, UnitStatus::Yellow, UnitStatus::Red] {
        let (fill, stroke) = colours(status);
        line(
            &mut text,
            format_args!("  classDef {status} fill:{fill},stroke:{stroke},color:#101828"),
        );
    }
    // Names cannot be identifiers there, so units are numbered.
    let mut numbers = BTreeMap::new();
    for (number, (unit, status)) in drawing.units.iter().enumerate() {
        numbers.insert(*unit, number);
        let name = in_mermaid(unit);
        let (words, class) = match status {
            None => (String::new(), String::new()),
            Some(status) if status.is_stale() => (format!("<br/>{}", status.label()), format!(":::{status}")),
            Some(status) => (String::new(), format!(":::{status}")),
        };
        line(&mut text, format_args!("  u{number}[\"{name}{words}\"]{class}"));
    }
    for ((from, to), arrow) in &drawing.arrows {
        let stroke = match arrow.status() {
            EdgeStatus::Ok => "-->",
            EdgeStatus::Pending => "==>",
            EdgeStatus::Unknown => "-.->",
        };
        let (from, to, label) = (numbers[from], numbers[to], arrow.label(in_mermaid));
        line(&mut text, format_args!("  u{from} {stroke}|\"{label}\"| u{to}"));
    }
    text
}

/// What is to be drawn, in its order.
struct Drawing<'a> {
    units: BTreeMap<&'a str, Option<UnitStatus>>,
    arrows: BTreeMap<(&'a str, &'a str), Arrow<'a>>,
}

/// All edges from one unit to another.
#[derive(Default)]
struct Arrow<'a> {
    outputs: BTreeSet<&'a str>,
    statuses: BTreeSet<EdgeStatus>,
}

impl<'a> Drawing<'a> {
    fn of(
        units: impl IntoIterator<Item = (&'a str, UnitStatus)>,
        edges: impl IntoIterator<Item = (&'a EdgeEnds, EdgeStatus)>,
    ) -> Self {
        let mut drawing = Self {
            units: units
                .into_iter()
                .map(|(unit, status)| (unit, Some(status)))
                .collect(),
            arrows: BTreeMap::new(),
        };
        for (ends, status) in edges {
            for unit in [ends.from_unit.as_str(), &ends.to_unit] {
                drawing.units.entry(unit).or_insert(None);
            }
            let arrow = drawing
                .arrows
                .entry((&ends.from_unit, &ends.to_unit))
                .or_default();
            arrow.outputs.insert(&ends.from_output);
            arrow.statuses.insert(status);
        }
        drawing
    }
}

impl Arrow<'_> {
    /// What is worst of its edges: a value that was not taken, then one that is not known.
    fn status(&self) -> EdgeStatus {
        [EdgeStatus::Pending, EdgeStatus::Unknown]
            .into_iter()
            .find(|status| self.statuses.contains(status))
            .unwrap_or(EdgeStatus::Ok)
    }

    fn label(&self, written: fn(&str) -> String) -> String {
        let mut names: Vec<String> = self
            .outputs
            .iter()
            .take(NAMES_MAX)
            .map(|name| written(name))
            .collect();
        if self.outputs.len() > NAMES_MAX {
            names.push(format!("+{}", self.outputs.len() - NAMES_MAX));
        }
        names.join(", ")
    }
}

/// What a box of that status is filled with, and drawn with.
fn colours(status: UnitStatus) -> (&'static str, &'static str) {
    match status {
        UnitStatus::Green => ("#d1fadf", "#027a48"),
        UnitStatus::Yellow => ("#fef0c7", "#b54708"),
        UnitStatus::Red => ("#fee4e2", "#b42318"),
    }
}

/// Inside double quotes, both as a name and as a label: a label knows escapes that begin with a backslash, and entities
/// of HTML.
fn in_dot(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' => written.push_str("\\\""),
            '\\' => written.push_str("\\\\"),
            '\n' => written.push_str("\\n"),
            '&' => written.push_str("&amp;"),
            // No renderer can show these, and XML cannot hold them.
            control if control.is_control() => written.push('\u{fffd}'),
            other => written.push(other),
        }
    }
    written
}

/// Inside double quotes. Mermaid reads labels as Markdown, and HTML within; what could be markup is a numbered entity, so
/// no sign stands as it is but these few, between letters.
fn in_mermaid(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let mut before = None;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let is_letter = |other: Option<char>| other.is_some_and(char::is_alphanumeric);
        let between_letters = is_letter(before) && is_letter(letters.peek().copied());
        match letter {
            '\n' => written.push_str("<br/>"),
            control if control.is_control() => written.push('\u{fffd}'),
            plain if plain.is_alphanumeric() => written.push(plain),
            '/' | '-' | '_' if between_letters => written.push(letter),
            other => {
                let _ = write!(written, "#{};", u32::from(other));
            }
        }
        before = Some(letter);
    }
    written
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::EdgeStatus::{Ok, Pending, Unknown};
    use crate::graph::UnitStatus::{Green, Red, Yellow};

    const UNITS: [(&str, UnitStatus); 3] = [("app/prod", Red), ("dns", Yellow), ("network/prod", Green)];

    fn edges() -> Vec<(EdgeEnds, EdgeStatus)> {
        let edge = |from, output, to, input, status| (EdgeEnds::new(from, output, to, input), status);
        vec![
            edge("network/prod", "vpc_id", "app/prod", "vpc_id", Pending),
            edge("network/prod", "cidr", "app/prod", "cidr", Ok),
            edge("network/prod", "vpc_id", "app/prod", "peer", Unknown),
            edge("network/prod", "zones", "app/prod", "zones", Ok),
            edge("network/prod", "names", "app/prod", "names", Ok),
            edge("network/prod", "tags", "app/prod", "tags", Ok),
            edge("app/prod", "address", "dns", "address", Ok),
            edge("elsewhere", "id", "dns", "id", Unknown),
        ]
    }

    fn both(edges: &[(EdgeEnds, EdgeStatus)]) -> (String, String) {
        let edges = || edges.iter().map(|(ends, status)| (ends, *status));
        (dot(UNITS, edges()), mermaid(UNITS, edges()))
    }

    #[test]
    fn graphviz_is_told_of_units_in_their_colours_and_of_one_arrow_for_all_edges_between_two() {
        assert_eq!(
            both(&edges()).0,
            r##"digraph dependencies {
  rankdir=LR;
  node [shape=box, style="rounded,filled", fillcolor="#ffffff"];
  "app/prod" [label="app/prod\nneeds re-apply", fillcolor="#fee4e2", color="#b42318"];
  "dns" [label="dns\nmight need re-apply", fillcolor="#fef0c7", color="#b54708"];
  "elsewhere";
  "network/prod" [fillcolor="#d1fadf", color="#027a48"];
  "app/prod" -> "dns" [label="address"];
  "elsewhere" -> "dns" [label="id", color="#667085", style=dashed];
  "network/prod" -> "app/prod" [label="cidr, names, tags, +2", color="#b42318", penwidth=2];
}
"##
        );
    }

    #[test]
    fn mermaid_is_told_the_same() {
        assert_eq!(
            both(&edges()).1,
            r##"flowchart LR
  classDef green fill:#d1fadf,stroke:#027a48,color:#101828
  classDef yellow fill:#fef0c7,stroke:#b54708,color:#101828
  classDef red fill:#fee4e2,stroke:#b42318,color:#101828
  u0["app/prod<br/>needs re-apply"]:::red
  u1["dns<br/>might need re-apply"]:::yellow
  u2["elsewhere"]
  u3["network/prod"]:::green
  u0 -->|"address"| u1
  u2 -.->|"id"| u1
  u3 ==>|"cidr, names, tags, +2"| u0
"##
        );
    }

    #[test]
    fn the_same_graph_gives_the_same_text_in_whatever_order_it_is_told() {
        let mut backwards = edges();
        backwards.reverse();
        assert_eq!(both(&backwards), both(&edges()));
    }

    #[test]
    fn an_odd_name_is_a_name_and_no_part_of_the_drawing() {
        let odd = r#"a"] -> b; <i>&amp;</i>\N\"#;
        assert_eq!(in_dot(odd), r#"a\"] -> b; <i>&amp;amp;</i>\\N\\"#);
        assert_eq!(
            in_mermaid(odd),
            "a#34;#93;#32;#45;#62;#32;b#59;#32;#60;i#62;#38;amp#59;#60;#47;i#62;#92;N#92;"
        );
        assert_eq!(in_dot("a\nb\u{7}\r\t<ü>"), "a\\nb\u{fffd}\u{fffd}\u{fffd}<ü>");
        assert_eq!(
            in_mermaid("a\nb\u{7}\r\t<ü>"),
            "a<br/>b\u{fffd}\u{fffd}\u{fffd}#60;ü#62;"
        );
        // Markdown would make these bold, a list, a link, and code.
        assert_eq!(in_mermaid("__a_b__"), "#95;#95;a_b#95;#95;");
        assert_eq!(in_mermaid("1. x"), "1#46;#32;x");
        assert_eq!(in_mermaid("www.x.org/a-b"), "www#46;x#46;org/a-b");
        assert_eq!(in_mermaid("`a`#34;"), "#96;a#96;#35;34#59;");
    }

    #[test]
    fn nothing_draws_as_nothing() {
        let dot = dot([], []);
        assert!(dot.starts_with("digraph dependencies {\n") && dot.ends_with("}\n"));
        assert!(mermaid([], []).starts_with("flowchart LR\n"));
    }
}
