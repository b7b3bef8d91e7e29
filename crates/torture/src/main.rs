//! `opentaco-torture`: see the library.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use opentaco_testkit::tools;
use opentaco_torture::history::Kept;
use opentaco_torture::verdict::{self, Aims, Verdict};
use opentaco_torture::{Plan, Store, run};

/// Treats replicas of the built service badly while clients work, and judges what came of it.
///
/// Exit codes: 0 every promise was kept, and enough has happened; 1 not; 2 it could not be run.
#[derive(Debug, Parser)]
#[command(name = "opentaco-torture", version)]
struct Asked {
    /// For how long, in seconds. The aims grow with it: ten minutes are 20,000 commits, 200 kills and 50 takeovers.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// How many commits have to be acknowledged at least, if not that share of 20,000.
    #[arg(long)]
    commits: Option<u64>,
    /// Which faults are drawn. Processes race as they like, so this does not replay a run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where states rest: three replicas on a real S3 server, or one on local disk.
    #[arg(long, value_enum, default_value_t = On::S3)]
    store: On,
    /// Where the history goes; it can be judged again with --judge.
    #[arg(long, value_name = "DIRECTORY")]
    keep: Option<PathBuf>,
    /// Judges a history that was kept, and tortures nobody.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "keep")]
    judge: Option<PathBuf>,
    /// The service; `opentacosvc` beside this program unless it is named.
    #[arg(long, value_name = "FILE")]
    service: Option<PathBuf>,
    /// Takes a rule of the protocol away, as in head-put-unconditionally. The service has to be built with
    /// `--features planted`.
    #[arg(long, value_name = "BUG")]
    planted: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum On {
    S3,
    Disk,
}

fn main() -> ExitCode {
    let asked = Asked::parse();
    let verdict = match &asked.judge {
        Some(directory) => Kept::read(directory)
            .map(|kept| Verdict {
                counts: verdict::counted(&kept.records),
                broken: verdict::checked(&kept),
                missed: Vec::new(),
            })
            .map_err(|error| error.to_string()),
        None => torture(&asked),
    };
    match verdict {
        Ok(verdict) => {
            let _ = std::io::stdout().write_all(verdict.told().as_bytes());
            ExitCode::from(u8::from(!verdict.is_green()))
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::from(2)
        }
    }
}

fn torture(asked: &Asked) -> Result<Verdict, String> {
    let plan = Plan {
        program: asked
            .service
            .clone()
            .unwrap_or_else(|| tools::built("opentacosvc")),
        store: match asked.store {
            On::S3 => Store::S3,
            On::Disk => Store::Disk,
        },
        seconds: asked.seconds,
        seed: asked.seed,
        bug: asked.planted.clone(),
        aims: Aims {
            commits: asked.commits.unwrap_or(Aims::of(asked.seconds).commits),
            ..Aims::of(asked.seconds)
        },
        keep: asked.keep.clone(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let verdict = runtime.block_on(run(&plan));
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    verdict
}
