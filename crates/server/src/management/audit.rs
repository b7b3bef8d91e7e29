//! Who did what: searched, and handed out as it lies in the bucket, for whoever wants to verify it.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use jiff::Timestamp;
use opentaco_api::audit::{AuditEvent, AuditEvents, AuditSegments};
use opentaco_api::{ErrorBody, ErrorCode, paths};
use opentaco_control::AuditError;
use opentaco_control::audit::{Found, Page, Wanted};
use opentaco_domain::audit::{Filter, Outcome, SegmentId};
use opentaco_domain::{UnitId, UnitPrefix};
use utoipa::IntoParams;

use crate::app::App;
use crate::extract::Asking;
use crate::management::Refused;
use crate::management::query::{Asked, FromQuery, Query, bad_query};
use crate::management::request::segment;
use crate::problem::Problem;

/// The largest page.
const PAGE_MAX: usize = 1_000;

/// Which events are looked for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only about this unit.
    #[param(value_type = Option<String>, example = "myapp/prod", required = false)]
    pub unit: Option<UnitId>,
    /// Only about units whose id starts so.
    #[param(value_type = Option<String>, example = "myapp/", required = false)]
    pub prefix: Option<UnitPrefix>,
    /// Only by this principal.
    #[param(example = "alice@example.com", required = false)]
    pub principal: Option<String>,
    /// Only of this action.
    #[param(example = "unit.write", required = false)]
    pub action: Option<String>,
    /// Only with this outcome.
    #[param(value_type = Option<String>, required = false)]
    pub decision: Option<Outcome>,
    /// Only from this moment on.
    #[param(value_type = Option<String>, format = DateTime, required = false)]
    pub since: Option<Timestamp>,
    /// Only before this moment.
    #[param(value_type = Option<String>, format = DateTime, required = false)]
    pub until: Option<Timestamp>,
    /// At most so many; 100 without it.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1_000, required = false)]
    pub limit: Option<usize>,
    /// What the page before said as `next_page_token`; the other filters have to be the same again.
    #[param(required = false)]
    pub page_token: Option<String>,
}

impl FromQuery for AuditQuery {
    fn take(query: &mut Query) -> Result<Self, Problem> {
        let limit = query.limit()?;
        if limit.is_some_and(|limit| limit > PAGE_MAX) {
            return Err(bad_query(format!("`limit` is a number from 1 to {PAGE_MAX}")));
        }
        let unit = query.one("unit")?.map(|unit| {
            UnitId::parse(&unit).map_err(|error| {
                let message = format!("`unit` names no unit: {error}");
                Problem::new(StatusCode::BAD_REQUEST, ErrorCode::BadUnitId, message)
            })
        });
        Ok(Self {
            unit: unit.transpose()?,
            prefix: query.parsed("prefix", UnitPrefix::parse)?,
            principal: query.one("principal")?,
            action: query.one("action")?,
            decision: query.parsed("decision", str::parse)?,
            since: query.parsed("since", str::parse)?,
            until: query.parsed("until", str::parse)?,
            limit,
            page_token: query.one("page_token")?,
        })
    }
}

/// Which segments are listed.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SegmentsQuery {
    /// Only those that may have events from this moment on.
    #[param(value_type = Option<String>, format = DateTime, required = false)]
    pub since: Option<Timestamp>,
    /// What the page before said as `next_page_token`.
    #[param(value_type = Option<String>, required = false)]
    pub page_token: Option<SegmentId>,
}

impl FromQuery for SegmentsQuery {
    fn take(query: &mut Query) -> Result<Self, Problem> {
        Ok(Self {
            since: query.parsed("since", str::parse)?,
            page_token: query.parsed("page_token", str::parse)?,
        })
    }
}

/// The segment that a segment of the path names.
#[derive(Debug, Clone, Copy, IntoParams)]
#[into_params(names("segment"), parameter_in = Path)]
pub struct NamedSegment(
    /// The segment's name.
    #[param(value_type = String, example = "2026-11-23T14.15.30.123-9f86d081884c7d65-0000000007")]
    pub SegmentId,
);

impl<S: Sync> FromRequestParts<S> for NamedSegment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let named = segment(parts, "{segment}")?.parse();
        named.map(Self).map_err(|error| {
            let message = format!("the address names no segment: {error}");
            Problem::new(StatusCode::BAD_REQUEST, ErrorCode::Invalid, message)
        })
    }
}

/// Who did what, newest first. Reads up to 256 segments for a page: an empty page with a token says that there may be more
/// further back.
///
/// # Errors
/// 403 without `audit.read`.
#[utoipa::path(
    get, path = paths::AUDIT, operation_id = "search_audit", tag = "audit",
    params(AuditQuery),
    responses((status = 200, description = "One page.", body = AuditEvents)),
)]
pub async fn search(
    State(app): State<App>,
    Asking(caller): Asking,
    Asked(query): Asked<AuditQuery>,
) -> Result<Json<AuditEvents>, Refused> {
    let AuditQuery {
        unit,
        prefix,
        principal,
        action,
        decision,
        since,
        until,
        limit,
        page_token,
    } = query;
    let wanted = Wanted {
        filter: Filter {
            unit,
            prefix,
            principal,
            action,
            decision,
            since,
            until,
        },
        limit,
        page_token,
    };
    let Page {
        events,
        next_page_token,
        damaged,
    } = app.control.search_audit(&caller, &wanted).await?;
    let told = |found: Found| AuditEvent::of(&found.segment, found.index, found.event);
    Ok(Json(AuditEvents {
        events: events.into_iter().map(told).collect(),
        next_page_token,
        damaged,
    }))
}

/// The names of the segments of the audit, oldest first.
///
/// # Errors
/// 403 without `audit.read`.
#[utoipa::path(
    get, path = paths::AUDIT_SEGMENTS, operation_id = "list_audit_segments", tag = "audit",
    params(SegmentsQuery),
    responses((status = 200, description = "One page of up to a thousand.", body = AuditSegments)),
)]
pub async fn segments(
    State(app): State<App>,
    Asking(caller): Asking,
    Asked(query): Asked<SegmentsQuery>,
) -> Result<Json<AuditSegments>, Refused> {
    let SegmentsQuery { since, page_token } = query;
    let (segments, next_page_token) = app.control.audit_segments(&caller, since, page_token).await?;
    Ok(Json(AuditSegments {
        segments,
        next_page_token,
    }))
}

/// A segment of the audit, byte for byte as it lies in the bucket: JSON lines, of which the first is the header and the
/// last the seal.
///
/// # Errors
/// 403 without `audit.read`; 404 if there is none.
#[utoipa::path(
    get, path = paths::AUDIT_SEGMENT, operation_id = "download_audit_segment", tag = "audit",
    params(NamedSegment),
    responses(
        (status = 200, description = "The segment.", content_type = "application/jsonl", body = String),
        (status = 404, description = "`not_found`: there is no such segment.", body = ErrorBody),
    ),
)]
pub async fn download(
    State(app): State<App>,
    Asking(caller): Asking,
    NamedSegment(id): NamedSegment,
) -> Result<Response, Refused> {
    let bytes = app.control.audit_segment(&caller, &id).await?;
    let mut response = bytes.into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    Ok(response)
}

impl From<AuditError> for Refused {
    fn from(error: AuditError) -> Self {
        let (status, code) = match error {
            // What access says of itself it says at every address.
            AuditError::Access(error) => return error.into(),
            AuditError::NoSegment(_) => (StatusCode::NOT_FOUND, ErrorCode::NotFound),
            AuditError::PageToken => (StatusCode::BAD_REQUEST, ErrorCode::BadQuery),
            AuditError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable),
        };
        let problem = Problem::new(status, code, error.to_string());
        match std::error::Error::source(&error) {
            Some(cause) => problem.caused_by(cause).into(),
            None => problem.into(),
        }
    }
}
