//! A service on a port of its own, and a client that can also be wrong on purpose.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use opentaco_control::{OpenOptions, Rights, StateControl, StoreConfig};
use opentaco_domain::{Caller, Policy};
use opentaco_server::App;
use opentaco_server::bodies::{Bodies, BodyLimits};
use opentaco_server::config::Config;
use opentaco_server::doorkeeper::Doorkeeper;
use opentaco_server::logging::{LogFormat, Logging};
use opentaco_server::logins::Logins;
use opentaco_server::pace::Pace;
use opentaco_server::root_token::RootToken;
use opentaco_server::serve::{Patience, serve};
use serde_json::Value;
use tokio::sync::oneshot;

pub(crate) const TOKEN: &str = "canary-root-token-0123456789";

/// People who are known by a token of their own, beside whoever has the root token.
const PEOPLE: [&str; 4] = ["ada", "will", "rita", "sam"];

/// The token of somebody in [`PEOPLE`].
pub(crate) fn token_of(person: &str) -> String {
    format!("token-of-{person}-0123456789abcdef")
}

fn doorkeeper() -> Doorkeeper {
    let people = PEOPLE.map(|person| (token_of(person), Caller::user(person)));
    let known = std::iter::once((TOKEN.to_owned(), Caller::root())).chain(people);
    Doorkeeper::Known(
        known
            .map(|(token, caller)| (RootToken::parse(&token).unwrap(), caller))
            .collect(),
    )
}

/// A running service. It stops when it is dropped.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Over memory, with the limits of production.
    pub(crate) fn start() -> Self {
        Self::with(StoreConfig::Memory, OpenOptions::default(), BodyLimits::default())
    }

    pub(crate) fn with_limits(limits: BodyLimits) -> Self {
        Self::with(StoreConfig::Memory, OpenOptions::default(), limits)
    }

    pub(crate) fn with_policy(policy: impl Policy + 'static) -> Self {
        let options = OpenOptions {
            rights: Rights::Policy(Arc::new(policy)),
            ..OpenOptions::default()
        };
        Self::with(StoreConfig::Memory, options, BodyLimits::default())
    }

    pub(crate) fn with(store: StoreConfig, options: OpenOptions, limits: BodyLimits) -> Self {
        Self::serving(store, options, limits, |app| app)
    }

    /// Over `store`, where people and jobs come in as configured.
    pub(crate) fn with_logins(store: StoreConfig, mut options: OpenOptions, config: &Config) -> Self {
        let logins = Logins::open(config).unwrap();
        options.audit.seal = logins.seal();
        let pace = Pace::new(config.tokens_per_minute);
        Self::serving(store, options, BodyLimits::default(), |app| {
            app.with_logins(logins, pace)
        })
    }

    /// Where nobody is asked who they are.
    pub(crate) fn without_auth() -> Self {
        let (options, limits) = (OpenOptions::default(), BodyLimits::default());
        Self::serving(StoreConfig::Memory, options, limits, |mut app| {
            app.doorkeeper = Arc::new(Doorkeeper::Nobody);
            app
        })
    }

    fn serving(
        store: StoreConfig,
        options: OpenOptions,
        limits: BodyLimits,
        with: impl FnOnce(App) -> App + Send + 'static,
    ) -> Self {
        log();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build();
            runtime.unwrap().block_on(async move {
                let control = StateControl::open(&store, options).await.unwrap();
                let app = with(App::new(control, doorkeeper(), Bodies::new(limits)));
                let stop = async move { drop(stopped.await) };
                serve(
                    listener,
                    app,
                    stop,
                    Patience {
                        drain: Duration::from_secs(5),
                        ..Patience::default()
                    },
                )
                .await
                .unwrap();
            });
        });
        Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// A request of somebody with the root token.
    pub(crate) fn ask(&self, method: &str, target: &str) -> Ask {
        self.ask_as(Some(&format!("Bearer {TOKEN}")), method, target)
    }

    /// A request of a person with a token of their own.
    pub(crate) fn ask_by(&self, person: &str, method: &str, target: &str) -> Ask {
        self.ask_as(Some(&format!("Bearer {}", token_of(person))), method, target)
    }

    /// A request with these credentials.
    pub(crate) fn ask_as(&self, authorization: Option<&str>, method: &str, target: &str) -> Ask {
        let mut headers = vec![("Host".to_owned(), self.address.to_string())];
        headers.extend(authorization.map(|value| ("Authorization".to_owned(), value.to_owned())));
        Ask {
            address: self.address,
            method: method.to_owned(),
            target: target.to_owned(),
            headers,
            body: Vec::new(),
            chunked: false,
        }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the service panicked");
        }
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    // Nothing here takes so long; a test that waits for something that does not come fails instead of hanging.
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// A request that is being written.
pub(crate) struct Ask {
    address: SocketAddr,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    chunked: bool,
}

impl Ask {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// Sends the body as Go sends one whose length it does not know.
    pub(crate) fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// What stands before the body.
    pub(crate) fn head(&self) -> String {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nConnection: close\r\n",
            self.method, self.target
        );
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if self.chunked {
            head += "Transfer-Encoding: chunked\r\n";
        } else if !self.body.is_empty() || !["GET", "HEAD"].contains(&self.method.as_str()) {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        head + "\r\n"
    }

    pub(crate) fn send(self) -> Answer {
        let mut stream = connect(self.address);
        stream.write_all(self.head().as_bytes()).unwrap();
        if self.chunked {
            if !self.body.is_empty() {
                stream
                    .write_all(format!("{:x}\r\n", self.body.len()).as_bytes())
                    .unwrap();
                stream.write_all(&self.body).unwrap();
                stream.write_all(b"\r\n").unwrap();
            }
            stream.write_all(b"0\r\n\r\n").unwrap();
        } else {
            stream.write_all(&self.body).unwrap();
        }
        Answer::read(stream, self.method == "HEAD")
    }
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Reads one answer; `100 Continue` is one.
    pub(crate) fn read(stream: impl Read, without_body: bool) -> Self {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let status = line
            .split(' ')
            .nth(1)
            .unwrap_or_else(|| panic!("no status line: {line:?}"));
        let status = status.parse().unwrap();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            let value_before = headers.insert(name.to_ascii_lowercase(), value.to_owned());
            if let Some(before) = value_before {
                headers.insert(name.to_ascii_lowercase(), format!("{before}, {value}"));
            }
        }
        let mut body = Vec::new();
        if !without_body && status != 100 {
            let length: Option<u64> = headers
                .get("content-length")
                .map(|length| length.parse().unwrap());
            match length {
                Some(length) => {
                    assert_eq!(stream.take(length).read_to_end(&mut body).unwrap() as u64, length);
                }
                None => drop(stream.read_to_end(&mut body).unwrap()),
            }
        }
        Self {
            status,
            headers,
            body,
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// What it says under a key.
    pub(crate) fn says(&self, key: &str) -> String {
        let json = self.json();
        let value = json.get(key).unwrap_or_else(|| panic!("no {key} in {json}"));
        value
            .as_str()
            .unwrap_or_else(|| panic!("{key} is no text in {json}"))
            .to_owned()
    }
}

/// Everything that was logged by this test binary, at the finest level, so that a secret cannot hide below one.
pub(crate) fn log() -> Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        let everything = Logging {
            format: LogFormat::Json,
            filter: "trace".to_owned(),
        };
        let writer = log.clone();
        tracing::subscriber::set_global_default(everything.subscriber(move || writer.clone()).unwrap())
            .unwrap();
        log
    })
    .clone()
}

/// See [`log`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    /// The lines about one request.
    pub(crate) fn of_request(&self, request_id: &str) -> Vec<Value> {
        let text = self.text();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .filter(|line| line["target"] == "opentaco::request" && line["request_id"] == request_id)
            .collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A state as `terraform` writes it.
pub(crate) fn state(serial: u64) -> String {
    format!(
        "{{\n  \"version\": 4,\n  \"serial\": {serial},\n  \"lineage\": \"5e1f\",\n  \"outputs\": {{}},\n  \"resources\": []\n}}\n"
    )
}

/// A lock as `terraform` describes it.
pub(crate) fn lock(id: &str, who: &str) -> String {
    format!(
        r#"{{"ID":"{id}","Operation":"OperationTypeApply","Info":"","Who":"{who}","Version":"1.11.4","Created":"2026-11-22T07:12:53.946393766Z","Path":""}}"#
    )
}
