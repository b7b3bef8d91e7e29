//! What is counted, and that no client can make the counting expensive.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use opentaco_control::{OpenOptions, StoreConfig};
use opentaco_server::bodies::BodyLimits;

use crate::support::{Answer, Service, TOKEN, lock, state};

/// Every sample by its name with labels, after a look at the text as a whole.
fn numbers(service: &Service) -> BTreeMap<String, f64> {
    let answer = service.ask("GET", "/metrics").send();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        answer
            .header("content-type")
            .starts_with("application/openmetrics-text"),
        "{answer:?}"
    );
    let text = answer.text();
    assert!(text.ends_with("\n# EOF\n"), "{text}");
    let mut types = BTreeSet::new();
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            let name = described.split(' ').next().unwrap().to_owned();
            assert!(types.insert(name), "described twice: {line}");
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number in {line}"));
            let family = name.split('{').next().unwrap();
            let suffixes = ["", "_total", "_sum", "_count", "_bucket", "_info"];
            let known = suffixes
                .iter()
                .filter_map(|suffix| family.strip_suffix(suffix))
                .any(|family| types.contains(family));
            assert!(known, "no type was told before {line}");
            assert!(samples.insert(name.to_owned(), value).is_none(), "twice: {line}");
        }
    }
    samples
}

fn number(numbers: &BTreeMap<String, f64>, name: &str) -> f64 {
    *numbers
        .get(name)
        .unwrap_or_else(|| panic!("no {name} in {numbers:#?}"))
}

#[test]
fn requests_are_counted_by_door_operation_and_outcome() {
    let service = Service::start();
    let unit = "/v1/backend/counted";
    assert_eq!(service.ask("GET", unit).send().status, 404);
    assert_eq!(service.ask("POST", unit).body(state(1)).send().status, 200);
    assert_eq!(service.ask("GET", unit).send().status, 200);
    assert_eq!(service.ask("GET", "/v1/units/counted").send().status, 200);
    assert_eq!(service.ask_as(None, "GET", unit).send().status, 401);
    assert_eq!(service.ask("GET", "/nowhere").send().status, 400);
    let numbers = numbers(&service);
    let requests = |door, operation, outcome| {
        number(
            &numbers,
            &format!(
                "opentaco_requests_total{{door=\"{door}\",operation=\"{operation}\",outcome=\"{outcome}\"}}"
            ),
        )
    };
    assert_eq!(requests("terraform", "unit.read", "absent"), 1.0);
    assert_eq!(requests("terraform", "unit.read", "done"), 1.0);
    assert_eq!(requests("terraform", "unit.write", "done"), 1.0);
    assert_eq!(requests("terraform", "none", "denied"), 1.0);
    assert_eq!(requests("management", "unit.read", "done"), 1.0);
    assert_eq!(requests("none", "none", "refused"), 1.0);
    let reads = "{door=\"terraform\",operation=\"unit.read\"";
    assert_eq!(
        number(
            &numbers,
            &format!("opentaco_request_duration_seconds_count{reads}}}")
        ),
        2.0
    );
    assert_eq!(
        number(
            &numbers,
            &format!(
                "opentaco_request_duration_seconds_bucket{{le=\"+Inf\",{}}}",
                &reads[1..]
            )
        ),
        2.0
    );
    assert!(number(&numbers, "process_start_time_seconds") > 1e9);
    assert!(number(&numbers, "process_resident_memory_bytes") > 1e6);
    assert!(number(&numbers, "process_open_fds") > 3.0);
}

#[test]
fn lock_conflicts_and_refused_writes_are_counted_by_their_reason() {
    let service = Service::start();
    let unit = "/v1/backend/held";
    assert_eq!(service.ask("POST", unit).body(state(1)).send().status, 200);
    let first = service.ask("LOCK", unit).body(lock("first", "alice"));
    assert_eq!(first.send().status, 200);
    for _ in 0..2 {
        let second = service.ask("LOCK", unit).body(lock("second", "bob"));
        assert_eq!(second.send().status, 423);
    }
    let by_name = service
        .ask("POST", "/v1/units/held/lock")
        .body(r#"{"id":"third"}"#);
    assert_eq!(by_name.send().status, 409);
    let ghost = service.ask("POST", &format!("{unit}?ID=second")).body(state(2));
    assert_eq!(ghost.send().status, 409);
    let broken = service.ask("POST", &format!("{unit}?ID=first")).body("no state");
    assert_eq!(broken.send().status, 400);
    let numbers = numbers(&service);
    for (name, expected) in [
        ("opentaco_lock_conflicts_total{door=\"terraform\"}", 2.0),
        ("opentaco_lock_conflicts_total{door=\"management\"}", 1.0),
        (
            "opentaco_refused_writes_total{door=\"terraform\",reason=\"not_holder\"}",
            1.0,
        ),
        (
            "opentaco_refused_writes_total{door=\"terraform\",reason=\"invalid\"}",
            1.0,
        ),
    ] {
        assert_eq!(number(&numbers, name), expected, "{name}");
    }
}

#[test]
fn requests_to_the_bucket_are_counted_and_timed_by_verb_and_kind() {
    let service = Service::start();
    let written = service.ask("POST", "/v1/backend/kept").body(state(1)).send();
    assert_eq!(written.status, 200);
    let numbers = numbers(&service);
    let answered = "opentaco_bucket_requests_total{verb=\"put\",kind=\"version\",outcome=\"answered\"}";
    assert_eq!(number(&numbers, answered), 1.0);
    let failed = "opentaco_bucket_requests_total{verb=\"put\",kind=\"version\",outcome=\"failed\"}";
    assert_eq!(number(&numbers, failed), 0.0);
    let timed = "opentaco_bucket_request_duration_seconds_count{verb=\"put\",kind=\"version\"}";
    assert_eq!(number(&numbers, timed), 1.0);
    let mut classes: Vec<f64> = Vec::new();
    for (name, value) in &numbers {
        if name.starts_with("opentaco_bucket_request_duration_seconds_bucket{")
            && name.contains("verb=\"put\",kind=\"version\"")
        {
            classes.push(*value);
        }
    }
    assert_eq!(classes.len(), 15);
    assert!(classes.contains(&1.0), "{classes:?}");
}

#[test]
fn a_state_that_is_on_its_way_is_seen_as_memory_and_one_without_room_as_waiting() {
    let limits = BodyLimits {
        in_flight_bytes_max: 1 << 20,
        ..BodyLimits::default()
    };
    let service = Service::with(StoreConfig::Memory, OpenOptions::default(), limits);
    let seen = |name: &str, expected: f64| {
        for _ in 0..10_000 {
            if number(&numbers(&service), name) == expected {
                return;
            }
        }
        panic!("{name} never was {expected}: {:#?}", numbers(&service));
    };
    let begin = |unit: &str| {
        let mut stream = service.connect();
        let head = format!(
            "POST /v1/backend/{unit} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {}\r\n\r\n",
            1 << 20
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let first = begin("first");
    seen("opentaco_bodies_in_flight_bytes", f64::from(1 << 20));
    seen("opentaco_bodies_waiting", 0.0);
    let second = begin("second");
    seen("opentaco_bodies_waiting", 1.0);
    seen("opentaco_bodies_in_flight_bytes", f64::from(1 << 20));
    seen("opentaco_bodies_in_flight_max_bytes", f64::from(1 << 20));
    let mut state = state(1);
    state.push_str(&" ".repeat((1 << 20) - state.len()));
    for mut stream in [first, second] {
        stream.write_all(state.as_bytes()).unwrap();
        assert_eq!(Answer::read(&stream, false).status, 200);
    }
    seen("opentaco_bodies_in_flight_bytes", 0.0);
    seen("opentaco_bodies_waiting", 0.0);
}

#[test]
fn no_request_makes_a_label_of_what_it_says() {
    let service = Service::start();
    let ask_all = |parrot: &str| {
        for method in ["GET", "POST", "LOCK", "UNLOCK", "DELETE", "BREW"] {
            for target in [
                format!("/v1/backend/{parrot}?ID={parrot}"),
                format!("/v1/units/{parrot}"),
                format!("/v1/units/{parrot}/{parrot}"),
                format!("/{parrot}"),
            ] {
                let ask = service.ask(method, &target).header("User-Agent", parrot);
                ask.header("X-Request-Id", parrot)
                    .body(lock(parrot, parrot))
                    .send();
                let stranger = service.ask_as(Some(&format!("Bearer {parrot}")), method, &target);
                stranger.send();
            }
        }
    };
    ask_all("parrot-1");
    let series = |numbers: BTreeMap<String, f64>| -> BTreeSet<String> { numbers.into_keys().collect() };
    let before = series(numbers(&service));
    assert!(
        before
            .iter()
            .all(|name| !name.contains("parrot") && !name.contains("BREW")),
        "{before:#?}"
    );
    assert!(before.iter().any(|name| name.contains("door=\"terraform\"")));
    for n in 2..6 {
        ask_all(&format!("parrot-{n}"));
    }
    let after = series(numbers(&service));
    let new: Vec<_> = after.difference(&before).collect();
    // The scrape itself is counted when it is over.
    assert!(
        new.iter().all(|name| name.contains("operation=\"metrics\"")),
        "{new:#?}"
    );
}
