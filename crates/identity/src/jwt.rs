//! What every signed token has in common: three parts, a header that is not believed, and times.
//!
//! Two of the old attacks on JWTs end here. The header chooses no algorithm: whoever holds the key says which ones it
//! is for, and a header that names another is refused (`none`, or HS256 with a public key as its secret). And a header
//! with `crit` asks us to understand something that we do not, so it is refused as RFC 7515 demands. `jku`, `jwk` and
//! `x5u` are never looked at: a token does not bring its own key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::refused::Flaw;

/// The longest token looked at. Real ones have one or two thousand bytes, and a header line holds no more than this.
pub(crate) const BYTES_MAX: usize = 16 * 1024;

/// How far apart the clocks of an issuer and ours may be.
pub(crate) const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// What a token says about itself before anything is proved.
#[derive(Debug, Deserialize)]
pub(crate) struct UnverifiedHeader {
    alg: String,
    pub(crate) kid: Option<String>,
    pub(crate) typ: Option<String>,
    crit: Option<serde_json::Value>,
}

impl UnverifiedHeader {
    /// Reads the header of a token.
    pub(crate) fn of(token: &str) -> Result<Self, Flaw> {
        let [header, _, _] = parts(token)?;
        let header: Self = decoded(header)?;
        if header.crit.is_some() {
            return Err(Flaw::Malformed);
        }
        Ok(header)
    }

    /// The algorithm it names, if that is one of those the key is for.
    pub(crate) fn algorithm(&self, allowed: &[Algorithm]) -> Result<Algorithm, Flaw> {
        let named: Algorithm = self.alg.parse().map_err(|_| Flaw::Algorithm)?;
        allowed.contains(&named).then_some(named).ok_or(Flaw::Algorithm)
    }

    /// Whether it is of that type; RFC 7515 lets `application/` be left out.
    pub(crate) fn is_of_type(&self, expected: &str) -> bool {
        let typ = self.typ.as_deref().unwrap_or_default();
        typ.strip_prefix("application/").unwrap_or(typ) == expected
    }
}

/// The claims of a token before anything is proved; to choose who is to verify it, and for nothing else.
pub(crate) fn unverified_claims<T: DeserializeOwned>(token: &str) -> Result<T, Flaw> {
    let [_, claims, _] = parts(token)?;
    decoded(claims)
}

/// The claims of a token whose signature is this key's. Times, issuer and audience are still to be judged.
pub(crate) fn signed_claims<T: DeserializeOwned>(
    token: &str,
    key: &DecodingKey,
    algorithm: Algorithm,
) -> Result<T, Flaw> {
    let mut only_the_signature = Validation::new(algorithm);
    only_the_signature.required_spec_claims.clear();
    only_the_signature.validate_exp = false;
    only_the_signature.validate_aud = false;
    match jsonwebtoken::decode(token, key, &only_the_signature) {
        Ok(verified) => Ok(verified.claims),
        Err(error) if matches!(error.kind(), ErrorKind::Json(_) | ErrorKind::Base64(_)) => {
            Err(Flaw::Malformed)
        }
        Err(_) => Err(Flaw::Signature),
    }
}

fn parts(token: &str) -> Result<[&str; 3], Flaw> {
    if token.len() > BYTES_MAX {
        return Err(Flaw::Malformed);
    }
    let mut parts = token.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(claims), Some(signature), None) => Ok([header, claims, signature]),
        _ => Err(Flaw::Malformed),
    }
}

fn decoded<T: DeserializeOwned>(part: &str) -> Result<T, Flaw> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| Flaw::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| Flaw::Malformed)
}

/// From when until when a token is good, in seconds since 1970.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Times {
    #[serde(deserialize_with = "seconds")]
    exp: i64,
    #[serde(default, deserialize_with = "perhaps_seconds")]
    iat: Option<i64>,
    #[serde(default, deserialize_with = "perhaps_seconds")]
    nbf: Option<i64>,
}

/// Where now lies in a token's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Valid,
    Expired,
}

impl Times {
    /// From its issue to its expiry.
    pub(crate) fn new(iat: i64, exp: i64) -> Self {
        let (iat, nbf) = (Some(iat), None);
        Self { exp, iat, nbf }
    }

    /// Whether the token is good now, give or take [`LEEWAY`].
    pub(crate) fn judge(self, now: Timestamp) -> Result<Standing, Flaw> {
        let (now, leeway) = (now.as_second(), LEEWAY.as_secs());
        let starts = self.iat.max(self.nbf).unwrap_or(i64::MIN);
        if starts > now.saturating_add(leeway) {
            return Err(Flaw::Future);
        }
        if self.exp.saturating_add(leeway) <= now {
            return Ok(Standing::Expired);
        }
        Ok(Standing::Valid)
    }

    /// When it expires.
    pub(crate) fn expires(self) -> Result<Timestamp, Flaw> {
        Timestamp::from_second(self.exp).map_err(|_| Flaw::Malformed)
    }

    /// The times among other claims.
    pub(crate) fn of(claims: &serde_json::Map<String, serde_json::Value>) -> Result<Self, Flaw> {
        Self::deserialize(claims).map_err(|_| Flaw::Malformed)
    }
}

/// A NumericDate; some issuers write fractions of a second, which are cut off.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    whole(&number).ok_or_else(|| serde::de::Error::custom("not a time in seconds"))
}

fn perhaps_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    match Option::<serde_json::Number>::deserialize(deserializer)? {
        None => Ok(None),
        Some(number) => whole(&number)
            .map(Some)
            .ok_or_else(|| serde::de::Error::custom("not a time in seconds")),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the range was checked, and the fraction is meant to go"
)]
fn whole(number: &serde_json::Number) -> Option<i64> {
    /// The year 9999, beyond which no time can be shown.
    const LAST: f64 = 253_402_207_200.0;
    match number.as_i64() {
        Some(seconds) => Some(seconds),
        None => number
            .as_f64()
            .filter(|seconds| (0.0..LAST).contains(seconds))
            .map(|seconds| seconds as i64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(times: &str, now: i64) -> Result<Standing, Flaw> {
        let times: Times = serde_json::from_str(times).unwrap();
        times.judge(Timestamp::from_second(now).unwrap())
    }

    #[test]
    fn a_token_is_good_from_its_issue_to_its_expiry_give_or_take_a_minute() {
        let times = r#"{"iat":1000,"exp":2000}"#;
        assert_eq!(standing(times, 939), Err(Flaw::Future));
        assert_eq!(standing(times, 940), Ok(Standing::Valid));
        assert_eq!(standing(times, 2059), Ok(Standing::Valid));
        assert_eq!(standing(times, 2060), Ok(Standing::Expired));
    }

    #[test]
    fn the_later_of_issue_and_not_before_counts() {
        assert_eq!(
            standing(r#"{"iat":1,"nbf":1000,"exp":2000}"#, 900),
            Err(Flaw::Future)
        );
        assert_eq!(
            standing(r#"{"iat":1000,"nbf":1,"exp":2000}"#, 900),
            Err(Flaw::Future)
        );
    }

    #[test]
    fn a_time_may_have_a_fraction_and_must_be_a_number_that_is_a_time() {
        assert_eq!(standing(r#"{"exp":2000.9,"iat":1e3}"#, 1500), Ok(Standing::Valid));
        for wrong in [
            r#"{}"#,
            r#"{"exp":"2000"}"#,
            r#"{"exp":1e300}"#,
            r#"{"exp":-1e300}"#,
            r#"{"exp":null}"#,
        ] {
            assert!(serde_json::from_str::<Times>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_at_the_end_of_all_numbers_overflows_nothing() {
        assert_eq!(
            standing(r#"{"exp":9223372036854775807}"#, 1500),
            Ok(Standing::Valid)
        );
        assert_eq!(
            standing(r#"{"exp":-9223372036854775808}"#, 1500),
            Ok(Standing::Expired)
        );
    }

    #[test]
    fn what_has_not_three_parts_or_asks_to_be_understood_is_no_token() {
        let header = |json: &str| format!("{}.e30.AAAA", URL_SAFE_NO_PAD.encode(json));
        assert!(UnverifiedHeader::of(&header(r#"{"alg":"EdDSA"}"#)).is_ok());
        for wrong in [
            "",
            "..",
            "a.b",
            "a.b.c.d",
            "e30.e30.AAAA",
            &header(r#"{"alg":"EdDSA","crit":["exp"]}"#),
            &header(r#"{"alg":"EdDSA","alg":"none"}"#),
            &"a".repeat(BYTES_MAX + 1),
        ] {
            assert_eq!(
                UnverifiedHeader::of(wrong).unwrap_err(),
                Flaw::Malformed,
                "{wrong:.40}"
            );
        }
    }
}
