//! Names of objects, as S3 clients see them: a unit's state, and the lock file beside it.
//!
//! | key | what |
//! |---|---|
//! | `myapp/prod/terraform.tfstate` | the state of `myapp/prod` |
//! | `network/prod.tfstate` | the state of `network/prod.tfstate` |
//! | `env:/dev/app.tfstate` | the state of the workspace `dev`: a unit like any other |
//! | `app.tfstate.tflock`, `app.tfstate.lock` | the lock of `app.tfstate` |
//!
//! Nothing else has a name there.

use crate::UnitId;

/// What Terraform's S3 backend calls a lock file.
pub const LOCK_FILE: &str = ".tflock";

/// What a lock file is called in the seed's layout.
const LOCK_COPY: &str = ".lock";

/// What a key names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectName {
    /// The state of a unit.
    State(UnitId),
    /// The lock of a unit.
    Lock(UnitId),
}

/// The key names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this bucket holds Terraform states: a key ends in `.tfstate`, or in `.tfstate.tflock` for the lock beside it, has no empty segments, and does not start with `__opentaco_`"
)]
pub struct NoSuchName;

impl ObjectName {
    /// Reads a key, decoded.
    ///
    /// # Errors
    /// If it names neither a state nor a lock, or something of ours.
    pub fn parse(key: &str) -> Result<Self, NoSuchName> {
        let lock_of = key
            .strip_suffix(LOCK_FILE)
            .or_else(|| key.strip_suffix(LOCK_COPY));
        let (state_key, is_lock) = match lock_of {
            Some(state_key) => (state_key, true),
            None => (key, false),
        };
        let unit = UnitId::from_state_key(state_key).ok_or(NoSuchName)?;
        Ok(match is_lock {
            true => Self::Lock(unit),
            false => Self::State(unit),
        })
    }

    /// Whose it is.
    #[must_use]
    pub fn unit(&self) -> &UnitId {
        match self {
            Self::State(unit) | Self::Lock(unit) => unit,
        }
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::State(unit) => unit.state_key(),
            Self::Lock(unit) => format!("{}{LOCK_FILE}", unit.state_key()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(id: &str) -> UnitId {
        UnitId::parse(id).unwrap()
    }

    #[test]
    fn a_key_names_a_state_or_a_lock_beside_one_and_leads_back() {
        for (key, id) in [
            ("myapp/prod/terraform.tfstate", "myapp/prod"),
            ("network/prod.tfstate", "network/prod.tfstate"),
            ("env:/dev/app.tfstate", "env:/dev/app.tfstate"),
            ("a b/ü+1.tfstate", "a b/ü+1.tfstate"),
            ("__opentaco_system/terraform.tfstate", "__opentaco_system"),
        ] {
            let state = ObjectName::parse(key).unwrap();
            assert_eq!(
                (&state, state.key().as_str()),
                (&ObjectName::State(unit(id)), key)
            );
            let lock = ObjectName::parse(&format!("{key}.tflock")).unwrap();
            assert_eq!(lock, ObjectName::Lock(unit(id)));
            assert_eq!(lock.key(), format!("{key}.tflock"));
            assert_eq!(ObjectName::parse(&format!("{key}.lock")), Ok(lock));
        }
    }

    #[test]
    fn whatever_is_ours_or_no_state_has_no_name() {
        for key in [
            "",
            "/",
            "readme.md",
            "terraform.tfstate.backup",
            "/a/terraform.tfstate",
            "a//terraform.tfstate",
            "a/../b.tfstate",
            "a/./b.tfstate",
            "a.tfstate/b.tfstate",
            "a.tfstate/",
            "x.tflock",
            "x.lock",
            "a.tfstate.tflock.tflock",
            "a.tfstate.lock.tflock",
            "__opentaco_units/a/terraform.tfstate",
            "__opentaco_versions/a/@/1.tfstate",
            "__opentaco_anything.tfstate",
            "__opentaco_audit/x.tfstate.lock",
            "a/@/b.tfstate",
            "a\u{0}.tfstate",
        ] {
            assert_eq!(ObjectName::parse(key), Err(NoSuchName), "{key}");
        }
    }
}
