//! Every route as nobody, with a wrong token, as root, and as people with roles and without. A route that is missing from the table fails.

use std::collections::BTreeMap;

use opentaco_control::{OpenOptions, StoreConfig};
use opentaco_server::bodies::BodyLimits;
use opentaco_server::routes::{Guard, ROUTES};

use crate::support::{Service, TOKEN, lock, state};

const BASIC_WRONG: &str = "Basic cm9vdDp3cm9uZw==";

/// What root is answered, asked in this order about a unit that nobody has touched; and who gets past the guard beside
/// root and administrators: a reader (`r`), a writer (`w`), a stranger, who is known and holds no role (`s`). Nobody but
/// root does where there is a `!`.
const AS_ROOT: &[(&str, &str, u16, &str)] = &[
    ("GET", "/healthz", 200, "rws"),
    ("HEAD", "/healthz", 200, "rws"),
    ("GET", "/readyz", 200, "rws"),
    ("HEAD", "/readyz", 200, "rws"),
    ("GET", "/metrics", 200, "rws"),
    ("GET", "/openapi.json", 200, "rws"),
    ("GET", "/oidc/jwks.json", 200, "rws"),
    ("GET", "/v1/auth/config", 200, "rws"),
    ("POST", "/v1/auth/exchange", 400, "rws"),
    ("POST", "/v1/auth/token", 401, "rws"),
    ("GET", "/v1/auth/me", 200, "rws"),
    ("POST", "/v1/auth/revoke", 400, "rws"),
    ("POST", "/v1/auth/issue-s3-creds", 400, "rws"),
    ("POST", "/v1/auth/tokens", 400, "rws"),
    ("GET", "/v1/auth/tokens", 200, "rws"),
    ("DELETE", "/v1/auth/tokens/{token}", 404, "rws"),
    ("POST", "/v1/auth/service-accounts", 201, ""),
    ("GET", "/v1/auth/service-accounts", 200, ""),
    ("DELETE", "/v1/auth/service-accounts/{account}", 204, ""),
    ("GET", "/v1/info", 200, "rws"),
    ("POST", "/v1/units", 201, "w"),
    ("GET", "/v1/units", 200, "rws"),
    ("GET", "/v1/units/{unit}", 200, "rw"),
    ("PATCH", "/v1/units/{unit}", 200, "w"),
    ("DELETE", "/v1/units/{unit}", 204, ""),
    ("POST", "/v1/units/{unit}/undelete", 200, "w"),
    ("GET", "/v1/units/{unit}/download", 404, "rw"),
    ("HEAD", "/v1/units/{unit}/download", 404, "rw"),
    ("POST", "/v1/units/{unit}/upload", 200, "w"),
    ("POST", "/v1/units/{unit}/lock", 200, "w"),
    ("DELETE", "/v1/units/{unit}/unlock", 200, "w"),
    ("GET", "/v1/units/{unit}/versions", 200, "rw"),
    ("GET", "/v1/units/{unit}/versions/{version}", 404, "rw"),
    ("POST", "/v1/units/{unit}/restore", 404, "w"),
    ("GET", "/v1/units/{unit}/rejected", 200, "rw"),
    ("GET", "/v1/units/{unit}/rejected/{rejected}", 404, "rw"),
    ("POST", "/v1/units/{unit}/rejected/{rejected}/promote", 404, "w"),
    ("GET", "/v1/units/{unit}/outputs", 200, "rw"),
    ("GET", "/v1/units/{unit}/outputs/{output}", 404, "rw"),
    ("GET", "/v1/units/{unit}/status", 200, "rw"),
    ("GET", "/v1/status", 200, "rws"),
    ("GET", "/v1/graph", 200, "rws"),
    ("GET", "/v1/graph/edge", 200, "rw"),
    ("GET", "/v1/graph/edges/{edge}", 404, "rws"),
    ("POST", "/v1/graph/reconcile", 200, "w"),
    ("POST", "/v1/rbac/init", 201, "!"),
    ("GET", "/v1/rbac/me", 200, "rws"),
    ("GET", "/v1/rbac/users", 200, ""),
    ("PUT", "/v1/rbac/users/{member}/roles/{role}", 200, ""),
    ("DELETE", "/v1/rbac/users/{member}/roles/{role}", 200, ""),
    ("GET", "/v1/rbac/roles", 200, ""),
    ("GET", "/v1/rbac/roles/{role}", 200, ""),
    ("PUT", "/v1/rbac/roles/{role}", 200, ""),
    ("DELETE", "/v1/rbac/roles/{role}", 204, ""),
    ("GET", "/v1/rbac/permissions", 200, ""),
    ("GET", "/v1/rbac/permissions/{permission}", 200, ""),
    ("PUT", "/v1/rbac/permissions/{permission}", 200, ""),
    ("DELETE", "/v1/rbac/permissions/{permission}", 204, ""),
    ("POST", "/v1/rbac/test", 200, "rws"),
    ("GET", "/v1/rbac/root", 200, ""),
    ("PUT", "/v1/rbac/root", 200, ""),
    ("GET", "/v1/audit", 200, ""),
    ("GET", "/v1/audit/segments", 200, ""),
    ("GET", "/v1/audit/segments/{segment}", 404, ""),
    ("GET", "/v1/backend/{*unit}", 404, "rw"),
    ("HEAD", "/v1/backend/{*unit}", 404, "rw"),
    ("POST", "/v1/backend/{*unit}", 200, "w"),
    ("PUT", "/v1/backend/{*unit}", 200, "w"),
    ("DELETE", "/v1/backend/{*unit}", 200, ""),
    ("LOCK", "/v1/backend/{*unit}", 200, "w"),
    ("UNLOCK", "/v1/backend/{*unit}", 200, "w"),
    // No token is a signature, whoever has it; `s3.rs` tries every operation signed.
    ("GET", "/s3/{*object}", 400, "rws"),
    ("HEAD", "/s3/{*object}", 400, "rws"),
    ("PUT", "/s3/{*object}", 400, "rws"),
    ("POST", "/s3/{*object}", 400, "rws"),
    ("DELETE", "/s3/{*object}", 400, "rws"),
    ("POST", "/v1/backend-lock/{*unit}", 200, "w"),
    ("PUT", "/v1/backend-lock/{*unit}", 200, "w"),
    ("LOCK", "/v1/backend-lock/{*unit}", 200, "w"),
    ("DELETE", "/v1/backend-lock/{*unit}", 200, "w"),
    ("UNLOCK", "/v1/backend-lock/{*unit}", 200, "w"),
];

/// A version that no unit has.
fn version() -> String {
    format!("0000000000000001-1-00000000-{}-00000000", "0".repeat(64))
}

fn target(path: &str) -> String {
    if path == "/v1/graph/edge" {
        return format!("{path}?from_unit_id=guarded/a&from_output=x&to_unit_id=guarded/b");
    }
    path.replace("{*unit}", "guarded/unit")
        .replace("{*object}", "opentaco/guarded.tfstate")
        .replace("{unit}", "guarded__unit__by__name")
        .replace("{version}", &version())
        .replace("{rejected}", "none")
        .replace("{output}", "none")
        .replace("{edge}", "3WJ7TACUvWKdSjvdZYKeHkdBZfrQX8uY4XyQFpLXJxd2")
        .replace("{member}", "user:bob")
        .replace("{role}", "outputs-reader")
        .replace("{permission}", "outputs-reader")
        .replace("{token}", "none")
        .replace("{account}", "guarded")
        .replace("{segment}", "2026-11-23T14.15.30.123-9f86d081884c7d65-0000000007")
}

fn body(method: &str, path: &str) -> String {
    match (method, path) {
        (_, "/v1/rbac/init") => return r#"{"administrators":["user:ada"]}"#.to_owned(),
        (_, "/v1/rbac/test") => return r#"{"action":"audit.read"}"#.to_owned(),
        ("PUT", "/v1/rbac/root") => return r#"{"enabled":true}"#.to_owned(),
        ("PUT", "/v1/rbac/roles/{role}") => return r#"{"permissions":["outputs-reader"]}"#.to_owned(),
        ("PUT", "/v1/rbac/permissions/{permission}") => {
            return r#"{"rules":[{"actions":["unit.read-outputs"],"units":["**"]}]}"#.to_owned();
        }
        _ => {}
    }
    match path.rsplit('/').next() {
        Some("exchange") => return r#"{"id_token":"a.b.c"}"#.to_owned(),
        Some("token") => return r#"{"refresh_token":"a.b.c"}"#.to_owned(),
        Some("tokens") if method == "POST" => return r#"{"name":"mine"}"#.to_owned(),
        Some("service-accounts") if method == "POST" => return r#"{"name":"guarded"}"#.to_owned(),
        Some("revoke" | "issue-s3-creds") => return String::new(),
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
        ("LOCK" | "UNLOCK", _) | ("POST" | "PUT" | "DELETE", true) => lock("made by hand", "alice"),
        _ => String::new(),
    }
}

#[test]
fn every_route_is_in_the_table_of_this_test() {
    let routes: Vec<_> = ROUTES.iter().map(|route| (route.method, route.path)).collect();
    let tried: Vec<_> = AS_ROOT
        .iter()
        .map(|(method, path, ..)| (*method, *path))
        .collect();
    assert_eq!(routes, tried);
}

#[test]
fn nobody_and_strangers_get_401_everywhere_but_for_health_the_description_and_what_a_login_takes() {
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
                (
                    Guard::Open,
                    "/healthz" | "/readyz" | "/openapi.json" | "/oidc/jwks.json" | "/v1/auth/config",
                ) => 200,
                // Nobody logs in at this service, and no refresh token is one.
                (Guard::Open, "/v1/auth/exchange") => 400,
                (Guard::Open, "/v1/auth/token") => 401,
                (Guard::Open, path) => {
                    panic!("{path} is open, and nothing but health, the description and logins may be")
                }
                (Guard::Caller, path) if path.starts_with("/s3/") => match stranger {
                    None => 403,
                    Some(_) => 400,
                },
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
            if expected == 401 && route.guard == Guard::Caller && route.method != "HEAD" {
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
    for (method, path, expected, _) in AS_ROOT {
        let target = target(path);
        let answer = service.ask(method, &target).body(body(method, path)).send();
        assert_eq!(answer.status, *expected, "{method} {path}: {answer:?}");
    }
}

/// A service in which Ada is an administrator, Will writes, Rita reads, and Sam is a stranger.
fn with_roles() -> Service {
    with_roles_in(StoreConfig::Memory)
}

fn with_roles_in(store: StoreConfig) -> Service {
    let service = Service::with(store, OpenOptions::default(), BodyLimits::default());
    let first = r#"{"administrators":["user:ada"]}"#;
    assert_eq!(
        service.ask("POST", "/v1/rbac/init").body(first).send().status,
        201
    );
    for (who, role) in [("will", "writer"), ("rita", "reader")] {
        let target = format!("/v1/rbac/users/user:{who}/roles/{role}");
        assert_eq!(service.ask_by("ada", "PUT", &target).send().status, 200);
    }
    service
}

#[test]
fn everybody_gets_past_the_guards_of_their_role_and_no_others_whether_there_is_such_a_unit_or_not() {
    for there in [true, false] {
        for (person, letter) in [("ada", 'a'), ("will", 'w'), ("rita", 'r'), ("sam", 's')] {
            let service = with_roles();
            if there {
                for target in [
                    "/v1/backend/guarded/unit",
                    "/v1/units/guarded__unit__by__name/upload",
                ] {
                    assert_eq!(service.ask("POST", target).body(state(1)).send().status, 200);
                }
            }
            // At that address it is the token in the body that is refused, whoever sends it.
            for (method, path, _, past) in AS_ROOT.iter().filter(|row| row.1 != "/v1/auth/token") {
                let answer = service
                    .ask_by(person, method, &target(path))
                    .body(body(method, path))
                    .send();
                let may = past.contains(letter) || (letter == 'a' && *past != "!");
                let is_refused = matches!(answer.status, 401 | 403);
                assert_eq!(is_refused, !may, "{method} {path} as {person}: {answer:?}");
                if is_refused {
                    assert_eq!(answer.status, 403, "{method} {path} as {person}");
                    let about = answer.text();
                    assert!(!about.contains("lineage"), "{method} {path} as {person}: {about}");
                }
            }
        }
    }
}

#[test]
fn a_list_is_of_what_its_reader_may_see_and_pages_count_nothing_else() {
    let service = with_roles();
    for unit in ["a__hidden", "a__shown", "b__hidden", "b__shown"] {
        let target = format!("/v1/units/{unit}/upload");
        assert_eq!(service.ask("POST", &target).body(state(1)).send().status, 200);
    }
    for (path, body) in [
        (
            "/v1/rbac/permissions/shown",
            r#"{"rules":[{"actions":["unit.read"],"units":["*/shown"]}]}"#,
        ),
        ("/v1/rbac/roles/shown", r#"{"permissions":["shown"]}"#),
        ("/v1/rbac/users/user:sam/roles/shown", ""),
    ] {
        assert_eq!(service.ask_by("ada", "PUT", path).body(body).send().status, 200);
    }
    let listed = |person: &str, query: &str| {
        let answer = service.ask_by(person, "GET", &format!("/v1/units{query}")).send();
        let page = answer.json();
        let units = page["units"].as_array().unwrap().iter();
        let names: Vec<String> = units
            .map(|unit| unit["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(page["count"], names.len());
        (names, page["next_page_token"].as_str().map(str::to_owned))
    };
    assert_eq!(listed("rita", "").0.len(), 4);
    assert_eq!(listed("sam", "").0, ["a/shown", "b/shown"]);
    let (first, token) = listed("sam", "?limit=1");
    assert_eq!(first, ["a/shown"]);
    let (second, end) = listed("sam", &format!("?limit=1&page_token={}", token.unwrap()));
    assert_eq!((second, end), (vec!["b/shown".to_owned()], None));
}

#[test]
fn nobody_gives_themselves_or_others_a_right_and_a_denial_wins_over_every_grant() {
    let service = with_roles();
    for person in ["will", "rita", "sam"] {
        for (method, target, body) in [
            (
                "POST",
                "/v1/rbac/init".to_owned(),
                format!(r#"{{"administrators":["user:{person}"]}}"#),
            ),
            (
                "PUT",
                format!("/v1/rbac/users/user:{person}/roles/admin"),
                String::new(),
            ),
            (
                "DELETE",
                "/v1/rbac/users/user:ada/roles/admin".to_owned(),
                String::new(),
            ),
            (
                "PUT",
                "/v1/rbac/roles/reader".to_owned(),
                r#"{"permissions":["admin"]}"#.to_owned(),
            ),
            (
                "PUT",
                "/v1/rbac/permissions/writer".to_owned(),
                r#"{"rules":[{"actions":["*"],"units":["**"]}]}"#.to_owned(),
            ),
            (
                "PUT",
                "/v1/rbac/root".to_owned(),
                r#"{"enabled":false}"#.to_owned(),
            ),
        ] {
            let answer = service.ask_by(person, method, &target).body(body).send();
            assert_eq!(answer.status, 403, "{person} {method} {target}");
        }
    }
    let deny = r#"{"rules":[{"effect":"deny","actions":["unit.write"],"units":["*/prod"]}]}"#;
    for (target, body) in [
        ("/v1/rbac/permissions/hands-off", deny),
        ("/v1/rbac/roles/careful", r#"{"permissions":["hands-off"]}"#),
        ("/v1/rbac/users/user:will/roles/careful", ""),
    ] {
        assert_eq!(service.ask_by("ada", "PUT", target).body(body).send().status, 200);
    }
    let writes = |target: &str| {
        service
            .ask_by("will", "POST", target)
            .body(state(1))
            .send()
            .status
    };
    assert_eq!(writes("/v1/backend/app/prod"), 403);
    assert_eq!(writes("/v1/units/app__prod/upload"), 403);
    assert_eq!(writes("/v1/backend/app/dev"), 200);
    let asked = r#"{"who":"user:will","action":"unit.write","unit":"app/prod"}"#;
    let told = service
        .ask_by("ada", "POST", "/v1/rbac/test")
        .body(asked)
        .send()
        .json();
    assert_eq!(told["allowed"], false);
    assert_eq!(told["rule"]["permission"], "hands-off");
    assert_eq!(told["rule"]["role"], "careful");
    assert!(told["why"].as_str().unwrap().contains("takes it away"), "{told}");
    let of_another = service.ask_by("rita", "POST", "/v1/rbac/test").body(asked).send();
    assert_eq!(of_another.status, 403, "what others may is for administrators");
}

/// Whether an address answers without asking what its caller may do.
fn asks_for_no_right(path: &str, past: &str) -> bool {
    past == "rws"
        && (matches!(
            path,
            "/metrics" | "/openapi.json" | "/oidc/jwks.json" | "/v1/info"
        ) || ["/healthz", "/readyz", "/v1/auth/"]
            .iter()
            .any(|open| path.starts_with(open)))
        // Signed, in `s3.rs`.
        || path.starts_with("/s3/")
}

#[test]
fn a_policy_that_is_truncated_or_lost_or_emptied_is_503_at_every_door_for_everybody_and_nothing_is_changed() {
    for damage in [
        Some("{\"format\":1,\"nonce\":\"\",\"rec"),
        Some("{}"),
        Some(""),
        None,
    ] {
        let directory = tempfile::tempdir().unwrap();
        let store = StoreConfig::Local {
            directory: directory.path().to_owned(),
            prefix: None,
        };
        drop(with_roles_in(store.clone()));
        let policy = directory.path().join("__opentaco_access/policy.json");
        match damage {
            Some(text) => std::fs::write(&policy, text).unwrap(),
            None => std::fs::remove_file(&policy).unwrap(),
        }
        let service = Service::with(store, OpenOptions::default(), BodyLimits::default());
        let asked = AS_ROOT
            .iter()
            .filter(|(_, path, _, past)| !asks_for_no_right(path, past));
        for (method, path, ..) in asked {
            let everybody =
                ["ada", "will", "rita", "sam"].map(|person| service.ask_by(person, method, &target(path)));
            for ask in everybody.into_iter().chain([service.ask(method, &target(path))]) {
                let answer = ask.body(body(method, path)).send();
                // Only the root token makes the first administrators, so that is refused to others as ever.
                let may_be_403 = *path == "/v1/rbac/init" && answer.status == 403;
                assert!(
                    answer.status == 503 || may_be_403,
                    "{damage:?}: {method} {path}: {answer:?}"
                );
            }
        }
        let as_root = service
            .ask("POST", "/v1/rbac/init")
            .body(body("POST", "/v1/rbac/init"));
        let answer = as_root.send();
        assert_eq!(
            answer.status, 503,
            "{damage:?}: a policy that is lost is no new bucket"
        );
        assert!(answer.says("message").contains("cannot be read"), "{answer:?}");
        drop(service);
        let left = std::fs::read_to_string(&policy).ok();
        assert_eq!(left.as_deref(), damage, "nothing was written over it");
        assert!(
            !directory.path().join("guarded").exists(),
            "{damage:?}: no unit was made"
        );
    }
}

#[test]
fn the_last_administrator_stays_and_only_another_way_in_switches_the_root_token_off() {
    let service = with_roles();
    let last = service
        .ask_by("ada", "DELETE", "/v1/rbac/users/user:ada/roles/admin")
        .send();
    assert_eq!(
        (last.status, last.says("error")),
        (409, "last_administrator".to_owned())
    );
    let off = r#"{"enabled":false}"#;
    let by_itself = service.ask("PUT", "/v1/rbac/root").body(off).send();
    assert_eq!(
        (by_itself.status, by_itself.says("error")),
        (409, "root_by_itself".to_owned())
    );
    assert_eq!(
        service
            .ask_by("ada", "PUT", "/v1/rbac/root")
            .body(off)
            .send()
            .status,
        200
    );
    assert_eq!(service.ask("GET", "/v1/units/app").send().status, 403);
    assert_eq!(service.ask_by("rita", "GET", "/v1/units/app").send().status, 404);
    let on = r#"{"enabled":true}"#;
    assert_eq!(
        service
            .ask_by("ada", "PUT", "/v1/rbac/root")
            .body(on)
            .send()
            .status,
        200
    );
    assert_eq!(service.ask("GET", "/v1/units/app").send().status, 404);
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
