//! Reading and writing states.

use std::fmt;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use opentaco_domain::access::Outputs;
use opentaco_domain::audit::Event;
use opentaco_domain::{Action, Caller, Holding, StateSummary, UnitId, VersionId};
use opentaco_storage::commit::{CommitRequest, Committing, Decided, IfContent, Refusal};
use opentaco_storage::head::{Committed, Origin};
use opentaco_storage::lifecycle::Described;
use opentaco_storage::planted::{Bug, planted};
use opentaco_storage::read::Reading;

use crate::error::Holder;
use crate::outputs::view_of;
use crate::units::no_unit;
use crate::{ControlError, Door, StateControl};

/// A state to be written.
#[derive(Debug, Clone)]
pub struct StateWrite {
    /// The state.
    pub bytes: Bytes,
    /// MD5 of `bytes` in base64, if the door has computed it already.
    pub md5: Option<String>,
    /// What `bytes` say of themselves, if the door has read it already.
    pub summary: Option<StateSummary>,
    /// What the writer claims to hold.
    pub holding: Holding,
    /// Through which door.
    pub door: Door,
    /// Let an older write of the same lock come after a newer one; through the management door, let another lineage or an
    /// older serial replace the current state.
    pub force: bool,
    /// Only if this version is current.
    pub if_match: Option<VersionId>,
    /// Only if what is current is this by content, or there is no state.
    pub if_content: Option<IfContent>,
    /// The request's own key: a repeated request with the same key is answered like the first.
    pub idempotency_key: Option<String>,
}

impl StateWrite {
    /// A plain write.
    #[must_use]
    pub fn new(bytes: Bytes, holding: Holding, door: Door) -> Self {
        Self {
            bytes,
            md5: None,
            summary: None,
            holding,
            door,
            force: false,
            if_match: None,
            if_content: None,
            idempotency_key: None,
        }
    }
}

/// That a write was asked for by somebody who may, and that the head of the unit could be read.
#[derive(Debug)]
pub struct WritePermit {
    may_create: bool,
}

/// What became of a write.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The version it became.
    pub version: VersionId,
    /// Its serial, as the state says.
    pub serial: Option<u64>,
    /// In bytes.
    pub size: u64,
}

impl From<Committed> for Receipt {
    fn from(committed: Committed) -> Self {
        Self {
            version: committed.version,
            serial: committed.serial,
            size: committed.size,
        }
    }
}

/// A state that is being read.
pub struct StateRead {
    /// In bytes.
    pub size: u64,
    /// Its version; none for a unit that nobody has touched through us yet.
    pub version: Option<VersionId>,
    /// As the state says.
    pub serial: Option<u64>,
    /// As the state says.
    pub lineage: Option<String>,
    /// What tells these bytes from others.
    pub content: Content,
    /// When they became current.
    pub modified: Option<Timestamp>,
    /// The bytes.
    pub body: BoxStream<'static, Result<Bytes, ControlError>>,
}

impl fmt::Debug for StateRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateRead")
            .field("size", &self.size)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// What tells the bytes of a state from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Their MD5, in base64.
    Md5(String),
    /// What the store below calls them, for a unit that nobody has touched through us.
    Tag(String),
    /// Nothing is known without reading them.
    Unknown,
}

impl Content {
    pub(crate) fn of(committed: &Committed) -> Self {
        committed.md5.clone().map_or(Self::Unknown, Self::Md5)
    }
}

impl From<Reading> for StateRead {
    fn from(reading: Reading) -> Self {
        let committed = reading.committed;
        let found = reading.found.as_ref();
        let tag = found.and_then(|meta| meta.tag.etag.clone());
        Self {
            content: match &committed {
                Some(committed) => Content::of(committed),
                None => tag.map_or(Content::Unknown, Content::Tag),
            },
            modified: committed
                .as_ref()
                .map(|committed| committed.committed_at)
                .or_else(|| found.map(|meta| meta.modified)),
            size: reading.size,
            version: committed.as_ref().map(|committed| committed.version),
            serial: committed.as_ref().and_then(|committed| committed.serial),
            lineage: committed.and_then(|committed| committed.lineage),
            body: reading.body.map_err(ControlError::from_storage).boxed(),
        }
    }
}

impl StateControl {
    /// Whether a write may be sent at all: the caller's rights, and a head that can be read. Asked before a body is
    /// read; costs no request while the head is remembered.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`], [`ControlError::Unavailable`].
    pub async fn prepare_write(
        &self,
        caller: &Caller,
        unit: &UnitId,
        _holding: &Holding,
    ) -> Result<WritePermit, ControlError> {
        self.permit(caller, Action::Write, unit)?;
        let first = self
            .vault()
            .is_first_write(unit)
            .await
            .map_err(ControlError::from_storage)?;
        if first {
            self.permit(caller, Action::Create, unit)?;
        }
        Ok(WritePermit { may_create: first })
    }

    /// Writes a state. Answered with success, it survives everything; refused because the lock was lost, it is kept.
    ///
    /// # Errors
    /// [`ControlError::NotHolder`], [`ControlError::Late`], [`ControlError::Conflict`] when refused, through the management
    /// door also [`ControlError::OtherLineage`] and [`ControlError::OlderSerial`];
    /// [`ControlError::Saved`] when committed but not copied; [`ControlError::Invalid`] if it is no JSON object.
    pub async fn write_state(
        &self,
        caller: &Caller,
        unit: &UnitId,
        write: StateWrite,
    ) -> Result<Receipt, ControlError> {
        let asked = self.now();
        let permit = self.prepare_write(caller, unit, &write.holding).await?;
        let summary = match write.summary {
            Some(summary) => summary,
            None => summarize(unit, &write.bytes)?,
        };
        let request = CommitRequest {
            bytes: write.bytes,
            summary,
            md5: write.md5,
            holding: write.holding,
            principal: caller.principal().clone(),
            door: write.door.as_str(),
            key: write.idempotency_key,
            if_match: write.if_match,
            if_content: write.if_content,
            force: write.force,
            // Terraform posts what it means, and the S3 door cannot ask; people who upload by hand make mistakes.
            same_lineage: write.door == Door::Management,
            may_create: permit.may_create,
            asked_at: Some(asked),
            revives: None,
            origin: Origin::Write,
            made: None,
        };
        self.commit(caller, unit, request).await.map(Receipt::from)
    }

    /// Commits, and asks for the right to create if it turns out that there is no such unit: a head that was remembered
    /// from before a deletion lets a write in that would bring the unit to life.
    pub(crate) async fn commit(
        &self,
        caller: &Caller,
        unit: &UnitId,
        mut request: CommitRequest,
    ) -> Result<Committed, ControlError> {
        let sent = request.summary.serial;
        loop {
            let committing = self.commit_and_follow(unit, &mut request).await?;
            if !matches!(committing, Committing::NoUnit) || request.may_create {
                return match committing {
                    Committing::OlderSerial { current } => {
                        Err(self.older_serial(caller, unit, current, sent))
                    }
                    committing => self.concluded(caller, unit, &request.holding, committing).await,
                };
            }
            self.permit(caller, Action::Create, unit)?;
            request.may_create = true;
        }
    }

    /// Commits, and has the graph of dependencies follow, before it is answered. A write of the graph itself is merged with
    /// what is known of it.
    pub(crate) async fn commit_and_follow(
        &self,
        unit: &UnitId,
        request: &mut CommitRequest,
    ) -> Result<Committing, ControlError> {
        if unit == self.graph.unit() {
            return self.commit_graph(unit, request).await;
        }
        let knows_of_none = planted(Bug::GraphLookedAtBefore) && !self.graph.has_edges_at(unit).await;
        let decided = self.vault().decide(unit, request).await;
        match decided.map_err(ControlError::from_storage)? {
            Decided::Concluded(committing) => Ok(committing),
            Decided::Committed(fresh) if knows_of_none => Ok(self.vault().publish(unit, *fresh).await),
            Decided::Committed(fresh) => {
                let follow = Box::pin(self.graph.follow_commit(unit, &fresh, &request.summary));
                // The graph is looked at while the copy is put: nobody waits longer for it.
                let fresh = (*fresh).clone();
                let (committing, ()) = futures::join!(self.vault().publish(unit, fresh), follow);
                Ok(committing)
            }
        }
    }

    /// Reads the current state of a unit that there is.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] if there is no such unit, [`ControlError::NoState`] if it has no state.
    pub async fn read_existing(&self, caller: &Caller, unit: &UnitId) -> Result<StateRead, ControlError> {
        match self.read_state(caller, unit).await {
            Err(ControlError::NoState { unit }) => {
                let described = self.vault().describe(&unit).await;
                Err(match described.map_err(ControlError::from_storage)? {
                    Described::NoUnit => no_unit(&unit),
                    Described::Known(_) | Described::Untouched(..) => ControlError::NoState { unit },
                })
            }
            read => read,
        }
    }

    /// Reads the current state; for somebody who may see its outputs and not the rest, a view of it that has these alone.
    ///
    /// # Errors
    /// [`ControlError::NoState`] if there is none, and only then. [`ControlError::Encrypted`] if it is, and its outputs are
    /// all that may be seen.
    pub async fn read_state(&self, caller: &Caller, unit: &UnitId) -> Result<StateRead, ControlError> {
        match self.may(caller, Action::Read, unit)? {
            true => self.open_state(caller, Action::Read, unit).await,
            false => self.read_view(caller, unit).await,
        }
    }

    /// What whoever may not read the state is shown instead, if anything.
    pub(crate) async fn read_view(&self, caller: &Caller, unit: &UnitId) -> Result<StateRead, ControlError> {
        let Some(outputs) = self.outputs_instead(caller, unit)? else {
            return Err(self.forbidden(caller, Action::Read, unit));
        };
        let state = self.open_state(caller, Action::ReadOutputs, unit).await?;
        view_of(unit, state, &outputs).await
    }

    /// Which outputs a caller is shown who may not read the state. Whoever may write or lock the unit is shown none: they
    /// would write back what they see.
    fn outputs_instead(&self, caller: &Caller, unit: &UnitId) -> Result<Option<Outputs>, ControlError> {
        let outputs = self.outputs(caller, unit)?;
        let changes = outputs.is_some()
            && (self.may(caller, Action::Write, unit)? || self.may(caller, Action::Lock, unit)?);
        Ok(outputs.filter(|_| !changes))
    }

    pub(crate) async fn open_state(
        &self,
        caller: &Caller,
        action: Action,
        unit: &UnitId,
    ) -> Result<StateRead, ControlError> {
        let reading = self
            .vault()
            .read(unit)
            .await
            .map_err(ControlError::from_storage)?;
        let Some(reading) = reading else {
            return Err(ControlError::NoState { unit: unit.clone() });
        };
        let read = StateRead::from(reading);
        let event = Event::done(caller, action, "read").on(unit);
        self.audit().tell(match read.version {
            Some(version) => event.version(version),
            None => event,
        });
        Ok(read)
    }

    fn older_serial(&self, caller: &Caller, unit: &UnitId, current: u64, sent: Option<u64>) -> ControlError {
        let event = Event::refused(caller, Action::Write, "older-serial");
        self.audit().tell(event.on(unit));
        ControlError::OlderSerial {
            unit: unit.clone(),
            current,
            sent,
        }
    }

    /// What a commit means to a caller, with its record.
    pub(crate) async fn concluded(
        &self,
        caller: &Caller,
        unit: &UnitId,
        holding: &Holding,
        committing: Committing,
    ) -> Result<Committed, ControlError> {
        let lock = match (holding, &committing) {
            (Holding::Lock(id), _) => Some(id.clone()),
            (_, Committing::Done(committed) | Committing::Uncopied(committed, _)) => {
                committed.lock_id.clone()
            }
            (
                _,
                Committing::Refused {
                    why: Refusal::Lost(id),
                    ..
                },
            ) => Some(id.clone()),
            (Holding::Nothing | Holding::Session(_), _) => None,
        };
        let lock = lock.as_ref();
        let done = |version: VersionId, how: String| {
            let event = Event::done(caller, Action::Write, how).on(unit);
            self.changed(event.version(version).under(lock))
        };
        let refused = |why: &str, kept: Option<&str>| {
            let event = Event::refused(caller, Action::Write, why).on(unit);
            self.audit().tell(event.under(lock).kept(kept));
        };
        let unit = unit.clone();
        match committing {
            Committing::Done(committed) => {
                done(committed.version, format!("committed: {}", committed.origin)).await?;
                Ok(committed)
            }
            Committing::Uncopied(committed, source) => {
                done(committed.version, "committed, copy pending".to_owned()).await?;
                Err(ControlError::Saved {
                    unit,
                    version: Box::new(committed.version),
                    source,
                })
            }
            Committing::Refused { why, kept } => {
                refused(why.word(), Some(&kept));
                let kept = Some(kept);
                Err(match why {
                    Refusal::Held(lock) => ControlError::NotHolder {
                        unit,
                        holder: Some(Box::new(Holder::from(*lock))),
                        kept,
                    },
                    Refusal::Lost(_) => ControlError::NotHolder {
                        unit,
                        holder: None,
                        kept,
                    },
                    Refusal::Late => ControlError::Late { unit, kept },
                    Refusal::Deleted => ControlError::DeletedMeanwhile { unit, kept },
                })
            }
            Committing::Unmet { current } => {
                refused("version-conflict", None);
                Err(ControlError::Conflict { unit, current })
            }
            Committing::NoUnit => Err(no_unit(&unit)),
            Committing::OtherLineage { current } => {
                refused("other-lineage", None);
                Err(ControlError::OtherLineage { unit, current })
            }
            Committing::OlderSerial { current } => Err(self.older_serial(caller, &unit, current, None)),
            // What is made beside another version is made anew where it is committed.
            Committing::Overtaken => Err(ControlError::Conflict { unit, current: None }),
        }
    }
}

/// What is read from a state that is to be written.
pub(crate) fn summarize(unit: &UnitId, bytes: &[u8]) -> Result<StateSummary, ControlError> {
    StateSummary::read(bytes).map_err(|error| ControlError::Invalid {
        what: format!(
            "what was sent for `{unit}` is no state: {error}. Nothing was written; send the whole JSON document that Terraform or OpenTofu made"
        ),
    })
}
