//! Reading heads, and swapping them: the only place where something is decided.
//!
//! A swap is one conditional put. What it was answered is not believed when it is a refusal or a silence: the head is
//! read back, and the nonce tells whose swap it was.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use opentaco_domain::UnitId;

use crate::StorageError;
use crate::bucket::{If, Kind, Put, Tag};
use crate::head::{CopyRecord, FORMAT, Head};
use crate::planted::{Bug, planted};
use crate::vault::Vault;

/// How often one swap is sent, while nobody else has changed the head.
const SWAP_TRIES: usize = 3;

/// A head, and what to compare when it is swapped.
#[derive(Debug, Clone)]
pub struct Known {
    /// What it says.
    pub head: Arc<Head>,
    pub(crate) tag: Tag,
    /// When it was read or written here.
    pub(crate) seen: Timestamp,
    /// Read from the bucket after the request came in, rather than remembered.
    pub(crate) fresh: bool,
}

/// How a swap ended.
#[derive(Debug)]
pub(crate) enum Swap {
    /// The new head stands.
    Done(Known),
    /// Somebody else has changed it; this is what it says now. (None: there is no head. It cannot have gone away, so
    /// that is said only of a first head that was refused and not found.)
    Moved(Option<Known>),
}

/// What our own put of the state copy was answered, until a swap has recorded it.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    pub(crate) record: CopyRecord,
    /// The head's `copy` at that put.
    pub(crate) replaced: Option<CopyRecord>,
}

impl Vault {
    /// Reads the head of a unit; `None` if nobody has touched it through us yet.
    ///
    /// # Errors
    /// If the bucket gives no answer, or the head is not readable; never guessed.
    pub async fn load(&self, unit: &UnitId) -> Result<Option<Known>, StorageError> {
        let key = self.bucket().layout().head(unit);
        let Some((meta, bytes)) = self.bucket().fetch(Kind::Head, &key).await? else {
            self.forget(unit);
            return Ok(None);
        };
        // Under the tag of the head that is remembered lie the bytes that it was read from.
        let remembered = self.remembered(unit).filter(|known| known.tag.same(&meta.tag));
        let head = match remembered {
            Some(known) => known.head,
            None => Arc::new(parse(&key, &bytes)?),
        };
        let known = Known {
            head,
            tag: meta.tag,
            seen: self.now(),
            fresh: true,
        };
        self.remember(unit, &known);
        Ok(Some(known))
    }

    /// The remembered head, or else what [`Vault::load`] finds.
    pub(crate) async fn recall(&self, unit: &UnitId) -> Result<Option<Known>, StorageError> {
        match self.remembered(unit) {
            Some(known) => Ok(Some(Known {
                fresh: false,
                ..known
            })),
            None => self.load(unit).await,
        }
    }

    /// Replaces the head `from` (none: there is no head yet) by `to`, if nobody else has changed it.
    ///
    /// `to` gets the next epoch (a first head: the one after its own) and a fresh nonce here, and with it what is known of the copy, unless it says more.
    pub(crate) async fn swap(
        &self,
        unit: &UnitId,
        from: Option<&Known>,
        mut to: Head,
    ) -> Result<Swap, StorageError> {
        to.format = FORMAT;
        to.epoch = from.map_or(to.epoch, |known| known.head.epoch) + 1;
        to.nonce = format!("{:016x}", self.draw());
        if let Some(from) = from {
            self.record_sight(unit, &from.head, &mut to);
        }
        let key = self.bucket().layout().head(unit);
        let bytes = Bytes::from(serde_json::to_vec(&to).map_err(|error| StorageError::Corrupt {
            key: key.clone(),
            reason: format!("the new head cannot be spelled: {error}"),
        })?);

        let locks = to.lock.is_some() && from.is_some_and(|known| known.head.lock.is_none());
        if locks && planted(Bug::LockByLooking) {
            self.bucket().put(Kind::Head, &key, bytes, &[]).await?;
            return Ok(self.load(unit).await?.map_or(Swap::Moved(None), Swap::Done));
        }

        let mut tries = 1;
        loop {
            let condition = from.map_or(If::Absent, |known| If::Still(known.tag.clone()));
            let doubt = match self
                .bucket()
                .put_if(Kind::Head, &key, bytes.clone(), condition)
                .await
            {
                Ok(Put::Done(tag)) => return Ok(Swap::Done(self.settled_swap(unit, to, tag))),
                Ok(Put::Refused) => None,
                Err(error) if error.in_doubt() => Some(error),
                Err(denied) => return Err(denied),
            };
            // A refusal may be our own attempt colliding with itself, a silence may be a success: ask the bucket.
            self.forget(unit);
            let now = self.load(unit).await?;
            let unchanged = match (&now, from) {
                (Some(now), _) if now.head.nonce == to.nonce && !planted(Bug::RefusalBelieved) => {
                    let tag = now.tag.clone();
                    return Ok(Swap::Done(self.settled_swap(unit, to, tag)));
                }
                (Some(now), Some(from)) => now.head.nonce == from.head.nonce,
                (None, None) => true,
                _ => false,
            };
            if !unchanged {
                return Ok(Swap::Moved(now));
            }
            if tries == SWAP_TRIES {
                return match doubt {
                    Some(error) => Err(error),
                    None => Err(StorageError::Busy { key, tries }),
                };
            }
            self.bucket().pause(tries).await;
            tries += 1;
        }
    }

    fn settled_swap(&self, unit: &UnitId, head: Head, tag: Tag) -> Known {
        let known = Known {
            head: Arc::new(head),
            tag,
            seen: self.now(),
            fresh: true,
        };
        self.remember(unit, &known);
        known
    }

    /// Records in `to` what our own put of the copy was answered, if that still is what the copy should hold and
    /// nobody has judged the copy since.
    fn record_sight(&self, unit: &UnitId, from: &Head, to: &mut Head) {
        let Some(sight) = self.sight(unit) else { return };
        if applies(&sight, from) && to.copy == from.copy {
            to.copy = Some(sight.record);
        }
    }

    /// Records what is known of the copy with a swap of its own, behind the answer.
    pub(crate) fn record_copy_behind(&self, unit: &UnitId) {
        let vault = self.clone();
        let unit = unit.clone();
        self.behind(async move {
            for _ in 0..SWAP_TRIES {
                let Some(sight) = vault.sight(&unit) else { return };
                let Ok(Some(known)) = vault.recall(&unit).await else {
                    return;
                };
                if !applies(&sight, &known.head) {
                    return;
                }
                match vault.swap(&unit, Some(&known), (*known.head).clone()).await {
                    Ok(Swap::Moved(_)) => {}
                    Ok(Swap::Done(_)) => return,
                    Err(error) => {
                        tracing::debug!(%unit, %error, "what the state copy holds is not recorded yet");
                        return;
                    }
                }
            }
        });
    }
}

/// Whether a sight may be recorded beside `head`.
pub(crate) fn applies(sight: &Sight, head: &Head) -> bool {
    sight.record.version == head.current_version()
        && (head.copy == sight.replaced || planted(Bug::OldSightRecorded))
}

fn parse(key: &str, bytes: &[u8]) -> Result<Head, StorageError> {
    let corrupt = |reason: String| StorageError::Corrupt {
        key: key.to_owned(),
        reason,
    };
    let head: Head = serde_json::from_slice(bytes).map_err(|error| {
        corrupt(format!("it is no head of ours ({error}); put back an earlier copy of it, or move it away to have the unit adopted again from its state and its versions"))
    })?;
    if head.format > FORMAT {
        return Err(corrupt(format!(
            "it was written in format {} by a newer version of OpenTaco, and this one knows format {FORMAT}; upgrade every replica",
            head.format
        )));
    }
    Ok(head)
}
