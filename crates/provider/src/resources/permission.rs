//! `opentaco_permission`: a few rules under a name.

use std::str::FromStr;

use async_trait::async_trait;
use opentaco_domain::Action;
use opentaco_domain::access::Name;
use opentaco_domain::access::rule::{Actions, Effect, Pattern, Rule};
use opentaco_sdk::api::rbac::{AccessRule, NamedPermission, SetPermission};
use opentaco_sdk::{Client, SdkError};

use super::{is_name, name};
use crate::failure::{already_there, refused};
use crate::plugin::diagnostic::{Diagnostic, Path, Step, attribute};
use crate::plugin::object::Object;
use crate::plugin::provider::{Failed, Found, ImportId, Resource};
use crate::plugin::schema::{Attribute, Check, Giver, Kind, Schema};
use crate::plugin::types::Type;
use crate::plugin::value::Value;

/// Its type.
pub const TYPE: &str = "opentaco_permission";

/// A permission.
#[derive(Debug)]
pub struct Permission;

#[async_trait]
impl Resource<Client> for Permission {
    fn schema(&self) -> Schema {
        let none = || Giver::Default(Value::List(Vec::new()));
        let rules = vec![
            Attribute::text("effect", "`allow`, or `deny`, which wins over every `allow` in whatever role. Defaults to `allow`.")
                .by(Giver::Default("allow".into()))
                .checked(Check::Text(is_effect)),
            Attribute::of("actions", Type::text_set(), "Which actions: `unit.write`, `unit.*`, `*`, …")
                .checked(Check::Text(is_action)),
            Attribute::of(
                "units",
                Type::text_set(),
                "Which units, as patterns over the segments of their names: `myapp/prod`, `myapp/*`, `**`.",
            )
            .by(none())
            .checked(Check::Text(is_pattern)),
            Attribute::of(
                "outputs",
                Type::text_set(),
                "For `unit.read-outputs`: which outputs, as patterns over their names. Defaults to all of them.",
            )
            .by(none())
            .checked(Check::Text(is_pattern)),
            Attribute::of(
                "sensitive",
                Type::Bool,
                "For `unit.read-outputs`: whether sensitive outputs are among them. Defaults to `false`.",
            )
            .by(Giver::Default(false.into())),
        ];
        Schema {
            about: "A permission: a few rules under a name, to be held by roles.",
            example: EXAMPLE,
            attributes: vec![
                Attribute::text(
                    "name",
                    "Its name: lower-case letters, digits, `-`, `_` and `.`. Another name is another permission.",
                )
                .replacing()
                .checked(Check::Text(is_name)),
                Attribute::text("description", "What it is for. Defaults to nothing.").by(Giver::Default("".into())),
                Attribute::new("rules", Kind::List(rules), "What it says."),
            ],
        }
    }

    fn import_id(&self) -> ImportId {
        ImportId {
            about: "its name",
            example: "shop-write",
        }
    }

    /// What a rule has to have, as the service has it.
    fn check(&self, configured: &Object) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for (number, rule) in rules(configured).enumerate() {
            let mut tell = |name: &str, why: &str| {
                let path = in_rule(number, name);
                found.push(Diagnostic::new("This rule says nothing", why).at(path));
            };
            let (actions, units) = (rule.get("actions"), rule.get("units"));
            if actions.is_known() && actions.elements().is_empty() {
                tell("actions", "A rule names at least one action.");
            }
            let mut named = rule.texts("actions").filter_map(|text| text.parse().ok());
            if named.any(is_on_units) && units.is_known() && units.elements().is_empty() {
                tell(
                    "units",
                    "A rule about what is done to units names some; `**` is all of them.",
                );
            }
        }
        found
    }

    async fn create(&self, client: &Client, planned: &Object) -> Result<Object, Failed> {
        let name = name(planned.text_or_empty("name"), "name")?;
        // The service makes or changes, in one verb: what is there already was made by somebody else.
        match client.permission(&name).await {
            Err(SdkError::NotFound { .. }) => Ok(set(client, &name, planned).await?),
            Ok(_) => Err(already_there(TYPE, "permission", name.as_str())
                .about("name")
                .into()),
            Err(error) => Err(refused(&format!("make the permission `{name}`"), &error).into()),
        }
    }

    async fn read(&self, client: &Client, state: &Object) -> Result<Found, Diagnostic> {
        let name = name(state.text_or_empty("name"), "name")?;
        match client.permission(&name).await {
            Ok(permission) => Ok(told(&permission).into()),
            Err(SdkError::NotFound { .. }) => Ok(Found::gone()),
            Err(error) => Err(refused(&format!("look at the permission `{name}`"), &error)),
        }
    }

    async fn update(&self, client: &Client, _: &Object, planned: &Object) -> Result<Object, Failed> {
        let name = name(planned.text_or_empty("name"), "name")?;
        Ok(set(client, &name, planned).await?)
    }

    async fn delete(&self, client: &Client, prior: &Object) -> Result<(), Diagnostic> {
        let name = name(prior.text_or_empty("name"), "name")?;
        match client.remove_permission(&name).await {
            Ok(()) | Err(SdkError::NotFound { .. }) => Ok(()),
            Err(error) => Err(refused(&format!("remove the permission `{name}`"), &error)),
        }
    }

    async fn import(&self, _: &Client, id: &str) -> Result<Object, Diagnostic> {
        let name = name(id, "name")?;
        Ok(Object::of([("name", name.as_str().into())]))
    }
}

async fn set(client: &Client, name: &Name, planned: &Object) -> Result<Object, Diagnostic> {
    let wanted = SetPermission {
        description: planned.text_or_empty("description").to_owned(),
        rules: rules(planned)
            .enumerate()
            .map(|(number, rule)| access_rule(number, &rule))
            .collect::<Result<_, _>>()?,
    };
    let set = match client.set_permission(name, &wanted).await {
        Err(error) if error.is_in_doubt() => match client.permission(name).await {
            Ok(found) if is_as(&found, &wanted) => Ok(found),
            _ => Err(error),
        },
        answered => answered,
    };
    set.map(|permission| told(&permission))
        .map_err(|error| refused(&format!("set the permission `{name}`"), &error))
}

fn is_as(found: &NamedPermission, wanted: &SetPermission) -> bool {
    found.description == wanted.description && found.rules == wanted.rules
}

fn rules(object: &Object) -> impl Iterator<Item = Object> {
    object.get("rules").elements().iter().filter_map(Object::in_value)
}

fn in_rule(number: usize, name: &str) -> Path {
    let within = [Step::Index(number), Step::Attribute(name.to_owned())];
    attribute("rules").into_iter().chain(within).collect()
}

fn access_rule(number: usize, rule: &Object) -> Result<AccessRule, Diagnostic> {
    Ok(AccessRule {
        effect: effect(rule.text_or_empty("effect"))
            .map_err(|why| Diagnostic::new("This is no effect", why).at(in_rule(number, "effect")))?,
        actions: parsed(number, rule, "actions")?,
        units: parsed(number, rule, "units")?,
        outputs: parsed(number, rule, "outputs")?,
        sensitive: rule.is_true("sensitive"),
    })
}

/// Texts that could not be checked when they were planned.
fn parsed<T: FromStr<Err: ToString>>(number: usize, rule: &Object, name: &str) -> Result<Vec<T>, Diagnostic> {
    rule.texts(name)
        .map(|text| {
            text.parse().map_err(|error: T::Err| {
                Diagnostic::new(format!("This is not possible in `{name}`"), error.to_string())
                    .at(in_rule(number, name))
            })
        })
        .collect()
}

fn told(permission: &NamedPermission) -> Object {
    let rules = permission.rules.iter().map(|rule| {
        let effect = match rule.effect {
            Effect::Allow => "allow",
            Effect::Deny => "deny",
        };
        Object::of([
            ("effect", effect.into()),
            ("actions", rule.actions.iter().map(ToString::to_string).collect()),
            ("units", rule.units.iter().map(Pattern::as_str).collect()),
            ("outputs", rule.outputs.iter().map(Pattern::as_str).collect()),
            ("sensitive", rule.sensitive.into()),
        ])
    });
    Object::of([
        ("name", permission.name.as_str().into()),
        ("description", permission.description.as_str().into()),
        ("rules", rules.collect()),
    ])
}

fn effect(text: &str) -> Result<Effect, String> {
    match text {
        "allow" => Ok(Effect::Allow),
        "deny" => Ok(Effect::Deny),
        other => Err(format!("`{other}` is neither `allow` nor `deny`.")),
    }
}

fn is_effect(text: &str) -> Result<(), String> {
    effect(text).map(drop)
}

fn is_action(text: &str) -> Result<(), String> {
    text.parse::<Actions>()
        .map(drop)
        .map_err(|error| error.to_string())
}

fn is_pattern(text: &str) -> Result<(), String> {
    text.parse::<Pattern>()
        .map(drop)
        .map_err(|error| error.to_string())
}

fn is_on_units(actions: Actions) -> bool {
    let rule = Rule {
        effect: Effect::Allow,
        actions: vec![actions],
        units: Vec::new(),
        outputs: Vec::new(),
        sensitive: false,
    };
    Action::ALL
        .into_iter()
        .any(|action| action.is_on_a_unit() && rule.is_about(action))
}

const EXAMPLE: &str = r#"resource "opentaco_permission" "shop" {
  name        = "shop-write"
  description = "Plans and applies the shop, but for production"

  rules = [
    {
      actions = ["unit.read", "unit.write", "unit.lock"]
      units   = ["shop/**"]
    },
    {
      effect  = "deny"
      actions = ["unit.write", "unit.lock"]
      units   = ["shop/prod"]
    },
  ]
}
"#;
