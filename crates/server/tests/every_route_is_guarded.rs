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

fn body(method: &str, path: &str) -> String {
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
fn nobody_and_strangers_get_401_everywhere_but_for_health() {
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
            let target = route.path.replace("{*unit}", "guarded/unit");
            let answer = service
                .ask_as(stranger, route.method, &target)
                .body(body(route.method, route.path))
                .send();
            let expected = match (route.guard, route.path) {
                (Guard::Open, "/healthz" | "/readyz") => 200,
                (Guard::Open, path) => panic!("{path} is open, and nothing but health may be"),
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
        let target = path.replace("{*unit}", "guarded/unit");
        let answer = service.ask(method, &target).body(body(method, path)).send();
        assert_eq!(answer.status, *expected, "{method} {path}: {answer:?}");
    }
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
