//! What happens around every request, from the outside in: its number and its one line in the log, panics, bodies that
//! nobody read, headers for browsers, a pace for whoever asks for tokens, credentials.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{ConnectInfo, FromRequestParts as _, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, EXPECT, REFERRER_POLICY, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use opentaco_api::ErrorCode;
use opentaco_domain::audit::Asked;
use opentaco_domain::{Clock as _, Holding, SystemClock};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::app::App;
use crate::bodies::Rest;
use crate::doorkeeper::{Admitted, CameBy, Lapsed, Unknown};
use crate::extract::{Approach, Asking, LockHint, Notes, unit_of};
use crate::metrics::{self, Ended, Metrics};
use crate::problem::{Problem, Told};
use crate::routes;
use crate::s3;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A number that a proxy gave the request is kept, if it is short enough to be one.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Puts all layers around `router`; what is added last is outermost.
pub fn around(router: Router<App>, app: App) -> Router<App> {
    let metrics = Arc::clone(&app.metrics);
    router
        .layer(from_fn_with_state(app.clone(), admit))
        .layer(from_fn_with_state(app, pace))
        .layer(from_fn(secure))
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
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let approach = Approach(Asked {
        request: Some(request_id.clone()),
        address: from.map(|ConnectInfo(from)| from.ip().to_canonical().to_string()),
        door: Some(metrics::door(request.uri().path())),
        ..Asked::default()
    });
    request.extensions_mut().insert(approach);
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
    let waits = request.headers().contains_key(EXPECT) && !request.body().is_end_stream();
    let has_connection = request.version() < Version::HTTP_2;
    let rest = Rest::default();
    let mut response = next.run(request.map(|body: Body| rest.lend(body))).await;
    if waits && !rest.is_touched() {
        // Whoever waits for "100 Continue" has not sent its body, and is told by the answer not to. It may send the next
        // request instead, whose first bytes would be taken for the body.
        if has_connection {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        return response;
    }
    rest.drain();
    response
}

/// Lets callers in.
async fn admit(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if routes::is_open(request.uri().path()) {
        return next.run(request).await;
    }
    let now = SystemClock.now();
    if s3::is_here(request.uri().path()) {
        return admit_to_s3(app, request, next).await;
    }
    let ledger = app.control.ledger();
    let admitted = app
        .doorkeeper
        .admit(request.headers(), &app.logins, ledger, now)
        .await;
    let Admitted { caller, credential } = match admitted {
        Ok(admitted) => admitted,
        Err(Unknown::Expired(admitted)) => match ends_an_apply(&app, &mut request, &admitted).await {
            Ok(true) => {
                request.extensions_mut().insert(Lapsed);
                *admitted
            }
            Ok(false) => return Unknown::Expired(admitted).into_response(),
            Err(problem) => return problem.into_response(),
        },
        Err(unknown) => return unknown.into_response(),
    };
    if let Some(notes) = request.extensions().get::<Notes>() {
        notes.caller(&caller);
    }
    let Approach(asked) = request
        .extensions()
        .get::<Approach>()
        .cloned()
        .unwrap_or_default();
    let caller = caller.asking(Arc::new(Asked {
        via: credential.shown(),
        run: credential.run().map(str::to_owned),
        ..asked
    }));
    request.extensions_mut().insert(CameBy(Arc::new(credential)));
    request.extensions_mut().insert(Asking(caller));
    next.run(request).await
}

/// Lets callers in who sign what they ask for.
async fn admit_to_s3(app: App, mut request: Request, next: Next) -> Response {
    let approach = request
        .extensions()
        .get::<Approach>()
        .cloned()
        .unwrap_or_default();
    let admitted = s3::admit::admit(&app, &request, approach.0.clone(), SystemClock.now());
    let s3::admit::Admitted { caller, signer } = match admitted {
        Ok(admitted) => admitted,
        Err(refused) => {
            let is_head = request.method() == Method::HEAD;
            return s3::refusal(refused, request.uri().path(), &approach, is_head);
        }
    };
    if let Some(notes) = request.extensions().get::<Notes>() {
        notes.caller(&caller);
    }
    request.extensions_mut().insert(signer);
    request.extensions_mut().insert(Asking(caller));
    next.run(request).await
}

/// Whether a request whose token has expired ends under a lock what was begun under it: a write or an unlock, while the
/// same caller holds the lock since a time when the token was good. What it may do is asked like of any other, and
/// whether it names the lock that is held is judged on the head.
async fn ends_an_apply(app: &App, request: &mut Request, admitted: &Admitted) -> Result<bool, Problem> {
    let Some(window) = admitted.was_good() else {
        return Ok(false);
    };
    let path = request.uri().path();
    let (raw, writes) = match (request.method().as_str(), routes::terraforms(path)) {
        ("POST" | "PUT", Some((routes::Terraforms::State, raw))) => (raw, true),
        ("UNLOCK", Some((_, raw))) | ("DELETE", Some((routes::Terraforms::Lock, raw))) => (raw, false),
        _ => return Ok(false),
    };
    let unit = unit_of(raw)?;
    if writes {
        let mut parts = http::Request::new(()).into_parts().0;
        parts.uri = request.uri().clone();
        parts.headers = request.headers().clone();
        let LockHint(holding) = LockHint::from_request_parts(&mut parts, &()).await?;
        if holding == Holding::Nothing {
            return Ok(false);
        }
    }
    let held = app.control.holds_since(&admitted.caller, &unit, window).await;
    held.map_err(|error| Problem::of(&error))
}

/// Says to browsers and caches what an API wants of them: to take nothing for something else, and to keep nothing.
async fn secure(request: Request, next: Next) -> Response {
    let is_public = routes::is_open(request.uri().path());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !is_public && !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Slows down whoever asks for tokens too often.
async fn pace(State(app): State<App>, request: Request, next: Next) -> Response {
    let is_about_tokens = request.method() == Method::POST && request.uri().path().starts_with("/v1/auth/");
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if is_about_tokens
        && let Some(ConnectInfo(from)) = from
        && let Err(seconds) = app.pace.admit(from.ip())
    {
        let mut response = Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::TooMany,
            format!("too many requests for tokens came from this address; ask again in {seconds} s"),
        )
        .into_response();
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
        return response;
    }
    next.run(request).await
}
