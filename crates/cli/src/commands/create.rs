//! `taco unit create`

use opentaco_sdk::api::CreateUnit;

use super::support::about;
use crate::args;
use crate::context::Context;
use crate::error::Failure;

pub(super) async fn run(context: &Context, args: args::Create) -> Result<(), Failure> {
    let unit = args.one.unit;
    let wanted = CreateUnit {
        id: unit.clone(),
        labels: args.labels.into_iter().collect(),
        description: args.description,
    };
    let client = context.client()?;
    let created = about(context, &unit, client.create_unit(&wanted)).await?;
    if context.output.is_json() {
        return context.output.json(&created);
    }
    context.output.said(&format!("created `{unit}`"));
    Ok(())
}
