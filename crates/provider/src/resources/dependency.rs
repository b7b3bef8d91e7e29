//! `opentaco_dependency`: an output of one unit that is an input of another.
//!
//! The edges *are* these resources, in the state of the workspace that lives in the unit `__opentaco_system`. So nothing
//! is written to the service here: Terraform writes the state, and the service finds the edges in it and keeps what is
//! computed up to date by itself. What is computed is fetched once, for the state that is written first.

use async_trait::async_trait;
use opentaco_domain::UnitId;
use opentaco_domain::graph::{EdgeEnds, EdgeId, EdgeStatus, Unknown};
use opentaco_sdk::api::Edge;
use opentaco_sdk::{Client, SdkError};

use crate::failure::refused;
use crate::plugin::diagnostic::Diagnostic;
use crate::plugin::object::Object;
use crate::plugin::provider::{Failed, Found, ImportId, Resource};
use crate::plugin::schema::{Attribute, Check, Giver, Schema};
use crate::plugin::value::Value;

/// Its type.
pub const TYPE: &str = "opentaco_dependency";

/// The attributes that name the two ends.
const ENDS: [&str; 4] = ["from_unit_id", "from_output", "to_unit_id", "to_input"];

/// The attributes that say what the target has taken.
const TAKEN: [&str; 3] = ["out_digest", "last_out_at", "out_version"];

/// An edge.
#[derive(Debug)]
pub struct Dependency;

#[async_trait]
impl Resource<Client> for Dependency {
    fn schema(&self) -> Schema {
        Schema {
            about: "A dependency between two units: an output of the one is an input of the other. When the output gets \
                    another value, the service tells that the other unit needs an apply.\n\nDependencies are declared in a \
                    configuration of their own, whose state is the unit `__opentaco_system`: the service finds them there, \
                    and keeps what is read-only up to date by itself. Neither unit has to exist yet.",
            example: EXAMPLE,
            attributes: [
                vec![
                    Attribute::text("from_unit_id", "The unit that has the output.")
                        .replacing()
                        .checked(Check::Text(is_unit)),
                    Attribute::text("from_output", "Which output.")
                        .replacing()
                        .checked(Check::Text(is_name)),
                    Attribute::text("to_unit_id", "The unit that takes it.")
                        .replacing()
                        .checked(Check::Text(is_unit)),
                    Attribute::text("to_input", "As what. Defaults to the name of the output.")
                        .by(Giver::ConfigurationOrOthers)
                        .replacing()
                        .checked(Check::Text(is_name)),
                    Attribute::text(
                        "id",
                        "What the dependency is known by: it follows from the four ends, so it is known before apply.",
                    )
                    .by(Giver::Others),
                ],
                looked_at(),
            ]
            .into_iter()
            .flatten()
            .collect(),
        }
    }

    fn import_id(&self) -> ImportId {
        ImportId {
            about: "its two ends, as in the example, or by its id",
            example: "network/prod.vpc_id->myapp/prod.vpc_id",
        }
    }

    fn derive(&self, planned: &mut Object) {
        if *planned.get("to_input") == Value::Null {
            let output = planned.get("from_output").clone();
            planned.set("to_input", output);
        }
        let id = ends(planned).map_or(Value::Unknown, |ends| ends.id().to_string().into());
        planned.set("id", id);
    }

    /// What is imported has units in the one spelling that counts, and a configuration may have another.
    fn is_another(&self, attribute: &str, prior: &Value, planned: &Value) -> bool {
        match (attribute, prior.as_text(), planned.as_text()) {
            ("from_unit_id" | "to_unit_id", Some(prior), Some(planned)) => {
                let both = EdgeEnds::new(prior, "", planned, "");
                both.from_unit != both.to_unit
            }
            _ => prior != planned,
        }
    }

    async fn create(&self, client: &Client, planned: &Object) -> Result<Object, Failed> {
        Ok(look(client, planned).await?.edge)
    }

    async fn read(&self, client: &Client, state: &Object) -> Result<Found, Diagnostic> {
        let Looked { edge, is_declared } = look(client, state).await?;
        // What is imported has no status yet: it comes into the graph with the state that is written next.
        let warning = match is_declared || *state.get("status") == Value::Null {
            true => None,
            false => Some(outside(client).await),
        };
        Ok(Found {
            object: Some(edge),
            warning,
        })
    }

    /// Nothing can be changed: other ends are another edge.
    async fn update(&self, client: &Client, _: &Object, planned: &Object) -> Result<Object, Failed> {
        Ok(look(client, planned).await?.edge)
    }

    /// The edge goes with the state that declares it.
    async fn delete(&self, _: &Client, _: &Object) -> Result<(), Diagnostic> {
        Ok(())
    }

    async fn import(&self, client: &Client, id: &str) -> Result<Object, Diagnostic> {
        let ends = match id.parse::<EdgeId>() {
            Ok(id) => match client.edge_by_id(&id).await {
                Ok(edge) => edge.ends(),
                Err(SdkError::NotFound { .. }) => {
                    return Err(Diagnostic::new(
                        format!("There is no dependency `{id}`"),
                        "The graph does not have it, and had not lately. Import it by its two ends: from.output->to.input",
                    ));
                }
                Err(error) => return Err(refused(&format!("find the dependency `{id}`"), &error)),
            },
            Err(_) => id
                .parse::<EdgeEnds>()
                .map_err(|error| Diagnostic::new("This cannot be imported", error.to_string()))?,
        };
        Ok(Object::of([
            ("from_unit_id", ends.from_unit.into()),
            ("from_output", ends.from_output.into()),
            ("to_unit_id", ends.to_unit.into()),
            ("to_input", ends.to_input.into()),
        ]))
    }
}

/// What is told of an edge beside of its ends, here and in the status of a unit.
pub(crate) fn looked_at() -> Vec<Attribute> {
    let told = |name, about| Attribute::text(name, about).told();
    vec![
        told(
            "status",
            "`ok`, `pending` if the output has another value than the target has taken, or `unknown`.",
        ),
        told(
            "reason",
            "Why the status is unknown, in a word: `no-unit`, `no-output`, `encrypted`, …",
        ),
        told("in_digest", "The digest of the value that the output has."),
        told("out_digest", "The digest of the value that the target has taken."),
        told("last_in_at", "When the output last changed, in RFC 3339."),
        told("last_out_at", "When the target last took a value, in RFC 3339."),
        told(
            "in_version",
            "The version of the source in which the output last changed.",
        ),
        told("in_by", "Who wrote that version."),
        told("out_version", "The version of the target that last took a value."),
    ]
}

/// The same, as the service tells it.
pub(crate) fn told(edge: &Edge) -> Object {
    Object::of([
        ("status", edge.status.as_str().into()),
        ("reason", edge.reason.map(Unknown::as_str).into()),
        ("in_digest", edge.in_digest.clone().into()),
        ("out_digest", edge.out_digest.clone().into()),
        ("last_in_at", edge.last_in_at.map(|at| at.to_string()).into()),
        ("last_out_at", edge.last_out_at.map(|at| at.to_string()).into()),
        (
            "in_version",
            edge.in_version.map(|version| version.to_string()).into(),
        ),
        (
            "in_by",
            edge.in_by.as_ref().map(|by| by.as_str().to_owned()).into(),
        ),
        (
            "out_version",
            edge.out_version.map(|version| version.to_string()).into(),
        ),
    ])
}

/// The two ends, if all of them are known. Without an input, it is called like the output: so the service reads a state.
fn ends(object: &Object) -> Option<EdgeEnds> {
    let [from_unit, from_output, to_unit, to_input] = ENDS.map(|name| object.text(name));
    let to_input = match object.get("to_input") {
        Value::Null => from_output,
        _ => to_input,
    };
    Some(EdgeEnds::new(from_unit?, from_output?, to_unit?, to_input?))
}

/// What was found of an edge.
struct Looked {
    edge: Object,
    is_declared: bool,
}

async fn look(client: &Client, object: &Object) -> Result<Looked, Diagnostic> {
    let ends = ends(object).ok_or_else(|| {
        Diagnostic::new(
            "This dependency has no two ends",
            "Its state names no unit, output or input: remove it from the state, and import it.",
        )
    })?;
    // As they were configured: the service trims units, and Terraform would take that for a change.
    let mut edge = object.clone();
    edge.set("to_input", ends.to_input.as_str());
    edge.set("id", ends.id().to_string());
    // A state may name what can be no unit. It says so, and can be mended or removed.
    if ends.from().is_none() || ends.to().is_none() {
        edge.set("status", EdgeStatus::Unknown.as_str());
        edge.set("reason", Unknown::BadUnitId.as_str());
        edge.learn(&Object::default());
        return Ok(Looked {
            edge,
            is_declared: true,
        });
    }
    let found = client.edge(&ends).await;
    let found = found.map_err(|error| refused(&format!("look at the dependency `{ends}`"), &error))?;
    // Of an edge that the graph does not have the service cannot tell what its target has taken. A state that is on its
    // way into the graph may, and the service takes it from there.
    let keeps_taken = !found.declared && object.text("out_digest").is_some();
    let told = told(&found);
    for Attribute { name, .. } in looked_at() {
        if !(keeps_taken && TAKEN.contains(&name)) {
            edge.set(name, told.get(name).clone());
        }
    }
    if keeps_taken && edge.text("in_digest").is_some() {
        let is_taken = edge.get("in_digest") == edge.get("out_digest");
        let status = if is_taken {
            EdgeStatus::Ok
        } else {
            EdgeStatus::Pending
        };
        edge.set("status", status.as_str());
    }
    Ok(Looked {
        edge,
        is_declared: found.declared,
    })
}

/// The state that an edge is in is not the graph's: nobody follows it.
async fn outside(client: &Client) -> Diagnostic {
    let unit = match client.info().await {
        Ok(info) => format!("`{}`", info.system_unit),
        Err(_) => "that holds the graph: `taco graph show --json` names it".to_owned(),
    };
    Diagnostic::warning(
        "The graph does not have this dependency",
        format!(
            "The service finds dependencies in the graph's own state, and follows no other: the state of this workspace \
             must be the unit {unit}. Its backend is where that is said."
        ),
    )
}

fn is_unit(text: &str) -> Result<(), String> {
    UnitId::parse(text).map(drop).map_err(|error| error.to_string())
}

fn is_name(text: &str) -> Result<(), String> {
    match text.is_empty() || text.chars().any(char::is_control) {
        true => Err("An output or an input has a name, without control characters.".to_owned()),
        false => Ok(()),
    }
}

const EXAMPLE: &str = r#"terraform {
  backend "http" {
    address        = "https://taco.example.com/v1/backend/__opentaco_system"
    lock_address   = "https://taco.example.com/v1/backend/__opentaco_system"
    unlock_address = "https://taco.example.com/v1/backend/__opentaco_system"
  }
}

resource "opentaco_dependency" "vpc" {
  from_unit_id = "network/prod"
  from_output  = "vpc_id"
  to_unit_id   = "myapp/prod"
}
"#;
