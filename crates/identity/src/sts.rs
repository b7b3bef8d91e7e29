//! S3 credentials: made from keys, kept nowhere.
//!
//! An S3 client signs its requests with a secret and never sends it. So the S3 door has to know the secret, and it is
//! computed rather than stored:
//!
//! ```text
//! access key id   OTC.<kid>.<session>.<expiry, in hex>
//! secret          base64url(HMAC-SHA256(key <kid>, session "\n" subject "\n" expiry))
//! session token   a JWT of ours: who, until when, and the access key id it belongs to
//! ```
//!
//! The session token travels with each request; it tells the door whose the credentials are, and everything that the
//! secret is computed from. It opens nothing by itself: without the secret nobody can sign, and whoever finds a session
//! token in a log has no secret. Each part is bound to the others. A session token beside another access key id is
//! refused, so nobody borrows a session's locks; and with another subject or expiry the secret is another one.
//!
//! The expiry is part of the access key id, so that with another secret the id is another, too: the SDK for Go, which
//! Terraform signs with, remembers what it derived from a secret under the id alone, and would go on signing with the
//! old one after a refresh.
//!
//! Three texts are joined by line breaks: a session has none in it, and an expiry neither, so the first line is the one
//! and the last line the other whatever the subject is.
//!
//! The session is who holds a lock at the S3 door. It is chosen by the client (`OPENTACO_SESSION`, or the process that
//! asked), so that a refresh in the middle of an apply keeps it, and two jobs of one person are two holders.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use opentaco_domain::{Principal, Secret, Sha256};
use serde::{Deserialize, Serialize};

use crate::ids::FamilyId;
use crate::jwt::{Standing, Times};
use crate::keys::{KeyError, KeyId};
use crate::random;
use crate::refused::{Flaw, Refused};
use crate::token::{Audience, Login, Tokens, good};

/// How long credentials are good unless configured. An SDK asks for new ones in time.
pub const LIFETIME_DEFAULT: SignedDuration = SignedDuration::from_mins(15);

/// The longest session. An access key id is part of every request, and of every line of an access log.
const SESSION_BYTES_MAX: usize = 64;

/// The shortest secret of an HMAC key: as many bytes as the MAC has.
const KEY_BYTES_MIN: usize = 32;

const PREFIX: &str = "OTC";
const SESSION_TYPE: &str = "opentaco-s3+jwt";

/// Who a client of the S3 door says it is among those of one person: 1 to 64 letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct S3Session(String);

/// The text is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session has 1 to {SESSION_BYTES_MAX} letters, digits, `-` and `_`")]
pub struct NotASession;

impl S3Session {
    /// The session.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for S3Session {
    type Err = NotASession;

    fn from_str(text: &str) -> Result<Self, NotASession> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if (1..=SESSION_BYTES_MAX).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotASession)
        }
    }
}

impl fmt::Display for S3Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The public half of S3 credentials: `OTC.<kid>.<session>.<expiry>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKeyId {
    kid: KeyId,
    session: S3Session,
    expires: u64,
}

impl FromStr for AccessKeyId {
    type Err = Flaw;

    fn from_str(text: &str) -> Result<Self, Flaw> {
        let mut parts = text.split('.');
        let mut next = || parts.next();
        let (Some(PREFIX), Some(kid), Some(session), Some(expires), None) =
            (next(), next(), next(), next(), next())
        else {
            return Err(Flaw::Malformed);
        };
        let plain = |byte: u8| b"0123456789abcdef".contains(&byte);
        if expires.starts_with('0') || !expires.bytes().all(plain) {
            return Err(Flaw::Malformed);
        }
        Ok(Self {
            kid: kid.parse().map_err(|_| Flaw::Malformed)?,
            session: session.parse().map_err(|_| Flaw::Malformed)?,
            expires: u64::from_str_radix(expires, 16).map_err(|_| Flaw::Malformed)?,
        })
    }
}

impl fmt::Display for AccessKeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{PREFIX}.{}.{}.{:x}",
            self.kid, self.session, self.expires
        )
    }
}

/// The HMAC keys of one service: secrets are made with one, and found again with all.
#[derive(Clone)]
pub struct StsKeys {
    making: KeyId,
    all: BTreeMap<KeyId, hmac::Key>,
}

impl fmt::Debug for StsKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "StsKeys({}, …)", self.making)
    }
}

impl StsKeys {
    /// One key, with which secrets are made.
    ///
    /// # Errors
    /// If its secret has fewer than 32 bytes.
    pub fn new(kid: KeyId, secret: &Secret) -> Result<Self, KeyError> {
        let all = BTreeMap::new();
        let making = kid.clone();
        Self { making, all }.and(kid, secret)
    }

    /// One more key, for credentials that were made with it.
    ///
    /// # Errors
    /// If its secret has fewer than 32 bytes, or another key has its name.
    pub fn and(mut self, kid: KeyId, secret: &Secret) -> Result<Self, KeyError> {
        if secret.expose().len() < KEY_BYTES_MIN {
            return Err(KeyError::Short(kid));
        }
        if self.all.contains_key(&kid) {
            return Err(KeyError::Twice(kid));
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        self.all.insert(kid, key);
        Ok(self)
    }

    /// A secret for a new key: 256 random bits.
    ///
    /// # Panics
    /// If the operating system has no randomness to give.
    #[must_use]
    pub fn draw_secret() -> Secret {
        Secret::new(URL_SAFE_NO_PAD.encode(random::bytes::<32>()))
    }

    fn secret(&self, access_key: &AccessKeyId, subject: &Principal, expires: i64) -> Result<Secret, Flaw> {
        let key = self.all.get(&access_key.kid).ok_or(Flaw::Key)?;
        let text = format!("{}\n{subject}\n{expires}", access_key.session);
        let tag = hmac::sign(key, text.as_bytes());
        Ok(Secret::new(URL_SAFE_NO_PAD.encode(tag)))
    }
}

/// Credentials for an S3 client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Which.
    pub access_key: AccessKeyId,
    /// What requests are signed with.
    pub secret: Secret,
    /// What is sent beside the signature.
    pub session_token: Secret,
    /// When they expire.
    pub expires: Timestamp,
}

/// Whose credentials are, and what they were made from: asked of at each use, where that may be over before them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Holder {
    /// A login, with the family of its tokens, which may be revoked later.
    Login {
        /// The family.
        sid: FamilyId,
        /// Who logged in.
        #[serde(flatten)]
        login: Login,
    },
    /// An API token. Whether it is good, and how far it reaches, stands in the record that is kept of it.
    ApiToken {
        /// Whose it is.
        #[serde(rename = "sub")]
        principal: Principal,
        /// What it is kept by.
        hash: Sha256,
    },
    /// A job of a trusted CI, as its token and the rules had it. Its credentials outlive a token of minutes, as those of
    /// a cloud do.
    Job {
        /// Its name.
        #[serde(rename = "sub")]
        principal: Principal,
        /// The roles it has by the rule that matched.
        roles: Vec<String>,
        /// The issuer that vouched for it.
        issuer: String,
        /// Where its run can be looked at.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<String>,
    },
}

impl Holder {
    /// Their name in locks, histories and the audit.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        match self {
            Self::Login { login, .. } => &login.principal,
            Self::ApiToken { principal, .. } | Self::Job { principal, .. } => principal,
        }
    }
}

/// Whose S3 credentials these are, and the secret with which their signature is to be checked: until then, nothing is
/// proved but that we made them once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Whose they are.
    pub holder: Holder,
    /// The session, which holds locks.
    pub session: S3Session,
    /// What the request must be signed with.
    pub secret: Secret,
    /// When they expire, or did.
    pub expires: Timestamp,
}

/// Makes S3 credentials, and finds their secrets again.
#[derive(Debug, Clone)]
pub struct Sts {
    tokens: Arc<Tokens>,
    keys: StsKeys,
    lifetime: SignedDuration,
}

impl Sts {
    /// Credentials whose session tokens are signed like `tokens` and whose secrets are made with `keys`.
    #[must_use]
    pub fn new(tokens: Arc<Tokens>, keys: StsKeys, lifetime: SignedDuration) -> Self {
        Self {
            tokens,
            keys,
            lifetime,
        }
    }

    /// Credentials of a session of somebody who has proved who they are.
    ///
    /// # Panics
    /// Never: the key that makes secrets is one of the keys.
    #[must_use]
    pub fn mint(&self, holder: Holder, session: &S3Session, now: Timestamp) -> Credentials {
        let exp = now
            .saturating_add(self.lifetime)
            .map_or(i64::MAX, Timestamp::as_second);
        let access_key = AccessKeyId {
            kid: self.keys.making.clone(),
            session: session.clone(),
            expires: u64::try_from(exp).unwrap_or_default(),
        };
        let secret = self.keys.secret(&access_key, holder.principal(), exp);
        let claims = Claims {
            iss: self.tokens.issuer().to_owned(),
            aud: Audience::S3.as_str().to_owned(),
            iat: now.as_second(),
            exp,
            akid: access_key.to_string(),
            holder,
        };
        Credentials {
            access_key,
            secret: secret.expect("the key that makes secrets is one of the keys"),
            session_token: self.tokens.keys().sign(SESSION_TYPE, &claims),
            expires: Timestamp::from_second(exp).unwrap_or(Timestamp::MAX),
        }
    }

    /// Whose credentials these are. The request is theirs only if it is signed with the secret in the answer.
    ///
    /// # Errors
    /// If we never made them, or they have expired.
    pub fn recover(
        &self,
        access_key: &str,
        session_token: &str,
        now: Timestamp,
    ) -> Result<Recovered, Refused<Recovered>> {
        let access_key: AccessKeyId = access_key.parse()?;
        let claims: Claims = self.tokens.keys().verify(SESSION_TYPE, session_token)?;
        let standing = self.judge(&claims, &access_key, now)?;
        let recovered = Recovered {
            secret: self
                .keys
                .secret(&access_key, claims.holder.principal(), claims.exp)?,
            session: access_key.session,
            holder: claims.holder,
            expires: Timestamp::from_second(claims.exp).map_err(|_| Flaw::Malformed)?,
        };
        good(recovered, standing)
    }

    fn judge(&self, claims: &Claims, access_key: &AccessKeyId, now: Timestamp) -> Result<Standing, Flaw> {
        if claims.iss != self.tokens.issuer() {
            return Err(Flaw::Issuer);
        }
        if claims.aud != Audience::S3.as_str() {
            return Err(Flaw::Audience);
        }
        if claims.akid != access_key.to_string() {
            return Err(Flaw::Binding);
        }
        Times::new(claims.iat, claims.exp).judge(now)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    iat: i64,
    exp: i64,
    /// The access key id that this token belongs to.
    akid: String,
    #[serde(flatten)]
    holder: Holder,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{KeyRing, SigningKey};
    use crate::refused::testing::assert_wrong;
    use crate::token::Lifetimes;

    struct World {
        sts: Sts,
        tokens: Arc<Tokens>,
        now: Timestamp,
    }

    fn kid(name: &str) -> KeyId {
        name.parse().unwrap()
    }

    fn session(name: &str) -> S3Session {
        name.parse().unwrap()
    }

    fn login(principal: &str) -> Login {
        Login {
            principal: Principal::new(principal),
            email: None,
            name: None,
            groups: vec!["platform".to_owned()],
            via: "test".to_owned(),
        }
    }

    fn of_login(principal: &str) -> Holder {
        Holder::Login {
            sid: FamilyId::draw(),
            login: login(principal),
        }
    }

    fn keys() -> StsKeys {
        StsKeys::new(kid("k1"), &Secret::new("a".repeat(32))).unwrap()
    }

    fn world() -> World {
        let ring = KeyRing::new(SigningKey::generate());
        let tokens = Arc::new(Tokens::new(
            ring,
            "https://taco.example.com",
            Lifetimes::default(),
        ));
        World {
            sts: Sts::new(Arc::clone(&tokens), keys(), LIFETIME_DEFAULT),
            tokens,
            now: "2026-11-23T12:00:00Z".parse().unwrap(),
        }
    }

    impl World {
        fn minted(&self, principal: &str, name: &str) -> Credentials {
            self.sts.mint(of_login(principal), &session(name), self.now)
        }

        fn recover(&self, access_key: &str, token: &Secret) -> Result<Recovered, Refused<Recovered>> {
            self.sts.recover(access_key, token.expose(), self.now)
        }
    }

    #[test]
    fn the_secret_and_its_owner_are_found_again_from_what_a_client_sends() {
        let world = world();
        let job = Holder::Job {
            principal: Principal::new("ci:acme/infra"),
            roles: vec!["writer".to_owned()],
            issuer: "https://token.actions.githubusercontent.com".to_owned(),
            run: Some("https://github.com/acme/infra/actions/runs/7".to_owned()),
        };
        let token = Holder::ApiToken {
            principal: Principal::new("service:drift"),
            hash: Sha256::of(b"taco_1"),
        };
        let refreshed = world.sts.mint(
            token.clone(),
            &session("apply-7"),
            world.now + SignedDuration::from_secs(1),
        );
        assert_eq!(
            refreshed.access_key.to_string(),
            "OTC.k1.apply-7.6b042e45",
            "another secret, another id"
        );
        for holder in [of_login("alice"), token, job] {
            let minted = world.sts.mint(holder.clone(), &session("apply-7"), world.now);
            assert_eq!(minted.access_key.to_string(), "OTC.k1.apply-7.6b042e44");
            let found = world
                .recover("OTC.k1.apply-7.6b042e44", &minted.session_token)
                .unwrap();
            assert_eq!(found.secret, minted.secret);
            assert_eq!(found.holder, holder);
            assert_eq!(found.session.as_str(), "apply-7");
            assert_eq!(found.expires, minted.expires);
            assert_eq!(minted.expires, world.now + SignedDuration::from_mins(15));
        }
    }

    /// Replicas of two versions have to agree on it.
    #[test]
    fn the_secret_is_made_as_documented() {
        let access_key = "OTC.k1.s.6b042e44".parse().unwrap();
        let secret = keys()
            .secret(&access_key, &Principal::new("alice"), 1_795_435_200)
            .unwrap();
        assert_eq!(secret.expose(), "9RhLowfYOJZl7j3UEah5xhyvfPecfIzcAOr6PLu03fg");
    }

    #[test]
    fn another_session_subject_expiry_or_key_makes_another_secret() {
        let keys = keys().and(kid("k2"), &Secret::new("b".repeat(32))).unwrap();
        let secret = |access_key: &str, subject: &str, expires: i64| {
            let made = keys.secret(&access_key.parse().unwrap(), &Principal::new(subject), expires);
            made.unwrap().expose().to_owned()
        };
        let secrets = [
            secret("OTC.k1.s.6b042e44", "alice", 1),
            secret("OTC.k2.s.6b042e44", "alice", 1),
            secret("OTC.k1.t.6b042e44", "alice", 1),
            secret("OTC.k1.s.6b042e44", "bob", 1),
            secret("OTC.k1.s.6b042e44", "alice", 2),
            secret("OTC.k1.s.6b042e44", "alice\n1", 1),
            secret("OTC.k1.s.6b042e44", "t\nalice", 1),
        ];
        let different: std::collections::BTreeSet<_> = secrets.iter().collect();
        assert_eq!(different.len(), secrets.len());
    }

    #[test]
    fn a_session_token_beside_another_access_key_is_refused() {
        let world = world();
        let alice = world.minted("alice", "hers");
        let bob = world.minted("bob", "his");
        assert_wrong(
            world.recover(&bob.access_key.to_string(), &alice.session_token),
            Flaw::Binding,
        );
        assert_wrong(
            world.recover("OTC.k2.hers.6b042e44", &alice.session_token),
            Flaw::Binding,
        );
    }

    #[test]
    fn an_access_key_with_oddities_is_refused() {
        let world = world();
        let minted = world.minted("alice", "s");
        for wrong in [
            "",
            "OTC",
            "OTC.k1",
            "OTC.k1.s",
            "OTC..s.1",
            "OTC.k1..1",
            "OTC.k1.s.",
            "OTC.k1.s.x",
            "OTC.k1.s.-1",
            "OTC.k1.s.01",
            "OTC.k1.s.6B042E44",
            "OTC.k1.s.1.1",
            "otc.k1.s.1",
            "AKIA.k1.s.1",
            "OTC.k1.../../x.1",
            "OTC.../k1.s.1",
            "OTC.k1.a/b.1",
            "OTC.k1.s.1\n",
            "OTC.k1.é.1",
        ] {
            assert_wrong(world.recover(wrong, &minted.session_token), Flaw::Malformed);
        }
    }

    #[test]
    fn an_access_token_is_no_session_token_not_even_one_for_s3() {
        let world = world();
        for audience in [Audience::Api, Audience::S3] {
            let access = world
                .tokens
                .issue_access(&login("alice"), &FamilyId::draw(), audience, world.now);
            assert_wrong(world.recover("OTC.k1.s.6b042e44", &access.token), Flaw::Type);
        }
    }

    #[test]
    fn a_session_token_is_no_access_token_and_no_refresh_token() {
        let world = world();
        let token = world.minted("alice", "s").session_token;
        for audience in [Audience::Api, Audience::S3] {
            let refused = world.tokens.verify_access(token.expose(), audience, world.now);
            assert_wrong(refused, Flaw::Type);
        }
        assert_wrong(world.tokens.verify_refresh(token.expose(), world.now), Flaw::Type);
    }

    #[test]
    fn expired_credentials_are_told_from_wrong_ones() {
        let world = world();
        let minted = world.minted("alice", "s");
        let later = world.now + SignedDuration::from_mins(16);
        let refused = world
            .sts
            .recover("OTC.k1.s.6b042e44", minted.session_token.expose(), later);
        assert!(matches!(refused, Err(Refused::Expired(_))), "{refused:?}");
        let earlier = world.now - SignedDuration::from_mins(2);
        assert_wrong(
            world
                .sts
                .recover("OTC.k1.s.6b042e44", minted.session_token.expose(), earlier),
            Flaw::Future,
        );
    }

    #[test]
    fn credentials_of_another_server_are_refused() {
        let (ours, theirs) = (world(), world());
        let minted = theirs.minted("alice", "s");
        assert_wrong(
            ours.recover("OTC.k1.s.6b042e44", &minted.session_token),
            Flaw::Key,
        );
    }

    #[test]
    fn replicas_with_the_same_keys_accept_each_others_credentials() {
        let world = world();
        let other = Sts::new(Arc::clone(&world.tokens), keys(), LIFETIME_DEFAULT);
        let minted = world.minted("alice", "s");
        let found = other
            .recover("OTC.k1.s.6b042e44", minted.session_token.expose(), world.now)
            .unwrap();
        assert_eq!(found.secret, minted.secret);
    }

    #[test]
    fn a_rotated_key_still_finds_the_secrets_it_made_until_it_is_taken_away() {
        let world = world();
        let minted = world.minted("alice", "s");
        let new = StsKeys::new(kid("k2"), &Secret::new("b".repeat(32))).unwrap();
        let with_old = new.clone().and(kid("k1"), &Secret::new("a".repeat(32))).unwrap();
        let recover = |keys: StsKeys| {
            let sts = Sts::new(Arc::clone(&world.tokens), keys, LIFETIME_DEFAULT);
            sts.recover("OTC.k1.s.6b042e44", minted.session_token.expose(), world.now)
        };
        assert_eq!(recover(with_old).unwrap().secret, minted.secret);
        assert_wrong(recover(new), Flaw::Key);
    }

    #[test]
    fn a_key_is_long_enough_has_its_own_name_and_is_not_shown() {
        let short = StsKeys::new(kid("k1"), &Secret::new("a".repeat(31)));
        assert_eq!(short.unwrap_err(), KeyError::Short(kid("k1")));
        let twice = keys().and(kid("k1"), &StsKeys::draw_secret());
        assert_eq!(twice.unwrap_err(), KeyError::Twice(kid("k1")));
        assert_eq!(format!("{:?}", keys()), "StsKeys(k1, …)");
        assert_ne!(StsKeys::draw_secret(), StsKeys::draw_secret());
    }
}
