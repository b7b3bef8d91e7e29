//! What the protocol needs from the world besides a bucket: time, chance, and somebody to do things later.
//!
//! All three are passed in. Nothing in this crate reads a clock, draws a random number or spawns a task by itself, so a
//! simulator owns every one of these choices.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use opentaco_domain::{Clock, SystemClock};

/// Where nonces come from.
pub trait Entropy: Send + Sync {
    /// 64 bits that nobody else draws.
    fn draw(&self) -> u64;
}

/// Where work that is done behind the answer goes, and where waiting is done.
pub trait Tasks: Send + Sync {
    /// Runs `work` to its end, some time, unless the process dies first.
    fn spawn(&self, work: BoxFuture<'static, ()>);
    /// Returns after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// Time, chance and background work, as one value that is cheap to clone.
#[derive(Clone)]
pub struct Surroundings {
    /// The time of day; displayed, never trusted for safety.
    pub clock: Arc<dyn Clock>,
    /// Nonces.
    pub entropy: Arc<dyn Entropy>,
    /// Work behind the answer, and waiting.
    pub tasks: Arc<dyn Tasks>,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

impl Surroundings {
    /// The real world: the system's clock and randomness, tasks on the current tokio runtime.
    #[must_use]
    pub fn real() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            tasks: Arc::new(TokioTasks),
        }
    }
}

/// Randomness of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn draw(&self) -> u64 {
        // The first half of a random UUID is 60 random bits and a constant nibble; fold both halves to get 64.
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        high ^ low.rotate_left(17)
    }
}

/// Tasks on the current tokio runtime.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioTasks;

impl Tasks for TokioTasks {
    fn spawn(&self, work: BoxFuture<'static, ()>) {
        // The one place of this crate that may spawn; everything else goes through `Tasks`.
        #[expect(
            clippy::disallowed_methods,
            reason = "this is what `Tasks` is made of outside a simulation"
        )]
        drop(tokio::spawn(work));
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is what `Tasks` is made of outside a simulation"
        )]
        Box::pin(tokio::time::sleep(duration))
    }
}
