//! LOCK and UNLOCK, and the same under GitLab-style addresses (`lock_method=POST`, `unlock_method=DELETE`).

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use opentaco_api::ErrorCode;
use opentaco_control::{ControlError, Door, LockRequest};
use opentaco_domain::{Holding, LockId, LockInfo};

use crate::app::App;
use crate::doorkeeper::Lapsed;
use crate::extract::{Asking, LockHint, Notes, UnitPath, introduced};
use crate::problem::Problem;
use crate::terraform::Refused;

/// Takes the lock that the body describes. The same lock asked for again is granted again: clients repeat a LOCK
/// whose answer was lost. What it does not say of who asks and when, the service adds for whoever has to wait.
///
/// # Errors
/// 423 with the holder; 410 if this lock is over.
pub async fn take(
    State(app): State<App>,
    Asking(caller): Asking,
    UnitPath(unit): UnitPath,
    request: Request,
) -> Result<Response, Refused> {
    let sent = note(&app, request).await?;
    let info = LockInfo::from_json(&sent).map_err(|error| {
        invalid(format!(
            "the body of this request describes no lock: {error}. Terraform and OpenTofu send a JSON object with at least an ID"
        ))
    })?;
    let lock = LockRequest {
        info: introduced(&caller, info),
        sent,
        door: Door::Terraform,
        credential: None,
    };
    let taken = app
        .carry_through(|control| async move { control.lock(&caller, &unit, lock).await })
        .await?;
    let mut response = taken.to_terraform_json().into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Gives a lock back, or breaks it.
///
/// A lock id in the body, or else beside it, has to be the holder's; of such a body nothing else counts. No id
/// anywhere is what `terraform force-unlock` sends, whatever id was typed: that breaks the lock, whoever holds it, and
/// needs the right to.
///
/// # Errors
/// 409 with the holder.
pub async fn release(
    State(app): State<App>,
    Asking(caller): Asking,
    UnitPath(unit): UnitPath,
    LockHint(hint): LockHint,
    notes: Notes,
    lapsed: Option<Extension<Lapsed>>,
    request: Request,
) -> Result<StatusCode, Refused> {
    let sent = note(&app, request).await?;
    let released = released_lock(&sent, hint)?;
    if released.is_none() && lapsed.is_some() {
        // Ending one's own apply is all that an expired token is good for.
        return Err(expired().into());
    }
    if released.is_none() {
        notes.action("unit.force-unlock");
    }
    app.carry_through(|control| async move {
        match released {
            Some(id) => control.unlock(&caller, &unit, &id).await,
            None => control.force_unlock(&caller, &unit).await.map(|_| ()),
        }
    })
    .await?;
    Ok(StatusCode::OK)
}

fn released_lock(sent: &[u8], hint: Holding) -> Result<Option<LockId>, ControlError> {
    let hint = match hint {
        Holding::Lock(id) => Some(id),
        Holding::Nothing | Holding::Session(_) => None,
    };
    if sent.iter().all(u8::is_ascii_whitespace) {
        return Ok(hint);
    }
    let named = LockInfo::from_json(sent).map_err(|error| {
        invalid(format!(
            "the body of this request names no lock: {error}. Send the lock's ID, or an empty body to break the lock whoever holds it"
        ))
    })?;
    if hint.is_some_and(|hint| hint != named.id) {
        return Err(invalid(
            "the body and the address of this request name different locks".to_owned(),
        ));
    }
    Ok(Some(named.id))
}

fn expired() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        ErrorCode::Unauthenticated,
        "this token has expired, and ends only the lock that was taken with it; name its id, or log in again to break a lock",
    )
}

async fn note(app: &App, request: Request) -> Result<Bytes, Refused> {
    let (parts, body) = request.into_parts();
    Ok(app.bodies.read_note(&parts.headers, body).await?)
}

fn invalid(what: String) -> ControlError {
    ControlError::Invalid { what }
}
