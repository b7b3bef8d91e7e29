//! Time, which is always passed in.
//!
//! Clocks are for display and for offering a takeover. No decision about a lock or a version reads one.

use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{Timestamp, TimestampArithmetic};

/// Who says what time it is.
pub trait Clock: Send + Sync + Debug {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The clock on the wall.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct StoppedClock(Mutex<Timestamp>);

impl StoppedClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves it on by a `Duration`, a `SignedDuration` or a `Span` of hours and less; it stops at the end of time.
    ///
    /// # Panics
    /// If a `Span` counts in days or more, which have no fixed length.
    pub fn advance(&self, by: impl Into<TimestampArithmetic>) {
        let mut now = self.time();
        *now = now
            .saturating_add(by)
            .expect("a duration without calendar units can be added");
    }

    /// Shows another time from now on; it may lie in the past.
    pub fn set(&self, now: Timestamp) {
        *self.time() = now;
    }

    fn time(&self) -> MutexGuard<'_, Timestamp> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        *self.time()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_stopped_clock_moves_only_when_told_to() {
        let clock = StoppedClock::new(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.now(), clock.now());
        clock.advance(Duration::from_secs(90));
        clock.advance(SignedDuration::from_secs(-30));
        assert_eq!(clock.now().as_second(), 60);
        clock.set(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.now(), Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn a_stopped_clock_stops_at_the_end_of_time() {
        let clock = StoppedClock::new(Timestamp::MAX);
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.now(), Timestamp::MAX);
    }

    #[test]
    fn the_wall_clock_shows_a_time_after_this_was_written() {
        assert!(SystemClock.now() > "2026-01-01T00:00:00Z".parse().unwrap());
    }
}
