//! `opentaco-sim`: plays histories and checks them.
#![expect(clippy::print_stdout, reason = "it is a program, and this is its output")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use opentaco_sim::checker::{self, Violation};
use opentaco_sim::explore::{Bounds, explore};
use opentaco_sim::mask::Mask;
#[cfg(feature = "planted")]
use opentaco_sim::planted;
use opentaco_sim::promise::{self, Broken, SmallWorld, WORLDS};
use opentaco_sim::shrink::{Shrunk, shrink};
use opentaco_sim::{scenarios, trace, world};

/// How many histories are played to shorten a broken one.
const SHRINKING_PLAYS_MAX: u64 = 4000;

const MORE: &str = "\
Each seed is one history: replicas of the real code over a bucket that loses answers, delivers late and refuses without
reason, under clients that behave as Terraform does and people who do not. The same seed is the same history, byte for
byte, on every machine.

  opentaco-sim --histories 20000               what every change has to pass
  opentaco-sim --seconds 3600 --seed 5000000   an hour of histories that nobody has played before
  opentaco-sim --explore 1 --switches 2        every order of everything in small worlds, within these bounds
  opentaco-sim --explore 2 --kills 0           the same with two faults of the bucket, while nobody dies or gives up
  opentaco-sim --roles --histories 20000       who may do what, instead of who holds which unit
  opentaco-sim --tokens --histories 20000      logins, refresh tokens that serve once, and API tokens
  opentaco-sim --graph --histories 20000       what depends on what, written while people apply the graph
  opentaco-sim --replay 1234                   everything that happens in one history, as a table
  opentaco-sim --replay 1234 --mask without=1,until=90
                                               what a mask leaves of it

A seed that breaks a promise is shortened, told as a table of who did what when, and printed with the one command that
replays it. The exit status is 0 if every history kept every promise, and 1 if one did not.

A mask is made of without=1+3 (these actors do nothing), replicas=N, units=N, faults=N (so many in a thousand requests
go wrong, at most), until=N (everybody stops after so many seconds) and again=N (the same actors, with other luck).";

/// Plays histories of the real code over a lying bucket, and checks each against every promise.
#[derive(Debug, Parser)]
#[command(name = "opentaco-sim", version, after_help = MORE)]
struct Arguments {
    /// How many histories to play.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    histories: u64,
    /// Play for so long instead, however many histories that makes.
    #[arg(long, value_name = "T", conflicts_with = "histories")]
    seconds: Option<u64>,
    /// The seed of the first history; the others follow it.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Play one history and tell everything that happens in it.
    #[arg(long, value_name = "S")]
    replay: Option<u64>,
    /// What to take away from it; `opentaco-sim` prints masks with the histories it has shortened.
    #[arg(long, value_name = "M", requires = "replay", default_value = "")]
    mask: Mask,
    /// Play every order of everything in the small worlds instead, with at most N faults each.
    #[arg(long, value_name = "N", conflicts_with_all = ["histories", "seconds", "replay"])]
    explore: Option<usize>,
    /// In each order, let replicas die and clients give up at most N times; the other faults are the bucket's.
    #[arg(long, value_name = "N", requires = "explore")]
    kills: Option<usize>,
    /// In each order, make a replica that could go on wait for another one at most N times.
    #[arg(long, value_name = "N", requires = "explore")]
    switches: Option<usize>,
    /// Leave a small world after so many paths, and say so.
    #[arg(long, value_name = "N", requires = "explore", default_value_t = 20_000_000)]
    paths_max: u64,
    /// Play histories of who may do what instead of histories of units.
    #[arg(long, conflicts_with_all = ["explore", "mask"])]
    roles: bool,
    /// Play histories of logins, their refresh tokens, and API tokens instead.
    #[arg(long, conflicts_with_all = ["explore", "mask", "roles"])]
    tokens: bool,
    /// Play histories of the graph of dependencies instead.
    #[arg(long, conflicts_with_all = ["explore", "mask", "roles", "tokens"])]
    graph: bool,
    /// Stop after so many histories that break a promise.
    #[arg(long, value_name = "N", default_value_t = 5)]
    violations_max: u64,
    /// List the bugs that can be planted: name, traces, invariant, within how many seeds, and which rule is taken away.
    #[cfg(feature = "planted")]
    #[arg(long)]
    list_planted: bool,
    /// Plant this bug; without --replay, play seeds until it is caught.
    #[cfg(feature = "planted")]
    #[arg(long, value_name = "NAME")]
    planted: Option<String>,
}

impl Arguments {
    /// The world that is asked for instead of the one of units.
    fn small_world(&self) -> Option<&'static SmallWorld> {
        let asked = [
            ("roles", self.roles),
            ("tokens", self.tokens),
            ("graph", self.graph),
        ];
        let (name, _) = asked.into_iter().find(|(_, asked)| *asked)?;
        WORLDS.iter().find(|world| world.name == name)
    }
}

/// What playing came to.
#[derive(Default)]
struct Tally {
    played: u64,
    locks: u64,
    broken: Vec<(u64, Vec<Violation>)>,
    broken_small: Vec<(u64, Vec<Broken>)>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let started = Instant::now();
    #[cfg(feature = "planted")]
    if let Some(exit) = plant(&arguments, started) {
        return exit;
    }
    let tally = match (arguments.replay, arguments.explore) {
        (Some(seed), _) => match arguments.small_world() {
            Some(small) => replay_small(small, seed),
            None => replay(seed, &arguments.mask),
        },
        (None, Some(faults)) => explore_all(Bounds {
            faults,
            kills: arguments.kills.unwrap_or(faults),
            switches: arguments.switches,
            paths_max: arguments.paths_max,
        }),
        (None, None) => campaign(&arguments, started),
    };
    let seconds = started.elapsed().as_secs_f64();
    let broken = tally.broken.len() + tally.broken_small.len();
    if arguments.replay.is_none() {
        println!(
            "{} histories, {} lock attempts, {broken} violations, {seconds:.1} s",
            tally.played, tally.locks
        );
    }
    if broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Plants the bug that is asked for, and hunts it. None: there is something else to do, with or without it.
#[cfg(feature = "planted")]
fn plant(arguments: &Arguments, started: Instant) -> Option<ExitCode> {
    if arguments.list_planted {
        print!("{}", planted::list());
        return Some(ExitCode::SUCCESS);
    }
    let name = arguments.planted.as_ref()?;
    let Some(bug) = planted::find(name) else {
        println!("there is no bug `{name}` to plant; --list-planted lists them");
        return Some(ExitCode::FAILURE);
    };
    opentaco_storage::planted::plant(bug.bug);
    if arguments.replay.is_some() {
        return None;
    }
    let hunt = planted::hunt(bug);
    let exit = match &hunt.caught {
        Some((seed, violations)) => {
            println!("{name}: caught by {} at seed {seed}", bug.caught_by);
            for violation in violations {
                println!("  {}", violation.what);
            }
            ExitCode::SUCCESS
        }
        None => {
            println!(
                "{name}: not caught by {} within {} seeds",
                bug.caught_by, bug.within
            );
            ExitCode::FAILURE
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    let broken = usize::from(hunt.caught.is_some());
    println!(
        "{} histories, {} lock attempts, {broken} violations, {seconds:.1} s",
        hunt.played, hunt.locks
    );
    Some(exit)
}

fn replay(seed: u64, mask: &Mask) -> Tally {
    let history = world::play_masked(seed, mask);
    print!("{}", trace::tell(&history));
    let violations = checker::check(&history);
    for violation in &violations {
        println!("VIOLATION {violation}");
    }
    let broken = if violations.is_empty() {
        Vec::new()
    } else {
        vec![(seed, violations)]
    };
    Tally {
        played: 1,
        locks: history.lock_attempts(),
        broken,
        ..Tally::default()
    }
}

fn replay_small(small: &SmallWorld, seed: u64) -> Tally {
    let played = (small.play)(seed);
    print!("{}", promise::table(&played.lines));
    for broken in &played.broken {
        println!("VIOLATION {broken}");
    }
    let broken_small = match played.broken.is_empty() {
        true => Vec::new(),
        false => vec![(seed, played.broken)],
    };
    Tally {
        played: 1,
        broken_small,
        ..Tally::default()
    }
}

/// Explores the small worlds, one on each core.
fn explore_all(bounds: Bounds) -> Tally {
    let next = AtomicUsize::new(0);
    let explore_some = || {
        let mut tally = Tally::default();
        while let Some(scenario) = scenarios::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            let started = Instant::now();
            let explored = explore(scenario, bounds);
            println!(
                "{}: {explored}, {:.1} s",
                scenario.name,
                started.elapsed().as_secs_f64()
            );
            tally.played += explored.interleavings;
            tally.locks += explored.locks;
            if let Some(broken) = explored.broken {
                println!("{broken}");
                tally.broken.push((0, broken.violations));
            }
        }
        tally
    };
    on_every_core(explore_some)
}

/// Plays seed after seed on every core, until there were enough, the time is over, or too much is broken.
fn campaign(arguments: &Arguments, started: Instant) -> Tally {
    let next = AtomicU64::new(arguments.seed);
    let broken = AtomicU64::new(0);
    let end = arguments.seed.saturating_add(arguments.histories);
    let is_over = |seed: u64| match arguments.seconds {
        Some(seconds) => started.elapsed() >= Duration::from_secs(seconds),
        None => seed >= end,
    };
    let mut tally = on_every_core(|| work(&next, &broken, arguments, &is_over));
    tally.broken.sort_by_key(|(seed, _)| *seed);
    for (seed, violations) in &tally.broken {
        explain(*seed, violations);
    }
    for (seed, violations) in &tally.broken_small {
        for violation in violations {
            println!("seed {seed}: {violation}");
        }
        let world = arguments.small_world().map_or("", |small| small.name);
        println!("\n  replay: opentaco-sim --{world} --replay {seed}\n");
    }
    tally
}

/// Does the same on every core, and sums up what came of it.
fn on_every_core(work: impl Fn() -> Tally + Sync) -> Tally {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let shares: Vec<Tally> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("a history does not panic"))
            .collect()
    });
    let mut tally = Tally::default();
    for share in shares {
        tally.played += share.played;
        tally.locks += share.locks;
        tally.broken.extend(share.broken);
        tally.broken_small.extend(share.broken_small);
    }
    tally
}

fn work(
    next: &AtomicU64,
    broken: &AtomicU64,
    arguments: &Arguments,
    is_over: &(dyn Fn(u64) -> bool + Sync),
) -> Tally {
    let mut tally = Tally::default();
    let small = arguments.small_world();
    while broken.load(Ordering::Relaxed) < arguments.violations_max {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if is_over(seed) {
            break;
        }
        tally.played += 1;
        if let Some(small) = small {
            let violations = (small.play)(seed).broken;
            if !violations.is_empty() {
                broken.fetch_add(1, Ordering::Relaxed);
                tally.broken_small.push((seed, violations));
            }
            continue;
        }
        let history = world::play(seed);
        tally.locks += history.lock_attempts();
        let violations = checker::check(&history);
        if !violations.is_empty() {
            broken.fetch_add(1, Ordering::Relaxed);
            tally.broken.push((seed, violations));
        }
    }
    tally
}

/// What a seed breaks, and the shortest history near it that breaks the same.
fn explain(seed: u64, violations: &[Violation]) {
    for violation in violations {
        println!("seed {seed}: {violation}");
    }
    let Some(shrunk) = violations
        .first()
        .and_then(|first| shrink(seed, first.invariant, SHRINKING_PLAYS_MAX))
    else {
        return;
    };
    let Shrunk {
        mask,
        history,
        violations,
        played,
    } = shrunk;
    println!("the shortest of {played} histories near it that breaks the same:\n");
    if let Some(first) = violations.first() {
        print!("{}", trace::tell_broken(&history, &first.unit, &violations));
    }
    let spelled = mask.to_string();
    let mask = if spelled.is_empty() {
        String::new()
    } else {
        format!(" --mask {spelled}")
    };
    println!("\n  replay: opentaco-sim --replay {seed}{mask}\n");
}
