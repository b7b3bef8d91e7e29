//! Values as they go over the wire, and what they mean to us.
//!
//! ```text
//! null            nil
//! unknown         an extension, whichever: 0 is plain, 12 tells more of what it will be, which nobody here asks
//! number          an integer, a float, or decimal digits as text: whatever loses nothing
//! object          a map with all attributes, absent ones as nil
//! dynamic         [type in JSON, value]
//! ```
//!
//! A value is read by its type, which both sides know from the schema. So what is read has that type, and writing it by
//! the same type cannot fail.

use std::collections::BTreeMap;

use rmpv::Value as Packed;

use super::types::{NotAType, Type};

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// None is given.
    Null,
    /// It will be there after something else was done.
    Unknown,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text.
    Text(String),
    /// The elements of a list, a set or a tuple.
    List(Vec<Value>),
    /// The elements of a map, or the attributes of an object.
    Map(BTreeMap<String, Value>),
    /// A value with its own type, where the schema leaves that open.
    Dynamic(Type, Box<Value>),
}

/// A number in decimal digits, with all of them: `42`, `-1.5`, `1e400`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Number(String);

impl Number {
    /// A number as somebody has written it.
    #[must_use]
    pub fn written(digits: &str) -> Self {
        Self(digits.to_owned())
    }

    /// Its digits.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// Every digit that a float stands for.
    fn of_float(float: f64) -> Self {
        if float.is_infinite() {
            return Self(if float > 0.0 { "Inf" } else { "-Inf" }.to_owned());
        }
        // No float has more binary places than that.
        let digits = format!("{float:.1074}");
        Self(digits.trim_end_matches('0').trim_end_matches('.').to_owned())
    }

    fn packed(&self) -> Packed {
        // An integer that fits goes as one, and everything else as its digits: no number is rounded.
        if let Ok(integer) = self.0.parse::<i64>().map(Packed::from) {
            return integer;
        }
        self.0
            .parse::<u64>()
            .map_or_else(|_| Packed::from(self.0.as_str()), Packed::from)
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self(number.to_string())
    }
}

/// Why bytes are no value.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    /// They are no msgpack.
    #[error("a value is not readable")]
    Unreadable(#[source] rmpv::decode::Error),
    /// There is something else than the type says.
    #[error("a value is not of the type {expected}")]
    Mistyped {
        /// The type.
        expected: String,
    },
    /// What a dynamic value says of its type cannot be understood.
    #[error(transparent)]
    Type(#[from] NotAType),
    /// Something follows the value.
    #[error("something follows a value")]
    Trailing,
}

impl Value {
    /// Reads a value of this type.
    ///
    /// # Errors
    /// If the bytes are none.
    pub fn read(mut bytes: &[u8], kind: &Type) -> Result<Self, ValueError> {
        let packed = rmpv::decode::read_value(&mut bytes).map_err(ValueError::Unreadable)?;
        if !bytes.is_empty() {
            return Err(ValueError::Trailing);
        }
        Self::unpacked(packed, kind)
    }

    fn unpacked(packed: Packed, kind: &Type) -> Result<Self, ValueError> {
        let mistyped = || ValueError::Mistyped {
            expected: kind.spelled().to_string(),
        };
        match packed {
            Packed::Nil => return Ok(Self::Null),
            Packed::Ext(..) => return Ok(Self::Unknown),
            _ => {}
        }
        match (kind, packed) {
            (Type::Bool, Packed::Boolean(truth)) => Ok(Self::Bool(truth)),
            (Type::Number, Packed::Integer(integer)) => Ok(Self::Number(Number(integer.to_string()))),
            (Type::Number, Packed::F64(float)) if !float.is_nan() => {
                Ok(Self::Number(Number::of_float(float)))
            }
            (Type::Number, Packed::F32(float)) if !float.is_nan() => {
                Ok(Self::Number(Number::of_float(float.into())))
            }
            (Type::Number, Packed::String(digits)) => digits
                .into_str()
                .map(|digits| Self::Number(Number(digits)))
                .ok_or_else(mistyped),
            (Type::Text, Packed::String(text)) => text.into_str().map(Self::Text).ok_or_else(mistyped),
            (Type::List(element) | Type::Set(element), Packed::Array(elements)) => elements
                .into_iter()
                .map(|packed| Self::unpacked(packed, element))
                .collect::<Result<_, _>>()
                .map(Self::List),
            (Type::Tuple(kinds), Packed::Array(elements)) if kinds.len() == elements.len() => elements
                .into_iter()
                .zip(kinds)
                .map(|(packed, kind)| Self::unpacked(packed, kind))
                .collect::<Result<_, _>>()
                .map(Self::List),
            (Type::Map(element), Packed::Map(elements)) => elements
                .into_iter()
                .map(|(name, packed)| {
                    Ok((
                        name_of(name).ok_or_else(mistyped)?,
                        Self::unpacked(packed, element)?,
                    ))
                })
                .collect::<Result<_, _>>()
                .map(Self::Map),
            (Type::Object(kinds), Packed::Map(elements)) => {
                let mut attributes = BTreeMap::new();
                for (name, packed) in elements {
                    let name = name_of(name).ok_or_else(mistyped)?;
                    let kind = kinds.get(&name).ok_or_else(mistyped)?;
                    attributes.insert(name, Self::unpacked(packed, kind)?);
                }
                for name in kinds.keys() {
                    attributes.entry(name.clone()).or_insert(Self::Null);
                }
                Ok(Self::Map(attributes))
            }
            (Type::Dynamic, Packed::Array(parts)) => {
                let [spelled, packed]: [Packed; 2] = parts.try_into().map_err(|_| mistyped())?;
                let spelled = match spelled {
                    Packed::Binary(bytes) => bytes,
                    Packed::String(text) => text.into_bytes(),
                    _ => return Err(mistyped()),
                };
                let kind = Type::parse(&spelled)?;
                let value = Self::unpacked(packed, &kind)?;
                Ok(Self::Dynamic(kind, Box::new(value)))
            }
            _ => Err(mistyped()),
        }
    }

    /// The bytes of a value of this type.
    ///
    /// # Panics
    /// If the value is of another type: that would be a mistake of ours, and the other side would only find it later.
    #[must_use]
    pub fn write(&self, kind: &Type) -> Vec<u8> {
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, &self.packed(kind))
            .expect("memory takes what is written to it");
        bytes
    }

    fn packed(&self, kind: &Type) -> Packed {
        match (self, kind) {
            (Self::Null, _) => Packed::Nil,
            (Self::Unknown, _) => Packed::Ext(0, vec![0]),
            (Self::Bool(truth), Type::Bool) => Packed::Boolean(*truth),
            (Self::Number(number), Type::Number) => number.packed(),
            (Self::Text(text), Type::Text) => Packed::from(text.as_str()),
            (Self::List(elements), Type::List(element) | Type::Set(element)) => {
                Packed::Array(elements.iter().map(|value| value.packed(element)).collect())
            }
            (Self::List(elements), Type::Tuple(kinds)) => Packed::Array(
                elements
                    .iter()
                    .zip(kinds)
                    .map(|(value, kind)| value.packed(kind))
                    .collect(),
            ),
            (Self::Map(elements), Type::Map(element)) => Packed::Map(
                elements
                    .iter()
                    .map(|(name, value)| (Packed::from(name.as_str()), value.packed(element)))
                    .collect(),
            ),
            (Self::Map(attributes), Type::Object(kinds)) => Packed::Map(
                kinds
                    .iter()
                    .map(|(name, kind)| {
                        let value = attributes.get(name).unwrap_or(&Self::Null);
                        (Packed::from(name.as_str()), value.packed(kind))
                    })
                    .collect(),
            ),
            (Self::Dynamic(kind, value), Type::Dynamic) => {
                Packed::Array(vec![Packed::Binary(kind.to_bytes()), value.packed(kind)])
            }
            _ => panic!("a value is not of its type, which is {}", kind.spelled()),
        }
    }

    /// Whether it, and everything in it, is there.
    #[must_use]
    pub fn is_known(&self) -> bool {
        match self {
            Self::Unknown => false,
            Self::List(elements) => elements.iter().all(Self::is_known),
            Self::Map(elements) => elements.values().all(Self::is_known),
            Self::Dynamic(_, value) => value.is_known(),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => true,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of a list or a set; none of what is no list.
    #[must_use]
    pub fn elements(&self) -> &[Self] {
        match self {
            Self::List(elements) => elements,
            _ => &[],
        }
    }
}

fn name_of(packed: Packed) -> Option<String> {
    match packed {
        Packed::String(name) => name.into_str(),
        _ => None,
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number.into())
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(Number(number.to_string()))
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Value>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>> From<BTreeMap<String, T>> for Value {
    fn from(elements: BTreeMap<String, T>) -> Self {
        Self::Map(
            elements
                .into_iter()
                .map(|(name, value)| (name, value.into()))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(digits: &str) -> Value {
        Value::Number(Number::written(digits))
    }

    fn read(packed: &Packed, kind: &Type) -> Result<Value, ValueError> {
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, packed).unwrap();
        Value::read(&bytes, kind)
    }

    #[test]
    fn every_extension_is_an_unknown_value_and_a_plain_one_is_what_terraform_writes() {
        assert_eq!(Value::Unknown.write(&Type::Text), [0xd4, 0, 0]);
        assert_eq!(Value::read(&[0xd4, 0, 0], &Type::Number).unwrap(), Value::Unknown);
        // Refined: "not null", as `{1: false}`.
        let refined = Packed::Ext(12, vec![0x81, 0x01, 0xc2]);
        assert_eq!(read(&refined, &Type::Text).unwrap(), Value::Unknown);
        assert_eq!(
            read(&Packed::Ext(77, vec![1; 40]), &Type::texts()).unwrap(),
            Value::Unknown
        );
    }

    #[test]
    fn numbers_come_as_integers_as_floats_and_as_digits_and_lose_none() {
        for (packed, digits) in [
            (Packed::from(-7), "-7"),
            (Packed::from(u64::MAX), "18446744073709551615"),
            (Packed::from(0.5), "0.5"),
            (Packed::from(-3.0), "-3"),
            (
                Packed::from(0.1),
                "0.1000000000000000055511151231257827021181583404541015625",
            ),
            (
                Packed::from(1e300),
                "1000000000000000052504760255204420248704468581108159154915854115511802457988908195786371375080447864043704443832883878176942523235360430575644792184786706982848387200926575803737830233794788090059368953234970799945081119038967640880074652742780142494579258788820056842838115669472196386865459400540160",
            ),
            (Packed::from("98765432109876543210.5"), "98765432109876543210.5"),
            (Packed::F64(f64::NEG_INFINITY), "-Inf"),
        ] {
            assert_eq!(read(&packed, &Type::Number).unwrap(), number(digits), "{packed}");
        }
        assert!(read(&Packed::F64(f64::NAN), &Type::Number).is_err());
        for digits in ["18446744073709551616", "1.5e3", "0.1"] {
            let bytes = number(digits).write(&Type::Number);
            assert_eq!(Value::read(&bytes, &Type::Number).unwrap(), number(digits));
        }
    }

    #[test]
    fn what_is_not_of_the_type_is_refused_and_nothing_may_follow() {
        let object = Type::Object([("a".to_owned(), Type::Text)].into());
        assert!(read(&Packed::from("a"), &Type::Bool).is_err());
        assert!(read(&Packed::Map(vec![("b".into(), "x".into())]), &object).is_err());
        assert!(
            read(
                &Packed::Array(vec!["\"text\"".into(), "x".into()]),
                &Type::Dynamic
            )
            .is_err()
        );
        assert!(read(&Packed::Array(vec![1.into()]), &Type::Tuple(vec![])).is_err());
        assert!(matches!(
            Value::read(&[0xc0, 0xc0], &Type::Text),
            Err(ValueError::Trailing)
        ));
        assert!(matches!(
            Value::read(&[], &Type::Text),
            Err(ValueError::Unreadable(_))
        ));
    }

    #[test]
    fn an_object_is_written_with_all_its_attributes() {
        let kind = Type::Object([("a".to_owned(), Type::Text), ("b".to_owned(), Type::Bool)].into());
        let bytes = Value::Map([("b".to_owned(), true.into())].into()).write(&kind);
        assert_eq!(bytes, [0x82, 0xa1, b'a', 0xc0, 0xa1, b'b', 0xc3]);
    }

    fn kinds() -> impl Strategy<Value = Type> {
        let plain = prop_oneof![
            Just(Type::Bool),
            Just(Type::Number),
            Just(Type::Text),
            Just(Type::Dynamic)
        ];
        plain.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(|kind| Type::List(Box::new(kind))),
                inner.clone().prop_map(|kind| Type::Set(Box::new(kind))),
                inner.clone().prop_map(|kind| Type::Map(Box::new(kind))),
                prop::collection::btree_map("[a-z]{1,3}", inner.clone(), 0..3).prop_map(Type::Object),
                prop::collection::vec(inner, 0..3).prop_map(Type::Tuple),
            ]
        })
    }

    fn values(kind: &Type) -> BoxedStrategy<Value> {
        let there = match kind {
            Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
            Type::Number => prop_oneof![
                any::<i64>().prop_map(|integer| number(&integer.to_string())),
                any::<u64>().prop_map(Value::from),
                any::<u128>().prop_map(|integer| number(&integer.to_string())),
                "-?[1-9][0-9]{0,30}\\.[0-9]{0,30}[1-9]".prop_map(|digits| number(&digits)),
            ]
            .boxed(),
            Type::Text => any::<String>().prop_map(Value::Text).boxed(),
            Type::Dynamic => prop_oneof![Just(Type::Text), Just(Type::Number), Just(Type::text_map())]
                .prop_flat_map(|kind| {
                    values(&kind).prop_map(move |value| Value::Dynamic(kind.clone(), Box::new(value)))
                })
                .boxed(),
            Type::List(element) | Type::Set(element) => prop::collection::vec(values(element), 0..4)
                .prop_map(Value::List)
                .boxed(),
            Type::Map(element) => prop::collection::btree_map(any::<String>(), values(element), 0..4)
                .prop_map(Value::Map)
                .boxed(),
            Type::Object(kinds) => {
                let attributes: Vec<_> = kinds
                    .iter()
                    .map(|(name, kind)| {
                        values(kind).prop_map({
                            let name = name.clone();
                            move |value| (name.clone(), value)
                        })
                    })
                    .collect();
                attributes
                    .prop_map(|attributes| Value::Map(attributes.into_iter().collect()))
                    .boxed()
            }
            Type::Tuple(kinds) => {
                let elements: Vec<_> = kinds.iter().map(values).collect();
                elements.prop_map(Value::List).boxed()
            }
        };
        prop_oneof![1 => Just(Value::Null), 1 => Just(Value::Unknown), 6 => there].boxed()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            (kind, value) in kinds().prop_flat_map(|kind| {
                let values = values(&kind);
                (Just(kind), values)
            })
        ) {
            prop_assert_eq!(Type::parse(&kind.to_bytes()).unwrap(), kind.clone());
            prop_assert_eq!(Value::read(&value.write(&kind), &kind).unwrap(), value);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), kind in kinds()) {
            let _ = Value::read(&bytes, &kind);
        }
    }
}
