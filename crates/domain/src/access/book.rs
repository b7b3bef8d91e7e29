//! A policy document, made ready to decide by.
//!
//! Which patterns a unit matches is found out for all of them at once; then the rules of the caller's roles are gone
//! through. A rule that takes away wins over every one that grants, in whatever role it stands. What no rule grants is
//! refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use globset::{GlobSet, GlobSetBuilder};

use super::document::{Document, DocumentError, Member, Name};
use super::rule::{Effect, Pattern, Rule};
use super::{Action, Caller, Decision, Kind};
use crate::UnitId;

/// Who may do what, ready to be asked.
#[derive(Debug)]
pub struct Book {
    document: Document,
    roles: BTreeMap<Name, Vec<Arc<Entry>>>,
    patterns: GlobSet,
}

/// A rule of a role, with what it was compiled into.
#[derive(Debug)]
struct Entry {
    permission: Name,
    number: usize,
    rule: Rule,
    /// Bit by bit, which actions it is about.
    actions: u16,
    /// Which patterns of the book its units are.
    units: Vec<usize>,
    outputs: Option<GlobSet>,
}

/// Why a decision is as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// This rule says so.
    Rule {
        /// Whether it grants or takes away.
        effect: Effect,
        /// The role that holds it.
        role: Name,
        /// How the caller came to the role.
        by: Holding,
        /// The permission that it stands in.
        permission: Name,
        /// Which of its rules, counted from 1.
        number: usize,
    },
    /// The root token may do everything.
    Root,
    /// The root token was switched off.
    RootDisabled,
    /// Nobody is asked who they are here.
    AuthDisabled,
    /// The caller holds no role.
    NoRole,
    /// The caller holds these roles, and no rule of them grants it.
    NoRule {
        /// Which.
        roles: Vec<Name>,
    },
}

/// How a caller came to a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holding {
    /// It was given to them, or to a group of theirs.
    Member(Member),
    /// What they came with says so: the rule for a CI token.
    Token,
}

/// A decision and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// What was decided.
    pub decision: Decision,
    /// Why.
    pub reason: Reason,
}

/// Which outputs of a unit a caller may see, where they may see outputs at all.
#[derive(Clone, Debug)]
pub struct Outputs {
    granted: Vec<Arc<Entry>>,
    denied: Vec<Arc<Entry>>,
}

impl Outputs {
    /// Whether an output is among them.
    #[must_use]
    pub fn include(&self, name: &str, is_sensitive: bool) -> bool {
        let granted = |entry: &Arc<Entry>| entry.names(name) && (entry.rule.sensitive || !is_sensitive);
        self.granted.iter().any(granted) && !self.denied.iter().any(|entry| entry.names(name))
    }
}

impl Entry {
    /// Whether an output of that name is one that it is about.
    fn names(&self, output: &str) -> bool {
        let outputs = self.outputs.as_ref();
        outputs.is_none_or(|outputs| outputs.is_match(output))
    }
}

/// A document that cannot be decided by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// It does not hold together.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Its patterns are too much together.
    #[error("its patterns cannot be matched together: {reason}")]
    Patterns {
        /// Why not.
        reason: String,
    },
}

impl Book {
    /// Makes a document ready.
    ///
    /// # Errors
    /// If the document does not hold together.
    pub fn new(document: Document) -> Result<Self, BookError> {
        document.check()?;
        let mut index = Patterns::default();
        let mut roles = BTreeMap::new();
        for (role, held) in &document.roles {
            let mut entries = Vec::new();
            for name in &held.permissions {
                for (number, rule) in document.permissions[name].rules.iter().enumerate() {
                    entries.push(Arc::new(Entry {
                        permission: name.clone(),
                        number: number + 1,
                        rule: rule.clone(),
                        actions: bits(rule),
                        units: rule.units.iter().map(|unit| index.number(unit)).collect(),
                        outputs: outputs_of(rule)?,
                    }));
                }
            }
            roles.insert(role.clone(), entries);
        }
        let patterns = index.build()?;
        Ok(Self {
            document,
            roles,
            patterns,
        })
    }

    /// What it was made from.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Whether a caller may do something, to a unit where the action is on one.
    #[must_use]
    pub fn decide(&self, caller: &Caller, action: Action, unit: Option<&UnitId>) -> Decision {
        self.explain(caller, action, unit).decision
    }

    /// The same, and why.
    #[must_use]
    pub fn explain(&self, caller: &Caller, action: Action, unit: Option<&UnitId>) -> Explained {
        match caller.kind() {
            Kind::Root if self.document.root_disabled => return refused(Reason::RootDisabled),
            Kind::Root => return granted(Reason::Root),
            Kind::Anonymous => return granted(Reason::AuthDisabled),
            Kind::User | Kind::Service | Kind::Ci => {}
        }
        let held = self.held_by(caller);
        let matched = self.matched(unit);
        let (mut grant, mut reached) = (None, Vec::new());
        for (role, by) in &held {
            let reaches = caller.reaches(role);
            if reaches {
                reached.push((*role).clone());
            }
            for entry in self.about(role, action, unit, &matched) {
                // A denial of some outputs only takes those away, and not the right to see the others.
                let partly = action == Action::ReadOutputs && entry.outputs.is_some();
                match entry.rule.effect {
                    Effect::Deny if partly => {}
                    Effect::Deny => return refused(because(entry, role, by)),
                    Effect::Allow if grant.is_none() && reaches => grant = Some(because(entry, role, by)),
                    Effect::Allow => {}
                }
            }
        }
        if reached.is_empty() {
            return refused(Reason::NoRole);
        }
        match grant {
            Some(reason) => granted(reason),
            None => refused(Reason::NoRule { roles: reached }),
        }
    }

    /// Which outputs of a unit a caller may see, if any.
    #[must_use]
    pub fn outputs(&self, caller: &Caller, unit: &UnitId) -> Option<Outputs> {
        let (action, unit) = (Action::ReadOutputs, Some(unit));
        if self.decide(caller, action, unit) == Decision::Deny {
            return None;
        }
        let matched = self.matched(unit);
        let held = self.held_by(caller);
        let (mut granted, mut denied) = (Vec::new(), Vec::new());
        for (role, _) in &held {
            for entry in self.about(role, action, unit, &matched) {
                match entry.rule.effect {
                    Effect::Deny => denied.push(Arc::clone(entry)),
                    Effect::Allow if caller.reaches(role) => granted.push(Arc::clone(entry)),
                    Effect::Allow => {}
                }
            }
        }
        Some(Outputs { granted, denied })
    }

    /// The roles that a caller holds as far as their token reaches, each with how they came to it.
    #[must_use]
    pub fn roles_of(&self, caller: &Caller) -> Vec<(&Name, Holding)> {
        let mut held = self.held_by(caller);
        held.retain(|(role, _)| caller.reaches(role));
        held
    }

    /// All roles that a caller holds. A token that reaches no further than some of them grants no more than those, and
    /// takes away what any of them does: otherwise somebody could shed a denial by making a token without it.
    fn held_by(&self, caller: &Caller) -> Vec<(&Name, Holding)> {
        let mut held: Vec<(&Name, Holding)> = Vec::new();
        let mut add = |role: &Name, by: Holding| {
            let known = self.roles.get_key_value(role).map(|(name, _)| name);
            if let Some(name) = known
                && !held.iter().any(|(other, _)| *other == name)
            {
                held.push((name, by));
            }
        };
        for member in caller.members() {
            for role in self.document.members.get(&member).into_iter().flatten() {
                add(role, Holding::Member(member.clone()));
            }
        }
        for role in caller.roles() {
            add(role, Holding::Token);
        }
        held
    }

    /// Whether some person may change who may do what: without one, only the root token could.
    #[must_use]
    pub fn has_administrator(&self) -> bool {
        self.document.members.keys().any(|member| match member {
            Member::User(name) => {
                let person = Caller::user(name);
                self.decide(&person, Action::ManageAccess, None) == Decision::Allow
            }
            Member::Group(_) | Member::Service(_) => false,
        })
    }

    /// Whether somebody is left who may change who may do what, after a change by `acting`.
    ///
    /// While the root token is on, that is a person who was given the right by name, and the root token besides. Once it
    /// is off, nobody could mend a policy that takes the right from all who have it, and groups can do that: a denial
    /// that a group holds catches whoever their provider puts into it, which is not written down here. So then it has to
    /// be certain: the person who makes the change keeps the right, being in the groups that they are in; or somebody has
    /// it by name whom no denial would catch, were they in every group that holds a role.
    #[must_use]
    pub fn keeps_an_administrator(&self, acting: &Caller) -> bool {
        if !self.has_administrator() {
            return false;
        }
        let manages = |person: &Caller| self.decide(person, Action::ManageAccess, None) == Decision::Allow;
        let groups = self.document.members.keys().filter_map(|member| match member {
            Member::Group(name) => Some(Arc::clone(name)),
            Member::User(_) | Member::Service(_) => None,
        });
        let groups: Vec<Arc<str>> = groups.collect();
        let is_certain = |member: &Member| match member {
            Member::User(name) => {
                let alone = Caller::user(name);
                manages(&alone) && manages(&alone.in_groups(groups.iter().cloned()))
            }
            Member::Group(_) | Member::Service(_) => false,
        };
        !self.document.root_disabled
            || (acting.kind() == Kind::User && manages(acting))
            || self.document.members.keys().any(is_certain)
    }

    fn matched(&self, unit: Option<&UnitId>) -> Vec<usize> {
        unit.map(|unit| self.patterns.matches(unit.as_str()))
            .unwrap_or_default()
    }

    fn about<'a>(
        &'a self,
        role: &Name,
        action: Action,
        unit: Option<&UnitId>,
        matched: &[usize],
    ) -> impl Iterator<Item = &'a Arc<Entry>> {
        let of_unit = unit.is_some() && action.is_on_a_unit();
        self.roles
            .get(role)
            .into_iter()
            .flatten()
            .filter(move |entry| entry.actions & bit(action) != 0)
            .filter(move |entry| {
                !of_unit || entry.units.iter().any(|unit| matched.binary_search(unit).is_ok())
            })
            .filter(move |_| of_unit || !action.is_on_a_unit())
    }
}

fn granted(reason: Reason) -> Explained {
    Explained {
        decision: Decision::Allow,
        reason,
    }
}

fn refused(reason: Reason) -> Explained {
    Explained {
        decision: Decision::Deny,
        reason,
    }
}

fn because(entry: &Entry, role: &Name, by: &Holding) -> Reason {
    Reason::Rule {
        effect: entry.rule.effect,
        role: role.clone(),
        by: by.clone(),
        permission: entry.permission.clone(),
        number: entry.number,
    }
}

fn bit(action: Action) -> u16 {
    1 << action as u16
}

fn bits(rule: &Rule) -> u16 {
    let about = Action::ALL.into_iter().filter(|action| rule.is_about(*action));
    about.fold(0, |bits, action| bits | bit(action))
}

fn outputs_of(rule: &Rule) -> Result<Option<GlobSet>, BookError> {
    if rule.outputs.is_empty() {
        return Ok(None);
    }
    let mut patterns = Patterns::default();
    for output in &rule.outputs {
        patterns.number(output);
    }
    patterns.build().map(Some)
}

/// The patterns of a book, each once.
#[derive(Default)]
struct Patterns<'a> {
    all: Vec<&'a Pattern>,
    numbers: BTreeMap<&'a str, usize>,
}

impl<'a> Patterns<'a> {
    fn number(&mut self, pattern: &'a Pattern) -> usize {
        *self.numbers.entry(pattern.as_str()).or_insert_with(|| {
            self.all.push(pattern);
            self.all.len() - 1
        })
    }

    fn build(&self) -> Result<GlobSet, BookError> {
        let mut builder = GlobSetBuilder::new();
        for pattern in &self.all {
            builder.add(pattern.glob().clone());
        }
        builder.build().map_err(|error| BookError::Patterns {
            reason: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::document::Role;

    const BOOK: &str = r#"{
        "format": 1,
        "permissions": {
            "everything": {"rules": [{"actions": ["*"], "units": ["**"]}]},
            "dev": {"rules": [{"actions": ["unit.*"], "units": ["*/dev", "sandbox/**"]}]},
            "prod-read": {"rules": [{"actions": ["unit.read"], "units": ["*/prod"]}]},
            "not-the-vault": {"rules": [{"effect": "deny", "actions": ["unit.*"], "units": ["vault/**"]}]},
            "network-outputs": {"rules": [
                {"actions": ["unit.read-outputs"], "units": ["network/**"], "outputs": ["vpc_*", "zone"]},
                {"actions": ["unit.read-outputs"], "units": ["secrets/**"], "sensitive": true},
                {"effect": "deny", "actions": ["unit.read-outputs"], "units": ["secrets/**"], "outputs": ["root_key"]}
            ]}
        },
        "roles": {
            "admin": {"permissions": ["everything"]},
            "developer": {"permissions": ["dev", "prod-read"]},
            "careful": {"permissions": ["not-the-vault"]},
            "consumer": {"permissions": ["network-outputs"]}
        },
        "members": {
            "user:ada": ["admin"],
            "user:bob": ["developer"],
            "group:interns": ["careful"],
            "service:ci": ["developer", "consumer"]
        }
    }"#;

    fn book() -> Book {
        Book::new(serde_json::from_str(BOOK).unwrap()).unwrap()
    }

    fn may(caller: &Caller, action: Action, unit: &str) -> bool {
        book().decide(caller, action, Some(&UnitId::parse(unit).unwrap())) == Decision::Allow
    }

    #[test]
    fn a_caller_may_what_a_rule_of_a_role_of_theirs_grants_and_nothing_else() {
        let bob = Caller::user("bob");
        for (action, unit, expected) in [
            (Action::Write, "app/dev", true),
            (Action::Delete, "sandbox/a/b", true),
            (Action::Read, "app/prod", true),
            (Action::Write, "app/prod", false),
            (Action::Read, "team/app/prod", false),
            (Action::Read, "app", false),
        ] {
            assert_eq!(may(&bob, action, unit), expected, "{action} {unit}");
        }
        assert!(!may(&Caller::user("eve"), Action::Read, "app/dev"));
    }

    #[test]
    fn a_denial_wins_over_a_grant_in_whatever_role_and_through_whatever_group() {
        let ada = Caller::user("ada");
        assert!(may(&ada, Action::Read, "vault/keys"));
        let ada = ada.in_groups(["interns"]);
        assert!(!may(&ada, Action::Read, "vault/keys"));
        assert!(may(&ada, Action::Read, "app/prod"));
        let explained = book().explain(&ada, Action::Read, Some(&UnitId::parse("vault/keys").unwrap()));
        let Reason::Rule {
            effect: Effect::Deny,
            role,
            by,
            permission,
            number: 1,
        } = explained.reason
        else {
            panic!("{explained:?}")
        };
        assert_eq!((role.as_str(), permission.as_str()), ("careful", "not-the-vault"));
        assert_eq!(by, Holding::Member(Member::Group("interns".into())));
    }

    #[test]
    fn nobody_becomes_another_kind_of_caller_by_a_name() {
        for name in ["root", "service:ci", "group:interns", "anonymous", "ci:x"] {
            let person = Caller::user(name);
            assert_eq!(person.kind(), Kind::User);
            assert!(!may(&person, Action::Read, "app/dev"), "{name}");
        }
        assert_eq!(Caller::user("root").principal().as_str(), "user:root");
        assert_ne!(
            Caller::user("service:ci").principal(),
            Caller::service("ci").principal()
        );
        assert_ne!(
            Caller::user("user:root").principal(),
            Caller::user("root").principal()
        );
        assert!(may(&Caller::service("ci"), Action::Write, "app/dev"));
        assert!(!may(&Caller::user("ci"), Action::Write, "app/dev"));
    }

    #[test]
    fn a_token_reaches_no_further_than_its_roles_and_no_further_than_its_owner() {
        let role = |name: &str| name.parse::<Name>().unwrap();
        let ci = Caller::service("ci").within(vec![role("consumer")]);
        assert!(!may(&ci, Action::Write, "app/dev"));
        assert!(may(&ci, Action::ReadOutputs, "network/eu"));
        let bob = Caller::user("bob").within(vec![role("admin"), role("developer")]);
        assert!(may(&bob, Action::Write, "app/dev"));
        assert!(!may(&bob, Action::Write, "app/prod"));
    }

    #[test]
    fn a_token_does_not_shed_a_denial_by_leaving_out_the_role_that_has_it() {
        let ada = Caller::user("ada").in_groups(["interns"]);
        assert!(!may(&ada, Action::Read, "vault/prod"));
        let token = ada.within(vec!["admin".parse().unwrap()]);
        assert!(may(&token, Action::Read, "shop/prod"));
        assert!(
            !may(&token, Action::Read, "vault/prod"),
            "she may not, so her token may not"
        );
        let consumer = Caller::service("ci").within(vec!["consumer".parse().unwrap()]);
        let secrets = UnitId::parse("secrets/prod").unwrap();
        assert!(
            !book()
                .outputs(&consumer, &secrets)
                .unwrap()
                .include("root_key", true)
        );
    }

    #[test]
    fn a_job_of_a_trusted_ci_holds_the_roles_of_its_rule_and_no_others() {
        let job = Caller::ci(
            "github:org/app",
            vec!["developer".parse().unwrap(), "gone".parse().unwrap()],
        );
        assert_eq!(job.principal().as_str(), "ci:github:org/app");
        assert!(may(&job, Action::Write, "app/dev"));
        assert!(!may(&job, Action::Write, "app/prod"));
    }

    #[test]
    fn what_is_about_no_unit_needs_a_rule_of_its_own() {
        let book = book();
        for (caller, expected) in [("ada", Decision::Allow), ("bob", Decision::Deny)] {
            let caller = Caller::user(caller);
            assert_eq!(book.decide(&caller, Action::ManageAccess, None), expected);
            assert_eq!(book.decide(&caller, Action::ReadAudit, None), expected);
            assert_eq!(
                book.decide(&caller, Action::Read, None),
                Decision::Deny,
                "no unit is named"
            );
        }
        assert!(book.has_administrator());
    }

    #[test]
    fn once_the_root_token_is_off_it_is_certain_who_may_say_who_may_do_what() {
        let mut document = book().document().clone();
        let (ada, root) = (Caller::user("ada"), Caller::root());
        let in_group = |group: &str| ada.clone().in_groups([group]);
        let denial = r#"{"rules": [{"effect": "deny", "actions": ["access.manage"]}]}"#;
        let name = |text: &str| -> Name { text.parse().unwrap() };
        document
            .permissions
            .insert(name("suspended"), serde_json::from_str(denial).unwrap());
        document.roles.insert(
            name("suspended"),
            Role {
                description: String::new(),
                permissions: [name("suspended")].into(),
            },
        );
        document
            .members
            .insert("group:staff".parse().unwrap(), [name("suspended")].into());
        let keeps = |document: &Document, acting: &Caller| {
            Book::new(document.clone())
                .unwrap()
                .keeps_an_administrator(acting)
        };
        // The root token mends whatever goes wrong.
        assert!(keeps(&document, &root));
        document.root_disabled = true;
        // All of the staff may be administrators, and nobody knows.
        assert!(!keeps(&document, &root));
        assert!(!keeps(&document, &in_group("staff")));
        assert!(!keeps(&document, &Caller::user("bob")));
        assert!(
            keeps(&document, &ada),
            "she is not of the staff: her provider says so"
        );
        // Whoever makes the change goes away, and nobody is certain.
        document
            .members
            .insert("user:carol".parse().unwrap(), [name("admin")].into());
        document.members.remove(&"user:ada".parse::<Member>().unwrap());
        assert!(!keeps(&document, &ada));
        // Without the denial Carol is.
        document.members.remove(&"group:staff".parse::<Member>().unwrap());
        assert!(keeps(&document, &ada));
    }

    #[test]
    fn outputs_are_seen_by_name_and_sensitive_ones_only_where_a_rule_says_so() {
        let (book, ci) = (book(), Caller::service("ci"));
        let network = UnitId::parse("network/eu").unwrap();
        let outputs = book.outputs(&ci, &network).unwrap();
        assert!(outputs.include("vpc_id", false));
        assert!(!outputs.include("vpc_id", true));
        assert!(!outputs.include("subnets", false));
        let secrets = UnitId::parse("secrets/db").unwrap();
        let outputs = book.outputs(&ci, &secrets).unwrap();
        assert!(outputs.include("password", true));
        assert!(!outputs.include("root_key", true), "a denial wins here, too");
        assert!(book.outputs(&Caller::user("bob"), &network).is_none());
    }

    #[test]
    fn the_root_token_may_everything_until_it_is_switched_off() {
        let mut document = book().document().clone();
        assert!(may(&Caller::root(), Action::Delete, "anything"));
        document.root_disabled = true;
        let book = Book::new(document).unwrap();
        let explained = book.explain(&Caller::root(), Action::ManageAccess, None);
        assert_eq!(explained.decision, Decision::Deny);
        assert_eq!(explained.reason, Reason::RootDisabled);
    }
}
