//! How a request is refused.

use opentaco_domain::VersionId;
use serde::{Deserialize, Serialize};

use crate::locks::Lock;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// Why, in a word. The words are stable; clients branch on them and show the sentence beside.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// Every word there is.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

codes! {
    /// There is such a unit already.
    AlreadyExists = "already_exists",
    /// `Content-MD5` is no digest.
    BadDigest = "bad_digest",
    /// `Idempotency-Key` is none.
    BadIdempotencyKey = "bad_idempotency_key",
    /// A lock id that is none.
    BadLockId = "bad_lock_id",
    /// The query has something that is not understood.
    BadQuery = "bad_query",
    /// The address names no unit.
    BadUnitId = "bad_unit_id",
    /// A version that is none.
    BadVersion = "bad_version",
    /// The body broke off.
    BodyBroken = "body_broken",
    /// The body stood still.
    BodyStalled = "body_stalled",
    /// The body is larger than allowed.
    BodyTooLarge = "body_too_large",
    /// There is no room for the body now.
    Crowded = "crowded",
    /// The unit was deleted after the write was sent.
    Deleted = "deleted",
    /// The body is not the one that `Content-MD5` names.
    DigestDiffers = "digest_differs",
    /// The state is encrypted, and what is asked for is sealed in it.
    Encrypted = "encrypted",
    /// The caller may not.
    Forbidden = "forbidden",
    /// The graph of dependencies cannot be read, so nothing is said of any.
    GraphUnreadable = "graph_unreadable",
    /// A role holds this permission.
    InUse = "in_use",
    /// Roles were given before; there are first administrators once.
    Initialised = "initialised",
    /// The request cannot mean anything.
    Invalid = "invalid",
    /// Nobody would be left who may say who may do what.
    LastAdministrator = "last_administrator",
    /// A newer write was committed under the same lock.
    Late = "late",
    /// This lock was released or broken before.
    LockOver = "lock_over",
    /// Somebody else holds the unit.
    Locked = "locked",
    /// The address does not know this method.
    MethodNotAllowed = "method_not_allowed",
    /// Nobody is asked who they are here, so there are no roles.
    NoRoles = "no_roles",
    /// There is no unit, version, rejected write, output, role or permission of that name.
    NotFound = "not_found",
    /// The lock is not held under that id.
    NotHolder = "not_holder",
    /// Nobody was given a role yet.
    NotInitialised = "not_initialised",
    /// Nothing is at this address.
    NoSuchAddress = "no_such_address",
    /// The unit has no state.
    NoState = "no_state",
    /// The service is up, its bucket is not.
    NotReady = "not_ready",
    /// The state is older than the current one, or has its serial and other content.
    OlderSerial = "older_serial",
    /// The state is of another lineage than the current one.
    OtherLineage = "other_lineage",
    /// A mistake of the service.
    Panicked = "panicked",
    /// The unit is protected from being deleted.
    Protected = "protected",
    /// The root token does not switch itself off.
    RootByItself = "root_by_itself",
    /// The write is committed and safe, the copy in the bucket is not up to date.
    Saved = "saved",
    /// Too many requests came from there.
    TooMany = "too_many",
    /// Nobody was let in under these credentials.
    Unauthenticated = "unauthenticated",
    /// The bucket or the policy cannot be read.
    Unavailable = "unavailable",
    /// The address and the `OpenTaco-Unit` header name different units.
    UnitDiffers = "unit_differs",
    /// Another version is current than the request asked for.
    VersionConflict = "version_conflict",
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal or a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorBody {
    /// Why, in a word.
    pub error: String,
    /// What happened and what to do about it, for a person.
    pub message: String,
    /// Who holds the unit, if somebody does and that is why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Lock, nullable = false))]
    pub holder: Option<Lock>,
    /// Under which id what was sent is kept among the unit's rejected writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub kept: Option<String>,
    /// The version that is current instead of the one asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub current: Option<VersionId>,
    /// The version that is committed and safe although the answer is a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub saved_version: Option<VersionId>,
}

impl ErrorBody {
    /// The code, if this client knows the word.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        ErrorCode::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == self.error)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_has_a_word_of_its_own_and_is_known_by_it() {
        let words: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(words.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            let body: ErrorBody =
                serde_json::from_value(serde_json::json!({"error": code.as_str(), "message": "why"}))
                    .unwrap();
            assert_eq!(body.code(), Some(*code));
        }
    }

    #[test]
    fn an_older_client_bears_a_newer_service() {
        let newer = r#"{"error":"eclipsed","message":"the moon","phase":"new"}"#;
        let body: ErrorBody = serde_json::from_str(newer).unwrap();
        assert_eq!((body.code(), body.message.as_str()), (None, "the moon"));
        let origin: crate::Origin = serde_json::from_str("\"teleported\"").unwrap();
        assert_eq!(origin, crate::Origin::Other);
    }

    #[test]
    fn a_mistyped_member_of_a_request_is_refused() {
        assert!(serde_json::from_str::<crate::CreateUnit>(r#"{"id":"a","lables":{}}"#).is_err());
        assert!(serde_json::from_str::<crate::ChangeUnit>(r#"{"description":null}"#).is_err());
        assert!(serde_json::from_str::<crate::LockRequest>(r#"{"ID":"a"}"#).is_err());
        let patch: crate::ChangeUnit = serde_json::from_str(r#"{"labels":{"a":"1","b":null}}"#).unwrap();
        assert_eq!(patch.labels["a"].as_deref(), Some("1"));
        assert_eq!(patch.labels["b"], None);
    }
}
