//! Buckets that are older than us are adopted in place, on a real S3 server.

use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};

use crate::http;
use crate::replicas::{Pair, server};

async fn put(bucket: &str, key: &str, bytes: &str) {
    let store = server().by_hand(bucket).await;
    store
        .put(&Path::parse(key).unwrap(), PutPayload::from(bytes.to_owned()))
        .await
        .unwrap();
}

async fn get(bucket: &str, key: &str) -> String {
    let store = server().by_hand(bucket).await;
    let bytes = store
        .get(&Path::parse(key).unwrap())
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn layouts_of_other_tools_are_read_and_written_where_they_are() {
    let pair = Pair::on("layouts");
    let client = reqwest::Client::new();
    let layouts = [
        ("live/eu/vpc/terraform.tfstate", "live/eu/vpc"),
        ("env:/staging/app/terraform.tfstate", "env:/staging/app"),
        ("network/prod.tfstate", "network/prod.tfstate"),
        ("with space/a+b=c~d/terraform.tfstate", "with%20space/a+b=c~d"),
        ("ünï/日本/terraform.tfstate", "%C3%BCn%C3%AF/%E6%97%A5%E6%9C%AC"),
        ("__opentaco_system/terraform.tfstate", "__opentaco_system"),
    ];
    for (n, (key, unit)) in layouts.into_iter().enumerate() {
        let old = http::state(3, key);
        put("layouts", key, &old).await;
        let address = pair.replicas[n % 2].backend(unit);
        // LOCK comes before GET: the untouched unit keeps its old state.
        assert_eq!(
            http::status(&client, "LOCK", &address, http::lock_body(&http::uuid(n), "me")).await,
            200,
            "{key}"
        );
        let read = http::send(&client, "GET", &address, "").await;
        assert_eq!(
            (read.status().as_u16(), read.text().await.unwrap()),
            (200, old),
            "{key}"
        );
        let new = http::state(4, key);
        let write = format!("{address}?ID={}", http::uuid(n));
        assert_eq!(
            http::status(&client, "POST", &write, new.clone()).await,
            200,
            "{key}"
        );
        assert_eq!(
            http::status(&client, "UNLOCK", &address, http::lock_body(&http::uuid(n), "me")).await,
            200
        );
        assert_eq!(get("layouts", key).await, new, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_file_beside_an_old_state_holds_until_it_is_broken() {
    let pair = Pair::on("lockfiles");
    let client = reqwest::Client::new();
    let own = r#"{"id":"seed-lock","who":"bob@ci","version":"1.0.0","created":"2026-01-01T00:00:00Z"}"#;
    let locks = [
        ("a", "lock", own.to_owned(), "seed-lock"),
        (
            "b",
            "tflock",
            http::lock_body(&http::uuid(7), "bob@ci"),
            &http::uuid(7),
        ),
    ];
    for (unit, kind, body, id) in &locks {
        put(
            "lockfiles",
            &format!("{unit}/terraform.tfstate"),
            &http::state(1, "old"),
        )
        .await;
        put("lockfiles", &format!("{unit}/terraform.tfstate.{kind}"), body).await;
        let address = pair.replicas[0].backend(unit);
        let refused = http::send(&client, "LOCK", &address, http::lock_body(&http::uuid(8), "me")).await;
        assert_eq!(refused.status().as_u16(), 423, "{kind}");
        let told: serde_json::Value = refused.json().await.unwrap();
        assert_eq!(told["ID"], *id);
        assert!(told["Who"].as_str().unwrap().contains("bob@ci"), "{told}");
        assert_eq!(http::status(&client, "UNLOCK", &address, "").await, 200);
        assert_eq!(
            http::status(
                &client,
                "LOCK",
                &pair.replicas[1].backend(unit),
                http::lock_body(&http::uuid(9), "me")
            )
            .await,
            200
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_copies_over_a_state_is_adopted() {
    let pair = Pair::on("byhand");
    let client = reqwest::Client::new();
    let address = pair.replicas[0].backend("u");
    assert_eq!(
        http::status(&client, "POST", &address, http::state(1, "ours")).await,
        200
    );
    put("byhand", "u/terraform.tfstate", &http::state(5, "hand")).await;
    for replica in &pair.replicas {
        let read = http::send(&client, "GET", &replica.backend("u"), "")
            .await
            .text()
            .await
            .unwrap();
        assert_eq!(read, http::state(5, "hand"));
    }
    let head: serde_json::Value =
        serde_json::from_str(&get("byhand", "__opentaco_units/u/@head.json").await).unwrap();
    assert_eq!(head["current"]["how"], "external");
    assert_eq!(
        head["recent"].as_array().unwrap().len(),
        1,
        "what was there before is in the history"
    );
}
