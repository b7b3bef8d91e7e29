//! What Terraform is told when it cannot have what it asked for.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use opentaco_api::ErrorCode;
use opentaco_control::{ControlError, Holder};
use opentaco_domain::{LockInfo, UnitId};
use serde_json::{Map, Value};

use crate::bodies::BodyError;
use crate::problem::Problem;

/// A refusal in Terraform's dialect.
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
        Self(problem(&error).into_response())
    }
}

/// What all doors say, and beside it the holder as Terraform knows one.
fn problem(error: &ControlError) -> Problem {
    match error {
        ControlError::Locked { unit, holder } => {
            Problem::new(StatusCode::LOCKED, ErrorCode::Locked, error.to_string())
                .with_all(lock_info(unit, Some(holder)))
        }
        ControlError::NotHolder { unit, holder, .. } => {
            Problem::of(error).with_all(lock_info(unit, holder.as_deref()))
        }
        _ => Problem::of(error),
    }
}

/// The members of a `LockInfo` as Go decodes it, for a holder or for nobody.
///
/// `Who` and `Info` carry the sentence for the person: of everything we could say they are all that is printed.
fn lock_info(unit: &UnitId, holder: Option<&Holder>) -> Map<String, Value> {
    let Some(holder) = holder else {
        let nobody =
            format!("nobody holds `{unit}`: the lock of this request was released or broken, or never taken");
        let members = [
            ("ID", ""),
            ("Operation", ""),
            ("Info", nobody.as_str()),
            ("Who", "nobody"),
            ("Version", ""),
            ("Created", NEVER),
            ("Path", ""),
        ];
        return members
            .map(|(key, value)| (key.to_owned(), Value::from(value)))
            .into_iter()
            .collect();
    };
    let Holder {
        info,
        principal,
        since,
    } = holder;
    let at = since.strftime("%Y-%m-%d %H:%M:%S UTC");
    let name = holder.name();
    let doing = if info.operation.is_empty() {
        String::new()
    } else {
        format!(" for {}", info.operation)
    };
    let remark = if info.info.is_empty() {
        String::new()
    } else {
        format!(" They say: {}", info.info)
    };
    let told = LockInfo {
        who: format!("{name} (signed in as {principal}, holds it since {at})"),
        info: format!(
            "`{unit}` is locked by {name} since {at}{doing}. Wait for it with -lock-timeout=5m. If nobody is at work there, break it: force-unlock {}.{remark}",
            info.id
        ),
        ..info.clone()
    };
    let mut members: Map<String, Value> =
        serde_json::from_slice(&told.to_terraform_json()).expect("a LockInfo is written as a JSON object");
    // A lock that came from elsewhere may not say since when; we know since when we know it.
    if members.get("Created").is_some_and(|created| created == NEVER) {
        members.insert("Created".to_owned(), since.to_string().into());
    }
    members
}

/// Go's zero time.
const NEVER: &str = "0001-01-01T00:00:00Z";
