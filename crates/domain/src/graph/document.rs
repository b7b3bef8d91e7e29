//! The graph as it is kept: a Terraform state, with a resource `opentaco_dependency` for each edge.
//!
//! It belongs to two. Terraform writes which edges there are, and everything else; the service writes what is known of
//! each edge ([`OWNED`]). So the service changes the document in place: the text of the attributes that are its own, and
//! the serial, and no other byte. And what Terraform sends is [merged](Document::merged): it knows the service's
//! attributes as they were when its run began, and the service knows better.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Digest, EdgeEnds, EdgeId, EdgeStatus, Unknown};
use crate::state::{StateError, set_serial};
use crate::{Principal, StateSummary, UnitId, VersionId};

/// The resource that declares an edge.
pub const RESOURCE: &str = "opentaco_dependency";

/// The attributes of an edge that are the service's.
pub const OWNED: [&str; 9] = [
    "in_digest",
    "out_digest",
    "status",
    "last_in_at",
    "last_out_at",
    "reason",
    "in_version",
    "in_by",
    "out_version",
];

/// Of these, what an edge brings along that was not in the graph before: what its target has taken, wherever it was
/// kept until now. The rest is looked up.
const BROUGHT: [&str; 2] = ["out_digest", "last_out_at"];

/// Why a state is no graph that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It is encrypted by OpenTofu.
    #[error("it is encrypted by OpenTofu; the graph must be kept in a workspace without state encryption")]
    Encrypted,
    /// It is no state.
    #[error(transparent)]
    NoState(StateError),
    /// Its resources are not as Terraform writes them.
    #[error("its resources are not as Terraform writes them (line {line}, column {column})")]
    Odd {
        /// The line, counted from 1.
        line: usize,
        /// The column, counted in bytes.
        column: usize,
    },
}

/// What is known of an edge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EdgeState {
    /// The digest of the value that the output has.
    pub in_digest: Option<Digest>,
    /// The digest of the value that the target has taken.
    pub out_digest: Option<Digest>,
    /// Where there is no `in_digest`: why.
    pub reason: Option<Unknown>,
    /// When the output last changed.
    pub last_in_at: Option<Timestamp>,
    /// When the target last took a value.
    pub last_out_at: Option<Timestamp>,
    /// The version of the source in which the output last changed.
    pub in_version: Option<VersionId>,
    /// Who wrote that version.
    pub in_by: Option<Principal>,
    /// The version of the target that last took a value.
    pub out_version: Option<VersionId>,
}

impl EdgeState {
    /// What is said of the edge.
    #[must_use]
    pub fn status(&self) -> EdgeStatus {
        match (&self.in_digest, &self.out_digest) {
            (None, _) => EdgeStatus::Unknown,
            (Some(given), Some(taken)) if given == taken => EdgeStatus::Ok,
            (Some(_), _) => EdgeStatus::Pending,
        }
    }

    /// Why nothing is known of the output, if nothing is.
    #[must_use]
    pub fn unknown(&self) -> Option<Unknown> {
        match &self.in_digest {
            Some(_) => None,
            None => Some(self.reason.unwrap_or(Unknown::NotLookedAt)),
        }
    }

    /// Whether nobody has looked at the source since the edge was declared, or not in the way we do.
    #[must_use]
    pub fn is_new(&self) -> bool {
        match &self.in_digest {
            Some(_) => self.in_version.is_none(),
            None => self.unknown() == Some(Unknown::NotLookedAt),
        }
    }

    /// As the attributes spell it, in the order of [`OWNED`].
    fn spelled(&self) -> [String; OWNED.len()] {
        fn text(value: Option<impl ToString>) -> String {
            value.map_or_else(
                || "null".to_owned(),
                |value| serde_json::Value::String(value.to_string()).to_string(),
            )
        }
        let reason = self.unknown().map(Unknown::as_str);
        [
            text(self.in_digest.as_ref()),
            text(self.out_digest.as_ref()),
            text(Some(self.status())),
            text(self.last_in_at),
            text(self.last_out_at),
            text(reason),
            text(self.in_version),
            text(self.in_by.as_ref()),
            text(self.out_version),
        ]
    }
}

/// An edge as it stands in the document.
#[derive(Debug, Clone)]
pub struct Declared {
    /// Its ends.
    pub ends: EdgeEnds,
    /// What it is known by.
    pub id: EdgeId,
    /// What is known of it.
    pub state: EdgeState,
    /// Where the service's attributes stand in the text.
    places: [Option<Range<usize>>; OWNED.len()],
    /// Where an attribute that is missing can be put.
    room: usize,
}

/// The graph as it is kept. Cheap to clone its bytes, not its edges.
#[derive(Debug, Clone)]
pub struct Document {
    text: Bytes,
    summary: StateSummary,
    edges: Vec<Declared>,
    by_id: BTreeMap<EdgeId, usize>,
    from: BTreeMap<String, Vec<usize>>,
    to: BTreeMap<String, Vec<usize>>,
}

impl Document {
    /// Reads a state as a graph.
    ///
    /// # Errors
    /// If it is none, or cannot be read.
    pub fn read(text: Bytes) -> Result<Self, DocumentError> {
        let summary = StateSummary::read(&text).map_err(DocumentError::NoState)?;
        if summary.encrypted {
            return Err(DocumentError::Encrypted);
        }
        let state: State<'_> = serde_json::from_slice(&text).map_err(|error| DocumentError::Odd {
            line: error.line(),
            column: error.column(),
        })?;
        let origin = text.as_ptr().addr();
        let mut edges = Vec::new();
        for resource in state.resources.unwrap_or_default() {
            if resource.kind.as_deref() != Some(RESOURCE) || resource.mode.as_deref() == Some("data") {
                continue;
            }
            for instance in resource.instances.unwrap_or_default() {
                // What is deposed waits to be destroyed.
                if instance.deposed.is_some() {
                    continue;
                }
                edges.extend(instance.attributes.and_then(|attributes| attributes.edge(origin)));
            }
        }
        let mut by_id = BTreeMap::new();
        let (mut from, mut to): (BTreeMap<String, Vec<usize>>, BTreeMap<String, Vec<usize>>) =
            Default::default();
        for (at, edge) in edges.iter().enumerate() {
            by_id.entry(edge.id.clone()).or_insert(at);
            // Under the name of the unit, however the edge spells it.
            let name = |unit: Option<UnitId>, spelled: &str| {
                unit.map_or(spelled.to_owned(), |unit| unit.to_string())
            };
            let ends = &edge.ends;
            from.entry(name(ends.from(), &ends.from_unit))
                .or_default()
                .push(at);
            to.entry(name(ends.to(), &ends.to_unit)).or_default().push(at);
        }
        Ok(Self {
            text,
            summary,
            edges,
            by_id,
            from,
            to,
        })
    }

    /// Every edge, in the order of the document. An edge that is declared twice stands there twice.
    #[must_use]
    pub fn edges(&self) -> &[Declared] {
        &self.edges
    }

    /// The edge of this id.
    #[must_use]
    pub fn edge(&self, id: &EdgeId) -> Option<&Declared> {
        self.by_id.get(id).map(|at| &self.edges[*at])
    }

    /// The edges whose output is of this unit.
    pub fn outgoing(&self, unit: &str) -> impl Iterator<Item = (usize, &Declared)> {
        self.of(&self.from, unit)
    }

    /// The edges whose input is of this unit.
    pub fn incoming(&self, unit: &str) -> impl Iterator<Item = (usize, &Declared)> {
        self.of(&self.to, unit)
    }

    fn of(
        &self,
        ends: &BTreeMap<String, Vec<usize>>,
        unit: &str,
    ) -> impl Iterator<Item = (usize, &Declared)> {
        let found = ends.get(unit).cloned().unwrap_or_default();
        found.into_iter().map(|at| (at, &self.edges[at]))
    }

    /// The document with these edges changed (by their place in [`Document::edges`]) and a serial of one more. Every
    /// other byte is as it was.
    ///
    /// # Errors
    /// If it has no serial that could be counted up.
    pub fn changed(&self, states: &BTreeMap<usize, EdgeState>) -> Result<Bytes, StateError> {
        let mut edits = Vec::new();
        for (at, state) in states {
            let edge = &self.edges[*at];
            for (which, spelled) in state.spelled().into_iter().enumerate() {
                let now = self.attribute(edge, which);
                let missing = now.is_none() && spelled == "null";
                if !missing && now != Some(spelled.as_str()) {
                    edits.push(edge.edit(which, spelled));
                }
            }
        }
        let serial = self.summary.serial.unwrap_or_default().saturating_add(1);
        written(&self.text, edits, serial)
    }

    /// What is to be kept of a graph that Terraform sends: everything as it is sent, but what is known of the edges, which
    /// `stored` knows better, and the serial, which exceeds both what is sent and what is `current`. An edge that is new here
    /// keeps what its target has taken; what its output is will be looked up.
    ///
    /// # Errors
    /// If the serial cannot be set.
    pub fn merged(stored: Option<&Self>, current: Option<u64>, sent: &Self) -> Result<Bytes, StateError> {
        let mut edits = Vec::new();
        for edge in &sent.edges {
            let known = stored.and_then(|stored| Some((stored, stored.edge(&edge.id)?)));
            for (which, name) in OWNED.into_iter().enumerate() {
                let now = sent.attribute(edge, which);
                let wanted = match known {
                    Some((stored, known)) => stored.attribute(known, which),
                    None if BROUGHT.contains(&name) => continue,
                    None if name == "status" => Some("\"unknown\""),
                    None if name == "reason" => Some("\"not-looked-at\""),
                    None => None,
                };
                match (now, wanted.unwrap_or("null")) {
                    (None, "null") => {}
                    (now, wanted) if now == Some(wanted) => {}
                    (_, wanted) => edits.push(edge.edit(which, wanted.to_owned())),
                }
            }
        }
        let sent_serial = sent.summary.serial.unwrap_or_default();
        let serial = match (current, stored) {
            (None, None) => sent_serial,
            (current, stored) => current
                .max(stored.and_then(|stored| stored.summary.serial))
                .unwrap_or_default()
                .max(sent_serial)
                .saturating_add(1),
        };
        written(&sent.text, edits, serial)
    }

    /// Whether the attributes of an edge say just what is read from them: another hand may have written them.
    #[must_use]
    pub fn is_well_spelled(&self, at: usize) -> bool {
        let edge = &self.edges[at];
        let spelled = edge.state.spelled();
        spelled
            .iter()
            .enumerate()
            .all(|(which, spelled)| self.attribute(edge, which).unwrap_or("null") == spelled)
    }

    /// A service's attribute of an edge, as it is written.
    fn attribute(&self, edge: &Declared, which: usize) -> Option<&str> {
        let place = edge.places[which].clone()?;
        self.text
            .get(place)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
    }
}

impl Declared {
    /// The edit that gives a service's attribute this value.
    fn edit(&self, which: usize, value: String) -> (Range<usize>, String) {
        match &self.places[which] {
            Some(place) => (place.clone(), value),
            None => (self.room..self.room, format!(",\"{}\":{value}", OWNED[which])),
        }
    }
}

/// The text with its edits made, and this serial.
fn written(text: &[u8], mut edits: Vec<(Range<usize>, String)>, serial: u64) -> Result<Bytes, StateError> {
    edits.sort_by_key(|(place, _)| place.start);
    let more: usize = edits.iter().map(|(_, value)| value.len()).sum();
    let mut changed = Vec::with_capacity(text.len() + more + 32);
    let mut copied = 0;
    for (place, value) in edits {
        changed.extend_from_slice(&text[copied..place.start]);
        changed.extend_from_slice(value.as_bytes());
        copied = place.end;
    }
    changed.extend_from_slice(&text[copied..]);
    set_serial(&mut changed, serial)?;
    Ok(changed.into())
}

#[derive(Deserialize)]
struct State<'a> {
    #[serde(borrow, default)]
    resources: Option<Vec<Resource<'a>>>,
}

#[derive(Deserialize)]
struct Resource<'a> {
    #[serde(borrow)]
    mode: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    instances: Option<Vec<Instance<'a>>>,
}

#[derive(Deserialize)]
struct Instance<'a> {
    #[serde(borrow)]
    deposed: Option<Cow<'a, str>>,
    #[serde(borrow)]
    attributes: Option<Attributes<'a>>,
}

/// What tells the ends of an edge.
const ENDS: [&str; 4] = ["from_unit_id", "from_output", "to_unit_id", "to_input"];

/// The attributes of an instance that concern us, as they are written.
struct Attributes<'a> {
    ends: [Option<&'a RawValue>; ENDS.len()],
    owned: [Option<&'a RawValue>; OWNED.len()],
    last: Option<&'a RawValue>,
}

impl Attributes<'_> {
    /// The edge that these declare, if they do; `origin` is where the document begins.
    fn edge(&self, origin: usize) -> Option<Declared> {
        let end = |which: usize| self.ends[which].and_then(text);
        let (from_unit, from_output, to_unit) = (end(0)?, end(1)?, end(2)?);
        let to_input = end(3).unwrap_or_else(|| from_output.clone());
        let ends = EdgeEnds::new(&from_unit, &from_output, &to_unit, &to_input);
        let place = |value: &RawValue| {
            let start = value.get().as_ptr().addr() - origin;
            start..start + value.get().len()
        };
        let owned = |name: &str| {
            let which = OWNED.iter().position(|owned| *owned == name)?;
            self.owned[which].and_then(text)
        };
        let digest = |name| {
            owned(name)
                .filter(|digest| !digest.is_empty())
                .and_then(|digest| digest.parse().ok())
        };
        let time = |name| owned(name).and_then(|at| at.parse().ok());
        let version = |name| owned(name).and_then(|version| version.parse().ok());
        Some(Declared {
            id: ends.id(),
            ends,
            state: EdgeState {
                in_digest: digest("in_digest"),
                out_digest: digest("out_digest"),
                reason: owned("reason").map(|word| Unknown::of_word(&word)),
                last_in_at: time("last_in_at"),
                last_out_at: time("last_out_at"),
                in_version: version("in_version"),
                in_by: owned("in_by").map(Principal::new),
                out_version: version("out_version"),
            },
            places: self.owned.map(|value| value.map(place)),
            room: place(self.last?).end,
        })
    }
}

fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str::<Option<String>>(value.get()).ok()?
}

impl<'de: 'a, 'a> Deserialize<'de> for Attributes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Attributes<'de>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("attributes")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut found = Attributes {
                    ends: [None; ENDS.len()],
                    owned: [None; OWNED.len()],
                    last: None,
                };
                while let Some(Name(name)) = map.next_key()? {
                    let value: &'de RawValue = map.next_value()?;
                    found.last = Some(value);
                    if let Some(which) = ENDS.iter().position(|end| *end == name) {
                        found.ends[which] = Some(value);
                    } else if let Some(which) = OWNED.iter().position(|owned| *owned == name) {
                        found.owned[which] = Some(value);
                    }
                }
                Ok(found)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// The name of an attribute, borrowed where it can be.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests;
