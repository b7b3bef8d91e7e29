//! What the fuzzers in `fuzz/` try to break: one function each, which panics where a promise does not hold.
//!
//! They live here so that `cargo test` runs them over the corpus too.

pub(crate) mod audit_segments;
pub(crate) mod canonical_json;
pub(crate) mod graphs;
pub(crate) mod lock_bodies;
pub(crate) mod object_keys;
pub(crate) mod policies;
pub(crate) mod states;
pub(crate) mod unit_ids;

/// A check, under the name of its corpus.
pub(crate) type Target = (&'static str, fn(&[u8]));

pub(crate) const TARGETS: &[Target] = &[
    ("audit_segments", audit_segments::check),
    ("canonical_json", canonical_json::check),
    ("graphs", graphs::check),
    ("lock_bodies", lock_bodies::check),
    ("object_keys", object_keys::check),
    ("policies", policies::check),
    ("states", states::check),
    ("unit_ids", unit_ids::check),
];
