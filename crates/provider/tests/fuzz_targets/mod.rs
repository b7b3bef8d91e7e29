//! What the fuzzers in `fuzz/` try to break in the provider: one function, which panics where a promise does not hold.

pub(crate) mod values;

/// A check, under the name of its corpus.
pub(crate) type Target = (&'static str, fn(&[u8]));

pub(crate) const TARGETS: &[Target] = &[("values", values::check)];
