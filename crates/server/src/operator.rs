//! What an operator's machinery asks: is it alive, is it ready.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde_json::{Value, json};

use crate::app::App;
use crate::problem::Problem;

/// The process runs and answers. Says nothing of the bucket: a restart would not mend it.
pub async fn alive() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

/// The bucket answers, too. Asked anew every time.
///
/// # Errors
/// 503, with what is wrong; the cause stands in the log, since this address is open to everybody.
pub async fn ready(State(app): State<App>) -> Result<Json<Value>, Problem> {
    match app.control.ready().await {
        Ok(()) => Ok(Json(json!({ "status": "ready" }))),
        Err(error) => {
            let message = format!("{error}; the log has the cause");
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", message).caused_by(&error))
        }
    }
}
