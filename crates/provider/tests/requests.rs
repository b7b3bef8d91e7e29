//! The requests of Terraform, answered by the provider, which asks a service that the test plays.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::future::join_all;
use opentaco_domain::graph::EdgeEnds;
use opentaco_provider::plugin::object::Object;
use opentaco_provider::plugin::proto::tfplugin6::provider_server::Provider as _;
use opentaco_provider::plugin::proto::tfplugin6::{self as wire, DynamicValue};
use opentaco_provider::plugin::provider::Provider as _;
use opentaco_provider::plugin::service::Service;
use opentaco_provider::plugin::types::Type;
use opentaco_provider::plugin::value::Value;
use opentaco_provider::provider::OpenTaco;
use serde_json::json;
use tonic::Request;

const EDGE: &str = "opentaco_dependency";

/// What the played service has seen.
#[derive(Default)]
struct Seen {
    asked: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
    accounts: AtomicUsize,
}

#[derive(serde::Deserialize)]
struct Ends {
    from_unit_id: String,
    from_output: String,
    to_unit_id: String,
    to_input: String,
}

fn edge(ends: &EdgeEnds) -> serde_json::Value {
    json!({
        "edge_id": ends.id(),
        "from_unit_id": ends.from_unit,
        "from_output": ends.from_output,
        "to_unit_id": ends.to_unit,
        "to_input": ends.to_input,
        "status": "pending",
        "why": "because",
        "in_digest": "d1",
        "out_digest": null,
        "last_in_at": "2026-11-30T20:00:00Z",
        "last_out_at": null,
        "declared": false,
    })
}

/// Answers for any edge as for one that nobody has declared.
async fn one_edge(State(seen): State<Arc<Seen>>, Query(ends): Query<Ends>) -> Json<serde_json::Value> {
    seen.asked.fetch_add(1, Ordering::Relaxed);
    let now = seen.now.fetch_add(1, Ordering::Relaxed) + 1;
    seen.most.fetch_max(now, Ordering::Relaxed);
    // The others get their turn while this one is asked.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    seen.now.fetch_sub(1, Ordering::Relaxed);
    let Ends {
        from_unit_id,
        from_output,
        to_unit_id,
        to_input,
    } = ends;
    Json(edge(&EdgeEnds::new(
        &from_unit_id,
        &from_output,
        &to_unit_id,
        &to_input,
    )))
}

async fn known_edge() -> Json<serde_json::Value> {
    Json(edge(&EdgeEnds::new("a/prod", "vpc", "b/prod", "net")))
}

async fn unknown() -> (StatusCode, Json<serde_json::Value>) {
    let body = json!({"error": "not_found", "message": "there is no unit `gone`"});
    (StatusCode::NOT_FOUND, Json(body))
}

async fn made() -> (StatusCode, Json<serde_json::Value>) {
    let body = json!({"id": "half", "created": "2026-11-30T20:00:00Z"});
    (StatusCode::CREATED, Json(body))
}

async fn accounts(State(seen): State<Arc<Seen>>) -> Json<serde_json::Value> {
    let made = seen.accounts.load(Ordering::Relaxed);
    let account = json!({"name": "nightly", "description": "drift", "created": "2026-11-30T20:00:00Z"});
    Json(json!({"service_accounts": vec![account; made], "count": made}))
}

async fn account_with_a_lost_answer(State(seen): State<Arc<Seen>>) -> StatusCode {
    seen.accounts.fetch_add(1, Ordering::Relaxed);
    StatusCode::GATEWAY_TIMEOUT
}

async fn info() -> Json<serde_json::Value> {
    Json(json!({"version": "1", "system_unit": "the/graph", "principal": "anonymous", "body_bytes_max": 1}))
}

async fn forbidden() -> (StatusCode, Json<serde_json::Value>) {
    let body = json!({"error": "forbidden", "message": "`half` may not be changed by you"});
    (StatusCode::FORBIDDEN, Json(body))
}

/// The provider, configured for a service that answers these requests.
struct Played {
    service: Service<OpenTaco>,
    seen: Arc<Seen>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Played {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Played {
    async fn new() -> Self {
        let seen = Arc::new(Seen::default());
        let known = EdgeEnds::new("a/prod", "vpc", "b/prod", "net").id();
        let routes = Router::new()
            .route("/v1/graph/edge", get(one_edge))
            .route(&format!("/v1/graph/edges/{known}"), get(known_edge))
            .route("/v1/info", get(info))
            .route(
                opentaco_sdk::api::paths::SERVICE_ACCOUNTS,
                get(accounts).post(account_with_a_lost_answer),
            )
            .route("/v1/units", post(made))
            .route("/v1/units/{unit}", get(unknown).delete(unknown).patch(forbidden))
            .with_state(Arc::clone(&seen));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        #[expect(clippy::disallowed_methods, reason = "no simulator plays this test")]
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let provider = OpenTaco::with(|_| None);
        let configured = Object::of([("endpoint", endpoint.into())]);
        let config = packed(&configured, &provider.schema().value_type());
        let service = Service::new(provider);
        let request = wire::configure_provider::Request {
            config: Some(config),
            ..Default::default()
        };
        let answer = service.configure_provider(Request::new(request)).await.unwrap();
        assert_eq!(answer.into_inner().diagnostics, []);
        Self {
            service,
            seen,
            serving,
        }
    }

    /// Plans and applies the creation of an edge.
    async fn create(&self, configured: &Object) -> Object {
        let kind = kind_of(EDGE);
        let planned = self.plan(configured, None).await.planned_state;
        let request = wire::apply_resource_change::Request {
            type_name: EDGE.to_owned(),
            prior_state: Some(nothing()),
            planned_state: planned,
            config: Some(packed(configured, &kind)),
            ..Default::default()
        };
        let answer = self.service.apply_resource_change(Request::new(request)).await;
        let answer = answer.unwrap().into_inner();
        assert_eq!(answer.diagnostics, []);
        unpacked(answer.new_state, &kind).unwrap()
    }

    async fn plan(
        &self,
        configured: &Object,
        prior: Option<&Object>,
    ) -> wire::plan_resource_change::Response {
        let kind = kind_of(EDGE);
        // As Terraform proposes: what may be computed keeps its value where the configuration says nothing.
        let mut proposed = configured.clone();
        if let Some(prior) = prior {
            for (name, value) in fields(prior) {
                if *proposed.get(&name) == Value::Null {
                    proposed.set(&name, value);
                }
            }
        }
        let request = wire::plan_resource_change::Request {
            type_name: EDGE.to_owned(),
            prior_state: Some(prior.map_or_else(nothing, |prior| packed(prior, &kind))),
            proposed_new_state: Some(packed(&proposed, &kind)),
            config: Some(packed(configured, &kind)),
            ..Default::default()
        };
        let answer = self.service.plan_resource_change(Request::new(request)).await;
        answer.unwrap().into_inner()
    }

    async fn read(&self, state: &Object) -> Object {
        let answer = self.look(state).await;
        let warning = i32::from(wire::diagnostic::Severity::Warning);
        assert!(answer.diagnostics.iter().all(|told| told.severity == warning));
        unpacked(answer.new_state, &kind_of(EDGE)).unwrap()
    }

    async fn look(&self, state: &Object) -> wire::read_resource::Response {
        let request = wire::read_resource::Request {
            type_name: EDGE.to_owned(),
            current_state: Some(packed(state, &kind_of(EDGE))),
            ..Default::default()
        };
        let answer = self.service.read_resource(Request::new(request)).await;
        answer.unwrap().into_inner()
    }

    async fn import(&self, id: &str) -> wire::import_resource_state::Response {
        let request = wire::import_resource_state::Request {
            type_name: EDGE.to_owned(),
            id: id.to_owned(),
            ..Default::default()
        };
        let answer = self.service.import_resource_state(Request::new(request)).await;
        answer.unwrap().into_inner()
    }
}

fn kind_of(resource: &str) -> Type {
    OpenTaco::with(|_| None).resources()[resource]
        .schema()
        .value_type()
}

fn packed(object: &Object, kind: &Type) -> DynamicValue {
    DynamicValue {
        msgpack: object.write(kind),
        json: Vec::new(),
    }
}

fn unpacked(value: Option<DynamicValue>, kind: &Type) -> Option<Object> {
    Object::read(&value.unwrap().msgpack, kind).unwrap()
}

fn nothing() -> DynamicValue {
    DynamicValue {
        msgpack: vec![0xc0],
        json: Vec::new(),
    }
}

fn fields(object: &Object) -> Vec<(String, Value)> {
    match object.clone().into_value() {
        Value::Map(fields) => fields.into_iter().collect(),
        _ => Vec::new(),
    }
}

fn ends(from: &str, output: &str, to: &str, input: Value) -> Object {
    Object::of([
        ("from_unit_id", from.into()),
        ("from_output", output.into()),
        ("to_unit_id", to.into()),
        ("to_input", input),
    ])
}

#[tokio::test]
async fn an_edge_has_its_id_before_it_is_made_and_what_the_service_tells_after() {
    let played = Played::new().await;
    let configured = ends("/a/prod/terraform.tfstate", "vpc", "b/prod", Value::Null);
    let planned = unpacked(played.plan(&configured, None).await.planned_state, &kind_of(EDGE)).unwrap();
    let id = EdgeEnds::new("a/prod", "vpc", "b/prod", "vpc").id().to_string();
    assert_eq!(planned.text("id"), Some(id.as_str()));
    assert_eq!(planned.text("to_input"), Some("vpc"));
    assert_eq!(*planned.get("status"), Value::Unknown);

    let made = played.create(&configured).await;
    assert_eq!(made.text("id"), Some(id.as_str()));
    assert_eq!(made.text("from_unit_id"), Some("/a/prod/terraform.tfstate"));
    assert_eq!(made.text("status"), Some("pending"));
    assert_eq!(made.text("in_digest"), Some("d1"));
    assert_eq!(made.text("last_in_at"), Some("2026-11-30T20:00:00Z"));
    assert_eq!(
        (made.get("out_digest"), made.get("reason")),
        (&Value::Null, &Value::Null)
    );

    let again = played.plan(&configured, Some(&made)).await;
    assert_eq!(unpacked(again.planned_state, &kind_of(EDGE)).unwrap(), made);
    assert_eq!(again.requires_replace, []);
}

#[tokio::test]
async fn another_end_is_another_edge_and_an_end_that_is_not_known_leaves_the_id_open() {
    let played = Played::new().await;
    let made = played.create(&ends("a", "vpc", "b", Value::Null)).await;
    let other = played
        .plan(&ends("a", "subnet", "b", Value::Null), Some(&made))
        .await;
    let replacing: Vec<_> = other
        .requires_replace
        .iter()
        .map(|path| path.steps[0].selector.clone().unwrap())
        .collect();
    use wire::attribute_path::step::Selector::AttributeName;
    assert_eq!(
        replacing,
        [
            AttributeName("from_output".to_owned()),
            AttributeName("to_input".to_owned())
        ]
    );
    let mut open = ends("a", "vpc", "b", Value::Null);
    open.set("from_output", Value::Unknown);
    let planned = unpacked(played.plan(&open, None).await.planned_state, &kind_of(EDGE)).unwrap();
    assert_eq!(*planned.get("id"), Value::Unknown);
    assert_eq!(*planned.get("to_input"), Value::Unknown);
}

#[tokio::test]
async fn an_edge_is_imported_by_its_ends_and_by_its_id() {
    let played = Played::new().await;
    let known = EdgeEnds::new("a/prod", "vpc", "b/prod", "net");
    for id in [known.id().to_string(), known.to_string()] {
        let mut answer = played.import(&id).await;
        assert_eq!(answer.diagnostics, [], "{id}");
        let found = unpacked(answer.imported_resources.remove(0).state, &kind_of(EDGE)).unwrap();
        assert_eq!(found.text("from_unit_id"), Some("a/prod"), "{id}");
        assert_eq!(found.text("to_input"), Some("net"), "{id}");
    }
    let none = played.import("a/prod").await;
    assert!(none.diagnostics[0].detail.contains("is no edge"), "{none:?}");
}

#[tokio::test]
async fn what_a_target_has_taken_is_kept_on_the_way_into_the_graph() {
    let played = Played::new().await;
    let mut state = ends("a", "vpc", "b", "vpc".into());
    state.set("out_digest", "d1");
    state.set("last_out_at", "2026-11-30T20:01:00Z");
    let mut read = played.read(&state).await;
    assert_eq!(
        (read.text("out_digest"), read.text("status")),
        (Some("d1"), Some("ok"))
    );
    assert_eq!(read.text("last_out_at"), Some("2026-11-30T20:01:00Z"));
    read.set("out_digest", "d0");
    let read = played.read(&read).await;
    assert_eq!(
        (read.text("out_digest"), read.text("status")),
        (Some("d0"), Some("pending"))
    );
}

#[tokio::test]
async fn another_spelling_of_a_unit_is_no_other_edge() {
    let played = Played::new().await;
    let made = played.create(&ends("a/prod", "vpc", "b", Value::Null)).await;
    let spelled = ends("/a/prod/terraform.tfstate", "vpc", "b", Value::Null);
    let plan = played.plan(&spelled, Some(&made)).await;
    assert_eq!(plan.requires_replace, []);
    let planned = unpacked(plan.planned_state, &kind_of(EDGE)).unwrap();
    assert_eq!(planned.get("id"), made.get("id"));
    assert_eq!(planned.text("from_unit_id"), Some("/a/prod/terraform.tfstate"));
}

#[tokio::test]
async fn a_service_account_whose_answer_is_lost_is_made() {
    let played = Played::new().await;
    let kind = kind_of("opentaco_service_account");
    let create = || {
        let planned = Object::of([
            ("name", "nightly".into()),
            ("description", "drift".into()),
            ("created", Value::Unknown),
        ]);
        Request::new(wire::apply_resource_change::Request {
            type_name: "opentaco_service_account".to_owned(),
            prior_state: Some(nothing()),
            planned_state: Some(packed(&planned, &kind)),
            ..Default::default()
        })
    };
    let answer = played.service.apply_resource_change(create()).await;
    let answer = answer.unwrap().into_inner();
    assert_eq!(answer.diagnostics, []);
    let made = unpacked(answer.new_state, &kind).unwrap();
    assert_eq!(made.text("created"), Some("2026-11-30T20:00:00Z"));
    let again = played.service.apply_resource_change(create()).await;
    let told = again.unwrap().into_inner().diagnostics;
    assert_eq!(told[0].summary, "There is a service account `nightly` already");
}

#[tokio::test]
async fn a_state_that_is_not_the_graph_is_told_so_when_it_is_refreshed() {
    let played = Played::new().await;
    let made = played.create(&ends("a", "vpc", "b", Value::Null)).await;
    let answer = played.look(&made).await;
    let [told] = &answer.diagnostics[..] else {
        panic!("{answer:?}")
    };
    assert_eq!(told.severity, i32::from(wire::diagnostic::Severity::Warning));
    assert_eq!(told.summary, "The graph does not have this dependency");
    assert!(told.detail.contains("must be the unit `the/graph`"), "{told:?}");
    assert_eq!(unpacked(answer.new_state, &kind_of(EDGE)), Some(made));
    // What is imported is on its way.
    let imported = played.look(&ends("a", "vpc", "b", "vpc".into())).await;
    assert_eq!(imported.diagnostics, []);
}

#[tokio::test]
async fn whatever_the_service_reads_as_an_edge_can_be_refreshed() {
    let played = Played::new().await;
    let configured = ends("a", "vpc", "b", Value::Null);
    let read = played.read(&configured).await;
    assert_eq!(read.text("to_input"), Some("vpc"));
    assert_eq!(played.plan(&configured, Some(&read)).await.requires_replace, []);

    let asked = played.seen.asked.load(Ordering::Relaxed);
    let mut bad = ends("a//b", "vpc", "b", "vpc".into());
    bad.set("in_digest", "d0");
    let read = played.read(&bad).await;
    assert_eq!(
        (read.text("status"), read.text("reason"), read.text("in_digest")),
        (Some("unknown"), Some("bad-unit-id"), Some("d0"))
    );
    assert_eq!(played.seen.asked.load(Ordering::Relaxed), asked);
}

#[tokio::test]
async fn many_edges_are_asked_for_side_by_side_and_not_all_at_once() {
    let played = Played::new().await;
    let all: Vec<_> = (0..200)
        .map(|number| ends("a", &format!("out{number}"), "b", Value::Null))
        .collect();
    join_all(all.iter().map(|configured| played.create(configured))).await;
    assert_eq!(played.seen.asked.load(Ordering::Relaxed), 200);
    let most = played.seen.most.load(Ordering::Relaxed);
    assert!((2..=16).contains(&most), "{most} at once");
}

#[tokio::test]
async fn what_is_gone_leaves_the_state_and_is_deleted_already() {
    let played = Played::new().await;
    let kind = kind_of("opentaco_unit");
    let state = Object::of([("id", "gone".into())]);
    let read = wire::read_resource::Request {
        type_name: "opentaco_unit".to_owned(),
        current_state: Some(packed(&state, &kind)),
        ..Default::default()
    };
    let answer = played
        .service
        .read_resource(Request::new(read))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (unpacked(answer.new_state, &kind), answer.diagnostics),
        (None, vec![])
    );
    let delete = wire::apply_resource_change::Request {
        type_name: "opentaco_unit".to_owned(),
        prior_state: Some(packed(&state, &kind)),
        planned_state: Some(nothing()),
        ..Default::default()
    };
    let answer = played
        .service
        .apply_resource_change(Request::new(delete))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (unpacked(answer.new_state, &kind), answer.diagnostics),
        (None, vec![])
    );
}

/// Applies the creation of a unit.
async fn create_unit(played: &Played, is_protected: bool) -> wire::apply_resource_change::Response {
    let kind = kind_of("opentaco_unit");
    let planned = Object::of([
        ("id", "half".into()),
        ("labels", Value::Map([].into())),
        ("description", "".into()),
        ("deletion_protection", is_protected.into()),
        ("size", Value::Unknown),
        ("updated", Value::Unknown),
        ("locked", Value::Unknown),
    ]);
    let create = wire::apply_resource_change::Request {
        type_name: "opentaco_unit".to_owned(),
        prior_state: Some(nothing()),
        planned_state: Some(packed(&planned, &kind)),
        ..Default::default()
    };
    let answer = played.service.apply_resource_change(Request::new(create)).await;
    answer.unwrap().into_inner()
}

#[tokio::test]
async fn a_unit_that_was_made_and_not_finished_stays_in_the_state() {
    let played = Played::new().await;
    let answer = create_unit(&played, true).await;
    let told: Vec<_> = answer
        .diagnostics
        .iter()
        .map(|told| told.summary.as_str())
        .collect();
    assert_eq!(told, ["Cannot finish making the unit `half`"]);
    // So it is not lost, and Terraform removes it before it makes it anew: it is not protected.
    let left = unpacked(answer.new_state, &kind_of("opentaco_unit")).unwrap();
    assert_eq!((left.text("id"), left.get("size")), (Some("half"), &Value::Null));
    assert_eq!(*left.get("deletion_protection"), Value::Bool(false));
}

#[tokio::test]
async fn a_unit_that_was_made_and_cannot_be_looked_at_is_made() {
    let played = Played::new().await;
    let answer = create_unit(&played, false).await;
    assert_eq!(answer.diagnostics, []);
    let made = unpacked(answer.new_state, &kind_of("opentaco_unit")).unwrap();
    assert_eq!(made.text("updated"), Some("2026-11-30T20:00:00Z"));
    assert_eq!(
        (made.get("size"), made.get("locked")),
        (&Value::from(0_u64), &Value::Bool(false))
    );
}

#[tokio::test]
async fn units_are_not_looked_for_by_a_label_that_cannot_be_asked_for() {
    let service = Service::new(OpenTaco::with(|_| None));
    let kind = OpenTaco::with(|_| None).data_sources()["opentaco_units"]
        .schema()
        .value_type();
    let label = |name: &str| Value::Map([(name.to_owned(), "x".into())].into());
    for (name, faults) in [("team", 0), ("a=b", 1)] {
        let configured = Object::of([("labels", label(name))]);
        let request = wire::validate_data_resource_config::Request {
            type_name: "opentaco_units".to_owned(),
            config: Some(packed(&configured, &kind)),
        };
        let answer = service.validate_data_resource_config(Request::new(request)).await;
        let told = answer.unwrap().into_inner().diagnostics;
        assert_eq!(told.len(), faults, "{told:?}");
        assert!(
            told.iter()
                .all(|told| told.attribute.as_ref().unwrap().steps.len() == 2),
            "{told:?}"
        );
    }
}

#[tokio::test]
async fn a_state_of_another_version_is_read_as_far_as_we_know_it() {
    let played = Played::new().await;
    let kind = kind_of("opentaco_unit");
    let upgrade = |json: &str| wire::upgrade_resource_state::Request {
        type_name: "opentaco_unit".to_owned(),
        version: 0,
        raw_state: Some(wire::RawState {
            json: json.as_bytes().to_vec(),
            ..Default::default()
        }),
    };
    let request = Request::new(upgrade(
        r#"{"id": "a", "size": 7, "of_another_version": {"x": [1]}}"#,
    ));
    let answer = played
        .service
        .upgrade_resource_state(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.diagnostics, []);
    let state = unpacked(answer.upgraded_state, &kind).unwrap();
    assert_eq!((state.text("id"), state.get("labels")), (Some("a"), &Value::Null));
    for none in ["", "[]", "{", r#"{"id": 7}"#] {
        let answer = played
            .service
            .upgrade_resource_state(Request::new(upgrade(none)))
            .await;
        assert_eq!(answer.unwrap().into_inner().diagnostics.len(), 1, "{none}");
    }
}

#[tokio::test]
async fn what_is_not_configured_or_not_there_is_refused_without_a_panic() {
    let service = Service::new(OpenTaco::with(|_| None));
    let read = |name: &str| {
        Request::new(wire::read_resource::Request {
            type_name: name.to_owned(),
            ..Default::default()
        })
    };
    let unconfigured = service.read_resource(read(EDGE)).await.unwrap_err();
    assert_eq!(unconfigured.code(), tonic::Code::FailedPrecondition);
    let no_such = service.read_resource(read("opentaco_moon")).await.unwrap_err();
    assert_eq!(no_such.code(), tonic::Code::InvalidArgument);
    let metadata = service
        .get_metadata(Request::new(wire::get_metadata::Request {}))
        .await;
    let metadata = metadata.unwrap().into_inner();
    assert_eq!((metadata.resources.len(), metadata.data_sources.len()), (6, 4));
}

#[tokio::test]
async fn an_interrupted_client_waits_for_nothing_that_changes_nothing() {
    let played = Played::new().await;
    played
        .service
        .stop_provider(Request::new(wire::stop_provider::Request {}))
        .await
        .unwrap();
    let state = ends("a", "vpc", "b", "vpc".into());
    let read = wire::read_resource::Request {
        type_name: EDGE.to_owned(),
        current_state: Some(packed(&state, &kind_of(EDGE))),
        ..Default::default()
    };
    let answer = tokio::time::timeout(
        Duration::from_secs(30),
        played.service.read_resource(Request::new(read)),
    );
    let answer = answer.await.unwrap().unwrap().into_inner();
    assert_eq!(answer.diagnostics[0].summary, "Interrupted");
    // And of what changes something, nothing is begun any more.
    let answer = create_unit(&played, false).await;
    assert_eq!(answer.diagnostics[0].summary, "Interrupted");
    assert_eq!(unpacked(answer.new_state, &kind_of("opentaco_unit")), None);
}
