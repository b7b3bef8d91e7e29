//! What the audit says of those who come through the doors, how it is sealed, and how it is read.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use opentaco_control::{OpenOptions, StoreConfig};
use opentaco_domain::audit::verify::Flaw;
use opentaco_domain::audit::{Auditor, Event, Keys, Read, Report, SegmentId};
use opentaco_identity::SigningKey;
use opentaco_server::config::{Asked, understand};
use serde_json::{Value, json};

use crate::logins::{World, refresh, text};
use crate::support::{Service, TOKEN, lock, state};

/// The files of the audit below a directory, in the order of their names.
fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(segments(&path));
        } else if path.extension().is_some_and(|extension| extension == "jsonl") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn id_of(path: &Path) -> SegmentId {
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

pub(crate) fn events(directory: &Path) -> Vec<Event> {
    let read = |path: PathBuf| Read::parse(&id_of(&path), &std::fs::read(&path).unwrap()).unwrap();
    segments(directory)
        .into_iter()
        .flat_map(|path| read(path).events)
        .collect()
}

fn verified(directory: &Path, keys: Keys) -> Report {
    let mut auditor = Auditor::new(keys, None);
    let mut all = segments(directory);
    all.sort_by_key(|path| (id_of(path).replica, id_of(path).sequence));
    for path in all {
        auditor.read(id_of(&path), &std::fs::read(&path).unwrap());
    }
    auditor.finish()
}

fn published(service: &Service) -> Keys {
    let document = service.ask_as(None, "GET", "/oidc/jwks.json").send().text();
    Keys::from_jwks(document.as_bytes()).unwrap()
}

#[test]
fn everybody_is_told_by_what_they_came_and_no_token_and_no_state_is_in_the_audit() {
    let world = World::new();
    let service = world.service();
    let session = world.login(&service, "ada");
    let access = text(&session, "access_token").to_owned();
    let next = refresh(&service, text(&session, "refresh_token")).json();
    let bearer = |token: &str| format!("Bearer {token}");
    let made = service
        .ask_as(Some(&bearer(&access)), "POST", "/v1/auth/tokens")
        .body(r#"{"name":"mine"}"#)
        .send()
        .json();
    let api_token = text(&made, "token").to_owned();
    let job = world.job(&json!({
        "repository": "acme/infra", "ref": "refs/heads/main", "run_id": "77",
    }));
    let s3 = service
        .ask_as(Some(&bearer(&access)), "POST", "/v1/auth/issue-s3-creds")
        .send()
        .json();
    let secret_state = |serial: u32| {
        json!({"version": 4, "serial": serial, "lineage": "l", "outputs": {"p": {"value": "canary-of-a-state", "type": "string"}}, "resources": []}).to_string()
    };
    let unit = "/v1/backend/audited";
    for (number, token) in [TOKEN, &access, &api_token, &job].into_iter().enumerate() {
        let wrote = service
            .ask_as(Some(&bearer(token)), "POST", unit)
            .header("X-Request-Id", &format!("audited-{number}"))
            .body(secret_state(u32::try_from(number).unwrap() + 1))
            .send();
        assert_eq!(wrote.status, 200, "{wrote:?}");
        assert_eq!(
            service.ask_as(Some(&bearer(token)), "GET", unit).send().status,
            200
        );
    }
    // Refused for its lock, its bytes kept; and denied, to somebody without a role.
    let refused = service
        .ask("POST", &format!("{unit}?ID=none"))
        .body(secret_state(9))
        .send();
    assert_eq!(refused.status, 409);
    assert_eq!(service.ask_by("sam", "GET", unit).send().status, 403);
    let out = service.ask_as(
        Some(&bearer(text(&next, "access_token"))),
        "POST",
        "/v1/auth/revoke",
    );
    assert_eq!(out.send().status, 204);
    drop(service);

    let directory = world.directory.path();
    let events = events(directory);
    let writes: Vec<&Event> = events
        .iter()
        .filter(|event| event.action == "unit.write")
        .collect();
    let come: Vec<(&str, String)> = writes[..4]
        .iter()
        .map(|event| (event.principal.as_str(), event.via.clone().unwrap()))
        .collect();
    let id = text(&made["about"], "id");
    assert_eq!(come[2], ("ada@example.com", format!("token {id}")));
    assert_eq!(
        come[3],
        ("ci:acme/infra", format!("ci job of {}", world.ci.url()))
    );
    assert_eq!(come[0], ("root", "root token".to_owned()));
    assert_eq!(come[1].0, "ada@example.com");
    assert!(come[1].1.starts_with("login "), "{come:?}");
    for (number, event) in writes[..4].iter().enumerate() {
        assert_eq!(event.request.as_deref(), Some(&*format!("audited-{number}")));
        assert_eq!(event.address.as_deref(), Some("127.0.0.1"));
        assert_eq!(event.door.as_deref(), Some("terraform"));
        assert!(event.version.is_some());
    }
    assert!(
        writes[3]
            .run
            .as_deref()
            .unwrap()
            .ends_with("acme/infra/actions/runs/77"),
        "{:?}",
        writes[3].run
    );
    assert!(writes[4].kept.is_some(), "{:?}", writes[4]);
    let actions: BTreeSet<(&str, &str)> = events
        .iter()
        .map(|event| (event.action.as_str(), event.decision.as_str()))
        .collect();
    for expected in [
        ("access.manage", "done"),
        ("auth.login", "done"),
        ("auth.refresh", "done"),
        ("auth.s3", "done"),
        ("auth.revoke", "done"),
        ("token.create", "done"),
        ("unit.read", "done"),
        ("unit.read", "denied"),
        ("unit.write", "refused"),
    ] {
        assert!(actions.contains(&expected), "{expected:?} in {actions:?}");
    }
    let denied = events
        .iter()
        .find(|event| event.decision.as_str() == "denied")
        .unwrap();
    assert_eq!(
        (denied.principal.as_str(), denied.unit.as_ref().unwrap().as_str()),
        ("sam", "audited")
    );

    let all: String = segments(directory)
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let secrets = [
        TOKEN,
        &access,
        text(&session, "refresh_token"),
        text(&next, "access_token"),
        text(&next, "refresh_token"),
        &api_token,
        &job,
        text(&s3, "SecretAccessKey"),
        text(&s3, "SessionToken"),
        &world.id_token("ada"),
        "canary-of-a-state",
    ];
    for secret in secrets {
        assert!(
            !all.contains(secret),
            "a secret is in the audit: {}…",
            &secret[..9]
        );
        // Nor the part of a token that proves it.
        let proof = secret.rsplit('.').next().unwrap();
        assert!(!all.contains(proof), "…{proof}");
    }
}

#[test]
fn the_audit_is_sealed_by_the_key_of_tokens_over_restarts_and_its_rotation() {
    let world = World::new();
    let service = world.service();
    assert_eq!(
        service
            .ask("POST", "/v1/backend/sealed")
            .body(state(1))
            .send()
            .status,
        200
    );
    let before = published(&service);
    drop(service);
    let directory = world.directory.path().to_owned();
    let report = verified(&directory, before.clone());
    assert_eq!(
        (report.findings.len(), report.unsealed, report.open.len()),
        (0, 0, 0),
        "{report:?}"
    );
    assert!(report.events >= 2);

    // Another key signs from here on, and the old one is still told.
    let old = directory.join("tokens-key.pem");
    let new = directory.join("new.pem");
    std::fs::write(&new, SigningKey::generate().to_pem().expose()).unwrap();
    let world = world
        .with("OPENTACO_TOKENS_PRIVATE_KEY_PEM_PATH", new.to_str().unwrap())
        .with("OPENTACO_TOKENS_VERIFY_PEM_PATHS", old.to_str().unwrap());
    let service = world.again(OpenOptions::default());
    assert_eq!(
        service
            .ask("POST", "/v1/backend/sealed")
            .body(state(2))
            .send()
            .status,
        200
    );
    let both = published(&service);
    drop(service);
    assert_eq!(verified(&directory, both.clone()).findings, []);
    let report = verified(&directory, before);
    assert!(
        report
            .findings
            .iter()
            .all(|finding| matches!(finding.flaw, Flaw::UnknownKey(_)))
    );
    assert!(!report.findings.is_empty());

    // Somebody who can write to the bucket.
    let path = &segments(&directory)[0];
    let text = std::fs::read_to_string(path).unwrap();
    std::fs::write(path, text.replacen("root", "toor", 1)).unwrap();
    let report = verified(&directory, both);
    assert_eq!(report.findings[0].flaw, Flaw::BadSeal);
}

#[test]
fn events_are_searched_and_segments_handed_out_as_they_lie_in_the_bucket() {
    let world = World::new();
    drop(world.service());
    let mut options = OpenOptions::default();
    options.audit.sync = true;
    let service = world.again(options);
    let unit = "/v1/backend/team/looked";
    assert_eq!(
        service
            .ask("LOCK", unit)
            .body(lock("made by hand", "alice"))
            .send()
            .status,
        200
    );
    assert_eq!(
        service
            .ask("POST", &format!("{unit}?ID=made+by+hand"))
            .body(state(1))
            .send()
            .status,
        200
    );
    let found = |query: &str| -> Vec<Value> {
        let page = service.ask("GET", &format!("/v1/audit?{query}")).send().json();
        page["events"].as_array().unwrap().clone()
    };
    // Each change was answered when its event was written.
    let events = found("unit=team/looked&limit=10");
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(
        (events[0]["action"].as_str(), events[1]["action"].as_str()),
        (Some("unit.write"), Some("unit.lock")),
        "newest first"
    );
    assert_eq!(events[0]["lock"], "made by hand");
    for (query, n) in [
        ("prefix=team/", 2),
        ("prefix=other/", 0),
        ("unit=team/looked&action=unit.lock", 1),
        ("unit=team/looked&principal=root", 2),
        ("unit=team/looked&principal=rooty", 0),
        ("unit=team/looked&decision=refused", 0),
        ("unit=team/looked&until=2001-01-01T00:00:00Z", 0),
        ("unit=team/looked&since=2001-01-01T00:00:00Z&limit=1", 1),
    ] {
        assert_eq!(found(query).len(), n, "{query}");
    }
    for wrong in [
        "/v1/audit?limit=0",
        "/v1/audit?limit=1001",
        "/v1/audit?decision=perhaps",
        "/v1/audit?since=yesterday",
        "/v1/audit?unit=../x",
        "/v1/audit?page_token=x",
        "/v1/audit?of=x",
        "/v1/audit/segments?page_token=x",
        "/v1/audit/segments/x",
        "/v1/audit/segments/..%2F..%2F__opentaco_access%2Fpolicy.json",
    ] {
        assert_eq!(service.ask("GET", wrong).send().status, 400, "{wrong}");
    }
    let listed = service.ask("GET", "/v1/audit/segments").send().json();
    let ids = listed["segments"].as_array().unwrap();
    assert!(!ids.is_empty() && listed["next_page_token"].is_null());
    let name = ids[0].as_str().unwrap();
    let answer = service.ask("GET", &format!("/v1/audit/segments/{name}")).send();
    assert_eq!(answer.header("content-type"), "application/jsonl");
    let there = std::fs::read_to_string(&segments(world.directory.path())[0]).unwrap();
    assert_eq!(answer.text(), there);
    let missing = "/v1/audit/segments/2026-11-23T14.15.30.123-9f86d081884c7d65-0000000007";
    assert_eq!(service.ask("GET", missing).send().status, 404);
}

#[test]
fn where_nobody_logs_in_the_audit_has_a_key_of_its_own_which_is_made_when_it_is_needed() {
    let directory = tempfile::tempdir().unwrap();
    let config = |name: &str| (name == "OPENTACO_DATA_DIR").then(|| directory.path().display().to_string());
    let Asked::Serve(config) = understand(&[], &config).unwrap() else {
        panic!("it is to serve")
    };
    let store = StoreConfig::Local {
        directory: directory.path().join("bucket"),
        prefix: None,
    };
    let key = directory.path().join("tokens-key.pem");
    let mut keys = Keys::default();
    for serial in 1..3 {
        let service = Service::with_logins(store.clone(), OpenOptions::default(), &config);
        assert_eq!(service.ask("GET", "/healthz").send().status, 200);
        assert_eq!(key.exists(), serial > 1, "a start draws no key");
        let wrote = service.ask("POST", "/v1/backend/a").body(state(serial)).send();
        assert_eq!(wrote.status, 200);
        keys = published(&service);
        assert!(!keys.is_empty());
        drop(service);
    }
    assert_eq!(
        std::fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let report = verified(directory.path(), keys);
    assert_eq!(
        (report.chains, report.unsealed, report.findings.len()),
        (2, 0, 0),
        "{report:?}"
    );
}

#[test]
fn a_service_that_is_stopped_leaves_a_chain_that_has_ended() {
    let world = World::new();
    let mut keys = Keys::default();
    for serial in 1..3 {
        let service = match serial {
            1 => world.service(),
            _ => world.again(OpenOptions::default()),
        };
        keys = published(&service);
        assert_eq!(
            service
                .ask("POST", "/v1/backend/a")
                .body(state(serial))
                .send()
                .status,
            200
        );
        drop(service);
    }
    let report = verified(world.directory.path(), keys);
    assert_eq!(
        (report.chains, report.open.len(), report.findings.len()),
        (2, 0, 0),
        "{report:?}"
    );
}
