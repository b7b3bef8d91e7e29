//! Locking and unlocking: a compare-and-swap of `lock` in the head, and an answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentaco_domain::{LockId, LockInfo, Principal, Session, Signed, UnitId, limits};

use crate::StorageError;
use crate::head::Lock;
use crate::heads::{Known, Swap};
use crate::planted::{Bug, planted};
use crate::vault::Vault;

/// A request for a lock.
#[derive(Debug, Clone)]
pub struct Locking<'a> {
    /// What the asker says of itself.
    pub info: LockInfo,
    /// Who asks.
    pub principal: &'a Principal,
    /// Through which door.
    pub door: &'static str,
    /// The very bytes that were sent.
    pub sent: &'a [u8],
    /// The session that puts the lock file, at a door that has one.
    pub credential: Option<&'a Signed>,
}

impl Locking<'_> {
    /// Whether `lock` is what an earlier attempt of this request took. Of a lock file every byte counts.
    fn took(&self, lock: &Lock) -> bool {
        let same = lock.info.id == self.info.id
            && lock.principal == *self.principal
            && lock.credential.as_ref() == self.credential.map(|signed| &signed.session);
        same && (self.credential.is_none() || lock.sent.as_deref() == self.kept_bytes().as_deref())
    }

    fn kept_bytes(&self) -> Option<String> {
        (self.sent.len() <= limits::LOCK_BODY_BYTES_MAX).then(|| STANDARD.encode(self.sent))
    }
}

/// How a request for a lock was decided.
#[derive(Debug)]
pub enum Locked {
    /// The asker holds it: since now, or since an earlier attempt of this request.
    Granted(Lock),
    /// Somebody else holds it.
    Held(Lock),
    /// The lock with this id was released or broken before. A UUID locks once.
    Over,
}

/// How a request to unlock was decided.
#[derive(Debug)]
pub enum Unlocked {
    /// Nobody holds it under that id (any more). The lock that ended just now, if it was this request that ended it.
    Free(Option<Lock>),
    /// Somebody else holds it.
    Held(Lock),
}

impl Vault {
    /// Takes the lock of a unit.
    ///
    /// # Errors
    /// If the bucket could not be asked, or did not confirm: then the lock may have been taken, and the same request
    /// again finds out.
    pub async fn lock(&self, unit: &UnitId, request: Locking<'_>) -> Result<Locked, StorageError> {
        let id = request.info.id.clone();
        let mut known = self.touch(unit).await?;
        loop {
            let over = id.is_uuid() && known.head.released.contains(&id) && !planted(Bug::ReleasedIgnored);
            if over || known.head.lock.is_some() {
                // Only a successful compare-and-swap may be answered from memory.
                if !known.fresh && !planted(Bug::LockRefusedFromMemory) {
                    known = self.touch_fresh(unit).await?;
                    continue;
                }
                return Ok(match &known.head.lock {
                    Some(lock) if request.took(lock) => Locked::Granted(lock.clone()),
                    _ if over => Locked::Over,
                    Some(lock) => Locked::Held(lock.clone()),
                    None => Locked::Over,
                });
            }
            let lock = Lock {
                info: request.info.clone(),
                principal: request.principal.clone(),
                door: request.door.to_owned(),
                since: self.now(),
                session: Session::of(&id, self.draw()),
                sent: request.kept_bytes(),
                adopted: false,
                credential: request.credential.map(|signed| signed.session.clone()),
                signed: request.credential.and_then(|signed| signed.at),
            };
            let mut next = (*known.head).clone();
            next.lock = Some(lock.clone());
            match self.swap(unit, Some(&known), next).await? {
                Swap::Done(_) => {
                    self.show_lock(unit, &lock);
                    return Ok(Locked::Granted(lock));
                }
                Swap::Moved(now) => known = self.moved(unit, now).await?,
            }
        }
    }

    /// Gives back the lock with this id.
    ///
    /// # Errors
    /// As [`Vault::lock`].
    pub async fn unlock(&self, unit: &UnitId, id: &LockId) -> Result<Unlocked, StorageError> {
        // A unit without a head has no lock of ours; an old lock file beside it is a lock.
        let mut known = self.touch(unit).await?;
        loop {
            match &known.head.lock {
                Some(lock) if lock.info.id == *id => {}
                _ if !known.fresh && !planted(Bug::UnlockAnsweredFromMemory) => {
                    known = self.touch_fresh(unit).await?;
                    continue;
                }
                Some(lock) if !known.head.released.contains(id) || planted(Bug::RetriedUnlockRefused) => {
                    return Ok(Unlocked::Held(lock.clone()));
                }
                _ => return Ok(Unlocked::Free(None)),
            }
            match self.release(unit, &known, None).await? {
                Ok(lock) => return Ok(Unlocked::Free(Some(lock))),
                Err(now) => known = now,
            }
        }
    }

    /// Removes the lock file for an S3 client: the lock of its session, or nothing. What is gone already is success, also
    /// where somebody else holds by now, if this very request removed it before.
    ///
    /// # Errors
    /// As [`Vault::lock`].
    pub async fn unlock_session(
        &self,
        unit: &UnitId,
        principal: &Principal,
        request: &Signed,
    ) -> Result<Unlocked, StorageError> {
        let mut known = self.touch(unit).await?;
        loop {
            let head = &known.head;
            let ended = head.ended_of(principal, &request.session);
            let repeated = ended
                .and_then(|ended| ended.given_back.as_ref())
                .is_some_and(|given_back| {
                    request.invocation.is_some() && given_back.invocation == request.invocation
                });
            // What was signed before the session asked for a lock that is over by now was to end one before that.
            let of_before = ended.is_some_and(|ended| ended.is_younger_than(request));
            let repeated = (repeated || of_before) && !planted(Bug::RetryBreaksAnother);
            match &head.lock {
                Some(lock) if lock.is_of(principal, &request.session) && !lock.is_younger_than(request) => {}
                _ if !known.fresh => {
                    known = self.touch_fresh(unit).await?;
                    continue;
                }
                // It was to end an earlier lock of the session, which is over.
                Some(lock) if lock.is_of(principal, &request.session) => return Ok(Unlocked::Free(None)),
                Some(lock) if !repeated => return Ok(Unlocked::Held(lock.clone())),
                _ => return Ok(Unlocked::Free(None)),
            }
            match self.release(unit, &known, Some((principal, request))).await? {
                Ok(lock) => return Ok(Unlocked::Free(Some(lock))),
                Err(now) => known = now,
            }
        }
    }

    /// Breaks whatever lock there is; pursues only the holder it first sees.
    ///
    /// # Errors
    /// As [`Vault::lock`].
    pub async fn force_unlock(&self, unit: &UnitId) -> Result<Option<Lock>, StorageError> {
        let mut known = self.touch_fresh(unit).await?;
        let Some(victim) = known.head.lock.clone() else {
            return Ok(None);
        };
        loop {
            match &known.head.lock {
                Some(lock) if lock.session == victim.session => {}
                _ => return Ok(None),
            }
            match self.release(unit, &known, None).await? {
                Ok(lock) => return Ok(Some(lock)),
                Err(now) => known = now,
            }
        }
    }

    /// One try to end the lock that `known` shows; otherwise the head as it is now.
    async fn release(
        &self,
        unit: &UnitId,
        known: &Known,
        by: Option<(&Principal, &Signed)>,
    ) -> Result<Result<Lock, Known>, StorageError> {
        let mut next = (*known.head).clone();
        let Some(lock) = next.release(by) else {
            return Ok(Err(known.clone()));
        };
        match self.swap(unit, Some(known), next).await? {
            Swap::Done(now) => {
                self.hide_lock(unit, lock.adopted);
                // Whoever committed under this lock may have been another replica.
                self.record_found_behind(unit, &now.head, None);
                Ok(Ok(lock))
            }
            Swap::Moved(now) => Ok(Err(self.moved(unit, now).await?)),
        }
    }

    /// The head after somebody else has changed it.
    pub(crate) async fn moved(&self, unit: &UnitId, now: Option<Known>) -> Result<Known, StorageError> {
        match now {
            Some(known) => Ok(known),
            None => self.touch_fresh(unit).await,
        }
    }
}
