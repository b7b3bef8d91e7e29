//! `taco unit outputs`

use opentaco_domain::UnitId;

use super::support::about;
use crate::args;
use crate::context::Context;
use crate::error::Failure;
use crate::output::{Cell, DIM, Table};

pub(super) async fn run(context: &Context, args: args::Outputs) -> Result<(), Failure> {
    let unit = args.one.unit;
    match args.name {
        Some(name) => one(context, &unit, &name).await,
        None => all(context, &unit).await,
    }
}

/// Its value alone, whoever asks for it by name wants to see it: a string without quotes, anything else as JSON.
async fn one(context: &Context, unit: &UnitId, name: &str) -> Result<(), Failure> {
    let client = context.client()?;
    let output = about(context, unit, client.output(unit, name)).await?;
    if context.output.is_json() {
        return context.output.json(&output);
    }
    let raw = output.value.get();
    let text = serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned());
    context.output.bytes(format!("{text}\n").as_bytes())
}

async fn all(context: &Context, unit: &UnitId) -> Result<(), Failure> {
    let client = context.client()?;
    let found = about(context, unit, client.outputs(unit)).await?;
    if context.output.is_json() {
        return context.output.json(&found);
    }
    if found.outputs.is_empty() {
        context.output.note("no outputs");
        return Ok(());
    }
    let mut table = Table::new(&["NAME", "VALUE"]);
    for (name, output) in &found.outputs {
        let value = match output.sensitive {
            true => Cell::text("(sensitive)").style(DIM),
            false => Cell::text(output.value.get()),
        };
        table.row(vec![Cell::text(name), value]);
    }
    context.output.table(&table)
}
