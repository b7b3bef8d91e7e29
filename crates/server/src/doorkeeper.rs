//! Who is asking. Everything but health is asked for credentials before anything else is said, so that to a stranger
//! every address looks the same.
//!
//! Terraform can send nothing but Basic credentials, so a token is taken as the password there, with any user name.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use opentaco_api::ErrorCode;
use opentaco_domain::Caller;

use axum::response::{IntoResponse, Response};

use crate::problem::Problem;
use crate::root_token::RootToken;

/// How callers are let in.
#[derive(Debug, Clone)]
pub enum Doorkeeper {
    /// Whoever knows the root token.
    Root(RootToken),
    /// Whoever knows one of these tokens; who they are is said beside it.
    Known(Vec<(RootToken, Caller)>),
    /// Anybody (`-auth-disable`).
    Nobody,
}

/// Why somebody was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// No credentials came with the request.
    Missing,
    /// They are not ours.
    Wrong,
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Doorkeeper {
    /// Who is asking, by what the request's headers prove.
    ///
    /// # Errors
    /// If they prove nothing.
    pub fn admit(&self, headers: &HeaderMap) -> Result<Caller, Unknown> {
        if matches!(self, Self::Nobody) {
            return Ok(Caller::anonymous());
        }
        let offered = headers.get(AUTHORIZATION).ok_or(Unknown::Missing)?;
        let offered = offered.to_str().ok().and_then(secret_of).ok_or(Unknown::Wrong)?;
        self.who_knows(&offered).ok_or(Unknown::Wrong)
    }

    fn who_knows(&self, offered: &str) -> Option<Caller> {
        match self {
            Self::Nobody => Some(Caller::anonymous()),
            Self::Root(token) => token.is(offered).then(Caller::root),
            Self::Known(tokens) => tokens
                .iter()
                .find_map(|(token, caller)| token.is(offered).then(|| caller.clone())),
        }
    }

    /// In a few words, for the log.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        match self {
            Self::Root(_) => "root token",
            Self::Known(_) => "known tokens",
            Self::Nobody => "disabled",
        }
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

impl IntoResponse for Unknown {
    fn into_response(self) -> Response {
        let what = match self {
            Self::Missing => "no credentials came with this request",
            Self::Wrong => "these credentials are not known here",
        };
        let message = format!(
            "{what}. Send the root token as `Authorization: Bearer …`, or as the password of Basic credentials with any user name (terraform: TF_HTTP_USERNAME and TF_HTTP_PASSWORD, or `username` and `password` in the backend block). The operator finds it where the service's first log line says"
        );
        let mut response =
            Problem::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthenticated, message).into_response();
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(authorization: &str) -> Result<String, Unknown> {
        let doorkeeper = Doorkeeper::Root(RootToken::parse("the-one-root:token").unwrap());
        let mut headers = HeaderMap::new();
        headers.insert(
            AUTHORIZATION,
            HeaderValue::from_bytes(authorization.as_bytes()).unwrap(),
        );
        doorkeeper
            .admit(&headers)
            .map(|caller| caller.principal().to_string())
    }

    #[test]
    fn the_root_token_opens_as_bearer_and_as_the_password_of_any_user() {
        let basic = |pair: &str| format!("Basic {}", BASE64.encode(pair));
        assert_eq!(asked("Bearer the-one-root:token").as_deref(), Ok("root"));
        assert_eq!(asked("bearer   the-one-root:token ").as_deref(), Ok("root"));
        assert_eq!(asked(&basic("anybody:the-one-root:token")).as_deref(), Ok("root"));
        assert_eq!(asked(&basic(":the-one-root:token")).as_deref(), Ok("root"));
        assert_eq!(
            asked(basic("a:the-one-root:token").trim_end_matches('=')).as_deref(),
            Ok("root")
        );
    }

    #[test]
    fn whatever_else_is_sent_opens_nothing() {
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
            assert_eq!(asked(wrong), Err(Unknown::Wrong), "{wrong}");
        }
        let as_user = format!("Basic {}", BASE64.encode("the-one-root:token:"));
        assert_eq!(asked(&as_user), Err(Unknown::Wrong));
        assert_eq!(asked("Bearer tökën"), Err(Unknown::Wrong));
    }

    #[test]
    fn where_auth_is_disabled_everybody_is_anonymous() {
        assert_eq!(
            Doorkeeper::Nobody
                .admit(&HeaderMap::new())
                .unwrap()
                .principal()
                .to_string(),
            "anonymous"
        );
    }
}
