//! `taco adopt`: what the service finds in its bucket, and what to paste to use it.

use opentaco_sdk::units::ListUnits;
use serde_json::json;

use super::backend::address;
use super::list::locked;
use crate::args;
use crate::context::Context;
use crate::error::Failure;
use crate::output::{Cell, Table};

pub(super) async fn run(context: &Context, args: args::Adopt) -> Result<(), Failure> {
    let wanted = ListUnits {
        prefix: args.prefix,
        ..ListUnits::default()
    };
    let found = context.client()?.list_units(&wanted).await?;
    if context.output.is_json() {
        let units: Vec<_> = found
            .units
            .iter()
            .map(|unit| {
                json!({
                    "id": unit.id,
                    "key": unit.id.state_key(),
                    "size": unit.size,
                    "updated": unit.updated,
                    "locked": unit.locked,
                    "address": address(&context.server, &unit.id),
                })
            })
            .collect();
        return context
            .output
            .json(&json!({"count": units.len(), "units": units}));
    }
    if found.units.is_empty() {
        context.output.note("no states");
        context
            .output
            .hint("a state is an object whose name ends in `.tfstate`, below the prefix of the service");
        return Ok(());
    }
    let mut table = Table::new(&["UNIT", "SIZE", "UPDATED", "LOCK", "ADDRESS"]);
    for unit in &found.units {
        table.row(vec![
            Cell::text(unit.id.as_str()),
            context.output.size(unit.size),
            context.output.time(Some(unit.updated)),
            locked(unit),
            Cell::text(address(&context.server, &unit.id)),
        ]);
    }
    context.output.table(&table)?;
    context
        .output
        .hint("nothing is to be imported; `taco unit backend UNIT` prints the block to paste");
    Ok(())
}
