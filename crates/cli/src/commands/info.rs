//! `taco unit info`

use opentaco_domain::UnitId;
use opentaco_sdk::api::{Lock, Unit};

use super::support::{self, about};
use crate::context::Context;
use crate::error::Failure;
use crate::output::{Cell, WARN};

pub(super) async fn run(context: &Context, unit: &UnitId) -> Result<(), Failure> {
    let client = context.client()?;
    let found = about(context, unit, client.unit(unit)).await?;
    show(context, &found)
}

/// What is true of a unit, for people and for programs.
pub(super) fn show(context: &Context, unit: &Unit) -> Result<(), Failure> {
    let output = context.output;
    if output.is_json() {
        return output.json(unit);
    }
    let version = unit.version.map_or_else(Cell::none, |version| {
        Cell::two(support::short(&version), version.to_string())
    });
    let labels: Vec<String> = unit
        .labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let labels = Some(labels.join(" ")).filter(|labels| !labels.is_empty());
    let mut fields = vec![
        ("unit", Cell::text(unit.id.as_str())),
        ("size", output.size(unit.size)),
        ("updated", output.time(Some(unit.updated))),
        ("created", output.time(unit.created)),
        ("locked", Cell::two(said(unit.locked), unit.locked.to_string())),
        ("version", version),
        ("serial", Cell::maybe(unit.serial)),
        ("lineage", Cell::maybe(unit.lineage.as_ref())),
        ("written by", Cell::maybe(unit.terraform_version.as_ref())),
        ("labels", Cell::maybe(labels)),
        (
            "description",
            Cell::maybe(Some(&unit.description).filter(|text| !text.is_empty())),
        ),
        (
            "protected",
            Cell::two(
                said(unit.deletion_protection),
                unit.deletion_protection.to_string(),
            ),
        ),
    ];
    if let Some(lock) = &unit.lock {
        fields.extend(holder(context, lock));
    }
    output.fields(fields)
}

fn said(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

/// Who holds a unit.
fn holder(context: &Context, lock: &Lock) -> Vec<(&'static str, Cell)> {
    let text = |text: &String| Cell::maybe(Some(text).filter(|text| !text.is_empty()));
    vec![
        ("lock id", Cell::text(lock.id.as_str()).style(WARN)),
        ("lock holder", text(&lock.who)),
        ("lock signed in as", Cell::text(lock.principal.as_str())),
        ("lock since", context.output.time(Some(lock.since))),
        ("lock for", text(&lock.operation)),
        ("lock reason", text(&lock.info)),
    ]
}
