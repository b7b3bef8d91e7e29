//! Buckets that are older than us are adopted in place, on a real S3 server.

use std::fs;

use opentaco_testkit::client::Client;
use opentaco_testkit::service::Service;

use crate::http;
use crate::journeys::ONE;
use crate::replicas::Pair;

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
        pair.person_puts(key, &old).await;
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
        // The serial of the graph exceeds both what is sent and what is there.
        let kept = match key {
            "__opentaco_system/terraform.tfstate" => http::state(5, key),
            _ => new,
        };
        assert_eq!(pair.person_gets(key).await, kept, "{key}");
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
        pair.person_puts(&format!("{unit}/terraform.tfstate"), &http::state(1, "old"))
            .await;
        pair.person_puts(&format!("{unit}/terraform.tfstate.{kind}"), body)
            .await;
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
    pair.person_puts("u/terraform.tfstate", &http::state(5, "hand"))
        .await;
    for replica in &pair.replicas {
        let read = http::send(&client, "GET", &replica.backend("u"), "")
            .await
            .text()
            .await
            .unwrap();
        assert_eq!(read, http::state(5, "hand"));
    }
    let head: serde_json::Value =
        serde_json::from_str(&pair.person_gets("__opentaco_units/u/@head.json").await).unwrap();
    assert_eq!(head["current"]["how"], "external");
    assert_eq!(
        head["recent"].as_array().unwrap().len(),
        1,
        "what was there before is in the history"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_client_finds_its_old_state_in_the_bucket_and_goes_on_with_it() {
    let pair = Pair::on("moved");
    // It was made without us, and somebody copied it into the bucket.
    let client = Client::without_backend(ONE).init();
    let _ = client.apply().worked();
    let old = fs::read_to_string(client.directory().join("terraform.tfstate")).unwrap();
    fs::remove_file(client.directory().join("terraform.tfstate")).unwrap();
    pair.person_puts("live/app/terraform.tfstate", &old).await;

    client.backend(&pair.replicas[0].backend("live/app"));
    let client = client.init();
    let planned = client.run(&["plan", "-input=false"]).worked();
    assert!(planned.printed.contains("No changes"), "{}", planned.printed);
    assert_eq!(
        pair.person_gets("live/app/terraform.tfstate").await,
        old,
        "a plan changes nothing"
    );
    client.resources(&ONE.replace("\"1\"", "\"2\""));
    let applied = client.apply().worked();
    assert!(
        applied.printed.contains("0 added, 1 changed, 0 destroyed"),
        "{}",
        applied.printed
    );
    let head = pair.head("live/app").await;
    assert_eq!(
        head["recent"][0]["sha256"],
        opentaco_domain::Sha256::of(old.as_bytes()).to_string()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_restores_while_the_service_is_gone_is_honoured_when_it_returns() {
    let mut pair = Pair::on("restored");
    let client = reqwest::Client::new();
    let address = pair.replicas[0].backend("u");
    for serial in [1, 2] {
        let lock = http::lock_body(&http::uuid(serial), "me");
        assert_eq!(http::status(&client, "LOCK", &address, lock.clone()).await, 200);
        let write = format!("{address}?ID={}", http::uuid(serial));
        assert_eq!(
            http::status(&client, "POST", &write, http::state(serial, "x")).await,
            200
        );
        assert_eq!(http::status(&client, "UNLOCK", &address, lock).await, 200);
    }
    pair.replicas.iter_mut().for_each(Service::kill);

    let versions = pair.keys_below("__opentaco_versions/u/@").await;
    assert_eq!(versions.len(), 2, "{versions:?}");
    let first = pair.person_gets(&versions[0]).await;
    assert_eq!(
        first,
        http::state(1, "x"),
        "the listing tells the history, oldest first"
    );
    pair.person_puts("u/terraform.tfstate", &first).await;

    pair.replicas.iter_mut().for_each(Service::restart);
    for replica in &pair.replicas {
        let read = http::send(&client, "GET", &replica.backend("u"), "").await;
        assert_eq!(read.text().await.unwrap(), first);
    }
    let head = pair.head("u").await;
    assert_eq!(head["current"]["how"], "external");
    assert_eq!(head["recent"].as_array().unwrap().len(), 2, "{head}");
}
