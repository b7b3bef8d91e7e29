//! The history of a unit: listing it, fetching from it, and making an old content current again.

use bytes::Bytes;
use jiff::Timestamp;
use opentaco_domain::audit::Event;
use opentaco_domain::{Action, Caller, Holding, UnitId, VersionId, state};
use opentaco_storage::bucket::Whole;
use opentaco_storage::commit::{CommitRequest, Committing};
use opentaco_storage::head::{Committed, Origin};
use opentaco_storage::lifecycle::Described;

use crate::error::Holder;
use crate::state::{Receipt, StateRead, summarize};
use crate::units::no_unit;
use crate::{ControlError, Door, StateControl};

/// How many versions a page shows without a limit: the retention keeps fewer by default.
const HISTORY_PAGE: usize = 1000;

/// What was committed to a unit and is still kept, newest first.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The versions.
    pub versions: Vec<Committed>,
    /// Which one is current; none of a unit that is deleted or has no state.
    pub current: Option<VersionId>,
}

impl StateControl {
    /// What was committed and is still kept, newest first.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] if there is no such unit, not even a deleted one.
    pub async fn versions(
        &self,
        caller: &Caller,
        unit: &UnitId,
        after: Option<&VersionId>,
        limit: Option<usize>,
    ) -> Result<Vec<Committed>, ControlError> {
        let history = self.history(caller, unit, after, limit.unwrap_or(HISTORY_PAGE));
        history.await.map(|history| history.versions)
    }

    /// As [`StateControl::versions`], and which of them is current.
    ///
    /// # Errors
    /// As [`StateControl::versions`].
    pub async fn history(
        &self,
        caller: &Caller,
        unit: &UnitId,
        after: Option<&VersionId>,
        limit: usize,
    ) -> Result<History, ControlError> {
        self.permit(caller, Action::Read, unit)?;
        let known = self
            .vault()
            .load(unit)
            .await
            .map_err(ControlError::from_storage)?;
        let Some(known) = known else {
            // A unit that nobody has touched through us has a state, and no history yet.
            let described = self.vault().describe(unit).await;
            return match described.map_err(ControlError::from_storage)? {
                Described::NoUnit => Err(no_unit(unit)),
                Described::Known(_) | Described::Untouched(..) => Ok(History::default()),
            };
        };
        if !known.head.exists() && known.head.deleted.is_none() {
            return Err(no_unit(unit));
        }
        let versions = self.vault().history(unit, &known, after, limit).await;
        Ok(History {
            versions: versions.map_err(ControlError::from_storage)?,
            current: known.head.current_version(),
        })
    }

    /// One version of the history, with its bytes.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] if the history does not have it.
    pub async fn read_version(
        &self,
        caller: &Caller,
        unit: &UnitId,
        version: &VersionId,
    ) -> Result<StateRead, ControlError> {
        self.permit(caller, Action::Read, unit)?;
        let reading = self
            .vault()
            .read_version(unit, version)
            .await
            .map_err(ControlError::from_storage)?;
        if reading.is_some() {
            let event = Event::done(caller, Action::Read, "read a version").on(unit);
            self.audit().tell(event.version(*version));
        }
        reading
            .map(StateRead::from)
            .ok_or_else(|| no_version(unit, version))
    }

    /// Makes the content of an old version current again, as a new version whose serial is one higher than the current
    /// one's. An encrypted state, whose serial is sealed, goes in as it is.
    ///
    /// # Errors
    /// [`ControlError::Locked`] while somebody else holds the unit; [`ControlError::OtherLineage`] unless forced.
    pub async fn restore(
        &self,
        caller: &Caller,
        unit: &UnitId,
        version: &VersionId,
        how: Reinstate,
    ) -> Result<Receipt, ControlError> {
        self.permit(caller, Action::Write, unit)?;
        let known = self
            .vault()
            .load(unit)
            .await
            .map_err(ControlError::from_storage)?;
        if !known.is_some_and(|known| known.head.names(version)) {
            return Err(no_version(unit, version));
        }
        let whole = self
            .vault()
            .version_bytes(unit, version)
            .await
            .map_err(ControlError::from_storage)?;
        self.reinstate(caller, unit, whole, Origin::Restore(*version), how)
            .await
    }

    /// Commits bytes that were a state before, with a serial that no client takes for an old one.
    pub(crate) async fn reinstate(
        &self,
        caller: &Caller,
        unit: &UnitId,
        Whole {
            mut bytes,
            room: _room,
        }: Whole,
        origin: Origin,
        how: Reinstate,
    ) -> Result<Receipt, ControlError> {
        let asked = self.now();
        for _ in 0..REINSTATE_TRIES {
            if let Some(committing) = self
                .reinstate_beside(caller, unit, &mut bytes, &origin, &how, asked)
                .await?
            {
                let concluded = self.concluded(caller, unit, &how.holding, committing).await;
                return concluded.map(Receipt::from);
            }
        }
        Err(ControlError::Conflict {
            unit: unit.clone(),
            current: None,
        })
    }

    /// One try, beside the version that is current now: its serial is the one to exceed. None: another one was faster.
    async fn reinstate_beside(
        &self,
        caller: &Caller,
        unit: &UnitId,
        bytes: &mut Bytes,
        origin: &Origin,
        how: &Reinstate,
        asked: Timestamp,
    ) -> Result<Option<Committing>, ControlError> {
        let known = self
            .vault()
            .load(unit)
            .await
            .map_err(ControlError::from_storage)?
            .ok_or_else(|| no_unit(unit))?;
        let head = &known.head;
        if !head.exists() {
            self.permit(caller, Action::Create, unit)?;
        }
        // Said here for the holder's sake: a refused reinstatement needs no keeping, its bytes are kept already.
        if let Some(lock) = &head.lock
            && !matches!(&how.holding, Holding::Lock(id) if *id == lock.info.id)
        {
            self.audit()
                .tell(Event::refused(caller, Action::Write, "held-by-another").on(unit));
            let holder = Box::new(Holder::from(lock.clone()));
            return Err(ControlError::Locked {
                unit: unit.clone(),
                holder,
            });
        }
        let current_serial = head.current.as_ref().and_then(|current| current.serial);
        *bytes = with_serial_above(unit, std::mem::take(bytes), current_serial)?;
        let mut request = CommitRequest {
            summary: summarize(unit, bytes)?,
            bytes: bytes.clone(),
            md5: None,
            holding: how.holding.clone(),
            principal: caller.principal().clone(),
            door: how.door.as_str(),
            key: how.idempotency_key.clone(),
            if_match: head.current_version(),
            if_content: None,
            force: how.force,
            same_lineage: true,
            may_create: !head.exists(),
            asked_at: Some(asked),
            revives: head.deleted.is_some().then_some(head.living_since),
            origin: origin.clone(),
            made: None,
        };
        Ok(match self.commit_and_follow(unit, &mut request).await? {
            Committing::Unmet { .. } | Committing::NoUnit => None,
            committing => Some(committing),
        })
    }
}

/// How often old content is brought back beside writers that are faster.
const REINSTATE_TRIES: usize = 16;

/// The state with a serial that no client takes for an old one. A sealed serial stays as it is.
///
/// It is changed where it lies: of a state of 1 GiB there is never a second one in memory.
fn with_serial_above(unit: &UnitId, bytes: Bytes, current: Option<u64>) -> Result<Bytes, ControlError> {
    let summary = summarize(unit, &bytes)?;
    let Some(floor) = current
        .map(|serial| serial.saturating_add(1))
        .filter(|_| !summary.encrypted)
    else {
        return Ok(bytes);
    };
    if summary.serial.is_some_and(|serial| serial >= floor) {
        return Ok(bytes);
    }
    let mut raised = Vec::from(bytes);
    state::set_serial(&mut raised, floor).map_err(|error| ControlError::Invalid {
        what: format!("the serial of that content cannot be raised: {error}"),
    })?;
    Ok(raised.into())
}

/// How old bytes are made current again.
#[derive(Debug, Clone)]
pub struct Reinstate {
    /// What the caller claims to hold.
    pub holding: Holding,
    /// Through which door.
    pub door: Door,
    /// Even if another lineage is current.
    pub force: bool,
    /// The request's own key.
    pub idempotency_key: Option<String>,
}

impl Reinstate {
    /// Without a lock, and not forced.
    #[must_use]
    pub fn plainly(door: Door) -> Self {
        Self {
            holding: Holding::Nothing,
            door,
            force: false,
            idempotency_key: None,
        }
    }
}

fn no_version(unit: &UnitId, version: &VersionId) -> ControlError {
    ControlError::NotFound {
        what: format!("version {version} in the history of `{unit}`"),
    }
}
