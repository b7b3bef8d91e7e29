//! Every route as nobody, with a wrong token, and as root. A route that is missing from the table fails.

use std::collections::BTreeMap;

use opentaco_server::routes::{Guard, ROUTES};

use crate::support::{Service, TOKEN, lock, state};

const BASIC_WRONG: &str = "Basic cm9vdDp3cm9uZw==";

/// What root is answered, asked in this order about a unit that nobody has touched.
const AS_ROOT: &[(&str, &str, u16)] = &[
    ("GET", "/healthz", 200),
    ("HEAD", "/healthz", 200),
    ("GET", "/readyz", 200),
    ("HEAD", "/readyz", 200),
    ("GET", "/metrics", 200),
    ("GET", "/openapi.json", 200),
    ("GET", "/v1/info", 200),
    ("POST", "/v1/units", 201),
    ("GET", "/v1/units", 200),
    ("GET", "/v1/units/{unit}", 200),
    ("PATCH", "/v1/units/{unit}", 200),
    ("DELETE", "/v1/units/{unit}", 204),
    ("POST", "/v1/units/{unit}/undelete", 200),
    ("GET", "/v1/units/{unit}/download", 404),
    ("HEAD", "/v1/units/{unit}/download", 404),
    ("POST", "/v1/units/{unit}/upload", 200),
    ("POST", "/v1/units/{unit}/lock", 200),
    ("DELETE", "/v1/units/{unit}/unlock", 200),
    ("GET", "/v1/units/{unit}/versions", 200),
    ("GET", "/v1/units/{unit}/versions/{version}", 404),
    ("POST", "/v1/units/{unit}/restore", 404),
    ("GET", "/v1/units/{unit}/rejected", 200),
    ("GET", "/v1/units/{unit}/rejected/{rejected}", 404),
    ("POST", "/v1/units/{unit}/rejected/{rejected}/promote", 404),
    ("GET", "/v1/units/{unit}/outputs", 200),
    ("GET", "/v1/units/{unit}/outputs/{output}", 404),
    ("GET", "/v1/backend/{*unit}", 404),
    ("HEAD", "/v1/backend/{*unit}", 404),
    ("POST", "/v1/backend/{*unit}", 200),
    ("PUT", "/v1/backend/{*unit}", 200),
    ("DELETE", "/v1/backend/{*unit}", 200),
    ("LOCK", "/v1/backend/{*unit}", 200),
    ("UNLOCK", "/v1/backend/{*unit}", 200),
    ("POST", "/v1/backend-lock/{*unit}", 200),
    ("PUT", "/v1/backend-lock/{*unit}", 200),
    ("LOCK", "/v1/backend-lock/{*unit}", 200),
    ("DELETE", "/v1/backend-lock/{*unit}", 200),
    ("UNLOCK", "/v1/backend-lock/{*unit}", 200),
];

/// A version that no unit has.
fn version() -> String {
    format!("0000000000000001-1-00000000-{}-00000000", "0".repeat(64))
}

fn target(path: &str) -> String {
    path.replace("{*unit}", "guarded/unit")
        .replace("{unit}", "guarded__unit__by__name")
        .replace("{version}", &version())
        .replace("{rejected}", "none")
        .replace("{output}", "none")
}

fn body(method: &str, path: &str) -> String {
    match path.rsplit('/').next() {
        Some("units") if method == "POST" => return r#"{"id":"guarded/unit/by/name"}"#.to_owned(),
        Some("{unit}") if method == "PATCH" => return r#"{"description":"new"}"#.to_owned(),
        Some("upload") => return state(1),
        Some("restore") => return format!(r#"{{"version":"{}"}}"#, version()),
        Some("lock" | "unlock") => return r#"{"id":"made by hand"}"#.to_owned(),
        Some("undelete" | "promote") => return String::new(),
        _ => {}
    }
    match (method, path.contains("lock")) {
        ("POST" | "PUT", false) => state(1),
        ("LOCK", _) | ("POST" | "PUT", true) => lock("made by hand", "alice"),
        _ => String::new(),
    }
}

#[test]
fn every_route_is_in_the_table_of_this_test() {
    let routes: Vec<_> = ROUTES.iter().map(|route| (route.method, route.path)).collect();
    let tried: Vec<_> = AS_ROOT.iter().map(|(method, path, _)| (*method, *path)).collect();
    assert_eq!(routes, tried);
}

#[test]
fn nobody_and_strangers_get_401_everywhere_but_for_health_and_the_description() {
    let service = Service::start();
    let strangers = [
        None,
        Some("Bearer wrong"),
        Some(BASIC_WRONG),
        Some("Digest x"),
        Some(TOKEN),
    ];
    for route in ROUTES {
        for stranger in strangers {
            let target = target(route.path);
            let answer = service
                .ask_as(stranger, route.method, &target)
                .body(body(route.method, route.path))
                .send();
            let expected = match (route.guard, route.path) {
                (Guard::Open, "/healthz" | "/readyz" | "/openapi.json") => 200,
                (Guard::Open, path) => {
                    panic!("{path} is open, and nothing but health and the description may be")
                }
                (Guard::Caller, _) => 401,
            };
            assert_eq!(answer.status, expected, "{route:?} as {stranger:?}");
            if expected == 401 {
                assert!(
                    answer.header("www-authenticate").contains("Basic realm"),
                    "{answer:?}"
                );
                assert!(
                    answer.header("www-authenticate").contains("Bearer realm"),
                    "{answer:?}"
                );
            }
            if expected == 401 && route.method != "HEAD" {
                assert!(answer.says("message").contains("TF_HTTP_PASSWORD"), "{answer:?}");
            }
        }
    }
    assert_eq!(
        service.ask("GET", "/v1/backend/guarded/unit").send().status,
        404,
        "nothing was written"
    );
}

#[test]
fn root_gets_past_the_guard_of_every_route() {
    let service = Service::start();
    for (method, path, expected) in AS_ROOT {
        let target = target(path);
        let answer = service.ask(method, &target).body(body(method, path)).send();
        assert_eq!(answer.status, *expected, "{method} {path}: {answer:?}");
    }
}

#[test]
fn a_condition_that_would_be_overlooked_is_refused_and_nothing_is_changed() {
    let service = Service::start();
    for route in ROUTES
        .iter()
        .filter(|route| !matches!(route.method, "GET" | "HEAD"))
    {
        for condition in ["if-match", "if-none-match", "if-unmodified-since"] {
            let answer = service
                .ask(route.method, &target(route.path))
                .header(condition, &format!("\"{}\"", version()))
                .body(body(route.method, route.path))
                .send();
            // An upload compares `If-Match` with what is current, and here nothing is.
            let compares = condition == "if-match"
                && (route.path.ends_with("/upload")
                    || (route.path == "/v1/backend/{*unit}" && matches!(route.method, "POST" | "PUT")));
            assert_eq!(
                answer.status,
                if compares { 412 } else { 400 },
                "{route:?} {condition}: {answer:?}"
            );
        }
    }
    assert_eq!(service.ask("GET", "/v1/units").send().json()["count"], 0);
}

#[test]
fn an_address_that_does_not_exist_looks_to_a_stranger_like_one_that_does() {
    let service = Service::start();
    let mut answers = BTreeMap::new();
    for target in [
        "/",
        "/nowhere",
        "/healthz/",
        "//healthz",
        "/healthz/x",
        "/%68ealthz",
        "/openapi.json/",
        "/v1/units",
        "/v1/units/",
        "/v1/units/a/nowhere",
        "/v1/backend",
        "/v1/backend/",
        "/v1/backend/a",
    ] {
        let mut answer = service.ask_as(None, "GET", target).send();
        assert!(answer.headers.remove("x-request-id").is_some() && answer.headers.remove("date").is_some());
        answers
            .entry(format!("{answer:?}"))
            .or_insert_with(Vec::new)
            .push(target);
    }
    assert_eq!(answers.len(), 1, "{answers:#?}");
    assert!(answers.keys().next().unwrap().contains("status: 401"));
    // To Terraform a 404 would be an empty state.
    assert_eq!(service.ask("GET", "/nowhere").send().status, 400);
    assert_eq!(service.ask("GET", "/healthz/").send().status, 400);
}

#[test]
fn the_root_token_is_the_password_of_any_user() {
    let service = Service::start();
    // anybody:canary-root-token-0123456789
    let basic = "Basic YW55Ym9keTpjYW5hcnktcm9vdC10b2tlbi0wMTIzNDU2Nzg5";
    assert_eq!(
        service.ask_as(Some(basic), "GET", "/v1/backend/a").send().status,
        404
    );
}
