//! The roles that a service begins with. They are like any others: to be changed, or removed.

use std::collections::{BTreeMap, BTreeSet};

use opentaco_domain::Action;
use opentaco_domain::access::document::{Permission, Role};
use opentaco_domain::access::rule::{Actions, Effect, Rule};
use opentaco_domain::access::{Document, Member, Name};

/// The role that may do everything.
const ADMINISTRATOR: &str = "admin";

/// Role, what it is for, and what it may do to every unit.
const ROLES: [(&str, &str, &[Actions]); 4] = [
    (
        ADMINISTRATOR,
        "does everything, and says who may do what",
        &[Actions::All],
    ),
    (
        "writer",
        "plans and applies: reads, writes, locks and creates every unit",
        &[
            Actions::One(Action::Read),
            Actions::One(Action::Write),
            Actions::One(Action::Lock),
            Actions::One(Action::Create),
        ],
    ),
    (
        "reader",
        "reads every unit, and changes none",
        &[Actions::One(Action::Read)],
    ),
    (
        "outputs-reader",
        "reads the outputs of every unit that are not sensitive, and nothing else",
        &[Actions::One(Action::ReadOutputs)],
    ),
];

/// The first document: the roles to begin with, and whoever is to hold the one that may do everything.
#[must_use]
pub fn starter(administrators: &[Member]) -> Document {
    let mut document = Document::default();
    for (role, description, actions) in ROLES {
        let rule = Rule {
            effect: Effect::Allow,
            actions: actions.to_vec(),
            units: vec!["**".parse().expect("`**` is a pattern")],
            outputs: Vec::new(),
            sensitive: false,
        };
        let permission = Permission {
            description: format!("what the role `{role}` begins with"),
            rules: vec![rule],
        };
        document.permissions.insert(name(role), permission);
        let role_of = Role {
            description: description.to_owned(),
            permissions: BTreeSet::from([name(role)]),
        };
        document.roles.insert(name(role), role_of);
    }
    document.members = administrators
        .iter()
        .map(|member| (member.clone(), BTreeSet::from([name(ADMINISTRATOR)])))
        .collect::<BTreeMap<_, _>>();
    document
}

fn name(text: &str) -> Name {
    text.parse().expect("the roles to begin with have plain names")
}
