//! Nothing happens by itself: every change of a head was asked for by a request that may have made it, and each request
//! makes one change at most.

use std::collections::BTreeMap;

use opentaco_domain::{LockId, LockInfo, Sha256, VersionId};
use opentaco_storage::head::{Head, Origin};

use super::Story;
use super::claims::Claims;
use crate::bucket::Event;
use crate::executor::Instant;
use crate::world::{Ask, Record, Told};

/// What changed between one head and the next, as far as somebody has to have asked for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effect {
    Locked(LockId),
    Unlocked(LockId),
    Written(Sha256, Option<LockId>),
    Restored(String),
    Promoted(String),
    Deleted,
    /// Brought to life without a state, or with the last one.
    Revived {
        with_state: bool,
    },
}

/// A version that some request has made.
struct Made {
    effect: Effect,
    version: VersionId,
    at: Instant,
}

/// What an effect may have come of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// This request.
    Asked(usize),
    /// Whoever had made this version before: it was pruned, so they looked for it in vain and did it again.
    Forgotten(usize),
}

impl Effect {
    fn is_commit(&self) -> bool {
        match self {
            Self::Written(..) | Self::Restored(_) | Self::Promoted(_) => true,
            Self::Revived { with_state } => *with_state,
            Self::Locked(_) | Self::Unlocked(_) | Self::Deleted => false,
        }
    }

    fn may_come_of(&self, ask: &Ask) -> bool {
        match (self, ask) {
            (Self::Locked(id), Ask::Lock(asked)) | (Self::Unlocked(id), Ask::Unlock(asked)) => id == asked,
            (Self::Unlocked(_), Ask::ForceUnlock) | (Self::Deleted, Ask::Delete) => true,
            (Self::Written(sha256, under), Ask::Write { bytes, lock }) => {
                under == lock && Sha256::of(bytes) == *sha256
            }
            (Self::Restored(version), Ask::Restore(asked)) => *version == asked.to_string(),
            (Self::Promoted(id), Ask::Promote(asked)) => id == asked,
            (Self::Revived { with_state }, Ask::Create) => !with_state,
            (Self::Revived { .. }, Ask::Undelete) => true,
            _ => false,
        }
    }
}

impl Story<'_> {
    /// Until when what was asked for may have had this effect, as the answer says; none: never.
    fn may_happen_until(&self, record: &Record, effect: &Effect, head: &Head) -> Option<Instant> {
        let by_then = match record.told {
            // A lock that is over may have been taken by this very request before it was broken.
            Told::Done | Told::Saved | Told::LockOver => true,
            Told::Nothing | Told::Unavailable => return Some(Instant::MAX),
            // What was pruned is forgotten: whoever sent it looks for it in vain, and is refused.
            Told::Refused(_) | Told::Locked(_) | Told::NoSuchThing if effect.is_commit() => {
                let forgotten = |version| !self.head_at(record.until).is_some_and(|now| now.names(&version));
                head.current_version().is_some_and(forgotten)
            }
            // A unit that was created, deleted and made again by somebody else is there already, and is another one.
            Told::NoSuchThing => {
                let now = self.head_at(record.until);
                let another = now.is_some_and(|now| now.living_since != head.living_since);
                *effect == Effect::Revived { with_state: false } && another
            }
            Told::Refused(_) | Told::Locked(_) | Told::State(_) | Told::NoState | Told::Begun(_) => false,
        };
        by_then.then_some(record.until)
    }

    /// The head of this moment.
    fn head_at(&self, at: Instant) -> Option<&Head> {
        let heads = self.heads.iter().take_while(|(seen, _)| *seen <= at);
        heads.last().map(|(_, head)| head)
    }

    pub(super) fn causes(&mut self, events: &[Event]) {
        let mut claims = Claims::default();
        let mut made: Vec<Made> = Vec::new();
        let mut missing: BTreeMap<(Instant, Effect), (bool, bool)> = BTreeMap::new();
        for (index, (at, head)) in self.heads.iter().enumerate() {
            let before = index.checked_sub(1).map(|before| &self.heads[before].1);
            for effect in effects_between(before, head) {
                if let Effect::Locked(id) = &effect
                    && self.lay_beside(id, events)
                {
                    continue;
                }
                let asked = |record: &Record| {
                    record.from <= *at
                        && match &record.ask {
                            Ask::S3(ask) => self.may_come_of_s3(&effect, record, ask, *at),
                            ask => effect.may_come_of(ask),
                        }
                };
                let may = |index: &usize| {
                    let record = &self.records[*index];
                    asked(record)
                        && self
                            .may_happen_until(record, &effect, head)
                            .is_some_and(|until| until >= *at)
                };
                // Those first who asked for this very thing, and of them the one that had to be first.
                let mut requests: Vec<usize> = (0..self.records.len()).filter(may).collect();
                requests.sort_by_key(|index| {
                    let record = &self.records[*index];
                    let any = matches!(record.ask, Ask::ForceUnlock | Ask::Undelete);
                    (any, record.until)
                });
                let forgotten = made.iter().enumerate().filter(|(_, made)| {
                    made.effect == effect
                        && before.is_none_or(|before| !before.names(&made.version))
                        && requests.iter().any(|index| self.records[*index].from <= made.at)
                });
                let causes = requests
                    .iter()
                    .map(|index| Cause::Asked(*index))
                    .chain(forgotten.map(|(index, _)| Cause::Forgotten(index)))
                    .collect();
                if !claims.claim(causes) {
                    let was_asked = self.records.iter().any(asked);
                    let was_retried = matches!(effect, Effect::Unlocked(_))
                        && self.records.iter().any(|record| record.may_have_broken_at(*at));
                    missing.insert((*at, effect), (was_asked, was_retried));
                    continue;
                }
                let version = head.current_version().filter(|_| effect.is_commit());
                made.extend(version.map(|version| Made {
                    effect,
                    version,
                    at: *at,
                }));
            }
        }
        for ((at, effect), (was_asked, was_retried)) in missing {
            if was_retried {
                self.broken(
                    "retry-breaks-nothing",
                    at,
                    format!("{effect:?}, and whoever removed a lock file had removed its own"),
                );
                continue;
            }
            match was_asked {
                true => self.broken(
                    "refused-has-no-effect",
                    at,
                    format!(
                        "{effect:?}, though whoever asked for it was answered otherwise, or has got it before"
                    ),
                ),
                false => self.broken(
                    "nothing-unasked",
                    at,
                    format!("{effect:?}, and nobody asked for it"),
                ),
            }
        }
    }

    /// Whether a lock file with this id lay beside the unit when its first head was made.
    fn lay_beside(&self, id: &LockId, events: &[Event]) -> bool {
        let Some((made, first)) = self.heads.first() else {
            return false;
        };
        let adopted = first.lock.as_ref().filter(|lock| lock.adopted);
        adopted.is_some_and(|lock| lock.info.id == *id) && self.lock_files(events, *made).contains(id)
    }

    /// The ids in the lock files that lay beside the unit at some moment between the first request for a head and this
    /// one.
    pub(super) fn lock_files(&self, events: &[Event], until: Instant) -> Vec<LockId> {
        let head = self.head_key();
        let asked = events.iter().find(|event| event.key == head);
        let from = asked.map_or(until, |event| event.at);
        let mut ids = Vec::new();
        for file in ["lock", "tflock"] {
            let key = format!("{}.{file}", self.unit.state_key());
            let mut lies = None;
            let changes = events
                .iter()
                .filter(|event| event.key == key && event.at <= until);
            for (at, by_hand, now) in
                changes.filter_map(|event| Some((event.at, event.by.is_none(), event.now.as_ref()?)))
            {
                if at >= from {
                    ids.extend(lies.take());
                }
                lies = now
                    .as_ref()
                    .filter(|_| by_hand)
                    .and_then(|bytes| LockInfo::from_json(bytes).ok())
                    .map(|info| info.id);
            }
            ids.extend(lies);
        }
        ids
    }
}

fn effects_between(before: Option<&Head>, head: &Head) -> Vec<Effect> {
    let mut effects = Vec::new();
    let lock = |head: Option<&Head>| head.and_then(|head| head.lock.clone());
    let (old, new) = (lock(before), lock(Some(head)));
    if old.as_ref().map(|lock| lock.session) != new.as_ref().map(|lock| lock.session) {
        effects.extend(old.map(|lock| Effect::Unlocked(lock.info.id)));
        effects.extend(new.map(|lock| Effect::Locked(lock.info.id)));
    }
    let existed = before.is_some_and(Head::exists);
    let is_new = head.current_version() != before.and_then(Head::current_version);
    match head.current.as_ref().filter(|_| is_new) {
        Some(current) => effects.extend(match &current.origin {
            Origin::Write => Some(Effect::Written(current.sent_sha256, current.lock_id.clone())),
            Origin::Restore(version) => Some(Effect::Restored(version.to_string())),
            Origin::Promote(id) => Some(Effect::Promoted(id.clone())),
            Origin::Undelete => Some(Effect::Revived { with_state: true }),
            // A person's doing: see `hands`.
            Origin::External | Origin::Adopted => None,
            // The service's: it follows what was asked of another unit.
            Origin::Graph => None,
        }),
        // An empty copy that was there before us is a unit, too.
        None if !existed && head.exists() && before.is_some() => {
            effects.push(Effect::Revived { with_state: false });
        }
        None => {}
    }
    if before.is_some_and(|before| before.deleted.is_none()) && head.deleted.is_some() {
        effects.push(Effect::Deleted);
    }
    effects
}
