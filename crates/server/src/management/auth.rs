//! Logging in, going on, logging out; who one is; credentials for S3 clients.

use std::fmt::Display;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use opentaco_api::auth::{
    AuthConfig, Exchange, Me, RefreshRequest, Revoke, S3Credentials, S3CredentialsRequest, Session, Via,
};
use opentaco_api::{ErrorBody, ErrorCode, paths};
use opentaco_control::{ControlError, StateControl};
use opentaco_domain::audit::Event;
use opentaco_domain::{Action, Caller, Clock as _, Principal, Sha256, SystemClock};
use opentaco_identity::session::{self, Outcome, Record, Successor, Why};
use opentaco_identity::sts::{Holder, NotASession, S3Session};
use opentaco_identity::token::{Audience, Issued, Login};
use opentaco_identity::{FamilyId, Flaw, Refresh, Refused as Doubted, TokenId, Tokens};
use serde_json::Value;

use crate::app::App;
use crate::doorkeeper::{CameBy, Credential, challenged, family_hash, login_shown};
use crate::extract::{Approach, Asking, Notes};
use crate::logins::login_of;
use crate::management::Refused;
use crate::management::error::invalid;
use crate::management::request::{read_document, small_body};
use crate::problem::Problem;

/// More logins of one person than this, and those that are over are forgotten.
const LOGINS_MANY: usize = 20;

/// What a client needs to know before anybody can log in.
#[utoipa::path(
    get, path = paths::AUTH_CONFIG, operation_id = "auth_config", tag = "auth", security(()),
    responses((status = 200, description = "Where people log in, if they do.", body = AuthConfig)),
)]
pub async fn config(State(app): State<App>) -> Json<AuthConfig> {
    Json(app.logins.told())
}

/// The public keys that this service signs tokens and the audit with.
#[utoipa::path(
    get, path = paths::JWKS, operation_id = "jwks", tag = "auth", security(()),
    responses((status = 200, description = "A JSON Web Key Set.", body = serde_json::Map<String, Value>)),
)]
pub async fn jwks(State(app): State<App>) -> Json<Value> {
    let document = app
        .logins
        .jwks()
        .map(|keys| serde_json::to_value(keys).expect("keys are JSON"));
    Json(document.unwrap_or_else(|| serde_json::json!({"keys": []})))
}

/// Logs in whoever has just logged in at the provider: an ID token for a session.
///
/// # Errors
/// 401 if the ID token does not prove who it is.
#[utoipa::path(
    post, path = paths::AUTH_EXCHANGE, operation_id = "exchange", tag = "auth", security(()),
    request_body = Exchange,
    responses(
        (status = 200, description = "Logged in.", body = Session),
        (status = 400, description = "`invalid`: nobody logs in here, or the body is not what is asked for.", body = ErrorBody),
        (status = 401, description = "`unauthenticated`: the ID token proves nothing here, or no longer, or came before.", body = ErrorBody),
        (status = 429, description = "`too_many`: too many requests for tokens came from this address.", body = ErrorBody),
        (status = 503, description = "`unavailable`: the provider or the bucket does not answer; ask again.", body = ErrorBody),
    ),
)]
pub async fn exchange(
    State(app): State<App>,
    notes: Notes,
    Approach(asked): Approach,
    request: Request,
) -> Result<Response, Refused> {
    let Exchange { id_token, nonce } = secret_document(&app, request).await?;
    let (Some(tokens), Some(provider)) = (app.logins.tokens.clone(), &app.logins.provider) else {
        return Err(invalid("nobody logs in here: the operator has named no provider").into());
    };
    let now = SystemClock.now();
    let verified = provider
        .id_tokens
        .verify(id_token.expose(), nonce.as_deref(), now)
        .await;
    let verified = verified.map_err(|doubt| disbelieved("the ID token", &doubt))?;
    let family = FamilyId::of_id_token(id_token.expose());
    let login =
        login_of(&verified).map_err(|flaw| disbelieved::<()>("the ID token", &Doubted::Wrong(flaw)))?;
    let caller = Caller::user(login.principal.as_str()).asking(Arc::new(asked));
    notes.caller(&caller);
    let session = app
        .carry_through(|control| async move { begin(&control, &tokens, &caller, login, family).await })
        .await?;
    Ok(secret(&session))
}

/// A login, kept before it is told.
async fn begin(
    control: &StateControl,
    tokens: &Tokens,
    caller: &Caller,
    login: Login,
    family: FamilyId,
) -> Result<Session, Refused> {
    let now = SystemClock.now();
    let first = TokenId::draw();
    let record = session::begin(&login.principal, &first, tokens.lifetimes().refresh, now);
    let sessions = control.sessions();
    forget_old(control, caller.principal()).await?;
    let begun = sessions
        .begin(caller.principal(), &family_hash(&family), &record)
        .await?;
    if !begun {
        let event = Event::refused(caller, "auth.login", "the ID token came again");
        control.audit().tell(event.about(login_of_family(&family)));
        return Err(log_in_again(
            "this ID token has logged somebody in before, and each does so once",
        ));
    }
    control
        .ledger()
        .regroup(login.principal.as_str(), &login.groups)
        .await?;
    let event = Event::done(caller, "auth.login", format!("logged in by {}", login.via));
    done(control, event.about(login_of_family(&family))).await?;
    let refresh = tokens.issue_refresh(&login, &family, first, now);
    let access = tokens.issue_access(&login, &family, Audience::Api, now);
    Ok(session_of(caller, access, refresh))
}

/// Something was done to credentials, with its record.
async fn done(control: &StateControl, event: Event) -> Result<(), Refused> {
    let written = control.audit().done(event).await;
    Ok(written.map_err(ControlError::Unwritten)?)
}

fn login_of_family(family: &FamilyId) -> String {
    format!("login {}", login_shown(family))
}

/// Logins that are over are of no use: what could ask for them has expired.
async fn forget_old(control: &StateControl, principal: &Principal) -> Result<(), ControlError> {
    let (sessions, now) = (control.sessions(), SystemClock.now());
    let families = sessions.of(principal).await?;
    if families.len() < LOGINS_MANY {
        return Ok(());
    }
    for family in families {
        let is_over = |record: &Record| (None, record.is_over(now));
        if sessions.change(principal, &family, is_over).await? == Some(true) {
            sessions.forget(principal, &family).await?;
        }
    }
    Ok(())
}

/// Goes on with a login: a refresh token for the next session. Each serves once.
///
/// # Errors
/// 401 if the token is none, is over, or was used before; then everything of that login is over.
#[utoipa::path(
    post, path = paths::AUTH_TOKEN, operation_id = "refresh", tag = "auth", security(()),
    request_body = RefreshRequest,
    responses(
        (status = 200, description = "The next session.", body = Session),
        (status = 401, description = "`unauthenticated`: log in again.", body = ErrorBody),
        (status = 429, description = "`too_many`: too many requests for tokens came from this address.", body = ErrorBody),
        (status = 503, description = "`unavailable`: the bucket does not answer; ask again.", body = ErrorBody),
    ),
)]
pub async fn refresh(
    State(app): State<App>,
    notes: Notes,
    Approach(asked): Approach,
    request: Request,
) -> Result<Response, Refused> {
    let RefreshRequest { refresh_token } = secret_document(&app, request).await?;
    let Some(tokens) = app.logins.tokens.clone() else {
        return Err(disbelieved::<()>("the refresh token", &Doubted::Wrong(Flaw::Key)));
    };
    let verified = tokens.verify_refresh(refresh_token.expose(), SystemClock.now());
    let presented = verified.map_err(|doubt| disbelieved("the refresh token", &doubt))?;
    let caller = Caller::user(presented.0.login.principal.as_str()).asking(Arc::new(asked));
    notes.caller(&caller);
    let memory = app.logins.memory();
    let session = app
        .carry_through(|control| async move {
            let next = rotate(&control, &tokens, &caller, &presented, memory).await?;
            let Refresh(presented) = presented;
            let (login, family) = (presented.login, presented.family);
            let refresh = tokens.issue_refresh(&login, &family, next.id, next.at);
            let access = tokens.issue_access(&login, &family, Audience::Api, SystemClock.now());
            Ok::<_, Refused>(session_of(&caller, access, refresh))
        })
        .await?;
    Ok(secret(&session))
}

/// The token that replaces `presented`, once that is written down.
async fn rotate(
    control: &StateControl,
    tokens: &Tokens,
    caller: &Caller,
    presented: &Refresh,
    memory: jiff::SignedDuration,
) -> Result<Successor, Refused> {
    enum Verdict {
        Next(Successor),
        Over(&'static str),
        Ended(&'static str),
    }
    let family = family_hash(&presented.0.family);
    let lifetime = tokens.lifetimes().refresh;
    let decide = |record: &Record| match session::rotate(record, presented, lifetime, SystemClock.now()) {
        Outcome::Rotated(record, next) => (Some(record), Verdict::Next(next)),
        Outcome::Repeated(next) => (None, Verdict::Next(next)),
        Outcome::Reused(record) => (
            Some(record),
            Verdict::Ended(
                "this refresh token was used before, so somebody else may have a copy of it: everything of this login was ended",
            ),
        ),
        Outcome::Revoked(_) => (None, Verdict::Ended("this login was ended")),
        Outcome::Expired | Outcome::Stranger => (None, Verdict::Over("this login is over")),
    };
    let verdict = control
        .sessions()
        .change(caller.principal(), &family, decide)
        .await?;
    let about = login_of_family(&presented.0.family);
    match verdict {
        Some(Verdict::Next(next)) => {
            let event = Event::done(caller, "auth.refresh", "went on with a login");
            // Nobody waits for it: a client that had to ask again later than it may would be taken for a thief.
            control.audit().tell(event.about(about));
            Ok(next)
        }
        Some(Verdict::Ended(why)) => {
            // Also where it was ended before: whoever did may have died before every replica was told.
            control.ledger().revoke_logins(&[family], memory).await?;
            done(control, Event::done(caller, "auth.revoke", why).about(about)).await?;
            Err(log_in_again(why))
        }
        Some(Verdict::Over(why)) => Err(log_in_again(why)),
        None => Err(log_in_again("this login is not known here")),
    }
}

/// Who is asking, as the service sees them.
///
/// # Errors
/// 503 if nobody can say which roles they hold.
#[utoipa::path(
    get, path = paths::AUTH_ME, operation_id = "me", tag = "auth",
    responses((status = 200, description = "Who is asking.", body = Me)),
)]
pub async fn me(
    State(app): State<App>,
    Asking(caller): Asking,
    CameBy(credential): CameBy,
) -> Result<Json<Me>, Refused> {
    let roles = match app.control.access() {
        Ok(access) => {
            let read = access.current();
            let read = read.map_err(|source| ControlError::PolicyUnreadable { source })?;
            let held = read.book().roles_of(&caller);
            held.iter().map(|(role, _)| role.to_string()).collect()
        }
        // Nobody is asked who they are here.
        Err(_) => Vec::new(),
    };
    let (via, email) = match &*credential {
        Credential::Root => (Via::Root, None),
        Credential::Anonymous => (Via::Anonymous, None),
        Credential::Login(verified) => (Via::Login, verified.login.email.clone()),
        Credential::ApiToken(..) => (Via::ApiToken, None),
        Credential::Ci(_) => (Via::Ci, None),
    };
    Ok(Json(Me {
        principal: caller.principal().clone(),
        via,
        email,
        groups: caller.groups().iter().map(ToString::to_string).collect(),
        roles,
        expires: credential.expires(),
    }))
}

/// Logs out: the login, or the API token, that asks; or every login of a person. Within five seconds no replica lets
/// anybody in by them.
///
/// # Errors
/// 400 if the caller came by nothing that could be ended; 403 for somebody else's logins without `access.manage`.
#[utoipa::path(
    post, path = paths::AUTH_REVOKE, operation_id = "revoke", tag = "auth",
    request_body = Option<Revoke>,
    responses(
        (status = 204, description = "It is over."),
        (status = 429, description = "`too_many`: too many requests for tokens came from this address.", body = ErrorBody),
    ),
)]
pub async fn revoke(
    State(app): State<App>,
    Asking(caller): Asking,
    CameBy(credential): CameBy,
    request: Request,
) -> Result<StatusCode, Refused> {
    let Revoke { principal } = optional_document(&app, request).await?;
    let memory = app.logins.memory();
    app.carry_through(|control| async move {
        match principal {
            Some(principal) => {
                let own = principal == *caller.principal() && matches!(*credential, Credential::Login(_));
                let why = match own {
                    true => Why::LoggedOut,
                    false => {
                        control.access()?.permit(&caller, Action::ManageAccess)?;
                        Why::Revoked
                    }
                };
                let families = control.sessions().of(&principal).await?;
                end(&control, &principal, &families, why, memory).await?;
                let event = Event::done(&caller, "auth.revoke", "ended every login of somebody");
                done(&control, event.about(principal.as_str())).await
            }
            None => match &*credential {
                Credential::Login(verified) => {
                    let families = [family_hash(&verified.family)];
                    end(&control, caller.principal(), &families, Why::LoggedOut, memory).await?;
                    let event = Event::done(&caller, "auth.revoke", "logged out");
                    done(&control, event.about(login_of_family(&verified.family))).await
                }
                Credential::ApiToken(kept, _) => {
                    let ended = control
                        .ledger()
                        .revoke_token(control.access()?, &caller, &kept.id);
                    Ok(ended.await?)
                }
                Credential::Root | Credential::Anonymous | Credential::Ci(_) => Err(invalid(
                    "what you came in by is no login and no API token, and cannot be ended here",
                )
                .into()),
            },
        }
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends logins: first where they would be refreshed, then for every replica.
async fn end(
    control: &StateControl,
    principal: &Principal,
    families: &[Sha256],
    why: Why,
    memory: jiff::SignedDuration,
) -> Result<(), Refused> {
    let now = SystemClock.now();
    for family in families {
        let revoke = |record: &Record| (Some(session::revoke(record, why, now)), ());
        control.sessions().change(principal, family, revoke).await?;
    }
    control.ledger().revoke_logins(families, memory).await?;
    Ok(())
}

/// Credentials for S3 clients, as `credential_process` of an AWS profile wants them.
///
/// # Errors
/// 400 if there are none here, or the caller came by the root token.
#[utoipa::path(
    post, path = paths::S3_CREDENTIALS, operation_id = "issue_s3_credentials", tag = "auth",
    request_body = Option<S3CredentialsRequest>,
    responses(
        (status = 200, description = "Credentials for a quarter of an hour.", body = S3Credentials),
        (status = 429, description = "`too_many`: too many requests for tokens came from this address.", body = ErrorBody),
    ),
)]
pub async fn s3_credentials(
    State(app): State<App>,
    Asking(caller): Asking,
    CameBy(credential): CameBy,
    request: Request,
) -> Result<Response, Refused> {
    let S3CredentialsRequest { session } = optional_document(&app, request).await?;
    let holder = match &*credential {
        Credential::Login(verified) => Holder::Login {
            sid: verified.family.clone(),
            login: verified.login.clone(),
        },
        Credential::ApiToken(kept, hash) => Holder::ApiToken {
            principal: kept.owner.caller().principal().clone(),
            hash: *hash,
        },
        Credential::Ci(job) => Holder::Job {
            principal: job.principal.clone(),
            roles: job.roles.clone(),
            issuer: job.issuer.clone(),
            run: job.run_url.clone(),
        },
        Credential::Root | Credential::Anonymous => {
            return Err(invalid(
                "S3 credentials are made from a login, an API token or the token of a CI job; log in with `taco login`, or make a token with `taco token create`",
            )
            .into());
        }
    };
    let Some(sts) = &app.logins.sts else {
        return Err(invalid(
            "there are no keys for S3 credentials here: the service needs a key for tokens (`opentacosvc keys new`, OPENTACO_TOKENS_PRIVATE_KEY_PEM_PATH), and on a shared bucket OPENTACO_STS_KID and OPENTACO_STS_HMAC_<kid>, too",
        )
        .into());
    };
    let session = session_named(session.as_deref())?;
    let now = SystemClock.now();
    let made = sts.mint(holder, &session, now);
    let event = Event::done(&caller, "auth.s3", "made S3 credentials");
    done(&app.control, event.about(made.access_key.to_string())).await?;
    Ok(secret(&S3Credentials {
        version: 1,
        access_key_id: made.access_key.to_string(),
        secret_access_key: made.secret,
        session_token: made.session_token,
        expiration: made.expires,
    }))
}

/// The session of that name. It becomes part of an access key id, so a name that could not is told by its hash.
fn session_named(name: Option<&str>) -> Result<S3Session, Problem> {
    let name = match name {
        None => uuid::Uuid::new_v4().simple().to_string(),
        Some(name) if (1..=200).contains(&name.len()) => name.to_owned(),
        Some(_) => return Err(invalid("a session has 1 to 200 bytes")),
    };
    let named: Result<S3Session, _> = name.parse();
    named
        .or_else(|_| Sha256::of(name.as_bytes()).to_string().parse())
        .map_err(|error: NotASession| invalid(error.to_string()))
}

/// The body, which may hold a secret: what is wrong with it is told without showing any of it.
async fn secret_document<T: serde::de::DeserializeOwned>(app: &App, request: Request) -> Result<T, Refused> {
    let body = small_body(app, request).await?;
    let read = serde_json::from_slice(&body).ok();
    let read = read.filter(|_| body.trim_ascii_start().first() == Some(&b'{'));
    Ok(read.ok_or_else(|| {
        invalid("the body is not what is asked for here: a JSON object with the token in it")
    })?)
}

/// The body, which may be left out.
async fn optional_document<T: serde::de::DeserializeOwned + Default>(
    app: &App,
    request: Request,
) -> Result<T, Refused> {
    let body = small_body(app, request).await?;
    match body.trim_ascii().is_empty() {
        true => Ok(T::default()),
        false => Ok(read_document(&body)?),
    }
}

fn session_of(caller: &Caller, access: Issued, refresh: Issued) -> Session {
    Session {
        access_token: access.token,
        refresh_token: refresh.token,
        token_type: "Bearer".to_owned(),
        expires: access.expires,
        refresh_expires: refresh.expires,
        principal: caller.principal().clone(),
    }
}

/// An answer that nobody may keep.
pub(crate) fn secret(answer: &impl serde::Serialize) -> Response {
    let mut response = Json(answer).into_response();
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A token that proves nothing: why is for the log.
fn disbelieved<T>(what: impl Display, doubt: &Doubted<T>) -> Refused {
    let unauthenticated =
        |message| Problem::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthenticated, message);
    let problem = match doubt {
        Doubted::Expired(_) => unauthenticated(format!("{what} has expired; log in again")),
        Doubted::Wrong(flaw) => {
            unauthenticated(format!("{what} is not known here; log in again")).caused_by(flaw)
        }
        Doubted::Unavailable(reason) => {
            tracing::warn!(%reason, "a provider's keys cannot be had");
            let message =
                format!("whether {what} is good cannot be said: its issuer does not answer; ask again");
            return Problem::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, message).into();
        }
    };
    Refused::from(challenged(problem.into_response()))
}

fn log_in_again(why: &str) -> Refused {
    let message = format!("{why}; log in again");
    let problem = Problem::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthenticated, message);
    Refused::from(challenged(problem.into_response()))
}
