//! What the tests of control say again and again.

#![expect(clippy::unwrap_used, reason = "where a fixture fails, the test fails")]

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use opentaco_control::{
    Annotation, Committed, ControlError, CreateUnit, Door, ListUnits, LockRequest, Receipt, StateControl,
    StateRead, StateWrite, UnitView,
};
use opentaco_domain::access::AllowAll;
use opentaco_domain::{Caller, Holding, LockId, LockInfo, Principal, UnitId, VersionId};
use opentaco_storage::Vault;
use opentaco_testkit::buckets::World;

/// The unit of that name.
pub(crate) fn unit(name: &str) -> UnitId {
    UnitId::parse(name).unwrap()
}

/// The unit that most tests are about.
pub(crate) fn prod() -> UnitId {
    unit("myapp/prod")
}

/// A lock id as Terraform makes them; `n` tells them apart.
pub(crate) fn uuid(n: u32) -> LockId {
    LockId::parse(&format!("00000000-0000-4000-8000-{n:012x}")).unwrap()
}

/// The claim to hold that lock.
pub(crate) fn under(n: u32) -> Holding {
    Holding::Lock(uuid(n))
}

/// A state with this serial; `marker` tells contents apart.
pub(crate) fn state(serial: u64, marker: &str) -> Bytes {
    Bytes::from(format!(
        "{{\n  \"version\": 4,\n  \"serial\": {serial},\n  \"lineage\": \"one\",\n  \"outputs\": {{\"m\": \"{marker}\"}}\n}}\n"
    ))
}

/// Somebody.
pub(crate) fn alice() -> Caller {
    Caller::new(Principal::new("alice"))
}

/// A replica that lets everybody do everything.
pub(crate) fn control(vault: Vault) -> StateControl {
    StateControl::new(vault, Arc::new(AllowAll), "memory")
}

/// A replica of this world that has just started.
pub(crate) fn replica(world: &World) -> StateControl {
    control(world.replica())
}

/// What a client says of itself when it locks.
pub(crate) fn lock_request(id: &LockId) -> LockRequest {
    let info = LockInfo {
        operation: "OperationTypeApply".to_owned(),
        who: "alice@laptop".to_owned(),
        ..LockInfo::of(id.clone())
    };
    LockRequest {
        sent: info.to_terraform_json().into(),
        info,
        door: Door::Terraform,
        credential: None,
    }
}

/// A change of the description.
pub(crate) fn said(description: &str) -> Annotation {
    Annotation {
        description: Some(description.to_owned()),
        ..Annotation::default()
    }
}

/// LOCK.
pub(crate) async fn lock(control: &StateControl, unit: &UnitId, n: u32) -> Result<LockInfo, ControlError> {
    control.lock(&alice(), unit, lock_request(&uuid(n))).await
}

/// UNLOCK.
pub(crate) async fn unlock(control: &StateControl, unit: &UnitId, n: u32) -> Result<(), ControlError> {
    control.unlock(&alice(), unit, &uuid(n)).await
}

/// POST.
pub(crate) async fn write(
    control: &StateControl,
    unit: &UnitId,
    holding: Holding,
    bytes: &Bytes,
) -> Result<Receipt, ControlError> {
    control
        .write_state(
            &alice(),
            unit,
            StateWrite::new(bytes.clone(), holding, Door::Terraform),
        )
        .await
}

/// POST without a lock, which must succeed, with all that follows behind its answer.
pub(crate) async fn written(control: &StateControl, unit: &UnitId, bytes: &Bytes) -> VersionId {
    let receipt = write(control, unit, Holding::Nothing, bytes).await.unwrap();
    control.settle_down().await;
    receipt.version
}

/// All bytes of what is read.
pub(crate) async fn body(read: StateRead) -> Result<Bytes, ControlError> {
    let size = read.size;
    let chunks: Vec<Bytes> = read.body.try_collect().await?;
    let bytes = Bytes::from(chunks.concat());
    assert_eq!(bytes.len() as u64, size, "the size told and the bytes that came");
    Ok(bytes)
}

/// GET: the bytes, or none.
pub(crate) async fn read(control: &StateControl, unit: &UnitId) -> Result<Option<Bytes>, ControlError> {
    match control.read_state(&alice(), unit).await {
        Ok(read) => body(read).await.map(Some),
        Err(ControlError::NoState { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The committed versions, newest first; none for a unit that does not exist.
pub(crate) async fn versions(control: &StateControl, unit: &UnitId) -> Vec<Committed> {
    match control.versions(&alice(), unit, None, None).await {
        Err(ControlError::NotFound { .. }) => Vec::new(),
        versions => versions.unwrap(),
    }
}

/// The same, each by the bytes that are read back.
pub(crate) async fn history(control: &StateControl, unit: &UnitId) -> Vec<Bytes> {
    let mut history = Vec::new();
    for committed in versions(control, unit).await {
        let read = control
            .read_version(&alice(), unit, &committed.version)
            .await
            .unwrap();
        history.push(body(read).await.unwrap());
    }
    history
}

/// The bytes of the refused writes that are kept, newest first.
pub(crate) async fn rejected(control: &StateControl, unit: &UnitId) -> Vec<Bytes> {
    let mut all = Vec::new();
    for write in control.rejected(&alice(), unit).await.unwrap() {
        let (told, read) = control.read_rejected(&alice(), unit, &write.id).await.unwrap();
        assert_eq!(told, write);
        all.push(body(read).await.unwrap());
    }
    all
}

/// What is true of a unit that must exist.
pub(crate) async fn described(control: &StateControl, unit: &UnitId) -> UnitView {
    control.describe_unit(&alice(), unit).await.unwrap()
}

/// Creates a unit without labels.
pub(crate) async fn create(control: &StateControl, unit: &UnitId) -> Result<UnitView, ControlError> {
    control.create_unit(&alice(), unit, CreateUnit::default()).await
}

/// The names of all units.
pub(crate) async fn listed(control: &StateControl) -> Vec<String> {
    let page = control.list_units(&alice(), ListUnits::default()).await.unwrap();
    assert_eq!(page.next_page_token, None);
    page.units.iter().map(|view| view.unit.to_string()).collect()
}
