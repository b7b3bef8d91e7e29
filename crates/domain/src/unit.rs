//! Names of units, in their two spellings.
//!
//! A unit id is a path, `myapp/prod`. It has two more spellings, and each leads back to the id and to no other:
//! the key of the state in the bucket, and one segment of a management URL.
//!
//! | id | key of its state | segment |
//! |---|---|---|
//! | `myapp/prod` | `myapp/prod/terraform.tfstate` | `myapp__prod` |
//! | `network/prod.tfstate` | `network/prod.tfstate` | `network__prod.tfstate` |
//! | `my_app/_x` | `my_app/_x/terraform.tfstate` | `my_app__%5Fx` |
//! | `__opentaco_system` | `__opentaco_system/terraform.tfstate` | `__opentaco_system` |

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use crate::limits::{UNIT_ID_BYTES_MAX, UNIT_SEGMENT_BYTES_MAX};
use crate::text::spelled_as_text;

/// The unit that holds the dependency graph: the one reserved name that is a unit.
pub const GRAPH_UNIT: &str = "__opentaco_system";

/// How every name of ours in a bucket begins.
pub const RESERVED: &str = "__opentaco_";

/// The end of a name that is itself the name of a state.
const STATE: &str = ".tfstate";

/// What a state is called below an id that does not name it itself.
const STATE_BELOW: &str = "/terraform.tfstate";

/// The name of a unit.
///
/// Holding one proves that it can be an object's key, that it is in its one spelling (`x`, never
/// `x/terraform.tfstate` nor `/x/`), and that it names nothing of ours but the graph.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId(Arc<str>);

/// Why a text is no unit id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitIdError {
    /// Nothing is left of it once the slashes around it are trimmed.
    #[error("a unit id cannot be empty")]
    Empty,
    /// The id is longer than [`UNIT_ID_BYTES_MAX`].
    #[error("a unit id has at most {UNIT_ID_BYTES_MAX} bytes, this one has {bytes}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// Two slashes in a row.
    #[error("a unit id cannot have an empty segment (`//`)")]
    EmptySegment,
    /// A segment is `.` or `..`.
    #[error("a unit id cannot have a segment `{segment}`")]
    DotSegment {
        /// Which of the two.
        segment: String,
    },
    /// A control character, such as a line feed.
    #[error("a unit id cannot contain control characters")]
    ControlCharacter,
    /// A segment is longer than [`UNIT_SEGMENT_BYTES_MAX`].
    #[error("a segment of a unit id has at most {UNIT_SEGMENT_BYTES_MAX} bytes, this one has {bytes}")]
    SegmentTooLong {
        /// How long it is.
        bytes: usize,
    },
    /// A segment before the last is the name of a state, which cannot be a folder too.
    #[error("only the last segment of a unit id can end in `.tfstate`, not `{segment}`")]
    BelowAState {
        /// The segment.
        segment: String,
    },
    /// The last segment is the name of a lock.
    #[error(
        "a unit id cannot end in `.lock` or `.tflock`, as `{segment}` does: those are the names of locks"
    )]
    LockName {
        /// The segment.
        segment: String,
    },
    /// A segment is one of those that end a unit's name below our own folders.
    #[error("a unit id cannot have a segment `{segment}`: it is a name of ours")]
    Marker {
        /// Which of them.
        segment: String,
    },
    /// It starts as every name of ours does.
    #[error("`{name}` is reserved: names that start with `__opentaco_` are ours")]
    Reserved {
        /// The name, as it was given.
        name: String,
    },
    /// In a URL: a `%` without two hex digits behind it.
    #[error("a `%` in an encoded unit id must be followed by two hex digits")]
    BadEscape,
    /// In a URL: the bytes it stands for are no text.
    #[error("an encoded unit id must be UTF-8")]
    NotUtf8,
}

impl UnitId {
    /// Reads an id as people write it: slashes around it are trimmed, `x/terraform.tfstate` is `x`.
    ///
    /// # Errors
    /// With the reason why `text` can be no unit's name.
    pub fn parse(text: &str) -> Result<Self, UnitIdError> {
        let text = text.trim_matches('/');
        if text.is_empty() {
            return Err(UnitIdError::Empty);
        }
        let (folders, _) = text.rsplit_once('/').unwrap_or_default();
        text.split('/').try_for_each(check_segment)?;
        if let Some(state) = folders.split('/').find(|segment| segment.ends_with(STATE)) {
            return Err(UnitIdError::BelowAState {
                segment: state.to_owned(),
            });
        }
        let id = text.strip_suffix(STATE_BELOW).unwrap_or(text);
        if id.len() > UNIT_ID_BYTES_MAX {
            return Err(UnitIdError::TooLong { bytes: id.len() });
        }
        let last = id.rsplit('/').next().unwrap_or(id);
        if last.ends_with(".lock") || last.ends_with(".tflock") {
            return Err(UnitIdError::LockName {
                segment: last.to_owned(),
            });
        }
        if id.starts_with(RESERVED) && id != GRAPH_UNIT {
            return Err(UnitIdError::Reserved { name: id.to_owned() });
        }
        Ok(Self(id.into()))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The unit that holds the dependency graph.
    #[must_use]
    pub fn graph() -> Self {
        Self(GRAPH_UNIT.into())
    }

    /// Whether it is ours: the graph unit, then.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(RESERVED)
    }

    /// The key of its state in the bucket, below the prefix.
    #[must_use]
    pub fn state_key(&self) -> String {
        if self.0.ends_with(STATE) {
            self.0.to_string()
        } else {
            format!("{}{STATE_BELOW}", self.0)
        }
    }

    /// The unit whose state has exactly this key; `None` if there cannot be one.
    #[must_use]
    pub fn from_state_key(key: &str) -> Option<Self> {
        if !key.ends_with(STATE) {
            return None;
        }
        Self::parse(key).ok().filter(|unit| unit.state_key() == key)
    }

    /// The id as one path segment of a management URL, percent-encoded.
    ///
    /// A `/` becomes `__`. So that the way back is certain, a `_` beside another one or at the edge of a segment is
    /// escaped.
    #[must_use]
    pub fn to_segment(&self) -> String {
        if self.is_reserved() {
            return self.0.to_string();
        }
        self.0.split('/').map(encode_part).collect::<Vec<_>>().join("__")
    }

    /// Reads the **raw** path segment of a management URL, as it was on the wire.
    ///
    /// # Errors
    /// If an escape in it is malformed, or with the reason why it can be no unit's name.
    pub fn from_segment(raw: &str) -> Result<Self, UnitIdError> {
        if raw.starts_with(RESERVED) {
            return Self::parse(raw);
        }
        let parts: Vec<_> = raw.split("__").map(decode_part).collect::<Result<_, _>>()?;
        Self::parse(&parts.join("/"))
    }
}

impl fmt::Display for UnitId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for UnitId {
    type Err = UnitIdError;

    fn from_str(text: &str) -> Result<Self, UnitIdError> {
        Self::parse(text)
    }
}

spelled_as_text!(UnitId, "a unit id");

/// The beginning of unit ids: of the string, not of whole segments, so `myapp/p` matches `myapp/prod`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UnitPrefix(String);

impl UnitPrefix {
    /// Reads a prefix; slashes before it are trimmed, an empty one matches every unit.
    ///
    /// # Errors
    /// If it contains a control character or is longer than an id can be.
    pub fn parse(text: &str) -> Result<Self, UnitIdError> {
        let prefix = text.trim_start_matches('/');
        if prefix.len() > UNIT_ID_BYTES_MAX {
            return Err(UnitIdError::TooLong { bytes: prefix.len() });
        }
        if prefix.contains(char::is_control) {
            return Err(UnitIdError::ControlCharacter);
        }
        Ok(Self(prefix.to_owned()))
    }

    /// The prefix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the id of `unit` begins with it.
    #[must_use]
    pub fn matches(&self, unit: &UnitId) -> bool {
        unit.as_str().starts_with(&self.0)
    }
}

impl fmt::Display for UnitPrefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What may stand between two slashes.
fn check_segment(segment: &str) -> Result<(), UnitIdError> {
    match segment {
        "" => return Err(UnitIdError::EmptySegment),
        "." | ".." => {
            return Err(UnitIdError::DotSegment {
                segment: segment.to_owned(),
            });
        }
        "@" | "@head.json" => {
            return Err(UnitIdError::Marker {
                segment: segment.to_owned(),
            });
        }
        _ => {}
    }
    if segment.contains(char::is_control) {
        return Err(UnitIdError::ControlCharacter);
    }
    if segment.len() > UNIT_SEGMENT_BYTES_MAX {
        return Err(UnitIdError::SegmentTooLong { bytes: segment.len() });
    }
    Ok(())
}

fn encode_part(part: &str) -> String {
    let bytes = part.as_bytes();
    let mut encoded = String::with_capacity(part.len());
    for (at, &byte) in bytes.iter().enumerate() {
        let alone = |neighbour: Option<&u8>| neighbour.is_some_and(|&byte| byte != b'_');
        let plain = match byte {
            b'_' => at > 0 && alone(bytes.get(at - 1)) && alone(bytes.get(at + 1)),
            other => other.is_ascii_alphanumeric() || matches!(other, b'-' | b'.' | b'~'),
        };
        if plain {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(percent_encoding::percent_encode_byte(byte));
        }
    }
    encoded
}

fn decode_part(part: &str) -> Result<String, UnitIdError> {
    let is_escape = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if !part.split('%').skip(1).all(is_escape) {
        return Err(UnitIdError::BadEscape);
    }
    match percent_decode_str(part).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(UnitIdError::NotUtf8),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn id(text: &str) -> UnitId {
        UnitId::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// Every string over `alphabet` of up to `length` characters.
    fn words(alphabet: &[char], length: u32) -> impl Iterator<Item = String> {
        let size = alphabet.len();
        (0..=length).flat_map(move |length| {
            (0..size.pow(length)).map(move |mut number| {
                let letter = |_| {
                    let letter = alphabet[number % size];
                    number /= size;
                    letter
                };
                (0..length).map(letter).collect()
            })
        })
    }

    /// Both spellings of every id among `words` lead back to it, and no two ids share one.
    fn prove_both_spellings(words: impl Iterator<Item = String>) -> usize {
        let mut ids_by_spelling: HashMap<String, UnitId> = HashMap::new();
        let mut ids = std::collections::HashSet::new();
        for word in words {
            let Ok(unit) = UnitId::parse(&word) else { continue };
            assert_eq!(id(unit.as_str()), unit, "{word} has one spelling");
            assert_eq!(
                UnitId::from_state_key(&unit.state_key()),
                Some(unit.clone()),
                "key of {word}"
            );

            let segment = unit.to_segment();
            assert_eq!(
                UnitId::from_segment(&segment),
                Ok(unit.clone()),
                "segment of {word}"
            );
            assert!(!segment.contains('/'), "{segment} is one segment");
            assert!(!segment.starts_with('_'), "{segment} can be no reserved name");

            for spelling in [format!("segment {segment}"), format!("key {}", unit.state_key())] {
                let other = ids_by_spelling
                    .entry(spelling.clone())
                    .or_insert_with(|| unit.clone());
                assert_eq!(*other, unit, "{spelling}");
            }
            ids.insert(unit);
        }
        ids.len()
    }

    #[test]
    fn every_name_over_a_underscore_and_slash_comes_back_from_both_spellings() {
        // Ids of n letters end in one of two letters, before which stands an id, or an id and a slash:
        // 2, 4, 12, 32, 88, 240, 656.
        assert_eq!(prove_both_spellings(words(&['a', '_', '/'], 7)), 1034);
    }

    #[test]
    fn every_name_with_percents_and_dots_comes_back_from_both_spellings() {
        assert!(prove_both_spellings(words(&['a', '_', '/', '%', '.'], 6)) > 10_000);
        assert!(prove_both_spellings(words(&['5', 'F', '_', '/', '%'], 6)) > 10_000);
    }

    #[test]
    fn every_segment_over_underscores_and_escapes_that_is_read_is_an_id_that_comes_back() {
        let pieces = ["a", "_", "%5F", "%2F", "%2f", "%25", "/", "__opentaco_"];
        let letters: Vec<char> = ('0'..).take(pieces.len()).collect();
        let mut read = 0;
        for word in words(&letters, 5) {
            let raw: String = word
                .bytes()
                .map(|letter| pieces[usize::from(letter - b'0')])
                .collect();
            if let Ok(unit) = UnitId::from_segment(&raw) {
                assert_eq!(UnitId::from_segment(&unit.to_segment()), Ok(unit), "{raw}");
                read += 1;
            }
        }
        assert!(read > 1_000, "{read} segments were read");
    }

    #[test]
    fn slashes_around_an_id_are_trimmed_and_its_state_names_it_too() {
        for spelling in [
            "myapp/prod",
            "/myapp/prod/",
            "///myapp/prod",
            "myapp/prod/terraform.tfstate",
            "/myapp/prod/terraform.tfstate/",
        ] {
            assert_eq!(id(spelling).as_str(), "myapp/prod", "{spelling}");
        }
        assert_eq!(
            id("terraform.tfstate").state_key(),
            "terraform.tfstate",
            "the state in a bucket's root"
        );
        assert_ne!(id("x"), id("X"));
    }

    #[test]
    fn what_is_in_buckets_already_is_adopted_in_place() {
        let keys = [
            (
                "live/eu-west-1/prod/vpc/terraform.tfstate",
                "live/eu-west-1/prod/vpc",
            ), // Terragrunt's layout
            ("env:/dev/network.tfstate", "env:/dev/network.tfstate"), // a workspace of the S3 backend
            ("env:/dev/app/terraform.tfstate", "env:/dev/app"),
            ("network/prod.tfstate", "network/prod.tfstate"),
            ("terraform.tfstate", "terraform.tfstate"),
            ("my app/a+b/c=d/~me/terraform.tfstate", "my app/a+b/c=d/~me"),
            ("größe/日本/🌮.tfstate", "größe/日本/🌮.tfstate"),
            ("100%/50%25/terraform.tfstate", "100%/50%25"),
            (".tfstate", ".tfstate"),
            ("a/.hidden/terraform.tfstate", "a/.hidden"),
            ("__opentaco_system/terraform.tfstate", GRAPH_UNIT),
            ("_opentaco_/terraform.tfstate", "_opentaco_"),
            ("a/__opentaco_units/terraform.tfstate", "a/__opentaco_units"),
        ];
        for (key, expected) in keys {
            let unit = UnitId::from_state_key(key).unwrap_or_else(|| panic!("{key} is a state"));
            assert_eq!(unit.as_str(), expected);
            assert_eq!(unit.state_key(), key);
            assert_eq!(
                UnitId::from_segment(&unit.to_segment()),
                Ok(unit),
                "segment of {key}"
            );
        }
    }

    #[test]
    fn a_key_that_is_no_state_of_a_unit_names_none() {
        let keys = [
            "",
            "/",
            "readme.md",
            "myapp/prod",
            "myapp/prod/terraform.tfstate.lock",
            "myapp/prod/terraform.tfstate.tflock",
            "myapp/prod/terraform.tfstate/",
            "/myapp/prod/terraform.tfstate",
            "myapp//terraform.tfstate",
            "/terraform.tfstate",
            "../terraform.tfstate",
            "a.tfstate/b.tfstate",
            "a/terraform.tfstate/terraform.tfstate",
            "a.lock/terraform.tfstate",
            "__opentaco_units/a/terraform.tfstate",
            "__opentaco_system.tfstate",
            "__opentaco_system/a/terraform.tfstate",
            "__opentaco_systematic/terraform.tfstate",
        ];
        for key in keys {
            assert_eq!(UnitId::from_state_key(key), None, "{key}");
        }
    }

    #[test]
    fn each_refusal_says_its_reason() {
        let segment = |text: &str| text.to_owned();
        let refusals = [
            ("", UnitIdError::Empty),
            ("///", UnitIdError::Empty),
            ("a//b", UnitIdError::EmptySegment),
            (
                ".",
                UnitIdError::DotSegment {
                    segment: segment("."),
                },
            ),
            (
                "a/../b",
                UnitIdError::DotSegment {
                    segment: segment(".."),
                },
            ),
            (
                "a/./b",
                UnitIdError::DotSegment {
                    segment: segment("."),
                },
            ),
            ("a\nb", UnitIdError::ControlCharacter),
            ("a\0", UnitIdError::ControlCharacter),
            ("a\u{7f}", UnitIdError::ControlCharacter),
            ("a\u{85}b", UnitIdError::ControlCharacter),
            (
                "a.tfstate/b",
                UnitIdError::BelowAState {
                    segment: segment("a.tfstate"),
                },
            ),
            (
                "x/terraform.tfstate/y",
                UnitIdError::BelowAState {
                    segment: segment("terraform.tfstate"),
                },
            ),
            (
                "x.tfstate/terraform.tfstate",
                UnitIdError::BelowAState {
                    segment: segment("x.tfstate"),
                },
            ),
            (
                "a/b.lock",
                UnitIdError::LockName {
                    segment: segment("b.lock"),
                },
            ),
            (
                "b.lock/terraform.tfstate",
                UnitIdError::LockName {
                    segment: segment("b.lock"),
                },
            ),
            (
                "x/terraform.tfstate.tflock",
                UnitIdError::LockName {
                    segment: segment("terraform.tfstate.tflock"),
                },
            ),
            (
                "a/@",
                UnitIdError::Marker {
                    segment: segment("@"),
                },
            ),
            (
                "@head.json/a",
                UnitIdError::Marker {
                    segment: segment("@head.json"),
                },
            ),
            (
                "__opentaco_units/a",
                UnitIdError::Reserved {
                    name: segment("__opentaco_units/a"),
                },
            ),
            (
                "__opentaco_system/a",
                UnitIdError::Reserved {
                    name: segment("__opentaco_system/a"),
                },
            ),
            (
                "/__opentaco_",
                UnitIdError::Reserved {
                    name: segment("__opentaco_"),
                },
            ),
        ];
        for (text, expected) in refusals {
            assert_eq!(UnitId::parse(text), Err(expected), "{text:?}");
        }
        assert_eq!(
            id("a/b.lock/c").as_str(),
            "a/b.lock/c",
            "only the last segment would be a lock"
        );
    }

    #[test]
    fn an_id_and_a_segment_of_it_may_be_just_as_long_as_the_limit() {
        let long_segment = "é".repeat(127) + "a";
        assert_eq!(long_segment.len(), UNIT_SEGMENT_BYTES_MAX);
        assert_eq!(id(&long_segment).as_str(), long_segment);
        let too_long = format!("a/{long_segment}a");
        assert_eq!(
            UnitId::parse(&too_long),
            Err(UnitIdError::SegmentTooLong { bytes: 256 })
        );

        let long_id = format!(
            "{}/{}/{}/{}",
            "a".repeat(199),
            "b".repeat(199),
            "c".repeat(199),
            "d".repeat(200)
        );
        assert_eq!(long_id.len(), UNIT_ID_BYTES_MAX);
        assert_eq!(
            UnitId::from_state_key(&id(&long_id).state_key()),
            Some(id(&long_id))
        );
        assert_eq!(
            UnitId::parse(&format!("{long_id}e")),
            Err(UnitIdError::TooLong { bytes: 801 })
        );
    }

    #[test]
    fn a_reserved_name_is_a_unit_only_if_it_is_the_graphs() {
        let graph = id("/__opentaco_system/");
        assert!(graph.is_reserved());
        assert_eq!(graph, id("__opentaco_system/terraform.tfstate"));
        assert_eq!(graph.to_segment(), "__opentaco_system");
        assert_eq!(UnitId::from_segment("%5F_opentaco_system"), Ok(graph));
        assert!(!id("_opentaco_system").is_reserved());
        for raw in [
            "__opentaco_tokens",
            "__opentaco_system__a",
            "__opentaco_%73ystem",
            "%5F%5Fopentaco_tokens",
        ] {
            assert!(
                matches!(UnitId::from_segment(raw), Err(UnitIdError::Reserved { .. })),
                "{raw}"
            );
        }
    }

    #[test]
    fn a_segment_is_spelled_as_the_design_says() {
        let spellings = [
            ("myapp/prod", "myapp__prod"),
            ("my_app/prod", "my_app__prod"),
            ("a__b", "a%5F%5Fb"),
            ("_a/b_", "%5Fa__b%5F"),
            ("_", "%5F"),
            ("a b/c+d", "a%20b__c%2Bd"),
            ("env:/dev", "env%3A__dev"),
            ("100%", "100%25"),
            ("é", "%C3%A9"),
            ("a-b.c~d", "a-b.c~d"),
        ];
        for (text, segment) in spellings {
            assert_eq!(id(text).to_segment(), segment);
            assert_eq!(UnitId::from_segment(segment), Ok(id(text)));
        }
    }

    #[test]
    fn a_segment_is_read_as_others_would_write_it() {
        let spellings = [
            ("myapp%2Fprod", "myapp/prod"),
            ("myapp%2fprod", "myapp/prod"),
            ("myapp/prod", "myapp/prod"),
            ("a___b", "a/_b"),
            ("__a__", "a"),
            ("a+b", "a+b"),
            ("%61", "a"),
            ("a__terraform.tfstate", "a"),
        ];
        for (raw, expected) in spellings {
            assert_eq!(UnitId::from_segment(raw), Ok(id(expected)), "{raw}");
        }
        for raw in ["%", "%5", "a%zz", "%%41", "%+1", "a%é"] {
            assert_eq!(UnitId::from_segment(raw), Err(UnitIdError::BadEscape), "{raw}");
        }
        assert_eq!(UnitId::from_segment("%ff"), Err(UnitIdError::NotUtf8));
        assert_eq!(UnitId::from_segment("a%0Ab"), Err(UnitIdError::ControlCharacter));
        assert!(matches!(
            UnitId::from_segment("a__%2E%2E"),
            Err(UnitIdError::DotSegment { .. })
        ));
        assert_eq!(UnitId::from_segment("a____b"), Err(UnitIdError::EmptySegment));
    }

    #[test]
    fn an_id_in_json_is_parsed_like_any_other() {
        assert_eq!(serde_json::to_string(&id("a/b")).unwrap(), r#""a/b""#);
        assert_eq!(serde_json::from_str::<UnitId>(r#""/a/b/""#).unwrap(), id("a/b"));
        assert!(
            serde_json::from_str::<UnitId>(r#""a//b""#)
                .unwrap_err()
                .to_string()
                .contains("empty segment")
        );
        assert!(serde_json::from_str::<UnitId>("1").is_err());
    }

    #[test]
    fn a_prefix_is_one_of_the_string_and_not_of_segments() {
        let prefix = UnitPrefix::parse("/myapp/p").unwrap();
        assert_eq!(prefix.as_str(), "myapp/p");
        assert!(prefix.matches(&id("myapp/prod")));
        assert!(!prefix.matches(&id("myapp")));
        assert!(!prefix.matches(&id("x/myapp/prod")));
        assert!(UnitPrefix::default().matches(&id("anything")));
        assert_eq!(UnitPrefix::parse("").unwrap(), UnitPrefix::default());
        assert!(!UnitPrefix::parse("myapp/").unwrap().matches(&id("myapp")));
        assert_eq!(UnitPrefix::parse("a\tb"), Err(UnitIdError::ControlCharacter));
        assert_eq!(
            UnitPrefix::parse(&"a".repeat(801)),
            Err(UnitIdError::TooLong { bytes: 801 })
        );
    }
}
