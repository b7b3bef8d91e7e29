//! What a request of the management API says: which unit, under which key, with what in its body.

use axum::body::Bytes;
use axum::extract::{FromRequestParts, OriginalUri, Request};
use axum::response::{IntoResponse, Response};
use http::header::{ETAG, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use opentaco_api::{ErrorCode, header};
use opentaco_domain::access::{Member, Name};
use opentaco_domain::limits::MANAGEMENT_BODY_BYTES_MAX;
use opentaco_domain::{UnitId, VersionId};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use crate::app::App;
use crate::extract::Notes;
use crate::management::Refused;
use crate::management::error::invalid;
use crate::problem::Problem;
use crate::routes::Route;
use crate::transfer::etag;

/// The unit that a segment of the path names.
///
/// Taken from the raw path, because its encoding is finer than a decoded path could tell; and compared with the
/// `OpenTaco-Unit` header, because some proxies decode paths on their own.
#[derive(Debug, Clone, IntoParams)]
#[into_params(names("unit"), parameter_in = Path)]
pub struct Named(
    /// The unit's id, with `__` for each `/`.
    #[param(value_type = String, example = "myapp__prod", min_length = 1)]
    pub UnitId,
);

impl<S: Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let raw = raw_segment(parts, "{unit}");
        let bad = |why: String| Problem::new(StatusCode::BAD_REQUEST, ErrorCode::BadUnitId, why);
        let unit = UnitId::from_segment(raw).map_err(|error| {
            bad(format!(
                "the address names no unit: {error}. A unit is one segment here, with `__` for each `/`: myapp__prod is myapp/prod"
            ))
        })?;
        if let Some(named) = parts.headers.get(header::UNIT) {
            let named = named.to_str().ok().and_then(header::to_unit);
            if named.as_ref() != Some(&unit) {
                return Err(Problem::new(
                    StatusCode::BAD_REQUEST,
                    ErrorCode::UnitDiffers,
                    format!(
                        "the address names `{unit}` and the OpenTaco-Unit header another unit, or none; nothing was done. Perhaps a proxy in between decodes paths: have it pass them on as they are"
                    ),
                ));
            }
        }
        if let Some(notes) = parts.extensions.get::<Notes>() {
            notes.unit(&unit);
        }
        Ok(Self(unit))
    }
}

/// The version that a segment of the path names.
#[derive(Debug, Clone, Copy, IntoParams)]
#[into_params(names("version"), parameter_in = Path)]
pub struct NamedVersion(
    /// The version's name.
    #[param(value_type = String)]
    pub VersionId,
);

impl<S: Sync> FromRequestParts<S> for NamedVersion {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let version = segment(parts, "{version}")?.parse();
        version.map(Self).map_err(|error| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                ErrorCode::BadVersion,
                format!("the address names no version: {error}"),
            )
        })
    }
}

/// The refused write that a segment of the path names.
#[derive(Debug, Clone, IntoParams)]
#[into_params(names("rejected"), parameter_in = Path)]
pub struct NamedRejected(
    /// The id of the refused write.
    #[param(min_length = 1)]
    pub String,
);

impl<S: Sync> FromRequestParts<S> for NamedRejected {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        segment(parts, "{rejected}").map(Self)
    }
}

/// The output that a segment of the path names.
#[derive(Debug, Clone, IntoParams)]
#[into_params(names("output"), parameter_in = Path)]
pub struct NamedOutput(
    /// The output's name.
    #[param(example = "address", min_length = 1)]
    pub String,
);

impl<S: Sync> FromRequestParts<S> for NamedOutput {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        segment(parts, "{output}").map(Self)
    }
}

/// The member that a segment of the path names.
#[derive(Debug, Clone, IntoParams)]
#[into_params(names("member"), parameter_in = Path)]
pub struct NamedMember(
    /// Who: `user:`, `group:` or `service:`, and the name.
    #[param(value_type = String, example = "user:bob@example.com", min_length = 1)]
    pub Member,
);

/// The role that a segment of the path names.
#[derive(Debug, Clone, IntoParams)]
#[into_params(names("role"), parameter_in = Path)]
pub struct NamedRolePath(
    /// The role's name.
    #[param(value_type = String, example = "reader", min_length = 1)]
    pub Name,
);

/// The permission that a segment of the path names.
#[derive(Debug, Clone, IntoParams)]
#[into_params(names("permission"), parameter_in = Path)]
pub struct NamedPermissionPath(
    /// The permission's name.
    #[param(value_type = String, example = "reader", min_length = 1)]
    pub Name,
);

macro_rules! parsed_from_segment {
    ($($type:ident $segment:literal;)*) => {
        $(impl<S: Sync> FromRequestParts<S> for $type {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
                let named = segment(parts, $segment)?.parse();
                named.map(Self).map_err(|error| invalid(format!("the address cannot be: {error}")))
            }
        })*
    };
}

parsed_from_segment! {
    NamedMember "{member}";
    NamedRolePath "{role}";
    NamedPermissionPath "{permission}";
}

/// The text of a segment, decoded once.
pub(crate) fn segment(parts: &Parts, name: &str) -> Result<String, Problem> {
    match percent_decode_str(raw_segment(parts, name)).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(invalid("the address is not UTF-8")),
    }
}

/// The segment of the path that stands where the route has `name`.
fn raw_segment<'a>(parts: &'a Parts, name: &str) -> &'a str {
    let path = parts
        .extensions
        .get::<OriginalUri>()
        .map_or_else(|| parts.uri.path(), |uri| uri.path());
    let route = parts.extensions.get::<&'static Route>();
    let at = route.and_then(|route| route.path.split('/').position(|segment| segment == name));
    at.and_then(|at| path.split('/').nth(at)).unwrap_or("")
}

/// The request's own key, if it has one.
#[derive(Debug, Clone, IntoParams)]
#[into_params(names("Idempotency-Key"), parameter_in = Header)]
pub struct Key(
    /// The request's own key: repeated with it, the answer is the first one's.
    #[param(value_type = Option<String>, required = false, min_length = 1, max_length = 128)]
    pub Option<String>,
);

impl<S: Sync> FromRequestParts<S> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut keys = parts.headers.get_all(header::IDEMPOTENCY_KEY).iter();
        let Some(key) = keys.next() else {
            return Ok(Self(None));
        };
        let usable = (1..=header::IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) && keys.next().is_none();
        match key.to_str() {
            Ok(key) if usable && key.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(Self(Some(key.to_owned())))
            }
            _ => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                ErrorCode::BadIdempotencyKey,
                format!(
                    "an Idempotency-Key is one value of 1 to {} visible ASCII characters",
                    header::IDEMPOTENCY_KEY_BYTES_MAX
                ),
            )),
        }
    }
}

/// The body, which is a small document.
///
/// # Errors
/// 400 if it is not the one that is asked for.
pub(crate) async fn document<T: DeserializeOwned>(app: &App, request: Request) -> Result<T, Refused> {
    Ok(read_document(&small_body(app, request).await?)?)
}

/// A body as a document.
///
/// # Errors
/// 400 if it is not the one that is asked for.
pub(crate) fn read_document<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // Without a word serde takes a list for an object, member by member.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(invalid(
            "the body is not what is asked for here: it is no JSON object",
        ));
    }
    serde_json::from_slice(body)
        .map_err(|error| invalid(format!("the body is not what is asked for here: {error}")))
}

/// The body, which is small.
///
/// # Errors
/// 413 if it is not; 400, 408 if it does not arrive.
pub(crate) async fn small_body(app: &App, request: Request) -> Result<Bytes, Refused> {
    let (parts, body) = request.into_parts();
    let limit = MANAGEMENT_BODY_BYTES_MAX as u64;
    Ok(app.bodies.read_small(&parts.headers, body, limit).await?)
}

/// 304, if the client says that it has this version already.
pub(crate) fn not_modified(headers: &HeaderMap, version: Option<&VersionId>) -> Option<Response> {
    let version = version?;
    let known = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"'));
    let version_text = version.to_string();
    let mut known = known.filter(|tag| *tag == "*" || *tag == version_text);
    known.next()?;
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    response.headers_mut().insert(ETAG, etag(version));
    Some(response)
}
