//! What must hold of what people do in the bucket, past the service.

use std::collections::BTreeSet;

use opentaco_domain::{LockId, LockInfo, Sha256};
use opentaco_storage::head::{Committed, Head, Origin};

use super::{Copied, Story, is_vacant};
use crate::bucket::Event;
use crate::executor::Instant;
use crate::world::{Ask, EPILOGUE, Told};

impl Story<'_> {
    pub(super) fn hands(&mut self, events: &[Event]) {
        self.adopted_in_place(events);
        self.adopted();
        self.judged();
        self.overwritten();
        self.epilogue();
    }

    /// Every adoption: when, what was true before, and the head that says so.
    pub(super) fn adoptions(&self) -> impl Iterator<Item = (Instant, Option<&Head>, &Head, &Committed)> {
        self.heads.iter().enumerate().filter_map(|(index, (at, head))| {
            let before = index.checked_sub(1).map(|before| &self.heads[before].1);
            let current = head.current.as_ref()?;
            let is_new = before.and_then(Head::current_version) != Some(current.version);
            let is_found = matches!(current.origin, Origin::External | Origin::Adopted);
            (is_new && is_found).then_some((*at, before, head, current))
        })
    }

    /// The first head of a unit that was there before us.
    fn adopted_in_place(&mut self, events: &[Event]) {
        let Some((at, first)) = self.heads.first() else {
            return;
        };
        let head = self.head_key();
        let asked = events.iter().position(|event| event.key == head);
        let asked = asked.unwrap_or(events.len());
        // What was there before anybody asked for a head, and was not touched until the first one was made.
        let found = |key: &str| {
            let mut puts = events
                .iter()
                .enumerate()
                .filter(|(_, event)| event.key == key && event.now.is_some() && event.at <= *at);
            let (_, first) = puts
                .next()
                .filter(|(index, event)| *index < asked && event.by.is_none())?;
            puts.next()
                .is_none()
                .then(|| first.now.clone().flatten())
                .flatten()
        };
        let state = found(&self.unit.state_key());
        let lock = ["lock", "tflock"]
            .iter()
            .find_map(|file| found(&format!("{}.{file}", self.unit.state_key())));
        let mut missing = Vec::new();
        if state.is_some_and(|bytes| {
            first
                .current
                .as_ref()
                .is_none_or(|current| current.sha256 != Sha256::of(&bytes))
        }) {
            missing.push("the state that lay there");
        }
        let holder = lock
            .and_then(|bytes| LockInfo::from_json(&bytes).ok())
            .map(|info| info.id);
        // Where another tool has put its own lock file too, either will do.
        let first_holder = first.lock.as_ref().map(|lock| lock.info.id.clone());
        let lay_there = |id: &LockId| self.lock_files(events, *at).contains(id);
        if holder.is_some() && !first_holder.is_some_and(|id| lay_there(&id)) {
            missing.push("the lock that lay there");
        }
        let at = *at;
        for what in missing {
            self.broken(
                "adopted-in-place",
                at,
                format!("the first head does not name {what}"),
            );
        }
    }

    /// What was adopted was put by a person, and stands.
    fn adopted(&mut self) {
        let hashes: BTreeSet<Sha256> = self
            .history
            .by_hand
            .iter()
            .filter(|(unit, ..)| unit == self.unit)
            .map(|(_, bytes, _)| Sha256::of(bytes))
            .collect();
        let mut found = Vec::new();
        for (at, _, head, current) in self.adoptions() {
            let copies = || self.copies_during(at, at).into_iter().flatten();
            let by_hand = copies().any(|copied| copied.by_hand);
            let holds_it = |copied: &Copied| {
                let bytes = copied.bytes.as_ref();
                bytes.is_some_and(|bytes| Sha256::of(bytes) == current.sha256)
            };
            let stands = copies().any(holds_it);
            if copies().any(|copied| self.misplaced.contains(&copied.index)) {
                continue;
            }
            if !hashes.contains(&current.sha256) || (stands && !by_hand) {
                found.push((
                    "no-strangers",
                    at,
                    format!(
                        "{} is our own, and was adopted as somebody else's",
                        current.version
                    ),
                ));
            } else if !stands && !by_hand {
                found.push((
                    "adopted-as-it-stands",
                    at,
                    format!("{} was adopted, and had been overwritten", current.version),
                ));
            }
            // Where the same bytes have the same tag, a second put of them is told from the first by nothing.
            let puts = self
                .copies
                .iter()
                .filter(|copied| copied.at <= at && holds_it(copied));
            let alike = self.history.bucket.tags_by_digest() && puts.count() > 1;
            let tag = head.copy.as_ref().map(|copy| &copy.tag);
            let judged = |head: &Head| head.copy.as_ref().is_some_and(|copy| Some(&copy.tag) == tag);
            let before = self
                .heads
                .iter()
                .take_while(|(_, other)| other.epoch < head.epoch);
            if !alike && before.map(|(_, head)| head).any(judged) {
                found.push((
                    "judged-once",
                    at,
                    format!("{} was judged before, and is adopted now", current.version),
                ));
            }
        }
        for (invariant, at, what) in found {
            self.broken(invariant, at, what);
        }
    }

    /// The judgements that the heads record beside a version that stays current.
    fn judged(&mut self) {
        let mut found = Vec::new();
        for pair in self.heads.windows(2) {
            let [(_, before), (at, head)] = pair else { continue };
            let (Some(current), Some(copy)) = (before.current_version(), &head.copy) else {
                continue;
            };
            if head.current_version() != Some(current) || before.copy.as_ref() == Some(copy) {
                continue;
            }
            if copy.version.is_none() && !before.holder_has_committed() {
                found.push((*at, "a copy was refused, and no holder had committed".to_owned()));
            }
            let was_seen = before
                .copy
                .as_ref()
                .is_some_and(|copy| copy.version == Some(current));
            if let Some(version) = copy.version
                && version != current
                && was_seen
            {
                found.push((
                    *at,
                    format!(
                        "{version} was taken for a lagging copy, and the copy had been seen holding {current}"
                    ),
                ));
            }
        }
        for (at, what) in found {
            self.broken("hands-are-honoured", at, what);
        }
    }

    /// What a person put and the service put something over: it was in the history then, or kept.
    fn overwritten(&mut self) {
        let mut lost = Vec::new();
        for pair in self.copies.windows(2) {
            let [put, over] = pair else { continue };
            let Some(bytes) = put.bytes.as_ref().filter(|bytes| !is_vacant(bytes)) else {
                continue;
            };
            if !put.by_hand || over.by_hand {
                continue;
            }
            let mut rejected = self.rejected.values();
            let is_kept = rejected.any(|(at, kept)| *at <= over.at && kept == bytes);
            let mut heads = self.during(put.at, over.at).into_iter().flatten();
            if !is_kept && !heads.any(|head| self.is_ours(head, bytes)) {
                lost.push(over.at);
            }
        }
        for at in lost {
            self.broken(
                "hand-written-is-not-lost",
                at,
                "the service overwrote it, and it is nowhere",
            );
        }
    }

    /// What a person put when all was quiet is what the next one reads, unless a holder stands in its way.
    fn epilogue(&mut self) {
        let reads = self.history.records.iter().filter(|record| {
            let is_it = record.unit == *self.unit && record.client == EPILOGUE && record.ask == Ask::Read;
            is_it && record.told != Told::Nothing
        });
        let mut missed = Vec::new();
        for read in reads {
            let before_read = |copied: &&Copied| copied.at <= read.from && copied.by_hand;
            let Some(put) = self.copies.iter().rfind(before_read) else {
                continue;
            };
            let Some(bytes) = &put.bytes else { continue };
            let heads = self.heads.iter().take_while(|(at, _)| *at <= put.at);
            let head = heads.last().map(|(_, head)| head);
            // An old version of ours beside a deleted or empty unit is emptied: undelete it instead. And while somebody
            // holds the unit, the head may not say yet what the copy held: then an old one is taken for a lagging copy.
            let undone = head.is_some_and(|head| {
                let recorded = head.copy.as_ref().and_then(|copy| copy.version);
                let unrecorded = head.lock.is_some() && recorded != head.current_version();
                (head.current.is_none() || unrecorded) && self.is_ours(head, bytes)
            });
            let thrown_out = head.is_some_and(Head::holder_has_committed);
            if !thrown_out && !undone && read.told != Told::State(bytes.clone()) {
                missed.push(read.from);
            }
        }
        for at in missed {
            self.broken(
                "hands-are-honoured",
                at,
                "what a person put when all was quiet is not what is read",
            );
        }
    }
}
