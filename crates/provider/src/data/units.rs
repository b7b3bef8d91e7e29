//! `opentaco_units`: the units there are.

use async_trait::async_trait;
use opentaco_domain::UnitPrefix;
use opentaco_sdk::Client;
use opentaco_sdk::units::ListUnits;

use crate::failure::refused;
use crate::plugin::diagnostic::Diagnostic;
use crate::plugin::object::Object;
use crate::plugin::provider::DataSource;
use crate::plugin::schema::{Attribute, Check, Giver, Kind, Schema};
use crate::plugin::types::Type;

/// Its type.
pub const TYPE: &str = "opentaco_units";

/// Units.
#[derive(Debug)]
pub struct Units;

#[async_trait]
impl DataSource<Client> for Units {
    fn schema(&self) -> Schema {
        let unit = vec![
            Attribute::text("id", "What it is called.").told(),
            Attribute::of(
                "size",
                Type::Number,
                "The size of its state in bytes; 0 without one.",
            )
            .told(),
            Attribute::text(
                "updated",
                "When its state was last written, or else when it was made, in RFC 3339.",
            )
            .told(),
            Attribute::of("locked", Type::Bool, "Whether somebody holds its lock.").told(),
        ];
        Schema {
            about: "The units that the caller may read, in the order of their names.",
            example: EXAMPLE,
            attributes: vec![
                Attribute::text("prefix", "Only units whose ids begin like that. Defaults to all.")
                    .by(Giver::Anybody)
                    .checked(Check::Text(is_prefix)),
                Attribute::of(
                    "labels",
                    Type::text_map(),
                    "Only units that have all of these labels.",
                )
                .by(Giver::Anybody)
                .checked(Check::Name(is_label_name)),
                Attribute::new("units", Kind::List(unit), "The units.").told(),
            ],
        }
    }

    async fn read(&self, client: &Client, configured: &Object) -> Result<Object, Diagnostic> {
        let wanted = ListUnits {
            prefix: configured.text_or_empty("prefix").to_owned(),
            labels: configured.text_map("labels"),
            ..ListUnits::default()
        };
        let found = client.list_units(&wanted).await;
        let found = found.map_err(|error| refused("list the units", &error))?;
        let units = found.units.into_iter().map(|unit| {
            Object::of([
                ("id", unit.id.as_str().into()),
                ("size", unit.size.into()),
                ("updated", unit.updated.to_string().into()),
                ("locked", unit.locked.into()),
            ])
        });
        Ok(Object::of([("units", units.collect())]))
    }
}

fn is_prefix(text: &str) -> Result<(), String> {
    UnitPrefix::parse(text)
        .map(drop)
        .map_err(|error| error.to_string())
}

/// A label is asked for as `NAME=VALUE`, and the first `=` ends the name.
fn is_label_name(text: &str) -> Result<(), String> {
    match text.contains('=') {
        true => Err("Units cannot be found by a label that has `=` in its name.".to_owned()),
        false => Ok(()),
    }
}

const EXAMPLE: &str = r#"data "opentaco_units" "shop" {
  prefix = "shop/"

  labels = {
    tier = "gold"
  }
}

output "shop" {
  value = [for unit in data.opentaco_units.shop.units : unit.id]
}
"#;
