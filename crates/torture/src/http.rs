//! HTTP for both proxies and for the clients: requests as they are, with their bodies in memory.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// A body that comes at once, or byte by byte.
pub type Body = BoxBody<Bytes, Infallible>;
/// An answer that has been read whole.
pub type Answer = Response<Bytes>;

/// The connection is cut without an answer.
#[derive(Debug)]
pub struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is cut")
    }
}

impl std::error::Error for Cut {}

/// Sends requests; connections are kept.
#[derive(Debug, Clone)]
pub struct Sender(Pool<HttpConnector, Full<Bytes>>);

impl Default for Sender {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(10))
            // Once is once: who repeats a request here would hide that a connection was cut.
            .retry_canceled_requests(false)
            .build(connector);
        Self(pool)
    }
}

impl Sender {
    /// One request, and its whole answer. None: there was none.
    pub async fn send(&self, request: Request<Bytes>) -> Option<Answer> {
        let (parts, body) = request.into_parts();
        let answer = self
            .0
            .request(Request::from_parts(parts, Full::new(body)))
            .await
            .ok()?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some(Response::from_parts(parts, body))
    }

    /// The same, to this port of loopback, and with the headers that were sent.
    pub async fn forward(&self, port: u16, request: &Request<Bytes>) -> Option<Answer> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let mut forwarded = Request::builder()
            .method(request.method().clone())
            .uri(format!("http://127.0.0.1:{port}{path}").parse::<Uri>().ok()?)
            .body(request.body().clone())
            .ok()?;
        *forwarded.headers_mut() = request.headers().clone();
        for header in [CONNECTION, TRANSFER_ENCODING] {
            forwarded.headers_mut().remove(header);
        }
        if !request.body().is_empty() || request.method() == Method::PUT || request.method() == Method::POST {
            forwarded
                .headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from(request.body().len()));
        }
        self.send(forwarded).await
    }
}

/// Answers every request on this listener by `handle`, until the runtime ends.
pub fn serve<F, W>(listener: TcpListener, handle: F)
where
    F: Fn(Request<Bytes>) -> W + Send + Sync + 'static,
    W: Future<Output = Result<Response<Body>, Cut>> + Send + 'static,
{
    let handle = Arc::new(handle);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let handle = Arc::clone(&handle);
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let handle = Arc::clone(&handle);
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
                        handle(Request::from_parts(parts, body)).await
                    }
                });
                // A client that hangs up, or whom we cut off, is nothing to tell of.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
}

/// A listener on a free port of loopback, and that port.
///
/// # Errors
/// If there is none.
pub async fn listen() -> io::Result<(TcpListener, u16)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// An answer, at once or in pieces with pauses between them.
#[must_use]
pub fn handed_on(answer: Answer, slowly: bool) -> Response<Body> {
    let (mut parts, bytes) = answer.into_parts();
    parts.headers.remove(TRANSFER_ENCODING);
    parts.headers.remove(CONNECTION);
    let body = match slowly && bytes.len() > 1 {
        false => Full::new(bytes).boxed(),
        true => {
            let piece = (bytes.len() / 8).max(1);
            let pieces: Vec<Bytes> = bytes.chunks(piece).map(Bytes::copy_from_slice).collect();
            let trickle = stream::unfold(pieces.into_iter(), |mut left| async move {
                let next = left.next()?;
                tokio::time::sleep(Duration::from_millis(20)).await;
                Some((Ok(Frame::data(next)), left))
            });
            StreamBody::new(trickle).boxed()
        }
    };
    Response::from_parts(parts, body)
}
