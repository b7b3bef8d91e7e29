//! The exact requests of every operation, and the shape of what machines read. Nothing here is timed.

use opentaco_bench::report::{Aim, Report};
use opentaco_bench::requests::{self, Measured};
use opentaco_bench::rounds::Cost;
use serde_json::{Value, json};

fn cost(requests: u64, begun_before_answer: u64, awaited_round_trips: u64) -> Cost {
    Cost {
        requests,
        begun_before_answer,
        awaited_round_trips,
    }
}

#[test]
fn every_operation_makes_exactly_these_requests_and_awaits_exactly_these_round_trips() {
    let measured = requests::operations().unwrap();
    let costs: Vec<_> = measured
        .iter()
        .map(|measured| (measured.name, measured.cost))
        .collect();
    assert_eq!(
        costs,
        [
            ("lock", cost(2, 1, 1)),
            ("read", cost(2, 2, 1)),
            ("commit", cost(4, 4, 3)),
            ("unlock", cost(2, 1, 1)),
            ("commit_without_lock", cost(5, 4, 3)),
            ("describe", cost(1, 1, 1)),
            ("lock_read_write_unlock", cost(10, 9, 6)),
            ("s3_apply", cost(11, 10, 7)),
            ("commit_that_changes_an_edge", cost(8, 7, 6)),
        ]
    );
    for Measured {
        name,
        cost,
        requests_max,
        round_trips_max,
    } in measured
    {
        assert!(
            cost.requests <= requests_max && cost.awaited_round_trips <= round_trips_max,
            "{name}"
        );
    }
}

#[test]
fn a_listing_costs_one_request_for_a_thousand_names_and_one_for_the_graph_whatever_the_history() {
    // The names that are gone around are one name more: 1,000 units do not fit one page. The graph is asked for at the
    // same time as the first page.
    for (units, requests) in [(1, 2), (999, 2), (1_000, 3)] {
        for with_history in [false, true] {
            let listed = requests::listing(units, with_history).unwrap();
            assert_eq!(
                listed.cost,
                cost(requests, requests, requests - 1),
                "{units} units, history: {with_history}"
            );
        }
    }
}

#[test]
fn housekeeping_adds_less_than_a_request_to_the_average_commit() {
    let average = requests::commits_with_housekeeping().unwrap();
    // The look at the graph is the fourth.
    assert!((4.0..5.0).contains(&average), "{average}");
}

#[test]
fn a_row_is_a_name_a_value_and_a_unit_and_only_a_ratio_names_another_row() {
    let mut out = Vec::new();
    let mut report = Report::new(&mut out);
    report.row("throughput.get.10kb.bare", 50_000.0, "requests/s");
    report.ratio("ratio.get.10kb", 0.75, "throughput.get.10kb.bare");
    assert_eq!(report.judge(Aim::AtLeast(0.7)), ">= 0.7 met");
    assert_eq!(
        serde_json::to_value(report.rows()).unwrap(),
        json!([
            { "name": "throughput.get.10kb.bare", "value": 50_000.0, "unit": "requests/s" },
            { "name": "ratio.get.10kb", "value": 0.75, "unit": "ratio", "ratio_to": "throughput.get.10kb.bare" },
        ])
    );
}

#[test]
fn the_program_writes_its_rows_as_one_json_array_and_ends_well() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("figures.json");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_opentaco-bench"))
        .args(["--quick", "--only", "requests", "--json"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let rows: Vec<Value> = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    for name in [
        "requests.lock",
        "round_trips.lock_read_write_unlock",
        "requests.list.2500_units",
    ] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    for row in &rows {
        assert!(row["value"].is_number() && row["unit"].is_string(), "{row}");
    }
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("lock read write unlock"), "{text}");
}

#[test]
fn what_it_does_not_know_it_refuses_with_two_and_what_it_cannot_measure_with_one() {
    let run = |arguments: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_opentaco-bench"))
            .args(arguments)
            .output()
            .unwrap()
    };
    assert_eq!(run(&["--only", "nothing"]).status.code(), Some(2));
    let unwritable = run(&["--only", "requests", "--json", "/nowhere/figures.json"]);
    assert_eq!(unwritable.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&unwritable.stderr).contains("/nowhere/figures.json"),
        "{unwritable:?}"
    );
}
