//! `opentaco_outputs`: what the state of a unit hands out, with the types it has there and all digits of its numbers.

use std::collections::BTreeMap;

use async_trait::async_trait;
use opentaco_sdk::Client;
use opentaco_sdk::api::Output;

use super::{asked, of_unit};
use crate::failure::refused;
use crate::plugin::diagnostic::Diagnostic;
use crate::plugin::json::{self, NotOfType};
use crate::plugin::object::Object;
use crate::plugin::provider::DataSource;
use crate::plugin::schema::{Attribute, Schema};
use crate::plugin::types::Type;
use crate::plugin::value::Value;

/// Its type.
pub const TYPE: &str = "opentaco_outputs";

/// The outputs of a unit.
#[derive(Debug)]
pub struct Outputs;

#[async_trait]
impl DataSource<Client> for Outputs {
    fn schema(&self) -> Schema {
        Schema {
            about: "The outputs of a unit's current state, without the rest of it. Whoever may read only outputs \
                    (`unit.read-outputs`) gets those that they may read.",
            example: EXAMPLE,
            attributes: vec![
                of_unit("unit_id"),
                Attribute::of(
                    "values",
                    Type::Dynamic,
                    "The outputs that are not sensitive, by name, with the types they have.",
                )
                .told(),
                Attribute::of(
                    "sensitive_values",
                    Type::Dynamic,
                    "The sensitive outputs, by name, with the types they have.",
                )
                .told()
                .secret(),
                Attribute::text(
                    "version",
                    "The version that they are read from, where the service has written it.",
                )
                .told(),
            ],
        }
    }

    async fn read(&self, client: &Client, configured: &Object) -> Result<Object, Diagnostic> {
        let id = asked(configured, "unit_id")?;
        let doing = format!("read the outputs of `{id}`");
        let found = client.outputs(&id).await;
        let found = found.map_err(|error| refused(&doing, &error).about("unit_id"))?;
        let (sensitive, plain): (BTreeMap<_, _>, _) = found
            .outputs
            .into_iter()
            .partition(|(_, output)| output.sensitive);
        let unreadable =
            |error: NotOfType| Diagnostic::new(format!("Cannot {doing}"), error.to_string()).about("unit_id");
        Ok(Object::of([
            ("values", together(&plain).map_err(unreadable)?),
            ("sensitive_values", together(&sensitive).map_err(unreadable)?),
            ("version", found.version.map(|version| version.to_string()).into()),
        ]))
    }
}

/// Outputs as one object, each with its own type.
fn together(outputs: &BTreeMap<String, Output>) -> Result<Value, NotOfType> {
    let (mut kinds, mut values) = (BTreeMap::new(), BTreeMap::new());
    for (name, output) in outputs {
        let kind = match &output.kind {
            // A state of an old client says `"map"` or nothing; then it is what JSON says.
            Some(spelled) => {
                Type::parse(spelled.get().as_bytes()).or_else(|_| json::implied(&output.value))?
            }
            None => json::implied(&output.value)?,
        };
        values.insert(name.clone(), json::read(&output.value, &kind)?);
        kinds.insert(name.clone(), kind);
    }
    Ok(Value::Dynamic(Type::Object(kinds), Box::new(Value::Map(values))))
}

const EXAMPLE: &str = r#"data "opentaco_outputs" "network" {
  unit_id = "network/prod"
}

resource "terraform_data" "app" {
  input = data.opentaco_outputs.network.values.vpc_id
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn output(value: &str, kind: Option<&str>) -> Output {
        Output {
            value: serde_json::from_str(value).unwrap(),
            kind: kind.map(|kind| serde_json::from_str(kind).unwrap()),
            sensitive: false,
        }
    }

    #[test]
    fn outputs_keep_their_types_and_their_digits() {
        let digits = "9007199254740993.000000000000000000001";
        let outputs = BTreeMap::from([
            ("n".to_owned(), output(digits, Some("\"number\""))),
            (
                "s".to_owned(),
                output("[\"b\",\"a\"]", Some("[\"set\",\"string\"]")),
            ),
            ("old".to_owned(), output("{\"a\":\"1\"}", Some("\"map\""))),
            ("bare".to_owned(), output("true", None)),
            ("none".to_owned(), output("null", Some("\"dynamic\""))),
        ]);
        let value = together(&outputs).unwrap();
        let Value::Dynamic(kind, _) = &value else {
            panic!("{value:?} says nothing of its type");
        };
        assert_eq!(
            kind.spelled().to_string(),
            r#"["object",{"bare":"bool","n":"number","none":"dynamic","old":["object",{"a":"string"}],"s":["set","string"]}]"#
        );
        let bytes = value.write(&Type::Dynamic);
        assert_eq!(Value::read(&bytes, &Type::Dynamic).unwrap(), value);
        assert!(
            bytes
                .windows(digits.len())
                .any(|window| window == digits.as_bytes())
        );
    }

    #[test]
    fn a_value_that_is_not_of_its_type_is_told() {
        let outputs = BTreeMap::from([("n".to_owned(), output("\"x\"", Some("\"number\"")))]);
        assert!(together(&outputs).is_err());
    }
}
