//! Signs requests as S3 clients do, with the signing code of AWS's own SDK; and lets a test change what was signed
//! afterwards, which no real client can be made to do.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SessionTokenMode, SignableBody, SignableRequest,
    SignatureLocation, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::{self, SigningParams};
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_runtime_api::http::Headers;
use bytes::Bytes;
use opentaco_domain::{Clock as _, SystemClock};

/// What a body is signed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent<'a> {
    /// Its digest.
    Whole(&'a [u8]),
    /// Nothing of it.
    Unsigned,
    /// In pieces that are not signed, with a trailer.
    UnsignedPieces,
    /// In signed pieces.
    SignedPieces,
    /// In signed pieces, with a signed trailer.
    SignedPiecesAndTrailer,
}

/// A request that is signed: send these headers with it.
#[derive(Debug, Clone)]
pub struct SignedRequest {
    /// All of them, those that were given among them.
    pub headers: Vec<(String, String)>,
    /// The signature, with which pieces go on.
    pub signature: String,
}

/// Somebody with credentials.
#[derive(Debug, Clone)]
pub struct Signer {
    /// The access key id.
    pub access_key: String,
    /// The secret.
    pub secret: String,
    /// The session token.
    pub session_token: Option<String>,
    /// What the clock says.
    pub now: SystemTime,
}

impl Signer {
    /// Somebody whose clock is right.
    #[must_use]
    pub fn new(access_key: &str, secret: &str, session_token: Option<&str>) -> Self {
        Self {
            access_key: access_key.to_owned(),
            secret: secret.to_owned(),
            session_token: session_token.map(str::to_owned),
            now: SystemClock.now().into(),
        }
    }

    /// Whose clock is off by so many seconds.
    ///
    /// # Panics
    /// If there is no such time.
    #[must_use]
    pub fn off_by(mut self, seconds: i64) -> Self {
        let by = Duration::from_secs(seconds.unsigned_abs());
        let off = match seconds < 0 {
            true => self.now.checked_sub(by),
            false => self.now.checked_add(by),
        };
        self.now = off.expect("there is such a time");
        self
    }

    fn identity(&self) -> Identity {
        let token = self.session_token.clone();
        Credentials::new(&self.access_key, &self.secret, token, None, "test").into()
    }

    fn params<'a, S: Default>(&self, identity: &'a Identity, settings: S) -> SigningParams<'a, S> {
        v4::SigningParams::builder()
            .identity(identity)
            .region("auto")
            .name("s3")
            .time(self.now)
            .settings(settings)
            .build()
            .expect("everything is given")
    }

    fn settings() -> SigningSettings {
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.session_token_mode = SessionTokenMode::Include;
        settings
    }

    /// Signs by header. The address is `http://host:port/path?query`, as it goes over the wire.
    ///
    /// # Panics
    /// If the request cannot be one.
    #[must_use]
    pub fn sign(&self, method: &str, url: &str, headers: &[(&str, &str)], body: Sent<'_>) -> SignedRequest {
        let identity = self.identity();
        let body = match body {
            Sent::Whole(bytes) => SignableBody::Bytes(bytes),
            Sent::Unsigned => SignableBody::UnsignedPayload,
            Sent::UnsignedPieces => SignableBody::StreamingUnsignedPayloadTrailer,
            Sent::SignedPieces => SignableBody::Precomputed("STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned()),
            Sent::SignedPiecesAndTrailer => SignableBody::StreamingSignedPayloadTrailer,
        };
        let request = SignableRequest::new(method, url, headers.iter().copied(), body);
        let params = self.params(&identity, Self::settings()).into();
        let output = sign(request.expect("the address is one"), &params).expect("it can be signed");
        let (instructions, signature) = output.into_parts();
        let mut all: Vec<_> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        all.extend(
            instructions
                .headers()
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        SignedRequest {
            headers: all,
            signature,
        }
    }

    /// Signs an address that is good for so many seconds.
    ///
    /// # Panics
    /// If the request cannot be one.
    #[must_use]
    pub fn presign(&self, method: &str, url: &str, seconds: u64) -> String {
        let identity = self.identity();
        let mut settings = Self::settings();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
        settings.expires_in = Some(Duration::from_secs(seconds));
        let request = SignableRequest::new(method, url, std::iter::empty(), SignableBody::UnsignedPayload);
        let params = self.params(&identity, settings).into();
        let output = sign(request.expect("the address is one"), &params).expect("it can be signed");
        let mut presigned = url.to_owned();
        for (name, value) in output.output().params() {
            let separator = if presigned.contains('?') { '&' } else { '?' };
            let value: String = value
                .bytes()
                .map(|byte| match byte {
                    byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => {
                        char::from(byte).to_string()
                    }
                    byte => format!("%{byte:02X}"),
                })
                .collect();
            presigned.push_str(&format!("{separator}{name}={value}"));
        }
        presigned
    }

    /// A body in signed pieces, behind a request that was signed for it; with a trailer if there are lines for one.
    ///
    /// # Panics
    /// If it cannot be signed.
    #[must_use]
    pub fn pieces(
        &self,
        signed: &SignedRequest,
        pieces: &[&[u8]],
        trailer: &[(&'static str, &str)],
    ) -> Vec<u8> {
        let identity = self.identity();
        let params = self.params(&identity, ());
        let mut body = Vec::new();
        let mut running = signed.signature.clone();
        for piece in pieces.iter().copied().chain([b"".as_slice()]) {
            let bytes = Bytes::copy_from_slice(piece);
            let chunk = v4::sign_chunk(&bytes, &running, &params).expect("it can be signed");
            running = chunk.signature().to_owned();
            body.extend_from_slice(format!("{:x};chunk-signature={running}\r\n", piece.len()).as_bytes());
            body.extend_from_slice(piece);
            if !piece.is_empty() {
                body.extend_from_slice(b"\r\n");
            }
        }
        if !trailer.is_empty() {
            let mut headers = Headers::new();
            for (name, value) in trailer {
                headers.append(*name, (*value).to_owned());
                body.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
            }
            let signed = v4::sign_trailer(&headers, &running, &params).expect("it can be signed");
            let signature = signed.signature();
            body.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
        }
        body.extend_from_slice(b"\r\n");
        body
    }
}
