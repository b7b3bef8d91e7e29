//! The dialect of the HTTP backend: what the clients send, what they must be answered.

use opentaco_control::{OpenOptions, StoreConfig};
use opentaco_domain::{Action, Caller, Decision, Policy, PolicyUnreadable, UnitId};
use opentaco_server::bodies::BodyLimits;

use crate::support::{Answer, Service, lock, log, state};

const ALICE: &str = "6f1c9a52-5f0e-4a53-9a39-0b2f4d1e7a01";
const BOB: &str = "0b7d7c6e-93d5-4c0b-8a52-3f6b1f6f2b02";
const UNIT: &str = "/v1/backend/myapp/prod";

fn locked_by_alice() -> Service {
    let service = Service::start();
    assert_eq!(
        service
            .ask("LOCK", UNIT)
            .body(lock(ALICE, "alice@laptop"))
            .send()
            .status,
        200
    );
    service
}

/// The holder as Go's decoder wants it, or the test fails.
#[track_caller]
fn assert_names_alice(answer: &Answer) {
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.says("ID"), ALICE);
    assert_eq!(answer.says("Operation"), "OperationTypeApply");
    assert_eq!(answer.says("Version"), "1.11.4");
    assert_eq!(answer.says("Created"), "2026-11-22T07:12:53.946393766Z");
    assert_eq!(answer.says("Path"), "");
    assert!(
        answer
            .says("Who")
            .starts_with("alice@laptop (signed in as root, holds it since 20"),
        "{answer:?}"
    );
    let info = answer.says("Info");
    assert!(
        info.starts_with("`myapp/prod` is locked by alice@laptop since 20"),
        "{info}"
    );
    assert!(
        info.contains(" for OperationTypeApply. ") && info.contains(&format!("force-unlock {ALICE}")),
        "{info}"
    );
}

#[test]
fn a_state_is_read_back_byte_for_byte_under_the_version_it_was_given() {
    let service = Service::start();
    assert_eq!(service.ask("GET", UNIT).send().status, 404);
    let odd = "{\r\n \"serial\" : 1,\t\"lineage\":\"\\u00e9\",\"ü\":1e400 }\n\n";
    let written = service.ask("POST", UNIT).body(odd).send();
    assert_eq!((written.status, written.text().as_str()), (200, ""));
    let read = service.ask("GET", UNIT).send();
    assert_eq!((read.status, read.text().as_str()), (200, odd));
    assert_eq!(read.header("content-type"), "application/json");
    assert_eq!(read.header("content-length"), odd.len().to_string());
    assert_eq!(read.header("etag"), written.header("etag"));
    let head = service.ask("HEAD", UNIT).send();
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, odd.len().to_string().as_str())
    );
    assert_eq!(head.header("etag"), written.header("etag"));
}

#[test]
fn put_writes_as_post_does() {
    let service = Service::start();
    assert_eq!(service.ask("PUT", UNIT).body(state(1)).send().status, 200);
    assert_eq!(service.ask("GET", UNIT).send().text(), state(1));
}

#[test]
fn a_lock_is_granted_once_and_again_to_whoever_holds_it() {
    let service = locked_by_alice();
    let again = service.ask("LOCK", UNIT).body(lock(ALICE, "alice@laptop")).send();
    assert_eq!((again.status, again.says("ID").as_str()), (200, ALICE));
}

#[test]
fn a_conflict_of_locks_is_423_with_the_holder_in_terraforms_spelling() {
    let service = locked_by_alice();
    let refused = service.ask("LOCK", UNIT).body(lock(BOB, "bob@ci")).send();
    assert_eq!(refused.status, 423);
    assert_names_alice(&refused);
    assert_eq!(refused.says("error"), "locked");
}

#[test]
fn a_holder_that_says_nothing_of_itself_is_still_one_that_go_can_decode() {
    let service = Service::start();
    let taken = service
        .ask("LOCK", UNIT)
        .body(r#"{"id":"by hand","created":"yesterday","info":"back at noon"}"#)
        .send();
    assert_eq!((taken.status, taken.says("Who").as_str()), (200, "root"));
    let refused = service.ask("LOCK", UNIT).body(lock(BOB, "bob@ci")).send();
    assert_eq!((refused.status, refused.says("ID").as_str()), (423, "by hand"));
    assert!(
        refused
            .says("Who")
            .starts_with("root (signed in as root, holds it since 20"),
        "{refused:?}"
    );
    assert!(
        refused.says("Info").ends_with("They say: back at noon"),
        "{refused:?}"
    );
    let created: jiff::Timestamp = refused.says("Created").parse().unwrap();
    assert!(
        created > "2020-01-01T00:00:00Z".parse().unwrap(),
        "since we know of it"
    );
}

#[test]
fn a_holder_that_gives_no_time_is_given_the_services() {
    let service = Service::start();
    let taken = service.ask("LOCK", UNIT).body(r#"{"ID":"by hand"}"#).send();
    let created: jiff::Timestamp = taken.says("Created").parse().unwrap();
    assert!(created > "2020-01-01T00:00:00Z".parse().unwrap(), "{taken:?}");
    let again = service.ask("LOCK", UNIT).body(r#"{"ID":"by hand"}"#).send();
    assert_eq!(again.says("Created"), taken.says("Created"), "the same lock");
}

#[test]
fn a_write_is_the_holders_whichever_way_it_names_its_lock() {
    let service = locked_by_alice();
    for (serial, target) in [
        (1, format!("{UNIT}?ID={ALICE}")),
        (2, format!("{UNIT}?x=1&id={ALICE}")),
    ] {
        assert_eq!(
            service.ask("POST", &target).body(state(serial)).send().status,
            200,
            "{target}"
        );
    }
    let by_header = service
        .ask("POST", UNIT)
        .header("X-Terraform-Lock-ID", ALICE)
        .body(state(3))
        .send();
    assert_eq!(by_header.status, 200);
    assert_eq!(service.ask("GET", UNIT).send().text(), state(3));
}

#[test]
fn a_write_by_anybody_else_is_409_with_the_holder_and_is_kept() {
    let service = locked_by_alice();
    for target in [UNIT.to_owned(), format!("{UNIT}?ID={BOB}")] {
        let refused = service.ask("POST", &target).body(state(7)).send();
        assert_eq!(
            (refused.status, refused.says("error").as_str()),
            (409, "not_holder"),
            "{target}"
        );
        assert_names_alice(&refused);
        assert!(!refused.says("kept").is_empty());
    }
    assert_eq!(service.ask("GET", UNIT).send().status, 404);
}

#[test]
fn a_write_under_a_lock_that_nobody_holds_is_409_and_says_that_nobody_does() {
    let service = Service::start();
    let refused = service
        .ask("POST", &format!("{UNIT}?ID={BOB}"))
        .body(state(1))
        .send();
    assert_eq!(refused.status, 409);
    assert_eq!(
        (refused.says("ID").as_str(), refused.says("Who").as_str()),
        ("", "nobody")
    );
    assert_eq!(refused.says("Created"), "0001-01-01T00:00:00Z");
    assert!(
        refused.says("Info").starts_with("nobody holds `myapp/prod`"),
        "{refused:?}"
    );
    assert!(!refused.says("message").is_empty() && !refused.says("kept").is_empty());
}

#[test]
fn a_repeated_write_is_answered_like_the_first() {
    let service = locked_by_alice();
    let target = format!("{UNIT}?ID={ALICE}");
    let first = service.ask("POST", &target).body(state(1)).send();
    let second = service.ask("POST", &target).body(state(1)).send();
    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!(first.header("etag"), second.header("etag"));
}

#[test]
fn an_unlock_is_the_holders_and_may_be_repeated_and_the_lock_is_over_then() {
    let service = locked_by_alice();
    let refused = service.ask("UNLOCK", UNIT).body(lock(BOB, "bob@ci")).send();
    assert_eq!(refused.status, 409);
    assert_names_alice(&refused);
    for _ in 0..2 {
        assert_eq!(
            service
                .ask("UNLOCK", UNIT)
                .body(lock(ALICE, "alice@laptop"))
                .send()
                .status,
            200
        );
    }
    let over = service.ask("LOCK", UNIT).body(lock(ALICE, "alice@laptop")).send();
    assert_eq!((over.status, over.says("error").as_str()), (410, "lock_over"));
}

#[test]
fn of_an_unlock_nothing_but_the_id_counts() {
    let service = locked_by_alice();
    let tofu = format!(
        r#"{{"ID":"{ALICE}","Operation":"","Info":"","Who":"","Version":"","Created":"0001-01-01T00:00:00Z","Path":""}}"#
    );
    assert_eq!(
        service
            .ask("UNLOCK", UNIT)
            .body(tofu.replace(ALICE, BOB))
            .send()
            .status,
        409
    );
    assert_eq!(service.ask("UNLOCK", UNIT).body(tofu).send().status, 200);
    assert_eq!(
        service.ask("LOCK", UNIT).body(lock(BOB, "bob@ci")).send().status,
        200
    );
    assert_eq!(
        service
            .ask("UNLOCK", UNIT)
            .body(format!(r#"{{"ID":"{BOB}"}}"#))
            .send()
            .status,
        200
    );
}

#[test]
fn an_unlock_with_an_empty_body_breaks_the_lock_whoever_holds_it() {
    let service = locked_by_alice();
    let broken = service
        .ask("UNLOCK", UNIT)
        .header("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg==")
        .chunked()
        .send();
    assert_eq!(broken.status, 200);
    let late = service
        .ask("POST", &format!("{UNIT}?ID={ALICE}"))
        .body(state(1))
        .send();
    assert_eq!((late.status, late.says("Who").as_str()), (409, "nobody"));
    assert_eq!(
        service.ask("UNLOCK", UNIT).send().status,
        200,
        "there is nothing left to break"
    );
}

#[test]
fn an_empty_body_beside_a_lock_id_is_no_force() {
    let service = locked_by_alice();
    assert_eq!(
        service.ask("UNLOCK", &format!("{UNIT}?ID={BOB}")).send().status,
        409
    );
    assert_eq!(service.ask("UNLOCK", &format!("{UNIT}?ID=")).send().status, 400);
    let two = service
        .ask("UNLOCK", &format!("{UNIT}?ID={BOB}"))
        .body(lock(ALICE, "alice@laptop"))
        .send();
    assert_eq!(two.status, 400);
    assert_eq!(
        service.ask("LOCK", UNIT).body(lock(BOB, "bob@ci")).send().status,
        423,
        "still held"
    );
    assert_eq!(
        service
            .ask("UNLOCK", UNIT)
            .header("X-Terraform-Lock-ID", ALICE)
            .send()
            .status,
        200
    );
}

#[test]
fn gitlab_style_addresses_lock_the_same_unit() {
    let service = Service::start();
    let lock_address = UNIT.replace("backend", "backend-lock");
    let status =
        |method: &str, target: &str, body: String| service.ask(method, target).body(body).send().status;
    let (alice, bob) = (|| lock(ALICE, "alice@laptop"), || lock(BOB, "bob@ci"));
    assert_eq!(status("POST", &lock_address, alice()), 200);
    assert_names_alice(&service.ask("LOCK", UNIT).body(bob()).send());
    assert_eq!(status("PUT", &lock_address, bob()), 423);
    assert_eq!(status("POST", &format!("{UNIT}?ID={ALICE}"), state(1)), 200);
    assert_eq!(status("DELETE", &lock_address, bob()), 409);
    assert_eq!(status("DELETE", &lock_address, alice()), 200);
    assert_eq!(
        service.ask("GET", UNIT).send().text(),
        state(1),
        "the state is still there"
    );
    assert_eq!(service.ask("GET", &lock_address).send().status, 405);
}

#[test]
fn a_body_that_is_not_what_its_digest_says_is_400_and_not_written() {
    let service = Service::start();
    let with = |digest: &str| {
        service
            .ask("POST", UNIT)
            .header("Content-MD5", digest)
            .body("{\"serial\":1}")
            .send()
    };
    assert_eq!(with("1B2M2Y8AsgTpgAmY7PhCfg==").says("error"), "digest_differs");
    for unreadable in [
        "",
        "!",
        "1B2M2Y8AsgTpgAmY7PhCfg",
        "AAAA",
        "d41d8cd98f00b204e9800998ecf8427e",
    ] {
        let answer = with(unreadable);
        assert_eq!(
            (answer.status, answer.says("error").as_str()),
            (400, "bad_digest"),
            "{unreadable}"
        );
    }
    assert_eq!(service.ask("GET", UNIT).send().status, 404);
    // printf '{"serial":1}' | openssl md5 -binary | base64
    assert_eq!(with("gx6MBZ08q5IljbRUUECeSw==").status, 200);
}

#[test]
fn what_is_no_json_object_is_400_and_not_written() {
    let service = Service::start();
    for wrong in [
        "",
        " ",
        "null",
        "[]",
        "42",
        "\"state\"",
        "{",
        "{\"serial\":1}x",
        "{\"serial\":}",
        "\u{feff}{}",
    ] {
        let answer = service.ask("POST", UNIT).body(wrong).send();
        assert_eq!(
            (answer.status, answer.says("error").as_str()),
            (400, "invalid"),
            "{wrong:?}"
        );
        assert!(
            answer.says("message").contains("othing was written"),
            "{answer:?}"
        );
    }
    assert_eq!(service.ask("GET", UNIT).send().status, 404);
}

#[test]
fn what_describes_no_lock_is_400() {
    let service = Service::start();
    for wrong in [
        "",
        "{}",
        "[]",
        "{\"ID\":\"\"}",
        "{\"ID\":7}",
        "{\"ID\":\"x\",\"Who\":[]}",
        "{\"Who\":\"alice\"}",
        "{",
    ] {
        let answer = service.ask("LOCK", UNIT).body(wrong).send();
        assert_eq!(answer.status, 400, "{wrong:?}: {answer:?}");
        if !wrong.is_empty() {
            assert_eq!(
                service.ask("UNLOCK", UNIT).body(wrong).send().status,
                400,
                "{wrong:?}"
            );
        }
    }
    assert_eq!(
        service.ask("LOCK", UNIT).body(lock(ALICE, "alice")).send().status,
        200,
        "nothing was locked"
    );
}

#[test]
fn a_unit_has_one_address_however_it_is_escaped() {
    let service = Service::start();
    let spellings: &[(&str, &[&str])] = &[
        (
            "a/b/c",
            &[
                "a/b/c/",
                "/a/b/c",
                "a%2Fb/c",
                "%61/b/c",
                "a/b/c/terraform.tfstate",
            ],
        ),
        ("env:/ws/key", &["env%3A/ws/key", "env:%2Fws%2Fkey"]),
        ("with%20space", &["with%20space/"]),
        ("plus+equals=tilde~", &["plus%2Bequals%3Dtilde%7E"]),
        ("gr%C3%BCn/%F0%9F%8C%AE", &["gr%c3%bcn/%f0%9f%8c%ae"]),
        ("percent%2525", &["percent%2525/"]),
        ("network/prod.tfstate", &["network/prod.tfstate/"]),
    ];
    for (serial, (address, others)) in (1..).zip(spellings) {
        let written = service
            .ask("POST", &format!("/v1/backend/{address}"))
            .body(state(serial))
            .send();
        assert_eq!(written.status, 200, "{address}: {written:?}");
        for other in *others {
            let read = service.ask("GET", &format!("/v1/backend/{other}")).send();
            assert_eq!((read.status, read.text()), (200, state(serial)), "{other}");
        }
    }
    assert_eq!(
        service.ask("GET", "/v1/backend/percent%25").send().status,
        404,
        "decoded once, not twice"
    );
}

#[test]
fn an_address_that_names_no_unit_is_400_with_the_reason_and_never_404() {
    let service = Service::start();
    for (wrong, reason) in [
        ("", "empty"),
        ("/", "empty"),
        ("//", "empty"),
        ("/a//b", "//"),
        ("/a/../b", "`..`"),
        ("/a/%2e%2e/b", "`..`"),
        ("/./a", "`.`"),
        ("/a%00b", "control"),
        ("/%FF", "UTF-8"),
        ("/a.tfstate/b", "a.tfstate"),
        ("/a.lock", ".lock"),
        ("/a/@head.json", "@head.json"),
        ("/__opentaco_versions/a", "reserved"),
    ] {
        for method in ["GET", "POST", "LOCK", "UNLOCK", "DELETE"] {
            let answer = service
                .ask(method, &format!("/v1/backend{wrong}"))
                .body(state(1))
                .send();
            assert_eq!(
                (answer.status, answer.says("error").as_str()),
                (400, "bad_unit_id"),
                "{method} {wrong}"
            );
            assert!(
                answer.says("message").contains(reason),
                "{wrong}: {}",
                answer.says("message")
            );
        }
    }
    let long = format!("/v1/backend/{}", "x/".repeat(500));
    assert_eq!(service.ask("GET", &long).send().status, 400);
}

#[test]
fn the_graph_is_a_unit_like_others() {
    let service = Service::start();
    assert_eq!(
        service
            .ask("POST", "/v1/backend/__opentaco_system")
            .body(state(1))
            .send()
            .status,
        200
    );
    assert_eq!(
        service.ask("GET", "/v1/backend/__opentaco_system").send().status,
        200
    );
}

#[test]
fn no_address_and_no_method_is_ever_answered_with_a_redirect() {
    let service = Service::start();
    for method in [
        "GET", "POST", "LOCK", "UNLOCK", "DELETE", "PUT", "HEAD", "PATCH", "OPTIONS", "PROPFIND",
    ] {
        for target in [
            "/v1/backend",
            "/v1/backend/",
            "/v1/backend/a/",
            "/v1//backend/a",
            "/V1/backend/a",
            "/v1/backend-lock/a/",
            "/",
            "/healthz/",
        ] {
            let status = service.ask(method, target).body("{}").send().status;
            assert!(!(300..400).contains(&status), "{method} {target}: {status}");
            assert!(status < 500, "{method} {target}: {status}");
        }
    }
}

#[test]
fn an_unknown_method_is_405_and_is_told_which_are_known() {
    let service = Service::start();
    for method in ["PATCH", "OPTIONS", "PROPFIND", "lock"] {
        let answer = service.ask(method, UNIT).send();
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(
            answer.header("allow"),
            "GET, HEAD, POST, PUT, DELETE, LOCK, UNLOCK"
        );
    }
    assert_eq!(
        service.ask("LOCK", "/healthz").send().header("allow"),
        "GET, HEAD"
    );
}

#[test]
fn a_delete_may_be_repeated_but_not_while_somebody_holds_the_unit() {
    let service = locked_by_alice();
    assert_eq!(
        service
            .ask("POST", &format!("{UNIT}?ID={ALICE}"))
            .body(state(1))
            .send()
            .status,
        200
    );
    let refused = service.ask("DELETE", UNIT).send();
    assert_eq!(refused.status, 423);
    assert_names_alice(&refused);
    assert_eq!(service.ask("UNLOCK", UNIT).send().status, 200);
    for _ in 0..2 {
        assert_eq!(service.ask("DELETE", UNIT).send().status, 200);
    }
    assert_eq!(service.ask("GET", UNIT).send().status, 404);
}

#[test]
fn a_write_may_name_the_version_it_is_made_for() {
    let service = Service::start();
    let first = service.ask("POST", UNIT).body(state(1)).send();
    let onto = |version: &str, serial| {
        service
            .ask("POST", UNIT)
            .header("If-Match", version)
            .body(state(serial))
            .send()
    };
    let second = onto(first.header("etag"), 2);
    assert_eq!(second.status, 200);
    let refused = onto(first.header("etag"), 3);
    assert_eq!(
        (refused.status, refused.says("error").as_str()),
        (412, "version_conflict")
    );
    assert_eq!(format!("\"{}\"", refused.says("current")), second.header("etag"));
    assert_eq!(onto("*", 4).status, 400);
    assert_eq!(service.ask("GET", UNIT).send().text(), state(2));
}

#[derive(Debug)]
struct Never(Result<Decision, PolicyUnreadable>);

impl Policy for Never {
    fn decide(&self, _: &Caller, _: Action, _: &UnitId) -> Result<Decision, PolicyUnreadable> {
        self.0.clone()
    }
}

#[test]
fn forbidden_is_403_whether_or_not_there_is_a_state() {
    let service = Service::with_policy(Never(Ok(Decision::Deny)));
    for (method, body) in [
        ("GET", ""),
        ("POST", "{}"),
        ("DELETE", ""),
        ("UNLOCK", ""),
        ("LOCK", &lock(BOB, "bob")),
    ] {
        let answer = service.ask(method, UNIT).body(body).send();
        assert_eq!(
            (answer.status, answer.says("error").as_str()),
            (403, "forbidden"),
            "{method}"
        );
    }
}

#[test]
fn a_policy_that_cannot_be_read_is_503_and_its_reason_is_for_the_log() {
    let service = Service::with_policy(Never(Err(PolicyUnreadable {
        reason: "the canary sang".to_owned(),
    })));
    let answer = service
        .ask("GET", UNIT)
        .header("X-Request-Id", "unreadable-policy")
        .send();
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    assert!(!answer.text().contains("canary"), "{answer:?}");
    let lines = log().of_request("unreadable-policy");
    assert!(
        lines[0]["cause"].as_str().unwrap().contains("the canary sang"),
        "{lines:?}"
    );
}

#[test]
fn rights_are_looked_at_before_a_byte_of_the_body_is_asked_for() {
    use std::io::Write as _;
    let service = Service::with_policy(Never(Ok(Decision::Deny)));
    let ask = service
        .ask("POST", UNIT)
        .header("Expect", "100-continue")
        .body(vec![b' '; 1000]);
    let mut stream = service.connect();
    stream.write_all(ask.head().as_bytes()).unwrap();
    assert_eq!(Answer::read(stream, false).status, 403);
}

#[test]
fn a_bucket_that_cannot_be_read_is_503_for_states_and_for_readiness_and_nothing_for_health() {
    let directory = tempfile::tempdir().unwrap();
    let store = StoreConfig::Local {
        directory: directory.path().join("bucket"),
        prefix: None,
    };
    let service = Service::with(store, OpenOptions::default(), BodyLimits::default());
    assert_eq!(service.ask("GET", "/readyz").send().status, 200);
    // A name that leads to itself: whatever is asked of it, the system answers with an error.
    std::fs::rename(directory.path().join("bucket"), directory.path().join("away")).unwrap();
    std::os::unix::fs::symlink("bucket", directory.path().join("bucket")).unwrap();
    let ready = service
        .ask("GET", "/readyz")
        .header("X-Request-Id", "not-ready")
        .send();
    assert_eq!((ready.status, ready.says("error").as_str()), (503, "not_ready"));
    assert!(
        log().of_request("not-ready")[0]["cause"]
            .as_str()
            .unwrap()
            .contains("bucket")
    );
    for (method, body) in [
        ("GET", String::new()),
        ("POST", state(1)),
        ("LOCK", lock(ALICE, "alice")),
    ] {
        let answer = service.ask(method, UNIT).body(body).send();
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, "1"),
            "{method}"
        );
    }
    assert_eq!(service.ask("GET", "/healthz").send().status, 200);
}

#[derive(Debug)]
struct Panicking;

impl Policy for Panicking {
    fn decide(&self, _: &Caller, _: Action, _: &UnitId) -> Result<Decision, PolicyUnreadable> {
        panic!("the policy of this test panics")
    }
}

#[test]
fn a_panic_is_one_500_and_the_service_goes_on() {
    let service = Service::with_policy(Panicking);
    // A read panics in the handler, an unlock in the task that outlives its client.
    for (method, request_id) in [("GET", "panic-read"), ("UNLOCK", "panic-unlock")] {
        let answer = service
            .ask(method, UNIT)
            .header("X-Request-Id", request_id)
            .send();
        assert_eq!(
            (answer.status, answer.says("error").as_str()),
            (500, "panicked"),
            "{method}"
        );
        let lines = log().of_request(request_id);
        assert_eq!(
            (&lines[0]["status"], &lines[0]["level"]),
            (&500.into(), &"ERROR".into()),
            "{lines:?}"
        );
    }
    assert_eq!(service.ask("GET", "/healthz").send().status, 200);
}

#[test]
fn a_lock_that_is_sent_to_the_address_of_a_state_neither_replaces_nor_deletes_it() {
    let service = Service::start();
    assert_eq!(service.ask("POST", UNIT).body(state(1)).send().status, 200);
    let lock = r#"{"ID":"00000000-0000-4000-8000-000000000001","Operation":"OperationTypeApply","Info":"","Who":"me@here","Version":"1.11.4","Created":"2026-11-22T07:12:53Z","Path":""}"#;
    for method in ["POST", "PUT", "DELETE"] {
        let answer = service.ask(method, UNIT).body(lock).send();
        assert_eq!(answer.status, 400, "{method}: {answer:?}");
        assert!(
            answer.text().contains("/v1/backend-lock/"),
            "{method}: {answer:?}"
        );
    }
    assert_eq!(service.ask("GET", UNIT).send().text(), state(1));
}
