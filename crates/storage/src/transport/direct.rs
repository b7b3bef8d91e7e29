//! One HTTP request, made once, and given up when nothing moves any more.
//!
//! `object_store` could bring its own client. This one differs in three ways, each for a promise:
//!
//! - **It follows no redirect.** A PUT that is redirected becomes a GET, whose 200 would pass for the PUT's: a write
//!   acknowledged that never was.
//! - **It repeats nothing**, not even what HTTP would allow: whoever asked knows what may be asked twice.
//! - **Its time-out is on silence, not on the whole.** A body of 1 GiB takes as long as it takes, while a server that
//!   neither takes nor gives anything is given up. (`reqwest`'s read time-out also runs while a body is being sent.)

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{
    HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody, HttpService,
};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

/// How much of a body is handed to the connection at a time; each hand-over shows that the server is still taking.
const PIECE: usize = 256 * 1024;

/// How long what may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Until there is a connection.
    pub(super) connect: Duration,
    /// Without anything sent or received. The last pieces of a body wait in buffers on the way (4 MiB or so) while
    /// nothing seems to move, and a slow line needs half a minute for them.
    pub(super) silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            silence: Duration::from_secs(60),
        }
    }
}

/// The client that makes the requests.
#[derive(Debug)]
pub(super) struct Direct {
    client: reqwest::Client,
    silence: Duration,
}

impl Direct {
    /// A client with connections of its own.
    pub(super) fn new(patience: Patience, allow_http: bool) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("opentaco/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(patience.connect)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .https_only(!allow_http)
            // One connection each: as fast on a bucket, and requests do not wait for each other's bodies.
            .http1_only()
            // A body that was unpacked on the way has another length than the object.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .build()?;
        Ok(Self {
            client,
            silence: patience.silence,
        })
    }
}

#[async_trait]
impl HttpService for Direct {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string().parse().map_err(|error| {
            HttpError::new(HttpErrorKind::Unknown, io::Error::other(format!("{error:?}")))
        })?;
        let mut outgoing = reqwest::Request::new(parts.method, url);
        *outgoing.headers_mut() = parts.headers;
        let moved = Moved::now();
        if body.content_length() > 0 {
            *outgoing.body_mut() = Some(reqwest::Body::wrap(Pieces {
                body,
                rest: Bytes::new(),
                moved: moved.clone(),
            }));
        } else {
            *outgoing.body_mut() = Some(reqwest::Body::from(Bytes::new()));
        }
        let answer = while_it_moves(self.client.execute(outgoing), &moved, self.silence)
            .await?
            .map_err(told)?;
        let (parts, body) = http::Response::<reqwest::Body>::from(answer).into_parts();
        let body = HttpResponseBody::new(Heard {
            body,
            silence: self.silence,
            waiting: None,
        });
        Ok(HttpResponse::from_parts(parts, body))
    }
}

/// When something last moved.
#[derive(Clone)]
struct Moved(Arc<Mutex<Instant>>);

impl Moved {
    fn now() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn mark(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for `answer` as long as something moves.
async fn while_it_moves<T>(
    answer: impl Future<Output = T>,
    moved: &Moved,
    silence: Duration,
) -> Result<T, HttpError> {
    let mut answer = std::pin::pin!(answer);
    loop {
        let until = moved.last() + silence;
        match timeout_at(until, &mut answer).await {
            Ok(answer) => return Ok(answer),
            Err(_) if moved.last() + silence > until => {}
            Err(_) => return Err(silent(silence)),
        }
    }
}

fn silent(silence: Duration) -> HttpError {
    let text = format!(
        "the server neither took nor gave anything for {} s",
        silence.as_secs_f32()
    );
    HttpError::new(
        HttpErrorKind::Timeout,
        io::Error::new(io::ErrorKind::TimedOut, text),
    )
}

/// A body on its way out, piece by piece.
struct Pieces {
    body: HttpRequestBody,
    rest: Bytes,
    moved: Moved,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        self.moved.mark();
        while self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                other => return other,
            }
        }
        let piece = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let hint = self.body.size_hint();
        let mut whole = SizeHint::new();
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + rest);
        }
        whole.set_lower(hint.lower() + rest);
        whole
    }
}

/// A body on its way in. A reader may take its time; the server may not.
struct Heard {
    body: reqwest::Body,
    silence: Duration,
    /// Set while we wait for the server.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Body for Heard {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.waiting = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(told)));
        }
        let silence = this.silence;
        let waiting = this
            .waiting
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + silence)));
        waiting.poll_unpin(context).map(|()| Some(Err(silent(silence))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What `reqwest` says, in the words of `object_store`; without the address, which may hold a signature.
fn told(error: reqwest::Error) -> HttpError {
    let kind = if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_decode() {
        HttpErrorKind::Decode
    } else {
        let mut cause = error.source();
        loop {
            let Some(error) = cause else {
                break HttpErrorKind::Unknown;
            };
            if let Some(error) = error.downcast_ref::<HttpError>() {
                break error.kind();
            }
            if error.is::<io::Error>() {
                break HttpErrorKind::Interrupted;
            }
            cause = error.source();
        }
    };
    HttpError::new(kind, error.without_url())
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use http_body_util::BodyExt;
    use object_store::PutPayload;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const SHORT: Patience = Patience {
        connect: Duration::from_secs(5),
        silence: Duration::from_millis(200),
    };

    /// A server for one connection, which does as told.
    async fn server<F: Future<Output = ()> + Send>(
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        #[expect(clippy::disallowed_methods, reason = "a server for one test")]
        tokio::spawn(async move {
            let (connection, _) = listener.accept().await.unwrap();
            serve(connection).await;
        });
        format!("http://{address}/key")
    }

    async fn headers(connection: &mut TcpStream) -> String {
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n\r\n") {
            heard.push(connection.read_u8().await.unwrap());
        }
        String::from_utf8(heard).unwrap().to_ascii_lowercase()
    }

    fn request(method: &str, url: &str, body: impl Into<HttpRequestBody>) -> HttpRequest {
        http::Request::builder()
            .method(method)
            .uri(url)
            .body(body.into())
            .unwrap()
    }

    async fn call(patience: Patience, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        Direct::new(patience, true).unwrap().call(request).await
    }

    #[tokio::test]
    async fn a_redirected_put_is_not_answered_by_a_get() {
        let url = server(async |mut connection| {
            headers(&mut connection).await;
            let answer = "HTTP/1.1 301 Moved\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n";
            connection.write_all(answer.as_bytes()).await.unwrap();
            // Somebody who followed would find success here.
            if connection.read_u8().await.is_ok() {
                connection
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .await
                    .unwrap();
            }
        })
        .await;
        let answer = call(Patience::default(), request("PUT", &url, Bytes::new()))
            .await
            .unwrap();
        assert_eq!(answer.status(), 301);
    }

    #[tokio::test]
    async fn a_body_announces_its_length_and_arrives_whole() {
        let body: Bytes = (0..3 * PIECE + 5).map(|at| (at % 251) as u8).collect();
        let expected = body.clone();
        let url = server(async move |mut connection| {
            let headers = headers(&mut connection).await;
            assert!(
                headers.contains(&format!("content-length: {}", expected.len())),
                "{headers}"
            );
            let mut heard = vec![0; expected.len()];
            connection.read_exact(&mut heard).await.unwrap();
            let answer = if heard == expected {
                "200 OK"
            } else {
                "400 Other bytes"
            };
            let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
            connection.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let payload = PutPayload::from_iter([body.slice(..7), body.slice(7..7), body.slice(7..)]);
        let mut request = request("PUT", &url, payload);
        request.headers_mut().insert("content-length", body.len().into());
        assert_eq!(call(Patience::default(), request).await.unwrap().status(), 200);
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_given_up() {
        let url = server(async |mut connection| {
            headers(&mut connection).await;
            pending::<()>().await;
        })
        .await;
        let given_up = call(SHORT, request("GET", &url, Bytes::new())).await.unwrap_err();
        assert_eq!(given_up.kind(), HttpErrorKind::Timeout);
    }

    #[tokio::test]
    async fn a_server_that_stops_in_the_middle_of_its_answer_is_given_up() {
        let url = server(async |mut connection| {
            headers(&mut connection).await;
            connection
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
                .await
                .unwrap();
            pending::<()>().await;
        })
        .await;
        let answer = call(SHORT, request("GET", &url, Bytes::new())).await.unwrap();
        let mut body = answer.into_body().bytes_stream();
        use futures::StreamExt;
        assert_eq!(body.next().await.unwrap().unwrap(), "half");
        assert_eq!(
            body.next().await.unwrap().unwrap_err().kind(),
            HttpErrorKind::Timeout
        );
    }

    #[tokio::test]
    async fn a_connection_that_breaks_is_no_answer_and_no_time_out() {
        let url = server(async |mut connection| {
            headers(&mut connection).await;
        })
        .await;
        let broken = call(Patience::default(), request("GET", &url, Bytes::new()))
            .await
            .unwrap_err();
        assert_ne!(broken.kind(), HttpErrorKind::Timeout);
        assert_ne!(broken.kind(), HttpErrorKind::Connect);
    }

    #[tokio::test]
    async fn nobody_listening_means_the_request_never_left() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/key", listener.local_addr().unwrap());
        drop(listener);
        let refused = call(Patience::default(), request("GET", &url, Bytes::new()))
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), HttpErrorKind::Connect);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_keeps_moving_may_take_longer_than_the_silence() {
        let silence = Duration::from_secs(60);
        let moved = Moved::now();
        let slow = async {
            for _ in 0..10 {
                tokio::time::advance(Duration::from_secs(50)).await;
                moved.mark();
            }
        };
        assert!(while_it_moves(slow, &moved, silence).await.is_ok());
        let stuck = while_it_moves(pending::<()>(), &moved, silence).await;
        assert_eq!(stuck.unwrap_err().kind(), HttpErrorKind::Timeout);
    }

    #[tokio::test]
    async fn a_body_is_handed_over_in_pieces_so_that_progress_shows() {
        let body = HttpRequestBody::from(Bytes::from(vec![7; 2 * PIECE + 1]));
        let mut pieces = Pieces {
            body,
            rest: Bytes::new(),
            moved: Moved::now(),
        };
        let mut sizes = Vec::new();
        while let Some(frame) = pieces.frame().await {
            sizes.push(frame.unwrap().into_data().unwrap().len());
        }
        assert_eq!(sizes, [PIECE, PIECE, 1]);
    }
}
