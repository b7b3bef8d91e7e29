//! The outputs of the current state, read while it streams by: of a large state nothing else is ever held.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufReader, Read};

use bytes::{Buf, Bytes};
use futures::StreamExt;
use opentaco_domain::UnitId;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::{ControlError, StateRead};

mod view;

pub(crate) use view::view_of;

/// One output of a state. Value and type are as they were written, digit for digit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Output {
    /// Its value.
    #[serde(default = "null")]
    pub value: Box<RawValue>,
    /// Its type, as Terraform spells types.
    #[serde(rename = "type", default)]
    pub kind: Option<Box<RawValue>>,
    /// Whether it was marked as one that is not to be shown.
    #[serde(default)]
    pub sensitive: bool,
}

/// How many pieces of a state wait to be read.
const PIECES_AHEAD: usize = 4;

/// Reads the outputs of a state, as [`StateControl::read_existing`](crate::StateControl::read_existing) opens it; with
/// `only`, keeps none but that one.
///
/// # Errors
/// [`ControlError::Encrypted`]; [`ControlError::Invalid`] if what is current is no state;
/// [`ControlError::Unavailable`] if it breaks off.
pub async fn outputs_of(
    unit: &UnitId,
    state: StateRead,
    only: Option<String>,
) -> Result<BTreeMap<String, Output>, ControlError> {
    Ok(found_in(unit, state, only).await?.outputs)
}

async fn found_in(unit: &UnitId, mut state: StateRead, only: Option<String>) -> Result<Found, ControlError> {
    let (pieces, arriving) = mpsc::channel(PIECES_AHEAD);
    let parse = tokio::task::spawn_blocking(move || parse(arriving, only));
    let mut broken = None;
    while let Some(piece) = state.body.next().await {
        match piece {
            Ok(piece) => {
                // Nobody listens any more: it was read to its end, or as far as it can be.
                if pieces.send(piece).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                broken = Some(error);
                break;
            }
        }
    }
    drop(pieces);
    let parsed = parse.await;
    if let Some(error) = broken {
        return Err(error);
    }
    match parsed {
        Ok(Ok(found)) if found.sealed => Err(ControlError::Encrypted { unit: unit.clone() }),
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(ControlError::Invalid {
            what: format!(
                "the current state of `{unit}` cannot be read for its outputs (line {}, column {})",
                error.line(),
                error.column()
            ),
        }),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is going away cancels it, and that takes this request with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// What was read of a state.
#[derive(Default)]
struct Found {
    outputs: BTreeMap<String, Output>,
    /// What else it says of itself, of [`ABOUT`].
    about: BTreeMap<&'static str, Box<RawValue>>,
    /// Whether it is encrypted.
    sealed: bool,
}

/// What a state says of itself beside its outputs and resources.
const ABOUT: [&str; 4] = ["version", "terraform_version", "serial", "lineage"];

fn parse(pieces: mpsc::Receiver<Bytes>, only: Option<String>) -> Result<Found, serde_json::Error> {
    let reader = BufReader::with_capacity(
        64 * 1024,
        Pieces {
            pieces,
            present: Bytes::new(),
        },
    );
    let mut reader = serde_json::Deserializer::from_reader(reader);
    reader.deserialize_map(Fields { only })
}

/// The pieces of a state as something to read from.
struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    present: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.present.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.present = piece,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.present.len());
        self.present.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

struct Fields {
    only: Option<String>,
}

impl<'de> Visitor<'de> for Fields {
    type Value = Found;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a state")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let mut found = Found::default();
        while let Some(name) = map.next_key::<String>()? {
            // Go matches keys whatever their case, and so do the clients that write states.
            let about = ABOUT.into_iter().find(|about| name.eq_ignore_ascii_case(about));
            if let Some(about) = about {
                found.about.insert(about, map.next_value()?);
            } else if name.eq_ignore_ascii_case("outputs") {
                let only = self.only.as_deref();
                found.outputs = map.next_value_seed(Wanted { only })?;
            } else {
                found.sealed |= name.eq_ignore_ascii_case("encrypted_data");
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// The outputs that are asked for.
struct Wanted<'a> {
    only: Option<&'a str>,
}

impl<'de> serde::de::DeserializeSeed<'de> for Wanted<'_> {
    type Value = BTreeMap<String, Output>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = BTreeMap<String, Output>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("outputs by their names")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut outputs = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if self.only.is_some_and(|only| only != name) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let output: Output = map
                .next_value()
                .map_err(|error| A::Error::custom(format_args!("an output: {error}")))?;
            outputs.insert(name, output);
        }
        Ok(outputs)
    }
}

fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}
