//! The tokens we issue: an access token opens doors for an hour, a refresh token buys new ones for a month.
//!
//! They are signed alike, so what keeps them apart is checked on each: the `typ` of the header *and* the audience. A
//! refresh token that leaks into a log of requests opens no door; an access token buys no new ones. An access token is
//! for one audience, the API or the S3 door, and does not open the other. The issuer is our own address, so that two
//! services which happen to share a key do not share their callers.
//!
//! Who somebody is stands in the tokens as it was when they logged in; groups change with the next login.

use jiff::{SignedDuration, Timestamp};
use opentaco_domain::{Principal, Secret};
use serde::{Deserialize, Serialize};

use crate::ids::{FamilyId, TokenId};
use crate::jwt::{Standing, Times};
use crate::keys::{Jwks, KeyRing, SigningKey};
use crate::refused::{Flaw, Refused};

/// Which door an access token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The management API and Terraform's HTTP backend.
    Api,
    /// The S3 door.
    S3,
}

impl Audience {
    /// As the `aud` claim spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::S3 => "s3",
        }
    }
}

const ACCESS_TYPE: &str = "at+jwt";
const REFRESH_TYPE: &str = "opentaco-refresh+jwt";
const REFRESH_AUDIENCE: &str = "refresh";

/// Who logged in, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// Their name in locks, histories, roles and the audit.
    #[serde(rename = "sub")]
    pub principal: Principal,
    /// Their address, if the provider has verified it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// What people call them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The groups they were in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// How they logged in, for the audit: the issuer's address, as a rule.
    pub via: String,
}

/// How long tokens are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// An access token's.
    pub access: SignedDuration,
    /// A refresh token's, from each rotation on: who comes back within it stays logged in.
    pub refresh: SignedDuration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            access: SignedDuration::from_hours(1),
            refresh: SignedDuration::from_hours(30 * 24),
        }
    }
}

/// A token that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The token.
    pub token: Secret,
    /// When it expires.
    pub expires: Timestamp,
}

/// What a token of ours proves. Holding one inside `Ok` proves that the token is genuine, meant for what it was used
/// for, and not expired; only [`Tokens`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Who logged in.
    pub login: Login,
    /// The family it belongs to, which may have been revoked since.
    pub family: FamilyId,
    /// The token's own id.
    pub id: TokenId,
    /// When it was issued.
    pub issued: Timestamp,
    /// When it expires, or did.
    pub expires: Timestamp,
}

/// A verified access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access(pub Verified);

/// A verified refresh token; whether it was used before is for [`crate::session`] to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refresh(pub Verified);

/// Issues and verifies tokens.
#[derive(Debug, Clone)]
pub struct Tokens {
    keys: KeyRing,
    issuer: String,
    lifetimes: Lifetimes,
}

impl Tokens {
    /// Tokens signed with `keys` in the name of `issuer`, this service's address. Replicas share both.
    #[must_use]
    pub fn new(keys: KeyRing, issuer: impl Into<String>, lifetimes: Lifetimes) -> Self {
        Self {
            keys,
            issuer: issuer.into(),
            lifetimes,
        }
    }

    /// The key that signs.
    #[must_use]
    pub fn signing_key(&self) -> &SigningKey {
        self.keys.signing()
    }

    /// The public document of the keys, for `/oidc/jwks.json`.
    #[must_use]
    pub fn jwks(&self) -> Jwks {
        self.keys.jwks()
    }

    /// How long tokens are good.
    #[must_use]
    pub fn lifetimes(&self) -> Lifetimes {
        self.lifetimes
    }

    /// An access token for one door.
    #[must_use]
    pub fn issue_access(
        &self,
        login: &Login,
        family: &FamilyId,
        audience: Audience,
        now: Timestamp,
    ) -> Issued {
        let claims = Claims {
            aud: audience.as_str().to_owned(),
            ..self.claims(login, family, TokenId::draw(), now, self.lifetimes.access)
        };
        self.issue(ACCESS_TYPE, &claims)
    }

    /// The refresh token `id` of a family. Issued twice for the same moment it is the same token, byte for byte, as long
    /// as the same key signs: that is how a repeated refresh gets the answer that was lost.
    #[must_use]
    pub fn issue_refresh(&self, login: &Login, family: &FamilyId, id: TokenId, now: Timestamp) -> Issued {
        let claims = self.claims(login, family, id, now, self.lifetimes.refresh);
        self.issue(REFRESH_TYPE, &claims)
    }

    /// Whose access token this is.
    ///
    /// # Errors
    /// If it is none for this door, or has expired; an expired one was right in all else.
    pub fn verify_access(
        &self,
        token: &str,
        audience: Audience,
        now: Timestamp,
    ) -> Result<Access, Refused<Access>> {
        let (verified, standing) = self.verify(ACCESS_TYPE, audience.as_str(), token, now)?;
        good(Access(verified), standing)
    }

    /// Whose refresh token this is.
    ///
    /// # Errors
    /// If it is none, or has expired.
    pub fn verify_refresh(&self, token: &str, now: Timestamp) -> Result<Refresh, Refused<Refresh>> {
        let (verified, standing) = self.verify(REFRESH_TYPE, REFRESH_AUDIENCE, token, now)?;
        good(Refresh(verified), standing)
    }

    pub(crate) fn keys(&self) -> &KeyRing {
        &self.keys
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    fn claims(
        &self,
        login: &Login,
        family: &FamilyId,
        id: TokenId,
        now: Timestamp,
        lifetime: SignedDuration,
    ) -> Claims {
        Claims {
            iss: self.issuer.clone(),
            aud: REFRESH_AUDIENCE.to_owned(),
            iat: now.as_second(),
            exp: now
                .saturating_add(lifetime)
                .map_or(i64::MAX, Timestamp::as_second),
            jti: id,
            sid: family.clone(),
            login: login.clone(),
        }
    }

    fn issue(&self, typ: &str, claims: &Claims) -> Issued {
        Issued {
            token: self.keys.sign(typ, claims),
            expires: Timestamp::from_second(claims.exp).unwrap_or(Timestamp::MAX),
        }
    }

    /// Everything but the expiry is an error here; where now lies in the token's life is told beside what it proves.
    fn verify(
        &self,
        typ: &str,
        audience: &str,
        token: &str,
        now: Timestamp,
    ) -> Result<(Verified, Standing), Flaw> {
        let claims: Claims = self.keys.verify(typ, token)?;
        if claims.iss != self.issuer {
            return Err(Flaw::Issuer);
        }
        if claims.aud != audience {
            return Err(Flaw::Audience);
        }
        let standing = Times::new(claims.iat, claims.exp).judge(now)?;
        Ok((claims.verified()?, standing))
    }
}

pub(crate) fn good<T>(proved: T, standing: Standing) -> Result<T, Refused<T>> {
    match standing {
        Standing::Valid => Ok(proved),
        Standing::Expired => Err(Refused::Expired(Box::new(proved))),
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    iat: i64,
    exp: i64,
    jti: TokenId,
    sid: FamilyId,
    #[serde(flatten)]
    login: Login,
}

impl Claims {
    fn verified(self) -> Result<Verified, Flaw> {
        let time = |seconds| Timestamp::from_second(seconds).map_err(|_| Flaw::Malformed);
        Ok(Verified {
            login: self.login,
            family: self.sid,
            id: self.jti,
            issued: time(self.iat)?,
            expires: time(self.exp)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    use serde_json::{Value, json};

    use super::*;
    use crate::keys::{SigningKey, VerifyingKey};
    use crate::refused::testing::assert_wrong;

    const ISSUER: &str = "https://taco.example.com";

    struct World {
        key: SigningKey,
        tokens: Tokens,
        family: FamilyId,
        now: Timestamp,
    }

    fn world() -> World {
        let key = SigningKey::generate();
        World {
            tokens: tokens_of(KeyRing::new(key.clone())),
            key,
            family: FamilyId::draw(),
            now: "2026-11-23T12:00:00Z".parse().unwrap(),
        }
    }

    fn tokens_of(keys: KeyRing) -> Tokens {
        Tokens::new(keys, ISSUER, Lifetimes::default())
    }

    fn alice() -> Login {
        Login {
            principal: Principal::new("alice@example.com"),
            email: Some("alice@example.com".to_owned()),
            name: Some("Alice".to_owned()),
            groups: vec!["platform".to_owned(), "on-call".to_owned()],
            via: "https://login.example.com".to_owned(),
        }
    }

    impl World {
        fn access(&self) -> String {
            self.access_for(Audience::Api)
        }

        fn access_for(&self, audience: Audience) -> String {
            let issued = self
                .tokens
                .issue_access(&alice(), &self.family, audience, self.now);
            issued.token.expose().to_owned()
        }

        fn refresh(&self) -> String {
            let issued = self
                .tokens
                .issue_refresh(&alice(), &self.family, TokenId::draw(), self.now);
            issued.token.expose().to_owned()
        }

        fn verify(&self, token: &str) -> Result<Access, Refused<Access>> {
            self.tokens.verify_access(token, Audience::Api, self.now)
        }

        /// A token with claims and header as given, signed by the world's own key: what a flaw of ours might issue.
        fn forged(&self, header: &Value, claims: &Value) -> String {
            let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
            let message = format!("{}.{}", part(header), part(claims));
            let pem = pem::parse(self.key.to_pem().expose()).unwrap();
            let pair = aws_lc_rs::signature::Ed25519KeyPair::from_pkcs8(pem.contents()).unwrap();
            let signature = pair.sign(message.as_bytes());
            format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
        }

        fn header(&self) -> Value {
            json!({"alg": "EdDSA", "typ": "at+jwt", "kid": self.key.kid().as_str()})
        }

        fn claims(&self) -> Value {
            json!({
                "iss": ISSUER, "aud": "api", "sub": "alice@example.com", "via": "test",
                "iat": self.now.as_second(), "exp": self.now.as_second() + 3600,
                "jti": TokenId::draw().as_str(), "sid": self.family.as_str(),
            })
        }

        fn with_header(&self, name: &str, value: Value) -> String {
            let mut header = self.header();
            header[name] = value;
            self.forged(&header, &self.claims())
        }

        fn with_claim(&self, name: &str, value: Value) -> String {
            let mut claims = self.claims();
            claims[name] = value;
            self.forged(&self.header(), &claims)
        }
    }

    #[test]
    fn an_access_token_tells_who_logged_in_until_it_expires() {
        let world = world();
        let Access(verified) = world.verify(&world.access()).unwrap();
        assert_eq!(verified.login, alice());
        assert_eq!(verified.family, world.family);
        assert_eq!(verified.issued, world.now);
        assert_eq!(verified.expires, world.now + SignedDuration::from_hours(1));
    }

    #[test]
    fn what_the_tests_below_bend_is_a_good_token_before() {
        let world = world();
        assert!(
            world
                .verify(&world.forged(&world.header(), &world.claims()))
                .is_ok()
        );
    }

    #[test]
    fn an_access_token_is_no_refresh_token() {
        let world = world();
        let refused = world.tokens.verify_refresh(&world.access(), world.now);
        assert_wrong(refused, Flaw::Type);
    }

    #[test]
    fn a_refresh_token_is_no_access_token_at_any_door() {
        let world = world();
        for audience in [Audience::Api, Audience::S3] {
            let refused = world.tokens.verify_access(&world.refresh(), audience, world.now);
            assert_wrong(refused, Flaw::Type);
        }
    }

    #[test]
    fn a_token_whose_type_alone_was_swapped_is_refused_for_its_audience() {
        let world = world();
        let mut header = world.header();
        header["typ"] = json!(REFRESH_TYPE);
        let token = world.forged(&header, &world.claims());
        assert_wrong(world.tokens.verify_refresh(&token, world.now), Flaw::Audience);
        assert_wrong(
            world.verify(&world.with_claim("aud", json!("refresh"))),
            Flaw::Audience,
        );
    }

    #[test]
    fn a_token_of_no_type_or_of_another_is_refused() {
        let world = world();
        for typ in [json!("JWT"), json!("AT+JWT"), json!(""), json!(null)] {
            assert_wrong(world.verify(&world.with_header("typ", typ)), Flaw::Type);
        }
    }

    #[test]
    fn a_token_for_one_door_does_not_open_the_other() {
        let world = world();
        let for_s3 = world.access_for(Audience::S3);
        assert_wrong(world.verify(&for_s3), Flaw::Audience);
        assert!(
            world
                .tokens
                .verify_access(&for_s3, Audience::S3, world.now)
                .is_ok()
        );
        let refused = world
            .tokens
            .verify_access(&world.access(), Audience::S3, world.now);
        assert_wrong(refused, Flaw::Audience);
    }

    #[test]
    fn a_token_for_many_audiences_is_none_of_ours() {
        let world = world();
        assert_wrong(
            world.verify(&world.with_claim("aud", json!(["api"]))),
            Flaw::Malformed,
        );
    }

    #[test]
    fn a_token_without_a_signature_is_refused() {
        let world = world();
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        for alg in ["none", "None", "NONE", ""] {
            let mut header = world.header();
            header["alg"] = json!(alg);
            let unsigned = format!("{}.{}.", part(&header), part(&world.claims()));
            assert_wrong(world.verify(&unsigned), Flaw::Algorithm);
        }
        let stripped = world.access();
        let (signed, _) = stripped.rsplit_once('.').unwrap();
        assert_wrong(world.verify(&format!("{signed}.")), Flaw::Signature);
    }

    #[test]
    fn a_token_whose_hmac_secret_is_the_public_key_is_refused() {
        let world = world();
        let jwks = serde_json::to_value(world.tokens.jwks()).unwrap();
        let x = jwks["keys"][0]["x"].as_str().unwrap();
        let raw = URL_SAFE_NO_PAD.decode(x).unwrap();
        for secret in [raw.as_slice(), x.as_bytes()] {
            let mut header = Header::new(Algorithm::HS256);
            header.typ = Some(ACCESS_TYPE.to_owned());
            header.kid = Some(world.key.kid().to_string());
            let token =
                jsonwebtoken::encode(&header, &world.claims(), &EncodingKey::from_secret(secret)).unwrap();
            assert_wrong(world.verify(&token), Flaw::Algorithm);
        }
    }

    #[test]
    fn a_token_whose_key_is_not_ours_or_not_named_is_refused() {
        let world = world();
        let other = SigningKey::generate();
        for kid in [
            json!(other.kid().as_str()),
            json!(null),
            json!(""),
            json!("../../etc/passwd"),
        ] {
            assert_wrong(world.verify(&world.with_header("kid", kid)), Flaw::Key);
        }
    }

    #[test]
    fn a_token_that_brings_its_own_key_is_refused() {
        let world = world();
        let theirs = self::world();
        let mut header = theirs.header();
        header["kid"] = json!(world.key.kid().as_str());
        header["jwk"] = serde_json::to_value(theirs.tokens.jwks()).unwrap()["keys"][0].clone();
        header["jku"] = json!("https://evil.example.com/jwks.json");
        assert_wrong(
            world.verify(&theirs.forged(&header, &theirs.claims())),
            Flaw::Signature,
        );
    }

    #[test]
    fn a_token_of_another_server_is_refused() {
        let (ours, theirs) = (world(), world());
        assert_wrong(ours.verify(&theirs.access()), Flaw::Key);
        let mut header = theirs.header();
        header["kid"] = json!(ours.key.kid().as_str());
        assert_wrong(
            ours.verify(&theirs.forged(&header, &theirs.claims())),
            Flaw::Signature,
        );
    }

    #[test]
    fn a_token_of_a_server_with_the_same_keys_and_another_address_is_refused() {
        let world = world();
        for issuer in [
            "https://other.example.com",
            "https://taco.example.com/",
            "HTTPS://taco.example.com",
        ] {
            assert_wrong(
                world.verify(&world.with_claim("iss", json!(issuer))),
                Flaw::Issuer,
            );
        }
    }

    #[test]
    fn an_expired_token_is_told_from_a_wrong_one_and_still_says_whose_it_was() {
        let world = world();
        let later = world.now + SignedDuration::from_mins(62);
        let refused = world.tokens.verify_access(&world.access(), Audience::Api, later);
        let Err(Refused::Expired(access)) = refused else {
            panic!("an expired token was expected: {refused:?}");
        };
        assert_eq!(access.0.login, alice());
        let refused = world.tokens.verify_access(&world.access(), Audience::S3, later);
        assert_wrong(refused, Flaw::Audience);
        let refused = world
            .tokens
            .verify_refresh(&world.refresh(), world.now + SignedDuration::from_hours(721));
        assert!(matches!(refused, Err(Refused::Expired(_))));
    }

    #[test]
    fn a_token_from_the_future_is_refused() {
        let world = world();
        let earlier = world.now - SignedDuration::from_secs(61);
        let refused = world
            .tokens
            .verify_access(&world.access(), Audience::Api, earlier);
        assert_wrong(refused, Flaw::Future);
        let earlier = world.now - SignedDuration::from_secs(60);
        assert!(
            world
                .tokens
                .verify_access(&world.access(), Audience::Api, earlier)
                .is_ok()
        );
    }

    #[test]
    fn a_token_that_was_changed_is_refused() {
        let world = world();
        let access = world.access();
        let [header, _, signature] = *access.split('.').collect::<Vec<_>>() else {
            panic!("a token has three parts");
        };
        let mut claims = world.claims();
        claims["sub"] = json!("root");
        let changed = format!(
            "{header}.{}.{signature}",
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        assert_wrong(world.verify(&changed), Flaw::Signature);
    }

    #[test]
    fn a_token_id_that_spells_a_path_is_refused_even_when_we_signed_it() {
        let world = world();
        for path in [
            "../../__opentaco_access/x",
            "../../../../../root-to",
            "a/b",
            "..",
            "",
        ] {
            assert_wrong(
                world.verify(&world.with_claim("sid", json!(path))),
                Flaw::Malformed,
            );
            assert_wrong(
                world.verify(&world.with_claim("jti", json!(path))),
                Flaw::Malformed,
            );
        }
    }

    #[test]
    fn a_token_without_one_of_its_claims_is_refused() {
        let world = world();
        for name in ["iss", "aud", "sub", "iat", "exp", "jti", "sid", "via"] {
            let mut claims = world.claims();
            claims.as_object_mut().unwrap().remove(name);
            assert_wrong(
                world.verify(&world.forged(&world.header(), &claims)),
                Flaw::Malformed,
            );
        }
    }

    #[test]
    fn a_key_that_was_rotated_out_of_signing_logs_nobody_out() {
        let world = world();
        let old = VerifyingKey::from_pem(world.key.to_pem().expose()).unwrap();
        let rotated = tokens_of(KeyRing::new(SigningKey::generate()).and(old).unwrap());
        let before = world.access();
        assert!(rotated.verify_access(&before, Audience::Api, world.now).is_ok());
        assert!(rotated.verify_refresh(&world.refresh(), world.now).is_ok());
        let after = rotated.issue_access(&alice(), &world.family, Audience::Api, world.now);
        assert_wrong(world.verify(after.token.expose()), Flaw::Key);
    }

    #[test]
    fn a_refresh_token_issued_twice_for_one_moment_is_one_token() {
        let world = world();
        let id = TokenId::draw();
        let issue = |at| {
            world
                .tokens
                .issue_refresh(&alice(), &world.family, id.clone(), at)
        };
        assert_eq!(issue(world.now), issue(world.now));
        assert_ne!(issue(world.now), issue(world.now + SignedDuration::from_secs(1)));
    }
}
