//! Values that are spelled as a string in JSON: written by `Display`, read by `FromStr`, so one spelling serves both.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Error, Visitor};

/// Gives `$name` serde by its `Display` and `FromStr`.
macro_rules! spelled_as_text {
    ($name:ty, $expected:literal) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str($crate::text::Spelled::new($expected))
            }
        }
    };
}
pub(crate) use spelled_as_text;

/// `bytes` in lower-case hex, spelled into `room`.
///
/// A head spells a hundred digests; byte by byte through [`fmt`] that took a quarter of a write.
///
/// # Panics
/// If `room` is not twice as long as `bytes`.
pub(crate) fn as_hex<'a>(bytes: &[u8], room: &'a mut [u8]) -> &'a str {
    hex::encode_to_slice(bytes, room).expect("the room is twice as long as the bytes");
    str::from_utf8(room).expect("hex digits are ASCII")
}

/// The visitor behind [`spelled_as_text`].
pub(crate) struct Spelled<T> {
    expected: &'static str,
    value: PhantomData<T>,
}

impl<T> Spelled<T> {
    pub(crate) fn new(expected: &'static str) -> Self {
        Self {
            expected,
            value: PhantomData,
        }
    }
}

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Spelled<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}
