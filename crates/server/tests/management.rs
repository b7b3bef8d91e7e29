//! The management API, route by route, in the order in which the product description tells them.

use opentaco_domain::{Action, Caller, Decision, Policy, PolicyUnreadable, UnitId};
use serde_json::{Value, json};

use crate::support::{Answer, Service, lock, state};

const UNIT: &str = "/v1/units/myapp__prod";

fn of(operation: &str) -> String {
    format!("{UNIT}/{operation}")
}

fn refused_with(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        (answer.status, answer.says("error").as_str()),
        (status, code),
        "{answer:?}"
    );
    assert!(!answer.says("message").is_empty());
}

fn created() -> Service {
    let service = Service::start();
    let answer = service
        .ask("POST", "/v1/units")
        .body(r#"{"id":"myapp/prod"}"#)
        .send();
    assert_eq!(answer.status, 201);
    service
}

fn uploaded(service: &Service, bytes: &str) -> String {
    let answer = service.ask("POST", &of("upload")).body(bytes).send();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.says("version")
}

/// A state of this serial, with two outputs.
fn with_outputs(serial: u64) -> String {
    format!(
        r#"{{"version":4,"serial":{serial},"lineage":"5e1f","terraform_version":"1.11.4","outputs":{{
            "address":{{"value":"10.0.0.1","type":"string"}},
            "key":{{"value":123456789012345678901234567890,"type":"number","sensitive":true}}}}}}"#
    )
}

#[test]
fn a_unit_is_created_once_and_the_answer_says_when() {
    let service = Service::start();
    let answer = service
        .ask("POST", "/v1/units")
        .body(r#"{"id":"myapp/prod"}"#)
        .send();
    assert_eq!(answer.status, 201);
    let json = answer.json();
    assert_eq!(json["id"], "myapp/prod");
    let _: jiff::Timestamp = answer.says("created").parse().unwrap();
    assert_eq!(json.as_object().unwrap().len(), 2);
    assert_eq!(answer.header("location"), UNIT);
    let again = service
        .ask("POST", "/v1/units")
        .body(r#"{"id":"myapp/prod"}"#)
        .send();
    refused_with(&again, 409, "already_exists");
}

#[test]
fn what_is_no_unit_is_not_created_and_a_mistyped_member_is_not_ignored() {
    let service = Service::start();
    for body in [
        "",
        "[]",
        r#"{"id":""}"#,
        r#"{"id":"a//b"}"#,
        r#"{"id":"__opentaco_mine"}"#,
        r#"{"id":7}"#,
        r#"{"id":"a","lables":{}}"#,
        r#"{"id":"a","labels":{"":"x"}}"#,
        "{",
    ] {
        let answer = service.ask("POST", "/v1/units").body(body).send();
        refused_with(&answer, 400, "invalid");
    }
    assert_eq!(
        service.ask("GET", "/v1/units").send().json(),
        json!({"units": [], "count": 0})
    );
}

#[test]
fn units_are_listed_with_their_locks_by_prefix_and_in_pages() {
    let service = Service::start();
    for id in ["myapp/dev", "myapp/prod", "network"] {
        let body = json!({"id": id}).to_string();
        assert_eq!(service.ask("POST", "/v1/units").body(body).send().status, 201);
    }
    uploaded(&service, &state(1));
    assert_eq!(service.ask("POST", &of("lock")).send().status, 200);

    let all = service.ask("GET", "/v1/units").send().json();
    assert_eq!(all["count"], 3);
    let prod = &all["units"][1];
    assert_eq!(
        (&prod["id"], &prod["size"], &prod["locked"]),
        (&json!("myapp/prod"), &json!(state(1).len()), &json!(true))
    );
    let _: jiff::Timestamp = prod["updated"].as_str().unwrap().parse().unwrap();
    assert!(all.get("next_page_token").is_none());

    let some = service.ask("GET", "/v1/units?prefix=myapp/p").send().json();
    assert_eq!(
        (&some["count"], &some["units"][0]["id"]),
        (&json!(1), &json!("myapp/prod"))
    );

    let mut names = Vec::new();
    let mut target = "/v1/units?limit=2".to_owned();
    let pages = std::iter::from_fn(|| {
        let page = service.ask("GET", &target).send().json();
        names.extend(page["units"].as_array()?.iter().map(|unit| unit["id"].clone()));
        target = format!(
            "/v1/units?limit=2&page_token={}",
            page.get("next_page_token")?.as_str()?
        );
        Some(())
    });
    assert_eq!(pages.count(), 1, "and one more that is the last");
    assert_eq!(names, ["myapp/dev", "myapp/prod", "network"]);
}

#[test]
fn units_are_found_by_all_of_the_labels_that_are_asked_for() {
    let service = Service::start();
    for (id, tier) in [("a", "gold"), ("b", "tin=can"), ("c", "gold")] {
        let body = json!({"id": id, "labels": {"team": "red", "tier": tier}}).to_string();
        assert_eq!(service.ask("POST", "/v1/units").body(body).send().status, 201);
    }
    let found = |query: &str| {
        let answer = service.ask("GET", &format!("/v1/units?{query}")).send();
        assert_eq!(answer.status, 200, "{answer:?}");
        let units = answer.json()["units"].as_array().unwrap().clone();
        units
            .iter()
            .map(|unit| unit["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(found("label=team=red&label=tier=gold"), ["a", "c"]);
    assert_eq!(found("label=tier%3Dtin%3Dcan"), ["b"]);
    assert_eq!(found("label=tier=silver"), [""; 0]);
}

#[test]
fn a_query_that_is_not_understood_is_refused_and_not_ignored() {
    let service = created();
    for target in [
        "/v1/units?limit=0",
        "/v1/units?limit=10001",
        "/v1/units?limit=ten",
        "/v1/units?limit=1&limit=2",
        "/v1/units?label=team",
        "/v1/units?prefix=%00",
        "/v1/units?prefix=%FF",
        "/v1/units?perfix=a",
        &of("versions?page_token=x"),
    ] {
        refused_with(&service.ask("GET", target).send(), 400, "bad_query");
    }
    for target in [
        "/v1/units?page_token=zz",
        "/v1/units?label=team=red&label=team=blue",
    ] {
        refused_with(&service.ask("GET", target).send(), 400, "invalid");
    }
    for target in ["upload?force=1", "upload?forse=true"] {
        let answer = service.ask("POST", &of(target)).body(state(1)).send();
        refused_with(&answer, 400, "bad_query");
    }
    let answer = service
        .ask("POST", &of("upload?if_locked_by="))
        .body(state(1))
        .send();
    refused_with(&answer, 400, "bad_lock_id");
}

#[test]
fn a_unit_is_described_with_all_that_is_known_of_it() {
    let service = created();
    let empty = service.ask("GET", UNIT).send().json();
    assert_eq!(
        (
            &empty["id"],
            &empty["size"],
            &empty["locked"],
            &empty["labels"],
            &empty["description"]
        ),
        (
            &json!("myapp/prod"),
            &json!(0),
            &json!(false),
            &json!({}),
            &json!("")
        )
    );
    assert!(empty.get("version").is_none() && empty.get("lock").is_none());
    assert_eq!(empty["updated"], empty["created"]);

    let version = uploaded(&service, &with_outputs(7));
    let lock = service
        .ask("POST", &of("lock"))
        .body(r#"{"id":"by hand","who":"alice@laptop"}"#)
        .send();
    assert_eq!(lock.status, 200);
    let full = service.ask("GET", UNIT).send().json();
    assert_eq!(full["version"], json!(version));
    assert_eq!(full["serial"], 7);
    assert_eq!(full["lineage"], "5e1f");
    assert_eq!(full["terraform_version"], "1.11.4");
    assert_eq!(full["size"], with_outputs(7).len());
    assert_eq!(full["locked"], true);
    assert_eq!(full["lock"], lock.json());
    assert_eq!(full["deletion_protection"], false);
}

#[test]
fn labels_are_set_and_taken_off_one_by_one_and_what_is_not_named_stays() {
    let service = created();
    let change = |body: Value| {
        let answer = service.ask("PATCH", UNIT).body(body.to_string()).send();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    change(json!({"labels": {"team": "red", "tier": "gold"}, "description": "the shop"}));
    let changed = change(json!({"labels": {"team": null, "env": "prod"}}));
    assert_eq!(changed["labels"], json!({"tier": "gold", "env": "prod"}));
    assert_eq!(changed["description"], "the shop");
    assert_eq!(change(json!({})), service.ask("GET", UNIT).send().json());

    let many: serde_json::Map<_, _> = (0..63).map(|n| (format!("l{n}"), json!(""))).collect();
    refused_with(
        &service
            .ask("PATCH", UNIT)
            .body(json!({"labels": many}).to_string())
            .send(),
        400,
        "invalid",
    );
    for body in [
        r#"{"description":null}"#,
        r#"{"labels":{"a":1}}"#,
        r#"{"id":"other"}"#,
        "",
    ] {
        refused_with(&service.ask("PATCH", UNIT).body(body).send(), 400, "invalid");
    }
    refused_with(
        &service.ask("PATCH", "/v1/units/nowhere").body("{}").send(),
        404,
        "not_found",
    );
}

#[test]
fn a_unit_is_deleted_unless_it_is_locked_or_protected_and_can_be_brought_back() {
    let service = created();
    let version = uploaded(&service, &state(1));
    let taken = service
        .ask("POST", &of("lock"))
        .body(r#"{"id":"by hand"}"#)
        .send();
    let locked = service.ask("DELETE", UNIT).send();
    refused_with(&locked, 409, "locked");
    assert_eq!(locked.json()["holder"], taken.json());
    assert_eq!(
        service
            .ask("DELETE", &of("unlock"))
            .body(r#"{"id":"by hand"}"#)
            .send()
            .status,
        200
    );

    let protect = |on| json!({"deletion_protection": on}).to_string();
    assert_eq!(service.ask("PATCH", UNIT).body(protect(true)).send().status, 200);
    refused_with(&service.ask("DELETE", UNIT).send(), 409, "protected");
    let through_terraform = service.ask("DELETE", "/v1/backend/myapp/prod").send();
    refused_with(&through_terraform, 409, "protected");
    assert_eq!(service.ask("PATCH", UNIT).body(protect(false)).send().status, 200);

    let deleted = service.ask("DELETE", UNIT).send();
    assert_eq!((deleted.status, deleted.text().as_str()), (204, ""));
    for (method, target) in [
        ("GET", UNIT.to_owned()),
        ("DELETE", UNIT.to_owned()),
        ("GET", of("download")),
        ("POST", of("lock")),
        ("GET", of("outputs")),
    ] {
        refused_with(&service.ask(method, &target).send(), 404, "not_found");
    }

    let back = service.ask("POST", &of("undelete")).send();
    assert_eq!((back.status, back.says("id").as_str()), (200, "myapp/prod"));
    assert_ne!(back.says("version"), version, "its content is a version again");
    assert_eq!(service.ask("GET", &of("download")).send().text(), state(1));
    refused_with(
        &service.ask("POST", &of("undelete")).send(),
        409,
        "already_exists",
    );
    refused_with(
        &service
            .ask(
                "POST",
                "/v1/units/never/undelete".replace("never", "nev__er").as_str(),
            )
            .send(),
        404,
        "not_found",
    );
}

#[test]
fn a_state_comes_down_as_it_went_up_under_the_version_it_was_given() {
    let service = created();
    refused_with(&service.ask("GET", &of("download")).send(), 404, "no_state");
    let odd = "{\r\n \"serial\" : 1,\t\"ü\":1e400 }\n\n";
    let up = service.ask("POST", &of("upload")).body(odd).send();
    assert_eq!(up.status, 200);
    assert_eq!(
        (up.json()["id"].clone(), up.json()["serial"].clone()),
        (json!("myapp/prod"), json!(1))
    );
    assert_eq!(up.json()["size"], odd.len());
    assert_eq!(up.header("etag"), format!("\"{}\"", up.says("version")));

    let down = service.ask("GET", &of("download")).send();
    assert_eq!((down.status, down.text().as_str()), (200, odd));
    assert_eq!(down.header("content-type"), "application/json");
    assert_eq!(down.header("etag"), up.header("etag"));
    let head = service.ask("HEAD", &of("download")).send();
    assert_eq!(
        (head.status, head.header("content-length"), head.header("etag")),
        (200, odd.len().to_string().as_str(), up.header("etag"))
    );
    refused_with(
        &service.ask("GET", "/v1/units/nowhere/download").send(),
        404,
        "not_found",
    );
}

#[test]
fn a_download_of_what_the_client_has_already_is_304() {
    let service = created();
    uploaded(&service, &with_outputs(1));
    for operation in ["download", "outputs", "outputs/address"] {
        let first = service.ask("GET", &of(operation)).send();
        let etag = first.header("etag").to_owned();
        for known in [
            etag.clone(),
            format!("W/{etag}"),
            format!("\"other\", {etag}"),
            "*".to_owned(),
        ] {
            let again = service
                .ask("GET", &of(operation))
                .header("If-None-Match", &known)
                .send();
            assert_eq!(
                (again.status, again.header("etag")),
                (304, etag.as_str()),
                "{operation} {known}"
            );
            assert!(again.body.is_empty());
        }
        let other = service
            .ask("GET", &of(operation))
            .header("If-None-Match", "\"other\"")
            .send();
        assert_eq!((other.status, other.body), (200, first.body), "{operation}");
    }
}

#[test]
fn an_upload_makes_the_unit_and_is_checked_against_what_is_there() {
    let service = Service::start();
    uploaded(&service, &state(5));
    assert_eq!(service.ask("GET", UNIT).send().json()["serial"], 5);
    for body in ["", " ", "[]", "no json", "{", "{}{}"] {
        let answer = service.ask("POST", &of("upload")).body(body).send();
        refused_with(&answer, 400, "invalid");
    }
    let up = |target: &str, body: &str| service.ask("POST", &of(target)).body(body).send();
    refused_with(&up("upload", &state(4)), 409, "older_serial");
    refused_with(&up("upload", &state(5).replace("[]", "[1]")), 409, "older_serial");
    let other = state(6).replace("5e1f", "0ff5");
    refused_with(&up("upload", &other), 409, "other_lineage");
    refused_with(&up("upload?force=false", &other), 409, "other_lineage");
    assert_eq!(up("upload", &state(5)).status, 200, "the very same again");
    assert_eq!(up("upload?force=true", &other).status, 200);
    assert_eq!(service.ask("GET", &of("download")).send().text(), other);
}

#[test]
fn an_upload_under_a_lock_is_the_holders_and_what_is_refused_is_kept() {
    let service = created();
    let taken = service
        .ask("POST", &of("lock"))
        .body(r#"{"id":"by hand","who":"alice@laptop"}"#)
        .send();
    for target in ["upload", "upload?if_locked_by=another"] {
        let refused = service.ask("POST", &of(target)).body(state(1)).send();
        refused_with(&refused, 409, "not_holder");
        assert_eq!(refused.json()["holder"], taken.json());
        assert!(refused.says("message").contains("alice@laptop"), "{refused:?}");
        let kept = service
            .ask("GET", &of(&format!("rejected/{}", refused.says("kept"))))
            .send();
        assert_eq!((kept.status, kept.text()), (200, state(1)));
    }
    let mine = service
        .ask("POST", &of("upload?if_locked_by=by+hand"))
        .body(state(1))
        .send();
    assert_eq!(mine.status, 200);
}

#[test]
fn of_two_uploads_on_one_version_one_is_412_and_told_what_is_current() {
    let service = created();
    let first = uploaded(&service, &state(1));
    let on = |version: &str, serial: u64| {
        let etag = format!("\"{version}\"");
        service
            .ask("POST", &of("upload"))
            .header("If-Match", &etag)
            .body(state(serial))
            .send()
    };
    let won = on(&first, 2);
    assert_eq!(won.status, 200);
    let lost = on(&first, 3);
    refused_with(&lost, 412, "version_conflict");
    assert_eq!(lost.says("current"), won.says("version"));
    let current = format!("\"{}\"", won.says("version"));
    for conditions in [
        vec![("If-Match", "\"x\"")],
        vec![("If-Match", current.as_str()), ("If-Match", "\"x\"")],
        vec![("If-None-Match", "*")],
    ] {
        let mut asked = service.ask("POST", &of("upload"));
        for (name, value) in &conditions {
            asked = asked.header(name, value);
        }
        refused_with(&asked.body(state(4)).send(), 400, "bad_version");
    }
}

#[test]
fn an_upload_repeated_with_its_key_is_answered_like_the_first_even_after_another() {
    let service = created();
    let up = |key: &str, serial: u64| {
        service
            .ask("POST", &of("upload"))
            .header("Idempotency-Key", key)
            .body(state(serial))
            .send()
    };
    let first = up("one", 1);
    assert_eq!(up("two", 2).status, 200);
    let again = up("one", 1);
    assert_eq!(
        (again.status, again.says("version")),
        (200, first.says("version"))
    );
    assert_eq!(
        service.ask("GET", UNIT).send().json()["serial"],
        2,
        "nothing was written"
    );
    refused_with(&up("", 3), 400, "bad_idempotency_key");
    refused_with(&up(&"k".repeat(129), 3), 400, "bad_idempotency_key");
}

#[test]
fn a_body_that_was_changed_on_the_way_is_refused() {
    let service = created();
    let up = |md5: &str| {
        service
            .ask("POST", &of("upload"))
            .header("Content-MD5", md5)
            .body("{}")
            .send()
    };
    refused_with(&up("1B2M2Y8AsgTpgAmY7PhCfg=="), 400, "digest_differs");
    refused_with(&up("mine"), 400, "bad_digest");
    assert_eq!(up("mZFLkyvTelC5g8XnyQrpOw==").status, 200);
}

#[test]
fn a_lock_is_taken_once_and_a_second_one_is_told_who_has_it() {
    let service = created();
    let body = r#"{"id":"6f1c9a52-5f0e-4a53-9a39-0b2f4d1e7a01","who":"user@host","version":"1.0.0"}"#;
    let taken = service.ask("POST", &of("lock")).body(body).send();
    assert_eq!(taken.status, 200);
    assert_eq!(taken.says("id"), "6f1c9a52-5f0e-4a53-9a39-0b2f4d1e7a01");
    assert_eq!(
        (taken.says("who"), taken.says("version"), taken.says("principal")),
        ("user@host".to_owned(), "1.0.0".to_owned(), "root".to_owned())
    );
    let again = service.ask("POST", &of("lock")).body(body).send();
    assert_eq!((again.status, again.json()), (200, taken.json()));
    let second = service.ask("POST", &of("lock")).send();
    refused_with(&second, 409, "locked");
    assert_eq!(second.json()["holder"], taken.json());
    assert!(
        second
            .says("message")
            .contains("`myapp/prod` is locked by user@host (signed in as root) since 20")
    );

    // The same lock through every door.
    let terraform = service
        .ask("LOCK", "/v1/backend/myapp/prod")
        .body(lock("other", "bob"))
        .send();
    assert_eq!((terraform.status, terraform.says("ID")), (423, taken.says("id")));
}

#[test]
fn a_lock_without_a_body_gets_an_id_of_its_own() {
    let service = created();
    let taken = service.ask("POST", &of("lock")).send();
    assert_eq!((taken.status, taken.says("id").len()), (200, 36), "{taken:?}");
    assert_eq!(taken.says("who"), "root", "the service knows who asks");
    let created: jiff::Timestamp = taken.says("created").parse().unwrap();
    let since: jiff::Timestamp = taken.says("since").parse().unwrap();
    assert!(created <= since, "{taken:?}");
    let second = service.ask("POST", &of("lock")).send();
    assert!(
        second.says("message").contains("is locked by root since 20"),
        "{second:?}"
    );
    let id = json!({"id": taken.says("id")}).to_string();
    assert_eq!(service.ask("DELETE", &of("unlock")).body(&id).send().status, 200);
    let next = service.ask("POST", &of("lock")).send();
    assert_ne!(next.says("id"), taken.says("id"));
    assert_eq!(
        service
            .ask("DELETE", &of("unlock"))
            .body(json!({"id": next.says("id")}).to_string())
            .send()
            .status,
        200
    );
    refused_with(
        &service.ask("POST", &of("lock")).body(&id).send(),
        410,
        "lock_over",
    );
}

#[test]
fn what_is_no_lock_and_a_unit_that_is_none_are_not_locked() {
    let service = created();
    for body in [
        r#"{"ID":"a"}"#,
        r#"{"id":""}"#,
        r#"{"id":null}"#,
        r#"{"id":"a\nb"}"#,
        "[]",
        "x",
    ] {
        refused_with(
            &service.ask("POST", &of("lock")).body(body).send(),
            400,
            "invalid",
        );
    }
    let long = json!({"id": "a", "info": "i".repeat(17_000)}).to_string();
    refused_with(
        &service.ask("POST", &of("lock")).body(long).send(),
        400,
        "invalid",
    );
    let huge = json!({"id": "a", "info": "i".repeat(300_000)}).to_string();
    refused_with(
        &service.ask("POST", &of("lock")).body(huge).send(),
        413,
        "body_too_large",
    );
    refused_with(
        &service.ask("POST", "/v1/units/mistyped/lock").send(),
        404,
        "not_found",
    );
    assert_eq!(service.ask("GET", UNIT).send().json()["locked"], false);
}

#[test]
fn an_unlock_needs_the_holders_id_or_force() {
    let service = created();
    let taken = service
        .ask("POST", &of("lock"))
        .body(r#"{"id":"by hand"}"#)
        .send();
    let wrong = service
        .ask("DELETE", &of("unlock"))
        .body(r#"{"id":"another"}"#)
        .send();
    refused_with(&wrong, 409, "not_holder");
    assert_eq!(wrong.json()["holder"], taken.json());
    refused_with(&service.ask("DELETE", &of("unlock")).send(), 400, "invalid");
    let forced_at_another = service
        .ask("DELETE", &of("unlock?force=true"))
        .body(r#"{"id":"another"}"#)
        .send();
    refused_with(&forced_at_another, 409, "not_holder");
    for _ in 0..2 {
        let freed = service
            .ask("DELETE", &of("unlock"))
            .body(r#"{"id":"by hand"}"#)
            .send();
        assert_eq!(
            (freed.status, freed.json()),
            (200, json!({"id": "myapp/prod", "locked": false}))
        );
    }
    assert_eq!(service.ask("POST", &of("lock")).send().status, 200);
    assert_eq!(service.ask("DELETE", &of("unlock?force=true")).send().status, 200);
    assert_eq!(service.ask("GET", UNIT).send().json()["locked"], false);
}

#[test]
fn the_history_is_told_newest_first_in_pages_and_any_of_it_can_be_read() {
    let service = created();
    let versions: Vec<_> = (1..=3).map(|serial| uploaded(&service, &state(serial))).collect();
    let all = service.ask("GET", &of("versions")).send().json();
    assert_eq!(all["count"], 3);
    let told: Vec<_> = all["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["version"].as_str().unwrap())
        .collect();
    assert!(told.iter().rev().eq(versions.iter()), "{all}");
    let newest = &all["versions"][0];
    assert_eq!(
        (
            &newest["current"],
            &newest["serial"],
            &newest["by"],
            &newest["origin"]
        ),
        (&json!(true), &json!(3), &json!("root"), &json!("write"))
    );
    assert_eq!(all["versions"][1]["current"], false);

    let page = service.ask("GET", &of("versions?limit=2")).send().json();
    assert_eq!(
        (&page["count"], page["next_page_token"].as_str()),
        (&json!(2), Some(versions[1].as_str()))
    );
    let last = service
        .ask(
            "GET",
            &of(&format!("versions?limit=2&page_token={}", versions[1])),
        )
        .send()
        .json();
    assert_eq!((&last["count"], last.get("next_page_token")), (&json!(1), None));
    assert_eq!(last["versions"][0]["version"], json!(versions[0]));
    let exact = service.ask("GET", &of("versions?limit=3")).send().json();
    assert!(exact.get("next_page_token").is_none());

    let first = service
        .ask("GET", &of(&format!("versions/{}", versions[0])))
        .send();
    assert_eq!((first.status, first.text()), (200, state(1)));
    assert_eq!(first.header("etag"), format!("\"{}\"", versions[0]));
    refused_with(
        &service.ask("GET", &of("versions/latest")).send(),
        400,
        "bad_version",
    );
    let never = format!("0000000000000001-1-00000000-{}-00000000", "0".repeat(64));
    refused_with(
        &service.ask("GET", &of(&format!("versions/{never}"))).send(),
        404,
        "not_found",
    );
    refused_with(
        &service.ask("GET", "/v1/units/nowhere/versions").send(),
        404,
        "not_found",
    );
}

#[test]
fn a_restored_version_is_current_again_under_a_higher_serial() {
    let service = created();
    let first = uploaded(&service, &state(1));
    uploaded(&service, &state(5));
    let restore = |target: &str, body: String| service.ask("POST", &of(target)).body(body).send();
    let body = || json!({"version": first}).to_string();
    let restored = restore("restore", body());
    assert_eq!(
        (restored.status, &restored.json()["serial"]),
        (200, &json!(6)),
        "{restored:?}"
    );
    assert_eq!(service.ask("GET", &of("download")).send().text(), state(6));
    let newest = service.ask("GET", &of("versions?limit=1")).send().json()["versions"][0].clone();
    assert_eq!(
        (&newest["origin"], &newest["origin_of"]),
        (&json!("restore"), &json!(first))
    );

    let taken = service
        .ask("POST", &of("lock"))
        .body(r#"{"id":"by hand"}"#)
        .send();
    let refused = restore("restore", body());
    refused_with(&refused, 409, "locked");
    assert_eq!(refused.json()["holder"], taken.json());
    assert_eq!(restore("restore?if_locked_by=by%20hand", body()).status, 200);

    for nonsense in ["", "{}", r#"{"version":"latest"}"#, r#"{"version":1}"#] {
        refused_with(&restore("restore", nonsense.to_owned()), 400, "invalid");
    }
    let never = format!("0000000000000001-1-00000000-{}-00000000", "0".repeat(64));
    refused_with(
        &restore("restore", json!({"version": never}).to_string()),
        404,
        "not_found",
    );
}

#[test]
fn a_refused_write_is_listed_and_can_be_accepted_after_all() {
    let service = created();
    uploaded(&service, &state(1));
    let none = service.ask("GET", &of("rejected")).send();
    assert_eq!(
        (none.status, none.json()),
        (200, json!({"rejected": [], "count": 0}))
    );
    assert_eq!(
        service
            .ask("POST", &of("lock"))
            .body(r#"{"id":"a","who":"alice"}"#)
            .send()
            .status,
        200
    );
    let refused = service
        .ask("POST", &of("upload?if_locked_by=b"))
        .body(state(9))
        .send();
    let kept = refused.says("kept");

    let all = service.ask("GET", &of("rejected")).send().json();
    assert_eq!(all["count"], 1);
    let told = &all["rejected"][0];
    assert_eq!(
        (
            &told["id"],
            &told["by"],
            &told["why"],
            &told["lock_id"],
            &told["door"],
            &told["size"]
        ),
        (
            &json!(kept),
            &json!("root"),
            &json!("held-by-another"),
            &json!("b"),
            &json!("management"),
            &json!(state(9).len())
        )
    );
    let promote = |query: &str| {
        service
            .ask("POST", &of(&format!("rejected/{kept}/promote{query}")))
            .send()
    };
    refused_with(&promote(""), 409, "locked");
    let promoted = promote("?if_locked_by=a");
    assert_eq!(
        (promoted.status, &promoted.json()["serial"]),
        (200, &json!(9)),
        "{promoted:?}"
    );
    assert_eq!(service.ask("GET", &of("download")).send().text(), state(9));

    refused_with(&service.ask("GET", &of("rejected/none")).send(), 404, "not_found");
    refused_with(
        &service.ask("POST", &of("rejected/none/promote")).send(),
        404,
        "not_found",
    );
}

#[test]
fn outputs_are_read_from_the_current_state_with_their_secrecy_and_every_digit() {
    let service = created();
    refused_with(&service.ask("GET", &of("outputs")).send(), 404, "no_state");
    let version = uploaded(&service, &with_outputs(1));
    let all = service.ask("GET", &of("outputs")).send();
    assert_eq!(
        all.text(),
        format!(
            r#"{{"version":"{version}","outputs":{{"address":{{"value":"10.0.0.1","type":"string","sensitive":false}},"key":{{"value":123456789012345678901234567890,"type":"number","sensitive":true}}}}}}"#
        )
    );
    assert_eq!(all.header("etag"), format!("\"{version}\""));
    let one = service.ask("GET", &of("outputs/address")).send();
    assert_eq!(
        one.text(),
        r#"{"value":"10.0.0.1","type":"string","sensitive":false}"#
    );
    refused_with(&service.ask("GET", &of("outputs/none")).send(), 404, "not_found");

    let sealed = r#"{"serial":2,"lineage":"5e1f","encrypted_data":"AAAA","encryption_version":"v0"}"#;
    uploaded(&service, sealed);
    refused_with(&service.ask("GET", &of("outputs")).send(), 409, "encrypted");
}

#[test]
fn the_service_says_what_it_is_and_whom_it_takes_you_for() {
    let answer = Service::start().ask("GET", "/v1/info").send();
    assert_eq!(
        answer.json(),
        json!({
            "version": env!("CARGO_PKG_VERSION"), "system_unit": "__opentaco_system",
            "principal": "root", "body_bytes_max": 1_073_741_824u64,
        })
    );
}

#[test]
fn a_unit_in_the_header_that_is_not_the_one_in_the_address_is_refused() {
    let service = created();
    let named = |address: &str, unit: &str| service.ask("GET", address).header("OpenTaco-Unit", unit).send();
    assert_eq!(named(UNIT, "myapp/prod").status, 200);
    for other in ["myapp/dev", "myapp__prod", "", "%FF"] {
        refused_with(&named(UNIT, other), 400, "unit_differs");
    }
    // `my_/app` is `my%5F__app`; a proxy that decodes makes `my___app` of it, which is `my/_app`.
    assert_eq!(
        service
            .ask("POST", "/v1/units")
            .body(r#"{"id":"my_/app"}"#)
            .send()
            .status,
        201
    );
    assert_eq!(named("/v1/units/my%5F__app", "my_/app").status, 200);
    refused_with(&named("/v1/units/my___app", "my_/app"), 400, "unit_differs");
    refused_with(&service.ask("GET", "/v1/units/a%2").send(), 400, "bad_unit_id");
    refused_with(&service.ask("GET", "/v1/units/a____b").send(), 400, "bad_unit_id");
}

#[test]
fn a_method_that_an_address_does_not_know_is_405_with_those_it_knows() {
    let service = created();
    for (method, target, allow) in [
        ("PUT", "/v1/units", "POST, GET"),
        ("POST", UNIT, "GET, PATCH, DELETE"),
        ("GET", &of("upload"), "POST"),
        ("LOCK", &of("lock"), "POST"),
        ("POST", &of("unlock"), "DELETE"),
        ("DELETE", &of("download"), "GET, HEAD"),
    ] {
        let answer = service.ask(method, target).send();
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, allow),
            "{method} {target}"
        );
    }
}

/// Lets everybody read and nothing else.
#[derive(Debug)]
struct Readers;

impl Policy for Readers {
    fn decide(&self, _: &Caller, action: Action, _: &UnitId) -> Result<Decision, PolicyUnreadable> {
        Ok(if action == Action::Read {
            Decision::Allow
        } else {
            Decision::Deny
        })
    }
}

#[test]
fn a_reader_is_told_403_by_everything_that_changes_something_whether_the_unit_exists_or_not() {
    let service = Service::with_policy(Readers);
    for unit in ["/v1/units/myapp__prod", "/v1/units/nowhere"] {
        let version = format!("0000000000000001-1-00000000-{}-00000000", "0".repeat(64));
        for (method, target, body) in [
            ("POST", "/v1/units".to_owned(), r#"{"id":"a"}"#.to_owned()),
            ("PATCH", unit.to_owned(), "{}".to_owned()),
            ("DELETE", unit.to_owned(), String::new()),
            ("POST", format!("{unit}/undelete"), String::new()),
            ("POST", format!("{unit}/upload"), state(1)),
            ("POST", format!("{unit}/lock"), String::new()),
            ("DELETE", format!("{unit}/unlock"), r#"{"id":"a"}"#.to_owned()),
            ("DELETE", format!("{unit}/unlock?force=true"), String::new()),
            (
                "POST",
                format!("{unit}/restore"),
                json!({"version": version}).to_string(),
            ),
            ("POST", format!("{unit}/rejected/none/promote"), String::new()),
        ] {
            let answer = service.ask(method, &target).body(body).send();
            refused_with(&answer, 403, "forbidden");
        }
        for operation in ["", "/download", "/versions", "/outputs"] {
            let answer = service.ask("GET", &format!("{unit}{operation}")).send();
            refused_with(&answer, 404, "not_found");
        }
    }
    assert_eq!(
        service.ask("GET", "/v1/units").send().json(),
        json!({"units": [], "count": 0})
    );
}
