//! `taco unit lock`, and how a lock is taken and remembered.

use opentaco_domain::{Clock as _, LockId, UnitId};
use opentaco_sdk::SdkError;
use opentaco_sdk::api::{Lock, LockRequest};

use super::support::{about, explain};
use crate::args;
use crate::context::Context;
use crate::error::Failure;
use crate::saved_locks::SavedLock;

pub(super) async fn run(context: &Context, args: args::Lock) -> Result<(), Failure> {
    let unit = args.one.unit;
    let taken = take(context, &unit, &args.reason.reason).await?;
    if context.output.is_json() {
        return context.output.json(&taken.lock);
    }
    if taken.anew {
        context.output.said(&format!("locked `{unit}`"));
    } else {
        context
            .output
            .said(&format!("`{unit}` is locked already, from here"));
    }
    // The id is what a script goes on with.
    context.output.data(&format!("{}\n", taken.lock.id))
}

/// A lock that is held now.
pub(super) struct Taken {
    pub(super) lock: Lock,
    /// Whether it was not held before.
    pub(super) anew: bool,
}

/// Takes a lock, or finds that it was taken from this directory before.
///
/// Its id is saved before it is asked for, so that whatever happens to the answer, it can be given back.
pub(super) async fn take(context: &Context, unit: &UnitId, reason: &str) -> Result<Taken, Failure> {
    let client = context.client()?;
    loop {
        let id = LockId::parse(&uuid::Uuid::new_v4().to_string()).expect("a UUID is a lock id");
        let saved = context.locks.reserve(
            &context.server,
            SavedLock {
                server: context.server.to_string(),
                unit: unit.clone(),
                lock: id.clone(),
                since: context.clock.now(),
                released: None,
            },
        )?;
        let anew = saved.lock == id;
        match client.lock(unit, &describe(context, saved.lock, reason)).await {
            Ok(lock) => return Ok(Taken { lock, anew }),
            // Broken meanwhile, or released elsewhere: a new one may be taken.
            Err(SdkError::LockOver { .. }) if !anew => context.locks.forget(&context.server, unit)?,
            // Somebody else holds the unit, so this lock is not held, or is over.
            Err(error @ SdkError::Locked { .. }) => return Err(not_taken(context, unit, error).await),
            Err(error) if anew && error.is_in_doubt() => {
                return Err(explain(context, unit, error).await.hint(format!(
                    "if the lock was taken, its id is saved here: `taco unit unlock {unit}` gives it back"
                )));
            }
            Err(error) if anew => return Err(not_taken(context, unit, error).await),
            // Whatever else keeps us from asking, the lock may well be held: its id is known nowhere but here.
            Err(error) => return Err(explain(context, unit, error).await),
        }
    }
}

/// A lock that is surely not held is forgotten.
async fn not_taken(context: &Context, unit: &UnitId, error: SdkError) -> Failure {
    if let Err(failure) = context.locks.forget(&context.server, unit) {
        context.output.warn(&failure.text());
    }
    explain(context, unit, error).await
}

fn describe(context: &Context, id: LockId, reason: &str) -> LockRequest {
    LockRequest {
        id: Some(id),
        operation: "taco".to_owned(),
        info: reason.to_owned(),
        who: context.who(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created: context.clock.now().to_string(),
        path: String::new(),
    }
}

/// Gives a lock back and forgets it.
pub(super) async fn give_back(context: &Context, unit: &UnitId, id: &LockId) -> Result<(), Failure> {
    about(context, unit, context.client()?.unlock(unit, id)).await?;
    let saved = context.locks.held(&context.server, unit)?;
    match saved {
        Some(saved) if saved.lock == *id => context.locks.forget(&context.server, unit),
        _ => Ok(()),
    }
}
