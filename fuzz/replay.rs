//! Runs what the fuzzers run over everything in their corpora, so that neither can rot. Part of the tests of each crate
//! that has targets.

use std::fs;
use std::path::PathBuf;

/// What a target does with an input: it panics where a promise does not hold.
type Check = fn(&[u8]);

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

/// Each seed as it is. Those that people have named are also cut off at every byte, and every byte of them is turned
/// over; those that the fuzzers found are called by their digest and are many.
#[expect(
    clippy::print_stdout,
    reason = "the last line is the seed that broke a promise"
)]
pub(crate) fn play(targets: &[(&str, Check)]) {
    for (target, check) in targets {
        for (path, seed) in seeds(target) {
            println!("{}", path.display());
            check(&seed);
            let is_found = path.file_name().is_some_and(|name| {
                name.len() == 40 && name.to_string_lossy().bytes().all(|b| b.is_ascii_hexdigit())
            });
            let every = if is_found { seed.len() } else { 0 };
            for at in every..seed.len().min(2_000) {
                check(&seed[..at]);
                let mut turned = seed.clone();
                turned[at] ^= 1;
                check(&turned);
            }
        }
    }
}
