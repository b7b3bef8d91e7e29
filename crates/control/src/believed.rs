//! What was read from the bucket, and is believed for a moment: decisions are made from it and cost no request.
//!
//! It is read anew every two seconds and believed for five. Where the bucket does not answer for longer, or what lies
//! there cannot be read, nothing is known, and whoever asks is told why.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use opentaco_domain::Clock;
use opentaco_storage::Surroundings;
use opentaco_storage::planted::{Bug, planted};

/// How long what was read is believed.
const BELIEVED: SignedDuration = SignedDuration::from_secs(5);
/// How often it is read anew.
pub(crate) const EVERY: Duration = Duration::from_secs(2);

/// What is known of a document in the bucket.
pub(crate) struct Believed<T> {
    clock: Arc<dyn Clock>,
    known: Mutex<Known<T>>,
}

enum Known<T> {
    /// What was read, and when it was asked for.
    Read(Arc<T>, Timestamp),
    /// Nothing, and why.
    Nothing(String),
}

impl<T> fmt::Debug for Believed<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Believed").finish_non_exhaustive()
    }
}

impl<T> Believed<T> {
    /// Nothing yet.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let known = Mutex::new(Known::Nothing("it was not read yet".to_owned()));
        Self { clock, known }
    }

    /// What is known by now.
    ///
    /// # Errors
    /// Why nothing is: what was read last is too old, or cannot be read.
    pub(crate) fn current(&self) -> Result<Arc<T>, String> {
        match &*self.hold() {
            Known::Read(read, at) if self.is_believed(*at) => Ok(Arc::clone(read)),
            Known::Read(_, at) => Err(format!(
                "it was last read at {at}, and the bucket has not answered since"
            )),
            Known::Nothing(reason) => Err(reason.clone()),
        }
    }

    /// This was read. Its age counts from before it was asked for, and an answer that was overtaken on its way does not
    /// replace a later one.
    pub(crate) fn know(&self, read: Arc<T>, asked: Timestamp) {
        let mut known = self.hold();
        // A clock that was ahead and was set back must not keep what is read from now on out.
        let is_later = |before: &Timestamp| *before > asked && self.is_believed(*before);
        if !matches!(&*known, Known::Read(_, before) if is_later(before)) {
            *known = Known::Read(read, asked);
        }
    }

    /// It could not be read. What was read before is believed for as long as it was.
    pub(crate) fn doubt(&self, reason: String) {
        let mut known = self.hold();
        if !matches!(&*known, Known::Read(_, at) if self.is_believed(*at)) {
            *known = Known::Nothing(reason);
        }
    }

    fn is_believed(&self, at: Timestamp) -> bool {
        // A clock that was set back makes nothing younger.
        planted(Bug::BelievedForEver)
            || (SignedDuration::ZERO..=BELIEVED).contains(&self.clock.now().duration_since(at))
    }

    fn hold(&self) -> MutexGuard<'_, Known<T>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does `work` every so often behind everything else, as long as somebody has `inner`.
pub(crate) fn again_and_again<I, F>(
    surroundings: &Surroundings,
    every: Duration,
    inner: &Arc<I>,
    work: impl Fn(Arc<I>) -> F + Send + Sync + 'static,
) where
    I: Send + Sync + 'static,
    F: Future<Output = ()> + Send,
{
    let inner = Arc::downgrade(inner);
    let sleeper = Arc::clone(&surroundings.tasks);
    surroundings.tasks.spawn(Box::pin(async move {
        loop {
            sleeper.sleep(every).await;
            let Some(inner) = inner.upgrade() else { return };
            work(inner).await;
        }
    }));
}
