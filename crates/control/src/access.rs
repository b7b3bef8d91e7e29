//! Who may do what, as it is written down in the bucket, and how it is changed.
//!
//! Every decision is made from memory and costs no request. The memory is read anew every two seconds, and believed for
//! five: where the bucket does not answer for longer, or what lies there cannot be read, nothing is decided
//! ([`PolicyUnreadable`]), and nobody is let in on a guess.
//!
//! ```text
//! __opentaco_access/policy.json         the document: permissions, roles, members
//! __opentaco_access/initialised.json    that there was one: without it, a document that is lost looks like a new bucket
//! ```
//!
//! Until there is a document, the root token is the only way in.

use std::sync::Arc;

use jiff::Timestamp;
use opentaco_domain::access::book::{BookError, Explained};
use opentaco_domain::access::document::{Permission, Role};
use opentaco_domain::access::{Book, Document, Kind, Member, Name, Outputs};
use opentaco_domain::audit::Event;
use opentaco_domain::{Action, Caller, Decision, Policy, PolicyUnreadable, UnitId};
use opentaco_storage::records::{Record, RecordName, Records, Seen, Shelf, Swapped};
use opentaco_storage::{StorageError, Surroundings};
use serde::{Deserialize, Serialize};

use crate::audit::{Audit, Unwritten};
use crate::believed::{Believed, EVERY, again_and_again};
use crate::open::chain;

mod starter;

pub use starter::starter;

/// How often a change is tried while others change the document too.
const TRIES: usize = 8;

/// How many bytes of a role or a permission an event tells.
const ABOUT_BYTES_MAX: usize = 4096;

/// Who may do what. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Access {
    inner: Arc<Inner>,
    audit: Audit,
}

#[derive(Debug)]
struct Inner {
    records: Records,
    surroundings: Surroundings,
    known: Believed<Read>,
}

/// A document as it was read.
#[derive(Debug)]
pub struct Read {
    book: Book,
    /// None: there never was a document.
    seen: Option<Seen>,
}

impl Read {
    /// What is decided by.
    #[must_use]
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Whether roles were ever given to anybody.
    #[must_use]
    pub fn is_initialised(&self) -> bool {
        self.seen.is_some()
    }
}

/// That there was a document once.
#[derive(Debug, Serialize, Deserialize)]
struct Initialised {
    at: Timestamp,
}

/// A change of who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Somebody is given a role.
    Assign {
        /// Who.
        member: Member,
        /// Which.
        role: Name,
    },
    /// A role is taken from somebody.
    Revoke {
        /// From whom.
        member: Member,
        /// Which.
        role: Name,
    },
    /// A role is made, or says something else from now on.
    SetRole {
        /// Its name.
        name: Name,
        /// What it holds.
        role: Role,
    },
    /// A role is removed, and nobody holds it any more.
    RemoveRole {
        /// Its name.
        name: Name,
    },
    /// A permission is made, or says something else from now on.
    SetPermission {
        /// Its name.
        name: Name,
        /// What it says.
        permission: Permission,
    },
    /// A permission is removed; no role may hold it.
    RemovePermission {
        /// Its name.
        name: Name,
    },
    /// The root token is switched on or off.
    SetRoot {
        /// Whether it opens nothing any more.
        disabled: bool,
    },
}

impl Change {
    /// What the audit calls it.
    fn what(&self) -> &'static str {
        match self {
            Self::Assign { .. } => "gave a role",
            Self::Revoke { .. } => "took a role",
            Self::SetRole { .. } => "set a role",
            Self::RemoveRole { .. } => "removed a role",
            Self::SetPermission { .. } => "set a permission",
            Self::RemovePermission { .. } => "removed a permission",
            Self::SetRoot { disabled: true } => "switched the root token off",
            Self::SetRoot { disabled: false } => "switched the root token on",
        }
    }

    /// Of what, for the audit: who reads it later does not have the document of then.
    fn about(&self) -> String {
        match self {
            Self::Assign { member, role } => format!("role {role} to {member}"),
            Self::Revoke { member, role } => format!("role {role} of {member}"),
            Self::SetRole { name, role } => format!("role {name}: {}", spelled(role)),
            Self::RemoveRole { name } => format!("role {name}"),
            Self::SetPermission { name, permission } => format!("permission {name}: {}", spelled(permission)),
            Self::RemovePermission { name } => format!("permission {name}"),
            Self::SetRoot { .. } => "the root token".to_owned(),
        }
    }
}

/// What somebody wrote, as far as an event has room for it.
fn spelled(what: &impl Serialize) -> String {
    let mut text = serde_json::to_string(what).expect("what was read as JSON can be written");
    if text.len() > ABOUT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(ABOUT_BYTES_MAX));
        text.push('…');
    }
    text
}

/// Why who may do what was not shown or changed.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The caller may not. Said before anything is looked up.
    #[error("`{}` is not allowed", action.as_str())]
    Forbidden {
        /// What was asked for.
        action: Action,
    },
    /// Nobody is asked who they are, so roles count for nothing. Whoever could change them here would keep what they gave
    /// themselves when everybody is asked again.
    #[error(
        "nobody is asked who they are here, so there are no roles; start the service without -auth-disable"
    )]
    NoRoles,
    /// The root token would switch itself off, and nobody has shown that there is another way in.
    #[error(
        "the root token does not switch itself off: do it as an administrator who came in another way, which shows that there is one"
    )]
    RootByItself,
    /// There are roles already.
    #[error("roles were given before; change them one by one")]
    Initialised,
    /// There are none yet.
    #[error(
        "nobody was given a role yet; `taco rbac init` makes the first administrators, with the root token"
    )]
    NotInitialised,
    /// The last person who could change who may do what would lose that right.
    #[error("that would leave no person who may say who may do what")]
    LastAdministrator,
    /// The root token is off, and whoever is left may be in a group that is denied the right.
    #[error(
        "the root token is off, and that would leave nobody who may say who may do what for certain: a denial that a group holds may catch whoever has the right. Switch the root token on for it, or take the denial from the group"
    )]
    UncertainAdministrator,
    /// A role holds it.
    #[error("role `{role}` holds permission `{permission}`")]
    InUse {
        /// What was to go.
        permission: Name,
        /// Who holds it.
        role: Name,
    },
    /// There is no such thing to change.
    #[error("there is no {what}")]
    NotFound {
        /// What is missing.
        what: String,
    },
    /// The document would not hold together.
    #[error("that cannot be")]
    Invalid(#[source] BookError),
    /// Nobody can say who may do what.
    #[error(
        "the access policy cannot be read, so nothing is allowed and nothing was changed; try again, and if it stays so, the log of the service tells the operator why"
    )]
    Unreadable(#[source] PolicyUnreadable),
    /// The bucket did not do what was asked; the change may have been made.
    #[error("the access policy could not be changed for sure")]
    Unavailable(#[source] StorageError),
    /// It was done, and its event could not be written in time.
    #[error(transparent)]
    Unwritten(Unwritten),
}

impl Access {
    /// Reads who may do what, and goes on reading it as long as the process lives. If it cannot be read now, nothing is
    /// decided until it can.
    pub async fn open(records: Records, surroundings: Surroundings) -> Self {
        let access = Self {
            inner: Arc::new(Inner {
                known: Believed::new(Arc::clone(&surroundings.clock)),
                records,
                surroundings,
            }),
            audit: Audit::default(),
        };
        access.refresh().await;
        if access.current().is_ok_and(|read| read.is_initialised()) {
            access.mark_behind();
        }
        access
    }

    /// The same, with its events where this audit keeps them.
    #[must_use]
    pub(crate) fn audited(self, audit: Audit) -> Self {
        Self { audit, ..self }
    }

    /// Whoever made the document may have died before they could mark that there is one. Nobody waits for it, and it is
    /// tried until it is done.
    fn mark_behind(&self) {
        let inner = Arc::downgrade(&self.inner);
        let sleeper = Arc::clone(&self.inner.surroundings.tasks);
        self.inner.surroundings.tasks.spawn(Box::pin(async move {
            while let Some(inner) = inner.upgrade() {
                let Err(error) = inner.mark().await else { return };
                tracing::warn!(
                    error = chain(&error),
                    "it is not marked in the bucket that roles were given; trying again"
                );
                drop(inner);
                sleeper.sleep(EVERY).await;
            }
        }));
    }

    /// Reads it again and again behind everything else.
    pub fn keep_fresh(&self) {
        again_and_again(&self.inner.surroundings, EVERY, &self.inner, |inner| async move {
            inner.refresh().await;
        });
    }

    /// Reads it once more. What was read before is believed for as long as it was.
    pub async fn refresh(&self) {
        self.inner.refresh().await;
    }

    /// What is decided by now.
    ///
    /// # Errors
    /// If nothing can be: what was read last is too old, or cannot be read.
    pub fn current(&self) -> Result<Arc<Read>, PolicyUnreadable> {
        let known = self.inner.known.current();
        known.map_err(|reason| PolicyUnreadable { reason })
    }

    /// Whether a caller may do something that is about no unit.
    ///
    /// # Errors
    /// [`AccessError::Forbidden`], or that nobody can say.
    pub fn permit(&self, caller: &Caller, action: Action) -> Result<Arc<Read>, AccessError> {
        let read = self.current().map_err(AccessError::Unreadable)?;
        match read.book.decide(caller, action, None) {
            Decision::Allow => Ok(read),
            Decision::Deny => {
                self.audit.tell(Event::denied(caller, action));
                Err(AccessError::Forbidden { action })
            }
        }
    }

    /// Gives the first administrators their role, beside a few roles to begin with. Only the root token can, and only
    /// while nobody has been given a role.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub async fn initialise(
        &self,
        caller: &Caller,
        administrators: &[Member],
    ) -> Result<Arc<Read>, AccessError> {
        let action = Action::ManageAccess;
        if caller.kind() != Kind::Root {
            self.audit.tell(Event::denied(caller, action));
            return Err(AccessError::Forbidden { action });
        }
        if self.permit(caller, action)?.is_initialised() {
            return Err(AccessError::Initialised);
        }
        let book = Book::new(starter(administrators)).map_err(AccessError::Invalid)?;
        if !book.has_administrator() {
            return Err(AccessError::LastAdministrator);
        }
        let asked = self.inner.now();
        let swapped = self
            .inner
            .records
            .swap(&policy_name(), None, book.document())
            .await;
        let read = match swapped.map_err(AccessError::Unavailable)? {
            Swapped::Done(seen) => {
                let seen = Some(seen);
                self.inner.know(Arc::new(Read { book, seen }), asked)
            }
            Swapped::Overtaken => self.overtaken().await?,
            Swapped::Moved => return Err(AccessError::Initialised),
        };
        // It is made, and whoever asked is told so. The mark is for a document that is lost later.
        if let Err(error) = self.inner.mark().await {
            tracing::warn!(
                error = chain(&error),
                "it is not marked in the bucket yet that roles were given"
            );
            self.mark_behind();
        }
        let event = Event::done(caller, action, "made the first administrators");
        let about: Vec<_> = administrators.iter().map(ToString::to_string).collect();
        let written = self.audit.done(event.about(about.join(", "))).await;
        written.map_err(AccessError::Unwritten)?;
        Ok(read)
    }

    /// Changes who may do what.
    ///
    /// # Errors
    /// See [`AccessError`]; nothing is changed then, unless it says so.
    pub async fn change(&self, caller: &Caller, change: &Change) -> Result<Arc<Read>, AccessError> {
        self.permit(caller, Action::ManageAccess)?;
        if caller.kind() == Kind::Root && *change == (Change::SetRoot { disabled: true }) {
            return Err(AccessError::RootByItself);
        }
        for _ in 0..TRIES {
            let asked = self.inner.now();
            let before = self
                .inner
                .read()
                .await
                .map_err(|reason| AccessError::Unreadable(PolicyUnreadable { reason }))?;
            // Asked again of what was just read: a right that was taken away since does not change anything any more.
            if before.book.decide(caller, Action::ManageAccess, None) == Decision::Deny {
                self.audit.tell(Event::denied(caller, Action::ManageAccess));
                return Err(AccessError::Forbidden {
                    action: Action::ManageAccess,
                });
            }
            let Some(seen) = &before.seen else {
                return Err(AccessError::NotInitialised);
            };
            let mut document = before.book.document().clone();
            apply(change, &mut document)?;
            if document == *before.book.document() {
                self.audit.done_before().await.map_err(AccessError::Unwritten)?;
                return Ok(self.inner.know(Arc::new(before), asked));
            }
            let book = Book::new(document).map_err(AccessError::Invalid)?;
            if !book.has_administrator() {
                return Err(AccessError::LastAdministrator);
            }
            if !book.keeps_an_administrator(caller) {
                return Err(AccessError::UncertainAdministrator);
            }
            let swapped = self
                .inner
                .records
                .swap(&policy_name(), Some(seen), book.document())
                .await;
            let read = match swapped.map_err(AccessError::Unavailable)? {
                Swapped::Done(seen) => {
                    let seen = Some(seen);
                    let read = self.inner.know(Arc::new(Read { book, seen }), asked);
                    // What was read here meanwhile, before the change, was asked for later than what the change was
                    // made of, and must not be what is believed.
                    self.inner.refresh().await;
                    read
                }
                // Made once more, it would undo what somebody has decided since.
                Swapped::Overtaken => self.overtaken().await?,
                Swapped::Moved => continue,
            };
            let event = Event::done(caller, Action::ManageAccess, change.what());
            let written = self.audit.done(event.about(change.about())).await;
            written.map_err(AccessError::Unwritten)?;
            return Ok(read);
        }
        Err(AccessError::Unavailable(StorageError::Busy {
            key: "the access policy".to_owned(),
            tries: TRIES,
        }))
    }

    /// Why somebody may or may not do something.
    ///
    /// # Errors
    /// If the caller may not ask that of others, or nobody can say.
    pub fn explain(
        &self,
        caller: &Caller,
        about: &Caller,
        action: Action,
        unit: Option<&UnitId>,
    ) -> Result<Explained, AccessError> {
        let read = match caller == about {
            true => self.current().map_err(AccessError::Unreadable)?,
            false => self.look(
                caller,
                "tested what somebody may",
                Some(about.principal().to_string()),
            )?,
        };
        Ok(read.book.explain(about, action, unit))
    }

    /// As [`Access::permit`], for whoever goes on either way: nobody is denied anything by it.
    ///
    /// # Errors
    /// That nobody can say.
    pub fn may(&self, caller: &Caller, action: Action) -> Result<bool, AccessError> {
        let read = self.current().map_err(AccessError::Unreadable)?;
        Ok(read.book.decide(caller, action, None) == Decision::Allow)
    }

    /// Somebody looks at who may do what: permitted, and told.
    ///
    /// # Errors
    /// As [`Access::permit`].
    pub fn look(
        &self,
        caller: &Caller,
        what: &'static str,
        about: Option<String>,
    ) -> Result<Arc<Read>, AccessError> {
        let read = self.permit(caller, Action::ManageAccess)?;
        let event = Event::done(caller, Action::ManageAccess, what);
        self.audit.tell(match about {
            Some(about) => event.about(about),
            None => event,
        });
        Ok(read)
    }

    /// A change of ours was made, and another after it: what holds now.
    async fn overtaken(&self) -> Result<Arc<Read>, AccessError> {
        let asked = self.inner.now();
        let unreadable = |reason| AccessError::Unreadable(PolicyUnreadable { reason });
        let read = self.inner.read().await.map_err(unreadable)?;
        Ok(self.inner.know(Arc::new(read), asked))
    }
}

impl Inner {
    async fn refresh(&self) {
        let asked = self.now();
        match self.read().await {
            Ok(read) => drop(self.know(Arc::new(read), asked)),
            Err(reason) => {
                tracing::warn!(
                    reason,
                    "the access policy cannot be read; soon nothing is decided any more"
                );
                self.known.doubt(reason);
            }
        }
    }

    async fn read(&self) -> Result<Read, String> {
        let found: Option<Record<Document>> = self
            .records
            .load(&policy_name())
            .await
            .map_err(|error| chain(&error))?;
        let Some(found) = found else {
            return match self.marked().await {
                Err(error) => Err(chain(&error)),
                Ok(true) => Err("it is gone: roles were given in this bucket, and the document that says to whom is not there; put back an earlier copy of `__opentaco_access/policy.json`".to_owned()),
                Ok(false) => Ok(Read {
                    book: Book::new(Document::default()).map_err(|error| error.to_string())?,
                    seen: None,
                }),
            };
        };
        let book = Book::new(found.value)
            .map_err(|error| format!("`__opentaco_access/policy.json` does not hold together: {error}"))?;
        Ok(Read {
            book,
            seen: Some(found.seen),
        })
    }

    async fn marked(&self) -> Result<bool, StorageError> {
        let mark: Option<Record<Initialised>> = self.records.load(&mark_name()).await?;
        Ok(mark.is_some())
    }

    /// Marks that there is a document, if that is not done.
    async fn mark(&self) -> Result<(), StorageError> {
        if self.marked().await? {
            return Ok(());
        }
        let mark = Initialised { at: self.now() };
        self.records.swap(&mark_name(), None, &mark).await.map(drop)
    }

    fn know(&self, read: Arc<Read>, at: Timestamp) -> Arc<Read> {
        self.known.know(Arc::clone(&read), at);
        read
    }

    fn now(&self) -> Timestamp {
        self.surroundings.clock.now()
    }
}

impl Policy for Access {
    fn decide(&self, caller: &Caller, action: Action, unit: &UnitId) -> Result<Decision, PolicyUnreadable> {
        Ok(self.current()?.book.decide(caller, action, Some(unit)))
    }

    fn outputs(&self, caller: &Caller, unit: &UnitId) -> Result<Option<Outputs>, PolicyUnreadable> {
        Ok(self.current()?.book.outputs(caller, unit))
    }
}

fn policy_name() -> RecordName {
    RecordName::new(Shelf::Access, &["policy.json"]).expect("a plain word is a record's name")
}

fn mark_name() -> RecordName {
    RecordName::new(Shelf::Access, &["initialised.json"]).expect("a plain word is a record's name")
}

fn apply(change: &Change, document: &mut Document) -> Result<(), AccessError> {
    let missing = |what: String| Err(AccessError::NotFound { what });
    match change {
        Change::Assign { member, role } => {
            if !document.roles.contains_key(role) {
                return missing(format!("role `{role}`"));
            }
            document
                .members
                .entry(member.clone())
                .or_default()
                .insert(role.clone());
        }
        Change::Revoke { member, role } => {
            let held = document.members.get_mut(member);
            if !held.is_some_and(|held| held.remove(role)) {
                return missing(format!("role `{role}` of `{member}`"));
            }
            document.members.retain(|_, held| !held.is_empty());
        }
        Change::SetRole { name, role } => {
            document.roles.insert(name.clone(), role.clone());
        }
        Change::RemoveRole { name } => {
            if document.roles.remove(name).is_none() {
                return missing(format!("role `{name}`"));
            }
            for held in document.members.values_mut() {
                held.remove(name);
            }
            document.members.retain(|_, held| !held.is_empty());
        }
        Change::SetPermission { name, permission } => {
            document.permissions.insert(name.clone(), permission.clone());
        }
        Change::RemovePermission { name } => {
            let mut roles = document.roles.iter();
            if let Some((role, _)) = roles.find(|(_, role)| role.permissions.contains(name)) {
                return Err(AccessError::InUse {
                    permission: name.clone(),
                    role: role.clone(),
                });
            }
            if document.permissions.remove(name).is_none() {
                return missing(format!("permission `{name}`"));
            }
        }
        Change::SetRoot { disabled } => document.root_disabled = *disabled,
    }
    Ok(())
}
