//! The keys that sign our tokens: Ed25519, several at once, one of which signs.
//!
//! To rotate, a new key is added and signs; the old one stays to verify until the last token it signed has expired, and
//! nobody is logged out. A key that only verifies may be given by its public half, so that the private one can be
//! destroyed. Replicas with the same keys accept each other's tokens; a server with other keys accepts none of them.
//!
//! A token names its key by a `kid`, and a name that is not ours is refused before anything is computed. By default the
//! name is the key's thumbprint (RFC 7638), so that two servers that read the same file agree on it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use opentaco_domain::audit::{Seal, Signature};
use opentaco_domain::{Secret, Sha256};
use pem::{EncodeConfig, LineEnding, Pem};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::jwt::{self, UnverifiedHeader};
use crate::refused::Flaw;

/// The name of a key. Holding one proves that it can stand in a header, in an access key id and in the name of an
/// environment variable's value: 1 to 64 letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

impl KeyId {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    fn from_str(name: &str) -> Result<Self, KeyError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if (1..=64).contains(&name.len()) && name.bytes().all(fits) {
            Ok(Self(name.to_owned()))
        } else {
            Err(KeyError::Name)
        }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Why there is no such key. Never shows one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is not PEM.
    #[error("the key is not PEM: `-----BEGIN PRIVATE KEY-----` is expected")]
    NotPem,
    /// It is PEM, of something else.
    #[error(
        "the PEM holds `{0}`, and an Ed25519 key is expected: `PRIVATE KEY`, or `PUBLIC KEY` to verify only"
    )]
    Label(String),
    /// It is a key, but not an Ed25519 one, or a damaged one.
    #[error("the key is not an Ed25519 key in PKCS#8: `openssl genpkey -algorithm ed25519` makes one")]
    NotEd25519,
    /// It cannot be the name of a key.
    #[error("a key id has 1 to 64 letters, digits, `-` and `_`")]
    Name,
    /// Two different keys have one name.
    #[error("two different keys are called `{0}`")]
    Twice(KeyId),
    /// The secret of an HMAC key is too short to be one.
    #[error("the HMAC key `{0}` has fewer than 32 bytes")]
    Short(KeyId),
}

/// What stands before the 32 bytes of an Ed25519 public key in DER (RFC 8410): the algorithm, and nothing else.
const PUBLIC_KEY_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// The public half of a key: it verifies.
#[derive(Clone, Debug)]
pub struct VerifyingKey {
    kid: KeyId,
    public: [u8; 32],
}

impl VerifyingKey {
    /// Reads a key from PEM, the public half or both; the private half is forgotten.
    ///
    /// # Errors
    /// If it is not PEM, or not of an Ed25519 key.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let pem = pem::parse(text).map_err(|_| KeyError::NotPem)?;
        if pem.tag() != "PUBLIC KEY" {
            return Ok(SigningKey::from_pem(text)?.public);
        }
        let public = pem.contents().strip_prefix(&PUBLIC_KEY_PREFIX);
        let public = public.and_then(|bytes| bytes.try_into().ok());
        Ok(Self::new(public.ok_or(KeyError::NotEd25519)?))
    }

    /// The same key under another name than its thumbprint.
    #[must_use]
    pub fn named(self, kid: KeyId) -> Self {
        Self { kid, ..self }
    }

    /// Its name.
    #[must_use]
    pub fn kid(&self) -> &KeyId {
        &self.kid
    }

    fn new(public: [u8; 32]) -> Self {
        let x = URL_SAFE_NO_PAD.encode(public);
        let thumbprint = Sha256::of(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#).as_bytes());
        let kid = KeyId(URL_SAFE_NO_PAD.encode(thumbprint.bytes()));
        Self { kid, public }
    }

    fn jwk(&self) -> Jwk {
        Jwk {
            kty: "OKP",
            crv: "Ed25519",
            alg: "EdDSA",
            key_use: "sig",
            kid: self.kid.0.clone(),
            x: URL_SAFE_NO_PAD.encode(self.public),
        }
    }
}

/// Both halves of a key: it signs.
#[derive(Clone)]
pub struct SigningKey {
    public: VerifyingKey,
    private: EncodingKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({}, …)", self.public.kid)
    }
}

impl SigningKey {
    /// Makes a new key.
    ///
    /// # Panics
    /// If the operating system has no randomness to give.
    #[must_use]
    pub fn generate() -> Self {
        let pair = Ed25519KeyPair::generate().expect("the operating system gives random bytes");
        Self::of(&pair)
    }

    /// Reads a key from PEM with PKCS#8, as [`Self::to_pem`] and `openssl genpkey -algorithm ed25519` write it.
    ///
    /// # Errors
    /// If it is not PEM, or not of an Ed25519 private key.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let pem = pem::parse(text).map_err(|_| KeyError::NotPem)?;
        if pem.tag() != "PRIVATE KEY" {
            return Err(KeyError::Label(pem.tag().to_owned()));
        }
        let pair =
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(pem.contents()).map_err(|_| KeyError::NotEd25519)?;
        Ok(Self::of(&pair))
    }

    /// The key as PEM, to be kept where only the service can read it.
    #[must_use]
    pub fn to_pem(&self) -> Secret {
        let pem = Pem::new("PRIVATE KEY", self.private.as_bytes());
        Secret::new(pem::encode_config(
            &pem,
            EncodeConfig::new().set_line_ending(LineEnding::LF),
        ))
    }

    /// The same key under another name than its thumbprint.
    #[must_use]
    pub fn named(self, kid: KeyId) -> Self {
        Self {
            public: self.public.named(kid),
            ..self
        }
    }

    /// Its name.
    #[must_use]
    pub fn kid(&self) -> &KeyId {
        self.public.kid()
    }

    fn of(pair: &Ed25519KeyPair) -> Self {
        let public = pair.public_key().as_ref();
        let public = public.try_into().expect("an Ed25519 public key has 32 bytes");
        let private = pair
            .to_pkcs8v1()
            .expect("a key that was read or made can be written");
        Self {
            public: VerifyingKey::new(public),
            private: EncodingKey::from_ed_der(private.as_ref()),
        }
    }
}

/// The key that signs tokens signs the audit, too: its public half is at the same address. What is sealed begins with words
/// that no token begins with, so neither can stand in for the other.
impl Seal for SigningKey {
    fn seal(&self, bytes: &[u8]) -> Option<Signature> {
        let signature = jsonwebtoken::crypto::sign(bytes, &self.private, Algorithm::EdDSA);
        Some(Signature {
            kid: self.kid().to_string(),
            signature: signature.expect("an Ed25519 key signs whatever it is given"),
        })
    }
}

/// The keys of one service: one signs, all verify.
#[derive(Clone, Debug)]
pub struct KeyRing {
    signing: SigningKey,
    verifying: BTreeMap<KeyId, VerifyingKey>,
}

impl KeyRing {
    /// A ring with one key, which signs and verifies.
    #[must_use]
    pub fn new(signing: SigningKey) -> Self {
        let verifying = BTreeMap::from([(signing.kid().clone(), signing.public.clone())]);
        Self { signing, verifying }
    }

    /// The ring with one more key, which verifies: the one before, or the next one, so that the other replicas know it
    /// before the first of them signs with it.
    ///
    /// # Errors
    /// If another key has its name.
    pub fn and(mut self, key: VerifyingKey) -> Result<Self, KeyError> {
        let namesake = self.verifying.get(&key.kid);
        if namesake.is_some_and(|known| known.public != key.public) {
            return Err(KeyError::Twice(key.kid));
        }
        self.verifying.insert(key.kid.clone(), key);
        Ok(self)
    }

    /// The key that signs.
    #[must_use]
    pub fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// The public document (RFC 7517, RFC 8037) for `/oidc/jwks.json`, the signing key first.
    #[must_use]
    pub fn jwks(&self) -> Jwks {
        let others = self
            .verifying
            .values()
            .filter(|key| key.kid != *self.signing.kid());
        Jwks {
            keys: std::iter::once(&self.signing.public)
                .chain(others)
                .map(VerifyingKey::jwk)
                .collect(),
        }
    }

    /// A token of type `typ` with these claims, signed.
    pub(crate) fn sign(&self, typ: &str, claims: &impl Serialize) -> Secret {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(typ.to_owned());
        header.kid = Some(self.signing.kid().to_string());
        let token = jsonwebtoken::encode(&header, claims, &self.signing.private);
        Secret::new(token.expect("an Ed25519 key signs whatever is JSON"))
    }

    /// The claims of a token of type `typ` that one of our keys signed. Times, issuer and audience are still to be
    /// judged.
    pub(crate) fn verify<T: DeserializeOwned>(&self, typ: &str, token: &str) -> Result<T, Flaw> {
        let header = UnverifiedHeader::of(token)?;
        let algorithm = header.algorithm(&[Algorithm::EdDSA])?;
        if !header.is_of_type(typ) {
            return Err(Flaw::Type);
        }
        let kid: KeyId = header
            .kid
            .as_deref()
            .ok_or(Flaw::Key)?
            .parse()
            .map_err(|_| Flaw::Key)?;
        let key = self.verifying.get(&kid).ok_or(Flaw::Key)?;
        jwt::signed_claims(token, &DecodingKey::from_ed_der(&key.public), algorithm)
    }
}

/// Public keys, as others read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Jwk {
    kty: &'static str,
    crv: &'static str,
    alg: &'static str,
    #[serde(rename = "use")]
    key_use: &'static str,
    kid: String,
    x: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The private key of RFC 8037, appendix A, as OpenSSL writes it.
    const RFC_8037: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
";

    /// Its public half.
    const RFC_8037_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
";

    #[test]
    fn a_key_is_named_by_its_thumbprint() {
        let key = SigningKey::from_pem(RFC_8037).unwrap();
        assert_eq!(key.kid().as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(VerifyingKey::from_pem(RFC_8037).unwrap().kid(), key.kid());
        assert_eq!(VerifyingKey::from_pem(RFC_8037_PUBLIC).unwrap().kid(), key.kid());
    }

    #[test]
    fn a_key_that_was_made_can_be_written_and_read_back() {
        let made = SigningKey::generate();
        let read = SigningKey::from_pem(made.to_pem().expose()).unwrap();
        assert_eq!(made.kid(), read.kid());
        assert_eq!(made.to_pem(), read.to_pem());
        assert_ne!(made.kid(), SigningKey::generate().kid());
    }

    #[test]
    fn what_is_no_ed25519_key_is_refused_with_the_reason() {
        let refused = |pem: &str| SigningKey::from_pem(pem).unwrap_err();
        assert_eq!(refused("hush"), KeyError::NotPem);
        assert_eq!(refused(RFC_8037_PUBLIC), KeyError::Label("PUBLIC KEY".to_owned()));
        let p256 = rcgen::KeyPair::generate().unwrap();
        assert_eq!(refused(&p256.serialize_pem()), KeyError::NotEd25519);
        let public = VerifyingKey::from_pem(&p256.public_key_pem());
        assert_eq!(public.unwrap_err(), KeyError::NotEd25519);
    }

    #[test]
    fn a_public_key_that_is_longer_or_shorter_is_refused() {
        let of = |bytes: &[u8]| VerifyingKey::from_pem(&pem::encode(&Pem::new("PUBLIC KEY", bytes)));
        let mut der = [&PUBLIC_KEY_PREFIX[..], &[7; 32]].concat();
        assert!(of(&der).is_ok());
        assert_eq!(of(&der[..43]).unwrap_err(), KeyError::NotEd25519);
        der.push(7);
        assert_eq!(of(&der).unwrap_err(), KeyError::NotEd25519);
    }

    #[test]
    fn a_key_is_not_shown_for_debugging() {
        let key = SigningKey::from_pem(RFC_8037).unwrap();
        let shown = format!("{:?} {:?}", key, KeyRing::new(key.clone()));
        for half in ["nWGx", "9d61b1", "157, 97, 177", "MC4C"] {
            assert!(!shown.contains(half), "{shown}");
        }
    }

    #[test]
    fn the_public_document_names_every_key_and_holds_no_private_half() {
        let old = VerifyingKey::from_pem(RFC_8037_PUBLIC).unwrap();
        let ring = KeyRing::new(SigningKey::generate().named("2027".parse().unwrap()))
            .and(old)
            .unwrap();
        let document = serde_json::to_value(ring.jwks()).unwrap();
        let keys = document["keys"].as_array().unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[0]["kid"], "2027");
        assert_eq!(
            keys[1],
            serde_json::json!({
                "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig",
                "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            })
        );
    }

    #[test]
    fn two_different_keys_cannot_share_a_name() {
        let kid: KeyId = "current".parse().unwrap();
        let key = SigningKey::generate().named(kid.clone());
        let itself = VerifyingKey::from_pem(key.to_pem().expose())
            .unwrap()
            .named(kid.clone());
        let other = SigningKey::generate().named(kid.clone()).public;
        let ring = KeyRing::new(key).and(itself).unwrap();
        assert_eq!(ring.and(other).unwrap_err(), KeyError::Twice(kid));
    }

    #[test]
    fn a_key_id_has_no_dots_slashes_or_spaces() {
        for wrong in ["", "a.b", "../a", "a/b", "a b", "ä", "a\n", &"a".repeat(65)] {
            assert_eq!(wrong.parse::<KeyId>(), Err(KeyError::Name), "{wrong}");
        }
        assert!("a".repeat(64).parse::<KeyId>().is_ok());
    }
}
