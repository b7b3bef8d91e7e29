//! A promise that a history of a smaller world breaks, and what such worlds have in common.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::bucket::Event;
use crate::executor::{Group, Instant};
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

/// Everything that happened, for people: what the bucket saw and who did it, and what people asked and were told.
pub(crate) fn lines(
    events: &[Event],
    by: impl Fn(Option<Group>) -> String,
    said: impl Iterator<Item = [(Instant, String); 2]>,
) -> Vec<(Instant, String)> {
    let seen = |event: &Event| {
        let by = by(event.by);
        (event.at, format!("{by} {} {}", event.what, event.key))
    };
    let mut lines: Vec<(Instant, String)> = events.iter().map(seen).chain(said.flatten()).collect();
    lines.sort_by_key(|(at, _)| *at);
    lines
}

/// What a document of the service says, as it lay in the bucket.
pub(crate) fn record_in<T: DeserializeOwned>(bytes: &[u8]) -> T {
    #[derive(Deserialize)]
    struct Envelope<T> {
        record: T,
    }
    let envelope: Envelope<T> = serde_json::from_slice(bytes).expect("we put nothing else there");
    envelope.record
}

/// Promise, what is falsified in a history that keeps it, and how.
#[cfg(test)]
pub(crate) type Lie<H> = (&'static str, &'static str, fn(&mut H));

/// A checker, checked: a history that keeps every promise is falsified in one place, and the promise that it breaks now
/// has to be noticed. There is a lie for every promise.
#[cfg(test)]
pub(crate) fn each_lie_breaks_its_own<H>(
    promises: &[(&'static str, &'static str)],
    check: fn(&H) -> Vec<Broken>,
    kept: impl Fn() -> H,
    lies: &[Lie<H>],
) {
    use std::collections::BTreeSet;

    assert_eq!(check(&kept()), []);
    for (promise, what, lie) in lies {
        let mut history = kept();
        lie(&mut history);
        let broken = check(&history);
        assert!(
            broken.iter().any(|broken| broken.promise == *promise),
            "{what}: {broken:?}"
        );
    }
    let noticed: BTreeSet<&str> = lies.iter().map(|(promise, ..)| *promise).collect();
    let promised: BTreeSet<&str> = promises.iter().map(|(promise, _)| *promise).collect();
    assert_eq!(noticed, promised);
}
