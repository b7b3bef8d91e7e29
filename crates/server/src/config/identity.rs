//! Who people and jobs are: the provider, trusted CI issuers, and the keys of our own tokens. What is a list of rules
//! stands in a file (`-auth-config`); a flag or variable wins over the same word in it.

use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use opentaco_domain::Secret;
use opentaco_identity::ci::CiIssuerConfig;
use opentaco_identity::oidc::{IssuerConfig, LoginConfig};
use opentaco_identity::{KeyId, Lifetimes, sts};
use serde::Deserialize;

use super::given::Given;
use super::{ConfigError, Environment, values};

/// Where `taco login` listens for the browser.
const REDIRECT_URI: &str = "http://127.0.0.1:8585/callback";

/// What our tokens say who issued them, unless configured.
const TOKENS_ISSUER: &str = "opentaco";

/// Everything that is said about who somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityConfig {
    /// Where people log in.
    pub provider: Option<ProviderConfig>,
    /// Whose CI jobs are believed.
    pub ci: Vec<CiIssuerConfig>,
    /// Our own tokens.
    pub tokens: TokensConfig,
    /// Credentials for S3 clients.
    pub sts: StsConfig,
}

/// Where people log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderConfig {
    /// Where it is.
    pub issuer: IssuerConfig,
    /// What its ID tokens have to say.
    pub login: LoginConfig,
    /// What a client asks of it.
    pub scopes: Vec<String>,
    /// Where it may send a browser back to.
    pub redirect_uris: Vec<String>,
}

/// Our own tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokensConfig {
    /// The key that signs; kept in the data directory if none is given.
    pub key: Option<PathBuf>,
    /// What that key is called, if not by its thumbprint.
    pub kid: Option<KeyId>,
    /// Keys that verify only, each with its name if that is not its thumbprint.
    pub others: Vec<(Option<KeyId>, PathBuf)>,
    /// Who issues them.
    pub issuer: String,
    /// How long they are good.
    pub lifetimes: Lifetimes,
}

/// Credentials for S3 clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsConfig {
    /// Their keys, the one that makes secrets first.
    pub keys: Vec<(KeyId, Secret)>,
    /// How long credentials are good.
    pub lifetime: SignedDuration,
}

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    provider: Provider,
    ci: Vec<CiIssuerConfig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Provider {
    issuer: Option<String>,
    client_id: Option<String>,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    jwks_uri: Option<String>,
    groups_claim: Option<String>,
    scopes: Option<Vec<String>>,
    redirect_uris: Option<Vec<String>>,
}

pub(super) fn identity(given: &Given, environment: Environment<'_>) -> Result<IdentityConfig, ConfigError> {
    let file = given.path("auth-config").map(|path| read(given, &path));
    let File { provider, ci } = file.transpose()?.unwrap_or_default();
    Ok(IdentityConfig {
        provider: choose(given, provider)?,
        ci,
        tokens: tokens(given)?,
        sts: credentials(given, environment)?,
    })
}

fn read(given: &Given, path: &Path) -> Result<File, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| given.refuse("auth-config", &format!("a file that cannot be read ({error})")))?;
    serde_saphyr::from_str(&text)
        .map_err(|error| given.refuse("auth-config", &format!("a file that is not understood: {error}")))
}

fn choose(given: &Given, file: Provider) -> Result<Option<ProviderConfig>, ConfigError> {
    let Provider {
        issuer,
        client_id,
        authorization_endpoint,
        token_endpoint,
        jwks_uri,
        groups_claim,
        scopes,
        redirect_uris,
    } = file;
    let text = |flag: &str, file: Option<String>| given.owned(flag).or(file);
    let list = |flag: &str, file: Option<Vec<String>>| given.text(flag).map(values::list).or(file);
    let client_id = text("auth-client-id", client_id);
    let Some(issuer) = text("auth-issuer", issuer) else {
        return match client_id {
            None => Ok(None),
            Some(_) => Err(ConfigError::new(
                "there is a client id, and no provider that would know it: set -auth-issuer (or OPENTACO_AUTH_ISSUER), too",
            )),
        };
    };
    let Some(client_id) = client_id else {
        return Err(ConfigError::new(format!(
            "people are to log in at `{issuer}`, and what it knows this service as is not said: set -auth-client-id (or OPENTACO_AUTH_CLIENT_ID), too"
        )));
    };
    let scopes = list("auth-scopes", scopes).unwrap_or_else(|| values::list("openid profile email"));
    if !scopes.iter().any(|scope| scope == "openid") {
        return Err(ConfigError::new(
            "the scopes that are asked for lack `openid`, without which no provider tells who has logged in",
        ));
    }
    Ok(Some(ProviderConfig {
        issuer: IssuerConfig {
            issuer,
            authorization_endpoint: text("auth-auth-url", authorization_endpoint),
            token_endpoint: text("auth-token-url", token_endpoint),
            jwks_uri: text("auth-jwks-url", jwks_uri),
        },
        login: LoginConfig {
            client_id,
            groups_claim: text("auth-groups-claim", groups_claim).unwrap_or_else(|| "groups".to_owned()),
        },
        scopes,
        redirect_uris: list("auth-redirect-uris", redirect_uris)
            .unwrap_or_else(|| vec![REDIRECT_URI.to_owned()]),
    }))
}

fn tokens(given: &Given) -> Result<TokensConfig, ConfigError> {
    let defaults = Lifetimes::default();
    Ok(TokensConfig {
        key: given.path("tokens-private-key-pem-path"),
        kid: given.parse("tokens-kid", values::key_id)?,
        others: given
            .text("tokens-verify-pem-paths")
            .map(|text| values::list(text).iter().map(|word| named_file(word)).collect())
            .unwrap_or_default(),
        issuer: given
            .owned("tokens-issuer")
            .unwrap_or_else(|| TOKENS_ISSUER.to_owned()),
        lifetimes: Lifetimes {
            access: given
                .parse("tokens-access-ttl", values::lifetime)?
                .unwrap_or(defaults.access),
            refresh: given
                .parse("tokens-refresh-ttl", values::lifetime)?
                .unwrap_or(defaults.refresh),
        },
    })
}

/// `name=file`, or a file whose key is called by its thumbprint.
fn named_file(word: &str) -> (Option<KeyId>, PathBuf) {
    let named = word
        .split_once('=')
        .and_then(|(name, file)| Some((name.parse().ok()?, file)));
    match named {
        Some((name, file)) => (Some(name), PathBuf::from(file)),
        None => (None, PathBuf::from(word)),
    }
}

fn credentials(given: &Given, environment: Environment<'_>) -> Result<StsConfig, ConfigError> {
    let mut keys = Vec::new();
    for name in given.text("sts-kid").map(values::list).unwrap_or_default() {
        let kid = values::key_id(&name).map_err(|reason| given.refuse("sts-kid", &reason))?;
        let variable = format!("OPENTACO_STS_HMAC_{kid}");
        let secret = environment(&variable).filter(|secret| !secret.is_empty());
        let secret = secret.ok_or_else(|| {
            ConfigError::new(format!(
                "{} names the key `{kid}`, and {variable} is not set: that is where its secret is to stand, 32 random bytes or more",
                given.origin("sts-kid")
            ))
        })?;
        keys.push((kid, Secret::new(secret)));
    }
    Ok(StsConfig {
        keys,
        lifetime: given
            .parse("sts-ttl", values::lifetime)?
            .unwrap_or(sts::LIFETIME_DEFAULT),
    })
}
