//! Creating, describing, deleting and bringing back units.

use std::collections::BTreeMap;

use bytes::Bytes;
use opentaco_domain::{Holding, Principal, StateSummary, UnitId, limits};

use crate::StorageError;
use crate::bucket::{If, Kind, Meta};
use crate::commit::{CommitRequest, Committing};
use crate::head::{Deleted, Head, Lock, Origin};
use crate::heads::{Known, Swap};
use crate::planted::{Bug, planted};
use crate::settle::Insist;
use crate::vacancy;
use crate::vault::Vault;

/// How a request to create a unit was decided.
#[derive(Debug)]
pub enum Creating {
    /// It is there, since now.
    Created(Known),
    /// It was there before.
    Exists(Known),
}

/// How a request to delete a unit was decided.
#[expect(
    clippy::large_enum_variant,
    reason = "one is made per request and matched at once"
)]
#[derive(Debug)]
pub enum Deleting {
    /// It is gone.
    Deleted,
    /// There was none.
    NoUnit,
    /// Somebody holds it.
    Held(Lock),
    /// It refuses to be deleted.
    Protected,
}

/// What is to be changed about a unit; what is not given stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotation {
    /// Labels to set, and labels to take off.
    pub labels: BTreeMap<String, Option<String>>,
    /// What people say of it.
    pub description: Option<String>,
    /// Whether it refuses to be deleted.
    pub deletion_protection: Option<bool>,
}

impl Annotation {
    fn apply(&self, head: &mut Head) {
        for (name, value) in &self.labels {
            match value {
                Some(value) => head.labels.insert(name.clone(), value.clone()),
                None => head.labels.remove(name),
            };
        }
        if let Some(description) = &self.description {
            head.description.clone_from(description);
        }
        if let Some(protection) = self.deletion_protection {
            head.deletion_protection = protection;
        }
    }
}

/// How a request to change what is said of a unit was decided.
#[derive(Debug)]
pub enum Annotating {
    /// It is so, since now.
    Done(Known),
    /// There is no such unit.
    NoUnit,
    /// It would have so many labels, which is more than a unit may have.
    TooManyLabels(usize),
}

/// How a request to bring back a unit was decided.
#[derive(Debug)]
pub enum Undeleting {
    /// It lives again, empty as it was.
    Empty,
    /// It lives again, with its last content as a new version.
    Committed(Committing),
    /// It is not deleted.
    Lives,
    /// There never was such a unit.
    NoUnit,
    /// Somebody holds it.
    Held(Lock),
    /// It was deleted so long ago that its versions are gone.
    Expired,
}

/// What a unit without a head looks like.
#[expect(
    clippy::large_enum_variant,
    reason = "one is made per request and matched at once"
)]
#[derive(Debug)]
pub enum Described {
    /// A unit with a head.
    Known(Known),
    /// A unit that nobody has touched through us: what its copy says, and the lock file beside it.
    Untouched(Meta, Option<Lock>),
    /// No such unit.
    NoUnit,
}

impl Vault {
    /// What is true of a unit now: one request, four for a unit that nobody has touched through us.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub async fn describe(&self, unit: &UnitId) -> Result<Described, StorageError> {
        if let Some(known) = self.load(unit).await? {
            return Ok(if known.head.exists() {
                Described::Known(known)
            } else {
                Described::NoUnit
            });
        }
        let copy = self.bucket().layout().copy(unit);
        let Some(mut meta) = self.bucket().head(Kind::Copy, &copy).await? else {
            self.bucket().ping().await?;
            return Ok(Described::NoUnit);
        };
        if self.holds_note(unit, None, &meta).await? {
            meta.size = 0;
        }
        Ok(Described::Untouched(meta, self.lock_before_us(unit).await?))
    }

    /// Creates a unit without a state, visible in listings by an empty copy.
    ///
    /// # Errors
    /// If the bucket gives no answer; the unit may have been created, and the same request again says so.
    pub async fn create(
        &self,
        unit: &UnitId,
        labels: BTreeMap<String, String>,
        description: String,
    ) -> Result<Creating, StorageError> {
        // Never from memory: what is created since, be it by a swap of ours that is in doubt, is told from what was there.
        let mut known = self.touch_fresh(unit).await?;
        let first_seen = known.head.living_since;
        let creation = format!("{:016x}", self.draw());
        let created = loop {
            if known.head.exists() || known.head.living_since != first_seen {
                // Our swap may have landed although it was refused, and somebody else's after it.
                let is_ours = known.head.creation.as_ref() == Some(&creation);
                // Or an earlier attempt of this very request made it, and could not show it.
                if is_ours || known.head.current.is_none() {
                    self.mend(unit, Insist::No).await?;
                    self.record_copy_behind(unit);
                }
                return Ok(match is_ours {
                    true => Creating::Created(known),
                    false => Creating::Exists(known),
                });
            }
            let mut next = (*known.head).clone();
            if next.deleted.is_some() && planted(Bug::CreateForgetsHistory) {
                next.recent.clear();
            }
            next.begin_to_live(self.now(), Some(creation.clone()));
            next.labels.clone_from(&labels);
            next.description.clone_from(&description);
            next.deletion_protection = false;
            match self.swap(unit, Some(&known), next).await? {
                Swap::Done(now) => break now,
                Swap::Moved(now) => known = self.moved(unit, now).await?,
            }
        };
        // The first copy of all may be like any other. One that comes after others, because a person took them away, may
        // not: a late put that was made for the first would find it.
        let lived = !created.head.recent.is_empty() || !created.head.kept.is_empty();
        let empty = match lived {
            true => vacancy::over(&created.tag, || self.draw()),
            false => Bytes::new(),
        };
        match self.put_copy(unit, &created, empty, If::Absent).await {
            Ok(true) => {}
            Ok(false) => self.mend(unit, Insist::No).await?,
            Err(error) if error.in_doubt() => self.mend(unit, Insist::No).await?,
            Err(denied) => return Err(denied),
        }
        self.record_copy_behind(unit);
        Ok(Creating::Created(created))
    }

    /// Changes what people say of a unit.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub async fn annotate(&self, unit: &UnitId, annotation: &Annotation) -> Result<Annotating, StorageError> {
        let mut known = self.touch_fresh(unit).await?;
        loop {
            if !known.head.exists() {
                return Ok(Annotating::NoUnit);
            }
            let mut next = (*known.head).clone();
            annotation.apply(&mut next);
            if next.labels.len() > limits::LABELS_MAX {
                return Ok(Annotating::TooManyLabels(next.labels.len()));
            }
            match self.swap(unit, Some(&known), next).await? {
                Swap::Done(now) => return Ok(Annotating::Done(now)),
                Swap::Moved(now) => known = self.moved(unit, now).await?,
            }
        }
    }

    /// Deletes a unit: a tombstone in the head, an empty copy. The versions stay for thirty days.
    ///
    /// # Errors
    /// If the bucket gives no answer; the same request again finishes what was begun.
    pub async fn delete(&self, unit: &UnitId, by: &Principal) -> Result<Deleting, StorageError> {
        // What somebody wrote directly belongs to the history before it is deleted.
        self.mend(unit, Insist::No).await?;
        let mut known = self.touch_fresh(unit).await?;
        let incarnation = known.head.living_since;
        if !known.head.exists() {
            // What mending put is to be known: else each listing looks at it, and the next write takes it for another.
            self.record_copy_behind(unit);
            return Ok(Deleting::NoUnit);
        }
        loop {
            // Pursue only what was first seen: a unit that was created since is another one. Its copy is seen to all the
            // same: what is still on its way for the deleted one must not find it.
            if known.head.living_since != incarnation {
                break;
            }
            if !known.head.exists() {
                break;
            }
            if let Some(lock) = &known.head.lock {
                return Ok(Deleting::Held(lock.clone()));
            }
            if known.head.deletion_protection {
                return Ok(Deleting::Protected);
            }
            let mut next: Head = (*known.head).clone();
            next.deleted = Some(Deleted {
                at: self.now(),
                by: by.clone(),
                version: known.head.current_version(),
                expired: false,
            });
            next.advance(None);
            next.outputs.clear();
            match self.swap(unit, Some(&known), next).await? {
                Swap::Done(_) => break,
                Swap::Moved(now) => known = self.moved(unit, now).await?,
            }
        }
        self.mend(unit, Insist::No).await?;
        self.record_copy_behind(unit);
        Ok(Deleting::Deleted)
    }

    /// Brings back a deleted unit with its last content, as a new version.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub async fn undelete(
        &self,
        unit: &UnitId,
        by: &Principal,
        door: &'static str,
    ) -> Result<Undeleting, StorageError> {
        let Some(known) = self.load(unit).await? else {
            let copy = self
                .bucket()
                .head(Kind::Copy, &self.bucket().layout().copy(unit))
                .await?;
            return Ok(if copy.is_some() {
                Undeleting::Lives
            } else {
                Undeleting::NoUnit
            });
        };
        let Some(deleted) = &known.head.deleted else {
            if !known.head.exists() {
                return Ok(Undeleting::NoUnit);
            }
            // Perhaps an earlier attempt of this very request brought it back, and could not write the copy.
            self.mend(unit, Insist::No).await?;
            return Ok(Undeleting::Lives);
        };
        if let Some(lock) = &known.head.lock {
            return Ok(Undeleting::Held(lock.clone()));
        }
        let Some(version) = deleted.version else {
            if deleted.expired {
                return Ok(Undeleting::Expired);
            }
            let (labels, description) = (known.head.labels.clone(), known.head.description.clone());
            return Ok(match self.create(unit, labels, description).await? {
                Creating::Created(_) => Undeleting::Empty,
                Creating::Exists(_) => Undeleting::Lives,
            });
        };
        let last = self.version_bytes(unit, &version).await?;
        let request = CommitRequest {
            summary: StateSummary::read(&last).unwrap_or_default(),
            bytes: last.bytes.clone(),
            md5: None,
            holding: Holding::Nothing,
            principal: by.clone(),
            door,
            key: None,
            if_match: None,
            if_content: None,
            force: false,
            same_lineage: false,
            may_create: true,
            asked_at: None,
            revives: Some(known.head.living_since),
            origin: Origin::Undelete,
            made: None,
        };
        Ok(match self.commit(unit, &request).await? {
            // Somebody else brought it to life meanwhile, and what they wrote stays.
            Committing::Unmet { .. } => Undeleting::Lives,
            committing => Undeleting::Committed(committing),
        })
    }
}
