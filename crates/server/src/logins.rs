//! Whom we believe about who somebody is: our own tokens, a provider, CI issuers.
//!
//! What is proved here is only who is asking. What they may do is decided behind the doors.

use std::sync::Arc;

use jiff::SignedDuration;
use opentaco_api::auth::AuthConfig;
use opentaco_domain::access::Name;
use opentaco_domain::audit::Seal;
use opentaco_identity::ci::{CiConfigError, CiIssuers};
use opentaco_identity::keys::Jwks;
use opentaco_identity::oidc::{Fetch, HttpFetch, IdToken, IdTokens, Issuer, IssuerError};
use opentaco_identity::sts::Sts;
use opentaco_identity::token::Login;
use opentaco_identity::{Flaw, Tokens};

use crate::config::{Config, ProviderConfig};
use crate::keys::{self, AuditKey, KeysError};

/// The longest name of a person; it is part of every token, lock and version.
const NAME_BYTES_MAX: usize = 255;

/// How long after its expiry a token may still end what was begun with it.
const APPLY_MAX: SignedDuration = SignedDuration::from_hours(24);

/// How people and jobs come in, besides the root token. By default they do not.
#[derive(Debug, Default)]
pub struct Logins {
    /// Issues and verifies our own tokens.
    pub tokens: Option<Arc<Tokens>>,
    /// Where people log in.
    pub provider: Option<Provider>,
    /// Whose CI jobs are believed.
    pub ci: CiIssuers,
    /// Makes credentials for S3 clients.
    pub sts: Option<Sts>,
    /// Signs the audit where there is no key for tokens.
    audit_key: Option<Arc<AuditKey>>,
}

/// Where people log in.
#[derive(Debug)]
pub struct Provider {
    /// Verifies its ID tokens.
    pub id_tokens: IdTokens,
    config: ProviderConfig,
}

/// Why nobody could come in as configured.
#[derive(Debug, thiserror::Error)]
pub enum LoginsError {
    /// No keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The provider cannot be one.
    #[error("the provider is not configured right")]
    Provider(#[from] IssuerError),
    /// CI issuers or their rules make no sense.
    #[error("the CI issuers are not configured right")]
    Ci(#[from] CiConfigError),
    /// A rule gives a role that cannot be one.
    #[error("a rule of the CI issuer `{issuer}` gives a role that there cannot be")]
    Role {
        /// Whose rule.
        issuer: String,
        /// What is wrong with the role.
        #[source]
        source: opentaco_domain::access::document::NameError,
    },
    /// Nobody could be asked.
    #[error("the client for the provider cannot be set up: {0}")]
    Client(String),
}

impl Logins {
    /// As configured. No provider is asked for anything before somebody comes in by it, so one that is down keeps nobody
    /// from starting.
    ///
    /// # Errors
    /// If a key is missing, or something cannot be meant.
    pub fn open(config: &Config) -> Result<Self, LoginsError> {
        let identity = &config.identity;
        for issuer in &identity.ci {
            for role in issuer.rules.iter().flat_map(|rule| &rule.roles) {
                let role: Result<Name, _> = role.parse();
                role.map_err(|source| LoginsError::Role {
                    issuer: issuer.issuer.clone(),
                    source,
                })?;
            }
        }
        let tokens = keys::ring(config)?.map(|ring| {
            let tokens = &identity.tokens;
            Arc::new(Tokens::new(ring, tokens.issuer.clone(), tokens.lifetimes))
        });
        let sts = match &tokens {
            Some(tokens) => {
                keys::sts(config)?.map(|keys| Sts::new(Arc::clone(tokens), keys, identity.sts.lifetime))
            }
            None => None,
        };
        let mut logins = Self {
            audit_key: AuditKey::of(config).map(Arc::new),
            tokens,
            sts,
            ..Self::default()
        };
        // A client for TLS takes its time and its memory, and whoever trusts no issuer needs none.
        if identity.provider.is_none() && identity.ci.is_empty() {
            return Ok(logins);
        }
        let fetch = HttpFetch::new().map_err(|error| LoginsError::Client(error.to_string()))?;
        let fetch: Arc<dyn Fetch> = Arc::new(fetch);
        if let Some(config) = &identity.provider {
            let issuer = Issuer::new(config.issuer.clone(), Arc::clone(&fetch))?;
            logins.provider = Some(Provider {
                id_tokens: IdTokens::new(issuer, config.login.clone()),
                config: config.clone(),
            });
        }
        logins.ci = CiIssuers::new(identity.ci.clone(), &fetch)?;
        Ok(logins)
    }

    /// What signs the audit: the key for tokens, or where nobody logs in one of its own.
    #[must_use]
    pub fn seal(&self) -> Option<Arc<dyn Seal>> {
        match (&self.tokens, &self.audit_key) {
            (Some(tokens), _) => Some(Arc::new(tokens.signing_key().clone())),
            (None, Some(key)) => Some(Arc::clone(key) as Arc<dyn Seal>),
            (None, None) => None,
        }
    }

    /// The public keys of what this service signs; none where it signs nothing.
    #[must_use]
    pub fn jwks(&self) -> Option<Jwks> {
        match (&self.tokens, &self.audit_key) {
            (Some(tokens), _) => Some(tokens.jwks()),
            (None, key) => key.as_ref()?.jwks(),
        }
    }

    /// What a client needs to know before anybody can log in.
    #[must_use]
    pub fn told(&self) -> AuthConfig {
        let Some(Provider { config, .. }) = &self.provider else {
            return AuthConfig::default();
        };
        AuthConfig {
            issuer: Some(config.issuer.issuer.clone()),
            client_id: Some(config.login.client_id.clone()),
            authorization_endpoint: config.issuer.authorization_endpoint.clone(),
            token_endpoint: config.issuer.token_endpoint.clone(),
            redirect_uris: config.redirect_uris.clone(),
            scopes: config.scopes.clone(),
        }
    }

    /// For how long it has to be remembered that a login was ended: until no token of it could do anything, be it to end
    /// an apply that was begun with it.
    #[must_use]
    pub fn memory(&self) -> SignedDuration {
        let access = self
            .tokens
            .as_ref()
            .map_or(SignedDuration::ZERO, |tokens| tokens.lifetimes().access);
        access + APPLY_MAX + SignedDuration::from_mins(10)
    }

    /// In a few words, for the log.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        match (&self.provider, self.ci.is_empty()) {
            (Some(_), true) => "root token, logins, API tokens",
            (Some(_), false) => "root token, logins, API tokens, CI jobs",
            (None, true) => "root token, API tokens",
            (None, false) => "root token, API tokens, CI jobs",
        }
    }
}

/// Who has logged in, by an ID token: their address if the provider has verified it, or else its own name for them.
///
/// That name is the provider's choice. One that looks like an address and was not verified to be theirs must not be taken
/// for somebody else's, so it is told from one.
///
/// # Errors
/// If nobody could be called that.
pub fn login_of(token: &IdToken) -> Result<Login, Flaw> {
    let name = match &token.email {
        Some(email) => email.clone(),
        None if token.subject.contains('@') => format!("subject:{}", token.subject),
        None => token.subject.clone(),
    };
    let shows = |character: char| !character.is_control() && !character.is_whitespace();
    if name.len() > NAME_BYTES_MAX || !name.chars().all(shows) {
        return Err(Flaw::Malformed);
    }
    Ok(Login {
        principal: opentaco_domain::Principal::new(name),
        email: token.email.clone(),
        name: token.name.clone(),
        groups: token.groups.clone(),
        via: token.issuer.clone(),
    })
}
