//! Evidence for what is promised of the graph as it is kept.

use super::*;

/// As Terraform writes it, with whatever else may stand in a state.
const GRAPH: &str = r#"{
  "version": 4,
  "terraform_version": "1.11.4",
  "serial": 7,
  "lineage": "1b3a2b6e",
  "outputs": {"edges": {"value": 9007199254740993, "type": "number"}},
  "resources": [
    {
      "mode": "managed", "type": "terraform_data", "name": "other", "provider": "provider[\"terraform.io/builtin/terraform\"]",
      "instances": [{"schema_version": 0, "attributes": {"from_unit_id": "x", "from_output": "y", "to_unit_id": "z", "n": 1.50}}]
    },
    {
      "module": "module.shop[\"eu\"]", "mode": "managed", "type": "opentaco_dependency", "name": "net", "each": "map",
      "provider": "provider[\"registry.terraform.io/digger/opentaco\"]",
      "instances": [
        {"index_key": "vpc", "schema_version": 0, "identity_schema_version": 0, "private": "eyJ4IjoxfQ==",
         "attributes": {"from_output": "vpc", "from_unit_id": "/net/prod/terraform.tfstate", "id": "given", "in_digest": "D1",
           "last_in_at": "2025-01-02T03:04:05Z", "last_out_at": null, "out_digest": "D1", "status": "ok",
           "to_input": "vpc_id", "to_unit_id": "app/prod", "future": {"deep": [1e400, "\u003c"]}},
         "sensitive_attributes": [], "dependencies": ["opentaco_unit.a"]},
        {"index_key": "old", "deposed": "abcd1234", "schema_version": 0,
         "attributes": {"from_output": "gone", "from_unit_id": "net/prod", "to_input": "gone", "to_unit_id": "app/prod"}}
      ]
    },
    {"mode": "data", "type": "opentaco_dependency", "name": "d", "instances": [{"attributes": {"from_output": "a", "from_unit_id": "b", "to_unit_id": "c"}}]},
    {
      "mode": "managed", "type": "opentaco_dependency", "name": "bare",
      "instances": [{"attributes": {"from_unit_id": "app/prod", "from_output": "url", "to_unit_id": "dns"}},
                    {"attributes": {"from_unit_id": 7, "from_output": "url", "to_unit_id": "dns"}},
                    {"attributes": null}, {}]
    }
  ],
  "check_results": [{"object_kind": "resource", "config_addr": "x.y", "status": "unknown", "objects": null}],
  "unheard_of": [1.0, 2e0]
}
"#;

fn read(text: &str) -> Document {
    Document::read(Bytes::copy_from_slice(text.as_bytes())).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn as_text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn pending() -> EdgeState {
    EdgeState {
        in_digest: "D2".parse().ok(),
        out_digest: "D1".parse().ok(),
        in_by: Some(Principal::new("ann \"ops\"")),
        ..EdgeState::default()
    }
}

#[test]
fn the_edges_of_a_graph_are_its_dependencies_and_nothing_else() {
    let graph = read(GRAPH);
    let ends: Vec<_> = graph.edges().iter().map(|edge| edge.ends.to_string()).collect();
    assert_eq!(ends, ["net/prod.vpc->app/prod.vpc_id", "app/prod.url->dns.url"]);
    let first = &graph.edges()[0];
    assert_eq!(
        first.id,
        EdgeEnds::new("net/prod", "vpc", "app/prod", "vpc_id").id()
    );
    assert_eq!(first.state.status(), EdgeStatus::Ok);
    assert_eq!(first.state.last_in_at, "2025-01-02T03:04:05Z".parse().ok());
    assert!(first.state.is_new(), "a version was never written down");
    assert_eq!(graph.edges()[1].state.unknown(), Some(Unknown::NotLookedAt));
    assert_eq!(graph.outgoing("net/prod").count(), 1);
    assert_eq!(graph.incoming("app/prod").count(), 1);
    assert_eq!(graph.outgoing("nobody").count(), 0);
}

#[test]
fn a_change_touches_the_services_attributes_and_the_serial_and_no_other_byte() {
    let graph = read(GRAPH);
    let changed = graph
        .changed(&[(0, pending()), (1, EdgeState::default())].into())
        .unwrap();
    let expected = GRAPH
        .replace("\"serial\": 7", "\"serial\": 8")
        .replace("\"in_digest\": \"D1\"", "\"in_digest\": \"D2\"")
        .replace("\"2025-01-02T03:04:05Z\"", "null")
        .replace("\"status\": \"ok\"", "\"status\": \"pending\"")
        .replace("[1e400, \"\\u003c\"]}}", "[1e400, \"\\u003c\"]},\"in_by\":\"ann \\\"ops\\\"\"}")
        .replace(
            "\"to_unit_id\": \"dns\"}},",
            "\"to_unit_id\": \"dns\",\"status\":\"unknown\",\"reason\":\"not-looked-at\"}},",
        )
        // The one that is no edge stays as it is.
        .replace(
            "{\"from_unit_id\": 7, \"from_output\": \"url\", \"to_unit_id\": \"dns\",\"status\":\"unknown\",\"reason\":\"not-looked-at\"}},",
            "{\"from_unit_id\": 7, \"from_output\": \"url\", \"to_unit_id\": \"dns\"}},",
        );
    assert_eq!(as_text(&changed), expected);
    let again = read(as_text(&changed));
    assert_eq!(again.edges()[0].state, pending());
    assert!(again.is_well_spelled(0) && again.is_well_spelled(1));
    // The same again changes the serial alone.
    let twice = again.changed(&[(0, pending())].into()).unwrap();
    assert_eq!(
        as_text(&twice),
        expected.replace("\"serial\": 8", "\"serial\": 9")
    );
}

#[test]
fn of_what_terraform_sends_the_service_keeps_what_it_knows_better() {
    let stored = read(as_text(&read(GRAPH).changed(&[(0, pending())].into()).unwrap()));
    // A run that began before sends what it knew, counts on by itself, and has moved the resource.
    let sent = GRAPH
        .replace("\"serial\": 7", "\"serial\": 3")
        .replace("\"name\": \"net\"", "\"name\": \"network\"")
        .replace(
            "\"status\": \"ok\"",
            "\"status\": \"pending\", \"in_by\": \"somebody\"",
        );
    let merged = Document::merged(Some(&stored), None, &read(&sent)).unwrap();
    let expected = sent
        .replace("\"serial\": 3", "\"serial\": 9")
        .replace("\"in_digest\": \"D1\"", "\"in_digest\": \"D2\"")
        .replace("\"2025-01-02T03:04:05Z\"", "null")
        .replace("\"in_by\": \"somebody\"", "\"in_by\": \"ann \\\"ops\\\"\"");
    assert_eq!(as_text(&merged), expected);
    // A higher serial is exceeded as well.
    let sent = sent.replace("\"serial\": 3", "\"serial\": 41");
    let merged = Document::merged(Some(&stored), None, &read(&sent)).unwrap();
    assert_eq!(read(as_text(&merged)).summary.serial, Some(42));
}

#[test]
fn a_new_edge_keeps_what_its_target_has_taken_and_is_looked_up_for_the_rest() {
    let merged = Document::merged(None, None, &read(GRAPH)).unwrap();
    let graph = read(as_text(&merged));
    let expected = EdgeState {
        out_digest: "D1".parse().ok(),
        reason: Some(Unknown::NotLookedAt),
        ..EdgeState::default()
    };
    assert_eq!(graph.edges()[0].state, expected);
    assert!(graph.edges()[0].state.is_new());
    assert_eq!(graph.summary.serial, Some(7), "the first one is as it was sent");
    // An edge that was in the graph, went, and comes again, is a new one.
    let empty = read(r#"{"serial":9,"resources":[]}"#);
    let merged = Document::merged(Some(&empty), None, &read(GRAPH)).unwrap();
    assert_eq!(read(as_text(&merged)).edges()[0].state, expected);
    assert_eq!(read(as_text(&merged)).summary.serial, Some(10));
}

#[test]
fn an_edge_that_is_declared_twice_is_changed_in_both_places() {
    let one = r#"{"attributes":{"from_unit_id":"a","from_output":"x","to_unit_id":"b"}}"#;
    let text = format!(
        r#"{{"serial":1,"resources":[{{"mode":"managed","type":"opentaco_dependency","instances":[{one},{one}]}}]}}"#
    );
    let graph = read(&text);
    let both: BTreeMap<_, _> = graph.outgoing("a").map(|(at, _)| (at, pending())).collect();
    let changed = read(as_text(&graph.changed(&both).unwrap()));
    assert_eq!(changed.edges().len(), 2);
    assert!(changed.edges().iter().all(|edge| edge.state == pending()));
}

#[test]
fn what_is_no_graph_is_said_to_be_none() {
    let refused = |text: &str| Document::read(Bytes::copy_from_slice(text.as_bytes())).unwrap_err();
    let sealed =
        r#"{"serial":3,"lineage":"l","meta":{},"encrypted_data":"3q2+7w==","encryption_version":"v0"}"#;
    assert_eq!(refused(sealed), DocumentError::Encrypted);
    assert!(matches!(
        refused("[]"),
        DocumentError::NoState(StateError::NotAnObject)
    ));
    assert!(matches!(
        refused("{"),
        DocumentError::NoState(StateError::Truncated { .. })
    ));
    assert!(matches!(refused(r#"{"resources":7}"#), DocumentError::Odd { .. }));
    assert!(read("{}").edges().is_empty());
    assert!(read(r#"{"resources":null}"#).edges().is_empty());
}
