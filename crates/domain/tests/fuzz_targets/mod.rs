//! What the fuzzers in `fuzz/` try to break: one function each, which panics where a promise does not hold.
//!
//! They live here so that `cargo test` runs them over the corpus too.

pub(crate) mod lock_bodies;
pub(crate) mod states;
pub(crate) mod unit_ids;
