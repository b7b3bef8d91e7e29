//! Who may do what, in bad weather: random histories, each checked against every promise.

use opentaco_sim::promise::table;
use opentaco_sim::roles::{check, play};

/// How many histories are played. Half a minute without optimisation, a second with it.
const HISTORIES: u64 = 1000;

#[test]
fn in_bad_weather_roles_are_given_and_taken_once_by_administrators_and_seen_within_five_seconds() {
    let (mut changes, mut decisions) = (0, 0);
    for seed in 1..=HISTORIES {
        let history = play(seed);
        let broken = check(&history);
        assert!(
            broken.is_empty(),
            "seed {seed}: {}\n{}",
            broken[0],
            table(&history.lines)
        );
        changes += history.changes();
        decisions += history.decisions();
    }
    println!("{HISTORIES} histories, {changes} changes, {decisions} decisions");
    assert!(changes > 20_000, "{changes}");
    assert!(decisions > 20_000, "{decisions}");
}

#[test]
fn one_seed_is_one_history_of_roles() {
    for seed in 1..=20 {
        assert_eq!(play(seed).lines, play(seed).lines, "seed {seed}");
    }
}
