//! `taco unit versions` and `taco unit restore`

use opentaco_sdk::api::{Origin, Version};

use super::support::{self, about, confirmed, short, short_rejected};
use crate::args;
use crate::context::Context;
use crate::error::Failure;
use crate::output::{Cell, GOOD, Table};

pub(super) async fn list(context: &Context, args: args::Versions) -> Result<(), Failure> {
    let unit = args.one.unit;
    let client = context.client()?;
    let history = about(context, &unit, client.versions(&unit, args.limit)).await?;
    if context.output.is_json() {
        return context
            .output
            .json(&serde_json::json!({"versions": history, "count": history.len()}));
    }
    if history.is_empty() {
        context.output.note("no versions");
        return Ok(());
    }
    let mut table = Table::new(&["VERSION", "SERIAL", "SIZE", "CREATED", "BY", "HOW"]);
    for version in &history {
        let name = Cell::two(short(&version.version), version.version.to_string());
        table.row(vec![
            if version.current { name.style(GOOD) } else { name },
            Cell::maybe(version.serial),
            context.output.size(version.size),
            context.output.time(Some(version.created)),
            Cell::text(version.by.as_str()),
            Cell::text(how(version)),
        ]);
    }
    context.output.table(&table)
}

fn how(version: &Version) -> String {
    let of = version.origin_of.as_deref().map(|of| match of.parse() {
        Ok(version) => short(&version),
        Err(_) => short_rejected(of).to_owned(),
    });
    let current = if version.current { ", current" } else { "" };
    match (version.origin, of) {
        (Origin::Restore | Origin::Promote, Some(of)) => {
            format!("{} of {of}{current}", version.origin.as_str())
        }
        (origin, _) => match &version.door {
            Some(door) => format!("{} ({door}){current}", origin.as_str()),
            None => format!("{}{current}", origin.as_str()),
        },
    }
}

pub(super) async fn restore(context: &Context, args: args::Restore) -> Result<(), Failure> {
    let unit = args.one.unit;
    let version = support::version(context, &unit, &args.version).await?;
    let question = format!("make version {} of `{unit}` current again?", short(&version));
    let how = confirmed(context, &unit, args.how, &question).await?;
    let client = context.client()?;
    let receipt = about(context, &unit, client.restore(&unit, version, &how)).await?;
    if context.output.is_json() {
        return context.output.json(&receipt);
    }
    context.output.said(&format!(
        "restored version {} of `{unit}` as version {}",
        short(&version),
        short(&receipt.version)
    ));
    Ok(())
}
