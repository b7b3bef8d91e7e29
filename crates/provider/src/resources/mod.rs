//! What can be managed: one file for each kind of resource, with its schema and its verbs.

use std::collections::BTreeMap;

use opentaco_sdk::Client;

use crate::plugin::provider::Resource;

pub mod unit;

/// All of them, by their type.
#[must_use]
pub fn all() -> BTreeMap<&'static str, Box<dyn Resource<Client>>> {
    BTreeMap::from([(unit::TYPE, Box::new(unit::Unit) as Box<dyn Resource<Client>>)])
}
