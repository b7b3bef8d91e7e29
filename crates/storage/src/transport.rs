//! What goes over the wire to a cloud store: every request counted, none repeated, and listings that survive keys no
//! path can be made of.
//!
//! `object_store` builds its HTTP clients through a connector; this is ours. A request passes through three hands:
//! it is counted with what became of it, a page of a listing is sifted (`sift.rs`) on its way back, and below that is
//! the connection itself (`direct.rs`). Nothing but a listing is ever changed.

mod direct;
mod sift;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use http::header::CONTENT_LENGTH;
use http::{Method, StatusCode};
use object_store::client::{
    ClientConfigKey, ClientOptions, HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse,
    HttpService,
};
use object_store::{Error, ObjectMeta, Result};

use crate::open::{HttpCounts, Outcome};
use direct::{Direct, Patience};
use sift::{Dialect, Sifted};

/// How many different sets of skipped keys are remembered, so as to warn of each once.
const WARNINGS_MAX: usize = 1024;
/// How many skipped keys a warning names.
const NAMED_MAX: usize = 5;

/// Rides on a listing request to Azure: the prefix that was asked for, so that [`NamedLikeThePrefix`] can be found.
#[derive(Debug, Clone)]
pub(crate) struct AskedPrefix(pub(crate) String);

/// Rides on the answer: the one object `object_store` would drop for being called exactly like the prefix.
#[derive(Debug, Clone)]
pub(crate) struct NamedLikeThePrefix(pub(crate) ObjectMeta);

/// Makes the HTTP clients of a cloud store.
#[derive(Debug, Clone)]
pub struct Connector {
    counts: Arc<HttpCounts>,
}

impl Connector {
    /// A connector whose clients count into `counts`.
    #[must_use]
    pub fn new(counts: Arc<HttpCounts>) -> Self {
        Self { counts }
    }
}

impl HttpConnector for Connector {
    /// A client of our own making; of the options, only whether plain http is allowed is heeded.
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient> {
        let allow_http = options
            .get_config_value(&ClientConfigKey::AllowHttp)
            .is_some_and(|value| value == "true");
        let direct = Direct::new(Patience::default(), allow_http).map_err(|source| Error::Generic {
            store: "HTTP",
            source: Box::new(source),
        })?;
        Ok(HttpClient::new(Counted::over(
            HttpClient::new(direct),
            Arc::clone(&self.counts),
        )))
    }
}

/// A client whose requests are counted and whose listings are sifted.
#[derive(Debug)]
struct Counted {
    inner: HttpClient,
    counts: Arc<HttpCounts>,
    warned: Mutex<HashSet<u64>>,
}

impl Counted {
    fn over(inner: HttpClient, counts: Arc<HttpCounts>) -> Self {
        Self {
            inner,
            counts,
            warned: Mutex::default(),
        }
    }

    /// The answer to a listing, with what cannot be named taken out.
    async fn sifted(
        &self,
        answer: HttpResponse,
        dialect: Dialect,
        prefix: Option<AskedPrefix>,
    ) -> Result<HttpResponse, HttpError> {
        let (mut parts, body) = answer.into_parts();
        let mut page = body.bytes().await?;
        if let Some(AskedPrefix(prefix)) = prefix
            && let Some(meta) = sift::named_like_the_prefix(&page, &prefix)
        {
            parts.extensions.insert(NamedLikeThePrefix(meta));
        }
        if let Some(Sifted { page: left, skipped }) = sift::sift(&page, dialect) {
            self.counts.skip(skipped.len() as u64);
            self.warn(&skipped);
            if parts.headers.contains_key(CONTENT_LENGTH) {
                parts.headers.insert(CONTENT_LENGTH, left.len().into());
            }
            page = left;
        }
        Ok(HttpResponse::from_parts(parts, page.into()))
    }

    /// Warns once of each set of keys: the same listing is asked for again and again.
    fn warn(&self, skipped: &[String]) {
        let mut hasher = DefaultHasher::new();
        skipped.hash(&mut hasher);
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.len() < WARNINGS_MAX && warned.insert(hasher.finish()) {
            let keys = &skipped[..skipped.len().min(NAMED_MAX)];
            let count = skipped.len();
            tracing::warn!(
                count,
                ?keys,
                "the bucket holds keys that no unit can have; listings leave them out"
            );
        }
    }
}

#[async_trait]
impl HttpService for Counted {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let listing = listing(request.method(), request.uri().query().unwrap_or_default());
        let prefix = request.extensions().get::<AskedPrefix>().cloned();
        let fate = Fate {
            counts: &self.counts,
            method: request.method().clone(),
            outcome: Outcome::Abandoned,
        };
        match self.inner.execute(request).await {
            Ok(answer) => {
                fate.is(Outcome::of(answer.status()));
                match listing {
                    Some(dialect) if answer.status().is_success() => {
                        self.sifted(answer, dialect, prefix).await
                    }
                    _ => Ok(answer),
                }
            }
            Err(error) => {
                fate.is(Outcome::Unanswered);
                Err(error)
            }
        }
    }
}

/// Counts a request when it is over, also if that is because nobody waits for it any more.
struct Fate<'a> {
    counts: &'a HttpCounts,
    method: Method,
    outcome: Outcome,
}

impl Fate<'_> {
    fn is(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Fate<'_> {
    fn drop(&mut self) {
        self.counts.count(self.method.as_str(), self.outcome);
    }
}

impl Outcome {
    fn of(status: StatusCode) -> Self {
        if status.is_success() {
            Self::Done
        } else if status.is_server_error() {
            Self::Failed
        } else {
            Self::Refused
        }
    }
}

/// Whether a request is for a page of a listing, and whose.
fn listing(method: &Method, query: &str) -> Option<Dialect> {
    if method != Method::GET {
        return None;
    }
    query.split('&').find_map(|pair| match pair {
        "list-type=2" => Some(Dialect::S3),
        "comp=list" => Some(Dialect::Azure),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use http::Response;
    use object_store::client::{HttpErrorKind, HttpRequestBody};

    use super::*;

    const PAGE: &str = "<ListBucketResult><KeyCount>2</KeyCount><Contents><Key>a//b</Key></Contents><Contents><Key>c</Key></Contents></ListBucketResult>";
    const SIFTED: &str =
        "<ListBucketResult><KeyCount>1</KeyCount><Contents><Key>c</Key></Contents></ListBucketResult>";

    /// A server that answers every request with this.
    #[derive(Debug)]
    enum Server {
        Says(u16, &'static str),
        Breaks,
        Hangs,
    }

    #[async_trait]
    impl HttpService for Server {
        async fn call(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
            match self {
                Self::Says(status, body) => Ok(Response::builder()
                    .status(*status)
                    .header(CONTENT_LENGTH, body.len())
                    .body((*body).to_owned().into())
                    .unwrap()),
                Self::Breaks => Err(HttpError::new(
                    HttpErrorKind::Interrupted,
                    std::io::Error::other("cut"),
                )),
                Self::Hangs => pending().await,
            }
        }
    }

    fn client(server: Server) -> (Counted, Arc<HttpCounts>) {
        let counts = Arc::new(HttpCounts::default());
        (
            Counted::over(HttpClient::new(server), Arc::clone(&counts)),
            counts,
        )
    }

    fn request(method: &str, url: &str) -> HttpRequest {
        http::Request::builder()
            .method(method)
            .uri(url)
            .body(HttpRequestBody::empty())
            .unwrap()
    }

    async fn text(answer: HttpResponse) -> String {
        String::from_utf8(answer.into_body().bytes().await.unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn every_request_is_counted_with_what_became_of_it() {
        for (server, outcome) in [
            (Server::Says(200, ""), Outcome::Done),
            (Server::Says(304, ""), Outcome::Refused),
            (Server::Says(301, ""), Outcome::Refused),
            (Server::Says(412, ""), Outcome::Refused),
            (Server::Says(503, ""), Outcome::Failed),
            (Server::Breaks, Outcome::Unanswered),
        ] {
            let (client, counts) = client(server);
            let _ = client.call(request("PUT", "http://s/b/k")).await;
            assert_eq!(counts.requests(), [(("PUT".to_owned(), outcome), 1)].into());
        }
    }

    #[tokio::test]
    async fn a_request_nobody_waits_for_any_more_is_counted_too() {
        let (client, counts) = client(Server::Hangs);
        {
            let mut call = std::pin::pin!(client.call(request("PUT", "http://s/b/k")));
            assert!(futures::poll!(&mut call).is_pending());
            assert_eq!(counts.total(), 0);
        }
        assert_eq!(
            counts.requests(),
            [(("PUT".to_owned(), Outcome::Abandoned), 1)].into()
        );
        assert_eq!(counts.of("PUT"), 1);
        assert_eq!(counts.of("GET"), 0);
    }

    #[tokio::test]
    async fn a_page_of_a_listing_is_sifted_and_its_length_told_anew() {
        let (client, counts) = client(Server::Says(200, PAGE));
        let answer = client
            .call(request("GET", "http://s/b?list-type=2&prefix=a%2F"))
            .await
            .unwrap();
        assert_eq!(
            answer.headers()[CONTENT_LENGTH],
            SIFTED.len().to_string().as_str()
        );
        assert_eq!(text(answer).await, SIFTED);
        assert_eq!(counts.skipped(), 1);
    }

    #[tokio::test]
    async fn what_is_not_a_successful_listing_comes_through_as_it_is() {
        for (status, method, url) in [
            (200, "GET", "http://s/b/list-type=2"),
            (200, "GET", "http://s/b/key?x-id=list-type=2"),
            (200, "GET", "http://s/b/key"),
            (200, "PUT", "http://s/b?list-type=2"),
            (404, "GET", "http://s/b?list-type=2"),
            (200, "GET", "http://s/b?restype=container&comp=list"),
        ] {
            let (client, counts) = client(Server::Says(status, PAGE));
            let answer = client.call(request(method, url)).await.unwrap();
            assert_eq!(answer.headers()[CONTENT_LENGTH], PAGE.len().to_string().as_str());
            assert_eq!(text(answer).await, PAGE, "{status} {method} {url}");
            assert_eq!(counts.skipped(), 0);
        }
    }

    #[tokio::test]
    async fn the_blob_called_like_the_prefix_rides_on_the_answer() {
        let page = "<EnumerationResults><Blobs><Blob><Name>a</Name><Properties><Last-Modified>Thu, 01 Jul 2021 10:45:02 GMT</Last-Modified><Content-Length>8</Content-Length></Properties></Blob></Blobs></EnumerationResults>";
        let (client, _) = client(Server::Says(200, page));
        let mut asked = request("GET", "http://s/c?restype=container&comp=list&prefix=a");
        asked.extensions_mut().insert(AskedPrefix("a".to_owned()));
        let answer = client.call(asked).await.unwrap();
        let NamedLikeThePrefix(meta) = answer.extensions().get().unwrap();
        assert_eq!((meta.location.as_ref(), meta.size), ("a", 8));
    }

    #[tokio::test]
    async fn the_same_skipped_keys_are_warned_of_once() {
        let (client, counts) = client(Server::Says(200, PAGE));
        for _ in 0..3 {
            client
                .call(request("GET", "http://s/b?list-type=2"))
                .await
                .unwrap();
        }
        assert_eq!(counts.skipped(), 3);
        assert_eq!(client.warned.lock().unwrap().len(), 1);
        client.warn(&["another//key".to_owned()]);
        assert_eq!(client.warned.lock().unwrap().len(), 2);
    }
}
