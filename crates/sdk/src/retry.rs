//! When a request is sent again, and how long to wait before.
//!
//! A request is repeated only if that is safe: because nobody can have heard of it, or because hearing it twice is the
//! same as hearing it once.

use std::time::Duration;

use rand::Rng as _;

/// How often and how patiently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a request is sent at most.
    pub attempts: u32,
    /// The wait before the second attempt; it doubles from one to the next.
    pub first_wait: Duration,
    /// The longest wait of our own making.
    pub longest_wait: Duration,
    /// The longest `Retry-After` that is waited for; a longer one ends the attempts.
    pub patience: Duration,
}

impl Default for RetryPolicy {
    /// Five attempts within some six seconds: a service that restarts is back by then.
    fn default() -> Self {
        Self {
            attempts: 5,
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(5),
            patience: Duration::from_secs(30),
        }
    }
}

impl RetryPolicy {
    /// One attempt.
    #[must_use]
    pub fn never() -> Self {
        Self {
            attempts: 1,
            ..Self::default()
        }
    }

    /// How long to wait after `attempt` (counted from 1) has failed; none if it was the last.
    pub(crate) fn wait_after(&self, attempt: u32, retry_after: Option<Duration>) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        if let Some(asked) = retry_after {
            return (asked <= self.patience).then_some(asked);
        }
        let doubled = self.first_wait.saturating_mul(2_u32.saturating_pow(attempt - 1));
        let longest = doubled.min(self.longest_wait);
        // Between half of it and all of it, so that many who failed together do not come back together.
        Some(longest.mul_f64(rand::rng().random_range(0.5..=1.0)))
    }
}

/// What it means to send a request twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeatable {
    /// The same as once.
    Freely,
    /// Not the same: again only if nobody can have heard of it.
    Unheard,
}

/// What is known of a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The service has not seen it, or says that it did nothing.
    No,
    /// It may have seen it, and may have done it.
    Perhaps,
}

impl Repeatable {
    pub(crate) fn after(self, heard: Heard) -> bool {
        self == Self::Freely || heard == Heard::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_are_jittered() {
        let policy = RetryPolicy {
            attempts: 10,
            ..RetryPolicy::default()
        };
        for (attempt, milliseconds) in [(1, 250), (2, 500), (3, 1000), (5, 4000), (6, 5000), (9, 5000)] {
            let longest = Duration::from_millis(milliseconds);
            let waits: Vec<_> = (0..200)
                .map(|_| policy.wait_after(attempt, None).unwrap())
                .collect();
            assert!(
                waits.iter().all(|wait| *wait >= longest / 2 && *wait <= longest),
                "after attempt {attempt}"
            );
            assert!(waits.iter().any(|wait| *wait != waits[0]), "all of {waits:?}");
        }
    }

    #[test]
    fn the_last_attempt_is_the_last() {
        let policy = RetryPolicy::default();
        assert!(policy.wait_after(4, None).is_some());
        assert_eq!(policy.wait_after(5, None), None);
        assert_eq!(RetryPolicy::never().wait_after(1, None), None);
    }

    #[test]
    fn a_service_that_asks_for_a_wait_gets_it_unless_it_is_too_long() {
        let policy = RetryPolicy::default();
        let asked = |seconds| policy.wait_after(1, Some(Duration::from_secs(seconds)));
        assert_eq!(asked(0), Some(Duration::ZERO));
        assert_eq!(asked(30), Some(Duration::from_secs(30)));
        assert_eq!(asked(31), None);
    }

    #[test]
    fn what_was_perhaps_heard_is_repeated_only_where_that_changes_nothing() {
        assert!(Repeatable::Freely.after(Heard::Perhaps));
        assert!(Repeatable::Unheard.after(Heard::No));
        assert!(!Repeatable::Unheard.after(Heard::Perhaps));
    }
}
