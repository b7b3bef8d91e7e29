//! What must hold of every history. The bucket saw every head in order, so what was true when is known exactly; each
//! answer a client was given has to fit some moment between its question and its answer.

mod answers;
mod causes;
pub(crate) mod claims;
mod copies;
mod hands;
mod sessions;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use opentaco_domain::{LockId, Session, Sha256, UnitId, VersionId, limits};
use opentaco_storage::head::{Head, Origin};
use opentaco_storage::is_vacant;

use crate::bucket::Event;
use crate::executor::Instant;
use crate::world::{Ask, EPILOGUE, History, Record, Told};

/// Who looks at every unit when all is quiet, in every world.
const END: &str = "end";
/// The clocks of two replicas are no further apart than this.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(2 * 3600);

/// A promise that a history breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which: see [`INVARIANTS`].
    pub invariant: &'static str,
    /// About which unit.
    pub unit: UnitId,
    /// When it was seen.
    pub at: Instant,
    /// What exactly.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of `{}` at {:.3} s: {}",
            self.invariant,
            self.unit,
            seconds(self.at),
            self.what
        )
    }
}

/// What is checked, each by its name.
pub const INVARIANTS: &[(&str, &str)] = &[
    (
        "one-chain",
        "every head follows the one before it, none is written over unseen",
    ),
    (
        "no-stale-commit",
        "no version becomes current under a lock that is not held at that moment",
    ),
    (
        "one-lock",
        "a lock is taken only from nobody, and an id that was released is not taken again",
    ),
    (
        "nothing-unasked",
        "no lock is taken or ends, and no version comes, without a request for it or a lock that lay there before",
    ),
    (
        "answers-fit",
        "what a client is told was true at some moment between question and answer",
    ),
    (
        "never-empty",
        "no unit reads as empty while a state that somebody put lies in its copy",
    ),
    (
        "durable",
        "every acknowledged write is in the history, with its very bytes, until it is pruned as it may be, and can be read",
    ),
    (
        "refused-is-kept",
        "what was refused for its lock can be recovered",
    ),
    (
        "refused-has-no-effect",
        "what was refused never happens by itself, and no request happens twice",
    ),
    (
        "copy-is-current",
        "when a write is acknowledged, the copy holds it or what came after it",
    ),
    (
        "copy-never-goes-back",
        "the service never puts an older version over a newer one, nor over one that was acknowledged",
    ),
    (
        "copy-holds-versions",
        "the service puts nothing into the copy that no head had named",
    ),
    (
        "copies-converge",
        "once activity stops, the copy holds what the head names",
    ),
    (
        "no-strangers",
        "only what a person put by hand is adopted as external",
    ),
    (
        "adopted-as-it-stands",
        "nothing is adopted that the service has overwritten since",
    ),
    (
        "adopted-in-place",
        "the first head of an older unit names the state and the lock that lie there",
    ),
    (
        "judged-once",
        "what was judged to be refused, or ours, is not adopted later",
    ),
    (
        "hand-written-is-not-lost",
        "what a person put by hand and the service replaced is in the history or kept",
    ),
    (
        "hands-are-honoured",
        "what a person put by hand is refused only for a holder who has committed, undone only where the copy may lag, and read otherwise",
    ),
    (
        "late-stays-late",
        "under one lock, an older write never follows a newer one",
    ),
    (
        "no-stale-session",
        "no session whose lock was broken writes before it has locked again, nor what it signed before its lock ended",
    ),
    (
        "retry-breaks-nothing",
        "the removal of a lock file that is sent again breaks nobody else's lock",
    ),
    (
        "upload-is-its-parts",
        "an upload that is completed has become the state, and is exactly its parts",
    ),
    ("it-ends", "every history comes to an end"),
];

/// One state of the copy.
#[derive(Debug)]
struct Copied {
    /// Which one, counted from the first.
    index: usize,
    at: Instant,
    by_hand: bool,
    /// What it held; nothing if it was deleted.
    bytes: Option<Bytes>,
}

/// One unit's story, as the bucket saw it.
struct Story<'a> {
    unit: &'a UnitId,
    history: &'a History,
    heads: Vec<(Instant, Head)>,
    copies: Vec<Copied>,
    /// What clients asked about it and were told, in the order of the answers.
    records: Vec<Record>,
    rejected: BTreeMap<String, (Instant, Bytes)>,
    /// Which of the copies landed late on one that looked like the one it was meant for.
    misplaced: BTreeSet<usize>,
    violations: Vec<Violation>,
}

/// Everything that a history breaks.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    let events = history.bucket.events();
    for unit in &history.units {
        let mut story = Story {
            unit,
            history,
            heads: heads(events, unit),
            copies: copies(events, unit),
            records: records(history, unit),
            rejected: rejected(events, unit),
            misplaced: BTreeSet::new(),
            violations: Vec::new(),
        };
        story.chain();
        story.causes(events);
        story.sessions();
        story.answers();
        story.durability(events);
        story.kept_in_place(events);
        story.copy();
        story.hands(events);
        story.end();
        violations.append(&mut story.violations);
    }
    violations
}

fn heads(events: &[Event], unit: &UnitId) -> Vec<(Instant, Head)> {
    let key = format!("__opentaco_units/{unit}/@head.json");
    let puts = events
        .iter()
        .filter(|event| event.key == key)
        .filter_map(|event| match &event.now {
            Some(Some(bytes)) => Some((
                event.at,
                serde_json::from_slice(bytes).expect("the service writes heads that can be read"),
            )),
            _ => None,
        });
    puts.collect()
}

fn copies(events: &[Event], unit: &UnitId) -> Vec<Copied> {
    let key = unit.state_key();
    let changes = events.iter().filter(|event| event.key == key);
    changes
        .filter_map(|event| event.now.clone().map(|now| (event, now)))
        .enumerate()
        .map(|(index, (event, bytes))| Copied {
            index,
            at: event.at,
            by_hand: event.by.is_none(),
            bytes,
        })
        .collect()
}

fn records(history: &History, unit: &UnitId) -> Vec<Record> {
    let records = history.records.iter();
    records.filter(|record| record.unit == *unit).cloned().collect()
}

/// What was kept of refused writes: when it first was there, and the bytes.
fn rejected(events: &[Event], unit: &UnitId) -> BTreeMap<String, (Instant, Bytes)> {
    let prefix = format!("__opentaco_rejected/{unit}/@/");
    let mut rejected = BTreeMap::new();
    for event in events.iter().filter(|event| event.key.starts_with(&prefix)) {
        if let Some(Some(bytes)) = &event.now {
            rejected
                .entry(event.key.clone())
                .or_insert((event.at, bytes.clone()));
        }
    }
    rejected
}

impl Story<'_> {
    fn broken(&mut self, invariant: &'static str, at: Instant, what: impl Into<String>) {
        self.violations.push(Violation {
            invariant,
            unit: self.unit.clone(),
            at,
            what: what.into(),
        });
    }

    /// Each head beside the one before it.
    fn chain(&mut self) {
        let heads = std::mem::take(&mut self.heads);
        let mut sessions: BTreeMap<(LockId, u32), u64> = BTreeMap::new();
        let mut over: BTreeSet<LockId> = BTreeSet::new();
        for (index, (at, head)) in heads.iter().enumerate() {
            let before = index.checked_sub(1).map(|before| &heads[before].1);
            let epoch = before.map_or(0, |before| before.epoch) + 1;
            if head.epoch != epoch {
                self.broken(
                    "one-chain",
                    *at,
                    format!("epoch {} follows epoch {}", head.epoch, epoch - 1),
                );
            }
            self.lock_step(*at, before, head, &mut over);
            self.commit_step(*at, before, head, &mut sessions);
        }
        self.heads = heads;
    }

    /// A lock is taken from nobody, stays as it is, and is over when it ends. `over`: those that have ended so far.
    fn lock_step(&mut self, at: Instant, before: Option<&Head>, head: &Head, over: &mut BTreeSet<LockId>) {
        let old = before.and_then(|before| before.lock.as_ref());
        if old == head.lock.as_ref() {
            return;
        }
        if let Some(old) = old {
            if let Some(new) = &head.lock {
                self.broken(
                    "one-lock",
                    at,
                    format!("lock {} replaces lock {}", new.info.id, old.info.id),
                );
            }
            if !head.released.contains(&old.info.id) {
                self.broken(
                    "one-lock",
                    at,
                    format!("lock {} ended, and is not over", old.info.id),
                );
            }
            over.insert(old.info.id.clone());
        }
        if let Some(new) = head.lock.as_ref().filter(|new| over.contains(&new.info.id)) {
            self.broken(
                "one-lock",
                at,
                format!("lock {} is taken again after it was released", new.info.id),
            );
        }
    }

    fn commit_step(
        &mut self,
        at: Instant,
        before: Option<&Head>,
        head: &Head,
        sessions: &mut BTreeMap<(LockId, u32), u64>,
    ) {
        let Some(current) = &head.current else { return };
        if before.and_then(Head::current_version) == Some(current.version) {
            return;
        }
        if let Some(before) = before
            && let Some(old) = &before.current
            && !head.names(&old.version)
        {
            self.broken(
                "durable",
                at,
                format!(
                    "version {} left the history when {} came",
                    old.version, current.version
                ),
            );
        }
        let held = before.and_then(|before| before.lock.as_ref());
        match current.origin {
            Origin::External | Origin::Adopted => {}
            // Whoever holds the graph: but it is under nobody's lock.
            Origin::Graph => {
                if current.lock_id.is_some() || current.version.session != Session::NONE {
                    let what = format!("{} of the service was committed under a lock", current.version);
                    self.broken("no-stale-commit", at, what);
                }
            }
            Origin::Write | Origin::Restore(_) | Origin::Promote(_) | Origin::Undelete => {
                let session = held.map_or(Session::NONE, |lock| lock.session);
                if held.map(|lock| &lock.info.id) != current.lock_id.as_ref()
                    || session != current.version.session
                {
                    let what = format!(
                        "{} was committed under {:?} while {:?} held the unit",
                        current.version,
                        current.lock_id.as_ref().map(LockId::as_str),
                        held.map(|lock| lock.info.id.as_str())
                    );
                    self.broken("no-stale-commit", at, what);
                }
            }
        }
        if before.is_some() && held != head.lock.as_ref() {
            self.broken(
                "no-stale-commit",
                at,
                format!("{} changed the lock as it was committed", current.version),
            );
        }
        if let (Some(id), Some(serial)) = (&current.lock_id, current.sent_serial) {
            let newest = sessions
                .entry((id.clone(), current.version.session.0))
                .or_default();
            if serial < *newest {
                self.broken(
                    "late-stays-late",
                    at,
                    format!("serial {serial} follows serial {newest} under lock {id}"),
                );
            }
            *newest = serial.max(*newest);
        }
    }

    /// The heads that were true at some moment of a request; `None` for the time before there was one.
    fn during(&self, from: Instant, until: Instant) -> Vec<Option<&Head>> {
        let mut seen = Vec::new();
        let mut since = 0;
        let mut current = None;
        for (at, head) in &self.heads {
            if since <= until && *at >= from {
                seen.push(current);
            }
            current = Some(head);
            since = *at;
        }
        if since <= until {
            seen.push(current);
        }
        seen
    }

    /// What the copy held at some moment of a request; `None` for the time before there was one.
    fn copies_during(&self, from: Instant, until: Instant) -> Vec<Option<&Copied>> {
        let mut seen = Vec::new();
        let mut since = 0;
        let mut current = None;
        for copied in &self.copies {
            if since <= until && copied.at >= from {
                seen.push(current);
            }
            current = Some(copied);
            since = copied.at;
        }
        if since <= until {
            seen.push(current);
        }
        seen
    }

    /// Every version that was ever committed, by its name.
    fn committed(&self) -> BTreeSet<VersionId> {
        self.heads
            .iter()
            .filter_map(|(_, head)| head.current_version())
            .collect()
    }

    /// When a version became current.
    fn committed_at(&self, version: VersionId) -> Option<Instant> {
        let first = self
            .heads
            .iter()
            .find(|(_, head)| head.current_version() == Some(version));
        first.map(|(at, _)| *at)
    }

    fn durability(&mut self, events: &[Event]) {
        let Some((now, last)) = self.heads.last().cloned() else {
            return;
        };
        for version in self.committed() {
            let key = format!("__opentaco_versions/{}/@/{version}", self.unit);
            let bytes = self.history.bucket.person_gets(&key);
            if !last.names(&version) {
                if !self.was_pruned(&version) {
                    self.broken(
                        "durable",
                        now,
                        format!("version {version} was committed and is not in the history"),
                    );
                }
            } else if bytes.is_none_or(|bytes| Sha256::of(&bytes) != version.sha256) {
                self.broken(
                    "durable",
                    now,
                    format!("the bytes of version {version} are not there"),
                );
            }
            // Not only in the end: the replica that committed it may die the next instant, and nobody puts them then.
            let committed = self.committed_at(version).unwrap_or(now);
            let changes = events
                .iter()
                .filter(|event| event.key == key && event.now.is_some());
            let there = changes.take_while(|event| event.at <= committed).last();
            if !there.is_some_and(|event| matches!(event.now, Some(Some(_)))) {
                self.broken(
                    "durable",
                    committed,
                    format!("version {version} was committed before its bytes were there"),
                );
            }
        }
        for record in &self.records.clone() {
            let is_write = record.ask.sent().is_some();
            if is_write && matches!(record.told, Told::Done | Told::Saved) && self.written(record).is_none() {
                self.broken(
                    "durable",
                    record.until,
                    format!(
                        "a write of {} was acknowledged and was never committed",
                        record.client
                    ),
                );
            }
            let all_is_quiet = record.client == END || record.client == EPILOGUE;
            if all_is_quiet && record.ask == Ask::Read && record.told == Told::Unavailable {
                self.broken(
                    "durable",
                    record.until,
                    "nothing goes wrong any more, and what is current cannot be read",
                );
            }
        }
    }

    /// Whether a version left the history as one may: because there were more than are kept, it was old enough, and the
    /// copy was known to hold a later one. Of a unit with a state whose copy is known to hold no version, none may go. What
    /// the service wrote of the graph goes sooner: a few of those are kept, and none for its age.
    fn was_pruned(&self, version: &VersionId) -> bool {
        let step = self
            .heads
            .windows(2)
            .find(|pair| pair[0].1.names(version) && !pair[1].1.names(version));
        let Some([(_, before), (at, after)]) = step else {
            return false;
        };
        let remain = after.known().count() + after.kept.len();
        let is_past = match before.copy.as_ref().and_then(|copy| copy.version) {
            Some(holds) => version.epoch < holds.epoch,
            None => before.current.is_none(),
        };
        if self.is_of_the_graph(version) {
            let newer = self
                .committed()
                .into_iter()
                .filter(|other| other.epoch > version.epoch);
            let newer = newer.filter(|other| self.is_of_the_graph(other)).count();
            return is_past && newer >= limits::RECENT_GRAPH_VERSIONS_MAX;
        }
        let retention = &self.history.retention;
        let age = Duration::from_nanos(*at) + CLOCKS_APART_MAX;
        remain >= retention.versions_max && is_past && age >= retention.versions_min_age
    }

    /// Whether the service wrote it, for the graph to follow what became of a unit.
    fn is_of_the_graph(&self, version: &VersionId) -> bool {
        let mut currents = self.heads.iter().filter_map(|(_, head)| head.current.as_ref());
        currents.any(|current| current.version == *version && current.origin == Origin::Graph)
    }

    /// Heads and copies are never deleted, refused writes are not deleted so soon, and versions not while a head names
    /// them. For copies see [`Story::copy`].
    fn kept_in_place(&mut self, events: &[Event]) {
        let (head, rejected) = (self.head_key(), self.rejected_key(""));
        let versions = format!("__opentaco_versions/{}/@/", self.unit);
        let deletions = events
            .iter()
            .filter(|event| event.now == Some(None) && event.by.is_some());
        for event in deletions {
            if event.key == head {
                self.broken("one-chain", event.at, "the head was deleted");
            } else if event.key.starts_with(&rejected) {
                self.broken("refused-is-kept", event.at, format!("{} was deleted", event.key));
            } else if let Some(version) = event.key.strip_prefix(&versions) {
                let Ok(version) = version.parse::<VersionId>() else {
                    continue;
                };
                // Where a head came at the very same time, either may have been first.
                let heads = self.during(event.at, event.at);
                if heads
                    .iter()
                    .all(|head| head.is_some_and(|head| head.names(&version)))
                {
                    self.broken(
                        "durable",
                        event.at,
                        format!("version {version} was deleted while the head named it"),
                    );
                }
            }
        }
    }

    fn head_key(&self) -> String {
        format!("__opentaco_units/{}/@head.json", self.unit)
    }

    fn rejected_key(&self, id: &str) -> String {
        format!("__opentaco_rejected/{}/@/{id}", self.unit)
    }

    fn end(&mut self) {
        let now = self.history.now;
        if !self.history.ended {
            self.broken("it-ends", now, "it goes on and on");
            return;
        }
        let Some((_, last)) = self.heads.last().cloned() else {
            return;
        };
        let copy = self
            .history
            .bucket
            .person_gets(&self.unit.state_key())
            .filter(|bytes| !is_vacant(bytes));
        let holds = copy.as_ref().map(|bytes| Sha256::of(bytes));
        let named = last.current.as_ref().map(|current| current.sha256);
        if holds != named {
            let what = format!(
                "the copy holds {:?} and the head names {:?}",
                holds.map(|h| h.short()),
                named.map(|n| n.short())
            );
            self.broken("copies-converge", now, what);
        }
    }
}

/// An ask without its bytes.
#[must_use]
pub fn spell(ask: &Ask) -> String {
    match ask {
        Ask::Lock(id) => format!("LOCK {}", tail(id)),
        Ask::Unlock(id) => format!("UNLOCK {}", tail(id)),
        Ask::ForceUnlock => "UNLOCK by force".to_owned(),
        Ask::Read => "GET".to_owned(),
        Ask::Write { bytes, lock } => {
            let under = lock.as_ref().map_or("no lock".to_owned(), tail);
            format!("POST {} under {under}", Sha256::of(bytes).short())
        }
        Ask::Create => "create".to_owned(),
        Ask::Delete => "DELETE".to_owned(),
        Ask::Undelete => "undelete".to_owned(),
        Ask::Restore(version) => format!("restore {}", version.epoch),
        Ask::Promote(id) => format!("promote {id}"),
        Ask::S3(ask) => ask.spelled(),
    }
}

/// An answer without its bytes.
#[must_use]
pub fn short(told: &Told) -> String {
    match told {
        Told::State(bytes) => format!("state {}", Sha256::of(bytes).short()),
        Told::Locked(id) => format!("locked by {}", tail(id)),
        Told::Refused(kept) => format!("refused, {}", if kept.is_some() { "kept" } else { "not kept" }),
        other => format!("{other:?}"),
    }
}

pub(crate) fn tail(id: &LockId) -> String {
    let id = id.as_str();
    id.rsplit('-')
        .next()
        .unwrap_or(id)
        .trim_start_matches('0')
        .to_owned()
}

/// Seconds of virtual time.
#[must_use]
pub fn seconds(at: Instant) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let nanos = at as f64;
    nanos / 1e9
}
