//! Which values of a state are not shown.
//!
//! A state says of each instance which attributes are sensitive. Clients before Terraform 1.10 say it only of values
//! that came from a sensitive variable, and not of attributes that the provider calls sensitive; so an attribute whose
//! name speaks of a secret counts as one, too.

use serde::Deserialize;
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
            value: serde_json::Value,
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
                    value: serde_json::Value::String(name),
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

/// Whether a name is one that secrets have.
pub(super) fn speaks_of_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}
