//! Dependencies between units at the management API: the shapes of its answers, and what is refused.

use opentaco_control::{OpenOptions, StoreConfig};
use opentaco_domain::UnitId;
use opentaco_server::bodies::BodyLimits;
use serde_json::{Value, json};

use crate::support::Service;

const A: &str = r#"{"version":4,"serial":1,"lineage":"a","outputs":{"vpc":{"value":"vpc-1","type":"string"}},"resources":[]}"#;
const B: &str = r#"{"version":4,"serial":1,"lineage":"b","outputs":{},"resources":[]}"#;

fn graph(serial: u64) -> String {
    let edge = |from: &str, to: &str| {
        format!(
            r#"{{"attributes":{{"from_unit_id":"{from}","from_output":"vpc","to_unit_id":"{to}","to_input":"net"}}}}"#
        )
    };
    format!(
        r#"{{"version":4,"serial":{serial},"lineage":"g","outputs":{{}},"resources":[{{"mode":"managed","type":"opentaco_dependency","name":"e","instances":[{},{}]}}]}}"#,
        edge("shop/net", "shop/app"),
        edge("shop/app", "shop/dns")
    )
}

fn post(service: &Service, unit: &str, body: &str) {
    let answer = service
        .ask("POST", &format!("/v1/backend/{unit}"))
        .body(body)
        .send();
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn declared() -> Service {
    let service = Service::start();
    post(&service, "__opentaco_system", &graph(1));
    post(&service, "shop/net", A);
    service
}

fn get(service: &Service, target: &str) -> Value {
    let answer = service.ask("GET", target).send();
    assert_eq!(answer.status, 200, "{target}: {answer:?}");
    answer.json()
}

#[test]
fn the_status_of_a_unit_has_the_shape_that_the_product_description_gives_it() {
    let service = declared();
    let status = get(&service, "/v1/units/shop__app/status");
    let edge = &status["incoming"][0];
    // Computed apart from this code: base58 of the SHA-256 of "vpc-1" with its quotes.
    assert_eq!(
        (&edge["in_digest"], &edge["out_digest"]),
        (
            &json!("Ciu88hgqbJLdR6akm4pHTMXUo5o8z77sVs6gH4vG9iUY"),
            &Value::Null
        )
    );
    assert_eq!(status["unit_id"], "shop/app");
    assert_eq!(status["status"], "red");
    assert_eq!(
        status["summary"],
        json!({"incoming_ok": 0, "incoming_pending": 1, "incoming_unknown": 0})
    );
    for (member, value) in [
        ("from_unit_id", json!("shop/net")),
        ("from_output", json!("vpc")),
        ("to_input", json!("net")),
        ("status", json!("pending")),
        ("last_out_at", Value::Null),
        ("in_by", json!("root")),
        ("declared", json!(true)),
    ] {
        assert_eq!(edge[member], value, "{member}");
    }
    let why = edge["why"].as_str().unwrap();
    assert!(
        why.starts_with("`vpc` of `shop/net` changed with serial 1 by root at 2"),
        "{why}"
    );
    let _: jiff::Timestamp = edge["last_in_at"].as_str().unwrap().parse().unwrap();

    post(&service, "shop/app", B);
    let status = get(&service, "/v1/units/shop__app/status");
    assert_eq!(status["status"], "green");
    assert_eq!(
        status["incoming"][0]["in_digest"],
        status["incoming"][0]["out_digest"]
    );
    // It has no such output: that keeps the colour, and is counted and told.
    let dns = get(&service, "/v1/units/shop__dns/status");
    assert_eq!(
        (&dns["status"], &dns["summary"]["incoming_unknown"]),
        (&json!("green"), &json!(1))
    );
    assert_eq!(dns["incoming"][0]["reason"], "no-output");
    assert_eq!(
        dns["incoming"][0]["why"],
        "the state of `shop/app` has no output `vpc`"
    );
    let missing = service.ask("GET", "/v1/units/shop__none/status").send();
    assert_eq!(
        (missing.status, missing.says("error").as_str()),
        (404, "not_found")
    );
}

#[test]
fn many_units_are_told_at_once_with_what_is_not_taken() {
    let service = declared();
    let all = get(&service, "/v1/status");
    let told: Vec<_> = all["units"]
        .as_array()
        .unwrap()
        .iter()
        .map(|unit| {
            let incoming = unit["incoming"].as_array().unwrap().len();
            (
                unit["unit_id"].as_str().unwrap(),
                unit["status"].as_str().unwrap(),
                incoming,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("shop/app", "red", 1),
            ("shop/dns", "yellow", 1),
            ("shop/net", "green", 0)
        ]
    );
    assert_eq!(
        (&all["count"], &all["units"][1]["because_of"]),
        (&json!(3), &json!(["shop/app"]))
    );
    post(&service, "alone", B);
    assert_eq!(get(&service, "/v1/status")["count"], 4);
    assert_eq!(get(&service, "/v1/status?dependent=true")["count"], 3);
    assert_eq!(get(&service, "/v1/status?prefix=shop/a")["count"], 1);
    for odd in [
        "/v1/status?prefix=%00",
        "/v1/status?dependent=perhaps",
        "/v1/status?unit=a",
    ] {
        assert_eq!(service.ask("GET", odd).send().status, 400, "{odd}");
    }
}

#[test]
fn the_graph_is_told_as_a_document_and_as_drawings() {
    let service = declared();
    let told = get(&service, "/v1/graph");
    assert_eq!(told["system_unit"], "__opentaco_system");
    assert_eq!(told["edges"].as_array().unwrap().len(), 2);
    assert_eq!(
        told["units"][0],
        json!({"unit_id": "shop/app", "status": "red", "summary": {"incoming_ok": 0, "incoming_pending": 1, "incoming_unknown": 0}})
    );
    assert!(told.get("cycles").is_none());
    for (format, kind, begins) in [
        ("dot", "text/vnd.graphviz", "digraph dependencies {"),
        ("mermaid", "text/vnd.mermaid", "flowchart LR"),
    ] {
        let drawn = service.ask("GET", &format!("/v1/graph?format={format}")).send();
        assert_eq!((drawn.status, drawn.header("content-type")), (200, kind));
        assert!(
            drawn.text().starts_with(begins) && drawn.text().contains("shop/dns"),
            "{}",
            drawn.text()
        );
    }
    let odd = service.ask("GET", "/v1/graph?format=svg").send();
    assert_eq!((odd.status, odd.says("error").as_str()), (400, "bad_query"));
}

#[test]
fn an_edge_is_found_by_its_ends_and_by_its_id() {
    let service = declared();
    let by_ends = get(
        &service,
        "/v1/graph/edge?from_unit_id=shop/net/terraform.tfstate&from_output=vpc&to_unit_id=/shop/app&to_input=net",
    );
    assert_eq!(by_ends["declared"], true);
    let id = by_ends["edge_id"].as_str().unwrap();
    assert_eq!(get(&service, &format!("/v1/graph/edges/{id}")), by_ends);
    // Its input is called like the output where nothing is said, and this one is not declared.
    let other = get(
        &service,
        "/v1/graph/edge?from_unit_id=shop/net&from_output=vpc&to_unit_id=shop/app",
    );
    assert_eq!(
        (&other["to_input"], &other["declared"], &other["status"]),
        (&json!("vpc"), &json!(false), &json!("pending"))
    );
    for (target, status, code) in [
        ("/v1/graph/edge?from_unit_id=a&from_output=x", 400, "bad_query"),
        (
            "/v1/graph/edge?from_unit_id=a//b&from_output=x&to_unit_id=c",
            400,
            "invalid",
        ),
        ("/v1/graph/edges/none", 400, "invalid"),
        (
            "/v1/graph/edges/2MFhpTVHJPwqYem7UEP6YCW3ANUsRPGBj7hoxvjntqVX",
            404,
            "not_found",
        ),
    ] {
        let answer = service.ask("GET", target).send();
        assert_eq!(
            (answer.status, answer.says("error").as_str()),
            (status, code),
            "{target}: {answer:?}"
        );
    }
}

#[test]
fn a_graph_that_cannot_be_read_is_409_and_reconciling_tells_what_was_not_so() {
    let service = declared();
    let reconcile = |query: &str| service.ask("POST", &format!("/v1/graph/reconcile{query}")).send();
    let nothing = reconcile("");
    assert_eq!(
        (
            nothing.status,
            &nothing.json()["edges"],
            &nothing.json()["changed"]
        ),
        (200, &json!(2), &json!([]))
    );
    post(&service, "shop/app", B);
    post(&service, "shop/net", &A.replace("vpc-1", "vpc-2"));
    let taken = reconcile("?taken_by=shop/app").json();
    assert_eq!(taken["changed"][0]["status"], "ok");
    assert_eq!(get(&service, "/v1/units/shop__app/status")["status"], "green");
    let none = reconcile("?taken_by=never/written");
    assert_eq!((none.status, none.says("error").as_str()), (404, "no_state"));

    let sealed =
        r#"{"serial":9,"lineage":"g","meta":{},"encrypted_data":"c2VhbGVk","encryption_version":"v0"}"#;
    post(&service, "__opentaco_system", sealed);
    for target in [
        "/v1/units/shop__app/status",
        "/v1/status",
        "/v1/graph",
        "/v1/graph?format=dot",
    ] {
        let answer = service.ask("GET", target).send();
        assert_eq!(
            (answer.status, answer.says("error").as_str()),
            (409, "graph_unreadable"),
            "{target}"
        );
        assert!(
            answer.says("message").contains("encrypted by OpenTofu"),
            "{answer:?}"
        );
    }
    assert_eq!(reconcile("").status, 409);
    post(&service, "shop/net", &A.replace("vpc-1", "vpc-3"));
}

#[test]
fn the_graph_may_rest_in_another_unit() {
    let options = OpenOptions {
        graph_unit: UnitId::parse("infra/graph").unwrap(),
        ..OpenOptions::default()
    };
    let service = Service::with(StoreConfig::Memory, options, BodyLimits::default());
    post(&service, "infra/graph", &graph(1));
    post(&service, "shop/net", A);
    assert_eq!(get(&service, "/v1/info")["system_unit"], "infra/graph");
    assert_eq!(get(&service, "/v1/units/shop__app/status")["status"], "red");
}
