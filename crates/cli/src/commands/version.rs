//! `taco version`

use serde_json::json;

use crate::args;
use crate::context::Context;
use crate::error::Failure;

pub(super) async fn run(context: &Context, args: &args::Version) -> Result<(), Failure> {
    let own = env!("CARGO_PKG_VERSION");
    let info = match args.remote {
        true => Some(context.client()?.info().await?),
        false => None,
    };
    if context.output.is_json() {
        return context
            .output
            .json(&json!({"version": own, "server": context.server.as_str(), "service": info}));
    }
    let mut text = format!("taco {own}\n");
    if let Some(info) = info {
        text.push_str(&format!(
            "opentacosvc {} at {}, as {}\n",
            info.version, context.server, info.principal
        ));
    }
    context.output.data(&text)
}
