//! `taco unit undelete`

use opentaco_domain::UnitId;

use super::support::about;
use crate::context::Context;
use crate::error::Failure;

pub(super) async fn run(context: &Context, unit: &UnitId) -> Result<(), Failure> {
    let client = context.client()?;
    let restored = about(context, unit, client.undelete(unit)).await?;
    if context.output.is_json() {
        return context.output.json(&restored);
    }
    context.output.said(&format!("`{unit}` is back"));
    Ok(())
}
