//! What the simulator promises of itself, and the small worlds that are explored whole.

#![expect(clippy::unwrap_used, reason = "where a fixture fails, the test fails")]

mod crash_points;
mod determinism;
mod exhaustive;
mod graph;
mod regressions;
mod roles;
mod tokens;
