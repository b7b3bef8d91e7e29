//! When a request is made again, with what, and where it never goes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use opentaco_domain::{LockId, UnitId};
use opentaco_sdk::api::{ChangeUnit, CreateUnit, LockRequest};
use opentaco_sdk::versions::Reinstate;
use opentaco_sdk::{Client, SdkError, Server, Token, TokenError, TokenProvider};

use crate::scripted::{Scripted, TOKEN, Turn, answer, client, header, impatient, refusal};

fn prod() -> UnitId {
    UnitId::parse("myapp/prod").unwrap()
}

const UNIT: &str = r#"{"id":"myapp/prod","size":0,"updated":"2026-01-01T00:00:00Z","created":"2026-01-01T00:00:00Z","locked":false}"#;

fn create() -> CreateUnit {
    CreateUnit {
        id: prod(),
        labels: Default::default(),
        description: String::new(),
    }
}

#[tokio::test]
async fn a_question_is_asked_again_when_its_answer_is_lost_or_the_service_is_busy() {
    let scripted = Scripted::new(vec![
        Turn::Cut,
        refusal(503, "unavailable"),
        answer(502, &[], "<html>a proxy</html>"),
        answer(200, &[], UNIT),
    ]);
    assert_eq!(scripted.client().unit(&prod()).await.unwrap().id, prod());
    let asked = scripted.asked();
    assert_eq!(asked.len(), 4);
    for request in &asked {
        assert!(
            request.starts_with("GET /v1/units/myapp__prod HTTP/1.1\r\n"),
            "{request}"
        );
        assert_eq!(header(request, "authorization"), Some("Bearer scripted-token"));
        assert_eq!(header(request, "opentaco-unit"), Some("myapp/prod"));
    }
}

#[tokio::test]
async fn what_was_decided_is_not_asked_again() {
    for (status, code) in [
        (400, "invalid"),
        (403, "forbidden"),
        (404, "not_found"),
        (409, "locked"),
        (410, "lock_over"),
        (500, "panicked"),
    ] {
        let scripted = Scripted::new(vec![refusal(status, code), answer(200, &[], UNIT)]);
        let error = scripted.client().unit(&prod()).await.unwrap_err();
        assert_eq!(error.to_string(), "because", "{status}");
        assert_eq!(scripted.asked().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_delete_that_was_perhaps_heard_is_looked_after_and_not_repeated() {
    let scripted = Scripted::new(vec![Turn::Cut, refusal(404, "not_found")]);
    scripted.client().delete_unit(&prod()).await.unwrap();
    let methods = |scripted: &Scripted| -> Vec<String> {
        let asked = scripted.asked();
        asked
            .iter()
            .map(|request| request.split(' ').next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(methods(&scripted), ["DELETE", "GET"]);

    let scripted = Scripted::new(vec![Turn::Cut, answer(200, &[], UNIT)]);
    let error = scripted.client().delete_unit(&prod()).await.unwrap_err();
    assert!(matches!(error, SdkError::Unanswered { .. }), "{error:?}");
    assert_eq!(methods(&scripted), ["DELETE", "GET"]);

    let scripted = Scripted::new(vec![
        answer(429, &[("Retry-After", "0")], ""),
        answer(204, &[], ""),
    ]);
    scripted.client().delete_unit(&prod()).await.unwrap();
    assert_eq!(
        methods(&scripted),
        ["DELETE", "DELETE"],
        "429 says that nothing was done"
    );
}

#[tokio::test]
async fn a_lock_is_asked_for_again_only_under_an_id_of_its_own() {
    let lock = r#"{"id":"mine","principal":"root","since":"2026-01-01T00:00:00Z"}"#;
    let scripted = Scripted::new(vec![Turn::Cut, answer(200, &[], lock)]);
    let wanted = LockRequest {
        id: Some(LockId::parse("mine").unwrap()),
        ..LockRequest::default()
    };
    let taken = scripted.client().lock(&prod(), &wanted).await.unwrap();
    assert_eq!(taken.id.as_str(), "mine");
    let asked = scripted.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|request| request.contains(r#"{"id":"mine"}"#)));

    let scripted = Scripted::new(vec![Turn::Cut, answer(200, &[], lock)]);
    let error = scripted
        .client()
        .lock(&prod(), &LockRequest::default())
        .await
        .unwrap_err();
    assert!(error.is_in_doubt(), "{error:?}");
    assert_eq!(scripted.asked().len(), 1, "nobody would know the first lock");
}

#[tokio::test]
async fn a_lock_is_broken_at_most_once() {
    let scripted = Scripted::new(vec![Turn::Cut]);
    scripted.client().force_unlock(&prod()).await.unwrap_err();
    assert_eq!(scripted.asked().len(), 1);
}

#[tokio::test]
async fn every_attempt_to_restore_carries_the_same_key_and_no_two_restores_share_one() {
    let version = format!("{:016x}-7-00000000-{}-00000001", 41, "0".repeat(64));
    let receipt = format!(r#"{{"id":"myapp/prod","version":"{version}","size":2}}"#);
    let scripted = Scripted::new(vec![
        Turn::Cut,
        answer(200, &[], &receipt),
        answer(200, &[], &receipt),
    ]);
    let client = scripted.client();
    for _ in 0..2 {
        client
            .restore(&prod(), version.parse().unwrap(), &Reinstate::default())
            .await
            .unwrap();
    }
    let asked = scripted.asked();
    let keys: Vec<_> = asked
        .iter()
        .map(|request| header(request, "idempotency-key").unwrap())
        .collect();
    assert_eq!(keys.len(), 3);
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[1], keys[2]);
}

#[tokio::test]
async fn a_unit_whose_creation_went_unanswered_is_recognised_and_anybody_elses_is_not() {
    let exists = || refusal(409, "already_exists");
    let scripted = Scripted::new(vec![Turn::Cut, exists(), answer(200, &[], UNIT)]);
    assert_eq!(scripted.client().create_unit(&create()).await.unwrap().id, prod());

    let scripted = Scripted::new(vec![exists()]);
    let error = scripted.client().create_unit(&create()).await.unwrap_err();
    assert!(matches!(error, SdkError::AlreadyExists { .. }));
    assert_eq!(scripted.asked().len(), 1);

    let other = UNIT.replace("\"size\":0", "\"size\":5");
    let scripted = Scripted::new(vec![Turn::Cut, exists(), answer(200, &[], &other)]);
    let error = scripted.client().create_unit(&create()).await.unwrap_err();
    assert!(matches!(error, SdkError::AlreadyExists { .. }));
}

#[tokio::test]
async fn attempts_end_with_the_last_error() {
    let scripted = Scripted::new(vec![refusal(503, "unavailable"); 9]);
    let error = scripted.client().unit(&prod()).await.unwrap_err();
    assert!(matches!(error, SdkError::Unavailable { .. }));
    assert_eq!(scripted.asked().len(), 5);
}

#[tokio::test]
async fn a_service_that_asks_for_a_wait_gets_it() {
    let busy = answer(
        503,
        &[("Retry-After", "1")],
        r#"{"error":"unavailable","message":"busy"}"#,
    );
    let scripted = Scripted::new(vec![busy, answer(200, &[], UNIT)]);
    let started = Instant::now();
    scripted.client().unit(&prod()).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));

    let closed = answer(
        503,
        &[("Retry-After", "3600")],
        r#"{"error":"unavailable","message":"busy"}"#,
    );
    let scripted = Scripted::new(vec![closed]);
    scripted.client().unit(&prod()).await.unwrap_err();
    assert_eq!(scripted.asked().len(), 1, "nobody waits for an hour");
}

#[tokio::test]
async fn nothing_that_listens_is_told_apart_from_an_answer_that_was_lost() {
    let port = opentaco_testkit::tools::free_port();
    let error = client(&format!("http://127.0.0.1:{port}"))
        .unit(&prod())
        .await
        .unwrap_err();
    assert!(matches!(error, SdkError::Unreachable { .. }), "{error:?}");
    assert!(!error.is_in_doubt());
    let scripted = Scripted::new(Vec::new());
    let error = scripted.client().unit(&prod()).await.unwrap_err();
    assert!(matches!(error, SdkError::Unanswered { .. }), "{error:?}");
    assert!(error.is_in_doubt());
}

#[tokio::test]
async fn a_request_that_was_perhaps_heard_stays_in_doubt_when_the_service_goes_away() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let once = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        drop(listener);
        let mut head = [0; 1];
        std::io::Read::read_exact(&mut client, &mut head).unwrap();
    });
    let wanted = LockRequest {
        id: Some(LockId::parse("mine").unwrap()),
        ..LockRequest::default()
    };
    let error = client(&url).lock(&prod(), &wanted).await.unwrap_err();
    once.join().unwrap();
    assert!(matches!(error, SdkError::Unanswered { .. }), "{error:?}");
    assert!(error.is_in_doubt(), "it may have taken the lock before it went");
}

#[tokio::test]
async fn no_token_follows_a_redirect() {
    let elsewhere = Scripted::new(vec![answer(200, &[], UNIT)]);
    for status in [301, 302, 303, 307, 308] {
        let target = format!("{}/v1/units/myapp__prod", elsewhere.url());
        let scripted = Scripted::new(vec![answer(status, &[("Location", &target)], "")]);
        let error = scripted.client().unit(&prod()).await.unwrap_err();
        assert!(
            matches!(&error, SdkError::Redirected { to } if *to == target),
            "{error:?}"
        );
    }
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn somebody_elses_answer_is_no_answer_of_ours() {
    for (turn, said) in [
        (
            answer(200, &[], "<html>Welcome to nginx!</html>"),
            "a body that is not",
        ),
        (answer(404, &[], "Not Found"), "a 404 of somebody"),
        (answer(418, &[], "teapot"), "the service answered 418"),
    ] {
        let scripted = Scripted::new(vec![turn]);
        let error = scripted.client().unit(&prod()).await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[tokio::test]
async fn a_refusal_carries_who_holds_the_unit_and_what_was_kept() {
    let body = r#"{"error":"not_holder","message":"held","kept":"abc","holder":
        {"id":"theirs","who":"carol@desk","principal":"carol","since":"2026-01-01T00:00:00Z"}}"#;
    let scripted = Scripted::new(vec![answer(409, &[], body)]);
    let error = scripted.client().unit(&prod()).await.unwrap_err();
    assert!(matches!(error, SdkError::Locked { .. }));
    assert_eq!(error.holder().unwrap().who, "carol@desk");
    assert_eq!(error.rejected(), Some("abc"));
}

/// Gives one token after the other.
#[derive(Debug)]
struct Rotating(AtomicUsize);

#[async_trait]
impl TokenProvider for Rotating {
    async fn token(&self, _: &Server) -> Result<Option<Token>, TokenError> {
        Ok(Token::parse("first").ok())
    }

    async fn instead_of(&self, _: &Server, refused: &Token) -> Result<Option<Token>, TokenError> {
        assert_eq!(refused.expose(), "first");
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Token::parse("second").ok())
    }
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_once() {
    let client = |scripted: &Scripted| {
        Client::builder(Server::parse(scripted.url()).unwrap())
            .tokens(Rotating(AtomicUsize::new(0)))
            .retries(impatient())
            .build()
            .unwrap()
    };
    let refused = || refusal(401, "unauthenticated");
    let scripted = Scripted::new(vec![refused(), answer(200, &[], UNIT)]);
    client(&scripted).unit(&prod()).await.unwrap();
    let asked = scripted.asked();
    assert_eq!(header(&asked[1], "authorization"), Some("Bearer second"));

    let scripted = Scripted::new(vec![refused(), refused(), answer(200, &[], UNIT)]);
    let error = client(&scripted).unit(&prod()).await.unwrap_err();
    assert!(matches!(error, SdkError::NotAuthenticated { .. }));
    assert_eq!(scripted.asked().len(), 2);

    let scripted = Scripted::new(vec![refused(), answer(200, &[], UNIT)]);
    let error = scripted.client().unit(&prod()).await.unwrap_err();
    assert!(
        matches!(error, SdkError::NotAuthenticated { .. }),
        "a static token has no other"
    );
    assert!(!format!("{error:?}").contains(TOKEN));
}

#[tokio::test]
async fn a_change_names_only_what_changes() {
    let scripted = Scripted::new(vec![answer(200, &[], UNIT)]);
    let change = ChangeUnit {
        labels: [("a".to_owned(), None)].into(),
        ..ChangeUnit::default()
    };
    scripted.client().change_unit(&prod(), &change).await.unwrap();
    let asked = scripted.asked();
    assert!(asked[0].starts_with("PATCH "), "{}", asked[0]);
    assert!(asked[0].ends_with(r#"{"labels":{"a":null}}"#), "{}", asked[0]);
}
