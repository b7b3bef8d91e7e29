//! The checker, checked: every bug that can be planted is caught, by the invariant that is its own, and what catches it
//! breaks nothing without it.
//!
//! A bug is planted in a process for good, so each is hunted by a process of its own. Nothing is planted in this one.

#![expect(clippy::unwrap_used, reason = "where a fixture fails, the test fails")]

use std::collections::BTreeSet;
use std::process::Command;

use opentaco_sim::planted::broken_by;
use opentaco_storage::planted::{BUGS, EXCUSED, Planted};

/// The seed whose history catches a bug, or what the hunter said instead.
fn hunt(bug: &Planted) -> Result<u64, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_opentaco-sim"))
        .args(["--planted", bug.name])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let caught = format!("{}: caught by {} at seed ", bug.name, bug.caught_by);
    let seed = said
        .lines()
        .find_map(|line| line.strip_prefix(&caught)?.parse().ok());
    match seed {
        Some(seed) if output.status.success() => Ok(seed),
        _ => Err(said),
    }
}

#[test]
fn every_planted_bug_is_caught_by_its_own_invariant_and_nothing_is_broken_without_it() {
    let mut missed = Vec::new();
    for bug in BUGS {
        match hunt(bug) {
            Ok(seed) => {
                println!("{}: seed {seed}", bug.name);
                let (broken, _) = broken_by(bug, seed);
                assert!(broken.is_empty(), "seed {seed}, without {}: {broken:?}", bug.name);
            }
            Err(said) => missed.push(said),
        }
    }
    assert!(
        missed.is_empty(),
        "the world has changed, or the checker: find a seed with `--planted NAME` and a larger `within`\n{}",
        missed.join("\n")
    );
}

/// The newest history that taught us a rule (ARCHITECTURE.md, "docs/reliability.md").
const LAST_TRACE: u8 = 67;

#[test]
fn every_history_that_taught_us_a_rule_is_planted_or_excused() {
    let planted: BTreeSet<u8> = BUGS.iter().flat_map(|bug| bug.traces).copied().collect();
    let excused: BTreeSet<u8> = EXCUSED.iter().map(|(trace, _)| *trace).collect();
    assert!(planted.is_disjoint(&excused), "an excuse is out of date");
    let all: BTreeSet<u8> = planted.union(&excused).copied().collect();
    assert_eq!(all, (1..=LAST_TRACE).collect());
}
