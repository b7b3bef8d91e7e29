//! How a provider's documents are fetched.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, Response, Url};

/// The largest document taken. Real ones have some kilobytes.
const BYTES_MAX: usize = 1024 * 1024;

/// A person waits for their login meanwhile.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A provider that moved leaves one behind, or two.
const REDIRECTS_MAX: usize = 3;

/// Fetches documents; over HTTP, or from where a test keeps them.
#[async_trait]
pub trait Fetch: Send + Sync + Debug {
    /// The document at `url`.
    ///
    /// # Errors
    /// If it cannot be had.
    async fn fetch(&self, url: &str) -> Result<Vec<u8>, FetchError>;
}

/// A document could not be had. The text says why, for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {reason}")]
pub struct FetchError {
    /// Which document.
    pub url: String,
    /// Why not.
    pub reason: String,
}

/// Fetches over HTTP, with limits on time and size. A redirect never leads from `https` to `http`.
#[derive(Debug, Clone)]
pub struct HttpFetch(Client);

impl HttpFetch {
    /// Fetches with the platform's roots of trust and the proxy that the environment names.
    ///
    /// # Errors
    /// If the platform's TLS cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .timeout(TIMEOUT)
            .redirect(Policy::custom(follow_if_fair))
            .build()?;
        Ok(Self(client))
    }
}

fn follow_if_fair(redirect: Attempt<'_>) -> Action {
    if is_fair(redirect.previous(), redirect.url()) {
        redirect.follow()
    } else {
        redirect.stop()
    }
}

/// A few hops, none of which leaves TLS.
fn is_fair(so_far: &[Url], next: &Url) -> bool {
    let leaves_tls = next.scheme() != "https" && so_far.iter().any(|url| url.scheme() == "https");
    so_far.len() <= REDIRECTS_MAX && !leaves_tls
}

#[async_trait]
impl Fetch for HttpFetch {
    async fn fetch(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let failed = |reason: String| FetchError {
            url: url.to_owned(),
            reason,
        };
        let response = self
            .0
            .get(url)
            .send()
            .await
            .map_err(|error| failed(told(&error)))?;
        if !response.status().is_success() {
            return Err(failed(format!("answered {}", response.status())));
        }
        body(response).await.map_err(failed)
    }
}

async fn body(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| told(&error))? {
        if body.len() + chunk.len() > BYTES_MAX {
            return Err(format!("the document is larger than {BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The innermost cause: the outer ones repeat the address.
fn told(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What is fetched from a server that answers these, one request each, and then is gone.
    async fn fetched(answers: &[String]) -> Result<Vec<u8>, FetchError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let answering = async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                assert_ne!(stream.read(&mut request).await.unwrap(), 0);
                // A client that has seen enough hangs up.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        };
        let fetch = HttpFetch::new().unwrap();
        tokio::join!(fetch.fetch(&url), answering).0
    }

    fn answer(status: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    #[tokio::test]
    async fn a_document_is_fetched() {
        assert_eq!(fetched(&[answer("200 OK", "{}")]).await.unwrap(), b"{}");
    }

    #[tokio::test]
    async fn an_error_is_no_document() {
        let refused = fetched(&[answer("503 Service Unavailable", "{}")])
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("503"), "{refused}");
        assert!(fetched(&[answer("404 Not Found", "{}")]).await.is_err());
    }

    #[tokio::test]
    async fn a_document_without_an_end_is_not_waited_for() {
        let refused = fetched(&[answer("200 OK", &"x".repeat(BYTES_MAX + 1))])
            .await
            .unwrap_err();
        assert!(refused.reason.contains("larger"), "{refused}");
    }

    #[tokio::test]
    async fn redirects_are_followed_a_few_times() {
        let moved = "HTTP/1.1 302 Found\r\nLocation: /keys\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let mut answers = vec![moved.to_owned(); REDIRECTS_MAX];
        answers.push(answer("200 OK", "{}"));
        assert!(fetched(&answers).await.is_ok());
        answers[REDIRECTS_MAX] = moved.to_owned();
        let refused = fetched(&answers).await.unwrap_err();
        assert!(refused.to_string().contains("302"), "{refused}");
    }

    #[test]
    fn a_redirect_does_not_leave_tls() {
        let url = |text: &str| Url::parse(text).unwrap();
        let (safe, open) = (url("https://a.example.com/"), url("http://a.example.com/"));
        assert!(is_fair(std::slice::from_ref(&safe), &safe));
        assert!(is_fair(std::slice::from_ref(&open), &safe));
        assert!(is_fair(std::slice::from_ref(&open), &open));
        assert!(!is_fair(std::slice::from_ref(&safe), &open));
        assert!(!is_fair(&[open.clone(), safe], &open));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_an_error_with_its_reason() {
        let refused = HttpFetch::new()
            .unwrap()
            .fetch("http://127.0.0.1:1/keys")
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("refused"), "{refused}");
    }
}
