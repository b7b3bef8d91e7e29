//! Every address of the management API: as the table of routes spells it, and as a client asks for it.
//!
//! A unit stands in an address as one segment, in the encoding of [`UnitId::to_segment`]: `myapp/prod` is `myapp__prod`.

use opentaco_domain::access::{Member, Name};
use opentaco_domain::audit::SegmentId;
use opentaco_domain::graph::EdgeId;
use opentaco_domain::{UnitId, VersionId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Creates (POST) and lists (GET).
pub const UNITS: &str = "/v1/units";
/// Describes (GET), changes (PATCH), deletes (DELETE).
pub const UNIT: &str = "/v1/units/{unit}";
/// The current state.
pub const DOWNLOAD: &str = "/v1/units/{unit}/download";
/// Makes the body the current state.
pub const UPLOAD: &str = "/v1/units/{unit}/upload";
/// Takes the lock.
pub const LOCK: &str = "/v1/units/{unit}/lock";
/// Gives the lock back.
pub const UNLOCK: &str = "/v1/units/{unit}/unlock";
/// The history.
pub const VERSIONS: &str = "/v1/units/{unit}/versions";
/// The bytes of one version.
pub const VERSION: &str = "/v1/units/{unit}/versions/{version}";
/// Makes an old version current again.
pub const RESTORE: &str = "/v1/units/{unit}/restore";
/// The refused writes.
pub const REJECTED: &str = "/v1/units/{unit}/rejected";
/// The bytes of one refused write.
pub const REJECTED_WRITE: &str = "/v1/units/{unit}/rejected/{rejected}";
/// Accepts a refused write after all.
pub const PROMOTE: &str = "/v1/units/{unit}/rejected/{rejected}/promote";
/// Brings back a deleted unit.
pub const UNDELETE: &str = "/v1/units/{unit}/undelete";
/// The outputs of the current state.
pub const OUTPUTS: &str = "/v1/units/{unit}/outputs";
/// One output of the current state.
pub const OUTPUT: &str = "/v1/units/{unit}/outputs/{output}";
/// What the dependencies of a unit say of it.
pub const UNIT_STATUS: &str = "/v1/units/{unit}/status";
/// What the dependencies of many units say of them.
pub const STATUS: &str = "/v1/status";
/// The graph of dependencies.
pub const GRAPH: &str = "/v1/graph";
/// One edge, by its ends, whether it is declared or not.
pub const GRAPH_EDGE: &str = "/v1/graph/edge";
/// One edge, by its id.
pub const GRAPH_EDGE_BY_ID: &str = "/v1/graph/edges/{edge}";
/// Compares the graph with the states, and mends it.
pub const GRAPH_RECONCILE: &str = "/v1/graph/reconcile";
/// The service itself.
pub const INFO: &str = "/v1/info";
/// What a client needs to know to log in. Open to everybody.
pub const AUTH_CONFIG: &str = "/v1/auth/config";
/// An ID token for a session. Open to everybody.
pub const AUTH_EXCHANGE: &str = "/v1/auth/exchange";
/// A refresh token for the next session. Open to everybody.
pub const AUTH_TOKEN: &str = "/v1/auth/token";
/// Who is asking.
pub const AUTH_ME: &str = "/v1/auth/me";
/// Ends logins.
pub const AUTH_REVOKE: &str = "/v1/auth/revoke";
/// S3 credentials for whoever asks.
pub const S3_CREDENTIALS: &str = "/v1/auth/issue-s3-creds";
/// Makes (POST) and lists (GET) API tokens.
pub const TOKENS: &str = "/v1/auth/tokens";
/// Revokes (DELETE) an API token.
pub const TOKEN: &str = "/v1/auth/tokens/{token}";
/// Makes (POST) and lists (GET) service accounts.
pub const SERVICE_ACCOUNTS: &str = "/v1/auth/service-accounts";
/// Removes (DELETE) a service account and every token of it.
pub const SERVICE_ACCOUNT: &str = "/v1/auth/service-accounts/{account}";
/// Names the first administrators.
pub const RBAC_INIT: &str = "/v1/rbac/init";
/// What the caller holds.
pub const RBAC_ME: &str = "/v1/rbac/me";
/// Everybody who was given a role.
pub const RBAC_USERS: &str = "/v1/rbac/users";
/// Gives (PUT) or takes (DELETE) a role.
pub const RBAC_USER_ROLE: &str = "/v1/rbac/users/{member}/roles/{role}";
/// Every role.
pub const RBAC_ROLES: &str = "/v1/rbac/roles";
/// Shows (GET), makes or changes (PUT), removes (DELETE) a role.
pub const RBAC_ROLE: &str = "/v1/rbac/roles/{role}";
/// Every permission.
pub const RBAC_PERMISSIONS: &str = "/v1/rbac/permissions";
/// Shows (GET), makes or changes (PUT), removes (DELETE) a permission.
pub const RBAC_PERMISSION: &str = "/v1/rbac/permissions/{permission}";
/// Says what somebody would be allowed, and why.
pub const RBAC_TEST: &str = "/v1/rbac/test";
/// Shows (GET) and switches (PUT) what the root token opens.
pub const RBAC_ROOT: &str = "/v1/rbac/root";
/// Who did what.
pub const AUDIT: &str = "/v1/audit";
/// The names of the files it is kept in.
pub const AUDIT_SEGMENTS: &str = "/v1/audit/segments";
/// One of these files, as it lies in the bucket.
pub const AUDIT_SEGMENT: &str = "/v1/audit/segments/{segment}";
/// The public keys that our tokens are signed by. Open to everybody.
pub const JWKS: &str = "/oidc/jwks.json";
/// The description of this API.
pub const OPENAPI: &str = "/openapi.json";

/// What need not be escaped in a segment.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// [`UNIT`] of this unit.
#[must_use]
pub fn unit(unit: &UnitId) -> String {
    of(UNIT, unit)
}

/// [`DOWNLOAD`] of this unit.
#[must_use]
pub fn download(unit: &UnitId) -> String {
    of(DOWNLOAD, unit)
}

/// [`UPLOAD`] to this unit.
#[must_use]
pub fn upload(unit: &UnitId) -> String {
    of(UPLOAD, unit)
}

/// [`LOCK`] of this unit.
#[must_use]
pub fn lock(unit: &UnitId) -> String {
    of(LOCK, unit)
}

/// [`UNLOCK`] of this unit.
#[must_use]
pub fn unlock(unit: &UnitId) -> String {
    of(UNLOCK, unit)
}

/// [`VERSIONS`] of this unit.
#[must_use]
pub fn versions(unit: &UnitId) -> String {
    of(VERSIONS, unit)
}

/// [`VERSION`] of this unit.
#[must_use]
pub fn version(unit: &UnitId, version: &VersionId) -> String {
    of(VERSION, unit).replace("{version}", &version.to_string())
}

/// [`RESTORE`] of this unit.
#[must_use]
pub fn restore(unit: &UnitId) -> String {
    of(RESTORE, unit)
}

/// [`REJECTED`] of this unit.
#[must_use]
pub fn rejected(unit: &UnitId) -> String {
    of(REJECTED, unit)
}

/// [`REJECTED_WRITE`] of this unit.
#[must_use]
pub fn rejected_write(unit: &UnitId, rejected: &str) -> String {
    of(REJECTED_WRITE, unit).replace("{rejected}", &escaped(rejected))
}

/// [`PROMOTE`] for this unit.
#[must_use]
pub fn promote(unit: &UnitId, rejected: &str) -> String {
    of(PROMOTE, unit).replace("{rejected}", &escaped(rejected))
}

/// [`UNDELETE`] for this unit.
#[must_use]
pub fn undelete(unit: &UnitId) -> String {
    of(UNDELETE, unit)
}

/// [`OUTPUTS`] of this unit.
#[must_use]
pub fn outputs(unit: &UnitId) -> String {
    of(OUTPUTS, unit)
}

/// [`OUTPUT`] of this unit.
#[must_use]
pub fn output(unit: &UnitId, output: &str) -> String {
    of(OUTPUT, unit).replace("{output}", &escaped(output))
}

/// [`UNIT_STATUS`] of this unit.
#[must_use]
pub fn unit_status(unit: &UnitId) -> String {
    of(UNIT_STATUS, unit)
}

/// [`GRAPH_EDGE_BY_ID`] of this id.
#[must_use]
pub fn graph_edge(id: &EdgeId) -> String {
    GRAPH_EDGE_BY_ID.replace("{edge}", id.as_str())
}

/// [`TOKEN`] of this id.
#[must_use]
pub fn token(id: &str) -> String {
    TOKEN.replace("{token}", &escaped(id))
}

/// [`SERVICE_ACCOUNT`] of this name.
#[must_use]
pub fn service_account(name: &str) -> String {
    SERVICE_ACCOUNT.replace("{account}", &escaped(name))
}

/// [`RBAC_USER_ROLE`] of these.
#[must_use]
pub fn user_role(member: &Member, role: &Name) -> String {
    RBAC_USER_ROLE
        .replace("{member}", &escaped(&member.to_string()))
        .replace("{role}", &escaped(role.as_str()))
}

/// [`RBAC_ROLE`] of this name.
#[must_use]
pub fn role(name: &Name) -> String {
    RBAC_ROLE.replace("{role}", &escaped(name.as_str()))
}

/// [`RBAC_PERMISSION`] of this name.
#[must_use]
pub fn permission(name: &Name) -> String {
    RBAC_PERMISSION.replace("{permission}", &escaped(name.as_str()))
}

/// [`AUDIT_SEGMENT`] of this name.
#[must_use]
pub fn audit_segment(id: &SegmentId) -> String {
    AUDIT_SEGMENT.replace("{segment}", &id.to_string())
}

fn of(path: &str, unit: &UnitId) -> String {
    path.replace("{unit}", &unit.to_segment())
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_one_segment_of_its_addresses() {
        let shop = UnitId::parse("env:/my shop/_a").unwrap();
        assert_eq!(unit(&shop), "/v1/units/env%3A__my%20shop__%5Fa");
        assert_eq!(
            output(&shop, "a/b?"),
            "/v1/units/env%3A__my%20shop__%5Fa/outputs/a%2Fb%3F"
        );
        let prod = UnitId::parse("myapp/prod").unwrap();
        let version_id = format!("0000000000000029-7-000000ab-{}-00000001", "0".repeat(64));
        assert_eq!(
            version(&prod, &version_id.parse().unwrap()),
            format!("/v1/units/myapp__prod/versions/{version_id}")
        );
        for path in [
            download(&prod),
            upload(&prod),
            lock(&prod),
            unlock(&prod),
            versions(&prod),
            restore(&prod),
            rejected(&prod),
            rejected_write(&prod, "r"),
            promote(&prod, "r"),
            undelete(&prod),
            outputs(&prod),
            unit_status(&prod),
        ] {
            assert!(path.starts_with("/v1/units/myapp__prod/"), "{path}");
            assert!(!path.contains('{'), "{path}");
        }
    }
}
