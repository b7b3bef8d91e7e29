//! What a change of a unit does to the edges at it: the graph follows writes.
//!
//! An output that changed gives the edges that leave it another `in_digest`; a write of a unit takes what its incoming
//! edges have, `out_digest := in_digest`. Both are said with the version they are said of. Versions of one unit are
//! ordered, so what is said late, by a replica that was slow, never undoes what was said since.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Digest, Document, EdgeState, Unknown};
use crate::state::OutputDigests;
use crate::{Principal, StateSummary, UnitId, VersionId, limits};

/// A unit as the source of edges: its outputs, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The version that is spoken of; none of a unit without a state.
    pub version: Option<VersionId>,
    /// The epoch of what is spoken of: that of the version, or of the end of the unit.
    pub epoch: u64,
    /// Who wrote it.
    pub by: Option<Principal>,
    /// When.
    pub at: Option<Timestamp>,
    /// Its outputs.
    pub outputs: Outputs,
}

/// What is known of a unit's outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outputs {
    /// Their digests.
    Known(OutputDigests),
    /// Nothing, and why.
    Unknown(Unknown),
}

impl Outputs {
    /// Those of a state that was read.
    #[must_use]
    pub fn of_state(summary: &StateSummary) -> Self {
        match summary.encrypted {
            true => Self::Unknown(Unknown::Encrypted),
            false => Self::Known(summary.outputs.clone()),
        }
    }

    fn of(&self, output: &str) -> Result<Digest, Unknown> {
        match self {
            Self::Unknown(reason) => Err(*reason),
            Self::Known(digests) => match digests.get(output) {
                None => Err(Unknown::NoOutput),
                Some(None) => Err(Unknown::Unreadable),
                Some(Some(digest)) => Ok(digest.clone()),
            },
        }
    }
}

impl Source {
    /// A unit that there is not, or that has no state; `epoch` is that of its end, and `last` the version that it had.
    #[must_use]
    pub fn nothing(epoch: u64, last: Option<VersionId>) -> Self {
        Self {
            version: last,
            epoch,
            by: None,
            at: None,
            outputs: Outputs::Unknown(Unknown::NoUnit),
        }
    }

    /// An edge that leaves this output, as it is now; `before` is what was known of it.
    #[must_use]
    pub fn seen_by(&self, output: &str, before: &EdgeState) -> EdgeState {
        let mut edge = before.clone();
        match self.outputs.of(output) {
            Ok(digest) => {
                edge.in_digest = Some(digest);
                edge.reason = None;
            }
            Err(reason) => {
                edge.in_digest = None;
                edge.reason = Some(reason);
            }
        }
        // Of an output that went with its unit, the last version that it had is what tells late news from new ones.
        if self.version.is_some() {
            edge.in_version = self.version;
        }
        if self.by.is_some() {
            edge.in_by.clone_from(&self.by);
        }
        edge.last_in_at = self.at.or(before.last_in_at);
        edge
    }

    /// Whether what stands at the edge was said of a later version than this.
    fn is_late_for(&self, edge: &EdgeState) -> bool {
        let is_over = edge.unknown() == Some(Unknown::NoUnit) && matches!(self.outputs, Outputs::Known(_));
        edge.in_version
            .is_some_and(|version| version.epoch > self.epoch || is_over && Some(version) == self.version)
    }
}

/// A unit as the target of edges: it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taking {
    /// By which version.
    pub version: VersionId,
    /// When.
    pub at: Timestamp,
    /// When its client had sent it, at the latest: what changed later they have not seen.
    pub sent: Timestamp,
    /// It is an old content that was made current again: what was taken by versions after this epoch is taken no more.
    pub back_to: Option<u64>,
    /// It is looked at later than it was written: for a write that is repeated, or where the graph could not be looked at.
    /// Then only what had not changed since is taken, by the clock: a mistake of it makes an edge pending.
    pub is_late: bool,
    /// What its incoming edges had, by their ids, when that was first looked at. Set by the first [`Change::apply`].
    seen: Option<BTreeMap<super::EdgeId, Option<Digest>>>,
}

impl Taking {
    /// That the unit was written by this version.
    #[must_use]
    pub fn by(version: VersionId, at: Timestamp) -> Self {
        Self {
            version,
            at,
            sent: at,
            back_to: None,
            is_late: false,
            seen: None,
        }
    }
}

/// What happened to a unit.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which unit.
    pub unit: UnitId,
    /// What its outputs are now.
    pub source: Source,
    /// The outputs of the version before, if it is known what is known of them: an output that this version changed is said
    /// to be so even where the edge shows its value already, for then another version is on its way to say something else.
    pub before: Option<Outputs>,
    /// That it was written, if it was.
    pub taking: Option<Taking>,
}

impl Change {
    /// What this does to the edges of a graph, on top of what is `changed` already, by their places.
    pub fn apply(&mut self, graph: &Document, changed: &mut BTreeMap<usize, EdgeState>) {
        for (at, edge) in graph.outgoing(self.unit.as_str()) {
            let now = changed.get(&at).unwrap_or(&edge.state);
            if self.source.is_late_for(now) {
                continue;
            }
            let next = self.source.seen_by(&edge.ends.from_output, now);
            let is_news = (&next.in_digest, next.unknown()) != (&now.in_digest, now.unknown())
                || now.is_new()
                || self.changed(&edge.ends.from_output) && next.in_version != now.in_version;
            if is_news {
                changed.insert(at, next);
            }
        }
        let unit = self.unit.as_str();
        let Some(taking) = &mut self.taking else { return };
        // What was said before this of the same edges comes first, as it would in a commit of its own.
        let (late, sent) = (taking.is_late, taking.sent);
        let seen = taking.seen.get_or_insert_with(|| {
            graph
                .incoming(unit)
                .map(|(at, edge)| (&edge.id, changed.get(&at).unwrap_or(&edge.state)))
                .filter(|(_, state)| state.unknown() != Some(Unknown::NotLookedAt))
                .filter(|(_, state)| !late || state.last_in_at.is_none_or(|changed| changed <= sent))
                .map(|(id, state)| (id.clone(), state.in_digest.clone()))
                .collect()
        });
        for (at, edge) in graph.incoming(unit) {
            let now = changed.get(&at).unwrap_or(&edge.state);
            let after = |epoch: u64| now.out_version.is_some_and(|version| version.epoch > epoch);
            let taken = match taking.back_to {
                Some(epoch) if after(epoch) => &None,
                Some(_) => continue,
                None => match seen.get(&edge.id) {
                    Some(taken) => taken,
                    None => continue,
                },
            };
            let is_said = after(taking.version.epoch) || now.out_version == Some(taking.version);
            if is_said || now.out_digest == *taken {
                continue;
            }
            let next = EdgeState {
                out_digest: taken.clone(),
                out_version: Some(taking.version),
                last_out_at: Some(taking.at),
                ..now.clone()
            };
            changed.insert(at, next);
        }
    }

    /// Whether this version changed that output.
    fn changed(&self, output: &str) -> bool {
        match (&self.before, &self.source.outputs) {
            (Some(Outputs::Known(before)), Outputs::Known(now)) => before.get(output) != now.get(output),
            (Some(Outputs::Unknown(before)), Outputs::Unknown(now)) => before != now,
            _ => true,
        }
    }
}

impl Taking {
    /// Whether it is known what its incoming edges had: it is not looked at twice.
    #[must_use]
    pub fn has_looked(&self) -> bool {
        self.seen.is_some()
    }

    /// Takes note of what the incoming edges of the unit have in this graph, before anything else is said of them.
    pub fn look_at(&mut self, unit: &UnitId, graph: &Document) {
        let edges = graph.incoming(unit.as_str());
        let known = edges.filter(|(_, edge)| edge.state.in_digest.is_some());
        self.seen.get_or_insert_with(|| {
            known
                .map(|(_, edge)| (edge.id.clone(), edge.state.in_digest.clone()))
                .collect()
        });
    }

    /// Says of these edges that the unit has them, on top of what is `changed` already: somebody has looked, or applied it
    /// without a change that would have been written.
    pub fn take_all(&self, unit: &UnitId, graph: &Document, changed: &mut BTreeMap<usize, EdgeState>) {
        for (place, edge) in graph.incoming(unit.as_str()) {
            let now = changed.get(&place).unwrap_or(&edge.state);
            let seen = self.seen.as_ref().and_then(|seen| seen.get(&edge.id));
            let Some(taken) = seen.filter(|taken| **taken != now.out_digest) else {
                continue;
            };
            let next = EdgeState {
                out_digest: taken.clone(),
                out_version: Some(self.version),
                last_out_at: Some(self.at),
                ..now.clone()
            };
            changed.insert(place, next);
        }
    }
}

/// Since when an output is worth what its version says, of which only is known when it was made: the swap that committed it
/// may have landed later, but not for ever. What is older than any request on its way has been there ever since.
fn settled_since(made: Timestamp, now: Timestamp) -> Timestamp {
    match now.duration_since(made) > limits::REQUEST_LANDS_WITHIN {
        true => made,
        false => now,
    }
}

/// What the edges of a graph would be if every source were looked at now: those that are something else, by their
/// places. `sources` are asked by the names of units; one that is not among them is left alone. What an edge was not told
/// in time counts as changed `now`: nobody knows who has seen it before.
#[must_use]
pub fn reconciled<'s>(
    graph: &Document,
    now: Timestamp,
    sources: impl Fn(&str) -> Option<&'s Source>,
) -> BTreeMap<usize, EdgeState> {
    let mut changed = BTreeMap::new();
    for (at, edge) in graph.edges().iter().enumerate() {
        let next = match (edge.ends.from(), sources(&edge.ends.from_unit)) {
            (None, _) => EdgeState {
                in_digest: None,
                reason: Some(Unknown::BadUnitId),
                ..edge.state.clone()
            },
            (Some(_), None) => continue,
            (Some(_), Some(source)) => source.seen_by(&edge.ends.from_output, &edge.state),
        };
        let is_beyond = |version: Option<VersionId>, source: Option<&Source>| {
            version
                .zip(source)
                .is_some_and(|(version, source)| version.epoch > source.epoch)
        };
        // Of a version that the unit never had: the graph comes from another bucket, and would be deaf to what is said here.
        let is_foreign = is_beyond(edge.state.in_version, sources(&edge.ends.from_unit));
        let took_foreign = is_beyond(edge.state.out_version, sources(&edge.ends.to_unit));
        let differs = (&next.in_digest, next.unknown()) != (&edge.state.in_digest, edge.state.unknown());
        let is_new = (edge.state.is_new() || is_foreign) && next.in_version != edge.state.in_version;
        let last_in_at = match is_new || edge.state.is_new() {
            true => next.last_in_at.map(|at| settled_since(at, now)),
            false => Some(now),
        };
        let next = match differs || is_new {
            true => EdgeState { last_in_at, ..next },
            false => edge.state.clone(),
        };
        if took_foreign {
            let next = EdgeState {
                out_version: None,
                ..next
            };
            changed.insert(at, next);
        } else if differs || is_new {
            changed.insert(at, next);
        } else if !graph.is_well_spelled(at) {
            changed.insert(at, edge.state.clone());
        }
    }
    changed
}

#[cfg(test)]
mod tests;
