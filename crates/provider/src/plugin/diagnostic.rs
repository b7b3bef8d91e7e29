//! What is told to people, and which attribute of theirs it is about.

use super::proto::tfplugin6 as wire;

/// A step from a value to a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into an object.
    Attribute(String),
    /// Into a map.
    Key(String),
    /// Into a list.
    Index(usize),
}

/// Which attribute, from the top of the block.
pub type Path = Vec<Step>;

/// The path to an attribute at the top.
#[must_use]
pub fn attribute(name: &str) -> Path {
    vec![Step::Attribute(name.to_owned())]
}

/// Something that went wrong, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What, in a line.
    pub summary: String,
    /// Why, and what to try.
    pub detail: String,
    /// What it is about; empty if about no attribute in particular.
    pub path: Path,
}

impl Diagnostic {
    /// An error with its reason.
    #[must_use]
    pub fn new(summary: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            summary: summary.into(),
            detail: detail.into(),
            path: Path::new(),
        }
    }

    /// The same, about this attribute at the top.
    #[must_use]
    pub fn about(self, name: &str) -> Self {
        self.at(attribute(name))
    }

    /// The same, about what lies there.
    #[must_use]
    pub fn at(self, path: Path) -> Self {
        Self { path, ..self }
    }
}

impl From<Diagnostic> for wire::Diagnostic {
    fn from(diagnostic: Diagnostic) -> Self {
        let path = to_wire(diagnostic.path);
        Self {
            severity: wire::diagnostic::Severity::Error.into(),
            summary: diagnostic.summary,
            detail: diagnostic.detail,
            attribute: Some(path).filter(|path| !path.steps.is_empty()),
        }
    }
}

/// A path as it goes over the wire.
#[must_use]
pub fn to_wire(path: Path) -> wire::AttributePath {
    use wire::attribute_path::step::Selector;
    let steps = path.into_iter().map(|step| wire::attribute_path::Step {
        selector: Some(match step {
            Step::Attribute(name) => Selector::AttributeName(name),
            Step::Key(key) => Selector::ElementKeyString(key),
            Step::Index(number) => Selector::ElementKeyInt(i64::try_from(number).unwrap_or(i64::MAX)),
        }),
    });
    wire::AttributePath {
        steps: steps.collect(),
    }
}
