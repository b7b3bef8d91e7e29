//! Whatever a request says, nobody is believed without the secret; what was signed with it is believed, and not after
//! anything that is signed was changed.

use jiff::{SignedDuration, Timestamp};
use opentaco_domain::Secret;
use opentaco_identity::sigv4::{Asked, NotSigned, Presented, SKEW_MAX};

use super::signer::{Request, sha256};

/// Nobody has it but the signer here.
const SECRET: &str = "never seen on any wire, and in no corpus";

pub(crate) fn check(bytes: &[u8]) {
    let Some((request, body)) = Request::read(bytes) else {
        return;
    };
    // As it came.
    if let Ok(Some(presented)) = Presented::read(&asked(&request)) {
        assert!(presented.access_key.len() <= bytes.len());
        let verdict = presented.verify(&asked(&request), &Secret::new(SECRET), presented.at);
        assert!(verdict.is_err(), "a signature was made without the secret");
    }
    check_signed(request, body);
}

/// Signed by somebody else's code.
fn check_signed(mut request: Request, body: &[u8]) {
    // Said to be signed by query as well, it would be refused for that.
    if request.query.contains("X-Amz-") || request.query.contains('%') && request.query.contains("mz-") {
        return;
    }
    let Some(_) = request.sign("KEY", SECRET, &sha256(body)) else {
        return;
    };
    if request.headers.get_all("x-amz-security-token").iter().count() > 1 {
        return;
    }
    let first = verify(&request, SECRET, now());
    assert_eq!(first, Ok(()), "{request:?}");
    assert_eq!(
        verify(&request, "another secret", now()),
        Err(NotSigned::Mismatch)
    );
    let late = SKEW_MAX + SignedDuration::from_secs(1);
    assert_eq!(verify(&request, SECRET, now() + late), Err(NotSigned::Skewed));
    assert_eq!(verify(&request, SECRET, now() - late), Err(NotSigned::Skewed));

    let mut changed = request.clone();
    changed.path.push('x');
    assert_eq!(verify(&changed, SECRET, now()), Err(NotSigned::Mismatch));
    let mut changed = request.clone();
    changed.method.push('X');
    assert_eq!(verify(&changed, SECRET, now()), Err(NotSigned::Mismatch));
    let mut changed = request.clone();
    changed.query.push_str("&x=1");
    assert_eq!(verify(&changed, SECRET, now()), Err(NotSigned::Mismatch));
    let mut changed = request.clone();
    changed.headers.insert(
        "x-amz-copy-source",
        "/bucket/key".parse().expect("it is a header"),
    );
    if !request.headers.contains_key("x-amz-copy-source") {
        assert_eq!(
            verify(&changed, SECRET, now()),
            Err(NotSigned::Unsigned("x-amz-copy-source".to_owned()))
        );
    }
    for name in request.headers.keys().filter(|name| *name != "authorization") {
        let mut changed = request.clone();
        changed.headers.remove(name);
        assert!(verify(&changed, SECRET, now()).is_err(), "{name} was left out");
        let mut changed = request.clone();
        changed.headers.append(name, "x".parse().expect("it is a header"));
        assert!(verify(&changed, SECRET, now()).is_err(), "{name} was added to");
    }
}

fn now() -> Timestamp {
    "2026-12-01T12:00:00Z".parse().expect("it is a time")
}

fn verify(request: &Request, secret: &str, now: Timestamp) -> Result<(), NotSigned> {
    let asked = asked(request);
    let presented = Presented::read(&asked)?.ok_or(NotSigned::Mismatch)?;
    presented.verify(&asked, &Secret::new(secret), now).map(drop)
}

fn asked(request: &Request) -> Asked<'_> {
    Asked {
        method: &request.method,
        path: &request.path,
        query: &request.query,
        headers: &request.headers,
    }
}
