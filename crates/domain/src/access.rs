//! What a caller may do.
//!
//! Alice wants to apply a change to `myapp/prod`. Her terraform knocks at a door with a token; whoever reads the
//! token turns it into a [`Caller`], and from there on nobody asks again who she is. Before anything is fetched, and
//! before the body of her write is read, one question is put to the [`Policy`]: may this caller do this
//! [`Action`] to this unit? It answers [`Decision::Allow`], and her apply goes on; or [`Decision::Deny`], and she is
//! told so, in the same words whether `myapp/prod` exists or not. A policy that cannot be read answers neither:
//! that is an error, nothing changes, and nobody is let in on a guess.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::UnitId;
use crate::text::spelled_as_text;

/// The name of a caller, as it stands in locks, histories and the audit; it is shown, never interpreted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal(Arc<str>);

impl Principal {
    /// The principal of that name.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Principal {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(Self::new(name))
    }
}

spelled_as_text!(Principal, "the name of a principal");

/// Somebody who has proved who they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    principal: Principal,
}

impl Caller {
    /// The caller that a door has let in as `principal`.
    #[must_use]
    pub fn new(principal: Principal) -> Self {
        Self { principal }
    }

    /// Who it is.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }
}

/// What somebody may want to do to a unit; a right is named after each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// See the state, its versions, its lock, and that the unit exists.
    Read,
    /// Change the state, the labels or the description.
    Write,
    /// Take and release a lock of one's own.
    Lock,
    /// Make a unit, be it by a first write, or bring a deleted one back.
    Create,
    /// Delete the unit.
    Delete,
    /// Release somebody else's lock.
    ForceUnlock,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 6] = [
        Self::Read,
        Self::Write,
        Self::Lock,
        Self::Create,
        Self::Delete,
        Self::ForceUnlock,
    ];

    /// The name of the right, as roles and the audit spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "unit.read",
            Self::Write => "unit.write",
            Self::Lock => "unit.lock",
            Self::Create => "unit.create",
            Self::Delete => "unit.delete",
            Self::ForceUnlock => "unit.force-unlock",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A policy's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// They may.
    Allow,
    /// They may not.
    Deny,
}

/// The policy could not be read, so there is no answer; never to be taken for one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the access policy cannot be read: {reason}")]
pub struct PolicyUnreadable {
    /// What went wrong, for the log.
    pub reason: String,
}

/// Who may do what.
pub trait Policy: Send + Sync + fmt::Debug {
    /// Whether `caller` may do `action` to `unit`.
    ///
    /// # Errors
    /// If the policy cannot be read. The caller of this function then refuses, and says that it could not decide.
    fn decide(&self, caller: &Caller, action: Action, unit: &UnitId) -> Result<Decision, PolicyUnreadable>;
}

/// The policy until roles exist: whoever a door has let in may do everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Policy for AllowAll {
    fn decide(&self, _: &Caller, _: Action, _: &UnitId) -> Result<Decision, PolicyUnreadable> {
        Ok(Decision::Allow)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_action_has_a_right_of_its_own() {
        let names: HashSet<_> = Action::ALL.iter().map(|action| action.as_str()).collect();
        assert_eq!(names.len(), Action::ALL.len());
        assert!(names.iter().all(|name| name.starts_with("unit.")));
        assert_eq!(Action::ForceUnlock.to_string(), "unit.force-unlock");
    }

    #[test]
    fn until_roles_exist_whoever_was_let_in_may_do_everything() {
        let alice = Caller::new(Principal::new("alice"));
        let unit = UnitId::parse("myapp/prod").unwrap();
        for action in Action::ALL {
            assert_eq!(AllowAll.decide(&alice, action, &unit), Ok(Decision::Allow));
        }
    }

    #[test]
    fn a_principal_is_a_string_in_json() {
        let alice = Principal::new("alice \"the cat\"");
        let json = serde_json::to_string(&alice).unwrap();
        assert_eq!(json, r#""alice \"the cat\"""#);
        assert_eq!(serde_json::from_str::<Principal>(&json).unwrap(), alice);
        assert!(serde_json::from_str::<Principal>("{}").is_err());
    }
}
