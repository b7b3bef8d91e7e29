//! One sentence of a policy: who holds this may, or may not, do these actions to these units.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use globset::{Glob, GlobBuilder};
use serde::{Deserialize, Serialize};

use super::Action;
use crate::text::spelled_as_text;

/// How long a pattern may be, in bytes.
const PATTERN_BYTES_MAX: usize = 1024;

/// Whether a rule grants or takes away. A rule that takes away wins over every one that grants, in whatever role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It grants.
    #[default]
    Allow,
    /// It takes away.
    Deny,
}

/// A sentence of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Whether it grants or takes away.
    #[serde(default)]
    pub effect: Effect,
    /// Which actions it is about.
    pub actions: Vec<Actions>,
    /// Which units it is about; nothing for actions that are about no unit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<Pattern>,
    /// For `unit.read-outputs`: which outputs, by name. Nothing is all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Pattern>,
    /// For `unit.read-outputs`: whether outputs that are marked as sensitive are among them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sensitive: bool,
}

impl Rule {
    /// Whether it is about this action.
    #[must_use]
    pub fn is_about(&self, action: Action) -> bool {
        self.actions.iter().any(|actions| actions.include(action))
    }
}

/// One action, or several by a word: `unit.write`, `unit.*`, `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Actions {
    /// This one.
    One(Action),
    /// Everything that is done to a unit: `unit.*`.
    OnUnits,
    /// Everything: `*`.
    All,
}

impl Actions {
    fn include(self, action: Action) -> bool {
        match self {
            Self::One(one) => one == action,
            Self::OnUnits => action.is_on_a_unit(),
            Self::All => true,
        }
    }
}

impl fmt::Display for Actions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::One(action) => action.as_str(),
            Self::OnUnits => "unit.*",
            Self::All => "*",
        })
    }
}

/// The text names no action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no action; there are {}, `unit.*` and `*`", known())]
pub struct UnknownAction {
    text: String,
}

fn known() -> String {
    let names: Vec<String> = Action::ALL.iter().map(|action| format!("`{action}`")).collect();
    names.join(", ")
}

impl FromStr for Actions {
    type Err = UnknownAction;

    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        match text {
            "*" => Ok(Self::All),
            "unit.*" => Ok(Self::OnUnits),
            name => name.parse().map(Self::One),
        }
    }
}

spelled_as_text!(Actions, "the name of an action");

impl FromStr for Action {
    type Err = UnknownAction;

    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        let named = Self::ALL.into_iter().find(|action| action.as_str() == text);
        named.ok_or_else(|| UnknownAction {
            text: text.to_owned(),
        })
    }
}

spelled_as_text!(Action, "the name of an action");

/// A pattern over the segments of a name: `*` is anything within one segment, `**` any number of whole segments, `?` one
/// character, `[ab]` one of these, `{a,b}` either. A backslash takes the meaning from the character behind it.
///
/// `myapp/**` is what lies below `myapp`; `myapp/*` what lies directly below it; `**` is everything.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Arc<str>,
    glob: Glob,
}

/// The text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing is written there.
    #[error("a pattern cannot be empty; `**` is everything")]
    Empty,
    /// It is longer than a pattern may be.
    #[error("a pattern has at most {PATTERN_BYTES_MAX} bytes, this one has {bytes}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// It begins or ends with a slash, as no name does, and would match nothing.
    #[error("`{text}` begins or ends with a slash, as no unit does; leave it out, or write `{text}**`")]
    Slash {
        /// The pattern.
        text: String,
    },
    /// It is not well formed.
    #[error("`{text}` is no pattern: {reason}")]
    Malformed {
        /// The pattern.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Pattern {
    /// What it is made into, to be matched.
    pub(super) fn glob(&self) -> &Glob {
        &self.glob
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong { bytes: text.len() });
        }
        if text.starts_with('/') || (text.ends_with('/') && !text.ends_with("\\/")) {
            return Err(PatternError::Slash {
                text: text.to_owned(),
            });
        }
        let glob = GlobBuilder::new(text)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|error| PatternError::Malformed {
                text: text.to_owned(),
                reason: error.kind().to_string(),
            })?;
        Ok(Self {
            text: text.into(),
            glob,
        })
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

spelled_as_text!(Pattern, "a pattern such as `myapp/**`");

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        pattern
            .parse::<Pattern>()
            .unwrap()
            .glob()
            .compile_matcher()
            .is_match(name)
    }

    #[test]
    fn a_star_stays_in_its_segment_and_two_cross_them() {
        for (pattern, name, expected) in [
            ("myapp/*", "myapp/prod", true),
            ("myapp/*", "myapp/prod/eu", false),
            ("myapp/*", "myapp", false),
            ("myapp/**", "myapp/prod/eu", true),
            ("myapp/**", "myapp", false),
            ("myapp/**", "myapp2/prod", false),
            ("**", "a/b/c", true),
            ("**", "a", true),
            ("**/prod", "prod", true),
            ("**/prod", "a/b/prod", true),
            ("**/prod", "a/b/preprod", false),
            ("*", "a", true),
            ("*", "a/b", false),
            ("my?pp/{dev,prod}", "myapp/dev", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("env:/**", "env:/ws/key.tfstate", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "cannot be empty"),
            ("myapp/", "or write `myapp/**`"),
            ("/myapp", "slash"),
            ("[a", "unclosed"),
            ("{a", "unclosed"),
        ] {
            let error = text.parse::<Pattern>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let long = "a".repeat(PATTERN_BYTES_MAX + 1);
        assert!(matches!(
            long.parse::<Pattern>(),
            Err(PatternError::TooLong { .. })
        ));
    }

    #[test]
    fn actions_are_named_one_by_one_or_together() {
        let about = |word: &str, action| {
            let rule = Rule {
                effect: Effect::Allow,
                actions: vec![word.parse().unwrap()],
                units: Vec::new(),
                outputs: Vec::new(),
                sensitive: false,
            };
            rule.is_about(action)
        };
        assert!(about("unit.write", Action::Write));
        assert!(!about("unit.write", Action::Read));
        assert!(about("unit.*", Action::Delete));
        assert!(!about("unit.*", Action::ManageAccess));
        assert!(about("*", Action::ReadAudit));
        let error = "unit.wriet".parse::<Actions>().unwrap_err().to_string();
        assert!(
            error.contains("`unit.write`") && error.contains("unit.wriet"),
            "{error}"
        );
    }
}
