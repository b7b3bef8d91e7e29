//! API tokens and service accounts.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use jiff::{SignedDuration, Timestamp};
use opentaco_api::auth::{
    CreateServiceAccount, CreateToken, CreatedToken, ServiceAccount, ServiceAccounts, TokenSummaries,
    TokenSummary,
};
use opentaco_api::{ErrorBody, paths};
use opentaco_control::{Account, KeptToken, Owner};
use opentaco_domain::access::Name;
use opentaco_domain::{Clock as _, Secret, Sha256, SystemClock};
use opentaco_identity::ApiToken;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::app::App;
use crate::doorkeeper::{CameBy, Credential};
use crate::extract::Asking;
use crate::management::Refused;
use crate::management::auth::secret;
use crate::management::error::invalid;
use crate::management::request::{document, segment};
use crate::problem::Problem;

/// For how many days a token is good if nobody says.
const DAYS_DEFAULT: u32 = 90;
/// For how many days a token may be good.
const DAYS_MAX: u32 = 366;
/// To how many roles a token can be scoped.
const ROLES_MAX: usize = 32;
/// How long the name of a token or the description of an account may be, in bytes.
const TEXT_BYTES_MAX: usize = 255;

/// The token that a segment of the path names.
#[derive(Debug, Clone, IntoParams)]
#[into_params(names("token"), parameter_in = Path)]
pub struct NamedToken(
    /// The token's id, which is not the token.
    #[param(min_length = 1)]
    pub String,
);

impl<S: Sync> FromRequestParts<S> for NamedToken {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        segment(parts, "{token}").map(Self)
    }
}

/// The service account that a segment of the path names.
#[derive(Debug, Clone, IntoParams)]
#[into_params(names("account"), parameter_in = Path)]
pub struct NamedAccount(
    /// The account's name.
    #[param(value_type = String, example = "nightly-drift", min_length = 1)]
    pub Name,
);

impl<S: Sync> FromRequestParts<S> for NamedAccount {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let name = segment(parts, "{account}")?;
        name.parse().map(Self).map_err(|_| no_name())
    }
}

/// Makes an API token. The answer is the only place where it can be read.
///
/// # Errors
/// 400 for a token of one's own without a login; 403 for one of a service account without `access.manage`; 404 if there
/// is no such account.
#[utoipa::path(
    post, path = paths::TOKENS, operation_id = "create_token", tag = "auth",
    request_body = CreateToken,
    responses(
        (status = 201, description = "The token, once.", body = CreatedToken),
        (status = 404, description = "`not_found`: there is no such service account.", body = ErrorBody),
        (status = 409, description = "`too_many`: there are as many as there can be.", body = ErrorBody),
        (status = 429, description = "`too_many`: too many requests for tokens came from this address.", body = ErrorBody),
    ),
)]
pub async fn create(
    State(app): State<App>,
    Asking(caller): Asking,
    CameBy(credential): CameBy,
    request: Request,
) -> Result<Response, Refused> {
    let asked: CreateToken = document(&app, request).await?;
    let days = asked.days.unwrap_or(DAYS_DEFAULT);
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(invalid(format!("a token is good for 1 to {DAYS_MAX} days")).into());
    }
    let name = shown(&asked.name, 1, "name of a token")?;
    let roles = asked.roles.iter().map(|role| role.parse::<Name>());
    let roles: BTreeSet<Name> = roles
        .collect::<Result<_, _>>()
        .map_err(|error| invalid(error.to_string()))?;
    if roles.len() > ROLES_MAX {
        return Err(invalid(format!("a token is scoped to {ROLES_MAX} roles at most")).into());
    }
    let roles: Vec<Name> = roles.into_iter().collect();
    let owner = match (&asked.service_account, &*credential) {
        (Some(account), _) => Owner::Service {
            name: account.parse().map_err(|_| no_name())?,
        },
        (None, Credential::Login(verified)) => Owner::User {
            name: verified.login.principal.to_string(),
            groups: verified.login.groups.clone(),
        },
        // Whoever finds an API token must not make another one of it, which would outlive it and reach further.
        (None, _) => {
            return Err(invalid(
                "a token of one's own is made from a login: `taco login`; or name the service account that it is for",
            )
            .into());
        }
    };
    let now = SystemClock.now();
    let token = ApiToken::draw();
    let kept = KeptToken {
        id: Uuid::new_v4().simple().to_string(),
        name,
        owner,
        roles,
        created: now,
        created_by: caller.principal().clone(),
        expires: now
            .saturating_add(SignedDuration::from_hours(24 * i64::from(days)))
            .unwrap_or(Timestamp::MAX),
    };
    let (hash, about) = (Sha256::of(token.expose().as_bytes()), summary(kept.clone(), None));
    app.carry_through(|control| async move {
        let ledger = control.ledger();
        ledger.keep_token(control.access()?, &caller, hash, &kept).await
    })
    .await?;
    let made = CreatedToken {
        token: Secret::new(token.expose()),
        about,
    };
    let mut response = secret(&made);
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// The caller's API tokens, and everybody's for whoever manages access.
///
/// # Errors
/// 503 if they cannot be read.
#[utoipa::path(
    get, path = paths::TOKENS, operation_id = "list_tokens", tag = "auth",
    responses((status = 200, description = "The tokens, without their secrets.", body = TokenSummaries)),
)]
pub async fn list(State(app): State<App>, Asking(caller): Asking) -> Result<Json<TokenSummaries>, Refused> {
    let tokens = app
        .control
        .ledger()
        .tokens(app.control.access()?, &caller)
        .await?;
    let tokens: Vec<_> = tokens
        .into_iter()
        .map(|(kept, used)| summary(kept, used))
        .collect();
    Ok(Json(TokenSummaries {
        count: tokens.len(),
        tokens,
    }))
}

/// Ends an API token: one's own, or anybody's for whoever manages access.
///
/// # Errors
/// 404 if there is none that the caller may see.
#[utoipa::path(
    delete, path = paths::TOKEN, operation_id = "revoke_token", tag = "auth",
    params(NamedToken),
    responses(
        (status = 204, description = "It is over."),
        (status = 404, description = "`not_found`: there is no such token.", body = ErrorBody),
    ),
)]
pub async fn revoke(
    State(app): State<App>,
    Asking(caller): Asking,
    NamedToken(id): NamedToken,
) -> Result<StatusCode, Refused> {
    app.carry_through(|control| async move {
        let ledger = control.ledger();
        ledger.revoke_token(control.access()?, &caller, &id).await
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a service account: a name for a program, which roles are given to as `service:<name>`.
///
/// # Errors
/// 403 without `access.manage`; 409 if there is one of that name.
#[utoipa::path(
    post, path = paths::SERVICE_ACCOUNTS, operation_id = "create_service_account", tag = "auth",
    request_body = CreateServiceAccount,
    responses(
        (status = 201, description = "The account.", body = ServiceAccount),
        (status = 409, description = "`already_exists`: there is one of that name.", body = ErrorBody),
        (status = 429, description = "`too_many`: too many requests for tokens came from this address.", body = ErrorBody),
    ),
)]
pub async fn create_account(
    State(app): State<App>,
    Asking(caller): Asking,
    request: Request,
) -> Result<Response, Refused> {
    let asked: CreateServiceAccount = document(&app, request).await?;
    let name: Name = asked.name.parse().map_err(|_| no_name())?;
    let account = Account {
        description: shown(&asked.description, 0, "description")?,
        created: SystemClock.now(),
    };
    let made = account_of((name.clone(), account.clone()));
    app.carry_through(|control| async move {
        let ledger = control.ledger();
        ledger
            .create_account(control.access()?, &caller, &name, &account)
            .await
    })
    .await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// The service accounts.
///
/// # Errors
/// 403 without `access.manage`.
#[utoipa::path(
    get, path = paths::SERVICE_ACCOUNTS, operation_id = "list_service_accounts", tag = "auth",
    responses((status = 200, description = "The accounts.", body = ServiceAccounts)),
)]
pub async fn accounts(
    State(app): State<App>,
    Asking(caller): Asking,
) -> Result<Json<ServiceAccounts>, Refused> {
    let accounts = app
        .control
        .ledger()
        .accounts(app.control.access()?, &caller)
        .await?;
    let service_accounts: Vec<_> = accounts.into_iter().map(account_of).collect();
    Ok(Json(ServiceAccounts {
        count: service_accounts.len(),
        service_accounts,
    }))
}

/// Removes a service account, and ends every token of it.
///
/// # Errors
/// 403 without `access.manage`; 404 if there is none.
#[utoipa::path(
    delete, path = paths::SERVICE_ACCOUNT, operation_id = "remove_service_account", tag = "auth",
    params(NamedAccount),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, description = "`not_found`: there is no such account.", body = ErrorBody),
    ),
)]
pub async fn remove_account(
    State(app): State<App>,
    Asking(caller): Asking,
    NamedAccount(name): NamedAccount,
) -> Result<StatusCode, Refused> {
    app.carry_through(|control| async move {
        let ledger = control.ledger();
        ledger.remove_account(control.access()?, &caller, &name).await
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn summary(kept: KeptToken, last_used: Option<Timestamp>) -> TokenSummary {
    TokenSummary {
        principal: kept.owner.caller().principal().clone(),
        id: kept.id,
        name: kept.name,
        roles: kept.roles.iter().map(ToString::to_string).collect(),
        created: kept.created,
        created_by: kept.created_by,
        expires: kept.expires,
        last_used,
    }
}

fn account_of((name, account): (Name, Account)) -> ServiceAccount {
    ServiceAccount {
        name: name.to_string(),
        description: account.description,
        created: account.created,
    }
}

/// A text that people will see in lists.
fn shown(text: &str, least: usize, what: &str) -> Result<String, Problem> {
    let fits = (least..=TEXT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned()).ok_or_else(|| {
        invalid(format!(
            "the {what} has {least} to {TEXT_BYTES_MAX} bytes and no control characters"
        ))
    })
}

fn no_name() -> Problem {
    invalid(
        "a service account is called by 1 to 64 lower-case letters, digits, `-`, `_` and `.`, a letter or digit first",
    )
}
