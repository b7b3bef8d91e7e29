//! Logins, tokens and CI jobs at the doors.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use opentaco_control::{OpenOptions, StoreConfig};
use opentaco_domain::{Clock, Principal, SystemClock};
use opentaco_identity::sts::Sts;
use opentaco_identity::token::{Audience, Login};
use opentaco_identity::{FamilyId, KeyRing, Lifetimes, SigningKey, TokenId, Tokens};
use opentaco_server::config::{Asked, Config, understand};
use opentaco_testkit::issuer::TokenIssuer;
use serde_json::{Value, json};

use crate::support::{Answer, Service, lock, state};

/// A provider, a CI platform and a directory for what the service keeps.
pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    provider: TokenIssuer,
    pub(crate) ci: TokenIssuer,
    variables: BTreeMap<String, String>,
}

impl World {
    pub(crate) fn new() -> Self {
        let (provider, ci) = (TokenIssuer::start(), TokenIssuer::start());
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("auth.yaml");
        let rules = format!(
            "ci:\n  - issuer: {}\n    audience: opentaco-test\n    rules:\n      - when: {{ repository: acme/infra, ref: refs/heads/main }}\n        principal: \"ci:{{repository}}\"\n        roles: [writer]\n      - when: {{ repository: acme/* }}\n        principal: \"ci:{{repository}}\"\n        roles: [reader]\n",
            ci.url()
        );
        std::fs::write(&file, rules).unwrap();
        let variables = [
            ("OPENTACO_AUTH_CONFIG", file.to_str().unwrap().to_owned()),
            ("OPENTACO_AUTH_ISSUER", provider.url()),
            ("OPENTACO_AUTH_CLIENT_ID", "taco".to_owned()),
            ("OPENTACO_DATA_DIR", directory.path().to_str().unwrap().to_owned()),
        ];
        Self {
            variables: variables.map(|(name, value)| (name.to_owned(), value)).into(),
            directory,
            provider,
            ci,
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn config(&self) -> Config {
        match understand(&[], &|name| self.variables.get(name).cloned()).unwrap() {
            Asked::Serve(config) => *config,
            other => panic!("{other:?}"),
        }
    }

    fn store(&self) -> StoreConfig {
        StoreConfig::Local {
            directory: self.directory.path().join("bucket"),
            prefix: None,
        }
    }

    /// A service over the directory, in which Ada is an administrator.
    pub(crate) fn service(&self) -> Service {
        let service = self.again(OpenOptions::default());
        let first = r#"{"administrators":["user:ada@example.com"]}"#;
        let begun = service.ask("POST", "/v1/rbac/init").body(first).send();
        assert_eq!(begun.status, 201, "{begun:?}");
        service
    }

    pub(crate) fn again(&self, options: OpenOptions) -> Service {
        Service::with_logins(self.store(), options, &self.config())
    }

    pub(crate) fn id_token(&self, name: &str) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        self.provider.token(&json!({
            "aud": "taco", "sub": format!("of-{name}"), "nonce": "n-1", "jti": number.to_string(),
            "email": format!("{name}@example.com"), "email_verified": true, "groups": ["platform"],
        }))
    }

    pub(crate) fn login(&self, service: &Service, name: &str) -> Value {
        let body = json!({"id_token": self.id_token(name), "nonce": "n-1"}).to_string();
        let answer = service
            .ask_as(None, "POST", "/v1/auth/exchange")
            .body(body)
            .send();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
        answer.json()
    }

    pub(crate) fn job(&self, claims: &Value) -> String {
        let mut all = json!({"aud": "opentaco-test", "sub": "job"});
        all.as_object_mut()
            .unwrap()
            .extend(claims.as_object().unwrap().clone());
        self.ci.token(&all)
    }

    /// S3 credentials as this service makes them.
    pub(crate) fn sts(&self) -> Sts {
        let keys = opentaco_server::keys::sts(&self.config()).unwrap().unwrap();
        Sts::new(Arc::new(self.tokens()), keys, SignedDuration::from_mins(15))
    }

    /// Tokens as this service issues them.
    fn tokens(&self) -> Tokens {
        let pem = std::fs::read_to_string(self.directory.path().join("tokens-key.pem")).unwrap();
        tokens(SigningKey::from_pem(&pem).unwrap())
    }
}

fn tokens(key: SigningKey) -> Tokens {
    Tokens::new(KeyRing::new(key), "opentaco", Lifetimes::default())
}

fn ada() -> Login {
    Login {
        principal: Principal::new("ada@example.com"),
        email: None,
        name: None,
        groups: Vec::new(),
        via: "test".to_owned(),
    }
}

pub(crate) fn text<'a>(session: &'a Value, member: &str) -> &'a str {
    session[member].as_str().unwrap()
}

fn me(service: &Service, token: &str) -> Answer {
    service
        .ask_as(Some(&format!("Bearer {token}")), "GET", "/v1/auth/me")
        .send()
}

pub(crate) fn refresh(service: &Service, token: &str) -> Answer {
    let body = json!({"refresh_token": token}).to_string();
    service.ask_as(None, "POST", "/v1/auth/token").body(body).send()
}

#[test]
fn a_login_is_who_the_provider_says_and_goes_on_by_refreshing() {
    let world = World::new();
    let service = world.service();
    let config = service.ask_as(None, "GET", "/v1/auth/config").send().json();
    assert_eq!(config["client_id"], "taco");
    assert_eq!(config["redirect_uris"], json!(["http://127.0.0.1:8585/callback"]));
    let session = world.login(&service, "ada");
    let who = me(&service, text(&session, "access_token")).json();
    assert_eq!(who["principal"], "ada@example.com");
    assert_eq!(who["via"], "login");
    assert_eq!(who["groups"], json!(["platform"]));
    assert_eq!(who["roles"], json!(["admin"]));
    let next = refresh(&service, text(&session, "refresh_token")).json();
    assert_eq!(me(&service, text(&next, "access_token")).status, 200);
    let keys = service.ask_as(None, "GET", "/oidc/jwks.json").send().json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
}

#[test]
fn an_id_token_of_another_login_or_for_another_audience_logs_nobody_in() {
    let world = World::new();
    let service = world.service();
    let claims = json!({"aud": "taco", "sub": "ada", "nonce": "n-1"});
    for (change, nonce) in [
        (json!({"aud": "another"}), "n-1"),
        (json!({"iss": "https://elsewhere.example.com"}), "n-1"),
        (json!({"exp": 1}), "n-1"),
        (json!({}), "another"),
    ] {
        let mut claims = claims.clone();
        claims
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        let body = json!({"id_token": world.provider.token(&claims), "nonce": nonce}).to_string();
        let answer = service
            .ask_as(None, "POST", "/v1/auth/exchange")
            .body(body)
            .send();
        assert_eq!(answer.status, 401, "{change} {nonce}: {answer:?}");
    }
}

#[test]
fn an_id_token_logs_in_once_also_after_a_logout_and_a_restart() {
    let world = World::new();
    let service = world.service();
    let id_token = world.id_token("ada");
    let exchange = |service: &Service, token: &str| {
        let body = json!({"id_token": token}).to_string();
        service
            .ask_as(None, "POST", "/v1/auth/exchange")
            .body(body)
            .send()
    };
    let refused = |service: &Service| {
        let again = exchange(service, &id_token);
        assert_eq!(again.status, 401, "{again:?}");
        assert!(again.says("message").contains("log in again"), "{again:?}");
    };
    let session = exchange(&service, &id_token).json();
    refused(&service);
    assert_eq!(
        me(&service, text(&session, "access_token")).status,
        200,
        "and the login goes on"
    );
    let bearer = format!("Bearer {}", text(&session, "access_token"));
    let out = service.ask_as(Some(&bearer), "POST", "/v1/auth/revoke").send();
    assert_eq!(out.status, 204);
    refused(&service);
    drop(service);
    let service = world.again(OpenOptions::default());
    refused(&service);
    assert_eq!(
        exchange(&service, &world.id_token("ada")).status,
        200,
        "another login is another one"
    );
}

#[test]
fn an_unverified_address_is_nobodys_name() {
    let world = World::new();
    let service = world.service();
    let claims = json!({"aud": "taco", "sub": "ada@example.com", "email": "ada@example.com"});
    let body = json!({"id_token": world.provider.token(&claims)}).to_string();
    let session = service
        .ask_as(None, "POST", "/v1/auth/exchange")
        .body(body)
        .send()
        .json();
    assert_eq!(session["principal"], "subject:ada@example.com");
}

#[test]
fn an_access_token_does_not_refresh_and_a_refresh_token_opens_nothing() {
    let world = World::new();
    let service = world.service();
    let session = world.login(&service, "ada");
    assert_eq!(refresh(&service, text(&session, "access_token")).status, 401);
    assert_eq!(me(&service, text(&session, "refresh_token")).status, 401);
    assert_eq!(me(&service, text(&session, "access_token")).status, 200);
}

#[test]
fn a_refresh_token_that_comes_again_ends_everything_of_its_login_and_of_no_other() {
    let world = World::new();
    let service = world.service();
    let (first, other) = (world.login(&service, "ada"), world.login(&service, "ada"));
    let second = refresh(&service, text(&first, "refresh_token")).json();
    let third = refresh(&service, text(&second, "refresh_token")).json();
    let again = refresh(&service, text(&first, "refresh_token"));
    assert_eq!(again.status, 401);
    assert!(again.says("message").contains("used before"), "{again:?}");
    assert_eq!(refresh(&service, text(&third, "refresh_token")).status, 401);
    for session in [&first, &second, &third] {
        let answer = me(&service, text(session, "access_token"));
        assert_eq!(answer.status, 401);
        assert!(answer.says("message").contains("log in again"), "{answer:?}");
    }
    assert_eq!(me(&service, text(&other, "access_token")).status, 200);
}

#[test]
fn forged_expired_and_foreign_tokens_open_nothing() {
    let world = World::new();
    let service = world.service();
    let (ours, now) = (world.tokens(), SystemClock.now());
    let (family, hour) = (FamilyId::draw(), SignedDuration::from_hours(1));
    let good = ours.issue_access(&ada(), &family, Audience::Api, now).token;
    assert_eq!(
        me(&service, good.expose()).status,
        200,
        "these tokens are as the service's own"
    );
    let issued = |tokens: &Tokens, audience, at: Timestamp| {
        tokens
            .issue_access(&ada(), &family, audience, at)
            .token
            .expose()
            .to_owned()
    };
    let parts: Vec<&str> = good.expose().split('.').collect();
    let public = service.ask_as(None, "GET", "/oidc/jwks.json").send().json();
    let kid = public["keys"][0]["kid"].as_str().unwrap().to_owned();
    let header = |alg: &str, kid: &str| {
        URL_SAFE_NO_PAD.encode(json!({"alg": alg, "typ": "at+jwt", "kid": kid}).to_string())
    };
    let hmac = {
        let key = public["keys"][0]["x"].as_str().unwrap();
        let key = URL_SAFE_NO_PAD.decode(key).unwrap();
        let message = format!("{}.{}", header("HS256", &kid), parts[1]);
        format!(
            "{message}.{}",
            URL_SAFE_NO_PAD.encode(hmac_sha256(&key, message.as_bytes()))
        )
    };
    let another_issuer = {
        let pem = std::fs::read_to_string(world.directory.path().join("tokens-key.pem")).unwrap();
        let ring = KeyRing::new(SigningKey::from_pem(&pem).unwrap());
        Tokens::new(ring, "another", Lifetimes::default())
    };
    for (why, token) in [
        ("alg none", format!("{}.{}.", header("none", &kid), parts[1])),
        ("HS256 with the public key", hmac),
        (
            "another kid",
            format!("{}.{}.{}", header("EdDSA", "another"), parts[1], parts[2]),
        ),
        (
            "a path as kid",
            format!("{}.{}.{}", header("EdDSA", "../root-token"), parts[1], parts[2]),
        ),
        ("for the S3 door", issued(&ours, Audience::S3, now)),
        ("expired", issued(&ours, Audience::Api, now - hour * 2)),
        ("of tomorrow", issued(&ours, Audience::Api, now + hour * 24)),
        (
            "another server's key",
            issued(&tokens(SigningKey::generate()), Audience::Api, now),
        ),
        (
            "another server's name",
            issued(&another_issuer, Audience::Api, now),
        ),
        ("cut off", good.expose()[..good.expose().len() - 4].to_owned()),
    ] {
        let answer = me(&service, &token);
        assert_eq!(answer.status, 401, "{why}: {answer:?}");
    }
    for (why, id) in [("never begun", TokenId::draw()), ("again", TokenId::draw())] {
        let token = ours.issue_refresh(&ada(), &family, id, now).token;
        assert_eq!(refresh(&service, token.expose()).status, 401, "{why}");
    }
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    use aws_lc_rs::hmac;
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, message).as_ref().to_vec()
}

#[test]
fn a_restart_logs_nobody_out_and_a_rotated_key_still_verifies() {
    let world = World::new();
    let service = world.service();
    let session = world.login(&service, "ada");
    drop(service);
    let service = world.again(OpenOptions::default());
    assert_eq!(me(&service, text(&session, "access_token")).status, 200);
    let next = refresh(&service, text(&session, "refresh_token")).json();
    drop(service);
    let file = |name: &str| world.directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(file("new.pem"), SigningKey::generate().to_pem().expose()).unwrap();
    let (new, old) = (file("new.pem"), file("tokens-key.pem"));
    let world = world
        .with("OPENTACO_TOKENS_PRIVATE_KEY_PEM_PATH", &new)
        .with("OPENTACO_TOKENS_VERIFY_PEM_PATHS", &old);
    let service = world.again(OpenOptions::default());
    assert_eq!(me(&service, text(&next, "access_token")).status, 200);
    let last = refresh(&service, text(&next, "refresh_token")).json();
    assert_eq!(me(&service, text(&last, "access_token")).status, 200);
    drop(service);
    // Without the old key only what the new one signed is believed.
    let world = world.with("OPENTACO_TOKENS_VERIFY_PEM_PATHS", "");
    let service = world.again(OpenOptions::default());
    assert_eq!(me(&service, text(&next, "access_token")).status, 401);
    assert_eq!(me(&service, text(&last, "access_token")).status, 200);
}

#[test]
fn replicas_with_the_same_key_accept_each_others_tokens_and_others_do_not() {
    let one = World::new();
    let service = one.service();
    let key = one.directory.path().join("tokens-key.pem");
    let other = World::new().with("OPENTACO_TOKENS_PRIVATE_KEY_PEM_PATH", key.to_str().unwrap());
    let stranger = World::new();
    let session = one.login(&service, "ada");
    assert_eq!(me(&other.service(), text(&session, "access_token")).status, 200);
    assert_eq!(
        me(&stranger.service(), text(&session, "access_token")).status,
        401
    );
}

#[test]
fn a_provider_that_is_down_keeps_nobody_from_starting_and_logs_in_once_it_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut world = World::new().with("OPENTACO_AUTH_ISSUER", &format!("http://{address}"));
    let service = world.service();
    let exchange = |world: &World| {
        let body = json!({"id_token": world.id_token("ada")}).to_string();
        service
            .ask_as(None, "POST", "/v1/auth/exchange")
            .body(body)
            .send()
    };
    // Signed by nobody this provider knows, which cannot be told while it is down.
    let forged = world
        .provider
        .token(&json!({"iss": format!("http://{address}"), "aud": "taco", "sub": "a"}));
    let body = json!({"id_token": forged}).to_string();
    let answer = service
        .ask_as(None, "POST", "/v1/auth/exchange")
        .body(body)
        .send();
    assert_eq!(answer.status, 503, "{answer:?}");
    world.provider = TokenIssuer::on(TcpListener::bind(address).unwrap());
    let deadline = Instant::now() + Duration::from_secs(20);
    while exchange(&world).status != 200 {
        assert!(Instant::now() < deadline, "{:?}", exchange(&world));
    }
}

#[test]
fn a_logout_ends_the_login_that_asks_and_everywhere_ends_all_of_a_person() {
    let world = World::new();
    let service = world.service();
    let sessions = [(); 3].map(|()| world.login(&service, "ada"));
    let bearer = |at: usize| format!("Bearer {}", text(&sessions[at], "access_token"));
    let revoke = |at: usize, body: &str| {
        let ask = service.ask_as(Some(&bearer(at)), "POST", "/v1/auth/revoke");
        ask.body(body).send().status
    };
    assert_eq!(revoke(0, ""), 204);
    assert_eq!(me(&service, text(&sessions[0], "access_token")).status, 401);
    assert_eq!(refresh(&service, text(&sessions[0], "refresh_token")).status, 401);
    assert_eq!(me(&service, text(&sessions[1], "access_token")).status, 200);
    let bob = world.login(&service, "bob");
    let stranger = format!("Bearer {}", text(&bob, "access_token"));
    let all = r#"{"principal":"ada@example.com"}"#;
    let asked = service
        .ask_as(Some(&stranger), "POST", "/v1/auth/revoke")
        .body(all)
        .send();
    assert_eq!(asked.status, 403, "somebody else's logins are not theirs to end");
    assert_eq!(revoke(1, all), 204);
    assert_eq!(me(&service, text(&sessions[2], "access_token")).status, 401);
    assert_eq!(me(&service, text(&bob, "access_token")).status, 200);
}

#[test]
fn an_api_token_reaches_as_far_as_its_roles_is_shown_once_and_makes_no_other() {
    let world = World::new();
    let service = world.service();
    let ada = world.login(&service, "ada");
    let ask = |token: &str, method: &str, target: &str, body: &str| {
        let ask = service.ask_as(Some(&format!("Bearer {token}")), method, target);
        ask.body(body).send()
    };
    let access = text(&ada, "access_token");
    let made = ask(
        access,
        "POST",
        "/v1/auth/tokens",
        r#"{"name":"mine","roles":["reader"]}"#,
    );
    assert_eq!(made.status, 201, "{made:?}");
    let (token, id) = (made.json()["token"].clone(), made.json()["about"]["id"].clone());
    let (token, id) = (token.as_str().unwrap(), id.as_str().unwrap());
    let who = me(&service, token).json();
    assert_eq!(
        (who["via"].as_str(), who["roles"].clone()),
        (Some("api_token"), json!([]))
    );
    assert_eq!(
        ask(token, "GET", "/v1/rbac/users", "").status,
        403,
        "it is scoped"
    );
    assert_eq!(
        ask(token, "POST", "/v1/auth/tokens", r#"{"name":"more"}"#).status,
        400
    );
    let listed = ask(access, "GET", "/v1/auth/tokens", "");
    assert!(!listed.text().contains(token) && listed.text().contains(id));
    assert!(listed.json()["tokens"][0]["last_used"].is_string());
    let kept = read_all(&world.directory.path().join("bucket"));
    assert!(
        !kept.contains(token) && kept.contains(id),
        "the hash is what is kept"
    );
    let typo = format!("{}x", &token[..token.len() - 1]);
    assert_eq!(me(&service, &typo).status, 401);
    for tricky in ["..%2F..%2Fpolicy.json", "%00", "ledger.json", ".."] {
        let target = format!("/v1/auth/tokens/{tricky}");
        let status = ask(access, "DELETE", &target, "").status;
        assert!(matches!(status, 400 | 404), "{tricky}: {status}");
    }
    assert_eq!(me(&service, token).status, 200);
    assert_eq!(
        ask(access, "DELETE", &format!("/v1/auth/tokens/{id}"), "").status,
        204
    );
    assert_eq!(me(&service, token).status, 401);
}

#[test]
fn the_tokens_of_a_service_account_go_with_it() {
    let world = World::new();
    let service = world.service();
    let made = |target: &str, body: &str| service.ask("POST", target).body(body).send();
    assert_eq!(
        made("/v1/auth/tokens", r#"{"name":"a","service_account":"drift"}"#).status,
        404
    );
    assert_eq!(
        made("/v1/auth/service-accounts", r#"{"name":"drift"}"#).status,
        201
    );
    assert_eq!(
        made("/v1/auth/service-accounts", r#"{"name":"drift"}"#).status,
        409
    );
    let token = made("/v1/auth/tokens", r#"{"name":"a","service_account":"drift"}"#).json();
    let token = text(&token, "token");
    assert_eq!(me(&service, token).json()["principal"], "service:drift");
    let removed = service.ask("DELETE", "/v1/auth/service-accounts/drift").send();
    assert_eq!(removed.status, 204);
    assert_eq!(me(&service, token).status, 401);
}

#[test]
fn a_job_is_what_the_first_rule_makes_of_it_and_no_other_job_is_anybody() {
    let world = World::new();
    let service = world.service();
    let main = world.job(&json!({"repository": "acme/infra", "ref": "refs/heads/main"}));
    let pull_request = world.job(&json!({"repository": "acme/infra", "ref": "refs/pull/7/merge"}));
    let as_password = |token: &str| {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("ci:{token}"));
        format!("Basic {pair}")
    };
    for (token, writes) in [(&main, 200), (&pull_request, 403)] {
        let ask = |method: &str, body: &str| {
            let ask = service.ask_as(Some(&as_password(token)), method, "/v1/backend/prod");
            ask.body(body).send().status
        };
        assert_eq!(ask("POST", &state(1)), writes);
        assert_eq!(ask("GET", ""), 200);
    }
    for claims in [
        json!({"repository": "evil/infra", "ref": "refs/heads/main"}),
        json!({"repository": "acme/infra", "ref": "refs/heads/main", "aud": "another"}),
    ] {
        assert_eq!(me(&service, &world.job(&claims)).status, 401, "{claims}");
    }
}

/// A clock that is behind.
#[derive(Debug)]
struct Behind(SignedDuration);

impl Clock for Behind {
    fn now(&self) -> Timestamp {
        SystemClock.now() - self.0
    }
}

#[test]
fn an_expired_token_ends_under_its_lock_what_was_begun_and_does_nothing_else() {
    let world = World::new();
    let _begun = world.service();
    drop(_begun);
    // Locks are taken ten minutes ago.
    let mut options = OpenOptions::default();
    options.surroundings.clock = Arc::new(Behind(SignedDuration::from_mins(10)));
    let service = world.again(options);
    let now = SystemClock.now().as_second();
    let claims = |iat: i64, exp: i64| json!({"repository": "acme/infra", "ref": "refs/heads/main", "iat": iat, "exp": exp});
    let fresh = world.job(&claims(now, now + 300));
    let lapsed = world.job(&claims(now - 900, now - 300));
    let too_old = world.job(&claims(now - 1800, now - 900));
    let other = world.job(&json!({"repository": "acme/other", "iat": now - 900, "exp": now - 300}));
    let ask = |token: &str, method: &str, target: &str, body: &str| {
        let ask = service.ask_as(Some(&format!("Bearer {token}")), method, target);
        ask.body(body).send().status
    };
    let unit = "/v1/backend/prod";
    let under = "/v1/backend/prod?ID=6f1c0001";
    assert_eq!(ask(&fresh, "LOCK", unit, &lock("6f1c0001", "ci")), 200);
    for (why, token, method, target, body) in [
        ("a read", &lapsed, "GET", unit, String::new()),
        ("a write that names no lock", &lapsed, "POST", unit, state(1)),
        (
            "another unit",
            &lapsed,
            "POST",
            "/v1/backend/other?ID=6f1c0001",
            state(1),
        ),
        ("a lock", &lapsed, "LOCK", unit, lock("6f1c0002", "ci")),
        (
            "an unlock that names no lock",
            &lapsed,
            "UNLOCK",
            unit,
            String::new(),
        ),
        ("a token from before the lock", &too_old, "POST", under, state(1)),
        ("somebody else", &other, "POST", under, state(1)),
    ] {
        assert_eq!(ask(token, method, target, &body), 401, "{why}");
    }
    assert_eq!(
        ask(&lapsed, "POST", "/v1/backend/prod?ID=6f1c0009", &state(1)),
        409
    );
    assert_eq!(ask(&lapsed, "POST", under, &state(1)), 200);
    assert_eq!(ask(&lapsed, "UNLOCK", unit, &lock("6f1c0001", "ci")), 200);
    assert_eq!(ask(&lapsed, "POST", under, &state(2)), 401, "the lock is over");
}

#[test]
fn s3_credentials_are_made_from_whatever_proves_somebody_but_the_root_token() {
    let world = World::new();
    let service = world.service();
    let session = world.login(&service, "ada");
    let bearer = |token: &str| format!("Bearer {token}");
    let ask = |token: &str| {
        let ask = service.ask_as(Some(&bearer(token)), "POST", "/v1/auth/issue-s3-creds");
        ask.send()
    };
    let access = text(&session, "access_token");
    let api = service
        .ask_as(Some(&bearer(access)), "POST", "/v1/auth/tokens")
        .body(r#"{"name":"mine"}"#)
        .send()
        .json();
    let job = world.job(&json!({"repository": "acme/infra", "ref": "refs/heads/main"}));
    for token in [access, text(&api, "token"), &job] {
        let made = ask(token);
        assert_eq!(made.status, 200, "{made:?}");
        let document = made.json();
        let members: Vec<&String> = document.as_object().unwrap().keys().collect();
        assert_eq!(
            members,
            [
                "AccessKeyId",
                "Expiration",
                "SecretAccessKey",
                "SessionToken",
                "Version"
            ],
            "as an AWS profile reads it"
        );
        assert!(
            !made.text().contains(token),
            "a token is not in what is made from it"
        );
        let hash = opentaco_domain::Sha256::of(token.as_bytes()).to_string();
        assert!(!text(&document, "SecretAccessKey").contains(&hash));
    }
    assert_eq!(ask(crate::support::TOKEN).status, 400);
    let revoked = format!("/v1/auth/tokens/{}", text(&api["about"], "id"));
    assert_eq!(service.ask("DELETE", &revoked).send().status, 204);
    assert_eq!(ask(text(&api, "token")).status, 401);
}

#[test]
fn s3_credentials_are_made_from_a_login_and_keep_its_session() {
    let world = World::new();
    let service = world.service();
    let session = world.login(&service, "ada");
    let bearer = format!("Bearer {}", text(&session, "access_token"));
    let ask = |body: &str| {
        let ask = service.ask_as(Some(&bearer), "POST", "/v1/auth/issue-s3-creds");
        ask.body(body).send()
    };
    let made = ask(r#"{"session":"apply-1"}"#).json();
    assert_eq!(made["Version"].as_u64(), Some(1));
    let expires = made["Expiration"].as_str().unwrap().parse::<Timestamp>().unwrap();
    let id = format!("OTC.kept.apply-1.{:x}", expires.as_second());
    assert_eq!(made["AccessKeyId"], id, "the session, and an end of its own");
    let again = ask(r#"{"session":"apply-1"}"#).json();
    assert!(
        again["AccessKeyId"]
            .as_str()
            .unwrap()
            .starts_with("OTC.kept.apply-1.")
    );
    assert_eq!(ask(r#"{"session":"a path/with spaces"}"#).status, 200);
    assert_eq!(
        me(&service, made["SessionToken"].as_str().unwrap()).status,
        401,
        "it is for another door"
    );
}

#[test]
fn whoever_asks_for_tokens_too_often_is_told_how_long_to_wait() {
    let world = World::new().with("OPENTACO_AUTH_RATE_LIMIT", "3");
    let service = world.service();
    let answers: Vec<Answer> = (0..4).map(|_| refresh(&service, "a.b.c")).collect();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [401, 401, 401, 429]);
    let seconds: u64 = answers[3].header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds));
    assert_eq!(
        service.ask("GET", "/v1/auth/me").send().status,
        200,
        "nobody else waits"
    );
}

#[test]
fn answers_tell_browsers_and_caches_to_keep_and_guess_nothing() {
    let service = Service::start();
    for (method, target) in [
        ("GET", "/v1/units"),
        ("GET", "/healthz"),
        ("GET", "/v1/backend/a"),
    ] {
        let answer = service
            .ask(method, target)
            .header("Origin", "https://evil.example.com")
            .send();
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{target}");
        assert!(
            answer
                .header("content-security-policy")
                .contains("frame-ancestors 'none'")
        );
        assert!(
            !answer.headers.contains_key("access-control-allow-origin"),
            "{target}"
        );
    }
    assert_eq!(
        service.ask("GET", "/v1/backend/a").send().header("cache-control"),
        "no-store"
    );
    let asked = service
        .ask_as(None, "OPTIONS", "/v1/units")
        .header("Origin", "https://evil.example.com");
    assert_eq!(asked.send().status, 401);
}

/// All bytes below a directory, as far as they are text.
fn read_all(directory: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => text.push_str(&read_all(&path)),
            false => text.push_str(&String::from_utf8_lossy(&std::fs::read(&path).unwrap())),
        }
    }
    text
}
