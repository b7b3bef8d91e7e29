//! Who is asking.
//!
//! A request brings some text: a token of ours, an ID token from the company's provider, a CI job's token, an access
//! key. This crate answers whose it is, or why that cannot be told. It decides nothing about what they may do (that is
//! `domain::access`), and nothing here knows a bucket, an HTTP framework or a clock: the time is an argument, and
//! records that have to be kept are values which somebody else stores.
//!
//! In reading order:
//!
//! - [`refused`]: why a token is not believed, and the one case, expiry, in which something may still be done with it.
//! - [`keys`]: the Ed25519 keys that sign our tokens, several at once, and their public document.
//! - [`token`]: access and refresh tokens, which cannot stand in for each other.
//! - [`session`]: what a login leaves behind, so that a refresh token serves once.
//! - [`api_token`]: tokens for programs, opaque, shown once.
//! - [`oidc`]: ID tokens of a provider, which may be down or change its keys.
//! - [`ci`]: tokens of CI jobs, and the rules that make somebody of them.
//! - [`sts`]: S3 credentials made from nothing but keys.
//! - [`sigv4`]: whether the holder of such credentials signed a request.
//!
//! Two promises hold everywhere. The algorithm of a signature is named by the key and never by the token. And where
//! something cannot be decided (a provider that does not answer), the answer is an error, not "nobody" and not "yes".

pub mod api_token;
pub mod ci;
pub mod ids;
pub mod keys;
pub mod oidc;
pub mod refused;
pub mod session;
pub mod sigv4;
pub mod sts;
pub mod token;

mod jwt;
mod random;

pub use api_token::{ApiToken, ApiTokenHash, NotAnApiToken};
pub use ids::{FamilyId, TokenId};
pub use keys::{KeyError, KeyId, KeyRing, SigningKey, VerifyingKey};
pub use refused::{Flaw, Refused};
pub use token::{Access, Audience, Issued, Lifetimes, Login, Refresh, Tokens, Verified};
