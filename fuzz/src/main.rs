//! One fuzzer for every target: OPENTACO_FUZZ_TARGET says which, and everything else is libFuzzer's.
//!
//! `fuzz/run` is how to run it. What a target checks is written in `crates/*/tests/fuzz_targets`.

#![no_main]
#![allow(missing_docs, reason = "the macro defines what libFuzzer calls")]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/domain/tests/fuzz_targets/mod.rs"]
mod domain;
#[path = "../../crates/identity/tests/fuzz_targets/mod.rs"]
mod identity;
#[path = "../../crates/provider/tests/fuzz_targets/mod.rs"]
mod provider;
#[path = "../../crates/server/tests/fuzz_targets/mod.rs"]
mod server;

static CHECK: OnceLock<fn(&[u8])> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| CHECK.get_or_init(chosen)(bytes));

fn chosen() -> fn(&[u8]) {
    let asked = std::env::var("OPENTACO_FUZZ_TARGET").unwrap_or_default();
    let all = [
        domain::TARGETS,
        identity::TARGETS,
        provider::TARGETS,
        server::TARGETS,
    ]
    .concat();
    let found = all.iter().find(|(name, _)| *name == asked);
    let Some((_, check)) = found else {
        let known: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        panic!(
            "OPENTACO_FUZZ_TARGET names no target; it can be one of {}",
            known.join(", ")
        );
    };
    *check
}
