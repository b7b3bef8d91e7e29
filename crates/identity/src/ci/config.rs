//! What is written about CI issuers, and what is wrong with it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::pattern::Pattern;
use super::template::Template;
use crate::oidc::IssuerError;

/// A trusted issuer of CI tokens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CiIssuerConfig {
    /// Its name, which is an address.
    pub issuer: String,
    /// The audience that jobs ask their tokens for: this service, and nobody else.
    pub audience: String,
    /// Where its keys are, if discovery does not tell.
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// What makes somebody of a token; the first rule that matches counts.
    pub rules: Vec<CiRuleConfig>,
}

/// A rule: conditions on claims, and who a job is when all of them hold.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CiRuleConfig {
    /// The conditions, by claim. Every one must hold.
    pub when: BTreeMap<String, Condition>,
    /// The principal's name, with claims in braces: `ci:github:{repository}`.
    pub principal: String,
    /// The roles that the principal has by this rule.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// What a claim has to be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "a text (`*` for anything within a segment, `**` for anything), `true` or `false`"
)]
pub enum Condition {
    /// True or false; GitLab spells that as a text in the token, and both spellings count.
    Is(bool),
    /// A text, or a pattern with stars.
    Like(String),
}

/// Why CI issuers cannot be configured so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CiConfigError {
    /// Its address is none, or not a safe one.
    #[error("a ci issuer is not configured right")]
    Issuer(#[from] IssuerError),
    /// It stands there twice; its rules belong into one list, because their order counts.
    #[error("the ci issuer `{0}` is configured twice")]
    Twice(String),
    /// A token for anybody would be a token for us.
    #[error("the ci issuer `{0}` has no `audience`: what do jobs ask their tokens for?")]
    NoAudience(String),
    /// One of its rules is wrong.
    #[error("rule {number} of the ci issuer `{issuer}` {reason}")]
    Rule {
        /// Whose rule.
        issuer: String,
        /// Which, counted from one.
        number: usize,
        /// A sentence about the rule.
        reason: String,
    },
}

/// Issuers that sign for everybody, and the claims that say for whom. `job_workflow_ref` is not among them: it names the
/// workflow that runs, and a public one may be called from any repository. It is a good second condition.
const PUBLIC_ISSUERS: [(&str, &[&str]); 2] = [
    (
        "https://token.actions.githubusercontent.com",
        &[
            "repository",
            "repository_id",
            "repository_owner",
            "repository_owner_id",
            "enterprise",
            "enterprise_id",
        ],
    ),
    (
        "https://gitlab.com",
        &["project_path", "project_id", "namespace_path", "namespace_id"],
    ),
];

/// A rule that was read and makes sense.
#[derive(Debug)]
pub(super) struct Rule {
    conditions: Vec<(String, Check)>,
    principal: Template,
    pub(super) roles: Vec<String>,
}

#[derive(Debug)]
enum Check {
    Is(bool),
    Like(Pattern),
}

impl Rule {
    /// Reads a rule of `issuer`; the error is a sentence about it.
    pub(super) fn read(config: &CiRuleConfig, issuer: &str) -> Result<Self, String> {
        if config.when.is_empty() {
            return Err("has no condition: it would match every job of the issuer".to_owned());
        }
        let conditions: Vec<_> = config
            .when
            .iter()
            .map(|(claim, condition)| (claim.clone(), condition.read()))
            .collect();
        check_whose(issuer, &conditions)?;
        let principal = Template::parse(&config.principal);
        Ok(Self {
            conditions,
            principal: principal
                .map_err(|reason| format!("names `{}`, and a principal {reason}", config.principal))?,
            roles: config.roles.clone(),
        })
    }

    /// Who a job with these claims is by this rule; nobody unless every condition holds and the name can be made.
    pub(super) fn principal(&self, claims: &Map<String, Value>) -> Option<String> {
        let holds =
            |(claim, check): &(String, Check)| claims.get(claim).is_some_and(|value| check.holds(value));
        self.conditions
            .iter()
            .all(holds)
            .then(|| self.principal.name(claims))?
    }
}

impl Condition {
    fn read(&self) -> Check {
        match self {
            Self::Is(value) => Check::Is(*value),
            Self::Like(pattern) => Check::Like(Pattern::parse(pattern)),
        }
    }
}

impl Check {
    /// Numbers, lists and objects match nothing.
    fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Is(expected), Value::Bool(value)) => value == expected,
            (Self::Is(expected), Value::String(text)) => *text == expected.to_string(),
            (Self::Like(pattern), Value::String(text)) => pattern.fits(text),
            (Self::Like(pattern), Value::Bool(value)) => {
                pattern.is_exact() && pattern.fits(&value.to_string())
            }
            _ => false,
        }
    }

    /// Whether it leaves no room for somebody else's project: one text, or all below one owner.
    fn pins(&self) -> bool {
        match self {
            Self::Is(_) => false,
            Self::Like(pattern) if pattern.is_exact() => !pattern.beginning().is_empty(),
            Self::Like(pattern) => pattern.beginning().trim_start_matches('/').contains('/'),
        }
    }
}

fn check_whose(issuer: &str, conditions: &[(String, Check)]) -> Result<(), String> {
    let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
    let Some((_, owners)) = PUBLIC_ISSUERS.iter().find(|(public, _)| *public == issuer) else {
        return Ok(());
    };
    let pinned = |(claim, check): &(String, Check)| owners.contains(&claim.as_str()) && check.pins();
    if conditions.iter().any(pinned) {
        return Ok(());
    }
    Err(format!(
        "does not say whose jobs are meant, and this issuer signs for everybody: pin one of {}, with a text or a pattern that begins with an owner and a slash",
        owners
            .iter()
            .map(|claim| format!("`{claim}`"))
            .collect::<Vec<_>>()
            .join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GITHUB: &str = "https://token.actions.githubusercontent.com";

    fn rule(issuer: &str, when: &Value) -> Result<Rule, String> {
        let config = json!({"when": when, "principal": "ci:job", "roles": ["deployer"]});
        Rule::read(&serde_json::from_value(config).unwrap(), issuer)
    }

    fn matches(when: &Value, claims: &Value) -> bool {
        let rule = rule("https://ci.example.com", when).unwrap();
        rule.principal(claims.as_object().unwrap()).is_some()
    }

    #[test]
    fn every_condition_of_a_rule_must_hold() {
        let when = json!({"repository": "acme/infra", "ref": "refs/heads/main"});
        assert!(matches(
            &when,
            &json!({"repository": "acme/infra", "ref": "refs/heads/main", "x": 1})
        ));
        for claims in [
            json!({"repository": "acme/infra", "ref": "refs/pull/7/merge"}),
            json!({"repository": "acme/infra"}),
            json!({"ref": "refs/heads/main"}),
            json!({}),
        ] {
            assert!(!matches(&when, &claims), "{claims}");
        }
    }

    #[test]
    fn a_condition_that_is_true_or_false_holds_in_either_spelling() {
        for protected in [json!(true), json!("true")] {
            let claims = json!({"ref_protected": protected});
            assert!(matches(&json!({"ref_protected": true}), &claims));
            assert!(matches(&json!({"ref_protected": "true"}), &claims));
            assert!(!matches(&json!({"ref_protected": false}), &claims));
        }
        for other in [json!("True"), json!(1), json!(null), json!("false")] {
            assert!(!matches(
                &json!({"ref_protected": true}),
                &json!({"ref_protected": other})
            ));
        }
    }

    #[test]
    fn a_claim_that_is_no_text_matches_no_pattern() {
        for value in [
            json!(7),
            json!(null),
            json!(["acme/infra"]),
            json!({"a": 1}),
            json!(true),
        ] {
            assert!(
                !matches(&json!({"repository": "**"}), &json!({"repository": value})),
                "{value}"
            );
        }
    }

    #[test]
    fn a_rule_without_conditions_is_refused() {
        assert!(
            rule("https://ci.example.com", &json!({}))
                .unwrap_err()
                .contains("every job")
        );
    }

    #[test]
    fn a_rule_of_an_issuer_that_signs_for_everybody_says_whose_jobs_are_meant() {
        for when in [
            json!({"ref": "refs/heads/main"}),
            json!({"repository": "*/infra"}),
            json!({"repository": "**"}),
            json!({"repository": "acme*"}),
            json!({"repository": "acme*/infra"}),
            json!({"repository": "/*"}),
            json!({"repository": ""}),
            json!({"repository": true}),
            json!({"repository_owner": "ac*"}),
            json!({"job_workflow_ref": "acme/workflows/.github/workflows/apply.yml@refs/heads/main"}),
            json!({"project_path": "acme/infra"}),
        ] {
            assert!(rule(GITHUB, &when).unwrap_err().contains("everybody"), "{when}");
            assert!(rule(&format!("{GITHUB}/"), &when).is_err(), "{when}");
        }
        for when in [
            json!({"repository": "acme/infra"}),
            json!({"repository": "acme/*", "ref": "refs/heads/main"}),
            json!({"repository_owner": "acme"}),
            json!({"repository_id": "1296269", "job_workflow_ref": "acme/**"}),
        ] {
            assert!(rule(GITHUB, &when).is_ok(), "{when}");
        }
        assert!(rule("https://gitlab.com", &json!({"project_path": "acme/**"})).is_ok());
        assert!(rule("https://gitlab.com", &json!({"ref_protected": true})).is_err());
    }

    #[test]
    fn a_field_that_is_not_known_is_named() {
        for (wrong, named) in [
            (
                json!({"when": {"a": "b"}, "principal": "ci:x", "role": ["x"]}),
                "role",
            ),
            (
                json!({"when": {"a": 7}, "principal": "ci:x"}),
                "`true` or `false`",
            ),
            (json!({"when": {"a": "b"}}), "principal"),
        ] {
            let error = serde_json::from_value::<CiRuleConfig>(wrong)
                .unwrap_err()
                .to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
