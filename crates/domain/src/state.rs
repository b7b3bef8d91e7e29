//! What is read from a state, and the one change ever made to one.
//!
//! A state is bytes, and bytes are sacred. It is read once, in place, and never as a tree: a tree of a 100 MB state
//! takes 500 MB. Whatever reads oddly in it is left to Terraform to judge; only what is no JSON object is refused.
//! No error quotes a state: they hold secrets, and errors go to logs.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::graph::Digest;
use crate::keys::OneOf;
use crate::limits::{OUTPUT_DIGEST_BYTES_MAX, OUTPUTS_DIGEST_BYTES_MAX, STATE_FIELD_BYTES_MAX};

const SERIAL: &str = "serial";
const LINEAGE: &str = "lineage";
const TERRAFORM_VERSION: &str = "terraform_version";
const ENCRYPTED_DATA: &str = "encrypted_data";
const OUTPUTS: &str = "outputs";

/// The digests of a state's outputs, by name; none for a value that has none ([`Digest::of`]).
pub type OutputDigests = BTreeMap<String, Option<Digest>>;

/// What a state says of itself. A field is `None` where it is missing or is not what Terraform writes there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateSummary {
    /// Counts the changes. Of an encrypted state it is what stands outside of the sealed part.
    pub serial: Option<u64>,
    /// Which states descend from one another.
    pub lineage: Option<String>,
    /// The client that wrote it.
    pub terraform_version: Option<String>,
    /// Whether it is one of OpenTofu's encrypted states, of which we can read no more.
    pub encrypted: bool,
    /// Digests of the values of its outputs. Empty for a state that has none, or none that can be read.
    pub outputs: OutputDigests,
}

/// Why bytes are no state, or cannot be given another serial.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// There is nothing but white space, if that.
    #[error("the state is empty")]
    Empty,
    /// It is not text.
    #[error("the state is not UTF-8 from byte {at} on")]
    NotUtf8 {
        /// How many bytes before are text.
        at: usize,
    },
    /// It starts as something else, such as an array.
    #[error("the state is not a JSON object")]
    NotAnObject,
    /// The object does not end.
    #[error("the state is cut off after {bytes} bytes")]
    Truncated {
        /// How many there are.
        bytes: usize,
    },
    /// The object is malformed, or something follows it.
    #[error("the state is not valid JSON at line {line}, column {column}")]
    NotJson {
        /// The line, counted from 1.
        line: usize,
        /// The column, counted in bytes.
        column: usize,
    },
    /// The serial of an encrypted state is sealed in it; with another one outside, OpenTofu would refuse it.
    #[error("the state is encrypted, and its serial with it")]
    Encrypted,
}

impl StateSummary {
    /// Reads a state, as Go's decoder would: keys match whatever their case, and the last of a repeated key counts.
    ///
    /// # Errors
    /// If the bytes are not one JSON object.
    pub fn read(bytes: &[u8]) -> Result<Self, StateError> {
        let mut summary = Self::default();
        for_each_field(bytes, |name, value| match (name, value) {
            (ENCRYPTED_DATA, _) => summary.encrypted = true,
            // To Go's decoder, null changes nothing.
            (_, "null") => {}
            (SERIAL, value) => summary.serial = value.parse().ok(),
            (LINEAGE, value) => summary.lineage = short_string(value),
            (OUTPUTS, value) => summary.outputs = digests(value),
            (_, value) => summary.terraform_version = short_string(value),
        })?;
        Ok(summary)
    }
}

/// The same state with another serial, beside the one that is given. See [`set_serial`].
///
/// # Errors
/// As [`set_serial`].
pub fn with_serial(bytes: &[u8], serial: u64) -> Result<Vec<u8>, StateError> {
    let mut changed = bytes.to_vec();
    set_serial(&mut changed, serial)?;
    Ok(changed)
}

/// Gives a state another serial where it lies: the digits are replaced, every other byte stays as it is.
///
/// A state without a `serial` gets one, first thing. One that has several gets the new one under each: whichever a
/// reader takes, it is the same.
///
/// # Errors
/// If the bytes are not one JSON object, or are an encrypted state; they are as they were then.
pub fn set_serial(bytes: &mut Vec<u8>, serial: u64) -> Result<(), StateError> {
    let mut digits = serial.to_string();
    let mut places: Vec<Range<usize>> = Vec::new();
    let mut encrypted = false;
    for_each_field(bytes, |name, value| match name {
        ENCRYPTED_DATA => encrypted = true,
        SERIAL => {
            let at = value.as_ptr().addr() - bytes.as_ptr().addr();
            places.push(at..at + value.len());
        }
        _ => {}
    })?;
    if encrypted {
        return Err(StateError::Encrypted);
    }
    if places.is_empty() {
        let inside = start_of(bytes) + 1;
        let is_empty = bytes[inside..].trim_ascii_start().starts_with(b"}");
        digits = format!("\"{SERIAL}\":{digits}{}", if is_empty { "" } else { "," });
        places.push(inside..inside);
    }
    // A large state that grows by a digit is not to be moved to a place of twice its size.
    bytes.reserve_exact(digits.len() * places.len());
    for place in places.into_iter().rev() {
        bytes.splice(place, digits.bytes());
    }
    Ok(())
}

/// Calls `see` with the name and the raw value of each top-level field we know, in the order they come.
///
/// One pass, nothing copied, and no limit on how deep the rest is nested: it is skipped without recursion.
fn for_each_field<'a>(bytes: &'a [u8], see: impl FnMut(&'static str, &'a str)) -> Result<(), StateError> {
    let text = std::str::from_utf8(bytes).map_err(|error| StateError::NotUtf8 {
        at: error.valid_up_to(),
    })?;
    match bytes.get(start_of(bytes)) {
        None => return Err(StateError::Empty),
        Some(b'{') => {}
        Some(_) => return Err(StateError::NotAnObject),
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = Fields {
        see,
        text: PhantomData,
    }
    .deserialize(&mut reader)
    .and_then(|()| reader.end());
    read.map_err(|error| match error.is_eof() {
        true => StateError::Truncated { bytes: bytes.len() },
        false => StateError::NotJson {
            line: error.line(),
            column: error.column(),
        },
    })
}

/// Where the white space before a JSON value ends.
fn start_of(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
        .count()
}

/// The reader behind [`for_each_field`].
struct Fields<'a, F> {
    see: F,
    text: PhantomData<&'a str>,
}

impl<'a, F: FnMut(&'static str, &'a str)> DeserializeSeed<'a> for Fields<'a, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a, F: FnMut(&'static str, &'a str)> Visitor<'a> for Fields<'a, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        let known = OneOf(&[SERIAL, LINEAGE, TERRAFORM_VERSION, ENCRYPTED_DATA, OUTPUTS]);
        while let Some(name) = map.next_key_seed(known)? {
            match name {
                Some(name) => (self.see)(name, map.next_value::<&'a RawValue>()?.get()),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// The digests of outputs as a state has them: `{"vpc_id": {"value": "vpc-1", "type": "string"}}`.
fn digests(outputs: &str) -> OutputDigests {
    #[derive(Deserialize)]
    struct Output<'a> {
        #[serde(borrow)]
        value: Option<&'a RawValue>,
    }
    let all: BTreeMap<String, &RawValue> = serde_json::from_str(outputs).unwrap_or_default();
    let digest = |output: &RawValue| {
        let output: Output<'_> = serde_json::from_str(output.get()).ok()?;
        let value = output.value.map_or("null", RawValue::get);
        let is_short = value.len() <= OUTPUT_DIGEST_BYTES_MAX && outputs.len() <= OUTPUTS_DIGEST_BYTES_MAX;
        is_short.then(|| Digest::of(value).ok()).flatten()
    };
    all.into_iter()
        .map(|(name, output)| (name, digest(output)))
        .collect()
}

/// The string that a raw value is, if it is one and is short enough to stand in a head.
fn short_string(raw: &str) -> Option<String> {
    let string: String = serde_json::from_str(raw).ok()?;
    (string.len() <= STATE_FIELD_BYTES_MAX).then_some(string)
}

#[cfg(test)]
mod tests;
