//! What has been asked of a bucket, how it ended and how long it took: numbers, for whoever looks at them.
//!
//! Nothing here decides anything, and nothing here knows an exporter.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::bucket::{Kind, Verb};

const VERBS: [Verb; 5] = [Verb::Get, Verb::Head, Verb::Put, Verb::Delete, Verb::List];
const KINDS: [Kind; 9] = [
    Kind::Head,
    Kind::Copy,
    Kind::LockCopy,
    Kind::Version,
    Kind::Rejected,
    Kind::Units,
    Kind::Record,
    Kind::Audit,
    Kind::Upload,
];

/// Upper bounds of the classes that durations are counted in, in milliseconds: from a local disk at rest to a bucket in
/// trouble. What takes longer is in a class of its own.
pub const BOUNDS_MILLISECONDS: [u64; 14] = [
    1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000,
];

/// How many requests of each sort have been sent, repeats included, and how they went.
#[derive(Debug, Default)]
pub struct Counts {
    cells: [[Cell; KINDS.len()]; VERBS.len()],
}

#[derive(Debug, Default)]
struct Cell {
    sent: AtomicU64,
    failed: AtomicU64,
    abandoned: AtomicU64,
    microseconds: AtomicU64,
    classes: [AtomicU64; BOUNDS_MILLISECONDS.len() + 1],
}

/// What is known of the requests of one sort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// What was asked.
    pub verb: Verb,
    /// About what.
    pub kind: Kind,
    /// Requests that were answered; that there is no such object, or that a condition does not hold, is an answer.
    pub answered: u64,
    /// Requests that were answered with an error, or broke off.
    pub failed: u64,
    /// Requests whose answer nobody waited for any longer.
    pub abandoned: u64,
    /// What those that ended took together, up to the first byte of what they fetch.
    pub took: Duration,
    /// How many ended within each of the bounds and after the bound before; the last ones took longer than all bounds.
    pub classes: [u64; BOUNDS_MILLISECONDS.len() + 1],
}

impl Counts {
    /// Counts a request as sent. It is timed until it is ended, or dropped unended.
    pub(crate) fn begin(&self, verb: Verb, kind: Kind) -> UnderWay<'_> {
        let cell = &self.cells[verb as usize][kind as usize];
        cell.sent.fetch_add(1, Ordering::Relaxed);
        UnderWay {
            cell,
            began: Instant::now(),
            ended: None,
        }
    }

    /// All that were sent so far; sorts that never were are left out.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<(Verb, Kind), u64> {
        let mut all = BTreeMap::new();
        for verb in VERBS {
            for kind in KINDS {
                let n = self.cells[verb as usize][kind as usize]
                    .sent
                    .load(Ordering::Relaxed);
                if n > 0 {
                    all.insert((verb, kind), n);
                }
            }
        }
        all
    }

    /// The number of all requests so far.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.snapshot().values().sum()
    }

    /// How those went that have ended; sorts of which none has are left out.
    #[must_use]
    pub fn measured(&self) -> Vec<Measured> {
        let sorts = VERBS
            .iter()
            .flat_map(|verb| KINDS.iter().map(move |kind| (*verb, *kind)));
        sorts
            .map(|(verb, kind)| self.cells[verb as usize][kind as usize].measured(verb, kind))
            .filter(|measured| measured.answered + measured.failed + measured.abandoned > 0)
            .collect()
    }
}

impl Cell {
    fn measured(&self, verb: Verb, kind: Kind) -> Measured {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let (failed, abandoned) = (read(&self.failed), read(&self.abandoned));
        let classes = self.classes.each_ref().map(read);
        let ended: u64 = classes.iter().sum();
        Measured {
            verb,
            kind,
            // Saturating, since the numbers are not all read at one instant.
            answered: ended.saturating_sub(failed + abandoned),
            failed,
            abandoned,
            took: Duration::from_micros(read(&self.microseconds)),
            classes,
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With an answer.
    Answered,
    /// Without a usable one.
    Failed,
}

/// A request that has been sent.
#[derive(Debug)]
pub(crate) struct UnderWay<'a> {
    cell: &'a Cell,
    began: Instant,
    ended: Option<End>,
}

impl UnderWay<'_> {
    /// It is over.
    pub(crate) fn end(mut self, end: End) {
        self.ended = Some(end);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let class = BOUNDS_MILLISECONDS.partition_point(|bound| Duration::from_millis(*bound) < took);
        self.cell.classes[class].fetch_add(1, Ordering::Relaxed);
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.cell.microseconds.fetch_add(microseconds, Ordering::Relaxed);
        match self.ended {
            Some(End::Answered) => {}
            Some(End::Failed) => drop(self.cell.failed.fetch_add(1, Ordering::Relaxed)),
            None => drop(self.cell.abandoned.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_answered_failed_or_abandoned_and_counted_once() {
        let counts = Counts::default();
        counts.begin(Verb::Get, Kind::Head).end(End::Answered);
        counts.begin(Verb::Get, Kind::Head).end(End::Failed);
        drop(counts.begin(Verb::Get, Kind::Head));
        let under_way = counts.begin(Verb::Put, Kind::Copy);
        let [measured] = &counts.measured()[..] else {
            panic!("only one sort has ended: {:?}", counts.measured())
        };
        assert_eq!((measured.verb, measured.kind), (Verb::Get, Kind::Head));
        assert_eq!(
            (measured.answered, measured.failed, measured.abandoned),
            (1, 1, 1)
        );
        assert_eq!(measured.classes.iter().sum::<u64>(), 3);
        assert_eq!(counts.total(), 4, "one is still under way");
        under_way.end(End::Answered);
        assert_eq!(counts.measured().len(), 2);
    }

    #[test]
    fn every_sort_has_a_cell_of_its_own() {
        let counts = Counts::default();
        for verb in VERBS {
            for kind in KINDS {
                counts.begin(verb, kind).end(End::Answered);
            }
        }
        let sorts: Vec<_> = counts.measured().iter().map(|one| (one.verb, one.kind)).collect();
        assert_eq!(sorts, counts.snapshot().into_keys().collect::<Vec<_>>());
        assert_eq!(sorts.len(), VERBS.len() * KINDS.len());
        assert!(counts.measured().iter().all(|one| one.answered == 1));
    }
}
