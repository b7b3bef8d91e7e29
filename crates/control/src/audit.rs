//! The third beat: one event for every decision that changes or reveals a state or a right.
//!
//! Each event is a line of the log, under the target `opentaco::audit`, and where a service is open a line of a segment
//! in the bucket: written behind the answer, at most a second later (`trail`); or before the answer, for whoever asks
//! for that ([`AuditOptions::sync`]). Never a state's content, never a token. How segments are found again: [`search`].

pub mod search;
mod trail;

use std::fmt;
use std::sync::Arc;

use opentaco_domain::audit::{Event, Outcome, Seal, SegmentId};
use opentaco_domain::{Action, Caller, Principal, UnitId};
use opentaco_storage::{Bucket, Noticed, Observer, StorageError};

use crate::access::AccessError;
use trail::Trail;

pub use search::{Found, Page, Wanted};
pub use trail::Numbers;

/// How the audit is kept.
#[derive(Debug, Clone, Default)]
pub struct AuditOptions {
    /// What signs segments. Without it they are chained, and whoever can write to the bucket could make the chain anew.
    pub seal: Option<Arc<dyn Seal>>,
    /// Whether a change is answered only when its event is written.
    pub sync: bool,
}

/// It was done, and its event is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this was done, and its event could not be written to the audit yet; the service goes on trying. Look before you do it again"
)]
pub struct Unwritten;

/// Why the audit cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The caller may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// There is no such segment.
    #[error("there is no segment `{0}` in the audit")]
    NoSegment(SegmentId),
    /// It is not a page that there was.
    #[error("the page token is none that this service gave; start again without one")]
    PageToken,
    /// The bucket gives no answer.
    #[error("the audit cannot be read at the moment")]
    Unavailable(#[source] StorageError),
}

/// Where events go: by default to the log alone. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    /// None: to the log alone.
    trail: Option<Arc<Trail>>,
    sync: bool,
}

impl Audit {
    /// Events go to the log and to the bucket, in a chain of their own that begins with the first of them.
    #[must_use]
    pub fn kept(bucket: Bucket, options: AuditOptions) -> Self {
        Self {
            trail: Some(Arc::new(Trail::new(bucket, options.seal))),
            sync: options.sync,
        }
    }

    /// Something was revealed, denied or refused: told at once, written behind the answer.
    pub fn tell(&self, event: Event) {
        log(&event);
        if let Some(trail) = &self.trail {
            trail.tell(event);
        }
    }

    /// Something was changed. Returns at once, or, where that was asked for, when the event is written.
    ///
    /// # Errors
    /// That it could not be written in time. The change was made nevertheless.
    pub async fn done(&self, event: Event) -> Result<(), Unwritten> {
        log(&event);
        match &self.trail {
            Some(trail) if self.sync => trail.write(event).await,
            Some(trail) => {
                trail.tell(event);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Nothing was changed, since it was done before: perhaps by whoever was told that the event of it was not written yet.
    ///
    /// # Errors
    /// That it still is not.
    pub(crate) async fn done_before(&self) -> Result<(), Unwritten> {
        match self.sync {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    /// Somebody looked at the audit. Whoever follows it asks every few seconds, and it is not to be full of that: told
    /// once a minute of each principal.
    pub(crate) fn tell_that_it_was_read(&self, caller: &Caller) {
        let is_new = self
            .trail
            .as_ref()
            .is_none_or(|trail| trail.is_new_reader(caller));
        if is_new {
            self.tell(Event::done(caller, Action::ReadAudit, "read the audit"));
        }
    }

    /// Returns when everything that was told before is written.
    ///
    /// # Errors
    /// If that takes too long: the bucket does not take it.
    pub async fn flush(&self) -> Result<(), Unwritten> {
        match &self.trail {
            Some(trail) => trail.flush().await,
            None => Ok(()),
        }
    }

    /// Writes what is left, and ends the chain: what is told after this goes to the log alone.
    pub async fn close(&self) {
        if let Some(trail) = &self.trail {
            trail.close().await;
        }
    }

    /// What was told, what waits to be written, and what was let go.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        self.trail
            .as_ref()
            .map(|trail| trail.numbers())
            .unwrap_or_default()
    }
}

impl Observer for Audit {
    fn notice(&self, unit: &UnitId, noticed: Noticed) {
        let by = Principal::new("unknown (found in the bucket)");
        let event = match noticed {
            Noticed::Adopted(version) => Event::noticed(by, unit, "adopted").version(version),
            Noticed::KeptAside(id) => Event::noticed(by, unit, "kept aside").kept(Some(&id)),
            Noticed::HeadLost(versions) => {
                Event::noticed(by, unit, &format!("head lost, {versions} versions kept"))
            }
        };
        // The vault has said it in the log, with what it knows besides.
        if let Some(trail) = &self.trail {
            trail.tell(event);
        }
    }
}

/// The log's line about an event.
fn log(event: &Event) {
    let unit = event.unit.as_ref().map(UnitId::as_str);
    let version = event.version.as_ref().map(tracing::field::display);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: "opentaco::audit",
                caller = %event.principal,
                action = event.action,
                unit,
                decision = event.decision.as_str(),
                what = event.what,
                version,
                kept = event.kept,
                about = event.about,
                via = event.via,
            )
        };
    }
    match event.decision {
        Outcome::Denied => line!(warn),
        Outcome::Done if event.unit.is_none() && event.action == "access.manage" => line!(warn),
        Outcome::Done | Outcome::Refused => line!(info),
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { told, waiting, lost } = self;
        write!(formatter, "{told} told, {waiting} waiting, {lost} lost")
    }
}
