//! What must hold of every history of the graph.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opentaco_domain::graph::document::OWNED;
use opentaco_domain::graph::{Digest, Document, EdgeEnds, EdgeState, UnitStatus, View};
use opentaco_domain::{Sha256, StateSummary, UnitId, VersionId};
use opentaco_storage::head::{Committed, Head, Origin};

use super::{Ask, Asked, History, Told};
use crate::executor::{Instant, nanos};
use crate::promise::{Broken, during};

/// In calm weather no write of a unit takes longer.
const CALM_WRITE_MAX: Duration = Duration::from_secs(5);

/// The graph as it was at some time: what lay there, and what can be read in it.
#[derive(Debug, Clone)]
struct Lay {
    committed: Committed,
    bytes: Bytes,
    read: Option<Arc<Document>>,
}

/// What a unit was at some time: what became current, and what its outputs are worth since.
#[derive(Debug, Clone)]
struct Fact {
    committed: Option<Committed>,
    outputs: BTreeMap<String, Digest>,
}

impl Fact {
    fn value(&self, output: &str) -> Option<Digest> {
        self.outputs.get(output).cloned()
    }
}

struct Story<'a> {
    history: &'a History,
    /// The graph, and none before it: each from its moment on.
    graph: Vec<(Instant, Option<Lay>)>,
    units: BTreeMap<String, Vec<(Instant, Fact)>>,
    /// What each version ever committed of a unit gave as outputs, and when.
    versions: BTreeMap<(String, VersionId), (Instant, Fact)>,
    broken: Vec<Broken>,
}

/// Which promises a history breaks.
#[must_use]
pub fn check(history: &History) -> Vec<Broken> {
    let mut story = Story::of(history);
    if !history.ended {
        story.breaks("it-ends", 0, "the history does not end by itself");
        return story.broken;
    }
    story.chain();
    story.answers();
    story.edges();
    story.takings();
    story.colours();
    story.end();
    story.broken
}

impl<'a> Story<'a> {
    fn of(history: &'a History) -> Self {
        let graph_unit = UnitId::graph();
        let mut graph = vec![(0, None)];
        let mut units = BTreeMap::new();
        let mut versions = BTreeMap::new();
        for (unit, heads) in &history.heads {
            let mut facts = vec![(0, Fact::nothing())];
            let mut before: Option<VersionId> = None;
            for (at, head) in heads {
                let version = head.current_version();
                if version == before {
                    continue;
                }
                before = version;
                let committed = head.current.clone();
                let bytes = version.and_then(|version| history.versions.get(&format!("{unit}/@/{version}")));
                let bytes = bytes.cloned().unwrap_or_default();
                if unit == graph_unit.as_str() {
                    graph.push((*at, committed.map(|committed| Lay::of(committed, bytes))));
                    continue;
                }
                let fact = Fact::of(committed, &bytes);
                if let Some(version) = version {
                    versions
                        .entry((unit.clone(), version))
                        .or_insert((*at, fact.clone()));
                }
                facts.push((*at, fact));
            }
            units.insert(unit.clone(), facts);
        }
        Self {
            history,
            graph,
            units,
            versions,
            broken: Vec::new(),
        }
    }

    fn breaks(&mut self, promise: &'static str, at: Instant, what: impl Into<String>) {
        let what = what.into();
        self.broken.push(Broken { promise, at, what });
    }

    /// Each version of the graph beside the one before it.
    fn chain(&mut self) {
        let empty = Vec::new();
        let heads = self.history.heads.get(UnitId::graph().as_str()).unwrap_or(&empty);
        for pair in heads.windows(2) {
            let [(_, before), (at, after)]: &[(Instant, Head)] = pair else {
                continue;
            };
            if after.epoch != before.epoch + 1 {
                self.breaks(
                    "graph-goes-on",
                    *at,
                    format!("epoch {} follows {}", after.epoch, before.epoch),
                );
            }
        }
        let graph = self.graph.clone();
        for pair in graph.windows(2) {
            let [(_, before), (at, Some(after))] = pair else {
                continue;
            };
            let version = after.committed.version;
            match after.committed.origin {
                Origin::Graph => {
                    let is_in_place = before
                        .as_ref()
                        .is_some_and(|before| stripped(&before.bytes) == stripped(&after.bytes));
                    if !is_in_place {
                        self.breaks(
                            "graph-goes-on",
                            *at,
                            format!("{version} of the service changes what is not its own"),
                        );
                    }
                }
                Origin::Write => self.sent(*at, before.as_ref(), after),
                _ => self.breaks("graph-goes-on", *at, format!("{version} came from nowhere")),
            }
            if let Some(before) = before.as_ref().filter(|_| after.read.is_some())
                && after.committed.serial <= before.committed.serial
            {
                self.breaks(
                    "graph-goes-on",
                    *at,
                    format!("the serial of {version} is not a later one"),
                );
            }
        }
    }

    /// What Terraform sent, as it was stored.
    fn sent(&mut self, at: Instant, before: Option<&Lay>, after: &Lay) {
        let version = after.committed.version;
        let is_it = |bytes: &Bytes| Sha256::of(bytes) == after.committed.sent_sha256;
        let sent = self.history.asked.iter().find_map(|asked| match &asked.ask {
            Ask::Post(bytes, _) if is_it(bytes) => Some(bytes),
            _ => None,
        });
        let is_stored = sent.is_some_and(|sent| match after.read {
            Some(_) => stripped(sent) == stripped(&after.bytes),
            None => *sent == after.bytes,
        });
        if !is_stored {
            self.breaks("sent-is-stored", at, format!("{version} is not what was sent"));
        }
        let Some((before, after)) = before
            .and_then(|before| before.read.as_ref())
            .zip(after.read.as_ref())
        else {
            return;
        };
        for edge in after.edges() {
            if let Some(known) = before.edge(&edge.id)
                && known.state != edge.state
            {
                let what = format!(
                    "{:?} was {:?} and is {:?} in {version}",
                    edge.ends, known.state, edge.state
                );
                self.breaks("known-stays-known", at, what);
            }
        }
    }

    /// What whoever writes is told.
    fn answers(&mut self) {
        let graph = UnitId::graph().to_string();
        for asked in &self.history.asked {
            let (unit, bytes) = match &asked.ask {
                Ask::Write(unit, bytes) => (*unit, bytes),
                Ask::Post(bytes, _) => (graph.as_str(), bytes),
                _ => continue,
            };
            let heads = self.history.heads.get(unit);
            let heads = heads.into_iter().flatten();
            let until = |(at, _): &&(Instant, Head)| *at <= asked.until;
            if asked.told == Told::Done {
                let sha256 = Sha256::of(bytes);
                let mut committed = heads
                    .clone()
                    .take_while(until)
                    .filter_map(|(_, head)| head.current.as_ref());
                if !committed.any(|committed| committed.sent_sha256 == sha256) {
                    self.breaks(
                        "acknowledged-is-there",
                        asked.until,
                        format!("{} wrote {unit} in vain", asked.who),
                    );
                }
            }
            if !matches!(asked.ask, Ask::Write(..)) {
                continue;
            }
            // Whoever deletes a unit while it is written is the only one who gets in the way of that.
            let is_deleted = heads.take_while(until).any(|(_, head)| head.deleted.is_some());
            let fails = !matches!(asked.told, Told::Done | Told::Unsure) && !is_deleted;
            let waits = self.history.calm && asked.until - asked.from > nanos(CALM_WRITE_MAX);
            if fails || waits {
                let what = format!("{} of {unit} is told {:?}", asked.who, asked.told);
                self.breaks("no-write-fails", asked.until, what);
            }
        }
    }

    /// Every edge of every version of the graph, where it is not what it was in the one before.
    fn edges(&mut self) {
        let mut known: BTreeMap<EdgeEnds, EdgeState> = BTreeMap::new();
        for (at, lay) in self.graph.clone() {
            let Some(document) = lay.and_then(|lay| lay.read) else {
                continue;
            };
            for edge in document.edges() {
                if known.insert(edge.ends.clone(), edge.state.clone()).as_ref() == Some(&edge.state) {
                    continue;
                }
                if let Some(lie) = self.lie(at, &edge.ends, &edge.state) {
                    self.breaks("edges-speak-truth", at, format!("{:?}: {lie}", edge.ends));
                }
            }
        }
    }

    /// What is not so of what an edge says.
    fn lie(&self, at: Instant, ends: &EdgeEnds, state: &EdgeState) -> Option<String> {
        let of = |unit: &str, version| {
            let found = self.versions.get(&(unit.to_owned(), version));
            found.filter(|(committed, _)| *committed <= at)
        };
        if let (Some(version), Some(digest)) = (state.in_version, &state.in_digest) {
            let Some((_, fact)) = of(&ends.from_unit, version) else {
                return Some(format!("{version} of its source was never committed"));
            };
            if fact.value(&ends.from_output).as_ref() != Some(digest) {
                return Some(format!("its output was not worth that in {version}"));
            }
        }
        let version = state.out_version?;
        if of(&ends.to_unit, version).is_none() {
            return Some(format!("{version} of its target was never committed"));
        }
        let digest = state.out_digest.as_ref()?;
        let facts = self.units.get(&ends.from_unit)?;
        let was = facts
            .iter()
            .any(|(since, fact)| *since <= at && fact.value(&ends.from_output).as_ref() == Some(digest));
        (!was).then(|| "its target took what its output never was worth".to_owned())
    }

    /// When the write that became this version was answered, at the latest if that is all that is known.
    fn answered(&self, unit: &str, committed: &Committed) -> Option<Instant> {
        let answers = self.history.asked.iter().filter(|asked| {
            let is_it = |bytes: &Bytes| Sha256::of(bytes) == committed.sent_sha256;
            let is_write = matches!(&asked.ask, Ask::Write(of, bytes) if *of == unit && is_it(bytes));
            is_write && asked.told == Told::Done
        });
        answers.map(|asked| asked.until).min()
    }

    /// Whoever is said to have taken a value that came after they were answered has not seen it.
    fn takings(&mut self) {
        let mut before: BTreeMap<EdgeEnds, EdgeState> = BTreeMap::new();
        for (at, lay) in self.graph.clone() {
            let Some(document) = lay.and_then(|lay| lay.read) else {
                continue;
            };
            for edge in document.edges() {
                let (ends, state) = (&edge.ends, &edge.state);
                let was = before.insert(ends.clone(), state.clone());
                let (Some(taker), Some(taken)) = (state.out_version, &state.out_digest) else {
                    continue;
                };
                let is_new = was.is_none_or(|was| was.out_version != Some(taker));
                if !is_new || state.in_digest.as_ref() != Some(taken) {
                    continue;
                }
                let written = self.versions.get(&(ends.to_unit.clone(), taker));
                let Some((from, committed)) =
                    written.and_then(|(at, fact)| Some((*at, fact.committed.clone()?)))
                else {
                    continue;
                };
                let Some(until) = self.answered(&ends.to_unit, &committed) else {
                    continue;
                };
                let given = state
                    .in_version
                    .and_then(|version| self.versions.get(&(ends.from_unit.clone(), version)));
                let came_later = given.is_some_and(|(given, _)| *given > until);
                if came_later
                    && !self.is_of_the_dead(&ends.to_unit, &committed, until, from)
                    && !self.could_be_seen(ends, taken, from, until)
                {
                    let what = format!("{ends:?}: {taker} took what was given after its answer");
                    self.breaks("taken-is-what-was-seen", at, what);
                }
            }
        }
    }

    /// Whether this may have been written by a request of which its replica, that had stood still, knew only when its
    /// client had been answered elsewhere. On a free unit that is a write like any other, and nothing tells that it is old.
    fn is_of_the_dead(&self, unit: &str, committed: &Committed, answered: Instant, from: Instant) -> bool {
        self.history.asked.iter().any(|asked| {
            let is_it = |bytes: &Bytes| Sha256::of(bytes) == committed.sent_sha256;
            let is_write = matches!(&asked.ask, Ask::Write(of, bytes) if *of == unit && is_it(bytes));
            let begun = asked.begun.get();
            is_write && begun.is_some_and(|begun| (answered..=from).contains(begun))
        })
    }

    /// Whether an output was worth that, or the graph said so, at some moment of this time.
    fn could_be_seen(&self, ends: &EdgeEnds, digest: &Digest, from: Instant, until: Instant) -> bool {
        let told = during(&self.graph, from, until).any(|lay| {
            let read = lay.as_ref().and_then(|lay| lay.read.as_ref());
            read.and_then(|read| read.edge(&ends.id()))
                .is_some_and(|edge| edge.state.in_digest.as_ref() == Some(digest))
        });
        let empty = Vec::new();
        let facts = self.units.get(&ends.from_unit).unwrap_or(&empty);
        let was =
            during(facts, from, until).any(|fact| fact.value(&ends.from_output).as_ref() == Some(digest));
        told || was
    }

    fn colours(&mut self) {
        for asked in &self.history.asked {
            let Ask::Status(unit) = asked.ask else { continue };
            let lays: Vec<&Option<Lay>> = during(&self.graph, asked.from, asked.until).collect();
            let is_unreadable = |lay: &&&Option<Lay>| lay.as_ref().is_some_and(|lay| lay.read.is_none());
            let unreadable = lays.iter().filter(is_unreadable).count();
            match &asked.told {
                Told::Colour(colour) if unreadable == lays.len() => {
                    let what = format!("{unit} is {colour:?} in a graph that cannot be read");
                    self.breaks("unreadable-is-no-colour", asked.until, what);
                }
                Told::Colour(colour)
                    if !lays
                        .iter()
                        .any(|lay| colour_in(lay.as_ref(), unit) == Some(*colour)) =>
                {
                    let what = format!("{unit} was {colour:?} at no moment");
                    self.breaks("status-fits", asked.until, what);
                }
                Told::Unreadable if unreadable == 0 => {
                    let what = format!("the graph could be read when {unit} was asked for");
                    self.breaks("status-fits", asked.until, what);
                }
                _ => {}
            }
        }
    }

    /// When all is quiet.
    fn end(&mut self) {
        let now = self.history.lines.last().map_or(0, |(at, _)| *at);
        for (index, life) in self.history.unpaid.clone() {
            self.breaks("debts-are-paid", now, format!("R{index}.{life} owes something"));
        }
        let readable = self
            .graph
            .last()
            .and_then(|(_, lay)| lay.as_ref())
            .is_some_and(|lay| lay.read.is_some());
        match &self.history.mended {
            None if readable => self.breaks(
                "edges-follow",
                now,
                "the graph could not be compared with the states",
            ),
            None => {}
            Some(mended) => {
                for ends in mended.clone() {
                    if !self.news_was_lost(&ends) {
                        let what = format!("{ends:?} does not say what its source says");
                        self.breaks("edges-follow", now, what);
                    }
                }
            }
        }
    }

    /// Whether everybody who could have told of the last change of an output died with it, or was not answered.
    fn news_was_lost(&self, ends: &EdgeEnds) -> bool {
        let Some(facts) = self.units.get(&ends.from_unit) else {
            return false;
        };
        let value = |at: usize| facts[at].1.value(&ends.from_output);
        let last = (1..facts.len()).rev().find(|at| value(*at) != value(at - 1));
        let Some(last) = last else { return false };
        (last..facts.len()).all(|at| {
            let (since, fact) = &facts[at];
            !self
                .history
                .asked
                .iter()
                .any(|asked| asked.has_told(&ends.from_unit, *since, fact, &self.history.indebted))
        })
    }
}

impl Asked {
    /// Whether this request brought a unit to this, and the graph heard of it before the answer, or owes it to a replica
    /// that lives.
    fn has_told(&self, unit: &str, since: Instant, fact: &Fact, indebted: &[(usize, u32)]) -> bool {
        let is_it = match (&self.ask, &fact.committed) {
            (Ask::Write(of, bytes), Some(committed)) => {
                *of == unit && Sha256::of(bytes) == committed.sent_sha256
            }
            (Ask::Delete(of), None) => *of == unit && self.from <= since,
            _ => false,
        };
        is_it && self.told == Told::Done && self.until >= since && !indebted.contains(&self.of)
    }
}

impl Lay {
    fn of(committed: Committed, bytes: Bytes) -> Self {
        let read = Document::read(bytes.clone()).ok().map(Arc::new);
        Self {
            committed,
            bytes,
            read,
        }
    }
}

impl Fact {
    fn nothing() -> Self {
        Self {
            committed: None,
            outputs: BTreeMap::new(),
        }
    }

    fn of(committed: Option<Committed>, bytes: &Bytes) -> Self {
        let outputs = match (&committed, StateSummary::read(bytes)) {
            (Some(_), Ok(summary)) => summary.outputs,
            _ => Default::default(),
        };
        let outputs = outputs
            .iter()
            .filter_map(|(name, digest)| Some((name.to_string(), digest.clone()?)))
            .collect();
        Self { committed, outputs }
    }
}

/// The colour of a unit in a graph; none in one that cannot be read.
fn colour_in(lay: Option<&Lay>, unit: &str) -> Option<UnitStatus> {
    let Some(lay) = lay else {
        return Some(UnitStatus::Green);
    };
    let edges = lay.read.as_ref()?.edges().iter().map(|edge| {
        let ends = &edge.ends;
        (
            ends.from_unit.as_str(),
            ends.to_unit.as_str(),
            edge.state.status(),
        )
    });
    Some(View::new(edges).status(unit))
}

/// A document without its serial and without what is known of its edges, byte for byte.
fn stripped(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    let mut names: BTreeSet<&str> = OWNED.into_iter().collect();
    names.insert("serial");
    for name in names {
        let key = format!("\"{name}\":");
        while let Some(at) = text.find(&key) {
            let start = text[..at].trim_end().strip_suffix(',').map_or(at, str::len);
            let rest = text[at + key.len()..].trim_start();
            let begins = text.len() - rest.len();
            let length = match rest.strip_prefix('"') {
                Some(string) => string.find('"').map_or(rest.len(), |end| end + 2),
                None => rest.find([',', '}']).unwrap_or(rest.len()),
            };
            text.replace_range(start..begins + length, "");
        }
    }
    text
}
