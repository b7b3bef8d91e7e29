//! Dependencies between units, told right while real terraform applies them: over HTTP and S3, on two replicas, and
//! beside a storm of writes.

use std::fmt::Write as _;

use futures::future::join_all;
use opentaco_testkit::client::Client;
use opentaco_testkit::s3_server::S3Server;
use opentaco_testkit::service::{ROOT_TOKEN, Service};
use serde_json::Value;
use tempfile::TempDir;

use crate::http;

const GRAPH: &str = "__opentaco_system";

/// Two replicas on a fresh bucket of a real S3 server, where nobody is asked who they are: so any signature will do.
struct Stage {
    replicas: [Service; 2],
    _homes: [TempDir; 2],
    _server: std::sync::Arc<S3Server>,
}

impl Stage {
    fn on(bucket: &str) -> Self {
        let server = S3Server::shared();
        server.bucket(bucket);
        let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let replica =
            |home: &TempDir| server.replica_with(home.path(), bucket, &server.endpoint(), &["-auth-disable"]);
        Self {
            replicas: [replica(&homes[0]), replica(&homes[1])],
            _homes: homes,
            _server: server,
        }
    }

    async fn get(&self, n: usize, path: &str) -> Value {
        let address = format!("{}{path}", self.replicas[n % 2].url());
        let answer = reqwest::get(address).await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    /// The colours of these units, by both replicas, which must agree.
    async fn colours<const N: usize>(&self, units: [&str; N]) -> [String; N] {
        let mut told = Vec::new();
        for n in 0..2 {
            let all = self.get(n, "/v1/status?dependent=true").await;
            let all = all["units"].as_array().unwrap();
            told.push(units.map(|unit| {
                let found = all.iter().find(|status| status["unit_id"] == unit);
                found.unwrap()["status"].as_str().unwrap().to_owned()
            }));
        }
        assert_eq!(told[0], told[1], "the replicas do not agree");
        told.remove(0)
    }

    /// The workspace of the graph, with our provider.
    fn graph_workspace(&self, resources: &str) -> Client {
        let client = self.replicas[0].client(GRAPH, resources);
        with_provider(&client);
        client.init()
    }
}

/// Has a client take the provider that was built, without a registry.
fn with_provider(client: &Client) {
    crate::provider::mirror(client);
}

/// A configuration of the graph's workspace.
fn graph_of(endpoint: &str, resources: &str) -> String {
    format!(
        "terraform {{\n  required_providers {{\n    opentaco = {{ source = \"digger/opentaco\" }}\n  }}\n}}\n\nprovider \"opentaco\" {{\n  endpoint = \"{endpoint}\"\n  token    = \"{ROOT_TOKEN}\"\n}}\n\n{resources}"
    )
}

const CHAIN: &str = r#"
module "edges" {
  source = "./edges"
  edges = {
    ab = { from = "chain/a", to = "chain/b" }
    bc = { from = "chain/b", to = "chain/c/terraform.tfstate" }
  }
}

output "statuses" {
  value = module.edges.ids
}

check "edges_have_ids" {
  assert {
    condition     = length(module.edges.ids) == 2
    error_message = "there are two edges"
  }
}
"#;

const EDGES_MODULE: &str = r#"
terraform {
  required_providers {
    opentaco = { source = "digger/opentaco" }
  }
}

variable "edges" {
  type = map(object({ from = string, to = string }))
}

resource "opentaco_dependency" "edge" {
  for_each     = var.edges
  from_unit_id = each.value.from
  from_output  = "value"
  to_unit_id   = each.value.to
}

output "ids" {
  value = { for name, edge in opentaco_dependency.edge : name => edge.id }
}
"#;

/// A unit of the chain: its value is what it takes, and something of its own.
fn link(own: &str) -> String {
    format!(
        "resource \"terraform_data\" \"link\" {{\n  input = \"{own}\"\n}}\n\noutput \"value\" {{\n  value = terraform_data.link.output\n}}\n"
    )
}

/// The unit `chain/<name>` by the HTTP backend of a replica.
fn over_http(stage: &Stage, n: usize, name: &str) -> Client {
    stage.replicas[n]
        .client(&format!("chain/{name}"), &link("1"))
        .init()
}

/// The same by the S3 backend.
fn over_s3(stage: &Stage, n: usize, name: &str) -> Client {
    let client = Client::without_backend(&link("1"))
        .with("AWS_ACCESS_KEY_ID", "whoever")
        .with("AWS_SECRET_ACCESS_KEY", "whatever");
    client.write(
        "backend.tf",
        &format!(
            "terraform {{\n  backend \"s3\" {{\n    bucket = \"opentaco\"\n    key = \"chain/{name}/terraform.tfstate\"\n    region = \"us-east-1\"\n    endpoints = {{ s3 = \"{}/s3\" }}\n    use_path_style = true\n    use_lockfile = true\n    skip_credentials_validation = true\n    skip_region_validation = true\n    skip_requesting_account_id = true\n  }}\n}}\n",
            stage.replicas[n].url()
        ),
    );
    client.init()
}

/// A → B → C by real applies, one door after the other: right after each, at both replicas.
async fn a_chain_is_told_right(bucket: &str, door: fn(&Stage, usize, &str) -> Client) {
    let stage = Stage::on(bucket);
    let graph = stage.replicas[0].client(GRAPH, "");
    with_provider(&graph);
    std::fs::create_dir(graph.directory().join("edges")).unwrap();
    graph.write("edges/main.tf", EDGES_MODULE);
    graph.resources(&graph_of(&stage.replicas[0].url(), CHAIN));
    let graph = graph.init();
    let _ = graph.apply().worked();
    let names = ["chain/a", "chain/b", "chain/c"];
    assert_eq!(stage.colours(names).await, ["green"; 3]);
    let b = stage.get(1, "/v1/units/chain__b/status").await;
    assert_eq!(
        (&b["incoming"][0]["status"], &b["incoming"][0]["reason"]),
        (&"unknown".into(), &"no-unit".into())
    );

    let [a, b, c] = [door(&stage, 0, "a"), door(&stage, 1, "b"), door(&stage, 0, "c")];
    let _ = a.apply().worked();
    assert_eq!(stage.colours(names).await, ["green", "red", "yellow"]);
    let _ = b.apply().worked();
    assert_eq!(stage.colours(names).await, ["green", "green", "red"]);
    let _ = c.apply().worked();
    assert_eq!(stage.colours(names).await, ["green"; 3]);

    a.resources(&link("2"));
    let _ = a.apply().worked();
    assert_eq!(stage.colours(names).await, ["green", "red", "yellow"]);
    let told = stage.get(1, "/v1/units/chain__b/status").await;
    let edge = &told["incoming"][0];
    assert_eq!(
        (&edge["from_unit_id"], &edge["from_output"]),
        (&"chain/a".into(), &"value".into())
    );
    let versions = stage.get(0, "/v1/units/chain__a/versions").await;
    assert_eq!(edge["in_version"], versions["versions"][0]["version"]);
    assert_eq!(edge["in_by"], versions["versions"][0]["by"]);
    let taken = stage.get(0, "/v1/units/chain__b/versions").await;
    assert_eq!(edge["out_version"], taken["versions"][0]["version"]);

    // The graph is a document that terraform takes, with everything that terraform knows of it, and nothing to change.
    let plan = graph
        .run(&["plan", "-input=false", "-detailed-exitcode"])
        .worked();
    assert!(plan.printed.contains("No changes"), "{}", plan.printed);
    let shown = graph.run(&["show", "-json"]).worked();
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let module = &shown["values"]["root_module"]["child_modules"][0];
    assert_eq!(module["resources"].as_array().unwrap().len(), 2);
    assert_eq!(module["resources"][0]["values"]["status"], "pending");
    assert_eq!(shown["checks"][0]["status"], "pass");

    // B is written and its value stays as it is: nothing is left for C to take.
    b.resources(&format!(
        "{}\nresource \"terraform_data\" \"more\" {{}}\n",
        link("1")
    ));
    let _ = b.apply().worked();
    assert_eq!(stage.colours(names).await, ["green"; 3]);
    let reconciled = reqwest::Client::new()
        .post(format!("{}/v1/graph/reconcile", stage.replicas[1].url()))
        .send()
        .await
        .unwrap();
    let reconciled: Value = serde_json::from_str(&reconciled.text().await.unwrap()).unwrap();
    assert_eq!(reconciled["changed"], Value::Array(Vec::new()), "{reconciled}");
}

#[tokio::test]
async fn a_chain_is_told_right_after_every_apply_over_http() {
    a_chain_is_told_right("graph-chain-http", over_http).await;
}

#[tokio::test]
async fn a_chain_is_told_right_after_every_apply_over_s3() {
    if !crate::s3::knows_lockfiles() {
        return;
    }
    a_chain_is_told_right("graph-chain-s3", over_s3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_units_are_written_while_terraform_applies_the_graph_and_nothing_is_lost() {
    let stage = Stage::on("graph-storm");
    let mut declared = String::from("locals {\n  edges = {\n");
    for n in 0..200 {
        // Four edges from each unit to the next ones, around in a ring.
        let (from, to) = (n % 50, (n % 50 + n / 50 + 1) % 50);
        writeln!(
            declared,
            "    \"{n}\" = {{ from = \"storm/{from}\", output = \"x{}\", to = \"storm/{to}\" }}",
            n / 50
        )
        .unwrap();
    }
    declared += "  }\n}\n\nresource \"opentaco_dependency\" \"edge\" {\n  for_each     = local.edges\n  from_unit_id = each.value.from\n  from_output  = each.value.output\n  to_unit_id   = each.value.to\n  to_input     = \"in${each.key}\"\n}\n";
    let graph = stage.graph_workspace(&graph_of(&stage.replicas[0].url(), &declared));
    let mut applying = graph.start(&["apply", "-input=false", "-auto-approve"]);

    let http = reqwest::Client::new();
    let write = async |unit: usize, serial: usize| {
        let outputs: Vec<String> = (0..4)
            .map(|k| format!(r#""x{k}":{{"value":"{unit}-{serial}-{k}","type":"string"}}"#))
            .collect();
        let body = format!(
            r#"{{"version":4,"terraform_version":"1.11.4","serial":{serial},"lineage":"{unit}","outputs":{{{}}},"resources":[]}}"#,
            outputs.join(",")
        );
        let address = stage.replicas[(unit + serial) % 2].backend(&format!("storm/{unit}"));
        let status = http::status(&http, "POST", &address, body).await;
        assert_eq!(status, 200, "storm/{unit}, serial {serial}");
    };
    // All units again and again until the apply is through, and once more.
    let mut serial = 0;
    let mut over = false;
    while !over || serial < 3 {
        over = !applying.is_running();
        serial += 1;
        join_all((0..50).map(|unit| write(unit, serial))).await;
    }
    assert!(applying.wait().success(), "{}", applying.printed());

    let told = stage.get(0, "/v1/graph").await;
    let edges = told["edges"].as_array().unwrap();
    assert_eq!(edges.len(), 200);
    let unknown: Vec<_> = edges.iter().filter(|edge| edge["status"] == "unknown").collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let address = format!("{}/v1/graph/reconcile", stage.replicas[1].url());
    let reconciled = http.post(address).send().await.unwrap().text().await.unwrap();
    let reconciled: Value = serde_json::from_str(&reconciled).unwrap();
    assert_eq!(
        (&reconciled["edges"], &reconciled["changed"]),
        (&200.into(), &Value::Array(Vec::new()))
    );
    let plan = graph
        .run(&["plan", "-input=false", "-detailed-exitcode"])
        .worked();
    assert!(plan.printed.contains("No changes"), "{}", plan.printed);
}
