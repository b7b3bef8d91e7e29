//! Who is asking at the S3 door: whoever signed with credentials that were made here (`taco creds`, `/v1/auth/issue-s3-creds`).
//! The credentials say what they were made from; whether that is still good is asked here, at each request.

use std::sync::Arc;

use axum::extract::Request;
use http::header::{HOST, HeaderMap, HeaderValue};
use jiff::Timestamp;
use opentaco_control::{Ledger, LedgerUnreadable};
use opentaco_domain::access::Name;
use opentaco_domain::audit;
use opentaco_domain::{Caller, CredentialSession, Signed};
use opentaco_identity::sigv4::{Asked, Chunks, Payload, Presented};
use opentaco_identity::sts::{Holder, Recovered, Sts};
use opentaco_identity::{Flaw, Refused as Doubted};

use crate::app::App;
use crate::doorkeeper::{Doorkeeper, family_hash, login_shown};
use crate::s3::error::{Code, Refused};

/// What is known of whoever signed a request, and of how it was signed.
#[derive(Debug, Clone)]
pub struct Signer {
    /// Who holds locks.
    pub signed: Signed,
    /// What is signed of the body.
    pub payload: Payload,
    /// Judges signatures of its pieces; none where nobody signs.
    pub chunks: Option<Chunks>,
}

/// Somebody who was let in.
#[derive(Debug)]
pub struct Admitted {
    /// Who it is.
    pub caller: Caller,
    /// How it was proved.
    pub signer: Signer,
}

/// What the SDKs call a request; all attempts of it are called the same.
const INVOCATION: &str = "amz-sdk-invocation-id";
const INVOCATION_BYTES_MAX: usize = 64;

/// Who signed a request.
///
/// # Errors
/// If nobody did whom we know, or it cannot be said.
pub fn admit(
    app: &App,
    request: &Request,
    approach: audit::Asked,
    now: Timestamp,
) -> Result<Admitted, Refused> {
    let headers = with_host(request);
    let asked = Asked {
        method: request.method().as_str(),
        path: request.uri().path(),
        query: request.uri().query().unwrap_or(""),
        headers: &headers,
    };
    let invocation = headers
        .get(INVOCATION)
        .and_then(|value| value.to_str().ok())
        .filter(|id| id.len() <= INVOCATION_BYTES_MAX)
        .map(str::to_owned);
    if matches!(*app.doorkeeper, Doorkeeper::Nobody) {
        return Ok(Admitted {
            caller: Caller::anonymous().asking(Arc::new(approach)),
            signer: Signer {
                signed: Signed {
                    session: CredentialSession::of_nobody(),
                    at: None,
                    invocation,
                },
                payload: Payload::of_header(&headers)?.unwrap_or(Payload::Unsigned),
                chunks: None,
            },
        });
    }
    let presented = Presented::read(&asked)?.ok_or_else(|| {
        Refused::new(
            Code::AccessDenied,
            "this request is not signed; `taco creds --json` gives an AWS profile credentials for this door",
        )
    })?;
    let sts = app.logins.sts.as_ref().ok_or_else(|| {
        Refused::new(
            Code::InvalidAccessKeyId,
            "there are no S3 credentials here: the service needs a key for tokens (`opentacosvc keys new`)",
        )
    })?;
    let recovered = recover(sts, &presented, now)?;
    let chunks = presented.verify(&asked, &recovered.secret, now)?;
    let ledger = app.control.ledger();
    let caller = caller_of(&recovered.holder, ledger, now)?;
    let run = match &recovered.holder {
        Holder::Job { run, .. } => run.clone(),
        Holder::Login { .. } | Holder::ApiToken { .. } => None,
    };
    Ok(Admitted {
        caller: caller.asking(Arc::new(audit::Asked {
            via: Some(shown(&recovered)),
            run,
            ..approach
        })),
        signer: Signer {
            signed: Signed {
                session: CredentialSession::new(recovered.session.as_str()),
                at: Some(presented.at),
                invocation,
            },
            payload: presented.payload,
            chunks: Some(chunks),
        },
    })
}

/// Over HTTP/2 the host stands beside the headers, and it is signed as one of them.
fn with_host(request: &Request) -> HeaderMap {
    let mut headers = request.headers().clone();
    if !headers.contains_key(HOST)
        && let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        headers.insert(HOST, host);
    }
    headers
}

fn recover(sts: &Sts, presented: &Presented, now: Timestamp) -> Result<Recovered, Refused> {
    let unknown = |message: &str| Refused::new(Code::InvalidAccessKeyId, message);
    let Some(token) = presented.session_token.as_deref() else {
        return Err(unknown(
            "these credentials have no session token; those of this service do: `taco creds --json` makes them",
        ));
    };
    match sts.recover(&presented.access_key, token, now) {
        Ok(recovered) => Ok(recovered),
        Err(Doubted::Expired(_)) => Err(Refused::new(
            Code::ExpiredToken,
            "these credentials have expired; with `credential_process` in the profile the client asks for new ones by itself",
        )),
        Err(Doubted::Wrong(flaw @ (Flaw::Malformed | Flaw::Key))) => Err(unknown(
            "this access key id is not one of this service; `taco creds --json` makes them",
        )
        .caused_by(&flaw)),
        Err(Doubted::Wrong(flaw)) => Err(Refused::new(
            Code::InvalidToken,
            "this session token does not belong to this access key id",
        )
        .caused_by(&flaw)),
        Err(Doubted::Unavailable(reason)) => Err(Refused::new(
            Code::ServiceUnavailable,
            "whether these credentials are good cannot be said at the moment",
        )
        .caused_by(&LedgerUnreadable {
            reason: reason.to_string(),
        })),
    }
}

/// Whose credentials these are, if what they were made from is still good.
fn caller_of(holder: &Holder, ledger: &Ledger, now: Timestamp) -> Result<Caller, Refused> {
    let over = |what: &str| {
        Refused::new(
            Code::AccessDenied,
            format!("the {what} these credentials were made from was ended; log in again"),
        )
    };
    match holder {
        Holder::Login { sid, login } => {
            if ledger
                .is_revoked(&family_hash(sid))
                .map_err(|why| unreadable(&why))?
            {
                return Err(over("login"));
            }
            let caller = Caller::user(login.principal.as_str());
            Ok(caller.in_groups(login.groups.iter().map(String::as_str)))
        }
        Holder::ApiToken { hash, .. } => {
            let kept = ledger.token(hash).map_err(|why| unreadable(&why))?;
            let kept = kept.ok_or_else(|| over("API token"))?;
            if kept.expires <= now {
                return Err(Refused::new(
                    Code::ExpiredToken,
                    "the API token these credentials were made from has expired",
                ));
            }
            Ok(kept.caller())
        }
        Holder::Job { principal, roles, .. } => {
            let roles: Vec<Name> = roles.iter().filter_map(|role| role.parse().ok()).collect();
            Ok(Caller::ci(principal.as_str(), roles))
        }
    }
}

fn unreadable(why: &LedgerUnreadable) -> Refused {
    Refused::new(
        Code::ServiceUnavailable,
        "whether these credentials are good cannot be said at the moment; ask again",
    )
    .caused_by(why)
}

/// What somebody came in by, as the audit tells it.
fn shown(recovered: &Recovered) -> String {
    let session = &recovered.session;
    match &recovered.holder {
        Holder::Login { sid, .. } => format!("login {}, S3 session {session}", login_shown(sid)),
        Holder::ApiToken { hash, .. } => format!("token {}, S3 session {session}", hash.short()),
        Holder::Job { issuer, .. } => format!("ci job of {issuer}, S3 session {session}"),
    }
}
