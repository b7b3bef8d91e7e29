//! Logging in, tokens, and who one is.
//!
//! Secrets are [`Secret`]s here, so that neither a log nor a failed assertion spells them.

use jiff::Timestamp;
use opentaco_domain::{Principal, Secret};
use serde::{Deserialize, Serialize};

use crate::units::given;

/// What a client needs to know before anybody can log in. Where there is no provider, every member but the lists is
/// absent, and the root token and API tokens are the ways in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuthConfig {
    /// The identity provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub issuer: Option<String>,
    /// What the provider knows our command line as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub client_id: Option<String>,
    /// Where a browser is sent; absent where the provider's discovery says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub authorization_endpoint: Option<String>,
    /// Where a code is exchanged for an ID token; absent where the provider's discovery says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub token_endpoint: Option<String>,
    /// Where the provider may send the browser back to.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub redirect_uris: Vec<String>,
    /// What is asked of the provider, `openid` first.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub scopes: Vec<String>,
}

/// The ID token of somebody who has logged in at the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// As the provider gave it.
    #[serde(with = "secret")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub id_token: Secret,
    /// What the client sent the provider as `nonce`, so that the token is of this login and of no other.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub nonce: Option<String>,
}

/// A refresh token that is to be replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    /// The one that was given last.
    #[serde(with = "secret")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub refresh_token: Secret,
}

/// A login: what opens the doors for an hour, and what keeps it going for a month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Session {
    /// Opens the doors.
    #[serde(with = "secret")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub access_token: Secret,
    /// Replaces both, once.
    #[serde(with = "secret")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub refresh_token: Secret,
    /// Always `Bearer`.
    pub token_type: String,
    /// Until when the access token is good.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub expires: Timestamp,
    /// Until when the refresh token is good.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub refresh_expires: Timestamp,
    /// Who logged in.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub principal: Principal,
}

/// How somebody came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// The root token.
    Root,
    /// Nobody is asked here (`-auth-disable`).
    Anonymous,
    /// A login at the provider.
    Login,
    /// An API token of a person or of a service account.
    ApiToken,
    /// The token of a CI job.
    Ci,
}

/// Who is asking, as the service sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Me {
    /// Their name in locks, histories and the audit.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub principal: Principal,
    /// How they came in.
    pub via: Via,
    /// Their address, if the provider has verified it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub email: Option<String>,
    /// The groups that the provider says they are in.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub groups: Vec<String>,
    /// The roles they hold, directly, by a group or by a rule, as far as this token reaches.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub roles: Vec<String>,
    /// Until when this way in is good; absent if it does not end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime, nullable = false))]
    pub expires: Option<Timestamp>,
}

/// What is to be revoked. Without a member: the login, or the API token, that asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// Every login of this person, wherever it is. Takes the right `access.manage`, unless it is oneself.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, nullable = false))]
    pub principal: Option<Principal>,
}

/// S3 credentials that are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct S3CredentialsRequest {
    /// What tells one job of a person from another: who asks again with the same goes on as the same holder of a lock.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schema(nullable = false, max_length = 200))]
    pub session: Option<String>,
}

/// Credentials as AWS' `credential_process` wants them, in its spelling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct S3Credentials {
    /// Always 1.
    pub version: u32,
    /// Names the session.
    pub access_key_id: String,
    /// Signs requests.
    #[serde(with = "secret")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub secret_access_key: Secret,
    /// Goes along with each of them.
    #[serde(with = "secret")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub session_token: Secret,
    /// Until when they are good.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub expiration: Timestamp,
}

/// An API token that is to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What it is for, for people.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 255))]
    pub name: String,
    /// The service account it is for. Without one it is the caller's own, and never reaches further than they do.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub service_account: Option<String>,
    /// It reaches no further than these roles; without any, as far as whoever it is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// For how many days it is good, up to 366; 90 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schema(nullable = false, minimum = 1, maximum = 366))]
    pub days: Option<u32>,
}

/// An API token, without the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenSummary {
    /// What it is listed and revoked by.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// Whose it is.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub principal: Principal,
    /// It reaches no further than these roles; empty: as far as whoever it is for.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub roles: Vec<String>,
    /// When it was made.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created: Timestamp,
    /// Who made it.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub created_by: Principal,
    /// Until when it is good.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub expires: Timestamp,
    /// When it was last used, to about an hour; absent if never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime, nullable = false))]
    pub last_used: Option<Timestamp>,
}

/// An API token was made. This answer is the only place where it can be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedToken {
    /// The token.
    #[serde(with = "secret")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub token: Secret,
    /// What is kept of it.
    pub about: TokenSummary,
}

/// API tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenSummaries {
    /// Oldest first.
    pub tokens: Vec<TokenSummary>,
    /// How many.
    pub count: usize,
}

/// A service account: a name for a program, which roles are assigned to as `service:<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServiceAccount {
    /// Its name.
    pub name: String,
    /// What people say of it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub description: String,
    /// When it was made.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created: Timestamp,
}

/// A service account that is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateServiceAccount {
    /// Its name: lower-case letters, digits, `.`, `_` and `-`.
    #[cfg_attr(
        feature = "openapi",
        schema(min_length = 1, max_length = 64, example = "nightly-drift")
    )]
    pub name: String,
    /// What people say of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// Service accounts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServiceAccounts {
    /// In the order of their names.
    pub service_accounts: Vec<ServiceAccount>,
    /// How many.
    pub count: usize,
}

/// A secret is a string on the wire.
mod secret {
    use opentaco_domain::Secret;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_spelled_as_the_aws_tools_read_them() {
        let credentials = S3Credentials {
            version: 1,
            access_key_id: "OTC.a.b".to_owned(),
            secret_access_key: Secret::new("s"),
            session_token: Secret::new("t"),
            expiration: "2026-11-23T12:00:00Z".parse().unwrap(),
        };
        let document = serde_json::to_value(&credentials).unwrap();
        assert_eq!(
            document,
            serde_json::json!({
                "Version": 1, "AccessKeyId": "OTC.a.b", "SecretAccessKey": "s", "SessionToken": "t",
                "Expiration": "2026-11-23T12:00:00Z"
            })
        );
        assert!(!format!("{credentials:?}").contains("\"s\""));
    }

    #[test]
    fn a_misspelt_member_is_refused_where_something_is_asked_for() {
        assert!(serde_json::from_str::<CreateToken>(r#"{"name": "ci", "role": ["reader"]}"#).is_err());
        assert!(serde_json::from_str::<Revoke>(r#"{"user": "bob"}"#).is_err());
    }
}
