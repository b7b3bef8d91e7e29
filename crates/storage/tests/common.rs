//! What the tests of the protocol say again and again.

#![expect(clippy::unwrap_used, reason = "where a fixture fails, the test fails")]

use bytes::Bytes;
use opentaco_domain::{Holding, LockId, LockInfo, Principal, StateSummary, UnitId};
use opentaco_storage::commit::{CommitRequest, Committing, Refusal};
use opentaco_storage::head::{Committed, Origin};
use opentaco_storage::locks::{Locked, Locking, Unlocked};
use opentaco_storage::{StorageError, Vault};
use tokio::task::JoinHandle;

/// The unit that most tests are about.
pub(crate) fn unit() -> UnitId {
    UnitId::parse("myapp/prod").unwrap()
}

/// A lock id as Terraform makes them; `n` tells them apart.
pub(crate) fn uuid(n: u8) -> LockId {
    LockId::parse(&format!("00000000-0000-4000-8000-0000000000{n:02x}")).unwrap()
}

/// A state with this serial; `marker` tells contents apart.
pub(crate) fn state(serial: u64, marker: &str) -> Bytes {
    Bytes::from(format!(
        r#"{{"version":4,"serial":{serial},"lineage":"one","outputs":{{"m":"{marker}"}}}}"#
    ))
}

/// Somebody.
pub(crate) fn alice() -> Principal {
    Principal::new("alice")
}

/// What a client says of itself when it locks.
pub(crate) fn info(id: &LockId) -> LockInfo {
    LockInfo {
        id: id.clone(),
        operation: "OperationTypeApply".to_owned(),
        info: String::new(),
        who: "alice@laptop".to_owned(),
        version: "1.11.4".to_owned(),
        created: "2026-11-22T12:00:00Z".to_owned(),
        path: String::new(),
    }
}

/// LOCK.
pub(crate) async fn lock(replica: &Vault, id: &LockId) -> Result<Locked, StorageError> {
    let principal = alice();
    let request = Locking {
        info: info(id),
        principal: &principal,
        door: "terraform",
        sent: b"{}",
        credential: None,
    };
    replica.lock(&unit(), request).await
}

/// LOCK that must succeed.
pub(crate) async fn locked(replica: &Vault, id: &LockId) {
    let answer = lock(replica, id).await.unwrap();
    assert!(matches!(answer, Locked::Granted(_)), "{answer:?}");
}

/// UNLOCK that must succeed.
pub(crate) async fn unlocked(replica: &Vault, id: &LockId) {
    let answer = replica.unlock(&unit(), id).await.unwrap();
    assert!(matches!(answer, Unlocked::Free(_)), "{answer:?}");
}

/// What is sent with a POST.
pub(crate) fn post(holding: Holding, bytes: Bytes) -> CommitRequest {
    CommitRequest {
        summary: StateSummary::read(&bytes).unwrap_or_default(),
        bytes,
        md5: None,
        holding,
        principal: alice(),
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
    }
}

/// POST under a lock.
pub(crate) async fn write(replica: &Vault, id: &LockId, bytes: Bytes) -> Result<Committing, StorageError> {
    replica
        .commit(&unit(), &post(Holding::Lock(id.clone()), bytes))
        .await
}

/// POST without a lock.
pub(crate) async fn write_unlocked(replica: &Vault, bytes: Bytes) -> Result<Committing, StorageError> {
    replica.commit(&unit(), &post(Holding::Nothing, bytes)).await
}

/// What must have been committed.
pub(crate) fn done(answer: Result<Committing, StorageError>) -> Committed {
    match answer {
        Ok(Committing::Done(committed)) => committed,
        other => panic!("should be committed: {other:?}"),
    }
}

/// GET: the bytes, or none.
pub(crate) async fn read(replica: &Vault) -> Result<Option<Bytes>, StorageError> {
    use futures::TryStreamExt;
    let Some(reading) = replica.read(&unit()).await? else {
        return Ok(None);
    };
    let chunks: Vec<Bytes> = reading.body.try_collect().await?;
    Ok(Some(chunks.concat().into()))
}

/// What must have been refused: why, with the bytes kept.
pub(crate) fn refused(answer: Result<Committing, StorageError>) -> Refusal {
    match answer {
        Ok(Committing::Refused { why, .. }) => why,
        other => panic!("should be refused: {other:?}"),
    }
}

/// The bytes of every refused write that is kept, newest first.
pub(crate) async fn rejected(replica: &Vault) -> Vec<Bytes> {
    let mut all = Vec::new();
    for write in replica.rejected_writes(&unit()).await.unwrap() {
        let kept = replica.rejected_bytes(&unit(), &write.id).await.unwrap();
        all.extend(kept.map(|kept| kept.bytes));
    }
    all
}

/// Lets a replica do something while the test does something else.
pub(crate) fn meanwhile<T, W>(replica: &Vault, work: impl FnOnce(Vault) -> W) -> JoinHandle<T>
where
    T: Send + 'static,
    W: Future<Output = T> + Send + 'static,
{
    #[expect(
        clippy::disallowed_methods,
        reason = "the runtime of a test is its own, and its time is paused"
    )]
    tokio::spawn(work(replica.clone()))
}

/// The process dies in the middle of this.
pub(crate) async fn dies<T>(work: JoinHandle<T>) {
    work.abort();
    assert!(
        work.await.is_err_and(|error| error.is_cancelled()),
        "it was already done when it should have died"
    );
}
