//! The pages of the provider, made from its schemas, as the registries of Terraform and OpenTofu lay them out.

use std::fmt::Write as _;

use crate::plugin::provider::{ImportId, Provider as _};
use crate::plugin::schema::{Attribute, Giver, Kind, Schema};
use crate::plugin::types::Type;
use crate::provider::OpenTaco;

/// What stands before the name of every resource.
const PREFIX: &str = "opentaco_";

const GENERATED: &str = "<!-- generated from the schema: do not edit; run the tests of crates/provider with OPENTACO_UPDATE_DOCS=1 -->";

/// A page.
#[derive(Debug)]
pub struct Page {
    /// Where it lies below `docs/provider`.
    pub path: String,
    /// What stands there.
    pub text: String,
}

/// All pages.
#[must_use]
pub fn pages() -> Vec<Page> {
    let provider = OpenTaco::with(|_| None);
    let mut pages = vec![Page {
        path: "index.md".to_owned(),
        text: page("opentaco provider", "opentaco Provider", &provider.schema(), None),
    }];
    for (name, resource) in provider.resources() {
        let title = format!("{name} (Resource)");
        let import = Some((name, resource.import_id()));
        pages.push(Page {
            path: format!("resources/{}.md", short(name)),
            text: page(&title, &title, &resource.schema(), import),
        });
    }
    for (name, data) in provider.data_sources() {
        let title = format!("{name} (Data Source)");
        pages.push(Page {
            path: format!("data-sources/{}.md", short(name)),
            text: page(&title, &title, &data.schema(), None),
        });
    }
    pages
}

fn short(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

fn page(title: &str, heading: &str, schema: &Schema, import: Option<(&str, ImportId)>) -> String {
    let description = schema.about.lines().next().unwrap_or_default();
    let mut page = format!(
        "---\ntitle: \"{title}\"\npage_title: \"{title}\"\ndescription: |-\n  {description}\n---\n\n{GENERATED}\n\n\
         # {heading}\n\n{}\n\n## Example\n\n```terraform\n{}```\n\n## Attributes\n",
        schema.about, schema.example
    );
    describe(&mut page, &schema.attributes);
    for attribute in &schema.attributes {
        if let Kind::List(nested) | Kind::Single(nested) = &attribute.kind {
            let _ = write!(page, "\n<a id=\"nested-{0}\"></a>\n### `{0}`\n", attribute.name);
            describe(&mut page, nested);
        }
    }
    if let Some((name, ImportId { about, example })) = import {
        let label = short(name);
        let _ = write!(
            page,
            "\n## Import\n\nIt is imported by {about}:\n\n```shell\nterraform import {name}.{label} '{example}'\n```\n"
        );
    }
    page
}

fn describe(page: &mut String, attributes: &[Attribute]) {
    for (heading, belongs) in [
        ("Required", is_required as fn(&Giver) -> bool),
        ("Optional", is_optional),
        ("Read-only", is_told),
    ] {
        let mut found = attributes
            .iter()
            .filter(|attribute| belongs(&attribute.giver))
            .peekable();
        if found.peek().is_some() {
            let _ = write!(page, "\n{heading}:\n\n");
        }
        for attribute in found {
            let _ = writeln!(
                page,
                "- `{}` ({}) {}",
                attribute.name,
                notes(attribute),
                attribute.about
            );
        }
    }
}

fn is_required(giver: &Giver) -> bool {
    *giver == Giver::Configuration
}

fn is_optional(giver: &Giver) -> bool {
    giver.may_be_configured() && !is_required(giver)
}

fn is_told(giver: &Giver) -> bool {
    !giver.may_be_configured()
}

fn notes(attribute: &Attribute) -> String {
    let mut notes = match &attribute.kind {
        Kind::Plain(kind) => in_words(kind),
        Kind::List(_) => format!("List of [objects](#nested-{})", attribute.name),
        Kind::Single(_) => format!("[Object](#nested-{})", attribute.name),
    };
    if attribute.sensitive {
        notes.push_str(", sensitive");
    }
    if attribute.replaces {
        notes.push_str(", forces replacement");
    }
    notes
}

fn in_words(kind: &Type) -> String {
    match kind {
        Type::Bool => "Boolean".to_owned(),
        Type::Number => "Number".to_owned(),
        Type::Text => "String".to_owned(),
        Type::Dynamic => "Dynamic".to_owned(),
        Type::List(element) => format!("List of {}", in_words(element)),
        Type::Set(element) => format!("Set of {}", in_words(element)),
        Type::Map(element) => format!("Map of {}", in_words(element)),
        Type::Object(_) => "Object".to_owned(),
        Type::Tuple(_) => "Tuple".to_owned(),
    }
}
