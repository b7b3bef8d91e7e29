//! What a request asks for and what it is answered, in the words of the simulator's checker.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Request, StatusCode};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use opentaco_domain::{CredentialSession, LockId, LockInfo, Signed, UnitId};
use opentaco_sim::world::{Ask, Told, s3};
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
    if let Some(key) = path.strip_prefix("/s3/opentaco/") {
        return asked_of_s3(request, key);
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

/// What an S3 client asks, of a state or of the lock file beside it. A HEAD tells of nothing that is judged.
fn asked_of_s3(request: &Request<Bytes>, key: &str) -> Option<(UnitId, Ask)> {
    let by = signed(request.headers())?;
    let (state, is_lock) = match key.strip_suffix(".tflock") {
        Some(state) => (state, true),
        None => (key, false),
    };
    let unit = UnitId::parse(state.strip_suffix("/terraform.tfstate")?).ok()?;
    let ask = match (request.method().as_str(), is_lock) {
        ("PUT", true) => s3::Ask::Lock {
            id: LockInfo::from_json(request.body()).ok()?.id,
            by,
        },
        ("GET", true) => s3::Ask::ShowLock(by),
        ("DELETE", true) => s3::Ask::Unlock(by),
        ("GET", false) => s3::Ask::Get(by),
        ("PUT", false) if request.uri().query().is_none() => s3::Ask::Put {
            bytes: request.body().clone(),
            by,
        },
        _ => return None,
    };
    Some((unit, Ask::S3(ask)))
}

/// Who signed it and when: `Credential=OTC.<key>.<session>.<expiry>/…`.
fn signed(headers: &HeaderMap) -> Option<Signed> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let credential = text(AUTHORIZATION.as_str())?.split("Credential=").nth(1)?;
    let session = credential.split('/').next()?.split('.').nth(2)?;
    let at = DateTime::strptime("%Y%m%dT%H%M%SZ", text("x-amz-date")?).ok()?;
    Some(Signed {
        session: CredentialSession::new(session),
        at: at.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp()),
        invocation: text("amz-sdk-invocation-id").map(str::to_owned),
    })
}

/// What an S3 client was told.
fn told_by_s3(ask: &s3::Ask, answer: &Answer) -> Told {
    let text = String::from_utf8_lossy(answer.body());
    if answer.status().is_success() {
        return match ask {
            s3::Ask::Get(_) => Told::State(answer.body().clone()),
            s3::Ask::ShowLock(_) => match LockInfo::from_json(answer.body()) {
                Ok(info) => Told::Locked(info.id),
                Err(_) => Told::Unavailable,
            },
            _ => Told::Done,
        };
    }
    let within = |from: &str, to: &str| {
        let rest = text.split(from).nth(1)?;
        rest.split(to).next().map(str::to_owned)
    };
    let code = within("<Code>", "</Code>").unwrap_or_default();
    match (code.as_str(), ask) {
        ("PreconditionFailed", s3::Ask::Lock { .. }) => {
            let holder = within("(lock ", ")").and_then(|id| LockId::parse(&id).ok());
            holder.map_or(Told::Unavailable, Told::Locked)
        }
        // Other refusals of a state are about its lineage or its serial.
        ("PreconditionFailed", s3::Ask::Put { .. }) => {
            let kept = text.split("kept as rejected write ").nth(1);
            let kept = kept.and_then(|rest| {
                rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
                    .next()
            });
            kept.map_or(Told::Unavailable, |id| Told::Refused(Some(id.to_owned())))
        }
        ("NoSuchKey", s3::Ask::Get(_)) => Told::NoState,
        ("NoSuchKey", s3::Ask::ShowLock(_)) => Told::NoSuchThing,
        _ => Told::Unavailable,
    }
}

/// What it was told.
#[must_use]
pub fn told(ask: &Ask, answer: &Answer) -> Told {
    if let Ask::S3(ask) = ask {
        return told_by_s3(ask, answer);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, uri: &str, body: &'static str) -> Request<Bytes> {
        Request::builder()
            .method(method)
            .uri(uri)
            .header("x-amz-date", "20261130T120000Z")
            .header(AUTHORIZATION, "AWS4-HMAC-SHA256 Credential=OTC.kid.alice.1790000000/20261130/auto/s3/aws4_request, SignedHeaders=host, Signature=0")
            .body(Bytes::from_static(body.as_bytes()))
            .unwrap()
    }

    fn answer(status: u16, body: &'static str) -> Answer {
        http::Response::builder()
            .status(status)
            .body(Bytes::from_static(body.as_bytes()))
            .unwrap()
    }

    #[test]
    fn a_request_is_what_it_asks_for() {
        let spelled = |method: &str, uri: &str, body: &'static str| {
            asked(&request(method, uri, body))
                .map(|(unit, ask)| format!("{unit}: {}", opentaco_sim::checker::spell(&ask)))
        };
        const LOCK: &str = r#"{"ID":"00000000-0000-4000-8000-000000000007"}"#;
        for (method, uri, body, says) in [
            ("LOCK", "/v1/backend/net/prod", LOCK, "net/prod: LOCK 7"),
            ("UNLOCK", "/v1/backend/app", LOCK, "app: UNLOCK 7"),
            ("UNLOCK", "/v1/backend/app", "", "app: UNLOCK by force"),
            ("GET", "/v1/backend/app", "", "app: GET"),
            (
                "POST",
                "/v1/backend/app?ID=00000000-0000-4000-8000-000000000007",
                "{}",
                "app: POST 44136fa3 under 7",
            ),
            (
                "POST",
                "/v1/backend/app",
                "{}",
                "app: POST 44136fa3 under no lock",
            ),
            ("POST", "/v1/units", r#"{"id":"app"}"#, "app: create"),
            ("DELETE", "/v1/units/app", "", "app: DELETE"),
            ("POST", "/v1/units/app/undelete", "", "app: undelete"),
            ("POST", "/v1/units/app/rejected/x/promote", "", "app: promote x"),
        ] {
            assert_eq!(
                spelled(method, uri, body).as_deref(),
                Some(says),
                "{method} {uri}"
            );
        }
        let file = "/s3/opentaco/net/prod/terraform.tfstate";
        let locked = spelled("PUT", &format!("{file}.tflock"), LOCK).unwrap();
        assert!(
            locked.starts_with("net/prod: PUT lock file 7 by alice"),
            "{locked}"
        );
        assert!(
            spelled("PUT", file, "{}")
                .unwrap()
                .starts_with("net/prod: PUT 44136fa3 by alice")
        );
        assert_eq!(spelled("GET", "/v1/units", ""), None);
    }

    #[test]
    fn an_answer_is_what_it_tells() {
        let id = opentaco_sim::stage::lock_id(7);
        const HELD: &str = r#"{"error":"locked","ID":"00000000-0000-4000-8000-000000000007"}"#;
        let write = Ask::Write {
            bytes: Bytes::new(),
            lock: None,
        };
        for (ask, answer, says) in [
            (Ask::Read, answer(200, "x"), Told::State(Bytes::from_static(b"x"))),
            (Ask::Read, answer(404, r#"{"error":"no_state"}"#), Told::NoState),
            (Ask::Lock(id.clone()), answer(423, HELD), Told::Locked(id.clone())),
            (
                Ask::Lock(id.clone()),
                answer(410, r#"{"error":"lock_over"}"#),
                Told::LockOver,
            ),
            (write.clone(), answer(200, ""), Told::Done),
            (
                write.clone(),
                answer(409, r#"{"error":"late","kept":"k"}"#),
                Told::Refused(Some("k".to_owned())),
            ),
            (write.clone(), answer(503, r#"{"error":"saved"}"#), Told::Saved),
            (write, answer(500, "no JSON"), Told::Unavailable),
        ] {
            assert_eq!(told(&ask, &answer), says);
        }
        let (_, put) = asked(&request("PUT", "/s3/opentaco/a/terraform.tfstate", "{}")).unwrap();
        let refused = answer(
            412,
            "<Error><Code>PreconditionFailed</Code><Message>it is over; what was sent is kept as rejected write 0ab-1. Take it</Message></Error>",
        );
        assert_eq!(told(&put, &refused), Told::Refused(Some("0ab-1".to_owned())));
    }
}
