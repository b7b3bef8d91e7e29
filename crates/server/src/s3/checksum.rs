//! Checksums that clients send along, in a header or behind the body.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, checksum};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::s3::error::{Code, Refused};

/// How a checksum is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// CRC-32.
    Crc32,
    /// CRC-32C.
    Crc32c,
    /// CRC-64/NVME.
    Crc64nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl Algorithm {
    const ALL: [Self; 5] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64nvme,
        Self::Sha1,
        Self::Sha256,
    ];

    /// The header that carries it.
    #[must_use]
    pub fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// The one whose checksum a header of this name carries.
    #[must_use]
    pub fn of_header(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.header() == name)
    }

    /// The checksum of bytes, in base64.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> String {
        let narrow = |sum: u64| STANDARD.encode(&sum.to_be_bytes()[4..]);
        match self {
            Self::Crc32 => narrow(checksum(CrcAlgorithm::Crc32IsoHdlc, bytes)),
            Self::Crc32c => narrow(checksum(CrcAlgorithm::Crc32Iscsi, bytes)),
            Self::Crc64nvme => STANDARD.encode(checksum(CrcAlgorithm::Crc64Nvme, bytes).to_be_bytes()),
            Self::Sha1 => STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes)),
            Self::Sha256 => STANDARD.encode(digest::digest(&digest::SHA256, bytes)),
        }
    }
}

/// A checksum that a body must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// How it is computed.
    pub algorithm: Algorithm,
    /// In base64.
    pub value: String,
}

impl Checksum {
    /// Those that stand in the headers of a request.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`] for one that we cannot compute: overlooked, it would be a checksum that nobody checks.
    pub fn in_headers(headers: &HeaderMap) -> Result<Vec<Self>, Refused> {
        let mut found = Vec::new();
        for (name, value) in headers {
            let name = name.as_str();
            let about = [
                "x-amz-checksum-mode",
                "x-amz-checksum-algorithm",
                "x-amz-checksum-type",
            ];
            if !name.starts_with("x-amz-checksum-") || about.contains(&name) {
                continue;
            }
            let value = value.to_str().unwrap_or_default();
            found.push(Self::named(name, value)?);
        }
        Ok(found)
    }

    /// The checksum that a header of this name says.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`] for one that we cannot compute, or that cannot be one.
    pub fn named(name: &str, value: &str) -> Result<Self, Refused> {
        let algorithm = Algorithm::of_header(name).ok_or_else(|| {
            let known = Algorithm::ALL.map(Algorithm::header).join(", ");
            Refused::new(
                Code::InvalidRequest,
                format!("{name} is no checksum that is known here; these are: {known}"),
            )
        })?;
        let value = value.trim();
        if value.len() != algorithm.of(b"").len() || STANDARD.decode(value).is_err() {
            let message = format!("Value for {name} header is invalid: it is not such a checksum in base64");
            return Err(Refused::new(Code::InvalidRequest, message));
        }
        Ok(Self {
            algorithm,
            value: value.to_owned(),
        })
    }

    /// # Errors
    /// [`Code::BadDigest`] if the bytes have another.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), Refused> {
        if self.algorithm.of(bytes) == self.value {
            return Ok(());
        }
        let name = self.algorithm.header();
        Err(Refused::new(
            Code::BadDigest,
            format!(
                "the body does not have the {name} that was sent: it was changed on the way; nothing was changed here, send it again"
            ),
        ))
    }

    /// As a header of the answer.
    #[must_use]
    pub fn as_header(&self) -> (HeaderName, HeaderValue) {
        let value = HeaderValue::from_str(&self.value).expect("base64 is visible ASCII");
        (HeaderName::from_static(self.algorithm.header()), value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_their_standards() {
        // The check values of the catalogue of CRCs, and of FIPS 180 for the digests, all over "123456789".
        let of = |algorithm: Algorithm| hex(&STANDARD.decode(algorithm.of(b"123456789")).unwrap());
        assert_eq!(of(Algorithm::Crc32), "cbf43926");
        assert_eq!(of(Algorithm::Crc32c), "e3069283");
        assert_eq!(of(Algorithm::Crc64nvme), "ae8b14860a799888");
        assert_eq!(of(Algorithm::Sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        assert_eq!(
            of(Algorithm::Sha256),
            "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"
        );
    }

    #[test]
    fn a_checksum_that_nobody_here_can_compute_is_refused_and_so_is_one_that_cannot_be() {
        for (name, value) in [
            ("x-amz-checksum-md6", "AAAA"),
            ("x-amz-checksum-crc32", "AAAA"),
            ("x-amz-checksum-crc32", "not base64!"),
            ("x-amz-checksum-sha256", ""),
        ] {
            let refused = Checksum::named(name, value).unwrap_err();
            assert_eq!(refused.code(), Code::InvalidRequest, "{name}: {value}");
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
