//! A provider's keys, as its document tells them.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::jwt::{self, UnverifiedHeader};
use crate::refused::Flaw;

/// More keys than this no provider has; where a token names none, all are tried.
const KEYS_MAX: usize = 64;

const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// The public keys with which a provider signs.
#[derive(Debug)]
pub(super) struct ProviderKeys(Vec<ProviderKey>);

#[derive(Debug)]
struct ProviderKey {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl ProviderKeys {
    /// Reads a JWKS document. Keys that are not for us (of unknown kinds, for encryption, symmetric) are passed over.
    pub(super) fn parse(document: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let document: Document =
            serde_json::from_slice(document).map_err(|error| format!("not a JWKS document: {error}"))?;
        let keys: Vec<_> = document
            .keys
            .into_iter()
            .take(KEYS_MAX)
            .filter_map(ProviderKey::read)
            .collect();
        if keys.is_empty() {
            return Err("the JWKS document has no key that verifies signatures".to_owned());
        }
        Ok(Self(keys))
    }

    /// The claims of a token that one of these keys signed.
    pub(super) fn verify<T: DeserializeOwned>(
        &self,
        header: &UnverifiedHeader,
        token: &str,
    ) -> Result<T, Flaw> {
        let mut flaw = Flaw::Key;
        for key in self.0.iter().filter(|key| key.may_be(header.kid.as_deref())) {
            match key.verify(header, token) {
                Ok(claims) => return Ok(claims),
                Err(found) => flaw = found,
            }
        }
        Err(flaw)
    }
}

impl ProviderKey {
    fn read(key: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(key).ok()?;
        if matches!(&jwk.common.public_key_use, Some(other) if *other != PublicKeyUse::Signature) {
            return None;
        }
        let mut algorithms = algorithms_of(&jwk.algorithm).to_vec();
        if let Some(only) = jwk.common.key_algorithm {
            algorithms.retain(|algorithm| KeyAlgorithm::from(*algorithm) == only);
        }
        if algorithms.is_empty() {
            return None;
        }
        Some(Self {
            key: DecodingKey::from_jwk(&jwk).ok()?,
            kid: jwk.common.key_id,
            algorithms,
        })
    }

    /// A token that names no key may be of any.
    fn may_be(&self, named: Option<&str>) -> bool {
        named.is_none() || self.kid.as_deref() == named
    }

    fn verify<T: DeserializeOwned>(&self, header: &UnverifiedHeader, token: &str) -> Result<T, Flaw> {
        let algorithm = header.algorithm(&self.algorithms)?;
        jwt::signed_claims(token, &self.key, algorithm)
    }
}

/// The algorithms that a key is for by its nature. A symmetric key is for none: a published secret proves nothing.
fn algorithms_of(key: &AlgorithmParameters) -> &'static [Algorithm] {
    match key {
        AlgorithmParameters::RSA(_) => RSA,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[Algorithm::ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => &[Algorithm::ES384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        _ => &[],
    }
}
