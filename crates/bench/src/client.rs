//! A client as Terraform is one: HTTP/1.1 on one connection that is kept, credentials with every request, and a
//! `Content-MD5` with every body.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use futures::stream;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentaco_domain::digest::md5_base64;
use tokio::net::TcpStream;

use crate::failure::{Doing, Failure};
use crate::service::TOKEN;
use crate::states::{Comparison, State};

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// One connection, about one unit.
#[derive(Debug)]
pub struct Client {
    sender: http1::SendRequest<Body>,
    address: String,
    credentials: HeaderValue,
    unit: String,
    locks: u64,
}

impl Client {
    /// Connects; `unit` is what it will ask for.
    ///
    /// # Errors
    /// If nobody listens.
    pub async fn connect(to: SocketAddr, unit: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(to).await.doing("connecting")?;
        stream.set_nodelay(true).doing("connecting")?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.doing("connecting")?;
        #[expect(
            clippy::disallowed_methods,
            reason = "a client's connection; nothing here is simulated"
        )]
        drop(tokio::spawn(connection));
        let credentials = HeaderValue::from_str(&format!("Bearer {TOKEN}")).doing("writing a header")?;
        Ok(Self {
            sender,
            address: to.to_string(),
            credentials,
            unit: unit.to_owned(),
            locks: 0,
        })
    }

    /// GET; how many bytes came.
    ///
    /// # Errors
    /// If it was not answered with a body.
    pub async fn read(&mut self) -> Result<u64, Failure> {
        let response = self.send(Method::GET, "", empty(), None).await?;
        drain(response).await
    }

    /// What it will ask for from now on.
    pub fn about(&mut self, unit: &str) {
        unit.clone_into(&mut self.unit);
    }

    /// POST under no lock.
    ///
    /// # Errors
    /// If it was not taken.
    pub async fn write_without_lock(&mut self, state: &State) -> Result<(), Failure> {
        let response = self.send(Method::POST, "", whole(state), Some(state)).await?;
        drain(response).await.map(drop)
    }

    /// GET of this path, whichever it is; how many bytes came.
    ///
    /// # Errors
    /// If it was not answered with a body.
    pub async fn read_at(&mut self, path: &str) -> Result<u64, Failure> {
        let response = self.send_to(Method::GET, path.to_owned(), empty(), None).await?;
        drain(response).await
    }

    /// How many requests of this kind the service has sent to its bucket so far, as `/metrics` tells.
    ///
    /// # Errors
    /// If it does not tell.
    pub async fn bucket_requests(&mut self, verb: &str) -> Result<f64, Failure> {
        let response = self
            .send_to(Method::GET, "/metrics".to_owned(), empty(), None)
            .await?;
        let text = response
            .into_body()
            .collect()
            .await
            .doing("reading /metrics")?
            .to_bytes();
        let verb = format!("verb=\"{verb}\"");
        let lines = std::str::from_utf8(&text).doing("reading /metrics")?.lines();
        let counts: Vec<f64> = lines
            .filter(|line| line.starts_with("opentaco_bucket_requests_total{") && line.contains(&verb))
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        if counts.is_empty() {
            return Err(Failure::new("/metrics does not tell the requests to the bucket"));
        }
        Ok(counts.iter().sum())
    }

    /// GET of what must be this very state.
    ///
    /// # Errors
    /// If it is another.
    pub async fn read_and_compare(&mut self, state: &State) -> Result<(), Failure> {
        let mut body = self.send(Method::GET, "", empty(), None).await?.into_body();
        let mut comparison = Comparison::new(state);
        while let Some(frame) = body.frame().await {
            let frame = frame.doing("reading a state")?;
            if frame.data_ref().is_some_and(|piece| !comparison.take(piece)) {
                return Err(Failure::new(
                    "a state that was read is not the one that was written",
                ));
            }
        }
        if comparison.is_complete() {
            Ok(())
        } else {
            Err(Failure::new("a state that was read is cut off"))
        }
    }

    /// POST under `lock`; when the last piece of the state left for the service.
    ///
    /// # Errors
    /// If it was not taken.
    pub async fn write(&mut self, state: &State, lock: &str) -> Result<Instant, Failure> {
        let left = Arc::new(OnceLock::new());
        let noted = Arc::clone(&left);
        let mut to_go = state.pieces.len();
        let frames = state.pieces.clone().into_iter().map(move |piece| {
            to_go -= 1;
            if to_go == 0 {
                noted.get_or_init(Instant::now);
            }
            Ok(Frame::data(piece))
        });
        let body = StreamBody::new(stream::iter(frames)).boxed_unsync();
        let response = self
            .send(Method::POST, &format!("?ID={lock}"), body, Some(state))
            .await?;
        drain(response).await?;
        Ok(*left.get_or_init(Instant::now))
    }

    /// An id that no lock had before.
    pub fn next_lock(&mut self) -> String {
        static CLIENTS: AtomicU64 = AtomicU64::new(0);
        if self.locks == 0 {
            // Clients are told apart by their number, and runs against one directory by the process id: a UUID locks once.
            self.locks = CLIENTS.fetch_add(1, Ordering::Relaxed) << 32;
        }
        self.locks += 1;
        format!("{:08x}-0000-4000-8000-{:012x}", std::process::id(), self.locks)
    }

    /// LOCK; the id to give back.
    ///
    /// # Errors
    /// If it was not granted.
    pub async fn lock(&mut self) -> Result<String, Failure> {
        let lock = self.next_lock();
        let info = note(&lock);
        let lock_method = Method::from_bytes(b"LOCK").expect("LOCK is a token");
        let response = self.send(lock_method, "", whole(&info), Some(&info)).await?;
        drain(response).await?;
        Ok(lock)
    }

    /// UNLOCK.
    ///
    /// # Errors
    /// If it was refused.
    pub async fn unlock(&mut self, lock: &str) -> Result<(), Failure> {
        let info = note(lock);
        let unlock_method = Method::from_bytes(b"UNLOCK").expect("UNLOCK is a token");
        let response = self.send(unlock_method, "", whole(&info), Some(&info)).await?;
        drain(response).await.map(drop)
    }

    /// Anything, with these headers and this body; what was answered with success.
    ///
    /// # Errors
    /// If it was refused.
    pub async fn ask(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(String, String)],
        body: Bytes,
    ) -> Result<Bytes, Failure> {
        let (status, answered) = self.status_of(method.clone(), path, headers, body).await?;
        match status.is_success() {
            true => Ok(answered),
            false => Err(Failure::new(format!(
                "{method} {path} was answered with {status}: {}",
                String::from_utf8_lossy(&answered)
            ))),
        }
    }

    /// Anything, as [`ask`](Self::ask) asks it; the status, whatever it is, and what was said.
    ///
    /// # Errors
    /// If there was no answer.
    pub async fn status_of(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(String, String)],
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let doing = || format!("{method} {path}");
        let mut request = Request::builder()
            .method(method.clone())
            .uri(path)
            .header(HOST, &self.address)
            .header(CONTENT_LENGTH, body.len());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body).boxed_unsync()).doing(doing())?;
        self.sender.ready().await.doing(doing())?;
        let response = self.sender.send_request(request).await.doing(doing())?;
        let status = response.status();
        let answered = response.into_body().collect().await.doing(doing())?.to_bytes();
        Ok((status, answered))
    }

    async fn send(
        &mut self,
        method: Method,
        query: &str,
        body: Body,
        sent: Option<&State>,
    ) -> Result<Response<Incoming>, Failure> {
        let path = format!("/v1/backend/{}{query}", self.unit);
        self.send_to(method, path, body, sent).await
    }

    async fn send_to(
        &mut self,
        method: Method,
        path: String,
        body: Body,
        sent: Option<&State>,
    ) -> Result<Response<Incoming>, Failure> {
        let doing = || format!("{method} {path}");
        let mut request = Request::builder()
            .method(method.clone())
            .uri(&path)
            .header(HOST, &self.address)
            .header(AUTHORIZATION, &self.credentials);
        if let Some(sent) = sent {
            request = request
                .header(CONTENT_LENGTH, sent.size)
                .header("content-type", "application/json")
                .header("content-md5", &sent.md5);
        }
        let request = request.body(body).doing(doing())?;
        self.sender.ready().await.doing(doing())?;
        let response = self.sender.send_request(request).await.doing(doing())?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        Err(Failure::new(format!(
            "{} was answered with {status}: {}",
            doing(),
            String::from_utf8_lossy(&body)
        )))
    }
}

async fn drain(response: Response<Incoming>) -> Result<u64, Failure> {
    let mut body = response.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame.doing("reading an answer")?.data_ref().map_or(0, Bytes::len) as u64;
    }
    Ok(bytes)
}

fn empty() -> Body {
    Empty::new().boxed_unsync()
}

fn whole(note: &State) -> Body {
    Full::new(note.whole()).boxed_unsync()
}

/// What Terraform says of itself when it locks.
pub(crate) fn note(lock: &str) -> State {
    let text = format!(
        r#"{{"ID":"{lock}","Operation":"OperationTypeApply","Info":"","Who":"bench@localhost","Version":"1.11.4","Created":"2026-11-22T12:00:00.000000000Z","Path":""}}"#
    );
    let bytes = Bytes::from(text);
    State {
        md5: md5_base64(&bytes),
        size: bytes.len(),
        pieces: vec![bytes],
    }
}
