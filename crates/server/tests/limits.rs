//! Limits on the wire: what is too large, what stands still, who has to wait.

use std::io::{Read, Write};
use std::time::Duration;

use opentaco_server::bodies::BodyLimits;

use crate::support::{Answer, Service, lock, log, state};

const UNIT: &str = "/v1/backend/large";

fn at_most(one_bytes_max: u64) -> Service {
    Service::with_limits(BodyLimits {
        one_bytes_max,
        ..BodyLimits::default()
    })
}

/// A state of exactly so many bytes.
fn of_bytes(bytes: usize) -> String {
    let frame = r#"{"serial":1,"x":""}"#.len();
    format!(r#"{{"serial":1,"x":"{}"}}"#, "x".repeat(bytes - frame))
}

#[test]
fn a_state_of_just_the_limit_is_taken_and_one_byte_more_is_413() {
    let service = at_most(1000);
    for chunked in [false, true] {
        let ask = |bytes| {
            let ask = service.ask("POST", UNIT).body(of_bytes(bytes));
            if chunked { ask.chunked() } else { ask }
        };
        assert_eq!(ask(1000).send().status, 200);
        let refused = ask(1001).send();
        assert_eq!(
            (refused.status, refused.says("error").as_str()),
            (413, "body_too_large")
        );
        assert!(refused.says("message").contains("1000 bytes"), "{refused:?}");
    }
}

#[test]
fn a_body_that_says_it_is_too_large_is_refused_before_it_is_sent() {
    let service = at_most(1000);
    let mut stream = service.connect();
    let ask = service
        .ask("POST", UNIT)
        .header("Expect", "100-continue")
        .body(of_bytes(1001));
    stream.write_all(ask.head().as_bytes()).unwrap();
    assert_eq!(Answer::read(&stream, false).status, 413);
}

#[test]
fn a_client_that_waits_for_100_continue_is_told_to_go_on() {
    let service = Service::start();
    let mut stream = service.connect();
    let ask = service
        .ask("POST", UNIT)
        .header("Expect", "100-continue")
        .body(state(1));
    stream.write_all(ask.head().as_bytes()).unwrap();
    let mut go_on = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(state(1).as_bytes()).unwrap();
    assert_eq!(Answer::read(&stream, false).status, 200);
}

#[test]
fn a_large_body_that_is_refused_unread_does_not_cost_the_client_the_answer() {
    let service = at_most(1000);
    // The client writes all of it before it reads a byte, as a simple one does. Were the connection closed under it, it
    // would see a reset and try again.
    let body = of_bytes(20_000_000);
    assert_eq!(
        service
            .ask_as(Some("Bearer wrong"), "POST", UNIT)
            .body(&body)
            .send()
            .status,
        401
    );
    assert_eq!(service.ask("POST", UNIT).body(&body).send().status, 413);
    assert_eq!(service.ask("POST", UNIT).body(&body).chunked().send().status, 413);
    assert_eq!(service.ask("PATCH", UNIT).body(&body).send().status, 405);
}

#[test]
fn what_describes_a_lock_has_a_limit_of_its_own() {
    let service = Service::start();
    let description = lock("by hand", &"w".repeat(16 * 1024));
    for chunked in [false, true] {
        let ask = service.ask("LOCK", UNIT).body(&description);
        let answer = if chunked { ask.chunked() } else { ask }.send();
        assert_eq!(
            (answer.status, answer.says("error").as_str()),
            (413, "body_too_large")
        );
    }
}

#[test]
fn a_body_that_stands_still_is_given_up_with_408() {
    let limits = BodyLimits {
        idle: Duration::from_millis(50),
        ..BodyLimits::default()
    };
    let service = Service::with_limits(limits);
    let ask = service.ask("POST", UNIT).body(state(1));
    let mut stream = service.connect();
    stream.write_all(ask.head().as_bytes()).unwrap();
    stream.write_all(b"{").unwrap();
    let answer = Answer::read(&stream, false);
    assert_eq!(
        (answer.status, answer.says("error").as_str()),
        (408, "body_stalled")
    );
    assert_eq!(service.ask("GET", UNIT).send().status, 404);
}

#[test]
fn a_body_that_breaks_off_writes_nothing_and_the_log_tells_of_it() {
    let service = Service::start();
    let ask = service
        .ask("POST", UNIT)
        .header("X-Request-Id", "broken-off")
        .body(state(1));
    let mut stream = service.connect();
    stream.write_all(ask.head().as_bytes()).unwrap();
    // A whole JSON document, and yet not all that was announced.
    stream.write_all(b"{\"serial\":1}").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(service.ask("GET", UNIT).send().status, 404);
    drop(service);
    let lines = log().of_request("broken-off");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_ne!(lines[0]["decision"], "done");
}

#[test]
fn a_connection_that_never_finishes_a_head_is_closed() {
    use opentaco_control::{OpenOptions, StateControl, StoreConfig};
    use opentaco_server::App;
    use opentaco_server::bodies::Bodies;
    use opentaco_server::doorkeeper::Doorkeeper;
    use opentaco_server::serve::{Patience, serve};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let service = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let control = StateControl::open(&StoreConfig::Memory, OpenOptions::default())
                .await
                .unwrap();
            let app = App::new(control, Doorkeeper::Nobody, Bodies::new(BodyLimits::default()));
            let patience = Patience {
                head: Duration::from_millis(500),
                drain: Duration::from_secs(5),
            };
            serve(listener, app, async move { drop(stopped.await) }, patience)
                .await
                .unwrap();
        });
    });
    let all = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    std::thread::scope(|clients| {
        for begun in ["", "GET /hea", "GET /healthz HTTP/1.1\r\nHost: x\r\n", all] {
            clients.spawn(move || {
                let mut stream = crate::support::connect(address);
                stream.write_all(begun.as_bytes()).unwrap();
                let mut answered = String::new();
                // Returns when the service closes: without an answer, or after it, when no second request came.
                stream.read_to_string(&mut answered).unwrap();
                assert_eq!(
                    answered.contains("200 OK"),
                    begun == all,
                    "{begun:?}: {answered:?}"
                );
            });
        }
    });
    drop(stop);
    service.join().unwrap();
}

#[test]
fn a_request_keeps_the_number_it_came_with_or_gets_one() {
    let service = Service::start();
    let given = service
        .ask("GET", "/healthz")
        .header("X-Request-Id", "from-the-proxy_1")
        .send();
    assert_eq!(given.header("x-request-id"), "from-the-proxy_1");
    for unusable in ["", "a b", "<script>", &"x".repeat(129)] {
        let drawn = service
            .ask("GET", "/healthz")
            .header("X-Request-Id", unusable)
            .send();
        assert_eq!(drawn.header("x-request-id").len(), 32, "{unusable:?}");
        assert!(
            drawn
                .header("x-request-id")
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit())
        );
    }
}
