//! What a state hands out.

use opentaco_api::{Output, Outputs, paths};
use opentaco_domain::UnitId;

use crate::client::{Call, Client};
use crate::error::SdkError;

impl Client {
    /// The outputs of the current state, sensitive ones too.
    ///
    /// # Errors
    /// [`SdkError::NotFound`], [`SdkError::NoState`].
    pub async fn outputs(&self, unit: &UnitId) -> Result<Outputs, SdkError> {
        self.ask_json(Call::get(paths::outputs(unit)).about(unit)).await
    }

    /// One output of the current state.
    ///
    /// # Errors
    /// [`SdkError::NotFound`] if the unit or the output is not there; [`SdkError::NoState`].
    pub async fn output(&self, unit: &UnitId, name: &str) -> Result<Output, SdkError> {
        self.ask_json(Call::get(paths::output(unit, name)).about(unit))
            .await
    }
}
