//! Outputs of the current state, all or one. Values marked sensitive are told like others, with the mark: whoever may read
//! the state may read them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::ETAG;
use http::{HeaderMap, StatusCode};
use opentaco_api::{ErrorBody, ErrorCode, Output, Outputs, paths};
use opentaco_control::StateRead;
use opentaco_control::outputs::outputs_of;
use opentaco_domain::{Caller, UnitId, VersionId};
use serde::Serialize;

use crate::app::App;
use crate::extract::Asking;
use crate::management::Refused;
use crate::management::request::{Named, NamedOutput, not_modified};
use crate::problem::Problem;
use crate::transfer::etag;

/// The outputs of the current state.
///
/// # Errors
/// 404 if there is no such unit, or it has no state; 409 if it is encrypted.
#[utoipa::path(
    get, path = paths::OUTPUTS, operation_id = "list_outputs", tag = "outputs",
    params(
        Named,
        ("If-None-Match" = Option<String>, Header, description = "The ETag of an earlier answer."),
    ),
    responses(
        (status = 200, description = "All of them.", body = Outputs, headers(("ETag" = String, description = "The version they were read from, in quotes."))),
        (status = 304, description = "The state is still the version that you have."),
        (status = 404, description = "`not_found`: there is no such unit; `no_state`: it has no state.", body = ErrorBody),
        (status = 409, description = "`encrypted`: they are sealed.", body = ErrorBody),
    ),
)]
pub async fn list(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(unit): Named,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let (state, version) = match open(&app, &caller, &unit, &headers).await? {
        Opened::State(state, version) => (state, version),
        Opened::Known(response) => return Ok(response),
    };
    let outputs = read(&app, &unit, state, None).await?;
    Ok(told(version, &Outputs { version, outputs }))
}

/// One output of the current state.
///
/// # Errors
/// As [`list`]; 404 as well if the state has no output of that name.
#[utoipa::path(
    get, path = paths::OUTPUT, operation_id = "read_output", tag = "outputs",
    params(
        Named,
        NamedOutput,
        ("If-None-Match" = Option<String>, Header, description = "The ETag of an earlier answer."),
    ),
    responses(
        (status = 200, description = "The output.", body = Output, headers(("ETag" = String, description = "The version it was read from, in quotes."))),
        (status = 304, description = "The state is still the version that you have."),
        (status = 404, description = "`not_found`: there is no such unit or output; `no_state`: the unit has no state.", body = ErrorBody),
        (status = 409, description = "`encrypted`: they are sealed.", body = ErrorBody),
    ),
)]
pub async fn one(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(unit): Named,
    NamedOutput(name): NamedOutput,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let (state, version) = match open(&app, &caller, &unit, &headers).await? {
        Opened::State(state, version) => (state, version),
        Opened::Known(response) => return Ok(response),
    };
    let mut outputs = read(&app, &unit, state, Some(&name)).await?;
    match outputs.remove(&name) {
        Some(output) => Ok(told(version, &output)),
        None => Err(Problem::new(
            StatusCode::NOT_FOUND,
            ErrorCode::NotFound,
            format!("there is no output `{name}` in the state of `{unit}`"),
        )
        .into()),
    }
}

enum Opened {
    State(StateRead, Option<VersionId>),
    /// The client has them.
    Known(Response),
}

async fn open(app: &App, caller: &Caller, unit: &UnitId, headers: &HeaderMap) -> Result<Opened, Refused> {
    let state = app.control.read_existing(caller, unit).await?;
    let version = state.version;
    Ok(match not_modified(headers, version.as_ref()) {
        Some(response) => Opened::Known(response),
        None => Opened::State(state, version),
    })
}

async fn read(
    app: &App,
    unit: &UnitId,
    state: StateRead,
    only: Option<&str>,
) -> Result<BTreeMap<String, Output>, Refused> {
    // A state may be nothing but outputs: as much as it is large is set aside for them, as for a body.
    let _room = app.bodies.room_for(state.size).await?;
    let outputs = outputs_of(unit, state, only.map(str::to_owned)).await?;
    let told = outputs.into_iter().map(|(name, output)| {
        let output = Output {
            value: output.value,
            kind: output.kind,
            sensitive: output.sensitive,
        };
        (name, output)
    });
    Ok(told.collect())
}

fn told(version: Option<VersionId>, body: &impl Serialize) -> Response {
    let mut response = Json(body).into_response();
    if let Some(version) = version {
        response.headers_mut().insert(ETAG, etag(&version));
    }
    response
}
