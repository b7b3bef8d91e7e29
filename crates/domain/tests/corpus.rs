//! Runs what the fuzzers run over everything in their corpora, so that neither can rot.

use std::fs;
use std::path::PathBuf;

mod fuzz_targets;

/// The seeds of a target; there must be some.
fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, bytes)
    };
    let seeds: Vec<_> = entries
        .map(|entry| read(entry.expect("the folder was just opened").path()))
        .collect();
    assert!(
        seeds.len() >= 10,
        "{} holds only {} seeds",
        folder.display(),
        seeds.len()
    );
    seeds
}

/// Each seed as it is, cut off at every byte, and with every byte turned over.
#[expect(
    clippy::print_stdout,
    reason = "the last line is the seed that broke a promise"
)]
fn run(target: &str, check: fn(&[u8])) {
    for (path, seed) in seeds(target) {
        println!("{}", path.display());
        check(&seed);
        for at in 0..seed.len().min(2_000) {
            check(&seed[..at]);
            let mut turned = seed.clone();
            turned[at] ^= 1;
            check(&turned);
        }
    }
}

#[test]
fn unit_ids_of_the_corpus_keep_their_promises() {
    run("unit_ids", fuzz_targets::unit_ids::check);
}

#[test]
fn lock_bodies_of_the_corpus_keep_their_promises() {
    run("lock_bodies", fuzz_targets::lock_bodies::check);
}

#[test]
fn states_of_the_corpus_keep_their_promises() {
    run("states", fuzz_targets::states::check);
}
