//! What a refused or failed request is answered with: two texts, one for the client, one for the log.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde::Serialize;
use serde_json::{Map, Value};

/// A refusal or failure. As a response it is `{"error": code, "message": text, …}`.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    more: Map<String, Value>,
    cause: Option<String>,
}

/// What the log says about a problem, carried from the door to the layer that writes the line.
#[derive(Debug, Clone)]
pub struct Told {
    /// The problem in a word.
    pub code: &'static str,
    /// What lies behind it; never something a client sent.
    pub cause: Option<String>,
}

impl Problem {
    /// A problem that is wholly told by its text, which is for the client.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            more: Map::new(),
            cause: None,
        }
    }

    /// With what lies behind it, for the log alone.
    #[must_use]
    pub fn caused_by(mut self, cause: &(dyn std::error::Error + 'static)) -> Self {
        self.cause = Some(chain(cause));
        self
    }

    /// With another member in its body.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.more.insert(key.to_owned(), value.into());
        self
    }

    /// With the members of `body` beside its own.
    #[must_use]
    pub fn with_all(mut self, body: impl IntoIterator<Item = (String, Value)>) -> Self {
        self.more.extend(body);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Said<'a> {
            error: &'static str,
            message: &'a str,
            #[serde(flatten)]
            more: &'a Map<String, Value>,
        }
        let said = Said {
            error: self.code,
            message: &self.message,
            more: &self.more,
        };
        let body = serde_json::to_vec(&said).expect("texts and JSON values are JSON");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            // Terraform waits as long as this says before it tries again.
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(Told {
            code: self.code,
            cause: self.cause,
        });
        response
    }
}

/// An error with its causes, in one line.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
