//! What a handler asks for in its signature: who, which unit, which lock.

use std::convert::Infallible;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{FromRequestParts, OriginalUri};
use http::StatusCode;
use http::request::Parts;
use opentaco_api::ErrorCode;
use opentaco_domain::audit::Asked;
use opentaco_domain::{Caller, Clock as _, Holding, LockId, LockInfo, SystemClock, UnitId, VersionId};
use percent_encoding::percent_decode_str;

use crate::problem::Problem;
use crate::routes::Route;

/// Who is asking. There is one in every request that came past the [`doorkeeper`](crate::doorkeeper).
#[derive(Debug, Clone)]
pub struct Asking(pub Caller);

impl<S: Sync> FromRequestParts<S> for Asking {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        left_by_the_doorkeeper(parts)
    }
}

/// What the doorkeeper has left in a request that it let in.
///
/// # Errors
/// 401: a route that is open to everybody has no caller. To ask for one there is a mistake in the table of routes, and
/// answered as what it would be for a client.
pub(crate) fn left_by_the_doorkeeper<T: Clone + Send + Sync + 'static>(parts: &Parts) -> Result<T, Problem> {
    parts.extensions.get::<T>().cloned().ok_or_else(|| {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            ErrorCode::Unauthenticated,
            "this address has no caller",
        )
    })
}

/// How a request came, for the audit: known before anybody knows whose it is.
#[derive(Debug, Clone, Default)]
pub struct Approach(pub Asked);

impl<S: Sync> FromRequestParts<S> for Approach {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// A lock as it was asked for, with what it leaves out about who asks and when: a lock file in the bucket, and whoever has
/// to wait, should not have to guess.
#[must_use]
pub fn introduced(caller: &Caller, mut lock: LockInfo) -> LockInfo {
    if lock.who.is_empty() {
        lock.who = caller.principal().to_string();
    }
    if lock.created.is_empty() {
        lock.created = SystemClock.now().to_string();
    }
    lock
}

/// The unit that the rest of the path names.
///
/// Taken from the raw path and decoded once: a router that decodes for us would have to be trusted not to do it twice,
/// nor to tidy up what it finds.
#[derive(Debug, Clone)]
pub struct UnitPath(pub UnitId);

impl<S: Sync> FromRequestParts<S> for UnitPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let path = parts
            .extensions
            .get::<OriginalUri>()
            .map_or_else(|| parts.uri.path(), |uri| uri.path());
        let route = parts.extensions.get::<&'static Route>();
        let start = route
            .and_then(|route| route.path.split_once('{'))
            .map_or("", |(start, _)| start);
        // Without its last slash an address names no unit either, and `strip_prefix` would not know it.
        let raw = path.strip_prefix(start).unwrap_or("");
        let unit = unit_of(raw)?;
        if let Some(notes) = parts.extensions.get::<Notes>() {
            notes.unit(&unit);
        }
        Ok(Self(unit))
    }
}

/// The unit that the rest of a path names, decoded once.
pub(crate) fn unit_of(raw: &str) -> Result<UnitId, Problem> {
    let refused = |reason: &dyn Display| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::BadUnitId,
            format!(
                "the address names no unit: {reason}. A unit is named by the path behind the door, as in /v1/backend/myapp/prod"
            ),
        )
    };
    let id = percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| refused(&"it is not UTF-8"))?;
    UnitId::parse(&id).map_err(|error| refused(&error))
}

/// What the request claims to hold, outside of its body: `?ID=`, `?id=` or `X-Terraform-Lock-ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockHint(pub Holding);

impl<S: Sync> FromRequestParts<S> for LockHint {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let refused = |reason: &dyn Display| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                ErrorCode::BadLockId,
                format!("the lock id of this request cannot be used: {reason}"),
            )
        };
        let mut claimed: Option<LockId> = None;
        let in_query = query_values(parts.uri.query().unwrap_or(""), |key| {
            // A claim that is overlooked would be a write without a lock.
            key.eq_ignore_ascii_case("id")
        });
        let in_header = parts.headers.get_all("x-terraform-lock-id").iter();
        let in_header = in_header.map(|value| value.to_str().map(str::to_owned).unwrap_or_default());
        for text in in_query.into_iter().chain(in_header) {
            // An empty one is refused like any other that is none: `?ID=$LOCK` with nothing in `$LOCK` must not be
            // taken for somebody who means to work without a lock, or to break whatever lock there is.
            let id = LockId::parse(&text).map_err(|error| refused(&error))?;
            if claimed.as_ref().is_some_and(|before| *before != id) {
                return Err(refused(&"the address and the headers name different ones"));
            }
            claimed = Some(id);
        }
        Ok(Self(claimed.map_or(Holding::Nothing, Holding::Lock)))
    }
}

/// The values of some keys of a query, decoded the way forms are.
fn query_values(query: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let pairs = query.split('&').filter_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        wanted(key).then(|| {
            percent_decode_str(&value.replace('+', " "))
                .decode_utf8_lossy()
                .into_owned()
        })
    });
    pairs.collect()
}

/// The version that has to be current for a write to happen: `If-Match`, with the ETag of a read.
///
/// A condition that is not understood is refused: overlooked, it would be a write without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnlyIf(pub Option<VersionId>);

impl<S: Sync> FromRequestParts<S> for OnlyIf {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let refused = |message: &str| Problem::new(StatusCode::BAD_REQUEST, ErrorCode::BadVersion, message);
        let mut values = parts.headers.get_all(http::header::IF_MATCH).iter();
        let Some(value) = values.next() else {
            return Ok(Self(None));
        };
        let version = value
            .to_str()
            .ok()
            .filter(|_| values.next().is_none())
            .and_then(|text| text.trim().trim_matches('"').parse().ok());
        version
            .map(|version| Self(Some(version)))
            .ok_or_else(|| refused("If-Match is to name one version, as the ETag of a read does"))
    }
}

/// What is found out about a request on its way, for the one line that the log says about it.
#[derive(Debug, Clone, Default)]
pub struct Notes(Arc<Mutex<Noted>>);

/// See [`Notes`].
#[derive(Debug, Clone, Default)]
pub struct Noted {
    /// Who asked.
    pub caller: Option<String>,
    /// About which unit.
    pub unit: Option<String>,
    /// What for.
    pub action: Option<&'static str>,
}

impl Notes {
    /// Who asks.
    pub fn caller(&self, caller: &Caller) {
        self.note(|noted| noted.caller = Some(caller.principal().to_string()));
    }

    /// Which unit it is about.
    pub fn unit(&self, unit: &UnitId) {
        self.note(|noted| noted.unit = Some(unit.to_string()));
    }

    /// What is to be done with it.
    pub fn action(&self, action: &'static str) {
        self.note(|noted| noted.action = Some(action));
    }

    /// What was noted so far.
    #[must_use]
    pub fn read(&self) -> Noted {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, note: impl FnOnce(&mut Noted)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl<S: Sync> FromRequestParts<S> for Notes {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn hint(query: &str, headers: &[&str]) -> Result<Holding, Problem> {
        let mut request = http::Request::builder().uri(format!("/v1/backend/a?{query}"));
        for header in headers {
            request = request.header("X-Terraform-Lock-ID", *header);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let hint = LockHint::from_request_parts(&mut parts, &()).now_or_never();
        hint.expect("nothing is awaited in there").map(|hint| hint.0)
    }

    fn lock(id: &str) -> Holding {
        Holding::Lock(LockId::parse(id).unwrap())
    }

    #[test]
    fn a_lock_is_named_by_either_spelling_of_the_query_or_by_the_header() {
        assert_eq!(hint("", &[]).unwrap(), Holding::Nothing);
        assert_eq!(hint("ref=main&ID=one", &[]).unwrap(), lock("one"));
        assert_eq!(hint("id=one", &[]).unwrap(), lock("one"));
        assert_eq!(hint("", &["one"]).unwrap(), lock("one"));
        assert_eq!(hint("ID=one&id=one", &["one"]).unwrap(), lock("one"));
        assert_eq!(hint("ID=by+hand%2F1", &[]).unwrap(), lock("by hand/1"));
    }

    #[test]
    fn an_empty_lock_id_or_two_different_ones_are_refused() {
        assert!(hint("ID=", &[]).is_err());
        assert!(hint("ID", &[]).is_err());
        assert!(hint("", &[""]).is_err());
        assert!(hint("ID=one&id=two", &[]).is_err());
        assert!(hint("ID=one", &["two"]).is_err());
    }

    #[test]
    fn a_unit_is_decoded_once() {
        assert_eq!(unit_of("myapp/prod").unwrap().as_str(), "myapp/prod");
        assert_eq!(unit_of("env:/ws/a%20b").unwrap().as_str(), "env:/ws/a b");
        assert_eq!(unit_of("a%2Fb/").unwrap().as_str(), "a/b");
        assert_eq!(unit_of("100%2525").unwrap().as_str(), "100%25");
        assert_eq!(unit_of("gr%C3%BCn+wei%C3%9F").unwrap().as_str(), "grün+weiß");
        assert!(unit_of("%FF").is_err());
        assert!(unit_of("a/%2e%2e/b").is_err());
        assert!(unit_of("").is_err());
    }
}
