//! Which values of a state are not shown.
//!
//! A state says of each instance which attributes are sensitive. Clients before Terraform 1.10 say it only of values
//! that came from a sensitive variable, and not of attributes that the provider calls sensitive; so an attribute whose
//! name speaks of a secret counts as one, too, and so does what lies under such a name within an attribute.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// What is part of the names of secrets.
const WORDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "private",
    "credential",
    "api_key",
    "apikey",
    "access_key",
    "connection_string",
    "kubeconfig",
    "client_key",
    "user_data",
    "certificate_pem",
    "sas_url",
];

/// The sensitive attributes of one instance.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    all: bool,
    names: Vec<String>,
}

impl Secrets {
    /// Reads the paths that an instance lists under `sensitive_attributes`.
    ///
    /// A path into an attribute masks all of the attribute; a path that is not understood masks everything.
    pub(super) fn read(paths: Option<&RawValue>) -> Self {
        #[derive(Deserialize)]
        struct Step {
            #[serde(rename = "type")]
            kind: String,
            value: Value,
        }
        let Some(paths) = paths.filter(|paths| paths.get() != "null") else {
            return Self::default();
        };
        let all = Self {
            all: true,
            names: Vec::new(),
        };
        let Ok(paths) = serde_json::from_str::<Vec<Vec<Step>>>(paths.get()) else {
            return all;
        };
        let mut names = Vec::new();
        for path in paths {
            match path.first() {
                Some(Step {
                    kind,
                    value: Value::String(name),
                }) if kind == "get_attr" => names.push(name.clone()),
                _ => return all,
            }
        }
        Self { all: false, names }
    }

    /// Whether an attribute is one.
    pub(super) fn has(&self, attribute: &str) -> bool {
        self.all || self.names.iter().any(|name| name == attribute) || speaks_of_a_secret(attribute)
    }
}

/// What stands in the place of a secret that is a part of something else.
const MASKED: &str = "(sensitive)";

/// Masks what lies in a value under a name that secrets have; also in a list of names and values, as containers have
/// them for their environment.
pub(super) fn mask(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(members) => {
            let named = ["name", "key"]
                .iter()
                .filter_map(|name| members.get(*name)?.as_str());
            let names_a_secret = named.into_iter().any(speaks_of_a_secret);
            for (name, value) in members {
                let is_secret = speaks_of_a_secret(name) || names_a_secret && name == "value";
                match value {
                    Value::Null | Value::Bool(_) => {}
                    value if is_secret => *value = MASKED.into(),
                    value => mask(value),
                }
            }
        }
        _ => {}
    }
}

/// Whether a name is one that secrets have.
pub(super) fn speaks_of_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}
