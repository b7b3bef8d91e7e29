//! Torture: the built service, as many processes of it as replicas, before one real bucket; clients of every door at
//! work on the same units; and faults of every kind on both sides and in the middle.
//!
//! ```text
//!   clients ── door ──► opentacosvc × 3 ── wire ──► the S3 server
//!              records,   killed, stopped,  records,
//!              cuts       full disks        cuts, holds back
//! ```
//!
//! Everything that passes through the [`door`] is a record, everything that takes effect behind the [`wire`] an event;
//! together they are a [`history`], and the simulator's checker judges it as it judges its own. What it cannot see is
//! looked at in the end by [`verdict`]: the audit, the graph, and whether enough has happened to mean anything.
//!
//! On local disk nobody stands between the service and its bucket. There the black-box rules of [`outside`] judge what
//! clients were told against what the service says in the end.

#![expect(
    clippy::disallowed_methods,
    reason = "what is tortured runs in real time, and so does whoever tortures it"
)]

pub mod clients;
pub mod dice;
pub mod door;
pub mod fate;
pub mod fleet;
pub mod history;
pub mod http;
pub mod outside;
pub mod run;
pub mod told;
pub mod verdict;
pub mod wire;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use run::{Plan, Store, run};

/// What somebody who panicked has left is as good as any other.
fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
