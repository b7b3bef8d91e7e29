//! See `crates/domain/tests/fuzz_targets/unit_ids.rs`, which is the target.

#![no_main]

#[path = "../../crates/domain/tests/fuzz_targets/unit_ids.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::check(bytes));
