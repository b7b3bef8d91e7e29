//! A second signer by AWS Signature Version 4, written from its description and not from our verifier.

use aws_lc_rs::{digest, hmac};
use http::HeaderMap;

/// When everything here is signed.
pub(crate) const MOMENT: &str = "20261201T120000Z";

/// A request in the making.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
}

impl Request {
    /// Reads `METHOD path?query` and the headers below it, as far as they are such; what follows an empty line is a body.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let mut headers = HeaderMap::new();
        let mut rest = bytes;
        let mut line = || {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let (line, more) = rest.split_at(end.unwrap_or(rest.len()));
            rest = more.strip_prefix(b"\n").unwrap_or(more);
            line.strip_suffix(b"\r").unwrap_or(line)
        };
        let first = std::str::from_utf8(line()).ok()?;
        let (method, target) = first.split_once(' ')?;
        // An HTTP server lets nothing else through.
        let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if method.is_empty() || !visible(method) || !visible(target) || target.contains('#') {
            return None;
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (method, path, query) = (method.to_owned(), path.to_owned(), query.to_owned());
        loop {
            let next = line();
            if next.is_empty() {
                break;
            }
            let colon = next.iter().position(|byte| *byte == b':')?;
            let name = http::HeaderName::from_bytes(&next[..colon]).ok()?;
            headers.append(
                name,
                http::HeaderValue::from_bytes(next[colon + 1..].trim_ascii()).ok()?,
            );
        }
        let request = Self {
            method,
            path,
            query,
            headers,
        };
        Some((request, rest))
    }

    /// Signs every header that it has, as of [`MOMENT`]; the signature. None where the description leaves open how.
    pub(crate) fn sign(&mut self, access_key: &str, secret: &str, payload: &str) -> Option<String> {
        for name in ["authorization", "x-amz-date", "x-amz-content-sha256"] {
            self.headers.remove(name);
        }
        self.headers.insert("x-amz-date", MOMENT.parse().ok()?);
        self.headers.insert("x-amz-content-sha256", payload.parse().ok()?);
        if !self.headers.contains_key("host") {
            self.headers.insert("host", "s3.example.com".parse().ok()?);
        }
        let mut names: Vec<&str> = self.headers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        let mut headers = String::new();
        for name in &names {
            let mut values = Vec::new();
            for value in self.headers.get_all(*name) {
                let words: Vec<&str> = value
                    .to_str()
                    .ok()?
                    .split([' ', '\t'])
                    .filter(|word| !word.is_empty())
                    .collect();
                values.push(words.join(" "));
            }
            headers += &format!("{name}:{}\n", values.join(","));
        }
        let path = if self.path.is_empty() { "/" } else { &self.path };
        let (query, names) = (canonical_query(&self.query)?, names.join(";"));
        let canonical = format!("{}\n{path}\n{query}\n{headers}\n{names}\n{payload}", self.method);
        let scope = scope();
        let text = format!(
            "AWS4-HMAC-SHA256\n{MOMENT}\n{scope}\n{}",
            sha256(canonical.as_bytes())
        );
        let signature = mac(&key(secret), &text);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        );
        self.headers.insert("authorization", authorization.parse().ok()?);
        Some(signature)
    }
}

pub(super) fn scope() -> String {
    format!("{}/us-east-1/s3/aws4_request", &MOMENT[..8])
}

pub(super) fn key(secret: &str) -> Vec<u8> {
    let parts = [&MOMENT[..8], "us-east-1", "s3", "aws4_request"];
    parts
        .into_iter()
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes())
                .as_ref()
                .to_vec()
        })
}

pub(super) fn mac(key: &[u8], text: &str) -> String {
    hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref())
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Each name and value decoded and encoded in the one way, in the order of names, then of values.
fn canonical_query(query: &str) -> Option<String> {
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push((encoded(&decoded(name)?), encoded(&decoded(value)?)));
    }
    pairs.sort();
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    Some(pairs.join("&"))
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                // A percent sign alone: the description says nothing of it.
                let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    return None;
                }
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &rest[2..];
            }
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
