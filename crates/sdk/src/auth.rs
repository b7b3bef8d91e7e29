//! Logging in, tokens, and who one is.

use http::Method;
use opentaco_api::auth::{
    AuthConfig, CreateServiceAccount, CreateToken, CreatedToken, Exchange, Me, RefreshRequest, Revoke,
    S3Credentials, S3CredentialsRequest, ServiceAccount, ServiceAccounts, Session, TokenSummaries,
};
use opentaco_api::paths;

use crate::client::{Call, Client};
use crate::error::SdkError;
use crate::retry::Repeatable;

impl Client {
    /// What there is to know before anybody can log in. Asked as nobody, it is answered all the same.
    ///
    /// # Errors
    /// If the service does not answer.
    pub async fn auth_config(&self) -> Result<AuthConfig, SdkError> {
        self.ask_json(Call::get(paths::AUTH_CONFIG.to_owned())).await
    }

    /// Logs in with an ID token of the provider. Repeated, it would be a second login, so it is not.
    ///
    /// # Errors
    /// [`SdkError::NotAuthenticated`] if the ID token proves nothing there.
    pub async fn exchange(&self, exchange: &Exchange) -> Result<Session, SdkError> {
        let call = Call::new(Method::POST, paths::AUTH_EXCHANGE.to_owned(), Repeatable::Unheard);
        self.ask_json(call.json(exchange)).await
    }

    /// Goes on with a login. The same refresh token may be sent again within ten seconds, so a lost answer is asked for
    /// once more.
    ///
    /// # Errors
    /// [`SdkError::NotAuthenticated`] if the login is over.
    pub async fn refresh(&self, request: &RefreshRequest) -> Result<Session, SdkError> {
        let call = Call::new(Method::POST, paths::AUTH_TOKEN.to_owned(), Repeatable::Freely);
        self.ask_json(call.json(request)).await
    }

    /// Who is asking, as the service sees them.
    ///
    /// # Errors
    /// If the service refuses or does not answer.
    pub async fn me(&self) -> Result<Me, SdkError> {
        self.ask_json(Call::get(paths::AUTH_ME.to_owned())).await
    }

    /// Ends the login or the API token that asks, or every login of a person.
    ///
    /// # Errors
    /// If the service refuses or does not answer.
    pub async fn revoke(&self, what: &Revoke) -> Result<(), SdkError> {
        let call = Call::new(Method::POST, paths::AUTH_REVOKE.to_owned(), Repeatable::Freely);
        self.ask(call.json(what)).await.map(drop)
    }

    /// Credentials for S3 clients.
    ///
    /// # Errors
    /// If the service refuses or does not answer.
    pub async fn s3_credentials(&self, request: &S3CredentialsRequest) -> Result<S3Credentials, SdkError> {
        let call = Call::new(Method::POST, paths::S3_CREDENTIALS.to_owned(), Repeatable::Freely);
        self.ask_json(call.json(request)).await
    }

    /// Makes an API token. The answer is the only place where it can be read.
    ///
    /// # Errors
    /// If the service refuses or does not answer; then there may be a token that nobody has read.
    pub async fn create_token(&self, wanted: &CreateToken) -> Result<CreatedToken, SdkError> {
        let call = Call::new(Method::POST, paths::TOKENS.to_owned(), Repeatable::Unheard);
        self.ask_json(call.json(wanted)).await
    }

    /// The API tokens that the caller may see, oldest first.
    ///
    /// # Errors
    /// If the service refuses or does not answer.
    pub async fn tokens(&self) -> Result<TokenSummaries, SdkError> {
        self.ask_json(Call::get(paths::TOKENS.to_owned())).await
    }

    /// Ends an API token.
    ///
    /// # Errors
    /// [`SdkError::NotFound`] if there is none of that id.
    pub async fn revoke_token(&self, id: &str) -> Result<(), SdkError> {
        let call = Call::new(Method::DELETE, paths::token(id), Repeatable::Unheard);
        self.ask(call).await.map(drop)
    }

    /// Makes a service account.
    ///
    /// # Errors
    /// [`SdkError::AlreadyExists`] if there is one of that name.
    pub async fn create_service_account(
        &self,
        wanted: &CreateServiceAccount,
    ) -> Result<ServiceAccount, SdkError> {
        let path = paths::SERVICE_ACCOUNTS.to_owned();
        let call = Call::new(Method::POST, path, Repeatable::Unheard);
        self.ask_json(call.json(wanted)).await
    }

    /// Every service account, by name.
    ///
    /// # Errors
    /// If the service refuses or does not answer.
    pub async fn service_accounts(&self) -> Result<ServiceAccounts, SdkError> {
        self.ask_json(Call::get(paths::SERVICE_ACCOUNTS.to_owned())).await
    }

    /// Removes a service account, and ends every token of it.
    ///
    /// # Errors
    /// [`SdkError::NotFound`] if there is none of that name.
    pub async fn remove_service_account(&self, name: &str) -> Result<(), SdkError> {
        let call = Call::new(Method::DELETE, paths::service_account(name), Repeatable::Unheard);
        self.ask(call).await.map(drop)
    }
}
