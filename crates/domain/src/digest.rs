//! Digests of bytes: SHA-256 names a content, MD5 is only what `Content-MD5` asks for.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

use crate::text::spelled_as_text;

/// The SHA-256 of some bytes; spelled as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Sha256Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The 32 bytes themselves.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight hex digits: enough for a person to tell two contents apart.
    #[must_use]
    pub fn short(&self) -> String {
        hex::encode(&self.0[..4])
    }
}

/// The text is not 64 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256: 64 lower-case hex digits are expected")]
pub struct NotASha256;

impl FromStr for Sha256 {
    type Err = NotASha256;

    fn from_str(text: &str) -> Result<Self, NotASha256> {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(NotASha256);
        }
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest).map_err(|_| NotASha256)?;
        Ok(Self(digest))
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(crate::text::as_hex(&self.0, &mut [0; 64]))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

spelled_as_text!(Sha256, "a SHA-256 in hex");

/// A [`Sha256`] of bytes that arrive in pieces.
#[derive(Clone)]
pub struct Sha256Hasher(Context);

impl Sha256Hasher {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all pieces.
    #[must_use]
    pub fn finish(self) -> Sha256 {
        let digest = self.0.finish();
        Sha256(digest.as_ref().try_into().expect("a SHA-256 has 32 bytes"))
    }
}

impl Default for Sha256Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sha256Hasher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sha256Hasher(..)")
    }
}

/// The MD5 of some bytes as `Content-MD5` spells it: base64, with padding.
#[must_use]
pub fn md5_base64(bytes: &[u8]) -> String {
    let mut hasher = Md5Hasher::new();
    hasher.update(bytes);
    hasher.finish()
}

/// An MD5 of bytes that arrive in pieces. It finds accidents, not attackers.
#[derive(Clone, Debug, Default)]
pub struct Md5Hasher(Md5);

impl Md5Hasher {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self(Md5::new())
    }

    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The MD5 of all pieces, as `Content-MD5` spells it.
    #[must_use]
    pub fn finish(self) -> String {
        STANDARD.encode(self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn digests_are_those_of_the_standards() {
        assert_eq!(Sha256::of(b"abc").to_string(), OF_ABC);
        assert_eq!(Sha256::of(b"abc").short(), "ba7816bf");
        assert_eq!(
            md5_base64(b""),
            "1B2M2Y8AsgTpgAmY7PhCfg==",
            "what terraform sends with an empty UNLOCK"
        );
        assert_eq!(md5_base64(b"abc"), "kAFQmDzST7DWlj99KOF/cg==");
    }

    #[test]
    fn pieces_hash_like_the_whole() {
        let (mut sha256, mut md5) = (Sha256Hasher::new(), Md5Hasher::new());
        for piece in [&b"a"[..], b"", b"bc"] {
            sha256.update(piece);
            md5.update(piece);
        }
        assert_eq!(sha256.finish(), Sha256::of(b"abc"));
        assert_eq!(md5.finish(), md5_base64(b"abc"));
    }

    #[test]
    fn a_digest_is_read_only_in_its_one_spelling() {
        let digest = Sha256::of(b"abc");
        assert_eq!(OF_ABC.parse(), Ok(digest));
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{OF_ABC}\""));
        assert_eq!(
            serde_json::from_str::<Sha256>(&format!("\"{OF_ABC}\"")).unwrap(),
            digest
        );
        for other in [
            &OF_ABC.to_uppercase(),
            "",
            "ba",
            &OF_ABC[1..],
            &format!("{OF_ABC}0"),
            &OF_ABC.replace('b', "g"),
        ] {
            assert_eq!(other.parse::<Sha256>(), Err(NotASha256), "{other}");
        }
        assert!(serde_json::from_str::<Sha256>("7").is_err());
    }
}
