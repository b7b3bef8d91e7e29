//! Taking locks and giving them back.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use opentaco_domain::audit::Event;
use opentaco_domain::{Action, Caller, LockId, LockInfo, Signed, UnitId};
use opentaco_storage::lifecycle::Described;
use opentaco_storage::locks::{Locked, Locking, Unlocked};

use crate::error::Holder;
use crate::units::no_unit;
use crate::{ControlError, Door, StateControl};

/// How long an apply may go on under a lock after the token expired with which it was taken.
const APPLY_MAX: SignedDuration = SignedDuration::from_hours(24);

/// A request for a lock.
#[derive(Debug, Clone)]
pub struct LockRequest {
    /// What the asker says of itself.
    pub info: LockInfo,
    /// The very bytes that were sent.
    pub sent: Bytes,
    /// Through which door.
    pub door: Door,
    /// The request of the session that puts the lock file, at a door that has one.
    pub credential: Option<Signed>,
}

impl StateControl {
    /// Takes the lock of a unit, or finds that an earlier attempt of the same request took it.
    ///
    /// # Errors
    /// [`ControlError::Locked`] with the holder; [`ControlError::LockOver`] if this id was released before.
    pub async fn lock(
        &self,
        caller: &Caller,
        unit: &UnitId,
        request: LockRequest,
    ) -> Result<LockInfo, ControlError> {
        self.permit(caller, Action::Lock, unit)?;
        self.take(caller, unit, request).await.map(|holder| holder.info)
    }

    /// Takes the lock of a unit that there is; tells who holds it now.
    ///
    /// Terraform locks before it writes the first state, so to it every unit is one. A person who locks a unit that does
    /// not exist has mistyped its name.
    ///
    /// # Errors
    /// As [`StateControl::lock`]; [`ControlError::NotFound`] if there is no such unit.
    pub async fn lock_existing(
        &self,
        caller: &Caller,
        unit: &UnitId,
        request: LockRequest,
    ) -> Result<Holder, ControlError> {
        self.permit(caller, Action::Lock, unit)?;
        let described = self
            .vault()
            .describe(unit)
            .await
            .map_err(ControlError::from_storage)?;
        if matches!(described, Described::NoUnit) {
            return Err(no_unit(unit));
        }
        self.take(caller, unit, request).await
    }

    async fn take(
        &self,
        caller: &Caller,
        unit: &UnitId,
        request: LockRequest,
    ) -> Result<Holder, ControlError> {
        let id = request.info.id.clone();
        let locking = Locking {
            info: request.info,
            principal: caller.principal(),
            door: request.door.as_str(),
            sent: &request.sent,
            credential: request.credential.as_ref(),
        };
        match self
            .vault()
            .lock(unit, locking)
            .await
            .map_err(ControlError::from_storage)?
        {
            Locked::Granted(lock) => {
                let event = Event::done(caller, Action::Lock, "locked")
                    .on(unit)
                    .under(Some(&id));
                self.changed(event).await?;
                Ok(Holder::from(lock))
            }
            Locked::Held(lock) => {
                let event = Event::refused(caller, Action::Lock, "held-by-another").on(unit);
                self.audit().tell(event.under(Some(&id)));
                Err(ControlError::Locked {
                    unit: unit.clone(),
                    holder: Box::new(Holder::from(lock)),
                })
            }
            Locked::Over => {
                let event = Event::refused(caller, Action::Lock, "lock-over").on(unit);
                self.audit().tell(event.under(Some(&id)));
                Err(ControlError::LockOver {
                    unit: unit.clone(),
                    id,
                })
            }
        }
    }

    /// Whether the caller holds the lock of a unit since a moment between `from` and `to`, and no longer than a day.
    ///
    /// Tokens of CI jobs live for minutes, and an apply for an hour: whoever proved who they are when they took the lock
    /// may end under it what they began. That is all this is asked for, and it tells nothing about other holders.
    ///
    /// # Errors
    /// [`ControlError::Unavailable`].
    pub async fn holds_since(
        &self,
        caller: &Caller,
        unit: &UnitId,
        (from, to): (Timestamp, Timestamp),
    ) -> Result<bool, ControlError> {
        let known = self
            .vault()
            .load(unit)
            .await
            .map_err(ControlError::from_storage)?;
        let Some(known) = known else {
            return Ok(false);
        };
        let now = self.now();
        Ok(known.head.lock.as_ref().is_some_and(|lock| {
            lock.principal == *caller.principal()
                && (from..=to).contains(&lock.since)
                && now.duration_since(lock.since) < APPLY_MAX
        }))
    }

    /// Gives back the lock with this id; one that is over already is success.
    ///
    /// # Errors
    /// [`ControlError::NotHolder`] with the holder, if somebody else holds the unit.
    pub async fn unlock(&self, caller: &Caller, unit: &UnitId, id: &LockId) -> Result<(), ControlError> {
        self.permit(caller, Action::Lock, unit)?;
        match self
            .vault()
            .unlock(unit, id)
            .await
            .map_err(ControlError::from_storage)?
        {
            Unlocked::Free(_) => {
                let event = Event::done(caller, Action::Lock, "unlocked")
                    .on(unit)
                    .under(Some(id));
                self.changed(event).await
            }
            Unlocked::Held(lock) => {
                let event = Event::refused(caller, Action::Lock, "held-by-another").on(unit);
                self.audit().tell(event.under(Some(id)));
                let holder = Some(Box::new(Holder::from(lock)));
                Err(ControlError::NotHolder {
                    unit: unit.clone(),
                    holder,
                    kept: None,
                })
            }
        }
    }

    /// Removes the lock file for an S3 client: the lock of its session, or with the right to any other. That there is none
    /// is success.
    ///
    /// # Errors
    /// [`ControlError::NotHolder`] with the holder, if somebody else holds the unit and the caller may not break it.
    pub async fn remove_lock_file(
        &self,
        caller: &Caller,
        unit: &UnitId,
        request: &Signed,
    ) -> Result<(), ControlError> {
        if !self.may(caller, Action::Lock, unit)? {
            // Whoever takes no locks has none to give back.
            return self.force_unlock(caller, unit).await.map(drop);
        }
        let unlocked = self
            .vault()
            .unlock_session(unit, caller.principal(), request)
            .await
            .map_err(ControlError::from_storage)?;
        match unlocked {
            Unlocked::Free(lock) => {
                let event = Event::done(caller, Action::Lock, "unlocked").on(unit);
                self.changed(event.under(lock.as_ref().map(|lock| &lock.info.id)))
                    .await
            }
            Unlocked::Held(_) if self.may(caller, Action::ForceUnlock, unit)? => {
                self.force_unlock(caller, unit).await.map(drop)
            }
            Unlocked::Held(lock) => {
                let event = Event::refused(caller, Action::ForceUnlock, "held-by-another").on(unit);
                self.audit().tell(event.under(Some(&lock.info.id)));
                Err(ControlError::NotHolder {
                    unit: unit.clone(),
                    holder: Some(Box::new(Holder::from(lock))),
                    kept: None,
                })
            }
        }
    }

    /// Breaks whatever lock there is; tells who held it.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`] without `unit.force-unlock`.
    pub async fn force_unlock(
        &self,
        caller: &Caller,
        unit: &UnitId,
    ) -> Result<Option<LockInfo>, ControlError> {
        self.permit(caller, Action::ForceUnlock, unit)?;
        let broken = self
            .vault()
            .force_unlock(unit)
            .await
            .map_err(ControlError::from_storage)?;
        let what = if broken.is_some() {
            "lock broken"
        } else {
            "nothing to break"
        };
        let lock = broken.as_ref().map(|lock| &lock.info.id);
        let event = Event::done(caller, Action::ForceUnlock, what)
            .on(unit)
            .under(lock);
        self.changed(event).await?;
        Ok(broken.map(|lock| lock.info))
    }
}
