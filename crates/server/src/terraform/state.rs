//! GET, POST, PUT and DELETE of a state.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures::TryStreamExt as _;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue};
use opentaco_control::{ControlError, Door, StateRead, StateWrite};
use opentaco_domain::{LockInfo, StateSummary};

use crate::app::App;
use crate::extract::{Asking, LockHint, OnlyIf, UnitPath};
use crate::problem::chain;
use crate::terraform::Refused;

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
    let mut response = headers_of(&state);
    let body = state.body.inspect_err(move |error| {
        // The status is long sent; all that is left is to break off, which the client notices by the length.
        tracing::error!(%unit, cause = chain(error), "a state could not be sent to its end");
    });
    *response.body_mut() = Body::from_stream(body);
    Ok(response)
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
    Ok(headers_of(&state))
}

fn headers_of(state: &StateRead) -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(state.size));
    if let Some(version) = state.version {
        let etag = HeaderValue::from_str(&format!("\"{version}\"")).expect("a version id is visible ASCII");
        headers.insert(ETAG, etag);
    }
    response
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
    let (parts, body) = request.into_parts();
    let arrived = app.bodies.read_state(&parts.headers, body).await?;
    if arrived.bytes.is_empty() {
        let what =
            format!("there is no state in this request for `{unit}`: its body is empty. Nothing was written");
        return Err(ControlError::Invalid { what }.into());
    }
    // Read once for both: to walk through a state costs as much as to hash it. What is no state, control refuses.
    let summary = StateSummary::read(&arrived.bytes).ok();
    if summary
        .as_ref()
        .is_some_and(|summary| is_lock(summary, &arrived.bytes))
    {
        let what = format!(
            "what was sent for `{unit}` describes a lock and is no state; nothing was written. With lock_method = \"POST\" the lock_address is /v1/backend-lock/{unit}"
        );
        return Err(ControlError::Invalid { what }.into());
    }
    let mut write = StateWrite::new(arrived.bytes.clone(), holding, Door::Terraform);
    write.md5.clone_from(&arrived.md5);
    write.summary = summary;
    write.if_match = if_match;
    let control = app.control.clone();
    let receipt = app
        .carry_through(async move {
            let receipt = control.write_state(&caller, &unit, write).await;
            drop(arrived);
            receipt
        })
        .await?;
    let mut response = Response::new(Body::empty());
    let etag =
        HeaderValue::from_str(&format!("\"{}\"", receipt.version)).expect("a version id is visible ASCII");
    response.headers_mut().insert(ETAG, etag);
    Ok(response)
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
    let control = app.control.clone();
    match app
        .carry_through(async move { control.delete_unit(&caller, &unit).await })
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
