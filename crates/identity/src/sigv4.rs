//! AWS Signature Version 4, as S3 clients use it: whose key a request claims, and whether that key signed it.
//!
//! ```text
//! Presented::read      what the request claims: key, session token, date, scope, which headers are signed, what of its body
//!                      (the secret is found for that: `Sts::recover`)
//! Presented::verify    the signature over the request as it came; tells how the body is to be judged
//! Chunks               signatures within a body that is sent in pieces
//! ```
//!
//! The path is signed as it stands on the wire, prefix included: encoding it once more, as the description of the
//! signature has it for other services, breaks every workspace of Terraform (`env:/…`). What the signature does not cover
//! must not say anything to S3: a header `x-amz-…` that is not signed is refused. Clocks may differ by 15 minutes.
//!
//! Nothing here knows a bucket, a status code or a body; a refusal says what to answer in S3's own words.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use http::HeaderMap;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use opentaco_domain::{Secret, Sha256};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// By how much a request may be older or newer than now.
pub const SKEW_MAX: SignedDuration = SignedDuration::from_mins(15);

/// How long a presigned address may be good, in seconds: a week.
const EXPIRES_MAX: u64 = 604_800;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const CHUNK: &str = "AWS4-HMAC-SHA256-PAYLOAD";
const TRAILER: &str = "AWS4-HMAC-SHA256-TRAILER";
const TERMINATOR: &str = "aws4_request";
const MOMENT: &str = "%Y%m%dT%H%M%SZ";

/// What stands unescaped in a canonical query (RFC 3986, unreserved).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A request as it came.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'r> {
    /// Its method.
    pub method: &'r str,
    /// Its path as it stood on the wire, prefix included, without the query.
    pub path: &'r str,
    /// Its query as it stood on the wire, without the question mark.
    pub query: &'r str,
    /// Its headers, `host` among them.
    pub headers: &'r HeaderMap,
}

/// Why a request is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// What should say who signed cannot be read.
    #[error("the authorization of this request cannot be read: {0}")]
    Malformed(&'static str),
    /// What should say in the query who signed cannot be read.
    #[error("the signature in the query of this request cannot be read: {0}")]
    MalformedQuery(&'static str),
    /// A header says something to S3 and is not signed.
    #[error("the header `{0}` is not signed")]
    Unsigned(String),
    /// A header is said to be signed and is not there.
    #[error("the header `{0}` is signed and did not come with the request")]
    Missing(String),
    /// Its clock is too far from ours.
    #[error("the difference between the time of the request and the time here is too large")]
    Skewed,
    /// It is a presigned address whose time is over.
    #[error("the presigned request has expired")]
    Expired,
    /// Somebody else signed it, or it was changed since.
    #[error(
        "the signature is not the one that was computed here; check the key and how the request is signed"
    )]
    Mismatch,
}

/// What is signed of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// This is its digest.
    Whole(Sha256),
    /// Nothing.
    Unsigned,
    /// Each of its pieces; and with `trailer` what is said behind the last of them.
    Chunks {
        /// Whether there is a signed trailer.
        trailer: bool,
    },
    /// Nothing, but it comes in pieces, and behind the last of them stands a checksum.
    UnsignedChunks,
}

impl Payload {
    /// What the headers say of it; `None` if they say nothing.
    ///
    /// # Errors
    /// [`NotSigned::Malformed`].
    pub fn of_header(headers: &HeaderMap) -> Result<Option<Self>, NotSigned> {
        Ok(Some(match header(headers, "x-amz-content-sha256")? {
            None => return Ok(None),
            Some("UNSIGNED-PAYLOAD") => Self::Unsigned,
            Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER") => Self::UnsignedChunks,
            Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD") => Self::Chunks { trailer: false },
            Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER") => Self::Chunks { trailer: true },
            Some(digest) => {
                Self::Whole(digest.parse().map_err(|_| {
                    NotSigned::Malformed("x-amz-content-sha256 is neither a digest nor a mode")
                })?)
            }
        }))
    }
}

/// What a request claims. Nothing of it is proved.
#[derive(Debug, Clone)]
pub struct Presented {
    /// The access key id.
    pub access_key: String,
    /// The session token.
    pub session_token: Option<String>,
    /// What of the body is signed.
    pub payload: Payload,
    /// When it was signed, by the clock of whoever did.
    pub at: Timestamp,
    moment: String,
    day: String,
    region: String,
    signed: Vec<String>,
    signature: String,
    /// For how many seconds a presigned address is good; none of a request that is signed by header.
    expires: Option<u64>,
}

impl Presented {
    /// What the request claims; `None` if it claims nothing.
    ///
    /// # Errors
    /// [`NotSigned::Malformed`].
    pub fn read(asked: &Asked<'_>) -> Result<Option<Self>, NotSigned> {
        let authorization = asked.headers.get("authorization");
        let query = pairs(asked.query);
        let presigned = query.iter().any(|(name, _)| name == "X-Amz-Signature");
        match (authorization, presigned) {
            (None, false) => Ok(None),
            (Some(_), true) => Err(NotSigned::Malformed("it is signed by header and by query")),
            (Some(value), false) => {
                let value = value
                    .to_str()
                    .map_err(|_| NotSigned::Malformed("it is not text"))?;
                Self::by_header(asked, value).map(Some)
            }
            (None, true) => match Self::by_query(&query) {
                Err(NotSigned::Malformed(what)) => Err(NotSigned::MalformedQuery(what)),
                read => read.map(Some),
            },
        }
    }

    fn by_header(asked: &Asked<'_>, authorization: &str) -> Result<Self, NotSigned> {
        let rest = authorization
            .strip_prefix(ALGORITHM)
            .ok_or(NotSigned::Malformed("AWS4-HMAC-SHA256 is expected"))?;
        let part = |name: &str| {
            let mut parts = rest.split(',').map(str::trim);
            parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        };
        let payload = Payload::of_header(asked.headers)?
            .ok_or(NotSigned::Malformed("x-amz-content-sha256 is missing"))?;
        let session_token = header(asked.headers, "x-amz-security-token")?.map(str::to_owned);
        let moment = header(asked.headers, "x-amz-date")?;
        Self::of(
            part("Credential"),
            moment,
            part("SignedHeaders"),
            part("Signature"),
            session_token,
            payload,
            None,
        )
    }

    fn by_query(query: &[(String, String)]) -> Result<Self, NotSigned> {
        let one = |name: &str| -> Result<Option<&str>, NotSigned> {
            let mut values = query.iter().filter(|(given, _)| given == name);
            let value = values.next().map(|(_, value)| value.as_str());
            match values.next() {
                None => Ok(value),
                Some(_) => Err(NotSigned::Malformed("a part of the signature is given twice")),
            }
        };
        if one("X-Amz-Algorithm")? != Some(ALGORITHM) {
            return Err(NotSigned::Malformed("X-Amz-Algorithm is to be AWS4-HMAC-SHA256"));
        }
        let expires = one("X-Amz-Expires")?.and_then(|seconds| seconds.parse().ok());
        let expires = expires
            .filter(|seconds| (1..=EXPIRES_MAX).contains(seconds))
            .ok_or(NotSigned::Malformed(
                "X-Amz-Expires is a number of seconds, a week at most",
            ))?;
        Self::of(
            one("X-Amz-Credential")?,
            one("X-Amz-Date")?,
            one("X-Amz-SignedHeaders")?,
            one("X-Amz-Signature")?,
            one("X-Amz-Security-Token")?.map(str::to_owned),
            Payload::Unsigned,
            Some(expires),
        )
    }

    fn of(
        credential: Option<&str>,
        moment: Option<&str>,
        signed: Option<&str>,
        signature: Option<&str>,
        session_token: Option<String>,
        payload: Payload,
        expires: Option<u64>,
    ) -> Result<Self, NotSigned> {
        let missing = |what: &'static str| NotSigned::Malformed(what);
        // The key may hold slashes, the rest cannot.
        let mut scope = credential
            .ok_or(missing("the credential is missing"))?
            .rsplitn(5, '/');
        let (Some(TERMINATOR), Some("s3"), Some(region), Some(day), Some(access_key)) = (
            scope.next(),
            scope.next(),
            scope.next(),
            scope.next(),
            scope.next(),
        ) else {
            return Err(missing("the credential is KEY/DAY/REGION/s3/aws4_request"));
        };
        let moment = moment.ok_or(missing("the date is missing"))?;
        let at = DateTime::strptime(MOMENT, moment)
            .ok()
            .and_then(|at| at.to_zoned(TimeZone::UTC).ok())
            .filter(|at| at.strftime(MOMENT).to_string() == moment)
            .ok_or(missing("the date is spelled as in 20261123T120000Z"))?;
        if !moment.starts_with(day) || day.len() != 8 {
            return Err(missing("the day of the credential is not the day of the request"));
        }
        let signed = signed.ok_or(missing("the signed headers are missing"))?;
        let signed: Vec<String> = signed.split(';').map(str::to_ascii_lowercase).collect();
        if !signed.iter().any(|name| name == "host") {
            return Err(missing("host is not signed"));
        }
        let signature = signature.ok_or(missing("the signature is missing"))?;
        let plain = |byte: u8| b"0123456789abcdef".contains(&byte);
        if signature.len() != 64 || !signature.bytes().all(plain) {
            return Err(missing("the signature is 64 lower-case hex digits"));
        }
        Ok(Self {
            access_key: access_key.to_owned(),
            session_token,
            payload,
            at: at.timestamp(),
            moment: moment.to_owned(),
            day: day.to_owned(),
            region: region.to_owned(),
            signed,
            signature: signature.to_owned(),
            expires,
        })
    }

    /// Whether the holder of `secret` signed this very request, and when that counts. Tells what pieces of its body are
    /// signed with.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn verify(&self, asked: &Asked<'_>, secret: &Secret, now: Timestamp) -> Result<Chunks, NotSigned> {
        self.judge_time(now)?;
        let says_something = |name: &str| name.starts_with("x-amz-") || name == "content-md5";
        let unsigned = asked
            .headers
            .keys()
            .map(http::HeaderName::as_str)
            .find(|name| says_something(name) && !self.signed.iter().any(|signed| signed == name));
        if let Some(name) = unsigned {
            return Err(NotSigned::Unsigned(name.to_owned()));
        }
        let scope = format!("{}/{}/s3/{TERMINATOR}", self.day, self.region);
        let canonical = self.canonical(asked)?;
        let digest = Sha256::of(canonical.as_bytes());
        let to_sign = format!("{ALGORITHM}\n{}\n{scope}\n{digest}", self.moment);
        let key = signing_key(secret, &self.day, &self.region);
        if !is_signed(&key, &to_sign, &self.signature) {
            return Err(NotSigned::Mismatch);
        }
        Ok(Chunks {
            key,
            scope: format!("{}\n{scope}", self.moment),
            previous: self.signature.clone(),
        })
    }

    fn judge_time(&self, now: Timestamp) -> Result<(), NotSigned> {
        let age = now.duration_since(self.at);
        if age < -SKEW_MAX {
            return Err(NotSigned::Skewed);
        }
        match self.expires {
            None if age > SKEW_MAX => Err(NotSigned::Skewed),
            Some(seconds) if age.as_secs() >= i64::try_from(seconds).unwrap_or(i64::MAX) => {
                Err(NotSigned::Expired)
            }
            _ => Ok(()),
        }
    }

    fn canonical(&self, asked: &Asked<'_>) -> Result<String, NotSigned> {
        let mut headers = String::new();
        for name in &self.signed {
            let values: Vec<String> = asked
                .headers
                .get_all(name)
                .iter()
                .map(|value| folded(&String::from_utf8_lossy(value.as_bytes())))
                .collect();
            if values.is_empty() {
                return Err(NotSigned::Missing(name.clone()));
            }
            headers.push_str(&format!("{name}:{}\n", values.join(",")));
        }
        let payload = match self.payload {
            Payload::Whole(digest) => digest.to_string(),
            Payload::Unsigned => "UNSIGNED-PAYLOAD".to_owned(),
            Payload::UnsignedChunks => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(),
            Payload::Chunks { trailer: false } => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(),
            Payload::Chunks { trailer: true } => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".to_owned(),
        };
        let path = if asked.path.is_empty() { "/" } else { asked.path };
        Ok(format!(
            "{}\n{path}\n{}\n{headers}\n{}\n{payload}",
            asked.method,
            canonical_query(asked.query),
            self.signed.join(";"),
        ))
    }
}

/// Judges the signatures within a body: each is made over the one before it, so pieces cannot change places.
#[derive(Debug, Clone)]
pub struct Chunks {
    key: hmac::Key,
    /// The moment and the scope, as they stand in every text that is signed.
    scope: String,
    previous: String,
}

impl Chunks {
    /// The next piece, by its digest, and its signature.
    ///
    /// # Errors
    /// [`NotSigned::Mismatch`].
    pub fn chunk(&mut self, digest: &Sha256, signature: &str) -> Result<(), NotSigned> {
        let nothing = Sha256::of(b"");
        let text = format!("{CHUNK}\n{}\n{}\n{nothing}\n{digest}", self.scope, self.previous);
        self.next(&text, signature)
    }

    /// What stands behind the last piece, as `name:value` with a line break behind each, and its signature.
    ///
    /// # Errors
    /// [`NotSigned::Mismatch`].
    pub fn trailer(&mut self, lines: &str, signature: &str) -> Result<(), NotSigned> {
        let digest = Sha256::of(lines.as_bytes());
        let text = format!("{TRAILER}\n{}\n{}\n{digest}", self.scope, self.previous);
        self.next(&text, signature)
    }

    fn next(&mut self, text: &str, signature: &str) -> Result<(), NotSigned> {
        if !is_signed(&self.key, text, signature) {
            return Err(NotSigned::Mismatch);
        }
        signature.clone_into(&mut self.previous);
        Ok(())
    }
}

fn signing_key(secret: &Secret, day: &str, region: &str) -> hmac::Key {
    let seed = format!("AWS4{}", secret.expose());
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, seed.as_bytes());
    for part in [day, region, "s3", TERMINATOR] {
        key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
    }
    key
}

fn is_signed(key: &hmac::Key, text: &str, signature: &str) -> bool {
    let computed = hmac::sign(key, text.as_bytes());
    let mut spelled = String::with_capacity(64);
    for byte in computed.as_ref() {
        spelled.push_str(&format!("{byte:02x}"));
    }
    verify_slices_are_equal(spelled.as_bytes(), signature.as_bytes()).is_ok()
}

/// The one value of a header; a second one would leave open which counts.
fn header<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, NotSigned> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    match (value.to_str(), values.next()) {
        (Ok(value), None) => Ok(Some(value.trim())),
        (Ok(_), Some(_)) => Err(NotSigned::Malformed("a header that is signed is given twice")),
        (Err(_), _) => Err(NotSigned::Malformed("a header that is signed is not ASCII")),
    }
}

/// A header's value without the spaces around it, and with one where there are several.
fn folded(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// The names and values of a query, decoded. A plus sign is a space, as S3 reads it.
fn pairs(query: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

/// The query as it is signed: each name and value encoded in one way, in the order of names; the signature is no part of
/// it.
fn canonical_query(query: &str) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
    let mut all: Vec<(String, String)> = pairs(query)
        .iter()
        .filter(|(name, _)| name != "X-Amz-Signature")
        .map(|(name, value)| (encoded(name), encoded(value)))
        .collect();
    all.sort();
    let all: Vec<String> = all
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    all.join("&")
}

#[cfg(test)]
mod tests;
