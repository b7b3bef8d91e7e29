//! The contract of every store, over real servers, with two clients that race; and what the doctor says of them.

use std::process::Command;

use opentaco_storage::contract;
use opentaco_storage::open::{AzureConfig, AzureCredentials, Secret, StoreConfig, open};
use opentaco_testkit::client::Client;
use opentaco_testkit::process::Process;
use opentaco_testkit::s3_server::S3Server;
use opentaco_testkit::service::Service;
use opentaco_testkit::tools;

use crate::journeys::ONE;

#[tokio::test(flavor = "multi_thread")]
async fn a_real_s3_server_keeps_the_contract() {
    let server = S3Server::shared();
    server.bucket("contract");
    let config = server.config("contract");
    let (a, b) = (open(&config).await.unwrap(), open(&config).await.unwrap());
    contract::run(a.store, b.store, "contract").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn azures_emulator_keeps_the_contract() {
    let azurite = Azurite::start();
    make_container(azurite.port, "states").await;
    let config = StoreConfig::Azure(AzureConfig {
        account: ACCOUNT.to_owned(),
        container: "states".to_owned(),
        endpoint: Some(azurite.endpoint()),
        credentials: AzureCredentials::AccessKey(Secret::new(KEY)),
        ..AzureConfig::default()
    });
    let (a, b) = (open(&config).await.unwrap(), open(&config).await.unwrap());
    contract::run(a.store, b.store, "contract").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_client_keeps_its_state_in_azures_emulator() {
    let azurite = Azurite::start();
    make_container(azurite.port, "states").await;
    let home = tempfile::tempdir().unwrap();
    let endpoint = azurite.endpoint();
    let flags = [
        "-azure-container",
        "states",
        "-azure-account",
        ACCOUNT,
        "-azure-endpoint",
        &endpoint,
    ];
    let service = Service::start(home.path(), &flags, &[("AZURE_STORAGE_KEY", KEY)]);
    let client = Client::new(&service.backend("in/azure"), ONE).init();
    let _ = client.apply().worked();
    let planned = client.run(&["plan", "-input=false"]).worked();
    assert!(planned.printed.contains("No changes"), "{}", planned.printed);
    assert_eq!(client.run(&["output", "-raw", "one"]).worked().stdout, b"1");
}

/// Azure's emulator, running.
pub(crate) struct Azurite {
    // First, so that it has ended when its directory goes.
    _process: Process,
    _home: tempfile::TempDir,
    pub(crate) port: u16,
}

impl Azurite {
    pub(crate) fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let port = tools::free_port();
        let mut command = Command::new(tools::installed("azurite-blob"));
        command
            .args(["--skipApiVersionCheck", "--disableTelemetry", "--silent"])
            .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "-l"])
            .arg(home.path());
        let mut process = Process::start(command, &home.path().join("log"));
        process.until_listening(port);
        Self {
            _process: process,
            _home: home,
            port,
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/{ACCOUNT}", self.port)
    }
}

/// The account and the key that every emulator has; they are no secret.
pub(crate) const ACCOUNT: &str = "devstoreaccount1";
pub(crate) const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Makes a container, which our code never does: signed as Azure's shared key wants it.
pub(crate) async fn make_container(port: u16, name: &str) {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let date = "Sun, 22 Nov 2026 12:00:00 GMT";
    let version = "2021-12-02";
    let canonical = format!(
        "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{version}\n/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    );
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &STANDARD.decode(KEY).unwrap());
    let signature = STANDARD.encode(aws_lc_rs::hmac::sign(&key, canonical.as_bytes()));
    let answer = reqwest::Client::new()
        .put(format!(
            "http://127.0.0.1:{port}/{ACCOUNT}/{name}?restype=container"
        ))
        .header("x-ms-date", date)
        .header("x-ms-version", version)
        .header("authorization", format!("SharedKey {ACCOUNT}:{signature}"))
        .header("content-length", "0")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 201, "{}", answer.text().await.unwrap());
}

#[test]
fn the_doctor_finds_an_honest_store_safe() {
    let server = S3Server::shared();
    server.bucket("doctor");
    let output = doctor(&server.endpoint(), "doctor", "tester", "testersecret");
    assert_eq!(output.0, Some(0), "{}", output.1);
    assert!(
        output.1.contains("lets one of several racing updates win"),
        "{}",
        output.1
    );
}

#[test]
fn the_doctor_finds_a_store_that_ignores_conditions_and_the_service_does_not_start_on_it() {
    let home = tempfile::tempdir().unwrap();
    let port = tools::free_port();
    let mut command = Command::new(tools::installed("s3rver"));
    command
        .args([
            "--directory",
            home.path().to_str().unwrap(),
            "--address",
            "127.0.0.1",
            "--port",
            &port.to_string(),
        ])
        .args(["--configure-bucket", "states"]);
    let mut liar = Process::start(command, &home.path().join("log"));
    liar.until_listening(port);
    let endpoint = format!("http://127.0.0.1:{port}");
    let (code, printed) = doctor(&endpoint, "states", "S3RVER", "S3RVER");
    assert_eq!(code, Some(3), "{printed}");
    let output = service(&endpoint, "states", "S3RVER", "S3RVER")
        .args(["-port", "0"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("does not keep its word") && said.contains("single-replica"),
        "{said}"
    );
}

#[test]
fn the_doctor_says_when_a_store_cannot_be_asked() {
    let endpoint = format!("http://127.0.0.1:{}", tools::free_port());
    let (code, printed) = doctor(&endpoint, "states", "a", "b");
    assert_eq!(code, Some(4), "{printed}");
}

fn doctor(endpoint: &str, bucket: &str, access: &str, secret: &str) -> (Option<i32>, String) {
    let output = service(endpoint, bucket, access, secret)
        .arg("doctor")
        .output()
        .unwrap();
    let printed = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.code(), printed)
}

fn service(endpoint: &str, bucket: &str, access: &str, secret: &str) -> Command {
    let mut command = Command::new(tools::built("opentacosvc"));
    command
        .env("OPENTACO_S3_BUCKET", bucket)
        .env("OPENTACO_S3_ENDPOINT", endpoint)
        .env("OPENTACO_S3_REGION", "us-east-1")
        .env("OPENTACO_ROOT_TOKEN", opentaco_testkit::service::ROOT_TOKEN)
        .env("AWS_ACCESS_KEY_ID", access)
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_holds_keys_that_no_unit_can_have_still_lists() {
    use opentaco_control::{ListUnits, OpenOptions, StateControl};
    use opentaco_domain::Caller;
    use opentaco_storage::open::{S3Config, S3Key};

    let home = tempfile::tempdir().unwrap();
    let port = tools::free_port();
    let mut command = Command::new(tools::installed("moto_server"));
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
    let mut moto = Process::start(command, &home.path().join("log"));
    moto.until_listening(port);
    // moto asks for no signature, so a person's hand is a plain request.
    let endpoint = format!("http://127.0.0.1:{port}");
    let http = reqwest::Client::new();
    assert!(
        http.put(format!("{endpoint}/states"))
            .send()
            .await
            .unwrap()
            .status()
            .is_success()
    );
    let odd = [
        "a//b/terraform.tfstate",
        "folder/",
        "x.tfstate/",
        "plain/terraform.tfstate",
        "net/prod.tfstate",
        "notes.txt",
    ];
    for key in odd {
        let answer = http
            .put(format!("{endpoint}/states/{key}"))
            .body("{}")
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{key}: {}", answer.status());
    }
    let config = StoreConfig::S3(S3Config {
        bucket: "states".to_owned(),
        endpoint: Some(endpoint),
        region: Some("us-east-1".to_owned()),
        credentials: Some(S3Key {
            access_key_id: "a".to_owned(),
            secret_access_key: Secret::new("b"),
            session_token: None,
        }),
        ..S3Config::default()
    });
    let control = StateControl::open(&config, OpenOptions::default()).await.unwrap();
    let me = Caller::root();
    let page = control.list_units(&me, ListUnits::default()).await.unwrap();
    let units: Vec<&str> = page.units.iter().map(|unit| unit.unit.as_str()).collect();
    assert_eq!(units, ["net/prod.tfstate", "plain"]);
}
