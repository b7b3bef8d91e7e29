//! Minutes of torture with every change; ten of them, and hours, are asked for by `opentaco-torture --seconds`.

#![expect(
    clippy::print_stdout,
    reason = "what a run came to is what a reader of the test wants to know"
)]

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use opentaco_testkit::tools;
use opentaco_torture::verdict::{Aims, Verdict};
use opentaco_torture::{Plan, Store, run};

/// One at a time: each of them needs the whole machine.
static TURN: Mutex<()> = Mutex::new(());

fn tortured(store: Store, seconds: u64, program: &str, bug: Option<&str>) -> Verdict {
    let _mine = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let plan = Plan {
        program: tools::built(program),
        store,
        seconds,
        seed: 1,
        bug: bug.map(str::to_owned),
        // Far less than a machine of its own comes to in that time: this build is not optimised.
        aims: Aims::of(seconds / 6),
        keep: std::env::var_os("OPENTACO_TORTURE_KEEP")
            .map(|below| PathBuf::from(below).join(format!("{store:?}"))),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    let verdict = runtime.block_on(run(&plan)).expect("it can be run to its end");
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    println!("{}", verdict.told());
    verdict
}

#[test]
fn three_replicas_on_a_real_s3_server_keep_every_promise() {
    let verdict = tortured(Store::S3, 60, "opentacosvc", None);
    assert!(verdict.is_green(), "{}", verdict.told());
}

#[test]
fn a_replica_on_a_disk_that_fills_up_keeps_every_promise() {
    let verdict = tortured(Store::Disk, 30, "opentacosvc", None);
    assert!(verdict.is_green(), "{}", verdict.told());
}

#[test]
fn a_head_that_is_put_unconditionally_is_noticed() {
    let verdict = tortured(
        Store::S3,
        20,
        "opentacosvc-planted",
        Some("head-put-unconditionally"),
    );
    let says = |invariant: &str| verdict.broken.iter().any(|what| what.starts_with(invariant));
    assert!(says("one-chain") && says("durable"), "{}", verdict.told());
}
