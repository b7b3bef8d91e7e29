//! What several commands do: fail about a unit, move a state, find a version by the name that people use.

use std::fs::File;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use opentaco_domain::{LockId, UnitId, VersionId};
use opentaco_sdk::api::ErrorCode;
use opentaco_sdk::state::{Downloaded, Source};
use opentaco_sdk::units::ListUnits;
use opentaco_sdk::versions::Reinstate;
use opentaco_sdk::{Outgoing, SdkError};

use crate::args;
use crate::confirm::{Unasked, confirm};
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::files::{self, Pending};
use crate::progress;

/// How long a search for a similar name may take: it is a courtesy.
const PATIENCE: Duration = Duration::from_secs(1);

/// How alike two names are of which one may be meant by the other.
const LIKENESS_MIN: f64 = 0.7;

/// Waits for an answer about a unit; a refusal is told with what helps.
pub(super) async fn about<T>(
    context: &Context,
    unit: &UnitId,
    asked: impl Future<Output = Result<T, SdkError>>,
) -> Result<T, Failure> {
    match asked.await {
        Ok(answer) => Ok(answer),
        Err(error) => Err(explain(context, unit, error).await),
    }
}

/// A refusal about a unit, with what to try.
pub(super) async fn explain(context: &Context, unit: &UnitId, error: SdkError) -> Failure {
    let hint = match &error {
        SdkError::Locked { .. } => Some(locked(unit, &error)),
        SdkError::Conflict { refusal } => conflict(unit, refusal.code, error.rejected()),
        SdkError::NoState { .. } => Some(format!("push one with `taco unit push {unit} FILE`")),
        SdkError::NotFound { .. } => similar(context, unit)
            .await
            .map(|name| format!("did you mean `{name}`?")),
        _ => None,
    };
    let is_unanswered = matches!(
        error,
        SdkError::Unanswered { .. } | SdkError::TimedOut { .. } | SdkError::CutOff { .. }
    );
    let failure = Failure::from(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None if is_unanswered => failure.or_hint(|| {
            Some(format!(
                "look with `taco unit info {unit}`, and repeat the command if need be"
            ))
        }),
        None => failure,
    }
}

fn locked(unit: &UnitId, error: &SdkError) -> String {
    let mut lines = Vec::new();
    if error.holder().is_some() {
        lines.push(format!(
            "wait for the holder; if nobody is at work there, break the lock with `taco unit unlock {unit} --force`"
        ));
    } else {
        lines.push(format!(
            "that lock is over; `taco unit unlock {unit}` forgets it, and `taco unit acquire {unit} FILE` takes a new one"
        ));
    }
    if let Some(rejected) = error.rejected() {
        lines.push(kept(unit, rejected));
    }
    lines.join("\n")
}

fn conflict(unit: &UnitId, code: Option<ErrorCode>, rejected: Option<&str>) -> Option<String> {
    if let Some(rejected) = rejected {
        return Some(kept(unit, rejected));
    }
    Some(match code? {
        ErrorCode::OtherLineage | ErrorCode::OlderSerial => {
            format!("compare first: `taco unit diff {unit} --file FILE`; --force writes it all the same")
        }
        ErrorCode::VersionConflict => format!("see what happened meanwhile with `taco unit versions {unit}`"),
        ErrorCode::Protected => {
            format!("if it is meant: `taco unit label {unit} --protected false`, and again")
        }
        _ => return None,
    })
}

fn kept(unit: &UnitId, rejected: &str) -> String {
    let short = short_rejected(rejected);
    format!("what was sent is kept: `taco unit rejected promote {unit} {short}` makes it current")
}

/// What people call a refused write: the beginning of its id, which is when it was refused.
pub(super) fn short_rejected(id: &str) -> &str {
    id.split('-').next().unwrap_or(id)
}

/// A refused write as people call it: its id in full, or how it begins.
pub(super) async fn rejected(context: &Context, unit: &UnitId, called: &str) -> Result<String, Failure> {
    let client = context.client()?;
    let kept = about(context, unit, client.rejected(unit)).await?;
    let mut found = kept.into_iter().filter(|write| write.id.starts_with(called));
    let hint = format!("`taco unit rejected ls {unit}` shows them");
    match (found.next(), found.next()) {
        (Some(write), None) => Ok(write.id),
        (None, _) => {
            let missing = format!("`{unit}` has no rejected write `{called}`");
            Err(Failure::new(Kind::NotFound, missing).hint(hint))
        }
        (Some(_), Some(_)) => {
            let more = format!("`{called}` is how more than one rejected write of `{unit}` begins");
            Err(Failure::new(Kind::Usage, more).hint(hint))
        }
    }
}

/// Tells whoever may have mistyped a name that there is no such unit, and which one may be meant.
///
/// For commands that succeed all the same: a unit may be locked, or have refused a write, before there is one.
pub(super) async fn warn_if_unknown(context: &Context, unit: &UnitId) -> Result<(), Failure> {
    let Err(error @ SdkError::NotFound { .. }) = context.client()?.unit(unit).await else {
        return Ok(());
    };
    let failure = explain(context, unit, error).await;
    context.output.warn(&failure.text());
    if let Some(hint) = failure.hint {
        context.output.hint(&hint);
    }
    Ok(())
}

/// The id that is most like this one, if one is.
async fn similar(context: &Context, unit: &UnitId) -> Option<String> {
    let client = context.client().ok()?;
    let everything = ListUnits::default();
    let listed = tokio::time::timeout(PATIENCE, client.list_units(&everything)).await;
    let names = listed
        .ok()?
        .ok()?
        .units
        .into_iter()
        .map(|unit| unit.id.to_string());
    most_similar(unit.as_str(), names)
}

/// None if there is a unit of that very name: then something else of it is missing.
pub(super) fn most_similar(id: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let mut nearest: Option<(f64, String)> = None;
    for name in names {
        if name == id {
            return None;
        }
        let likeness = strsim::normalized_damerau_levenshtein(id, &name);
        if likeness >= LIKENESS_MIN && nearest.as_ref().is_none_or(|(known, _)| *known < likeness) {
            nearest = Some((likeness, name));
        }
    }
    nearest.map(|(_, name)| name)
}

/// Asks before a file that holds something is written over: it may be somebody's work.
pub(super) async fn may_write_over(file: Option<&Path>, yes: bool) -> Result<(), Failure> {
    let Some(path) =
        file.filter(|path| std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() > 0))
    else {
        return Ok(());
    };
    let question = format!("write over `{}`?", path.display());
    confirm(&question, yes, Unasked::Proceed).await
}

/// Downloads a state into a place, with progress.
pub(super) async fn download(
    context: &Context,
    unit: &UnitId,
    source: &Source,
    into: &mut Pending,
) -> Result<Downloaded, Failure> {
    download_to(context, unit, source, into.file()).await
}

/// Downloads a state into a file, with progress.
pub(super) async fn download_to(
    context: &Context,
    unit: &UnitId,
    source: &Source,
    into: &mut File,
) -> Result<Downloaded, Failure> {
    let client = context.client()?;
    let (moved, total) = (AtomicU64::new(0), AtomicU64::new(0));
    let transfer = client.download(unit, source, into, &moved, &total);
    about(
        context,
        unit,
        progress::watched(&format!("pulling {unit}"), &moved, &total, transfer),
    )
    .await
}

/// Reads a file that is to be sent.
pub(super) async fn outgoing(path: &Path) -> Result<Outgoing, Failure> {
    let path = path.to_owned();
    aside(move || {
        let file = files::open_to_send(&path)?;
        Outgoing::file(file).map_err(|error| Failure::file("read", &path, &error))
    })
    .await
}

/// Opens a file that is to be read, more than once if need be.
pub(super) async fn readable(path: &Path) -> Result<File, Failure> {
    let path = path.to_owned();
    aside(move || files::open_to_send(&path)).await
}

/// Reads on a thread of its own: a pipe may let us wait, and Ctrl-C should be heard meanwhile.
async fn aside<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(read).await {
        Ok(read) => read,
        Err(error) => Err(Failure::new(Kind::Failure, "the file cannot be read").because(&error)),
    }
}

/// Shows progress while a state is sent.
pub(super) async fn sending<T>(
    unit: &UnitId,
    state: &Outgoing,
    sent: &Arc<AtomicU64>,
    transfer: impl Future<Output = T>,
) -> T {
    let total = AtomicU64::new(state.length());
    progress::watched(&format!("pushing {unit}"), sent, &total, transfer).await
}

/// The lock that was named, or the one that is saved here.
pub(super) fn lock_at_hand(
    context: &Context,
    unit: &UnitId,
    named: Option<LockId>,
) -> Result<Option<LockId>, Failure> {
    match named {
        Some(id) => Ok(Some(id)),
        None => Ok(context.locks.held(&context.server, unit)?.map(|saved| saved.lock)),
    }
}

/// How kept bytes become current again, once it is sure that this is meant.
pub(super) async fn confirmed(
    context: &Context,
    unit: &UnitId,
    how: args::Reinstate,
    question: &str,
) -> Result<Reinstate, Failure> {
    confirm(question, how.yes.yes, Unasked::Proceed).await?;
    Ok(Reinstate {
        holding: lock_at_hand(context, unit, how.lock_id)?,
        force: how.force,
    })
}

/// A version as people call it: `current`, `previous`, the short name that `versions` shows, or the name in full.
pub(super) async fn version(context: &Context, unit: &UnitId, called: &str) -> Result<VersionId, Failure> {
    if let Ok(version) = called.parse() {
        return Ok(version);
    }
    let client = context.client()?;
    let history = about(context, unit, client.versions(unit, None)).await?;
    let mut versions = history.iter();
    // Of a deleted unit there are versions, and none of them is current.
    let found = match called {
        "current" => versions.find(|version| version.current),
        "previous" => versions.skip_while(|version| !version.current).nth(1),
        short => versions.find(|version| self::short(&version.version) == short),
    };
    found.map(|version| version.version).ok_or_else(|| {
        let missing = match called {
            "current" => format!("`{unit}` has no current version"),
            "previous" => format!("`{unit}` has no version before the current one"),
            other => format!("`{unit}` has no version `{other}`"),
        };
        Failure::new(Kind::NotFound, missing).hint(format!("`taco unit versions {unit}` shows them"))
    })
}

/// What people call a version: its epoch and its serial, which no two versions of a unit share.
pub(super) fn short(version: &VersionId) -> String {
    format!("{:x}-{}", version.epoch, version.serial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_the_name_that_was_meant_and_nothing_else() {
        let names = || {
            ["myapp/prod", "myapp/staging", "network"]
                .map(str::to_owned)
                .into_iter()
        };
        for (typed, meant) in [
            ("myapp/prd", Some("myapp/prod")),
            ("mypap/prod", Some("myapp/prod")),
            ("myapp/stagin", Some("myapp/staging")),
            ("entwork", Some("network")),
            ("database", None),
            ("myapp/prod", None),
        ] {
            assert_eq!(most_similar(typed, names()).as_deref(), meant, "{typed}");
        }
    }
}
