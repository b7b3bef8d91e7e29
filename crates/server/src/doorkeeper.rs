//! Who is asking. Everything but health is asked for credentials before anything else is said, so that to a stranger
//! every address looks the same.
//!
//! A credential is the root token, an access token of a login, an API token, or the token of a CI job. Terraform can send
//! nothing but Basic credentials, so each of them is taken as the password there, with any user name.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::{SignedDuration, Timestamp};
use opentaco_api::ErrorCode;
use opentaco_control::{KeptToken, Ledger, LedgerUnreadable};
use opentaco_domain::access::Name;
use opentaco_domain::{Caller, Sha256};
use opentaco_identity::ci::CiJob;
use opentaco_identity::token::{Audience, Verified};
use opentaco_identity::{Access, ApiToken, FamilyId, Flaw, NotAnApiToken, Refused};

use axum::response::{IntoResponse, Response};

use crate::extract::left_by_the_doorkeeper;
use crate::logins::Logins;
use crate::problem::Problem;
use crate::root_token::RootToken;

/// How callers are let in.
#[derive(Debug, Clone)]
pub enum Doorkeeper {
    /// Whoever knows the root token, or has proved who they are.
    Root(RootToken),
    /// Whoever knows one of these tokens; who they are is said beside it.
    Known(Vec<(RootToken, Caller)>),
    /// Anybody (`-auth-disable`).
    Nobody,
}

/// Somebody who was let in.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// Who it is.
    pub caller: Caller,
    /// By what.
    pub credential: Credential,
}

/// What somebody came in by.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A token of the operator's: the root token.
    Root,
    /// Nothing: nobody is asked here.
    Anonymous,
    /// A login, by its access token.
    Login(Box<Verified>),
    /// An API token, and what it is kept by.
    ApiToken(Box<KeptToken>, Sha256),
    /// A CI job's token.
    Ci(Box<CiJob>),
}

impl Credential {
    /// From when to when it is good; none if it does not end by itself, or nothing may be ended with it later.
    fn times(&self) -> Option<(Timestamp, Timestamp)> {
        match self {
            Self::Root | Self::Anonymous | Self::ApiToken(..) => None,
            Self::Login(verified) => Some((verified.issued, verified.expires)),
            Self::Ci(job) => Some((job.issued, job.expires)),
        }
    }

    /// What it is and which, as the audit tells it: never the credential itself.
    #[must_use]
    pub fn shown(&self) -> Option<String> {
        match self {
            Self::Root => Some("root token".to_owned()),
            Self::Anonymous => None,
            Self::Login(verified) => Some(format!("login {}", login_shown(&verified.family))),
            Self::ApiToken(kept, _) => Some(format!("token {}", kept.id)),
            Self::Ci(job) => Some(format!("ci job of {}", job.issuer)),
        }
    }

    /// Where the CI run that asks can be looked at.
    #[must_use]
    pub fn run(&self) -> Option<&str> {
        match self {
            Self::Ci(job) => job.run_url.as_deref(),
            Self::Root | Self::Anonymous | Self::Login(_) | Self::ApiToken(..) => None,
        }
    }

    /// When it ends by itself.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        match self {
            Self::ApiToken(kept, _) => Some(kept.expires),
            other => other.times().map(|(_, expires)| expires),
        }
    }
}

/// What the caller of a request came in by.
#[derive(Debug, Clone)]
pub struct CameBy(pub Arc<Credential>);

impl<S: Sync> FromRequestParts<S> for CameBy {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        left_by_the_doorkeeper(parts)
    }
}

/// That a request was let in although its token has expired, to end under a lock what was begun under it.
#[derive(Debug, Clone, Copy)]
pub struct Lapsed;

/// Why somebody was not let in.
#[derive(Debug)]
pub enum Unknown {
    /// No credentials came with the request.
    Missing,
    /// They are not ours; the log is told why.
    Wrong(Option<Flaw>),
    /// It is an API token with a typo.
    Misspelt(NotAnApiToken),
    /// They were good until they expired; all else is right.
    Expired(Box<Admitted>),
    /// An API token that is over, for its age.
    ApiTokenExpired,
    /// They were good, and were ended.
    Revoked,
    /// Whether they are good cannot be said.
    Unavailable(String),
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Clocks of ours and of an issuer may differ by this much.
const LEEWAY: SignedDuration = SignedDuration::from_mins(1);

impl Admitted {
    /// From when to when a lock must have been taken to have been taken with this credential.
    #[must_use]
    pub fn was_good(&self) -> Option<(Timestamp, Timestamp)> {
        let (from, to) = self.credential.times()?;
        let from = from.saturating_sub(LEEWAY).unwrap_or(from);
        Some((from, to.saturating_add(LEEWAY).unwrap_or(to)))
    }
}

impl Doorkeeper {
    /// Who is asking, by what the request's headers prove.
    ///
    /// # Errors
    /// If they prove nothing, or it cannot be said.
    pub async fn admit(
        &self,
        headers: &HeaderMap,
        logins: &Logins,
        ledger: &Ledger,
        now: Timestamp,
    ) -> Result<Admitted, Unknown> {
        if matches!(self, Self::Nobody) {
            return Ok(admitted(Caller::anonymous(), Credential::Anonymous));
        }
        let offered = headers.get(AUTHORIZATION).ok_or(Unknown::Missing)?;
        let offered = offered.to_str().ok().and_then(secret_of);
        let offered = offered.ok_or(Unknown::Wrong(None))?;
        if let Some(caller) = self.who_knows(&offered) {
            return Ok(admitted(caller, Credential::Root));
        }
        match ApiToken::parse(&offered) {
            Ok(token) => by_api_token(&token, ledger, now),
            Err(NotAnApiToken::Prefix) if logins.ci.may_have_issued(&offered) => {
                by_job(logins, &offered, now).await
            }
            Err(NotAnApiToken::Prefix) => by_login(logins, ledger, &offered, now),
            Err(misspelt) => Err(Unknown::Misspelt(misspelt)),
        }
    }

    fn who_knows(&self, offered: &str) -> Option<Caller> {
        match self {
            Self::Nobody => None,
            Self::Root(token) => token.is(offered).then(Caller::root),
            Self::Known(tokens) => tokens
                .iter()
                .find_map(|(token, caller)| token.is(offered).then(|| caller.clone())),
        }
    }
}

fn admitted(caller: Caller, credential: Credential) -> Admitted {
    Admitted { caller, credential }
}

fn by_api_token(token: &ApiToken, ledger: &Ledger, now: Timestamp) -> Result<Admitted, Unknown> {
    let hash = Sha256::of(token.expose().as_bytes());
    let kept = ledger.token(&hash)?;
    // One that was revoked is no more known than one that never was.
    let kept = kept.ok_or(Unknown::Wrong(None))?;
    if kept.expires <= now {
        return Err(Unknown::ApiTokenExpired);
    }
    Ok(admitted(
        kept.caller(),
        Credential::ApiToken(Box::new(kept), hash),
    ))
}

fn by_login(logins: &Logins, ledger: &Ledger, offered: &str, now: Timestamp) -> Result<Admitted, Unknown> {
    let tokens = logins.tokens.as_ref().ok_or(Unknown::Wrong(None))?;
    let (Access(verified), is_over) = match tokens.verify_access(offered, Audience::Api, now) {
        Ok(access) => (access, false),
        Err(Refused::Expired(access)) => (*access, true),
        Err(Refused::Wrong(flaw)) => return Err(Unknown::Wrong(Some(flaw))),
        Err(Refused::Unavailable(reason)) => return Err(Unknown::Unavailable(reason.to_string())),
    };
    if ledger.is_revoked(&family_hash(&verified.family))? {
        return Err(Unknown::Revoked);
    }
    let login = &verified.login;
    let caller = Caller::user(login.principal.as_str()).in_groups(login.groups.iter().map(String::as_str));
    let admitted = admitted(caller, Credential::Login(Box::new(verified)));
    match is_over {
        false => Ok(admitted),
        true => Err(Unknown::Expired(Box::new(admitted))),
    }
}

async fn by_job(logins: &Logins, offered: &str, now: Timestamp) -> Result<Admitted, Unknown> {
    let of = |job: CiJob| {
        // Roles that cannot be one keep the service from starting.
        let roles: Vec<Name> = job.roles.iter().filter_map(|role| role.parse().ok()).collect();
        admitted(
            Caller::ci(job.principal.as_str(), roles),
            Credential::Ci(Box::new(job)),
        )
    };
    match logins.ci.verify(offered, now).await {
        Ok(job) => Ok(of(job)),
        Err(Refused::Expired(job)) => Err(Unknown::Expired(Box::new(of(*job)))),
        Err(Refused::Wrong(flaw)) => Err(Unknown::Wrong(Some(flaw))),
        Err(Refused::Unavailable(reason)) => Err(Unknown::Unavailable(reason.to_string())),
    }
}

/// A login as the audit tells it: enough to tell logins of one person apart.
#[must_use]
pub fn login_shown(family: &FamilyId) -> String {
    family_hash(family).short()
}

/// What a login is kept and ended by.
#[must_use]
pub fn family_hash(family: &FamilyId) -> Sha256 {
    Sha256::of(family.as_str().as_bytes())
}

impl From<LedgerUnreadable> for Unknown {
    fn from(unreadable: LedgerUnreadable) -> Self {
        Self::Unavailable(unreadable.to_string())
    }
}

/// The secret in an `Authorization` header: a Bearer token, or the password of Basic credentials.
fn secret_of(header: &str) -> Option<String> {
    let (scheme, rest) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = String::from_utf8(BASE64.decode(rest.trim()).ok()?).ok()?;
        return pair.split_once(':').map(|(_, password)| password.to_owned());
    }
    None
}

/// How a client sends what it has.
const HOW: &str = "Send a token as `Authorization: Bearer …`, or as the password of Basic credentials with any user name (terraform: TF_HTTP_USERNAME and TF_HTTP_PASSWORD, or `username` and `password` in the backend block). `taco login` gets one, `taco token create` makes one for programs, and the operator finds the root token where the service's first log line says";

impl IntoResponse for Unknown {
    fn into_response(self) -> Response {
        let mut cause: Option<Flaw> = None;
        let message = match self {
            Self::Unavailable(reason) => {
                let unreadable = LedgerUnreadable { reason };
                return Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    ErrorCode::Unavailable,
                    "whether these credentials are good cannot be said at the moment; ask again",
                )
                .caused_by(&unreadable)
                .into_response();
            }
            Self::Missing => format!("no credentials came with this request. {HOW}"),
            Self::Wrong(flaw) => {
                cause = flaw;
                format!("these credentials are not known here. {HOW}")
            }
            Self::Misspelt(misspelt) => format!("these credentials are not known here: {misspelt}. {HOW}"),
            Self::Expired(_) => format!(
                "this token has expired: log in again with `taco login`, or in CI ask for a new one. {HOW}"
            ),
            Self::ApiTokenExpired => {
                format!("this API token has expired: `taco token create` makes a new one. {HOW}")
            }
            Self::Revoked => {
                format!("the login of this token was ended: log in again with `taco login`. {HOW}")
            }
        };
        let mut problem = Problem::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthenticated, message);
        if let Some(flaw) = &cause {
            problem = problem.caused_by(flaw);
        }
        challenged(problem.into_response())
    }
}

/// With the ways to send credentials, as HTTP asks of every 401.
#[must_use]
pub fn challenged(mut response: Response) -> Response {
    for challenge in [
        "Bearer realm=\"opentaco\"",
        "Basic realm=\"opentaco\", charset=\"UTF-8\"",
    ] {
        response
            .headers_mut()
            .append(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    use opentaco_control::{OpenOptions, StateControl, StoreConfig};
    use opentaco_domain::{Clock as _, SystemClock};

    async fn asked(authorization: &str) -> Result<String, StatusCode> {
        let doorkeeper = Doorkeeper::Root(RootToken::parse("the-one-root:token").unwrap());
        let mut headers = HeaderMap::new();
        headers.insert(
            AUTHORIZATION,
            HeaderValue::from_bytes(authorization.as_bytes()).unwrap(),
        );
        admit(&doorkeeper, &headers).await
    }

    async fn admit(doorkeeper: &Doorkeeper, headers: &HeaderMap) -> Result<String, StatusCode> {
        let control = StateControl::open(&StoreConfig::Memory, OpenOptions::default()).await;
        let (logins, ledger) = (Logins::default(), control.unwrap().ledger().clone());
        let admitted = doorkeeper
            .admit(headers, &logins, &ledger, SystemClock.now())
            .await;
        match admitted {
            Ok(admitted) => Ok(admitted.caller.principal().to_string()),
            Err(unknown) => Err(unknown.into_response().status()),
        }
    }

    #[tokio::test]
    async fn the_root_token_opens_as_bearer_and_as_the_password_of_any_user() {
        let basic = |pair: &str| format!("Basic {}", BASE64.encode(pair));
        assert_eq!(asked("Bearer the-one-root:token").await.as_deref(), Ok("root"));
        assert_eq!(asked("bearer   the-one-root:token ").await.as_deref(), Ok("root"));
        assert_eq!(
            asked(&basic("anybody:the-one-root:token")).await.as_deref(),
            Ok("root")
        );
        assert_eq!(asked(&basic(":the-one-root:token")).await.as_deref(), Ok("root"));
        assert_eq!(
            asked(basic("a:the-one-root:token").trim_end_matches('='))
                .await
                .as_deref(),
            Ok("root")
        );
    }

    #[tokio::test]
    async fn whatever_else_is_sent_opens_nothing() {
        for wrong in [
            "Bearer",
            "Bearer ",
            "Bearer the-one-root:tokeN",
            "the-one-root:token",
            "Token the-one-root:token",
            "Basic the-one-root:token",
            "Basic !!!",
            "Basic",
            "Bearer the-one-root:token, Basic x",
        ] {
            assert_eq!(asked(wrong).await, Err(StatusCode::UNAUTHORIZED), "{wrong}");
        }
        let as_user = format!("Basic {}", BASE64.encode("the-one-root:token:"));
        assert_eq!(asked(&as_user).await, Err(StatusCode::UNAUTHORIZED));
        assert_eq!(asked("Bearer tökën").await, Err(StatusCode::UNAUTHORIZED));
    }

    #[tokio::test]
    async fn where_auth_is_disabled_everybody_is_anonymous() {
        assert_eq!(
            admit(&Doorkeeper::Nobody, &HeaderMap::new()).await.as_deref(),
            Ok("anonymous")
        );
    }
}
