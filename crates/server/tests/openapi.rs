//! The description of the management API: complete, closed, and the one that is kept in the tree.

use std::collections::BTreeSet;
use std::path::Path;

use opentaco_api::{ErrorCode, paths};
use opentaco_server::management::openapi;
use opentaco_server::routes::{Guard, ROUTES};
use serde_json::Value;

use crate::support::Service;

/// Set to have the document in the tree written anew.
const UPDATE: &str = "OPENTACO_UPDATE_DOCS";

fn description() -> Value {
    serde_json::from_str(&openapi::text()).unwrap()
}

#[test]
fn the_document_in_the_tree_is_the_one_that_is_served() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&file, openapi::text()).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(
        kept == openapi::text(),
        "docs/openapi.json is not what the handlers say; write it anew with {UPDATE}=1"
    );
    let served = Service::start().ask_as(None, "GET", paths::OPENAPI).send();
    assert_eq!((served.status, served.text()), (200, kept));
    assert_eq!(served.header("content-type"), "application/json");
}

#[test]
fn every_route_but_terraforms_and_s3s_is_described_with_the_guard_it_has() {
    let description = description();
    let mut described = BTreeSet::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let is_open = operation["security"] == serde_json::json!([{}]);
            described.insert((method.to_uppercase(), path.clone(), is_open));
        }
    }
    let routes: BTreeSet<_> = ROUTES
        .iter()
        // Terraform's and S3's own dialects are described elsewhere.
        .filter(|route| !route.path.starts_with("/v1/backend") && !route.path.starts_with("/s3/"))
        // HEAD of these two says what GET says.
        .filter(|route| (route.method, route.guard) != ("HEAD", Guard::Open))
        .map(|route| {
            (
                route.method.to_owned(),
                route.path.to_owned(),
                route.guard == Guard::Open,
            )
        })
        .collect();
    assert_eq!(described, routes);
}

#[test]
fn the_paths_of_the_sdk_are_those_of_the_routes() {
    let of_the_sdk: BTreeSet<&str> = [
        paths::UNITS,
        paths::UNIT,
        paths::DOWNLOAD,
        paths::UPLOAD,
        paths::LOCK,
        paths::UNLOCK,
        paths::VERSIONS,
        paths::VERSION,
        paths::RESTORE,
        paths::REJECTED,
        paths::REJECTED_WRITE,
        paths::PROMOTE,
        paths::UNDELETE,
        paths::OUTPUTS,
        paths::OUTPUT,
        paths::UNIT_STATUS,
        paths::STATUS,
        paths::GRAPH,
        paths::GRAPH_EDGE,
        paths::GRAPH_EDGE_BY_ID,
        paths::GRAPH_RECONCILE,
        paths::INFO,
        paths::OPENAPI,
    ]
    .into();
    let routes: BTreeSet<&str> = ROUTES
        .iter()
        .map(|route| route.path)
        .filter(|path| {
            ["/v1/units", paths::STATUS, paths::GRAPH]
                .iter()
                .any(|start| path.starts_with(start))
                || [paths::INFO, paths::OPENAPI].contains(path)
        })
        .collect();
    assert_eq!(of_the_sdk, routes);
}

#[test]
fn every_schema_with_members_is_closed_and_every_operation_tells_its_refusals() {
    let description = description();
    let schemas = description["components"]["schemas"].as_object().unwrap();
    let closed: BTreeSet<&str> = schemas
        .iter()
        .filter(|(_, schema)| schema.get("properties").is_some())
        .map(|(name, schema)| {
            assert_eq!(schema["additionalProperties"], false, "{name}");
            name.as_str()
        })
        .collect();
    for name in [
        "ErrorBody",
        "Unit",
        "Units",
        "Lock",
        "Receipt",
        "Versions",
        "RejectedWrites",
        "Info",
    ] {
        assert!(closed.contains(name), "{name} is not described");
    }
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.contains_key("400"), "{method} {path}");
            if operation["security"] != serde_json::json!([{}]) {
                assert!(responses.contains_key("401"), "{method} {path}");
                assert!(responses.contains_key("403"), "{method} {path}");
            }
        }
    }
}

#[test]
fn every_code_that_a_description_names_is_one_of_the_api() {
    let known: BTreeSet<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    let description = description();
    let mut named = 0;
    for methods in description["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                if status.starts_with('2') || status.starts_with('3') {
                    continue;
                }
                let text = response["description"].as_str().unwrap();
                for code in text.split('`').skip(1).step_by(2) {
                    assert!(known.contains(code), "{code} in {text:?}");
                    named += 1;
                }
            }
        }
    }
    assert!(named > 20, "{named} codes are named");
}
