//! What a refused or failed request is answered with: two texts, one for the client, one for the log.
//!
//! [`Problem::of`] holds the one table of what becomes of a [`ControlError`]. A door starts from its answer, and says
//! only what its own clients have to be told otherwise.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use opentaco_api::ErrorCode;
use opentaco_control::ControlError;
use serde::Serialize;
use serde_json::{Map, Value};

/// A refusal or failure. As a response it is `{"error": code, "message": text, …}`.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: ErrorCode,
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
    pub fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            more: Map::new(),
            cause: None,
        }
    }

    /// What becomes of an operation that was refused or failed, in the words that every door shares.
    #[must_use]
    pub fn of(error: &ControlError) -> Self {
        let (status, code) = answer(error);
        let mut problem = Self::new(status, code, error.to_string());
        problem.cause = std::error::Error::source(error).map(chain);
        match error {
            ControlError::NotHolder { kept: Some(id), .. }
            | ControlError::Late { kept: Some(id), .. }
            | ControlError::DeletedMeanwhile { kept: Some(id), .. } => problem.with("kept", id.as_str()),
            ControlError::Conflict {
                current: Some(version),
                ..
            } => problem.with("current", version.to_string()),
            ControlError::Saved { version, .. } => problem.with("saved_version", version.to_string()),
            _ => problem,
        }
    }

    /// With another text for the client.
    #[must_use]
    pub fn saying(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
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
            error: self.code.as_str(),
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
            code: self.code.as_str(),
            cause: self.cause,
        });
        response
    }
}

/// What became of an operation in a word, the same at every door.
pub(crate) fn word_for(error: &ControlError) -> &'static str {
    answer(error).1.as_str()
}

/// Every way to be refused, and what becomes of it. What was decided is a 4xx; 503 is for what the client may well try
/// again, and it does.
fn answer(error: &ControlError) -> (StatusCode, ErrorCode) {
    match error {
        ControlError::Forbidden { .. } => (StatusCode::FORBIDDEN, ErrorCode::Forbidden),
        ControlError::Locked { .. } => (StatusCode::CONFLICT, ErrorCode::Locked),
        ControlError::NotHolder { .. } => (StatusCode::CONFLICT, ErrorCode::NotHolder),
        ControlError::LockOver { .. } => (StatusCode::GONE, ErrorCode::LockOver),
        ControlError::Late { .. } => (StatusCode::CONFLICT, ErrorCode::Late),
        ControlError::Conflict { .. } => (StatusCode::PRECONDITION_FAILED, ErrorCode::VersionConflict),
        ControlError::OtherLineage { .. } => (StatusCode::CONFLICT, ErrorCode::OtherLineage),
        ControlError::OlderSerial { .. } => (StatusCode::CONFLICT, ErrorCode::OlderSerial),
        ControlError::Protected { .. } => (StatusCode::CONFLICT, ErrorCode::Protected),
        ControlError::Encrypted { .. } => (StatusCode::CONFLICT, ErrorCode::Encrypted),
        ControlError::GraphUnreadable { .. } => (StatusCode::CONFLICT, ErrorCode::GraphUnreadable),
        ControlError::DeletedMeanwhile { .. } => (StatusCode::CONFLICT, ErrorCode::Deleted),
        ControlError::NoState { .. } => (StatusCode::NOT_FOUND, ErrorCode::NoState),
        ControlError::NotFound { .. } => (StatusCode::NOT_FOUND, ErrorCode::NotFound),
        ControlError::AlreadyExists { .. } => (StatusCode::CONFLICT, ErrorCode::AlreadyExists),
        ControlError::Invalid { .. } => (StatusCode::BAD_REQUEST, ErrorCode::Invalid),
        ControlError::Saved { .. } => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Saved),
        ControlError::Unwritten(_)
        | ControlError::PolicyUnreadable { .. }
        | ControlError::Unavailable { .. }
        | ControlError::Corrupt { .. }
        | ControlError::Unopened { .. } => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable),
    }
}

/// An error with its causes, in one line.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
