//! The management API against its own description: schemathesis tries every operation with what the description allows
//! and with what it does not, and whatever is answered has to be what the description says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use opentaco_domain::graph::EdgeEnds;
use opentaco_testkit::service::{ROOT_TOKEN, Service};
use opentaco_testkit::tools;
use reqwest::Client;
use serde_json::{Value, json};

use crate::http::{send, state, status};

/// How long the operations are tried with credentials; without them there is less to find.
const SECONDS: u32 = 60;
const SECONDS_WITHOUT: u32 = 20;

/// What the fuzzing is told not to find: it takes every unit that was created for one that has a state, and history and
/// refused writes outlive their unit. What the description allows and the service refuses is found by a check of our own.
const EXCLUDED: &str = "positive_data_acceptance,ensure_resource_availability,use_after_free";

/// What the root token cannot do, or once only; `crates/server/tests/logins.rs` and `every_route_is_guarded.rs` do these.
const NOT_BY_ROOT: [&str; 4] = [
    "/v1/auth/exchange",
    "/v1/auth/token",
    "/v1/auth/issue-s3-creds",
    "/v1/rbac/init",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_answers_as_it_is_described_with_and_without_credentials() {
    let home = tempfile::tempdir().unwrap();
    let service = Service::start(
        home.path(),
        &["-storage", "memory", "-audit-sync", "-log-level", "warn"],
        &[],
    );
    let description = seeded(&service).await;
    let operations = operations(&description);
    assert!(operations.len() >= 23, "only {operations:?}");

    let authorization = format!("Authorization: Bearer {ROOT_TOKEN}");
    let answers = fuzz(
        &service,
        &description,
        home.path(),
        &["--header", &authorization],
        SECONDS,
    );
    for (operation, is_open) in &operations {
        let answers = &answers[operation];
        assert!(
            answers.iter().any(|status| (200..300).contains(status)),
            "{operation} was never done, only answered {answers:?}"
        );
        assert!(
            !is_open || answers.iter().all(|status| *status < 400 || *status == 405),
            "{operation} is open to everybody and answered {answers:?}"
        );
    }

    let answers = fuzz(
        &service,
        &description,
        home.path(),
        &["--phases", "examples,coverage"],
        SECONDS_WITHOUT,
    );
    for (operation, is_open) in &operations {
        let expected = if *is_open { 200 } else { 401 };
        let answers = &answers[operation];
        assert!(answers.contains(&expected), "{operation}: {answers:?}");
        assert!(
            *is_open || *answers == BTreeSet::from([401]),
            "{operation} told somebody unknown {answers:?}"
        );
    }
    drop(service);
}

/// Every operation, as schemathesis calls it, and whether it is open to everybody.
fn operations(description: &Value) -> BTreeMap<String, bool> {
    let mut operations = BTreeMap::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let is_open = operation["security"] == json!([{}]);
            operations.insert(format!("{} {path}", method.to_uppercase()), is_open);
        }
    }
    operations
}

/// The description as it is served, with an example for each operation: a unit of its own in which it can be done.
async fn seeded(service: &Service) -> Value {
    let http = Client::new();
    let at = |path: &str| format!("{}{path}", service.url());
    let served = http.get(at("/openapi.json")).send().await.unwrap();
    let mut description: Value = served.json().await.unwrap();
    let paths = description["paths"].as_object_mut().unwrap();
    paths.retain(|path, _| !NOT_BY_ROOT.contains(&path.as_str()));
    // A dependency, for whoever asks for one by its id.
    let ends = EdgeEnds::new("fuzz/from", "x", "fuzz/to", "x");
    let attributes = json!({"from_unit_id": ends.from_unit, "from_output": "x", "to_unit_id": ends.to_unit, "to_input": "x"});
    let edge = json!({"mode": "managed", "type": "opentaco_dependency", "name": "e", "instances": [{"attributes": attributes}]});
    let graph = json!({"version": 4, "serial": 1, "lineage": "graph", "outputs": {}, "resources": [edge]});
    let declared = send(
        &http,
        "POST",
        &at("/v1/units/__opentaco_system/upload"),
        graph.to_string(),
    )
    .await;
    assert_eq!(declared.status(), 200);
    let first = json!({"administrators": ["user:ada"]}).to_string();
    assert_eq!(status(&http, "POST", &at("/v1/rbac/init"), first).await, 201);
    for (_, methods) in description["paths"].as_object_mut().unwrap() {
        for (_, operation) in methods.as_object_mut().unwrap() {
            let name = operation["operationId"].as_str().unwrap().to_owned();
            let mut none = Vec::new();
            let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
            let parameters = parameters.unwrap_or(&mut none);
            let unit = format!("/v1/units/fuzz__{}", name.replace('_', "-"));
            let mut seeds = seed(&http, &at(&unit), &name).await;
            seeds.extend(seed_access(&http, &at(""), &name).await);
            seeds.insert("edge".to_owned(), json!(ends.id()));
            // A digest of bytes that are made up is never right: it has a test of its own.
            parameters.retain(|parameter| parameter["name"] != "Content-MD5");
            for parameter in parameters {
                let name = parameter["name"].as_str().unwrap().to_owned();
                if parameter["in"] == "path" {
                    parameter["example"] = seeds[&name].clone();
                }
            }
            let example = match name.as_str() {
                "restore_version" => json!({"version": seeds["version"]}),
                "unlock_unit" => json!({"id": "fuzz"}),
                "create_token" => json!({"name": "fuzz", "service_account": "fuzz-lock-unit"}),
                "revoke" => json!({"principal": "nobody"}),
                "upload_state" => json!({"serial": 2, "lineage": "one"}),
                _ => continue,
            };
            operation["requestBody"]["content"]["application/json"]["example"] = example;
        }
    }
    description
}

/// A unit with a state, an output, a version and a refused write; and ready for this operation.
async fn seed(http: &Client, unit: &str, operation: &str) -> BTreeMap<String, Value> {
    let with_output =
        state(1, "fuzz").replace(r#""outputs":{}"#, r#""outputs":{"address":{"value":"10.0.0.1"}}"#);
    let uploaded = send(http, "POST", &format!("{unit}/upload"), with_output).await;
    assert_eq!(uploaded.status(), 200);
    let uploaded: Value = uploaded.json().await.unwrap();
    let refused = send(
        http,
        "POST",
        &format!("{unit}/upload?if_locked_by=nobody"),
        state(2, "refused"),
    )
    .await;
    assert_eq!(refused.status(), 409);
    let refused: Value = refused.json().await.unwrap();
    match operation {
        "undelete_unit" => assert_eq!(status(http, "DELETE", unit, "").await, 204),
        "unlock_unit" => {
            let lock = status(http, "POST", &format!("{unit}/lock"), r#"{"id":"fuzz"}"#).await;
            assert_eq!(lock, 200);
        }
        _ => {}
    }
    let segment = unit.rsplit('/').next().unwrap();
    // The service answers changes when their events are written, so there is one.
    let (base, _) = unit.split_once("/v1/").unwrap();
    let listed = send(http, "GET", &format!("{base}/v1/audit/segments"), "").await;
    let listed: Value = listed.json().await.unwrap();
    let segment_of_the_audit = listed["segments"][0].clone();
    [
        ("unit", json!(segment)),
        ("version", uploaded["version"].clone()),
        ("rejected", refused["kept"].clone()),
        ("output", json!("address")),
        ("segment", segment_of_the_audit),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// A role, a permission, somebody who holds the role, and a service account with a token; ready for this operation.
async fn seed_access(http: &Client, base: &str, operation: &str) -> BTreeMap<String, Value> {
    let name = format!("fuzz-{}", operation.replace('_', "-"));
    let rules = json!({"rules": [{"actions": ["unit.read"], "units": ["fuzz/**"]}]});
    let account = json!({"name": name});
    let token = json!({"name": "fuzz", "service_account": name});
    let mut id = Value::Null;
    for (method, path, body) in [
        ("PUT", format!("/v1/rbac/permissions/{name}"), rules),
        (
            "PUT",
            format!("/v1/rbac/roles/{name}"),
            json!({"permissions": ["reader"]}),
        ),
        (
            "PUT",
            format!("/v1/rbac/users/user:fuzz/roles/{name}"),
            Value::Null,
        ),
        ("POST", "/v1/auth/service-accounts".to_owned(), account),
        ("POST", "/v1/auth/tokens".to_owned(), token),
    ] {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let answer = send(http, method, &format!("{base}{path}"), body).await;
        assert!(
            answer.status().is_success(),
            "{method} {path}: {}",
            answer.status()
        );
        if path.ends_with("tokens") {
            id = answer.json::<Value>().await.unwrap()["about"]["id"].clone();
        }
    }
    [
        ("role", json!(name)),
        ("permission", json!(name)),
        ("account", json!(name)),
        ("member", json!("user:fuzz")),
        ("token", id),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Runs schemathesis, which has to find nothing; tells what each operation was answered.
fn fuzz(
    service: &Service,
    description: &Value,
    home: &Path,
    more: &[&str],
    seconds: u32,
) -> BTreeMap<String, BTreeSet<u16>> {
    let document = home.join("openapi.json");
    std::fs::write(&document, description.to_string()).unwrap();
    let notes = home.join("notes");
    std::fs::write(&notes, "").unwrap();
    let hooks = tools::repository().join("e2e/tests/schemathesis_hooks.py");
    let run = Command::new(tools::installed("schemathesis"))
        .current_dir(home)
        .env("SCHEMATHESIS_HOOKS", &hooks)
        .env("OPENTACO_FUZZ_NOTES", &notes)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args(["--no-color", "run"])
        .arg(&document)
        .args(["--url", &service.url()])
        .args(["--checks", "all", "--exclude-checks", EXCLUDED])
        .args(["--max-time", &seconds.to_string()])
        .args(["--seed", "5", "--no-shrink", "--continue-on-failure"])
        .args(["--generation-database", "none"])
        .args(more)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success(),
        "{printed}\n{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let mut answers: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    for line in std::fs::read_to_string(&notes).unwrap().lines() {
        let (status, operation) = line.split_once(' ').unwrap();
        answers
            .entry(operation.to_owned())
            .or_default()
            .insert(status.parse().unwrap());
    }
    answers
}
