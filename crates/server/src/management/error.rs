//! What a client of the management API is told when it cannot have what it asked for.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use opentaco_api::{ErrorCode, Lock};
use opentaco_control::{ControlError, Holder};
use opentaco_domain::UnitId;
use serde_json::Value;

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

/// The request cannot mean anything.
pub(crate) fn invalid(message: impl Into<String>) -> Problem {
    refusal(StatusCode::BAD_REQUEST, ErrorCode::Invalid, message)
}

/// A refusal with a code of the API.
pub(crate) fn refusal(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Problem {
    Problem::new(status, code.as_str(), message)
}

/// Every way to be refused, and what becomes of it.
fn problem(error: &ControlError) -> Problem {
    let text = error.to_string();
    let unavailable = |source: &(dyn std::error::Error + 'static)| {
        refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Unavailable,
            text.clone(),
        )
        .caused_by(source)
    };
    match error {
        ControlError::Forbidden { .. } => refusal(StatusCode::FORBIDDEN, ErrorCode::Forbidden, text),
        ControlError::Locked { unit, holder } => with_holder(
            refusal(StatusCode::CONFLICT, ErrorCode::Locked, held(unit, holder)),
            Some(holder.as_ref()),
        ),
        ControlError::NotHolder { unit, holder, kept } => {
            let holder = holder.as_deref();
            let who = match holder {
                Some(holder) => held(unit, holder),
                None => format!("nobody holds `{unit}`: this lock was released or broken, or never taken"),
            };
            let kept_as = kept.as_ref().map_or_else(String::new, |id| {
                format!(". What was sent is kept as rejected write {id}")
            });
            let problem = refusal(
                StatusCode::CONFLICT,
                ErrorCode::NotHolder,
                format!("{who}{kept_as}"),
            );
            with_kept(with_holder(problem, holder), kept.as_deref())
        }
        ControlError::LockOver { .. } => refusal(StatusCode::GONE, ErrorCode::LockOver, text),
        ControlError::Late { kept, .. } => with_kept(
            refusal(StatusCode::CONFLICT, ErrorCode::Late, text),
            kept.as_deref(),
        ),
        ControlError::Conflict { current, .. } => {
            let problem = refusal(
                StatusCode::PRECONDITION_FAILED,
                ErrorCode::VersionConflict,
                format!("{text}; read it again and decide anew"),
            );
            match current {
                Some(current) => problem.with("current", current.to_string()),
                None => problem,
            }
        }
        ControlError::OtherLineage { .. } => refusal(StatusCode::CONFLICT, ErrorCode::OtherLineage, text),
        ControlError::OlderSerial { .. } => refusal(StatusCode::CONFLICT, ErrorCode::OlderSerial, text),
        ControlError::Protected { .. } => refusal(StatusCode::CONFLICT, ErrorCode::Protected, text),
        ControlError::Encrypted { .. } => refusal(StatusCode::CONFLICT, ErrorCode::Encrypted, text),
        ControlError::DeletedMeanwhile { kept, .. } => with_kept(
            refusal(StatusCode::CONFLICT, ErrorCode::Deleted, text),
            kept.as_deref(),
        ),
        ControlError::NoState { .. } => refusal(StatusCode::NOT_FOUND, ErrorCode::NoState, text),
        ControlError::NotFound { .. } => refusal(StatusCode::NOT_FOUND, ErrorCode::NotFound, text),
        ControlError::AlreadyExists { .. } => refusal(StatusCode::CONFLICT, ErrorCode::AlreadyExists, text),
        ControlError::Invalid { .. } => invalid(text),
        ControlError::Saved { version, source, .. } => {
            let problem = refusal(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Saved, text.clone());
            problem
                .caused_by(source)
                .with("saved_version", version.to_string())
        }
        ControlError::PolicyUnreadable { source } => unavailable(source),
        ControlError::Unavailable { source } | ControlError::Corrupt { source } => unavailable(source),
        ControlError::Unopened { .. } => {
            refusal(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, text)
        }
    }
}

fn held(unit: &UnitId, holder: &Holder) -> String {
    let Holder {
        info,
        principal,
        since,
    } = holder;
    let at = since.strftime("%Y-%m-%d %H:%M:%S UTC");
    if info.who.is_empty() {
        format!("`{unit}` is locked by {principal} since {at}")
    } else {
        format!(
            "`{unit}` is locked by {} (signed in as {principal}) since {at}",
            info.who
        )
    }
}

fn with_holder(problem: Problem, holder: Option<&Holder>) -> Problem {
    match holder {
        Some(holder) => problem.with("holder", lock_value(holder)),
        None => problem,
    }
}

fn with_kept(problem: Problem, kept: Option<&str>) -> Problem {
    match kept {
        Some(id) => problem.with("kept", id),
        None => problem,
    }
}

fn lock_value(holder: &Holder) -> Value {
    serde_json::to_value(lock_of(holder.clone())).expect("a lock is JSON")
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
