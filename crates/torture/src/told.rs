//! What a request asks for and what it is answered, in the words of the simulator's checker.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use opentaco_domain::{LockId, LockInfo, UnitId};
use opentaco_sim::world::{Ask, Told};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::http::Answer;

/// What a request asks of which unit. None: of no unit, or something that changes no unit and tells of none.
#[must_use]
pub fn asked(request: &Request<Bytes>) -> Option<(UnitId, Ask)> {
    let path = percent_decode_str(request.uri().path()).decode_utf8().ok()?;
    let query = request.uri().query().unwrap_or_default();
    if let Some(unit) = path.strip_prefix("/v1/backend/") {
        let ask = match request.method().as_str() {
            "LOCK" => Ask::Lock(LockInfo::from_json(request.body()).ok()?.id),
            "UNLOCK" => match request.body().iter().all(u8::is_ascii_whitespace) {
                true => Ask::ForceUnlock,
                false => Ask::Unlock(LockInfo::from_json(request.body()).ok()?.id),
            },
            "GET" => Ask::Read,
            "POST" => Ask::Write {
                bytes: request.body().clone(),
                lock: parameter(query, "ID").and_then(|id| LockId::parse(&id).ok()),
            },
            "DELETE" => Ask::Delete,
            _ => return None,
        };
        return Some((UnitId::parse(unit).ok()?, ask));
    }
    let body = || serde_json::from_slice::<Value>(request.body()).ok();
    let text = |value: &Value, member: &str| value[member].as_str().map(str::to_owned);
    let below = path.strip_prefix("/v1/units")?;
    if below.is_empty() {
        let created = (request.method() == Method::POST).then(body).flatten()?;
        return Some((UnitId::parse(&text(&created, "id")?).ok()?, Ask::Create));
    }
    let mut parts = below.trim_start_matches('/').split('/');
    let unit = UnitId::parse(parts.next()?).ok()?;
    let ask = match (
        request.method().as_str(),
        parts.next(),
        parts.next(),
        parts.next(),
    ) {
        ("DELETE", None, None, None) => Ask::Delete,
        ("POST", Some("undelete"), None, None) => Ask::Undelete,
        ("POST", Some("restore"), None, None) => Ask::Restore(text(&body()?, "version")?.parse().ok()?),
        ("POST", Some("rejected"), Some(kept), Some("promote")) => Ask::Promote(kept.to_owned()),
        ("GET", Some("download"), None, None) => Ask::Read,
        _ => return None,
    };
    Some((unit, ask))
}

/// What it was told.
#[must_use]
pub fn told(ask: &Ask, answer: &Answer) -> Told {
    if answer.status().is_success() {
        return match ask {
            Ask::Read => Told::State(answer.body().clone()),
            _ => Told::Done,
        };
    }
    if answer.status() == StatusCode::TOO_MANY_REQUESTS {
        return Told::Unavailable;
    }
    let said: Value = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
    let id = || {
        let id = said["ID"].as_str().or_else(|| said["lock"]["id"].as_str());
        id.and_then(|id| LockId::parse(id).ok())
    };
    match said["error"].as_str().unwrap_or_default() {
        "locked" => id().map_or(Told::Unavailable, Told::Locked),
        "lock_over" => Told::LockOver,
        "not_holder" | "late" | "deleted" => Told::Refused(said["kept"].as_str().map(str::to_owned)),
        "version_conflict" | "other_lineage" | "older_serial" | "protected" => Told::Refused(None),
        "saved" => Told::Saved,
        "no_state" => Told::NoState,
        "not_found" if *ask == Ask::Read => Told::NoState,
        "not_found" | "already_exists" | "encrypted" | "graph_unreadable" | "invalid" => Told::NoSuchThing,
        _ => Told::Unavailable,
    }
}

/// The value of a parameter in a query.
fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.into_iter().find(|(key, _)| *key == name)?.1;
    Some(percent_decode_str(value).decode_utf8().ok()?.into_owned())
}
