//! Units: created, listed, described, changed, deleted, brought back.

use axum::Json;
use axum::extract::{Request, State};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use opentaco_api::{ChangeUnit, CreateUnit, Created, ErrorBody, Undeleted, Unit, UnitSummary, Units, paths};
use opentaco_control::{Annotation, Door, ListUnits, UnitView};

use crate::app::App;
use crate::extract::{Asking, Notes};
use crate::management::Refused;
use crate::management::error::lock_of;
use crate::management::query::{Asked, ListQuery};
use crate::management::request::{Named, document};

/// Creates a unit without a state.
///
/// # Errors
/// 409 if there is such a unit.
#[utoipa::path(
    post, path = paths::UNITS, operation_id = "create_unit", tag = "units",
    request_body = CreateUnit,
    responses(
        (status = 201, description = "It is there.", body = Created, headers(("Location" = String, description = "Its address."))),
        (status = 409, description = "`already_exists`: there is such a unit.", body = ErrorBody),
    ),
)]
pub async fn create(
    State(app): State<App>,
    Asking(caller): Asking,
    notes: Notes,
    request: Request,
) -> Result<(StatusCode, [(http::HeaderName, HeaderValue); 1], Json<Created>), Refused> {
    let CreateUnit {
        id,
        labels,
        description,
    } = document(&app, request).await?;
    notes.unit(&id);
    let create = opentaco_control::CreateUnit { labels, description };
    let view = app
        .carry_through(|control| async move { control.create_unit(&caller, &id, create).await })
        .await?;
    let address = HeaderValue::from_str(&paths::unit(&view.unit)).expect("an address is visible ASCII");
    let created = Created {
        created: view.created.unwrap_or_default(),
        id: view.unit,
    };
    Ok((StatusCode::CREATED, [(LOCATION, address)], Json(created)))
}

/// Lists the units that the caller may see, in the order of their names.
///
/// # Errors
/// 400 for a page token that is none.
#[utoipa::path(
    get, path = paths::UNITS, operation_id = "list_units", tag = "units",
    params(ListQuery),
    responses((status = 200, description = "One page, or all.", body = Units)),
)]
pub async fn list(
    State(app): State<App>,
    Asking(caller): Asking,
    Asked(query): Asked<ListQuery>,
) -> Result<Json<Units>, Refused> {
    let wanted = ListUnits {
        prefix: query.prefix,
        labels: query.label,
        limit: query.limit,
        page_token: query.page_token,
    };
    let page = app.control.list_units(&caller, wanted).await?;
    let units: Vec<UnitSummary> = page.units.into_iter().map(summary_of).collect();
    Ok(Json(Units {
        count: units.len(),
        units,
        next_page_token: page.next_page_token,
    }))
}

/// What is true of a unit now.
///
/// # Errors
/// 404 if there is none.
#[utoipa::path(
    get, path = paths::UNIT, operation_id = "describe_unit", tag = "units",
    params(Named),
    responses(
        (status = 200, description = "The unit.", body = Unit),
        (status = 404, description = "`not_found`: there is no such unit.", body = ErrorBody),
    ),
)]
pub async fn describe(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(unit): Named,
) -> Result<Json<Unit>, Refused> {
    let view = app.control.describe_unit(&caller, &unit).await?;
    Ok(Json(unit_of(view)))
}

/// Changes labels, description or protection. What is not named stays as it is.
///
/// # Errors
/// 404 if there is no such unit; 400 over the limits.
#[utoipa::path(
    patch, path = paths::UNIT, operation_id = "change_unit", tag = "units",
    params(Named),
    request_body = ChangeUnit,
    responses(
        (status = 200, description = "The unit, as it is now.", body = Unit),
        (status = 404, description = "`not_found`: there is no such unit.", body = ErrorBody),
    ),
)]
pub async fn change(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(unit): Named,
    request: Request,
) -> Result<Json<Unit>, Refused> {
    let change: ChangeUnit = document(&app, request).await?;
    let annotation = Annotation {
        labels: change.labels,
        description: change.description,
        deletion_protection: change.deletion_protection,
    };
    let view = app
        .carry_through(|control| async move { control.annotate_unit(&caller, &unit, &annotation).await })
        .await?;
    Ok(Json(unit_of(view)))
}

/// Deletes a unit. It can be brought back for thirty days.
///
/// # Errors
/// 409 with the holder while it is locked, or if it is protected; 404 if there is none.
#[utoipa::path(
    delete, path = paths::UNIT, operation_id = "delete_unit", tag = "units",
    params(Named),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, description = "`not_found`: there is no such unit.", body = ErrorBody),
        (status = 409, description = "`locked`, with the holder; `protected`.", body = ErrorBody),
    ),
)]
pub async fn delete(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(unit): Named,
) -> Result<StatusCode, Refused> {
    app.carry_through(|control| async move { control.delete_unit(&caller, &unit).await })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Brings back a deleted unit with its last state.
///
/// # Errors
/// 409 if it is not deleted, or with the holder while it is locked; 404 if there never was one, or too long ago.
#[utoipa::path(
    post, path = paths::UNDELETE, operation_id = "undelete_unit", tag = "units",
    params(Named),
    responses(
        (status = 200, description = "It lives again.", body = Undeleted),
        (status = 404, description = "`not_found`: there never was such a unit, or its versions are gone.", body = ErrorBody),
        (status = 409, description = "`already_exists`: it is not deleted; `locked`, with the holder.", body = ErrorBody),
    ),
)]
pub async fn undelete(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(id): Named,
) -> Result<Json<Undeleted>, Refused> {
    let unit = id.clone();
    let version = app
        .carry_through(|control| async move { control.undelete_unit(&caller, &unit, Door::Management).await })
        .await?;
    Ok(Json(Undeleted { id, version }))
}

fn summary_of(view: UnitView) -> UnitSummary {
    UnitSummary {
        id: view.unit,
        size: view.size,
        updated: view.updated.unwrap_or_default(),
        locked: view.locked,
    }
}

fn unit_of(view: UnitView) -> Unit {
    let current = view.current;
    Unit {
        id: view.unit,
        size: view.size,
        // A unit that there is was created or written, so one of the two is always known.
        updated: view.updated.unwrap_or_default(),
        created: view.created,
        locked: view.locked,
        lock: view.holder.map(lock_of),
        labels: view.labels,
        description: view.description,
        deletion_protection: view.deletion_protection,
        version: current.as_ref().map(|current| current.version),
        serial: current.as_ref().and_then(|current| current.serial),
        lineage: current.as_ref().and_then(|current| current.lineage.clone()),
        terraform_version: current.and_then(|current| current.terraform_version),
    }
}
