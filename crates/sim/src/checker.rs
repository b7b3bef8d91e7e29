//! What must hold of every history. The bucket saw every head in order, so what was true when is known exactly; each
//! answer a client was given has to fit some moment between its question and its answer.

mod hands;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use opentaco_domain::{LockId, Sha256, UnitId, VersionId};
use opentaco_storage::head::{Head, Origin};
use opentaco_storage::is_vacant;

use crate::bucket::Event;
use crate::executor::Instant;
use crate::world::{Ask, History, Record, Told};

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
        "answers-fit",
        "what a client is told was true at some moment between question and answer",
    ),
    (
        "never-empty",
        "no unit reads as empty while a state that somebody put lies in its copy",
    ),
    (
        "durable",
        "every acknowledged write is in the history, with its very bytes, until it is pruned as it may be",
    ),
    (
        "refused-is-kept",
        "what was refused for its lock can be recovered",
    ),
    (
        "refused-has-no-effect",
        "what was refused never becomes current by itself",
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
    ("it-ends", "every history comes to an end"),
];

/// One unit's story, as the bucket saw it.
struct Story<'a> {
    unit: &'a UnitId,
    history: &'a History,
    heads: Vec<(Instant, Head)>,
    copies: Vec<(Instant, bool, Option<Bytes>)>,
    rejected: BTreeMap<String, (Instant, Bytes)>,
    /// What landed late on a copy that looked like the one it was meant for.
    misplaced: BTreeSet<Sha256>,
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
            heads: heads(&events, unit),
            copies: copies(&events, unit),
            rejected: rejected(&events, unit),
            misplaced: BTreeSet::new(),
            violations: Vec::new(),
        };
        story.chain();
        story.answers();
        story.durability();
        story.copy();
        story.hands(&events);
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

fn copies(events: &[Event], unit: &UnitId) -> Vec<(Instant, bool, Option<Bytes>)> {
    let key = unit.state_key();
    events
        .iter()
        .filter(|event| event.key == key)
        .filter_map(|event| {
            let now = event.now.clone()?;
            Some((event.at, event.by.is_none(), now.map(state_in)))
        })
        .collect()
}

/// The state that lies in a copy: none, where it is a note that there is none.
fn state_in(copy: Bytes) -> Bytes {
    match is_vacant(&copy) {
        true => Bytes::new(),
        false => copy,
    }
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
        let blank = None;
        for (index, (at, head)) in heads.iter().enumerate() {
            let before = index
                .checked_sub(1)
                .map_or(blank, |before| Some(&heads[before].1));
            let epoch = before.map_or(0, |before| before.epoch) + 1;
            if head.epoch != epoch {
                self.broken(
                    "one-chain",
                    *at,
                    format!("epoch {} follows epoch {}", head.epoch, epoch - 1),
                );
            }
            self.lock_step(*at, before, head);
            self.commit_step(*at, before, head, &mut sessions);
        }
        self.heads = heads;
    }

    fn lock_step(&mut self, at: Instant, before: Option<&Head>, head: &Head) {
        let Some(before) = before else { return };
        match (&before.lock, &head.lock) {
            (None, Some(lock)) if before.released.contains(&lock.info.id) => {
                self.broken(
                    "one-lock",
                    at,
                    format!("lock {} is taken again after it was released", lock.info.id),
                );
            }
            (Some(old), Some(new)) if old.session != new.session => {
                self.broken(
                    "one-lock",
                    at,
                    format!("lock {} replaces lock {}", new.info.id, old.info.id),
                );
            }
            _ => {}
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
            Origin::Write | Origin::Restore(_) | Origin::Promote(_) | Origin::Undelete => {
                if held.map(|lock| &lock.info.id) != current.lock_id.as_ref() {
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

    /// What the copy held at some moment of a request, and whether a person had put it there.
    fn copies_during(&self, from: Instant, until: Instant) -> Vec<(bool, Option<&Bytes>)> {
        let mut seen = Vec::new();
        let mut since = 0;
        let mut current = (false, None);
        for (at, by_hand, bytes) in &self.copies {
            if since <= until && *at >= from {
                seen.push(current);
            }
            current = (*by_hand, bytes.as_ref());
            since = *at;
        }
        if since <= until {
            seen.push(current);
        }
        seen
    }

    fn answers(&mut self) {
        let records: Vec<Record> = self
            .history
            .records
            .iter()
            .filter(|record| record.unit == *self.unit)
            .cloned()
            .collect();
        for record in &records {
            if record.ask == Ask::Read && record.told == Told::NoState && !self.may_look_empty(record) {
                self.broken(
                    "never-empty",
                    record.until,
                    format!("{} was told that there is no state", record.client),
                );
            }
            if let Err(what) = self.fits(record) {
                self.broken(
                    "answers-fit",
                    record.until,
                    format!("{} {}: {what}", record.client, spell(&record.ask)),
                );
            }
            self.refusal(record, &records);
        }
    }

    fn fits(&self, record: &Record) -> Result<(), String> {
        let heads = self.during(record.from, record.until);
        let holder = |head: &Option<&Head>| {
            head.and_then(|head| head.lock.as_ref())
                .map(|lock| lock.info.id.clone())
        };
        let some = |fits: &dyn Fn(&Option<&Head>) -> bool| heads.iter().any(fits);
        let fits = match (&record.ask, &record.told) {
            (Ask::Lock(id), Told::Done) => some(&|head| holder(head).as_ref() == Some(id)),
            (Ask::Lock(id), Told::Locked(other)) => {
                id != other && some(&|head| holder(head).as_ref() == Some(other))
            }
            (Ask::Lock(id), Told::LockOver) => {
                some(&|head| head.is_some_and(|head| head.released.contains(id)))
            }
            (Ask::Unlock(id), Told::Done) => some(&|head| holder(head).as_ref() != Some(id)),
            (Ask::Unlock(id), Told::Refused(_)) => some(&|head| {
                holder(head).is_some_and(|other| other != *id)
                    && head.is_some_and(|head| !head.released.contains(id))
            }),
            (Ask::ForceUnlock, Told::Done) => some(&|head| holder(head).is_none()) || self.lock_ended(record),
            (Ask::Read, Told::State(bytes)) => {
                let sha256 = Sha256::of(bytes);
                some(&|head| match head {
                    Some(head) => head
                        .current
                        .as_ref()
                        .is_some_and(|current| current.sha256 == sha256),
                    None => self
                        .copies_during(record.from, record.until)
                        .iter()
                        .any(|(_, copy)| copy.is_some_and(|copy| copy == bytes)),
                })
            }
            (Ask::Read, Told::NoState) => some(&|head| head.is_none_or(|head| head.current.is_none())),
            (Ask::Write { lock: Some(id), .. }, Told::Refused(_)) => {
                some(&|head| holder(head).as_ref() != Some(id)) || self.was_late(record)
            }
            (Ask::Write { lock: None, .. }, Told::Refused(_)) => {
                some(&|head| holder(head).is_some() || head.is_some_and(|head| head.deleted.is_some()))
            }
            // Without a lock the same bytes may be meant anew, and then they have to be current anew.
            (Ask::Write { bytes, lock: None }, Told::Done | Told::Saved) => {
                let sha256 = Sha256::of(bytes);
                some(&|head| {
                    head.and_then(|head| head.current.as_ref())
                        .is_some_and(|current| current.sent_sha256 == sha256)
                })
            }
            (Ask::Write { bytes, lock: Some(_) }, Told::Done | Told::Saved) => {
                self.committed_by(bytes, record.until)
            }
            (Ask::Delete, Told::Done) => some(&|head| head.is_none_or(|head| !head.exists())),
            (Ask::Create | Ask::Undelete, Told::Done) => some(&|head| head.is_some_and(Head::exists)),
            _ => true,
        };
        if fits {
            Ok(())
        } else {
            Err(format!(
                "told {:?}, which was true at no moment of the request",
                short(&record.told)
            ))
        }
    }

    /// Whether at some moment of a request nothing lay in the copy, or nothing that a person had put.
    fn may_look_empty(&self, record: &Record) -> bool {
        let copies = self.copies_during(record.from, record.until);
        let heads = self.during(record.from, record.until);
        let deleted = |bytes: &Bytes| {
            let sha256 = Sha256::of(bytes);
            heads.iter().flatten().any(|head| {
                head.current.is_none() && head.recent.iter().any(|version| version.sha256 == sha256)
            })
        };
        let none_is_named = heads.iter().flatten().any(|head| head.current.is_none());
        let refused = |bytes: &Bytes| none_is_named && self.rejected.values().any(|(_, kept)| kept == bytes);
        // What we have put is known to the head, and so is what was adopted before it was deleted, or refused.
        let is_known = |bytes: &Bytes| bytes.is_empty() || deleted(bytes) || refused(bytes);
        copies
            .iter()
            .any(|(by_hand, copy)| !by_hand || copy.is_none_or(is_known))
    }

    /// Whether some lock ended during a request.
    fn lock_ended(&self, record: &Record) -> bool {
        let heads = self.during(record.from, record.until);
        heads.windows(2).any(|pair| {
            let session =
                |head: Option<&Head>| head.and_then(|head| head.lock.as_ref()).map(|lock| lock.session);
            session(pair[0]).is_some() && session(pair[0]) != session(pair[1])
        })
    }

    fn was_late(&self, record: &Record) -> bool {
        let Ask::Write {
            bytes,
            lock: Some(id),
        } = &record.ask
        else {
            return false;
        };
        let serial = crate::world::serial_of(bytes);
        self.heads
            .iter()
            .filter(|(at, _)| *at <= record.until)
            .any(|(_, head)| {
                head.current.as_ref().is_some_and(|current| {
                    current.lock_id.as_ref() == Some(id)
                        && current.sent_serial.is_some_and(|sent| sent > serial)
                })
            })
    }

    fn committed_by(&self, bytes: &Bytes, until: Instant) -> bool {
        let sha256 = Sha256::of(bytes);
        self.heads.iter().filter(|(at, _)| *at <= until).any(|(_, head)| {
            head.current
                .as_ref()
                .is_some_and(|current| current.sent_sha256 == sha256)
        })
    }

    /// A refused write is kept, and never commits by itself.
    fn refusal(&mut self, record: &Record, records: &[Record]) {
        let (Ask::Write { bytes, lock }, Told::Refused(kept)) = (&record.ask, &record.told) else {
            return;
        };
        // There when the refusal is answered, and still there at the end.
        let key = kept
            .as_ref()
            .map(|id| format!("__opentaco_rejected/{}/@/{id}", self.unit));
        let was_kept = key.is_some_and(|key| {
            let was_there = self.rejected.get(&key).is_some_and(|(at, _)| *at <= record.until);
            was_there && self.history.bucket.person_gets(&key).as_ref() == Some(bytes)
        });
        if !was_kept {
            self.broken(
                "refused-is-kept",
                record.until,
                format!("{} was told {kept:?}", record.client),
            );
        }
        // A write without a lock that was sent twice may be refused once and commit once: they are two requests.
        let attempts = records.iter().filter(|other| other.ask == record.ask).count();
        if lock.is_none() && attempts > 1 {
            return;
        }
        let sha256 = Sha256::of(bytes);
        let taken = self.heads.iter().find(|(_, head)| {
            head.current
                .as_ref()
                .is_some_and(|current| current.sent_sha256 == sha256 && current.origin == Origin::Write)
        });
        // What was pruned is forgotten: a retry of it is a write that nobody has seen.
        let forgotten = |version: VersionId| {
            self.heads
                .iter()
                .any(|(at, head)| *at <= record.until && head.epoch > version.epoch && !head.names(&version))
        };
        if let Some((at, head)) = taken
            && !head.current_version().is_some_and(forgotten)
        {
            let what = format!(
                "{} was refused, and is version {:?}",
                record.client,
                head.current_version()
            );
            let at = *at;
            self.broken("refused-has-no-effect", at, what);
        }
    }

    /// Every version that was ever committed, by its name.
    fn committed(&self) -> BTreeSet<VersionId> {
        self.heads
            .iter()
            .filter_map(|(_, head)| head.current_version())
            .collect()
    }

    fn durability(&mut self) {
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
        }
        let acknowledged: Vec<Record> = self
            .history
            .records
            .iter()
            .filter(|record| record.unit == *self.unit && matches!(record.told, Told::Done | Told::Saved))
            .cloned()
            .collect();
        for record in acknowledged {
            let Ask::Write { bytes, .. } = &record.ask else {
                continue;
            };
            if !self.committed_by(bytes, now) {
                self.broken(
                    "durable",
                    record.until,
                    format!(
                        "a write of {} was acknowledged and was never committed",
                        record.client
                    ),
                );
            }
        }
    }

    /// Whether a version left the history as one may: because there were more than are kept, and while the copy was
    /// known to hold a later one.
    fn was_pruned(&self, version: &VersionId) -> bool {
        let step = self
            .heads
            .windows(2)
            .find(|pair| pair[0].1.names(version) && !pair[1].1.names(version));
        let Some([(_, before), (_, after)]) = step else {
            return false;
        };
        let remain = after.known().count() + after.kept.len();
        let holds = before.copy.as_ref().and_then(|copy| copy.version);
        remain >= self.history.retention.versions_max && holds.is_none_or(|holds| version.epoch < holds.epoch)
    }

    /// The epoch of what a copy holds: of the newest version with these bytes, or of the head that emptied it.
    fn epoch_of(&self, bytes: Option<&Bytes>, at: Instant) -> Option<u64> {
        let heads = self.heads.iter().filter(|(seen, _)| *seen <= at);
        match bytes.filter(|bytes| !bytes.is_empty()) {
            None => heads
                .filter(|(_, head)| head.current.is_none())
                .map(|(_, head)| head.epoch)
                .max(),
            Some(bytes) => {
                let sha256 = Sha256::of(bytes);
                heads
                    .filter_map(|(_, head)| head.current.as_ref())
                    .filter(|current| current.sha256 == sha256)
                    .map(|current| current.version.epoch)
                    .max()
            }
        }
    }

    /// Whether a put that was conditional on one content of the copy may have met another: where a tag is a digest of the
    /// content, nothing tells apart two versions of the very same bytes, or a write by hand and the version that it was
    /// promoted to. That is not promised.
    fn took_one_for_another(&self, replaced: Option<&Bytes>, at: Instant) -> bool {
        let Some(sha256) = replaced
            .map(|bytes| Sha256::of(bytes))
            .filter(|_| self.history.bucket.tags_by_digest())
        else {
            return false;
        };
        let heads = self.heads.iter().take_while(|(seen, _)| *seen <= at);
        let versions: BTreeMap<VersionId, &Origin> = heads
            .filter_map(|(_, head)| head.current.as_ref())
            .filter(|current| current.sha256 == sha256)
            .map(|current| (current.version, &current.origin))
            .collect();
        // What was adopted is what a person put, and no other content.
        let made = |origin: &&Origin| !matches!(origin, Origin::External | Origin::Adopted);
        let by_hand = || {
            self.copies.iter().any(|(put, by_hand, bytes)| {
                *put <= at && *by_hand && bytes.as_ref().is_some_and(|bytes| Sha256::of(bytes) == sha256)
            })
        };
        versions.len() > 1 || (versions.values().any(made) && by_hand())
    }

    /// Whether these bytes are what the head names at some moment.
    fn is_current(&self, bytes: &Bytes, at: Instant) -> bool {
        let head = self.heads.iter().take_while(|(seen, _)| *seen <= at).last();
        let current = head.and_then(|(_, head)| head.current.as_ref());
        current.is_some_and(|current| current.sha256 == Sha256::of(bytes))
    }

    /// The epoch that the copy must have reached when a write of these bytes is answered: that of the newest version of
    /// them before the request, else of the first while it was under way. Others may write or bring back the same bytes
    /// meanwhile, and the answer need not be for those.
    fn written(&self, bytes: &Bytes, from: Instant, until: Instant) -> Option<u64> {
        let sha256 = Sha256::of(bytes);
        let writes = self.heads.iter().filter_map(|(at, head)| {
            let current = head.current.as_ref()?;
            (current.sent_sha256 == sha256).then_some((*at, current.version.epoch))
        });
        let (before, during): (Vec<_>, Vec<_>) = writes
            .take_while(|(at, _)| *at <= until)
            .partition(|(at, _)| *at < from);
        let before = before.iter().map(|(_, epoch)| *epoch).max();
        before.or_else(|| during.iter().map(|(_, epoch)| *epoch).min())
    }

    fn copy(&mut self) {
        // What the service puts is never older than what the service put, adopted or acknowledged before.
        let known_at = self.copy_known_at();
        let copies = self.copies.clone();
        let mut newest: Option<u64> = None;
        let mut holds: Option<&Bytes> = None;
        let mut moments = known_at.iter().copied().peekable();
        for (at, by_hand, bytes) in &copies {
            while let Some((moment, deletes)) = moments.next_if(|(moment, _)| moment < at) {
                // Whoever is told that a unit is deleted is told nothing of a state that somebody brought back.
                if !deletes || holds.is_none_or(Bytes::is_empty) {
                    newest = newest.max(self.epoch_of(holds, moment));
                }
            }
            let replaced = std::mem::replace(&mut holds, bytes.as_ref());
            if *by_hand {
                continue;
            }
            let epoch = self.epoch_of(bytes.as_ref(), *at);
            // What is put over something misplaced was made for the time when that was in its place.
            let over_misplaced =
                replaced.is_some_and(|replaced| self.misplaced.contains(&Sha256::of(replaced)));
            if let Some(bytes) = bytes
                && ((epoch < newest && self.took_one_for_another(replaced, *at))
                    || (over_misplaced && !self.is_current(bytes, *at)))
            {
                self.misplaced.insert(Sha256::of(bytes));
                newest = epoch;
                continue;
            }
            if let (Some(epoch), Some(newest)) = (epoch, newest)
                && epoch < newest
            {
                self.broken(
                    "copy-never-goes-back",
                    *at,
                    format!("epoch {epoch} was put over epoch {newest}"),
                );
            }
            newest = newest.max(epoch);
        }
        let records: Vec<Record> = self
            .history
            .records
            .iter()
            .filter(|record| record.unit == *self.unit && record.told == Told::Done)
            .cloned()
            .collect();
        for record in records {
            let Ask::Write { bytes, .. } = &record.ask else {
                continue;
            };
            let Some(written) = self.written(bytes, record.from, record.until) else {
                continue;
            };
            let Some((by_hand, copy)) = self.copies_during(record.until, record.until).last().copied() else {
                continue;
            };
            if by_hand || copy.is_some_and(|copy| self.misplaced.contains(&Sha256::of(copy))) {
                continue;
            }
            let holds = self.epoch_of(copy, record.until);
            if holds.is_none_or(|holds| holds < written) {
                let what = format!(
                    "{} was told that epoch {written} is written while the copy held epoch {holds:?}",
                    record.client
                );
                self.broken("copy-is-current", record.until, what);
            }
        }
    }

    /// When the copy was known to hold what it held, for somebody was answered so or it was adopted; and whether the answer
    /// was that the unit is deleted.
    fn copy_known_at(&self) -> Vec<(Instant, bool)> {
        let writes = |ask: &Ask| {
            matches!(
                ask,
                Ask::Write { .. }
                    | Ask::Delete
                    | Ask::Create
                    | Ask::Undelete
                    | Ask::Restore(_)
                    | Ask::Promote(_)
            )
        };
        let records = self
            .history
            .records
            .iter()
            .filter(|record| record.unit == *self.unit && record.told == Told::Done);
        let mut moments: Vec<(Instant, bool)> = records
            .filter(|record| writes(&record.ask))
            .map(|record| (record.until, record.ask == Ask::Delete))
            .collect();
        moments.extend(self.adoptions().map(|(at, ..)| (at, false)));
        moments.sort_unstable();
        moments
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

fn tail(id: &LockId) -> String {
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
