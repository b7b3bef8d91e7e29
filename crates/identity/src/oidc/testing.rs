//! A provider for tests: keys, documents and tokens, right or wrong on purpose, and outages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Fetch, FetchError, Issuer, IssuerConfig};

pub(crate) const ISSUER: &str = "https://login.example.com";
pub(crate) const KEYS: &str = "https://login.example.com/keys";

pub(crate) fn noon() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

/// A provider's private key.
pub(crate) enum TestKey {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl TestKey {
    pub(crate) fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    pub(crate) fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().unwrap())
    }

    pub(crate) fn alg(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
        }
    }

    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({"kty": "RSA", "kid": kid, "use": "sig", "n": text(&public.n), "e": text(&public.e)})
            }
            Self::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": text(x), "y": text(y)})
            }
            Self::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": text(pair.public_key().as_ref())})
            }
        }
    }

    /// A token with this header and these claims, whatever they say.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let random = SystemRandom::new();
        let signature = match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let encoding = &RSA_PKCS1_SHA256;
                pair.sign(encoding, &random, message.as_bytes(), &mut signature)
                    .unwrap();
                signature
            }
            Self::Ec(pair) => pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token of the key `kid` with these claims.
    pub(crate) fn token(&self, kid: &str, claims: &Value) -> String {
        self.sign(&json!({"alg": self.alg(), "typ": "JWT", "kid": kid}), claims)
    }
}

/// The two parts of a token that are signed.
pub(crate) fn message(header: &Value, claims: &Value) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// Documents at addresses, which can be changed and taken away.
#[derive(Debug, Default)]
pub(crate) struct Web(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    documents: BTreeMap<String, String>,
    down: bool,
    asked: usize,
}

impl Web {
    /// A provider that is called [`ISSUER`] and has these keys.
    pub(crate) fn with_keys(keys: &[Value]) -> Arc<Self> {
        let web = Arc::new(Self::default());
        web.put(
            "https://login.example.com/.well-known/openid-configuration",
            &json!({
                "issuer": ISSUER, "jwks_uri": KEYS,
                "authorization_endpoint": "https://login.example.com/authorize",
                "token_endpoint": "https://login.example.com/token",
            }),
        );
        web.put(KEYS, &json!({"keys": keys}));
        web
    }

    pub(crate) fn put(&self, url: &str, document: &Value) {
        self.pages()
            .documents
            .insert(url.to_owned(), document.to_string());
    }

    pub(crate) fn take_down(&self, down: bool) {
        self.pages().down = down;
    }

    /// How many documents were asked for.
    pub(crate) fn asked(&self) -> usize {
        self.pages().asked
    }

    pub(crate) fn issuer(self: &Arc<Self>) -> Issuer {
        self.issuer_of(IssuerConfig {
            issuer: ISSUER.to_owned(),
            ..IssuerConfig::default()
        })
    }

    pub(crate) fn issuer_of(self: &Arc<Self>, config: IssuerConfig) -> Issuer {
        Issuer::new(config, Arc::<Self>::clone(self)).unwrap()
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap()
    }
}

#[async_trait]
impl Fetch for Web {
    async fn fetch(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let mut pages = self.pages();
        pages.asked += 1;
        let document = pages.documents.get(url).filter(|_| !pages.down);
        document
            .map(|text| text.as_bytes().to_vec())
            .ok_or_else(|| FetchError {
                url: url.to_owned(),
                reason: "nobody answers".to_owned(),
            })
    }
}
