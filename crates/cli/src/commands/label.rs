//! `taco unit label`

use opentaco_sdk::api::ChangeUnit;

use super::info;
use super::support::about;
use crate::args::{self, LabelChange};
use crate::context::Context;
use crate::error::Failure;

pub(super) async fn run(context: &Context, args: args::Label) -> Result<(), Failure> {
    let unit = args.one.unit;
    let labels = args.labels.into_iter().map(|change| match change {
        LabelChange::Set(name, value) => (name, Some(value)),
        LabelChange::Remove(name) => (name, None),
    });
    let change = ChangeUnit {
        labels: labels.collect(),
        description: args.description,
        deletion_protection: args.protected,
    };
    let client = context.client()?;
    let changed = about(context, &unit, client.change_unit(&unit, &change)).await?;
    if context.output.is_json() {
        return info::show(context, &changed);
    }
    context.output.said(&format!("changed `{unit}`"));
    Ok(())
}
