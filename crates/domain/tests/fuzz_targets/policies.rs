//! A policy that is read means the same after it was written; nobody is let in by being unknown, and a denial that is
//! added takes nothing but rights away.

use opentaco_domain::access::book::Book;
use opentaco_domain::access::document::{Document, Member, Name};
use opentaco_domain::access::rule::Pattern;
use opentaco_domain::{Action, Caller, Decision, UnitId};

pub(crate) fn check(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        check_words(text);
    }
    let Ok(document) = serde_json::from_slice::<Document>(bytes) else {
        return;
    };
    let written = serde_json::to_vec(&document).expect("a policy is JSON");
    assert_eq!(
        serde_json::from_slice::<Document>(&written).ok().as_ref(),
        Some(&document)
    );
    let holds_together = document.check().is_ok();
    let Ok(book) = Book::new(document.clone()) else {
        return;
    };
    assert!(holds_together);
    let units = ["myapp/prod", "a", "network/prod.tfstate", "__opentaco_system"];
    let units: Vec<UnitId> = units.iter().filter_map(|id| UnitId::parse(id).ok()).collect();
    let stranger = Caller::user("somebody whom no policy names");
    let members: Vec<Caller> = document.members.keys().take(8).map(caller).collect();
    let denied = with_denial(&document).and_then(|document| Book::new(document).ok());
    for action in Action::ALL {
        for unit in units.iter().map(Some).chain([None]) {
            assert_eq!(book.decide(&stranger, action, unit), Decision::Deny);
            for caller in &members {
                let before = book.decide(caller, action, unit);
                let explained = book.explain(caller, action, unit).decision;
                assert_eq!(before, explained, "what is explained is what is decided");
                if let Some(denied) = &denied {
                    let after = denied.decide(caller, action, unit);
                    assert!(after == before || after == Decision::Deny);
                }
            }
        }
    }
    for caller in &members {
        for unit in &units {
            let may = book.decide(caller, Action::ReadOutputs, Some(unit)) == Decision::Allow;
            assert_eq!(book.outputs(caller, unit).is_some(), may);
        }
    }
}

fn check_words(text: &str) {
    if let Ok(member) = text.parse::<Member>() {
        assert_eq!(member.to_string(), text);
    }
    if let Ok(name) = text.parse::<Name>() {
        assert_eq!(name.as_str(), text);
    }
    if let Ok(pattern) = text.parse::<Pattern>() {
        assert_eq!(pattern.as_str(), text);
    }
}

fn caller(member: &Member) -> Caller {
    match member {
        Member::User(name) => Caller::user(name),
        Member::Service(name) => Caller::service(name),
        Member::Group(name) => Caller::user("a member of it").in_groups([name.to_string()]),
    }
}

/// The same document, where every permission denies everything besides.
fn with_denial(document: &Document) -> Option<Document> {
    let rule = serde_json::from_str(r#"{"effect":"deny","actions":["*"],"units":["a","myapp/**"]}"#).ok()?;
    let mut denied = document.clone();
    denied.permissions.values_mut().next()?.rules.push(rule);
    Some(denied)
}
