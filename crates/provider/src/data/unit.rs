//! `opentaco_unit`: what is true of a unit.

use async_trait::async_trait;
use opentaco_sdk::Client;
use opentaco_sdk::api::Lock;

use super::{asked, of_unit};
use crate::failure::refused;
use crate::plugin::diagnostic::Diagnostic;
use crate::plugin::object::Object;
use crate::plugin::provider::DataSource;
use crate::plugin::schema::{Attribute, Kind, Schema};
use crate::plugin::types::Type;

/// Its type.
pub const TYPE: &str = "opentaco_unit";

/// A unit.
#[derive(Debug)]
pub struct Unit;

#[async_trait]
impl DataSource<Client> for Unit {
    fn schema(&self) -> Schema {
        let text = |name, about| Attribute::text(name, about).told();
        let lock = vec![
            text("id", "What the lock is known by."),
            text("who", "Who holds it, as the holder says."),
            text("principal", "Who asked for it, as they have proved."),
            text("operation", "What for."),
            text("info", "Anything else the holder had to say."),
            text("since", "Since when, in RFC 3339."),
        ];
        Schema {
            about: "What is true of a unit.",
            example: EXAMPLE,
            attributes: vec![
                of_unit("id"),
                Attribute::of("labels", Type::text_map(), "What units are sorted by.").told(),
                text("description", "What people say of it."),
                Attribute::of(
                    "deletion_protection",
                    Type::Bool,
                    "Whether it refuses to be deleted.",
                )
                .told(),
                Attribute::of(
                    "size",
                    Type::Number,
                    "The size of its state in bytes; 0 without one.",
                )
                .told(),
                text(
                    "updated",
                    "When its state was last written, or else when it was made, in RFC 3339.",
                ),
                text("created", "When it came to be, in RFC 3339, where that is known."),
                Attribute::of("locked", Type::Bool, "Whether somebody holds its lock.").told(),
                Attribute::new("lock", Kind::Single(lock), "The lock, if somebody holds it.").told(),
                text(
                    "version",
                    "The version that is current, if there is a state and the service has written it.",
                ),
                Attribute::of(
                    "serial",
                    Type::Number,
                    "The serial of the state, as the state says.",
                )
                .told(),
                text("lineage", "The lineage of the state, as the state says."),
                text(
                    "terraform_version",
                    "The client that wrote the state, as the state says.",
                ),
            ],
        }
    }

    async fn read(&self, client: &Client, configured: &Object) -> Result<Object, Diagnostic> {
        let id = asked(configured, "id")?;
        let unit = client.unit(&id).await;
        let unit = unit.map_err(|error| refused(&format!("look at the unit `{id}`"), &error).about("id"))?;
        Ok(Object::of([
            ("labels", unit.labels.into()),
            ("description", unit.description.into()),
            ("deletion_protection", unit.deletion_protection.into()),
            ("size", unit.size.into()),
            ("updated", unit.updated.to_string().into()),
            ("created", unit.created.map(|created| created.to_string()).into()),
            ("locked", unit.locked.into()),
            ("lock", unit.lock.as_ref().map(held).into()),
            ("version", unit.version.map(|version| version.to_string()).into()),
            ("serial", unit.serial.into()),
            ("lineage", unit.lineage.into()),
            ("terraform_version", unit.terraform_version.into()),
        ]))
    }
}

fn held(lock: &Lock) -> Object {
    Object::of([
        ("id", lock.id.to_string().into()),
        ("who", lock.who.as_str().into()),
        ("principal", lock.principal.to_string().into()),
        ("operation", lock.operation.as_str().into()),
        ("info", lock.info.as_str().into()),
        ("since", lock.since.to_string().into()),
    ])
}

const EXAMPLE: &str = r#"data "opentaco_unit" "prod" {
  id = "myapp/prod"
}

output "last_applied" {
  value = data.opentaco_unit.prod.updated
}
"#;
