//! What the fuzzers in `fuzz/` try to break at the doors: one function each, which panics where a promise does not hold.

pub(crate) mod addresses;
pub(crate) mod chunks;
#[path = "../../../identity/tests/fuzz_targets/signer.rs"]
pub(crate) mod signer;
pub(crate) mod xml;

/// A check, under the name of its corpus.
pub(crate) type Target = (&'static str, fn(&[u8]));

pub(crate) const TARGETS: &[Target] = &[
    ("addresses", addresses::check),
    ("chunks", chunks::check),
    ("xml", xml::check),
];
