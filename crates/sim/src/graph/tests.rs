//! The checker, checked: a history that keeps every promise is falsified in one place, and the promise that it breaks now
//! has to be noticed.

use opentaco_domain::{Sha256, VersionId};
use opentaco_storage::head::Origin;

use super::*;
use crate::promise::{Lie, each_lie_breaks_its_own};

/// A history in calm weather, in which people saw colours and the graph followed writes.
fn kept() -> History {
    let is_rich = |history: &History| {
        let answered = |asked: &Asked| matches!(asked.told, Told::Colour(_));
        history.calm
            && history.asked.iter().any(answered)
            && a_version(history, &Origin::Write).is_some()
            && a_taking(history).is_some()
    };
    (1..400).map(play).find(is_rich).unwrap()
}

fn graph_heads(history: &History) -> &[(Instant, Head)] {
    history
        .heads
        .get(UnitId::graph().as_str())
        .map_or(&[], Vec::as_slice)
}

fn key_of(version: &VersionId) -> String {
    format!("{}/@/{version}", UnitId::graph())
}

/// A version of the graph of this origin that says what is known of an edge.
fn a_version(history: &History, origin: &Origin) -> Option<String> {
    let currents = graph_heads(history)
        .iter()
        .filter_map(|(_, head)| head.current.as_ref());
    let found = currents
        .filter(|current| current.origin == *origin)
        .find(|current| {
            let bytes = history.versions.get(&key_of(&current.version));
            bytes.is_some_and(|bytes| text(bytes).contains(r#""in_digest": ""#))
        });
    found.map(|current| key_of(&current.version))
}

/// A unit and the version of it that took a value which is what its source says.
fn a_taking(history: &History) -> Option<(String, VersionId)> {
    graph_heads(history).iter().find_map(|(_, head)| {
        let version = head.current_version()?;
        let document = Document::read(history.versions.get(&key_of(&version))?.clone()).ok()?;
        let taken = document
            .edges()
            .iter()
            .find(|edge| edge.state.out_version.is_some() && edge.state.in_digest == edge.state.out_digest)?;
        Some((taken.ends.to_unit.clone(), taken.state.out_version?))
    })
}

fn rewrite(history: &mut History, version: &str, from: &str, to: &str) {
    let bytes = history.versions.get_mut(version).unwrap();
    let changed = text(bytes).replace(from, to);
    assert_ne!(changed, text(bytes), "{from}");
    *bytes = changed.into();
}

fn first(history: &mut History, is_it: impl Fn(&Asked) -> bool) -> &mut Asked {
    history.asked.iter_mut().find(|asked| is_it(asked)).unwrap()
}

const LIES: &[Lie<History>] = &[
    ("it-ends", "it goes on", |history| history.ended = false),
    ("no-write-fails", "a write is refused", |history| {
        first(history, |asked| matches!(asked.ask, Ask::Write("a", _))).told = Told::Refused;
        history.heads.remove("a");
    }),
    ("no-write-fails", "a write waits", |history| {
        first(history, |asked| matches!(asked.ask, Ask::Write(..))).until = Instant::MAX / 2;
    }),
    (
        "graph-goes-on",
        "the service changes what Terraform wrote",
        |history| {
            let heads = graph_heads(history);
            let mut of_ours = heads.iter().filter_map(|(_, head)| head.current.as_ref());
            let ours = of_ours.rfind(|current| current.origin == Origin::Graph).unwrap();
            let key = key_of(&ours.version);
            rewrite(history, &key, r#""unheard_of": 1.50"#, r#""unheard_of": 1.5"#);
        },
    ),
    (
        "graph-goes-on",
        "a version of the graph is written over unseen",
        |history| {
            let heads = history.heads.get_mut(UnitId::graph().as_str()).unwrap();
            heads.remove(heads.len() / 2);
        },
    ),
    ("sent-is-stored", "an edge that was sent is lost", |history| {
        let key = a_version(history, &Origin::Write).unwrap();
        rewrite(history, &key, r#""to_input": "#, r#""to_other": "#);
    }),
    (
        "known-stays-known",
        "what is known of an edge is what was sent",
        |history| {
            let key = a_version(history, &Origin::Write).unwrap();
            rewrite(history, &key, r#""in_digest": ""#, r#""in_digest": "0"#);
        },
    ),
    (
        "acknowledged-is-there",
        "a write is answered and nowhere",
        |history| {
            let asked = first(history, |asked| {
                matches!(asked.ask, Ask::Post(..)) && asked.told == Told::Done
            });
            let Ask::Post(bytes, _) = &mut asked.ask else {
                unreachable!()
            };
            *bytes = Bytes::from_static(b"{}");
        },
    ),
    (
        "edges-speak-truth",
        "an output was worth something else",
        |history| {
            let unit = UNITS.map(|unit| format!("{unit}/@/"));
            for (name, bytes) in &mut history.versions {
                if unit.iter().any(|unit| name.starts_with(unit)) {
                    *bytes = text(bytes).replace("value\":\"", "value\":\"other").into();
                }
            }
        },
    ),
    (
        "taken-is-what-was-seen",
        "a value is taken that came later",
        |history| {
            let (unit, taker) = a_taking(history).unwrap();
            let taken = history.heads.get_mut(&unit).unwrap();
            let sent = taken.iter().find_map(|(_, head)| {
                let current = head.current.as_ref()?;
                (current.version == taker).then_some(current.sent_sha256)
            });
            // It was written, and answered, before there was anything.
            for (at, head) in taken.iter_mut() {
                if head.current_version() == Some(taker) {
                    *at = 1;
                }
            }
            let asked = first(history, |asked| match &asked.ask {
                Ask::Write(_, bytes) => Some(Sha256::of(bytes)) == sent,
                _ => false,
            });
            (asked.told, asked.from, asked.until) = (Told::Done, 1, 1);
        },
    ),
    (
        "edges-follow",
        "an edge had to be mended though nobody died",
        |history| {
            let keys = graph_heads(history)
                .iter()
                .filter_map(|(_, head)| head.current_version());
            let edges = keys.filter_map(|version| {
                let bytes = history.versions.get(&key_of(&version))?.clone();
                Some(Document::read(bytes).ok()?.edges().first()?.ends.clone())
            });
            history.mended = Some(edges.collect());
        },
    ),
    ("debts-are-paid", "a replica owes something", |history| {
        history.unpaid = vec![(0, 0)];
    }),
    (
        "status-fits",
        "a graph that can be read is called unreadable",
        |history| {
            history.asked.retain(|asked| asked.told != Told::Unreadable);
            first(history, |asked| matches!(asked.told, Told::Colour(_))).told = Told::Unreadable;
        },
    ),
    (
        "unreadable-is-no-colour",
        "a colour is told of what cannot be read",
        |history| {
            let graph = UnitId::graph().to_string();
            for (name, bytes) in &mut history.versions {
                if name.starts_with(&graph) {
                    *bytes = Bytes::from_static(b"[]");
                }
            }
            let asked = first(history, |asked| matches!(asked.told, Told::Colour(_)));
            (asked.from, asked.until) = (Instant::MAX - 1, Instant::MAX);
        },
    ),
];

#[test]
fn what_keeps_every_promise_breaks_none_and_each_lie_breaks_its_own() {
    let kept = kept();
    each_lie_breaks_its_own(PROMISES, check, || kept.clone(), LIES);
}
