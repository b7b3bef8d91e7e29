//! A promise that a history of a smaller world breaks, and what such worlds have in common.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::executor::Instant;
use crate::{graph, roles, tokens};

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub promise: &'static str,
    /// When.
    pub at: Instant,
    /// How.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = Duration::from_nanos(self.at).as_secs_f64();
        write!(f, "{} at {seconds:.3} s: {}", self.promise, self.what)
    }
}

/// A world beside the one of units: what is promised there, and how its histories are played.
#[derive(Debug)]
pub struct SmallWorld {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What is promised there, by name.
    pub promises: &'static [(&'static str, &'static str)],
    /// Plays the history of a seed, and checks it.
    pub play: fn(u64) -> Played,
}

/// A history that was played and checked.
#[derive(Debug)]
pub struct Played {
    /// Everything that happened, for people.
    pub lines: Vec<(Instant, String)>,
    /// What it breaks.
    pub broken: Vec<Broken>,
}

/// All of them.
pub const WORLDS: &[SmallWorld] = &[
    SmallWorld {
        name: "roles",
        promises: roles::PROMISES,
        play: |seed| {
            let history = roles::play(seed);
            let broken = roles::check(&history);
            let lines = history.lines;
            Played { lines, broken }
        },
    },
    SmallWorld {
        name: "tokens",
        promises: tokens::PROMISES,
        play: |seed| {
            let history = tokens::play(seed);
            let broken = tokens::check(&history);
            let lines = history.lines;
            Played { lines, broken }
        },
    },
    SmallWorld {
        name: "graph",
        promises: graph::PROMISES,
        play: |seed| {
            let history = graph::play(seed);
            let broken = graph::check(&history);
            let lines = history.lines;
            Played { lines, broken }
        },
    },
];

/// What happened, a line each, in the order of the moments.
#[must_use]
pub fn table(lines: &[(Instant, String)]) -> String {
    let line = |(at, line): &(Instant, String)| {
        format!("{:>12.4}  {line}\n", Duration::from_nanos(*at).as_secs_f64())
    };
    lines.iter().map(line).collect()
}

/// What was true at some moment of a time, of values that each hold from their moment on; the one that held when it
/// began first.
pub(crate) fn during<T>(values: &[(Instant, T)], from: Instant, until: Instant) -> impl Iterator<Item = &T> {
    let begins = values.iter().rposition(|(at, _)| *at < from).unwrap_or(0);
    values[begins..]
        .iter()
        .enumerate()
        .take_while(move |(index, (at, _))| *index == 0 || *at <= until)
        .map(|(_, (_, value))| value)
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
