//! A provider's word counts for this service, as long as it is good, and under the provider's key; whatever else it says.
//!
//! The first line of an input is the header and the second are the claims of a token that the provider signs; the third,
//! if there is one, is the document of its keys, in place of a right one.

use std::sync::Arc;

use jiff::Timestamp;
use opentaco_identity::oidc::{Fetch, FetchError, IdTokens, Issuer, IssuerConfig, LoginConfig};
use opentaco_identity::{KeyRing, Lifetimes, Refused, SigningKey, Tokens};
use serde_json::Value;

use super::tokens::{key, signed};

const ISSUER: &str = "https://login.example.com";

pub(crate) fn check(bytes: &[u8]) {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let (Some(header), Some(claims)) = (lines.next(), lines.next()) else {
        return;
    };
    let provider = key(9);
    let token = signed(&provider, header, claims);
    let now: Timestamp = "2026-12-01T12:00:00Z".parse().expect("it is a time");
    let documents = lines.next().map_or_else(|| jwks(&provider), <[u8]>::to_vec);
    let (ids, others) = (id_tokens(documents), id_tokens(jwks(&key(8))));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let Ok(proved) = ids.verify(&token, None, now).await else {
            return;
        };
        assert!(!proved.subject.is_empty());
        assert_eq!(proved.issuer, ISSUER);
        let read: Value = serde_json::from_slice(claims).expect("claims are JSON");
        assert_eq!(
            read["iss"].as_str().map(|iss| iss.trim_end_matches('/')),
            Some(ISSUER)
        );
        let audience = match &read["aud"] {
            Value::Array(all) => all.contains(&Value::from("taco")),
            one => *one == "taco",
        };
        assert!(audience, "it is for somebody else: {}", read["aud"]);
        assert_eq!(read["sub"], proved.subject.as_str());
        if let Some(email) = &proved.email {
            assert_eq!(read["email"], email.as_str());
            assert!(read["email_verified"] == true || read["email_verified"] == "true");
        }
        assert!(ids.verify(&token, Some("a nonce of ours"), now).await.is_err());
        assert!(matches!(
            others.verify(&token, None, now).await,
            Err(Refused::Wrong(_))
        ));
        let mut forged = token.clone().into_bytes();
        let at = claims.len().wrapping_mul(7) % forged.len();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).expect("a token is ASCII");
        assert!(
            ids.verify(&forged, None, now).await.is_err(),
            "letter {at} was changed"
        );
    });
}

/// A provider's document of keys: ours has the same form.
fn jwks(key: &SigningKey) -> Vec<u8> {
    let tokens = Tokens::new(KeyRing::new(key.clone()), ISSUER, Lifetimes::default());
    serde_json::to_vec(&tokens.jwks()).expect("it is JSON")
}

fn id_tokens(documents: Vec<u8>) -> IdTokens {
    let config = IssuerConfig {
        issuer: ISSUER.to_owned(),
        jwks_uri: Some(format!("{ISSUER}/keys")),
        ..IssuerConfig::default()
    };
    let issuer = Issuer::new(config, Arc::new(Shelf(documents))).expect("the address is one");
    let login = LoginConfig {
        client_id: "taco".to_owned(),
        groups_claim: "groups".to_owned(),
    };
    IdTokens::new(issuer, login)
}

/// The same document at every address.
#[derive(Debug)]
struct Shelf(Vec<u8>);

#[async_trait::async_trait]
impl Fetch for Shelf {
    async fn fetch(&self, _: &str) -> Result<Vec<u8>, FetchError> {
        Ok(self.0.clone())
    }
}
