//! What the log says of a request, and what it never says.

use crate::support::{Service, TOKEN, lock, log};

#[test]
fn a_request_is_one_line_with_who_what_and_how_it_was_decided() {
    let service = Service::start();
    let unit = "/v1/backend/told/of?ID=nobody-holds-this";
    service
        .ask("POST", unit)
        .header("X-Request-Id", "told-409")
        .body("{\"serial\":1}")
        .send();
    service
        .ask_as(None, "POST", unit)
        .header("X-Request-Id", "told-401")
        .body("{}")
        .send();
    service
        .ask("UNLOCK", "/v1/backend/told/of")
        .header("X-Request-Id", "told-force")
        .send();
    service
        .ask("GET", "/healthz")
        .header("X-Request-Id", "told-health")
        .send();
    drop(service);

    let [refused] = &log().of_request("told-409")[..] else {
        panic!("{:?}", log().of_request("told-409"))
    };
    assert_eq!(refused["caller"], "root");
    assert_eq!(refused["unit"], "told/of");
    assert_eq!(refused["action"], "unit.write");
    assert_eq!(refused["decision"], "refused");
    assert_eq!(refused["status"], 409);
    assert_eq!(refused["code"], "not_holder");
    assert_eq!(refused["path"], "/v1/backend/told/of", "without the query");
    assert_eq!(refused["level"], "INFO");

    let [denied] = &log().of_request("told-401")[..] else {
        panic!()
    };
    assert_eq!(
        (&denied["decision"], &denied["status"], &denied["level"]),
        (&"denied".into(), &401.into(), &"WARN".into())
    );
    assert!(
        denied.get("caller").is_none() && denied.get("unit").is_none(),
        "{denied}"
    );

    let [force] = &log().of_request("told-force")[..] else {
        panic!()
    };
    assert_eq!(
        (&force["action"], &force["decision"]),
        (&"unit.force-unlock".into(), &"done".into())
    );
    assert_eq!(log().of_request("told-health").len(), 1);
}

#[test]
fn neither_a_token_nor_a_states_content_ever_reaches_the_log() {
    let service = Service::start();
    let state = |what: &str| format!(r#"{{"serial":1,"outputs":{{"password":"canary-{what}"}}}}"#);
    let unit = "/v1/backend/hushed";
    // Taken, refused for its lock, refused for its shape in every way a parser has words for, refused at the guard.
    service.ask("POST", unit).body(state("taken")).send();
    assert!(service.ask("GET", unit).send().text().contains("canary-taken"));
    service
        .ask("POST", &format!("{unit}?ID=canary-query"))
        .body(state("refused"))
        .send();
    for shape in [
        "\"canary-string\"",
        "[\"canary-array\"]",
        "{\"serial\":\"canary-serial\"}",
        "{\"canary-key\":}",
        "canary-bare",
    ] {
        service.ask("POST", unit).body(shape).send();
        service.ask("LOCK", unit).body(shape).send();
        service.ask("UNLOCK", unit).body(shape).send();
    }
    service
        .ask("POST", unit)
        .header("Content-MD5", "canary-digest")
        .body(state("digest"))
        .send();
    service
        .ask_as(Some("Bearer canary-stranger"), "POST", unit)
        .body(state("stranger"))
        .send();
    service
        .ask_as(Some("Basic Y2FuYXJ5LXVzZXI6Y2FuYXJ5LXBhc3N3b3Jk"), "GET", unit)
        .send();
    service
        .ask("LOCK", unit)
        .body(lock("by hand", "alice"))
        .header("X-Request-Id", "hushed-last")
        .send();
    drop(service);

    assert_eq!(
        log().of_request("hushed-last").len(),
        1,
        "the log is being captured"
    );
    let text = log().text();
    // `canary-query` is a lock id, which is no secret; but nobody asked for it to be told.
    for line in text
        .lines()
        .filter(|line| line.contains("canary") || line.contains("Y2FuYXJ5"))
    {
        assert!(line.contains("the canary sang"), "{line}");
    }
    assert!(!text.contains(TOKEN));
}

#[test]
fn an_answer_never_repeats_what_was_sent_as_a_state() {
    let service = Service::start();
    for shape in [
        "\"canary\"",
        "[\"canary\"]",
        "{\"canary\":}",
        "canary",
        "{\"serial\":1}canary",
    ] {
        let answer = service.ask("POST", "/v1/backend/quoted").body(shape).send();
        assert_eq!(answer.status, 400);
        assert!(!answer.text().contains("canary"), "{answer:?}");
    }
}
