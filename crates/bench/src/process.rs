//! How the service starts, and what it takes while nobody asks.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::{Doing as _, Failure};
use crate::report::{Aim, Report, Table, figure};
use crate::service::{Process, Storage, beside};
use crate::throughput::median;
use crate::usage::{MB, Memory, memory};

/// After its first answer, the service is idle when so much time has passed.
const QUIET: Duration = Duration::from_millis(200);

const IDLE_MB_MAX: f64 = 12.0;
const START_MS_MAX: f64 = 15.0;
const PROVIDER_MS_MAX: f64 = 50.0;

/// How often one kind of process was started, and how long that took, in milliseconds.
#[derive(Debug, Default)]
struct Starts {
    listening: Vec<f64>,
    healthy: Vec<f64>,
    idle: Memory,
}

/// Measures, prints, and keeps the rows.
///
/// # Errors
/// If a process does not start.
pub async fn report(report: &mut Report<'_>, times: usize) -> Result<(), Failure> {
    report.say(format!(
        "\nStart, from the birth of the process until /healthz answers, {times} times; memory when idle\n"
    ))?;
    let mut table = Table::new(&[
        "",
        "listens ms",
        "healthy ms",
        "best ms",
        "",
        "median of MB",
        "",
        "heap MB",
        "files MB",
        "threads",
    ]);
    let mut explanations = Vec::new();
    let bare = starts(times, || Process::bare(10_000)).await?;
    for (name, mut starts) in [
        ("bare handler", bare),
        (
            "memory",
            starts(times, || Process::service(Storage::Memory, &[])).await?,
        ),
        (
            "local disk, new",
            starts(times, || Process::service(Storage::Local, &[])).await?,
        ),
        ("local disk, again", again(times).await?),
    ] {
        let key = name.replace(", ", "_").replace(' ', "_");
        let judged = name != "bare handler";
        let listening = median(&mut starts.listening);
        let healthy = median(&mut starts.healthy);
        let best = starts.healthy.first().copied().unwrap_or_default();
        report.row(format!("start.{key}.listening"), listening, "ms");
        report.row(format!("start.{key}.best"), best, "ms");
        report.row(format!("start.{key}.median"), healthy, "ms");
        let started = if judged {
            report.judge(Aim::AtMost(START_MS_MAX))
        } else {
            String::new()
        };
        report.row(
            format!("idle.{key}.resident"),
            starts.idle.resident as f64 / MB,
            "MB",
        );
        let idle = if judged {
            report.judge(Aim::AtMost(IDLE_MB_MAX))
        } else {
            String::new()
        };
        if started.ends_with("MISSED") {
            explanations.push(format!(
                "  start on {name} missed its aim: {} ms until it listens (loading, configuration, the proof of the store), {} ms from there to the answer",
                figure(listening),
                figure(healthy - listening)
            ));
        }
        if idle.ends_with("MISSED") {
            explanations.push(format!(
                "  idle on {name} missed its aim: {} MB are heap and stacks of {} threads, {} MB pages of the program and its libraries",
                figure(starts.idle.anonymous as f64 / MB),
                starts.idle.threads,
                figure(starts.idle.file as f64 / MB)
            ));
        }
        table.line([
            name.to_owned(),
            figure(listening),
            figure(healthy),
            figure(best),
            started,
            figure(starts.idle.resident as f64 / MB),
            idle,
            figure(starts.idle.anonymous as f64 / MB),
            figure(starts.idle.file as f64 / MB),
            starts.idle.threads.to_string(),
        ]);
    }
    report.say(&table)?;
    for explanation in explanations {
        report.say(explanation)?;
    }
    provider(report, times)
}

/// How long the Terraform provider takes, from its birth to the line that Terraform waits for.
fn provider(report: &mut Report<'_>, times: usize) -> Result<(), Failure> {
    let program = beside("terraform-provider-opentaco")?;
    let mut took = Vec::new();
    for _ in 0..times {
        let doing = "starting the provider";
        let began = Instant::now();
        let mut child = Command::new(&program)
            .env_clear()
            .env(
                "TF_PLUGIN_MAGIC_COOKIE",
                "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2",
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .doing(doing)?;
        let mut line = String::new();
        let read = child
            .stdout
            .take()
            .map(|stdout| BufReader::new(stdout).read_line(&mut line));
        took.push(began.elapsed().as_secs_f64() * 1e3);
        child.kill().doing(doing)?;
        child.wait().doing(doing)?;
        read.transpose().doing(doing)?;
        if !line.starts_with("1|6|unix|") {
            return Err(Failure::new(format!(
                "the provider says {line:?} and no handshake"
            )));
        }
    }
    let typical = median(&mut took);
    report.row("start.provider.best", took[0], "ms");
    report.row("start.provider.median", typical, "ms");
    let verdict = report.judge(Aim::AtMost(PROVIDER_MS_MAX));
    report.say(format!(
        "  terraform-provider-opentaco, until the line of its handshake: median {} ms ({verdict}), best {} ms\n",
        figure(typical),
        figure(took[0])
    ))?;
    Ok(())
}

async fn starts(times: usize, start: impl Fn() -> Result<Process, Failure>) -> Result<Starts, Failure> {
    let mut all = Starts::default();
    for _ in 0..times {
        let process = start()?;
        all.add(&process).await?;
    }
    Ok(all)
}

/// Starts in the directory of the one before, which has a state in it.
async fn again(times: usize) -> Result<Starts, Failure> {
    let mut directory = Process::service(Storage::Local, &[])?.stop()?;
    let mut all = Starts::default();
    for _ in 0..times {
        let process = Process::service_in(directory, Storage::Local, &[])?;
        all.add(&process).await?;
        directory = process.stop()?;
    }
    Ok(all)
}

impl Starts {
    async fn add(&mut self, process: &Process) -> Result<(), Failure> {
        process.ask_health()?;
        self.healthy.push(process.began.elapsed().as_secs_f64() * 1000.0);
        self.listening
            .push(process.listening_after.as_secs_f64() * 1000.0);
        #[expect(
            clippy::disallowed_methods,
            reason = "lets a real process come to rest; nothing here is simulated"
        )]
        tokio::time::sleep(QUIET).await;
        self.idle = memory(process.id())?;
        Ok(())
    }
}
