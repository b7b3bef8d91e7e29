//! One edge: its two ends, its id, and what may be said of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::spelled_as_text;
use crate::{Sha256, UnitId};

/// What is trimmed off the end of a unit's name, beside slashes: so that a key of a state names its unit.
const STATE_BELOW: &str = "/terraform.tfstate";
/// Between the two ends, where an edge is written in a line.
const ARROW: &str = "->";

/// The two ends of an edge: an output of one unit, and the input of another that it becomes.
///
/// Units are kept as text in the one spelling that counts for ids, trimmed: an edge may name what cannot be a unit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeEnds {
    /// The unit that has the output.
    pub from_unit: String,
    /// Which output.
    pub from_output: String,
    /// The unit that takes it.
    pub to_unit: String,
    /// As what.
    pub to_input: String,
}

/// Why a text names no edge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no edge: write it as `network/prod.vpc_id->app/prod.vpc_id`, or without the input if it is called like the output"
)]
pub struct EdgeEndsError {
    text: String,
}

impl EdgeEnds {
    /// The edge between these, units trimmed as they count.
    #[must_use]
    pub fn new(from_unit: &str, from_output: &str, to_unit: &str, to_input: &str) -> Self {
        Self {
            from_unit: trimmed(from_unit).to_owned(),
            from_output: from_output.to_owned(),
            to_unit: trimmed(to_unit).to_owned(),
            to_input: to_input.to_owned(),
        }
    }

    /// What the edge is known by, whatever resource of Terraform's declares it.
    #[must_use]
    pub fn id(&self) -> EdgeId {
        let Self {
            from_unit,
            from_output,
            to_unit,
            to_input,
        } = self;
        let text = format!("{from_unit}\n{from_output}\n{to_unit}\n{to_input}");
        EdgeId(bs58::encode(Sha256::of(text.as_bytes()).bytes()).into_string())
    }

    /// The unit that has the output, if there can be one of that name.
    #[must_use]
    pub fn from(&self) -> Option<UnitId> {
        UnitId::parse(&self.from_unit).ok()
    }

    /// The unit that takes it, if there can be one of that name.
    #[must_use]
    pub fn to(&self) -> Option<UnitId> {
        UnitId::parse(&self.to_unit).ok()
    }
}

fn trimmed(unit: &str) -> &str {
    let unit = unit.trim_matches('/');
    unit.strip_suffix(STATE_BELOW)
        .unwrap_or(unit)
        .trim_end_matches('/')
}

impl fmt::Display for EdgeEnds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            from_unit,
            from_output,
            to_unit,
            to_input,
        } = self;
        write!(formatter, "{from_unit}.{from_output}{ARROW}{to_unit}.{to_input}")
    }
}

impl FromStr for EdgeEnds {
    type Err = EdgeEndsError;

    /// Reads `from.output->to.input`. Units may have dots in their names and outputs have none, so the last dot counts;
    /// without one that an input can follow, the input is called like the output.
    fn from_str(text: &str) -> Result<Self, EdgeEndsError> {
        let no_edge = || EdgeEndsError {
            text: text.to_owned(),
        };
        let (from, to) = text.split_once(ARROW).ok_or_else(no_edge)?;
        let (from_unit, from_output) = split(from.trim()).ok_or_else(no_edge)?;
        let (to_unit, to_input) = split(to.trim()).unwrap_or((to.trim(), from_output));
        let ends = Self::new(from_unit, from_output, to_unit, to_input);
        match ends.from_unit.is_empty() || ends.to_unit.is_empty() {
            true => Err(no_edge()),
            false => Ok(ends),
        }
    }
}

/// A unit and what follows the last dot, if that can be a name in Terraform's language.
fn split(end: &str) -> Option<(&str, &str)> {
    let (unit, name) = end.rsplit_once('.')?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    // The key of a state is a unit, and no unit with an output called `tfstate`.
    (is_name && name != "tfstate").then_some((unit, name))
}

/// What an edge is known by: base58 of the SHA-256 of its ends, each on a line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeId(String);

/// The text is no edge's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the id of an edge: 43 or 44 letters and digits of base58 are expected")]
pub struct NotAnEdgeId;

impl EdgeId {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EdgeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for EdgeId {
    type Err = NotAnEdgeId;

    fn from_str(text: &str) -> Result<Self, NotAnEdgeId> {
        let mut digest = [0; 32];
        match bs58::decode(text).onto(&mut digest) {
            Ok(32) => Ok(Self(text.to_owned())),
            _ => Err(NotAnEdgeId),
        }
    }
}

spelled_as_text!(EdgeId, "the id of an edge");

/// What is said of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EdgeStatus {
    /// The target has taken the value that the output has.
    Ok,
    /// The output has another value than the target has taken.
    Pending,
    /// It is not known which value the output has: [`Unknown`] says why.
    Unknown,
}

impl EdgeStatus {
    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Pending => "pending",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for EdgeStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// Why it is not known which value an output has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unknown {
    /// There is no such unit, or it has no state.
    NoUnit,
    /// Its state has no such output.
    NoOutput,
    /// Its state is encrypted by OpenTofu.
    Encrypted,
    /// Its state is none that outputs can be read of.
    Unreadable,
    /// The name can be no unit's.
    BadUnitId,
    /// Nobody has looked yet.
    NotLookedAt,
}

impl Unknown {
    /// In a word, as it stands in the graph and in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoUnit => "no-unit",
            Self::NoOutput => "no-output",
            Self::Encrypted => "encrypted",
            Self::Unreadable => "unreadable",
            Self::BadUnitId => "bad-unit-id",
            Self::NotLookedAt => "not-looked-at",
        }
    }

    /// The reason of that word; of one that we do not know, that nobody has looked.
    #[must_use]
    pub fn of_word(word: &str) -> Self {
        [
            Self::NoUnit,
            Self::NoOutput,
            Self::Encrypted,
            Self::Unreadable,
            Self::BadUnitId,
        ]
        .into_iter()
        .find(|reason| reason.as_str() == word)
        .unwrap_or(Self::NotLookedAt)
    }

    /// In a sentence about this edge.
    #[must_use]
    pub fn sentence(self, ends: &EdgeEnds) -> String {
        let EdgeEnds {
            from_unit: unit,
            from_output: output,
            ..
        } = ends;
        match self {
            Self::NoUnit => format!("there is no state of `{unit}`"),
            Self::NoOutput => format!("the state of `{unit}` has no output `{output}`"),
            Self::Encrypted => {
                format!("the state of `{unit}` is encrypted, so its outputs cannot be compared")
            }
            Self::Unreadable => format!("the outputs of `{unit}` cannot be read"),
            Self::BadUnitId => format!("`{unit}` cannot be the name of a unit"),
            Self::NotLookedAt => format!(
                "`{unit}` has not been looked at since the dependency was declared; `taco graph reconcile` does"
            ),
        }
    }
}

/// What the edges say of a unit, as the colour it is shown in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitStatus {
    /// No incoming edge is pending, and no unit before it is red.
    Green,
    /// No incoming edge is pending, but a unit before it is red.
    Yellow,
    /// An incoming edge is pending.
    Red,
}

impl UnitStatus {
    /// The colour.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Yellow => "yellow",
            Self::Red => "red",
        }
    }

    /// For people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Green => "up to date",
            Self::Yellow => "might need re-apply",
            Self::Red => "needs re-apply",
        }
    }

    /// Whether something is, or may be, to be applied.
    #[must_use]
    pub fn is_stale(self) -> bool {
        self != Self::Green
    }
}

impl fmt::Display for UnitStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_is_known_by_its_ends_however_its_units_are_spelled() {
        let plain = EdgeEnds::new("a/prod", "vpc", "b/prod", "vpc");
        // Computed apart from this code: base58 of SHA-256 of "a/prod\nvpc\nb/prod\nvpc".
        assert_eq!(
            plain.id().as_str(),
            "BYRDxq7oUBMkGiuA5MThWCJRR8qLuq1fRez618inEoEU"
        );
        for from in [
            "/a/prod",
            "a/prod/",
            "a/prod/terraform.tfstate",
            "/a/prod/terraform.tfstate/",
        ] {
            assert_eq!(
                EdgeEnds::new(from, "vpc", "b/prod/terraform.tfstate", "vpc"),
                plain,
                "{from}"
            );
        }
        assert_ne!(EdgeEnds::new("b/prod", "vpc", "a/prod", "vpc").id(), plain.id());
        assert_eq!(plain.id().as_str().parse(), Ok(plain.id()));
        assert_eq!("0OIl".parse::<EdgeId>(), Err(NotAnEdgeId));
        assert_eq!("abc".parse::<EdgeId>(), Err(NotAnEdgeId));
    }

    #[test]
    fn an_edge_is_read_as_it_is_written() {
        for (text, ends) in [
            (
                "a/prod.vpc->b/prod.net",
                EdgeEnds::new("a/prod", "vpc", "b/prod", "net"),
            ),
            (
                "a/prod.vpc -> b/prod",
                EdgeEnds::new("a/prod", "vpc", "b/prod", "vpc"),
            ),
            (
                "my.app/prod.id->x.y/z.id",
                EdgeEnds::new("my.app/prod", "id", "x.y/z", "id"),
            ),
            (
                "net/prod.tfstate.id->app.tfstate",
                EdgeEnds::new("net/prod.tfstate", "id", "app.tfstate", "id"),
            ),
        ] {
            assert_eq!(text.parse::<EdgeEnds>().as_ref(), Ok(&ends), "{text}");
            assert_eq!(ends.to_string().parse(), Ok(ends));
        }
        for none in ["", "a", "a.b", "a->b", "a.b->", ".b->c.d", "a/b.tfstate->c"] {
            assert!(none.parse::<EdgeEnds>().is_err(), "{none}");
        }
    }
}
