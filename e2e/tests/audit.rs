//! The audit of two replicas on a real S3 server, read and verified by `taco` as its users do.

use std::path::Path;
use std::process::{Command, Output};

use futures::TryStreamExt as _;
use object_store::path::Path as Key;
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutPayload};
use opentaco_testkit::s3_server::S3Server;
use opentaco_testkit::service::{ROOT_TOKEN, Service};
use opentaco_testkit::tools;
use serde_json::Value;

use crate::journeys::ONE;

const FOLDER: &str = "__opentaco_audit";

fn taco(service: &Service, home: &Path, words: &[&str]) -> Output {
    Command::new(tools::built("taco"))
        .args(words)
        .env("OPENTACO_TOKEN", ROOT_TOKEN)
        .env("OPENTACO_SERVER", service.url())
        .env("XDG_CONFIG_HOME", home)
        .current_dir(home)
        .output()
        .unwrap()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_real_clients_did_at_two_replicas_is_told_and_nobody_changes_it_unseen() {
    let server = S3Server::shared();
    server.bucket("audited");
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let home = homes[0].path();
    let key = home.join("tokens-key.pem");
    let made = Command::new(tools::built("opentacosvc"))
        .args(["keys", "new", "--out", key.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let flags = [
        "-audit-sync",
        "-tokens-private-key-pem-path",
        key.to_str().unwrap(),
    ];
    let mut replicas = [&homes[0], &homes[1]]
        .map(|home| server.replica_with(home.path(), "audited", &server.endpoint(), &flags));

    // An apply at one of them, and a destroy at the other; then the first one is killed and starts again.
    let client = replicas[0].client("team/prod", ONE).init();
    let _applied = client.apply().worked();
    let same = replicas[1].client("team/prod", ONE).init();
    let _destroyed = same.run(&["destroy", "-auto-approve", "-input=false"]).worked();
    replicas[0].restart();
    let made = taco(&replicas[0], home, &["unit", "create", "team/later"]);
    assert!(made.status.success(), "{made:?}");

    let found = taco(
        &replicas[1],
        home,
        &["audit", "search", "--unit", "team/prod", "--json"],
    );
    let found: Value = serde_json::from_str(&printed(&found)).unwrap();
    let events = found["events"].as_array().unwrap();
    let count = |what: &str| events.iter().filter(|event| event["what"] == what).count();
    assert_eq!((count("locked"), count("unlocked")), (2, 2), "{found:#}");
    assert!(count("committed: write") >= 2, "{found:#}");
    assert!(events.iter().all(|event| event["door"] == "terraform"));
    let newest_first = events
        .windows(2)
        .all(|pair| pair[0]["at"].as_str() >= pair[1]["at"].as_str());
    assert!(newest_first, "{found:#}");

    let verify = |more: &[&str]| {
        let words = [&["audit", "verify"], more].concat();
        taco(&replicas[1], home, &words)
    };
    let report: Value = serde_json::from_str(&printed(&verify(&["--json"]))).unwrap();
    assert_eq!(
        (
            &report["chains"],
            &report["unsealed"],
            report["findings"].as_array().unwrap().len()
        ),
        (&3.into(), &0.into(), 0),
        "one that was killed, and two that run: {report:#}"
    );

    let bucket = server.by_hand("audited").await;
    let folder = Key::parse(FOLDER).unwrap();
    let listed = bucket.list(Some(&folder)).map_ok(|object| object.location);
    let mut keys: Vec<Key> = listed.try_collect().await.unwrap();
    keys.sort();
    let key = &keys[1];
    let whole = bucket.get(key).await.unwrap().bytes().await.unwrap();
    let text = String::from_utf8(whole.to_vec()).unwrap();
    let forged = text.replacen("\"root\"", "\"toor\"", 1);
    assert_ne!(text, forged, "{text}");
    bucket.put(key, PutPayload::from(forged)).await.unwrap();
    let name = key.filename().unwrap().trim_end_matches(".jsonl");
    let refused = verify(&[]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    let told = String::from_utf8(refused.stdout).unwrap();
    assert!(
        told.contains(&format!("{name}: was changed since it was signed")),
        "{told}"
    );

    bucket.delete(key).await.unwrap();
    let refused = verify(&[]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(String::from_utf8(refused.stdout).unwrap().contains("is missing"));

    bucket.put(key, PutPayload::from(text)).await.unwrap();
    assert!(verify(&[]).status.success(), "it is as it was");
}
