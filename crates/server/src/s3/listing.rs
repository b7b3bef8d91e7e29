//! The bucket: that it is there, where, and what is in it.

use axum::body::Body;
use axum::response::Response;
use http::header::{HeaderValue, LOCATION};
use http::{HeaderName, StatusCode};
use jiff::Timestamp;
use opentaco_control::objects::{ListObjects, ObjectsPage};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::s3::error::{Code, Refused};
use crate::s3::payload::hex_of;
use crate::s3::{Call, xml};

/// As many names as S3 has on a page.
pub(super) const PAGE: usize = 1000;

/// What S3 leaves as it is in names that are asked for as a URL has them.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'*')
    .remove(b'/');

/// The bucket is there.
pub(super) fn there_is() -> Response {
    let mut response = Response::new(Body::empty());
    let region = HeaderName::from_static("x-amz-bucket-region");
    response
        .headers_mut()
        .insert(region, HeaderValue::from_static("us-east-1"));
    response
}

/// The bucket is there, as it was before it was asked for.
pub(super) fn created(bucket: &str) -> Response {
    let mut response = there_is();
    *response.status_mut() = StatusCode::OK;
    if let Ok(location) = HeaderValue::from_str(&format!("/{bucket}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

#[derive(Serialize)]
#[serde(rename = "LocationConstraint")]
struct Location {
    #[serde(rename = "@xmlns")]
    xmlns: &'static str,
}

/// Where the bucket is. Every region is right in a signature; this is how S3 says "the first".
pub(super) fn location() -> Response {
    xml::document(&Location {
        xmlns: xml::NAMESPACE,
    })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    key: String,
    #[serde(serialize_with = "xml::moment")]
    last_modified: Timestamp,
    #[serde(rename = "ETag", skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    size: u64,
    storage_class: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CommonPrefix {
    pub(super) prefix: String,
}

/// A page, as both versions of the operation have it; what one of them leaves out is none.
#[derive(Serialize)]
#[serde(rename = "ListBucketResult", rename_all = "PascalCase")]
struct Page<'a> {
    #[serde(rename = "@xmlns")]
    xmlns: &'static str,
    name: &'a str,
    prefix: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    delimiter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    continuation_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_continuation_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_count: Option<usize>,
    max_keys: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_type: Option<&'static str>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    contents: Vec<Object>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    common_prefixes: Vec<CommonPrefix>,
}

/// ListObjects, which goes on by keys.
pub(super) async fn first(call: &Call) -> Result<Response, Refused> {
    let marker = call.query.text("marker").unwrap_or_default();
    let listing = Listing::read(call)?;
    let page = listing.page(call, marker.clone()).await?;
    let next_marker = page.next.clone().filter(|_| listing.delimiter.is_some());
    let told = Page {
        marker: Some(listing.spelled(&marker)),
        next_marker: next_marker.map(|next| listing.spelled(&next)),
        ..listing.told(call, page)
    };
    Ok(xml::document(&told))
}

/// ListObjectsV2, which goes on by tokens.
pub(super) async fn second(call: &Call) -> Result<Response, Refused> {
    let start_after = call.query.text("start-after");
    let token = call.query.text("continuation-token");
    let after = match &token {
        Some(token) => read_token(token)?,
        None => start_after.clone().unwrap_or_default(),
    };
    let listing = Listing::read(call)?;
    let page = listing.page(call, after).await?;
    let told = Page {
        start_after: start_after.map(|key| listing.spelled(&key)),
        continuation_token: token,
        next_continuation_token: page.next.as_deref().map(write_token),
        key_count: Some(page.objects.len() + page.folded.len()),
        ..listing.told(call, page)
    };
    Ok(xml::document(&told))
}

/// What both versions are asked for.
struct Listing {
    prefix: String,
    delimiter: Option<String>,
    limit: usize,
    encodes: bool,
}

impl Listing {
    fn read(call: &Call) -> Result<Self, Refused> {
        Ok(Self {
            prefix: call.query.text("prefix").unwrap_or_default(),
            delimiter: call.query.text("delimiter"),
            limit: call.query.number("max-keys", PAGE)?,
            encodes: encodes(call)?,
        })
    }

    async fn page(&self, call: &Call, after: String) -> Result<ObjectsPage, Refused> {
        let wanted = ListObjects {
            bucket: call.app.s3_bucket.to_string(),
            prefix: self.prefix.clone(),
            after,
            delimiter: self.delimiter.clone(),
            limit: self.limit,
        };
        Ok(call.app.control.list_objects(&call.caller, &wanted).await?)
    }

    fn spelled(&self, name: &str) -> String {
        spelled(name, self.encodes)
    }

    fn told<'a>(&self, call: &'a Call, page: ObjectsPage) -> Page<'a> {
        let contents = page.objects.into_iter().map(|object| Object {
            key: self.spelled(&object.key),
            last_modified: object.modified,
            etag: object.md5.map(|md5| format!("\"{}\"", hex_of(&md5))),
            size: object.size,
            storage_class: "STANDARD",
        });
        let folded = page.folded.iter().map(|prefix| CommonPrefix {
            prefix: self.spelled(prefix),
        });
        Page {
            xmlns: xml::NAMESPACE,
            name: &call.app.s3_bucket,
            prefix: self.spelled(&self.prefix),
            delimiter: self.delimiter.as_deref().map(|text| self.spelled(text)),
            marker: None,
            next_marker: None,
            start_after: None,
            continuation_token: None,
            next_continuation_token: None,
            key_count: None,
            max_keys: self.limit,
            encoding_type: self.encodes.then_some("url"),
            is_truncated: page.next.is_some(),
            contents: contents.collect(),
            common_prefixes: folded.collect(),
        }
    }
}

/// Whether names are to be spelled as in a URL.
pub(super) fn encodes(call: &Call) -> Result<bool, Refused> {
    match call.query.get("encoding-type") {
        None | Some("") => Ok(false),
        Some("url") => Ok(true),
        Some(_) => Err(Refused::new(
            Code::InvalidArgument,
            "encoding-type is `url`, if it is anything",
        )),
    }
}

pub(super) fn spelled(name: &str, encodes: bool) -> String {
    match encodes {
        true => utf8_percent_encode(name, PLAIN).to_string(),
        false => name.to_owned(),
    }
}

/// A token is the last name of its page, in hex: opaque, and it holds no state of ours.
fn write_token(name: &str) -> String {
    name.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn read_token(token: &str) -> Result<String, Refused> {
    let pairs = token.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> = pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| {
            let message = "the continuation token is none that this service gave; start again without one";
            Refused::new(Code::InvalidArgument, message)
        })
}
