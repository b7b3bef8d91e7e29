//! The history of a unit: listed, read, and made current again.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::Response;
use http::HeaderMap;
use opentaco_api::{ErrorBody, Origin, Receipt, Restore, Version, Versions, paths};
use opentaco_control::{Committed, Door, Reinstate};
use opentaco_domain::VersionId;

use crate::app::App;
use crate::extract::Asking;
use crate::management::Refused;
use crate::management::query::{Asked, HistoryQuery, WriteQuery};
use crate::management::request::{Key, Named, NamedVersion, document, not_modified};
use crate::management::state::receipt_of;
use crate::transfer::{JSON, sent};

/// What was committed and is still kept, newest first.
///
/// # Errors
/// 404 if there is no such unit, not even a deleted one.
#[utoipa::path(
    get, path = paths::VERSIONS, operation_id = "list_versions", tag = "versions",
    params(Named, HistoryQuery),
    responses(
        (status = 200, description = "One page, or all.", body = Versions),
        (status = 404, description = "`not_found`: there is no such unit, not even a deleted one.", body = ErrorBody),
    ),
)]
pub async fn list(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(unit): Named,
    Asked(query): Asked<HistoryQuery>,
) -> Result<Json<Versions>, Refused> {
    // One more than is shown tells whether there is another page.
    let limit = query.limit.map_or(usize::MAX, |limit| limit + 1);
    let history = app
        .control
        .history(&caller, &unit, query.page_token.as_ref(), limit)
        .await?;
    let mut versions = history.versions;
    let mut next_page_token = None;
    if let Some(limit) = query.limit
        && versions.len() > limit
    {
        versions.truncate(limit);
        next_page_token = versions.last().map(|last| last.version.to_string());
    }
    let current = history.current;
    Ok(Json(Versions {
        count: versions.len(),
        versions: versions
            .into_iter()
            .map(|committed| version_of(committed, current))
            .collect(),
        next_page_token,
    }))
}

/// The bytes of one version.
///
/// # Errors
/// 404 if the history does not have it.
#[utoipa::path(
    get, path = paths::VERSION, operation_id = "download_version", tag = "versions",
    params(
        Named,
        NamedVersion,
        ("If-None-Match" = Option<String>, Header, description = "The ETag of an earlier download."),
    ),
    responses(
        (status = 200, description = "The state of that version.", content_type = "application/json", body = serde_json::Map<String, serde_json::Value>, headers(("ETag" = String, description = "The version, in quotes."))),
        (status = 304, description = "You have it: a version never changes."),
        (status = 404, description = "`not_found`: it is not in the history of the unit.", body = ErrorBody),
    ),
)]
pub async fn download(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(unit): Named,
    NamedVersion(version): NamedVersion,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let state = app.control.read_version(&caller, &unit, &version).await?;
    if let Some(response) = not_modified(&headers, state.version.as_ref()) {
        return Ok(response);
    }
    Ok(sent(unit, state, JSON))
}

/// Makes an old version current again, as a new version whose serial is one higher than the current one's.
///
/// # Errors
/// 409 with the holder while somebody else holds the unit, or if another lineage is current; 404 if the history does not
/// have that version.
#[utoipa::path(
    post, path = paths::RESTORE, operation_id = "restore_version", tag = "versions",
    params(Named, WriteQuery, Key),
    request_body = Restore,
    responses(
        (status = 200, description = "It is current again.", body = Receipt, headers(("ETag" = String, description = "The new version, in quotes."))),
        (status = 404, description = "`not_found`: it is not in the history of the unit.", body = ErrorBody),
        (status = 409, description = "`locked` or `not_holder`, with the holder; `other_lineage`.", body = ErrorBody),
        (status = 412, description = "`version_conflict`: others wrote faster, again and again.", body = ErrorBody),
    ),
)]
pub async fn restore(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(id): Named,
    Asked(query): Asked<WriteQuery>,
    Key(key): Key,
    request: Request,
) -> Result<Response, Refused> {
    let Restore { version } = document(&app, request).await?;
    let unit = id.clone();
    let how = reinstate(query, key);
    let receipt = app
        .carry_through(|control| async move { control.restore(&caller, &unit, &version, how).await })
        .await?;
    Ok(receipt_of(id, &receipt))
}

/// How old bytes are made current again through this door.
pub(crate) fn reinstate(query: WriteQuery, key: Option<String>) -> Reinstate {
    Reinstate {
        holding: query.if_locked_by,
        door: Door::Management,
        force: query.force,
        idempotency_key: key,
    }
}

fn version_of(committed: Committed, current: Option<VersionId>) -> Version {
    use opentaco_control::Origin as From;
    let (origin, origin_of) = match committed.origin {
        From::Write => (Origin::Write, None),
        From::Adopted => (Origin::Adopted, None),
        From::External => (Origin::External, None),
        From::Restore(version) => (Origin::Restore, Some(version.to_string())),
        From::Promote(id) => (Origin::Promote, Some(id)),
        From::Undelete => (Origin::Undelete, None),
        From::Graph => (Origin::Graph, None),
    };
    Version {
        current: Some(committed.version) == current,
        version: committed.version,
        created: committed.committed_at,
        by: committed.by,
        origin,
        origin_of,
        size: committed.size,
        sha256: committed.sha256,
        serial: committed.serial,
        lineage: committed.lineage,
        lock_id: committed.lock_id,
        door: committed.door,
    }
}
