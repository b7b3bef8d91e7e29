//! What depends on what, in bad weather: random histories, each checked against every promise.

use opentaco_sim::graph::{check, play};
use opentaco_sim::promise::table;

/// How many histories are played. Twenty seconds without optimisation.
const HISTORIES: u64 = 80;

#[test]
fn in_bad_weather_the_graph_follows_every_write_and_loses_nothing_that_terraform_sends() {
    let (mut writes, mut posts, mut versions) = (0, 0, 0);
    for seed in 1..=HISTORIES {
        let history = play(seed);
        let broken = check(&history);
        assert!(
            broken.is_empty(),
            "seed {seed}: {}\n{}",
            broken[0],
            table(&history.lines)
        );
        let (of_units, of_the_graph) = history.writes();
        writes += of_units;
        posts += of_the_graph;
        versions += history.versions_of_the_graph();
    }
    println!("{HISTORIES} histories, {writes} writes, {posts} posts of the graph, {versions} versions of it");
    assert!(writes > 2000, "{writes}");
    assert!(posts > 350, "{posts}");
    assert!(versions > 1500, "{versions}");
}

#[test]
fn one_seed_is_one_history_of_the_graph() {
    for seed in 1..=5 {
        assert_eq!(play(seed).lines, play(seed).lines, "seed {seed}");
    }
}

/// Each found something once (ARCHITECTURE.md, histories 62 to 67).
#[test]
fn the_seeds_of_the_graph_that_found_something_break_nothing_any_more() {
    for seed in [520, 1120, 3441, 4163, 10_799, 15_320, 207_881, 211_609, 211_811] {
        let broken = check(&play(seed));
        assert!(broken.is_empty(), "seed {seed}: {}", broken[0]);
    }
}
