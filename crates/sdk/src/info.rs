//! The service itself.

use opentaco_api::{Info, paths};

use crate::client::{Call, Client};
use crate::error::SdkError;

impl Client {
    /// What the service says of itself, and of who is asking.
    ///
    /// # Errors
    /// If the service refuses or does not answer.
    pub async fn info(&self) -> Result<Info, SdkError> {
        self.ask_json(Call::get(paths::INFO.to_owned())).await
    }
}
