//! What can be looked at: one file for each kind of data source, with its schema and its verb.

use std::collections::BTreeMap;

use opentaco_domain::UnitId;
use opentaco_sdk::Client;

use crate::plugin::diagnostic::Diagnostic;
use crate::plugin::object::Object;
use crate::plugin::provider::DataSource;
use crate::plugin::schema::{Attribute, Check};
use crate::resources::unit::{is_unit_id, unit_id};

pub mod outputs;
pub mod unit;
pub mod unit_status;
pub mod units;

/// All of them, by their type.
#[must_use]
pub fn all() -> BTreeMap<&'static str, Box<dyn DataSource<Client>>> {
    BTreeMap::from([
        (unit::TYPE, Box::new(unit::Unit) as Box<dyn DataSource<Client>>),
        (units::TYPE, Box::new(units::Units)),
        (outputs::TYPE, Box::new(outputs::Outputs)),
        (unit_status::TYPE, Box::new(unit_status::UnitStatus)),
    ])
}

/// The unit that is looked at.
fn of_unit(name: &'static str) -> Attribute {
    Attribute::text(name, "Which unit, such as `myapp/prod`.").checked(Check::Text(is_unit_id))
}

fn asked(configured: &Object, name: &'static str) -> Result<UnitId, Diagnostic> {
    unit_id(configured.text_or_empty(name), name)
}
