//! Who may do what: permissions, roles, and who holds them.

use std::collections::BTreeSet;

use opentaco_domain::access::document::{Permission, Role};
use opentaco_domain::access::rule::{Actions, Effect, Pattern, Rule};
use opentaco_domain::access::{Member, Name};
use opentaco_domain::{Action, Principal, UnitId};
use serde::{Deserialize, Serialize};

use crate::units::given;

/// The first administrators. Only the root token names them, and only once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Initialise {
    /// Who they are; at least one `user:`.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>, min_items = 1, example = json!(["user:ada@example.com"])))]
    pub administrators: Vec<Member>,
}

/// A role that somebody holds, and how they came to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HeldRole {
    /// The role.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub role: Name,
    /// Whom it was given to: the caller, or a group of theirs. Absent where the token itself says it, as a CI job's does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub by: Option<Member>,
}

/// What the caller holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MyRoles {
    /// Who is asking.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub principal: Principal,
    /// Whether roles were ever given to anybody. Until then only the root token opens anything.
    pub initialised: bool,
    /// Whether the caller may do everything without a role: the root token, or anybody where nobody is asked.
    pub everything: bool,
    /// What the caller holds.
    pub roles: Vec<HeldRole>,
}

/// Somebody, and the roles that were given to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Holder {
    /// Who: `user:`, `group:` or `service:`, and the name.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "group:platform"))]
    pub member: Member,
    /// Which.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub roles: BTreeSet<Name>,
}

/// Everybody who was given a role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Holders {
    /// In the order of their names.
    pub users: Vec<Holder>,
    /// How many.
    pub count: usize,
}

/// A sentence of a permission: whoever holds it may, or may not, do these actions to these units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AccessRule {
    /// `allow`, or `deny`, which wins over every `allow` in whatever role.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^(allow|deny)$"))]
    pub effect: Effect,
    /// Which actions: `unit.write`, `unit.*`, `*`, …
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>, min_items = 1, example = json!(["unit.read", "unit.write"])))]
    pub actions: Vec<Actions>,
    /// Which units, as patterns over the segments of their names: `myapp/prod`, `myapp/*`, `**`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>, example = json!(["myapp/**"])))]
    pub units: Vec<Pattern>,
    /// For `unit.read-outputs`: which outputs, as patterns over their names; none is all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub outputs: Vec<Pattern>,
    /// For `unit.read-outputs`: whether sensitive outputs are among them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sensitive: bool,
}

impl From<AccessRule> for Rule {
    fn from(rule: AccessRule) -> Self {
        Self {
            effect: rule.effect,
            actions: rule.actions,
            units: rule.units,
            outputs: rule.outputs,
            sensitive: rule.sensitive,
        }
    }
}

impl From<Rule> for AccessRule {
    fn from(rule: Rule) -> Self {
        Self {
            effect: rule.effect,
            actions: rule.actions,
            units: rule.units,
            outputs: rule.outputs,
            sensitive: rule.sensitive,
        }
    }
}

/// What a permission is to say from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SetPermission {
    /// What it is for, in people's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it says.
    pub rules: Vec<AccessRule>,
}

impl From<SetPermission> for Permission {
    fn from(set: SetPermission) -> Self {
        Self {
            description: set.description,
            rules: set.rules.into_iter().map(Rule::from).collect(),
        }
    }
}

/// A permission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NamedPermission {
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "prod-write"))]
    pub name: Name,
    /// What it is for.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub description: String,
    /// What it says.
    pub rules: Vec<AccessRule>,
}

impl NamedPermission {
    /// A permission, with its name.
    #[must_use]
    pub fn new(name: Name, permission: Permission) -> Self {
        Self {
            name,
            description: permission.description,
            rules: permission.rules.into_iter().map(AccessRule::from).collect(),
        }
    }
}

/// Permissions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Permissions {
    /// In the order of their names.
    pub permissions: Vec<NamedPermission>,
    /// How many.
    pub count: usize,
}

/// What a role is to hold from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SetRole {
    /// What it is for, in people's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The names of its permissions.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>, example = json!(["reader"])))]
    pub permissions: BTreeSet<Name>,
}

impl From<SetRole> for Role {
    fn from(set: SetRole) -> Self {
        Self {
            description: set.description,
            permissions: set.permissions,
        }
    }
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NamedRole {
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "deployer"))]
    pub name: Name,
    /// What it is for.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub description: String,
    /// The names of its permissions.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub permissions: BTreeSet<Name>,
}

impl NamedRole {
    /// A role, with its name.
    #[must_use]
    pub fn new(name: Name, role: Role) -> Self {
        Self {
            name,
            description: role.description,
            permissions: role.permissions,
        }
    }
}

/// Roles.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Roles {
    /// In the order of their names.
    pub roles: Vec<NamedRole>,
    /// How many.
    pub count: usize,
}

/// Whether the root token opens anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RootToken {
    /// True: it opens everything. It cannot switch itself off.
    pub enabled: bool,
}

/// What somebody would be allowed to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AccessTest {
    /// Who: `user:`, `service:` or `group:` and the name; without it, whoever asks.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false, example = "user:bob@example.com"))]
    pub who: Option<Member>,
    /// Groups that they are in, as their identity provider would say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// What.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "unit.write"))]
    pub action: Action,
    /// To which unit; none for what is done to no unit.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false, min_length = 1, example = "myapp/prod"))]
    pub unit: Option<UnitId>,
}

/// The rule that decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DecidingRule {
    /// The role that holds it.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub role: Name,
    /// Whom the role was given to; absent where the token says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub by: Option<Member>,
    /// The permission that it stands in.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub permission: Name,
    /// Which of its rules, counted from 1.
    pub number: usize,
}

/// What was decided, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccessDecision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, for a person.
    pub why: String,
    /// The rule that decided, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = DecidingRule, nullable = false))]
    pub rule: Option<DecidingRule>,
}
