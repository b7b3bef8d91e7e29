//! The stores that come with this crate: each keeps the contract, the local disk keeps what only a disk is asked for,
//! also where its directory is taken away or a name is none on a disk, and the proof at start finds out those that lie.
//!
//! The same contract runs over S3 and Azure in `e2e`: `contract::run(a, b, prefix)` with two clients of one bucket.

#![expect(clippy::unwrap_used, reason = "where a fixture fails, the test fails")]

mod keeps_the_contract;
mod liars;
mod local_disk;
mod names;
mod proof_finds_liars;
mod survives_a_kill;
mod vanished;
mod vault;
