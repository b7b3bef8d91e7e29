//! Writes that were refused, and kept.

use opentaco_api::{Receipt, Rejected, RejectedWrites, paths};
use opentaco_domain::UnitId;

use crate::client::{Call, Client};
use crate::error::SdkError;
use crate::versions::Reinstate;

impl Client {
    /// The refused writes of a unit that are still kept, newest first.
    ///
    /// # Errors
    /// If the service refuses or does not answer.
    pub async fn rejected(&self, unit: &UnitId) -> Result<Vec<Rejected>, SdkError> {
        let call = Call::get(paths::rejected(unit)).about(unit);
        let page: RejectedWrites = self.ask_json(call).await?;
        Ok(page.rejected)
    }

    /// Makes a refused write current after all, as a new version.
    ///
    /// # Errors
    /// As [`Client::restore`].
    pub async fn promote(&self, unit: &UnitId, rejected: &str, how: &Reinstate) -> Result<Receipt, SdkError> {
        self.ask_json(how.call(unit, paths::promote(unit, rejected)))
            .await
    }
}
