//! The graph follows writes: whatever writes, whoever holds the graph, on whichever replica, and whatever fails.

#![expect(clippy::unwrap_used, reason = "where a fixture fails, the test fails")]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use bytes::Bytes;
use futures::future::join_all;
use opentaco_control::versions::Reinstate;
use opentaco_control::{ControlError, Door, OpenOptions, StateControl, StateWrite, StoreConfig};
use opentaco_domain::graph::{Digest, Document, EdgeEnds, EdgeStatus, UnitStatus, Unknown};
use opentaco_domain::{Caller, Holding, Principal, UnitId, UnitPrefix};
use opentaco_storage::head::Origin;
use opentaco_testkit::buckets::World;
use opentaco_testkit::faults::{Does, Fate, Gate, On};

use crate::common::{
    alice, described, lock, prod, read, rejected, replica, under, unit, unlock, versions, write, written,
};
use crate::permit::ByName;

fn graph_unit() -> UnitId {
    unit("__opentaco_system")
}

/// A state with one output `x`.
fn with_x(serial: u64, x: &str) -> Bytes {
    with_outputs(serial, &format!(r#"{{"x":{{"value":"{x}","type":"string"}}}}"#))
}

fn with_outputs(serial: u64, outputs: &str) -> Bytes {
    Bytes::from(format!(
        r#"{{"version":4,"serial":{serial},"lineage":"one","outputs":{outputs},"resources":[]}}"#
    ))
}

/// What OpenTofu sends where it encrypts.
fn sealed(serial: u64) -> Bytes {
    Bytes::from(format!(
        r#"{{"serial":{serial},"lineage":"one","meta":{{}},"encrypted_data":"c2VhbGVk","encryption_version":"v0"}}"#
    ))
}

/// The graph's workspace as Terraform writes it, with these edges of output `x`, and what else may stand in a state.
fn edges(serial: u64, edges: &[(&str, &str)]) -> Bytes {
    let mut instances = String::new();
    for (from, to) in edges {
        let comma = if instances.is_empty() { "" } else { ",\n" };
        write!(
            instances,
            r#"{comma}{{"index_key": "{from}-{to}", "schema_version": 0, "attributes": {{"from_output": "x", "from_unit_id": "{from}", "id": null, "in_digest": null, "to_input": "x", "to_unit_id": "{to}"}}, "private": "bnVsbA=="}}"#
        )
        .unwrap();
    }
    Bytes::from(format!(
        r#"{{
  "version": 4, "terraform_version": "1.11.4", "serial": {serial}, "lineage": "graph",
  "outputs": {{"n": {{"value": 9007199254740993, "type": "number"}}}},
  "resources": [{{"module": "module.m", "mode": "managed", "type": "opentaco_dependency", "name": "e", "each": "map", "provider": "p", "instances": [{instances}]}}],
  "check_results": null, "unheard_of": 1.50
}}
"#
    ))
}

/// The colours of these units as this replica tells them.
async fn colours<const N: usize>(control: &StateControl, units: [&str; N]) -> [UnitStatus; N] {
    let mut colours = Vec::new();
    for name in units {
        colours.push(control.unit_status(&alice(), &unit(name)).await.unwrap().status);
    }
    colours.try_into().unwrap()
}

/// What is said of the one edge into this unit.
async fn edge_into(control: &StateControl, name: &str) -> (EdgeStatus, Option<Unknown>) {
    let status = control.unit_status(&alice(), &unit(name)).await.unwrap();
    let [edge] = status.incoming.as_slice() else {
        panic!("{status:?}")
    };
    (edge.state.status(), edge.state.unknown())
}

/// The graph as it lies there.
async fn graph(world: &World) -> Document {
    Document::read(world.copy(&graph_unit()).await.unwrap()).unwrap()
}

/// A reconciliation finds nothing: the graph says what the states say.
async fn assert_true(control: &StateControl) {
    let found = control.reconcile_graph(&alice(), None).await.unwrap();
    assert_eq!(found.changed, [], "the graph did not say what the states say");
}

const CHAIN: [(&str, &str); 2] = [("a", "b"), ("b", "c")];

#[tokio::test(start_paused = true)]
async fn a_chain_is_told_right_after_every_step_by_every_replica() {
    use UnitStatus::{Green, Red, Yellow};
    for world in World::of_each_kind() {
        let replicas = [replica(&world), replica(&world)];
        let told = async |expected: [UnitStatus; 3]| {
            for replica in &replicas {
                assert_eq!(colours(replica, ["a", "b", "c"]).await, expected);
            }
        };
        written(&replicas[0], &graph_unit(), &edges(1, &CHAIN)).await;
        assert_eq!(
            edge_into(&replicas[1], "b").await,
            (EdgeStatus::Unknown, Some(Unknown::NoUnit))
        );
        written(&replicas[0], &unit("a"), &with_x(1, "1")).await;
        written(&replicas[1], &unit("c"), &with_x(1, "1")).await;
        told([Green, Red, Yellow]).await;
        written(&replicas[1], &unit("b"), &with_x(1, "1")).await;
        told([Green, Green, Red]).await;
        written(&replicas[0], &unit("c"), &with_x(2, "1")).await;
        told([Green, Green, Green]).await;
        written(&replicas[1], &unit("a"), &with_x(2, "2")).await;
        told([Green, Red, Yellow]).await;
        let c = replicas[0].unit_status(&alice(), &unit("c")).await.unwrap();
        assert_eq!(c.because_of, ["b"]);
        // B is applied and comes out the same: nothing is left for C.
        written(&replicas[0], &unit("b"), &with_x(2, "1")).await;
        told([Green, Green, Green]).await;
        assert_true(&replicas[1]).await;

        // Who, when, and in which version.
        let b = replicas[0].unit_status(&alice(), &unit("b")).await.unwrap();
        let a = &versions(&replicas[0], &unit("a")).await[0];
        let edge = &b.incoming[0];
        assert_eq!(edge.state.in_version, Some(a.version));
        assert_eq!(edge.state.in_by, Some(Principal::new("alice")));
        assert_eq!(edge.state.last_in_at, Some(a.committed_at));
        assert_eq!(
            edge.state.out_version,
            Some(versions(&replicas[0], &unit("b")).await[0].version)
        );
        assert!(
            edge.why.contains("changed with serial 2 by alice"),
            "{}",
            edge.why
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_costs_one_look_at_the_graph_and_at_most_one_commit_of_it() {
    let world = World::new();
    let control = replica(&world);
    written(&control, &graph_unit(), &edges(1, &CHAIN)).await;
    for (name, x) in [("a", "1"), ("b", "1"), ("c", "1")] {
        written(&control, &unit(name), &with_x(1, x)).await;
    }
    let commits = async || versions(&replica(&world), &graph_unit()).await.len();
    let costs = async |name: &str, bytes: Bytes| {
        // An id of its own each time.
        let n = u32::try_from(control.counts().total()).unwrap();
        lock(&control, &unit(name), n).await.unwrap();
        let (requests, before) = (control.counts().total(), commits().await);
        write(&control, &unit(name), under(n), &bytes).await.unwrap();
        let requests = control.counts().total() - requests;
        control.force_unlock(&alice(), &unit(name)).await.unwrap();
        control.settle_down().await;
        (requests, commits().await - before)
    };
    assert_eq!(costs("b", with_x(2, "1")).await, (4, 0), "nothing changes");
    assert_eq!(costs("other", with_x(1, "1")).await.1, 0, "no edge at all");
    // The look, and the three requests of a commit.
    assert_eq!(costs("b", with_x(3, "2")).await, (4 + 3, 1), "an output changes");
    // It takes a new value and gives away another one: both in one commit.
    written(&control, &unit("a"), &with_x(2, "2")).await;
    assert_eq!(costs("b", with_x(4, "3")).await.1, 1);
    let history = versions(&control, &graph_unit()).await;
    assert_eq!(history[0].origin, Origin::Graph);
    assert_eq!(history[0].by, Principal::new("opentaco"));
}

#[tokio::test(start_paused = true)]
async fn who_holds_the_graph_keeps_nobody_waiting_and_neither_side_overwrites_the_other() {
    let world = World::new();
    let replicas = [replica(&world), replica(&world)];
    written(&replicas[0], &graph_unit(), &edges(1, &CHAIN)).await;
    lock(&replicas[0], &graph_unit(), 1).await.unwrap();
    // Terraform has read the graph, and a unit is written while it plans.
    written(&replicas[1], &unit("a"), &with_x(1, "1")).await;
    let known = graph(&world).await.edges()[0].state.clone();
    assert_eq!(known.in_digest, Digest::of("\"1\"").ok());
    // It writes what it knows, twice, counting on its own.
    let more: [(&str, &str); 3] = [CHAIN[0], CHAIN[1], ("a", "d")];
    write(&replicas[0], &graph_unit(), under(1), &edges(3, &more[..2]))
        .await
        .unwrap();
    write(&replicas[0], &graph_unit(), under(1), &edges(4, &more))
        .await
        .unwrap();
    unlock(&replicas[0], &graph_unit(), 1).await.unwrap();
    replicas[0].settle_down().await;
    let now = graph(&world).await;
    assert_eq!(now.edges().len(), 3);
    assert_eq!(now.edges()[0].state, known);
    // What it declared is looked up before it is told that all is well.
    assert_eq!(now.edges()[2].state.in_digest, known.in_digest);
    assert_eq!(edge_into(&replicas[1], "d").await, (EdgeStatus::Pending, None));

    // Everything else is, byte for byte, what Terraform sent.
    let text = String::from_utf8(world.copy(&graph_unit()).await.unwrap().to_vec()).unwrap();
    for kept in [
        "\"module\": \"module.m\"",
        "\"private\": \"bnVsbA==\"",
        "\"value\": 9007199254740993",
        "\"check_results\": null, \"unheard_of\": 1.50\n}\n",
    ] {
        assert!(text.contains(kept), "{kept} is not in {text}");
    }
    assert_true(&replicas[1]).await;
    // A repeated post of Terraform's is the one before, and an older one is late.
    lock(&replicas[0], &graph_unit(), 2).await.unwrap();
    let sent = edges(9, &more);
    let first = write(&replicas[0], &graph_unit(), under(2), &sent).await.unwrap();
    for n in 0..60 {
        written(&replicas[1], &unit("a"), &with_x(10 + n, &n.to_string())).await;
    }
    let again = write(&replicas[1], &graph_unit(), under(2), &sent).await.unwrap();
    assert_eq!(again.version, first.version);
    let late = write(&replicas[1], &graph_unit(), under(2), &edges(8, &CHAIN)).await;
    assert!(matches!(late, Err(ControlError::Late { .. })), "{late:?}");
    assert_eq!(
        rejected(&replicas[1], &graph_unit()).await,
        [edges(8, &CHAIN)],
        "as it was sent"
    );
    // So it is once the lock is over, too.
    unlock(&replicas[0], &graph_unit(), 2).await.unwrap();
    let again = write(&replicas[1], &graph_unit(), under(2), &sent).await.unwrap();
    assert_eq!(again.version, first.version);
    let lost = write(&replicas[1], &graph_unit(), under(2), &edges(10, &CHAIN)).await;
    assert!(matches!(lost, Err(ControlError::NotHolder { .. })), "{lost:?}");
    assert_eq!(graph(&world).await.edges().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_of_writes_beside_an_apply_of_the_graph_loses_nothing_and_fails_nobody() {
    for world in World::of_each_kind() {
        let replicas = [replica(&world), replica(&world)];
        let names: Vec<String> = (0..50).map(|n| format!("u/{n}")).collect();
        // Each takes from the one before it, in a long chain with a few short cuts.
        let all: Vec<(&str, &str)> = names
            .windows(2)
            .map(|pair| (pair[0].as_str(), pair[1].as_str()))
            .chain(
                names
                    .windows(9)
                    .step_by(9)
                    .map(|pair| (pair[0].as_str(), pair[8].as_str())),
            )
            .collect();
        written(&replicas[0], &graph_unit(), &edges(1, &all[..20])).await;
        lock(&replicas[0], &graph_unit(), 1).await.unwrap();
        let storm = join_all(names.iter().enumerate().map(|(n, name)| {
            let control = replicas[n % 2].clone();
            let unit = unit(name);
            #[expect(clippy::disallowed_methods, reason = "the runtime of a test is its own")]
            tokio::spawn(async move {
                for serial in 1..=4 {
                    let bytes = with_x(serial, &format!("{n}-{serial}"));
                    write(&control, &unit, Holding::Nothing, &bytes).await.unwrap();
                }
            })
        }));
        let apply = async {
            for (serial, many) in (2..).zip([20, 30, 45, all.len()]) {
                write(
                    &replicas[0],
                    &graph_unit(),
                    under(1),
                    &edges(serial, &all[..many]),
                )
                .await
                .unwrap();
            }
            unlock(&replicas[0], &graph_unit(), 1).await.unwrap();
        };
        let (stormed, ()) = futures::join!(storm, apply);
        stormed.into_iter().for_each(|written| written.unwrap());
        for replica in &replicas {
            replica.settle_down().await;
            assert_eq!(replica.graph_counts().1, 0, "nothing is owed");
        }
        let now = graph(&world).await;
        assert_eq!(now.edges().len(), all.len());
        for edge in now.edges() {
            let n = edge.ends.from_unit.trim_start_matches("u/");
            assert_eq!(
                edge.state.in_digest,
                Digest::of(&format!("\"{n}-4\"")).ok(),
                "{}",
                edge.ends
            );
        }
        assert_true(&replicas[1]).await;
        // No more commits than there were writes and posts.
        let commits: u64 = replicas
            .iter()
            .map(|replica| {
                replica
                    .graph_counts()
                    .0
                    .commits
                    .load(std::sync::atomic::Ordering::Relaxed)
            })
            .sum();
        assert!(commits <= 50 * 4 + 5, "{commits} commits of the graph");
    }
}

/// W's swap is done and its look at the graph is not answered; an edge is declared meanwhile. And the other way around:
/// the edge is declared, and its source is looked at while W is on its way.
#[tokio::test(start_paused = true)]
async fn an_edge_that_is_declared_while_its_source_is_written_hears_of_it() {
    type Held = fn(Gate) -> Fate;
    let (before, after): (Held, Held) = (Fate::HeldBefore, Fate::HeldAfter);
    for (does, hold, fate) in [
        (Does::Put, "__opentaco_units/a/@head.json", before),
        (Does::Put, "__opentaco_units/a/@head.json", after),
        (Does::Put, "a/terraform.tfstate", before),
        (Does::Get, "__opentaco_units/__opentaco_system/@head.json", before),
        (Does::Get, "__opentaco_units/__opentaco_system/@head.json", after),
    ] {
        let world = World::new();
        let (vault, faults) = world.failing_replica();
        let writer = crate::common::control(vault);
        let other = replica(&world);
        written(&other, &graph_unit(), &edges(1, &[])).await;
        written(&writer, &unit("a"), &with_x(1, "1")).await;
        let gate = Gate::new();
        faults.say(On::next(does, hold).exactly(), fate(gate.clone()));
        let writing = write_later(&writer, "a", with_x(2, "2"));
        gate.reached().await;
        written(&other, &graph_unit(), &edges(2, &CHAIN)).await;
        gate.open();
        writing.await.unwrap();
        let now = graph(&world).await;
        assert_eq!(
            now.edges()[0].state.in_digest,
            Digest::of("\"2\"").ok(),
            "{does:?} {hold}"
        );
        assert_true(&other).await;
    }
}

/// A write that goes on while the test does something else.
fn write_later(control: &StateControl, name: &str, bytes: Bytes) -> tokio::task::JoinHandle<()> {
    let (control, unit) = (control.clone(), unit(name));
    #[expect(clippy::disallowed_methods, reason = "the runtime of a test is its own")]
    tokio::spawn(async move {
        write(&control, &unit, Holding::Nothing, &bytes).await.unwrap();
    })
}

#[tokio::test(start_paused = true)]
async fn a_graph_that_cannot_be_written_fails_no_write_and_is_brought_up_to_date_by_the_next() {
    for (does, key) in [
        (Does::Read, "units/__opentaco_system"),
        (Does::Write, "units/__opentaco_system"),
        (Does::Write, "versions/__opentaco_system"),
    ] {
        let world = World::new();
        written(&replica(&world), &graph_unit(), &edges(1, &CHAIN)).await;
        let (vault, faults) = world.failing_replica();
        let control = crate::common::control(vault);
        faults.say(On::next(does, key).always(), Fate::Denied);
        write(&control, &unit("a"), Holding::Nothing, &with_x(1, "1"))
            .await
            .unwrap();
        write(&control, &unit("b"), Holding::Nothing, &with_x(1, "1"))
            .await
            .unwrap();
        assert_eq!(control.graph_counts().1, 2, "it is owed both, at {key}");
        assert!(graph(&world).await.edges()[0].state.in_digest.is_none());
        faults.heal();
        // The next write pays for all.
        write(&control, &unit("other"), Holding::Nothing, &with_x(1, "1"))
            .await
            .unwrap();
        assert_eq!(control.graph_counts().1, 0);
        assert_eq!(
            colours(&replica(&world), ["b", "c"]).await,
            [UnitStatus::Green, UnitStatus::Red]
        );
        assert_true(&replica(&world)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_write_does_what_a_replica_that_died_has_left_undone() {
    let world = World::new();
    written(&replica(&world), &graph_unit(), &edges(1, &CHAIN)).await;
    let (vault, faults) = world.failing_replica();
    let dying = crate::common::control(vault);
    faults.say(On::next(Does::Any, "__opentaco_system").always(), Fate::Denied);
    for name in ["a", "b"] {
        lock(&dying, &unit(name), 1).await.unwrap();
        write(&dying, &unit(name), under(1), &with_x(1, "1"))
            .await
            .unwrap();
    }
    drop(dying);
    let other = replica(&world);
    for name in ["a", "b"] {
        write(&other, &unit(name), under(1), &with_x(1, "1"))
            .await
            .unwrap();
        assert_eq!(
            versions(&other, &unit(name)).await.len(),
            1,
            "it was committed the first time"
        );
    }
    assert_eq!(
        colours(&other, ["b", "c"]).await,
        [UnitStatus::Green, UnitStatus::Red]
    );
    // And where nobody repeats it, a reconciliation does; who took what, somebody says.
    faults.heal();
    let (vault, faults) = world.failing_replica();
    faults.say(On::next(Does::Any, "__opentaco_system").always(), Fate::Denied);
    let dying = crate::common::control(vault);
    write(&dying, &unit("a"), under(1), &with_x(2, "2"))
        .await
        .unwrap();
    drop(dying);
    assert_eq!(
        colours(&other, ["b"]).await,
        [UnitStatus::Green],
        "nobody knows yet"
    );
    let found = other.reconcile_graph(&alice(), None).await.unwrap();
    assert_eq!((found.edges, found.changed.len()), (2, 1));
    assert_eq!(found.changed[0].state.status(), EdgeStatus::Pending);
    assert_true(&other).await;
    let taken = other.reconcile_graph(&alice(), Some(&unit("b"))).await.unwrap();
    assert_eq!(taken.changed[0].state.status(), EdgeStatus::Ok);
    assert_eq!(colours(&other, ["b"]).await, [UnitStatus::Green]);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_starts_pays_what_one_that_died_has_owed() {
    let world = World::new();
    let other = replica(&world);
    written(&other, &graph_unit(), &edges(1, &CHAIN)).await;
    for (name, serial) in [("a", 1), ("b", 1)] {
        written(&other, &unit(name), &with_x(serial, "1")).await;
    }
    let (vault, faults) = world.failing_replica();
    let dying = crate::common::control(vault);
    faults.say(On::next(Does::Any, "__opentaco_system").always(), Fate::Denied);
    written(&dying, &unit("a"), &with_x(2, "2")).await;
    drop(dying);
    assert_eq!(
        colours(&other, ["b"]).await,
        [UnitStatus::Green],
        "nobody knows yet"
    );

    let started = crate::common::control(world.replica()).keeping_up();
    // The time of this test is no time: it goes on when everybody waits.
    tokio::time::timeout(std::time::Duration::from_secs(5), std::future::pending::<()>())
        .await
        .unwrap_err();
    started.settle_down().await;
    assert_eq!(colours(&other, ["b"]).await, [UnitStatus::Red]);
    assert_true(&other).await;
    let (counts, _) = started.graph_counts();
    assert_eq!(counts.commits.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_known_of_an_output_is_told_with_the_reason() {
    let world = World::new();
    let control = replica(&world);
    let odd: [(&str, &str); 6] = [
        ("none", "b"),
        ("sealed", "c"),
        ("bare", "d"),
        ("gone", "e"),
        ("a//b", "f"),
        ("empty", "g"),
    ];
    written(&control, &unit("sealed"), &sealed(1)).await;
    written(&control, &unit("bare"), &with_outputs(1, "{}")).await;
    written(&control, &unit("gone"), &with_x(1, "1")).await;
    crate::common::create(&control, &unit("empty")).await.unwrap();
    written(&control, &graph_unit(), &edges(1, &odd)).await;
    assert_eq!(edge_into(&control, "e").await, (EdgeStatus::Pending, None));
    written(&control, &unit("e"), &with_x(1, "1")).await;
    control.delete_unit(&alice(), &unit("gone")).await.unwrap();
    for (name, reason) in [
        ("b", Unknown::NoUnit),
        ("c", Unknown::Encrypted),
        ("d", Unknown::NoOutput),
        ("e", Unknown::NoUnit),
        ("f", Unknown::BadUnitId),
        ("g", Unknown::NoUnit),
    ] {
        assert_eq!(
            edge_into(&control, name).await,
            (EdgeStatus::Unknown, Some(reason)),
            "{name}"
        );
        let status = control.unit_status(&alice(), &unit(name)).await.unwrap();
        assert_eq!(
            (status.status, status.counts.unknown),
            (UnitStatus::Green, 1),
            "{name}"
        );
    }
    assert_true(&control).await;
    control
        .undelete_unit(&alice(), &unit("gone"), Door::Management)
        .await
        .unwrap();
    assert_eq!(edge_into(&control, "e").await, (EdgeStatus::Ok, None));
    // An old content that is made current again is an old value of its output, and takes none.
    written(&control, &unit("gone"), &with_x(5, "2")).await;
    let old = versions(&control, &unit("gone")).await[1].version;
    written(&control, &unit("e"), &with_x(2, "1")).await;
    control
        .restore(
            &alice(),
            &unit("gone"),
            &old,
            Reinstate::plainly(Door::Management),
        )
        .await
        .unwrap();
    assert_eq!(edge_into(&control, "e").await, (EdgeStatus::Pending, None));
    let old = versions(&control, &unit("e")).await[1].version;
    control
        .restore(&alice(), &unit("e"), &old, Reinstate::plainly(Door::Management))
        .await
        .unwrap();
    assert_eq!(edge_into(&control, "e").await, (EdgeStatus::Pending, None));
    // It becomes sealed, and is opened again.
    written(&control, &unit("gone"), &sealed(9)).await;
    assert_eq!(
        edge_into(&control, "e").await,
        (EdgeStatus::Unknown, Some(Unknown::Encrypted))
    );
    assert_true(&control).await;
}

#[tokio::test(start_paused = true)]
async fn a_graph_that_cannot_be_read_is_an_error_and_fails_no_write() {
    for odd in [
        sealed(2),
        Bytes::from(r#"{"version":4,"serial":2,"lineage":"graph","resources":7}"#),
    ] {
        let world = World::new();
        let control = replica(&world);
        written(&control, &graph_unit(), &edges(1, &CHAIN)).await;
        written(&control, &unit("a"), &with_x(1, "1")).await;
        written(&control, &graph_unit(), &odd).await;
        assert_eq!(
            read(&control, &graph_unit()).await.unwrap(),
            Some(odd),
            "it is stored as it is"
        );
        written(&control, &unit("a"), &with_x(2, "2")).await;
        let unreadable = |error: ControlError| {
            assert!(matches!(error, ControlError::GraphUnreadable { .. }), "{error:?}");
            error.to_string()
        };
        let told = unreadable(control.unit_status(&alice(), &unit("b")).await.unwrap_err());
        assert!(
            told.starts_with("the graph of dependencies in `__opentaco_system` cannot be read: it"),
            "{told}"
        );
        unreadable(
            control
                .unit_statuses(&alice(), UnitPrefix::default(), false)
                .await
                .unwrap_err(),
        );
        unreadable(control.graph(&alice(), &UnitPrefix::default()).await.unwrap_err());
        unreadable(control.reconcile_graph(&alice(), None).await.unwrap_err());
        // Terraform puts a good one in its place, and it is right at once.
        written(&control, &graph_unit(), &edges(30, &CHAIN)).await;
        assert_eq!(edge_into(&control, "b").await, (EdgeStatus::Pending, None));
        assert_true(&control).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_graph_of_an_older_bucket_is_taken_as_it_lies_there_with_what_its_targets_took() {
    let world = World::new();
    let digest = Digest::of("\"1\"").unwrap();
    let old = format!(
        r#"{{"version":4,"serial":4,"lineage":"graph","resources":[{{"mode":"managed","type":"opentaco_dependency","name":"e","instances":[
          {{"attributes":{{"from_unit_id":"/a/","from_output":"x","to_unit_id":"b/terraform.tfstate","to_input":"x","id":"whatever","in_digest":"{digest}","out_digest":"{digest}","status":"ok","last_in_at":"2025-01-01T00:00:00Z"}}}}]}}]}}"#
    );
    world
        .person_puts("__opentaco_system/terraform.tfstate", old)
        .await;
    world.person_puts("a/terraform.tfstate", with_x(1, "1")).await;
    world.person_puts("b/terraform.tfstate", with_x(1, "1")).await;
    let control = replica(&world);
    assert_eq!(colours(&control, ["b"]).await, [UnitStatus::Green]);
    written(&control, &unit("a"), &with_x(2, "2")).await;
    assert_eq!(
        edge_into(&replica(&world), "b").await,
        (EdgeStatus::Pending, None)
    );
    written(&control, &unit("b"), &with_x(2, "2")).await;
    assert_eq!(edge_into(&replica(&world), "b").await, (EdgeStatus::Ok, None));
    assert_true(&control).await;
}

#[tokio::test(start_paused = true)]
async fn an_edge_is_told_before_it_is_declared_and_after_it_was_removed() {
    let world = World::new();
    let control = replica(&world);
    written(&control, &unit("a"), &with_x(1, "1")).await;
    let ends = EdgeEnds::new("a", "x", "b", "x");
    let would_be = control.edge(&alice(), &ends).await.unwrap();
    assert!(!would_be.declared);
    assert_eq!(would_be.state.status(), EdgeStatus::Pending);
    let missing = control.edge_by_id(&alice(), &ends.id()).await;
    assert!(
        matches!(missing, Err(ControlError::NotFound { .. })),
        "{missing:?}"
    );

    written(&control, &graph_unit(), &edges(1, &CHAIN)).await;
    let is = control.edge(&alice(), &ends).await.unwrap();
    assert!(is.declared);
    assert_eq!(is.state, would_be.state, "what was told before is what it became");
    assert_eq!(control.edge_by_id(&alice(), &ends.id()).await.unwrap(), is);

    written(&control, &graph_unit(), &edges(9, &[])).await;
    let was = control.edge_by_id(&alice(), &ends.id()).await.unwrap();
    assert_eq!((was.ends, was.declared), (ends, false));
    let no_unit = control
        .edge(&alice(), &EdgeEnds::new("a//b", "x", "b", "x"))
        .await;
    assert!(
        matches!(no_unit, Err(ControlError::Invalid { .. })),
        "{no_unit:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_may_not_read_a_unit_is_told_neither_its_status_nor_who_wrote_it() {
    let world = World::new();
    let before = replica(&world);
    written(&before, &unit("team/a"), &with_x(1, "1")).await;
    written(&before, &unit("other/a"), &with_x(1, "1")).await;
    let all = [
        ("other/a", "team/b"),
        ("team/a", "team/b"),
        ("team/b", "other/b"),
        ("other/a", "other/b"),
        ("other/b", "team/c"),
    ];
    written(&before, &graph_unit(), &edges(1, &all)).await;
    let control = StateControl::new(world.replica(), std::sync::Arc::new(ByName::default()), "memory");
    let reader = Caller::new(Principal::new("team/:unit.read"));
    let of = async |name: &str| control.unit_status(&reader, &unit(name)).await;
    let b = of("team/b").await.unwrap();
    let [theirs, ours] = b.incoming.as_slice() else {
        panic!("{b:?}")
    };
    assert_eq!(
        (theirs.state.in_by.as_ref(), theirs.state.in_version),
        (None, None)
    );
    // What could be guessed from a digest is not theirs to guess; the status is.
    assert_eq!(
        (&theirs.state.in_digest, &theirs.state.out_digest),
        (&None, &None)
    );
    assert_eq!((theirs.status, theirs.unknown), (EdgeStatus::Pending, None));
    assert!(ours.state.in_digest.is_some());
    assert!(!theirs.why.contains("alice"), "{}", theirs.why);
    assert_eq!(ours.state.in_by, Some(Principal::new("alice")));
    // The colour is the true one, whoever looks.
    let c = of("team/c").await.unwrap();
    assert_eq!(
        (c.status, c.because_of),
        (UnitStatus::Yellow, vec!["team/b".to_owned()])
    );
    let hidden = of("other/b").await;
    assert!(
        matches!(hidden, Err(ControlError::Forbidden { .. })),
        "{hidden:?}"
    );

    let listed = control
        .unit_statuses(&reader, UnitPrefix::default(), false)
        .await
        .unwrap();
    let names: Vec<_> = listed.iter().map(|status| status.unit.as_str()).collect();
    assert_eq!(names, ["team/a", "team/b", "team/c"]);
    let seen = control.graph(&reader, &UnitPrefix::default()).await.unwrap();
    let edges: Vec<_> = seen.edges.iter().map(|edge| edge.ends.to_string()).collect();
    assert_eq!(edges, ["team/a.x->team/b.x"]);
    for ends in [
        EdgeEnds::new("other/a", "x", "team/b", "x"),
        EdgeEnds::new("team/b", "x", "other/b", "x"),
    ] {
        let asked = control.edge(&reader, &ends).await;
        assert!(matches!(asked, Err(ControlError::Forbidden { .. })), "{asked:?}");
        let by_id = control.edge_by_id(&reader, &ends.id()).await;
        assert!(matches!(by_id, Err(ControlError::NotFound { .. })), "{by_id:?}");
    }
    let reconciled = control.reconcile_graph(&reader, None).await;
    assert!(
        matches!(reconciled, Err(ControlError::Forbidden { .. })),
        "{reconciled:?}"
    );

    let unreadable = Caller::new(Principal::new("unreadable"));
    let nobody_knows = |error: ControlError| {
        assert!(
            matches!(error, ControlError::PolicyUnreadable { .. }),
            "{error:?}"
        );
    };
    nobody_knows(
        control
            .unit_statuses(&unreadable, UnitPrefix::default(), true)
            .await
            .unwrap_err(),
    );
    nobody_knows(
        control
            .graph(&unreadable, &UnitPrefix::default())
            .await
            .unwrap_err(),
    );
    nobody_knows(
        control
            .edge_by_id(&unreadable, &EdgeEnds::new("a", "x", "b", "x").id())
            .await
            .unwrap_err(),
    );
    nobody_knows(control.reconcile_graph(&unreadable, None).await.unwrap_err());
}

#[tokio::test(start_paused = true)]
async fn every_unit_has_a_status_and_those_without_dependencies_are_green() {
    let world = World::new();
    let control = replica(&world);
    written(&control, &prod(), &with_x(1, "1")).await;
    let status = control.unit_status(&alice(), &prod()).await.unwrap();
    assert_eq!((status.status, status.incoming), (UnitStatus::Green, Vec::new()));
    let missing = control.unit_status(&alice(), &unit("never/heard/of")).await;
    assert!(
        matches!(missing, Err(ControlError::NotFound { .. })),
        "{missing:?}"
    );
    assert_eq!(
        control.reconcile_graph(&alice(), None).await.unwrap().version,
        None,
        "there is no graph"
    );

    written(&control, &graph_unit(), &edges(1, &CHAIN)).await;
    let names = async |prefix: &str, dependent| -> Vec<String> {
        let prefix = UnitPrefix::parse(prefix).unwrap();
        let statuses = control.unit_statuses(&alice(), prefix, dependent).await.unwrap();
        statuses.into_iter().map(|status| status.unit).collect()
    };
    assert_eq!(names("", false).await, ["a", "b", "c", "myapp/prod"]);
    assert_eq!(names("", true).await, ["a", "b", "c"]);
    assert_eq!(names("my", false).await, ["myapp/prod"]);
    assert_eq!(
        described(&control, &graph_unit()).await.current.unwrap().serial,
        Some(2)
    );
}

#[tokio::test(start_paused = true)]
async fn circles_are_found_and_told() {
    let world = World::new();
    let control = replica(&world);
    let circle = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("s", "s")];
    written(&control, &graph_unit(), &edges(1, &circle)).await;
    let seen = control.graph(&alice(), &UnitPrefix::default()).await.unwrap();
    assert_eq!(seen.cycles, [vec!["a", "b", "c"], vec!["s"]]);
    let b = control.unit_status(&alice(), &unit("b")).await.unwrap();
    assert_eq!(b.cycle, ["b", "c", "a", "b"]);
    let d = control.unit_status(&alice(), &unit("d")).await.unwrap();
    assert!(d.cycle.is_empty());
    // A unit that depends on itself has what it has just written.
    written(&control, &unit("s"), &with_x(1, "1")).await;
    assert_eq!(colours(&control, ["s"]).await, [UnitStatus::Green]);
}

#[tokio::test]
async fn what_somebody_puts_into_the_bucket_is_followed_once_it_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let config = StoreConfig::Local {
        directory: directory.path().to_owned(),
        prefix: None,
    };
    let options = OpenOptions {
        rights: opentaco_control::Rights::Policy(std::sync::Arc::new(opentaco_domain::access::AllowAll)),
        graph_unit: unit("infra/graph"),
        ..OpenOptions::default()
    };
    let control = StateControl::open(&config, options).await.unwrap();
    written(&control, &unit("infra/graph"), &edges(1, &CHAIN)).await;
    written(&control, &unit("a"), &with_x(1, "1")).await;
    written(&control, &unit("b"), &with_x(1, "1")).await;
    assert_eq!(colours(&control, ["b"]).await, [UnitStatus::Green]);
    std::fs::write(directory.path().join("a/terraform.tfstate"), with_x(2, "by hand")).unwrap();
    assert_eq!(
        read(&control, &unit("a")).await.unwrap(),
        Some(with_x(2, "by hand"))
    );
    control.settle_down().await;
    assert_eq!(edge_into(&control, "b").await, (EdgeStatus::Pending, None));

    // The graph, put there by hand: it is read as it is, and looked up by the next write.
    let file = directory.path().join("infra/graph/terraform.tfstate");
    std::fs::write(&file, edges(50, &[("b", "new")])).unwrap();
    let seen = control.graph(&alice(), &UnitPrefix::default()).await.unwrap();
    let units: BTreeSet<_> = seen.units.iter().map(|(unit, ..)| unit.as_str()).collect();
    assert_eq!(units, ["b", "new"].into());
    written(&control, &unit("other"), &with_x(1, "1")).await;
    assert_eq!(edge_into(&control, "new").await, (EdgeStatus::Pending, None));
    control.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_condition_of_a_write_of_the_graph_is_none_of_the_services_business() {
    // Whoever uploads says which version they have read; the service's commits in between are not theirs to know.
    let world = World::new();
    let control = replica(&world);
    written(&control, &graph_unit(), &edges(1, &CHAIN)).await;
    let upload = async |bytes: Bytes| {
        let write = StateWrite::new(bytes, Holding::Nothing, Door::Management);
        control.write_state(&alice(), &graph_unit(), write).await
    };
    written(&control, &unit("a"), &with_x(1, "1")).await;
    written(&control, &unit("a"), &with_x(2, "2")).await;
    // Serials are compared with what was sent before, not with what the service counted up since.
    upload(edges(2, &CHAIN)).await.unwrap();
    let older = upload(edges(2, &[])).await;
    assert!(
        matches!(older, Err(ControlError::OlderSerial { .. })),
        "{older:?}"
    );
    assert_eq!(graph(&world).await.edges().len(), 2);
}

/// A replica that cannot reach the graph, however it tries.
fn cut_off(world: &World) -> (StateControl, opentaco_testkit::faults::Faults) {
    let (vault, faults) = world.failing_replica();
    faults.say(On::next(Does::Any, "__opentaco_system").always(), Fate::Denied);
    (crate::common::control(vault), faults)
}

#[tokio::test(start_paused = true)]
async fn a_source_that_cannot_be_read_keeps_no_other_edge_from_being_told() {
    let world = World::new();
    let control = replica(&world);
    written(&control, &unit("broken"), &with_x(1, "1")).await;
    written(&control, &unit("a"), &with_x(1, "1")).await;
    world
        .person_puts("__opentaco_units/broken/@head.json", "no head")
        .await;
    let control = replica(&world);
    written(&control, &graph_unit(), &edges(1, &[("broken", "z"), ("a", "b")])).await;
    assert_eq!(edge_into(&control, "b").await, (EdgeStatus::Pending, None));
    written(&control, &unit("b"), &with_x(1, "1")).await;
    assert_eq!(edge_into(&control, "b").await, (EdgeStatus::Ok, None));
    written(&control, &unit("a"), &with_x(2, "2")).await;
    assert_eq!(edge_into(&control, "b").await, (EdgeStatus::Pending, None));
    assert_eq!(
        edge_into(&control, "z").await,
        (EdgeStatus::Unknown, Some(Unknown::NotLookedAt))
    );
    assert_true(&control).await;
}

#[tokio::test(start_paused = true)]
async fn a_write_that_arrives_again_or_is_told_late_takes_nothing_that_changed_since() {
    for late in [false, true] {
        let world = World::new();
        let control = replica(&world);
        written(&control, &graph_unit(), &edges(1, &CHAIN)).await;
        written(&control, &unit("a"), &with_x(1, "1")).await;
        let (writer, faults) = cut_off(&world);
        if !late {
            faults.heal();
        }
        lock(&writer, &unit("b"), 1).await.unwrap();
        write(&writer, &unit("b"), under(1), &with_x(1, "1"))
            .await
            .unwrap();
        world.clock.advance(std::time::Duration::from_secs(60));
        written(&control, &unit("a"), &with_x(2, "2")).await;
        match late {
            // The replica reaches the graph again, and tells it what it owes.
            true => {
                faults.heal();
                writer.settle_down().await;
                assert_eq!(writer.graph_counts().1, 0);
            }
            // A proxy sends the very same request once more.
            false => {
                write(&control, &unit("b"), under(1), &with_x(1, "1"))
                    .await
                    .unwrap();
            }
        }
        assert_eq!(
            edge_into(&control, "b").await,
            (EdgeStatus::Pending, None),
            "late: {late}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_told_late_of_a_unit_that_is_deleted_brings_no_edge_of_it_back() {
    let world = World::new();
    let control = replica(&world);
    written(&control, &graph_unit(), &edges(1, &CHAIN)).await;
    written(&control, &unit("a"), &with_x(1, "1")).await;
    let (late, faults) = cut_off(&world);
    write(&late, &unit("a"), Holding::Nothing, &with_x(2, "2"))
        .await
        .unwrap();
    control.delete_unit(&alice(), &unit("a")).await.unwrap();
    faults.heal();
    late.settle_down().await;
    assert_eq!(
        edge_into(&control, "b").await,
        (EdgeStatus::Unknown, Some(Unknown::NoUnit))
    );
    // It comes back with the last version that it had.
    control
        .undelete_unit(&alice(), &unit("a"), Door::Management)
        .await
        .unwrap();
    assert_eq!(edge_into(&control, "b").await, (EdgeStatus::Pending, None));
    assert_true(&control).await;
}

#[tokio::test(start_paused = true)]
async fn a_graph_that_comes_back_or_from_elsewhere_is_compared_whole() {
    let world = World::new();
    let control = replica(&world);
    written(&control, &graph_unit(), &edges(1, &CHAIN)).await;
    for (name, x) in [("a", "1"), ("b", "1")] {
        written(&control, &unit(name), &with_x(1, x)).await;
    }
    control.delete_unit(&alice(), &graph_unit()).await.unwrap();
    written(&control, &unit("a"), &with_x(2, "2")).await;
    control
        .undelete_unit(&alice(), &graph_unit(), Door::Management)
        .await
        .unwrap();
    assert_eq!(edge_into(&control, "b").await, (EdgeStatus::Pending, None));

    // All states are copied into a new bucket, whose epochs begin anew.
    for n in 3..20 {
        written(&control, &unit("a"), &with_x(n, &n.to_string())).await;
        written(&control, &unit("b"), &with_x(n, "1")).await;
    }
    let fresh = World::new();
    for name in ["a", "b", "__opentaco_system"] {
        let copy = world.copy(&unit(name)).await.unwrap();
        fresh
            .person_puts(&format!("{name}/terraform.tfstate"), copy)
            .await;
    }
    let control = replica(&fresh);
    assert_eq!(edge_into(&control, "b").await, (EdgeStatus::Ok, None));
    written(&control, &unit("a"), &with_x(30, "30")).await;
    assert_eq!(edge_into(&control, "b").await, (EdgeStatus::Pending, None));
    written(&control, &unit("b"), &with_x(30, "1")).await;
    assert_eq!(edge_into(&control, "b").await, (EdgeStatus::Ok, None));
    assert_true(&control).await;
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_restored_has_what_it_had_and_needs_another_apply() {
    let world = World::new();
    let control = replica(&world);
    written(&control, &graph_unit(), &edges(1, &CHAIN)).await;
    for n in 1..=2 {
        written(&control, &unit("a"), &with_x(n, &n.to_string())).await;
        written(&control, &unit("b"), &with_x(n, "1")).await;
    }
    assert_eq!(edge_into(&control, "b").await, (EdgeStatus::Ok, None));
    let old = versions(&control, &unit("b")).await[1].version;
    control
        .restore(&alice(), &unit("b"), &old, Reinstate::plainly(Door::Management))
        .await
        .unwrap();
    assert_eq!(edge_into(&control, "b").await, (EdgeStatus::Pending, None));
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_is_repeated_says_so_to_the_graph() {
    let world = World::new();
    let control = replica(&world);
    written(&control, &graph_unit(), &edges(1, &CHAIN)).await;
    written(&control, &unit("a"), &with_x(1, "1")).await;
    let (vault, faults) = world.failing_replica();
    let failing = crate::common::control(vault);
    read(&failing, &unit("a")).await.unwrap();
    faults.say(
        On::next(Does::Put, "a/terraform.tfstate").exactly().always(),
        Fate::Denied,
    );
    failing.delete_unit(&alice(), &unit("a")).await.unwrap_err();
    assert_eq!(edge_into(&control, "b").await, (EdgeStatus::Pending, None));
    let gone = control.delete_unit(&alice(), &unit("a")).await;
    assert!(matches!(gone, Err(ControlError::NotFound { .. })), "{gone:?}");
    assert_eq!(
        edge_into(&control, "b").await,
        (EdgeStatus::Unknown, Some(Unknown::NoUnit))
    );
}

#[tokio::test(start_paused = true)]
async fn asking_for_an_edge_that_nobody_declared_touches_no_unit() {
    let world = World::new();
    world.person_puts("a/terraform.tfstate", with_x(1, "1")).await;
    let before = world.keys().await;
    let control = replica(&world);
    let told = control
        .edge(&alice(), &EdgeEnds::new("a", "x", "b", "x"))
        .await
        .unwrap();
    assert_eq!(told.state.in_digest, Digest::of("\"1\"").ok());
    control.settle_down().await;
    assert_eq!(world.keys().await, before);
}

#[tokio::test(start_paused = true)]
async fn a_graph_that_does_not_answer_keeps_a_write_waiting_for_a_bounded_time() {
    let world = World::new();
    written(&replica(&world), &graph_unit(), &edges(1, &CHAIN)).await;
    let (vault, faults) = world.failing_replica();
    let control = crate::common::control(vault);
    faults.say(
        On::next(Does::Get, "units/__opentaco_system").always(),
        Fate::Silence,
    );
    let began = tokio::time::Instant::now();
    for serial in 1..=2 {
        write(&control, &unit("a"), Holding::Nothing, &with_x(serial, "1"))
            .await
            .unwrap();
    }
    assert!(
        began.elapsed() < std::time::Duration::from_secs(25),
        "{:?}",
        began.elapsed()
    );
    assert!(control.graph_counts().1 > 0);
    faults.heal();
    control.settle_down().await;
    assert_eq!(
        edge_into(&replica(&world), "b").await,
        (EdgeStatus::Pending, None)
    );
}

/// A world with these edges, whose units `a` and `b` were applied, and a replica that knows it.
async fn applied(declared: &[(&str, &str)]) -> (World, StateControl) {
    let world = World::new();
    let other = replica(&world);
    written(&other, &graph_unit(), &edges(1, declared)).await;
    for name in ["a", "b"] {
        written(&other, &unit(name), &with_x(1, "1")).await;
    }
    (world, other)
}

/// A becomes 2 by a swap that lands ten seconds after it was sent; B is committed in the middle of that, by a replica that
/// cannot tell the graph: the one that is returned.
async fn a_landed_late(world: &World) -> (StateControl, opentaco_testkit::faults::Faults) {
    let (vault, slow) = world.failing_replica();
    let source = crate::common::control(vault);
    let swap = Gate::new();
    slow.say(
        On::next(Does::Put, "units/a/@head"),
        Fate::HeldBefore(swap.clone()),
    );
    let (target, graph_of_target) = cut_off(world);
    let writing = write_later(&source, "a", with_x(2, "2"));
    swap.reached().await;
    world.clock.advance(std::time::Duration::from_secs(5));
    written(&target, &unit("b"), &with_x(2, "1")).await;
    world.clock.advance(std::time::Duration::from_secs(5));
    swap.open();
    writing.await.unwrap();
    (target, graph_of_target)
}

/// B's write waits for a turn that somebody else has, and that hangs; it is answered without, and A changes. The turn goes
/// on with what it had to do when it began.
#[tokio::test(start_paused = true)]
async fn trace_60_a_turn_that_takes_longer_than_a_write_waits_takes_nothing_for_it_that_changed_since() {
    let world = World::new();
    let other = replica(&world);
    written(&other, &graph_unit(), &edges(1, &CHAIN)).await;
    written(&other, &unit("a"), &with_x(1, "1")).await;
    let (vault, faults) = world.failing_replica();
    let control = crate::common::control(vault);
    let gate = Gate::new();
    let look = On::next(Does::Get, "units/__opentaco_system").always();
    faults.say(look, Fate::HeldBefore(gate.clone()));
    let first = write_later(&control, "elsewhere", with_x(1, "1"));
    gate.reached().await;
    let keeping_up = {
        let control = control.clone();
        #[expect(clippy::disallowed_methods, reason = "the runtime of a test is its own")]
        tokio::spawn(async move { control.settle_down().await })
    };
    // Whoever keeps up has the next turn, and is in the middle of it when the second write waits no longer.
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    let second = write_later(&control, "b", with_x(1, "1"));
    first.await.unwrap();
    second.await.unwrap();
    world.clock.advance(std::time::Duration::from_secs(60));
    written(&other, &unit("a"), &with_x(2, "2")).await;
    faults.heal();
    gate.open();
    keeping_up.await.unwrap();
    control.settle_down().await;
    assert_eq!(control.graph_counts().1, 0);
    assert_eq!(edge_into(&other, "b").await, (EdgeStatus::Pending, None));
}

/// The swap that commits B is done and its answer hangs. Whoever wrote B has given up, written it once more elsewhere and
/// been answered before A changed; then the answer comes, and the first write goes on to tell the graph of itself.
#[tokio::test(start_paused = true)]
async fn trace_62_a_write_whose_swap_was_answered_late_takes_nothing_that_its_client_cannot_have_seen() {
    for is_written_over in [false, true] {
        let (world, other) = applied(&CHAIN).await;
        let (vault, faults) = world.failing_replica();
        let control = crate::common::control(vault);
        let gate = Gate::new();
        faults.say(
            On::next(Does::Put, "units/b/@head"),
            Fate::HeldAfter(gate.clone()),
        );
        let hanging = write_later(&control, "b", with_x(2, "1"));
        gate.reached().await;
        if is_written_over {
            written(&other, &unit("b"), &with_x(3, "1")).await;
        }
        world.clock.advance(std::time::Duration::from_secs(2));
        written(&other, &unit("a"), &with_x(2, "2")).await;
        gate.open();
        hanging.await.unwrap();
        assert_eq!(
            edge_into(&other, "b").await,
            (EdgeStatus::Pending, None),
            "written over: {is_written_over}"
        );
    }
}

/// The swap of A is sent and lands much later; B is committed meanwhile, and what the graph is told of it hangs longer than
/// that. The time in A's version is that of its beginning, before B's.
#[tokio::test(start_paused = true)]
async fn trace_63_a_value_whose_swap_landed_late_was_not_there_before_that() {
    let (world, other) = applied(&CHAIN).await;
    let (target, graph_of_target) = a_landed_late(&world).await;
    graph_of_target.heal();
    target.settle_down().await;
    assert_eq!(target.graph_counts().1, 0);
    assert_eq!(edge_into(&other, "b").await, (EdgeStatus::Pending, None));
}

/// The first attempt of B hangs in its replica before anything is decided; its client has been answered elsewhere since,
/// and A has changed. It commits B's bytes once more: nobody holds the unit. But nobody has seen A's value for it.
#[tokio::test(start_paused = true)]
async fn trace_64_a_write_that_is_committed_long_after_it_was_sent_takes_nothing_that_changed_since() {
    for step in [
        On::next(Does::Get, "units/b/@head"),
        On::next(Does::Put, "versions/b/"),
    ] {
        let (world, other) = applied(&CHAIN).await;
        let (vault, faults) = world.failing_replica();
        let control = crate::common::control(vault);
        let gate = Gate::new();
        faults.say(step, Fate::HeldBefore(gate.clone()));
        let hanging = write_later(&control, "b", with_x(2, "1"));
        gate.reached().await;
        written(&other, &unit("b"), &with_x(2, "1")).await;
        written(&other, &unit("b"), &with_x(3, "3")).await;
        world.clock.advance(std::time::Duration::from_secs(2));
        written(&other, &unit("a"), &with_x(2, "2")).await;
        gate.open();
        hanging.await.unwrap();
        assert_eq!(edge_into(&other, "b").await, (EdgeStatus::Pending, None));
    }
}

/// B hangs in its replica between its request and its commit, and A changes meanwhile. The replica cannot tell the graph,
/// and dies; the request that wrote B arrives once more, and is found committed, later than A's change.
#[tokio::test(start_paused = true)]
async fn trace_66_a_repeated_write_took_what_was_there_when_it_was_first_sent() {
    let (world, other) = applied(&CHAIN).await;
    let (dying, faults) = cut_off(&world);
    let gate = Gate::new();
    faults.say(
        On::next(Does::Get, "units/b/@head"),
        Fate::HeldBefore(gate.clone()),
    );
    let hanging = write_later(&dying, "b", with_x(2, "1"));
    gate.reached().await;
    world.clock.advance(std::time::Duration::from_secs(5));
    written(&other, &unit("a"), &with_x(2, "2")).await;
    world.clock.advance(std::time::Duration::from_secs(5));
    gate.open();
    hanging.await.unwrap();
    drop(dying);
    written(&other, &unit("b"), &with_x(2, "1")).await;
    assert_eq!(
        versions(&other, &unit("b")).await.len(),
        2,
        "the second one was found committed"
    );
    assert_eq!(edge_into(&other, "b").await, (EdgeStatus::Pending, None));
}

/// As 63, and the edge is declared only when the swap of A has landed.
#[tokio::test(start_paused = true)]
async fn trace_67_a_new_edge_believes_no_time_at_which_the_swap_of_its_source_was_still_under_way() {
    let (world, other) = applied(&CHAIN[1..]).await;
    let (target, graph_of_target) = a_landed_late(&world).await;
    written(&other, &graph_unit(), &edges(9, &CHAIN)).await;
    graph_of_target.heal();
    target.settle_down().await;
    assert_eq!(target.graph_counts().1, 0);
    assert_eq!(edge_into(&other, "b").await, (EdgeStatus::Pending, None));
}
