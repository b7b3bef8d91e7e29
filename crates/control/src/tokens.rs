//! Which tokens are over, and which API tokens and service accounts there are.
//!
//! One document says it, so that a replica that reads it every two seconds knows everything, and checking a token costs
//! no request. What was read is believed for five seconds: a token that was revoked anywhere is refused everywhere within
//! that time, and where the bucket does not answer for longer, no token is believed.
//!
//! ```text
//! __opentaco_tokens/ledger.json      revoked logins, API tokens by their hashes, service accounts
//! __opentaco_tokens/used.json        when API tokens were used last, to about an hour
//! ```
//!
//! Nothing in there is a secret: tokens and logins are named by hashes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use opentaco_domain::access::{Kind, Name};
use opentaco_domain::audit::Event;
use opentaco_domain::{Action, Caller, Principal, Sha256};
use opentaco_storage::records::{Record, RecordName, Records, Seen, Shelf, Swapped};
use opentaco_storage::{StorageError, Surroundings};
use serde::{Deserialize, Serialize};

use crate::access::{Access, AccessError};
use crate::audit::{Audit, Unwritten};
use crate::believed::{Believed, EVERY, again_and_again};
use crate::open::chain;

/// How often a change is tried while others change the document too.
const TRIES: usize = 12;
/// How exact the time of last use is.
const USE_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// How many API tokens there can be. All of them, each with the groups of its owner, stand in a document that is read every
/// two seconds.
const TOKENS_MAX: usize = 5_000;
/// How many of them somebody can have, so that nobody takes the places of all.
const TOKENS_OF_ONE_MAX: usize = 100;
/// How many service accounts there can be.
const ACCOUNTS_MAX: usize = 2_000;

/// Which tokens there are, and which are over. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
    audit: Audit,
}

#[derive(Debug)]
struct Inner {
    records: Records,
    surroundings: Surroundings,
    known: Believed<Page>,
    /// Uses that are not written down yet, and those that were.
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    fresh: BTreeMap<Sha256, Timestamp>,
    written: BTreeMap<Sha256, Timestamp>,
}

/// The document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    /// Logins that were ended, by the hash of their family, each with when it can be forgotten.
    #[serde(default)]
    revoked: BTreeMap<Sha256, Timestamp>,
    /// API tokens by their hash.
    #[serde(default)]
    tokens: BTreeMap<Sha256, KeptToken>,
    /// Service accounts by their name.
    #[serde(default)]
    accounts: BTreeMap<Name, Account>,
}

/// Whose an API token is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// A person's, with the groups they were in at their last login.
    User {
        /// The name that their provider vouches for.
        name: String,
        /// See [`Ledger::regroup`].
        #[serde(default)]
        groups: Vec<String>,
    },
    /// A service account's.
    Service {
        /// Its name.
        name: Name,
    },
}

impl Owner {
    /// The caller that the token makes, as far as its owner reaches.
    #[must_use]
    pub fn caller(&self) -> Caller {
        match self {
            Self::User { name, groups } => Caller::user(name).in_groups(groups.iter().map(String::as_str)),
            Self::Service { name } => Caller::service(name.as_str()),
        }
    }
}

/// What is kept of an API token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptToken {
    /// What people name it by.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// Whose it is.
    pub owner: Owner,
    /// It reaches no further than these roles; empty: as far as its owner.
    #[serde(default)]
    pub roles: Vec<Name>,
    /// When it was made.
    pub created: Timestamp,
    /// Who made it.
    pub created_by: Principal,
    /// Until when it is good.
    pub expires: Timestamp,
}

impl KeptToken {
    /// The caller that it makes.
    #[must_use]
    pub fn caller(&self) -> Caller {
        let caller = self.owner.caller();
        match self.roles.is_empty() {
            true => caller,
            false => caller.within(self.roles.clone()),
        }
    }
}

/// A service account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// What people say of it.
    #[serde(default)]
    pub description: String,
    /// When it was made.
    pub created: Timestamp,
}

/// Nobody can say at the moment which tokens are over, so none is believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it cannot be read which tokens are over: {reason}")]
pub struct LedgerUnreadable {
    /// What went wrong, for the log.
    pub reason: String,
}

/// Why tokens or service accounts were not shown or changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The caller may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Such a caller has no tokens of their own.
    #[error("{why}")]
    NotTheirs {
        /// Why not, and what to do instead.
        why: &'static str,
    },
    /// There is one of that name.
    #[error("there is a service account `{0}` already")]
    Exists(Name),
    /// There is none.
    #[error("there is no {what}")]
    NotFound {
        /// What is missing.
        what: String,
    },
    /// There are as many as there can be.
    #[error("there are {0} already, which is the most; revoke some that nobody needs")]
    TooMany(usize),
    /// Which tokens are over cannot be read.
    #[error(transparent)]
    Unreadable(#[from] LedgerUnreadable),
    /// The bucket did not do what was asked; the change may have been made.
    #[error("the tokens could not be changed for sure")]
    Unavailable(#[source] StorageError),
    /// It was done, and its event could not be written in time.
    #[error(transparent)]
    Unwritten(Unwritten),
}

impl Ledger {
    pub(crate) fn new(records: Records, surroundings: Surroundings) -> Self {
        Self {
            inner: Arc::new(Inner {
                known: Believed::new(Arc::clone(&surroundings.clock)),
                records,
                surroundings,
                used: Mutex::default(),
            }),
            audit: Audit::default(),
        }
    }

    /// The same, with its events where this audit keeps them.
    #[must_use]
    pub(crate) fn audited(self, audit: Audit) -> Self {
        Self { audit, ..self }
    }

    /// Reads it, and goes on reading it behind everything else as long as somebody has it.
    pub async fn keep_fresh(&self) {
        self.refresh().await;
        again_and_again(&self.inner.surroundings, EVERY, &self.inner, |inner| async move {
            inner.refresh().await;
            inner.write_uses().await;
        });
    }

    /// Reads it once more.
    pub async fn refresh(&self) {
        self.inner.refresh().await;
    }

    /// Whether the tokens of a login are over.
    ///
    /// # Errors
    /// If nobody can say.
    pub fn is_revoked(&self, family: &Sha256) -> Result<bool, LedgerUnreadable> {
        Ok(self.inner.current()?.revoked.contains_key(family))
    }

    /// The API token of that hash, which is being used; expired or not.
    ///
    /// # Errors
    /// If nobody can say.
    pub fn token(&self, hash: &Sha256) -> Result<Option<KeptToken>, LedgerUnreadable> {
        let found = self.inner.current()?.tokens.get(hash).cloned();
        if found.is_some() {
            self.inner.hold_used().fresh.insert(*hash, self.inner.now());
        }
        Ok(found)
    }

    /// Ends the tokens of logins on every replica, and remembers that for `memory`, after which none of them is good
    /// for anything anyway.
    ///
    /// # Errors
    /// If it may not have been done.
    pub async fn revoke_logins(&self, families: &[Sha256], memory: SignedDuration) -> Result<(), TokenError> {
        let until = self.inner.now().saturating_add(memory).unwrap_or(Timestamp::MAX);
        self.change(|page| {
            for family in families {
                page.revoked.entry(*family).or_insert(until);
            }
            Ok(())
        })
        .await
    }

    /// What somebody's provider says now about the groups they are in, for their API tokens: those reach no further than
    /// their owner.
    ///
    /// # Errors
    /// If it may not have been done.
    pub async fn regroup(&self, name: &str, now_in: &[String]) -> Result<(), TokenError> {
        let outdated = |token: &KeptToken| matches!(&token.owner, Owner::User { name: theirs, groups } if theirs == name && groups != now_in);
        if !self.inner.current()?.tokens.values().any(outdated) {
            return Ok(());
        }
        self.change(|page| {
            for token in page.tokens.values_mut() {
                if let Owner::User { name: theirs, groups } = &mut token.owner
                    && theirs == name
                {
                    *groups = now_in.to_vec();
                }
            }
            Ok(())
        })
        .await
    }

    /// Keeps a new API token. One for a service account takes the right to manage access; people make their own.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn keep_token(
        &self,
        access: &Access,
        caller: &Caller,
        hash: Sha256,
        token: &KeptToken,
    ) -> Result<(), TokenError> {
        match &token.owner {
            Owner::Service { .. } => drop(access.permit(caller, Action::ManageAccess)?),
            Owner::User { .. } if caller.kind() == Kind::User => {}
            Owner::User { .. } => {
                return Err(TokenError::NotTheirs {
                    why: "only people who have logged in have tokens of their own; name the service account that the token is for",
                });
            }
        }
        self.change(|page| {
            if let Owner::Service { name } = &token.owner
                && !page.accounts.contains_key(name)
            {
                return Err(TokenError::NotFound {
                    what: format!("service account `{name}`"),
                });
            }
            if page.tokens.len() >= TOKENS_MAX {
                return Err(TokenError::TooMany(TOKENS_MAX));
            }
            let whose = token.owner.caller();
            let theirs = |kept: &&KeptToken| kept.owner.caller().principal() == whose.principal();
            if page.tokens.values().filter(theirs).count() >= TOKENS_OF_ONE_MAX {
                return Err(TokenError::TooMany(TOKENS_OF_ONE_MAX));
            }
            page.tokens.insert(hash, token.clone());
            Ok(())
        })
        .await?;
        let whose = token.owner.caller();
        let about = format!("token {} of {}", token.id, whose.principal());
        self.changed(caller, "token.create", "made an API token", about)
            .await
    }

    /// The API tokens that the caller may see, oldest first, each with when it was last used: their own, and everybody's
    /// for whoever manages access.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn tokens(
        &self,
        access: &Access,
        caller: &Caller,
    ) -> Result<Vec<(KeptToken, Option<Timestamp>)>, TokenError> {
        let sees_all = access.may(caller, Action::ManageAccess)?;
        let (page, _) = self.inner.load().await.map_err(TokenError::Unavailable)?;
        let mut used = self.inner.read_uses().await.map_err(TokenError::Unavailable)?;
        for (hash, at) in &self.inner.hold_used().fresh {
            let last = used.entry(*hash).or_insert(*at);
            *last = (*last).max(*at);
        }
        let mut tokens: Vec<_> = page
            .tokens
            .into_iter()
            .filter(|(_, token)| sees_all || token.owner.caller().principal() == caller.principal())
            .map(|(hash, token)| (token, used.get(&hash).copied()))
            .collect();
        tokens.sort_by(|(one, _), (other, _)| (one.created, &one.id).cmp(&(other.created, &other.id)));
        Ok(tokens)
    }

    /// Ends an API token: one's own, or anybody's for whoever manages access.
    ///
    /// # Errors
    /// See [`TokenError`]; somebody else's token is not found by those who may not see it.
    pub async fn revoke_token(&self, access: &Access, caller: &Caller, id: &str) -> Result<(), TokenError> {
        let missing = || TokenError::NotFound {
            what: "token of that id".to_owned(),
        };
        let sees_all = access.may(caller, Action::ManageAccess)?;
        self.change(|page| {
            let theirs =
                |token: &KeptToken| sees_all || token.owner.caller().principal() == caller.principal();
            let found = page
                .tokens
                .iter()
                .find(|(_, token)| token.id == id && theirs(token));
            let hash = *found.ok_or_else(missing)?.0;
            page.tokens.remove(&hash);
            Ok(())
        })
        .await?;
        let about = format!("token {id}");
        self.changed(caller, "token.revoke", "ended an API token", about)
            .await
    }

    /// Makes a service account.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn create_account(
        &self,
        access: &Access,
        caller: &Caller,
        name: &Name,
        account: &Account,
    ) -> Result<(), TokenError> {
        access.permit(caller, Action::ManageAccess)?;
        self.change(|page| {
            if page.accounts.contains_key(name) {
                return Err(TokenError::Exists(name.clone()));
            }
            if page.accounts.len() >= ACCOUNTS_MAX {
                return Err(TokenError::TooMany(ACCOUNTS_MAX));
            }
            page.accounts.insert(name.clone(), account.clone());
            Ok(())
        })
        .await?;
        let (action, what) = ("service-account.create", "made a service account");
        self.changed(caller, action, what, format!("service:{name}"))
            .await
    }

    /// The service accounts, in the order of their names.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn accounts(
        &self,
        access: &Access,
        caller: &Caller,
    ) -> Result<Vec<(Name, Account)>, TokenError> {
        access.permit(caller, Action::ManageAccess)?;
        let (page, _) = self.inner.load().await.map_err(TokenError::Unavailable)?;
        Ok(page.accounts.into_iter().collect())
    }

    /// Removes a service account, and ends every token of it. What roles it was given stays written down, and whoever
    /// makes an account of that name again has them.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn remove_account(
        &self,
        access: &Access,
        caller: &Caller,
        name: &Name,
    ) -> Result<(), TokenError> {
        access.permit(caller, Action::ManageAccess)?;
        self.change(|page| {
            if page.accounts.remove(name).is_none() {
                return Err(TokenError::NotFound {
                    what: format!("service account `{name}`"),
                });
            }
            let of_it =
                |token: &KeptToken| matches!(&token.owner, Owner::Service { name: theirs } if theirs == name);
            page.tokens.retain(|_, token| !of_it(token));
            Ok(())
        })
        .await?;
        let (action, what) = (
            "service-account.remove",
            "removed a service account and ended its tokens",
        );
        self.changed(caller, action, what, format!("service:{name}"))
            .await
    }

    /// Something was changed, with its record.
    async fn changed(
        &self,
        caller: &Caller,
        action: &'static str,
        what: &str,
        about: String,
    ) -> Result<(), TokenError> {
        let event = Event::done(caller, action, what).about(about);
        self.audit.done(event).await.map_err(TokenError::Unwritten)
    }

    /// Makes a change of what was just read, again if it was another document by then.
    async fn change(&self, apply: impl Fn(&mut Page) -> Result<(), TokenError>) -> Result<(), TokenError> {
        for _ in 0..TRIES {
            let asked = self.inner.now();
            let (before, seen) = self.inner.load().await.map_err(TokenError::Unavailable)?;
            let mut page = before.clone();
            apply(&mut page)?;
            page.revoked.retain(|_, until| *until > asked);
            let over = asked.saturating_sub(USE_EVERY * 24).unwrap_or(Timestamp::MIN);
            page.tokens.retain(|_, token| token.expires > over);
            if page == before {
                self.inner.known.know(Arc::new(page), asked);
                return Ok(());
            }
            let swapped = self
                .inner
                .records
                .swap(&ledger_name(), seen.as_ref(), &page)
                .await;
            match swapped.map_err(TokenError::Unavailable)? {
                Swapped::Done(_) => {
                    self.inner.known.know(Arc::new(page), asked);
                    // What was read here meanwhile, before the change, was asked for later than what the change was
                    // made of, and must not be what is believed.
                    self.refresh().await;
                    return Ok(());
                }
                // What was made of it since is read, so that this replica knows no less than what it answers.
                Swapped::Overtaken => {
                    self.refresh().await;
                    return Ok(());
                }
                Swapped::Moved => {}
            }
        }
        Err(TokenError::Unavailable(StorageError::Busy {
            key: "the ledger of tokens".to_owned(),
            tries: TRIES,
        }))
    }
}

impl Inner {
    async fn refresh(&self) {
        let asked = self.now();
        match self.load().await {
            Ok((page, _)) => self.known.know(Arc::new(page), asked),
            Err(error) => {
                let reason = chain(&error);
                tracing::warn!(
                    reason,
                    "it cannot be read which tokens are over; soon no token is believed any more"
                );
                self.known.doubt(reason);
            }
        }
    }

    /// Writes down when tokens were used, at most once an hour for each.
    async fn write_uses(&self) {
        let due = {
            let used = self.hold_used();
            let is_due = |(hash, at): &(&Sha256, &Timestamp)| {
                let before = used.written.get(*hash);
                before.is_none_or(|before| at.duration_since(*before) >= USE_EVERY)
            };
            used.fresh.iter().any(|used| is_due(&used))
        };
        if !due {
            return;
        }
        let fresh = self.hold_used().fresh.clone();
        match self.merge_uses(&fresh).await {
            Ok(()) => {
                let mut used = self.hold_used();
                used.fresh
                    .retain(|hash, at| fresh.get(hash).is_none_or(|written| *at > *written));
                used.written.extend(fresh);
            }
            Err(error) => tracing::warn!(
                error = chain(&error),
                "it was not written down when API tokens were used; it will be tried again"
            ),
        }
    }

    async fn merge_uses(&self, fresh: &BTreeMap<Sha256, Timestamp>) -> Result<(), StorageError> {
        for _ in 0..TRIES {
            let found: Option<Record<BTreeMap<Sha256, Timestamp>>> = self.records.load(&used_name()).await?;
            let (mut uses, seen) =
                found.map_or_else(Default::default, |found| (found.value, Some(found.seen)));
            for (hash, at) in fresh {
                let last = uses.entry(*hash).or_insert(*at);
                *last = (*last).max(*at);
            }
            if let Ok(page) = self.current() {
                uses.retain(|hash, _| page.tokens.contains_key(hash));
            }
            match self.records.swap(&used_name(), seen.as_ref(), &uses).await? {
                Swapped::Done(_) | Swapped::Overtaken => return Ok(()),
                Swapped::Moved => {}
            }
        }
        Err(StorageError::Busy {
            key: "the uses of tokens".to_owned(),
            tries: TRIES,
        })
    }

    async fn read_uses(&self) -> Result<BTreeMap<Sha256, Timestamp>, StorageError> {
        let found = self.records.load(&used_name()).await?;
        Ok(found.map(|found| found.value).unwrap_or_default())
    }

    async fn load(&self) -> Result<(Page, Option<Seen>), StorageError> {
        let found: Option<Record<Page>> = self.records.load(&ledger_name()).await?;
        Ok(found.map_or_else(Default::default, |found| (found.value, Some(found.seen))))
    }

    fn current(&self) -> Result<Arc<Page>, LedgerUnreadable> {
        let known = self.known.current();
        known.map_err(|reason| LedgerUnreadable { reason })
    }

    fn hold_used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.surroundings.clock.now()
    }
}

fn ledger_name() -> RecordName {
    RecordName::new(Shelf::Tokens, &["ledger.json"]).expect("a plain word is a record's name")
}

fn used_name() -> RecordName {
    RecordName::new(Shelf::Tokens, &["used.json"]).expect("a plain word is a record's name")
}
