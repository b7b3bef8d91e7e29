//! The protocol over a store, as these tests need it.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use opentaco_domain::{Holding, LockId, LockInfo, Principal, StateSummary, UnitId};
use opentaco_storage::commit::{CommitRequest, Committing};
use opentaco_storage::head::Origin;
use opentaco_storage::locks::{Locked, Locking};
use opentaco_storage::{Bucket, Retention, StorageError, Store, Surroundings, Vault};

/// A replica over this store.
pub(crate) fn over(store: impl Store) -> Vault {
    let bucket = Bucket::new(Arc::new(store), "", Surroundings::real());
    Vault::new(bucket, Retention::default())
}

pub(crate) fn unit(id: &str) -> UnitId {
    UnitId::parse(id).unwrap()
}

/// A lock id as Terraform makes them; `n` tells them apart.
pub(crate) fn uuid(n: u8) -> LockId {
    LockId::parse(&format!("00000000-0000-4000-8000-0000000000{n:02x}")).unwrap()
}

pub(crate) fn state(serial: u64) -> Bytes {
    Bytes::from(format!(
        r#"{{"version":4,"serial":{serial},"lineage":"one","outputs":{{}}}}"#
    ))
}

pub(crate) async fn lock(vault: &Vault, unit: &UnitId, id: &LockId) -> Result<Locked, StorageError> {
    let info = LockInfo {
        id: id.clone(),
        operation: "OperationTypeApply".to_owned(),
        info: String::new(),
        who: "alice@laptop".to_owned(),
        version: "1.11.4".to_owned(),
        created: "2026-11-22T12:00:00Z".to_owned(),
        path: String::new(),
    };
    let request = Locking {
        info,
        principal: &Principal::new("alice"),
        door: "terraform",
        sent: b"{}",
        credential: None,
    };
    vault.lock(unit, request).await
}

pub(crate) async fn write(
    vault: &Vault,
    unit: &UnitId,
    holding: Holding,
    bytes: Bytes,
) -> Result<Committing, StorageError> {
    let request = CommitRequest {
        summary: StateSummary::read(&bytes).unwrap(),
        md5: None,
        bytes,
        holding,
        principal: Principal::new("alice"),
        door: "terraform",
        key: None,
        if_match: None,
        if_content: None,
        force: false,
        same_lineage: false,
        may_create: true,
        asked_at: None,
        revives: None,
        origin: Origin::Write,
        made: None,
    };
    vault.commit(unit, &request).await
}

/// GET: the bytes, or none.
pub(crate) async fn read(vault: &Vault, unit: &UnitId) -> Result<Option<Bytes>, StorageError> {
    let Some(reading) = vault.read(unit).await? else {
        return Ok(None);
    };
    let chunks: Vec<Bytes> = reading.body.try_collect().await?;
    Ok(Some(chunks.concat().into()))
}
