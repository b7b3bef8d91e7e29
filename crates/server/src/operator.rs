//! What an operator's machinery asks: is it alive, is it ready, how is it doing.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use opentaco_api::{ErrorBody, ErrorCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::metrics;
use crate::problem::Problem;

/// How the service is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `alive` or `ready`.
    pub status: &'static str,
}

/// The process runs and answers. Says nothing of the bucket: a restart would not mend it.
#[utoipa::path(
    get, path = "/healthz", operation_id = "alive", tag = "service", security(()),
    responses((status = 200, description = "It runs.", body = Health)),
)]
pub async fn alive() -> Json<Health> {
    Json(Health { status: "alive" })
}

/// The bucket answers, too. Asked anew every time.
///
/// # Errors
/// 503, with what is wrong; the cause stands in the log, since this address is open to everybody.
#[utoipa::path(
    get, path = "/readyz", operation_id = "ready", tag = "service", security(()),
    responses(
        (status = 200, description = "The bucket answers.", body = Health),
        (status = 503, description = "`not_ready`: the bucket does not answer.", body = ErrorBody),
    ),
)]
pub async fn ready(State(app): State<App>) -> Result<Json<Health>, Problem> {
    match app.control.ready().await {
        Ok(()) => Ok(Json(Health { status: "ready" })),
        Err(error) => {
            let message = format!("{error}; the log has the cause");
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::NotReady, message).caused_by(&error))
        }
    }
}

/// Numbers for Prometheus, in the text of OpenMetrics. No label names a unit or a caller.
///
/// On its own port (`-metrics-port`) it is open; here it asks who is there, as everything does.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "service",
    responses((
        status = 200,
        description = "What was counted since the service started.",
        content_type = "application/openmetrics-text",
        body = String,
    )),
)]
pub async fn numbers(State(app): State<App>) -> Response {
    let mut response = app.metrics.text().into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
    response
}
