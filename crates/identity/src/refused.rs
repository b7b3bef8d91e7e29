//! Why a token is not believed.
//!
//! A client is told one thing only, that its credentials are not known here: which check they failed is for the log,
//! and would help nobody but somebody who tries tokens out.

use std::sync::Arc;

/// What is wrong with a token; for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// No token of this kind looks like that.
    #[error("it is not made like a token")]
    Malformed,
    /// It names an algorithm that its key is not for: `none`, or a signature whose secret is our public key.
    #[error("its algorithm is not the one of its key")]
    Algorithm,
    /// Nobody we trust has the key it names.
    #[error("its key is not known")]
    Key,
    /// The signature is not that key's.
    #[error("its signature is wrong")]
    Signature,
    /// It is a token for something else: a refresh token where an access token is asked for.
    #[error("it is another kind of token")]
    Type,
    /// Somebody else issued it.
    #[error("its issuer is another")]
    Issuer,
    /// It was made for somebody else to read.
    #[error("its audience is another")]
    Audience,
    /// It was issued later than now, or is not yet to be used.
    #[error("it is from the future")]
    Future,
    /// It does not belong to the login that was started.
    #[error("its nonce is another")]
    Nonce,
    /// It names more groups than a token of ours can carry, or no names; leaving some out could leave out one that is
    /// denied.
    #[error("its groups are too many, or not a list of names")]
    Groups,
    /// It is genuine, and no rule makes anybody of it.
    #[error("no rule matches its claims")]
    NoRule,
    /// Something it is bound to, such as an access key id, is another.
    #[error("it belongs to another credential")]
    Binding,
}

/// Why a token that should prove a `T` does not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused<T> {
    /// It proved this `T` until it expired. All else was checked and is right: an apply may go on to write under a lock
    /// that was taken while the token was valid.
    #[error("the token has expired")]
    Expired(Box<T>),
    /// It proves nothing and never did, or does not yet.
    #[error("the token is not believed")]
    Wrong(#[source] Flaw),
    /// It could not be decided: the issuer's keys cannot be had. Neither yes nor no; the client may ask again.
    #[error("the keys of the token's issuer cannot be had: {0}")]
    Unavailable(Arc<str>),
}

impl<T> From<Flaw> for Refused<T> {
    fn from(flaw: Flaw) -> Self {
        Self::Wrong(flaw)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::fmt::Debug;

    use super::{Flaw, Refused};

    /// Asserts what a token was disbelieved for.
    #[track_caller]
    pub(crate) fn assert_wrong<T: Debug>(result: Result<T, Refused<T>>, flaw: Flaw) {
        match result {
            Err(Refused::Wrong(found)) => assert_eq!(found, flaw),
            other => panic!("{flaw:?} was expected: {other:?}"),
        }
    }
}
