//! Journeys of the real client over HTTP, auth on, against the built service on local disk: in plain, and over TLS while
//! the certificate is renewed all the time.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use opentaco_testkit::client::Client;
use opentaco_testkit::process::eventually;
use opentaco_testkit::proxy::{Fate, Proxy};
use opentaco_testkit::service::{ROOT_TOKEN, Service};
use tempfile::TempDir;

use crate::http;

pub(crate) const ONE: &str = "resource \"terraform_data\" \"one\" {\n  input = \"1\"\n}\noutput \"one\" {\n  value = terraform_data.one.output\n}\n";

/// What the client and the service speak with each other.
#[derive(Debug, Clone, Copy)]
enum Wire {
    Plain,
    /// With a certificate that is renewed several times a second.
    Tls,
}

impl Wire {
    fn serve(self, home: &Path) -> Service {
        match self {
            Self::Plain => Service::on_disk(home),
            Self::Tls => Service::on_disk_over_tls(home),
        }
    }
}

fn home() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// The files of a unit below one of our names in the bucket.
fn objects(home: &Path, kind: &str, unit: &str) -> Vec<String> {
    let directory = home.join("data/bucket").join(kind).join(unit).join("@");
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn copy(home: &Path, unit: &str) -> Vec<u8> {
    fs::read(home.join("data/bucket").join(unit).join("terraform.tfstate")).unwrap()
}

fn head(home: &Path, unit: &str) -> serde_json::Value {
    let file = home
        .join("data/bucket/__opentaco_units")
        .join(unit)
        .join("@head.json");
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// Takes the lock of a unit by hand.
fn lock_by_hand(service: &Service, unit: &str, id: &str) {
    let status = runtime().block_on(async {
        http::status(
            &http::client_of(service),
            "LOCK",
            &service.backend(unit),
            http::lock_body(id, "alice@laptop"),
        )
        .await
    });
    assert_eq!(status, 200);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// A pipe that a provisioner waits on: it writes its start into one, and reads its permission from the other.
pub(crate) struct Hold {
    directory: TempDir,
}

impl Hold {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["started", "go"] {
            assert!(
                Command::new("mkfifo")
                    .arg(directory.path().join(name))
                    .status()
                    .unwrap()
                    .success()
            );
        }
        Self { directory }
    }

    /// A resource that is being created until the test says go.
    pub(crate) fn resource(&self) -> String {
        let path = self.directory.path().display();
        format!(
            "{ONE}resource \"terraform_data\" \"held\" {{\n  depends_on = [terraform_data.one]\n  provisioner \"local-exec\" {{\n    command = \"echo started > '{path}/started'; cat '{path}/go'\"\n  }}\n}}\n"
        )
    }

    pub(crate) fn started(&self) {
        let mut text = String::new();
        fs::File::open(self.directory.path().join("started"))
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "started\n");
    }

    pub(crate) fn go(&self) {
        fs::File::options()
            .write(true)
            .open(self.directory.path().join("go"))
            .unwrap()
            .write_all(b"go\n")
            .unwrap();
    }
}

fn apply_change_no_op_and_destroy_leave_the_copy_equal_to_what_the_client_pulls(wire: Wire) {
    let home = home();
    let service = wire.serve(home.path());
    let client = service.client("journey/one", ONE).init();
    let _ = client.apply().worked();
    assert_eq!(client.run(&["output", "-raw", "one"]).worked().stdout, b"1");
    client.resources(&ONE.replace("\"1\"", "\"2\""));
    let changed = client.apply().worked();
    assert!(
        changed.printed.contains("0 added, 1 changed, 0 destroyed"),
        "{}",
        changed.printed
    );
    let versions = objects(home.path(), "__opentaco_versions", "journey/one");
    assert_eq!(versions.len(), 2);
    let nothing = client
        .run(&["plan", "-input=false", "-detailed-exitcode"])
        .worked();
    assert!(nothing.printed.contains("No changes"), "{}", nothing.printed);
    let _ = client.apply().worked();
    assert_eq!(
        objects(home.path(), "__opentaco_versions", "journey/one"),
        versions,
        "a no-op writes nothing"
    );
    let _ = client.run(&["destroy", "-auto-approve", "-input=false"]).worked();
    let copy: serde_json::Value = serde_json::from_slice(&copy(home.path(), "journey/one")).unwrap();
    assert_eq!(copy["resources"], serde_json::json!([]));
    assert!(head(home.path(), "journey/one")["lock"].is_null());
    let lock_copy = home.path().join("data/bucket/journey/one/terraform.tfstate.lock");
    eventually("the lock copy is gone", || !lock_copy.exists());
}

fn a_wrong_password_is_refused_and_says_so(wire: Wire) {
    let home = home();
    let service = wire.serve(home.path());
    let client = service.client("journey/auth", ONE).with_token("wrong");
    let _ = client.run(&["init", "-input=false"]).failed_with("auth");
    assert!(!service.log().contains("wrong"), "a password in the log");
}

fn a_conflict_names_the_holder_and_force_unlock_breaks_the_lock(wire: Wire) {
    let home = home();
    let service = wire.serve(home.path());
    let unit = "journey/conflict";
    let client = service.client(unit, ONE).init();
    let _ = client.apply().worked();
    let id = http::uuid(1);
    lock_by_hand(&service, unit, &id);
    let _ = client
        .apply()
        .failed_with(&id)
        .failed_with("Error acquiring the state lock");
    let _ = client.run(&["force-unlock", "-force", &id]).worked();
    assert!(head(home.path(), unit)["lock"].is_null());
    let _ = client.apply().worked();
    // The holder that was broken comes back late: refused, and kept.
    let status = runtime().block_on(async {
        let address = format!("{}?ID={id}", service.backend(unit));
        http::status(
            &http::client_of(&service),
            "POST",
            &address,
            http::state(9, "late"),
        )
        .await
    });
    assert_eq!(status, 409);
    let rejected = objects(home.path(), "__opentaco_rejected", unit);
    assert_eq!(rejected.len(), 1);
    let kept = fs::read(
        home.path()
            .join("data/bucket/__opentaco_rejected")
            .join(unit)
            .join("@")
            .join(&rejected[0]),
    );
    assert_eq!(kept.unwrap(), http::state(9, "late").into_bytes());
}

fn a_client_that_waits_gets_the_lock_when_the_other_gives_it_back(wire: Wire) {
    let home = home();
    let service = wire.serve(home.path());
    let hold = Hold::new();
    let first = service.client("journey/wait", &hold.resource()).init();
    let second = service.client("journey/wait", ONE).init();
    let mut applying = first.start(&["apply", "-input=false", "-auto-approve"]);
    hold.started();
    let mut waiting = second.start(&["plan", "-input=false", "-lock-timeout=60s"]);
    eventually("the second client was told to wait", || {
        service.log().contains("held-by-another")
    });
    hold.go();
    assert!(applying.wait().success(), "{}", applying.printed());
    assert!(waiting.wait().success(), "{}", waiting.printed());
}

fn state_push_by_force_and_mv_and_rm_go_through(wire: Wire) {
    let home = home();
    let service = wire.serve(home.path());
    let client = service.client("journey/state", ONE).init();
    let _ = client.apply().worked();
    let first = client.run(&["state", "pull"]).worked().stdout;
    client.write("first.tfstate", &String::from_utf8(first.clone()).unwrap());
    client.resources(&ONE.replace("\"1\"", "\"2\""));
    let _ = client.apply().worked();
    let _ = client
        .run(&["state", "push", "first.tfstate"])
        .failed_with("serial");
    let _ = client.run(&["state", "push", "-force", "first.tfstate"]).worked();
    let pushed: serde_json::Value = serde_json::from_slice(&copy(home.path(), "journey/state")).unwrap();
    let pulled: serde_json::Value = serde_json::from_slice(&first).unwrap();
    assert_eq!(pushed["outputs"], pulled["outputs"]);
    let _ = client
        .run(&["state", "mv", "terraform_data.one", "terraform_data.two"])
        .worked();
    let list = client.run(&["state", "list"]).worked();
    assert_eq!(list.printed, "terraform_data.two");
    let _ = client.run(&["state", "rm", "terraform_data.two"]).worked();
    assert_eq!(client.run(&["state", "list"]).worked().printed, "");
}

fn a_state_migrates_from_local_disk_and_back(wire: Wire) {
    let home = home();
    let service = wire.serve(home.path());
    let client = Client::without_backend(ONE).trusting(service.authority()).init();
    let _ = client.apply().worked();
    client.backend(&service.backend("journey/migrate"));
    let _ = client
        .run(&["init", "-input=false", "-migrate-state", "-force-copy"])
        .worked();
    let there: serde_json::Value = serde_json::from_slice(&copy(home.path(), "journey/migrate")).unwrap();
    assert_eq!(there["resources"][0]["name"], "one");
    client.no_backend();
    let _ = client
        .run(&["init", "-input=false", "-migrate-state", "-force-copy"])
        .worked();
    let back: serde_json::Value =
        serde_json::from_slice(&fs::read(client.directory().join("terraform.tfstate")).unwrap()).unwrap();
    assert_eq!(back["resources"], there["resources"]);
}

fn another_configuration_reads_the_outputs_by_terraform_remote_state(wire: Wire) {
    let home = home();
    let service = wire.serve(home.path());
    let producer = service.client("journey/producer", ONE).init();
    let _ = producer.apply().worked();
    let address = service.backend("journey/producer");
    let consumer = format!(
        "data \"terraform_remote_state\" \"up\" {{\n  backend = \"http\"\n  config = {{\n    address = \"{address}\"\n    username = \"root\"\n    password = \"{ROOT_TOKEN}\"\n  }}\n}}\noutput \"seen\" {{\n  value = data.terraform_remote_state.up.outputs.one\n}}\n"
    );
    let consumer = service.client("journey/consumer", &consumer).init();
    let _ = consumer.apply().worked();
    assert_eq!(consumer.run(&["output", "-raw", "seen"]).worked().stdout, b"1");
}

fn a_state_of_250_mb_is_pushed_and_pulled_byte_for_byte(wire: Wire) {
    let home = home();
    let service = wire.serve(home.path());
    let unit = "journey/large";
    let client = service.client(unit, "").init();
    let filler = "x".repeat(1000);
    let mut state = String::with_capacity(256 << 20);
    state.push_str("{\n  \"version\": 4,\n  \"terraform_version\": \"1.6.2\",\n  \"serial\": 1,\n  \"lineage\": \"11111111-2222-3333-4444-555555555555\",\n  \"outputs\": {\n");
    let count = 250_000;
    for n in 0..count {
        let comma = if n + 1 < count { "," } else { "" };
        writeln!(
            state,
            "    \"o{n}\": {{ \"value\": \"{filler}\", \"type\": \"string\" }}{comma}"
        )
        .unwrap();
    }
    state.push_str("  },\n  \"resources\": [],\n  \"check_results\": null\n}\n");
    assert!(state.len() > 250_000_000);
    client.write("large.tfstate", &state);
    drop(state);
    let _ = client.run(&["state", "push", "large.tfstate"]).worked();
    let kept = copy(home.path(), unit);
    assert!(kept.len() > 250_000_000, "{}", kept.len());
    let pulled = runtime().block_on(async {
        let answer = http::send(&http::client_of(&service), "GET", &service.backend(unit), "").await;
        assert_eq!(answer.status().as_u16(), 200);
        answer.bytes().await.unwrap()
    });
    assert!(pulled == kept, "what is read is not what is kept");
    let by_client = client.run(&["state", "pull"]).worked().stdout;
    let state: serde_json::Value = serde_json::from_slice(&by_client).unwrap();
    assert_eq!(state["outputs"].as_object().unwrap().len(), count);
}

fn a_client_that_was_killed_in_mid_apply_is_recovered_by_force_unlock(wire: Wire) {
    let home = home();
    let service = wire.serve(home.path());
    let unit = "journey/killed";
    let hold = Hold::new();
    let client = service.client(unit, &hold.resource()).init();
    let mut applying = client.start(&["apply", "-input=false", "-auto-approve"]);
    hold.started();
    applying.kill();
    hold.go();
    let id = head(home.path(), unit)["lock"]["id"].as_str().unwrap().to_owned();
    let _ = client.run(&["plan", "-input=false"]).failed_with(&id);
    let _ = client.run(&["force-unlock", "-force", &id]).worked();
    client.resources(ONE);
    let _ = client.apply().worked();
    assert_eq!(client.run(&["output", "-raw", "one"]).worked().stdout, b"1");
}

fn a_service_that_was_killed_in_mid_apply_comes_back_and_the_client_goes_on(wire: Wire) {
    let home = home();
    let mut service = wire.serve(home.path());
    let unit = "journey/crash";
    let proxy = service.proxy();
    let hold = Hold::new();
    let client = through(&proxy, &service, unit, &hold.resource());
    let mut applying = client.start(&["apply", "-input=false", "-auto-approve"]);
    hold.started();
    service.kill();
    hold.go();
    eventually("the client met a service that is not there", || {
        proxy.unanswered() > 0
    });
    service.restart();
    assert!(applying.wait().success(), "{}", applying.printed());
    let copy: serde_json::Value = serde_json::from_slice(&copy(home.path(), unit)).unwrap();
    assert_eq!(copy["resources"].as_array().unwrap().len(), 2);
    assert!(head(home.path(), unit)["lock"].is_null());
}

fn a_service_that_was_killed_after_each_deed_and_before_its_answer_repeats_none(wire: Wire) {
    let home = home();
    let service = wire.serve(home.path());
    let unit = "journey/killed-late";
    let proxy = service.proxy();
    let client = through(&proxy, &service, unit, ONE);
    let service = Arc::new(Mutex::new(service));
    for method in ["LOCK", "POST", "UNLOCK"] {
        let service = Arc::clone(&service);
        proxy.next_with(method, Fate::LoseAnswer, move || {
            service.lock().unwrap().restart();
        });
    }
    let _ = client.apply().worked();
    assert_eq!(proxy.met(), ["LOCK", "POST", "UNLOCK"]);
    committed_once(home.path(), unit);
}

fn lost_answers_to_lock_post_and_unlock_are_made_good_by_the_clients_retries(wire: Wire) {
    each_request_meets(Fate::LoseAnswer, wire);
}

fn requests_that_arrive_twice_are_done_once(wire: Wire) {
    each_request_meets(Fate::Twice, wire);
}

fn requests_that_never_arrive_are_sent_again(wire: Wire) {
    each_request_meets(Fate::LoseRequest, wire);
}

/// An apply whose LOCK, POST and UNLOCK all meet this fate once.
fn each_request_meets(fate: Fate, wire: Wire) {
    let home = home();
    let service = wire.serve(home.path());
    let unit = "journey/unlucky";
    let proxy = service.proxy();
    let client = through(&proxy, &service, unit, ONE);
    for method in ["LOCK", "POST", "UNLOCK"] {
        proxy.next(method, fate);
    }
    let _ = client.apply().worked();
    assert_eq!(proxy.met(), ["LOCK", "POST", "UNLOCK"]);
    committed_once(home.path(), unit);
}

fn committed_once(home: &Path, unit: &str) {
    let versions = objects(home, "__opentaco_versions", unit);
    assert_eq!(versions.len(), 1, "{versions:?}");
    let rejected = objects(home, "__opentaco_rejected", unit);
    assert!(rejected.is_empty(), "{rejected:?}");
    let head = head(home, unit);
    assert!(
        head["lock"].is_null() && head["recent"].as_array().unwrap().is_empty(),
        "{head}"
    );
}

/// A client that reaches a unit by way of a proxy, with `resources` in its configuration.
fn through(proxy: &Proxy, service: &Service, unit: &str, resources: &str) -> Client {
    Client::new(&format!("{}/v1/backend/{unit}", proxy.url()), resources)
        .trusting(service.authority())
        .init()
}

fn gitlab_style_addresses_lock_by_post_and_unlock_by_delete(wire: Wire) {
    let home = home();
    let service = wire.serve(home.path());
    let unit = "journey/gitlab";
    let client = Client::without_backend(ONE).trusting(service.authority());
    let (state, lock) = (
        service.backend(unit),
        format!("{}/v1/backend-lock/{unit}", service.url()),
    );
    client.write(
        "backend.tf",
        &format!("terraform {{\n  backend \"http\" {{\n    address = \"{state}\"\n    lock_address = \"{lock}\"\n    unlock_address = \"{lock}\"\n    lock_method = \"POST\"\n    unlock_method = \"DELETE\"\n  }}\n}}\n"),
    );
    let client = client.init();
    let _ = client.apply().worked();
    assert!(head(home.path(), unit)["lock"].is_null());
    assert_eq!(objects(home.path(), "__opentaco_versions", unit).len(), 1);
}

/// The journeys that are made in plain and over TLS.
macro_rules! journeys {
    ($($journey:ident)*) => {
        mod in_plain {
            $(#[test] fn $journey() { super::$journey(super::Wire::Plain); })*
        }
        mod over_tls {
            $(#[test] fn $journey() { super::$journey(super::Wire::Tls); })*
        }
    };
}

journeys! {
    apply_change_no_op_and_destroy_leave_the_copy_equal_to_what_the_client_pulls
    a_wrong_password_is_refused_and_says_so
    a_conflict_names_the_holder_and_force_unlock_breaks_the_lock
    a_client_that_waits_gets_the_lock_when_the_other_gives_it_back
    state_push_by_force_and_mv_and_rm_go_through
    a_state_migrates_from_local_disk_and_back
    another_configuration_reads_the_outputs_by_terraform_remote_state
    a_state_of_250_mb_is_pushed_and_pulled_byte_for_byte
    a_client_that_was_killed_in_mid_apply_is_recovered_by_force_unlock
    a_service_that_was_killed_in_mid_apply_comes_back_and_the_client_goes_on
    a_service_that_was_killed_after_each_deed_and_before_its_answer_repeats_none
    lost_answers_to_lock_post_and_unlock_are_made_good_by_the_clients_retries
    requests_that_arrive_twice_are_done_once
    requests_that_never_arrive_are_sent_again
    gitlab_style_addresses_lock_by_post_and_unlock_by_delete
}

#[test]
fn the_demonstration_walks_a_real_client_through_and_leaves_nothing_behind() {
    let demo = opentaco_testkit::tools::repository().join("demo");
    let mut command = Command::new(demo);
    command
        .arg("--once")
        .env("OPENTACO_TERRAFORM", opentaco_testkit::tools::client());
    let output = command.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{printed}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for step in [
        "Apply complete! Resources: 1 added",
        "already locked",
        "Destroy complete!",
    ] {
        assert!(printed.contains(step), "`{step}` is not in:\n{printed}");
    }
}
