//! What happens around every request, from the outside in: its number and its one line in the log, panics, bodies that
//! nobody read, credentials.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::header::EXPECT;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use opentaco_api::ErrorCode;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::app::App;
use crate::bodies::Rest;
use crate::extract::{Asking, Notes};
use crate::metrics::{Ended, Metrics};
use crate::problem::{Problem, Told};
use crate::routes;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A number that a proxy gave the request is kept, if it is short enough to be one.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Puts all layers around `router`; what is added last is outermost.
pub fn around(router: Router<App>, app: App) -> Router<App> {
    let metrics = Arc::clone(&app.metrics);
    router
        .layer(from_fn_with_state(app, admit))
        .layer(from_fn(give_back_the_rest))
        .layer(CatchPanicLayer::custom(
            panicked as fn(Box<dyn Any + Send>) -> Response,
        ))
        .layer(from_fn_with_state(metrics, number_log_and_count))
}

/// Gives the request its number, and the log one line about it; also when the client hangs up before the answer. What the
/// line says is counted.
async fn number_log_and_count(
    State(metrics): State<Arc<Metrics>>,
    mut request: Request,
    next: Next,
) -> Response {
    let request_id = request_id(request.headers());
    let notes = Notes::default();
    request.extensions_mut().insert(notes.clone());
    let line = Line {
        request_id: request_id.clone(),
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        notes,
        began: Instant::now(),
        answer: None,
        metrics,
    };
    let span = tracing::info_span!("request", request_id);
    let mut response = next.run(request).instrument(span).await;
    let value = HeaderValue::from_str(&request_id).expect("a request id is visible ASCII");
    response.headers_mut().insert(REQUEST_ID, value);
    line.end(&response);
    response
}

fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let usable = |id: &&str| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/=+".contains(&byte))
    };
    given
        .filter(usable)
        .map_or_else(|| Uuid::new_v4().simple().to_string(), str::to_owned)
}

/// The log's one line about a request, written when this is dropped.
struct Line {
    request_id: String,
    method: Method,
    path: String,
    notes: Notes,
    began: Instant,
    answer: Option<(StatusCode, Option<Told>)>,
    metrics: Arc<Metrics>,
}

impl Line {
    fn end(mut self, response: &Response) {
        self.answer = Some((response.status(), response.extensions().get::<Told>().cloned()));
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let noted = self.notes.read();
        let (status, told) = self.answer.take().unzip();
        let told = told.flatten();
        let decision = match status {
            Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => "denied",
            // To Terraform this is a state that is not there yet, and nothing it was refused.
            Some(StatusCode::NOT_FOUND) => "absent",
            Some(status) if status.is_server_error() => "failed",
            Some(status) if status.is_client_error() => "refused",
            Some(_) => "done",
            None => "abandoned",
        };
        let status = status.map(|status| status.as_u16());
        let code = told.as_ref().map(|told| told.code);
        let cause = told.and_then(|told| told.cause);
        let took = self.began.elapsed();
        let duration_ms = took.as_micros() as f64 / 1000.0;
        self.metrics.count(&Ended {
            path: &self.path,
            action: noted.action,
            outcome: decision,
            code,
            took,
        });
        // The query is left out: it is where lock ids stand, and whatever else a client was told to put there.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "opentaco::request",
                    request_id = self.request_id,
                    method = %self.method,
                    path = self.path,
                    caller = noted.caller,
                    unit = noted.unit,
                    action = noted.action,
                    decision,
                    status,
                    code,
                    cause,
                    duration_ms,
                )
            };
        }
        match status {
            Some(500..) => line!(error),
            Some(401 | 403) => line!(warn),
            _ => line!(info),
        }
    }
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::Panicked,
        "the service made a mistake while it worked on this request; what was written before is safe. The log has the request under its x-request-id",
    )
    .into_response()
}

/// See [`Rest`].
async fn give_back_the_rest(request: Request, next: Next) -> Response {
    // Whoever waits for "100 Continue" has not sent its body, and is told by the answer not to.
    if request.headers().contains_key(EXPECT) {
        return next.run(request).await;
    }
    let rest = Rest::default();
    let response = next.run(request.map(|body: Body| rest.lend(body))).await;
    rest.drain();
    response
}

/// Lets callers in.
async fn admit(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if routes::is_open(request.uri().path()) {
        return next.run(request).await;
    }
    let caller = match app.doorkeeper.admit(request.headers()) {
        Ok(caller) => caller,
        Err(unknown) => return unknown.into_response(),
    };
    if let Some(notes) = request.extensions().get::<Notes>() {
        notes.caller(&caller);
    }
    request.extensions_mut().insert(Asking(caller));
    next.run(request).await
}
