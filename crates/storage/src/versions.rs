//! Version objects: immutable, named uniquely, and a version only once a head names them.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use opentaco_domain::{LockId, Principal, UnitId, VersionId, limits};

use crate::StorageError;
use crate::bucket::{If, Kind, Listing, Meta};
use crate::commit::is_kept;
use crate::head::{Committed, Head, Origin};
use crate::heads::Known;
use crate::planted::{Bug, planted};
use crate::vault::Vault;

impl Vault {
    /// Puts the bytes of a version that is to be committed.
    pub(crate) async fn put_version(
        &self,
        unit: &UnitId,
        committed: &Committed,
        bytes: Bytes,
        door: &'static str,
    ) -> Result<(), StorageError> {
        let mut attributes = vec![
            ("by", committed.by.to_string()),
            ("at", committed.committed_at.to_string()),
            ("door", door.to_owned()),
            ("how", spell(&committed.origin)),
        ];
        if let Some(lock) = &committed.lock_id {
            attributes.push(("lock", lock.to_string()));
        }
        if let Some(lineage) = &committed.lineage {
            attributes.push(("lineage", lineage.clone()));
        }
        let key = self.bucket().layout().version(unit, &committed.version);
        if planted(Bug::ConflictMeansExists) {
            return self
                .bucket()
                .put_if(Kind::Version, &key, bytes, If::Absent)
                .await
                .map(|_| ());
        }
        if planted(Bug::AnsweredBeforeVersion) {
            let vault = self.clone();
            self.behind(async move {
                let _ = vault.bucket().put(Kind::Version, &key, bytes, &attributes).await;
            });
            return Ok(());
        }
        self.bucket().put(Kind::Version, &key, bytes, &attributes).await
    }

    /// The committed versions of a unit that are still kept, newest first, at most `limit`, starting after `after`.
    ///
    /// The newest stand in the head; the older cost one listing and one look at each that is shown.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub async fn history(
        &self,
        unit: &UnitId,
        known: &Known,
        after: Option<&VersionId>,
        limit: usize,
    ) -> Result<Vec<Committed>, StorageError> {
        let head = &known.head;
        let wanted = |version: &VersionId| after.is_none_or(|after| version < after);
        let mut history: Vec<_> = head
            .known()
            .filter(|committed| wanted(&committed.version))
            .take(limit)
            .cloned()
            .collect();
        if history.len() < limit && !head.kept.is_empty() {
            let mut kept = self.kept_versions(unit, head).await?;
            kept.retain(|(version, _)| wanted(version));
            kept.truncate(limit - history.len());
            let older: Vec<Option<Committed>> = stream::iter(kept)
                .map(|(version, _)| self.describe_version(unit, version))
                .buffered(limits::HEADS_READ_AT_ONCE)
                .try_collect()
                .await?;
            history.extend(older.into_iter().flatten());
        }
        Ok(history)
    }

    async fn describe_version(
        &self,
        unit: &UnitId,
        version: VersionId,
    ) -> Result<Option<Committed>, StorageError> {
        let key = self.bucket().layout().version(unit, &version);
        let found = self.bucket().describe(Kind::Version, &key).await?;
        Ok(found.and_then(|(meta, attributes)| from_attributes(&version, &meta, &attributes)))
    }

    /// The kept versions that the head does not know in full, newest first.
    pub(crate) async fn kept_versions(
        &self,
        unit: &UnitId,
        head: &Head,
    ) -> Result<Vec<(VersionId, Meta)>, StorageError> {
        let mut all = self.list_versions(unit).await?;
        all.retain(|(version, _)| is_kept(head, version));
        all.sort_by(|(a, _), (b, _)| b.cmp(a));
        Ok(all)
    }

    /// Every version object of a unit, committed or not.
    pub(crate) async fn list_versions(&self, unit: &UnitId) -> Result<Vec<(VersionId, Meta)>, StorageError> {
        let prefix = self.bucket().layout().versions(unit);
        let objects = self.list_all(Kind::Version, &prefix).await?;
        Ok(objects
            .into_iter()
            .filter_map(|(key, meta)| Some((key.strip_prefix(&prefix)?.parse().ok()?, meta)))
            .collect())
    }

    pub(crate) async fn list_all(
        &self,
        kind: Kind,
        prefix: &str,
    ) -> Result<Vec<(String, Meta)>, StorageError> {
        let mut all = Vec::new();
        let mut page = None;
        loop {
            let answer = self
                .bucket()
                .list(
                    kind,
                    Listing {
                        prefix,
                        page,
                        ..Listing::default()
                    },
                )
                .await?;
            all.extend(answer.objects);
            page = answer.next;
            if page.is_none() {
                return Ok(all);
            }
        }
    }
}

fn spell(origin: &Origin) -> String {
    serde_json::to_string(origin).unwrap_or_default()
}

/// What a version object says of itself.
pub(crate) fn from_attributes(
    version: &VersionId,
    meta: &Meta,
    attributes: &BTreeMap<String, String>,
) -> Option<Committed> {
    let origin = attributes
        .get("how")
        .and_then(|how| serde_json::from_str(how).ok())
        .unwrap_or(Origin::Write);
    Some(Committed {
        version: *version,
        sha256: version.sha256,
        md5: None,
        size: meta.size,
        serial: Some(version.serial),
        lineage: attributes.get("lineage").cloned(),
        terraform_version: None,
        committed_at: attributes
            .get("at")
            .and_then(|at| at.parse::<Timestamp>().ok())
            .unwrap_or(meta.modified),
        asked_at: None,
        by: Principal::new(attributes.get("by").map_or("unknown", String::as_str)),
        lock_id: attributes.get("lock").and_then(|lock| LockId::parse(lock).ok()),
        sent_sha256: version.sha256,
        sent_serial: Some(version.serial),
        key: None,
        door: attributes.get("door").filter(|door| !door.is_empty()).cloned(),
        origin,
    })
}
