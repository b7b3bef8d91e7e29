//! Who did what: events, the segments they are kept in, and how it is noticed that somebody has changed one.
//!
//! Alice's apply takes a lock, reads the state and writes the next one; each is an [`Event`]. What a replica decides
//! within about a second becomes one [`segment`]: a file of JSON lines that names its replica and its place in the
//! replica's chain, the digest of the segment before it, and that is signed. Whoever can write to the bucket can remove
//! such a file or put another in its place, and [`verify`] tells that they have.

pub mod segment;
pub mod verify;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::access::Kind;
use crate::text::spelled_as_text;
use crate::{Action, Caller, LockId, Principal, UnitId, UnitPrefix, VersionId};

pub use segment::{Draft, Read, Seal, SegmentId, Signature, Unreadable};
pub use verify::{Auditor, Finding, Keys, Report};

/// How somebody asked, beside who they are: for the audit, and for nothing that is decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// By which credential: its kind and its id, never the credential itself.
    pub via: Option<String>,
    /// The address of the CI run, where it is known.
    pub run: Option<String>,
    /// The number of the request.
    pub request: Option<String>,
    /// The address that the request came from.
    pub address: Option<String>,
    /// Through which door.
    pub door: Option<&'static str>,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done.
    Done,
    /// Whoever asked may not.
    Denied,
    /// They may, and it was not possible for what is true of the unit.
    Refused,
}

impl Outcome {
    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Denied => "denied",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The text names no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an outcome is `done`, `denied` or `refused`")]
pub struct NotAnOutcome;

impl FromStr for Outcome {
    type Err = NotAnOutcome;

    fn from_str(text: &str) -> Result<Self, NotAnOutcome> {
        [Self::Done, Self::Denied, Self::Refused]
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
            .ok_or(NotAnOutcome)
    }
}

spelled_as_text!(Outcome, "`done`, `denied` or `refused`");

/// One thing that was decided. Neither a token nor anything out of a state is ever in one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, by the clock of the replica.
    pub at: Timestamp,
    /// Who asked.
    pub principal: Principal,
    /// What kind of caller that is: `root`, `anonymous`, `user`, `service` or `ci`; none of whoever wrote to the bucket
    /// directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The right that was asked for, or what was done to credentials.
    pub action: String,
    /// What came of it.
    pub decision: Outcome,
    /// What was done, or why it was not.
    pub what: String,
    /// To which unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitId>,
    /// Which version it was, or became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionId>,
    /// Under which lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockId>,
    /// As which refused write the bytes are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
    /// About whom or what it was, where that is no unit: a role, a token's id, a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// By which credential: its kind and its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// The address of the CI run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Through which door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<String>,
    /// The number of the request, as the log has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The address that the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl Event {
    /// That something was done.
    #[must_use]
    pub fn done(caller: &Caller, action: impl Into<Called>, what: impl Into<String>) -> Self {
        Self::of(caller, action.into().0, Outcome::Done, what.into())
    }

    /// That somebody was told no.
    #[must_use]
    pub fn denied(caller: &Caller, action: Action) -> Self {
        let what = "no role allows it, or one denies it".to_owned();
        Self::of(caller, action.as_str(), Outcome::Denied, what)
    }

    /// That something was not done for what is true of a unit, not for who asked.
    #[must_use]
    pub fn refused(caller: &Caller, action: impl Into<Called>, why: impl Into<String>) -> Self {
        Self::of(caller, action.into().0, Outcome::Refused, why.into())
    }

    /// That somebody wrote to the bucket directly, so that nobody knows who.
    #[must_use]
    pub fn noticed(principal: Principal, unit: &UnitId, what: &str) -> Self {
        let event = Self {
            kind: None,
            ..Self::of(&Caller::anonymous(), "bucket", Outcome::Done, what.to_owned())
        };
        Self { principal, ..event }.on(unit)
    }

    fn of(caller: &Caller, action: &str, decision: Outcome, what: String) -> Self {
        let asked = caller.asked().cloned().unwrap_or_default();
        Self {
            at: Timestamp::UNIX_EPOCH,
            principal: caller.principal().clone(),
            kind: Some(kind_of(caller.kind()).to_owned()),
            action: action.to_owned(),
            decision,
            what,
            unit: None,
            version: None,
            lock: None,
            kept: None,
            about: None,
            via: asked.via,
            run: asked.run,
            door: asked.door.map(str::to_owned),
            request: asked.request,
            address: asked.address,
        }
    }

    /// The same, about a unit.
    #[must_use]
    pub fn on(self, unit: &UnitId) -> Self {
        Self {
            unit: Some(unit.clone()),
            ..self
        }
    }

    /// The same, about a version.
    #[must_use]
    pub fn version(self, version: VersionId) -> Self {
        Self {
            version: Some(version),
            ..self
        }
    }

    /// The same, under a lock.
    #[must_use]
    pub fn under(self, lock: Option<&LockId>) -> Self {
        Self {
            lock: lock.cloned(),
            ..self
        }
    }

    /// The same; the refused bytes are kept under this id.
    #[must_use]
    pub fn kept(self, kept: Option<&str>) -> Self {
        Self {
            kept: kept.map(str::to_owned),
            ..self
        }
    }

    /// The same, about somebody or something that is no unit.
    #[must_use]
    pub fn about(self, about: impl Into<String>) -> Self {
        Self {
            about: Some(about.into()),
            ..self
        }
    }
}

/// Which events somebody looks for: all, where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only about this unit.
    pub unit: Option<UnitId>,
    /// Only about units whose id starts so.
    pub prefix: Option<UnitPrefix>,
    /// Only by this principal.
    pub principal: Option<String>,
    /// Only of this action.
    pub action: Option<String>,
    /// Only with this outcome.
    pub decision: Option<Outcome>,
    /// Only from this moment on.
    pub since: Option<Timestamp>,
    /// Only before this moment.
    pub until: Option<Timestamp>,
}

impl Filter {
    /// Whether an event is one of them.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        let is =
            |wanted: &Option<String>, there: &str| wanted.as_deref().is_none_or(|wanted| wanted == there);
        let in_time = self.since.is_none_or(|since| event.at >= since)
            && self.until.is_none_or(|until| event.at < until);
        let about = match (&self.unit, &self.prefix, &event.unit) {
            (None, None, _) => true,
            (_, _, None) => false,
            (unit, prefix, Some(there)) => {
                unit.as_ref().is_none_or(|unit| unit == there)
                    && prefix.as_ref().is_none_or(|prefix| prefix.matches(there))
            }
        };
        in_time
            && about
            && is(&self.principal, event.principal.as_str())
            && is(&self.action, &event.action)
            && self.decision.is_none_or(|decision| decision == event.decision)
    }
}

/// What an event is called by: a right, or a word for what is done to credentials.
#[derive(Debug, Clone, Copy)]
pub struct Called(&'static str);

impl From<Action> for Called {
    fn from(action: Action) -> Self {
        Self(action.as_str())
    }
}

impl From<&'static str> for Called {
    fn from(word: &'static str) -> Self {
        Self(word)
    }
}

fn kind_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Root => "root",
        Kind::Anonymous => "anonymous",
        Kind::User => "user",
        Kind::Service => "service",
        Kind::Ci => "ci",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn an_event_says_how_its_caller_asked_and_leaves_out_what_it_does_not_know() {
        let asked = Asked {
            via: Some("token tok_1".to_owned()),
            run: Some("https://ci.example/runs/7".to_owned()),
            request: Some("r-1".to_owned()),
            address: Some("192.0.2.7".to_owned()),
            door: Some("terraform"),
        };
        let caller = Caller::ci("deploy", Vec::new()).asking(Arc::new(asked));
        let unit = UnitId::parse("myapp/prod").unwrap();
        let event = Event::done(&caller, Action::Lock, "locked").on(&unit);
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "at": "1970-01-01T00:00:00Z", "principal": "ci:deploy", "kind": "ci", "action": "unit.lock",
                "decision": "done", "what": "locked", "unit": "myapp/prod", "via": "token tok_1",
                "run": "https://ci.example/runs/7", "door": "terraform", "request": "r-1", "address": "192.0.2.7",
            })
        );
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
    }

    #[test]
    fn how_somebody_asked_makes_nobody_another_caller() {
        let plain = Caller::user("alice");
        let asking = plain.clone().asking(Arc::new(Asked {
            request: Some("r-1".to_owned()),
            ..Asked::default()
        }));
        assert_eq!(plain, asking);
        assert!(plain.asked().is_none());
        assert_eq!(asking.asked().unwrap().request.as_deref(), Some("r-1"));
    }

    #[test]
    fn an_outcome_is_read_as_it_is_written_and_nothing_else_is_one() {
        for outcome in [Outcome::Done, Outcome::Denied, Outcome::Refused] {
            assert_eq!(outcome.to_string().parse(), Ok(outcome));
        }
        assert_eq!("Done".parse::<Outcome>(), Err(NotAnOutcome));
    }
}
