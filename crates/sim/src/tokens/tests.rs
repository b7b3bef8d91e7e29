//! The checker, checked: a history that keeps every promise is falsified in one place, and the promise that it breaks now
//! has to be noticed.

use serde_json::json;

use super::*;
use crate::promise::{Lie, each_lie_breaks_its_own};

const SECOND: Instant = 1_000_000_000;

fn family() -> FamilyId {
    "0123456789abcdef012345".parse().unwrap()
}

fn token(n: u8) -> TokenId {
    format!("token-{n:016}").parse().unwrap()
}

fn at(second: Instant) -> Timestamp {
    Timestamp::UNIX_EPOCH + Duration::from_secs(second)
}

/// The record of a login whose `n`th token is current since some second.
fn line(n: u8, second: Instant) -> (Instant, Line) {
    let line = Line {
        current: token_hash(&token(n)),
        previous: (n > 1).then(|| token_hash(&token(n - 1))),
        rotated: at(second),
        revoked: None,
    };
    (second * SECOND, line)
}

fn asks(ask: Ask, told: Told, from: Instant, until: Instant) -> Asked {
    let family = (!matches!(ask, Ask::Keep(_) | Ask::Revoke(_))).then(family);
    Asked {
        who: "ada",
        family,
        ask,
        told,
        from: from * SECOND,
        until: until * SECOND,
    }
}

fn api_token() -> Sha256 {
    Sha256::of(b"an API token")
}

fn decides(what: Credential, is_good: bool, second: Instant) -> Decided {
    let at = second * SECOND;
    Decided { what, is_good, at }
}

/// Ada logs in, goes on twice, and a thief comes with the first token; she makes an API token and ends it.
fn kept() -> History {
    let hash = family_hash(&family());
    let mut over = line(3, 30).1;
    over.revoked = Some(json!({"why": "reused"}));
    let mut page = Page::default();
    let mut pages = vec![(0, page.clone())];
    page.tokens.insert(api_token(), json!({}));
    pages.push((3 * SECOND, page.clone()));
    page.tokens.clear();
    pages.push((5 * SECOND, page.clone()));
    page.revoked.insert(hash, json!({}));
    pages.push((52 * SECOND, page));
    History {
        beginning: Timestamp::UNIX_EPOCH,
        logins: [(
            hash,
            vec![line(1, 1), line(2, 20), line(3, 30), (51 * SECOND, over)],
        )]
        .into(),
        pages,
        asked: vec![
            asks(Ask::Begin(token(1)), Told::Done, 0, 1),
            asks(Ask::Refresh(token(1)), Told::Next(token(2)), 19, 21),
            asks(Ask::Refresh(token(1)), Told::Next(token(2)), 22, 23),
            asks(Ask::Refresh(token(2)), Told::Next(token(3)), 29, 31),
            asks(Ask::Refresh(token(1)), Told::Ended, 50, 53),
            asks(Ask::Keep(api_token()), Told::Done, 2, 4),
            asks(Ask::Revoke(api_token()), Told::Done, 4, 6),
        ],
        decided: vec![
            decides(Credential::Login(hash), true, 40),
            decides(Credential::Login(hash), true, 56),
            decides(Credential::Login(hash), false, 58),
            decides(Credential::Token(api_token()), false, 11),
        ],
        ended: true,
        lines: Vec::new(),
    }
}

fn lines(history: &mut History) -> &mut Vec<(Instant, Line)> {
    history.logins.values_mut().next().unwrap()
}

const LIES: &[Lie<History>] = &[
    ("it-ends", "it goes on", |history| history.ended = false),
    ("one-line", "a second successor beside the first", |history| {
        history.asked[2].told = Told::Next(token(9));
    }),
    ("one-line", "a token that was used is current again", |history| {
        let mut again = line(3, 35).1;
        again.current = token_hash(&token(1));
        again.previous = Some(token_hash(&token(3)));
        lines(history).insert(3, (35 * SECOND, again));
    }),
    ("one-line", "a login that is over goes on", |history| {
        lines(history).push(line(4, 60));
    }),
    ("login-unasked", "a login goes on by itself", |history| {
        history.asked.remove(3);
    }),
    ("login-unasked", "a login is ended by itself", |history| {
        history.asked.remove(4);
    }),
    (
        "used-is-refused",
        "what was used long ago buys another",
        |history| {
            history.asked[4].told = Told::Next(token(2));
        },
    ),
    (
        "used-is-refused",
        "what was used comes again too late",
        |history| {
            history.asked[2] = asks(Ask::Refresh(token(1)), Told::Next(token(2)), 45, 46);
        },
    ),
    ("ended-with-reason", "a good token ends its login", |history| {
        history.asked[3].told = Told::Ended;
        lines(history).truncate(2);
    }),
    (
        "over-is-over",
        "a login that is over is not told to all",
        |history| {
            history.pages.pop();
        },
    ),
    ("over-is-over", "a login is over no more", |history| {
        history.pages.push((70 * SECOND, Page::default()));
    }),
    ("tokens-unasked", "an API token comes by itself", |history| {
        history.asked.remove(5);
    }),
    ("tokens-unasked", "an API token comes back", |history| {
        let page = history.pages[1].1.clone();
        history.pages.insert(3, (7 * SECOND, page));
    }),
    (
        "token-is-kept",
        "an API token is said to be ended, and is not",
        |history| {
            history
                .asked
                .push(asks(Ask::Revoke(api_token()), Told::Missing, 4, 4));
        },
    ),
    (
        "token-is-over",
        "a login that is over counts for six seconds",
        |history| {
            let hash = family_hash(&family());
            history.decided.push(decides(Credential::Login(hash), true, 59));
        },
    ),
];

#[test]
fn what_keeps_every_promise_breaks_none_and_each_lie_breaks_its_own() {
    each_lie_breaks_its_own(PROMISES, check, kept, LIES);
}
