//! What the words of OpenTaco mean.
//!
//! Values only: nothing here performs I/O, is async, or knows HTTP. Given the same values it gives the same
//! answer. In reading order: who and what ([`access`], [`mod@unit`]), the state and its parts ([`state`],
//! [`digest`], [`version`]), the lock ([`lock`]), both as S3 clients name them ([`object`]), what units are to each other ([`graph`]), what was done ([`audit`]), what is passed in ([`clock`], [`limits`]), and what
//! must not be shown ([`secret`]).

pub mod access;
pub mod audit;
pub mod clock;
pub mod digest;
pub mod graph;
pub mod limits;
pub mod lock;
pub mod object;
pub mod secret;
pub mod state;
pub mod unit;
pub mod version;

mod keys;
mod text;

pub use access::{Action, Caller, Decision, Policy, PolicyUnreadable, Principal};
pub use clock::{Clock, StoppedClock, SystemClock};
pub use digest::{Md5Hasher, Sha256, Sha256Hasher};
pub use lock::{CredentialSession, Holding, LockId, LockInfo, Signed};
pub use object::ObjectName;
pub use secret::Secret;
pub use state::StateSummary;
pub use unit::{UnitId, UnitPrefix};
pub use version::{Session, VersionId};
