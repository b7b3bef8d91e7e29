//! What the fuzzers keep, played against what they check.

use crate::{fuzz_targets, replay};

#[test]
fn whatever_the_fuzzers_keep_keeps_its_promises() {
    replay::play(fuzz_targets::TARGETS);
}
