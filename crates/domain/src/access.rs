//! What a caller may do.
//!
//! Alice wants to apply a change to `myapp/prod`. Her terraform knocks at a door with a token; whoever reads the
//! token turns it into a [`Caller`], and from there on nobody asks again who she is. Before anything is fetched, and
//! before the body of her write is read, one question is put to the [`Policy`]: may this caller do this
//! [`Action`] to this unit? It answers [`Decision::Allow`], and her apply goes on; or [`Decision::Deny`], and she is
//! told so, in the same words whether `myapp/prod` exists or not. A policy that cannot be read answers neither:
//! that is an error, nothing changes, and nobody is let in on a guess.

pub mod book;
pub mod document;
pub mod rule;

use std::convert::Infallible;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

pub use self::book::{Book, Outputs};
pub use self::document::{Document, Member, Name};
use crate::UnitId;
use crate::audit::Asked;
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

/// What kind of caller somebody is. It is never read out of a name: a person may be called anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Whoever knows the root token.
    Root,
    /// Anybody, where nobody is asked (`-auth-disable`).
    Anonymous,
    /// A person who logged in.
    User,
    /// A service account.
    Service,
    /// A job of a trusted CI.
    Ci,
}

/// Somebody who has proved who they are. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Caller {
    inner: Arc<Proved>,
    /// How they asked: it makes nobody another caller.
    asked: Option<Arc<Asked>>,
}

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Caller {}

impl Hash for Caller {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Proved {
    kind: Kind,
    principal: Principal,
    /// The name without what tells the kind.
    name: Arc<str>,
    groups: Vec<Arc<str>>,
    roles: Vec<Name>,
    scope: Option<Vec<Name>>,
}

impl Caller {
    /// The person that a door has let in as `principal`.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "it becomes the caller's")]
    pub fn new(principal: Principal) -> Self {
        Self::user(principal.as_str())
    }

    /// A person, by the name that their identity provider vouches for. One who is called like a caller of another kind is
    /// told from it by `user:` before the name.
    #[must_use]
    pub fn user(name: &str) -> Self {
        let resembles = ["root", "anonymous"].contains(&name)
            || ["user:", "service:", "ci:"]
                .iter()
                .any(|kind| name.starts_with(kind));
        let principal = match resembles {
            true => format!("user:{name}"),
            false => name.to_owned(),
        };
        Self::of(Kind::User, principal, name)
    }

    /// Whoever knows the root token.
    #[must_use]
    pub fn root() -> Self {
        Self::of(Kind::Root, "root".to_owned(), "root")
    }

    /// Anybody, where nobody is asked.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::of(Kind::Anonymous, "anonymous".to_owned(), "anonymous")
    }

    /// A service account.
    #[must_use]
    pub fn service(name: &str) -> Self {
        Self::of(Kind::Service, format!("service:{name}"), name)
    }

    /// A job of a trusted CI, by the name that its rule gives it, with the roles that go with the rule.
    #[must_use]
    pub fn ci(name: &str, roles: Vec<Name>) -> Self {
        let principal = match name.starts_with("ci:") {
            true => name.to_owned(),
            false => format!("ci:{name}"),
        };
        Self::of(Kind::Ci, principal, name).with(|proved| proved.roles = roles)
    }

    /// The same, belonging to these groups.
    #[must_use]
    pub fn in_groups(self, groups: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        let groups = groups.into_iter().map(Into::into).collect();
        self.with(|proved| proved.groups = groups)
    }

    /// The same, through a token that reaches no further than these roles.
    #[must_use]
    pub fn within(self, roles: Vec<Name>) -> Self {
        self.with(|proved| proved.scope = Some(roles))
    }

    /// The same, asking in this way.
    #[must_use]
    pub fn asking(self, asked: Arc<Asked>) -> Self {
        Self {
            asked: Some(asked),
            ..self
        }
    }

    /// How they asked, where that is known.
    #[must_use]
    pub fn asked(&self) -> Option<&Asked> {
        self.asked.as_deref()
    }

    fn of(kind: Kind, principal: String, name: &str) -> Self {
        Self {
            asked: None,
            inner: Arc::new(Proved {
                kind,
                principal: Principal::new(principal),
                name: name.into(),
                groups: Vec::new(),
                roles: Vec::new(),
                scope: None,
            }),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Proved)) -> Self {
        change(Arc::make_mut(&mut self.inner));
        self
    }

    /// Who it is.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.inner.principal
    }

    /// What kind of caller it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// The groups that it belongs to.
    #[must_use]
    pub fn groups(&self) -> &[Arc<str>] {
        &self.inner.groups
    }

    /// The roles that what it came with gives it.
    #[must_use]
    pub fn roles(&self) -> &[Name] {
        &self.inner.roles
    }

    /// As whom it may be given roles.
    pub fn members(&self) -> impl Iterator<Item = Member> {
        let name = Arc::clone(&self.inner.name);
        let own = match self.inner.kind {
            Kind::User => Some(Member::User(name)),
            Kind::Service => Some(Member::Service(name)),
            Kind::Root | Kind::Anonymous | Kind::Ci => None,
        };
        own.into_iter()
            .chain(self.groups().iter().cloned().map(Member::Group))
    }

    /// Whether the token that it came with reaches as far as a role.
    #[must_use]
    pub fn reaches(&self, role: &Name) -> bool {
        self.inner.scope.as_ref().is_none_or(|scope| scope.contains(role))
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
    /// See the outputs, where the whole state is not to be seen.
    ReadOutputs,
    /// See and change who may do what. About no unit.
    ManageAccess,
    /// Read the audit. About no unit.
    ReadAudit,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 9] = [
        Self::Read,
        Self::Write,
        Self::Lock,
        Self::Create,
        Self::Delete,
        Self::ForceUnlock,
        Self::ReadOutputs,
        Self::ManageAccess,
        Self::ReadAudit,
    ];

    /// Whether it is done to some unit, and not to the service as a whole.
    #[must_use]
    pub fn is_on_a_unit(self) -> bool {
        !matches!(self, Self::ManageAccess | Self::ReadAudit)
    }

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
            Self::ReadOutputs => "unit.read-outputs",
            Self::ManageAccess => "access.manage",
            Self::ReadAudit => "audit.read",
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

    /// Which outputs of a unit `caller` may see where they may not see the whole state. None at all unless a policy says
    /// otherwise.
    ///
    /// # Errors
    /// As [`Policy::decide`].
    fn outputs(&self, _: &Caller, _: &UnitId) -> Result<Option<Outputs>, PolicyUnreadable> {
        Ok(None)
    }
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
        for action in Action::ALL {
            assert_eq!(action.is_on_a_unit(), action.as_str().starts_with("unit."));
        }
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
