//! Documents of S3, in and out.

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};

use crate::s3::error::{Code, Refused};

/// The name of S3's documents.
pub const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// A document as the answer to a request.
pub fn document(document: &impl Serialize) -> Response {
    let written = quick_xml::se::to_string(document).expect("documents of ours are XML");
    let mut response = Response::new(Body::from(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{written}"
    )));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// A document of a client's.
///
/// # Errors
/// [`Code::MalformedXML`].
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    let malformed = |reason: &dyn std::fmt::Display| {
        Refused::new(
            Code::MalformedXML,
            format!("the document in the body is not what is asked for: {reason}"),
        )
    };
    let text = std::str::from_utf8(body).map_err(|error| malformed(&error))?;
    quick_xml::de::from_str(text).map_err(|error| malformed(&error))
}

/// A moment as S3 spells it in documents: milliseconds, whatever they are.
pub fn moment<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    let spelled = at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    serializer.serialize_str(&spelled)
}
