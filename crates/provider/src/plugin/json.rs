//! Values as they stand in states: JSON, whose numbers keep all their digits.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::types::Type;
use super::value::{Number, Value};

/// How deep values without a type may be nested: as deep as `serde_json` reads anything.
const DEPTH_MAX: usize = 128;

/// The JSON is not of the type it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place} is not of the type {expected}")]
pub struct NotOfType {
    place: String,
    expected: String,
}

/// A value of this type. Attributes of objects that are missing are null, and those that the type does not have are left
/// out: another version of this provider has written them.
///
/// # Errors
/// If it is of another type.
pub fn read(json: &RawValue, kind: &Type) -> Result<Value, NotOfType> {
    read_at(json, kind, "the value")
}

fn read_at(json: &RawValue, kind: &Type, place: &str) -> Result<Value, NotOfType> {
    let text = json.get();
    let mistyped = || NotOfType {
        place: place.to_owned(),
        expected: kind.spelled().to_string(),
    };
    if text == "null" {
        return Ok(Value::Null);
    }
    let below = |name: &str| format!("{place}.{name}");
    match kind {
        Type::Bool => serde_json::from_str(text)
            .map(Value::Bool)
            .map_err(|_| mistyped()),
        Type::Text => serde_json::from_str(text)
            .map(Value::Text)
            .map_err(|_| mistyped()),
        Type::Number => match text.as_bytes().first() {
            Some(b'-' | b'0'..=b'9') => Ok(Value::Number(Number::written(text))),
            _ => Err(mistyped()),
        },
        Type::List(element) | Type::Set(element) => elements(text)
            .ok_or_else(mistyped)?
            .into_iter()
            .enumerate()
            .map(|(number, json)| read_at(json, element, &below(&number.to_string())))
            .collect::<Result<_, _>>()
            .map(Value::List),
        Type::Tuple(kinds) => {
            let elements = elements(text).filter(|elements| elements.len() == kinds.len());
            elements
                .ok_or_else(mistyped)?
                .into_iter()
                .zip(kinds)
                .enumerate()
                .map(|(number, (json, kind))| read_at(json, kind, &below(&number.to_string())))
                .collect::<Result<_, _>>()
                .map(Value::List)
        }
        Type::Map(element) => members(text)
            .ok_or_else(mistyped)?
            .into_iter()
            .map(|(name, json)| {
                let value = read_at(json, element, &below(&name))?;
                Ok((name, value))
            })
            .collect::<Result<_, _>>()
            .map(Value::Map),
        Type::Object(kinds) => {
            let members = members(text).ok_or_else(mistyped)?;
            kinds
                .iter()
                .map(|(name, kind)| {
                    let value = match members.get(name) {
                        Some(json) => read_at(json, kind, &below(name))?,
                        None => Value::Null,
                    };
                    Ok((name.clone(), value))
                })
                .collect::<Result<_, _>>()
                .map(Value::Map)
        }
        Type::Dynamic => {
            let members = members(text).ok_or_else(mistyped)?;
            let part = |name: &str| members.get(name).copied().ok_or_else(mistyped);
            let kind = Type::parse(part("type")?.get().as_bytes()).map_err(|_| mistyped())?;
            let value = read_at(part("value")?, &kind, place)?;
            Ok(Value::Dynamic(kind, Box::new(value)))
        }
    }
}

/// The type that a value has by itself, as Terraform reads JSON: arrays are tuples, and objects are objects.
///
/// # Errors
/// If it is nested too deeply.
pub fn implied(json: &RawValue) -> Result<Type, NotOfType> {
    implied_at(json, 0)
}

fn implied_at(json: &RawValue, depth: usize) -> Result<Type, NotOfType> {
    let text = json.get();
    let too_deep = || NotOfType {
        place: "a value that is nested too deeply".to_owned(),
        expected: Type::Dynamic.spelled().to_string(),
    };
    if depth > DEPTH_MAX {
        return Err(too_deep());
    }
    match text.as_bytes().first() {
        Some(b't' | b'f') => Ok(Type::Bool),
        Some(b'"') => Ok(Type::Text),
        Some(b'[') => elements(text)
            .ok_or_else(too_deep)?
            .into_iter()
            .map(|json| implied_at(json, depth + 1))
            .collect::<Result<_, _>>()
            .map(Type::Tuple),
        Some(b'{') => members(text)
            .ok_or_else(too_deep)?
            .into_iter()
            .map(|(name, json)| Ok((name, implied_at(json, depth + 1)?)))
            .collect::<Result<_, _>>()
            .map(Type::Object),
        Some(b'n') | None => Ok(Type::Dynamic),
        Some(_) => Ok(Type::Number),
    }
}

fn elements(text: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(text).ok()
}

fn members(text: &str) -> Option<BTreeMap<String, &RawValue>> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn an_object_that_another_version_has_written_is_read_as_far_as_we_know_it() {
        let kind = Type::Object([("a".to_owned(), Type::Text), ("b".to_owned(), Type::Bool)].into());
        let value = read(&raw(r#"{"a": "x", "later": {"deep": [1]}}"#), &kind).unwrap();
        assert_eq!(
            value,
            Value::Map([("a".to_owned(), "x".into()), ("b".to_owned(), Value::Null)].into())
        );
        let error = read(&raw(r#"{"a": 1}"#), &kind).unwrap_err().to_string();
        assert_eq!(error, r#"the value.a is not of the type "string""#);
    }

    #[test]
    fn numbers_keep_their_digits() {
        let digits = "123456789012345678901234567890.000000000000000000001";
        let list = read(
            &raw(&format!("[{digits}, -1]")),
            &Type::List(Box::new(Type::Number)),
        )
        .unwrap();
        assert_eq!(list.elements()[0], Value::Number(Number::written(digits)));
    }

    #[test]
    fn a_value_without_a_type_has_the_type_that_terraform_gives_it() {
        let json = raw(r#"{"a": [1, "x", null], "b": {"c": true}}"#);
        let kind = implied(&json).unwrap();
        assert_eq!(
            kind.spelled().to_string(),
            r#"["object",{"a":["tuple",["number","string","dynamic"]],"b":["object",{"c":"bool"}]}]"#
        );
        assert!(read(&json, &kind).is_ok());
        let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
        assert!(serde_json::from_str::<Box<RawValue>>(&deep).map_or(true, |json| implied(&json).is_err()));
    }

    #[test]
    fn a_dynamic_value_in_a_state_says_its_type() {
        let value = read(
            &raw(r#"{"value": ["a"], "type": ["list", "string"]}"#),
            &Type::Dynamic,
        )
        .unwrap();
        assert_eq!(
            value,
            Value::Dynamic(Type::texts(), Box::new(["a"].into_iter().collect()))
        );
    }
}
