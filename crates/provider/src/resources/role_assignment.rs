//! `opentaco_role_assignment`: a role that somebody holds.

use async_trait::async_trait;
use opentaco_domain::access::document::MemberError;
use opentaco_domain::access::{Member, Name};
use opentaco_sdk::{Client, SdkError};

use super::{is_name, name};
use crate::failure::refused;
use crate::plugin::diagnostic::Diagnostic;
use crate::plugin::object::Object;
use crate::plugin::provider::{Failed, Found, ImportId, Resource};
use crate::plugin::schema::{Attribute, Check, Giver, Schema};
use crate::plugin::value::Value;

/// Its type.
pub const TYPE: &str = "opentaco_role_assignment";

/// That somebody holds a role.
#[derive(Debug)]
pub struct RoleAssignment;

#[async_trait]
impl Resource<Client> for RoleAssignment {
    fn schema(&self) -> Schema {
        Schema {
            about: "That a person, a group or a service account holds a role.\n\nWho holds it already is not given it a \
                    second time; when the resource is destroyed, the role is taken.",
            example: EXAMPLE,
            attributes: vec![
                Attribute::text("member", "Who: `user:`, `group:` or `service:`, and the name.")
                    .replacing()
                    .checked(Check::Text(is_member)),
                Attribute::text("role", "The name of the role.")
                    .replacing()
                    .checked(Check::Text(is_name)),
                Attribute::text("id", "Both, as `member/role`.").by(Giver::Others),
            ],
        }
    }

    fn import_id(&self) -> ImportId {
        ImportId {
            about: "the member and the role, with a slash between",
            example: "user:ada@example.com/deployer",
        }
    }

    fn derive(&self, planned: &mut Object) {
        let id = match (planned.text("member"), planned.text("role")) {
            (Some(member), Some(role)) => format!("{member}/{role}").into(),
            _ => Value::Unknown,
        };
        planned.set("id", id);
    }

    async fn create(&self, client: &Client, planned: &Object) -> Result<Object, Failed> {
        let (member, role) = both(planned)?;
        match client.assign_role(&member, &role).await {
            Ok(_) => Ok(told(&member, &role)),
            Err(error) => Err(refused(&format!("give `{member}` the role `{role}`"), &error).into()),
        }
    }

    async fn read(&self, client: &Client, state: &Object) -> Result<Found, Diagnostic> {
        let (member, role) = both(state)?;
        let holders = client.role_holders().await;
        let holders = holders.map_err(|error| refused("look at who holds which role", &error))?;
        let holds = holders
            .users
            .iter()
            .any(|holder| holder.member == member && holder.roles.contains(&role));
        Ok(match holds {
            true => told(&member, &role).into(),
            false => Found::gone(),
        })
    }

    /// Nothing can be changed: another member or role is another assignment.
    async fn update(&self, _: &Client, _: &Object, planned: &Object) -> Result<Object, Failed> {
        Ok(planned.clone())
    }

    async fn delete(&self, client: &Client, prior: &Object) -> Result<(), Diagnostic> {
        let (member, role) = both(prior)?;
        match client.revoke_role(&member, &role).await {
            Ok(_) | Err(SdkError::NotFound { .. }) => Ok(()),
            Err(error) => Err(refused(
                &format!("take the role `{role}` from `{member}`"),
                &error,
            )),
        }
    }

    async fn import(&self, _: &Client, id: &str) -> Result<Object, Diagnostic> {
        // Members may have slashes in their names, and roles have none.
        let (member, role) = id.rsplit_once('/').ok_or_else(|| {
            Diagnostic::new(
                format!("`{id}` names no assignment"),
                "Write the member and the role with a slash between: user:ada@example.com/deployer",
            )
        })?;
        let (member, role) = (parsed(member)?, name(role, "role")?);
        Ok(told(&member, &role))
    }
}

fn both(object: &Object) -> Result<(Member, Name), Diagnostic> {
    Ok((
        parsed(object.text_or_empty("member"))?,
        name(object.text_or_empty("role"), "role")?,
    ))
}

fn parsed(text: &str) -> Result<Member, Diagnostic> {
    text.parse().map_err(|error: MemberError| {
        Diagnostic::new(format!("`{text}` cannot hold a role"), error.to_string()).about("member")
    })
}

fn is_member(text: &str) -> Result<(), String> {
    text.parse::<Member>()
        .map(drop)
        .map_err(|error| error.to_string())
}

fn told(member: &Member, role: &Name) -> Object {
    Object::of([
        ("member", member.to_string().into()),
        ("role", role.as_str().into()),
        ("id", format!("{member}/{role}").into()),
    ])
}

const EXAMPLE: &str = r#"resource "opentaco_role_assignment" "platform" {
  member = "group:platform"
  role   = opentaco_role.deployer.name
}

resource "opentaco_role_assignment" "nightly" {
  member = "service:${opentaco_service_account.nightly.name}"
  role   = "reader"
}
"#;
