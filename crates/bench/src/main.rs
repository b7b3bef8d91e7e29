//! `opentaco-bench`: measures, tells, and says which aims are missed.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand, ValueEnum};
use opentaco_bench::failure::{Doing as _, Failure};
use opentaco_bench::figures::{Machine, Run};
use opentaco_bench::ground::Place;
use opentaco_bench::page::Page;
use opentaco_bench::report::Report;
use opentaco_bench::throughput::Plan;
use opentaco_bench::{
    access, bare, bodies, command_line, cost, graph, latency, process, replicas, requests, s3, scale,
    service, soak, throughput,
};
use tokio::signal::unix::{SignalKind, signal};

/// Measures OpenTaco: what it asks of a bucket, how fast it is beside a handler that moves the same bytes, what memory
/// it takes, how it starts.
///
/// Everything runs on this machine, on loopback and in temporary directories, with the `opentacosvc` that lies beside
/// this program. Build both with `cargo build --release --workspace --bins`; a debug build measures itself, not the
/// product.
#[derive(Debug, Parser)]
#[command(
    name = "opentaco-bench",
    version,
    after_help = "\
Examples:
  opentaco-bench                       everything but the soak, about ten minutes
  opentaco-bench --quick               less of it, within 40 seconds
  opentaco-bench --only requests       what each operation asks of the bucket; no service is started
  opentaco-bench --only soak           an hour of mixed load, and whether memory grows
  opentaco-bench --json figures.json   for machines: {command, date, commit, build, machine, seconds, rows, series},
                                       rows of {name, value, unit, ratio_to?, verdict?}
  opentaco-bench render figures.json   the page and its plots from these figures

Names in the JSON go from the general to the special: requests.lock, throughput.get.10kb, bodies.250mb.read.peak.
A row whose unit is `ratio` names in `ratio_to` the row that it is the ratio to.

Exit codes: 0 everything was measured, aims missed or not; 1 a measurement could not be made; 2 wrong usage."
)]
struct Arguments {
    /// End within 40 seconds: shorter slices, fewer starts, states of 64 MB and 250 MB instead of 250 MB and 1 GiB.
    #[arg(long)]
    quick: bool,
    /// Write all figures to this file as well, with how, when and where they were measured.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How long the soak takes.
    #[arg(long, value_name = "MINUTES", default_value_t = 60.0)]
    minutes: f64,
    /// How many things the soak does in a second.
    #[arg(long, value_name = "NUMBER", default_value_t = 20.0)]
    turns_per_second: f64,
    /// Write performance.md and its pictures into this directory when all is measured, from the file of --json and what
    /// lies beside it: the soak is an hour of its own.
    #[arg(long, value_name = "DIRECTORY", requires = "json")]
    write_docs: Option<PathBuf>,
    /// Measure only this; can be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<Section>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What `--quick` spends on throughput.
const QUICK: Plan = Plan {
    rounds: 3,
    slice: Duration::from_millis(200),
};
/// What is spent otherwise.
const FULL: Plan = Plan {
    rounds: 7,
    slice: Duration::from_secs(1),
};
/// If the rest took longer than this on a slow machine, `--quick` has no time for 250 MB.
const ROOM_FOR_LARGE: Duration = Duration::from_secs(25);
/// The same for the command line.
const ROOM_FOR_CLI: Duration = Duration::from_secs(34);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Requests to the bucket and awaited round trips per operation, counted.
    Requests,
    /// What it costs to decide who may do what.
    Access,
    /// Requests per second and latencies, beside a bare handler.
    Throughput,
    /// The S3 door: states in and out, and memory for many large ones at once.
    S3,
    /// Time and memory for large states.
    Bodies,
    /// Start-up time and idle memory.
    Process,
    /// Dependencies: the status of a thousand units with ten thousand edges, and what a write costs beside them.
    Graph,
    /// The command line: its start, long lists, large states beside curl.
    Cli,
    /// Every operation through every door, beside the raw calls that it comes down to, on every store.
    Latency,
    /// What an apply costs, in requests and in dollars.
    Cost,
    /// Few units and many, few versions and many.
    Scale,
    /// Three replicas beside one.
    Replicas,
    /// Mixed load for an hour, and whether memory grows; only when it is asked for.
    Soak,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write performance.md and its pictures anew, and measure nothing.
    Render {
        /// What --json wrote; of a figure that several have, the newest counts.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Where the page goes.
        #[arg(long, value_name = "DIRECTORY", default_value = "docs")]
        docs: PathBuf,
    },
    /// Be the bare handler: serve one body on loopback, tell the address in one line, until killed.
    Bare {
        /// The size of the body that is there at first.
        #[arg(long)]
        bytes: usize,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Where nobody reads standard error any more, the exit code is all that can be said.
            let _ = writeln!(io::stderr(), "opentaco-bench: {}", failure.chain());
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .doing("starting the runtime")?;
    let mut out = io::stdout();
    match &arguments.command {
        Some(Command::Bare { bytes }) => return runtime.block_on(bare::serve(*bytes, &mut out)),
        Some(Command::Render { files, docs }) => return Page::of(files)?.write(docs),
        None => {}
    }
    let all = [
        Section::Requests,
        Section::Access,
        Section::Process,
        Section::Throughput,
        Section::S3,
        Section::Bodies,
        Section::Graph,
        Section::Cli,
        Section::Cost,
        Section::Latency,
        Section::Scale,
        Section::Replicas,
        Section::Soak,
    ];
    let asked: Vec<Section> = all
        .into_iter()
        .filter(|section| match arguments.only[..] {
            // An hour is only spent when it is asked for, and minutes not by those in a hurry.
            [] if arguments.quick => !matches!(
                section,
                Section::Latency | Section::Scale | Section::Replicas | Section::Soak
            ),
            [] => *section != Section::Soak,
            _ => arguments.only.contains(section),
        })
        .collect();
    let alone = [Section::Requests, Section::Access, Section::Cost];
    if asked.iter().any(|section| !alone.contains(section)) {
        service::beside("opentacosvc")?;
    }
    // Before anything is measured: to find out after three minutes that nobody can keep the figures is too late.
    let json = arguments
        .json
        .as_deref()
        .map(|file| {
            // What it holds stays there until there is something better.
            let opened = fs::File::options().append(true).create(true).open(file);
            opened.doing(writing(file)).map(|_| file)
        })
        .transpose()?;
    let (machine, began) = (Machine::here(), Instant::now());
    let mut report = Report::new(&mut out);
    let measured = runtime.block_on(async {
        // Whoever stops this program stops what it has started: measuring is dropped, and its processes with it.
        let mut terminate = signal(SignalKind::terminate()).doing("listening to signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).doing("listening to signals")?;
        tokio::select! {
            measured = measure(&mut report, &asked, arguments) => measured,
            _ = terminate.recv() => Err(Failure::new("stopped before all was measured")),
            _ = interrupt.recv() => Err(Failure::new("stopped before all was measured")),
        }
    });
    if let Some(file) = json {
        // Also when something could not be measured: what was, took minutes.
        let run = Run::of(&report, machine, began.elapsed().as_secs_f64());
        fs::write(file, run.to_json()?).doing(writing(file))?;
    }
    measured?;
    if let (Some(file), Some(docs)) = (json, &arguments.write_docs) {
        Page::beside(file)?.write(docs)?;
    }
    Ok(())
}

async fn measure(report: &mut Report<'_>, asked: &[Section], arguments: &Arguments) -> Result<(), Failure> {
    let began = Instant::now();
    let quick = arguments.quick;
    if cfg!(debug_assertions) {
        report.say("This is a debug build: its times and its memory say nothing about the product.")?;
    }
    for section in asked {
        match section {
            Section::Requests => requests::report(report)?,
            Section::Access => access::report(report)?,
            Section::Process => process::report(report, if quick { 5 } else { 15 }).await?,
            Section::Throughput => throughput::report(report, if quick { QUICK } else { FULL }).await?,
            Section::S3 if quick && began.elapsed() > ROOM_FOR_LARGE => {
                report.say(
                    "\n--quick leaves out the S3 door, for which no time is left; --only s3 measures it.",
                )?;
            }
            Section::S3 => s3::report(report, if quick { 8 } else { 1 }).await?,
            Section::Graph if quick && began.elapsed() > ROOM_FOR_LARGE => {
                report.say(
                    "\n--quick leaves out the graph, for which no time is left; --only graph measures it.",
                )?;
            }
            Section::Graph => graph::report(report).await?,
            Section::Cli if quick && began.elapsed() > ROOM_FOR_CLI => {
                report.say("\n--quick leaves out the command line, for which no time is left; --only cli measures it.")?;
            }
            Section::Cli if quick => command_line::report(report, command_line::QUICK).await?,
            Section::Cli => command_line::report(report, command_line::FULL).await?,
            Section::Latency if quick => {
                latency::report(report, &[Place::Memory, Place::Local], latency::Plan::QUICK).await?;
            }
            Section::Latency => latency::report(report, &Place::ALL, latency::Plan::FULL).await?,
            Section::Cost => cost::report(report)?,
            Section::Scale => {
                let plan = if quick {
                    scale::Plan::QUICK
                } else {
                    scale::Plan::FULL
                };
                scale::report(report, plan).await?;
            }
            Section::Replicas if quick => replicas::report(report, replicas::Plan::QUICK).await?,
            Section::Replicas => replicas::report(report, replicas::Plan::FULL).await?,
            Section::Soak => {
                let plan = soak::Plan {
                    time: Duration::from_secs_f64(60.0 * arguments.minutes),
                    turns_per_second: arguments.turns_per_second,
                };
                soak::report(report, plan).await?;
            }
            Section::Bodies if !quick => {
                bodies::report(report, &bodies::FULL).await?;
                bodies::beside_raw(report, &bodies::BESIDE_RAW).await?;
                bodies::at_once(report, &[("10kb", 10_000), ("10mb", 10_000_000)]).await?;
            }
            Section::Bodies => {
                let (sizes, left_out) = match began.elapsed() {
                    late if late > ROOM_FOR_LARGE => (
                        &bodies::QUICK[..1],
                        "250 MB, for which no time is left, and 1 GiB",
                    ),
                    _ => (&bodies::QUICK[..], "1 GiB"),
                };
                bodies::report(report, sizes).await?;
                report.say(format!("  --quick leaves out {left_out}."))?;
            }
        }
    }
    report.conclude()?;
    report.say(format!("measured in {:.0} s", began.elapsed().as_secs_f64()))?;
    Ok(())
}

fn writing(file: &Path) -> String {
    format!("writing {}", file.display())
}
