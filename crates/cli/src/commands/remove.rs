//! `taco unit rm`

use serde_json::json;

use super::support::about;
use crate::args;
use crate::confirm::{Unasked, confirm};
use crate::context::Context;
use crate::error::Failure;

pub(super) async fn run(context: &Context, args: args::Rm) -> Result<(), Failure> {
    let unit = args.one.unit;
    confirm(&format!("delete `{unit}`?"), args.yes.yes, Unasked::Refuse).await?;
    let client = context.client()?;
    about(context, &unit, client.delete_unit(&unit)).await?;
    if context.output.is_json() {
        return context.output.json(&json!({"id": unit, "deleted": true}));
    }
    context.output.said(&format!("deleted `{unit}`"));
    context.output.hint(&format!(
        "`taco unit undelete {unit}` brings it back within thirty days"
    ));
    Ok(())
}
