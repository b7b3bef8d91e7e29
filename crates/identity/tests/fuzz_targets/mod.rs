//! What the fuzzers in `fuzz/` try to break here: one function each, which panics where a promise does not hold.

pub(crate) mod id_tokens;
pub(crate) mod signatures;
pub(crate) mod signer;
pub(crate) mod tokens;

/// A check, under the name of its corpus.
pub(crate) type Target = (&'static str, fn(&[u8]));

pub(crate) const TARGETS: &[Target] = &[
    ("id_tokens", id_tokens::check),
    ("signatures", signatures::check),
    ("tokens", tokens::check),
];
