//! The checker, checked: plays seeds with a bug planted until the invariant that has to catch it does.
//!
//! Every bug is caught in random histories, counted from seed 1. Which seed it is changes with the core: a request more or
//! less makes every history another one. So the bounds leave room, and a hunt ends where the bug is caught.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use opentaco_storage::planted::{BUGS, Planted};

use crate::promise::{SmallWorld, WORLDS};
use crate::{checker, world};

/// Every bug that can be planted, a line each.
#[must_use]
pub fn list() -> String {
    BUGS.iter().map(line).collect()
}

fn line(bug: &Planted) -> String {
    let traces: Vec<String> = bug.traces.iter().map(ToString::to_string).collect();
    let traces = if traces.is_empty() {
        "-".to_owned()
    } else {
        traces.join(", ")
    };
    format!(
        "{:<30} {:<11} {:<25} {:>6}  {}\n",
        bug.name, traces, bug.caught_by, bug.within, bug.what
    )
}

/// The bug of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Planted> {
    BUGS.iter().find(|bug| bug.name == name)
}

/// What a history broke: the name of the promise, and how.
#[derive(Debug, Clone)]
pub struct Broken {
    /// The promise.
    pub promise: &'static str,
    /// The whole of it, for people.
    pub what: String,
}

/// What the history of a seed breaks in the world in which a bug is hunted, and how often a lock was asked for in it.
#[must_use]
pub fn broken_by(bug: &Planted, seed: u64) -> (Vec<Broken>, u64) {
    if let Some(small) = world_of(bug) {
        let broken = (small.play)(seed).broken;
        let told = broken.iter().map(|broken| Broken {
            promise: broken.promise,
            what: broken.to_string(),
        });
        return (told.collect(), 0);
    }
    let history = world::play(seed);
    let violations = checker::check(&history);
    let told = violations.iter().map(|violation| Broken {
        promise: violation.invariant,
        what: violation.to_string(),
    });
    (told.collect(), history.lock_attempts())
}

/// The small world in which a bug is hunted; none if it is hunted in the one of units.
#[must_use]
pub fn world_of(bug: &Planted) -> Option<&'static SmallWorld> {
    let is_its = |(promise, _): &(&str, &str)| *promise == bug.caught_by;
    WORLDS.iter().find(|world| world.promises.iter().any(is_its))
}

/// How a hunt ended.
#[derive(Debug)]
pub struct Hunt {
    /// How many histories were played.
    pub played: u64,
    /// How often a lock was asked for in them.
    pub locks: u64,
    /// The first seed whose history breaks the invariant of the bug, and everything that it breaks.
    pub caught: Option<(u64, Vec<Broken>)>,
}

/// Plays seeds from 1 on every core until the bug that is planted is caught, or there were enough of them.
#[must_use]
pub fn hunt(bug: &Planted) -> Hunt {
    let next = AtomicU64::new(1);
    let played = AtomicU64::new(0);
    let locks = AtomicU64::new(0);
    // No seed after this one needs to be played.
    let last = AtomicU64::new(bug.within);
    let caught: Mutex<Option<(u64, Vec<Broken>)>> = Mutex::default();
    let play_some = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > last.load(Ordering::Relaxed) {
                return;
            }
            let (broken, asked) = broken_by(bug, seed);
            played.fetch_add(1, Ordering::Relaxed);
            locks.fetch_add(asked, Ordering::Relaxed);
            if broken.iter().any(|broken| broken.promise == bug.caught_by) {
                last.fetch_min(seed, Ordering::Relaxed);
                let mut caught = caught.lock().expect("nobody panics while holding it");
                if caught.as_ref().is_none_or(|(before, _)| seed < *before) {
                    *caught = Some((seed, broken));
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(play_some);
        }
    });
    Hunt {
        played: played.into_inner(),
        locks: locks.into_inner(),
        caught: caught.into_inner().expect("nobody panics while holding it"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_bug_has_a_name_of_its_own_and_an_invariant_that_is_checked() {
        let names: BTreeSet<&str> = BUGS.iter().map(|bug| bug.name).collect();
        assert_eq!(names.len(), BUGS.len());
        for bug in BUGS {
            let small = WORLDS.iter().flat_map(|world| world.promises);
            let mut promises = checker::INVARIANTS.iter().chain(small);
            assert!(promises.any(|(name, _)| *name == bug.caught_by), "{}", bug.name);
        }
    }
}
