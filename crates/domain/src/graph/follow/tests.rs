//! Evidence for what a change of a unit does to the edges at it.

use bytes::Bytes;

use super::*;
use crate::graph::EdgeStatus;
use crate::{Session, Sha256};

const OUTPUTS: [&str; 2] = ["x", "y"];

/// A graph a → b → c, `x` and `y` each.
fn graph() -> Document {
    let edge = |from, to, output| {
        format!(
            r#"{{"attributes":{{"from_unit_id":"{from}","from_output":"{output}","to_unit_id":"{to}","to_input":"{output}"}}}}"#
        )
    };
    let edges: Vec<_> = [("a", "b"), ("b", "c")]
        .into_iter()
        .flat_map(|(from, to)| OUTPUTS.map(|output| edge(from, to, output)))
        .collect();
    let text = format!(
        r#"{{"serial":1,"resources":[{{"mode":"managed","type":"opentaco_dependency","instances":[{}]}}]}}"#,
        edges.join(",")
    );
    Document::read(Bytes::from(text)).unwrap()
}

fn version(epoch: u64) -> VersionId {
    VersionId {
        epoch,
        serial: epoch,
        session: Session::NONE,
        sha256: Sha256::of(&epoch.to_be_bytes()),
        nonce: 1,
    }
}

fn digests(x: &str, y: &str) -> OutputDigests {
    [("x", x), ("y", y)]
        .map(|(name, value)| (name.to_owned(), Digest::of(&format!("\"{value}\"")).ok()))
        .into()
}

fn source(epoch: u64, outputs: OutputDigests) -> Source {
    Source {
        version: Some(version(epoch)),
        epoch,
        by: Some(Principal::new(format!("writer of {epoch}"))),
        at: Timestamp::from_second(epoch.try_into().unwrap()).ok(),
        outputs: Outputs::Known(outputs),
    }
}

/// A write of a unit.
fn write(unit: &str, epoch: u64, before: Option<OutputDigests>, outputs: OutputDigests) -> Change {
    let source = source(epoch, outputs);
    Change {
        unit: UnitId::parse(unit).unwrap(),
        taking: source.at.map(|at| Taking::by(version(epoch), at)),
        before: before.map(Outputs::Known),
        source,
    }
}

/// The graph after these changes, committed at once.
fn after(graph: &Document, changes: &mut [Change]) -> Document {
    let mut changed = BTreeMap::new();
    for change in changes {
        change.apply(graph, &mut changed);
    }
    match changed.is_empty() {
        true => graph.clone(),
        false => Document::read(graph.changed(&changed).unwrap()).unwrap(),
    }
}

/// Both of `a` taken by `b`.
fn taken() -> Document {
    let graph = after(&graph(), &mut [write("a", 1, None, digests("1", "1"))]);
    after(&graph, &mut [write("b", 1, None, digests("", ""))])
}

/// Whether one more change leaves the graph as it is.
fn is_nothing_to(graph: &Document, change: &Change) -> bool {
    let mut changed = BTreeMap::new();
    change.clone().apply(graph, &mut changed);
    changed.is_empty()
}

fn statuses(graph: &Document) -> [EdgeStatus; 4] {
    let found: Vec<_> = graph.edges().iter().map(|edge| edge.state.status()).collect();
    found.try_into().unwrap()
}

#[test]
fn a_chain_becomes_green_from_its_beginning_to_its_end() {
    use EdgeStatus::{Ok, Pending, Unknown};
    let a1 = write("a", 1, None, digests("1", "1"));
    let graph = after(&graph(), &mut [a1]);
    assert_eq!(statuses(&graph), [Pending, Pending, Unknown, Unknown]);
    let graph = after(&graph, &mut [write("b", 1, None, digests("1", "1"))]);
    assert_eq!(statuses(&graph), [Ok, Ok, Pending, Pending]);
    let graph = after(&graph, &mut [write("c", 1, None, OutputDigests::new())]);
    assert_eq!(statuses(&graph), [Ok; 4]);

    // Only what changed is pending, with who and when; what did not change costs nothing.
    let a2 = write("a", 5, Some(digests("1", "1")), digests("1", "2"));
    let graph = after(&graph, std::slice::from_mut(&mut a2.clone()));
    assert_eq!(statuses(&graph), [Ok, Pending, Ok, Ok]);
    let [x, y] = [&graph.edges()[0].state, &graph.edges()[1].state];
    assert_eq!((x.in_version, y.in_version), (Some(version(1)), Some(version(5))));
    assert_eq!(y.in_by, Some(Principal::new("writer of 5")));
    assert_eq!(y.out_version, Some(version(1)));
    assert!(is_nothing_to(&graph, &a2), "a retry");
    assert!(is_nothing_to(
        &graph,
        &write("a", 6, Some(digests("1", "2")), digests("1", "2"))
    ));
}

#[test]
fn what_is_said_late_undoes_nothing() {
    let start = taken();
    let older = write("a", 2, Some(digests("1", "1")), digests("2", "2"));
    let newer = write("a", 3, Some(digests("2", "2")), digests("3", "2"));
    let expected = after(&start, &mut [older.clone(), newer.clone()]);
    let late = after(&after(&start, &mut [newer]), &mut [older.clone()]);
    assert_eq!(late.edges()[0].state, expected.edges()[0].state);
    assert_eq!(
        late.edges()[1].state.in_digest,
        expected.edges()[1].state.in_digest
    );

    // Back to the first value: the graph shows it already, while the value in between is still on its way.
    let back = write("a", 4, Some(digests("2", "2")), digests("1", "1"));
    let graph = after(&start, &mut [back]);
    assert_eq!(
        after(&graph, &mut [older]).edges()[0].state.in_digest,
        start.edges()[0].state.in_digest
    );

    // A late acknowledgement.
    let (first, second) = (
        write("b", 7, None, digests("", "")),
        write("b", 9, None, digests("", "")),
    );
    let changed = after(&start, &mut [write("a", 8, None, digests("8", "8"))]);
    let graph = after(&changed, &mut [second.clone()]);
    assert!(is_nothing_to(&graph, &second));
    let mut late = first;
    late.taking.as_mut().unwrap().seen = Some(
        graph
            .incoming("b")
            .map(|(_, edge)| (edge.id.clone(), None))
            .collect(),
    );
    assert!(is_nothing_to(&graph, &late));
}

#[test]
fn a_target_takes_what_was_there_when_it_was_written_and_not_what_came_since() {
    let start = after(&graph(), &mut [write("a", 1, None, digests("1", "1"))]);
    let mut taking = write("b", 1, None, digests("", ""));
    taking.apply(&start, &mut BTreeMap::new());
    // Its commit of the graph is lost to a change of the source, and is made again on top of it.
    let moved = after(
        &start,
        &mut [write("a", 2, Some(digests("1", "1")), digests("2", "1"))],
    );
    let graph = after(&moved, &mut [taking]);
    assert_eq!(statuses(&graph)[..2], [EdgeStatus::Pending, EdgeStatus::Ok]);
    assert_eq!(graph.edges()[0].state.out_digest, Digest::of("\"1\"").ok());
}

#[test]
fn an_output_that_cannot_be_known_makes_its_edge_unknown_with_the_reason() {
    let start = taken();
    let with = |outputs| Change {
        source: Source {
            outputs,
            ..source(2, OutputDigests::new())
        },
        ..write("a", 2, None, OutputDigests::new())
    };
    for (outputs, reason) in [
        (Outputs::Unknown(Unknown::Encrypted), Unknown::Encrypted),
        (Outputs::Known(OutputDigests::new()), Unknown::NoOutput),
        (
            Outputs::Known([("x".to_owned(), None)].into()),
            Unknown::Unreadable,
        ),
    ] {
        let graph = after(&start, &mut [with(outputs)]);
        let edge = &graph.edges()[0].state;
        assert_eq!(
            (edge.status(), edge.unknown()),
            (EdgeStatus::Unknown, Some(reason))
        );
        // The value comes back, and the target has it.
        let graph = after(&graph, &mut [write("a", 3, None, digests("1", "1"))]);
        assert_eq!(graph.edges()[0].state.status(), EdgeStatus::Ok);
    }
    let deleted = Change {
        source: Source::nothing(2, None),
        before: None,
        taking: None,
        unit: UnitId::parse("a").unwrap(),
    };
    let gone = after(&start, &mut [deleted]);
    assert_eq!(gone.edges()[0].state.unknown(), Some(Unknown::NoUnit));
    // A target that was written meanwhile has taken nothing.
    let graph = after(&gone, &mut [write("b", 2, None, digests("", ""))]);
    let graph = after(&graph, &mut [write("a", 3, None, digests("1", "1"))]);
    assert_eq!(graph.edges()[0].state.status(), EdgeStatus::Pending);
}

#[test]
fn a_reconciliation_finds_what_was_missed_and_else_nothing() {
    let graph = after(
        &graph(),
        &mut [
            write("a", 1, None, digests("1", "1")),
            write("b", 1, None, digests("1", "1")),
        ],
    );
    let sources = |a: OutputDigests| [("a", source(1, a)), ("b", source(1, digests("1", "1")))];
    let of = |sources: [(&str, Source); 2]| {
        let sources = BTreeMap::from(sources);
        reconciled(&graph, Timestamp::from_second(9).unwrap(), |unit| {
            sources.get(unit)
        })
    };
    assert_eq!(of(sources(digests("1", "1"))), BTreeMap::new());
    let missed = of(sources(digests("1", "9")));
    assert_eq!(missed.keys().collect::<Vec<_>>(), [&1]);
    assert_eq!(missed[&1].in_digest, Digest::of("\"9\"").ok());
    assert_eq!(missed[&1].out_digest, graph.edges()[1].state.out_digest);

    let odd = r#"{"serial":1,"resources":[{"mode":"managed","type":"opentaco_dependency","instances":[
        {"attributes":{"from_unit_id":"a//b","from_output":"x","to_unit_id":"c"}},
        {"attributes":{"from_unit_id":"a","from_output":"x","to_unit_id":"c","in_digest":"D","out_digest":"D","status":"pending"}}]}]}"#;
    let odd = Document::read(Bytes::from_static(odd.as_bytes())).unwrap();
    let found = reconciled(&odd, Timestamp::UNIX_EPOCH, |_| None);
    assert_eq!(found[&0].unknown(), Some(Unknown::BadUnitId));
    assert!(!found.contains_key(&1), "what is not looked at is left alone");
}

/// An output comes and goes: 53, of what is not known. Whoever finds an edge unknown already says so all the same, lest
/// what is told late of the version between be believed.
#[test]
fn trace_65_what_is_unknown_since_a_later_version_is_not_made_known_by_an_earlier_one() {
    let none = || Outputs::Known(OutputDigests::new());
    let sealed = || Outputs::Unknown(Unknown::Encrypted);
    let as_outputs = |epoch, before, outputs| Change {
        before: Some(before),
        source: Source {
            outputs,
            ..source(epoch, OutputDigests::new())
        },
        ..write("a", epoch, None, OutputDigests::new())
    };
    let deleted = |last| Change {
        unit: UnitId::parse("a").unwrap(),
        source: Source::nothing(last + 1, Some(version(last))),
        before: None,
        taking: None,
    };
    let known = || Outputs::Known(digests("1", "1"));
    let late = || as_outputs(3, none(), known());
    let histories = [
        (as_outputs(2, known(), none()), as_outputs(4, known(), none())),
        (as_outputs(2, known(), sealed()), as_outputs(4, known(), sealed())),
        (deleted(1), deleted(3)),
    ];
    for (mut first, mut last) in histories {
        let start = after(&taken(), std::slice::from_mut(&mut first));
        let told = after(&start, std::slice::from_mut(&mut last));
        let graph = after(&told, &mut [late()]);
        let edge = &graph.edges()[0].state;
        assert_eq!(edge.status(), EdgeStatus::Unknown, "{last:?}");
        assert_eq!(edge.unknown(), start.edges()[0].state.unknown());
    }
}

#[test]
fn writes_that_leave_an_output_unknown_change_nothing_of_the_graph() {
    let none = || Outputs::Known(OutputDigests::new());
    let sealed = || Outputs::Unknown(Unknown::Encrypted);
    for outputs in [none, sealed] {
        let as_is = |epoch| Change {
            before: Some(outputs()),
            source: Source {
                outputs: outputs(),
                ..source(epoch, OutputDigests::new())
            },
            ..write("a", epoch, None, OutputDigests::new())
        };
        let start = after(&taken(), &mut [as_is(2)]);
        let mut changed = BTreeMap::new();
        as_is(3).apply(&start, &mut changed);
        assert_eq!(changed, BTreeMap::new());
    }
}

/// What nobody was told of in time was not there to be seen: a late write of the target has not taken it.
#[test]
fn a_value_that_a_reconciliation_finds_counts_as_changed_then() {
    let start = taken();
    let sources = BTreeMap::from([("a", source(2, digests("2", "1")))]);
    let found = reconciled(&start, Timestamp::from_second(9).unwrap(), |unit| {
        sources.get(unit)
    });
    let graph = Document::read(start.changed(&found).unwrap()).unwrap();
    let mut late = write("b", 3, None, digests("1", "1"));
    if let Some(taking) = &mut late.taking {
        taking.is_late = true;
    }
    let graph = after(&graph, &mut [late]);
    assert_eq!(statuses(&graph)[..2], [EdgeStatus::Pending, EdgeStatus::Ok]);
}

#[test]
fn an_output_of_a_unit_that_there_never_was_has_changed_at_no_time() {
    let found = reconciled(&graph(), Timestamp::from_second(9).unwrap(), |_| None);
    assert_eq!(found, BTreeMap::new());
    let nobody = Source::nothing(0, None);
    let found = reconciled(&graph(), Timestamp::from_second(9).unwrap(), |_| Some(&nobody));
    assert_eq!(found[&0].unknown(), Some(Unknown::NoUnit));
    assert_eq!(found[&0].last_in_at, None);
}
