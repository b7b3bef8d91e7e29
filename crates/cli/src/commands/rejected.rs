//! `taco unit rejected`

use opentaco_domain::UnitId;
use opentaco_sdk::state::Source;
use serde_json::json;

use super::pull::keep;
use super::support::{self, about, confirmed, short, short_rejected};
use crate::args;
use crate::context::Context;
use crate::error::Failure;
use crate::files::Pending;
use crate::output::{Cell, Table};

pub(super) async fn list(context: &Context, unit: &UnitId) -> Result<(), Failure> {
    let client = context.client()?;
    let writes = about(context, unit, client.rejected(unit)).await?;
    if context.output.is_json() {
        return context
            .output
            .json(&json!({"rejected": writes, "count": writes.len()}));
    }
    if writes.is_empty() {
        context.output.note("nothing was rejected");
        return support::warn_if_unknown(context, unit).await;
    }
    let mut table = Table::new(&["CREATED", "BY", "WHY", "HOLDER", "SIZE", "REJECTED"]);
    for write in &writes {
        table.row(vec![
            context.output.time(Some(write.created)),
            Cell::text(write.by.as_str()),
            Cell::text(&write.why),
            Cell::maybe(write.holder.as_ref()),
            context.output.size(write.size),
            Cell::two(short_rejected(&write.id), &write.id),
        ]);
    }
    context.output.table(&table)
}

pub(super) async fn pull(context: &Context, args: args::RejectedPull) -> Result<(), Failure> {
    let unit = args.one.unit;
    support::may_write_over(args.file.as_deref(), args.yes.yes).await?;
    let mut pending = Pending::open(args.file.as_deref())?;
    let source = Source::Rejected(support::rejected(context, &unit, &args.rejected).await?);
    let downloaded = support::download(context, &unit, &source, &mut pending).await?;
    keep(context, &unit, pending, &downloaded, args.file.as_deref())
}

pub(super) async fn promote(context: &Context, args: args::Promote) -> Result<(), Failure> {
    let unit = args.one.unit;
    let rejected = support::rejected(context, &unit, &args.rejected).await?;
    let question = format!("make the rejected write current in `{unit}`?");
    let how = confirmed(context, &unit, args.how, &question).await?;
    let client = context.client()?;
    let receipt = about(context, &unit, client.promote(&unit, &rejected, &how)).await?;
    if context.output.is_json() {
        return context.output.json(&receipt);
    }
    context.output.said(&format!(
        "promoted: version {} of `{unit}`",
        short(&receipt.version)
    ));
    Ok(())
}
