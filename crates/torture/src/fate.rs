//! What becomes of a request on its way through a proxy: drawn while things go wrong there, and counted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::dice::Dice;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing that it would notice.
    Passes,
    /// It or its answer takes its time.
    Slow,
    /// It never arrives.
    Lost,
    /// It arrives, and its answer does not.
    AnswerLost,
    /// It is turned away with 503.
    Busy,
    /// It is done, and the answer says that it failed.
    FailsAfter,
    /// It arrives when nobody waits for it any more.
    HeldBack,
    /// It arrives twice.
    Twice,
}

/// The fates that one proxy has for its requests.
#[derive(Debug)]
pub struct Fates {
    dice: Dice,
    per_mille: u64,
    faults: &'static [Fate],
    rough: AtomicBool,
    met: AtomicU64,
}

impl Fates {
    /// So many requests of a thousand meet one of these faults; none before it is [`rough`](Self::rough).
    #[must_use]
    pub fn new(dice: Dice, per_mille: u64, faults: &'static [Fate]) -> Self {
        Self {
            dice,
            per_mille,
            faults,
            rough: AtomicBool::new(false),
            met: AtomicU64::new(0),
        }
    }

    /// Whether things go wrong here.
    pub fn rough(&self, rough: bool) {
        self.rough.store(rough, Ordering::SeqCst);
    }

    /// How many requests met a fault.
    #[must_use]
    pub fn met(&self) -> u64 {
        self.met.load(Ordering::SeqCst)
    }

    /// What becomes of the next request.
    #[must_use]
    pub fn draw(&self) -> Fate {
        if !self.rough.load(Ordering::SeqCst) || !self.dice.chance(self.per_mille) {
            return Fate::Passes;
        }
        self.met.fetch_add(1, Ordering::Relaxed);
        *self.dice.one(self.faults)
    }
}
