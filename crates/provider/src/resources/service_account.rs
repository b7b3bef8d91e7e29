//! `opentaco_service_account`: a name for a program.

use async_trait::async_trait;
use opentaco_sdk::api::auth::{CreateServiceAccount, ServiceAccount as Account};
use opentaco_sdk::{Client, SdkError};

use super::{is_name, name};
use crate::failure::{already_there, refused};
use crate::plugin::diagnostic::Diagnostic;
use crate::plugin::object::Object;
use crate::plugin::provider::{Failed, Found, ImportId, Resource};
use crate::plugin::schema::{Attribute, Check, Giver, Schema};

/// Its type.
pub const TYPE: &str = "opentaco_service_account";

/// A service account.
#[derive(Debug)]
pub struct ServiceAccount;

#[async_trait]
impl Resource<Client> for ServiceAccount {
    fn schema(&self) -> Schema {
        Schema {
            about: "A service account: a name for a program. Roles are given to it as `service:NAME`.\n\nIts tokens are made \
                    with `taco token create`, so that none stands in a state. Removing the account ends them all.",
            example: EXAMPLE,
            attributes: vec![
                Attribute::text("name", "Its name: lower-case letters, digits, `-`, `_` and `.`.")
                    .replacing()
                    .checked(Check::Text(is_name)),
                Attribute::text(
                    "description",
                    "What people say of it. Defaults to nothing. The service keeps it as it was first said: another one is \
                     another account, whose tokens have to be made anew.",
                )
                .by(Giver::Default("".into()))
                .replacing(),
                Attribute::text("created", "When it was made, in RFC 3339.").by(Giver::ServiceOnce),
            ],
        }
    }

    fn import_id(&self) -> ImportId {
        ImportId {
            about: "its name",
            example: "nightly-drift",
        }
    }

    async fn create(&self, client: &Client, planned: &Object) -> Result<Object, Failed> {
        let name = name(planned.text_or_empty("name"), "name")?;
        let wanted = CreateServiceAccount {
            name: name.to_string(),
            description: planned.text_or_empty("description").to_owned(),
        };
        let already_there = || already_there(TYPE, "service account", name.as_str()).about("name");
        let doing = || format!("make the service account `{name}`");
        // Before, so that one which is there after a lost answer is known to have been made by it.
        let before = find(client, &wanted.name).await;
        if before.map_err(|error| refused(&doing(), &error))?.is_some() {
            return Err(already_there().into());
        }
        match client.create_service_account(&wanted).await {
            Ok(account) => Ok(told(&account)),
            Err(SdkError::AlreadyExists { .. }) => Err(already_there().into()),
            Err(error) if error.is_in_doubt() => match find(client, &wanted.name).await {
                Ok(Some(made)) if made.description == wanted.description => Ok(told(&made)),
                _ => Err(refused(&doing(), &error).into()),
            },
            Err(error) => Err(refused(&doing(), &error).into()),
        }
    }

    async fn read(&self, client: &Client, state: &Object) -> Result<Found, Diagnostic> {
        let name = state.text_or_empty("name");
        let found = find(client, name).await;
        let found = found.map_err(|error| refused("look at the service accounts", &error))?;
        Ok(found.map_or_else(Found::gone, |account| told(&account).into()))
    }

    /// Nothing can be changed: the service knows no verb for it.
    async fn update(&self, _: &Client, _: &Object, planned: &Object) -> Result<Object, Failed> {
        Ok(planned.clone())
    }

    async fn delete(&self, client: &Client, prior: &Object) -> Result<(), Diagnostic> {
        let name = prior.text_or_empty("name");
        match client.remove_service_account(name).await {
            Ok(()) | Err(SdkError::NotFound { .. }) => Ok(()),
            Err(error) => Err(refused(&format!("remove the service account `{name}`"), &error)),
        }
    }

    async fn import(&self, _: &Client, id: &str) -> Result<Object, Diagnostic> {
        let name = name(id, "name")?;
        Ok(Object::of([("name", name.as_str().into())]))
    }
}

async fn find(client: &Client, name: &str) -> Result<Option<Account>, SdkError> {
    let accounts = client.service_accounts().await?.service_accounts;
    Ok(accounts.into_iter().find(|account| account.name == name))
}

fn told(account: &Account) -> Object {
    Object::of([
        ("name", account.name.as_str().into()),
        ("description", account.description.as_str().into()),
        ("created", account.created.to_string().into()),
    ])
}

const EXAMPLE: &str = r#"resource "opentaco_service_account" "nightly" {
  name        = "nightly-drift"
  description = "Looks for drift every night"
}
"#;
