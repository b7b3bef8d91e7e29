//! What must hold of S3 clients, who name no lock when they write: their session holds it.
//!
//! How a lock ended is judged by what was asked for at that moment, and not by what the head says of it.

use jiff::Timestamp;
use opentaco_domain::{LockId, Sha256, Signed};
use opentaco_storage::head::{Head, Lock, Origin};

use super::Story;
use super::causes::Effect;
use crate::executor::Instant;
use crate::world::s3::{self, may_break};
use crate::world::{Ask, Record, Told};

/// One time that a session held the unit.
struct Held {
    id: LockId,
    from: Instant,
    /// The end of time, if it did not end.
    until: Instant,
}

impl Record {
    /// The request to remove a lock file that this is.
    fn removes(&self) -> Option<&Signed> {
        match &self.ask {
            Ask::S3(s3::Ask::Unlock(by)) => Some(by),
            _ => None,
        }
    }

    /// Whether it was under way at this moment, or may have been.
    fn is_under_way(&self, at: Instant) -> bool {
        self.from <= at && self.until >= at
    }

    /// Whether it may have broken somebody's lock at this moment by removing the file of it.
    pub(super) fn may_have_broken_at(&self, at: Instant) -> bool {
        self.removes().is_some() && may_break(&self.client) && self.is_under_way(at)
    }
}

impl Story<'_> {
    /// The ids under which a session has asked for the lock.
    pub(super) fn locks_of(&self, client: &str, by: &Signed) -> Vec<&LockId> {
        let ids = self.records.iter().filter_map(|record| match &record.ask {
            Ask::S3(s3::Ask::Lock { id, by: other })
                if record.client == client && other.session == by.session =>
            {
                Some(id)
            }
            _ => None,
        });
        ids.collect()
    }

    /// Whether a session may have given a lock back before it signed this.
    pub(super) fn has_given_back(&self, record: &Record, by: &Signed) -> bool {
        self.records.iter().any(|other| {
            let before = |removal: &Signed| removal.session == by.session && removal.at <= by.at;
            other.client == record.client && other.removes().is_some_and(before)
        })
    }

    /// When the first of the attempts to take this lock was signed.
    fn asked_for(&self, id: &LockId) -> Option<Timestamp> {
        let asked = self.records.iter().filter_map(|other| match &other.ask {
            Ask::S3(s3::Ask::Lock { id: asked, by }) if asked == id => by.at,
            _ => None,
        });
        asked.min()
    }

    /// The times that a session held the unit, one after the other.
    fn held_by(&self, client: &str, by: &Signed) -> Vec<Held> {
        let is_its =
            |lock: &&Lock| lock.principal.as_str() == client && lock.credential.as_ref() == Some(&by.session);
        let mut held: Vec<Held> = Vec::new();
        let mut before: Option<&Lock> = None;
        for (at, head) in &self.heads {
            let lock = head.lock.as_ref();
            if before.map(|lock| lock.session) == lock.map(|lock| lock.session) {
                continue;
            }
            if let (Some(_), Some(last)) = (before.filter(|lock| is_its(lock)), held.last_mut()) {
                last.until = *at;
            }
            held.extend(lock.filter(is_its).map(|lock| Held {
                id: lock.info.id.clone(),
                from: *at,
                until: Instant::MAX,
            }));
            before = lock;
        }
        held
    }

    /// The locks that a session had taken by the time of an answer. A request for one that was given up may take it yet.
    pub(super) fn locks_had(&self, record: &Record, by: &Signed) -> Vec<LockId> {
        let held = self.held_by(&record.client, by).into_iter();
        let before = held.filter(|held| held.from <= record.until);
        before.map(|held| held.id).collect()
    }

    /// Whether anybody but this session may have ended a lock of it at this moment.
    fn may_be_broken(&self, client: &str, by: &Signed, id: &LockId, at: Instant) -> bool {
        self.records.iter().any(|record| {
            let own = record.client == client;
            let breaks = match &record.ask {
                Ask::ForceUnlock => true,
                Ask::Unlock(asked) => asked == id,
                Ask::S3(s3::Ask::Unlock(other)) => {
                    may_break(&record.client) && !(own && other.session == by.session)
                }
                _ => false,
            };
            breaks && record.is_under_way(at)
        })
    }

    /// Whether what an S3 client asked for may have had this effect.
    pub(super) fn may_come_of_s3(
        &self,
        effect: &Effect,
        record: &Record,
        ask: &s3::Ask,
        at: Instant,
    ) -> bool {
        match (effect, ask) {
            (Effect::Locked(id), s3::Ask::Lock { id: asked, .. }) => id == asked,
            (Effect::Unlocked(id), s3::Ask::Unlock(by)) => {
                let own = self.locks_of(&record.client, by).contains(&id);
                own || may_break(&record.client) && !self.has_removed_its_own(record, by, at)
            }
            (Effect::Written(sha256, under), _) => ask.sent().is_some_and(|(bytes, by)| {
                let under_its_own = |id: &LockId| self.locks_of(&record.client, by).contains(&id);
                Sha256::of(&bytes) == *sha256 && under.as_ref().is_none_or(under_its_own)
            }),
            _ => false,
        }
    }

    /// Whether an earlier attempt of the same removal has ended the lock of its own session, for certain.
    fn has_removed_its_own(&self, record: &Record, by: &Signed, at: Instant) -> bool {
        let attempts = self.records.iter().filter(|other| {
            let same = |other: &Signed| other.session == by.session && other.invocation == by.invocation;
            other.client == record.client && other.removes().is_some_and(same)
        });
        let Some(first) = attempts.map(|other| other.from).min() else {
            return false;
        };
        // Another removal of the same session may have been the one that ended it.
        let by_another = |at: Instant| {
            let another = |other: &Signed| other.session == by.session && other.invocation != by.invocation;
            self.records.iter().any(|other| {
                let own = other.client == record.client && other.is_under_way(at);
                own && other.removes().is_some_and(another)
            })
        };
        let held = self.held_by(&record.client, by);
        held.iter().any(|held| {
            (first..at).contains(&held.until)
                && !self.may_be_broken(&record.client, by, &held.id, held.until)
                && !by_another(held.until)
        })
    }

    /// No session whose lock was broken writes before it has locked again; and what it has signed before it gave its lock
    /// back, or before it asked for the present one, was made under the one before.
    pub(super) fn sessions(&mut self) {
        let mut before: Option<&Head> = None;
        let mut stale = Vec::new();
        for (at, head) in &self.heads {
            let is_new = before.is_none_or(|before| before.current_version() != head.current_version());
            before = Some(head);
            let written = head.current.as_ref().filter(|_| is_new);
            let Some(written) = written.filter(|written| written.origin == Origin::Write) else {
                continue;
            };
            let is_it = |record: &&Record| match &record.ask {
                Ask::S3(ask) => ask
                    .sent()
                    .is_some_and(|(bytes, _)| Sha256::of(&bytes) == written.sent_sha256),
                _ => false,
            };
            // Each attempt is signed anew: the last one that was under way is the best that it can have been.
            let attempts = self
                .records
                .iter()
                .filter(|record| record.from <= *at && is_it(record));
            let newest = attempts.max_by_key(|record| by_whom(record).and_then(|by| by.at));
            let Some((record, by)) = newest.and_then(|record| Some((record, by_whom(record)?))) else {
                continue;
            };
            if let Some(why) = self.staleness(*at, record, by, written.lock_id.as_ref()) {
                stale.push((*at, format!("{} of {}: {why}", written.version, record.client)));
            }
        }
        for (at, what) in stale {
            self.broken("no-stale-session", at, what);
        }
        for record in &self.records.clone() {
            let completes = matches!(record.ask, Ask::S3(s3::Ask::Complete { .. }));
            if completes && record.told == Told::Done && self.written(record).is_none() {
                let what = format!(
                    "{} completed an upload, and no version is its parts",
                    record.client
                );
                self.broken("upload-is-its-parts", record.until, what);
            }
        }
    }

    /// Why a write at this moment was made under a lock that was over; none if it may not have been.
    fn staleness(
        &self,
        at: Instant,
        record: &Record,
        by: &Signed,
        under: Option<&LockId>,
    ) -> Option<&'static str> {
        if let Some(id) = under {
            let is_older = self.asked_for(id).is_some_and(|asked| by.at < Some(asked));
            return is_older.then_some("it was signed before the lock was asked for");
        }
        let held = self.held_by(&record.client, by);
        let last = held.iter().rfind(|held| held.from < at)?;
        if last.until >= at {
            return None;
        }
        let removals: Vec<&Signed> = self
            .records
            .iter()
            .filter(|other| other.client == record.client && other.is_under_way(last.until))
            .filter_map(Record::removes)
            .filter(|other| other.session == by.session)
            .collect();
        if removals.is_empty() {
            return Some("its lock was broken, and it has not locked since");
        }
        if self.may_be_broken(&record.client, by, &last.id, last.until) {
            return None;
        }
        let is_older = removals.iter().all(|removal| by.at < removal.at);
        is_older.then_some("it was signed before the lock was given back")
    }

    /// The version that the answer to a write of a session is for: what S3 clients send is unique.
    pub(super) fn written_in_session(&self, record: &Record, ask: &s3::Ask) -> Option<(Instant, u64)> {
        let (bytes, by) = ask.sent()?;
        let (sha256, ids) = (Sha256::of(&bytes), self.locks_of(&record.client, by));
        let heads = self.heads.iter().take_while(|(at, _)| *at <= record.until);
        heads.into_iter().find_map(|(at, head)| {
            let current = head.current.as_ref()?;
            let under = current.lock_id.as_ref();
            let is_it = current.sent_sha256 == sha256 && under.is_none_or(|id| ids.contains(&id));
            is_it.then_some((*at, current.version.epoch))
        })
    }

    /// Whether an answer to an S3 client was true at some moment of its request.
    pub(super) fn fits_s3(&self, record: &Record, ask: &s3::Ask) -> bool {
        let heads = self.during(record.from, record.until);
        let some = |fits: &dyn Fn(Option<&Lock>) -> bool| {
            heads
                .iter()
                .any(|head| fits(head.and_then(|head| head.lock.as_ref())))
        };
        let held_as = |id: &LockId| some(&|lock| lock.is_some_and(|lock| lock.info.id == *id));
        let is_free = || some(&|lock| lock.is_none());
        let by_another = |by: &Signed| {
            some(&|lock| {
                lock.is_some_and(|lock| {
                    lock.principal.as_str() != record.client || lock.credential.as_ref() != Some(&by.session)
                })
            })
        };
        let has_ended = |by: &Signed| {
            let held = self.held_by(&record.client, by);
            held.iter().any(|held| held.until <= record.until)
        };
        // What was signed before the present lock of its session was asked for is not under that.
        let is_older = |by: &Signed| {
            let ids = self.locks_of(&record.client, by);
            let asked = |id: &LockId| self.asked_for(id).is_some_and(|asked| by.at < Some(asked));
            ids.into_iter().any(|id| asked(id) && held_as(id))
        };
        let was_deleted = || {
            heads
                .iter()
                .any(|head| head.is_some_and(|head| head.deleted.is_some()))
        };
        match (ask, &record.told) {
            (_, Told::Nothing | Told::Unavailable) => true,
            (s3::Ask::Lock { id, .. }, Told::Done) => held_as(id),
            (s3::Ask::Lock { id, .. }, Told::Locked(other)) => id != other && held_as(other),
            (s3::Ask::Lock { id, .. }, Told::LockOver) => heads
                .iter()
                .any(|head| head.is_some_and(|head| head.released.contains(id))),
            // To the session that holds it, as a replica remembers it; beside an older unit, the file that lies there.
            (s3::Ask::ShowLock(by), Told::Locked(id)) => {
                let lay_there = || {
                    let files = self.lock_files(self.history.bucket.events(), record.until);
                    heads.iter().any(Option::is_none) && files.contains(id)
                };
                held_as(id) || self.locks_of(&record.client, by).contains(&id) || lay_there()
            }
            (s3::Ask::ShowLock(_), Told::NoSuchThing) => is_free(),
            // Somebody else may hold it, if it was removed before.
            (s3::Ask::Unlock(by), Told::Done) => {
                // It was to end an earlier lock, if any, where its session has asked for another one since.
                is_free() || has_ended(by) || self.lock_ended(record) || is_older(by)
            }
            (s3::Ask::Unlock(by), Told::Refused(None)) => by_another(by),
            (s3::Ask::Put { .. } | s3::Ask::Complete { .. }, Told::Done | Told::Saved) => {
                self.written(record).is_some()
            }
            (s3::Ask::Put { .. } | s3::Ask::Complete { .. }, Told::Refused(_)) => {
                let by = by_whom(record);
                was_deleted()
                    || by.is_some_and(|by| {
                        by_another(by) || has_ended(by) || self.came_late(record, by) || is_older(by)
                    })
            }
            (s3::Ask::Begin, Told::Begun(_))
            | (s3::Ask::Part { .. } | s3::Ask::Abort(_), Told::Done)
            | (s3::Ask::Part { .. } | s3::Ask::Complete { .. } | s3::Ask::Abort(_), Told::NoSuchThing) => {
                true
            }
            _ => false,
        }
    }

    /// Whether another attempt of the same request was answered with success before this one was answered: then nobody
    /// waits for this answer any more.
    pub(super) fn was_answered_before(&self, record: &Record) -> bool {
        let Some(by) = by_whom(record) else { return false };
        self.records.iter().any(|other| {
            other.told == Told::Done
                && other.client == record.client
                && other.until <= record.until
                && by_whom(other).is_some_and(|other| other.session == by.session)
                && other.ask.sent() == record.ask.sent()
        })
    }

    /// Whether a later write of the same session was committed before the answer.
    fn came_late(&self, record: &Record, by: &Signed) -> bool {
        let ids = self.locks_of(&record.client, by);
        let serial = record
            .ask
            .sent()
            .map_or(0, |bytes| crate::world::serial_of(&bytes));
        let heads = self.heads.iter().take_while(|(at, _)| *at <= record.until);
        heads.into_iter().any(|(_, head)| {
            head.current.as_ref().is_some_and(|current| {
                current.lock_id.as_ref().is_some_and(|id| ids.contains(&id))
                    && current.sent_serial.is_some_and(|sent| sent > serial)
            })
        })
    }
}

/// By whom a state was sent.
fn by_whom(record: &Record) -> Option<&Signed> {
    match &record.ask {
        Ask::S3(s3::Ask::Put { by, .. } | s3::Ask::Complete { by, .. }) => Some(by),
        _ => None,
    }
}
