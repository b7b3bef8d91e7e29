//! What an S3 client is told when it cannot have what it asked for: a code that it branches on, and a sentence for people.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderName, StatusCode};
use opentaco_control::ControlError;
use opentaco_identity::sigv4::NotSigned;
use serde::Serialize;

use crate::bodies::BodyError;
use crate::problem::{Told, chain, word_for};
use crate::s3::xml;

/// A refusal or failure in S3's dialect.
#[derive(Debug)]
pub struct Refused {
    code: Code,
    message: String,
    /// What the log and the metrics call it, where every door has the same word.
    word: Option<&'static str>,
    cause: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

macro_rules! codes {
    ($($name:ident $status:ident $meaning:literal;)*) => {
        /// The codes of S3 that are told here, as clients know them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $(#[doc = $meaning] $name,)*
        }

        impl Code {
            /// All of them, each with what it means here: the page for people is held against it.
            pub const ALL: &[(Self, &'static str)] = &[$((Self::$name, $meaning),)*];

            /// As it stands in an answer.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// The status that goes with it.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self {
                    $(Self::$name => StatusCode::$status,)*
                }
            }
        }
    };
}

codes! {
    AccessDenied FORBIDDEN "The request is not signed, or may not do this, or the key is none that this bucket holds.";
    AuthorizationHeaderMalformed BAD_REQUEST "What should say who signed cannot be read.";
    AuthorizationQueryParametersError BAD_REQUEST "What should say in a presigned address who signed cannot be read.";
    BadDigest BAD_REQUEST "A checksum or the MD5 that was sent is not that of the body.";
    ConditionalRequestConflict CONFLICT "Too many others write the same unit at this moment.";
    EntityTooLarge BAD_REQUEST "The state is larger than the service takes (-max-body-size).";
    EntityTooSmall BAD_REQUEST "A part that is not the last one has less than 5 MiB.";
    ExpiredToken BAD_REQUEST "The credentials have expired.";
    IncompleteBody BAD_REQUEST "The body is shorter or longer than was announced.";
    InternalError INTERNAL_SERVER_ERROR "The service or the bucket below it made a mistake; the log has it under the request id.";
    InvalidAccessKeyId FORBIDDEN "The credentials are none of this service.";
    InvalidArgument BAD_REQUEST "A part of the address or a header cannot be meant.";
    InvalidDigest BAD_REQUEST "Content-MD5 or a checksum is not how one is written.";
    InvalidPart BAD_REQUEST "A part that the upload is to be made of has not arrived, or with other bytes.";
    InvalidPartOrder BAD_REQUEST "The parts of the upload are not in ascending order.";
    InvalidRange RANGE_NOT_SATISFIABLE "The state is shorter than the range begins.";
    InvalidRequest BAD_REQUEST "The request cannot be understood; the message says why.";
    InvalidToken BAD_REQUEST "The session token is not one of this service, or belongs to another access key.";
    MalformedTrailerError BAD_REQUEST "The trailer that was announced is missing or cannot be read.";
    MalformedXML BAD_REQUEST "The document in the body is not what is asked for.";
    MethodNotAllowed METHOD_NOT_ALLOWED "There is no such method here.";
    NoSuchBucket NOT_FOUND "The bucket of this door has another name.";
    NoSuchKey NOT_FOUND "There is no such state, or nobody holds the lock.";
    NoSuchUpload NOT_FOUND "There is no such upload, or it was aborted, completed or abandoned.";
    NotImplemented NOT_IMPLEMENTED "This door does not know the operation.";
    NotModified NOT_MODIFIED "The condition of a read says that nothing is to be sent.";
    PreconditionFailed PRECONDITION_FAILED "Somebody else holds the lock, or what is current is not what the request asked for.";
    RequestTimeout BAD_REQUEST "The body stood still.";
    RequestTimeTooSkewed FORBIDDEN "The clock of the client is more than 15 minutes off.";
    ServiceUnavailable SERVICE_UNAVAILABLE "The bucket below does not answer; ask again.";
    SignatureDoesNotMatch FORBIDDEN "The request was not signed with the secret of its access key, or was changed on the way.";
    SlowDown SERVICE_UNAVAILABLE "Too many requests at this moment; ask again.";
    XAmzContentSHA256Mismatch BAD_REQUEST "The body is not the one that was signed.";
}

/// What went wrong, as a document.
#[derive(Serialize)]
#[serde(rename = "Error", rename_all = "PascalCase")]
struct Document<'a> {
    code: &'static str,
    message: &'a str,
    resource: &'a str,
    request_id: &'a str,
}

impl Refused {
    /// A refusal that is told by its code and this sentence.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            word: None,
            cause: None,
            headers: Vec::new(),
        }
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// With a header beside it.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// With what lies behind it, for the log alone.
    #[must_use]
    pub fn caused_by(mut self, cause: &(dyn std::error::Error + 'static)) -> Self {
        self.cause = Some(chain(cause));
        self
    }

    /// A range that begins behind the end.
    #[must_use]
    pub fn range(size: u64) -> Self {
        let all = HeaderValue::from_str(&format!("bytes */{size}")).expect("digits are visible ASCII");
        Self::new(
            Code::InvalidRange,
            "the requested range is behind the end of the object",
        )
        .with(CONTENT_RANGE, all)
    }

    /// The answer about this path to the request of this id. To `HEAD` it has no body.
    #[must_use]
    pub fn answer(self, path: &str, request_id: &str, has_body: bool) -> Response {
        let document = Document {
            code: self.code.as_str(),
            message: &self.message,
            resource: path,
            request_id,
        };
        let has_body = has_body && self.code != Code::NotModified;
        let mut response = match has_body {
            true => xml::document(&document),
            false => Body::empty().into_response(),
        };
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        if !has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        }
        if self.code.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        headers.extend(self.headers);
        response.extensions_mut().insert(Told {
            code: self.word.unwrap_or(self.code.as_str()),
            cause: self.cause,
        });
        response
    }
}

impl From<NotSigned> for Refused {
    fn from(why: NotSigned) -> Self {
        let code = match &why {
            NotSigned::Malformed(_) => Code::AuthorizationHeaderMalformed,
            NotSigned::MalformedQuery(_) => Code::AuthorizationQueryParametersError,
            NotSigned::Unsigned(_) | NotSigned::Expired => Code::AccessDenied,
            NotSigned::Skewed => Code::RequestTimeTooSkewed,
            NotSigned::Missing(_) | NotSigned::Mismatch => Code::SignatureDoesNotMatch,
        };
        Self::new(code, why.to_string())
    }
}

impl From<BodyError> for Refused {
    fn from(error: BodyError) -> Self {
        let code = match &error {
            BodyError::TooLarge { .. } => Code::EntityTooLarge,
            BodyError::Stalled { .. } => Code::RequestTimeout,
            BodyError::Crowded => Code::SlowDown,
            BodyError::Broken { .. } => Code::IncompleteBody,
            BodyError::Wrapped { code, .. } => *code,
            BodyError::DigestUnreadable => Code::InvalidDigest,
            BodyError::DigestDiffers => Code::BadDigest,
        };
        let refused = Self::new(code, format!("{error}; nothing was changed"));
        match &error {
            BodyError::Broken { source } => refused.caused_by(source),
            _ => refused,
        }
    }
}

/// What was decided is a 4xx, and what is held by somebody else a failed precondition: that is what a client of S3 takes
/// for "not now, and do not repeat it".
impl From<ControlError> for Refused {
    fn from(error: ControlError) -> Self {
        let code = match &error {
            ControlError::Forbidden { .. }
            | ControlError::Protected { .. }
            | ControlError::Encrypted { .. } => Code::AccessDenied,
            ControlError::Locked { .. }
            | ControlError::NotHolder { .. }
            | ControlError::LockOver { .. }
            | ControlError::Late { .. }
            | ControlError::Conflict { .. }
            | ControlError::OtherLineage { .. }
            | ControlError::OlderSerial { .. }
            | ControlError::GraphUnreadable { .. }
            | ControlError::DeletedMeanwhile { .. }
            | ControlError::AlreadyExists { .. } => Code::PreconditionFailed,
            ControlError::NoState { .. } | ControlError::NotFound { .. } => Code::NoSuchKey,
            ControlError::Invalid { .. } => Code::InvalidRequest,
            ControlError::Corrupt { .. } | ControlError::Unopened { .. } => Code::InternalError,
            busy if busy.is_crowded() => Code::ConditionalRequestConflict,
            ControlError::Saved { .. }
            | ControlError::Unwritten(_)
            | ControlError::PolicyUnreadable { .. }
            | ControlError::Unavailable { .. } => Code::ServiceUnavailable,
        };
        let message = match &error {
            ControlError::NotHolder {
                unit,
                holder: Some(holder),
                ..
            } => format!(
                "`{unit}` is locked by {} (lock {}) since {}; {error}",
                holder.name(),
                holder.info.id,
                holder.since
            ),
            ControlError::NotHolder {
                unit, holder: None, ..
            } => format!(
                "the lock of `{unit}` under which this was written is over: {error}. Take the lock again, on what is current now"
            ),
            ControlError::Locked { holder, .. } => format!("{error} (lock {})", holder.info.id),
            _ => error.to_string(),
        };
        let refused = Self {
            word: Some(word_for(&error)),
            ..Self::new(code, message)
        };
        match std::error::Error::source(&error) {
            Some(cause) => refused.caused_by(cause),
            None => refused,
        }
    }
}
