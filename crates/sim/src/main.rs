//! `opentaco-sim`: plays histories and checks them.
#![expect(clippy::print_stdout, reason = "it is a program, and this is its output")]

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use opentaco_sim::{checker, trace, world};

/// Plays histories of the real code over a lying bucket, and checks each against every promise.
#[derive(Debug, Parser)]
#[command(name = "opentaco-sim", version)]
struct Arguments {
    /// How many histories to play.
    #[arg(long, default_value_t = 1000)]
    histories: u64,
    /// The seed of the first history; the others follow it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Play one history and tell everything that happens in it.
    #[arg(long, value_name = "SEED")]
    replay: Option<u64>,
    /// Stop after so many histories that break a promise.
    #[arg(long, default_value_t = 5)]
    violations_max: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.replay {
        let history = world::play(seed);
        println!("{}", trace::tell(&history));
        let violations = checker::check(&history);
        for violation in &violations {
            println!("VIOLATION {violation}");
        }
        return if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let started = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let shares: Vec<_> = (0..threads)
        .map(|share| {
            let (first, count, most) = (arguments.seed, arguments.histories, arguments.violations_max);
            std::thread::spawn(move || {
                let (mut played, mut locks, mut broken) = (0_u64, 0_u64, Vec::new());
                for seed in (first..first + count).skip(usize::try_from(share).unwrap_or(0)).step_by(usize::try_from(threads).unwrap_or(1)) {
                    let history = world::play(seed);
                    played += 1;
                    locks += history.lock_attempts();
                    let violations = checker::check(&history);
                    if !violations.is_empty() {
                        broken.push((seed, violations));
                        if broken.len() as u64 >= most {
                            break;
                        }
                    }
                }
                (played, locks, broken)
            })
        })
        .collect();
    let (mut played, mut locks, mut broken) = (0, 0, Vec::new());
    for share in shares {
        let (p, l, mut b) = share.join().expect("a history does not panic");
        played += p;
        locks += l;
        broken.append(&mut b);
    }
    broken.sort_by_key(|(seed, _)| *seed);
    for (seed, violations) in &broken {
        for violation in violations {
            println!("seed {seed}: {violation}");
        }
        println!("  replay: opentaco-sim --replay {seed}");
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{played} histories, {locks} lock attempts, {} violations, {seconds:.1} s", broken.len());
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
