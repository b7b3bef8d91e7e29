//! `opentaco_unit_status`: what the dependencies of a unit say of it.

use async_trait::async_trait;
use opentaco_sdk::Client;
use opentaco_sdk::api::Edge;

use super::{asked, of_unit};
use crate::failure::refused;
use crate::plugin::diagnostic::Diagnostic;
use crate::plugin::object::Object;
use crate::plugin::provider::DataSource;
use crate::plugin::schema::{Attribute, Kind, Schema};
use crate::plugin::types::Type;
use crate::resources::dependency;

/// Its type.
pub const TYPE: &str = "opentaco_unit_status";

/// The status of a unit.
#[derive(Debug)]
pub struct UnitStatus;

#[async_trait]
impl DataSource<Client> for UnitStatus {
    fn schema(&self) -> Schema {
        let text = |name, about| Attribute::text(name, about).told();
        let count = |name, about| Attribute::of(name, Type::Number, about).told();
        let mut edge = vec![
            text("id", "What the dependency is known by."),
            text("from_unit_id", "The unit that has the output."),
            text("from_output", "Which output."),
            text("to_unit_id", "The unit that takes it: this one."),
            text("to_input", "As what."),
            text("why", "Why the dependency is what it is, in a sentence."),
        ];
        edge.extend(dependency::looked_at());
        Schema {
            about: "What the dependencies of a unit say of it: whether it needs another apply.",
            example: EXAMPLE,
            attributes: vec![
                of_unit("unit_id"),
                text(
                    "status",
                    "`red`: it needs another apply. `yellow`: a unit before it does. `green`: neither.",
                ),
                Attribute::new("incoming", Kind::List(edge), "Its incoming dependencies.").told(),
                count("incoming_ok", "How many of them are `ok`."),
                count("incoming_pending", "How many of them are `pending`."),
                count(
                    "incoming_unknown",
                    "How many of them are `unknown`. They do not change the status.",
                ),
                Attribute::of(
                    "because_of",
                    Type::texts(),
                    "If it is `yellow`: the red units before it. What a `red` one has to take is `pending` in `incoming`.",
                )
                .told(),
                Attribute::of(
                    "cycle",
                    Type::texts(),
                    "If it depends on itself: one way around, from it and back to it.",
                )
                .told(),
            ],
        }
    }

    async fn read(&self, client: &Client, configured: &Object) -> Result<Object, Diagnostic> {
        let id = asked(configured, "unit_id")?;
        let found = client.unit_status(&id).await;
        let found = found
            .map_err(|error| refused(&format!("look at the status of `{id}`"), &error).about("unit_id"))?;
        Ok(Object::of([
            ("status", found.status.as_str().into()),
            ("incoming", found.incoming.iter().map(incoming).collect()),
            ("incoming_ok", found.summary.incoming_ok.into()),
            ("incoming_pending", found.summary.incoming_pending.into()),
            ("incoming_unknown", found.summary.incoming_unknown.into()),
            ("because_of", found.because_of.into_iter().collect()),
            ("cycle", found.cycle.into_iter().collect()),
        ]))
    }
}

fn incoming(edge: &Edge) -> Object {
    let mut told = dependency::told(edge);
    told.set("id", edge.edge_id.as_str());
    told.set("from_unit_id", edge.from_unit_id.as_str());
    told.set("from_output", edge.from_output.as_str());
    told.set("to_unit_id", edge.to_unit_id.as_str());
    told.set("to_input", edge.to_input.as_str());
    told.set("why", edge.why.as_str());
    told
}

const EXAMPLE: &str = r#"data "opentaco_unit_status" "prod" {
  unit_id = "myapp/prod"
}

locals {
  prod = data.opentaco_unit_status.prod
  # If it is red: whose outputs it has to take. If it is yellow: the red units before it.
  waits_for = local.prod.status == "red" ? distinct([
    for edge in local.prod.incoming : edge.from_unit_id if edge.status == "pending"
  ]) : local.prod.because_of
}

check "up_to_date" {
  assert {
    condition     = local.prod.status == "green"
    error_message = "myapp/prod waits for: ${join(", ", local.waits_for)}"
  }
}
"#;
