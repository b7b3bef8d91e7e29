//! What may be said of a resource, and what is to be found out about it: told to Terraform, checked, and made into pages.

use std::collections::BTreeMap;

use super::diagnostic::{self, Diagnostic, Path, Step};
use super::object::Object;
use super::proto::tfplugin6 as wire;
use super::types::Type;
use super::value::Value;

/// The attributes of a resource, a data source or the provider.
#[derive(Debug)]
pub struct Schema {
    /// What it is, in Markdown.
    pub about: &'static str,
    /// A configuration that shows it.
    pub example: &'static str,
    /// Its attributes, in the order in which they are told.
    pub attributes: Vec<Attribute>,
}

/// An attribute.
#[derive(Debug)]
pub struct Attribute {
    /// Its name.
    pub name: &'static str,
    /// What it says, in Markdown.
    pub about: &'static str,
    /// What it can be.
    pub kind: Kind,
    /// Who gives it.
    pub giver: Giver,
    /// Whether it is kept from being shown.
    pub sensitive: bool,
    /// Whether another value makes another resource.
    pub replaces: bool,
    checks: Vec<Check>,
}

/// What an attribute can be.
#[derive(Debug)]
pub enum Kind {
    /// A value of this type.
    Plain(Type),
    /// Objects in a list, with attributes of their own.
    List(Vec<Attribute>),
    /// One object, with attributes of its own.
    Single(Vec<Attribute>),
}

/// Who gives the value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Giver {
    /// The configuration.
    Configuration,
    /// The configuration, or nobody.
    Anybody,
    /// The configuration, or else it is this.
    Default(Value),
    /// The configuration, or else it follows from other attributes.
    ConfigurationOrOthers,
    /// It follows from other attributes.
    Others,
    /// The service. It may be another one whenever something was changed.
    Service,
    /// The service, once and for all.
    ServiceOnce,
}

/// What a value has to be beside of its type. A check that fails says why.
#[derive(Debug, Clone, Copy)]
pub enum Check {
    /// Every text in it.
    Text(fn(&str) -> Result<(), String>),
    /// Every name in it, if it is a map.
    Name(fn(&str) -> Result<(), String>),
    /// How many elements it has.
    Count(fn(usize) -> Result<(), String>),
}

impl Attribute {
    /// A text that has to be given.
    #[must_use]
    pub fn text(name: &'static str, about: &'static str) -> Self {
        Self::new(name, Kind::Plain(Type::Text), about)
    }

    /// An attribute that has to be given.
    #[must_use]
    pub fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self {
            name,
            about,
            kind,
            giver: Giver::Configuration,
            sensitive: false,
            replaces: false,
            checks: Vec::new(),
        }
    }

    /// An attribute of this type that has to be given.
    #[must_use]
    pub fn of(name: &'static str, kind: Type, about: &'static str) -> Self {
        Self::new(name, Kind::Plain(kind), about)
    }

    /// The same, given by somebody else.
    #[must_use]
    pub fn by(self, giver: Giver) -> Self {
        Self { giver, ..self }
    }

    /// The same, which the service tells.
    #[must_use]
    pub fn told(self) -> Self {
        self.by(Giver::Service)
    }

    /// The same, whose change makes another resource.
    #[must_use]
    pub fn replacing(self) -> Self {
        Self {
            replaces: true,
            ..self
        }
    }

    /// The same, not to be shown.
    #[must_use]
    pub fn secret(self) -> Self {
        Self {
            sensitive: true,
            ..self
        }
    }

    /// The same, which has to be more than of its type.
    #[must_use]
    pub fn checked(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// Its type.
    #[must_use]
    pub fn value_type(&self) -> Type {
        match &self.kind {
            Kind::Plain(kind) => kind.clone(),
            Kind::List(attributes) => Type::List(Box::new(object(attributes))),
            Kind::Single(attributes) => object(attributes),
        }
    }

    fn to_wire(&self) -> wire::schema::Attribute {
        use wire::schema::object::NestingMode;
        let nested = |attributes: &[Self], nesting: NestingMode| wire::schema::Object {
            attributes: attributes.iter().map(Self::to_wire).collect(),
            nesting: nesting.into(),
        };
        let (kind, nested_type) = match &self.kind {
            Kind::Plain(kind) => (kind.to_bytes(), None),
            Kind::List(attributes) => (Vec::new(), Some(nested(attributes, NestingMode::List))),
            Kind::Single(attributes) => (Vec::new(), Some(nested(attributes, NestingMode::Single))),
        };
        wire::schema::Attribute {
            name: self.name.to_owned(),
            r#type: kind,
            nested_type,
            description: self.about.to_owned(),
            description_kind: wire::StringKind::Markdown.into(),
            required: self.giver == Giver::Configuration,
            optional: self.giver.may_be_configured() && self.giver != Giver::Configuration,
            computed: !matches!(self.giver, Giver::Configuration | Giver::Anybody),
            sensitive: self.sensitive,
        }
    }

    fn faults(&self, value: &Value, path: &Path, found: &mut Vec<Diagnostic>) {
        for check in &self.checks {
            check.faults(self.name, value, path, found);
        }
        // No element of what is configured here can be left open, and the service would not keep one.
        let mut tell_of_null = |path: Path| {
            let why = format!("An element of `{}` cannot be null.", self.name);
            found.push(Diagnostic::new(format!("This is not possible as `{}`", self.name), why).at(path));
        };
        match (&self.kind, value) {
            (Kind::Plain(Type::List(_) | Type::Set(_)), Value::List(elements))
                if elements.contains(&Value::Null) =>
            {
                tell_of_null(path.clone());
            }
            (Kind::Plain(Type::Map(_)), Value::Map(elements)) => {
                let nulls = elements.iter().filter(|(_, value)| **value == Value::Null);
                nulls.for_each(|(key, _)| tell_of_null(joined(path, Step::Key(key.clone()))));
            }
            _ => {}
        }
        match (&self.kind, value) {
            (Kind::List(attributes), Value::List(elements)) => {
                for (number, element) in elements.iter().enumerate() {
                    faults_in(attributes, element, &joined(path, Step::Index(number)), found);
                }
            }
            (Kind::Single(attributes), value) => faults_in(attributes, value, path, found),
            _ => {}
        }
    }

    /// Puts defaults in the place of what the configuration leaves out.
    fn complete(&self, configured: &Value, planned: &mut Value) {
        if let (Giver::Default(default), Value::Null) = (&self.giver, configured) {
            planned.clone_from(default);
        }
        if let (Giver::ConfigurationOrOthers, Value::Null) = (&self.giver, configured) {
            *planned = Value::Null;
        }
        if let (Kind::List(attributes), Value::List(configured), Value::List(planned)) =
            (&self.kind, configured, planned)
        {
            for (configured, planned) in configured.iter().zip(planned) {
                let (Value::Map(configured), Value::Map(planned)) = (configured, planned) else {
                    continue;
                };
                for attribute in attributes {
                    let configured = configured.get(attribute.name).unwrap_or(&Value::Null);
                    let planned = planned.entry(attribute.name.to_owned()).or_insert(Value::Null);
                    attribute.complete(configured, planned);
                }
            }
        }
    }
}

impl Giver {
    /// Whether a configuration may say it.
    #[must_use]
    pub fn may_be_configured(&self) -> bool {
        match self {
            Self::Configuration | Self::Anybody | Self::Default(_) | Self::ConfigurationOrOthers => true,
            Self::Others | Self::Service | Self::ServiceOnce => false,
        }
    }
}

impl Check {
    fn faults(self, name: &str, value: &Value, path: &Path, found: &mut Vec<Diagnostic>) {
        let mut tell = |refused: Result<(), String>, path: Path| {
            if let Err(why) = refused {
                found.push(Diagnostic::new(format!("This is not possible as `{name}`"), why).at(path));
            }
        };
        match (self, value) {
            (Self::Text(check), Value::Text(text)) => tell(check(text), path.clone()),
            // The elements of a set have no address, so the set is named.
            (Self::Text(check), Value::List(elements)) => {
                for text in elements.iter().filter_map(Value::as_text) {
                    tell(check(text), path.clone());
                }
            }
            (Self::Text(check), Value::Map(elements)) => {
                for (key, value) in elements {
                    if let Some(text) = value.as_text() {
                        tell(check(text), joined(path, Step::Key(key.clone())));
                    }
                }
            }
            (Self::Name(check), Value::Map(elements)) => {
                for key in elements.keys() {
                    tell(check(key), joined(path, Step::Key(key.clone())));
                }
            }
            (Self::Count(check), Value::List(elements)) => tell(check(elements.len()), path.clone()),
            (Self::Count(check), Value::Map(elements)) => tell(check(elements.len()), path.clone()),
            _ => {}
        }
    }
}

impl Schema {
    /// The type of an object with these attributes.
    #[must_use]
    pub fn value_type(&self) -> Type {
        object(&self.attributes)
    }

    /// As it goes over the wire.
    #[must_use]
    pub fn to_wire(&self) -> wire::Schema {
        wire::Schema {
            version: 0,
            block: Some(wire::schema::Block {
                version: 0,
                attributes: self.attributes.iter().map(Attribute::to_wire).collect(),
                description: self.about.to_owned(),
                description_kind: wire::StringKind::Markdown.into(),
            }),
        }
    }

    /// What is wrong with a configuration. What is not known yet is not wrong.
    #[must_use]
    pub fn faults(&self, configured: &Object) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for attribute in &self.attributes {
            let path = diagnostic::attribute(attribute.name);
            attribute.faults(configured.get(attribute.name), &path, &mut found);
        }
        found
    }

    /// Puts defaults in the place of what the configuration leaves out.
    pub fn complete(&self, configured: &Object, planned: &mut Object) {
        for attribute in &self.attributes {
            attribute.complete(configured.get(attribute.name), planned.get_mut(attribute.name));
        }
    }
}

fn object(attributes: &[Attribute]) -> Type {
    Type::Object(
        attributes
            .iter()
            .map(|attribute| (attribute.name.to_owned(), attribute.value_type()))
            .collect::<BTreeMap<_, _>>(),
    )
}

fn joined(path: &Path, step: Step) -> Path {
    path.iter().cloned().chain([step]).collect()
}

fn faults_in(attributes: &[Attribute], value: &Value, path: &Path, found: &mut Vec<Diagnostic>) {
    let Value::Map(values) = value else {
        return;
    };
    for attribute in attributes {
        if let Some(value) = values.get(attribute.name) {
            let path = joined(path, Step::Attribute(attribute.name.to_owned()));
            attribute.faults(value, &path, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_spaces(text: &str) -> Result<(), String> {
        match text.contains(' ') {
            true => Err(format!("`{text}` has a space")),
            false => Ok(()),
        }
    }

    fn schema() -> Schema {
        Schema {
            about: "A *thing*.",
            example: "",
            attributes: vec![
                Attribute::text("id", "What it is known by.")
                    .replacing()
                    .checked(Check::Text(no_spaces)),
                Attribute::of("labels", Type::text_map(), "Labels.")
                    .by(Giver::Default(Value::Map(BTreeMap::new())))
                    .checked(Check::Name(no_spaces))
                    .checked(Check::Text(no_spaces)),
                Attribute::new(
                    "rules",
                    Kind::List(vec![
                        Attribute::text("effect", "Which.").by(Giver::Default("allow".into())),
                        Attribute::of("units", Type::text_set(), "Where.").checked(Check::Text(no_spaces)),
                    ]),
                    "Rules.",
                )
                .by(Giver::Anybody),
                Attribute::text("secret", "What nobody sees.").secret().told(),
            ],
        }
    }

    #[test]
    fn terraform_is_told_who_gives_what() {
        let told = schema().to_wire().block.unwrap();
        let flags: Vec<_> = told
            .attributes
            .iter()
            .map(|attribute| {
                let wire::schema::Attribute {
                    required,
                    optional,
                    computed,
                    sensitive,
                    ..
                } = attribute;
                (
                    attribute.name.as_str(),
                    [*required, *optional, *computed, *sensitive],
                )
            })
            .collect();
        assert_eq!(
            flags,
            [
                ("id", [true, false, false, false]),
                ("labels", [false, true, true, false]),
                ("rules", [false, true, false, false]),
                ("secret", [false, false, true, true]),
            ]
        );
        assert_eq!(told.attributes[1].r#type, br#"["map","string"]"#);
        let rules = told.attributes[2].nested_type.as_ref().unwrap();
        assert_eq!(rules.nesting(), wire::schema::object::NestingMode::List);
        assert!(told.attributes[2].r#type.is_empty());
        assert_eq!(rules.attributes[1].r#type, br#"["set","string"]"#);
    }

    #[test]
    fn a_fault_is_told_with_its_place_and_what_is_unknown_has_none() {
        let rule = Object::of([("units", ["a b"].into_iter().collect())]).into_value();
        let configured = Object::of([
            ("id", "a b".into()),
            (
                "labels",
                Value::Map(
                    [
                        ("k k".to_owned(), "v".into()),
                        ("l".to_owned(), "v v".into()),
                        ("n".to_owned(), Value::Null),
                    ]
                    .into(),
                ),
            ),
            ("rules", Value::List(vec![Value::Unknown, rule])),
        ]);
        let paths: Vec<_> = schema()
            .faults(&configured)
            .into_iter()
            .map(|fault| fault.path)
            .collect();
        let at = |name: &str, steps: &[Step]| [diagnostic::attribute(name), steps.to_vec()].concat();
        assert_eq!(
            paths,
            [
                at("id", &[]),
                at("labels", &[Step::Key("k k".to_owned())]),
                at("labels", &[Step::Key("l".to_owned())]),
                at("labels", &[Step::Key("n".to_owned())]),
                at("rules", &[Step::Index(1), Step::Attribute("units".to_owned())]),
            ]
        );
        let unknown = Object::of([
            ("id", Value::Unknown),
            ("labels", Value::Unknown),
            ("rules", Value::Unknown),
        ]);
        assert_eq!(schema().faults(&unknown), []);
    }

    #[test]
    fn defaults_are_put_where_the_configuration_says_nothing_within_lists_too() {
        let rule = |effect: Value| Object::of([("effect", effect), ("units", Value::Null)]).into_value();
        let configured = Object::of([
            ("labels", Value::Null),
            ("rules", Value::List(vec![rule(Value::Null), rule("deny".into())])),
        ]);
        let before = Value::Map([("old".to_owned(), "1".into())].into());
        let mut planned = configured.clone();
        planned.set("labels", before);
        schema().complete(&configured, &mut planned);
        assert_eq!(*planned.get("labels"), Value::Map(BTreeMap::new()));
        assert_eq!(
            *planned.get("rules"),
            Value::List(vec![rule("allow".into()), rule("deny".into())])
        );
    }
}
