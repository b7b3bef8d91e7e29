//! What logins leave behind: one record each, which is opaque here and changed by compare-and-swap.
//!
//! ```text
//! __opentaco_tokens/logins/<hash of the principal>/<hash of the family>
//! ```
//!
//! Names are hashes, so that whoever lists the bucket learns neither who logs in nor the id of a family; and a person's
//! logins lie together, so that all of them can be ended without an index.

use opentaco_domain::{Principal, Sha256};
use opentaco_storage::StorageError;
use opentaco_storage::records::{Record, RecordName, Records, Shelf, Swapped};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ControlError;

/// How often a change is tried while somebody else changes the same record.
const TRIES: usize = 8;

/// The records of logins. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sessions {
    records: Records,
}

impl Sessions {
    pub(crate) fn new(records: Records) -> Self {
        Self { records }
    }

    /// Keeps the record of a new login; false, and nothing is kept, if there is one of that family already.
    ///
    /// # Errors
    /// [`ControlError::Unavailable`] if it may not be kept.
    pub async fn begin<T: Serialize>(
        &self,
        principal: &Principal,
        family: &Sha256,
        record: &T,
    ) -> Result<bool, ControlError> {
        let kept = self
            .records
            .swap(&name(principal, family), None, record)
            .await
            .map_err(ControlError::from_storage)?;
        Ok(match kept {
            Swapped::Done(_) | Swapped::Overtaken => true,
            Swapped::Moved => false,
        })
    }

    /// Changes the record of a login to what `decide` makes of it, or leaves it as it is; in any case tells what was
    /// decided. Asked again of the new record where somebody else changed it meanwhile. `None`: there is no such login.
    ///
    /// # Errors
    /// [`ControlError::Unavailable`] if the record cannot be read or may not be changed.
    pub async fn change<T: Serialize + DeserializeOwned, R>(
        &self,
        principal: &Principal,
        family: &Sha256,
        decide: impl Fn(&T) -> (Option<T>, R),
    ) -> Result<Option<R>, ControlError> {
        let name = name(principal, family);
        for _ in 0..TRIES {
            let found: Option<Record<T>> = self
                .records
                .load(&name)
                .await
                .map_err(ControlError::from_storage)?;
            let Some(found) = found else { return Ok(None) };
            let (next, decided) = decide(&found.value);
            let Some(next) = next else {
                return Ok(Some(decided));
            };
            let swapped = self
                .records
                .swap(&name, Some(&found.seen), &next)
                .await
                .map_err(ControlError::from_storage)?;
            match swapped {
                Swapped::Done(_) | Swapped::Overtaken => return Ok(Some(decided)),
                Swapped::Moved => {}
            }
        }
        Err(busy("a login"))
    }

    /// The logins of somebody, by the hashes of their families.
    ///
    /// # Errors
    /// [`ControlError::Unavailable`].
    pub async fn of(&self, principal: &Principal) -> Result<Vec<Sha256>, ControlError> {
        let names = self
            .records
            .list(&below(principal))
            .await
            .map_err(ControlError::from_storage)?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Forgets a login that is of no use any more.
    ///
    /// # Errors
    /// [`ControlError::Unavailable`].
    pub async fn forget(&self, principal: &Principal, family: &Sha256) -> Result<(), ControlError> {
        self.records
            .remove(&name(principal, family))
            .await
            .map_err(ControlError::from_storage)
    }
}

fn folder(principal: &Principal) -> String {
    Sha256::of(principal.as_str().as_bytes()).to_string()
}

fn below(principal: &Principal) -> RecordName {
    record(&["logins", &folder(principal)])
}

fn name(principal: &Principal, family: &Sha256) -> RecordName {
    record(&["logins", &folder(principal), &family.to_string()])
}

fn record(parts: &[&str]) -> RecordName {
    RecordName::new(Shelf::Tokens, parts).expect("a word and hex digits are a record's name")
}

fn busy(what: &str) -> ControlError {
    ControlError::from_storage(StorageError::Busy {
        key: what.to_owned(),
        tries: TRIES,
    })
}
