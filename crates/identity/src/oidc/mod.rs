//! ID tokens of an OIDC provider: the company's own word on who somebody is.
//!
//! [`Issuer`] knows a provider's keys, [`IdTokens`] what an ID token has to say before it counts as a login. The same
//! [`Issuer`] stands behind the tokens of CI jobs ([`crate::ci`]).
//!
//! What is checked, and against whom:
//!
//! - **Signature**, with an algorithm that the provider's *key* is for. Symmetric keys in a provider's document are not
//!   read at all: with one, whoever knows it, and that could be every client, could sign.
//! - **Issuer**, exactly. A provider may spell its own name with a slash at the end where the configuration has none
//!   (Auth0 does): then the spelling of its discovery document counts, and again exactly.
//! - **Audience**: a token that another application got from the same provider must not open this one. Where a token has
//!   several audiences, or says for whom it was made (`azp`), that is us.
//! - **Type**: an access token or a logout token of the same provider is signed with the same keys and has the same
//!   issuer. Those that say so in `typ` are refused.
//! - **Nonce**, where we started the flow: an ID token that was caught in another login is not replayed into this one.
//! - **Times**, with a minute's leeway.
//! - **`email`** counts only beside `email_verified`: at many providers people write what they like into the other.
//!
//! Providers fail. One that is down at our start is an error for whoever logs in then, not for the service; one that
//! goes down later is not noticed while its keys are known, however old they get: withdrawing a key needs a provider
//! that can be reached. Answers of a provider are kept for ten minutes; a key that is not known asks again at once, but
//! not more often than twice a minute, so that tokens with invented keys do not become a flood of requests.

mod discovery;
mod fetch;
mod id_token;
mod issuer;
mod jwks;

#[cfg(test)]
pub(crate) mod testing;

pub use fetch::{Fetch, FetchError, HttpFetch};
pub use id_token::{GROUPS_MAX, IdToken, IdTokens, LoginConfig};
pub use issuer::{Endpoints, Issuer, IssuerConfig, IssuerError};
pub(crate) use issuer::{Proved, unverified_issuer};
