//! `opentaco_role`: a few permissions under a name.

use async_trait::async_trait;
use opentaco_domain::access::Name;
use opentaco_sdk::api::rbac::{NamedRole, SetRole};
use opentaco_sdk::{Client, SdkError};

use super::{is_name, name};
use crate::failure::{already_there, refused};
use crate::plugin::diagnostic::Diagnostic;
use crate::plugin::object::Object;
use crate::plugin::provider::{Failed, Found, ImportId, Resource};
use crate::plugin::schema::{Attribute, Check, Giver, Schema};
use crate::plugin::types::Type;

/// Its type.
pub const TYPE: &str = "opentaco_role";

/// A role.
#[derive(Debug)]
pub struct Role;

#[async_trait]
impl Resource<Client> for Role {
    fn schema(&self) -> Schema {
        Schema {
            about: "A role: a few permissions under a name, to be given to people, groups and service accounts.",
            example: EXAMPLE,
            attributes: vec![
                Attribute::text(
                    "name",
                    "Its name: lower-case letters, digits, `-`, `_` and `.`. Another name is another role.",
                )
                .replacing()
                .checked(Check::Text(is_name)),
                Attribute::text("description", "What it is for. Defaults to nothing.")
                    .by(Giver::Default("".into())),
                Attribute::of("permissions", Type::text_set(), "The names of its permissions.")
                    .checked(Check::Text(is_name)),
            ],
        }
    }

    fn import_id(&self) -> ImportId {
        ImportId {
            about: "its name",
            example: "deployer",
        }
    }

    async fn create(&self, client: &Client, planned: &Object) -> Result<Object, Failed> {
        let name = name(planned.text_or_empty("name"), "name")?;
        // The service makes or changes, in one verb: what is there already was made by somebody else.
        match client.role(&name).await {
            Err(SdkError::NotFound { .. }) => Ok(set(client, &name, planned).await?),
            Ok(_) => Err(already_there(TYPE, "role", name.as_str()).about("name").into()),
            Err(error) => Err(refused(&format!("make the role `{name}`"), &error).into()),
        }
    }

    async fn read(&self, client: &Client, state: &Object) -> Result<Found, Diagnostic> {
        let name = name(state.text_or_empty("name"), "name")?;
        match client.role(&name).await {
            Ok(role) => Ok(told(&role).into()),
            Err(SdkError::NotFound { .. }) => Ok(Found::gone()),
            Err(error) => Err(refused(&format!("look at the role `{name}`"), &error)),
        }
    }

    async fn update(&self, client: &Client, _: &Object, planned: &Object) -> Result<Object, Failed> {
        let name = name(planned.text_or_empty("name"), "name")?;
        Ok(set(client, &name, planned).await?)
    }

    async fn delete(&self, client: &Client, prior: &Object) -> Result<(), Diagnostic> {
        let name = name(prior.text_or_empty("name"), "name")?;
        match client.remove_role(&name).await {
            Ok(()) | Err(SdkError::NotFound { .. }) => Ok(()),
            Err(error) => Err(refused(&format!("remove the role `{name}`"), &error)),
        }
    }

    async fn import(&self, _: &Client, id: &str) -> Result<Object, Diagnostic> {
        let name = name(id, "name")?;
        Ok(Object::of([("name", name.as_str().into())]))
    }
}

async fn set(client: &Client, role: &Name, planned: &Object) -> Result<Object, Diagnostic> {
    let permissions = planned.texts("permissions").map(|text| name(text, "permissions"));
    let wanted = SetRole {
        description: planned.text_or_empty("description").to_owned(),
        permissions: permissions.collect::<Result<_, _>>()?,
    };
    let set = match client.set_role(role, &wanted).await {
        Err(error) if error.is_in_doubt() => match client.role(role).await {
            Ok(found) if is_as(&found, &wanted) => Ok(found),
            _ => Err(error),
        },
        answered => answered,
    };
    set.map(|role| told(&role))
        .map_err(|error| refused(&format!("set the role `{role}`"), &error))
}

fn is_as(found: &NamedRole, wanted: &SetRole) -> bool {
    found.description == wanted.description && found.permissions == wanted.permissions
}

fn told(role: &NamedRole) -> Object {
    Object::of([
        ("name", role.name.as_str().into()),
        ("description", role.description.as_str().into()),
        ("permissions", role.permissions.iter().map(Name::as_str).collect()),
    ])
}

const EXAMPLE: &str = r#"resource "opentaco_role" "deployer" {
  name        = "deployer"
  description = "Applies the shop"
  permissions = [opentaco_permission.shop.name, "outputs-reader"]
}
"#;
