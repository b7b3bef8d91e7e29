//! Who is asking: a token, and where it comes from.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderValue;

use crate::server::Server;

/// A secret that says who is asking. Its `Debug` says nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

/// The text cannot be sent as a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token is one line of visible ASCII characters, and not empty")]
pub struct NotAToken;

impl Token {
    /// Reads a token; white space around it, such as the end of a file's line, is trimmed.
    ///
    /// # Errors
    /// If what is left is empty, or cannot stand in a header.
    pub fn parse(text: &str) -> Result<Self, NotAToken> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NotAToken);
        }
        Ok(Self(text.into()))
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub(crate) fn header(&self) -> HeaderValue {
        let mut value =
            HeaderValue::from_str(&format!("Bearer {}", self.0)).expect("a token is visible ASCII");
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

/// No token could be had, with the reason.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct TokenError {
    /// What was tried, and why it failed.
    pub what: String,
    /// What to try, if anything is known.
    pub hint: Option<String>,
}

/// Where tokens come from.
///
/// A provider is told the server each time and answers for that one alone: what belongs to another origin is never
/// its answer. The client sends the answer there and nowhere else; it follows no redirect.
#[async_trait]
pub trait TokenProvider: Send + Sync + fmt::Debug {
    /// The token for the next request to `server`; none to ask as nobody.
    ///
    /// # Errors
    /// If there should be one and it cannot be had.
    async fn token(&self, server: &Server) -> Result<Option<Token>, TokenError>;

    /// The service has answered 401 to `refused`: another token to ask once more with, or none.
    ///
    /// # Errors
    /// If there should be one and it cannot be had.
    async fn instead_of(&self, server: &Server, refused: &Token) -> Result<Option<Token>, TokenError> {
        let _ = (server, refused);
        Ok(None)
    }
}

/// One token that was given, for one origin.
#[derive(Debug, Clone)]
pub struct StaticToken {
    origin: String,
    token: Token,
}

impl StaticToken {
    /// `token`, for the origin of `server` and no other.
    #[must_use]
    pub fn new(server: &Server, token: Token) -> Self {
        Self {
            origin: server.origin().to_owned(),
            token,
        }
    }
}

#[async_trait]
impl TokenProvider for StaticToken {
    async fn token(&self, server: &Server) -> Result<Option<Token>, TokenError> {
        Ok((server.origin() == self.origin).then(|| self.token.clone()))
    }
}

/// Nobody: for what is open, and for a service without authentication.
#[derive(Debug, Clone, Copy)]
pub struct NoToken;

#[async_trait]
impl TokenProvider for NoToken {
    async fn token(&self, _: &Server) -> Result<Option<Token>, TokenError> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_shown() {
        let token = Token::parse(" secret\n").unwrap();
        assert_eq!(token.expose(), "secret");
        assert!(!format!("{token:?} {:?}", token.header()).contains("secret"));
        let server = Server::parse("http://localhost").unwrap();
        assert!(!format!("{:?}", StaticToken::new(&server, token)).contains("secret"));
    }

    #[test]
    fn what_cannot_stand_in_a_header_is_no_token() {
        for text in ["", " \n", "a b", "a\r\nX-Evil: 1", "ü"] {
            assert_eq!(Token::parse(text), Err(NotAToken), "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_static_token_is_for_its_own_origin_alone() {
        let server = |text| Server::parse(text).unwrap();
        let own = server("https://taco.example.com/a");
        let provider = StaticToken::new(&own, Token::parse("secret").unwrap());
        for (text, given) in [
            ("https://taco.example.com/b", true),
            ("http://taco.example.com", false),
            ("https://taco.example.com:8443", false),
            ("https://taco.example.com.evil.org", false),
        ] {
            let token = provider.token(&server(text)).await.unwrap();
            assert_eq!(token.is_some(), given, "{text}");
        }
    }
}
