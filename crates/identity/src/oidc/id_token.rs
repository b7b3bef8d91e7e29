//! ID tokens: the provider's word that somebody has just logged in.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::issuer::{Endpoints, Issuer, Proved};
use crate::refused::{Flaw, Refused};
use crate::token::good;

/// More groups than this do not fit into a token that travels in a header. Where a provider sends more, let it send
/// those that matter here; taking some and not others could leave out the one that is denied.
pub const GROUPS_MAX: usize = 200;

/// What a login at the provider has to say.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginConfig {
    /// This service, as the provider knows it: the audience of its ID tokens.
    pub client_id: String,
    /// The claim that lists somebody's groups.
    #[serde(default = "groups")]
    pub groups_claim: String,
}

fn groups() -> String {
    "groups".to_owned()
}

/// Who has logged in, by a provider's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdToken {
    /// The provider, as it was configured.
    pub issuer: String,
    /// Its name for the person: never given to anybody else, and not meant for reading.
    pub subject: String,
    /// Their address, if the provider has verified it.
    pub email: Option<String>,
    /// What people call them.
    pub name: Option<String>,
    /// The groups they are in.
    pub groups: Vec<String>,
    /// When the token expires.
    pub expires: Timestamp,
}

/// Verifies ID tokens of one provider.
#[derive(Debug)]
pub struct IdTokens {
    issuer: Issuer,
    config: LoginConfig,
}

impl IdTokens {
    /// Verifies what `issuer` says about logins of `config.client_id`.
    #[must_use]
    pub fn new(issuer: Issuer, config: LoginConfig) -> Self {
        Self { issuer, config }
    }

    /// The provider's name, as it was configured.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.issuer.name()
    }

    /// This service, as the provider knows it.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.config.client_id
    }

    /// Where people log in.
    ///
    /// # Errors
    /// If the provider has to be asked and does not answer.
    pub async fn endpoints(&self, now: Timestamp) -> Result<Endpoints, Refused<IdToken>> {
        self.issuer.endpoints(now).await.map_err(Refused::Unavailable)
    }

    /// Who has logged in. `nonce` is the one of the login that we started; one that others started has none for us.
    ///
    /// # Errors
    /// If the token does not prove it, has expired, or cannot be judged because the provider's keys cannot be had.
    pub async fn verify(
        &self,
        token: &str,
        nonce: Option<&str>,
        now: Timestamp,
    ) -> Result<IdToken, Refused<IdToken>> {
        let proved = self.issuer.prove(token, &self.config.client_id, now).await?;
        good(self.read(&proved, nonce)?, proved.standing)
    }

    fn read(&self, proved: &Proved, nonce: Option<&str>) -> Result<IdToken, Flaw> {
        let claims = &proved.claims;
        if nonce.is_some_and(|expected| !is_nonce(claims, expected)) {
            return Err(Flaw::Nonce);
        }
        Ok(IdToken {
            issuer: self.issuer.name().to_owned(),
            subject: text(claims, "sub").ok_or(Flaw::Malformed)?,
            email: text(claims, "email").filter(|_| is_true(claims.get("email_verified"))),
            name: text(claims, "name"),
            groups: groups_in(claims.get(&self.config.groups_claim))?,
            expires: proved.expires,
        })
    }
}

/// A claim that is a text, and not an empty one.
fn text(claims: &Map<String, Value>, name: &str) -> Option<String> {
    let text = claims.get(name)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// Cognito spells it as a text.
fn is_true(claim: Option<&Value>) -> bool {
    match claim {
        Some(Value::Bool(value)) => *value,
        Some(Value::String(text)) => text == "true",
        _ => false,
    }
}

fn is_nonce(claims: &Map<String, Value>, expected: &str) -> bool {
    let nonce = claims.get("nonce").and_then(Value::as_str).unwrap_or_default();
    verify_slices_are_equal(nonce.as_bytes(), expected.as_bytes()).is_ok()
}

/// A list of names, or one name.
fn groups_in(claim: Option<&Value>) -> Result<Vec<String>, Flaw> {
    let groups = match claim {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(group)) => vec![group.clone()],
        Some(Value::Array(groups)) => {
            let names = groups.iter().map(|group| group.as_str().map(str::to_owned));
            names.collect::<Option<_>>().ok_or(Flaw::Groups)?
        }
        Some(_) => return Err(Flaw::Groups),
    };
    (groups.len() <= GROUPS_MAX).then_some(groups).ok_or(Flaw::Groups)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::json;

    use super::super::testing::{ISSUER, TestKey, Web, noon};
    use super::*;

    struct World {
        key: TestKey,
        id_tokens: IdTokens,
    }

    fn world() -> World {
        let key = TestKey::ed();
        let issuer = Web::with_keys(&[key.jwk("one")]).issuer();
        let config = serde_json::from_value(json!({"client_id": "opentaco"})).unwrap();
        World {
            key,
            id_tokens: IdTokens::new(issuer, config),
        }
    }

    impl World {
        /// The answer to a good token with these claims beside the necessary ones.
        async fn login(&self, more: Value) -> Result<IdToken, Refused<IdToken>> {
            self.login_with(more, None, noon()).await
        }

        async fn login_with(
            &self,
            more: Value,
            nonce: Option<&str>,
            now: Timestamp,
        ) -> Result<IdToken, Refused<IdToken>> {
            let issued = noon().as_second();
            let mut claims =
                json!({"iss": ISSUER, "aud": "opentaco", "sub": "2482", "iat": issued, "exp": issued + 300});
            let Value::Object(more) = more else {
                panic!("claims are an object");
            };
            claims.as_object_mut().unwrap().extend(more);
            self.id_tokens
                .verify(&self.key.token("one", &claims), nonce, now)
                .await
        }
    }

    #[tokio::test]
    async fn an_id_token_tells_who_logged_in() {
        let claims = json!({"email": "alice@example.com", "email_verified": true, "name": "Alice", "groups": ["platform"]});
        let alice = world().login(claims).await.unwrap();
        assert_eq!(alice.subject, "2482");
        assert_eq!(alice.email.unwrap(), "alice@example.com");
        assert_eq!(alice.name.unwrap(), "Alice");
        assert_eq!(alice.groups, ["platform"]);
        assert_eq!(alice.issuer, ISSUER);
    }

    #[tokio::test]
    async fn an_email_that_is_not_verified_is_nobodys() {
        let world = world();
        for verified in [
            json!({}),
            json!({"email_verified": false}),
            json!({"email_verified": "false"}),
            json!({"email_verified": 1}),
        ] {
            let mut claims = json!({"email": "admin@example.com"});
            claims
                .as_object_mut()
                .unwrap()
                .extend(verified.as_object().unwrap().clone());
            assert_eq!(world.login(claims).await.unwrap().email, None);
        }
        let as_text = json!({"email": "alice@example.com", "email_verified": "true"});
        assert!(world.login(as_text).await.unwrap().email.is_some());
    }

    #[tokio::test]
    async fn a_token_of_another_login_is_refused_where_we_started_one() {
        let world = world();
        for claims in [
            json!({"nonce": "another"}),
            json!({}),
            json!({"nonce": ""}),
            json!({"nonce": ["ours"]}),
        ] {
            let refused = world.login_with(claims, Some("ours"), noon()).await;
            assert_eq!(refused, Err(Refused::Wrong(Flaw::Nonce)));
        }
        let ours = json!({"nonce": "ours"});
        assert!(world.login_with(ours.clone(), Some("ours"), noon()).await.is_ok());
        assert!(
            world.login(ours).await.is_ok(),
            "the CLI started it, and has checked it"
        );
    }

    #[tokio::test]
    async fn an_id_token_without_a_subject_is_nobodys() {
        for subject in [json!(""), json!(null), json!(7)] {
            let refused = world().login(json!({"sub": subject})).await;
            assert_eq!(refused, Err(Refused::Wrong(Flaw::Malformed)));
        }
    }

    #[tokio::test]
    async fn groups_are_taken_whole_or_not_at_all() {
        let world = world();
        let many = |count: usize| json!({"groups": vec!["g"; count]});
        assert_eq!(
            world.login(many(GROUPS_MAX)).await.unwrap().groups.len(),
            GROUPS_MAX
        );
        assert_eq!(
            world.login(json!({"groups": "ops"})).await.unwrap().groups,
            ["ops"]
        );
        for wrong in [
            many(GROUPS_MAX + 1),
            json!({"groups": ["a", 7]}),
            json!({"groups": {"a": true}}),
        ] {
            assert_eq!(world.login(wrong).await, Err(Refused::Wrong(Flaw::Groups)));
        }
    }

    #[tokio::test]
    async fn the_claim_that_lists_groups_can_be_another() {
        let mut world = world();
        world.id_tokens.config.groups_claim = "https://example.com/roles".to_owned();
        let claims = json!({"groups": ["not these"], "https://example.com/roles": ["these"]});
        assert_eq!(world.login(claims).await.unwrap().groups, ["these"]);
    }

    #[tokio::test]
    async fn an_expired_id_token_is_told_from_a_wrong_one() {
        let later = noon() + SignedDuration::from_mins(10);
        let refused = world().login_with(json!({}), None, later).await;
        assert!(matches!(refused, Err(Refused::Expired(_))), "{refused:?}");
    }
}
