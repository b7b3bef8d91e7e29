//! What must hold of what people do in the bucket, past the service.

use std::collections::BTreeSet;

use bytes::Bytes;
use opentaco_domain::{LockId, LockInfo, Sha256};
use opentaco_storage::head::{Committed, Head, Origin};

use super::Story;
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
        let head = format!("__opentaco_units/{}/@head.json", self.unit);
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
        let files: Vec<Bytes> = events
            .iter()
            .filter(|event| {
                event.key.starts_with(&self.unit.state_key())
                    && event.key.ends_with("lock")
                    && event.by.is_none()
                    && event.at <= *at
            })
            .filter_map(|event| event.now.clone().flatten())
            .collect();
        let lay_there = |id: &LockId| {
            let ids = files.iter().filter_map(|bytes| LockInfo::from_json(bytes).ok());
            ids.map(|info| info.id).any(|other| other == *id)
        };
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
            let copies = self.copies_during(at, at);
            let by_hand = copies.iter().any(|(by_hand, _)| *by_hand);
            let stands = copies
                .iter()
                .any(|(_, copy)| copy.is_some_and(|copy| Sha256::of(copy) == current.sha256));
            if self.misplaced.contains(&current.sha256) {
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
            // Where the same bytes have the same tag, a second write of them is told from the first by nothing.
            let tag = head.copy.as_ref().map(|copy| &copy.tag);
            let judged = |head: &Head| head.copy.as_ref().is_some_and(|copy| Some(&copy.tag) == tag);
            let before = self
                .heads
                .iter()
                .take_while(|(_, other)| other.epoch < head.epoch);
            if !self.history.bucket.tags_by_digest() && before.map(|(_, head)| head).any(judged) {
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

    /// What a person put and the service put something over.
    fn overwritten(&mut self) {
        let rejected: BTreeSet<Sha256> = self
            .rejected
            .values()
            .map(|(_, bytes)| Sha256::of(bytes))
            .collect();
        let committed: BTreeSet<Sha256> = self
            .committed()
            .into_iter()
            .map(|version| version.sha256)
            .collect();
        let new = |bytes: &Bytes| {
            self.history
                .by_hand
                .iter()
                .any(|(unit, hand, new)| unit == self.unit && *new && hand == bytes)
        };
        let mut lost = Vec::new();
        for pair in self.copies.windows(2) {
            let [(_, true, Some(bytes)), (at, false, _)] = pair else {
                continue;
            };
            let sha256 = Sha256::of(bytes);
            if new(bytes) && !rejected.contains(&sha256) && !committed.contains(&sha256) {
                lost.push(*at);
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
            let put = self
                .copies
                .iter()
                .rev()
                .find(|(at, by_hand, _)| *at <= read.from && *by_hand);
            let Some((put_at, _, Some(bytes))) = put else {
                continue;
            };
            let head = self
                .heads
                .iter()
                .take_while(|(at, _)| at <= put_at)
                .last()
                .map(|(_, head)| head);
            // An old version of ours beside a deleted or empty unit is emptied: undelete it instead.
            let sha256 = Sha256::of(bytes);
            let leftover = head.is_some_and(|head| {
                head.current.is_none()
                    && self
                        .committed()
                        .iter()
                        .any(|version| version.sha256 == sha256 && version.epoch <= head.epoch)
            });
            let free = head.is_none_or(|head| head.lock.is_none());
            if free && !leftover && read.told != Told::State(bytes.clone()) {
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
