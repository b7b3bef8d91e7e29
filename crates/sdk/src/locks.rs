//! Taking locks, giving them back, and breaking them.

use http::Method;
use opentaco_api::{Lock, LockRequest, UnlockRequest, paths};
use opentaco_domain::{LockId, UnitId};

use crate::client::{Call, Client};
use crate::error::SdkError;
use crate::retry::Repeatable;

impl Client {
    /// Takes the lock of a unit.
    ///
    /// With an id, an attempt whose answer was lost is made again, and finds what it took. Without one the service makes
    /// an id up, and a lost answer would leave a lock that nobody knows: then there is one attempt that may be heard.
    ///
    /// # Errors
    /// [`SdkError::Locked`] with the holder; [`SdkError::LockOver`] if this id was released before.
    pub async fn lock(&self, unit: &UnitId, wanted: &LockRequest) -> Result<Lock, SdkError> {
        let repeatable = match wanted.id {
            Some(_) => Repeatable::Freely,
            None => Repeatable::Unheard,
        };
        let call = Call::new(Method::POST, paths::lock(unit), repeatable).about(unit);
        self.ask_json(call.json(wanted)).await
    }

    /// Gives the lock with this id back; one that is over already is success.
    ///
    /// # Errors
    /// [`SdkError::Locked`] with the holder, if somebody else holds the unit.
    pub async fn unlock(&self, unit: &UnitId, id: &LockId) -> Result<(), SdkError> {
        let call = Call::new(Method::DELETE, paths::unlock(unit), Repeatable::Freely).about(unit);
        let request = UnlockRequest { id: id.clone() };
        self.ask(call.json(&request)).await.map(drop)
    }

    /// Breaks whatever lock there is. Not repeated once it may have been heard: the next one could break the lock of
    /// somebody who came after.
    ///
    /// # Errors
    /// [`SdkError::Forbidden`] without the right to.
    pub async fn force_unlock(&self, unit: &UnitId) -> Result<(), SdkError> {
        let call = Call::new(Method::DELETE, paths::unlock(unit), Repeatable::Unheard).about(unit);
        self.ask(call.query("force", true)).await.map(drop)
    }
}
