//! Logging in: `taco`, a certified OpenID provider, and somebody at a real browser.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use opentaco_testkit::process::{Process, eventually};
use opentaco_testkit::service::{ROOT_TOKEN, Service};
use opentaco_testkit::tools;
use serde_json::Value;
use tempfile::TempDir;

const ADA: &str = "ada@example.com";

/// A provider, a service that trusts it, and somebody's home.
struct World {
    home: TempDir,
    provider_port: u16,
    provider: Option<Process>,
    service: Service,
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (provider_port, callback_port) = (tools::free_port(), tools::free_port());
        let callback = format!("http://127.0.0.1:{callback_port}/callback");
        let issuer = format!("http://127.0.0.1:{provider_port}");
        // The provider is not there yet: the service starts all the same, and looks for it when somebody logs in.
        let service = Service::start(
            home.path(),
            &["-storage", "local"],
            &[
                ("OPENTACO_AUTH_ISSUER", &issuer),
                ("OPENTACO_AUTH_CLIENT_ID", "taco"),
                ("OPENTACO_AUTH_REDIRECT_URIS", &callback),
            ],
        );
        let mut world = Self {
            home,
            provider_port,
            provider: None,
            service,
        };
        world.provide(&callback);
        world
    }

    fn provide(&mut self, callback: &str) {
        let mut node = Command::new("node");
        node.arg(script("provider.mjs"))
            .arg(self.provider_port.to_string())
            .arg(callback)
            .arg(tools::node_modules());
        let mut provider = Process::start(node, &self.home.path().join("provider.log"));
        provider.until_listening(self.provider_port);
        self.provider = Some(provider);
    }

    fn callback(&self) -> String {
        let config = self.taco_as_root(&["--version"]);
        assert!(config.status.success());
        let answer = self.asked("/v1/auth/config");
        answer["redirect_uris"][0].as_str().unwrap().to_owned()
    }

    fn asked(&self, path: &str) -> Value {
        let address = format!("{}{path}", self.service.url());
        let output = Command::new("curl").arg("-sS").arg(address).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// `taco` in the hands of somebody without a token of their own.
    fn taco(&self) -> Command {
        let mut command = Command::new(tools::built("taco"));
        command
            .env_remove("OPENTACO_TOKEN")
            .env("OPENTACO_SERVER", self.service.url())
            .env("XDG_CONFIG_HOME", self.home.path().join("config"))
            .current_dir(self.home.path());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.taco().args(words).output().unwrap()
    }

    fn taco_as_root(&self, words: &[&str]) -> Output {
        self.taco()
            .args(words)
            .env("OPENTACO_TOKEN", ROOT_TOKEN)
            .output()
            .unwrap()
    }

    fn credentials(&self) -> PathBuf {
        self.home.path().join("config/opentaco/credentials.json")
    }

    fn saved(&self) -> Value {
        let document: Value = serde_json::from_slice(&fs::read(self.credentials()).unwrap()).unwrap();
        document["servers"][self.service.url()].clone()
    }

    /// Somebody logs in: whether they are in, what `taco` said, and the last page that they saw.
    fn try_to_log_in(&self, name: &str, more: &[&str]) -> (bool, String, Value) {
        let (mut taco, address) = self.begin_to_log_in(more);
        let page = browse(&address, name);
        let is_in = taco.wait().success();
        (is_in, taco.printed(), page)
    }

    /// `taco login`, waiting for a browser; and the address that it is to go to.
    fn begin_to_log_in(&self, more: &[&str]) -> (Process, String) {
        let mut command = self.taco();
        command.args(["login", "--no-browser"]).args(more);
        let log = self
            .home
            .path()
            .join(format!("login-{}.log", uuid::Uuid::new_v4()));
        let mut taco = Process::start(command, &log);
        let address = taco.until("an address to go to", || {
            let printed = fs::read_to_string(&log).ok()?;
            let line = printed.lines().find(|line| line.starts_with("http"))?;
            printed.contains(&format!("{line}\n")).then(|| line.to_owned())
        });
        (taco, address)
    }

    fn log_in(&self, name: &str, more: &[&str]) -> (String, Value) {
        let (is_in, said, page) = self.try_to_log_in(name, more);
        assert!(is_in, "{said}\n{page}");
        (said, page)
    }

    fn refreshes(&self) -> usize {
        self.service.log().matches("/v1/auth/token").count()
    }

    /// As if the access token were over.
    fn age(&self) {
        let text = fs::read_to_string(self.credentials()).unwrap();
        let expires = self.saved()["expires"].as_str().unwrap().to_owned();
        fs::write(self.credentials(), text.replace(&expires, "2026-01-01T00:00:00Z")).unwrap();
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("oidc").join(name)
}

fn browse(address: &str, name: &str) -> Value {
    let output = Command::new("node")
        .arg(script("browser.mjs"))
        .args([address, name])
        .arg(tools::browser())
        .arg(tools::node_modules())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}\n{complained}"))
}

fn told(output: &Output) -> (String, String) {
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn worked(output: &Output) -> String {
    let (said, complained) = told(output);
    assert!(output.status.success(), "{said}\n{complained}");
    said
}

#[test]
fn somebody_logs_in_by_a_browser_works_goes_on_through_rotation_and_outage_and_logs_out() {
    let mut world = World::new();
    let callback = world.callback();
    let nobody = world.run(&["whoami"]);
    assert_eq!(nobody.status.code(), Some(5));
    assert!(told(&nobody).1.contains("taco login"), "{nobody:?}");

    // In, by a real browser.
    let (said, page) = world.log_in("ada", &[]);
    assert!(
        said.contains(&format!("logged in to {} as {ADA}", world.service.url())),
        "{said}"
    );
    assert!(
        page["text"].as_str().unwrap().contains("You may close this page"),
        "{page}"
    );
    let mode = fs::metadata(world.credentials()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let me: Value = serde_json::from_str(&worked(&world.run(&["whoami", "--json"]))).unwrap();
    assert_eq!(
        (&me["principal"], &me["via"], &me["groups"][0]),
        (&ADA.into(), &"login".into(), &"platform".into())
    );

    // Nothing may be done without a role, and by a group's role it may.
    let denied = world.run(&["unit", "create", "shop"]);
    assert_eq!(denied.status.code(), Some(5), "{denied:?}");
    worked(&world.taco_as_root(&["rbac", "init", "user:boss@example.com"]));
    worked(&world.taco_as_root(&["rbac", "users", "assign", "group:platform", "writer"]));
    worked(&world.run(&["unit", "create", "shop"]));
    assert!(world.service.log().contains(ADA), "the log says who asks");

    // Ten at once find an access token that is over: one of them goes on with the login, and all work.
    let before = world.refreshes();
    world.age();
    let ten: Vec<_> = (0..10)
        .map(|_| {
            let mut command = world.taco();
            command.arg("whoami");
            let log = world
                .home
                .path()
                .join(format!("ten-{}.log", uuid::Uuid::new_v4()));
            Process::start(command, &log)
        })
        .collect();
    for mut one in ten {
        assert!(one.wait().success(), "{}", one.printed());
    }
    assert_eq!(world.refreshes() - before, 1, "a refresh token serves once");

    // What was stolen serves nobody: a refresh token that was used before ends the login, for the thief and for her.
    let stolen = fs::read_to_string(world.credentials()).unwrap();
    for _ in 0..2 {
        world.age();
        worked(&world.run(&["whoami"]));
    }
    let hers = fs::read_to_string(world.credentials()).unwrap();
    fs::write(world.credentials(), stolen).unwrap();
    world.age();
    let thief = world.run(&["whoami"]);
    assert_eq!(thief.status.code(), Some(5), "{thief:?}");
    fs::write(world.credentials(), hers).unwrap();
    eventually("her login is over, too", || {
        world.run(&["whoami"]).status.code() == Some(5)
    });

    // The provider changes its keys, and she logs in again.
    world.provider = None;
    let away = world.run(&["login", "--no-browser"]);
    assert_eq!(away.status.code(), Some(6), "{away:?}");
    world.provide(&callback);
    // The service asks for keys that it does not know every ten seconds at most.
    let mut page = Value::Null;
    eventually("the new keys are known", || {
        let (is_in, _, last) = world.try_to_log_in("ada", &["--force-login"]);
        page = last;
        is_in
    });
    let spent = page["address"].as_str().unwrap();
    assert!(
        Command::new("curl")
            .args(["-sS", spent])
            .output()
            .unwrap()
            .stdout
            .is_empty(),
        "nobody listens for a code any more"
    );

    // The provider is away: who is logged in works on, and goes on with the login.
    world.provider = None;
    world.age();
    worked(&world.run(&["unit", "ls"]));
    world.service.restart();
    worked(&world.run(&["whoami"]));

    // Other programs ask as her, and other servers never see her token.
    let child = worked(&world.run(&[
        "exec",
        "--",
        "sh",
        "-c",
        "echo $OPENTACO_SESSION; test -n \"$TF_HTTP_PASSWORD\"",
    ]));
    assert_eq!(child.trim().len(), 32);
    let elsewhere = world
        .taco()
        .arg("whoami")
        .env(
            "OPENTACO_SERVER",
            format!("http://localhost:{}", world.service.port()),
        )
        .output()
        .unwrap();
    assert_eq!(
        elsewhere.status.code(),
        Some(5),
        "another origin is another server"
    );
    let creds: Value = serde_json::from_str(&worked(&world.run(&["creds", "--json"]))).unwrap();
    assert!(
        creds["AccessKeyId"].as_str().unwrap().starts_with("OTC."),
        "{creds}"
    );

    // Out, here and at the service.
    let kept = world.saved()["access_token"].as_str().unwrap().to_owned();
    worked(&world.run(&["logout"]));
    assert_eq!(world.run(&["whoami"]).status.code(), Some(5));
    eventually("what she had opens nothing any more", || {
        world.run(&["whoami", "--token", &kept]).status.code() == Some(5)
    });
    // None of it is in the log.
    for secret in [
        kept.as_str(),
        ROOT_TOKEN,
        creds["SecretAccessKey"].as_str().unwrap(),
    ] {
        assert!(!world.service.log().contains(secret));
    }
}

/// What an address answers to a GET, or a POST of a form: the status and the body.
fn asked(address: &str, form: &[&str]) -> (String, String) {
    let mut command = Command::new("curl");
    command.args(["-sS", "-w", "\n%{http_code}", address]);
    for field in form {
        command.args(["--data-urlencode", field]);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = said.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

#[test]
fn a_code_and_a_state_of_a_login_that_is_done_serve_nobody_a_second_time() {
    let world = World::new();
    let (_, page) = world.log_in("ada", &[]);
    let done = page["address"].as_str().unwrap();
    let (_, query) = done.split_once('?').unwrap();
    let value = |name: &str| {
        let found = query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("no {name} in {done}")).to_owned()
    };
    // Nobody listens any more, and the provider gives no second token for the code.
    let (status, _) = asked(done, &[]);
    assert_eq!(status, "000", "no answer");
    let token_endpoint = world.asked("/v1/auth/config")["token_endpoint"].clone();
    let token_endpoint = match token_endpoint.as_str() {
        Some(given) => given.to_owned(),
        None => format!(
            "{}/token",
            world.asked("/v1/auth/config")["issuer"].as_str().unwrap()
        ),
    };
    let code = format!("code={}", value("code"));
    let redirect = format!("redirect_uri={}", world.callback());
    let form = [
        "grant_type=authorization_code",
        "client_id=taco",
        &code,
        &redirect,
        "code_verifier=guessed-guessed-guessed-guessed-guessed-guessed",
    ];
    let (status, told) = asked(&token_endpoint, &form);
    assert_eq!(status, "400", "{told}");
    assert!(told.contains("invalid_grant"), "{told}");
    // The next login hears the old answer, does not take it for its own, and goes on.
    let (mut taco, address) = world.begin_to_log_in(&["--force-login"]);
    let (status, told) = asked(done, &[]);
    assert_eq!(status, "400", "{told}");
    let page = browse(&address, "bea");
    assert!(taco.wait().success(), "{}\n{page}", taco.printed());
    let me: Value = serde_json::from_str(&worked(&world.run(&["whoami", "--json"]))).unwrap();
    assert_eq!(me["principal"], "bea@example.com");
}

#[test]
fn a_provider_that_refuses_a_redirect_address_ends_in_the_browser_and_nobody_is_logged_in() {
    let world = World::new();
    let answer = world.asked("/v1/auth/config");
    assert_eq!(answer["client_id"], "taco");
    let address = format!(
        "http://127.0.0.1:{}/auth?response_type=code&client_id=taco&scope=openid&state=s&nonce=n&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256&redirect_uri=http%3A%2F%2F127.0.0.1%3A8585%2Felsewhere",
        world.provider_port
    );
    let page = browse(&address, "ada");
    assert!(page["text"].as_str().unwrap().contains("redirect_uri"), "{page}");
    assert!(!world.credentials().exists());
}
