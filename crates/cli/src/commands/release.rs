//! `taco unit release`: upload and unlock. It may be repeated until it is done, and then says so.

use std::sync::Arc;

use opentaco_domain::{Clock as _, LockId, Sha256, UnitId, VersionId};
use opentaco_sdk::Outgoing;
use opentaco_sdk::state::Upload;
use serde_json::json;

use super::support::{self, about};
use crate::args;
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::saved_locks::{Released, SavedLock};

pub(super) async fn run(context: &Context, args: args::Release) -> Result<(), Failure> {
    let unit = args.one.unit;
    let state = support::outgoing(&args.file).await?;
    let saved = context
        .locks
        .find(&context.server, &unit)?
        .ok_or_else(|| not_held(&unit))?;
    if let Some(released) = &saved.released {
        return done_before(context, &unit, &state, released);
    }
    let client = context.client()?;
    let upload = Upload {
        holding: Some(saved.lock.clone()),
        if_match: None,
        force: args.force,
        idempotency_key: Some(key(&saved.lock, state.sha256())),
    };
    let sent = Arc::default();
    let transfer = support::sending(&unit, &state, &sent, client.upload(&unit, &state, &upload, &sent));
    let receipt = about(context, &unit, transfer).await?;
    about(context, &unit, client.unlock(&unit, &saved.lock))
        .await
        .map_err(|failure| {
            failure.hint("the state is written; repeat the same command until the lock is given back")
        })?;
    let released = Released {
        sha256: state.sha256(),
        version: receipt.version,
        at: context.clock.now(),
    };
    let saved = SavedLock {
        released: Some(released),
        ..saved
    };
    context.locks.save(&context.server, &saved).map_err(|failure| {
        failure.hint("the state is written, and the lock given back; only that could not be noted")
    })?;
    report(context, &unit, &receipt.version, false)
}

/// The same lock and the same bytes are the same request, in whichever process.
fn key(lock: &LockId, state: Sha256) -> String {
    Sha256::of(format!("release\n{lock}\n{state}").as_bytes()).to_string()
}

fn done_before(
    context: &Context,
    unit: &UnitId,
    state: &Outgoing,
    released: &Released,
) -> Result<(), Failure> {
    if released.sha256 != state.sha256() {
        return Err(not_held(unit));
    }
    report(context, unit, &released.version, true)
}

fn not_held(unit: &UnitId) -> Failure {
    Failure::new(
        Kind::Conflict,
        format!("no lock of `{unit}` is held from this directory"),
    )
    .hint(format!(
        "`taco unit acquire {unit} FILE` takes it; `taco unit push {unit} FILE` writes without one"
    ))
}

fn report(context: &Context, unit: &UnitId, version: &VersionId, before: bool) -> Result<(), Failure> {
    if context.output.is_json() {
        return context.output.json(&json!({
            "id": unit,
            "version": version,
            "unlocked": true,
            "repeated": before,
        }));
    }
    let short = support::short(version);
    let how = if before {
        "was released before"
    } else {
        "is released"
    };
    context.output.said(&format!("`{unit}` {how}: version {short}"));
    Ok(())
}
