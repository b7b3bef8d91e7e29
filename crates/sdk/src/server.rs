//! The one service a client talks to.

use std::fmt;

use reqwest::Url;

/// The address of a service: `https://taco.example.com`, with a path if a proxy has put one before it.
///
/// Holding one proves that it is http or https, names a host, and carries no credentials, query or fragment.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Server {
    base: String,
    origin: String,
    encrypted: bool,
}

/// Why a text is no address of a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// It cannot be read as an address at all.
    #[error("`{text}` is not an address like `http://localhost:8080`")]
    NotAnAddress {
        /// What was given.
        text: String,
    },
    /// It names a user or a password, which would end up in logs.
    #[error("the address of a service carries no user name and no password; give the token apart from it")]
    HasCredentials,
    /// Something follows its path.
    #[error("`{text}` has a query or a fragment, and the address of a service has none")]
    HasMore {
        /// What was given.
        text: String,
    },
}

impl Server {
    /// Reads an address; slashes at its end are trimmed.
    ///
    /// # Errors
    /// With the reason why `text` can be none.
    pub fn parse(text: &str) -> Result<Self, ServerError> {
        let not_an_address = || ServerError::NotAnAddress {
            text: text.to_owned(),
        };
        let url = Url::parse(text.trim()).map_err(|_| not_an_address())?;
        let encrypted = url.scheme() == "https";
        if !encrypted && url.scheme() != "http" || !url.has_host() {
            return Err(not_an_address());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ServerError::HasCredentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(ServerError::HasMore {
                text: text.to_owned(),
            });
        }
        Ok(Self {
            base: url.as_str().trim_end_matches('/').to_owned(),
            origin: url.origin().ascii_serialization(),
            encrypted,
        })
    }

    /// Scheme, host and port: what a token is bound to.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The address, without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.base
    }

    /// Whether it is spoken to over TLS.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// The address of a path below it, which begins with a slash and is encoded already.
    pub(crate) fn url(&self, path: &str) -> Url {
        let text = format!("{}{path}", self.base);
        Url::parse(&text).expect("an address with an encoded path behind it is one too")
    }
}

impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.base)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> Server {
        Server::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn slashes_at_the_end_are_trimmed_and_a_path_is_kept() {
        assert_eq!(server("http://localhost:8080/").as_str(), "http://localhost:8080");
        assert_eq!(
            server("https://Example.com/taco//").as_str(),
            "https://example.com/taco"
        );
        let url = server("https://example.com/taco").url("/v1/units/a__%5Fb");
        assert_eq!(url.as_str(), "https://example.com/taco/v1/units/a__%5Fb");
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(
            server("https://example.com:443/a").origin(),
            "https://example.com"
        );
        assert_eq!(server("http://[::1]:8080/a").origin(), "http://[::1]:8080");
        assert_ne!(
            server("http://example.com").origin(),
            server("https://example.com").origin()
        );
    }

    #[test]
    fn what_is_no_address_of_a_service_is_refused() {
        for text in [
            "",
            "localhost",
            "localhost:8080",
            "ftp://host",
            "http://",
            "/v1",
            "unix:/x",
        ] {
            assert!(
                matches!(Server::parse(text), Err(ServerError::NotAnAddress { .. })),
                "{text}"
            );
        }
        assert_eq!(
            Server::parse("http://alice:secret@host"),
            Err(ServerError::HasCredentials)
        );
        assert!(matches!(
            Server::parse("http://host/?x=1"),
            Err(ServerError::HasMore { .. })
        ));
    }
}
