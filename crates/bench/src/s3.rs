//! The S3 door: how fast states go in and out, and what memory many large ones take that come at once.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::try_join_all;
use http::Method;
use opentaco_testkit::signer::{Sent, Signer};
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::failure::{Doing, Failure};
use crate::report::{Aim, Report, Table, figure};
use crate::service::{Process, Storage, TOKEN, beside};
use crate::states::States;
use crate::usage::{MB, Watch, forget_peak, memory};

/// Sizes that are put and got, how they are called, and for how long.
const SIZES: [(&str, usize, Duration); 2] = [
    ("10kb", 10_000, Duration::from_secs(2)),
    ("64mb", 64_000_000, Duration::from_secs(4)),
];
/// Uploads at once, each of the largest of these.
const AT_ONCE: usize = 16;
/// What they may take together, in megabytes.
const MEMORY_MAX: f64 = 300.0;

/// Measures, prints, and keeps the rows.
///
/// # Errors
/// If a process does not start, or a request is not answered as it should be.
pub async fn report(report: &mut Report<'_>, share: u32) -> Result<(), Failure> {
    report.say("\nThe S3 door on local disk: one connection, requests signed with their bodies\n")?;
    let door = Door::open().await?;
    let mut table = Table::new(&["", "requests/s", "MB/s"]);
    for (name, bytes, time) in SIZES {
        let states = States::of(bytes);
        let mut asker = door.connect(&format!("bench/{name}")).await?;
        let mut serial = 0;
        for operation in ["put", "get"] {
            let began = Instant::now();
            let mut done = 0u32;
            while done == 0 || began.elapsed() < time / share {
                match operation {
                    "put" => {
                        serial += 1;
                        asker.put(states.state(serial).whole()).await?;
                    }
                    _ => asker.get(bytes).await?,
                }
                done += 1;
            }
            let per_second = f64::from(done) / began.elapsed().as_secs_f64();
            let megabytes = per_second * bytes as f64 / MB;
            report.row(format!("s3.{operation}.{name}"), per_second, "requests/s");
            report.row(format!("s3.{operation}.{name}.bytes"), megabytes, "MB/s");
            table.line([
                format!("{operation} {name}"),
                figure(per_second),
                figure(megabytes),
            ]);
        }
    }
    report.say(&table)?;

    let (_, bytes, _) = SIZES[SIZES.len() - 1];
    let whole = States::of(bytes).state(1).whole();
    let door = Door::open().await?;
    let idle = memory(door.process.id())?.resident;
    let mut askers = Vec::new();
    for number in 0..AT_ONCE {
        askers.push(door.connect(&format!("bench/large-{number}")).await?);
    }
    let _kernel_lets_us = forget_peak(door.process.id());
    let watch = Watch::over(door.process.id());
    let began = Instant::now();
    try_join_all(askers.iter_mut().map(|asker| asker.put(whole.clone()))).await?;
    let took = began.elapsed();
    let peak = watch.end().memory.resident as f64 / MB;
    report.row("s3.put.16_at_once.peak", peak, "MB");
    let verdict = report.judge(Aim::AtMost(MEMORY_MAX));
    report.say(format!(
        "  {AT_ONCE} puts of 64 MB at once: {} MB at most, {} MB before, in {:.1} s {verdict}\n",
        figure(peak),
        figure(idle as f64 / MB),
        took.as_secs_f64()
    ))?;
    Ok(())
}

/// A service with S3 credentials for one writer.
pub(crate) struct Door {
    /// The service.
    pub(crate) process: Process,
    /// The token of the service account that the credentials are for.
    pub(crate) token: String,
    signer: Signer,
    _keys: TempDir,
}

impl Door {
    async fn open() -> Result<Self, Failure> {
        let retention = ["-max-versions", "10", "-versions-min-age", "0s"];
        Self::open_by(|flags| Process::service(Storage::Local, &[flags, &retention].concat())).await
    }

    /// Opens one of a service that `start` starts with these flags and its own.
    pub(crate) async fn open_by(
        start: impl FnOnce(&[&str]) -> Result<Process, Failure>,
    ) -> Result<Self, Failure> {
        let keys = TempDir::with_prefix("opentaco-bench-keys-").doing("making a directory for a key")?;
        let key = keys.path().join("key.pem");
        let key = key
            .to_str()
            .ok_or_else(|| Failure::new("a directory whose name is no text"))?;
        let made = std::process::Command::new(beside("opentacosvc")?)
            .args(["keys", "new", "--out", key])
            .output()
            .doing("making a key")?;
        if !made.status.success() {
            return Err(Failure::new("opentacosvc could not make a key"));
        }
        let process = start(&["-tokens-private-key-pem-path", key])?;
        let mut client = Client::connect(process.address(), "bench").await?;
        let mut ask = async |method: Method, path: &str, body: &'static str| {
            let headers = bearer(TOKEN);
            client
                .ask(method, path, &headers, Bytes::from_static(body.as_bytes()))
                .await
        };
        ask(
            Method::POST,
            "/v1/rbac/init",
            r#"{"administrators":["user:ada"]}"#,
        )
        .await?;
        ask(Method::POST, "/v1/auth/service-accounts", r#"{"name":"bench"}"#).await?;
        ask(Method::PUT, "/v1/rbac/users/service:bench/roles/writer", "").await?;
        let wanted = r#"{"name":"bench","service_account":"bench"}"#;
        let made = ask(Method::POST, "/v1/auth/tokens", wanted).await?;
        let token = member(&made, "token")?;
        let signer = credentials(&mut client, &token).await?;
        Ok(Self {
            process,
            token,
            signer,
            _keys: keys,
        })
    }

    /// Logs in once more: from now on askers sign with new credentials.
    pub(crate) async fn renew(&mut self, client: &mut Client) -> Result<(), Failure> {
        self.signer = credentials(client, &self.token).await?;
        Ok(())
    }

    pub(crate) async fn connect(&self, unit: &str) -> Result<Asker, Failure> {
        Ok(Asker {
            client: Client::connect(self.process.address(), unit).await?,
            signer: self.signer.clone(),
            path: format!("/s3/opentaco/{unit}.tfstate"),
            address: self.process.address().to_string(),
        })
    }
}

/// Credentials for S3, for whoever has this token.
async fn credentials(client: &mut Client, token: &str) -> Result<Signer, Failure> {
    let made = client
        .ask(
            Method::POST,
            "/v1/auth/issue-s3-creds",
            &bearer(token),
            Bytes::new(),
        )
        .await?;
    Ok(Signer::new(
        &member(&made, "AccessKeyId")?,
        &member(&made, "SecretAccessKey")?,
        Some(&member(&made, "SessionToken")?),
    ))
}

/// A token, as a header carries it.
pub(crate) fn bearer(token: &str) -> [(String, String); 1] {
    [("authorization".to_owned(), format!("Bearer {token}"))]
}

/// One connection about one state.
pub(crate) struct Asker {
    client: Client,
    signer: Signer,
    path: String,
    address: String,
}

impl Asker {
    /// PUT of the state.
    pub(crate) async fn put(&mut self, state: Bytes) -> Result<(), Failure> {
        self.ask(Method::PUT, "", &[], state).await.map(drop)
    }

    /// GET of the state, which must be of this size.
    pub(crate) async fn get(&mut self, bytes: usize) -> Result<(), Failure> {
        match self.ask(Method::GET, "", &[], Bytes::new()).await?.len() {
            arrived if arrived == bytes => Ok(()),
            arrived => Err(Failure::new(format!("{arrived} of {bytes} bytes arrived"))),
        }
    }

    /// PUT of the lock file, on condition that there is none.
    pub(crate) async fn lock(&mut self, note: Bytes) -> Result<(), Failure> {
        let only_if = [("if-none-match", "*")];
        self.ask(Method::PUT, ".tflock", &only_if, note).await.map(drop)
    }

    /// DELETE of the lock file.
    pub(crate) async fn unlock(&mut self) -> Result<(), Failure> {
        self.ask(Method::DELETE, ".tflock", &[], Bytes::new())
            .await
            .map(drop)
    }

    async fn ask(
        &mut self,
        method: Method,
        suffix: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Bytes, Failure> {
        let path = format!("{}{suffix}", self.path);
        let url = format!("http://{}{path}", self.address);
        let signed = self
            .signer
            .sign(method.as_str(), &url, headers, Sent::Whole(&body));
        self.client.ask(method, &path, &signed.headers, body).await
    }
}

pub(crate) fn member(document: &[u8], name: &str) -> Result<String, Failure> {
    let document: Value = serde_json::from_slice(document).doing("reading an answer")?;
    let member = document[name].as_str();
    member
        .map(str::to_owned)
        .ok_or_else(|| Failure::new(format!("there is no {name} in an answer")))
}
