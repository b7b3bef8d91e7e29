//! Logins and API tokens in bad weather: random histories, each checked against every promise.

use opentaco_sim::promise::table;
use opentaco_sim::tokens::{check, play};

/// How many histories are played. Ten seconds without optimisation.
const HISTORIES: u64 = 150;

#[test]
fn in_bad_weather_a_refresh_token_serves_once_and_what_is_over_is_over_everywhere_within_five_seconds() {
    let (mut refreshes, mut thefts, mut decisions) = (0, 0, 0);
    for seed in 1..=HISTORIES {
        let history = play(seed);
        let broken = check(&history);
        assert!(
            broken.is_empty(),
            "seed {seed}: {}\n{}",
            broken[0],
            table(&history.lines)
        );
        refreshes += history.refreshes();
        thefts += history.thefts();
        decisions += history.decisions();
    }
    println!("{HISTORIES} histories, {refreshes} refreshes, {thefts} thefts, {decisions} decisions");
    assert!(refreshes > 4500, "{refreshes}");
    assert!(thefts > 150, "{thefts}");
    assert!(decisions > 8000, "{decisions}");
}

#[test]
fn one_seed_is_one_history_of_tokens() {
    for seed in 1..=10 {
        assert_eq!(play(seed).lines, play(seed).lines, "seed {seed}");
    }
}
