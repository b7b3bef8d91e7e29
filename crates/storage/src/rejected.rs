//! Refused writes: kept before they are refused, because by the time a state is written the cloud has changed.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use opentaco_domain::{Holding, Principal, Sha256, UnitId, limits};

use crate::StorageError;
use crate::bucket::{Kind, Meta, Whole};
use crate::commit::{CommitRequest, Refusal};
use crate::head::Head;
use crate::planted::{Bug, planted};
use crate::read::Reading;
use crate::touch::BEFORE_US;
use crate::vault::{Noticed, Vault};

/// A refused write, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its name: time, content hash, nonce.
    pub id: String,
    /// When it was refused.
    pub at: Timestamp,
    /// Who sent it.
    pub by: Principal,
    /// Why it was refused, in a word (see [`Refusal::word`]) or `external`.
    pub why: String,
    /// The lock it was sent under.
    pub lock: Option<String>,
    /// Who held the unit instead.
    pub holder: Option<String>,
    /// The door it came through.
    pub door: String,
    /// In bytes.
    pub size: u64,
}

impl Vault {
    /// Keeps the bytes of a write that is about to be refused.
    pub(crate) async fn keep_rejected(
        &self,
        unit: &UnitId,
        request: &CommitRequest,
        why: &Refusal,
    ) -> Result<String, StorageError> {
        let mut attributes = vec![
            ("by", request.principal.to_string()),
            ("why", why.word().to_owned()),
            ("door", request.door.to_owned()),
        ];
        match (&request.holding, why) {
            (Holding::Lock(id), _) | (Holding::Session(_), Refusal::Lost(id)) => {
                attributes.push(("lock", id.to_string()));
            }
            _ => {}
        }
        if let Refusal::Held(lock) = why {
            attributes.push(("holder", format!("{} ({})", lock.info.who, lock.info.id)));
        }
        self.keep(unit, request.bytes.clone(), attributes).await
    }

    /// Keeps bytes that somebody put into the copy while the holder of the lock had already committed.
    pub(crate) async fn keep_external(
        &self,
        unit: &UnitId,
        head: &Head,
        bytes: &Bytes,
    ) -> Result<String, StorageError> {
        let mut attributes = vec![
            ("by", BEFORE_US.to_owned()),
            ("why", "external".to_owned()),
            ("door", "bucket".to_owned()),
        ];
        if let Some(lock) = &head.lock {
            attributes.push(("holder", format!("{} ({})", lock.info.who, lock.info.id)));
        }
        let id = self.keep(unit, bytes.clone(), attributes).await?;
        tracing::warn!(
            target: "opentaco::audit", what = "external-rejected", %unit, kept = %id,
            "somebody wrote the state in the bucket directly while it was locked and written; their bytes are kept aside"
        );
        self.notice(unit, Noticed::KeptAside(id.clone()));
        Ok(id)
    }

    async fn keep(
        &self,
        unit: &UnitId,
        bytes: Bytes,
        mut attributes: Vec<(&'static str, String)>,
    ) -> Result<String, StorageError> {
        let now = self.now();
        attributes.push(("at", now.to_string()));
        let id = format!(
            "{:012x}-{}-{:08x}",
            now.as_millisecond(),
            Sha256::of(&bytes),
            self.draw_short()
        );
        let key = self.bucket().layout().rejected(unit, &id);
        if planted(Bug::RefusedBeforeKept) {
            let vault = self.clone();
            self.behind(async move {
                let _ = vault.bucket().put(Kind::Rejected, &key, bytes, &attributes).await;
            });
            return Ok(id);
        }
        self.bucket()
            .put(Kind::Rejected, &key, bytes, &attributes)
            .await?;
        self.prune_rejected_behind(unit);
        Ok(id)
    }

    /// The refused writes of a unit that are still kept, newest first.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub async fn rejected_writes(&self, unit: &UnitId) -> Result<Vec<Rejected>, StorageError> {
        let ids = self.rejected_ids(unit).await?;
        let all: Vec<Option<Rejected>> = stream::iter(ids.into_iter().take(limits::REJECTED_MAX))
            .map(|id| self.describe_rejected(unit, id))
            .buffered(limits::HEADS_READ_AT_ONCE)
            .try_collect()
            .await?;
        Ok(all.into_iter().flatten().collect())
    }

    async fn describe_rejected(&self, unit: &UnitId, id: String) -> Result<Option<Rejected>, StorageError> {
        let key = self.bucket().layout().rejected(unit, &id);
        let found = self.bucket().describe(Kind::Rejected, &key).await?;
        Ok(found.map(|(meta, attributes)| describe(id, &meta, &attributes)))
    }

    /// A refused write with its bytes; `None` if there is none of that id.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub async fn read_rejected(
        &self,
        unit: &UnitId,
        id: &str,
    ) -> Result<Option<(Rejected, Reading)>, StorageError> {
        if !is_id(id) {
            return Ok(None);
        }
        let key = self.bucket().layout().rejected(unit, id);
        Ok(self.bucket().get(Kind::Rejected, &key).await?.map(|got| {
            let rejected = describe(id.to_owned(), &got.meta, &got.attributes);
            (
                rejected,
                Reading {
                    size: got.meta.size,
                    committed: None,
                    found: None,
                    body: got.body,
                },
            )
        }))
    }

    /// The bytes of a refused write, whole.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub async fn rejected_bytes(&self, unit: &UnitId, id: &str) -> Result<Option<Whole>, StorageError> {
        if !is_id(id) {
            return Ok(None);
        }
        let key = self.bucket().layout().rejected(unit, id);
        Ok(self
            .bucket()
            .fetch(Kind::Rejected, &key)
            .await?
            .map(|(_, whole)| whole))
    }

    async fn rejected_ids(&self, unit: &UnitId) -> Result<Vec<String>, StorageError> {
        let prefix = self.bucket().layout().rejected_writes(unit);
        let mut ids: Vec<String> = self
            .list_all(Kind::Rejected, &prefix)
            .await?
            .into_iter()
            .filter_map(|(key, _)| {
                key.strip_prefix(&prefix)
                    .filter(|id| is_id(id))
                    .map(str::to_owned)
            })
            .collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        Ok(ids)
    }

    /// Thirty days, and the newest hundred of a unit.
    fn prune_rejected_behind(&self, unit: &UnitId) {
        let vault = self.clone();
        let unit = unit.clone();
        self.behind(async move {
            let prefix = vault.bucket().layout().rejected_writes(&unit);
            let Ok(mut all) = vault.list_all(Kind::Rejected, &prefix).await else {
                return;
            };
            // The clock of the replica that refused a write may be wrong: it is as young as it or the store says.
            all.sort_by(|(a, at), (b, bt)| (bt.modified, b).cmp(&(at.modified, a)));
            let oldest = vault.now() - SignedDuration::from_hours(24 * limits::REJECTED_DAYS);
            let is_old = |key: &str, meta: &Meta| {
                let kept_at = key
                    .strip_prefix(&prefix)
                    .and_then(kept_at)
                    .unwrap_or(meta.modified);
                kept_at.max(meta.modified) < oldest
            };
            let over = all
                .into_iter()
                .enumerate()
                .filter(|(rank, (key, meta))| *rank >= limits::REJECTED_MAX || is_old(key, meta));
            for (_, (key, _)) in over {
                if vault.bucket().delete(Kind::Rejected, &key).await.is_err() {
                    return;
                }
            }
        });
    }
}

fn describe(id: String, meta: &Meta, attributes: &BTreeMap<String, String>) -> Rejected {
    let of = |name: &str| attributes.get(name).cloned();
    Rejected {
        at: of("at")
            .and_then(|at| at.parse().ok())
            .or_else(|| kept_at(&id))
            .unwrap_or(meta.modified),
        by: Principal::new(of("by").unwrap_or_else(|| "unknown".to_owned())),
        why: of("why").unwrap_or_else(|| "unknown".to_owned()),
        lock: of("lock"),
        holder: of("holder"),
        door: of("door").unwrap_or_default(),
        size: meta.size,
        id,
    }
}

/// Whether this is spelled as an id of ours: it becomes part of a key.
fn is_id(id: &str) -> bool {
    let parts: Vec<&str> = id.split('-').collect();
    matches!(parts.as_slice(), [time, sha256, nonce]
        if time.len() == 12 && sha256.len() == 64 && nonce.len() == 8
            && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit())))
}

fn kept_at(id: &str) -> Option<Timestamp> {
    let millis = i64::from_str_radix(id.split('-').next()?, 16).ok()?;
    Timestamp::from_millisecond(millis).ok()
}
