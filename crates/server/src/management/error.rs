//! What a client of the management API is told when it cannot have what it asked for.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use opentaco_api::{ErrorCode, Lock};
use opentaco_control::{ControlError, Holder, TokenError};
use opentaco_domain::UnitId;

use crate::bodies::BodyError;
use crate::problem::Problem;

/// A refusal in the words of the management API.
#[derive(Debug)]
pub struct Refused(Response);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        self.0
    }
}

impl From<BodyError> for Refused {
    fn from(error: BodyError) -> Self {
        Self(error.into_response())
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem.into_response())
    }
}

impl From<ControlError> for Refused {
    fn from(error: ControlError) -> Self {
        problem(&error).into()
    }
}

impl From<Response> for Refused {
    fn from(response: Response) -> Self {
        Self(response)
    }
}

impl From<TokenError> for Refused {
    fn from(error: TokenError) -> Self {
        let (status, code) = match &error {
            TokenError::Access(_) => (StatusCode::FORBIDDEN, ErrorCode::Forbidden),
            TokenError::NotTheirs { .. } => (StatusCode::BAD_REQUEST, ErrorCode::Invalid),
            TokenError::Exists(_) => (StatusCode::CONFLICT, ErrorCode::AlreadyExists),
            TokenError::NotFound { .. } => (StatusCode::NOT_FOUND, ErrorCode::NotFound),
            TokenError::TooMany(_) => (StatusCode::CONFLICT, ErrorCode::TooMany),
            TokenError::Unreadable(_) | TokenError::Unavailable(_) | TokenError::Unwritten(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable)
            }
        };
        // What access says of itself it says at every address.
        if let TokenError::Access(error) = error {
            return error.into();
        }
        let problem = Problem::new(status, code, error.to_string());
        match std::error::Error::source(&error) {
            Some(cause) => problem.caused_by(cause).into(),
            None => problem.into(),
        }
    }
}

/// The request cannot mean anything.
pub(crate) fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, ErrorCode::Invalid, message)
}

/// What all doors say, and where there is more to tell, that.
fn problem(error: &ControlError) -> Problem {
    let problem = Problem::of(error);
    match error {
        ControlError::Locked { unit, holder } => with_holder(problem.saying(held(unit, holder)), holder),
        ControlError::NotHolder { unit, holder, kept } => {
            let kept_as = kept.as_ref().map_or_else(String::new, |id| {
                format!(". What was sent is kept as rejected write {id}")
            });
            match holder {
                Some(holder) => {
                    with_holder(problem.saying(format!("{}{kept_as}", held(unit, holder))), holder)
                }
                None => problem.saying(format!(
                    "nobody holds `{unit}`: this lock was released or broken, or never taken{kept_as}"
                )),
            }
        }
        ControlError::Conflict { .. } => problem.saying(format!("{error}; read it again and decide anew")),
        _ => problem,
    }
}

fn held(unit: &UnitId, holder: &Holder) -> String {
    let Holder {
        info,
        principal,
        since,
    } = holder;
    let at = since.strftime("%Y-%m-%d %H:%M:%S UTC");
    if info.who.is_empty() || info.who == principal.as_str() {
        format!("`{unit}` is locked by {principal} since {at}")
    } else {
        format!(
            "`{unit}` is locked by {} (signed in as {principal}) since {at}",
            info.who
        )
    }
}

fn with_holder(problem: Problem, holder: &Holder) -> Problem {
    let lock = serde_json::to_value(lock_of(holder.clone())).expect("a lock is JSON");
    problem.with("holder", lock)
}

/// A holder in the words of the API.
pub(crate) fn lock_of(holder: Holder) -> Lock {
    let info = holder.info;
    Lock {
        id: info.id,
        who: info.who,
        operation: info.operation,
        info: info.info,
        version: info.version,
        created: info.created,
        path: info.path,
        principal: holder.principal,
        since: holder.since,
    }
}
