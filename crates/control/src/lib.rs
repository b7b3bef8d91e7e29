//! What callers may do: permit, act, record. Every door leads here, and nothing here speaks a dialect.
//!
//! [`StateControl`] is the room. Each of its operations has three beats, in this order: it asks whether the caller may
//! (`permit`), it acts through the vault, and it records what was decided ([`audit`]).
//! Operations by noun: [`units`], [`state`], [`outputs`], [`locks`], [`versions`], [`rejected`], [`graph`]; the same for S3's clients: [`objects`], [`uploads`]; who may: [`access`]; whose tokens are good:
//! [`sessions`] and [`tokens`]; how it is opened: [`open`].
//!
//! This crate knows no HTTP and no token.

pub mod access;
pub mod audit;
mod believed;
pub mod error;
pub mod graph;
pub mod locks;
pub mod objects;
pub mod open;
pub mod outputs;
pub mod rejected;
pub mod sessions;
pub mod state;
pub mod tokens;
pub mod units;
pub mod uploads;
pub mod versions;

use std::sync::Arc;

use jiff::Timestamp;
use opentaco_domain::access::Outputs;
use opentaco_domain::audit::Event;
use opentaco_domain::{Action, Caller, Decision, Policy, UnitId};
use opentaco_storage::records::Records;
use opentaco_storage::{Counts, Vault};

pub use access::{Access, AccessError};
pub use audit::{Audit, AuditError, AuditOptions, Unwritten};
pub use error::{ControlError, Holder};
use graph::Keeper;
pub use graph::{EdgeView, GraphCounts, GraphView, Reconciled, UnitStatusView};
pub use locks::LockRequest;
pub use open::{Described, OpenOptions, Rights, Verdict};
pub use opentaco_storage::Retention;
pub use opentaco_storage::commit::IfContent;
pub use opentaco_storage::counts::BOUNDS_MILLISECONDS as BUCKET_BOUNDS_MILLISECONDS;
pub use opentaco_storage::head::{Committed, Origin};
pub use opentaco_storage::open::{
    AzureConfig, AzureCredentials, GcsConfig, GcsCredentials, S3Config, S3Key, Secret, StoreConfig,
};
#[cfg(feature = "planted")]
pub use opentaco_storage::planted;
pub use opentaco_storage::rejected::Rejected;
pub use outputs::Output;
pub use sessions::Sessions;
pub use state::{Content, Receipt, StateRead, StateWrite, WritePermit};
pub use tokens::{Account, KeptToken, Ledger, LedgerUnreadable, Owner, TokenError};
pub use units::{Annotation, CreateUnit, ListUnits, UnitView, UnitsPage};
pub use versions::{History, Reinstate};

/// The door a request came through, as history and logs tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Terraform's and OpenTofu's HTTP backend.
    Terraform,
    /// The management API.
    Management,
    /// The S3-compatible API.
    S3,
}

impl Door {
    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Terraform => "terraform",
            Self::Management => "management",
            Self::S3 => "s3",
        }
    }
}

/// State control over one bucket. Cheap to clone; replicas share nothing but the bucket.
#[derive(Debug, Clone)]
pub struct StateControl {
    vault: Vault,
    policy: Arc<dyn Policy>,
    access: Option<Access>,
    ledger: Ledger,
    sessions: Sessions,
    audit: Audit,
    graph: Keeper,
    description: Arc<str>,
    /// While somebody has it, abandoned uploads are collected.
    _collecting: Option<Arc<Vault>>,
}

impl StateControl {
    /// State control over a vault that is already open. Services use [`StateControl::open`].
    #[must_use]
    pub fn new(vault: Vault, policy: Arc<dyn Policy>, description: &str) -> Self {
        let records = Records::new(vault.bucket().clone());
        let surroundings = vault.bucket().surroundings().clone();
        Self {
            ledger: Ledger::new(records.clone(), surroundings),
            sessions: Sessions::new(records),
            graph: Keeper::new(vault.clone(), UnitId::graph()),
            vault,
            policy,
            access: None,
            audit: Audit::default(),
            description: description.into(),
            _collecting: None,
        }
    }

    /// The same, with its events in the bucket, too.
    #[must_use]
    pub fn audited(self, audit: &Audit) -> Self {
        let access = self.access.map(|access| access.audited(audit.clone()));
        Self {
            policy: match &access {
                Some(access) => Arc::new(access.clone()),
                None => self.policy,
            },
            ledger: self.ledger.audited(audit.clone()),
            audit: audit.clone(),
            access,
            ..self
        }
    }

    /// The same, with the graph of dependencies in this unit.
    #[must_use]
    pub fn with_graph_in(self, unit: UnitId) -> Self {
        Self {
            graph: Keeper::new(self.vault.clone(), unit),
            ..self
        }
    }

    /// The same, where what the graph is owed is tried again and again, as long as somebody has this.
    #[must_use]
    pub fn keeping_up(self) -> Self {
        self.graph.keep_up();
        self
    }

    /// The unit that holds the graph of dependencies.
    #[must_use]
    pub fn graph_unit(&self) -> &UnitId {
        self.graph.unit()
    }

    /// What was done to the graph so far, and how many changes it does not tell of yet.
    #[must_use]
    pub fn graph_counts(&self) -> (&GraphCounts, usize) {
        (self.graph.counts(), self.graph.owed())
    }

    /// The same, where roles decide.
    #[must_use]
    pub fn by_roles(vault: Vault, access: Access, description: &str) -> Self {
        Self {
            access: Some(access.clone()),
            ..Self::new(vault, Arc::new(access), description)
        }
    }

    /// Who may do what, to be shown and changed.
    ///
    /// # Errors
    /// [`AccessError::NoRoles`] where roles count for nothing.
    pub fn access(&self) -> Result<&Access, AccessError> {
        self.access.as_ref().ok_or(AccessError::NoRoles)
    }

    /// Where the states rest, for people: `s3://bucket/prefix at …`.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Which tokens there are, and which are over.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What logins leave behind.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Where it is told who did what.
    #[must_use]
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Requests to the bucket so far, by kind.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        self.vault.bucket().counts()
    }

    /// Asks the bucket whether it answers.
    ///
    /// # Errors
    /// [`ControlError::Unavailable`] with the reason.
    pub async fn ready(&self) -> Result<(), ControlError> {
        self.vault
            .bucket()
            .ping()
            .await
            .map_err(ControlError::from_storage)
    }

    /// Returns when all work behind answers is done: lock copies, records, housekeeping.
    pub async fn settle_down(&self) {
        self.vault.settle_down().await;
        self.graph.catch_up().await;
        self.vault.settle_down().await;
    }

    /// As [`StateControl::settle_down`], for good: the audit of this process ends.
    pub async fn close(&self) {
        self.settle_down().await;
        self.audit.close().await;
    }

    /// The first beat of every operation: may this caller do this to this unit?
    ///
    /// Decided before anything is fetched, so that "forbidden" tells nothing about what exists.
    fn permit(&self, caller: &Caller, action: Action, unit: &UnitId) -> Result<(), ControlError> {
        match self.policy.decide(caller, action, unit) {
            Ok(Decision::Allow) => Ok(()),
            Ok(Decision::Deny) => Err(self.forbidden(caller, action, unit)),
            Err(unreadable) => Err(ControlError::PolicyUnreadable { source: unreadable }),
        }
    }

    /// As [`StateControl::permit`], for what is about no unit.
    fn permit_on_service(&self, caller: &Caller, action: Action) -> Result<(), AccessError> {
        if let Some(access) = &self.access {
            return access.permit(caller, action).map(drop);
        }
        let decided = self.policy.decide(caller, action, &UnitId::graph());
        match decided.map_err(AccessError::Unreadable)? {
            Decision::Allow => Ok(()),
            Decision::Deny => {
                self.audit.tell(Event::denied(caller, action));
                Err(AccessError::Forbidden { action })
            }
        }
    }

    /// That a caller may not, with its record.
    fn forbidden(&self, caller: &Caller, action: Action, unit: &UnitId) -> ControlError {
        self.audit.tell(Event::denied(caller, action).on(unit));
        ControlError::Forbidden {
            action,
            unit: unit.clone(),
        }
    }

    /// Something was changed, with its record.
    async fn changed(&self, event: Event) -> Result<(), ControlError> {
        self.audit.done(event).await.map_err(ControlError::Unwritten)
    }

    /// Whether the caller may, for lists that show only what a caller may see.
    fn may(&self, caller: &Caller, action: Action, unit: &UnitId) -> Result<bool, ControlError> {
        match self.policy.decide(caller, action, unit) {
            Ok(decision) => Ok(decision == Decision::Allow),
            Err(unreadable) => Err(ControlError::PolicyUnreadable { source: unreadable }),
        }
    }

    /// Which outputs the caller may see where they may not see the whole state.
    fn outputs(&self, caller: &Caller, unit: &UnitId) -> Result<Option<Outputs>, ControlError> {
        self.policy
            .outputs(caller, unit)
            .map_err(|source| ControlError::PolicyUnreadable { source })
    }

    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.vault.bucket().surroundings().clock.now()
    }
}
