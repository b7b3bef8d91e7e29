//! `taco unit push`

use std::sync::Arc;

use opentaco_sdk::state::Upload;

use super::support::{self, about};
use crate::args;
use crate::confirm::{Unasked, confirm};
use crate::context::Context;
use crate::error::Failure;
use crate::output;

pub(super) async fn run(context: &Context, args: args::Push) -> Result<(), Failure> {
    let unit = args.one.unit;
    let state = support::outgoing(&args.file).await?;
    if args.force {
        let question = format!("write `{unit}` whatever is there?");
        confirm(&question, args.yes.yes, Unasked::Proceed).await?;
    }
    let upload = Upload {
        holding: support::lock_at_hand(context, &unit, args.lock_id)?,
        if_match: args.if_match,
        force: args.force,
        idempotency_key: None,
    };
    let client = context.client()?;
    let sent = Arc::default();
    let transfer = support::sending(&unit, &state, &sent, client.upload(&unit, &state, &upload, &sent));
    let receipt = about(context, &unit, transfer).await?;
    if context.output.is_json() {
        return context.output.json(&receipt);
    }
    let size = output::size(state.length());
    let short = support::short(&receipt.version);
    context
        .output
        .said(&format!("pushed `{unit}`: version {short} ({size})"));
    Ok(())
}
