//! The client, and how it asks: one server, one token, attempts that respect what may be repeated.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use opentaco_api::header;
use opentaco_domain::UnitId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::body::Outgoing;
use crate::error::{Refusal, SdkError};
use crate::retry::{Heard, Repeatable, RetryPolicy};
use crate::server::Server;
use crate::token::{NoToken, Token, TokenProvider};

/// How long a connection may take to come up.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// How long nothing may move: neither a byte of a body, nor the answer.
const IDLE_PATIENCE: Duration = Duration::from_secs(60);

/// How much of an answer that is no state is read. A listing of a hundred thousand units has some 30 MB.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A client of one service. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    server: Server,
    http: reqwest::Client,
    tokens: Arc<dyn TokenProvider>,
    retries: RetryPolicy,
}

/// What a client is made from.
#[derive(Debug)]
pub struct Builder {
    server: Server,
    tokens: Arc<dyn TokenProvider>,
    retries: RetryPolicy,
    agent: String,
    trusted: Vec<Vec<u8>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("server", &self.inner.server)
            .field("tokens", &self.inner.tokens)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Where its tokens come from; it asks as nobody without.
    #[must_use]
    pub fn tokens(mut self, tokens: impl TokenProvider + 'static) -> Self {
        self.tokens = Arc::new(tokens);
        self
    }

    /// How often and how patiently it asks again.
    #[must_use]
    pub fn retries(mut self, retries: RetryPolicy) -> Self {
        self.retries = retries;
        self
    }

    /// What it says of itself, as in `taco/1.2.3`.
    #[must_use]
    pub fn agent(mut self, agent: &str) -> Self {
        agent.clone_into(&mut self.agent);
        self
    }

    /// Certificates to trust beside the system's, in PEM.
    #[must_use]
    pub fn trust(mut self, pem: Vec<u8>) -> Self {
        self.trusted.push(pem);
        self
    }

    /// Makes the client.
    ///
    /// # Errors
    /// [`SdkError::Setup`] if certificates cannot be read, the system's or the given ones.
    pub fn build(self) -> Result<Client, SdkError> {
        let mut http = reqwest::Client::builder()
            .user_agent(self.agent)
            // A token goes to one origin, and an answer from anywhere else is none.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_PATIENCE);
        let setup = |source| SdkError::Setup {
            what: "certificates cannot be read",
            source: Some(source),
        };
        let mut trusted = Vec::new();
        for pem in &self.trusted {
            let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(setup)?;
            if certificates.is_empty() {
                return Err(SdkError::Setup {
                    what: "there are no certificates among those to trust",
                    source: None,
                });
            }
            trusted.extend(certificates);
        }
        if self.server.is_encrypted() {
            http = http.tls_certs_merge(trusted);
        } else {
            // To read the system's certificates costs more than a whole request on loopback, and nobody will ask.
            http = http.tls_certs_only([]);
        }
        Ok(Client {
            inner: Arc::new(Inner {
                http: http.build().map_err(setup)?,
                server: self.server,
                tokens: self.tokens,
                retries: self.retries,
            }),
        })
    }
}

/// A request, as it is made for each attempt anew.
pub(crate) struct Call<'a> {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    headers: HeaderMap,
    body: Payload<'a>,
    repeatable: Repeatable,
}

enum Payload<'a> {
    Nothing,
    Small(Bytes),
    State(&'a Outgoing, &'a Arc<AtomicU64>),
}

/// An answer that is no refusal.
pub(crate) struct Answer {
    pub(crate) response: reqwest::Response,
}

/// An answer, read to its end.
pub(crate) struct Read {
    status: StatusCode,
    bytes: Bytes,
}

impl Read {
    async fn of(answer: Answer) -> Result<Self, SdkError> {
        Ok(Self {
            status: answer.response.status(),
            bytes: read_to_end(answer.response, ANSWER_BYTES_MAX).await?,
        })
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes.into()
    }

    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, SdkError> {
        serde_json::from_slice(&self.bytes).map_err(|source| SdkError::Unreadable {
            what: format!(
                "a body that is not what this address answers with status {}",
                self.status
            ),
            source: Some(source),
        })
    }
}

impl<'a> Call<'a> {
    pub(crate) fn new(method: Method, path: String, repeatable: Repeatable) -> Self {
        Self {
            method,
            path,
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: Payload::Nothing,
            repeatable,
        }
    }

    pub(crate) fn get(path: String) -> Self {
        Self::new(Method::GET, path, Repeatable::Freely)
    }

    /// Says which unit is meant a second time, where no proxy decodes it.
    pub(crate) fn about(mut self, unit: &UnitId) -> Self {
        let value = HeaderValue::from_str(&header::of_unit(unit)).expect("it is escaped for a header");
        self.headers.insert(header::UNIT, value);
        self
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    pub(crate) fn maybe(self, name: &'static str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// A header whose value is visible ASCII.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("only visible ASCII is given here");
        self.headers.insert(name, value);
        self
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(body).expect("what is sent is JSON");
        self.body = Payload::Small(bytes.into());
        self.header(CONTENT_TYPE, "application/json")
    }

    pub(crate) fn state(mut self, state: &'a Outgoing, sent: &'a Arc<AtomicU64>) -> Self {
        self.body = Payload::State(state, sent);
        self.header(CONTENT_TYPE, "application/json")
    }
}

impl Client {
    /// A client of `server`; [`Builder::build`] makes it.
    #[must_use]
    pub fn builder(server: Server) -> Builder {
        Builder {
            server,
            tokens: Arc::new(NoToken),
            retries: RetryPolicy::default(),
            agent: concat!("opentaco-sdk/", env!("CARGO_PKG_VERSION")).to_owned(),
            trusted: Vec::new(),
        }
    }

    /// The service it asks.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.inner.server
    }

    /// Asks until there is an answer that is no refusal, and reads it to its end.
    pub(crate) async fn ask(&self, call: Call<'_>) -> Result<Read, SdkError> {
        self.attempts(&call, async |answer: Answer| Read::of(answer).await)
            .await
    }

    /// The same, and notes whether an attempt that failed may have been heard.
    pub(crate) async fn ask_noting(&self, call: Call<'_>, doubted: &mut bool) -> Result<Read, SdkError> {
        self.attempts_noting(&call, doubted, async |answer: Answer| Read::of(answer).await)
            .await
    }

    /// Asks, and reads the answer as JSON.
    pub(crate) async fn ask_json<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, SdkError> {
        self.ask(call).await?.json()
    }

    /// Asks until `take` has taken an answer.
    ///
    /// What `take` fails with counts as an attempt that may have been heard. Once an attempt may have been heard, the
    /// service going away leaves the request in doubt, and the error is that attempt's: "nobody listens" would say that
    /// nothing was done.
    pub(crate) async fn attempts<T>(
        &self,
        call: &Call<'_>,
        take: impl AsyncFnMut(Answer) -> Result<T, SdkError>,
    ) -> Result<T, SdkError> {
        self.attempts_noting(call, &mut false, take).await
    }

    async fn attempts_noting<T>(
        &self,
        call: &Call<'_>,
        doubted: &mut bool,
        mut take: impl AsyncFnMut(Answer) -> Result<T, SdkError>,
    ) -> Result<T, SdkError> {
        let mut token = self.inner.tokens.token(&self.inner.server).await?;
        let mut renewed = false;
        let mut attempt = 1;
        let mut doubt = None;
        loop {
            let error = match self.once(call, token.as_ref()).await {
                Ok(response) => match take(Answer { response }).await {
                    Ok(taken) => return Ok(taken),
                    Err(error) => error,
                },
                Err(SdkError::NotAuthenticated { refusal }) if !renewed => {
                    renewed = true;
                    let other = match &token {
                        Some(refused) => self.inner.tokens.instead_of(&self.inner.server, refused).await?,
                        None => None,
                    };
                    if other.is_some() {
                        token = other;
                        continue;
                    }
                    SdkError::NotAuthenticated { refusal }
                }
                Err(error) => error,
            };
            let Some((heard, retry_after)) = error.passes() else {
                return Err(error);
            };
            let wait = self.inner.retries.wait_after(attempt, retry_after);
            let Some(wait) = wait.filter(|_| call.repeatable.after(heard)) else {
                return Err(match heard {
                    Heard::No => doubt.unwrap_or(error),
                    Heard::Perhaps => error,
                });
            };
            tracing::debug!(attempt, ?wait, error = %Chain(&error), "asking again");
            pause(wait).await;
            if heard == Heard::Perhaps {
                *doubted = true;
                doubt = Some(error);
            }
            attempt += 1;
        }
    }

    /// One attempt: an answer that is no refusal, or why there is none.
    async fn once(&self, call: &Call<'_>, token: Option<&Token>) -> Result<reqwest::Response, SdkError> {
        let started = Instant::now();
        let (request, sent) = self.request(call, token);
        let answer = until_idle(self.inner.http.execute(request), sent.as_deref()).await;
        let milliseconds = started.elapsed().as_millis();
        let (method, path) = (&call.method, &call.path);
        let response = match answer {
            Some(Ok(response)) => response,
            Some(Err(source)) => {
                tracing::info!(%method, path, milliseconds, "no answer");
                return Err(self.no_answer(source));
            }
            None => {
                tracing::info!(%method, path, milliseconds, "no answer");
                return Err(SdkError::TimedOut {
                    seconds: IDLE_PATIENCE.as_secs(),
                });
            }
        };
        let status = response.status();
        tracing::info!(%method, path, status = status.as_u16(), milliseconds, "asked");
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        if status.is_redirection() {
            let to = response.headers().get(LOCATION);
            return Err(SdkError::Redirected {
                to: to
                    .map(|to| String::from_utf8_lossy(to.as_bytes()).into_owned())
                    .unwrap_or_default(),
            });
        }
        let retry_after = retry_after(response.headers());
        let bytes = read_to_end(response, ANSWER_BYTES_MAX).await?;
        Err(SdkError::of_refusal(Refusal::read(status, retry_after, &bytes)))
    }

    fn request(&self, call: &Call<'_>, token: Option<&Token>) -> (reqwest::Request, Option<Arc<AtomicU64>>) {
        let mut url = self.inner.server.url(&call.path);
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        let mut request = reqwest::Request::new(call.method.clone(), url);
        *request.headers_mut() = call.headers.clone();
        request
            .headers_mut()
            .entry(ACCEPT)
            .or_insert(HeaderValue::from_static("application/json"));
        if let Some(token) = token {
            request.headers_mut().insert(AUTHORIZATION, token.header());
        }
        let mut counter = None;
        match &call.body {
            Payload::Nothing => {}
            Payload::Small(bytes) => *request.body_mut() = Some(bytes.clone().into()),
            Payload::State(state, sent) => {
                sent.store(0, Ordering::Relaxed);
                *request.body_mut() = Some(reqwest::Body::wrap(state.sending(Arc::clone(sent))));
                counter = Some(Arc::clone(sent));
            }
        }
        (request, counter)
    }

    fn no_answer(&self, source: reqwest::Error) -> SdkError {
        let server = self.inner.server.clone();
        let source = source.without_url();
        match source.is_connect() {
            true if blames_a_certificate(&source) => SdkError::Untrusted { server, source },
            true => SdkError::Unreachable { server, source },
            false => SdkError::Unanswered { server, source },
        }
    }

    /// The next piece of a body; none at its end.
    pub(crate) async fn next_piece(
        &self,
        response: &mut reqwest::Response,
    ) -> Result<Option<Bytes>, SdkError> {
        match tokio::time::timeout(IDLE_PATIENCE, response.chunk()).await {
            Ok(piece) => piece.map_err(|source| self.no_answer(source)),
            Err(_) => Err(SdkError::TimedOut {
                seconds: IDLE_PATIENCE.as_secs(),
            }),
        }
    }
}

/// An error with its causes, in one line.
struct Chain<'a>(&'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(formatter, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

/// Whether TLS gave up because of whom it met. Its error type is three libraries below; its words are what we have.
fn blames_a_certificate(error: &reqwest::Error) -> bool {
    Chain(error).to_string().contains("invalid peer certificate")
}

/// Waits for an answer as long as something moves.
async fn until_idle<T>(asked: impl Future<Output = T>, sent: Option<&AtomicU64>) -> Option<T> {
    let mut asked = std::pin::pin!(asked);
    let mut before = 0;
    loop {
        if let Ok(answer) = tokio::time::timeout(IDLE_PATIENCE, &mut asked).await {
            return Some(answer);
        }
        let now = sent.map_or(0, |sent| sent.load(Ordering::Relaxed));
        if now == before {
            return None;
        }
        before = now;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a client of the network waits in real time; the simulator does not run it"
)]
async fn pause(wait: Duration) {
    tokio::time::sleep(wait).await;
}

async fn read_to_end(mut response: reqwest::Response, bytes_max: usize) -> Result<Bytes, SdkError> {
    let mut all = BytesMut::new();
    loop {
        let Ok(piece) = tokio::time::timeout(IDLE_PATIENCE, response.chunk()).await else {
            return Err(SdkError::TimedOut {
                seconds: IDLE_PATIENCE.as_secs(),
            });
        };
        let Some(piece) = piece.map_err(|source| SdkError::CutOff {
            source: source.without_url(),
        })?
        else {
            return Ok(all.freeze());
        };
        if all.len() + piece.len() > bytes_max {
            return Err(SdkError::Unreadable {
                what: format!("an answer of more than {bytes_max} bytes"),
                source: None,
            });
        }
        all.extend_from_slice(&piece);
    }
}

/// `Retry-After` in seconds. The other spelling, a date, is left alone: clocks differ.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
