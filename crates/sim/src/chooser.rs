//! Who decides what the executor leaves open: a seed, or nobody.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Answers every question that a world leaves to chance.
pub trait Chooser: Send {
    /// Which of so many tasks that can go on, does.
    fn task(&mut self, able: usize) -> usize;
    /// A number below `end`, which is not 0.
    fn below(&mut self, end: u64) -> u64;
    /// True in so many of a thousand cases.
    fn chance(&mut self, per_mille: u32) -> bool;
    /// 64 bits that were never given before.
    fn bits(&mut self) -> u64;
}

/// Chance, from one seed: the same seed gives the same answers to the same questions.
#[derive(Debug, Clone)]
pub struct Seeded(ChaCha8Rng);

impl Seeded {
    /// The chance of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }
}

impl Chooser for Seeded {
    fn task(&mut self, able: usize) -> usize {
        self.0.random_range(0..able)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0.random_range(0..end)
    }

    fn chance(&mut self, per_mille: u32) -> bool {
        self.0.random_range(0..1000) < per_mille
    }

    fn bits(&mut self) -> u64 {
        self.0.random()
    }
}

/// No chance at all: the oldest task goes first, nothing takes time, nothing goes wrong, and bits are counted.
///
/// Whoever explores a world with it chooses everything else from a script (see [`crate::explore`]).
#[derive(Debug, Clone, Default)]
pub struct Scripted {
    given: u64,
}

impl Chooser for Scripted {
    fn task(&mut self, _: usize) -> usize {
        0
    }

    fn below(&mut self, _: u64) -> u64 {
        0
    }

    fn chance(&mut self, _: u32) -> bool {
        false
    }

    fn bits(&mut self) -> u64 {
        self.given += 1;
        // Names are made from the upper half, sessions from the lower: both must differ each time.
        self.given << 32 | self.given
    }
}
