//! GET, POST, PUT and DELETE of a state.

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::ETAG;
use opentaco_control::{ControlError, Door, StateWrite};
use opentaco_domain::{LockInfo, StateSummary};

use crate::app::App;
use crate::extract::{Asking, LockHint, OnlyIf, UnitPath};
use crate::terraform::Refused;
use crate::transfer::{JSON, Upload, described, etag, sent};

/// The current state, as it was written.
///
/// # Errors
/// 404 if there is none, and only then.
pub async fn read(
    State(app): State<App>,
    Asking(caller): Asking,
    UnitPath(unit): UnitPath,
) -> Result<Response, Refused> {
    let state = app.control.read_state(&caller, &unit).await?;
    Ok(sent(unit, state, JSON))
}

/// What GET would say, without the state.
///
/// # Errors
/// As [`read`].
pub async fn head(
    State(app): State<App>,
    Asking(caller): Asking,
    UnitPath(unit): UnitPath,
) -> Result<Response, Refused> {
    let state = app.control.read_state(&caller, &unit).await?;
    Ok(described(&state, JSON))
}

/// Makes the body the current state. The caller's rights are looked at before a byte of it is read.
///
/// # Errors
/// 409 with the holder if the unit is locked and not by this request's lock id; the body is kept then.
pub async fn write(
    State(app): State<App>,
    Asking(caller): Asking,
    UnitPath(unit): UnitPath,
    LockHint(holding): LockHint,
    OnlyIf(if_match): OnlyIf,
    request: Request,
) -> Result<Response, Refused> {
    let _permit = app.control.prepare_write(&caller, &unit, &holding).await?;
    let upload = Upload::read::<Refused>(&app, &unit, request).await?;
    // Read once for both: to walk through a state costs as much as to hash it. What is no state, control refuses.
    let summary = StateSummary::read(upload.bytes()).ok();
    if summary
        .as_ref()
        .is_some_and(|summary| is_lock(summary, upload.bytes()))
    {
        let what = format!(
            "what was sent for `{unit}` describes a lock and is no state; nothing was written. With lock_method = \"POST\" the lock_address is /v1/backend-lock/{unit}"
        );
        return Err(ControlError::Invalid { what }.into());
    }
    let write = StateWrite {
        summary,
        if_match,
        ..upload.to_write(holding, Door::Terraform)
    };
    let receipt = upload.carry_through(&app, caller, unit, write).await?;
    Ok([(ETAG, etag(&receipt.version))].into_response())
}

/// Deletes the unit; that there was none is success.
///
/// # Errors
/// 423 with the holder while it is locked.
pub async fn delete(
    State(app): State<App>,
    Asking(caller): Asking,
    UnitPath(unit): UnitPath,
    request: Request,
) -> Result<StatusCode, Refused> {
    let (parts, body) = request.into_parts();
    let note = app.bodies.read_note(&parts.headers, body).await?;
    if StateSummary::read(&note).is_ok_and(|summary| is_lock(&summary, &note)) {
        let what = format!(
            "this is the address of the state of `{unit}`, and the body describes a lock; nothing was deleted. With unlock_method = \"DELETE\" the unlock_address is /v1/backend-lock/{unit}"
        );
        return Err(ControlError::Invalid { what }.into());
    }
    match app
        .carry_through(|control| async move { control.delete_unit(&caller, &unit).await })
        .await
    {
        Ok(()) | Err(ControlError::NotFound { .. } | ControlError::NoState { .. }) => Ok(StatusCode::OK),
        Err(error) => Err(error.into()),
    }
}

/// Whether a body is a lock of Terraform's, sent to the address of a state by a client whose lock addresses are wrong:
/// taken for a state it would replace the real one.
fn is_lock(summary: &StateSummary, body: &[u8]) -> bool {
    let is_state = summary.serial.is_some() || summary.lineage.is_some() || summary.encrypted;
    !is_state
        && LockInfo::from_json(body).is_ok_and(|lock| !lock.operation.is_empty() || !lock.who.is_empty())
}
