//! Two service processes on one bucket of a real S3 server cannot be made to disagree.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::TryStreamExt as _;
use futures::future::join_all;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutPayload};
use opentaco_storage::Store;
use opentaco_testkit::client::Client;
use opentaco_testkit::proxy::Proxy;
use opentaco_testkit::s3_server::{ACCESS, S3Server, SECRET};
use opentaco_testkit::service::Service;
use tempfile::TempDir;

use crate::http;
use crate::journeys::{Hold, ONE};

/// Two replicas on a fresh bucket.
pub(crate) struct Pair {
    pub(crate) replicas: [Service; 2],
    server: Arc<S3Server>,
    bucket: String,
    _homes: [TempDir; 2],
}

impl Pair {
    pub(crate) fn on(bucket: &str) -> Self {
        let server = S3Server::shared();
        server.bucket(bucket);
        let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let replicas = [
            server.replica(homes[0].path(), bucket),
            server.replica(homes[1].path(), bucket),
        ];
        Self {
            replicas,
            server,
            bucket: bucket.to_owned(),
            _homes: homes,
        }
    }

    /// The address of a unit at one of them, in turn.
    fn address(&self, n: usize, unit: &str) -> String {
        self.replicas[n % 2].backend(unit)
    }

    /// What a person does with `aws s3 cp FILE s3://…/KEY`.
    pub(crate) async fn person_puts(&self, key: &str, text: &str) {
        let payload = PutPayload::from(text.to_owned());
        self.by_hand()
            .await
            .put(&Path::parse(key).unwrap(), payload)
            .await
            .unwrap();
    }

    /// What a person sees with `aws s3 cp s3://…/KEY -`.
    pub(crate) async fn person_gets(&self, key: &str) -> String {
        let got = self
            .by_hand()
            .await
            .get(&Path::parse(key).unwrap())
            .await
            .unwrap();
        String::from_utf8(got.bytes().await.unwrap().to_vec()).unwrap()
    }

    /// The keys below a name, in order.
    pub(crate) async fn keys_below(&self, name: &str) -> Vec<String> {
        let name = Path::parse(name).unwrap();
        let store = self.by_hand().await;
        let listed = store
            .list(Some(&name))
            .map_ok(|object| object.location.to_string());
        let mut keys: Vec<String> = listed.try_collect().await.unwrap();
        keys.sort();
        keys
    }

    pub(crate) async fn head(&self, unit: &str) -> serde_json::Value {
        serde_json::from_str(
            &self
                .person_gets(&format!("__opentaco_units/{unit}/@head.json"))
                .await,
        )
        .unwrap()
    }

    async fn copy(&self, unit: &str) -> serde_json::Value {
        serde_json::from_str(&self.person_gets(&format!("{unit}/terraform.tfstate")).await).unwrap()
    }

    async fn by_hand(&self) -> Arc<dyn Store> {
        self.server.by_hand(&self.bucket).await
    }

    /// The content hashes of the whole history, newest first.
    async fn history(&self, unit: &str) -> Vec<String> {
        let head = self.head(unit).await;
        let current = std::iter::once(&head["current"]);
        let recent = head["recent"].as_array().unwrap().iter();
        let mut all: Vec<String> = current
            .chain(recent)
            .map(|version| version["sha256"].as_str().unwrap().to_owned())
            .collect();
        // Older ones are named by epoch and nonce; their objects say the rest.
        let kept: BTreeSet<&str> = head["kept"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        if !kept.is_empty() {
            for key in self.keys_below(&format!("__opentaco_versions/{unit}/@")).await {
                let name = key.rsplit('/').next().unwrap();
                let parts: Vec<&str> = name.split('-').collect();
                let short = format!("{:x}-{}", u64::from_str_radix(parts[0], 16).unwrap(), parts[4]);
                if kept.contains(short.as_str()) {
                    all.push(parts[3].to_owned());
                }
            }
        }
        all
    }
}

fn sha256(text: &str) -> String {
    opentaco_domain::Sha256::of(text.as_bytes()).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_200_locks_at_once_one_is_granted_and_the_rest_are_told_the_holder() {
    let pair = Pair::on("locks");
    let client = reqwest::Client::new();
    let attempts = (0..200).map(|n| {
        let (client, address) = (client.clone(), pair.address(n, "race"));
        async move {
            let answer = http::send(
                &client,
                "LOCK",
                &address,
                http::lock_body(&http::uuid(n), "racer"),
            )
            .await;
            (n, answer.status().as_u16(), answer.bytes().await.unwrap())
        }
    });
    let answers = join_all(attempts).await;
    let granted: Vec<usize> = answers
        .iter()
        .filter(|(_, status, _)| *status == 200)
        .map(|(n, ..)| *n)
        .collect();
    assert_eq!(granted.len(), 1, "{granted:?}");
    let holder = http::uuid(granted[0]);
    for (n, status, body) in &answers {
        if *n != granted[0] {
            let told: serde_json::Value = serde_json::from_slice(body).unwrap();
            assert_eq!(
                (*status, told["ID"].as_str()),
                (423, Some(holder.as_str())),
                "{n}"
            );
        }
    }
    assert_eq!(pair.head("race").await["lock"]["id"], holder.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_100_first_writes_at_once_every_acknowledged_one_is_in_the_history() {
    writes_without_a_lock("first", 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_50_creates_and_50_first_writes_at_once_one_at_most_creates_and_no_write_is_lost() {
    let pair = Pair::on("creates");
    let client = reqwest::Client::new();
    let attempts = (0..100).map(|n| {
        let (client, write) = (client.clone(), pair.address(n / 2, "race"));
        let create = format!("{}/v1/units", pair.replicas[n / 2 % 2].url());
        async move {
            match n % 2 {
                0 => http::status(&client, "POST", &write, http::state(n, "x")).await,
                _ => http::status(&client, "POST", &create, r#"{"id":"race"}"#.to_owned()).await,
            }
        }
    });
    let answers = join_all(attempts).await;
    let (written, created): (Vec<_>, Vec<_>) = answers.iter().enumerate().partition(|(n, _)| n % 2 == 0);
    assert!(written.iter().all(|(_, status)| **status == 200), "{answers:?}");
    assert!(
        created.iter().all(|(_, status)| [201, 409].contains(*status)),
        "{answers:?}"
    );
    assert!(
        created.iter().filter(|(_, status)| **status == 201).count() <= 1,
        "{answers:?}"
    );
    let history = pair.history("race").await;
    for (n, _) in written {
        assert!(
            history.contains(&sha256(&http::state(n, "x"))),
            "write {n} is lost"
        );
    }
    let read = http::send(&client, "GET", &pair.address(0, "race"), "").await;
    assert_eq!(
        sha256(&read.text().await.unwrap()),
        history[0],
        "what is read is what the head names"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_50_writes_without_a_lock_every_acknowledged_one_is_in_the_history_in_one_order() {
    writes_without_a_lock("unlocked", 50).await;
}

async fn writes_without_a_lock(bucket: &str, count: usize) {
    let pair = Pair::on(bucket);
    let client = reqwest::Client::new();
    let attempts = (0..count).map(|n| {
        let (client, address) = (client.clone(), pair.address(n, "race"));
        async move {
            (
                n,
                http::status(&client, "POST", &address, http::state(n, "x")).await,
            )
        }
    });
    let answers = join_all(attempts).await;
    let acknowledged: Vec<usize> = answers
        .iter()
        .filter(|(_, status)| *status == 200)
        .map(|(n, _)| *n)
        .collect();
    assert_eq!(acknowledged.len(), count, "{answers:?}");
    let history = pair.history("race").await;
    let distinct: BTreeSet<&String> = history.iter().collect();
    assert_eq!(distinct.len(), history.len(), "nothing is committed twice");
    for n in acknowledged {
        assert!(
            history.contains(&sha256(&http::state(n, "x"))),
            "write {n} is lost"
        );
    }
    let read = http::send(&client, "GET", &pair.address(0, "race"), "")
        .await
        .text()
        .await
        .unwrap();
    assert_eq!(sha256(&read), history[0], "what is read is what the head names");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_after_the_lock_was_broken_at_the_other_replica_is_refused_and_kept() {
    let pair = Pair::on("stale");
    let client = reqwest::Client::new();
    let (id, other) = (http::uuid(1), http::uuid(2));
    let first = pair.address(0, "u");
    assert_eq!(
        http::status(&client, "LOCK", &first, http::lock_body(&id, "slow")).await,
        200
    );
    assert_eq!(
        http::status(&client, "POST", &format!("{first}?ID={id}"), http::state(1, "a")).await,
        200
    );
    // Force-unlocked and taken over through the other replica; the first still remembers the old head.
    let second = pair.address(1, "u");
    assert_eq!(http::status(&client, "UNLOCK", &second, "").await, 200);
    assert_eq!(
        http::status(&client, "LOCK", &second, http::lock_body(&other, "quick")).await,
        200
    );
    for replica in [0, 1] {
        let address = format!("{}?ID={id}", pair.address(replica, "u"));
        let answer = http::send(&client, "POST", &address, http::state(2 + replica, "stale")).await;
        assert_eq!(answer.status().as_u16(), 409);
        let told: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(told["ID"], other.as_str());
        let kept = told["kept"].as_str().unwrap();
        let bytes = pair.person_gets(&format!("__opentaco_rejected/u/@/{kept}")).await;
        assert_eq!(bytes, http::state(2 + replica, "stale"));
    }
    assert_eq!(pair.copy("u").await["marker"], "a");
    // The broken lock cannot be taken again either.
    assert_eq!(
        http::status(&client, "LOCK", &first, http::lock_body(&id, "slow")).await,
        410
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_locks_at_one_replica_and_writes_at_the_other_sees_one_service() {
    let pair = Pair::on("either");
    let [first, second] = [pair.replicas[0].backend("u"), pair.replicas[1].backend("u")];
    let client = Client::without_backend(ONE);
    let block = format!(
        "terraform {{\n  backend \"http\" {{\n    address = \"{first}\"\n    lock_address = \"{second}\"\n    unlock_address = \"{first}\"\n  }}\n}}\n"
    );
    client.write("backend.tf", &block);
    let client = client.init();
    for input in ["1", "2", "3"] {
        client.resources(&ONE.replace("\"1\"", &format!("\"{input}\"")));
        let _ = client.apply().worked();
        assert_eq!(pair.copy("u").await["outputs"]["one"]["value"], input);
    }
    assert!(pair.head("u").await["lock"].is_null());
    assert_eq!(pair.history("u").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_outlives_the_replica_that_it_began_with() {
    let mut pair = Pair::on("failover");
    let proxy = Proxy::before(pair.replicas[0].port());
    let hold = Hold::new();
    let client = Client::new(&format!("{}/v1/backend/u", proxy.url()), &hold.resource()).init();
    let mut applying = client.start(&["apply", "-input=false", "-auto-approve"]);
    hold.started();
    pair.replicas[0].kill();
    proxy.lead_to(pair.replicas[1].port());
    hold.go();
    assert!(applying.wait().success(), "{}", applying.printed());
    assert_eq!(pair.copy("u").await["resources"].as_array().unwrap().len(), 2);
    assert!(pair.head("u").await["lock"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_gone_is_an_error_and_never_a_unit_without_a_state() {
    let pair = Pair::on("vanishing");
    let client = reqwest::Client::new();
    let (known, unknown) = (pair.address(0, "u"), pair.address(1, "never-written"));
    assert_eq!(
        http::status(&client, "POST", &known, http::state(1, "a")).await,
        200
    );
    assert_eq!(http::status(&client, "GET", &unknown, "").await, 404);
    pair.server.remove_bucket("vanishing");
    for address in [&known, &unknown] {
        for method in ["GET", "LOCK", "POST"] {
            let body = if method == "GET" {
                String::new()
            } else {
                http::lock_body(&http::uuid(1), "me")
            };
            let body = if method == "POST" {
                http::state(2, "b")
            } else {
                body
            };
            assert_eq!(
                http::status(&client, method, address, body).await,
                503,
                "{method} {address}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_is_deleted_leaves_no_state_in_its_copy_none_that_resembles_another_and_comes_back() {
    let pair = Pair::on("deleted");
    let client = reqwest::Client::new();
    let units = format!("{}/v1/units", pair.replicas[1].url());
    let mut emptied = BTreeSet::new();
    for unit in ["one", "two"] {
        let written = http::status(&client, "POST", &pair.address(0, unit), http::state(1, unit)).await;
        assert_eq!(written, 200);
        let deleted = http::status(&client, "DELETE", &format!("{units}/{unit}"), "").await;
        assert_eq!(deleted, 204);
        emptied.insert(pair.person_gets(&format!("{unit}/terraform.tfstate")).await);
        for replica in [0, 1] {
            let read = http::status(&client, "GET", &pair.address(replica, unit), "").await;
            assert_eq!(read, 404);
        }
    }
    assert_eq!(emptied.len(), 2, "the same bytes have the same ETag: {emptied:?}");
    for copy in &emptied {
        assert!(opentaco_storage::is_vacant(copy.as_bytes()), "{copy}");
    }
    let listed: serde_json::Value = http::send(&client, "GET", &units, "").await.json().await.unwrap();
    assert_eq!(listed["count"], 0, "{listed}");

    // A client that goes to the bucket with the service gone is told, and does not plan to create everything again.
    let block = format!(
        "terraform {{\n  backend \"s3\" {{\n    bucket = \"deleted\"\n    key = \"one/terraform.tfstate\"\n    \
         region = \"us-east-1\"\n    access_key = \"{ACCESS}\"\n    secret_key = \"{SECRET}\"\n    use_path_style = true\n    \
         skip_credentials_validation = true\n    skip_requesting_account_id = true\n    \
         skip_metadata_api_check = true\n    endpoints = {{ s3 = \"{}\" }}\n  }}\n}}\n",
        S3Server::shared().endpoint()
    );
    let direct = Client::without_backend(ONE);
    direct.write("backend.tf", &block);
    let _ = direct.run(&["init", "-input=false"]).failed_with("JSON");

    let back = http::status(&client, "POST", &format!("{units}/one/undelete"), "").await;
    assert_eq!(back, 200);
    assert_eq!(pair.copy("one").await["marker"], "one");
    assert_eq!(pair.history("one").await.len(), 2);
}
