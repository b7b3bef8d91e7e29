//! The exact requests of every operation, the shape of what machines read, and that every measurement can be made. Nothing
//! here is timed.

use std::path::Path;
use std::time::Duration;

use opentaco_bench::cost::{self, Apply};
use opentaco_bench::figures::{Machine, Run};
use opentaco_bench::ground::Place;
use opentaco_bench::page::Page;
use opentaco_bench::report::{Aim, Report};
use opentaco_bench::requests::{self, Measured};
use opentaco_bench::rounds::Cost;
use opentaco_bench::{bodies, latency, replicas, scale, soak};
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
            { "name": "ratio.get.10kb", "value": 0.75, "unit": "ratio", "ratio_to": "throughput.get.10kb.bare", "verdict": ">= 0.7 met" },
        ])
    );
}

#[test]
fn the_program_writes_its_rows_with_where_they_come_from_and_ends_well() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("figures.json");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_opentaco-bench"))
        .args(["--quick", "--only", "requests", "--json"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let run: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    for member in ["command", "date", "commit", "build"] {
        assert!(
            run[member].as_str().is_some_and(|said| !said.is_empty()),
            "{member}"
        );
    }
    assert!(run["machine"]["processors"].as_u64().is_some_and(|n| n > 0));
    let rows = run["rows"].as_array().unwrap();
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    for name in [
        "requests.lock",
        "round_trips.lock_read_write_unlock",
        "requests.list.2500_units",
    ] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    for row in rows {
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

#[test]
fn an_apply_costs_exactly_these_requests_at_each_door() {
    let counted: Vec<_> = cost::applies()
        .unwrap()
        .into_iter()
        .map(|measured| {
            let cost::Requests {
                puts,
                lists,
                gets,
                deletes,
            } = measured.alone;
            let more = measured.with_housekeeping.total() - measured.alone.total();
            assert!((0.0..0.5).contains(&more), "{more} requests of housekeeping");
            (measured.apply, [puts, lists, gets, deletes])
        })
        .collect();
    assert_eq!(
        counted,
        [
            (Apply::Http, [6.0, 0.0, 3.0, 1.0]),
            (Apply::S3, [6.0, 1.0, 3.0, 1.0]),
            (Apply::Management, [6.0, 0.0, 4.0, 1.0]),
        ]
    );
}

#[test]
fn no_operation_costs_more_where_there_are_more_units_or_versions() {
    let same = |page: (&'static str, Cost)| {
        vec![
            ("lock", cost(2, 1, 1)),
            ("read", cost(2, 2, 1)),
            ("write", cost(4, 4, 3)),
            ("unlock", cost(2, 1, 1)),
            ("describe", cost(1, 1, 1)),
            page,
        ]
    };
    for units in [1_000, 3_000] {
        assert_eq!(
            scale::costs_beside(units).unwrap(),
            same(("list_page", cost(3, 3, 2))),
            "{units} units"
        );
    }
    for versions in [10, 330] {
        assert_eq!(
            scale::costs_after(versions).unwrap(),
            same(("history_page", cost(1, 1, 1))),
            "{versions} versions"
        );
    }
}

/// What a measurement keeps, and the run that a file would hold.
async fn kept(measure: impl AsyncFnOnce(&mut Report<'_>)) -> Run {
    let mut out = Vec::new();
    let mut report = Report::new(&mut out);
    measure(&mut report).await;
    Run::of(&report, Machine::here(), 0.0)
}

fn has(run: &Run, names: &[&str]) {
    for name in names {
        assert!(
            run.figure(name).is_some_and(|row| row.value.is_finite()),
            "{name} is not among {:?}",
            run.rows.iter().map(|row| &row.name).collect::<Vec<_>>()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_are_timed_beside_raw_calls_on_every_store() {
    let plan = latency::Plan {
        rounds: 2,
        rounds_far: 1,
        lanes: 2,
        rounds_before: 1,
        listed: 3,
    };
    let places = [Place::Memory, Place::Local, Place::S3(10), Place::S3(30)];
    let run = kept(async |report| latency::report(report, &places, plan).await.unwrap()).await;
    has(
        &run,
        &[
            "latency.memory.http.write.p99",
            "latency.local.s3.unlock.raw.p50",
            "latency.s3_10ms.management.list.ratio",
            "latency.s3_30ms.http.lock.p99_more",
            "latency.round_trips.http.write",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn units_and_versions_are_timed_few_beside_many() {
    let plan = scale::Plan {
        units: [20, 40],
        versions: [3, 9],
        rounds: 2,
    };
    let run = kept(async |report| scale::report(report, plan).await.unwrap()).await;
    has(
        &run,
        &[
            "scale.units.list_page.p50.40",
            "scale.units.write.ratio",
            "scale.versions.history_page.requests.9",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_lose_no_number_that_is_counted_in_one_unit() {
    let plan = replicas::Plan {
        delay: 1,
        rounds: 1,
        slice: Duration::from_millis(400),
    };
    let run = kept(async |report| replicas::report(report, plan).await.unwrap()).await;
    has(
        &run,
        &["replicas.many_units.ratio", "replicas.one_unit.3_replicas"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_bodies_at_once_are_taken_and_one_that_is_too_large_is_refused_before_it_is_sent() {
    let run = kept(async |report| {
        bodies::at_once(report, &[("10kb", 10_000)]).await.unwrap();
        bodies::beside_raw(report, &[("10kb", 10_000, 2)]).await.unwrap();
    })
    .await;
    has(&run, &["at_once.10kb.peak", "sizes.10kb.write.ratio"]);
    assert!(
        run.figure("at_once.above_the_limit")
            .is_some_and(|row| row.value == 413.0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_of_mixed_load_is_borne_and_drawn() {
    let plan = soak::Plan {
        time: Duration::from_secs(60),
        turns_per_second: 5.0,
    };
    let run = kept(async |report| soak::report(report, plan).await.unwrap()).await;
    has(&run, &["soak.resident.slope", "soak.turns.force_unlock"]);
    // A line that rises says nothing over a minute, and nobody judges it.
    assert_eq!(run.figure("soak.resident.slope").unwrap().verdict, None);
    assert!(run.series[0].points.len() > 50, "{:?}", run.series);

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("soak.json");
    std::fs::write(&file, run.to_json().unwrap()).unwrap();
    Page::of(&[&file]).unwrap().write(directory.path()).unwrap();
    let plot = std::fs::read_to_string(directory.path().join("images/performance-soak.svg")).unwrap();
    assert!(plot.contains("minutes"), "{plot}");
}

#[test]
fn figures_come_back_as_they_were_kept() {
    let mut out = Vec::new();
    let mut report = Report::new(&mut out);
    report.row("requests.lock", 2.0, "requests");
    report.judge(Aim::AtMost(2.0));
    report.ratio("one", 0.5, "other");
    report.series("memory", "seconds", "MB", vec![(0.0, 10.5), (1.0, 11.0)]);
    let run = Run::of(&report, Machine::here(), 1.0);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("figures.json");
    std::fs::write(&file, run.to_json().unwrap()).unwrap();
    assert_eq!(Run::read(&file).unwrap(), run);
    // One row in a line: two runs are compared line by line.
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.contains("\n    {\"name\":\"requests.lock\",\"value\":2.0,\"unit\":\"requests\",\"verdict\":\"<= 2 met\"},\n"),
        "{text}"
    );
}

#[test]
fn the_page_about_performance_is_what_the_kept_figures_say() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = here.join("../../docs");
    let page = Page::beside(&here.join("figures/performance.json")).unwrap();
    let anew = tempfile::tempdir().unwrap();
    page.write(anew.path()).unwrap();
    let pictures = std::fs::read_dir(anew.path().join("images")).unwrap();
    let files = pictures
        .map(|picture| format!("images/{}", picture.unwrap().file_name().to_str().unwrap()))
        .chain(["performance.md".to_owned()]);
    for file in files {
        let read = |directory: &Path| std::fs::read_to_string(directory.join(&file)).unwrap_or_default();
        assert!(
            read(&docs) == read(anew.path()),
            "docs/{file} is stale; `opentaco-bench render crates/bench/figures/*.json` writes it anew"
        );
    }
}
