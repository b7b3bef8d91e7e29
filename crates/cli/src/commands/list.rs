//! `taco unit ls`

use opentaco_sdk::api::UnitSummary;
use opentaco_sdk::units::ListUnits;

use crate::args;
use crate::context::Context;
use crate::error::Failure;
use crate::output::{Cell, Table, WARN};

pub(super) async fn run(context: &Context, args: args::Ls) -> Result<(), Failure> {
    let wanted = ListUnits {
        prefix: args.prefix,
        labels: args.labels.into_iter().collect(),
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

/// Whether a unit is locked, in a cell.
pub(super) fn locked(unit: &UnitSummary) -> Cell {
    match unit.locked {
        true => Cell::text("locked").style(WARN),
        false => Cell::two("-", "unlocked"),
    }
}
