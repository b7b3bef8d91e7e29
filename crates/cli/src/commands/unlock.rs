//! `taco unit unlock`

use opentaco_domain::UnitId;
use serde_json::json;

use super::lock::give_back;
use super::support::{about, lock_at_hand, warn_if_unknown};
use crate::args;
use crate::confirm::{Unasked, confirm};
use crate::context::Context;
use crate::error::{Failure, Kind};

pub(super) async fn run(context: &Context, args: args::Unlock) -> Result<(), Failure> {
    let unit = args.one.unit;
    if args.force {
        return break_it(context, &unit, args.yes.yes).await;
    }
    let named = args.lock_id.is_some();
    let Some(id) = lock_at_hand(context, &unit, args.lock_id)? else {
        return Err(Failure::new(
            Kind::Usage,
            format!("no lock of `{unit}` is saved here, and none was named"),
        )
        .hint(format!(
            "`taco unit info {unit}` shows who holds it; name the lock, or break it with --force"
        )));
    };
    give_back(context, &unit, &id).await?;
    if context.output.is_json() {
        return context
            .output
            .json(&json!({"id": unit, "lock": id, "unlocked": true}));
    }
    context.output.said(&format!("unlocked `{unit}`"));
    match named {
        true => warn_if_unknown(context, &unit).await,
        false => Ok(()),
    }
}

async fn break_it(context: &Context, unit: &UnitId, yes: bool) -> Result<(), Failure> {
    let question = format!("break the lock of `{unit}`, whoever holds it?");
    confirm(&question, yes, Unasked::Refuse).await?;
    about(context, unit, context.client()?.force_unlock(unit)).await?;
    context.locks.forget(&context.server, unit)?;
    if context.output.is_json() {
        return context
            .output
            .json(&json!({"id": unit, "unlocked": true, "forced": true}));
    }
    context.output.said(&format!("nobody holds `{unit}` any more"));
    warn_if_unknown(context, unit).await
}
