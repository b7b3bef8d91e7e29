//! A provider: what it is called, and which keys it has at the moment.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::discovery::{Discovery, is_called_alike};
use super::fetch::Fetch;
use super::jwks::ProviderKeys;
use crate::jwt::{self, Standing, Times, UnverifiedHeader};
use crate::refused::{Flaw, Refused};

/// How long a provider's answers are taken for new.
const FRESH: SignedDuration = SignedDuration::from_mins(10);

/// How soon after the last answer an unknown key asks again.
const UNKNOWN_KEY_AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// The longest wait after failures.
const BACKOFF_SECONDS_MAX: i64 = 60;

/// Where a provider is, and what its discovery document does not say, or says wrongly.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// Its name, which is an address: `https://login.example.com`.
    pub issuer: String,
    /// Where people log in.
    #[serde(default)]
    pub authorization_endpoint: Option<String>,
    /// Where a code is exchanged for tokens.
    #[serde(default)]
    pub token_endpoint: Option<String>,
    /// Where its keys are. With this one given, tokens can be verified without discovery.
    #[serde(default)]
    pub jwks_uri: Option<String>,
}

impl IssuerConfig {
    /// Whether discovery could tell nothing more.
    fn is_complete(&self) -> bool {
        self.authorization_endpoint.is_some() && self.token_endpoint.is_some() && self.jwks_uri.is_some()
    }
}

/// Why a provider cannot be configured so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// It is no address.
    #[error("`{0}` is not the address of an issuer: `https://…` without query or fragment is expected")]
    NotAnAddress(String),
    /// Whoever sits on the way could put in keys of their own.
    #[error("`{url}` is not `https`, and its issuer `{issuer}` is")]
    Insecure {
        /// The address.
        url: String,
        /// The issuer.
        issuer: String,
    },
}

/// Where people log in, and where codes are exchanged, as far as that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Where people log in.
    pub authorization: Option<String>,
    /// Where a code is exchanged for tokens.
    pub token: Option<String>,
}

/// Why a token proves nothing, before it is known what it would have proved.
#[derive(Debug)]
pub(crate) enum Doubt {
    Wrong(Flaw),
    Unavailable(Arc<str>),
}

impl From<Flaw> for Doubt {
    fn from(flaw: Flaw) -> Self {
        Self::Wrong(flaw)
    }
}

impl<T> From<Doubt> for Refused<T> {
    fn from(doubt: Doubt) -> Self {
        match doubt {
            Doubt::Wrong(flaw) => Self::Wrong(flaw),
            Doubt::Unavailable(reason) => Self::Unavailable(reason),
        }
    }
}

/// What a provider has signed, for this audience.
#[derive(Debug)]
pub(crate) struct Proved {
    pub(crate) claims: Map<String, Value>,
    pub(crate) standing: Standing,
    pub(crate) expires: Timestamp,
}

/// A provider, with its keys as they were last seen.
pub struct Issuer {
    config: IssuerConfig,
    fetch: Arc<dyn Fetch>,
    known: RwLock<Option<Arc<Known>>>,
    /// Whoever holds this asks the provider; nobody else does meanwhile.
    attempts: Mutex<Attempts>,
}

/// What a provider has told.
#[derive(Debug)]
struct Known {
    /// Its name as it spells it.
    issuer: String,
    keys: ProviderKeys,
    endpoints: Endpoints,
    fetched: Timestamp,
}

/// How asking went.
#[derive(Debug, Default)]
struct Attempts {
    failures: u32,
    failed: Option<(Timestamp, Arc<str>)>,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Issuer({})", self.config.issuer)
    }
}

impl Issuer {
    /// The provider of that configuration, which is not asked before somebody needs it.
    ///
    /// # Errors
    /// If an address is none, or would let somebody on the way put in keys of their own.
    pub fn new(config: IssuerConfig, fetch: Arc<dyn Fetch>) -> Result<Self, IssuerError> {
        let issuer = &config.issuer;
        let after_scheme = issuer
            .strip_prefix("https://")
            .or_else(|| issuer.strip_prefix("http://"));
        let host = after_scheme
            .and_then(|rest| rest.split('/').next())
            .unwrap_or_default();
        if host.is_empty() || issuer.contains(['?', '#', ' ']) {
            return Err(IssuerError::NotAnAddress(issuer.clone()));
        }
        let by_hand = [
            &config.authorization_endpoint,
            &config.token_endpoint,
            &config.jwks_uri,
        ];
        for url in by_hand.into_iter().flatten() {
            check_scheme(issuer, url)?;
        }
        Ok(Self {
            config,
            fetch,
            known: RwLock::new(None),
            attempts: Mutex::default(),
        })
    }

    /// Its name, as it was configured.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.issuer
    }

    /// Whether `name` is this provider's, give or take a slash at the end; nothing is proved by that.
    #[must_use]
    pub fn may_be_called(&self, name: &str) -> bool {
        is_called_alike(name, &self.config.issuer)
    }

    /// Where people log in: what was given by hand, and what the provider tells of the rest.
    ///
    /// # Errors
    /// If the provider has to be asked and does not answer.
    pub async fn endpoints(&self, now: Timestamp) -> Result<Endpoints, Arc<str>> {
        let by_hand = Endpoints {
            authorization: self.config.authorization_endpoint.clone(),
            token: self.config.token_endpoint.clone(),
        };
        if by_hand.authorization.is_some() && by_hand.token.is_some() {
            return Ok(by_hand);
        }
        let told = self.known(now).await?.endpoints.clone();
        Ok(Endpoints {
            authorization: by_hand.authorization.or(told.authorization),
            token: by_hand.token.or(told.token),
        })
    }

    /// What this provider has signed for `audience`. Everything is checked but the expiry, which is told beside it.
    pub(crate) async fn prove(&self, token: &str, audience: &str, now: Timestamp) -> Result<Proved, Doubt> {
        let header = UnverifiedHeader::of(token)?;
        if header.typ.as_deref().is_some_and(is_of_another_kind) {
            return Err(Flaw::Type.into());
        }
        if !self.may_be_called(&unverified_issuer(token)?) {
            return Err(Flaw::Issuer.into());
        }
        let (known, claims) = self.signed_claims(&header, token, now).await?;
        if claims.get("iss").and_then(Value::as_str) != Some(&known.issuer) {
            return Err(Flaw::Issuer.into());
        }
        check_audience(&claims, audience)?;
        let times = Times::of(&claims)?;
        Ok(Proved {
            standing: times.judge(now)?,
            expires: times.expires()?,
            claims,
        })
    }

    /// Verifies with the keys that are known; where none of them fits, with newer ones if there are any.
    async fn signed_claims(
        &self,
        header: &UnverifiedHeader,
        token: &str,
        now: Timestamp,
    ) -> Result<(Arc<Known>, Map<String, Value>), Doubt> {
        let known = self.known(now).await.map_err(Doubt::Unavailable)?;
        let flaw = match known.keys.verify(header, token) {
            Ok(claims) => return Ok((known, claims)),
            Err(flaw) => flaw,
        };
        let perhaps_a_new_key = flaw == Flaw::Key || (flaw == Flaw::Signature && header.kid.is_none());
        if !perhaps_a_new_key {
            return Err(flaw.into());
        }
        let newer = self.newer_than(&known, now).await.map_err(Doubt::Unavailable)?;
        let known = newer.ok_or(flaw)?;
        let claims = known.keys.verify(header, token)?;
        Ok((known, claims))
    }

    /// What the provider has told, asked again when that is old and it can be had.
    async fn known(&self, now: Timestamp) -> Result<Arc<Known>, Arc<str>> {
        match self.snapshot() {
            None => {
                let mut attempts = self.attempts.lock().await;
                match self.snapshot() {
                    Some(known) => Ok(known),
                    None => self.ask(&mut attempts, now).await,
                }
            }
            Some(known) if now.duration_since(known.fetched).abs() < FRESH => Ok(known),
            // Whoever comes while another asks takes what is known, and so does everybody while nothing newer is to be had.
            Some(stale) => match self.attempts.try_lock() {
                Ok(mut attempts) => Ok(self.ask(&mut attempts, now).await.unwrap_or(stale)),
                Err(_) => Ok(stale),
            },
        }
    }

    /// What the provider tells beyond `seen`, in which a key is missing; nothing if that was asked a moment ago.
    async fn newer_than(&self, seen: &Arc<Known>, now: Timestamp) -> Result<Option<Arc<Known>>, Arc<str>> {
        let mut attempts = self.attempts.lock().await;
        let newest = self.snapshot().filter(|known| !Arc::ptr_eq(known, seen));
        if newest.is_some() {
            return Ok(newest);
        }
        if attempts.failures == 0 && now.duration_since(seen.fetched).abs() < UNKNOWN_KEY_AGAIN {
            return Ok(None);
        }
        self.ask(&mut attempts, now).await.map(Some)
    }

    fn snapshot(&self) -> Option<Arc<Known>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the provider, unless it failed to answer a moment ago.
    async fn ask(&self, attempts: &mut Attempts, now: Timestamp) -> Result<Arc<Known>, Arc<str>> {
        if let Some(reason) = attempts.too_soon(now) {
            return Err(reason);
        }
        match self.fetch_all(now).await {
            Ok(known) => {
                *attempts = Attempts::default();
                let known = Arc::new(known);
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&known));
                Ok(known)
            }
            Err(reason) => Err(attempts.failed_for(&reason, now)),
        }
    }

    async fn fetch_all(&self, now: Timestamp) -> Result<Known, String> {
        let discovered = self.discover().await?;
        let jwks_uri = self.config.jwks_uri.clone().or(discovered.jwks_uri);
        let jwks_uri = jwks_uri.ok_or("the discovery document has no `jwks_uri`")?;
        check_scheme(&self.config.issuer, &jwks_uri).map_err(|error| error.to_string())?;
        let document = self
            .fetch
            .fetch(&jwks_uri)
            .await
            .map_err(|error| error.to_string())?;
        Ok(Known {
            issuer: discovered.issuer,
            keys: ProviderKeys::parse(&document).map_err(|reason| format!("{jwks_uri}: {reason}"))?,
            endpoints: Endpoints {
                authorization: discovered.authorization_endpoint,
                token: discovered.token_endpoint,
            },
            fetched: now,
        })
    }

    /// What the discovery document says. With keys given by hand it is not needed, and may be missing.
    async fn discover(&self) -> Result<Discovery, String> {
        if self.config.is_complete() {
            return Ok(self.without_discovery());
        }
        match Discovery::fetch(&*self.fetch, &self.config.issuer).await {
            Err(_) if self.config.jwks_uri.is_some() => Ok(self.without_discovery()),
            discovered => discovered,
        }
    }

    /// What was discovered before, or else what was given by hand.
    fn without_discovery(&self) -> Discovery {
        let before = self.snapshot();
        let issuer = before.as_ref().map_or(&self.config.issuer, |known| &known.issuer);
        let endpoints = before
            .as_ref()
            .map(|known| known.endpoints.clone())
            .unwrap_or_default();
        Discovery {
            issuer: issuer.clone(),
            authorization_endpoint: endpoints.authorization,
            token_endpoint: endpoints.token,
            jwks_uri: None,
        }
    }
}

impl Attempts {
    /// The reason of the last failure, while it is too soon to try again. A clock that was set back waits for nothing.
    fn too_soon(&self, now: Timestamp) -> Option<Arc<str>> {
        let (at, reason) = self.failed.as_ref()?;
        let doubled = 1_i64
            .checked_shl(self.failures.saturating_sub(1))
            .unwrap_or(i64::MAX);
        let backoff = SignedDuration::from_secs(doubled.clamp(1, BACKOFF_SECONDS_MAX));
        (now.duration_since(*at).abs() < backoff).then(|| Arc::clone(reason))
    }

    fn failed_for(&mut self, reason: &str, now: Timestamp) -> Arc<str> {
        let reason: Arc<str> = reason.into();
        self.failures = self.failures.saturating_add(1);
        self.failed = Some((now, Arc::clone(&reason)));
        reason
    }
}

/// The issuer a token names before anything is proved; to choose whose keys verify it, and for nothing else.
pub(crate) fn unverified_issuer(token: &str) -> Result<String, Flaw> {
    #[derive(Deserialize)]
    struct Named {
        iss: String,
    }
    let Named { iss } = jwt::unverified_claims(token)?;
    Ok(iss)
}

/// Access tokens (`at+jwt`), logout tokens and the like say what they are; an ID token is `JWT` or says nothing.
fn is_of_another_kind(typ: &str) -> bool {
    typ.to_ascii_lowercase().ends_with("+jwt")
}

/// `audience` is meant, and nobody else acts on its behalf.
fn check_audience(claims: &Map<String, Value>, audience: &str) -> Result<(), Flaw> {
    let (meant, alone) = match claims.get("aud") {
        Some(Value::String(only)) => (only == audience, true),
        Some(Value::Array(many)) => (many.iter().any(|one| one == audience), many.len() == 1),
        _ => (false, false),
    };
    let authorized = match claims.get("azp") {
        None => alone,
        Some(party) => party == audience,
    };
    (meant && authorized).then_some(()).ok_or(Flaw::Audience)
}

/// Keys of an issuer that is spoken to in private are not fetched in public.
fn check_scheme(issuer: &str, url: &str) -> Result<(), IssuerError> {
    let secure = url.starts_with("https://");
    let as_the_issuer = url.starts_with("http://") && issuer.starts_with("http://");
    if secure || as_the_issuer {
        return Ok(());
    }
    Err(IssuerError::Insecure {
        url: url.to_owned(),
        issuer: issuer.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde_json::json;

    use super::super::testing::{ISSUER, KEYS, TestKey, Web, noon};
    use super::*;

    fn claims() -> Value {
        let now = noon().as_second();
        json!({"iss": ISSUER, "aud": "opentaco", "sub": "248289761001", "iat": now, "exp": now + 300})
    }

    /// A provider with one key of P-256, and what we know of it.
    struct World {
        key: TestKey,
        web: Arc<Web>,
        issuer: Issuer,
        now: Timestamp,
    }

    fn world() -> World {
        let key = TestKey::ec();
        let web = Web::with_keys(&[key.jwk("one")]);
        World {
            issuer: web.issuer(),
            key,
            web,
            now: noon(),
        }
    }

    impl World {
        async fn prove(&self, token: &str) -> Result<Proved, Doubt> {
            self.issuer.prove(token, "opentaco", self.now).await
        }

        /// Whether a good token issued now is believed.
        async fn login(&self) -> Result<Proved, Doubt> {
            self.login_by(&self.key, "one").await
        }

        async fn login_by(&self, key: &TestKey, kid: &str) -> Result<Proved, Doubt> {
            let mut claims = claims();
            claims["iat"] = self.now.as_second().into();
            claims["exp"] = (self.now.as_second() + 300).into();
            self.prove(&key.token(kid, &claims)).await
        }

        fn wait(&mut self, seconds: i64) {
            self.now += SignedDuration::from_secs(seconds);
        }
    }

    #[track_caller]
    fn assert_wrong<T: Debug>(result: Result<T, Doubt>, flaw: Flaw) {
        match result {
            Err(Doubt::Wrong(found)) => assert_eq!(found, flaw),
            other => panic!("{flaw:?} was expected: {other:?}"),
        }
    }

    #[track_caller]
    fn assert_unavailable<T: Debug>(result: Result<T, Doubt>) {
        match result {
            Err(Doubt::Unavailable(reason)) => assert!(reason.contains("nobody answers"), "{reason}"),
            other => panic!("an outage was expected: {other:?}"),
        }
    }

    #[tokio::test]
    async fn tokens_signed_by_keys_of_every_kind_are_believed() {
        for key in [TestKey::rsa(), TestKey::ec(), TestKey::ed()] {
            let issuer = Web::with_keys(&[key.jwk("one")]).issuer();
            let proved = issuer
                .prove(&key.token("one", &claims()), "opentaco", noon())
                .await
                .unwrap();
            assert_eq!(proved.claims["sub"], "248289761001");
            assert_eq!(proved.expires, noon() + SignedDuration::from_secs(300));
        }
    }

    #[tokio::test]
    async fn a_key_is_used_with_its_own_algorithms_only() {
        let world = world();
        for alg in ["none", "HS256", "RS256", "ES384", "EdDSA", "es256", ""] {
            let token = world.key.sign(&json!({"alg": alg, "kid": "one"}), &claims());
            assert_wrong(world.prove(&token).await, Flaw::Algorithm);
        }
        let key = TestKey::rsa();
        let mut jwk = key.jwk("one");
        jwk["alg"] = "RS512".into();
        let issuer = Web::with_keys(&[jwk]).issuer();
        assert_wrong(
            issuer
                .prove(&key.token("one", &claims()), "opentaco", noon())
                .await,
            Flaw::Algorithm,
        );
    }

    #[tokio::test]
    async fn a_token_whose_hmac_secret_is_the_public_key_is_refused() {
        use aws_lc_rs::hmac;
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;

        let world = world();
        let jwk = world.key.jwk("one");
        let header = json!({"alg": "HS256", "typ": "JWT", "kid": "one"});
        let message = super::super::testing::message(&header, &claims());
        for secret in [jwk.to_string(), jwk["x"].as_str().unwrap().to_owned()] {
            let tag = hmac::sign(
                &hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
                message.as_bytes(),
            );
            let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag));
            assert_wrong(world.prove(&token).await, Flaw::Algorithm);
        }
    }

    #[tokio::test]
    async fn a_symmetric_key_in_the_providers_document_is_not_read() {
        let world = world();
        let symmetric =
            json!({"kty": "oct", "kid": "two", "k": "aHVzaGh1c2hodXNoaHVzaGh1c2hodXNoaHVzaGh1c2g"});
        world
            .web
            .put(KEYS, &json!({"keys": [symmetric, world.key.jwk("one")]}));
        assert!(world.login().await.is_ok());
        let token = world.key.sign(&json!({"alg": "HS256", "kid": "two"}), &claims());
        assert_wrong(world.prove(&token).await, Flaw::Key);
    }

    #[tokio::test]
    async fn keys_that_are_not_for_us_do_not_spoil_the_others() {
        let world = world();
        let mut encrypts = TestKey::rsa().jwk("enc");
        encrypts["use"] = "enc".into();
        let odd = json!({"kty": "LATTICE", "kid": "odd", "p": 7});
        world
            .web
            .put(KEYS, &json!({"keys": [encrypts, odd, 7, world.key.jwk("one")]}));
        assert!(world.login().await.is_ok());
        assert_wrong(world.login_by(&TestKey::rsa(), "enc").await, Flaw::Key);
    }

    #[tokio::test]
    async fn a_token_signed_by_another_key_of_the_same_name_is_refused() {
        let world = world();
        assert_wrong(world.login_by(&TestKey::ec(), "one").await, Flaw::Signature);
    }

    #[tokio::test]
    async fn a_token_of_another_issuer_is_refused_without_asking_anybody() {
        let world = world();
        for issuer in [
            "https://evil.example.com",
            "https://login.example.com.evil.com",
            "login.example.com",
            "",
        ] {
            let mut claims = claims();
            claims["iss"] = issuer.into();
            assert_wrong(world.prove(&world.key.token("one", &claims)).await, Flaw::Issuer);
        }
        assert_eq!(world.web.asked(), 0);
    }

    #[tokio::test]
    async fn the_issuer_is_spelled_as_the_provider_spells_it_slash_included() {
        let world = world();
        let mut with_slash = claims();
        with_slash["iss"] = "https://login.example.com/".into();
        let with_slash = world.key.token("one", &with_slash);
        assert_wrong(world.prove(&with_slash).await, Flaw::Issuer);

        let discovery = "https://login.example.com/.well-known/openid-configuration";
        let document = json!({"issuer": "https://login.example.com/", "jwks_uri": KEYS});
        world.web.put(discovery, &document);
        let fresh = World {
            issuer: world.web.issuer(),
            ..world
        };
        assert!(fresh.prove(&with_slash).await.is_ok());
        assert_wrong(fresh.login().await, Flaw::Issuer);
    }

    #[tokio::test]
    async fn a_document_of_another_issuer_is_not_believed() {
        let world = world();
        let discovery = "https://login.example.com/.well-known/openid-configuration";
        world.web.put(
            discovery,
            &json!({"issuer": "https://evil.example.com", "jwks_uri": KEYS}),
        );
        let Err(Doubt::Unavailable(reason)) = world.login().await else {
            panic!("the document must not be used");
        };
        assert!(reason.contains("another issuer"), "{reason}");
    }

    #[tokio::test]
    async fn keys_of_an_https_issuer_are_not_fetched_over_http() {
        let world = world();
        let discovery = "https://login.example.com/.well-known/openid-configuration";
        world.web.put(
            discovery,
            &json!({"issuer": ISSUER, "jwks_uri": "http://login.example.com/keys"}),
        );
        assert!(matches!(world.login().await, Err(Doubt::Unavailable(reason)) if reason.contains("https")));
        let config = IssuerConfig {
            issuer: ISSUER.to_owned(),
            jwks_uri: Some("http://login.example.com/keys".to_owned()),
            ..IssuerConfig::default()
        };
        let refused = Issuer::new(config, Arc::<Web>::clone(&world.web)).unwrap_err();
        assert!(matches!(refused, IssuerError::Insecure { .. }));
    }

    #[tokio::test]
    async fn a_token_for_another_application_is_refused() {
        let world = world();
        for (audience, party) in [
            (json!("other"), None),
            (json!(["other"]), None),
            (json!([]), None),
            (json!(null), None),
            (json!(["opentaco", "other"]), None),
            (json!(["opentaco", "other"]), Some("other")),
            (json!("opentaco"), Some("other")),
        ] {
            let mut claims = claims();
            claims["aud"] = audience;
            claims
                .as_object_mut()
                .unwrap()
                .extend(party.map(|party| ("azp".to_owned(), party.into())));
            assert_wrong(
                world.prove(&world.key.token("one", &claims)).await,
                Flaw::Audience,
            );
        }
    }

    #[tokio::test]
    async fn a_token_for_us_among_others_is_ours_if_it_was_made_for_us() {
        let world = world();
        let mut claims = claims();
        claims["aud"] = json!(["other", "opentaco"]);
        claims["azp"] = "opentaco".into();
        assert!(world.prove(&world.key.token("one", &claims)).await.is_ok());
    }

    #[tokio::test]
    async fn an_access_token_of_the_same_provider_is_no_id_token() {
        let world = world();
        for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "logout+jwt"] {
            let token = world
                .key
                .sign(&json!({"alg": "ES256", "kid": "one", "typ": typ}), &claims());
            assert_wrong(world.prove(&token).await, Flaw::Type);
        }
    }

    #[tokio::test]
    async fn a_token_that_has_expired_is_told_from_one_that_is_from_the_future() {
        let mut world = world();
        let token = world.key.token("one", &claims());
        world.wait(361);
        assert_eq!(world.prove(&token).await.unwrap().standing, Standing::Expired);
        world.wait(-361 - 61);
        assert_wrong(world.prove(&token).await, Flaw::Future);
    }

    #[tokio::test]
    async fn a_token_without_an_expiry_is_refused() {
        let world = world();
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove("exp");
        assert_wrong(
            world.prove(&world.key.token("one", &claims)).await,
            Flaw::Malformed,
        );
    }

    #[tokio::test]
    async fn a_provider_that_is_down_at_start_stops_nothing_but_that_login() {
        let mut world = world();
        world.web.take_down(true);
        assert_unavailable(world.login().await);
        world.web.take_down(false);
        world.wait(1);
        assert!(world.login().await.is_ok());
    }

    #[tokio::test]
    async fn a_provider_that_is_down_is_asked_less_and_less_often() {
        let mut world = world();
        world.web.take_down(true);
        for _ in 0..600 {
            assert_unavailable(world.login().await);
            world.wait(1);
        }
        assert!(
            (12..=16).contains(&world.web.asked()),
            "asked {} times",
            world.web.asked()
        );
    }

    #[tokio::test]
    async fn keys_that_are_known_serve_on_while_the_provider_is_down() {
        let mut world = world();
        assert!(world.login().await.is_ok());
        world.web.take_down(true);
        for _ in 0..48 {
            world.wait(3600);
            assert!(world.login().await.is_ok());
        }
    }

    #[tokio::test]
    async fn a_new_key_is_known_as_soon_as_it_signs() {
        let mut world = world();
        assert!(world.login().await.is_ok());
        let two = TestKey::rsa();
        world
            .web
            .put(KEYS, &json!({"keys": [world.key.jwk("one"), two.jwk("two")]}));
        world.wait(30);
        assert!(world.login_by(&two, "two").await.is_ok());
    }

    #[tokio::test]
    async fn a_new_key_without_a_name_is_known_as_soon_as_it_signs() {
        let unnamed = |key: &TestKey| {
            let mut jwk = key.jwk("");
            jwk.as_object_mut().unwrap().remove("kid");
            jwk
        };
        let (one, two) = (TestKey::ec(), TestKey::ec());
        let web = Web::with_keys(&[unnamed(&one)]);
        let issuer = web.issuer();
        let token = |key: &TestKey| key.sign(&json!({"alg": "ES256"}), &claims());
        assert!(issuer.prove(&token(&one), "opentaco", noon()).await.is_ok());
        web.put(KEYS, &json!({"keys": [unnamed(&one), unnamed(&two)]}));
        let later = noon() + SignedDuration::from_secs(30);
        assert!(issuer.prove(&token(&two), "opentaco", later).await.is_ok());
    }

    #[tokio::test]
    async fn invented_keys_do_not_become_a_flood_of_requests() {
        let mut world = world();
        assert!(world.login().await.is_ok());
        let before = world.web.asked();
        for _ in 0..60 {
            assert_wrong(world.login_by(&TestKey::ec(), "invented").await, Flaw::Key);
            world.wait(1);
        }
        assert_eq!(
            world.web.asked() - before,
            10,
            "discovery and keys, once in ten seconds, and not in the first"
        );
    }

    #[tokio::test]
    async fn an_unknown_key_of_a_provider_that_is_down_is_not_a_wrong_one() {
        let mut world = world();
        assert!(world.login().await.is_ok());
        world.web.take_down(true);
        world.wait(30);
        for _ in 0..2 {
            assert_unavailable(world.login_by(&TestKey::ec(), "two").await);
        }
        assert!(world.login().await.is_ok());
    }

    #[tokio::test]
    async fn a_key_that_the_provider_withdrew_is_forgotten_within_ten_minutes() {
        let mut world = world();
        assert!(world.login().await.is_ok());
        world.web.put(KEYS, &json!({"keys": [TestKey::ec().jwk("two")]}));
        world.wait(600);
        assert_wrong(world.login().await, Flaw::Key);
    }

    #[tokio::test]
    async fn a_document_without_keys_does_not_replace_the_keys_that_are_known() {
        let mut world = world();
        assert!(world.login().await.is_ok());
        for broken in [json!({"keys": []}), json!({}), json!("<html>")] {
            world.web.put(KEYS, &broken);
            world.wait(600);
            assert!(world.login().await.is_ok());
        }
    }

    #[tokio::test]
    async fn what_is_given_by_hand_comes_before_what_is_discovered() {
        let key = TestKey::ec();
        let web = Web::with_keys(&[]);
        web.put(
            "https://keys.example.com/by-hand",
            &json!({"keys": [key.jwk("one")]}),
        );
        let issuer = web.issuer_of(IssuerConfig {
            issuer: ISSUER.to_owned(),
            jwks_uri: Some("https://keys.example.com/by-hand".to_owned()),
            token_endpoint: Some("https://keys.example.com/token".to_owned()),
            ..IssuerConfig::default()
        });
        assert!(
            issuer
                .prove(&key.token("one", &claims()), "opentaco", noon())
                .await
                .is_ok()
        );
        let endpoints = issuer.endpoints(noon()).await.unwrap();
        assert_eq!(endpoints.token.unwrap(), "https://keys.example.com/token");
        assert_eq!(
            endpoints.authorization.unwrap(),
            "https://login.example.com/authorize"
        );
    }

    #[tokio::test]
    async fn a_provider_without_discovery_is_enough_where_everything_is_given_by_hand() {
        let key = TestKey::ec();
        let web = Arc::new(Web::default());
        web.put(KEYS, &json!({"keys": [key.jwk("one")]}));
        let issuer = web.issuer_of(IssuerConfig {
            issuer: ISSUER.to_owned(),
            authorization_endpoint: Some("https://login.example.com/authorize".to_owned()),
            token_endpoint: Some("https://login.example.com/token".to_owned()),
            jwks_uri: Some(KEYS.to_owned()),
        });
        assert!(issuer.endpoints(noon()).await.is_ok());
        assert_eq!(web.asked(), 0);
        assert!(
            issuer
                .prove(&key.token("one", &claims()), "opentaco", noon())
                .await
                .is_ok()
        );
        assert_eq!(web.asked(), 1);
    }

    #[test]
    fn what_is_no_address_is_no_issuer() {
        for wrong in [
            "",
            "login.example.com",
            "https://",
            "ftp://a",
            "https://a?b",
            "https://a#b",
            "https://a b",
        ] {
            let config = IssuerConfig {
                issuer: wrong.to_owned(),
                ..IssuerConfig::default()
            };
            let refused = Issuer::new(config, Arc::new(Web::default())).unwrap_err();
            assert_eq!(refused, IssuerError::NotAnAddress(wrong.to_owned()));
        }
    }
}
