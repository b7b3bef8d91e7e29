//! The S3-compatible door: Terraform's and OpenTofu's `s3` backends, the AWS CLI and SDKs, unmodified
//! (`client-protocol.md`, section 2).
//!
//! ```text
//! admit      who signed, and whether what they signed with is still good
//! payload    bodies: whole or in pieces, their signatures and checksums
//! mod        which operation a request is
//! objects    states: read, looked at, written, deleted
//! lock       lock files: the lock of the unit, as everywhere
//! listing    names
//! parts      states that are sent in parts
//! error      S3's codes; xml its documents
//! ```
//!
//! There is one bucket, whatever lies below. A key is a unit's state or the lock beside it, and nothing else: what is not
//! known is refused with a plain error, never taken for something like it.
//!
//! The `s3s` crate was looked at for this: it knows no prefix before the bucket, shows its key look-up no session token,
//! verifies no checksums, and takes Signature Version 2. What is left of it would be XML, which `quick-xml` writes;
//! signatures are `opentaco_identity::sigv4`, checksums `crc-fast`.

pub mod admit;
pub mod checksum;
pub mod error;
mod listing;
mod lock;
mod objects;
mod parts;
pub mod payload;
#[doc(hidden)]
pub mod strangers;
pub mod xml;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::ETAG;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use opentaco_control::Content;
use opentaco_domain::{Caller, Holding, ObjectName};
use percent_encoding::percent_decode_str;

use crate::app::App;
use crate::extract::{Approach, Asking, Notes};
pub use admit::Signer;
pub use error::{Code, Refused};
use payload::{Announced, hex_of};

/// Where the door is.
pub const PREFIX: &str = "/s3";

/// What the bucket is called, unless configured.
pub const BUCKET_DEFAULT: &str = "opentaco";

/// What putting a lock file is called in the log and the metrics.
pub(crate) const PUT_LOCK_FILE: &str = "s3.PutLockFile";

/// The largest document of a client's.
const DOCUMENT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Whether a path leads to this door.
#[must_use]
pub fn is_here(path: &str) -> bool {
    path.strip_prefix(PREFIX)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A refusal of a request that did not get as far as an operation.
#[must_use]
pub fn refusal(refused: Refused, path: &str, approach: &Approach, is_head: bool) -> Response {
    let request_id = approach.0.request.clone().unwrap_or_default();
    with_ids(refused.answer(path, &request_id, !is_head), &request_id)
}

/// A request that was let in.
pub(crate) struct Call {
    pub(crate) app: App,
    pub(crate) caller: Caller,
    pub(crate) signer: Signer,
    pub(crate) parts: Parts,
    pub(crate) query: Query,
    pub(crate) notes: Notes,
}

/// An operation, as the address and the method tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Operation {
    HeadBucket,
    GetBucketLocation,
    CreateBucket,
    ListObjects,
    ListObjectsV2,
    ListMultipartUploads,
    DeleteObjects,
    HeadObject,
    GetObject,
    PutObject,
    DeleteObject,
    CreateMultipartUpload,
    UploadPart,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListParts,
}

impl Operation {
    fn name(&self) -> &'static str {
        match self {
            Self::HeadBucket => "s3.HeadBucket",
            Self::GetBucketLocation => "s3.GetBucketLocation",
            Self::CreateBucket => "s3.CreateBucket",
            Self::ListObjects => "s3.ListObjects",
            Self::ListObjectsV2 => "s3.ListObjectsV2",
            Self::ListMultipartUploads => "s3.ListMultipartUploads",
            Self::DeleteObjects => "s3.DeleteObjects",
            Self::HeadObject => "s3.HeadObject",
            Self::GetObject => "s3.GetObject",
            Self::PutObject => "s3.PutObject",
            Self::DeleteObject => "s3.DeleteObject",
            Self::CreateMultipartUpload => "s3.CreateMultipartUpload",
            Self::UploadPart => "s3.UploadPart",
            Self::CompleteMultipartUpload => "s3.CompleteMultipartUpload",
            Self::AbortMultipartUpload => "s3.AbortMultipartUpload",
            Self::ListParts => "s3.ListParts",
        }
    }

    /// The parameters it knows; whatever else stands in a query asks for something that it does not do.
    fn parameters(&self) -> &'static [&'static str] {
        match self {
            Self::HeadBucket
            | Self::CreateBucket
            | Self::HeadObject
            | Self::PutObject
            | Self::DeleteObject => &[],
            Self::GetObject => &[
                "response-cache-control",
                "response-content-disposition",
                "response-content-encoding",
                "response-content-language",
                "response-content-type",
                "response-expires",
            ],
            Self::GetBucketLocation => &["location"],
            Self::ListObjects => &["prefix", "delimiter", "marker", "max-keys", "encoding-type"],
            Self::ListObjectsV2 => &[
                "list-type",
                "prefix",
                "delimiter",
                "start-after",
                "continuation-token",
                "max-keys",
                "encoding-type",
                "fetch-owner",
            ],
            Self::ListMultipartUploads => &[
                "uploads",
                "prefix",
                "delimiter",
                "key-marker",
                "upload-id-marker",
                "max-uploads",
                "encoding-type",
            ],
            Self::DeleteObjects => &["delete"],
            Self::CreateMultipartUpload => &["uploads"],
            Self::UploadPart => &["partNumber", "uploadId"],
            Self::CompleteMultipartUpload | Self::AbortMultipartUpload => &["uploadId"],
            Self::ListParts => &["uploadId", "max-parts", "part-number-marker", "encoding-type"],
        }
    }

    /// Which one a request is.
    fn of(method: &Method, has_key: bool, query: &Query, headers: &HeaderMap) -> Result<Self, Refused> {
        let has = |name: &str| query.get(name).is_some();
        let operation = match (method.as_str(), has_key) {
            ("HEAD", false) => Self::HeadBucket,
            ("PUT", false) => Self::CreateBucket,
            ("POST", false) if has("delete") => Self::DeleteObjects,
            ("GET", false) if has("location") => Self::GetBucketLocation,
            ("GET", false) if has("uploads") => Self::ListMultipartUploads,
            ("GET", false) if query.get("list-type") == Some("2") => Self::ListObjectsV2,
            ("GET", false) => Self::ListObjects,
            ("HEAD", true) => Self::HeadObject,
            ("GET", true) if has("uploadId") => Self::ListParts,
            ("GET", true) => Self::GetObject,
            ("PUT", true) if has("partNumber") || has("uploadId") => Self::UploadPart,
            ("PUT", true) => Self::PutObject,
            ("POST", true) if has("uploads") => Self::CreateMultipartUpload,
            ("POST", true) if has("uploadId") => Self::CompleteMultipartUpload,
            ("DELETE", true) if has("uploadId") => Self::AbortMultipartUpload,
            ("DELETE", true) => Self::DeleteObject,
            _ => return Err(unknown("this method")),
        };
        let is_signature = |name: &str| name.starts_with("X-Amz-") || name == "x-id";
        let known = operation.parameters();
        let strange = query
            .names()
            .find(|name| !known.contains(name) && !is_signature(name));
        if let Some(strange) = strange {
            return Err(unknown(&format!("`{strange}`")));
        }
        if headers.contains_key("x-amz-copy-source") {
            return Err(unknown("copying"));
        }
        Ok(operation)
    }
}

fn unknown(what: &str) -> Refused {
    Refused::new(
        Code::NotImplemented,
        format!(
            "{what} is not known at this address: this door holds Terraform states, and knows the operations that are listed in docs/s3-compat"
        ),
    )
}

/// Every request to the door. Methods and parameters together say which operation it is, which no router knows.
pub async fn serve(
    State(app): State<App>,
    Asking(caller): Asking,
    Extension(signer): Extension<Signer>,
    approach: Approach,
    notes: Notes,
    request: Request,
) -> Response {
    let path = request.uri().path().to_owned();
    let is_head = request.method() == Method::HEAD;
    let request_id = approach.0.request.clone().unwrap_or_default();
    match carried_out(app, caller, signer, notes, request).await {
        Ok(answer) => with_ids(answer, &request_id),
        Err(refused) => refusal(refused, &path, &approach, is_head),
    }
}

async fn carried_out(
    app: App,
    caller: Caller,
    signer: Signer,
    notes: Notes,
    request: Request,
) -> Result<Response, Refused> {
    let (parts, body) = request.into_parts();
    let (bucket, key) = target(parts.uri.path())?;
    let query = Query::read(parts.uri.query().unwrap_or(""));
    if bucket.is_empty() {
        return Err(unknown("listing buckets"));
    }
    let operation = Operation::of(&parts.method, key.is_some(), &query, &parts.headers)?;
    notes.action(operation.name());
    if bucket != *app.s3_bucket {
        return Err(match operation {
            Operation::CreateBucket => Refused::new(
                Code::AccessDenied,
                format!(
                    "there is one bucket here, `{}`, and no other can be made",
                    app.s3_bucket
                ),
            ),
            _ => Refused::new(
                Code::NoSuchBucket,
                format!("the bucket of this door is called `{}`", app.s3_bucket),
            ),
        });
    }
    let call = Call {
        app,
        caller,
        signer,
        parts,
        query,
        notes,
    };
    let Some(key) = key else {
        return match operation {
            Operation::GetBucketLocation => Ok(listing::location()),
            Operation::ListObjects => listing::first(&call).await,
            Operation::ListObjectsV2 => listing::second(&call).await,
            Operation::ListMultipartUploads => parts::uploads(&call).await,
            Operation::DeleteObjects => objects::delete_many(call, body).await,
            Operation::CreateBucket => Ok(listing::created(&call.app.s3_bucket)),
            _ => Ok(listing::there_is()),
        };
    };
    let name =
        ObjectName::parse(&key).map_err(|error| Refused::new(Code::AccessDenied, error.to_string()))?;
    call.notes.unit(name.unit());
    if let (Operation::PutObject, ObjectName::Lock(_)) = (&operation, &name) {
        call.notes.action(PUT_LOCK_FILE);
    }
    match (operation, name) {
        (Operation::HeadObject, ObjectName::State(unit)) => objects::head(&call, &unit).await,
        (Operation::GetObject, ObjectName::State(unit)) => objects::get(&call, &unit).await,
        (Operation::PutObject, ObjectName::State(unit)) => objects::put(call, unit, body).await,
        (Operation::DeleteObject, ObjectName::State(unit)) => objects::delete(&call, &unit).await,
        (Operation::HeadObject, ObjectName::Lock(unit)) => lock::head(&call, &unit).await,
        (Operation::GetObject, ObjectName::Lock(unit)) => lock::get(&call, &unit).await,
        (Operation::PutObject, ObjectName::Lock(unit)) => lock::put(call, unit, body).await,
        (Operation::DeleteObject, ObjectName::Lock(unit)) => lock::delete(&call, &unit).await,
        (Operation::CreateMultipartUpload, ObjectName::State(unit)) => parts::create(&call, &unit).await,
        (Operation::UploadPart, ObjectName::State(unit)) => parts::upload(call, unit, body).await,
        (Operation::CompleteMultipartUpload, ObjectName::State(unit)) => {
            parts::complete(call, unit, body).await
        }
        (Operation::AbortMultipartUpload, ObjectName::State(unit)) => parts::abort(&call, &unit).await,
        (Operation::ListParts, ObjectName::State(unit)) => parts::list(&call, &unit).await,
        _ => Err(unknown("this operation")),
    }
}

/// The bucket and the key of a path, decoded once.
fn target(path: &str) -> Result<(String, Option<String>), Refused> {
    let rest = path.strip_prefix(PREFIX).unwrap_or_default();
    let rest = rest.strip_prefix('/').unwrap_or_default();
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8();
        text.map(std::borrow::Cow::into_owned)
            .map_err(|_| Refused::new(Code::InvalidArgument, "the address is not UTF-8"))
    };
    Ok((
        decoded(bucket)?,
        match key {
            "" => None,
            key => Some(decoded(key)?),
        },
    ))
}

fn with_ids(mut response: Response, request_id: &str) -> Response {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(HeaderName::from_static("x-amz-request-id"), id.clone());
        headers.insert(HeaderName::from_static("x-amz-id-2"), id);
    }
    response
}

impl Call {
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// What a header says, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// What a writer holds who names no lock.
    pub(crate) fn holding(&self) -> Holding {
        Holding::Session(self.signer.signed.clone())
    }

    /// What is said of the body.
    pub(crate) fn announced(&self) -> Result<Announced, Refused> {
        Announced::read(self.headers(), self.signer.payload, self.signer.chunks.clone())
    }
}

/// The parameters of a request, decoded.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    fn read(raw: &str) -> Self {
        let decoded = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        });
        Self(pairs.collect())
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The first value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(given, _)| given == name);
        pair.map(|(_, value)| value.as_str())
    }

    /// A parameter that is text, unless it is empty.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// A parameter that is a number, up to `most` and that without it.
    pub(crate) fn number(&self, name: &str, most: usize) -> Result<usize, Refused> {
        match self.get(name) {
            None | Some("") => Ok(most),
            Some(text) => text.parse().map(|number: usize| number.min(most)).map_err(|_| {
                Refused::new(
                    Code::InvalidArgument,
                    format!("{name} is a number from 0 to {}", i32::MAX),
                )
            }),
        }
    }
}

/// MD5 in base64 as an ETag.
pub(crate) fn etag(md5: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{}\"", hex_of(md5)))
        .unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// The ETag of a state, if it has one that can be told.
pub(crate) fn etag_of(content: &Content) -> Option<String> {
    match content {
        Content::Md5(md5) => Some(hex_of(md5)),
        Content::Tag(tag) => Some(tag.trim_start_matches("W/").trim_matches('"').to_owned()),
        Content::Unknown => None,
    }
}

/// An answer that says which bytes are there now.
pub(crate) fn stored(md5: &str, checksums: &[checksum::Checksum]) -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(ETAG, etag(md5));
    headers.extend(checksums.iter().map(checksum::Checksum::as_header));
    if !checksums.is_empty() {
        let kind = HeaderName::from_static("x-amz-checksum-type");
        headers.insert(kind, HeaderValue::from_static("FULL_OBJECT"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_bucket_and_a_key_decoded_once() {
        let of = |path: &str| target(path).unwrap();
        let key = |key: &str| ("opentaco".to_owned(), Some(key.to_owned()));
        assert_eq!(of("/s3"), (String::new(), None));
        assert_eq!(of("/s3/"), (String::new(), None));
        assert_eq!(of("/s3/opentaco"), ("opentaco".to_owned(), None));
        assert_eq!(of("/s3/opentaco/"), ("opentaco".to_owned(), None));
        assert_eq!(of("/s3/opentaco/env:/dev/a.tfstate"), key("env:/dev/a.tfstate"));
        assert_eq!(
            of("/s3/opentaco/env%3A/a%20b%2Bc.tfstate"),
            key("env:/a b+c.tfstate")
        );
        assert_eq!(of("/s3/opentaco/a+b%2525"), key("a+b%25"));
        assert_eq!(of("/s3/opentaco//a//"), key("/a//"));
        assert!(target("/s3/opentaco/%FF").is_err());
    }

    #[test]
    fn what_is_not_known_is_never_taken_for_something_like_it() {
        let of = |method: &str, has_key: bool, query: &str| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            Operation::of(&method, has_key, &Query::read(query), &HeaderMap::new())
        };
        for (method, has_key, query) in [
            ("GET", true, "acl"),
            ("GET", true, "versionId=1"),
            ("GET", true, "partNumber=1"),
            ("PUT", true, "tagging"),
            ("PUT", true, "retention"),
            ("DELETE", true, "versionId=1"),
            ("DELETE", false, ""),
            ("GET", false, "versions"),
            ("GET", false, "policy"),
            ("PUT", false, "versioning"),
            ("POST", true, "restore"),
            ("POST", true, "select&select-type=2"),
            ("POST", false, ""),
            ("PATCH", true, ""),
        ] {
            let refused = of(method, has_key, query).unwrap_err();
            assert_eq!(refused.code(), Code::NotImplemented, "{method} {has_key} {query}");
        }
        assert_eq!(of("PUT", true, "x-id=PutObject").unwrap(), Operation::PutObject);
        let mut copies = HeaderMap::new();
        copies.insert("x-amz-copy-source", HeaderValue::from_static("/a/b"));
        assert!(Operation::of(&Method::PUT, true, &Query::default(), &copies).is_err());
    }
}
