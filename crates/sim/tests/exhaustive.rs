//! Every order of everything, in worlds so small that there is an end to it: two replicas, two people or three, one
//! unit. How it is done, and what is left out: `opentaco_sim::explore`.
//!
//! Each world is explored whole, with as many faults as it is small enough for: a fault of the bucket (an answer that is
//! lost, a request that lands late, a conflict) costs far less than a replica that dies or a client that loses patience,
//! since then everything is asked for again. With a fault more, the larger ones have some hundred thousand orders each: `opentaco-sim --explore 1` plays them, and `docs/reliability.md` tells how
//! far. Each test prints how many orders there were, and asserts that within its bounds none was left out.

use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use opentaco_sim::explore::{Bounds, Scenario, Scene, explore};
use opentaco_sim::gate::Verb;
use opentaco_sim::scenarios::ALL;
use opentaco_sim::stage::lock_id;
use opentaco_sim::world::Ask;

/// A scenario with more paths than this is not small.
const PATHS_MAX: u64 = 20_000;

#[expect(
    clippy::print_stdout,
    reason = "how much was explored is what a reader of the test wants to know"
)]
fn keeps_every_promise(name: &str, (faults, kills): (usize, usize), switches: Option<usize>) {
    let scenario = ALL.iter().find(|scenario| scenario.name == name).unwrap();
    let started = Instant::now();
    let explored = explore(
        scenario,
        Bounds {
            faults,
            kills,
            switches,
            paths_max: PATHS_MAX,
        },
    );
    println!("{name}: {explored}, {:.1} s", started.elapsed().as_secs_f64());
    if let Some(broken) = explored.broken {
        panic!("{name}:\n{broken}");
    }
    assert!(
        explored.exhausted,
        "{name} is not small: {PATHS_MAX} paths are not all of it"
    );
    assert!(explored.interleavings > 1, "nothing was left to choose");
}

macro_rules! claims {
    ($($test:ident: $name:literal, [$($faults:expr),+], $switches:expr;)+) => {
        $(#[test]
        fn $test() {
            $(keeps_every_promise($name, $faults, $switches);)+
        })+

        #[test]
        fn every_small_world_is_explored() {
            let explored = [$($name),+];
            assert_eq!(ALL.iter().map(|scenario| scenario.name).collect::<Vec<_>>(), explored);
        }
    };
}

/// One fault of any kind.
const ONE: (usize, usize) = (1, 1);
/// One fault of the bucket: nobody dies, and nobody loses patience.
const ONE_OF_THE_BUCKET: (usize, usize) = (1, 0);
/// Two of them.
const TWO_OF_THE_BUCKET: (usize, usize) = (2, 0);
/// Two faults, of which one may be that a replica dies or a client waits no longer.
const TWO: (usize, usize) = (2, 1);
const NONE: (usize, usize) = (0, 0);

claims! {
    two_first_locks_make_one_head_and_one_holder: "two locks, first touch", [ONE_OF_THE_BUCKET], None;
    two_locks_of_a_free_unit_have_one_winner: "two locks", [ONE, TWO_OF_THE_BUCKET], None;
    a_lock_whose_retry_was_over_is_not_taken_again: "a lock that is broken while it is asked for", [TWO], None;
    a_lock_is_handed_over_once: "unlock and lock", [ONE, TWO_OF_THE_BUCKET], None;
    no_write_commits_under_a_lock_that_is_broken_meanwhile: "write, and the lock is broken and taken", [NONE], None;
    a_session_and_a_turn_of_somebody_else_keep_their_order: "write and unlock, lock and unlock", [ONE_OF_THE_BUCKET], None;
    two_writes_of_one_lock_are_both_kept: "two writes under one lock", [NONE], None;
    two_writes_without_a_lock_are_both_in_the_history: "two writes without a lock", [NONE], None;
    a_reader_beside_a_writer_reads_one_or_the_other: "a write and a read", [NONE], None;
    what_a_person_puts_beside_a_lock_and_a_read_is_kept: "a person, a lock and a read", [ONE_OF_THE_BUCKET], None;
    what_a_person_puts_beside_a_write_is_in_the_history_or_kept_aside: "a person and a write", [ONE], Some(1);
    a_delete_beside_a_write_is_before_or_after_it: "delete and a write without a lock", [NONE], None;
    a_unit_is_deleted_and_created_in_one_order: "delete and create", [NONE], None;
    the_collector_never_takes_what_commits_meanwhile: "housekeeping and a write", [ONE_OF_THE_BUCKET], None;
    an_older_bucket_is_adopted_once: "a lock and a write without a lock, first touch of an older bucket", [NONE], None;
    an_edge_that_is_declared_while_its_source_is_written_hears_of_it: "a write of a source and a new edge", [NONE], Some(1);
}

const HEAD: &str = "__opentaco_units/app/@head.json";

/// Reads the head, thinks, and puts it back one epoch later, without a condition.
fn careless(scene: Scene) -> BoxFuture<'static, ()> {
    async move {
        scene.turn(Verb::Get, HEAD).await;
        let head = scene.stage().bucket().person_gets(HEAD).unwrap();
        let mut head: serde_json::Value = serde_json::from_slice(&head).unwrap();
        head["epoch"] = (head["epoch"].as_u64().unwrap() + 1).into();
        scene.turn(Verb::Put, HEAD).await;
        scene
            .stage()
            .bucket()
            .person_puts(HEAD, Bytes::from(head.to_string()));
    }
    .boxed()
}

fn created(scene: Scene) -> BoxFuture<'static, ()> {
    async move {
        scene.insist("alice", 0, Ask::Create).await;
    }
    .boxed()
}

fn alice_locks(scene: Scene) -> BoxFuture<'static, ()> {
    async move {
        scene.ask("alice", 0, Ask::Lock(lock_id(1))).await;
    }
    .boxed()
}

#[test]
fn an_order_that_breaks_a_promise_is_found_and_told() {
    let scenario = Scenario {
        name: "careless",
        before: created,
        parts: &[careless, alice_locks],
        with_graph: false,
    };
    let bounds = Bounds {
        faults: 0,
        kills: 0,
        switches: None,
        paths_max: PATHS_MAX,
    };
    let broken = explore(&scenario, bounds).broken.unwrap();
    assert!(
        broken
            .violations
            .iter()
            .any(|violation| violation.invariant == "one-chain"),
        "{broken}"
    );
    let steps: Vec<&str> = broken.steps.iter().map(String::as_str).collect();
    let lost = steps
        .iter()
        .position(|step| step.starts_with("R0's PutIf"))
        .unwrap();
    assert!(
        0 < lost && lost < steps.len() - 1,
        "the lock is taken between the look and the put: {steps:?}"
    );
    let alone = Scenario {
        parts: &[alice_locks],
        ..scenario
    };
    assert!(
        explore(&alone, bounds).broken.is_none(),
        "it is the careless one who breaks it"
    );
}
