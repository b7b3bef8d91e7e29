//! `taco unit acquire`: lock and download, or neither.

use opentaco_domain::UnitId;
use opentaco_sdk::SdkError;
use opentaco_sdk::state::{Downloaded, Source};
use serde_json::json;

use super::lock::{give_back, take};
use super::support::{explain, may_write_over};
use crate::args;
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::files::Pending;
use crate::saved_locks::SavedLock;
use crate::{output, progress};

pub(super) async fn run(context: &Context, args: args::Acquire) -> Result<(), Failure> {
    let unit = args.one.unit;
    let before = context.locks.held(&context.server, &unit)?;
    // What cannot be written, or may not, is known before anybody is kept waiting. Under a lock that is held, a file stays
    // as it is anyway.
    if before.is_none() {
        may_write_over(args.file.as_deref(), args.yes.yes).await?;
    }
    let pending = Pending::open(args.file.as_deref())?;
    context.interrupt.hold();
    let taken = context
        .interrupt
        .or(take(context, &unit, &args.reason.reason))
        .await;
    let taken = match taken {
        Ok(taken) => taken,
        Err(failure) if failure.kind == Kind::Interrupted => {
            return Err(after_interruption(context, &unit, before, failure).await);
        }
        Err(failure) => return Err(failure),
    };
    if !taken.anew && args.file.as_deref().is_some_and(std::path::Path::is_file) {
        return Err(held_with_work(&unit, args.file.as_deref()));
    }
    let fetched = context.interrupt.or(fetch(context, &unit, pending)).await;
    let downloaded = match fetched {
        Ok(downloaded) => downloaded,
        // Whatever the reason: who has no state to work on should keep nobody waiting.
        Err(failure) if taken.anew => {
            return Err(match give_back(context, &unit, &taken.lock.id).await {
                Ok(()) => failure.or_hint(|| Some(format!("the lock of `{unit}` was given back"))),
                Err(other) => {
                    context
                        .output
                        .warn(&format!("the lock could not be given back: {}", other.text()));
                    failure.hint(format!("give the lock back with `taco unit unlock {unit}`"))
                }
            });
        }
        Err(failure) => return Err(failure),
    };
    context.interrupt.release();
    report(context, &unit, &args.file, downloaded.as_ref(), &taken.lock.id)
}

/// Acquired before, and perhaps edited since: nobody's work is written over.
fn held_with_work(unit: &UnitId, file: Option<&std::path::Path>) -> Failure {
    let file = file.unwrap_or(std::path::Path::new("-")).display();
    Failure::new(
        Kind::Conflict,
        format!(
            "`{unit}` is locked already, from here, and `{file}` may hold your work: it was left as it is"
        ),
    )
    .hint(format!("`taco unit pull {unit} {file}` fetches the state anew"))
}

/// The state, in its place; none if the unit has none yet.
async fn fetch(
    context: &Context,
    unit: &UnitId,
    mut pending: Pending,
) -> Result<Option<Downloaded>, Failure> {
    let client = context.client()?;
    let (moved, total) = Default::default();
    let transfer = client.download(unit, &Source::Current, pending.file(), &moved, &total);
    let doing = format!("pulling {unit}");
    match progress::watched(&doing, &moved, &total, transfer).await {
        Ok(downloaded) => {
            pending.keep()?;
            Ok(Some(downloaded))
        }
        Err(SdkError::NoState { .. }) => Ok(None),
        Err(error) => Err(explain(context, unit, error).await),
    }
}

/// Ctrl-C while the lock was asked for: if it was taken, it is given back; one that was held before stays.
async fn after_interruption(
    context: &Context,
    unit: &UnitId,
    before: Option<SavedLock>,
    failure: Failure,
) -> Failure {
    let Ok(Some(saved)) = context.locks.held(&context.server, unit) else {
        return failure;
    };
    if before.is_some_and(|before| before.lock == saved.lock) {
        return failure;
    }
    match give_back(context, unit, &saved.lock).await {
        Ok(()) => failure,
        Err(_) => failure.hint(format!(
            "if the lock was taken, `taco unit unlock {unit}` gives it back"
        )),
    }
}

fn report(
    context: &Context,
    unit: &UnitId,
    file: &Option<std::path::PathBuf>,
    downloaded: Option<&Downloaded>,
    lock: &opentaco_domain::LockId,
) -> Result<(), Failure> {
    let file = file
        .as_ref()
        .filter(|file| file.as_path() != std::path::Path::new("-"));
    if context.output.is_json() && (file.is_some() || downloaded.is_none()) {
        return context.output.json(&json!({
            "id": unit,
            "lock": lock,
            "file": file,
            "size": downloaded.map(|downloaded| downloaded.size),
            "version": downloaded.map(|downloaded| downloaded.version),
        }));
    }
    match (downloaded, file) {
        (None, _) => context.output.said(&format!(
            "locked `{unit}`, which has no state yet: nothing was written"
        )),
        (Some(_), None) => context.output.said(&format!("locked `{unit}`")),
        (Some(downloaded), Some(file)) => context.output.said(&format!(
            "locked `{unit}`, and pulled it to {} ({})",
            file.display(),
            output::size(downloaded.size)
        )),
    }
    context.output.hint(&format!(
        "`taco unit release {unit} FILE` writes it back and unlocks"
    ));
    Ok(())
}
