//! Locks as their holders describe them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::keys::OneOf;
use crate::limits::{LOCK_BODY_BYTES_MAX, LOCK_ID_BYTES_MAX};
use crate::text::spelled_as_text;

/// What a lock is known by: whoever can say it may act as the holder.
///
/// Holding one proves that it is short and can stand in a line of a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockId(Arc<str>);

/// Why a lock id or a description of a lock is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// There is no id, or it is empty.
    #[error("a lock needs an `ID` that is not empty")]
    NoId,
    /// The id is longer than [`LOCK_ID_BYTES_MAX`].
    #[error("a lock id has at most {LOCK_ID_BYTES_MAX} bytes, this one has {bytes}")]
    IdTooLong {
        /// How long it is.
        bytes: usize,
    },
    /// The id contains a control character.
    #[error("a lock id cannot contain control characters")]
    IdControlCharacter,
    /// The body is larger than [`LOCK_BODY_BYTES_MAX`].
    #[error("the description of a lock has at most {LOCK_BODY_BYTES_MAX} bytes, this one has {bytes}")]
    TooLarge {
        /// How large it is.
        bytes: usize,
    },
    /// The body is not one JSON object.
    #[error("the description of a lock must be one JSON object (line {line}, column {column})")]
    NotAnObject {
        /// Where reading ended, counted from 1.
        line: usize,
        /// The column there.
        column: usize,
    },
    /// A field that must be a string is not.
    #[error("`{key}` of a lock must be a string")]
    NotAString {
        /// Which, as Terraform spells it.
        key: &'static str,
    },
}

impl LockId {
    /// Reads a lock id.
    ///
    /// # Errors
    /// If it is empty, over [`LOCK_ID_BYTES_MAX`] bytes, or contains control characters.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        if text.is_empty() {
            return Err(LockError::NoId);
        }
        if text.len() > LOCK_ID_BYTES_MAX {
            return Err(LockError::IdTooLong { bytes: text.len() });
        }
        if text.contains(char::is_control) {
            return Err(LockError::IdControlCharacter);
        }
        Ok(Self(text.into()))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a UUID with its hyphens, as clients make them: then it never locks twice.
    #[must_use]
    pub fn is_uuid(&self) -> bool {
        self.0.len() == uuid::fmt::Hyphenated::LENGTH && uuid::Uuid::try_parse(&self.0).is_ok()
    }
}

impl fmt::Display for LockId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for LockId {
    type Err = LockError;

    fn from_str(text: &str) -> Result<Self, LockError> {
        Self::parse(text)
    }
}

spelled_as_text!(LockId, "a lock id");

/// What a writer claims to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holding {
    /// No lock: it may write while nobody holds one.
    Nothing,
    /// The lock of this id.
    Lock(LockId),
    /// Whatever lock this session has taken through the lock file. S3 clients name no lock when they write: with its lock
    /// the session is the holder, and without one it may write while nobody holds one. A session whose lock was broken
    /// may not, until it has taken another.
    Session(Signed),
}

/// Who an S3 client is among those of one person: what tells two jobs with the same credentials apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CredentialSession(Arc<str>);

impl CredentialSession {
    /// The session of that name; the door that proved it has checked its spelling.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Everybody who signs nothing: where nobody is asked who they are, all S3 clients are one.
    #[must_use]
    pub fn of_nobody() -> Self {
        Self::new("")
    }

    /// Whether it is one client, and not all that sign nothing.
    #[must_use]
    pub fn is_somebody(&self) -> bool {
        !self.0.is_empty()
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CredentialSession {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A request of a session, signed by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The session.
    pub session: CredentialSession,
    /// When it was signed, by the clock of the client; none where nobody signs.
    pub at: Option<Timestamp>,
    /// What the client calls the request; its retries are called the same.
    pub invocation: Option<String>,
}

/// What a holder says of itself, as `terraform` shows it to whoever is kept waiting. All but the id is only shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockInfo {
    /// The lock's id.
    pub id: LockId,
    /// What it is held for, such as `OperationTypeApply`.
    #[serde(default)]
    pub operation: String,
    /// Anything the holder had to say.
    #[serde(default)]
    pub info: String,
    /// Who holds it, such as `alice@laptop`.
    #[serde(default)]
    pub who: String,
    /// The version of the client.
    #[serde(default)]
    pub version: String,
    /// Since when, by the holder's clock and in its spelling.
    #[serde(default)]
    pub created: String,
    /// What is locked, as the client calls it; empty over http.
    #[serde(default)]
    pub path: String,
}

/// The keys of a lock, in lower case, as [`OneOf`] wants them.
const KEYS: &[&str] = &["id", "operation", "info", "who", "version", "created", "path"];

impl LockInfo {
    /// The description of a lock of which only the id is known.
    #[must_use]
    pub fn of(id: LockId) -> Self {
        let empty = String::new;
        Self {
            id,
            operation: empty(),
            info: empty(),
            who: empty(),
            version: empty(),
            created: empty(),
            path: empty(),
        }
    }

    /// Reads what a client sent.
    ///
    /// Keys are matched as Go's decoder does it, whatever their case: Terraform writes `ID` and `Who`, others `id` and
    /// `who`. Of a repeated key the last counts, `null` is as good as nothing, unknown keys are ignored.
    ///
    /// # Errors
    /// If the body is too large, is not one JSON object, has no usable id, or has something other than a string
    /// under a key of a lock.
    pub fn from_json(bytes: &[u8]) -> Result<Self, LockError> {
        if bytes.len() > LOCK_BODY_BYTES_MAX {
            return Err(LockError::TooLarge { bytes: bytes.len() });
        }
        let said: Said = serde_json::from_slice(bytes).map_err(|error| LockError::NotAnObject {
            line: error.line(),
            column: error.column(),
        })?;
        let id = said.text("id", "ID")?;
        Ok(Self {
            operation: said.text("operation", "Operation")?,
            info: said.text("info", "Info")?,
            who: said.text("who", "Who")?,
            version: said.text("version", "Version")?,
            created: said.text("created", "Created")?,
            path: said.text("path", "Path")?,
            id: LockId::parse(&id)?,
        })
    }

    /// The description as Terraform and OpenTofu write and read it.
    ///
    /// They read `Created` as a time and give up on the whole description if it is none, so whatever else stands
    /// there goes out as Go's zero time.
    #[must_use]
    pub fn to_terraform_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Spelled<'a> {
            #[serde(rename = "ID")]
            id: &'a LockId,
            operation: &'a str,
            info: &'a str,
            who: &'a str,
            version: &'a str,
            created: Cow<'a, str>,
            path: &'a str,
        }
        let spelled = Spelled {
            id: &self.id,
            operation: &self.operation,
            info: &self.info,
            who: &self.who,
            version: &self.version,
            created: time_for_go(&self.created),
            path: &self.path,
        };
        serde_json::to_vec(&spelled).expect("strings are JSON")
    }
}

/// The fields of a lock that a body had, by their place in [`KEYS`].
#[derive(Default)]
struct Said([Field; KEYS.len()]);

impl Said {
    fn text(&self, key: &str, shown: &'static str) -> Result<String, LockError> {
        let field = KEYS
            .iter()
            .position(|known| *known == key)
            .and_then(|at| self.0.get(at));
        match field {
            Some(Field::Text(text)) => Ok(text.clone()),
            Some(Field::Other) => Err(LockError::NotAString { key: shown }),
            Some(Field::Null) | None => Ok(String::new()),
        }
    }
}

impl<'de> Deserialize<'de> for Said {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Said;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Said, A::Error> {
                let mut said = Said::default();
                while let Some(key) = map.next_key_seed(OneOf(KEYS))? {
                    let Some(at) = key.and_then(|key| KEYS.iter().position(|known| *known == key)) else {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    };
                    match map.next_value()? {
                        Field::Null => {}
                        field => said.0[at] = field,
                    }
                }
                Ok(said)
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

/// What stood under a key of a lock.
#[derive(Default)]
enum Field {
    #[default]
    Null,
    Text(String),
    Other,
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Field;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("anything")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Field, E> {
                Ok(Field::Text(text.to_owned()))
            }

            fn visit_unit<E: Error>(self) -> Result<Field, E> {
                Ok(Field::Null)
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Field, E> {
                Ok(Field::Other)
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<Field, E> {
                Ok(Field::Other)
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Field, E> {
                Ok(Field::Other)
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Field, E> {
                Ok(Field::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Field, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Field::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Field::Other)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// Go's zero time, which is also what OpenTofu sends when it knows none.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// A time that Go's decoder takes: the same text if it does already, else the same moment, else the zero time.
fn time_for_go(text: &str) -> Cow<'_, str> {
    let Ok(time) = text.parse::<Timestamp>() else {
        return ZERO_TIME.into();
    };
    if is_rfc3339(text) {
        return text.into();
    }
    let spelled = time.to_string();
    if is_rfc3339(&spelled) {
        spelled.into()
    } else {
        ZERO_TIME.into()
    }
}

/// Whether a text that is some spelling of a time is RFC 3339's, which is the only one Go takes.
fn is_rfc3339(text: &str) -> bool {
    let Some((date_time, rest)) = text.as_bytes().split_at_checked("0001-01-01T00:00:00".len()) else {
        return false;
    };
    let shaped = date_time
        .iter()
        .zip(b"0000-00-00T00:00:00")
        .all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            mark => byte == mark,
        });
    // Rust's reader takes leap seconds and offsets of over a day; Go's does not.
    let second_exists = !date_time.ends_with(b"60");
    let zone = match rest.strip_prefix(b".") {
        Some(fraction) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return false;
            }
            &fraction[digits..]
        }
        None => rest,
    };
    let zone_exists = match zone {
        b"Z" => true,
        [b'+' | b'-', hours @ .., b':', b'0'..=b'5', b'0'..=b'9'] => {
            matches!(hours, [b'0' | b'1', b'0'..=b'9'] | [b'2', b'0'..=b'3'])
        }
        _ => false,
    };
    shaped && second_exists && zone_exists
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const UUID: &str = "9db590f1-b6fe-c5f2-2678-8804f089deba";

    /// What terraform 1.11.4 sends.
    fn terraforms() -> String {
        format!(
            r#"{{"ID":"{UUID}","Operation":"OperationTypeApply","Info":"","Who":"alice@laptop","Version":"1.11.4","Created":"2026-11-22T07:12:53.946393766Z","Path":""}}"#
        )
    }

    fn id(text: &str) -> LockId {
        LockId::parse(text).unwrap()
    }

    #[test]
    fn terraforms_description_is_read_and_goes_back_byte_for_byte() {
        let info = LockInfo::from_json(terraforms().as_bytes()).unwrap();
        assert_eq!(info.id.as_str(), UUID);
        assert_eq!(info.operation, "OperationTypeApply");
        assert_eq!(info.who, "alice@laptop");
        assert_eq!(info.version, "1.11.4");
        assert_eq!(info.created, "2026-11-22T07:12:53.946393766Z");
        assert_eq!((info.info.as_str(), info.path.as_str()), ("", ""));
        assert_eq!(String::from_utf8(info.to_terraform_json()).unwrap(), terraforms());
    }

    #[test]
    fn opentofus_force_unlock_names_the_id_and_nothing_else() {
        let body = format!(
            r#"{{"ID":"{UUID}","Operation":"","Info":"","Who":"","Version":"","Created":"0001-01-01T00:00:00Z","Path":""}}"#
        );
        let info = LockInfo::from_json(body.as_bytes()).unwrap();
        assert_eq!(
            info,
            LockInfo {
                created: ZERO_TIME.to_owned(),
                ..LockInfo::of(id(UUID))
            }
        );
        assert_eq!(String::from_utf8(info.to_terraform_json()).unwrap(), body);
    }

    #[test]
    fn the_seeds_description_in_lower_case_is_read() {
        let info =
            LockInfo::from_json(br#"{"id": "lock-uuid", "who": "user@host", "version": "1.0.0"}"#).unwrap();
        let expected = LockInfo {
            who: "user@host".to_owned(),
            version: "1.0.0".to_owned(),
            ..LockInfo::of(id("lock-uuid"))
        };
        assert_eq!(info, expected);
    }

    #[test]
    fn keys_are_read_as_gos_decoder_reads_them() {
        let id_of = |body: &str| LockInfo::from_json(body.as_bytes()).map(|info| info.id.to_string());
        assert_eq!(id_of(r#"{"iD":"a"}"#).unwrap(), "a");
        assert_eq!(
            id_of(r#"{"ID":"a","id":"b"}"#).unwrap(),
            "b",
            "the last one counts"
        );
        assert_eq!(
            id_of(r#"{"ID":"a","ID":null}"#).unwrap(),
            "a",
            "null changes nothing"
        );
        assert_eq!(
            id_of(r#"{"\u0049D":"a"}"#).unwrap(),
            "a",
            "an escape in a key is the letter"
        );
        assert_eq!(
            id_of(r#" {"ID":"a","\ud800":{"ID":7},"x":[[{}]]} "#).unwrap(),
            "a",
            "the unknown is ignored"
        );
        assert_eq!(id_of(r#"{"ID":1,"ID":"a"}"#).unwrap(), "a");
    }

    #[test]
    fn a_field_of_the_wrong_type_is_named() {
        let shown = ["ID", "Operation", "Info", "Who", "Version", "Created", "Path"];
        for key in shown {
            for value in ["1", "-1", "1.5", "true", "[\"a\"]", "{\"a\":1}", "[]"] {
                let key_as_sent = key.to_lowercase();
                let body = if key == "ID" {
                    format!(r#"{{"{key_as_sent}":{value}}}"#)
                } else {
                    format!(r#"{{"ID":"a","{key_as_sent}":{value}}}"#)
                };
                assert_eq!(
                    LockInfo::from_json(body.as_bytes()),
                    Err(LockError::NotAString { key }),
                    "{body}"
                );
            }
        }
    }

    #[test]
    fn a_lock_without_an_id_is_none() {
        for body in ["{}", r#"{"ID":""}"#, r#"{"ID":null}"#, r#"{"Who":"alice"}"#] {
            assert_eq!(
                LockInfo::from_json(body.as_bytes()),
                Err(LockError::NoId),
                "{body}"
            );
        }
        assert_eq!(
            LockInfo::from_json(br#"{"ID":"a\nb"}"#),
            Err(LockError::IdControlCharacter)
        );
        let long = format!(r#"{{"ID":"{}"}}"#, "a".repeat(256));
        assert_eq!(
            LockInfo::from_json(long.as_bytes()),
            Err(LockError::IdTooLong { bytes: 256 })
        );
    }

    #[test]
    fn junk_is_no_lock() {
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(
            LockInfo::from_json(deep.as_bytes()),
            Err(LockError::NoId),
            "depth is no reason to fall over"
        );
        let junk: [&[u8]; 11] = [
            b"",
            b" ",
            b"null",
            b"7",
            b"[]",
            b"\"lock\"",
            b"{",
            b"{\"ID\":\"a\"",
            b"{\"ID\":\"a\"} x",
            b"{\"ID\":\"\xff\"}",
            b"{ID:'a'}",
        ];
        for body in junk {
            let refused = LockInfo::from_json(body);
            assert!(
                matches!(refused, Err(LockError::NotAnObject { .. })),
                "{body:?}: {refused:?}"
            );
        }
    }

    #[test]
    fn a_description_may_be_just_as_large_as_the_limit() {
        let body = |bytes: usize| format!(r#"{{"ID":"a","Info":"{}"}}"#, "i".repeat(bytes - 20));
        let largest = body(LOCK_BODY_BYTES_MAX);
        assert_eq!(largest.len(), LOCK_BODY_BYTES_MAX);
        assert!(LockInfo::from_json(largest.as_bytes()).is_ok());
        let too_large = body(LOCK_BODY_BYTES_MAX + 1);
        assert_eq!(
            LockInfo::from_json(too_large.as_bytes()),
            Err(LockError::TooLarge { bytes: 16_385 })
        );
    }

    #[test]
    fn a_time_goes_out_in_a_spelling_that_go_reads() {
        let spellings = [
            ("2026-11-22T07:12:53Z", "2026-11-22T07:12:53Z"),
            (
                "2026-11-22T07:12:53.946393766+01:00",
                "2026-11-22T07:12:53.946393766+01:00",
            ),
            ("2026-11-22t07:12:53z", "2026-11-22T07:12:53Z"),
            ("2026-11-22 07:12:53+01", "2026-11-22T06:12:53Z"),
            ("2026-11-22T07:12:53+01:00[Europe/Paris]", "2026-11-22T06:12:53Z"),
            ("2026-11-22T07:12:53,5Z", "2026-11-22T07:12:53.5Z"),
            ("2026-11-22T07:12:53+24:30", "2026-11-21T06:42:53Z"),
            ("-000001-01-01T00:00:00Z", ZERO_TIME),
            ("yesterday", ZERO_TIME),
            ("2026-11-22", ZERO_TIME),
            ("2026-02-30T00:00:00Z", ZERO_TIME),
            ("", ZERO_TIME),
        ];
        for (sent, expected) in spellings {
            assert_eq!(time_for_go(sent), expected, "{sent:?}");
        }
    }

    #[test]
    fn a_lock_in_our_own_json_has_lower_case_names_and_needs_only_its_id() {
        let info = LockInfo {
            who: "alice".to_owned(),
            ..LockInfo::of(id("a"))
        };
        let value = json!({
            "id": "a", "operation": "", "info": "", "who": "alice", "version": "", "created": "", "path": "",
        });
        assert_eq!(serde_json::to_value(&info).unwrap(), value);
        assert_eq!(
            serde_json::from_value::<LockInfo>(json!({"id": "a", "who": "alice"})).unwrap(),
            info
        );
        assert!(serde_json::from_value::<LockInfo>(json!({"id": ""})).is_err());
        assert!(serde_json::from_value::<LockInfo>(json!({"who": "alice"})).is_err());
    }

    #[test]
    fn only_a_uuid_with_its_hyphens_is_one() {
        assert!(id(UUID).is_uuid());
        assert!(id(&UUID.to_uppercase()).is_uuid());
        for other in [
            &UUID.replace('-', ""),
            &format!("{{{UUID}}}"),
            "by-hand",
            &UUID.replace('9', "g"),
        ] {
            assert!(!id(other).is_uuid(), "{other}");
        }
    }

    #[test]
    fn a_lock_id_is_between_one_byte_and_the_limit() {
        assert_eq!(LockId::parse(""), Err(LockError::NoId));
        assert!(LockId::parse(&"a".repeat(LOCK_ID_BYTES_MAX)).is_ok());
        assert_eq!(
            LockId::parse(&"a".repeat(256)),
            Err(LockError::IdTooLong { bytes: 256 })
        );
        assert_eq!(LockId::parse("a\rb"), Err(LockError::IdControlCharacter));
        assert_eq!(id("ünlock me 🌮").as_str(), "ünlock me 🌮");
    }

    proptest! {
        #[test]
        fn whatever_a_holder_says_comes_back_in_terraforms_spelling(
            lock in "[^\\p{C}]{1,40}", operation: String, who: String, path: String,
        ) {
            let info = LockInfo { operation, who, path, created: ZERO_TIME.to_owned(), ..LockInfo::of(id(&lock)) };
            prop_assert_eq!(LockInfo::from_json(&info.to_terraform_json()), Ok(info));
        }
    }
}
