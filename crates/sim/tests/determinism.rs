//! The same seed is the same history, byte for byte, and the code that is simulated leaves nothing to anybody else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn simulator(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_opentaco-sim"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn the_same_seed_is_the_same_trace_in_two_processes() {
    let mut traces = BTreeSet::new();
    for seed in ["1", "2", "3", "77", "4242", "18446744073709551615"] {
        let (one, other) = (simulator(&["--replay", seed]), simulator(&["--replay", seed]));
        assert!(one.stdout == other.stdout, "seed {seed} tells two stories");
        assert!(
            one.stdout.len() > 1000,
            "seed {seed} tells no story: {}",
            String::from_utf8_lossy(&one.stdout)
        );
        traces.insert(one.stdout);
    }
    assert_eq!(traces.len(), 6, "two seeds tell the same story");
}

#[test]
fn the_same_seed_with_the_same_mask_is_the_same_trace_and_a_shorter_one() {
    let mask = "without=1,replicas=1,units=1,faults=0,until=60,again=3";
    let (one, other) = (
        simulator(&["--replay", "77", "--mask", mask]),
        simulator(&["--replay", "77", "--mask", mask]),
    );
    assert!(one.stdout == other.stdout, "the mask tells two stories");
    assert!(
        one.stdout.len() < simulator(&["--replay", "77"]).stdout.len(),
        "nothing was taken away"
    );
}

#[test]
fn the_last_line_counts_and_the_exit_status_says_whether_a_promise_was_broken() {
    let output = simulator(&["--histories", "20", "--seed", "100"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = text.lines().last().unwrap().split(' ').collect();
    let [
        played,
        "histories,",
        locks,
        "lock",
        "attempts,",
        violations,
        "violations,",
        seconds,
        "s",
    ] = words.as_slice()
    else {
        panic!("{text}")
    };
    assert_eq!((*played, *violations), ("20", "0"));
    assert!(locks.parse::<u64>().unwrap() >= 20, "{text}");
    assert!(seconds.parse::<f64>().is_ok(), "{text}");
    assert!(output.status.success());
}

/// What the seed does not own.
const FOREIGN: &[(&str, &str)] = &[
    ("tokio::spawn", "runs when tokio likes"),
    ("spawn_blocking", "runs on a thread of its own"),
    ("block_in_place", "runs on a thread of its own"),
    ("task::spawn", "runs when tokio likes"),
    ("JoinSet", "runs when tokio likes"),
    (
        "Handle::current",
        "reaches the runtime past `Surroundings::tasks`",
    ),
    ("thread::sleep", "waits for the clock on the wall"),
    ("available_parallelism", "asks the machine"),
    ("thread::spawn", "runs on a thread of its own"),
    ("tokio::time", "waits for the clock on the wall"),
    ("tokio::select", "draws which branch is looked at first"),
    ("futures::select!", "draws which branch is looked at first"),
    ("FuturesUnordered", "answers in the order of wakings"),
    ("SystemTime", "reads the clock on the wall"),
    ("Instant::now", "reads the clock of the machine"),
    ("Timestamp::now", "reads the clock on the wall"),
    ("Utc::now", "reads the clock on the wall"),
    ("SystemClock", "reads the clock on the wall"),
    ("Zoned::now", "reads the clock on the wall"),
    ("thread_rng", "draws from the operating system"),
    ("OsRng", "draws from the operating system"),
    ("from_os_rng", "draws from the operating system"),
    ("RandomState", "draws from the operating system"),
    ("rand::", "draws by itself"),
    ("getrandom", "draws from the operating system"),
    ("new_v4", "draws from the operating system"),
    ("now_v7", "draws from the operating system, and reads the clock"),
    (
        "HashMap",
        "is gone through in an order that differs from process to process",
    ),
    (
        "HashSet",
        "is gone through in an order that differs from process to process",
    ),
    ("std::env", "reads what surrounds the process"),
    ("std::fs", "reads the disk"),
    ("tokio::fs", "reads the disk"),
    ("std::net", "reaches the network"),
];

/// Files that are no part of a simulation.
const OUTSIDE: &[(&str, &str)] = &[
    (
        "storage/src/surroundings.rs",
        "it is where clock, chance and tasks of the real world are made",
    ),
    ("storage/src/open.rs", "it opens real stores"),
    ("storage/src/open/", "it opens real stores"),
    ("storage/src/aws.rs", "it finds credentials of a real store"),
    ("storage/src/transport.rs", "it speaks HTTP with a real store"),
    ("storage/src/transport/", "it speaks HTTP with a real store"),
    ("storage/src/local.rs", "it is a real store"),
    ("storage/src/local/", "it is a real store"),
    (
        "storage/src/proof.rs",
        "it asks a real store at start, before anything is served",
    ),
    (
        "storage/src/proof/",
        "it asks a real store at start, before anything is served",
    ),
    ("storage/src/contract.rs", "it is a test of stores"),
    (
        "control/src/open.rs",
        "it opens a real store, with the surroundings of the real world",
    ),
];

/// What is used all the same, and why it cannot matter.
const ALLOWED: &[(&str, &str, &str)] = &[
    (
        "control/src/outputs.rs",
        "spawn_blocking",
        "it parses what it was given, and asks the bucket for nothing",
    ),
    (
        "control/src/outputs.rs",
        "task::spawn",
        "it is that `spawn_blocking`",
    ),
    (
        "domain/src/clock.rs",
        "SystemClock",
        "it is defined there, and only ever passed in",
    ),
    (
        "domain/src/clock.rs",
        "Timestamp::now",
        "it is what the clock on the wall is made of",
    ),
    (
        "domain/src/lib.rs",
        "SystemClock",
        "it is named there for those who pass it in",
    ),
    (
        "storage/src/counts.rs",
        "Instant::now",
        "it times requests for whoever scrapes the service, and nothing is decided by it",
    ),
    (
        "storage/src/lock_copies.rs",
        "HashMap",
        "it is looked up by key; all of it is asked one yes-or-no question",
    ),
    (
        "storage/src/listing.rs",
        "HashSet",
        "it is asked whether it contains a unit",
    ),
    (
        "storage/src/collect.rs",
        "HashSet",
        "they are asked whether they contain a version or a session",
    ),
    (
        "storage/src/collect.rs",
        "HashMap",
        "its values go into a set that is asked whether it contains them",
    ),
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(below: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Each foreign thing that a source uses, tests and comments left aside.
fn foreign_in(source: &str) -> Vec<&'static str> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let code: Vec<&str> = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let uses = |word: &str| code.iter().any(|line| line.contains(word));
    FOREIGN
        .iter()
        .map(|(word, _)| *word)
        .filter(|word| uses(word))
        .collect()
}

#[test]
fn nothing_in_domain_storage_and_control_is_left_to_anybody_but_the_seed() {
    let mut found = Vec::new();
    let mut allowed = BTreeSet::new();
    let mut read = 0;
    for name in ["domain", "storage", "control"] {
        for path in sources(&crates().join(name).join("src")) {
            let file = path.strip_prefix(crates()).unwrap().to_str().unwrap().to_owned();
            if OUTSIDE.iter().any(|(outside, _)| file.starts_with(outside)) {
                continue;
            }
            read += 1;
            for word in foreign_in(&std::fs::read_to_string(&path).unwrap()) {
                match ALLOWED.iter().find(|(at, what, _)| *at == file && *what == word) {
                    Some(entry) => drop(allowed.insert(entry)),
                    None => {
                        let why = FOREIGN.iter().find(|(other, _)| *other == word).unwrap().1;
                        found.push(format!("{file} uses `{word}`, which {why}"));
                    }
                }
            }
        }
    }
    assert!(read > 30, "only {read} files were read");
    assert!(found.is_empty(), "{}", found.join("\n"));
    let idle: Vec<_> = ALLOWED.iter().filter(|entry| !allowed.contains(entry)).collect();
    assert!(idle.is_empty(), "nobody needs this permission any more: {idle:?}");
}

#[test]
fn what_is_foreign_is_found_in_code_and_not_in_comments_or_tests() {
    assert_eq!(foreign_in("fn f() { tokio::spawn(async {}); }"), ["tokio::spawn"]);
    assert_eq!(
        foreign_in("use std::collections::HashMap; let now = Timestamp::now();"),
        ["Timestamp::now", "HashMap"]
    );
    assert!(
        foreign_in("// tokio::spawn\n#[cfg(test)] mod tests { fn f() { tokio::spawn(async {}); } }")
            .is_empty()
    );
}

#[test]
fn no_crate_but_the_simulator_asks_for_planted_bugs_and_none_by_default() {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(crates()).unwrap() {
        let manifest = entry.unwrap().path().join("Cargo.toml");
        let Ok(text) = std::fs::read_to_string(&manifest) else {
            continue;
        };
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let lines = lines.filter(|line| line.contains("planted"));
        let name = manifest
            .parent()
            .unwrap()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        found.extend(lines.map(|line| format!("{name}: {line}")));
    }
    found.sort();
    assert_eq!(
        found,
        [
            r#"control: planted = ["opentaco-storage/planted"]"#,
            // For torture, which asks for them by building the service once more.
            r#"server: planted = ["opentaco-control/planted"]"#,
            r#"sim: name = "planted""#,
            r#"sim: planted = ["opentaco-storage/planted"]"#,
            r#"sim: required-features = ["planted"]"#,
            "storage: planted = []",
        ]
    );
}
