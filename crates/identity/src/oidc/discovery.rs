//! The document in which a provider tells where everything is.

use serde::Deserialize;

use super::fetch::Fetch;

/// What is read of it.
#[derive(Debug, Deserialize)]
pub(super) struct Discovery {
    pub(super) issuer: String,
    #[serde(default)]
    pub(super) authorization_endpoint: Option<String>,
    #[serde(default)]
    pub(super) token_endpoint: Option<String>,
    #[serde(default)]
    pub(super) jwks_uri: Option<String>,
}

impl Discovery {
    /// Fetches the document of `issuer`. One that is of another issuer is refused: a page that anybody can put
    /// something on must not speak for its neighbours.
    pub(super) async fn fetch(fetch: &dyn Fetch, issuer: &str) -> Result<Self, String> {
        let url = format!("{}/.well-known/openid-configuration", without_slash(issuer));
        let document = fetch.fetch(&url).await.map_err(|error| error.to_string())?;
        let document: Self = serde_json::from_slice(&document).map_err(|error| format!("{url}: {error}"))?;
        if !is_called_alike(&document.issuer, issuer) {
            let theirs = &document.issuer;
            return Err(format!("{url}: the document is of another issuer, `{theirs}`"));
        }
        Ok(document)
    }
}

/// Whether two names of issuers are equal but for one slash at the end.
pub(super) fn is_called_alike(one: &str, other: &str) -> bool {
    without_slash(one) == without_slash(other)
}

fn without_slash(name: &str) -> &str {
    name.strip_suffix('/').unwrap_or(name)
}
