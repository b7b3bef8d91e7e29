//! What people wrote down of who may do what: permissions, roles, and who holds them.
//!
//! ```text
//! permission   a few rules under a name                     prod-write: allow unit.write, unit.lock on myapp/prod
//! role         a few permissions under a name               deployer:   prod-write, everything-read
//! member       a person, a group or a service account       user:alice@example.com holds deployer
//! ```
//!
//! It is one document, so that one compare-and-swap changes it, and a change is seen whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::rule::Rule;
use crate::text::spelled_as_text;

/// The format of the document that this code writes.
pub const FORMAT: u32 = 1;
/// How many rules a document may have in all.
pub const RULES_MAX: usize = 10_000;
/// How many members a document may have.
pub const MEMBERS_MAX: usize = 10_000;
/// How long a name may be, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// How long the name of a member may be, in bytes.
const MEMBER_BYTES_MAX: usize = 320;

/// The name of a role or of a permission: lower-case letters, digits, `-`, `_` and `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// The text can be no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no name for a role or a permission: up to {NAME_BYTES_MAX} lower-case letters, digits, `-`, `_` and `.`, a letter or digit first"
)]
pub struct NameError {
    text: String,
}

impl Name {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let fits = text.bytes().all(|byte| plain(byte) || b"-_.".contains(&byte));
        let begins = text.bytes().next().is_some_and(plain);
        if fits && begins && text.len() <= NAME_BYTES_MAX {
            Ok(Self(text.into()))
        } else {
            Err(NameError {
                text: text.chars().take(NAME_BYTES_MAX * 2).collect(),
            })
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

spelled_as_text!(Name, "the name of a role or of a permission");

/// Whom roles can be given to. Which kind it is stands before the name, so that nobody can call themselves a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// A person who logs in, by the name that the identity provider vouches for: `user:alice@example.com`.
    User(Arc<str>),
    /// Everybody whose identity provider says that they belong to it: `group:platform`.
    Group(Arc<str>),
    /// A service account: `service:deployer`.
    Service(Arc<str>),
}

/// The text names no member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// What kind of member is meant is not said.
    #[error("`{text}` does not say who is meant: write `user:{text}`, `group:{text}` or `service:{text}`")]
    Kind {
        /// What was written.
        text: String,
    },
    /// Its name is empty, too long, or cannot be shown.
    #[error(
        "the name of a member has between 1 and {MEMBER_BYTES_MAX} bytes and no control characters, which `{text}` has not"
    )]
    Name {
        /// What was written.
        text: String,
    },
}

impl Member {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::User(name) => ("user", name),
            Self::Group(name) => ("group", name),
            Self::Service(name) => ("service", name),
        }
    }
}

impl FromStr for Member {
    type Err = MemberError;

    fn from_str(text: &str) -> Result<Self, MemberError> {
        let shown = || {
            text.chars()
                .take(MEMBER_BYTES_MAX)
                .flat_map(char::escape_default)
                .collect()
        };
        let (kind, name) = text
            .split_once(':')
            .ok_or_else(|| MemberError::Kind { text: shown() })?;
        let make: fn(Arc<str>) -> Self = match kind {
            "user" => Self::User,
            "group" => Self::Group,
            "service" => Self::Service,
            _ => return Err(MemberError::Kind { text: shown() }),
        };
        if name.is_empty() || name.len() > MEMBER_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(MemberError::Name { text: shown() });
        }
        Ok(make(name.into()))
    }
}

impl fmt::Display for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = self.parts();
        write!(formatter, "{kind}:{name}")
    }
}

spelled_as_text!(Member, "a member such as `user:alice@example.com`");

/// A few rules under a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permission {
    /// What it is for, in people's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it says.
    pub rules: Vec<Rule>,
}

/// A few permissions under a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// What it is for, in people's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it holds.
    pub permissions: BTreeSet<Name>,
}

/// Who may do what, as it was written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Which format it is in: [`FORMAT`].
    pub format: u32,
    /// Permissions by name.
    #[serde(default)]
    pub permissions: BTreeMap<Name, Permission>,
    /// Roles by name.
    #[serde(default)]
    pub roles: BTreeMap<Name, Role>,
    /// Who holds which roles.
    #[serde(default)]
    pub members: BTreeMap<Member, BTreeSet<Name>>,
    /// Whether the root token opens nothing any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub root_disabled: bool,
}

impl Default for Document {
    fn default() -> Self {
        Self {
            format: FORMAT,
            permissions: BTreeMap::new(),
            roles: BTreeMap::new(),
            members: BTreeMap::new(),
            root_disabled: false,
        }
    }
}

impl Document {
    /// Whom a role is given to, and every role that somebody is given, has to be there.
    ///
    /// # Errors
    /// What does not hold together.
    pub fn check(&self) -> Result<(), DocumentError> {
        if self.format != FORMAT {
            return Err(DocumentError::Format { format: self.format });
        }
        let rules: usize = self
            .permissions
            .values()
            .map(|permission| permission.rules.len())
            .sum();
        if rules > RULES_MAX {
            return Err(DocumentError::TooManyRules { rules });
        }
        if self.members.len() > MEMBERS_MAX {
            return Err(DocumentError::TooManyMembers {
                members: self.members.len(),
            });
        }
        for (name, permission) in &self.permissions {
            for rule in &permission.rules {
                check_rule(name, rule)?;
            }
        }
        for (role, held) in &self.roles {
            if let Some(permission) = held
                .permissions
                .iter()
                .find(|name| !self.permissions.contains_key(*name))
            {
                return Err(DocumentError::NoPermission {
                    role: role.clone(),
                    permission: permission.clone(),
                });
            }
        }
        for (member, roles) in &self.members {
            if let Some(role) = roles.iter().find(|role| !self.roles.contains_key(*role)) {
                return Err(DocumentError::NoRole {
                    member: member.clone(),
                    role: role.clone(),
                });
            }
        }
        Ok(())
    }
}

fn check_rule(permission: &Name, rule: &Rule) -> Result<(), DocumentError> {
    let permission = permission.clone();
    if rule.actions.is_empty() {
        return Err(DocumentError::NoActions { permission });
    }
    let on_units = super::Action::ALL
        .into_iter()
        .any(|action| action.is_on_a_unit() && rule.is_about(action));
    if on_units && rule.units.is_empty() {
        return Err(DocumentError::NoUnits { permission });
    }
    Ok(())
}

/// A document that does not hold together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It was written by another version of this software.
    #[error("it has format {format}, and this version reads format {FORMAT}: use the version that wrote it")]
    Format {
        /// Its format.
        format: u32,
    },
    /// It has more rules than can be decided by quickly.
    #[error("it has {rules} rules; {RULES_MAX} is the most")]
    TooManyRules {
        /// How many.
        rules: usize,
    },
    /// It has more members than one document should.
    #[error("it has {members} members; {MEMBERS_MAX} is the most: give roles to groups")]
    TooManyMembers {
        /// How many.
        members: usize,
    },
    /// A rule is about nothing.
    #[error("a rule of permission `{permission}` names no action")]
    NoActions {
        /// Where.
        permission: Name,
    },
    /// A rule is about units, and about none of them.
    #[error("a rule of permission `{permission}` is about units and names none; `**` is all of them")]
    NoUnits {
        /// Where.
        permission: Name,
    },
    /// A role holds what is not there.
    #[error("role `{role}` holds permission `{permission}`, which does not exist")]
    NoPermission {
        /// The role.
        role: Name,
        /// What it holds.
        permission: Name,
    },
    /// Somebody is given what is not there.
    #[error("`{member}` holds role `{role}`, which does not exist")]
    NoRole {
        /// Who.
        member: Member,
        /// What they hold.
        role: Name,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(json: &str) -> Result<Document, String> {
        let document: Document = serde_json::from_str(json).map_err(|error| error.to_string())?;
        document.check().map_err(|error| error.to_string())?;
        Ok(document)
    }

    const SMALL: &str = r#"{
        "format": 1,
        "permissions": {"prod-write": {"rules": [{"actions": ["unit.write", "unit.lock"], "units": ["myapp/prod"]}]}},
        "roles": {"deployer": {"permissions": ["prod-write"]}},
        "members": {"user:alice@example.com": ["deployer"], "group:platform": ["deployer"], "service:ci": []}
    }"#;

    #[test]
    fn a_document_says_the_same_after_it_was_written_and_read() {
        let small = document(SMALL).unwrap();
        let written = serde_json::to_string(&small).unwrap();
        assert_eq!(document(&written).unwrap(), small);
        assert_eq!(small.members.len(), 3);
    }

    #[test]
    fn what_does_not_hold_together_is_refused_with_what_is_wrong() {
        for (from, to, reason) in [
            ("\"format\": 1", "\"format\": 2", "format 2"),
            (
                "[\"prod-write\"]",
                "[\"prod-wriet\"]",
                "permission `prod-wriet`, which does not exist",
            ),
            (
                "com\": [\"deployer\"]",
                "com\": [\"admin\"]",
                "`user:alice@example.com` holds role `admin`",
            ),
            ("[\"unit.write\", \"unit.lock\"]", "[]", "names no action"),
            (", \"units\": [\"myapp/prod\"]", "", "names none"),
            ("\"roles\":", "\"rolls\":", "rolls"),
            ("user:alice", "alice", "does not say who is meant"),
            ("\"deployer\": {", "\"De ployer\": {", "no name for a role"),
            ("unit.write", "unit.wriet", "`unit.wriet` is no action"),
            ("myapp/prod", "[", "no pattern"),
            ("\"actions\"", "\"effect\": \"maybe\", \"actions\"", "maybe"),
        ] {
            assert!(SMALL.contains(from), "{from}");
            let error = document(&SMALL.replace(from, to)).unwrap_err();
            assert!(error.contains(reason), "{to}: {error}");
        }
    }

    #[test]
    fn a_member_is_of_the_kind_that_stands_before_its_name_and_of_no_other() {
        let user: Member = "user:group:platform".parse().unwrap();
        assert_eq!(user, Member::User("group:platform".into()));
        assert_ne!(user, "group:platform".parse().unwrap());
        assert_eq!(user.to_string(), "user:group:platform");
        for wrong in ["alice", "robot:alice", "user:", "user:a\nb", ""] {
            assert!(wrong.parse::<Member>().is_err(), "{wrong:?}");
        }
    }
}
