//! Names of objects, and nothing else. This is the only file that spells them.

use jiff::Timestamp;
use object_store::path::Path;
use opentaco_domain::audit::SegmentId;
use opentaco_domain::unit::RESERVED;
use opentaco_domain::{UnitId, VersionId};

const HEADS: &str = "__opentaco_units";
const VERSIONS: &str = "__opentaco_versions";
const REJECTED: &str = "__opentaco_rejected";
const AUDIT: &str = "__opentaco_audit";
const UPLOADS: &str = "__opentaco_uploads";
const SEGMENT: &str = ".jsonl";

/// Keys below one prefix of one bucket. Keys are plain strings; [`Layout::path`] turns one into what the store takes.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    prefix: String,
}

impl Layout {
    /// A layout below `prefix`; slashes around it are trimmed, an empty one is the bucket's root.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        let trimmed = prefix.trim_matches('/');
        Self {
            prefix: if trimmed.is_empty() {
                String::new()
            } else {
                format!("{trimmed}/")
            },
        }
    }

    /// The prefix with its trailing slash, or nothing.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The copy of the state that people and other tools read.
    #[must_use]
    pub fn copy(&self, unit: &UnitId) -> String {
        format!("{}{}", self.prefix, unit.state_key())
    }

    /// The copy of the lock, present only while the unit is locked.
    #[must_use]
    pub fn lock_copy(&self, unit: &UnitId) -> String {
        format!("{}.lock", self.copy(unit))
    }

    /// The lock file of Terraform's own S3 backend: read once, at the first touch of a bucket older than us.
    #[must_use]
    pub fn foreign_lock(&self, unit: &UnitId) -> String {
        format!("{}.tflock", self.copy(unit))
    }

    /// The head: the truth about a unit.
    #[must_use]
    pub fn head(&self, unit: &UnitId) -> String {
        format!("{}{HEADS}/{unit}/@head.json", self.prefix)
    }

    /// Where the versions of a unit lie, with a trailing slash.
    #[must_use]
    pub fn versions(&self, unit: &UnitId) -> String {
        format!("{}{VERSIONS}/{unit}/@/", self.prefix)
    }

    /// The immutable bytes of one version.
    #[must_use]
    pub fn version(&self, unit: &UnitId, version: &VersionId) -> String {
        format!("{}{version}", self.versions(unit))
    }

    /// Where the refused writes of a unit lie, with a trailing slash.
    #[must_use]
    pub fn rejected_writes(&self, unit: &UnitId) -> String {
        format!("{}{REJECTED}/{unit}/@/", self.prefix)
    }

    /// The bytes of one refused write.
    #[must_use]
    pub fn rejected(&self, unit: &UnitId, id: &str) -> String {
        format!("{}{id}", self.rejected_writes(unit))
    }

    /// Where the audit lies, with a trailing slash.
    #[must_use]
    pub fn audit(&self) -> String {
        format!("{}{AUDIT}/", self.prefix)
    }

    /// Everything that is being uploaded in parts.
    #[must_use]
    pub fn all_uploads(&self) -> String {
        format!("{}{UPLOADS}/", self.prefix)
    }

    /// What is being uploaded in parts to a unit.
    #[must_use]
    pub fn uploads(&self, unit: &UnitId) -> String {
        format!("{}{UPLOADS}/{unit}/@/", self.prefix)
    }

    /// One segment of the audit.
    #[must_use]
    pub fn segment(&self, id: &SegmentId) -> String {
        let day = SegmentId::day(id.at);
        format!("{}{day}/{id}{SEGMENT}", self.audit())
    }

    /// Before every segment that begins at this moment or later, and behind every one that begins earlier.
    #[must_use]
    pub fn segments_from(&self, at: Timestamp) -> String {
        let (day, moment) = (SegmentId::day(at), SegmentId::moment(at));
        format!("{}{day}/{moment}", self.audit())
    }

    /// The segment that a key names.
    #[must_use]
    pub fn named_segment(&self, key: &str) -> Option<SegmentId> {
        let (_, name) = key.rsplit_once('/')?;
        let id = name.strip_suffix(SEGMENT)?.parse().ok()?;
        (self.segment(&id) == key).then_some(id)
    }

    /// Where every name of ours begins.
    #[must_use]
    pub fn reserved(&self) -> String {
        format!("{}{RESERVED}", self.prefix)
    }

    /// The first string after every name that starts with [`Layout::reserved`].
    #[must_use]
    pub fn after_reserved(&self) -> String {
        // '`' is the byte after '_', so this sorts behind `__opentaco_…` and before any other name.
        format!("{}`", self.reserved().trim_end_matches('_'))
    }

    /// What a key of the bucket is, as far as a listing of units is concerned.
    #[must_use]
    pub fn listed(&self, key: &str) -> Listed {
        let Some(key) = key.strip_prefix(&self.prefix) else {
            return Listed::Other;
        };
        if let Some(unit) = UnitId::from_state_key(key) {
            return Listed::Copy(unit);
        }
        match key.strip_suffix(".lock").and_then(UnitId::from_state_key) {
            Some(unit) => Listed::LockCopy(unit),
            None => Listed::Other,
        }
    }

    /// The store's spelling of a key. `Path::parse` and never `Path::from`, which escapes.
    ///
    /// # Errors
    /// If the key has an empty segment, `.` or `..`, or a control character; a key made here from a [`UnitId`] never has.
    pub fn path(key: &str) -> Result<Path, object_store::path::Error> {
        Path::parse(key)
    }
}

/// What a listed key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// The copy of a unit's state.
    Copy(UnitId),
    /// The copy of a unit's lock.
    LockCopy(UnitId),
    /// Nothing of a unit.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_design() {
        let layout = Layout::new("/team/");
        let unit = UnitId::parse("myapp/prod").unwrap();
        assert_eq!(layout.copy(&unit), "team/myapp/prod/terraform.tfstate");
        assert_eq!(layout.lock_copy(&unit), "team/myapp/prod/terraform.tfstate.lock");
        assert_eq!(layout.head(&unit), "team/__opentaco_units/myapp/prod/@head.json");
        assert_eq!(layout.versions(&unit), "team/__opentaco_versions/myapp/prod/@/");
        assert_eq!(
            layout.rejected(&unit, "7"),
            "team/__opentaco_rejected/myapp/prod/@/7"
        );
        assert_eq!(
            Layout::new("").copy(&UnitId::parse("network/prod.tfstate").unwrap()),
            "network/prod.tfstate"
        );
    }

    #[test]
    fn the_name_after_the_reserved_ones_is_after_all_of_them_and_before_the_next() {
        let layout = Layout::new("p");
        let after = layout.after_reserved();
        assert!(after.as_str() > "p/__opentaco_versions/zzz");
        assert!(after.as_str() > "p/__opentaco_\u{10ffff}");
        assert!(after.as_str() < "p/__opentacoa");
        assert!(after.as_str() < "p/a");
    }

    #[test]
    fn a_listed_key_is_a_copy_a_lock_copy_or_nothing_of_a_unit() {
        let layout = Layout::new("p");
        let unit = UnitId::parse("a/b").unwrap();
        assert_eq!(
            layout.listed("p/a/b/terraform.tfstate"),
            Listed::Copy(unit.clone())
        );
        assert_eq!(
            layout.listed("p/a/b/terraform.tfstate.lock"),
            Listed::LockCopy(unit)
        );
        assert_eq!(layout.listed("p/a/b/terraform.tfstate.tflock"), Listed::Other);
        assert_eq!(layout.listed("p/readme.md"), Listed::Other);
        assert_eq!(layout.listed("p/__opentaco_units/a/b/@head.json"), Listed::Other);
    }
}
