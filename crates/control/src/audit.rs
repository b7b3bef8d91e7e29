//! The third beat: one event for every decision. For now events go to the log, under the target `opentaco::audit`;
//! never a state's content, never a token.

use opentaco_domain::{Action, Caller, UnitId, VersionId};

/// A caller was told no.
pub(crate) fn denied(caller: &Caller, action: Action, unit: &UnitId) {
    tracing::warn!(target: "opentaco::audit", caller = %caller.principal(), action = action.as_str(), %unit, decision = "denied");
}

/// Something was done.
pub(crate) fn done(caller: &Caller, action: Action, unit: &UnitId, what: &'static str) {
    tracing::info!(target: "opentaco::audit", caller = %caller.principal(), action = action.as_str(), %unit, decision = "done", what);
}

/// A version was committed.
pub(crate) fn committed(caller: &Caller, unit: &UnitId, version: &VersionId, how: &str) {
    tracing::info!(target: "opentaco::audit", caller = %caller.principal(), action = Action::Write.as_str(), %unit, decision = "done", what = "committed", %version, how);
}

/// Something was refused for what is true of the unit, not for who asks.
pub(crate) fn refused(caller: &Caller, action: Action, unit: &UnitId, why: &str, kept: Option<&str>) {
    tracing::info!(target: "opentaco::audit", caller = %caller.principal(), action = action.as_str(), %unit, decision = "refused", why, kept);
}
