//! How a request to the bucket can fail, by what the caller does about it.

use std::sync::Arc;

/// Why the bucket did not do what was asked.
///
/// "Refused by a condition" is no error here: see [`crate::bucket::Put`]. Nor is "not there": that is an `Option`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    /// The bucket refused us, be it that it can never hold such an object: nothing happened, and asking again will not
    /// help.
    #[error("the bucket denied {doing} `{key}`")]
    Denied {
        /// What was being done, as in "reading".
        doing: &'static str,
        /// The object's key below the prefix.
        key: String,
        /// What the store said.
        #[source]
        source: Arc<object_store::Error>,
    },
    /// No answer that can be relied on. A write may have happened, may happen yet, or may not.
    #[error("the bucket gave no usable answer while {doing} `{key}`")]
    Unavailable {
        /// What was being done, as in "reading".
        doing: &'static str,
        /// The object's key below the prefix.
        key: String,
        /// What the store said, or that it said nothing in time.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// An object is there and does not say what it must say. Nothing is guessed from it.
    #[error("`{key}` is not readable: {reason}")]
    Corrupt {
        /// The object's key below the prefix.
        key: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// Others changed the head again and again, and this request never got its turn.
    #[error("`{key}` is too busy: {tries} attempts lost to other writers")]
    Busy {
        /// The head's key below the prefix.
        key: String,
        /// How often it was tried.
        tries: usize,
    },
}

impl StorageError {
    /// Whether a write that failed so may still have taken effect.
    #[must_use]
    pub fn in_doubt(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Why the store can never hold an object of that name, if that is what is wrong: then it is the name that must
    /// change, and neither the store nor the time.
    #[must_use]
    pub fn unfit_name(&self) -> Option<String> {
        let Self::Denied { source, .. } = self else {
            return None;
        };
        match &**source {
            object_store::Error::NotSupported { source } => Some(source.to_string()),
            object_store::Error::InvalidPath { source } => Some(source.to_string()),
            _ => None,
        }
    }
}

/// The bucket did not answer within the time that the size of the request allows.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {seconds} s")]
pub(crate) struct TimedOut {
    pub(crate) seconds: u64,
}
