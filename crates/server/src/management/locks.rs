//! Locks: taken and given back.

use axum::Json;
use axum::extract::{Request, State};
use opentaco_api::{ErrorBody, Lock, LockRequest, UnlockRequest, Unlocked, paths};
use opentaco_control::Door;
use opentaco_domain::limits::LOCK_BODY_BYTES_MAX;
use opentaco_domain::{LockId, LockInfo};
use uuid::Uuid;

use crate::app::App;
use crate::extract::{Asking, Notes, introduced};
use crate::management::Refused;
use crate::management::error::{invalid, lock_of};
use crate::management::query::{Asked, UnlockQuery};
use crate::management::request::{Named, read_document, small_body};

/// Takes the lock of a unit. The same lock asked for again is granted again; without an id, one is made up. Without a name
/// or a time, the caller's and the service's stand for them.
///
/// # Errors
/// 409 with the holder; 410 if this lock is over; 404 if there is no such unit.
#[utoipa::path(
    post, path = paths::LOCK, operation_id = "lock_unit", tag = "locks",
    params(Named),
    request_body(content = Option<LockRequest>, description = "Who asks, and under which id; may be left out."),
    responses(
        (status = 200, description = "You hold it.", body = Lock),
        (status = 404, description = "`not_found`: there is no such unit.", body = ErrorBody),
        (status = 409, description = "`locked`, with the holder.", body = ErrorBody),
        (status = 410, description = "`lock_over`: this lock was released or broken before.", body = ErrorBody),
    ),
)]
pub async fn take(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(unit): Named,
    request: Request,
) -> Result<Json<Lock>, Refused> {
    let body = small_body(&app, request).await?;
    if body.len() > LOCK_BODY_BYTES_MAX {
        return Err(invalid(format!(
            "the description of a lock has at most {LOCK_BODY_BYTES_MAX} bytes, this one has {}",
            body.len()
        ))
        .into());
    }
    let asked: LockRequest = if body.iter().all(u8::is_ascii_whitespace) {
        LockRequest::default()
    } else {
        read_document(&body)?
    };
    let info = introduced(
        &caller,
        LockInfo {
            id: asked.id.unwrap_or_else(fresh_id),
            operation: asked.operation,
            info: asked.info,
            who: asked.who,
            version: asked.version,
            created: asked.created,
            path: asked.path,
        },
    );
    let request = opentaco_control::LockRequest {
        sent: info.to_terraform_json().into(),
        info,
        door: Door::Management,
        credential: None,
    };
    let holder = app
        .carry_through(|control| async move { control.lock_existing(&caller, &unit, request).await })
        .await?;
    Ok(Json(lock_of(holder)))
}

/// Gives a lock back. One that is over already is success.
///
/// With `?force=true` and no id the lock is broken, whoever holds it.
///
/// # Errors
/// 409 with the holder if somebody else holds the unit.
#[utoipa::path(
    delete, path = paths::UNLOCK, operation_id = "unlock_unit", tag = "locks",
    params(Named, UnlockQuery),
    request_body(content = Option<UnlockRequest>, description = "Which lock. Left out only together with `?force=true`."),
    responses(
        (status = 200, description = "Nobody holds it under that id.", body = Unlocked),
        (status = 409, description = "`not_holder`, with the holder.", body = ErrorBody),
    ),
)]
pub async fn release(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(id): Named,
    Asked(query): Asked<UnlockQuery>,
    notes: Notes,
    request: Request,
) -> Result<Json<Unlocked>, Refused> {
    let body = small_body(&app, request).await?;
    let named = if body.iter().all(u8::is_ascii_whitespace) {
        None
    } else {
        Some(read_document::<UnlockRequest>(&body)?.id)
    };
    if named.is_none() && !query.force {
        return Err(invalid(
            "the body names no lock: send {\"id\": \"…\"}, or ?force=true to break the lock whoever holds it",
        )
        .into());
    }
    let unit = id.clone();
    if named.is_none() {
        notes.action("unit.force-unlock");
    }
    app.carry_through(|control| async move {
        match named {
            // An id has to be the holder's, forced or not: it may be another one's by now.
            Some(lock) => control.unlock(&caller, &unit, &lock).await,
            None => control.force_unlock(&caller, &unit).await.map(|_| ()),
        }
    })
    .await?;
    Ok(Json(Unlocked { id, locked: false }))
}

fn fresh_id() -> LockId {
    LockId::parse(&Uuid::new_v4().to_string()).expect("a UUID is a lock id")
}
