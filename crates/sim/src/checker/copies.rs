//! What must hold of the state copy.

use std::collections::BTreeMap;

use bytes::Bytes;
use opentaco_domain::{Sha256, VersionId};
use opentaco_storage::head::{Head, Origin};

use super::{Copied, Story, is_vacant};
use crate::executor::Instant;
use crate::world::{Ask, Record, Told};

impl Story<'_> {
    pub(super) fn copy(&mut self) {
        self.service_puts();
        self.is_current();
    }

    /// The epoch of what a copy holds: of the newest version with these bytes, or of the head that emptied it.
    fn epoch_of(&self, bytes: &Bytes, at: Instant) -> Option<u64> {
        let heads = self.heads.iter().take_while(|(seen, _)| *seen <= at);
        if is_vacant(bytes) {
            let empty = heads.filter(|(_, head)| head.current.is_none());
            return empty.map(|(_, head)| head.epoch).max();
        }
        let sha256 = Sha256::of(bytes);
        heads
            .filter_map(|(_, head)| head.current.as_ref())
            .filter(|current| current.sha256 == sha256)
            .map(|current| current.version.epoch)
            .max()
    }

    /// Whether a put that was conditional on one content of the copy may have met another: where a tag is a digest of the
    /// content, nothing tells apart two versions of the very same bytes, or a write by hand and the version that it was
    /// promoted to. That is not promised.
    fn took_one_for_another(&self, copies: &[Copied], replaced: Option<&Bytes>, at: Instant) -> bool {
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
            let puts = copies.iter().filter(|copied| copied.by_hand && copied.at <= at);
            puts.filter_map(|copied| copied.bytes.as_ref())
                .any(|bytes| Sha256::of(bytes) == sha256)
        };
        versions.len() > 1 || (versions.values().any(made) && by_hand())
    }

    /// Whether these bytes are what the head names at some moment.
    fn is_named(&self, bytes: &Bytes, at: Instant) -> bool {
        let head = self.heads.iter().take_while(|(seen, _)| *seen <= at).last();
        let current = head.and_then(|(_, head)| head.current.as_ref());
        current.is_some_and(|current| current.sha256 == Sha256::of(bytes))
    }

    /// What the service puts was named by a head, and is never older than what it put, adopted or answered for before.
    fn service_puts(&mut self) {
        let mut moments = self.copy_known_at().into_iter().peekable();
        let copies = std::mem::take(&mut self.copies);
        let mut newest: Option<u64> = None;
        let mut holds: Option<&Bytes> = None;
        let mut is_misplaced = false;
        for Copied {
            index,
            at,
            by_hand,
            bytes,
        } in &copies
        {
            while let Some((moment, limit)) = moments.next_if(|(moment, _)| moment < at) {
                // Where there is no copy, there is no state.
                let epoch = self.epoch_of(holds.unwrap_or(&Bytes::new()), moment);
                newest = newest.max(epoch.map(|epoch| epoch.min(limit)));
            }
            let replaced = std::mem::replace(&mut holds, bytes.as_ref());
            // What is put over something misplaced was made for the time when that was in its place.
            let over_misplaced = std::mem::take(&mut is_misplaced);
            if *by_hand {
                continue;
            }
            let Some(bytes) = bytes else {
                self.broken("copy-never-goes-back", *at, "the copy was deleted");
                continue;
            };
            let Some(epoch) = self.epoch_of(bytes, *at) else {
                let what = format!("{} was put, and no head had named it", Sha256::of(bytes).short());
                self.broken("copy-holds-versions", *at, what);
                continue;
            };
            let late = newest.is_some_and(|newer| epoch < newer);
            is_misplaced = (late && self.took_one_for_another(&copies, replaced, *at))
                || (over_misplaced && !is_vacant(bytes) && !self.is_named(bytes, *at));
            match newest {
                _ if is_misplaced => {
                    self.misplaced.insert(*index);
                    newest = Some(epoch);
                }
                Some(newer) if epoch < newer => {
                    let what = format!("epoch {epoch} was put over epoch {newer}");
                    self.broken("copy-never-goes-back", *at, what);
                }
                _ => newest = Some(epoch),
            }
        }
        self.copies = copies;
    }

    /// When the copy was known to hold what it held, for somebody was answered so or it was adopted; and the epoch up to
    /// which that is known. Whoever is told that a unit is deleted is told nothing of a state that somebody brings back.
    fn copy_known_at(&self) -> Vec<(Instant, u64)> {
        let answered = self.records.iter().filter(|record| record.told == Told::Done);
        let mut moments: Vec<(Instant, u64)> = answered
            .filter_map(|record| {
                let limit = match record.ask {
                    Ask::Delete => self.tombstone(record)?.1,
                    Ask::Write { .. } | Ask::Create | Ask::Undelete | Ask::Restore(_) | Ask::Promote(_) => {
                        u64::MAX
                    }
                    Ask::S3(ref ask) if ask.sent().is_some() => u64::MAX,
                    Ask::Lock(_) | Ask::Unlock(_) | Ask::ForceUnlock | Ask::Read | Ask::S3(_) => return None,
                };
                Some((record.until, limit))
            })
            .collect();
        moments.extend(self.adoptions().map(|(at, ..)| (at, u64::MAX)));
        moments.sort_unstable();
        moments
    }

    /// The last head that says that there is no such unit, of those that a request may have seen.
    fn tombstone(&self, record: &Record) -> Option<(Instant, u64)> {
        let gone = |head: &&&(Instant, Head)| !head.1.exists();
        let seen = self.heads_seen(record);
        seen.iter().rfind(gone).map(|(at, head)| (*at, head.epoch))
    }

    /// The heads that were true at some moment of a request.
    fn heads_seen(&self, record: &Record) -> Vec<&(Instant, Head)> {
        let first = self.heads.iter().rposition(|(at, _)| *at < record.from);
        self.heads[first.unwrap_or(0)..]
            .iter()
            .take_while(|(at, _)| *at <= record.until)
            .collect()
    }

    /// What an acknowledged change came to: when, and at which epoch. None for what changes no copy, and for the deletion
    /// of a unit that somebody has brought back meanwhile.
    fn came_to(&self, record: &Record) -> Option<(Instant, u64)> {
        let seen = self.heads_seen(record);
        let became = |is_it: &dyn Fn(&Origin) -> bool| {
            seen.iter().find_map(|(at, head)| {
                let current = head.current.as_ref().filter(|current| is_it(&current.origin))?;
                let at = self.committed_at(current.version).unwrap_or(*at);
                Some((at, current.version.epoch))
            })
        };
        let was_created = || {
            let created = seen
                .windows(2)
                .find(|pair| !pair[0].1.exists() && pair[1].1.exists());
            created.map(|pair| (pair[1].0, pair[1].1.epoch))
        };
        match &record.ask {
            Ask::Write { .. } | Ask::S3(_) => self.written(record),
            Ask::Restore(of) => became(&|origin| matches!(origin, Origin::Restore(version) if version == of)),
            Ask::Promote(of) => became(&|origin| matches!(origin, Origin::Promote(id) if id == of)),
            Ask::Undelete => became(&|origin| *origin == Origin::Undelete).or_else(was_created),
            Ask::Create => was_created(),
            Ask::Delete => {
                let gone = seen.iter().position(|(_, head)| !head.exists())?;
                let stays = seen[gone..].iter().all(|(_, head)| !head.exists());
                stays.then(|| (seen[gone].0, seen[gone].1.epoch))
            }
            Ask::Lock(_) | Ask::Unlock(_) | Ask::ForceUnlock | Ask::Read => None,
        }
    }

    /// When a change is acknowledged, the copy has held it or what came after it.
    fn is_current(&mut self) {
        for record in &self.records.clone() {
            if record.told != Told::Done {
                continue;
            }
            let Some((since, epoch)) = self.came_to(record) else {
                continue;
            };
            let copies = self.copies_during(since, record.until);
            let is_it = |copied: &&Copied| {
                self.misplaced.contains(&copied.index)
                    || copied
                        .bytes
                        .as_ref()
                        .and_then(|bytes| self.epoch_of(bytes, record.until))
                        .is_some_and(|holds| holds >= epoch)
            };
            if !copies.iter().flatten().any(is_it) {
                let what = format!(
                    "{} was told that epoch {epoch} is done, and the copy never held it",
                    record.client
                );
                self.broken("copy-is-current", record.until, what);
            }
        }
    }
}
