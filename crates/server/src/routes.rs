//! Every address of the service, in one table. The router is made from it, and so is the test that tries them all as
//! nobody.

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures::future::BoxFuture;
use http::header::{ALLOW, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use opentaco_api::ErrorCode;

use crate::app::App;
use crate::extract::{Approach, Notes};
use crate::management::{
    audit, auth, graph, info, locks, openapi, outputs, rbac, rejected, state, tokens, units, versions,
};
use crate::problem::Problem;
use crate::{layers, operator, s3, terraform};

/// Who may ask at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Everybody, without credentials.
    Open,
    /// Callers we know. What each may do is decided behind the door.
    Caller,
}

/// One method of one address.
pub struct Route {
    /// The method; Terraform brings some of its own.
    pub method: &'static str,
    /// The path; `{unit}` stands for one segment of it, `{*unit}` for the rest.
    pub path: &'static str,
    /// Who may ask.
    pub guard: Guard,
    /// What it is called in the log.
    pub action: &'static str,
    answer: fn(App, Request) -> BoxFuture<'static, Response>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({:?})", self.method, self.path, self.guard)
    }
}

macro_rules! routes {
    ($($method:literal $path:literal $guard:ident $action:literal => $handler:path;)*) => {
        &[$(Route {
            method: $method,
            path: $path,
            guard: Guard::$guard,
            action: $action,
            answer: |app, request| Box::pin(Handler::call($handler, request, app)),
        }),*]
    };
}

/// All of them.
#[rustfmt::skip]
pub static ROUTES: &[Route] = routes! {
    "GET"    "/healthz"                 Open   "health"      => operator::alive;
    "HEAD"   "/healthz"                 Open   "health"      => operator::alive;
    "GET"    "/readyz"                  Open   "ready"       => operator::ready;
    "HEAD"   "/readyz"                  Open   "ready"       => operator::ready;

    "GET"    "/metrics"                 Caller "metrics"     => operator::numbers;

    "GET"    "/openapi.json"            Open   "openapi"     => openapi::document;

    "GET"    "/oidc/jwks.json"                      Open   "auth.keys"   => auth::jwks;
    "GET"    "/v1/auth/config"                      Open   "auth.config" => auth::config;
    "POST"   "/v1/auth/exchange"                    Open   "auth.login"  => auth::exchange;
    "POST"   "/v1/auth/token"                       Open   "auth.refresh" => auth::refresh;
    "GET"    "/v1/auth/me"                          Caller "auth.me"     => auth::me;
    "POST"   "/v1/auth/revoke"                      Caller "auth.revoke" => auth::revoke;
    "POST"   "/v1/auth/issue-s3-creds"              Caller "auth.s3"     => auth::s3_credentials;
    "POST"   "/v1/auth/tokens"                      Caller "token.create" => tokens::create;
    "GET"    "/v1/auth/tokens"                      Caller "token.list"  => tokens::list;
    "DELETE" "/v1/auth/tokens/{token}"              Caller "token.revoke" => tokens::revoke;
    "POST"   "/v1/auth/service-accounts"            Caller "service-account.create" => tokens::create_account;
    "GET"    "/v1/auth/service-accounts"            Caller "service-account.list" => tokens::accounts;
    "DELETE" "/v1/auth/service-accounts/{account}"  Caller "service-account.remove" => tokens::remove_account;

    "GET"    "/v1/info"                             Caller "info"        => info::info;
    "POST"   "/v1/units"                            Caller "unit.create" => units::create;
    "GET"    "/v1/units"                            Caller "unit.read"   => units::list;
    "GET"    "/v1/units/{unit}"                     Caller "unit.read"   => units::describe;
    "PATCH"  "/v1/units/{unit}"                     Caller "unit.write"  => units::change;
    "DELETE" "/v1/units/{unit}"                     Caller "unit.delete" => units::delete;
    "POST"   "/v1/units/{unit}/undelete"            Caller "unit.create" => units::undelete;
    "GET"    "/v1/units/{unit}/download"            Caller "unit.read"   => state::download;
    "HEAD"   "/v1/units/{unit}/download"            Caller "unit.read"   => state::head;
    "POST"   "/v1/units/{unit}/upload"              Caller "unit.write"  => state::upload;
    "POST"   "/v1/units/{unit}/lock"                Caller "unit.lock"   => locks::take;
    "DELETE" "/v1/units/{unit}/unlock"              Caller "unit.lock"   => locks::release;
    "GET"    "/v1/units/{unit}/versions"            Caller "unit.read"   => versions::list;
    "GET"    "/v1/units/{unit}/versions/{version}"  Caller "unit.read"   => versions::download;
    "POST"   "/v1/units/{unit}/restore"             Caller "unit.write"  => versions::restore;
    "GET"    "/v1/units/{unit}/rejected"            Caller "unit.read"   => rejected::list;
    "GET"    "/v1/units/{unit}/rejected/{rejected}" Caller "unit.read"   => rejected::download;
    "POST"   "/v1/units/{unit}/rejected/{rejected}/promote" Caller "unit.write" => rejected::promote;
    "GET"    "/v1/units/{unit}/outputs"             Caller "unit.read"   => outputs::list;
    "GET"    "/v1/units/{unit}/outputs/{output}"    Caller "unit.read"   => outputs::one;
    "GET"    "/v1/units/{unit}/status"              Caller "graph.read"  => graph::status;
    "GET"    "/v1/status"                           Caller "graph.read"  => graph::statuses;
    "GET"    "/v1/graph"                            Caller "graph.read"  => graph::graph;
    "GET"    "/v1/graph/edge"                       Caller "graph.read"  => graph::edge;
    "GET"    "/v1/graph/edges/{edge}"               Caller "graph.read"  => graph::edge_by_id;
    "POST"   "/v1/graph/reconcile"                  Caller "graph.reconcile" => graph::reconcile;

    "POST"   "/v1/rbac/init"                        Caller "access.manage" => rbac::init;
    "GET"    "/v1/rbac/me"                          Caller "access.me"     => rbac::me;
    "GET"    "/v1/rbac/users"                       Caller "access.manage" => rbac::users;
    "PUT"    "/v1/rbac/users/{member}/roles/{role}" Caller "access.manage" => rbac::assign;
    "DELETE" "/v1/rbac/users/{member}/roles/{role}" Caller "access.manage" => rbac::revoke;
    "GET"    "/v1/rbac/roles"                       Caller "access.manage" => rbac::roles;
    "GET"    "/v1/rbac/roles/{role}"                Caller "access.manage" => rbac::show_role;
    "PUT"    "/v1/rbac/roles/{role}"                Caller "access.manage" => rbac::set_role;
    "DELETE" "/v1/rbac/roles/{role}"                Caller "access.manage" => rbac::remove_role;
    "GET"    "/v1/rbac/permissions"                 Caller "access.manage" => rbac::permissions;
    "GET"    "/v1/rbac/permissions/{permission}"    Caller "access.manage" => rbac::show_permission;
    "PUT"    "/v1/rbac/permissions/{permission}"    Caller "access.manage" => rbac::set_permission;
    "DELETE" "/v1/rbac/permissions/{permission}"    Caller "access.manage" => rbac::remove_permission;
    "POST"   "/v1/rbac/test"                        Caller "access.test"   => rbac::test;
    "GET"    "/v1/rbac/root"                        Caller "access.manage" => rbac::root;
    "PUT"    "/v1/rbac/root"                        Caller "access.manage" => rbac::switch_root;

    "GET"    "/v1/audit"                            Caller "audit.read"   => audit::search;
    "GET"    "/v1/audit/segments"                   Caller "audit.read"   => audit::segments;
    "GET"    "/v1/audit/segments/{segment}"         Caller "audit.read"   => audit::download;

    "GET"    "/v1/backend/{*unit}"      Caller "unit.read"   => terraform::state::read;
    "HEAD"   "/v1/backend/{*unit}"      Caller "unit.read"   => terraform::state::head;
    "POST"   "/v1/backend/{*unit}"      Caller "unit.write"  => terraform::state::write;
    "PUT"    "/v1/backend/{*unit}"      Caller "unit.write"  => terraform::state::write;
    "DELETE" "/v1/backend/{*unit}"      Caller "unit.delete" => terraform::state::delete;
    "LOCK"   "/v1/backend/{*unit}"      Caller "unit.lock"   => terraform::lock::take;
    "UNLOCK" "/v1/backend/{*unit}"      Caller "unit.lock"   => terraform::lock::release;

    "GET"    "/s3/{*object}"            Caller "s3" => s3::serve;
    "HEAD"   "/s3/{*object}"            Caller "s3" => s3::serve;
    "PUT"    "/s3/{*object}"            Caller "s3" => s3::serve;
    "POST"   "/s3/{*object}"            Caller "s3" => s3::serve;
    "DELETE" "/s3/{*object}"            Caller "s3" => s3::serve;

    "POST"   "/v1/backend-lock/{*unit}" Caller "unit.lock"   => terraform::lock::take;
    "PUT"    "/v1/backend-lock/{*unit}" Caller "unit.lock"   => terraform::lock::take;
    "LOCK"   "/v1/backend-lock/{*unit}" Caller "unit.lock"   => terraform::lock::take;
    "DELETE" "/v1/backend-lock/{*unit}" Caller "unit.lock"   => terraform::lock::release;
    "UNLOCK" "/v1/backend-lock/{*unit}" Caller "unit.lock"   => terraform::lock::release;
};

/// The service behind its layers.
pub fn router(app: App) -> Router {
    let mut router = Router::new();
    for path in paths() {
        let dispatch = move |State(app): State<App>, request: Request| dispatch(path, app, request);
        router = router.route(path, any(dispatch));
        // An address that stops where the unit should begin is answered with that, not with "no such address": to
        // Terraform a 404 is an empty state.
        if let Some((start, _)) = path.split_once("{*") {
            router = router
                .route(start, any(dispatch))
                .route(start.trim_end_matches('/'), any(dispatch));
        }
    }
    layers::around(router.fallback(no_such_address), app.clone()).with_state(app)
}

/// `/metrics` and nothing else, for whoever reaches the port that the operator gave to it.
pub fn metrics_alone(app: App) -> Router {
    Router::new()
        .route("/metrics", axum::routing::get(operator::numbers))
        .with_state(app)
}

/// Whether a path may be asked for without credentials.
#[must_use]
pub fn is_open(path: &str) -> bool {
    let mut routes = ROUTES.iter().filter(|route| route.path == path).peekable();
    routes.peek().is_some() && routes.all(|route| route.guard == Guard::Open)
}

/// What is at an address of Terraform's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terraforms {
    /// The state, and its lock by methods of its own.
    State,
    /// The lock alone.
    Lock,
}

/// What of Terraform's is at a path, and the rest of it, which names the unit.
pub(crate) fn terraforms(path: &str) -> Option<(Terraforms, &str)> {
    let state = path
        .strip_prefix("/v1/backend/")
        .map(|raw| (Terraforms::State, raw));
    state.or_else(|| Some((Terraforms::Lock, path.strip_prefix("/v1/backend-lock/")?)))
}

fn paths() -> Vec<&'static str> {
    let mut paths: Vec<_> = ROUTES.iter().map(|route| route.path).collect();
    paths.dedup();
    paths
}

/// Methods are looked up here and not by the framework, which knows neither LOCK nor UNLOCK.
async fn dispatch(path: &'static str, app: App, mut request: Request) -> Response {
    let route = ROUTES
        .iter()
        .find(|route| route.path == path && route.method == request.method().as_str());
    let Some(route) = route else {
        if s3::is_here(path) {
            let approach = request
                .extensions()
                .get::<Approach>()
                .cloned()
                .unwrap_or_default();
            let refused = s3::Refused::new(s3::Code::MethodNotAllowed, "there is no such method here");
            return s3::refusal(refused, request.uri().path(), &approach, false);
        }
        return method_not_allowed(path);
    };
    if let Some(notes) = request.extensions().get::<Notes>() {
        notes.action(route.action);
    }
    if let Some(condition) = route.overlooked_condition(request.headers()) {
        return refuse_condition(&condition);
    }
    request.extensions_mut().insert(route);
    (route.answer)(app, request).await
}

impl Route {
    /// A condition that came with a request to change something, where the handler knows of none such.
    fn overlooked_condition(&self, headers: &HeaderMap) -> Option<HeaderName> {
        // S3's clients have conditions of their own, and that door judges them.
        if matches!(self.method, "GET" | "HEAD") || s3::is_here(self.path) {
            return None;
        }
        let compares = matches!(
            (self.method, self.path),
            ("POST", "/v1/units/{unit}/upload") | ("POST" | "PUT", "/v1/backend/{*unit}")
        );
        [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE]
            .into_iter()
            .filter(|condition| !(compares && condition == IF_MATCH))
            .find(|condition| headers.contains_key(condition))
    }
}

/// Overlooked, it would be a change without the condition.
fn refuse_condition(condition: &HeaderName) -> Response {
    let message = format!(
        "{condition} is no condition for this request, and nothing was changed; send it without, under a lock if it matters. A write of a state knows If-Match, which names the version that has to be current"
    );
    Problem::new(StatusCode::BAD_REQUEST, ErrorCode::BadVersion, message).into_response()
}

fn method_not_allowed(path: &str) -> Response {
    let methods: Vec<_> = ROUTES
        .iter()
        .filter(|route| route.path == path)
        .map(|route| route.method)
        .collect();
    let methods = methods.join(", ");
    let message = format!("this address knows {methods}");
    let mut response = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::MethodNotAllowed,
        message,
    )
    .into_response();
    let allow = HeaderValue::from_str(&methods).expect("methods are visible ASCII");
    response.headers_mut().insert(ALLOW, allow);
    response
}

/// 400 and not 404: to Terraform a 404 is an empty state, and a mistyped address must not have it plan to create
/// everything again.
async fn no_such_address() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        ErrorCode::NoSuchAddress,
        "there is nothing at this address; states are at /v1/backend/<unit>, and units at /v1/units/<unit>, where a unit is one segment with `__` for each `/`",
    )
}
