//! Creating, listing, describing, deleting and bringing back units, and what people say of them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jiff::Timestamp;
use opentaco_domain::audit::Event;
use opentaco_domain::{Action, Caller, Holding, UnitId, UnitPrefix, VersionId, limits};
use opentaco_storage::head::{Committed, Head};
pub use opentaco_storage::lifecycle::Annotation;
use opentaco_storage::lifecycle::{Annotating, Creating, Deleting, Described, Undeleting};
use opentaco_storage::listing;

use crate::error::Holder;
use crate::{ControlError, Door, StateControl};

/// A unit that is to be created.
#[derive(Debug, Clone, Default)]
pub struct CreateUnit {
    /// What people sort units by.
    pub labels: BTreeMap<String, String>,
    /// What people say of it.
    pub description: String,
}

/// What is true of a unit.
#[derive(Debug, Clone)]
pub struct UnitView {
    /// Which.
    pub unit: UnitId,
    /// When it came to be, where that is known.
    pub created: Option<Timestamp>,
    /// When its state was last written.
    pub updated: Option<Timestamp>,
    /// Size of its state, in bytes; 0 without one.
    pub size: u64,
    /// Its current version in full, where it has one that we know.
    pub current: Option<Committed>,
    /// Whether it is locked. A listing tells it from the lock copy, and does not know the holder.
    pub locked: bool,
    /// Who holds it.
    pub holder: Option<Holder>,
    /// What people sort units by.
    pub labels: BTreeMap<String, String>,
    /// What people say of it.
    pub description: String,
    /// Whether it refuses to be deleted; a listing does not know.
    pub deletion_protection: bool,
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListUnits {
    /// Only units whose id starts so.
    pub prefix: UnitPrefix,
    /// Only units that have all of these labels.
    pub labels: BTreeMap<String, String>,
    /// At most so many; everything without it.
    pub limit: Option<usize>,
    /// The token of the page before.
    pub page_token: Option<String>,
}

/// One page of units.
#[derive(Debug, Default)]
pub struct UnitsPage {
    /// In the byte order of their names in the bucket.
    pub units: Vec<UnitView>,
    /// How to ask for the next page, if there is one.
    pub next_page_token: Option<String>,
    /// How many keys look like states and cannot be units.
    pub skipped: u64,
}

impl StateControl {
    /// Creates a unit without a state.
    ///
    /// # Errors
    /// [`ControlError::AlreadyExists`]; [`ControlError::Invalid`] for labels or a description over their limits.
    pub async fn create_unit(
        &self,
        caller: &Caller,
        unit: &UnitId,
        create: CreateUnit,
    ) -> Result<UnitView, ControlError> {
        self.permit(caller, Action::Create, unit)?;
        check_labels(&create.labels)?;
        check_description(&create.description)?;
        let creating = self
            .vault()
            .create(unit, create.labels, create.description)
            .await
            .map_err(ControlError::from_storage)?;
        match creating {
            Creating::Created(known) => {
                let event = Event::done(caller, Action::Create, "created");
                self.changed(event.on(unit)).await?;
                Ok(view(unit, &known.head))
            }
            Creating::Exists(_) => Err(ControlError::AlreadyExists { unit: unit.clone() }),
        }
    }

    /// Lists the units that the caller may see.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] for a page token that is none of ours.
    pub async fn list_units(&self, caller: &Caller, wanted: ListUnits) -> Result<UnitsPage, ControlError> {
        // An empty list must not be the answer of a service that does not know who may see what.
        self.may(caller, Action::Read, &UnitId::graph())?;
        let listed = listing::ListUnits {
            prefix: wanted.prefix,
            after: wanted.page_token.as_deref().map(parse_page_token).transpose()?,
            limit: wanted.limit.map(|limit| limit.max(1)),
            labels: wanted.labels,
        };
        let unreadable = OnceLock::new();
        let shown = |unit: &UnitId| match self.may(caller, Action::Read, unit) {
            Ok(shown) => shown,
            Err(error) => {
                unreadable.get_or_init(|| error);
                false
            }
        };
        let units = self.vault().list_shown(&listed, &shown).await;
        if let Some(error) = unreadable.into_inner() {
            return Err(error);
        }
        let units = units.map_err(ControlError::from_storage)?;
        Ok(UnitsPage {
            units: units.units.into_iter().map(listed_view).collect(),
            next_page_token: units.next.as_deref().map(page_token),
            skipped: units.skipped,
        })
    }

    /// What is true of a unit.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub async fn describe_unit(&self, caller: &Caller, unit: &UnitId) -> Result<UnitView, ControlError> {
        self.permit(caller, Action::Read, unit)?;
        match self
            .vault()
            .describe(unit)
            .await
            .map_err(ControlError::from_storage)?
        {
            Described::Known(known) => Ok(view(unit, &known.head)),
            Described::Untouched(meta, lock) => Ok(UnitView {
                unit: unit.clone(),
                created: None,
                updated: Some(meta.modified),
                size: meta.size,
                current: None,
                locked: lock.is_some(),
                holder: lock.map(Holder::from),
                labels: BTreeMap::new(),
                description: String::new(),
                deletion_protection: false,
            }),
            Described::NoUnit => Err(no_unit(unit)),
        }
    }

    /// Changes labels, description and protection; what is not given stays.
    ///
    /// # Errors
    /// [`ControlError::NotFound`]; [`ControlError::Invalid`] over the limits.
    pub async fn annotate_unit(
        &self,
        caller: &Caller,
        unit: &UnitId,
        annotation: &Annotation,
    ) -> Result<UnitView, ControlError> {
        self.permit(caller, Action::Write, unit)?;
        check_each_label(&annotation.labels)?;
        annotation
            .description
            .as_deref()
            .map_or(Ok(()), check_description)?;
        let annotating = self
            .vault()
            .annotate(unit, annotation)
            .await
            .map_err(ControlError::from_storage)?;
        match annotating {
            Annotating::Done(known) => {
                let event = Event::done(caller, Action::Write, "annotated");
                self.changed(event.on(unit)).await?;
                Ok(view(unit, &known.head))
            }
            Annotating::NoUnit => Err(no_unit(unit)),
            Annotating::TooManyLabels(labels) => Err(too_many_labels(labels)),
        }
    }

    /// Deletes a unit; its versions stay for thirty days.
    ///
    /// # Errors
    /// [`ControlError::Locked`] while somebody holds it; [`ControlError::Protected`]; [`ControlError::NotFound`].
    pub async fn delete_unit(&self, caller: &Caller, unit: &UnitId) -> Result<(), ControlError> {
        self.permit(caller, Action::Delete, unit)?;
        match self
            .vault()
            .delete(unit, caller.principal())
            .await
            .map_err(ControlError::from_storage)?
        {
            Deleting::Deleted => {
                self.graph.follow_unit(unit, None).await;
                let event = Event::done(caller, Action::Delete, "deleted");
                self.changed(event.on(unit)).await
            }
            Deleting::NoUnit => {
                // Perhaps an earlier attempt of this very request deleted it, and could not say so.
                self.graph.follow_unit(unit, None).await;
                Err(no_unit(unit))
            }
            Deleting::Held(lock) => {
                let event = Event::refused(caller, Action::Delete, "held-by-another");
                self.audit().tell(event.on(unit));
                Err(ControlError::Locked {
                    unit: unit.clone(),
                    holder: Box::new(lock.into()),
                })
            }
            Deleting::Protected => {
                let event = Event::refused(caller, Action::Delete, "protected");
                self.audit().tell(event.on(unit));
                Err(ControlError::Protected { unit: unit.clone() })
            }
        }
    }

    /// Brings back a deleted unit with its last content; tells the version that became, unless it had none.
    ///
    /// # Errors
    /// [`ControlError::AlreadyExists`] if it is not deleted; [`ControlError::NotFound`] if it never was, or so long ago
    /// that its versions are gone; [`ControlError::Locked`].
    pub async fn undelete_unit(
        &self,
        caller: &Caller,
        unit: &UnitId,
        door: Door,
    ) -> Result<Option<VersionId>, ControlError> {
        self.permit(caller, Action::Create, unit)?;
        let undeleting = self
            .vault()
            .undelete(unit, caller.principal(), door.as_str())
            .await;
        match undeleting.map_err(ControlError::from_storage)? {
            Undeleting::Empty => {
                let event = Event::done(caller, Action::Create, "undeleted");
                self.changed(event.on(unit)).await?;
                Ok(None)
            }
            Undeleting::Committed(committing) => {
                self.graph.follow_unit(unit, None).await;
                let holding = Holding::Nothing;
                let committed = self.concluded(caller, unit, &holding, committing).await?;
                Ok(Some(committed.version))
            }
            Undeleting::Lives => {
                self.graph.follow_unit(unit, None).await;
                Err(ControlError::AlreadyExists { unit: unit.clone() })
            }
            Undeleting::NoUnit => Err(no_unit(unit)),
            Undeleting::Held(lock) => {
                let event = Event::refused(caller, Action::Create, "held-by-another");
                self.audit().tell(event.on(unit));
                Err(ControlError::Locked {
                    unit: unit.clone(),
                    holder: Box::new(lock.into()),
                })
            }
            Undeleting::Expired => Err(ControlError::NotFound {
                what: format!(
                    "version of `{unit}` left: it was deleted more than {} days ago",
                    limits::TOMBSTONE_DAYS
                ),
            }),
        }
    }
}

pub(crate) fn no_unit(unit: &UnitId) -> ControlError {
    ControlError::NotFound {
        what: format!("unit `{unit}`"),
    }
}

fn view(unit: &UnitId, head: &Head) -> UnitView {
    UnitView {
        unit: unit.clone(),
        created: head.created,
        updated: head
            .current
            .as_ref()
            .map(|current| current.committed_at)
            .or(head.created),
        size: head.current.as_ref().map_or(0, |current| current.size),
        current: head.current.clone(),
        locked: head.lock.is_some(),
        holder: head.lock.clone().map(Holder::from),
        labels: head.labels.clone(),
        description: head.description.clone(),
        deletion_protection: head.deletion_protection,
    }
}

fn listed_view(listed: listing::ListedUnit) -> UnitView {
    let head = listed.head;
    UnitView {
        created: head.as_ref().and_then(|head| head.created),
        updated: Some(listed.updated),
        size: listed.size,
        current: head.as_ref().and_then(|head| head.current.clone()),
        locked: listed.locked,
        holder: None,
        labels: head.as_ref().map(|head| head.labels.clone()).unwrap_or_default(),
        deletion_protection: head.as_ref().is_some_and(|head| head.deletion_protection),
        description: head.map(|head| head.description.clone()).unwrap_or_default(),
        unit: listed.unit,
    }
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), ControlError> {
    if labels.len() > limits::LABELS_MAX {
        return Err(too_many_labels(labels.len()));
    }
    labels
        .iter()
        .try_for_each(|(name, value)| check_label(name, value))
}

/// Labels that are to be set, and names of labels that are to be taken off.
fn check_each_label(labels: &BTreeMap<String, Option<String>>) -> Result<(), ControlError> {
    labels
        .iter()
        .try_for_each(|(name, value)| check_label(name, value.as_deref().unwrap_or_default()))
}

fn too_many_labels(labels: usize) -> ControlError {
    ControlError::Invalid {
        what: format!(
            "these would be {labels} labels, and a unit has at most {}",
            limits::LABELS_MAX
        ),
    }
}

fn check_label(name: &str, value: &str) -> Result<(), ControlError> {
    let bytes = name.len().max(value.len());
    let is_control = name.chars().chain(value.chars()).any(char::is_control);
    if !name.is_empty() && bytes <= limits::LABEL_BYTES_MAX && !is_control {
        return Ok(());
    }
    Err(ControlError::Invalid {
        what: format!(
            "label `{name}` is not possible: name and value are up to {} bytes without control characters, and the name is not empty",
            limits::LABEL_BYTES_MAX
        ),
    })
}

fn check_description(description: &str) -> Result<(), ControlError> {
    if description.len() <= limits::DESCRIPTION_BYTES_MAX {
        return Ok(());
    }
    Err(ControlError::Invalid {
        what: format!(
            "the description has {} bytes, and at most {} are kept",
            description.len(),
            limits::DESCRIPTION_BYTES_MAX
        ),
    })
}

/// A page token is the last key of its page, in hex: opaque, and it holds no state of ours.
fn page_token(key: &str) -> String {
    hex::encode(key)
}

fn parse_page_token(token: &str) -> Result<String, ControlError> {
    let key = hex::decode(token)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    key.ok_or_else(|| ControlError::Invalid {
        what: "the page token is none that this service gave; start again without one".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_token_leads_back_to_its_key_and_junk_is_refused() {
        let key = "team/ü space/terraform.tfstate";
        assert_eq!(parse_page_token(&page_token(key)).unwrap(), key);
        for junk in ["zz", "abc", "ff", "+1"] {
            assert!(parse_page_token(junk).is_err(), "{junk}");
        }
    }
}
