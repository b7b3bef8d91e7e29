//! Dependencies between units: how long the status of all of them takes, and what a write costs beside a large graph.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Instant;

use bytes::Bytes;
use http::Method;

use crate::client::Client;
use crate::failure::{Doing as _, Failure};
use crate::report::{Aim, Report, figure};
use crate::service::{Process, Storage, TOKEN, beside};
use crate::throughput::median;

/// Units of the graph.
const UNITS: usize = 1_000;
/// Edges of each of them to others.
const EDGES_OF_UNIT: usize = 10;
/// The longest that the status of all of them may take.
const STATUS_MS_MAX: f64 = 200.0;
/// How often each thing is done.
const TIMES: usize = 9;

/// Measures, prints, and keeps the rows.
///
/// # Errors
/// If the service does not start, or does not do what it is asked for.
pub async fn report(report: &mut Report<'_>) -> Result<(), Failure> {
    let service = Process::service(Storage::Local, &[])?;
    let mut client = Client::connect(service.address(), "bench").await?;
    for unit in 0..UNITS {
        write(&mut client, unit, 1, "first").await?;
    }
    let alone = writes(&mut client, 2).await?;
    let document = graph();
    ask(
        &mut client,
        Method::POST,
        "/v1/backend/__opentaco_system",
        document,
    )
    .await?;

    let mut all = Vec::new();
    let mut dependent = Vec::new();
    for _ in 0..TIMES {
        for (path, times) in [
            ("/v1/status", &mut all),
            ("/v1/status?dependent=true", &mut dependent),
        ] {
            let began = Instant::now();
            let told = ask(&mut client, Method::GET, path, Bytes::new()).await?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
            let count = format!("\"count\":{UNITS}");
            if !told.ends_with(format!("{count}}}").as_bytes()) {
                return Err(Failure::new(format!("{path} does not tell of {UNITS} units")));
            }
        }
    }
    let (all, dependent) = (median(&mut all), median(&mut dependent));
    report.row("graph.status.all", all, "ms");
    let in_time = report.judge(Aim::AtMost(STATUS_MS_MAX));
    report.row("graph.status.dependent", dependent, "ms");
    report.say(format!(
        "\nThe graph on local disk: {UNITS} units, {} edges\n  Status of every unit: {} ms ({in_time}); of those in the graph alone: {} ms\n",
        UNITS * EDGES_OF_UNIT,
        figure(all),
        figure(dependent)
    ))?;

    // The first write of each takes what its dependencies have; from the second on nothing changes.
    writes(&mut client, 3).await?;
    let before = graph_commits(&mut client).await?;
    let beside_it = writes(&mut client, 4).await?;
    let commits = (graph_commits(&mut client).await? - before) / TIMES as f64;
    report.row("graph.write.without", alone, "ms");
    report.ratio(
        "graph.write.nothing_changes",
        beside_it / alone,
        "graph.write.without",
    );
    report.row("graph.write.nothing_changes.commits", commits, "commits");
    let none = report.judge(Aim::AtMost(0.0));
    report.say(format!(
        "  A write whose outputs stay as they are: {} ms beside the graph, {} ms without; {commits} commits of the graph {none}\n",
        figure(beside_it),
        figure(alone)
    ))?;

    let before = graph_commits(&mut client).await?;
    let mut times = Vec::new();
    for serial in 0..TIMES {
        let began = Instant::now();
        write(&mut client, 0, 10 + serial, &format!("value {serial}")).await?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let commits = (graph_commits(&mut client).await? - before) / TIMES as f64;
    let changed = median(&mut times);
    report.row("graph.write.output_changes", changed, "ms");
    report.row("graph.write.output_changes.commits", commits, "commits");
    let one = report.judge(Aim::AtMost(1.0));
    report.say(format!(
        "  A write that changes an output of {EDGES_OF_UNIT} edges: {} ms; {commits} commits of the graph {one}\n",
        figure(changed)
    ))?;

    let taco = beside("taco")?;
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let began = Instant::now();
        let ran = Command::new(&taco)
            .args(["graph", "show"])
            .env("OPENTACO_SERVER", format!("http://{}", service.address()))
            .env("OPENTACO_TOKEN", TOKEN)
            .output()
            .doing("starting taco")?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        if !ran.status.success() {
            return Err(Failure::new("taco graph show failed"));
        }
    }
    let shown = median(&mut times);
    report.row("graph.show.cli", shown, "ms");
    report.say(format!(
        "  `taco graph show`, from its birth to its end: {} ms\n",
        figure(shown)
    ))?;
    Ok(())
}

fn name(unit: usize) -> String {
    format!("team-{}/app-{unit:04}", unit % 20)
}

/// The workspace of the graph: from each unit to the ones after it.
fn graph() -> Bytes {
    let mut instances = String::new();
    for unit in 0..UNITS {
        for edge in 0..EDGES_OF_UNIT {
            let comma = if instances.is_empty() { "" } else { "," };
            let (from, to) = (name(unit), name((unit + 1 + edge * edge) % UNITS));
            write!(
                instances,
                "{comma}\n{{\"index_key\":\"{unit}-{edge}\",\"schema_version\":0,\"attributes\":{{\"from_output\":\"x\",\"from_unit_id\":\"{from}\",\"to_input\":\"x{edge}\",\"to_unit_id\":\"{to}\"}},\"sensitive_attributes\":[],\"private\":\"bnVsbA==\"}}"
            )
            .expect("a String takes all");
        }
    }
    format!(
        "{{\"version\":4,\"serial\":1,\"lineage\":\"graph\",\"outputs\":{{}},\"resources\":[{{\"mode\":\"managed\",\"type\":\"opentaco_dependency\",\"name\":\"edge\",\"instances\":[{instances}]}}]}}"
    )
    .into()
}

async fn write(client: &mut Client, unit: usize, serial: usize, value: &str) -> Result<(), Failure> {
    let state = format!(
        "{{\"version\":4,\"serial\":{serial},\"lineage\":\"{unit}\",\"outputs\":{{\"x\":{{\"value\":\"{value}\",\"type\":\"string\"}}}},\"resources\":[]}}"
    );
    let path = format!("/v1/backend/{}", name(unit));
    ask(client, Method::POST, &path, state.into()).await.map(drop)
}

/// How long a write takes that changes no output, in milliseconds.
async fn writes(client: &mut Client, serial: usize) -> Result<f64, Failure> {
    let mut times = Vec::new();
    for unit in 0..TIMES {
        let began = Instant::now();
        write(client, unit * 7, serial, "first").await?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(&mut times))
}

async fn graph_commits(client: &mut Client) -> Result<f64, Failure> {
    let numbers = ask(client, Method::GET, "/metrics", Bytes::new()).await?;
    let numbers = String::from_utf8_lossy(&numbers);
    let commits = numbers
        .lines()
        .find_map(|line| line.strip_prefix("opentaco_graph_commits_total "));
    commits
        .and_then(|commits| commits.parse().ok())
        .ok_or_else(|| Failure::new("/metrics does not tell of the graph"))
}

async fn ask(client: &mut Client, method: Method, path: &str, body: Bytes) -> Result<Bytes, Failure> {
    let headers = [("authorization".to_owned(), format!("Bearer {TOKEN}"))];
    client.ask(method, path, &headers, body).await
}
