//! The doors, tried from outside: dialect, guards, limits, and what the log may not say. What an operation does to a
//! unit is `control`'s to test.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be had is a failed test")]

mod audit;
mod bodies;
mod config;
mod corpus;
mod deploy;
mod every_route_is_guarded;
mod fuzz_targets;
mod graph;
mod limits;
mod logins;
mod management;
mod metrics;
mod openapi;
mod process;
#[path = "../../../fuzz/replay.rs"]
mod replay;
mod s3;
mod secrets;
mod support;
mod terraform_backend;
mod tls;
