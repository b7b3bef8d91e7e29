//! What the service says of itself.

use axum::Json;
use axum::extract::State;
use opentaco_api::{Info, paths};

use crate::app::App;
use crate::extract::Asking;

/// The service, and who it takes you for.
#[utoipa::path(
    get, path = paths::INFO, operation_id = "info", tag = "service",
    responses((status = 200, description = "What the service says of itself.", body = Info)),
)]
pub async fn info(State(app): State<App>, Asking(caller): Asking) -> Json<Info> {
    Json(Info {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        system_unit: app.control.graph_unit().clone(),
        principal: caller.principal().clone(),
        body_bytes_max: app.bodies.limits().one_bytes_max,
    })
}
