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

/// Whether Terraform stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It does.
    Error,
    /// It tells, and goes on.
    Warning,
}

/// Something that went wrong, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it is in the way.
    pub severity: Severity,
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
            severity: Severity::Error,
            summary: summary.into(),
            detail: detail.into(),
            path: Path::new(),
        }
    }

    /// Something to know, with its reason.
    #[must_use]
    pub fn warning(summary: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::new(summary, detail)
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
        let Diagnostic {
            severity,
            summary,
            mut detail,
            mut path,
        } = diagnostic;
        // Terraform finds the line of an attribute at the top, and of an element in it. Of what lies deeper it would show
        // the whole block: then the place is told in words.
        if path.iter().skip(1).any(|step| matches!(step, Step::Attribute(_))) {
            detail = format!("In `{}`: {detail}", spelled(&path));
            path.truncate(1);
        }
        let path = to_wire(path);
        Self {
            severity: match severity {
                Severity::Error => wire::diagnostic::Severity::Error.into(),
                Severity::Warning => wire::diagnostic::Severity::Warning.into(),
            },
            summary,
            detail,
            attribute: Some(path).filter(|path| !path.steps.is_empty()),
        }
    }
}

/// As it is written in a configuration: `rules[0].actions`.
fn spelled(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Attribute(name) if text.is_empty() => text.push_str(name),
            Step::Attribute(name) => text = format!("{text}.{name}"),
            Step::Key(key) => text = format!("{text}[\"{key}\"]"),
            Step::Index(number) => text = format!("{text}[{number}]"),
        }
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_deeper_than_terraform_finds_is_told_in_words() {
        let told = |path: Path| wire::Diagnostic::from(Diagnostic::new("No", "why").at(path));
        let steps = |told: &wire::Diagnostic| told.attribute.as_ref().map(|path| path.steps.len());
        let label = told([attribute("labels"), vec![Step::Key("a".to_owned())]].concat());
        assert_eq!((steps(&label), label.detail.as_str()), (Some(2), "why"));
        let within = [Step::Index(1), Step::Attribute("actions".to_owned())];
        let rule = told([attribute("rules"), within.to_vec()].concat());
        assert_eq!(
            (steps(&rule), rule.detail.as_str()),
            (Some(1), "In `rules[1].actions`: why")
        );
        assert_eq!(steps(&told(Path::new())), None);
    }
}
