//! `taco unit ls`

use std::collections::BTreeMap;

use opentaco_sdk::api::UnitSummary;
use opentaco_sdk::units::ListUnits;

use crate::args;
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::output::{Cell, Table, WARN};

pub(super) async fn run(context: &Context, args: args::Ls) -> Result<(), Failure> {
    let wanted = ListUnits {
        prefix: args.prefix,
        labels: all_of(args.labels)?,
        limit: args.limit,
        page_token: None,
    };
    let page = context.client()?.list_units(&wanted).await?;
    if context.output.is_json() {
        return context.output.json(&page);
    }
    if page.units.is_empty() {
        context.output.note("no units");
        return Ok(());
    }
    let mut table = Table::new(&["UNIT", "SIZE", "UPDATED", "LOCK"]);
    for unit in &page.units {
        table.row(vec![
            Cell::text(unit.id.as_str()),
            context.output.size(unit.size),
            context.output.time(Some(unit.updated)),
            locked(unit),
        ]);
    }
    context.output.table(&table)?;
    if page.next_page_token.is_some() && context.output.is_for_people() {
        context
            .output
            .note(&format!("these are {}; there are more", page.count));
    }
    Ok(())
}

/// Labels that a unit may have all of.
fn all_of(labels: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Failure> {
    let mut all = BTreeMap::new();
    for (name, value) in labels {
        match all.insert(name.clone(), value.clone()) {
            Some(before) if before != value => {
                let both = format!("no unit has the label `{name}` as `{before}` and as `{value}`");
                return Err(Failure::new(Kind::Usage, both).hint("ask for one of them at a time"));
            }
            _ => {}
        }
    }
    Ok(all)
}

/// Whether a unit is locked, in a cell.
pub(super) fn locked(unit: &UnitSummary) -> Cell {
    match unit.locked {
        true => Cell::text("locked").style(WARN),
        false => Cell::two("-", "unlocked"),
    }
}
