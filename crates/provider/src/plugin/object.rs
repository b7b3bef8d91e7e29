//! The attributes of a resource, by name.

use std::collections::BTreeMap;

use super::types::Type;
use super::value::{Value, ValueError};

/// The attributes of a resource, a data source or the provider. One that is not there is null.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object(BTreeMap<String, Value>);

impl Object {
    /// These attributes.
    #[must_use]
    pub fn of<const N: usize>(attributes: [(&str, Value); N]) -> Self {
        attributes
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// The attributes in a value, if it is an object that is there.
    #[must_use]
    pub fn in_value(value: &Value) -> Option<Self> {
        match value {
            Value::Map(attributes) => Some(Self(attributes.clone())),
            _ => None,
        }
    }

    /// Reads an object of this type; none if nothing is given.
    ///
    /// # Errors
    /// If the bytes are none.
    pub fn read(bytes: &[u8], kind: &Type) -> Result<Option<Self>, ValueError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        match Value::read(bytes, kind)? {
            Value::Map(attributes) => Ok(Some(Self(attributes))),
            _ => Ok(None),
        }
    }

    /// The bytes of an object of this type.
    #[must_use]
    pub fn write(&self, kind: &Type) -> Vec<u8> {
        self.clone().into_value().write(kind)
    }

    /// As a value.
    #[must_use]
    pub fn into_value(self) -> Value {
        Value::Map(self.0)
    }

    /// An attribute.
    #[must_use]
    pub fn get(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    /// An attribute, to be changed.
    pub fn get_mut(&mut self, name: &str) -> &mut Value {
        self.0.entry(name.to_owned()).or_insert(Value::Null)
    }

    /// Sets an attribute.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// A text; none if it is null or unknown.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).as_text()
    }

    /// A text, empty if there is none.
    #[must_use]
    pub fn text_or_empty(&self, name: &str) -> &str {
        self.text(name).unwrap_or_default()
    }

    /// Whether it is true.
    #[must_use]
    pub fn is_true(&self, name: &str) -> bool {
        *self.get(name) == Value::Bool(true)
    }

    /// The texts of a list or a set.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.get(name).elements().iter().filter_map(Value::as_text)
    }

    /// The texts of a map, by name.
    #[must_use]
    pub fn text_map(&self, name: &str) -> BTreeMap<String, String> {
        match self.get(name) {
            Value::Map(elements) => elements
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), value.as_text()?.to_owned())))
                .collect(),
            _ => BTreeMap::new(),
        }
    }

    /// Puts what is known now in the place of what was not when it was planned. Nothing stays unknown.
    pub fn learn(&mut self, known: &Self) {
        for (name, value) in &mut self.0 {
            if !value.is_known() {
                value.clone_from(known.get(name));
            }
        }
        for (name, value) in &known.0 {
            self.0.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
}

impl FromIterator<(String, Value)> for Object {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(attributes: I) -> Self {
        Self(attributes.into_iter().collect())
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        object.into_value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_planned_stays_and_what_was_unknown_is_learnt() {
        let mut planned = Object::of([
            ("label", "as planned".into()),
            ("size", Value::Unknown),
            ("gone", Value::Unknown),
        ]);
        planned.learn(&Object::of([
            ("label", "changed since".into()),
            ("size", 7_u64.into()),
        ]));
        assert_eq!(
            planned,
            Object::of([
                ("label", "as planned".into()),
                ("size", 7_u64.into()),
                ("gone", Value::Null)
            ])
        );
    }
}
