//! Chance. Processes race as they like, so a seed does not replay a run; it only draws the same faults again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::hold;

/// Dice. Cheap to clone; clones roll the same ones.
#[derive(Debug, Clone)]
pub struct Dice(Arc<Mutex<SmallRng>>);

impl Dice {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(SmallRng::seed_from_u64(seed))))
    }

    /// A number below this one, which is not 0.
    #[must_use]
    pub fn below(&self, end: u64) -> u64 {
        hold(&self.0).random_range(0..end)
    }

    /// True in so many cases of a thousand.
    #[must_use]
    pub fn chance(&self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of these.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn one<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(of.len() as u64)).unwrap_or(0)]
    }

    /// So many milliseconds at most.
    #[must_use]
    pub fn up_to(&self, milliseconds: u64) -> Duration {
        Duration::from_millis(self.below(milliseconds + 1))
    }
}
