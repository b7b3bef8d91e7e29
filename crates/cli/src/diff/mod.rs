//! What changed between two states: resources and outputs, by name, with secrets masked.
//!
//! States are read as streams and never held as a whole. The first reading keeps 16 bytes for each resource instance
//! (`digest`); the second keeps the text of those whose digests differ, and of nothing else (`compare`).

mod compare;
mod digest;
mod reader;
mod secrets;
mod tree;

use std::fs::File;
use std::io::{self, Seek as _};

use serde::Serialize;

use crate::error::{Failure, Kind};

/// A state that can be read more than once, and what it is called.
#[derive(Debug)]
pub struct Side {
    /// For people, as in "version 29-7".
    pub name: String,
    /// Its bytes; none where there is no state.
    pub file: Option<File>,
}

/// What became of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is new.
    Added,
    /// It is another.
    Changed,
    /// It is gone.
    Removed,
}

/// Two states beside each other.
#[derive(Debug, Serialize)]
pub struct StateDiff {
    /// What is compared, for people.
    pub from: String,
    /// With what.
    pub to: String,
    /// Whether nothing that is shown here differs.
    pub same: bool,
    /// Serial, lineage, client: where they differ.
    pub state: Vec<Field>,
    /// Resource instances, by address.
    pub resources: Vec<Resource>,
    /// Outputs, by name.
    pub outputs: Vec<Field>,
}

/// A resource instance that differs.
#[derive(Debug, PartialEq, Serialize)]
pub struct Resource {
    /// As `terraform state list` names it.
    pub address: String,
    /// What became of it.
    pub change: Change,
    /// Its attributes that differ, by name; none for one that is new or gone.
    pub attributes: Vec<Field>,
}

/// A value that differs.
#[derive(Debug, PartialEq, Serialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub change: Change,
    /// Whether it is a secret; then its values are not told.
    pub sensitive: bool,
    /// What it was, if there was one and it may be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<serde_json::Value>,
    /// What it is, if there is one and it may be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<serde_json::Value>,
}

/// Compares two states.
///
/// # Errors
/// If one of them cannot be read, is no state, or is one whose content is sealed.
pub fn diff(mut from: Side, mut to: Side) -> Result<StateDiff, Failure> {
    let before = sketch(&mut from)?;
    let after = sketch(&mut to)?;
    let differing = digest::differing(&before, &after);
    let old = details(&mut from, &differing.before)?;
    let new = details(&mut to, &differing.after)?;
    let resources = compare::resources(&differing.addresses, &old, &new);
    let outputs = compare::outputs(&before.outputs, &after.outputs);
    let state = compare::summaries(&before, &after);
    Ok(StateDiff {
        same: resources.is_empty() && outputs.is_empty() && state.is_empty(),
        from: from.name,
        to: to.name,
        state,
        resources,
        outputs,
    })
}

fn sketch(side: &mut Side) -> Result<digest::Sketch, Failure> {
    let mut sketch = digest::Sketch::default();
    read(side, &mut sketch)?;
    match sketch.format {
        _ if sketch.encrypted => Err(Failure::new(
            Kind::Failure,
            format!(
                "the state of {} is encrypted: what is in it cannot be compared",
                side.name
            ),
        )
        .hint("`tofu show` reads it, with the key")),
        Some(format) if format < 4 => Err(Failure::new(
            Kind::Failure,
            format!(
                "{} has a state of format {format}, and only 4 can be compared",
                side.name
            ),
        )
        .hint("it was written by Terraform 0.11 or older; any apply of a newer one upgrades it")),
        _ => Ok(sketch),
    }
}

fn details<'a>(side: &mut Side, wanted: &'a digest::Digests) -> Result<compare::Details<'a>, Failure> {
    let mut details = compare::Details::of(wanted);
    if !wanted.is_empty() {
        read(side, &mut details)?;
    }
    Ok(details)
}

fn read(side: &mut Side, see: &mut impl reader::See) -> Result<(), Failure> {
    let Some(file) = &mut side.file else { return Ok(()) };
    let cannot = |error: &dyn std::error::Error| {
        Failure::new(Kind::Failure, format!("{} cannot be read", side.name)).because(error)
    };
    file.rewind().map_err(|error| cannot(&error))?;
    // An empty copy in the bucket is no state, and an empty file is the same.
    if file.metadata().map_err(|error| cannot(&error))?.len() == 0 {
        return Ok(());
    }
    let buffered = io::BufReader::with_capacity(256 * 1024, file);
    reader::read(buffered, see).map_err(|error| match error.is_io() {
        true => cannot(&error),
        // Where, and never what: a state holds secrets.
        false => Failure::new(
            Kind::Failure,
            format!(
                "{} is no state that can be compared: it reads oddly at line {}, column {}",
                side.name,
                error.line(),
                error.column()
            ),
        ),
    })
}

#[cfg(test)]
mod tests;
