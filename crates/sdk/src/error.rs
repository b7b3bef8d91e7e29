//! How a request fails, by what a caller does about it.

use std::time::Duration;

use http::StatusCode;
use opentaco_api::{ErrorBody, ErrorCode, Lock};
use opentaco_domain::VersionId;

use crate::retry::Heard;
use crate::server::Server;
use crate::token::TokenError;

/// Why something was not done, or is not known to be done.
#[derive(Debug, thiserror::Error)]
pub enum SdkError {
    /// Nothing listens there: the service has not heard of the request.
    #[error("the service at {server} cannot be reached")]
    Unreachable {
        /// Where.
        server: Server,
        /// Why not.
        #[source]
        source: reqwest::Error,
    },
    /// Somebody listens there whose certificate is not to be trusted: nothing was sent.
    #[error("the certificate of the service at {server} is not trusted")]
    Untrusted {
        /// Where.
        server: Server,
        /// What is wrong with it.
        #[source]
        source: reqwest::Error,
    },
    /// The request was sent, and no whole answer came: it may have been done.
    #[error("the service at {server} gave no whole answer; whether it has done what was asked is not known")]
    Unanswered {
        /// Where.
        server: Server,
        /// Why not.
        #[source]
        source: reqwest::Error,
    },
    /// The answer began, and did not end.
    #[error("the answer of the service was cut off")]
    CutOff {
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// Nothing moved for too long: it may have been done.
    #[error(
        "nothing came from the service for {seconds} seconds; whether it has done what was asked is not known"
    )]
    TimedOut {
        /// For how long.
        seconds: u64,
    },
    /// The service cannot do it now. What was asked may be asked again.
    #[error("{}", refusal.message)]
    Unavailable {
        /// What it said.
        refusal: Box<Refusal>,
    },
    /// Committed and safe, but the copy in the bucket is not up to date yet: the same request again finishes it.
    #[error("{}", refusal.message)]
    Saved {
        /// What it said.
        refusal: Box<Refusal>,
        /// The version that is safe.
        version: VersionId,
    },
    /// Somebody else holds the unit, or the lock that was named is not held any more.
    #[error("{}", refusal.message)]
    Locked {
        /// What the service said: who holds it, and under which id the refused bytes are kept.
        refusal: Box<Refusal>,
    },
    /// A lock with this id was released or broken before: an id that is a UUID locks once.
    #[error("{}", refusal.message)]
    LockOver {
        /// What the service said.
        refusal: Box<Refusal>,
    },
    /// What is there is not what was expected: another version, another lineage, a newer serial.
    #[error("{}", refusal.message)]
    Conflict {
        /// What the service said.
        refusal: Box<Refusal>,
    },
    /// There is such a unit already.
    #[error("{}", refusal.message)]
    AlreadyExists {
        /// What the service said.
        refusal: Box<Refusal>,
    },
    /// There is no such unit, version or rejected write.
    #[error("{}", refusal.message)]
    NotFound {
        /// What the service said.
        refusal: Box<Refusal>,
    },
    /// The unit is there, and has no state.
    #[error("{}", refusal.message)]
    NoState {
        /// What the service said.
        refusal: Box<Refusal>,
    },
    /// The service does not know who is asking.
    #[error("{}", refusal.message)]
    NotAuthenticated {
        /// What it said.
        refusal: Box<Refusal>,
    },
    /// The caller may not.
    #[error("{}", refusal.message)]
    Forbidden {
        /// What the service said.
        refusal: Box<Refusal>,
    },
    /// The request cannot mean anything, or the service does not know what to make of it.
    #[error("{}", refusal.message)]
    Invalid {
        /// What the service said.
        refusal: Box<Refusal>,
    },
    /// The service failed.
    #[error("{}", refusal.message)]
    Failed {
        /// What it said.
        refusal: Box<Refusal>,
    },
    /// The service sends the request elsewhere, and a token does not go there.
    #[error("the service redirects to `{to}`, which is not followed: a token goes to one address")]
    Redirected {
        /// Where to.
        to: String,
    },
    /// Somebody answered who does not speak this API.
    #[error("the answer is {what}")]
    Unreadable {
        /// What it is.
        what: String,
        /// What is wrong with it.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// What was downloaded is not what was to be downloaded.
    #[error("what was received is not what is kept: {what}")]
    Corrupt {
        /// In what they differ.
        what: String,
    },
    /// A file of ours could not be written or read.
    #[error("the file for the state cannot be used")]
    File {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No token could be had.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The client cannot be made from what it was given.
    #[error("{what}")]
    Setup {
        /// What is wrong with it.
        what: &'static str,
        /// Why.
        #[source]
        source: Option<reqwest::Error>,
    },
}

/// What the service said when it refused.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The status of the answer.
    pub status: StatusCode,
    /// Why, in a word, if this client knows the word.
    pub code: Option<ErrorCode>,
    /// The word itself; none if whoever answered does not speak this API.
    pub word: Option<String>,
    /// For people.
    pub message: String,
    /// Who holds the unit instead.
    pub holder: Option<Box<Lock>>,
    /// Under which id the refused bytes are kept.
    pub rejected: Option<String>,
    /// The version that is current.
    pub current: Option<VersionId>,
    /// How long the service asks to wait.
    pub retry_after: Option<Duration>,
    saved: Option<VersionId>,
}

impl Refusal {
    /// Reads an answer; one that is not ours is told by its status.
    pub(crate) fn read(status: StatusCode, retry_after: Option<Duration>, bytes: &[u8]) -> Self {
        let said: Option<ErrorBody> = serde_json::from_slice(bytes).ok();
        let Some(said) = said else {
            return Self {
                status,
                code: None,
                word: None,
                message: format!("the service answered {status}"),
                holder: None,
                rejected: None,
                current: None,
                saved: None,
                retry_after,
            };
        };
        Self {
            status,
            code: said.code(),
            word: Some(said.error.clone()),
            message: said.message,
            holder: said.holder.map(Box::new),
            rejected: said.kept,
            current: said.current,
            saved: said.saved_version,
            retry_after,
        }
    }
}

impl SdkError {
    /// By the word that the service gives, and by the status where there is none.
    pub(crate) fn of_refusal(refusal: Refusal) -> Self {
        let refusal = Box::new(refusal);
        use ErrorCode as Code;
        if let (Some(Code::Saved), Some(version)) = (refusal.code, refusal.saved) {
            return Self::Saved { refusal, version };
        }
        match (refusal.code, refusal.status.as_u16()) {
            (Some(Code::Locked | Code::NotHolder), _) => Self::Locked { refusal },
            (Some(Code::LockOver), _) => Self::LockOver { refusal },
            (Some(Code::AlreadyExists), _) => Self::AlreadyExists { refusal },
            (Some(Code::NoState), _) => Self::NoState { refusal },
            (Some(Code::NotFound), _) => Self::NotFound { refusal },
            (_, 401) => Self::NotAuthenticated { refusal },
            (_, 403) => Self::Forbidden { refusal },
            (_, 409 | 412) => Self::Conflict { refusal },
            (_, 408 | 429 | 502..=504) => Self::Unavailable { refusal },
            (_, 500..) => Self::Failed { refusal },
            // A 404 that is not ours is somebody else's, who knows nothing of units.
            (None, 404) => Self::Unreadable {
                what: "a 404 of somebody who does not know this address; is it a service of OpenTaco?"
                    .to_owned(),
                source: None,
            },
            _ => Self::Invalid { refusal },
        }
    }

    /// What the service said, if this is its refusal.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Unavailable { refusal }
            | Self::Saved { refusal, .. }
            | Self::Locked { refusal }
            | Self::LockOver { refusal }
            | Self::Conflict { refusal }
            | Self::AlreadyExists { refusal }
            | Self::NotFound { refusal }
            | Self::NoState { refusal }
            | Self::NotAuthenticated { refusal }
            | Self::Forbidden { refusal }
            | Self::Invalid { refusal }
            | Self::Failed { refusal } => Some(refusal),
            Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::Unanswered { .. }
            | Self::CutOff { .. }
            | Self::TimedOut { .. }
            | Self::Redirected { .. }
            | Self::Unreadable { .. }
            | Self::Corrupt { .. }
            | Self::File { .. }
            | Self::Token(_)
            | Self::Setup { .. } => None,
        }
    }

    /// Who holds the unit instead.
    #[must_use]
    pub fn holder(&self) -> Option<&Lock> {
        self.refusal()?.holder.as_deref()
    }

    /// Under which id the refused bytes are kept.
    #[must_use]
    pub fn rejected(&self) -> Option<&str> {
        self.refusal()?.rejected.as_deref()
    }

    /// Whether what was asked may have been done all the same.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        matches!(self.passes(), Some((Heard::Perhaps, _)))
    }

    /// Whether it may be gone after a while, and whether the service may have heard; none if it stays.
    pub(crate) fn passes(&self) -> Option<(Heard, Option<Duration>)> {
        match self {
            Self::Unreachable { .. } => Some((Heard::No, None)),
            Self::Unanswered { .. } | Self::CutOff { .. } | Self::TimedOut { .. } | Self::Corrupt { .. } => {
                Some((Heard::Perhaps, None))
            }
            Self::Unavailable { refusal } if refusal.status == StatusCode::TOO_MANY_REQUESTS => {
                Some((Heard::No, refusal.retry_after))
            }
            Self::Unavailable { refusal } | Self::Saved { refusal, .. } => {
                Some((Heard::Perhaps, refusal.retry_after))
            }
            _ => None,
        }
    }

    /// What to try, where this crate knows it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unreachable { .. } => "is the service running, and is that its address?".to_owned(),
            Self::Untrusted { .. } => {
                "if an authority of your own has signed it, trust that authority".to_owned()
            }
            Self::Redirected { to } => format!("if `{to}` is the service, ask it there"),
            Self::NotAuthenticated { .. } => "give a token that the service knows".to_owned(),
            Self::Token(error) => return error.hint.clone(),
            Self::Setup { .. } => "certificates to trust are a file in PEM".to_owned(),
            _ => return None,
        })
    }
}
