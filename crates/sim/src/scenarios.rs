//! The small worlds that are explored whole: two replicas, one unit, two or three people.

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::explore::{Part, Scenario, Scene};
use crate::stage::{graph_of, lock_id, state, state_with_x};
use crate::world::{Ask, Told};

/// One thing that one client asks of one replica first.
macro_rules! asks {
    ($client:literal, $replica:literal, $ask:expr) => {
        (|scene: Scene| {
            async move {
                scene.insist($client, $replica, $ask).await;
            }
            .boxed()
        }) as Part
    };
}

/// All of them.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "two locks, first touch",
        before: nothing,
        parts: &[asks!("alice", 0, lock(1)), asks!("bob", 1, lock(2))],
        with_graph: false,
    },
    Scenario {
        name: "two locks",
        before: written,
        parts: &[asks!("alice", 0, lock(3)), asks!("bob", 1, lock(2))],
        with_graph: false,
    },
    Scenario {
        name: "a lock that is broken while it is asked for",
        before: written,
        parts: &[asks!("alice", 0, lock(3)), asks!("bob", 1, Ask::ForceUnlock)],
        with_graph: false,
    },
    Scenario {
        name: "unlock and lock",
        before: alice_holds,
        parts: &[asks!("alice", 0, unlock(1)), asks!("bob", 1, lock(2))],
        with_graph: false,
    },
    Scenario {
        name: "write, and the lock is broken and taken",
        before: alice_holds,
        parts: &[asks!("alice", 0, post(2, "alice", Some(1))), bob_breaks_in],
        with_graph: false,
    },
    Scenario {
        name: "write and unlock, lock and unlock",
        before: alice_locked,
        parts: &[alice_writes_and_leaves, bob_takes_a_turn],
        with_graph: false,
    },
    Scenario {
        name: "two writes under one lock",
        before: alice_locked,
        parts: &[
            asks!("alice", 0, post(1, "first", Some(1))),
            asks!("alice's other hand", 1, post(2, "second", Some(1))),
        ],
        with_graph: false,
    },
    Scenario {
        name: "two writes without a lock",
        before: written,
        parts: &[
            asks!("alice", 0, post(2, "alice", None)),
            asks!("bob", 1, post(3, "bob", None)),
        ],
        with_graph: false,
    },
    Scenario {
        name: "a write and a read",
        before: alice_holds,
        parts: &[
            asks!("alice", 0, post(2, "alice", Some(1))),
            asks!("bob", 1, Ask::Read),
        ],
        with_graph: false,
    },
    Scenario {
        name: "a person, a lock and a read",
        before: written,
        parts: &[
            person_puts,
            asks!("alice", 0, lock(3)),
            asks!("bob", 1, Ask::Read),
        ],
        with_graph: false,
    },
    Scenario {
        name: "a person and a write",
        before: alice_holds,
        parts: &[person_puts, asks!("alice", 0, post(2, "alice", Some(1)))],
        with_graph: false,
    },
    Scenario {
        name: "delete and a write without a lock",
        before: written,
        parts: &[
            asks!("alice", 0, Ask::Delete),
            asks!("bob", 1, post(2, "bob", None)),
        ],
        with_graph: false,
    },
    Scenario {
        name: "delete and create",
        before: written,
        parts: &[asks!("alice", 0, Ask::Delete), asks!("bob", 1, Ask::Create)],
        with_graph: false,
    },
    Scenario {
        name: "housekeeping and a write",
        before: alice_holds,
        parts: &[bob_tidies, asks!("alice", 0, post(2, "alice", Some(1)))],
        with_graph: false,
    },
    Scenario {
        name: "a lock and a write without a lock, first touch of an older bucket",
        before: older,
        parts: &[asks!("alice", 0, lock(1)), asks!("bob", 1, post(8, "bob", None))],
        with_graph: false,
    },
    Scenario {
        name: "a write of a source and a new edge",
        before: graph_without_edges,
        parts: &[
            asks!(
                "alice",
                0,
                Ask::Write {
                    bytes: state_with_x(2, 2),
                    lock: None,
                }
            ),
            bob_declares,
        ],
        with_graph: true,
    },
];

fn nothing(_: Scene) -> BoxFuture<'static, ()> {
    async {}.boxed()
}

fn lock(n: u8) -> Ask {
    Ask::Lock(lock_id(n))
}

fn unlock(n: u8) -> Ask {
    Ask::Unlock(lock_id(n))
}

fn post(serial: u64, by: &str, under: Option<u8>) -> Ask {
    Ask::Write {
        bytes: state(serial, by),
        lock: under.map(lock_id),
    }
}

/// Alice, at home at R0, holds the unit and has written once.
fn alice_holds(scene: Scene) -> BoxFuture<'static, ()> {
    async move {
        scene.insist("alice", 0, lock(1)).await;
        scene.insist("alice", 0, post(1, "alice", Some(1))).await;
    }
    .boxed()
}

/// Alice holds the unit, and has not written.
fn alice_locked(scene: Scene) -> BoxFuture<'static, ()> {
    async move {
        scene.insist("alice", 0, lock(1)).await;
    }
    .boxed()
}

/// The unit was written once and is free.
fn written(scene: Scene) -> BoxFuture<'static, ()> {
    async move {
        alice_holds(scene.clone()).await;
        scene.insist("alice", 0, unlock(1)).await;
    }
    .boxed()
}

/// A bucket older than us.
fn older(scene: Scene) -> BoxFuture<'static, ()> {
    async move { scene.stage().person_puts(state(7, "old")) }.boxed()
}

/// Somebody with `aws s3 cp`.
fn person_puts(scene: Scene) -> BoxFuture<'static, ()> {
    async move { scene.person(state(9, "hand")).await }.boxed()
}

/// The housekeeping.
fn bob_tidies(scene: Scene) -> BoxFuture<'static, ()> {
    async move { scene.tidy(1).await }.boxed()
}

/// Locks and gives back.
fn bob_takes_a_turn(scene: Scene) -> BoxFuture<'static, ()> {
    async move {
        if scene.insist("bob", 1, lock(2)).await == Told::Done {
            scene.insist("bob", 1, unlock(2)).await;
        }
    }
    .boxed()
}

/// Somebody breaks the lock, and takes it.
fn bob_breaks_in(scene: Scene) -> BoxFuture<'static, ()> {
    async move {
        scene.ask("bob", 1, Ask::ForceUnlock).await;
        scene.insist("bob", 1, lock(2)).await;
    }
    .boxed()
}

/// The unit was written, and there is a graph that does not know it.
fn graph_without_edges(scene: Scene) -> BoxFuture<'static, ()> {
    async move {
        let bytes = state_with_x(1, 1);
        scene.insist("alice", 0, Ask::Write { bytes, lock: None }).await;
        scene.declares("bob", 1, graph_of(1, false)).await;
    }
    .boxed()
}

/// Somebody declares a dependency on the unit.
fn bob_declares(scene: Scene) -> BoxFuture<'static, ()> {
    async move {
        scene.declares("bob", 1, graph_of(2, true)).await;
    }
    .boxed()
}

fn alice_writes_and_leaves(scene: Scene) -> BoxFuture<'static, ()> {
    async move {
        scene.insist("alice", 0, post(2, "alice", Some(1))).await;
        scene.insist("alice", 0, unlock(1)).await;
    }
    .boxed()
}
