//! Refused writes: listed, read, and accepted after all.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use opentaco_api::{ErrorBody, Receipt, Rejected, RejectedWrites, paths};

use crate::app::App;
use crate::extract::Asking;
use crate::management::Refused;
use crate::management::query::{Asked, WriteQuery};
use crate::management::request::{Key, Named, NamedRejected};
use crate::management::state::receipt_of;
use crate::management::versions::reinstate;
use crate::transfer::sent;

/// The refused writes of a unit that are still kept, newest first. Writes to a unit that there is not may have been
/// refused, too.
///
/// # Errors
/// 403, 503.
#[utoipa::path(
    get, path = paths::REJECTED, operation_id = "list_rejected", tag = "rejected",
    params(Named),
    responses((status = 200, description = "All of them.", body = RejectedWrites)),
)]
pub async fn list(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(unit): Named,
) -> Result<Json<RejectedWrites>, Refused> {
    let rejected: Vec<Rejected> = app
        .control
        .rejected(&caller, &unit)
        .await?
        .into_iter()
        .map(rejected_of)
        .collect();
    Ok(Json(RejectedWrites {
        count: rejected.len(),
        rejected,
    }))
}

/// The bytes of one refused write, whatever they are.
///
/// # Errors
/// 404 if there is none of that id.
#[utoipa::path(
    get, path = paths::REJECTED_WRITE, operation_id = "download_rejected", tag = "rejected",
    params(Named, NamedRejected),
    responses(
        (status = 200, description = "What was sent.", content_type = "application/octet-stream", body = String),
        (status = 404, description = "`not_found`: there is none of that id.", body = ErrorBody),
    ),
)]
pub async fn download(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(unit): Named,
    NamedRejected(id): NamedRejected,
) -> Result<Response, Refused> {
    let (_, state) = app.control.read_rejected(&caller, &unit, &id).await?;
    Ok(sent(unit, state, "application/octet-stream"))
}

/// Makes a refused write current after all, as a new version.
///
/// # Errors
/// 409 with the holder while somebody else holds the unit, or if another lineage is current; 404 if there is none of that
/// id.
#[utoipa::path(
    post, path = paths::PROMOTE, operation_id = "promote_rejected", tag = "rejected",
    params(Named, NamedRejected, WriteQuery, Key),
    responses(
        (status = 200, description = "It is current.", body = Receipt, headers(("ETag" = String, description = "The new version, in quotes."))),
        (status = 404, description = "`not_found`: there is none of that id.", body = ErrorBody),
        (status = 409, description = "`locked` or `not_holder`, with the holder; `other_lineage`.", body = ErrorBody),
        (status = 412, description = "`version_conflict`: others wrote faster, again and again.", body = ErrorBody),
    ),
)]
pub async fn promote(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(id): Named,
    NamedRejected(rejected): NamedRejected,
    Asked(query): Asked<WriteQuery>,
    Key(key): Key,
) -> Result<Response, Refused> {
    let unit = id.clone();
    let how = reinstate(query, key);
    let receipt = app
        .carry_through(|control| async move { control.promote(&caller, &unit, &rejected, how).await })
        .await?;
    Ok(receipt_of(id, &receipt))
}

fn rejected_of(rejected: opentaco_control::Rejected) -> Rejected {
    Rejected {
        id: rejected.id,
        created: rejected.at,
        by: rejected.by,
        why: rejected.why,
        lock_id: rejected.lock,
        holder: rejected.holder,
        door: rejected.door,
        size: rejected.size,
    }
}
