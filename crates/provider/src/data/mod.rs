//! What can be looked at: one file for each kind of data source.

use std::collections::BTreeMap;

use opentaco_sdk::Client;

use crate::plugin::provider::DataSource;

/// All of them, by their type.
#[must_use]
pub fn all() -> BTreeMap<&'static str, Box<dyn DataSource<Client>>> {
    BTreeMap::from([])
}
