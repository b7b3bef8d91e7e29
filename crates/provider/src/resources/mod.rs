//! What can be managed: one file for each kind of resource, with its schema and its verbs.

use std::collections::BTreeMap;

use opentaco_domain::access::Name;
use opentaco_domain::access::document::NameError;
use opentaco_sdk::Client;

use crate::plugin::diagnostic::Diagnostic;
use crate::plugin::provider::Resource;

pub mod dependency;
pub mod permission;
pub mod role;
pub mod role_assignment;
pub mod service_account;
pub mod unit;

/// All of them, by their type.
#[must_use]
pub fn all() -> BTreeMap<&'static str, Box<dyn Resource<Client>>> {
    BTreeMap::from([
        (unit::TYPE, Box::new(unit::Unit) as Box<dyn Resource<Client>>),
        (dependency::TYPE, Box::new(dependency::Dependency)),
        (role::TYPE, Box::new(role::Role)),
        (permission::TYPE, Box::new(permission::Permission)),
        (role_assignment::TYPE, Box::new(role_assignment::RoleAssignment)),
        (service_account::TYPE, Box::new(service_account::ServiceAccount)),
    ])
}

/// A name that was checked before, or is read of a state.
fn name(text: &str, attribute: &str) -> Result<Name, Diagnostic> {
    text.parse().map_err(|error: NameError| {
        Diagnostic::new(format!("`{text}` is no name"), error.to_string()).about(attribute)
    })
}

fn is_name(text: &str) -> Result<(), String> {
    text.parse::<Name>().map(drop).map_err(|error| error.to_string())
}
