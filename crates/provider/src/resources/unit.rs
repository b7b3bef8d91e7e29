//! `opentaco_unit`: a unit, and what people say of it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use opentaco_domain::UnitId;
use opentaco_domain::limits::{DESCRIPTION_BYTES_MAX, LABEL_BYTES_MAX, LABELS_MAX};
use opentaco_sdk::api::{self, ChangeUnit, CreateUnit, Created};
use opentaco_sdk::{Client, SdkError};

use crate::failure::{already_there, refused};
use crate::plugin::diagnostic::Diagnostic;
use crate::plugin::object::Object;
use crate::plugin::provider::{Failed, Found, ImportId, Resource};
use crate::plugin::schema::{Attribute, Check, Giver, Schema};
use crate::plugin::types::Type;
use crate::plugin::value::Value;

/// Its type.
pub const TYPE: &str = "opentaco_unit";

/// A unit.
#[derive(Debug)]
pub struct Unit;

#[async_trait]
impl Resource<Client> for Unit {
    fn schema(&self) -> Schema {
        Schema {
            about: "A unit: the place of one state, with its lock and its history.\n\nA unit can also come to be by itself, \
                    with the first write of a state; this resource describes and protects it, and makes it before.",
            example: EXAMPLE,
            attributes: vec![
                Attribute::text(
                    "id",
                    "What it is called, such as `myapp/prod`. Another id is another unit.",
                )
                .replacing()
                .checked(Check::Text(is_unit_id)),
                Attribute::of(
                    "labels",
                    Type::text_map(),
                    "What units are sorted by: up to 64 labels. Defaults to none.",
                )
                .by(Giver::Default(Value::Map(BTreeMap::new())))
                .checked(Check::Count(are_few_enough))
                .checked(Check::Name(is_label_name))
                .checked(Check::Text(is_label)),
                Attribute::text(
                    "description",
                    "What people say of it, up to 4,096 bytes. Defaults to nothing.",
                )
                .by(Giver::Default("".into()))
                .checked(Check::Text(is_description)),
                Attribute::of(
                    "deletion_protection",
                    Type::Bool,
                    "Whether it refuses to be deleted, whoever asks for it. Defaults to `false`.",
                )
                .by(Giver::Default(false.into())),
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
            ],
        }
    }

    fn import_id(&self) -> ImportId {
        ImportId {
            about: "its id",
            example: "myapp/prod",
        }
    }

    async fn create(&self, client: &Client, planned: &Object) -> Result<Object, Failed> {
        let id = unit_id(planned.text_or_empty("id"), "id")?;
        let wanted = CreateUnit {
            id: id.clone(),
            labels: planned.text_map("labels"),
            description: planned.text_or_empty("description").to_owned(),
        };
        let doing = || format!("make the unit `{id}`");
        let created = client.create_unit(&wanted).await.map_err(|error| match error {
            SdkError::AlreadyExists { .. } => already_there(TYPE, "unit", id.as_str()).about("id"),
            other => refused(&doing(), &other).about("id"),
        })?;
        let made = if planned.is_true("deletion_protection") {
            let protect = ChangeUnit {
                deletion_protection: Some(true),
                ..ChangeUnit::default()
            };
            client.change_unit(&id, &protect).await
        } else {
            // It is there, whether or not it can be looked at now: what is known of a unit that was just made is enough.
            let found = client.unit(&id).await;
            return Ok(found.map_or_else(|_| just_made(&created), |unit| told(&unit)));
        };
        made.map(|unit| told(&unit)).map_err(|error| {
            let mut left = planned.clone();
            left.set("deletion_protection", false);
            left.learn(&Object::default());
            Failed {
                why: refused(&format!("finish making the unit `{id}`"), &error),
                left: Some(left),
            }
        })
    }

    async fn read(&self, client: &Client, state: &Object) -> Result<Found, Diagnostic> {
        let id = unit_id(state.text_or_empty("id"), "id")?;
        match client.unit(&id).await {
            Ok(unit) => Ok(told(&unit).into()),
            Err(SdkError::NotFound { .. }) => Ok(Found::gone()),
            Err(error) => Err(refused(&format!("look at the unit `{id}`"), &error)),
        }
    }

    async fn update(&self, client: &Client, _: &Object, planned: &Object) -> Result<Object, Failed> {
        let id = unit_id(planned.text_or_empty("id"), "id")?;
        // Terraform normalises names, so that of a label which somebody else wrote it may know another spelling.
        let before = client.unit(&id).await;
        let before = before.map_err(|error| refused(&format!("change the unit `{id}`"), &error))?;
        let after = planned.text_map("labels");
        let gone = before.labels.keys().filter(|name| !after.contains_key(*name));
        let gone = gone.map(|name| (name.clone(), None));
        let change = ChangeUnit {
            labels: gone
                .chain(
                    after
                        .iter()
                        .map(|(name, value)| (name.clone(), Some(value.clone()))),
                )
                .collect(),
            description: Some(planned.text_or_empty("description").to_owned()),
            deletion_protection: Some(planned.is_true("deletion_protection")),
        };
        let changed = client.change_unit(&id, &change).await;
        changed
            .map(|unit| told(&unit))
            .map_err(|error| refused(&format!("change the unit `{id}`"), &error).into())
    }

    async fn delete(&self, client: &Client, prior: &Object) -> Result<(), Diagnostic> {
        let id = unit_id(prior.text_or_empty("id"), "id")?;
        match client.delete_unit(&id).await {
            Ok(()) | Err(SdkError::NotFound { .. }) => Ok(()),
            Err(error) => Err(refused(&format!("delete the unit `{id}`"), &error)),
        }
    }

    async fn import(&self, _: &Client, id: &str) -> Result<Object, Diagnostic> {
        let id = unit_id(id, "id")?;
        Ok(Object::of([("id", id.as_str().into())]))
    }
}

/// A unit id that was checked before, or is read of a state.
pub(crate) fn unit_id(text: &str, attribute: &str) -> Result<UnitId, Diagnostic> {
    UnitId::parse(text).map_err(|error| {
        Diagnostic::new(format!("`{text}` cannot be a unit"), error.to_string()).about(attribute)
    })
}

/// Units have one spelling, so that a unit is one resource however it came to be.
pub(crate) fn is_unit_id(text: &str) -> Result<(), String> {
    match UnitId::parse(text) {
        Ok(id) if id.as_str() == text => Ok(()),
        Ok(id) => Err(format!("That unit is written `{id}`.")),
        Err(error) => Err(error.to_string()),
    }
}

fn are_few_enough(count: usize) -> Result<(), String> {
    match count <= LABELS_MAX {
        true => Ok(()),
        false => Err(format!(
            "A unit has at most {LABELS_MAX} labels, and these are {count}."
        )),
    }
}

fn is_label_name(text: &str) -> Result<(), String> {
    match text.is_empty() {
        true => Err("The name of a label cannot be empty.".to_owned()),
        false => is_label(text),
    }
}

fn is_label(text: &str) -> Result<(), String> {
    match text.len() <= LABEL_BYTES_MAX && !text.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(format!(
            "The name and the value of a label have at most {LABEL_BYTES_MAX} bytes, and no control characters."
        )),
    }
}

fn is_description(text: &str) -> Result<(), String> {
    match text.len() <= DESCRIPTION_BYTES_MAX {
        true => Ok(()),
        false => Err(format!(
            "A description has at most {DESCRIPTION_BYTES_MAX} bytes, and this one has {}.",
            text.len()
        )),
    }
}

fn told(unit: &api::Unit) -> Object {
    Object::of([
        ("id", unit.id.as_str().into()),
        ("labels", unit.labels.clone().into()),
        ("description", unit.description.as_str().into()),
        ("deletion_protection", unit.deletion_protection.into()),
        ("size", unit.size.into()),
        ("updated", unit.updated.to_string().into()),
        ("locked", unit.locked.into()),
    ])
}

/// What the service would tell of a unit without a state.
fn just_made(created: &Created) -> Object {
    Object::of([
        ("size", 0_u64.into()),
        ("updated", created.created.to_string().into()),
        ("locked", false.into()),
    ])
}

const EXAMPLE: &str = r#"resource "opentaco_unit" "prod" {
  id          = "myapp/prod"
  description = "The shop, in production"

  labels = {
    team = "shop"
    tier = "gold"
  }

  deletion_protection = true
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_told_as_they_are() {
        let told = |name: &str| {
            let attributes = Unit.schema().attributes;
            let attribute = attributes.into_iter().find(|attribute| attribute.name == name);
            attribute
                .map(|attribute| attribute.about.replace(',', ""))
                .unwrap()
        };
        assert!(told("labels").contains(&format!("up to {LABELS_MAX} labels")));
        assert!(told("description").contains(&format!("up to {DESCRIPTION_BYTES_MAX} bytes")));
    }

    #[test]
    fn a_unit_has_one_spelling() {
        assert_eq!(is_unit_id("myapp/prod"), Ok(()));
        for other in ["/myapp/prod", "myapp/prod/", "myapp/prod/terraform.tfstate"] {
            assert_eq!(
                is_unit_id(other),
                Err("That unit is written `myapp/prod`.".to_owned()),
                "{other}"
            );
        }
        assert!(is_unit_id("a//b").is_err());
    }
}
