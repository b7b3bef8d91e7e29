//! Two service processes on one bucket of a real S3 server cannot be made to disagree.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use futures::future::join_all;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use opentaco_testkit::s3_server::S3Server;
use opentaco_testkit::service::Service;
use tempfile::TempDir;

use crate::http;

/// One server for all tests of this binary; each takes a bucket of its own.
pub(crate) fn server() -> &'static S3Server {
    static SERVER: OnceLock<S3Server> = OnceLock::new();
    SERVER.get_or_init(S3Server::start)
}

/// Two replicas on a fresh bucket.
pub(crate) struct Pair {
    pub(crate) replicas: [Service; 2],
    bucket: String,
    _homes: [TempDir; 2],
}

impl Pair {
    pub(crate) fn on(bucket: &str) -> Self {
        server().bucket(bucket);
        let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let replicas = [
            server().replica(homes[0].path(), bucket),
            server().replica(homes[1].path(), bucket),
        ];
        Self {
            replicas,
            bucket: bucket.to_owned(),
            _homes: homes,
        }
    }

    /// The address of a unit at one of them, in turn.
    fn address(&self, n: usize, unit: &str) -> String {
        self.replicas[n % 2].backend(unit)
    }

    async fn head(&self, unit: &str) -> serde_json::Value {
        let store = server().by_hand(&self.bucket).await;
        let key = Path::parse(format!("__opentaco_units/{unit}/@head.json")).unwrap();
        serde_json::from_slice(&store.get(&key).await.unwrap().bytes().await.unwrap()).unwrap()
    }

    async fn copy(&self, unit: &str) -> serde_json::Value {
        let store = server().by_hand(&self.bucket).await;
        let key = Path::parse(format!("{unit}/terraform.tfstate")).unwrap();
        serde_json::from_slice(&store.get(&key).await.unwrap().bytes().await.unwrap()).unwrap()
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
            use futures::TryStreamExt as _;
            use object_store::ObjectStore as _;
            let store = server().by_hand(&self.bucket).await;
            let below = Path::parse(format!("__opentaco_versions/{unit}/@")).unwrap();
            let objects: Vec<_> = store.list(Some(&below)).try_collect().await.unwrap();
            for object in objects {
                let name = object.location.filename().unwrap().to_owned();
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
        let store = server().by_hand("stale").await;
        let key = Path::parse(format!("__opentaco_rejected/u/@/{kept}")).unwrap();
        let bytes = store.get(&key).await.unwrap().bytes().await.unwrap();
        assert_eq!(bytes, http::state(2 + replica, "stale").as_bytes());
    }
    assert_eq!(pair.copy("u").await["marker"], "a");
    // The broken lock cannot be taken again either.
    assert_eq!(
        http::status(&client, "LOCK", &first, http::lock_body(&id, "slow")).await,
        410
    );
}
