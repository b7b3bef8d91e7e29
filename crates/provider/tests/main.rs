//! The provider from outside: its pages, and what it answers to requests, with a service that the test plays.

#![expect(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod corpus;
mod fuzz_targets;
mod generated;
#[path = "../../../fuzz/replay.rs"]
mod replay;
mod requests;
