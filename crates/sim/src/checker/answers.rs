//! What must hold of what clients are told: every answer has to fit some moment between its question and itself.

use std::collections::BTreeSet;

use bytes::Bytes;
use opentaco_domain::{LockId, Session, Sha256, VersionId};
use opentaco_storage::head::{Head, Origin};

use super::{Copied, Story, is_vacant, short, spell};
use crate::executor::Instant;
use crate::world::{Ask, Record, Told, s3};

/// What was true of a unit at some moment: its head, if it had one yet, and its copy, if there was one yet.
pub(super) type Moment<'a> = (Option<&'a Head>, Option<&'a Copied>);

impl Story<'_> {
    pub(super) fn answers(&mut self) {
        for record in &self.records.clone() {
            let reads = matches!(record.ask, Ask::Read | Ask::S3(s3::Ask::Get(_)));
            if reads && record.told == Told::NoState && !self.was_empty(record) {
                self.broken(
                    "never-empty",
                    record.until,
                    format!("{} was told that there is no state", record.client),
                );
            }
            if !self.fits(record) {
                let what = format!(
                    "{} {}: told {:?}, which was true at no moment of the request",
                    record.client,
                    spell(&record.ask),
                    short(&record.told)
                );
                self.broken("answers-fit", record.until, what);
            }
            self.refusal(record);
        }
    }

    /// Whether an answer was true at some moment of its request. No answer, and that the bucket could not be asked, say
    /// nothing; what is not listed here is no answer to its question.
    fn fits(&self, record: &Record) -> bool {
        let heads = self.during(record.from, record.until);
        let holder = |head: &Option<&Head>| {
            head.and_then(|head| head.lock.as_ref())
                .map(|lock| lock.info.id.clone())
        };
        let some = |fits: &dyn Fn(&Option<&Head>) -> bool| heads.iter().any(fits);
        let is_held = || some(&|head| holder(head).is_some());
        let held_by = |other: &LockId| some(&|head| holder(head).as_ref() == Some(other));
        let current = |is_it: &dyn Fn(&Origin) -> bool| {
            some(&|head| {
                head.and_then(|head| head.current.as_ref())
                    .is_some_and(|current| is_it(&current.origin))
            })
        };
        let exists = |head: &Option<&Head>| head.is_some_and(Head::exists);
        let was_created = || heads.windows(2).any(|pair| !exists(&pair[0]) && exists(&pair[1]));
        match (&record.ask, &record.told) {
            (_, Told::Nothing | Told::Unavailable) => true,
            (Ask::Lock(id), Told::Done) => held_by(id),
            (Ask::Lock(id), Told::Locked(other)) => id != other && held_by(other),
            (Ask::Lock(id), Told::LockOver) => {
                some(&|head| head.is_some_and(|head| head.released.contains(id)))
            }
            // A lock that is over, or that was never taken while nobody holds the unit.
            (Ask::Unlock(id), Told::Done) => some(&|head| {
                let over = head.is_some_and(|head| head.released.contains(id));
                holder(head).is_none_or(|other| over && other != *id)
            }),
            (Ask::Unlock(id), Told::Refused(None)) => some(&|head| {
                holder(head).is_some_and(|other| other != *id)
                    && head.is_some_and(|head| !head.released.contains(id))
            }),
            (Ask::ForceUnlock, Told::Done) => some(&|head| holder(head).is_none()) || self.lock_ended(record),
            (Ask::S3(ask), _) if !matches!(ask, s3::Ask::Get(_)) => self.fits_s3(record, ask),
            (Ask::Read | Ask::S3(_), Told::State(bytes)) => {
                let sha256 = Sha256::of(bytes);
                self.moments(record.from, record.until)
                    .iter()
                    .any(|(head, copy)| match head {
                        Some(head) => head
                            .current
                            .as_ref()
                            .is_some_and(|current| current.sha256 == sha256),
                        None => copy.is_some_and(|copy| copy.bytes.as_ref() == Some(bytes)),
                    })
            }
            (Ask::Read | Ask::S3(_), Told::NoState) => {
                some(&|head| head.is_none_or(|head| head.current.is_none()))
            }
            (Ask::Write { lock: Some(id), .. }, Told::Refused(_)) => {
                some(&|head| holder(head).as_ref() != Some(id)) || self.was_late(record)
            }
            (Ask::Write { lock: None, .. }, Told::Refused(_)) => {
                is_held() || some(&|head| head.is_some_and(|head| head.deleted.is_some()))
            }
            // Without a lock the same bytes may be meant anew, and then they have to be current anew.
            (Ask::Write { lock: None, .. }, Told::Done | Told::Saved) => self.written(record).is_some(),
            (Ask::Write { lock: Some(_), .. }, Told::Done | Told::Saved) => self.written(record).is_some(),
            (Ask::Delete, Told::Done) => some(&|head| !exists(head)),
            (Ask::Create, Told::Done) => was_created(),
            (Ask::Undelete, Told::Done) => was_created() || current(&|origin| *origin == Origin::Undelete),
            (Ask::Undelete, Told::Saved) => current(&|origin| *origin == Origin::Undelete),
            (Ask::Restore(of), Told::Done | Told::Saved) => {
                current(&|origin| matches!(origin, Origin::Restore(version) if version == of))
            }
            (Ask::Promote(of), Told::Done | Told::Saved) => {
                current(&|origin| matches!(origin, Origin::Promote(id) if id == of))
            }
            (Ask::Delete | Ask::Undelete | Ask::Restore(_) | Ask::Promote(_), Told::Locked(other)) => {
                held_by(other)
            }
            (Ask::Undelete | Ask::Restore(_) | Ask::Promote(_), Told::Refused(Some(_))) => {
                is_held() || some(&|head| head.is_some_and(|head| head.deleted.is_some()))
            }
            // Somebody else was faster, again and again.
            (Ask::Restore(_) | Ask::Promote(_), Told::Refused(None)) => heads.len() > 1,
            (Ask::Delete, Told::NoSuchThing) => some(&|head| !exists(head)),
            // Without a head, a copy makes a unit.
            (Ask::Create, Told::NoSuchThing) => some(&exists),
            (Ask::Undelete, Told::NoSuchThing) => {
                some(&|head| head.is_none_or(|head| head.deleted.as_ref().is_none_or(|it| it.expired)))
            }
            (Ask::Restore(of), Told::NoSuchThing) => some(&|head| head.is_none_or(|head| !head.names(of))),
            (Ask::Promote(id), Told::NoSuchThing) => {
                let key = self.rejected_key(id);
                let was_kept = self.rejected.get(&key).is_some_and(|(at, _)| *at < record.from);
                !was_kept || some(&|head| head.is_none())
            }
            _ => false,
        }
    }

    /// What was true, head and copy together, at each moment of a request between two changes.
    pub(super) fn moments(&self, from: Instant, until: Instant) -> Vec<Moment<'_>> {
        let changes = self.heads.iter().map(|(at, _)| *at);
        let changes = changes.chain(self.copies.iter().map(|copied| copied.at));
        let mut at: BTreeSet<Instant> = changes.filter(|at| (from..=until).contains(at)).collect();
        at.insert(from);
        let mut moments = Vec::new();
        for at in at {
            // Where both change at the very same time, either may have been first.
            for head in self.during(at, at) {
                moments.extend(self.copies_during(at, at).into_iter().map(|copy| (head, copy)));
            }
        }
        moments
    }

    /// Whether at some moment of a request the unit named nothing, and nothing lay in its copy but what is known for what
    /// it is: put by the service, an old version of ours, or what was judged and refused.
    fn was_empty(&self, record: &Record) -> bool {
        self.moments(record.from, record.until)
            .into_iter()
            .any(|(head, copy)| {
                let Some(copy) = copy else { return true };
                let Some(bytes) = copy.bytes.as_ref().filter(|bytes| !is_vacant(bytes)) else {
                    return true;
                };
                let Some(head) = head.filter(|head| head.current.is_none()) else {
                    return false;
                };
                !copy.by_hand || self.is_ours(head, bytes) || self.was_thrown_out(head, copy)
            })
    }

    /// Whether a head names a version with these bytes.
    pub(super) fn is_ours(&self, head: &Head, bytes: &Bytes) -> bool {
        let sha256 = Sha256::of(bytes);
        let named = |version: &VersionId| version.sha256 == sha256 && head.names(version);
        self.committed().iter().any(named)
    }

    /// Whether this very put of a person was judged and refused, as this head says, and its bytes were kept.
    fn was_thrown_out(&self, head: &Head, copy: &Copied) -> bool {
        let Some(record) = head.copy.as_ref().filter(|record| record.version.is_none()) else {
            return false;
        };
        let judged = self
            .heads
            .iter()
            .find(|(_, other)| other.copy.as_ref() == Some(record))
            .map(|(at, _)| *at);
        // Where the same bytes have the same tag, a second put of them is told from the first by nothing.
        let is_it = judged.is_some_and(|at| at >= copy.at) || self.history.bucket.tags_by_digest();
        let is_kept = |bytes: &Bytes| self.rejected.values().any(|(_, kept)| kept == bytes);
        is_it && copy.bytes.as_ref().is_some_and(is_kept)
    }

    /// Whether some lock ended during a request.
    pub(super) fn lock_ended(&self, record: &Record) -> bool {
        let heads = self.during(record.from, record.until);
        heads.windows(2).any(|pair| {
            let session = |head: Option<&Head>| -> Option<Session> {
                head.and_then(|head| head.lock.as_ref()).map(|lock| lock.session)
            };
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

    /// The version that the answer to a write is for, and when it was committed. Under a lock it is the one of these bytes
    /// under this lock; without one it is the first of these bytes that was current during the request: others may write
    /// or bring back the same bytes meanwhile, and the answer need not be for those.
    pub(super) fn written(&self, record: &Record) -> Option<(Instant, u64)> {
        if let Ask::S3(ask) = &record.ask {
            return self.written_in_session(record, ask);
        }
        let Ask::Write { bytes, lock } = &record.ask else {
            return None;
        };
        let sha256 = Sha256::of(bytes);
        let since = match lock {
            Some(_) => 0,
            None => self.since(record.from),
        };
        self.heads
            .iter()
            .filter(|(at, _)| (since..=record.until).contains(at))
            .find_map(|(at, head)| {
                let current = head.current.as_ref()?;
                let is_it = current.sent_sha256 == sha256 && current.lock_id == *lock;
                is_it.then(|| {
                    (
                        self.committed_at(current.version).unwrap_or(*at),
                        current.version.epoch,
                    )
                })
            })
    }

    /// When the head that was true at this moment became so.
    fn since(&self, at: Instant) -> Instant {
        let before = self.heads.iter().take_while(|(since, _)| *since < at);
        before.last().map_or(0, |(since, _)| *since)
    }

    /// A refused write is kept, and never commits by itself.
    fn refusal(&mut self, record: &Record) {
        let Told::Refused(kept) = &record.told else { return };
        let bytes = match &record.ask {
            Ask::Write { .. } => record.ask.sent(),
            Ask::S3(ask) if ask.sent().is_some() => record.ask.sent(),
            Ask::Undelete | Ask::Restore(_) | Ask::Promote(_) if kept.is_some() => None,
            _ => return,
        };
        // There when the refusal is answered, and still there at the end.
        let key = kept.as_ref().map(|id| self.rejected_key(id));
        let was_kept = key.is_some_and(|key| {
            let was_there = self.rejected.get(&key).is_some_and(|(at, _)| *at <= record.until);
            let there = self.history.bucket.person_gets(&key);
            was_there && there.is_some() && bytes.is_none_or(|bytes| there.as_ref() == Some(&bytes))
        });
        if !was_kept {
            self.broken(
                "refused-is-kept",
                record.until,
                format!("{} was told {kept:?}", record.client),
            );
        }
        let (bytes, ids) = match &record.ask {
            Ask::Write {
                bytes,
                lock: Some(id),
            } => (bytes.clone(), vec![id.clone()]),
            Ask::S3(ask) => match ask.sent() {
                // What was signed after its session gave a lock back is a write of its own.
                Some((bytes, by))
                    if !self.has_given_back(record, by) && !self.was_answered_before(record) =>
                {
                    (bytes, self.locks_had(record, by))
                }
                _ => return,
            },
            _ => return,
        };
        let sha256 = Sha256::of(&bytes);
        let taken = self.heads.iter().find_map(|(at, head)| {
            let current = head.current.as_ref()?;
            let is_it = current.sent_sha256 == sha256
                && current.lock_id.as_ref().is_some_and(|id| ids.contains(id))
                && current.origin == Origin::Write;
            is_it.then_some((*at, current.version))
        });
        // What was pruned is forgotten: a retry of it is a write that nobody has seen.
        let forgotten = |version: VersionId| {
            self.heads
                .iter()
                .any(|(at, head)| *at <= record.until && head.epoch > version.epoch && !head.names(&version))
        };
        if let Some((at, version)) = taken
            && !forgotten(version)
        {
            let what = format!("{} was refused, and is version {version}", record.client);
            self.broken("refused-has-no-effect", at, what);
        }
    }
}
