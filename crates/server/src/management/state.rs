//! States: downloaded and uploaded.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::ETAG;
use opentaco_api::{ErrorBody, Receipt, paths};
use opentaco_control::{Door, StateWrite};
use opentaco_domain::UnitId;

use crate::app::App;
use crate::extract::{Asking, OnlyIf};
use crate::management::Refused;
use crate::management::query::{Asked, WriteQuery};
use crate::management::request::{Key, Named, not_modified};
use crate::transfer::{JSON, Upload, described, etag, sent};

/// The current state, byte for byte as it was written.
///
/// # Errors
/// 404 `not_found` if there is no such unit, `no_state` if it has no state.
#[utoipa::path(
    get, path = paths::DOWNLOAD, operation_id = "download_state", tag = "state",
    params(
        Named,
        ("If-None-Match" = Option<String>, Header, description = "The ETag of an earlier download."),
    ),
    responses(
        (status = 200, description = "The state.", content_type = "application/json", body = serde_json::Map<String, serde_json::Value>, headers(("ETag" = String, description = "The version, in quotes."))),
        (status = 304, description = "It is still the version that you have."),
        (status = 404, description = "`not_found`: there is no such unit; `no_state`: it has no state.", body = ErrorBody),
    ),
)]
pub async fn download(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(unit): Named,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let state = app.control.read_existing(&caller, &unit).await?;
    if let Some(response) = not_modified(&headers, state.version.as_ref()) {
        return Ok(response);
    }
    Ok(sent(unit, state, JSON))
}

/// What a download would say, without the state.
///
/// # Errors
/// As [`download`].
#[utoipa::path(
    head, path = paths::DOWNLOAD, operation_id = "head_state", tag = "state",
    params(Named),
    responses(
        (status = 200, description = "There is a state.", headers(("ETag" = String, description = "The version, in quotes."))),
        (status = 404, description = "There is no such unit, or it has no state."),
    ),
)]
pub async fn head(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(unit): Named,
) -> Result<Response, Refused> {
    let state = app.control.read_existing(&caller, &unit).await?;
    Ok(described(&state, JSON))
}

/// Makes the body the current state. A unit that there is not is created by it.
///
/// Rights are looked at before a byte of the body is read. What is refused for its lock is kept among the unit's rejected
/// writes.
///
/// # Errors
/// 400 if the body is no JSON object; 409 with the holder, or if the state is of another lineage or no newer; 412 if another
/// version is current than `If-Match` says.
#[utoipa::path(
    post, path = paths::UPLOAD, operation_id = "upload_state", tag = "state",
    params(
        Named,
        WriteQuery,
        ("If-Match" = Option<String>, Header, description = "The version that has to be current, as the ETag of a download."),
        Key,
        ("Content-MD5" = Option<String>, Header, description = "What the body has to match, in base64."),
    ),
    request_body(content = serde_json::Map<String, serde_json::Value>, content_type = "application/json", description = "The state, whole."),
    responses(
        (status = 200, description = "It is current.", body = Receipt, headers(("ETag" = String, description = "The version, in quotes."))),
        (status = 409, description = "`not_holder`, with the holder; `other_lineage`; `older_serial`; `late`; `deleted`.", body = ErrorBody),
        (status = 412, description = "`version_conflict`: another version is current.", body = ErrorBody),
    ),
)]
pub async fn upload(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(id): Named,
    Asked(query): Asked<WriteQuery>,
    OnlyIf(if_match): OnlyIf,
    Key(key): Key,
    request: Request,
) -> Result<Response, Refused> {
    let _permit = app
        .control
        .prepare_write(&caller, &id, &query.if_locked_by)
        .await?;
    let upload = Upload::read::<Refused>(&app, &id, request).await?;
    let write = StateWrite {
        if_match,
        force: query.force,
        idempotency_key: key,
        ..upload.to_write(query.if_locked_by, Door::Management)
    };
    let receipt = upload.carry_through(&app, caller, id.clone(), write).await?;
    Ok(receipt_of(id, &receipt))
}

/// What a write became.
pub(crate) fn receipt_of(id: UnitId, receipt: &opentaco_control::Receipt) -> Response {
    let etag = etag(&receipt.version);
    let receipt = Receipt {
        id,
        version: receipt.version,
        serial: receipt.serial,
        size: receipt.size,
    };
    ([(ETAG, etag)], Json(receipt)).into_response()
}
