//! From a CI job's token to a principal.

use std::sync::Arc;

use jiff::Timestamp;
use opentaco_domain::Principal;
use serde_json::{Map, Value};

use super::config::{CiConfigError, CiIssuerConfig, Rule};
use crate::oidc::{Fetch, Issuer, IssuerConfig, Proved, unverified_issuer};
use crate::refused::{Flaw, Refused};
use crate::token::good;

/// A CI job that a rule has made somebody of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CiJob {
    /// Its name in locks, histories, roles and the audit.
    pub principal: Principal,
    /// The roles it has by the rule that matched.
    pub roles: Vec<String>,
    /// The issuer that vouches for it, as it was configured.
    pub issuer: String,
    /// What the issuer calls it.
    pub subject: Option<String>,
    /// Where its run can be looked at, if its claims tell.
    pub run_url: Option<String>,
    /// When its token was issued.
    pub issued: Timestamp,
    /// When its token expires.
    pub expires: Timestamp,
}

/// The trusted issuers of CI tokens, with their rules.
#[derive(Debug, Default)]
pub struct CiIssuers(Vec<CiIssuer>);

#[derive(Debug)]
struct CiIssuer {
    issuer: Issuer,
    audience: String,
    rules: Vec<Rule>,
}

impl CiIssuers {
    /// The issuers of that configuration, none of which is asked before a job comes.
    ///
    /// # Errors
    /// If an issuer or a rule makes no sense, or would let in more than its author can have meant.
    pub fn new(configs: Vec<CiIssuerConfig>, fetch: &Arc<dyn Fetch>) -> Result<Self, CiConfigError> {
        let mut issuers = Self::default();
        for config in configs {
            if issuers.of(&config.issuer).is_some() {
                return Err(CiConfigError::Twice(config.issuer));
            }
            issuers.0.push(CiIssuer::new(config, fetch)?);
        }
        Ok(issuers)
    }

    /// Whether nobody's jobs are believed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a token says that it is of one of these issuers, and so is to be verified here. Proves nothing.
    #[must_use]
    pub fn may_have_issued(&self, token: &str) -> bool {
        unverified_issuer(token).is_ok_and(|name| self.of(&name).is_some())
    }

    /// Which job this is. An expired token was right in all else; it says which job it was.
    ///
    /// # Errors
    /// If the token does not prove it, no rule matches, it has expired, or its issuer's keys cannot be had.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<CiJob, Refused<CiJob>> {
        let name = unverified_issuer(token)?;
        let trusted = self.of(&name).ok_or(Flaw::Issuer)?;
        let proved = trusted.issuer.prove(token, &trusted.audience, now).await?;
        good(trusted.job(&proved)?, proved.standing)
    }

    fn of(&self, name: &str) -> Option<&CiIssuer> {
        self.0.iter().find(|trusted| trusted.issuer.may_be_called(name))
    }
}

impl CiIssuer {
    fn new(config: CiIssuerConfig, fetch: &Arc<dyn Fetch>) -> Result<Self, CiConfigError> {
        if config.audience.is_empty() {
            return Err(CiConfigError::NoAudience(config.issuer));
        }
        let read = |(index, rule)| {
            Rule::read(rule, &config.issuer).map_err(|reason| CiConfigError::Rule {
                issuer: config.issuer.clone(),
                number: index + 1,
                reason,
            })
        };
        let rules = config
            .rules
            .iter()
            .enumerate()
            .map(read)
            .collect::<Result<_, _>>()?;
        let issuer = IssuerConfig {
            issuer: config.issuer,
            jwks_uri: config.jwks_uri,
            ..IssuerConfig::default()
        };
        Ok(Self {
            issuer: Issuer::new(issuer, Arc::clone(fetch))?,
            audience: config.audience,
            rules,
        })
    }

    fn job(&self, proved: &Proved) -> Result<CiJob, Flaw> {
        let claims = &proved.claims;
        let matched = self
            .rules
            .iter()
            .find_map(|rule| Some((rule.principal(claims)?, rule)));
        let (principal, rule) = matched.ok_or(Flaw::NoRule)?;
        Ok(CiJob {
            principal: Principal::new(principal),
            roles: rule.roles.clone(),
            issuer: self.issuer.name().to_owned(),
            subject: text(claims, "sub").map(str::to_owned),
            run_url: run_url(claims),
            // A token that does not tell was good at the moment of its expiry, and that is all that is known.
            issued: seconds(claims, "iat").unwrap_or(proved.expires),
            expires: proved.expires,
        })
    }
}

/// GitHub names the parts of the address, GitLab the project's address and the job. The claims are signed by their
/// platform, but shown to people who click: nothing but an `https` address without oddities is passed on.
fn run_url(claims: &Map<String, Value>) -> Option<String> {
    let url = match (text(claims, "repository"), text(claims, "run_id")) {
        (Some(repository), Some(run)) => {
            let server = text(claims, "server_url").unwrap_or("https://github.com");
            format!("{server}/{repository}/actions/runs/{run}")
        }
        _ => {
            let (project, job) = (text(claims, "project_path")?, text(claims, "job_id")?);
            let server = text(claims, "iss")?;
            format!("{server}/{project}/-/jobs/{job}")
        }
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":/._-~%+".contains(&byte);
    (url.starts_with("https://") && url.len() <= 1024 && url.bytes().all(plain)).then_some(url)
}

fn seconds(claims: &Map<String, Value>, name: &str) -> Option<Timestamp> {
    Timestamp::from_second(claims.get(name)?.as_i64()?).ok()
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::json;

    use super::*;
    use crate::oidc::testing::{ISSUER, TestKey, Web, noon};

    struct World {
        key: TestKey,
        ci: CiIssuers,
    }

    fn config() -> Value {
        json!([{
            "issuer": ISSUER,
            "audience": "https://taco.example.com",
            "rules": [
                {
                    "when": {"repository": "acme/infra", "ref": "refs/heads/main", "environment": "production"},
                    "principal": "ci:github:{repository}",
                    "roles": ["deployer"],
                },
                {"when": {"repository": "acme/*"}, "principal": "ci:github:{repository}", "roles": ["planner"]},
            ],
        }])
    }

    fn issuers(config: Value, web: &Arc<Web>) -> Result<CiIssuers, CiConfigError> {
        let fetch: Arc<dyn Fetch> = Arc::<Web>::clone(web);
        CiIssuers::new(serde_json::from_value(config).unwrap(), &fetch)
    }

    fn world() -> World {
        let key = TestKey::rsa();
        let web = Web::with_keys(&[key.jwk("one")]);
        World {
            ci: issuers(config(), &web).unwrap(),
            key,
        }
    }

    /// What GitHub says of a job on the main branch.
    fn on_main() -> Value {
        let now = noon().as_second();
        json!({
            "iss": ISSUER, "aud": "https://taco.example.com", "iat": now, "nbf": now, "exp": now + 300,
            "sub": "repo:acme/infra:environment:production", "repository": "acme/infra", "repository_owner": "acme",
            "ref": "refs/heads/main", "environment": "production", "run_id": "7654321", "run_attempt": "1",
        })
    }

    impl World {
        async fn verify(&self, claims: &Value) -> Result<CiJob, Refused<CiJob>> {
            self.ci.verify(&self.key.token("one", claims), noon()).await
        }

        async fn with(&self, name: &str, value: Value) -> Result<CiJob, Refused<CiJob>> {
            let mut claims = on_main();
            claims[name] = value;
            self.verify(&claims).await
        }
    }

    #[tokio::test]
    async fn a_job_on_the_protected_branch_is_the_deployer() {
        let job = world().verify(&on_main()).await.unwrap();
        assert_eq!(job.principal.as_str(), "ci:github:acme/infra");
        assert_eq!(job.roles, ["deployer"]);
        assert_eq!(job.subject.unwrap(), "repo:acme/infra:environment:production");
        assert_eq!(
            job.run_url.unwrap(),
            "https://github.com/acme/infra/actions/runs/7654321"
        );
    }

    #[tokio::test]
    async fn a_job_of_a_pull_request_may_only_plan() {
        let job = world().with("ref", json!("refs/pull/7/merge")).await.unwrap();
        assert_eq!(job.roles, ["planner"]);
    }

    #[tokio::test]
    async fn a_genuine_token_that_no_rule_matches_is_nobodys() {
        let world = world();
        for repository in [
            json!("evil/infra"),
            json!("acme/team/infra"),
            json!("acme"),
            json!(["acme/infra"]),
            json!(null),
        ] {
            let refused = world.with("repository", repository).await;
            assert_eq!(refused, Err(Refused::Wrong(Flaw::NoRule)));
        }
    }

    #[tokio::test]
    async fn a_token_for_another_service_is_refused() {
        let world = world();
        for audience in [
            json!("https://github.com/acme"),
            json!(null),
            json!(["https://taco.example.com", "x"]),
        ] {
            assert_eq!(
                world.with("aud", audience).await,
                Err(Refused::Wrong(Flaw::Audience))
            );
        }
    }

    #[tokio::test]
    async fn a_token_of_an_issuer_that_is_not_trusted_is_refused() {
        let world = world();
        let mut claims = on_main();
        claims["iss"] = "https://token.actions.githubusercontent.com".into();
        assert!(!world.ci.may_have_issued(&world.key.token("one", &claims)));
        assert_eq!(world.verify(&claims).await, Err(Refused::Wrong(Flaw::Issuer)));
        assert!(world.ci.may_have_issued(&world.key.token("one", &on_main())));
    }

    #[tokio::test]
    async fn a_token_that_the_issuer_did_not_sign_is_refused() {
        let forged = TestKey::rsa().token("one", &on_main());
        let refused = world().ci.verify(&forged, noon()).await;
        assert_eq!(refused, Err(Refused::Wrong(Flaw::Signature)));
    }

    #[tokio::test]
    async fn an_expired_token_still_says_which_job_it_was_and_only_if_a_rule_matches() {
        let world = world();
        let later = noon() + SignedDuration::from_hours(1);
        let refused = world.ci.verify(&world.key.token("one", &on_main()), later).await;
        let Err(Refused::Expired(job)) = refused else {
            panic!("an expired token was expected: {refused:?}");
        };
        assert_eq!(job.principal.as_str(), "ci:github:acme/infra");
        let mut theirs = on_main();
        theirs["repository"] = "evil/infra".into();
        let refused = world.ci.verify(&world.key.token("one", &theirs), later).await;
        assert_eq!(refused, Err(Refused::Wrong(Flaw::NoRule)));
    }

    #[tokio::test]
    async fn the_run_of_a_gitlab_job_can_be_looked_at() {
        let claims =
            json!({"iss": "https://gitlab.example.com", "project_path": "acme/infra", "job_id": "302"});
        let url = run_url(claims.as_object().unwrap()).unwrap();
        assert_eq!(url, "https://gitlab.example.com/acme/infra/-/jobs/302");
    }

    #[test]
    fn an_address_that_is_odd_is_not_shown() {
        for (server, repository) in [
            ("javascript:alert(1)//", "acme/infra"),
            ("http://ghe.example.com", "acme/infra"),
            ("https://ghe.example.com", "acme/infra?x=<script>"),
            ("https://ghe.example.com", "acme/infra\nforged line"),
            ("https://user@ghe.example.com", "acme/infra"),
        ] {
            let claims = json!({"server_url": server, "repository": repository, "run_id": "7"});
            assert_eq!(
                run_url(claims.as_object().unwrap()),
                None,
                "{server} {repository}"
            );
        }
        let claims = json!({"server_url": "https://ghe.example.com", "repository": "a/b", "run_id": "7"});
        let url = run_url(claims.as_object().unwrap()).unwrap();
        assert_eq!(url, "https://ghe.example.com/a/b/actions/runs/7");
    }

    #[test]
    fn a_configuration_that_makes_no_sense_says_which_rule_and_why() {
        let changed = |pointer: &str, value: Value| {
            let mut config = config();
            *config.pointer_mut(pointer).unwrap() = value;
            issuers(config, &Arc::new(Web::default())).unwrap_err()
        };
        let told = |pointer: &str, value: Value| changed(pointer, value).to_string();
        let error = told("/0/rules/1/principal", json!("{repository}"));
        assert!(
            error.contains("rule 2 of the ci issuer") && error.contains("`ci:`"),
            "{error}"
        );
        let error = told("/0/rules/0/when", json!({}));
        assert!(
            error.contains("rule 1") && error.contains("no condition"),
            "{error}"
        );
        assert!(told("/0/audience", json!("")).contains("audience"));
        assert!(matches!(
            changed("/0/issuer", json!("github")),
            CiConfigError::Issuer(_)
        ));
    }

    #[test]
    fn an_issuer_stands_there_once() {
        let mut config = config();
        let mut again = config[0].clone();
        again["issuer"] = format!("{ISSUER}/").into();
        config.as_array_mut().unwrap().push(again);
        let refused = issuers(config, &Arc::new(Web::default())).unwrap_err();
        assert_eq!(refused, CiConfigError::Twice(format!("{ISSUER}/")));
    }
}
