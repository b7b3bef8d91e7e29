//! Settling: the one way to mend a copy that is not what the head names.
//!
//! Every step that could harm is conditional: a judgement is a compare-and-swap on the very head beside which the copy
//! was seen, and the mending put is conditional on the very copy that was judged.

use bytes::Bytes;
use opentaco_domain::{Sha256, UnitId, VersionId};

use crate::StorageError;
use crate::bucket::{If, Kind, Meta, Tag, Whole};
use crate::head::{CopyRecord, Head, Origin};
use crate::heads::{Known, Sight, Swap};
use crate::planted::{Bug, planted};
use crate::read::{BUFFERED_BYTES_MAX, digest};
use crate::vacancy::{self, is_vacant, may_be_vacant};
use crate::vault::{Noticed, Vault};

/// How often a write without a usable answer is followed by another round.
const WRITE_FAILURES_MAX: usize = 2;

/// How settling ended.
#[derive(Debug)]
pub enum Settled {
    /// The copy holds what this head names.
    Done(Known),
    /// It came to no end: others were writing all the while, or the bucket did not let us.
    Unsettled {
        /// The head as last read.
        known: Known,
        /// Whether the copy, as last seen, held bytes that are not ours and could not be judged.
        foreign: bool,
        /// What the bucket said to our last write, if that was the reason.
        failure: Option<StorageError>,
    },
}

/// What to do with a copy that already holds the right bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Insist {
    /// Leave it.
    No,
    /// Put it once more if it is empty: it may be so from before a write that is deleted by now, and whose own put of the
    /// copy is still on its way. (Whoever answers that a unit has no state.)
    EmptyAgain,
    /// Put it once more: a late write that was made for the old one must not find it. (Undelete.)
    PutAgain,
}

/// The copy and the head, seen together.
struct Scene {
    copy: Option<Meta>,
    known: Known,
    /// What it holds, where that had to be looked at.
    content: Option<Content>,
}

/// The bytes of a copy, or of a large one what tells them.
struct Content {
    sha256: Sha256,
    bytes: Option<Whole>,
}

impl Scene {
    /// The copy, if a state lies there.
    fn state(&self) -> Option<&Meta> {
        let bytes = self.content.as_ref().and_then(|content| content.bytes.as_ref());
        let is_vacant = |meta: &&Meta| meta.size == 0 || bytes.is_some_and(|bytes| is_vacant(bytes));
        self.copy.as_ref().filter(|meta| !is_vacant(meta))
    }
}

/// What a scene calls for.
enum Judgement {
    /// The copy holds what the head names.
    Holds,
    /// So it does, and the head of a unit that nobody holds does not say so yet.
    Unrecorded(VersionId),
    /// The copy's bytes are known for what they are: put what the head names over them.
    Overwrite,
    /// An older version of ours: record that, then overwrite.
    Lags(VersionId),
    /// Somebody wrote it directly.
    Foreign,
}

impl Vault {
    /// Mends the copy in at most so many rounds.
    ///
    /// # Errors
    /// If the copy or the head cannot be read; nothing is lost then, and the next one goes on.
    pub async fn settle(
        &self,
        unit: &UnitId,
        rounds: usize,
        insist: Insist,
    ) -> Result<Settled, StorageError> {
        let mut last = None;
        let mut failures = 0;
        // The copy as it was first seen beside a head that names nothing, and the newest write before that.
        let mut at_first: Option<(Option<VersionId>, Option<Tag>)> = None;
        let mut tried_to_record = false;
        let turns = self.turns(unit);
        let mut my_turn = None;
        let mut waited = false;
        for round in 0..rounds {
            if round > 0 {
                self.bucket().pause(round.min(2)).await;
            }
            let Some(scene) = self.look(unit).await? else {
                continue;
            };
            // It is another copy than the one first seen here, and nothing was written since: whoever put this one did so
            // beside a head that names nothing, and what was made for an older one does not find it.
            let insist = match insist {
                Insist::EmptyAgain if was_put_since(&scene, &mut at_first) => Insist::No,
                insist => insist,
            };
            let mut judgement = self.judge_copy(unit, &scene, insist).await?;
            if matches!(judgement, Judgement::Unrecorded(_)) && std::mem::replace(&mut tried_to_record, true)
            {
                // The head moves faster than it can be recorded beside; the copy was right all the same.
                judgement = Judgement::Holds;
            }
            let foreign = matches!(judgement, Judgement::Foreign);
            if foreign && my_turn.is_none() && !waited {
                // One of a crowd is enough to adopt it: each would hold the whole state, and put it once more.
                match turns.adopting.try_lock() {
                    Ok(turn) => {
                        my_turn = Some(turn);
                        let moved = |known: Known| known.head.epoch > scene.known.head.epoch;
                        if self.remembered(unit).is_some_and(moved) {
                            continue;
                        }
                    }
                    Err(_) => {
                        drop(scene);
                        waited = true;
                        my_turn = self.queue(&turns.adopting).await;
                        continue;
                    }
                }
            }
            let failure = match self.act_on(unit, &scene, judgement).await {
                Ok(Some(known)) => return Ok(Settled::Done(known)),
                Ok(None) => None,
                Err(error) if error.in_doubt() && failures < WRITE_FAILURES_MAX => {
                    failures += 1;
                    Some(error)
                }
                Err(denied) => {
                    return Ok(Settled::Unsettled {
                        known: scene.known,
                        foreign,
                        failure: Some(denied),
                    });
                }
            };
            last = Some(Settled::Unsettled {
                known: scene.known,
                foreign,
                failure,
            });
        }
        match last {
            Some(unsettled) => Ok(unsettled),
            // The copy never stood still. What the head names can be served all the same; that it names nothing cannot
            // be told from a state that somebody is just putting there.
            None => {
                let known = self.touch_fresh(unit).await?;
                let foreign = known.head.current.is_none();
                Ok(Settled::Unsettled {
                    known,
                    foreign,
                    failure: None,
                })
            }
        }
    }

    /// Does what a scene calls for. The head that the copy holds now, or nothing if somebody was faster: look again.
    async fn act_on(
        &self,
        unit: &UnitId,
        scene: &Scene,
        judgement: Judgement,
    ) -> Result<Option<Known>, StorageError> {
        let known = match judgement {
            Judgement::Holds => return Ok(Some(scene.known.clone())),
            Judgement::Unrecorded(version) => {
                return match self.note(unit, scene, Some(version)).await {
                    // It is right, recorded or not: whoever comes next records it.
                    Err(error) => {
                        tracing::debug!(%unit, %error, "what the state copy holds is not recorded yet");
                        Ok(Some(scene.known.clone()))
                    }
                    noted => noted,
                };
            }
            Judgement::Overwrite => Some(scene.known.clone()),
            Judgement::Lags(_) if planted(Bug::LaggingNotRecorded) => Some(scene.known.clone()),
            Judgement::Lags(version) => self.note(unit, scene, Some(version)).await?,
            Judgement::Foreign if throws_out(&scene.known.head) => {
                let Some(bytes) = self.bytes_of(unit, scene).await? else {
                    return Ok(None);
                };
                self.keep_external(unit, &scene.known.head, &bytes).await?;
                match planted(Bug::RefusalNotRecorded) {
                    true => Some(scene.known.clone()),
                    false => self.note(unit, scene, None).await?,
                }
            }
            Judgement::Foreign => {
                return match self.bytes_of(unit, scene).await? {
                    Some(bytes) => self.adopt(unit, scene, &bytes).await,
                    None => Ok(None),
                };
            }
        };
        let Some(known) = known else { return Ok(None) };
        let done = self.overwrite(unit, &known, scene.copy.as_ref()).await?;
        Ok(done.then_some(known))
    }

    /// Copy, head, copy: a scene in which the copy was the same before and after the head was read, or nothing.
    async fn look(&self, unit: &UnitId) -> Result<Option<Scene>, StorageError> {
        let key = self.bucket().layout().copy(unit);
        let before = self.bucket().head(Kind::Copy, &key).await?;
        let known = self.touch_fresh(unit).await?;
        let told = match &before {
            None => true,
            Some(meta) => {
                let recorded = known.head.copy.as_ref().is_some_and(|record| record.is(meta));
                meta.size == 0 || (recorded && !may_be_vacant(meta))
            }
        };
        let large = before.as_ref().is_some_and(|meta| meta.size > BUFFERED_BYTES_MAX);
        let (after, content) = if told {
            (self.bucket().head(Kind::Copy, &key).await?, None)
        } else if large {
            match self.bucket().get(Kind::Copy, &key).await? {
                Some(got) => {
                    let sha256 = digest(got.body).await?;
                    (Some(got.meta), Some(Content { sha256, bytes: None }))
                }
                None => (None, None),
            }
        } else {
            match self.bucket().fetch(Kind::Copy, &key).await? {
                Some((meta, bytes)) => {
                    let sha256 = Sha256::of(&bytes);
                    let bytes = Some(bytes);
                    (Some(meta), Some(Content { sha256, bytes }))
                }
                None => (None, None),
            }
        };
        let same = match (&before, &after) {
            (None, None) => true,
            (Some(before), Some(after)) => before.tag.same(&after.tag),
            _ => false,
        };
        Ok(same.then_some(Scene {
            copy: after,
            known,
            content,
        }))
    }

    /// The bytes that were looked at; nothing if the copy is another by now.
    async fn bytes_of(&self, unit: &UnitId, scene: &Scene) -> Result<Option<Whole>, StorageError> {
        if let Some(bytes) = scene.content.as_ref().and_then(|content| content.bytes.clone()) {
            return Ok(Some(bytes));
        }
        let key = self.bucket().layout().copy(unit);
        let fetched = self.bucket().fetch(Kind::Copy, &key).await?;
        Ok(fetched
            .filter(|(meta, _)| scene.copy.as_ref().is_some_and(|seen| seen.tag.same(&meta.tag)))
            .map(|(_, bytes)| bytes))
    }

    async fn judge_copy(
        &self,
        unit: &UnitId,
        scene: &Scene,
        insist: Insist,
    ) -> Result<Judgement, StorageError> {
        let head = &scene.known.head;
        let Some(meta) = scene.state() else {
            // A unit without a state is seen in listings by its empty copy: one that was created has one. A deleted one
            // has it too, since a first copy that is still on its way must find something there.
            let unseen = scene.copy.is_none() && head.created.is_some() && !planted(Bug::AbsentIsEmpty);
            let again = insist != Insist::No && scene.copy.is_some();
            return Ok(if head.current.is_none() && !unseen && !again {
                Judgement::Holds
            } else {
                Judgement::Overwrite
            });
        };
        let right = || match insist {
            Insist::No | Insist::EmptyAgain => Judgement::Holds,
            Insist::PutAgain => Judgement::Overwrite,
        };
        if head.copy_is_current(meta) {
            return Ok(right());
        }
        // What was judged once stays so, even where its bytes had to be looked at to tell them from a note.
        let judged = head.copy.as_ref().is_some_and(|record| record.is(meta));
        let Some(&Content { sha256, .. }) = scene.content.as_ref().filter(|_| !judged) else {
            return Ok(Judgement::Overwrite);
        };
        if let Some(current) = head.current.as_ref().filter(|current| current.sha256 == sha256) {
            // Under a lock its holder records it, and would lose the head it remembers.
            return Ok(match right() {
                Judgement::Holds if head.lock.is_none() && !planted(Bug::FoundNotRecorded) => {
                    Judgement::Unrecorded(current.version)
                }
                judgement => judgement,
            });
        }
        // Bytes that the copy was never yet recorded to be past are a lagging copy. Once it was seen holding the
        // current version, somebody put the old ones back, and means it.
        let seen_current = head.current.is_some()
            && head.copy.as_ref().map(|copy| copy.version) == Some(head.current_version());
        let may_lag = (!seen_current || planted(Bug::OldVersionUndone))
            && !(head.current.is_none() && planted(Bug::LeftoversAdopted));
        if may_lag && let Some(version) = self.ours(unit, head, sha256).await? {
            return Ok(Judgement::Lags(version));
        }
        Ok(Judgement::Foreign)
    }

    /// The newest committed version with this content.
    async fn ours(
        &self,
        unit: &UnitId,
        head: &Head,
        sha256: Sha256,
    ) -> Result<Option<VersionId>, StorageError> {
        if let Some(committed) = head.known().find(|committed| committed.sha256 == sha256) {
            return Ok(Some(committed.version));
        }
        if planted(Bug::OrphansAreOurs) {
            let all = self.list_versions(unit).await?;
            return Ok(all
                .into_iter()
                .map(|(version, _)| version)
                .find(|version| version.sha256 == sha256));
        }
        if head.kept.is_empty() {
            return Ok(None);
        }
        let kept = self.kept_versions(unit, head).await?;
        Ok(kept
            .into_iter()
            .map(|(version, _)| version)
            .find(|version| version.sha256 == sha256))
    }

    /// Records a judgement in the head it was made beside. None: the head has moved, judge again.
    async fn note(
        &self,
        unit: &UnitId,
        scene: &Scene,
        version: Option<VersionId>,
    ) -> Result<Option<Known>, StorageError> {
        let Some(meta) = &scene.copy else { return Ok(None) };
        let mut next = (*scene.known.head).clone();
        next.copy = Some(CopyRecord {
            version,
            tag: meta.tag.clone(),
        });
        self.swap_judged(unit, &scene.known, next).await
    }

    /// Makes a new version of what somebody wrote directly. None: the head has moved, judge again.
    async fn adopt(
        &self,
        unit: &UnitId,
        scene: &Scene,
        bytes: &Bytes,
    ) -> Result<Option<Known>, StorageError> {
        let Some(meta) = &scene.copy else { return Ok(None) };
        let head = &scene.known.head;
        let adopted = self
            .put_found(unit, bytes, meta, head.epoch + 1, Origin::External)
            .await?;
        let version = adopted.version;
        let mut next = (**head).clone();
        next.advance(Some(adopted));
        next.copy = Some(CopyRecord {
            version: Some(version),
            tag: meta.tag.clone(),
        });
        if next.deleted.is_some() || next.created.is_none() {
            next.begin_to_live(self.now(), None);
        }
        match self.swap_judged(unit, &scene.known, next).await? {
            Some(known) => {
                tracing::warn!(
                    target: "opentaco::audit", what = "external", %unit, %version, bytes = bytes.len(),
                    "somebody wrote the state in the bucket directly; it is adopted as a new version"
                );
                self.notice(unit, Noticed::Adopted(version));
                self.tidy_behind(unit, &known.head);
                Ok(Some(known))
            }
            None => {
                let now = self.touch_fresh(unit).await?;
                self.discard_behind(unit, vec![version], &now.head);
                if planted(Bug::MovedMeansOverwrite) {
                    return Ok(self.overwrite(unit, &now, Some(meta)).await?.then_some(now));
                }
                Ok(None)
            }
        }
    }

    async fn swap_judged(
        &self,
        unit: &UnitId,
        from: &Known,
        next: Head,
    ) -> Result<Option<Known>, StorageError> {
        match self.swap(unit, Some(from), next.clone()).await? {
            Swap::Done(known) => {
                self.drop_sight(unit);
                Ok(Some(known))
            }
            Swap::Moved(Some(now)) if planted(Bug::JudgedWithoutSwap) => {
                let mut judged = (*now.head).clone();
                if next.current_version() != from.head.current_version() {
                    judged.advance(next.current);
                }
                judged.copy = next.copy;
                Box::pin(self.swap_judged(unit, &now, judged)).await
            }
            Swap::Moved(_) => Ok(None),
        }
    }

    /// Puts what the head names over the copy that was judged. False: the copy is another by now.
    async fn overwrite(
        &self,
        unit: &UnitId,
        known: &Known,
        copy: Option<&Meta>,
    ) -> Result<bool, StorageError> {
        let whole = match &known.head.current {
            Some(current) => self.version_bytes(unit, &current.version).await?,
            // Where a person took the copy away, the tag of the head tells what kind the tags are.
            None => Whole::from(vacancy::over(copy.map_or(&known.tag, |meta| &meta.tag), || {
                self.draw()
            })),
        };
        if known.head.current.is_none() && planted(Bug::CopyDeleted) {
            self.bucket()
                .delete(Kind::Copy, &self.bucket().layout().copy(unit))
                .await?;
            return Ok(true);
        }
        let condition = copy.map_or(If::Absent, |meta| If::Still(meta.tag.clone()));
        let done = self.put_copy(unit, known, whole.bytes.clone(), condition).await?;
        if planted(Bug::MendingNotRecorded) {
            self.drop_sight(unit);
        }
        Ok(done)
    }

    /// Whether our own last put of the copy is what the store shows, and put what is current.
    pub(crate) fn saw_current(&self, unit: &UnitId, head: &Head, seen: &Meta) -> bool {
        let (Some(Sight { record, replaced }), Some(current)) = (self.sight(unit), &head.current) else {
            return false;
        };
        record.version == Some(current.version)
            && replaced == head.copy
            && record.is(seen)
            && seen.size == current.size
    }
}

/// Whether the copy was put anew since it was first seen beside a head that names nothing. A write in between begins the
/// story anew: its own put may have been made for the very copy that is there.
fn was_put_since(scene: &Scene, at_first: &mut Option<(Option<VersionId>, Option<Tag>)>) -> bool {
    let head = &scene.known.head;
    if head.current.is_some() {
        *at_first = None;
        return false;
    }
    let newest = head.recent.first().map(|committed| committed.version);
    let now = scene.copy.as_ref().map(|meta| meta.tag.clone());
    match at_first {
        Some((before, first)) if *before == newest => match (first, &now) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(first), Some(now)) => !first.same(now),
        },
        _ => {
            *at_first = Some((newest, now));
            false
        }
    }
}

/// Whether what somebody wrote directly is refused: the present holder has committed under this lock, and did not mean
/// to be overwritten.
fn throws_out(head: &Head) -> bool {
    head.holder_has_committed() || (head.lock.is_some() && planted(Bug::HandsThrownOutWhileLocked))
}
