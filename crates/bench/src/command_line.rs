//! `taco`: how it starts, how it lists many units, and how it moves large states, beside `curl` with the same bytes.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::failure::{Doing as _, Failure};
use crate::report::{Aim, Report, Table, figure};
use crate::service::{Process, Storage, TOKEN, beside};
use crate::states::States;
use crate::throughput::median;
use crate::usage::{MB, Watch, forget_peak, memory};

const START_MS_MAX: f64 = 20.0;
/// How many states are written for the listing, of which size.
const LISTED_STATE_BYTES: usize = 1_000;
/// How often each of the quick things is done.
const TIMES: usize = 5;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Units in the listing.
    pub units: usize,
    /// What the state that is moved is called, and its size in bytes.
    pub state: (&'static str, usize),
}

/// For `--quick`.
pub const QUICK: Plan = Plan {
    units: 1_000,
    state: ("64mb", 64_000_000),
};
/// Otherwise.
pub const FULL: Plan = Plan {
    units: 10_000,
    state: ("250mb", 250_000_000),
};

/// One run of a program, until it ended.
struct Run {
    elapsed: Duration,
    peak: u64,
}

/// Measures, prints, and keeps the rows.
///
/// # Errors
/// If `taco` or the service does not start, or one of them does not do what it is asked for.
pub async fn report(report: &mut Report<'_>, plan: Plan) -> Result<(), Failure> {
    start(report)?;
    list(report, plan.units).await?;
    transfer(report, plan.state).await
}

fn start(report: &mut Report<'_>) -> Result<(), Failure> {
    let taco = beside("taco")?;
    let mut times = Vec::new();
    let mut peak = 0;
    for _ in 0..4 * TIMES {
        let run = run(Command::new(&taco).arg("version"), &taco)?;
        times.push(milliseconds(run.elapsed));
        peak = peak.max(run.peak);
    }
    let typical = median(&mut times);
    report.row("cli.start.best", times[0], "ms");
    report.row("cli.start.median", typical, "ms");
    let verdict = report.judge(Aim::AtMost(START_MS_MAX));
    report.row("cli.start.peak", peak as f64 / MB, "MB");
    report.say(format!(
        "\n`taco version`, from its birth to its end, {} times: median {} ms ({verdict}), best {} ms\n",
        times.len(),
        figure(typical),
        figure(times[0])
    ))?;
    Ok(())
}

async fn list(report: &mut Report<'_>, units: usize) -> Result<(), Failure> {
    let service = Process::service(Storage::Memory, &[])?;
    let mut client = Client::connect(service.address(), "listed/first").await?;
    let states = States::of(LISTED_STATE_BYTES.max(crate::states::BYTES_MIN));
    for n in 0..units {
        client.about(&format!("team-{}/unit-{n:05}", n % 100));
        client.write_without_lock(&states.state(n as u64)).await?;
    }
    let before = client.bucket_requests("list").await?;
    let mut of_server = Vec::new();
    for _ in 0..TIMES {
        let began = Instant::now();
        client.read_at("/v1/units").await?;
        of_server.push(milliseconds(began.elapsed()));
    }
    let requests = (client.bucket_requests("list").await? - before) / TIMES as f64;

    let taco = beside("taco")?;
    let (mut of_cli, mut peak) = (Vec::new(), 0);
    for _ in 0..TIMES {
        let run = run(asking(&service, &taco).args(["unit", "ls"]), &taco)?;
        of_cli.push(milliseconds(run.elapsed));
        peak = peak.max(run.peak);
    }
    let (server, cli) = (median(&mut of_server), median(&mut of_cli));
    let name = format!("cli.ls.{units}_units");
    report.row(format!("{name}.server"), server, "ms");
    report.row(format!("{name}.cli"), cli, "ms");
    report.ratio(
        format!("{name}.cli_beside_server"),
        cli / server,
        format!("{name}.server"),
    );
    report.row(format!("{name}.requests"), requests, "requests");
    report.row(format!("{name}.cli_peak"), peak as f64 / MB, "MB");
    report.say(format!(
        "`taco unit ls` over {units} units in memory: {} ms, of which the answer of the service takes {} ms and {} requests to the bucket; {} MB at most\n",
        figure(cli),
        figure(server),
        figure(requests),
        figure(peak as f64 / MB)
    ))?;
    Ok(())
}

async fn transfer(report: &mut Report<'_>, (size, bytes): (&str, usize)) -> Result<(), Failure> {
    let curl = Path::new("curl");
    let taco = beside("taco")?;
    let directory = tempfile::tempdir().doing("making a directory for states")?;
    let state = directory.path().join("large.tfstate");
    let back = directory.path().join("back.tfstate");
    let states = States::of(bytes);
    let service = Process::service(Storage::Local, &[])?;
    let address = format!("http://{}/v1/units/bench__large", service.address());
    let bearer = format!("Authorization: Bearer {TOKEN}");
    report.say(format!(
        "A state of {} MB on local disk, by `taco` and by `curl`: the second of two\n",
        figure(bytes as f64 / MB)
    ))?;
    let mut table = Table::new(&[
        "",
        "seconds",
        "MB/s",
        "of curl's time",
        "its peak MB",
        "service's peak MB",
    ]);
    let mut serial = 0;
    for what in ["push", "pull"] {
        let mut curls = 0.0;
        for who in ["curl", "taco"] {
            let mut last = None;
            for _ in 0..2 {
                if what == "push" {
                    serial += 1;
                    std::fs::write(&state, states.state(serial).whole()).doing("writing a state")?;
                }
                let mut command = match who {
                    "taco" => asking(&service, &taco),
                    _ => Command::new(curl),
                };
                match (who, what) {
                    ("taco", "push") => command.args(["unit", "push", "bench/large"]).arg(&state),
                    ("taco", _) => command.args(["unit", "pull", "bench/large"]).arg(&back),
                    (_, "push") => command
                        .args([
                            "-sSf",
                            "-o",
                            "/dev/null",
                            "-X",
                            "POST",
                            "-H",
                            &bearer,
                            "-H",
                            "Expect:",
                        ])
                        .arg("-T")
                        .arg(&state)
                        .arg(format!("{address}/upload")),
                    _ => command
                        .args(["-sSf", "-H", &bearer, "-o"])
                        .arg(&back)
                        .arg(format!("{address}/download")),
                };
                let fresh = forget_peak(service.id());
                let watch = Watch::over(service.id());
                let run = run(&mut command, Path::new(who))?;
                let seen = watch.end().memory.resident;
                let peak = if fresh { memory(service.id())?.peak } else { seen };
                last = Some((run, peak));
            }
            let Some((run, service_peak)) = last else { continue };
            let seconds = run.elapsed.as_secs_f64();
            let name = format!("cli.{what}.{size}.{who}");
            report.row(format!("{name}.time"), seconds, "s");
            report.row(format!("{name}.peak"), run.peak as f64 / MB, "MB");
            report.row(format!("{name}.service_peak"), service_peak as f64 / MB, "MB");
            if who == "curl" {
                curls = seconds;
            } else {
                let to = format!("cli.{what}.{size}.curl.time");
                report.ratio(format!("{name}.beside_curl"), seconds / curls, to);
            }
            table.line([
                format!("{what} by {who}"),
                figure(seconds),
                figure(bytes as f64 / MB / seconds),
                figure(seconds / curls),
                figure(run.peak as f64 / MB),
                figure(service_peak as f64 / MB),
            ]);
        }
        let moved =
            std::fs::metadata(if what == "pull" { &back } else { &state }).doing("looking at a state")?;
        if moved.len() != bytes as u64 {
            return Err(Failure::new(format!(
                "{what} moved {} bytes of {bytes}",
                moved.len()
            )));
        }
    }
    report.say(&table)?;
    Ok(())
}

fn asking(service: &Process, taco: &Path) -> Command {
    let mut command = Command::new(taco);
    command
        .env_clear()
        .env("OPENTACO_SERVER", format!("http://{}", service.address()))
        .env("OPENTACO_TOKEN", TOKEN);
    command
}

fn run(command: &mut Command, what: &Path) -> Result<Run, Failure> {
    let doing = || format!("running {}", what.display());
    let began = Instant::now();
    let child: Child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .doing(doing())?;
    let watch = Watch::over(child.id());
    let output = child.wait_with_output().doing(doing())?;
    let elapsed = began.elapsed();
    let peak = watch.end().memory.peak;
    if output.status.success() {
        return Ok(Run { elapsed, peak });
    }
    Err(Failure::new(format!(
        "{} ended with {}: {}",
        what.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    )))
}

fn milliseconds(elapsed: Duration) -> f64 {
    elapsed.as_secs_f64() * 1_000.0
}
