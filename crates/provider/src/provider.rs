//! The provider: how it is configured, and what it has.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use opentaco_sdk::client::Builder;
use opentaco_sdk::stored::{Credentials, LoggedIn};
use opentaco_sdk::{Client, SdkError, Server, StaticToken, Token};

use crate::plugin::diagnostic::Diagnostic;
use crate::plugin::object::Object;
use crate::plugin::provider::{DataSource, Provider, Resource};
use crate::plugin::schema::{Attribute, Check, Giver, Schema};
use crate::plugin::value::Value;
use crate::{data, failure, resources};

/// What the provider is known by: to Terraform, and to OpenTofu.
pub const ADDRESSES: [&str; 2] = [
    "registry.terraform.io/digger/opentaco",
    "registry.opentofu.org/digger/opentaco",
];

/// Where the service is if nobody says where.
const ENDPOINT: &str = "http://localhost:8080";

/// Looks up a variable of the environment.
type Lookup = dyn Fn(&str) -> Option<OsString> + Send + Sync;

/// The provider.
pub struct OpenTaco {
    variable: Box<Lookup>,
}

impl fmt::Debug for OpenTaco {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OpenTaco")
    }
}

impl OpenTaco {
    /// The provider, which looks up in the environment what its configuration leaves out. A variable that is empty says
    /// nothing.
    #[must_use]
    pub fn of_environment() -> Self {
        Self::with(|name| env::var_os(name).filter(|value| !value.is_empty()))
    }

    /// The provider, with this environment.
    #[must_use]
    pub fn with(variable: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Self {
        Self {
            variable: Box::new(variable),
        }
    }

    /// A setting: from the configuration, or else from its variable, with where it comes from.
    fn setting(
        &self,
        configured: &Object,
        name: &'static str,
        variable: &'static str,
    ) -> Result<Option<Setting>, Diagnostic> {
        match configured.get(name) {
            Value::Text(text) => Ok(Some(Setting {
                text: text.clone(),
                name,
                source: format!("`{name}` in the provider block"),
            })),
            Value::Unknown => Err(Diagnostic::new(
                format!("The provider needs `{name}`, which is not known yet"),
                format!(
                    "It comes from something that is only known after apply, and everything that the provider does is \
                     asked of the service before. Apply what it comes from first, with -target; or take `{name}` out of the \
                     provider block, which goes before the environment, and set {variable}."
                ),
            )
            .about(name)),
            _ => Ok((self.variable)(variable).map(|value| Setting {
                text: value.to_string_lossy().into_owned(),
                name,
                source: variable.to_owned(),
            })),
        }
    }

    fn connect(&self, configured: &Object) -> Result<Client, Diagnostic> {
        let endpoint = self.setting(configured, "endpoint", "OPENTACO_ENDPOINT")?;
        let token = self.setting(configured, "token", "OPENTACO_TOKEN")?;
        let ca_file = self.setting(configured, "ca_file", "OPENTACO_CA_FILE")?;
        let server = match &endpoint {
            Some(setting) => Server::parse(&setting.text).map_err(|error| setting.unusable(&error))?,
            None => Server::parse(ENDPOINT).expect("it is an address"),
        };
        let token = token
            .map(|setting| Token::parse(&setting.text).map_err(|error| setting.unusable(&error)))
            .transpose()?;
        let trusted = ca_file
            .as_ref()
            .map(|setting| {
                std::fs::read(PathBuf::from(&setting.text)).map_err(|error| setting.unusable(&error))
            })
            .transpose()?;
        let client = || {
            let agent = concat!("terraform-provider-opentaco/", env!("CARGO_PKG_VERSION"));
            let builder = Client::builder(server.clone()).agent(agent);
            match &trusted {
                Some(pem) => builder.trust(pem.clone()),
                None => builder,
            }
        };
        let built = |builder: Builder| {
            builder.build().map_err(|error: SdkError| {
                let diagnostic = failure::refused("make a client of the service", &error);
                match &ca_file {
                    Some(setting) => diagnostic.about(setting.name),
                    None => diagnostic,
                }
            })
        };
        match (token, Credentials::found(&self.variable)) {
            (Some(token), _) => built(client().tokens(StaticToken::new(&server, token))),
            (None, Some(credentials)) => {
                let nobody = built(client())?;
                built(client().tokens(LoggedIn::new(credentials, nobody)))
            }
            (None, None) => built(client()),
        }
    }
}

/// What was set, and where.
struct Setting {
    text: String,
    name: &'static str,
    source: String,
}

impl Setting {
    fn unusable(&self, error: &dyn std::error::Error) -> Diagnostic {
        Diagnostic::new(format!("{} cannot be used", self.source), error.to_string()).about(self.name)
    }
}

impl Provider for OpenTaco {
    type Client = Client;

    fn schema(&self) -> Schema {
        Schema {
            about: "Units, dependencies between them, and who may do what in OpenTaco, as resources of Terraform and \
                    OpenTofu.",
            example: PROVIDER,
            attributes: vec![
                Attribute::text(
                    "endpoint",
                    "Where the service is; `OPENTACO_ENDPOINT` says it, too. Defaults to `http://localhost:8080`.",
                )
                .by(Giver::Anybody)
                .checked(Check::Text(is_address)),
                Attribute::text(
                    "token",
                    "What proves who is asking; better kept in `OPENTACO_TOKEN`. Without one the provider asks as whoever \
                     is logged in there with `taco login`, and goes on with that login as `taco` does.",
                )
                .by(Giver::Anybody)
                .secret()
                .checked(Check::Text(is_token)),
                Attribute::text(
                    "ca_file",
                    "A file of certificates in PEM, to trust beside the system's; `OPENTACO_CA_FILE` says it, too.",
                )
                .by(Giver::Anybody),
            ],
        }
    }

    fn resources(&self) -> BTreeMap<&'static str, Box<dyn Resource<Client>>> {
        resources::all()
    }

    fn data_sources(&self) -> BTreeMap<&'static str, Box<dyn DataSource<Client>>> {
        data::all()
    }

    fn configure(&self, configured: &Object) -> Result<Client, Diagnostic> {
        self.connect(configured)
    }
}

fn is_address(text: &str) -> Result<(), String> {
    Server::parse(text).map(drop).map_err(|error| error.to_string())
}

fn is_token(text: &str) -> Result<(), String> {
    Token::parse(text).map(drop).map_err(|error| error.to_string())
}

const PROVIDER: &str = r#"terraform {
  required_providers {
    opentaco = {
      source = "digger/opentaco"
    }
  }
}

provider "opentaco" {
  endpoint = "https://taco.example.com"
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(
        attributes: [(&str, Value); 1],
        environment: &'static [(&str, &str)],
    ) -> Result<Client, Diagnostic> {
        let provider = OpenTaco::with(|name| {
            let set = environment.iter().find(|(set, _)| *set == name);
            set.map(|(_, value)| (*value).into())
        });
        provider.configure(&Object::of(attributes))
    }

    fn server(attributes: [(&str, Value); 1], environment: &'static [(&str, &str)]) -> String {
        configured(attributes, environment).unwrap().server().to_string()
    }

    #[test]
    fn the_configuration_comes_before_the_environment_and_that_before_the_default() {
        let environment = &[("OPENTACO_ENDPOINT", "http://localhost:1")];
        assert_eq!(
            server([("endpoint", "http://localhost:2".into())], environment),
            "http://localhost:2"
        );
        assert_eq!(
            server([("endpoint", Value::Null)], environment),
            "http://localhost:1"
        );
        assert_eq!(server([("endpoint", Value::Null)], &[]), ENDPOINT);
    }

    #[test]
    fn what_is_not_known_yet_is_told_with_its_attribute() {
        for name in ["endpoint", "token", "ca_file"] {
            let error = configured([(name, Value::Unknown)], &[]).unwrap_err();
            assert_eq!(error.path, crate::plugin::diagnostic::attribute(name));
            assert!(error.summary.contains("not known yet"), "{error:?}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_told_with_where_it_was_set_and_no_token_is_shown() {
        let error =
            configured([("endpoint", Value::Null)], &[("OPENTACO_ENDPOINT", "localhost")]).unwrap_err();
        assert_eq!(error.summary, "OPENTACO_ENDPOINT cannot be used");
        let error = configured([("token", "se cret".into())], &[]).unwrap_err();
        assert!(!format!("{error:?}").contains("se cret"), "{error:?}");
        let error = configured([("ca_file", "/nowhere/ca.pem".into())], &[]).unwrap_err();
        assert_eq!(error.summary, "`ca_file` in the provider block cannot be used");
    }
}
