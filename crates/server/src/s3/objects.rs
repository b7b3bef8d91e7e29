//! States as objects: looked at, read, written and deleted.

use std::ops::Range;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::TryStreamExt as _;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use opentaco_control::objects::{StateLook, Wanted};
use opentaco_control::{ControlError, Door, IfContent, StateWrite};
use opentaco_domain::{ObjectName, UnitId};
use serde::{Deserialize, Serialize};

use crate::problem::chain;
use crate::s3::error::{Code, Refused};
use crate::s3::strangers::Deletions;
use crate::s3::{Call, DOCUMENT_BYTES_MAX, etag_of, lock, stored, xml};
use crate::transfer::JSON;

/// How many objects one request may delete.
const DELETED_MAX: usize = 1000;

/// What is said of a state, without it.
pub(super) async fn head(call: &Call, unit: &UnitId) -> Result<Response, Refused> {
    let look = call
        .app
        .control
        .look_at_state(&call.caller, unit, Some(&call.signer.signed))
        .await?;
    let about = About::of(&look);
    about.judge(call.headers())?;
    if let Some(wanted) = wanted(call.headers()) {
        let range = part_of(&wanted, look.size);
        return match range.is_empty() {
            true => Err(Refused::range(look.size)),
            false => Ok(about.part(range, Body::empty())),
        };
    }
    Ok(about.whole(Body::empty()))
}

/// A state, or some bytes of it.
pub(super) async fn get(call: &Call, unit: &UnitId) -> Result<Response, Refused> {
    let control = &call.app.control;
    let wanted = wanted(call.headers());
    let asked = wanted.clone().unwrap_or(Wanted::Offset(0));
    let part = control.read_part(&call.caller, unit, &asked).await?;
    let about = About::of(&part.look);
    about.judge(call.headers())?;
    let named = unit.clone();
    let body = Body::from_stream(part.body.inspect_err(move |error| {
        // The status is long sent; all that is left is to break off, which the client notices by the length.
        tracing::error!(unit = %named, cause = chain(error), "bytes could not be sent to their end");
    }));
    match wanted {
        None => Ok(about.whole(body)),
        Some(_) if part.range.is_empty() => Err(Refused::range(part.look.size)),
        Some(_) => Ok(about.part(part.range, body)),
    }
}

/// Makes the body the current state. The caller's rights are looked at before a byte of it is read.
pub(super) async fn put(call: Call, unit: UnitId, body: Body) -> Result<Response, Refused> {
    let if_content = condition(call.headers())?;
    let holding = call.holding();
    let announced = call.announced()?;
    let control = &call.app.control;
    let _permit = control.prepare_write(&call.caller, &unit, &holding).await?;
    let received = announced.receive(&call.app, call.headers(), body).await?;
    if received.arrived.bytes.is_empty() {
        let message =
            format!("there is no state in this request for `{unit}`: its body is empty. Nothing was written");
        return Err(Refused::new(Code::InvalidRequest, message));
    }
    let write = StateWrite {
        md5: Some(received.md5.clone()),
        if_content,
        ..StateWrite::new(received.arrived.bytes.clone(), holding, Door::S3)
    };
    let caller = call.caller;
    call.app
        .carry_through(|control| async move {
            let must_be_there = matches!(&write.if_content, Some(IfContent::Something | IfContent::Is(_)));
            let receipt = control.write_state(&caller, &unit, write).await;
            let answer = stored(&received.md5, &received.checksums);
            drop(received);
            match receipt {
                Ok(_) => Ok(answer),
                Err(ControlError::Conflict { current: None, .. }) if must_be_there => {
                    Err(ControlError::NoState { unit }.into())
                }
                Err(error) => Err(Refused::from(error)),
            }
        })
        .await
}

/// Deletes the unit; that there was none is success.
pub(super) async fn delete(call: &Call, unit: &UnitId) -> Result<Response, Refused> {
    if call.headers().contains_key(IF_MATCH) {
        let message = "a state is deleted without a condition; lock it first if it matters";
        return Err(Refused::new(Code::NotImplemented, message));
    }
    deleted(call, unit).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn deleted(call: &Call, unit: &UnitId) -> Result<(), Refused> {
    let (caller, unit) = (call.caller.clone(), unit.clone());
    let deleted = call
        .app
        .carry_through(|control| async move { control.delete_unit(&caller, &unit).await })
        .await;
    match deleted {
        Ok(()) | Err(ControlError::NotFound { .. } | ControlError::NoState { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Delete {
    #[serde(default)]
    object: Vec<Doomed>,
    #[serde(default)]
    quiet: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Doomed {
    key: String,
    version_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename = "DeleteResult", rename_all = "PascalCase")]
struct Outcome {
    #[serde(rename = "@xmlns")]
    xmlns: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deleted: Vec<Gone>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    error: Vec<Kept>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Gone {
    key: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Kept {
    key: String,
    code: &'static str,
    message: String,
}

/// What a document of deletions says.
pub(super) fn read(document: &[u8]) -> Result<Deletions, Refused> {
    let Delete { object, quiet } = xml::read(document)?;
    let objects = object.into_iter().map(|doomed| (doomed.key, doomed.version_id));
    Ok(Deletions {
        objects: objects.collect(),
        is_quiet: quiet,
    })
}

/// Deletes several, each for itself: one that is refused keeps none of the others.
pub(super) async fn delete_many(call: Call, body: Body) -> Result<Response, Refused> {
    let announced = call.announced()?;
    let received = announced.receive_small(&call.app.bodies, call.headers(), body, DOCUMENT_BYTES_MAX);
    let (document, _) = received.await?;
    let delete: Delete = xml::read(&document)?;
    if delete.object.is_empty() || delete.object.len() > DELETED_MAX {
        let message = format!("a request deletes 1 to {DELETED_MAX} objects");
        return Err(Refused::new(Code::MalformedXML, message));
    }
    let mut outcome = Outcome {
        xmlns: xml::NAMESPACE,
        deleted: Vec::new(),
        error: Vec::new(),
    };
    for doomed in delete.object {
        let key = doomed.key.clone();
        match delete_one(&call, doomed).await {
            Ok(()) if delete.quiet => {}
            Ok(()) => outcome.deleted.push(Gone { key }),
            Err(refused) => outcome.error.push(Kept {
                key,
                code: refused.code().as_str(),
                message: refused.message().to_owned(),
            }),
        }
    }
    Ok(xml::document(&outcome))
}

async fn delete_one(call: &Call, doomed: Doomed) -> Result<(), Refused> {
    if doomed.version_id.is_some_and(|version| !version.is_empty()) {
        let message = "versions are not deleted here; `taco` knows them";
        return Err(Refused::new(Code::NotImplemented, message));
    }
    match ObjectName::parse(&doomed.key) {
        Ok(ObjectName::State(unit)) => deleted(call, &unit).await,
        Ok(ObjectName::Lock(unit)) => lock::removed(call, &unit).await,
        Err(error) => Err(Refused::new(Code::AccessDenied, error.to_string())),
    }
}

/// What is said of an object beside its bytes.
pub(super) struct About {
    size: u64,
    etag: Option<String>,
    modified: Option<Timestamp>,
    content_type: &'static str,
}

impl About {
    fn of(look: &StateLook) -> Self {
        Self {
            size: look.size,
            etag: etag_of(&look.content),
            modified: look.modified,
            content_type: JSON,
        }
    }

    /// Of a file of ours.
    pub(super) fn file(size: usize, etag: String, modified: Timestamp) -> Self {
        Self {
            size: size as u64,
            etag: Some(etag),
            modified: Some(modified),
            content_type: JSON,
        }
    }

    pub(super) fn whole(&self, body: Body) -> Response {
        self.sent(StatusCode::OK, self.size, body)
    }

    fn part(&self, range: Range<u64>, body: Body) -> Response {
        let mut response = self.sent(StatusCode::PARTIAL_CONTENT, range.end - range.start, body);
        let told = format!("bytes {}-{}/{}", range.start, range.end - 1, self.size);
        let told = HeaderValue::from_str(&told).expect("digits are visible ASCII");
        response.headers_mut().insert(CONTENT_RANGE, told);
        response
    }

    fn sent(&self, status: StatusCode, length: u64, body: Body) -> Response {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.extend(self.validators());
        response
    }

    fn validators(&self) -> Vec<(http::HeaderName, HeaderValue)> {
        let etag = self.etag.as_ref().map(|etag| format!("\"{etag}\""));
        let modified = self.modified.and_then(http_date);
        [(ETAG, etag), (LAST_MODIFIED, modified)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, HeaderValue::from_str(&value?).ok()?)))
            .collect()
    }

    /// Whether the conditions of a read hold, in the order of RFC 9110.
    pub(super) fn judge(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
        };
        let seconds = self.modified.map(Timestamp::as_second);
        let date =
            |name| text(name).and_then(|text| rfc2822::parse(text).ok().map(|at| at.timestamp().as_second()));
        let unmet = || {
            Refused::new(
                Code::PreconditionFailed,
                "the object is not the one that the request asked for",
            )
        };
        match (text(IF_MATCH), date(IF_UNMODIFIED_SINCE)) {
            (Some(wanted), _) if !self.is_one_of(wanted) => return Err(unmet()),
            (None, Some(since)) if seconds.is_some_and(|at| at > since) => return Err(unmet()),
            _ => {}
        }
        let not_modified = || {
            let refused = Refused::new(Code::NotModified, "the object is the one that the client has");
            self.validators()
                .into_iter()
                .fold(refused, |refused, (name, value)| refused.with(name, value))
        };
        match (text(IF_NONE_MATCH), date(IF_MODIFIED_SINCE)) {
            (Some(known), _) if self.is_one_of(known) => Err(not_modified()),
            (None, Some(since)) if seconds.is_some_and(|at| at <= since) => Err(not_modified()),
            _ => Ok(()),
        }
    }

    fn is_one_of(&self, wanted: &str) -> bool {
        let is_this =
            |tag: &str| self.etag.as_deref() == Some(tag.trim().trim_start_matches("W/").trim_matches('"'));
        wanted.trim() == "*" || wanted.split(',').any(is_this)
    }
}

/// A moment as HTTP spells it.
fn http_date(at: Timestamp) -> Option<String> {
    rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&at)
        .ok()
}

/// The condition of a write: only where nothing is, or only over what the client has seen.
pub(super) fn condition(headers: &HeaderMap) -> Result<Option<IfContent>, Refused> {
    let unknown = |name: &str| {
        Refused::new(
            Code::NotImplemented,
            format!(
                "{name} is no condition for this write, and nothing was written; If-None-Match: * and If-Match with an ETag are"
            ),
        )
    };
    for name in [IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
        if headers.contains_key(&name) {
            return Err(unknown(name.as_str()));
        }
    }
    let text = |name| {
        headers
            .get(name)
            .map(|value: &HeaderValue| value.to_str().unwrap_or_default().trim())
    };
    match (text(IF_NONE_MATCH), text(IF_MATCH)) {
        (None, None) => Ok(None),
        (Some("*"), None) => Ok(Some(IfContent::Nothing)),
        (None, Some("*")) => Ok(Some(IfContent::Something)),
        (None, Some(etag)) => Ok(Some(IfContent::Is(base64_of(etag.trim_matches('"'))))),
        (Some(_), _) => Err(unknown("If-None-Match")),
    }
}

/// An ETag as the MD5 that it is; what is none is the MD5 of nothing that there could be.
fn base64_of(etag: &str) -> String {
    let pairs = etag.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> = pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    bytes.map_or_else(|| etag.to_owned(), |bytes| STANDARD.encode(bytes))
}

/// The bytes that are asked for. What is no range of S3's is no range at all, as there.
pub(super) fn wanted(headers: &HeaderMap) -> Option<Wanted> {
    let text = headers.get(RANGE)?.to_str().ok()?;
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    match (first.trim(), last.trim()) {
        ("", last) => Some(Wanted::Suffix(last.parse().ok()?)),
        (first, "") => Some(Wanted::Offset(first.parse().ok()?)),
        (first, last) => {
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last).then(|| Wanted::Bounded(first..last.saturating_add(1)))
        }
    }
}

pub(super) fn part_of(wanted: &Wanted, size: u64) -> Range<u64> {
    match wanted {
        Wanted::Bounded(range) => range.start.min(size)..range.end.min(size),
        Wanted::Offset(start) => (*start).min(size)..size,
        Wanted::Suffix(last) => size.saturating_sub(*last)..size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_as_s3_reads_it_and_what_is_none_is_overlooked() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, HeaderValue::from_str(text).unwrap());
            wanted(&headers)
        };
        assert_eq!(of("bytes=0-9"), Some(Wanted::Bounded(0..10)));
        assert_eq!(of("bytes=5-"), Some(Wanted::Offset(5)));
        assert_eq!(of("bytes=-5"), Some(Wanted::Suffix(5)));
        assert_eq!(
            of("bytes=0-18446744073709551615"),
            Some(Wanted::Bounded(0..u64::MAX))
        );
        for none in [
            "bytes=9-0",
            "bytes=-",
            "bytes=a-b",
            "lines=0-1",
            "bytes=0-1,5-6",
            "0-9",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn an_etag_leads_back_to_the_md5_it_was_made_of() {
        let md5 = opentaco_domain::digest::md5_base64(b"state");
        assert_eq!(base64_of(&crate::s3::payload::hex_of(&md5)), md5);
        assert_eq!(base64_of("no-md5"), "no-md5");
    }

    #[test]
    fn moments_are_spelled_as_http_has_them() {
        let at = Timestamp::from_second(784_111_777).unwrap();
        assert_eq!(http_date(at).as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    }
}
