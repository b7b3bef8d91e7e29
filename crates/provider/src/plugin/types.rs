//! Types of values, as Terraform spells them: `"string"`, `["map","string"]`, `["object",{"a":"number"}]`.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

/// What a value can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// True or false.
    Bool,
    /// A number of any size.
    Number,
    /// Text.
    Text,
    /// Anything: each value says of which type it is.
    Dynamic,
    /// Values of one type, in an order.
    List(Box<Type>),
    /// Values of one type, none of them twice.
    Set(Box<Type>),
    /// Values of one type, by name.
    Map(Box<Type>),
    /// Values by name, each of its own type.
    Object(BTreeMap<String, Type>),
    /// Values in an order, each of its own type.
    Tuple(Vec<Type>),
}

/// The text spells no type that we know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no type of Terraform's")]
pub struct NotAType {
    text: String,
}

impl Type {
    /// A list of texts.
    #[must_use]
    pub fn texts() -> Self {
        Self::List(Box::new(Self::Text))
    }

    /// A set of texts.
    #[must_use]
    pub fn text_set() -> Self {
        Self::Set(Box::new(Self::Text))
    }

    /// Texts by name.
    #[must_use]
    pub fn text_map() -> Self {
        Self::Map(Box::new(Self::Text))
    }

    /// Reads a type as it is spelled in JSON.
    ///
    /// # Errors
    /// If it spells none.
    pub fn parse(text: &[u8]) -> Result<Self, NotAType> {
        serde_json::from_slice(text)
            .ok()
            .and_then(|spelled| Self::of(&spelled))
            .ok_or_else(|| NotAType {
                text: String::from_utf8_lossy(text).into_owned(),
            })
    }

    fn of(spelled: &Json) -> Option<Self> {
        let one = |element: &Json| Self::of(element).map(Box::new);
        match spelled {
            Json::String(word) => match word.as_str() {
                "bool" => Some(Self::Bool),
                "number" => Some(Self::Number),
                "string" => Some(Self::Text),
                "dynamic" => Some(Self::Dynamic),
                _ => None,
            },
            Json::Array(parts) => match (parts.first()?.as_str()?, parts.get(1)?) {
                ("list", element) => one(element).map(Self::List),
                ("set", element) => one(element).map(Self::Set),
                ("map", element) => one(element).map(Self::Map),
                // What may follow names attributes that may be left out of a conversion; a value has all of them.
                ("object", Json::Object(attributes)) => attributes
                    .iter()
                    .map(|(name, kind)| Some((name.clone(), Self::of(kind)?)))
                    .collect::<Option<_>>()
                    .map(Self::Object),
                ("tuple", Json::Array(kinds)) => {
                    kinds.iter().map(Self::of).collect::<Option<_>>().map(Self::Tuple)
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// As it is spelled in JSON.
    #[must_use]
    pub fn spelled(&self) -> Json {
        match self {
            Self::Bool => json!("bool"),
            Self::Number => json!("number"),
            Self::Text => json!("string"),
            Self::Dynamic => json!("dynamic"),
            Self::List(element) => json!(["list", element.spelled()]),
            Self::Set(element) => json!(["set", element.spelled()]),
            Self::Map(element) => json!(["map", element.spelled()]),
            Self::Object(attributes) => {
                let spelled: serde_json::Map<_, _> = attributes
                    .iter()
                    .map(|(name, kind)| (name.clone(), kind.spelled()))
                    .collect();
                json!(["object", spelled])
            }
            Self::Tuple(kinds) => json!(["tuple", kinds.iter().map(Self::spelled).collect::<Vec<_>>()]),
        }
    }

    /// The bytes of the same.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.spelled().to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_read_as_it_is_spelled() {
        for text in [
            r#""bool""#,
            r#""dynamic""#,
            r#"["map","string"]"#,
            r#"["list",["set","number"]]"#,
            r#"["object",{"a":"string","b":["tuple",["bool","dynamic"]]}]"#,
            r#"["tuple",[]]"#,
        ] {
            let kind = Type::parse(text.as_bytes()).unwrap();
            assert_eq!(kind.to_bytes(), text.as_bytes());
        }
        let optional = Type::parse(br#"["object",{"a":"string"},["a"]]"#).unwrap();
        assert_eq!(optional, Type::Object([("a".to_owned(), Type::Text)].into()));
    }

    #[test]
    fn what_spells_no_type_is_refused() {
        for text in [
            "",
            "string",
            r#""float""#,
            "[]",
            r#"["list"]"#,
            r#"["object",[]]"#,
            "{}",
            "null",
        ] {
            assert!(Type::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
