//! Real clients with the token that a CI platform gives to a job as their password: no secret is stored anywhere. An
//! issuer with a real key stands for the platform.

use std::fs;
use std::path::Path;

use opentaco_testkit::client::Client;
use opentaco_testkit::issuer::TokenIssuer;
use opentaco_testkit::service::{ROOT_TOKEN, Service};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::journeys::ONE;

/// A service that believes a platform's jobs: those of the protected branch write, all others of ours plan.
struct World {
    _home: TempDir,
    platform: TokenIssuer,
    service: Service,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new() -> Self {
        let (home, platform) = (tempfile::tempdir().unwrap(), TokenIssuer::start());
        let file = home.path().join("auth.yaml");
        let url = platform.url();
        let rules = format!(
            "provider: {{ issuer: {url}, client_id: taco }}\nci:\n  - issuer: {url}\n    audience: https://taco.example.com\n    rules:\n      - when: {{ repository: acme/infra, ref: refs/heads/main }}\n        principal: \"ci:github:{{repository}}\"\n        roles: [writer]\n      - when: {{ repository: acme/* }}\n        principal: \"ci:github:{{repository}}\"\n        roles: [planner]\n"
        );
        fs::write(&file, rules).unwrap();
        let flags = [
            "-storage",
            "local",
            "-log-level",
            "debug",
            "-audit-sync",
            "-auth-config",
            text(&file),
        ];
        let service = Service::start(home.path(), &flags, &[]);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let world = Self {
            _home: home,
            platform,
            service,
            runtime,
        };
        let planner = json!({"rules": [{"actions": ["unit.read", "unit.lock"], "units": ["**"]}]});
        for (method, path, body) in [
            ("POST", "/v1/rbac/init", json!({"administrators": ["user:ada"]})),
            ("PUT", "/v1/rbac/permissions/planner", planner),
            (
                "PUT",
                "/v1/rbac/roles/planner",
                json!({"permissions": ["planner"]}),
            ),
        ] {
            let (status, told) = world.ask(ROOT_TOKEN, method, path, Some(&body));
            assert!(status < 300, "{method} {path}: {status} {told}");
        }
        world
    }

    fn job(&self, branch: &str) -> String {
        let claims = json!({
            "aud": "https://taco.example.com", "sub": format!("repo:acme/infra:ref:{branch}"),
            "repository": "acme/infra", "ref": branch, "run_id": "77",
        });
        self.platform.token(&claims)
    }

    fn client(&self, token: &str) -> Client {
        self.service.client("infra/prod", ONE).with_token(token).init()
    }

    fn ask(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
        self.runtime.block_on(async {
            let url = format!("{}{path}", self.service.url());
            let request = reqwest::Client::new().request(method.parse().unwrap(), url);
            let request = match body {
                Some(body) => request.json(body),
                None => request,
            };
            let answer = request.bearer_auth(token).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        })
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_job_of_a_pull_request_plans_and_one_of_the_protected_branch_applies() {
    let world = World::new();
    let (main, pull_request) = (world.job("refs/heads/main"), world.job("refs/pull/7/merge"));
    let _planned = world.client(&main).run(&["plan", "-input=false"]).worked();
    let _applied = world.client(&main).apply().worked();

    let reviewer = world.client(&pull_request);
    let planned = reviewer.run(&["plan", "-input=false"]).worked();
    assert!(planned.printed.contains("No changes"), "{}", planned.printed);
    reviewer.resources(&ONE.replace("\"1\"", "\"2\""));
    let _planned = reviewer.run(&["plan", "-input=false"]).worked();
    let _refused = reviewer.apply().failed_with("403");
    let (_, state) = world.ask(ROOT_TOKEN, "GET", "/v1/backend/infra/prod", None);
    let state: Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["outputs"]["one"]["value"], "1", "nothing was written");
}

#[test]
fn no_secret_of_a_login_a_job_or_a_state_is_in_the_log_the_metrics_or_the_audit() {
    let world = World::new();
    let job = world.job("refs/heads/main");
    let client = world.client(&job);
    client.resources(&ONE.replace("\"1\"", "\"canary-of-the-state\""));
    let _applied = client.apply().worked();
    let mut secrets = vec![ROOT_TOKEN.to_owned(), job, "canary-of-the-state".to_owned()];

    let claims = json!({"aud": "taco", "sub": "ada", "nonce": "canary-of-the-nonce"});
    let id_token = world.platform.token(&claims);
    let exchange = json!({"id_token": id_token, "nonce": "canary-of-the-nonce"});
    let (status, session) = world.ask("", "POST", "/v1/auth/exchange", Some(&exchange));
    assert_eq!(status, 200, "{session}");
    let session: Value = serde_json::from_str(&session).unwrap();
    let token = |member: &str| session[member].as_str().unwrap().to_owned();
    let (access, refresh) = (token("access_token"), token("refresh_token"));
    let (status, made) = world.ask(&access, "POST", "/v1/auth/tokens", Some(&json!({"name": "mine"})));
    assert_eq!(status, 201, "{made}");
    let made: Value = serde_json::from_str(&made).unwrap();
    let api = made["token"].as_str().unwrap().to_owned();
    let (_, credentials) = world.ask(&access, "POST", "/v1/auth/issue-s3-creds", None);
    let credentials: Value = serde_json::from_str(&credentials).unwrap();
    for member in ["SecretAccessKey", "SessionToken"] {
        secrets.push(credentials[member].as_str().unwrap().to_owned());
    }
    // What is refused is as secret as what is not: a token sent to the wrong address, or with a typo, is still one.
    let wrong = json!({"refresh_token": access});
    assert_eq!(world.ask("", "POST", "/v1/auth/token", Some(&wrong)).0, 401);
    let broken = json!({"refresh_token": {"canary-of-the-body": refresh}});
    assert_eq!(world.ask("", "POST", "/v1/auth/token", Some(&broken)).0, 400);
    assert_eq!(world.ask(&refresh, "GET", "/v1/auth/me", None).0, 401);
    assert_eq!(world.ask(&format!("{api}x"), "GET", "/v1/auth/me", None).0, 401);
    for attempt in [200, 200] {
        let body = json!({"refresh_token": refresh});
        let (status, told) = world.ask("", "POST", "/v1/auth/token", Some(&body));
        assert_eq!(status, attempt, "{told}");
    }
    secrets.extend([id_token, access, refresh, api]);
    secrets.extend(["canary-of-the-nonce", "canary-of-the-body"].map(str::to_owned));

    let (status, metrics) = world.ask(ROOT_TOKEN, "GET", "/metrics", None);
    assert_eq!(status, 200);
    // The credentials above were answered when their event was written, and all before it with it.
    let (status, audit) = world.ask(ROOT_TOKEN, "GET", "/v1/audit?limit=1000", None);
    assert_eq!(status, 200);
    let told: Value = serde_json::from_str(&audit).unwrap();
    let wrote =
        |event: &&Value| event["action"] == "unit.write" && event["principal"] == "ci:github:acme/infra";
    let event = told["events"].as_array().unwrap().iter().find(wrote).unwrap();
    assert_eq!(
        (&event["run"], &event["unit"], &event["door"]),
        (
            &json!("https://github.com/acme/infra/actions/runs/77"),
            &json!("infra/prod"),
            &json!("terraform")
        )
    );
    let log = world.service.log();
    assert!(
        log.contains("ci:github:acme/infra"),
        "the log tells who asked:\n{log}"
    );
    for secret in &secrets {
        // The last part of a token is its signature, without which the rest proves nothing.
        let part = secret.rsplit('.').next().unwrap();
        for (place, told) in [("log", &log), ("metrics", &metrics), ("audit", &audit)] {
            assert!(!told.contains(part), "{secret} is in the {place}");
        }
    }
}
