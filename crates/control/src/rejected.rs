//! Refused writes: listing them, fetching one, and accepting one after all.

use opentaco_domain::audit::Event;
use opentaco_domain::{Action, Caller, UnitId};
use opentaco_storage::head::Origin;
use opentaco_storage::rejected::Rejected;

use crate::state::{Receipt, StateRead};
use crate::versions::Reinstate;
use crate::{ControlError, StateControl};

impl StateControl {
    /// The refused writes of a unit that are still kept, newest first.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`], [`ControlError::Unavailable`].
    pub async fn rejected(&self, caller: &Caller, unit: &UnitId) -> Result<Vec<Rejected>, ControlError> {
        self.permit(caller, Action::Read, unit)?;
        self.vault()
            .rejected_writes(unit)
            .await
            .map_err(ControlError::from_storage)
    }

    /// One refused write, with its bytes.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub async fn read_rejected(
        &self,
        caller: &Caller,
        unit: &UnitId,
        id: &str,
    ) -> Result<(Rejected, StateRead), ControlError> {
        self.permit(caller, Action::Read, unit)?;
        let found = self
            .vault()
            .read_rejected(unit, id)
            .await
            .map_err(ControlError::from_storage)?;
        if found.is_some() {
            let event = Event::done(caller, Action::Read, "read a refused write").on(unit);
            self.audit().tell(event.kept(Some(id)));
        }
        found
            .map(|(rejected, reading)| (rejected, reading.into()))
            .ok_or_else(|| no_rejected(unit, id))
    }

    /// Makes a refused write current after all, as a new version.
    ///
    /// # Errors
    /// As [`StateControl::restore`].
    pub async fn promote(
        &self,
        caller: &Caller,
        unit: &UnitId,
        id: &str,
        how: Reinstate,
    ) -> Result<Receipt, ControlError> {
        self.permit(caller, Action::Write, unit)?;
        let kept = self
            .vault()
            .rejected_bytes(unit, id)
            .await
            .map_err(ControlError::from_storage)?;
        let kept = kept.ok_or_else(|| no_rejected(unit, id))?;
        self.reinstate(caller, unit, kept, Origin::Promote(id.to_owned()), how)
            .await
    }
}

fn no_rejected(unit: &UnitId, id: &str) -> ControlError {
    ControlError::NotFound {
        what: format!("rejected write `{id}` of `{unit}`"),
    }
}
