//! The first touch of a unit that has no head: a bucket older than us, or a unit nobody has ever written.
//!
//! What is found becomes the first head: the bytes its first version, a lock file its lock, versions that a lost head has
//! left behind its history. Only then is the request decided, on that head.

use bytes::Bytes;
use opentaco_domain::{LockId, LockInfo, Principal, Session, Sha256, StateSummary, UnitId, VersionId};

use crate::StorageError;
use crate::bucket::{Kind, Meta};
use crate::head::{Committed, CopyRecord, Head, Lock, Origin, kept_name};
use crate::heads::{Known, Swap};
use crate::planted::{Bug, planted};
use crate::vacancy::is_vacant;
use crate::vault::{Noticed, Vault};

/// Who wrote what was there before us.
pub(crate) const BEFORE_US: &str = "unknown (found in the bucket)";

impl Vault {
    /// The head of a unit, made from what lies in the bucket if there is none yet.
    pub(crate) async fn touch(&self, unit: &UnitId) -> Result<Known, StorageError> {
        if let Some(known) = self.recall(unit).await? {
            return Ok(known);
        }
        self.first_touch(unit).await
    }

    /// As [`Vault::touch`], but never from memory.
    pub(crate) async fn touch_fresh(&self, unit: &UnitId) -> Result<Known, StorageError> {
        if let Some(known) = self.load(unit).await? {
            return Ok(known);
        }
        self.first_touch(unit).await
    }

    /// The head of a unit as it is now. Of a unit that nobody has touched through us, it is made; if nothing lies there,
    /// there is none.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub async fn find(&self, unit: &UnitId) -> Result<Option<Known>, StorageError> {
        if let Some(known) = self.load(unit).await? {
            return Ok(Some(known));
        }
        let copy = self.bucket().layout().copy(unit);
        match self.bucket().head(Kind::Copy, &copy).await? {
            Some(_) => self.first_touch(unit).await.map(Some),
            None => {
                self.bucket().ping().await?;
                // It was made meanwhile, or the whole bucket was not to be found for a moment.
                self.load(unit).await
            }
        }
    }

    async fn first_touch(&self, unit: &UnitId) -> Result<Known, StorageError> {
        let turns = self.turns(unit);
        let (_turn, waited) = match turns.adopting.try_lock() {
            Ok(turn) => (Some(turn), false),
            Err(_) => (self.queue(&turns.adopting).await, true),
        };
        // Whoever had the turn before has made the head.
        if waited && let Some(known) = self.load(unit).await? {
            return Ok(known);
        }
        // A listing before all of it: where the bucket itself is not found, it fails, and what is asked for afterwards is
        // not there indeed.
        let mut head = Head::blank();
        self.keep_what_a_lost_head_named(unit, &mut head).await?;
        // The locks before the state: a holder that writes and then unlocks in between is seen holding, never missed.
        let lock = self
            .lock_before_us(unit)
            .await?
            .filter(|_| !planted(Bug::LockForgottenAtAdoption));
        let copy = self
            .bucket()
            .fetch(Kind::Copy, &self.bucket().layout().copy(unit))
            .await?;
        let copy = copy.filter(|_| !planted(Bug::FirstTouchSkipsCopy));

        head.lock = lock;
        let epoch = head.epoch + 1;
        let mut orphan = None;
        if let Some((meta, bytes)) = copy {
            head.created = Some(meta.modified);
            head.living_since = epoch;
            let version = if is_vacant(&bytes) {
                None
            } else {
                let adopted = self
                    .put_found(unit, &bytes, &meta, epoch, Origin::Adopted)
                    .await?;
                orphan = Some(adopted.version);
                head.current = Some(adopted);
                orphan
            };
            head.copy = Some(CopyRecord {
                version,
                tag: meta.tag,
            });
        }
        match self.swap(unit, None, head).await? {
            Swap::Done(known) => Ok(known),
            Swap::Moved(theirs) => {
                let known = match theirs {
                    Some(known) => known,
                    None => self.load(unit).await?.ok_or_else(|| StorageError::Busy {
                        key: self.bucket().layout().head(unit),
                        tries: 1,
                    })?,
                };
                if let Some(version) = orphan {
                    self.discard_behind(unit, vec![version], &known.head);
                }
                Ok(known)
            }
        }
    }

    /// A head that was lost, or moved away because it could not be read, has left its versions behind. They stay the
    /// history of the unit: a new head that did not name them would have the collector delete them.
    ///
    /// Versions of the first epoch alone tell of no head: an adoption that was overtaken leaves such an object.
    async fn keep_what_a_lost_head_named(&self, unit: &UnitId, head: &mut Head) -> Result<(), StorageError> {
        let mut versions: Vec<VersionId> = self
            .list_versions(unit)
            .await?
            .into_iter()
            .map(|(version, _)| version)
            .collect();
        versions.sort_by(|a, b| b.cmp(a));
        let Some(newest) = versions.first().filter(|newest| newest.epoch > 1) else {
            return Ok(());
        };
        tracing::warn!(
            target: "opentaco::audit", what = "head-lost", %unit, versions = versions.len(),
            "this unit has versions and no head; its history is kept, and its current state is what its copy holds"
        );
        self.notice(unit, Noticed::HeadLost(versions.len()));
        head.epoch = newest.epoch;
        head.kept = versions.iter().map(kept_name).collect();
        Ok(())
    }

    /// The lock that lies beside a unit nobody has touched through us.
    pub(crate) async fn lock_before_us(&self, unit: &UnitId) -> Result<Option<Lock>, StorageError> {
        let layout = self.bucket().layout();
        let (own, foreign) = (layout.lock_copy(unit), layout.foreign_lock(unit));
        let (own, foreign) = futures::try_join!(
            self.bucket().fetch(Kind::LockCopy, &own),
            self.bucket().fetch(Kind::LockCopy, &foreign)
        )?;
        Ok(own
            .or(foreign)
            .map(|(meta, bytes)| self.found_lock(&meta, &bytes)))
    }

    /// Keeps bytes that were found in the copy as a version of their own; it is not committed yet.
    pub(crate) async fn put_found(
        &self,
        unit: &UnitId,
        bytes: &Bytes,
        meta: &Meta,
        epoch: u64,
        origin: Origin,
    ) -> Result<Committed, StorageError> {
        let summary = StateSummary::read(bytes).unwrap_or_default();
        let sha256 = Sha256::of(bytes);
        let version = VersionId {
            epoch,
            serial: summary.serial.unwrap_or_default(),
            session: Session::NONE,
            sha256,
            nonce: self.draw_short(),
        };
        let committed = Committed {
            version,
            sha256,
            md5: Some(opentaco_domain::digest::md5_base64(bytes)),
            size: bytes.len() as u64,
            serial: summary.serial,
            lineage: summary.lineage,
            terraform_version: summary.terraform_version,
            committed_at: if origin == Origin::Adopted {
                meta.modified
            } else {
                self.now()
            },
            asked_at: None,
            by: Principal::new(BEFORE_US),
            lock_id: None,
            sent_sha256: sha256,
            sent_serial: summary.serial,
            key: None,
            door: None,
            origin,
        };
        self.put_version(unit, &committed, bytes.clone(), "bucket")
            .await?;
        Ok(committed)
    }

    /// A lock file that was found. One that cannot be read holds all the same: nobody knows whom it protects.
    fn found_lock(&self, meta: &Meta, bytes: &[u8]) -> Lock {
        let info = LockInfo::from_json(bytes).unwrap_or_else(|error| LockInfo {
            id: LockId::parse(&format!("unreadable-{}", Sha256::of(bytes).short()))
                .expect("a short word of letters, digits and a dash is a lock id"),
            operation: String::new(),
            info: format!("a lock file was found beside the state and cannot be read: {error}"),
            who: BEFORE_US.to_owned(),
            version: String::new(),
            created: meta.modified.to_string(),
            path: String::new(),
        });
        Lock {
            session: Session::of(&info.id, self.draw()),
            principal: Principal::new(BEFORE_US),
            door: "bucket".to_owned(),
            since: meta.modified,
            sent: None,
            adopted: true,
            credential: None,
            signed: None,
            info,
        }
    }
}
