//! `taco unit pull`

use opentaco_domain::UnitId;
use opentaco_sdk::state::{Downloaded, Source};
use serde_json::json;

use super::support;
use crate::args;
use crate::context::Context;
use crate::error::Failure;
use crate::files::Pending;
use crate::output;

pub(super) async fn run(context: &Context, args: args::Pull) -> Result<(), Failure> {
    let unit = args.one.unit;
    support::may_write_over(args.file.as_deref(), args.yes.yes).await?;
    let source = match &args.version {
        None => Source::Current,
        Some(called) => Source::Version(support::version(context, &unit, called).await?),
    };
    let mut pending = Pending::open(args.file.as_deref())?;
    let downloaded = support::download(context, &unit, &source, &mut pending).await?;
    keep(context, &unit, pending, &downloaded, args.file.as_deref())
}

/// Puts what was downloaded where it belongs, and says so; with `--json` only of a file, since a state is JSON already.
pub(super) fn keep(
    context: &Context,
    unit: &UnitId,
    pending: Pending,
    downloaded: &Downloaded,
    file: Option<&std::path::Path>,
) -> Result<(), Failure> {
    let printed = pending.is_standard_output();
    pending.keep()?;
    if printed {
        return Ok(());
    }
    let file = file.map(|file| file.display().to_string()).unwrap_or_default();
    if context.output.is_json() {
        return context.output.json(&json!({
            "id": unit,
            "file": file,
            "size": downloaded.size,
            "version": downloaded.version,
        }));
    }
    let size = output::size(downloaded.size);
    context
        .output
        .said(&format!("pulled `{unit}` to {file} ({size})"));
    Ok(())
}
