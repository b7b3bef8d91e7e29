//! Journeys of real `terraform` through the S3 door, in plain and over TLS, with credentials that `taco creds` makes; and
//! what its users do beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use opentaco_domain::{Clock as _, SystemClock};
use opentaco_testkit::client::Client;
use opentaco_testkit::process::eventually;
use opentaco_testkit::s3_server::S3Server;
use opentaco_testkit::service::{ROOT_TOKEN, Service};
use opentaco_testkit::tools;
use serde_json::Value;
use tempfile::TempDir;

use crate::journeys::{Hold, ONE};

mod conformance;
mod sdk;

/// What the client and the service speak with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    Plain,
    Tls,
}

/// A service with two robots, `admin` and `writer`, and an AWS profile for each.
struct Door {
    service: Service,
    home: TempDir,
}

impl Door {
    fn open(wire: Wire) -> Self {
        Self::with(wire, &[])
    }

    fn with(wire: Wire, more: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let key = keys_new(home.path());
        let flags = [&["-tokens-private-key-pem-path", key.to_str().unwrap()], more].concat();
        let service = match wire {
            Wire::Plain => Service::start(
                home.path(),
                &[&["-storage", "local"], flags.as_slice()].concat(),
                &[],
            ),
            Wire::Tls => Service::on_disk_over_tls_with(home.path(), &flags),
        };
        Self::over(service, home)
    }

    /// Over a service that has keys for tokens.
    fn over(service: Service, home: TempDir) -> Self {
        let door = Self { service, home };
        if let Some(authority) = door.service.authority() {
            fs::write(door.home.path().join("authority.pem"), authority).unwrap();
        }
        let _ = door.taco(ROOT_TOKEN, &["rbac", "init", "user:ada@example.com"]);
        let mut config = String::new();
        for name in ["admin", "writer"] {
            let _ = door.taco(ROOT_TOKEN, &["service-account", "create", name]);
            let _ = door.taco(
                ROOT_TOKEN,
                &["rbac", "users", "assign", &format!("service:{name}"), name],
            );
            let made = door.taco(
                ROOT_TOKEN,
                &["token", "create", "e2e", "--service-account", name, "--json"],
            );
            let made: Value = serde_json::from_slice(&made.stdout).unwrap();
            let token = made["token"].as_str().unwrap();
            fs::write(door.home.path().join(name), token).unwrap();
            let taco = tools::built("taco");
            let ca = match door.service.authority() {
                Some(_) => format!(
                    " OPENTACO_CA_FILE={}",
                    door.home.path().join("authority.pem").display()
                ),
                None => String::new(),
            };
            config += &format!(
                "[profile {name}]\nregion = us-east-1\ncredential_process = env OPENTACO_TOKEN={token}{ca} {} creds --json --server {}\n",
                taco.display(),
                door.service.url()
            );
        }
        fs::write(door.config(), config).unwrap();
        door
    }

    fn config(&self) -> PathBuf {
        self.home.path().join("aws-config")
    }

    fn endpoint(&self) -> String {
        format!("{}/s3", self.service.url())
    }

    fn token(&self, name: &str) -> String {
        fs::read_to_string(self.home.path().join(name)).unwrap()
    }

    fn command(&self, token: &str) -> Command {
        let mut command = Command::new(tools::built("taco"));
        command
            .env("OPENTACO_TOKEN", token)
            .env("OPENTACO_SERVER", self.service.url())
            .env("XDG_CONFIG_HOME", self.home.path());
        if self.service.authority().is_some() {
            command.env("OPENTACO_CA_FILE", self.home.path().join("authority.pem"));
        }
        command
    }

    fn taco(&self, token: &str, words: &[&str]) -> Output {
        let output = self.command(token).args(words).output().unwrap();
        assert!(output.status.success(), "taco {words:?}: {output:?}");
        output
    }

    fn told(&self, words: &[&str]) -> Value {
        serde_json::from_slice(&self.taco(&self.token("admin"), words).stdout).unwrap()
    }

    /// Credentials of a session, as a client gets them.
    fn credentials(&self, name: &str, session: &str) -> Value {
        let mut command = self.command(&self.token(name));
        command.args(["creds", "--json"]).env("OPENTACO_SESSION", session);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Terraform whose state has this key, as this robot.
    fn client(&self, name: &str, key: &str, resources: &str) -> Client {
        let client = Client::without_backend(resources)
            .with("AWS_CONFIG_FILE", self.config().to_str().unwrap())
            .with("AWS_EC2_METADATA_DISABLED", "true");
        client.write("backend.tf", &self.backend(name, key));
        match self.service.authority() {
            Some(_) => client.with(
                "AWS_CA_BUNDLE",
                self.home.path().join("authority.pem").to_str().unwrap(),
            ),
            None => client,
        }
    }

    fn backend(&self, profile: &str, key: &str) -> String {
        format!(
            r#"terraform {{
  backend "s3" {{
    bucket                      = "opentaco"
    key                         = "{key}"
    region                      = "us-east-1"
    profile                     = "{profile}"
    endpoints                   = {{ s3 = "{}" }}
    use_path_style              = true
    use_lockfile                = true
    skip_credentials_validation = true
    skip_region_validation      = true
    skip_requesting_account_id  = true
    skip_metadata_api_check     = true
  }}
}}
"#,
            self.endpoint()
        )
    }

    fn unit(&self, unit: &str) -> Value {
        self.told(&["unit", "info", unit, "--json"])
    }

    fn is_locked(&self, unit: &str) -> bool {
        self.unit(unit)["locked"] == true
    }

    fn rejected(&self, unit: &str) -> usize {
        let told = self.told(&["unit", "rejected", "ls", unit, "--json"]);
        told["rejected"].as_array().unwrap().len()
    }
}

fn keys_new(home: &Path) -> PathBuf {
    let key = home.join("tokens-key.pem");
    let made = Command::new(tools::built("opentacosvc"))
        .args(["keys", "new", "--out", key.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    key
}

/// Whether the client at hand knows `use_lockfile`; without, what it would do is done by the SDK, and that is said.
#[expect(clippy::print_stdout, reason = "what is skipped is to be seen")]
pub(crate) fn knows_lockfiles() -> bool {
    let version = Client::without_backend("").run(&["version"]).printed;
    let old = version
        .split_once(" v")
        .and_then(|(_, rest)| rest.split_once('.'))
        .and_then(|(_, rest)| rest.split(['.', ' ']).next()?.parse::<u32>().ok())
        .is_none_or(|minor| minor < 10);
    if old {
        println!("SKIPPED: this client knows no use_lockfile ({version}); s3::sdk sends what it would");
    }
    !old
}

fn workspaces_are_units_of_their_own_and_an_apply_leaves_what_the_client_pulls(wire: Wire) {
    if !knows_lockfiles() {
        return;
    }
    let door = Door::open(wire);
    let client = door.client("admin", "journey/app.tfstate", ONE).init();
    let _ = client.run(&["plan", "-input=false"]).worked();
    let _ = client.apply().worked();
    assert_eq!(client.run(&["output", "-raw", "one"]).worked().stdout, b"1");
    client.resources(&ONE.replace("\"1\"", "\"2\""));
    let changed = client.apply().worked();
    assert!(
        changed.printed.contains("0 added, 1 changed, 0 destroyed"),
        "{}",
        changed.printed
    );
    let _ = client.apply().worked();

    let _ = client.run(&["workspace", "new", "dev"]).worked();
    let _ = client.apply().worked();
    let listed = client.run(&["workspace", "list"]).worked().printed;
    assert!(listed.contains("default") && listed.contains("* dev"), "{listed}");
    let units = door.told(&["unit", "ls", "--json"]);
    let names: Vec<&str> = units["units"]
        .as_array()
        .unwrap()
        .iter()
        .map(|unit| unit["id"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["env:/dev/journey/app.tfstate", "journey/app.tfstate"]);
    let _ = client.run(&["workspace", "select", "default"]).worked();
    let _ = client.run(&["workspace", "delete", "-force", "dev"]).worked();
    assert!(
        !client
            .run(&["workspace", "list"])
            .worked()
            .printed
            .contains("dev")
    );

    let pulled = client.run(&["state", "pull"]).worked().stdout;
    let copy = fs::read(door.home.path().join("data/bucket/journey/app.tfstate")).unwrap();
    let same = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    assert_eq!(same(&pulled), same(&copy));
    let _ = client.run(&["destroy", "-auto-approve", "-input=false"]).worked();
    let about = door.unit("journey/app.tfstate");
    assert_eq!(about["locked"], false, "{about}");
    let versions = door.told(&["unit", "versions", "journey/app.tfstate", "--json"]);
    assert_eq!(versions["versions"].as_array().unwrap().len(), 3, "{versions}");
}

fn a_conflict_names_the_holder_and_whoever_was_broken_commits_nothing_more(wire: Wire) {
    if !knows_lockfiles() {
        return;
    }
    let door = Door::open(wire);
    let (unit, hold) = ("journey/held.tfstate", Hold::new());
    let first = door.client("writer", unit, &hold.resource()).init();
    let other = door.client("writer", unit, ONE).init();
    let admin = door.client("admin", unit, ONE).init();
    let _ = other.apply().worked();
    let mut applying = first.start(&["apply", "-input=false", "-auto-approve"]);
    hold.started();
    let conflict = other.apply().failed_with("Error acquiring the state lock");
    let id = conflict
        .printed
        .split("Lock Info: ID: ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap()
        .to_owned();
    assert!(
        conflict.printed.contains("OperationTypeApply") && conflict.printed.contains("Who:"),
        "{}",
        conflict.printed
    );
    let held = door.unit(unit);
    assert_eq!(held["lock"]["id"], id.as_str(), "{held}");

    let _ = other
        .run(&["force-unlock", "-force", &id])
        .failed_with("PreconditionFailed");
    let _ = admin
        .run(&["force-unlock", "-force", "22222222-2222-4222-8222-222222222222"])
        .failed_with("lock");
    assert!(door.is_locked(unit));
    let _ = admin.run(&["force-unlock", "-force", &id]).worked();
    other.resources(&ONE.replace("\"1\"", "\"2\""));
    let _ = other.apply().worked();
    let current = door.unit(unit)["version"].clone();
    hold.go();
    assert!(!applying.wait().success(), "{}", applying.printed());
    assert!(
        applying.printed().contains("PreconditionFailed"),
        "{}",
        applying.printed()
    );
    assert_eq!(door.unit(unit)["version"], current, "a stale holder committed");
    assert!(door.rejected(unit) >= 1, "what it sent is lost");
}

fn a_client_that_waits_gets_the_lock_whichever_door_it_was_taken_through(wire: Wire) {
    if !knows_lockfiles() {
        return;
    }
    let door = Door::open(wire);
    let hold = Hold::new();
    let token = door.token("writer");
    let first = door
        .service
        .client("journey/wait", &hold.resource())
        .with_token(&token)
        .init();
    let second = door
        .client("writer", "journey/wait/terraform.tfstate", ONE)
        .init();
    let mut applying = first.start(&["apply", "-input=false", "-auto-approve"]);
    hold.started();
    let mut waiting = second.start(&["plan", "-input=false", "-lock-timeout=60s"]);
    eventually("the second client was told to wait", || {
        door.service.log().contains("held-by-another")
    });
    hold.go();
    assert!(applying.wait().success(), "{}", applying.printed());
    assert!(waiting.wait().success(), "{}", waiting.printed());
}

/// A state of so many megabytes.
fn large(megabytes: usize, serial: u32) -> String {
    let filler = "x".repeat(1000);
    let outputs: Vec<String> = (0..megabytes * 960)
        .map(|n| format!("    \"o{n}\": {{ \"value\": \"{filler}\", \"type\": \"string\" }}"))
        .collect();
    format!(
        "{{\n  \"version\": 4,\n  \"terraform_version\": \"1.6.2\",\n  \"serial\": {serial},\n  \"lineage\": \"11111111-2222-3333-4444-555555555555\",\n  \"outputs\": {{\n{}\n  }},\n  \"resources\": [],\n  \"check_results\": null\n}}\n",
        outputs.join(",\n")
    )
}

fn a_state_of_60_mb_is_pushed_in_parts_and_a_push_that_is_killed_changes_nothing(wire: Wire) {
    if !knows_lockfiles() {
        return;
    }
    let door = Door::open(wire);
    let unit = "journey/large.tfstate";
    let client = door.client("admin", unit, "").init();
    client.write("large.tfstate", &large(60, 1));
    let _ = client.run(&["state", "push", "large.tfstate"]).worked();
    assert!(
        door.service.log().contains("s3.UploadPart"),
        "it came in one piece"
    );
    let copy = || fs::read(door.home.path().join("data/bucket").join(unit)).unwrap();
    let first = copy();
    assert!(first.len() > 60_000_000, "{}", first.len());
    let pulled = client.run(&["state", "pull"]).worked().stdout;
    let outputs = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap()["outputs"].clone();
    assert!(
        outputs(&pulled) == outputs(&first),
        "what is read is not what is kept"
    );

    client.write("large.tfstate", &large(60, 2));
    let before = door.service.log().matches("s3.UploadPart").count();
    let mut pushing = client.start(&["state", "push", "-force", "large.tfstate"]);
    pushing.until("a part of the second upload", || {
        (door.service.log().matches("s3.UploadPart").count() > before).then_some(())
    });
    pushing.signal("KILL");
    pushing.wait();
    let completed = door.service.log().matches("s3.CompleteMultipartUpload").count();
    if completed == 1 {
        assert!(copy() == first, "a push that was killed has changed the state");
        assert!(door.is_locked(unit), "its lock stays until somebody breaks it");
        let lock = door.unit(unit)["lock"]["id"].as_str().unwrap().to_owned();
        let _ = client.run(&["force-unlock", "-force", &lock]).worked();
    }
    let _ = client.run(&["state", "push", "-force", "large.tfstate"]).worked();
    assert_eq!(
        serde_json::from_slice::<Value>(&copy()).unwrap()["outputs"],
        outputs(&first)
    );
}

fn credentials_that_expire_in_mid_apply_are_asked_for_again_and_the_apply_ends_as_the_same_holder(
    wire: Wire,
) {
    if !knows_lockfiles() {
        return;
    }
    let door = Door::with(wire, &["-sts-ttl", "3s"]);
    let (unit, hold) = ("journey/expiring.tfstate", Hold::new());
    let client = door.client("writer", unit, &hold.resource()).init();
    let mut applying = client.start(&["apply", "-input=false", "-auto-approve"]);
    hold.started();
    // Made after those of the client: when these are over, so are its.
    let later = door.credentials("writer", "another");
    let expiration: jiff::Timestamp = later["Expiration"].as_str().unwrap().parse().unwrap();
    eventually("credentials expire", || SystemClock.now() > expiration);
    let made = || door.service.log().matches("made S3 credentials").count();
    let before = made();
    hold.go();
    assert!(
        applying.wait().success(),
        "{}\n{}",
        applying.printed(),
        door.service.log()
    );
    assert!(made() > before, "nobody asked for new ones");
    assert_eq!(door.rejected(unit), 0);
    assert!(!door.is_locked(unit));
}

impl Door {
    /// The AWS CLI with these credentials.
    fn aws_at(&self, endpoint: &str, credentials: &Value, words: &[&str]) -> Output {
        let of = |name: &str| credentials[name].as_str().unwrap();
        let mut command = Command::new(tools::installed("aws"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        command
            .args(["--endpoint-url", endpoint, "--region", "us-east-1"])
            .args(words)
            .env("AWS_ACCESS_KEY_ID", of("AccessKeyId"))
            .env("AWS_SECRET_ACCESS_KEY", of("SecretAccessKey"))
            .env("AWS_SESSION_TOKEN", of("SessionToken"))
            .env("AWS_EC2_METADATA_DISABLED", "true");
        if self.service.authority().is_some() {
            command.env("AWS_CA_BUNDLE", self.home.path().join("authority.pem"));
        }
        command.output().unwrap()
    }
}

macro_rules! over_both_wires {
    ($($journey:ident;)*) => {
        mod plain {
            $(#[test] fn $journey() { super::$journey(super::Wire::Plain); })*
        }
        mod tls {
            $(#[test] fn $journey() { super::$journey(super::Wire::Tls); })*
        }
    };
}

over_both_wires! {
    workspaces_are_units_of_their_own_and_an_apply_leaves_what_the_client_pulls;
    a_conflict_names_the_holder_and_whoever_was_broken_commits_nothing_more;
    a_client_that_waits_gets_the_lock_whichever_door_it_was_taken_through;
    a_state_of_60_mb_is_pushed_in_parts_and_a_push_that_is_killed_changes_nothing;
    credentials_that_expire_in_mid_apply_are_asked_for_again_and_the_apply_ends_as_the_same_holder;
}

#[test]
fn a_unit_is_the_same_through_all_three_doors_and_its_history_tells_which() {
    if !knows_lockfiles() {
        return;
    }
    let door = Door::open(Wire::Plain);
    let token = door.token("admin");
    let http = door.service.client("doors/app", ONE).with_token(&token).init();
    let _ = http.apply().worked();
    let s3 = door
        .client(
            "admin",
            "doors/app/terraform.tfstate",
            &ONE.replace("\"1\"", "\"2\""),
        )
        .init();
    let changed = s3.apply().worked();
    assert!(
        changed.printed.contains("0 added, 1 changed"),
        "{}",
        changed.printed
    );
    let file = door.home.path().join("pushed.tfstate");
    let pulled: Value = serde_json::from_slice(&s3.run(&["state", "pull"]).worked().stdout).unwrap();
    let mut pushed = pulled.clone();
    pushed["serial"] = (pulled["serial"].as_u64().unwrap() + 1).into();
    fs::write(&file, pushed.to_string()).unwrap();
    let _ = door.taco(&token, &["unit", "push", "doors/app", file.to_str().unwrap()]);
    let told = door.told(&["unit", "versions", "doors/app", "--json"]);
    let mut doors: Vec<&str> = told["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| version["door"].as_str().unwrap())
        .collect();
    doors.dedup();
    assert_eq!(doors, ["management", "s3", "terraform"], "{told:#}");
}

#[test]
fn two_replicas_over_a_real_bucket_take_the_parts_of_one_upload() {
    let server = S3Server::shared();
    server.bucket("s3-door");
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let key = keys_new(home.path());
    let flags = [
        "-tokens-private-key-pem-path",
        key.to_str().unwrap(),
        "-sts-kid",
        "k1",
    ];
    let secret = ("OPENTACO_STS_HMAC_k1", "0123456789abcdef0123456789abcdef");
    let replica = |home: &Path| server.replica_told(home, "s3-door", &flags, &[secret]);
    let second = replica(other.path());
    let door = Door::over(replica(home.path()), home);
    let credentials = door.credentials("writer", "one-job");
    eventually("the other replica knows the token", || {
        let seen = door.aws_at(
            &format!("{}/s3", second.url()),
            &credentials,
            &["s3", "ls", "s3://opentaco"],
        );
        seen.status.success()
    });
    let state = large(12, 1);
    sdk::uploaded_by_turns(
        &[&door.endpoint(), &format!("{}/s3", second.url())],
        &credentials,
        "parts/app.tfstate",
        state.as_bytes(),
    );
}
