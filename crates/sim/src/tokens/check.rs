//! What must hold of every history of tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use opentaco_domain::Sha256;
use opentaco_identity::TokenId;
use opentaco_identity::session::GRACE;

use super::{Ask, Asked, Credential, History, Line, Page, Told, family_hash, token_hash};
use crate::checker::claims::Claims;
use crate::executor::{Instant, nanos};
use crate::promise::{Broken, during};

/// How old what is decided by may be.
const BELIEVED: Duration = Duration::from_secs(5);

type Breaks<'a> = &'a mut dyn FnMut(&'static str, Instant, String);

/// Which promises a history breaks.
#[must_use]
pub fn check(history: &History) -> Vec<Broken> {
    let mut broken = Vec::new();
    let mut breaks = |promise, at, what| broken.push(Broken { promise, at, what });
    if !history.ended {
        breaks("it-ends", 0, "the history does not end by itself".to_owned());
    }
    check_lines(history, &mut breaks);
    check_refreshes(history, &mut breaks);
    check_ledger(history, &mut breaks);
    check_ends(history, &mut breaks);
    check_decisions(history, &mut breaks);
    broken
}

/// Whether a request may have had an effect at this moment.
fn may_have(asked: &Asked, at: Instant) -> bool {
    let has = !matches!(asked.told, Told::Missing);
    asked.from <= at && has && (asked.until >= at || asked.told == Told::Unsure)
}

/// Each record of a login beside the one before it.
fn check_lines(history: &History, breaks: Breaks<'_>) {
    for (family, lines) in &history.logins {
        let of_it = |asked: &&Asked| asked.family.as_ref().map(family_hash) == Some(*family);
        let asked: Vec<&Asked> = history.asked.iter().filter(of_it).collect();
        let mut seen: BTreeSet<Sha256> = BTreeSet::new();
        seen.extend(lines.first().map(|(_, line)| line.current));
        for pair in lines.windows(2) {
            let [(_, before), (at, after)] = pair else {
                continue;
            };
            let presented = |token: Sha256| move |asked: &&&Asked| matches!(&asked.ask, Ask::Refresh(id) if token_hash(id) == token);
            let in_time = |asked: &&&Asked| may_have(asked, *at);
            if after.current != before.current {
                let replaces = after.previous == Some(before.current) && seen.insert(after.current);
                if !replaces || before.revoked.is_some() || after.revoked.is_some() {
                    breaks("one-line", *at, format!("{after:?} follows {before:?}"));
                }
                if !asked
                    .iter()
                    .filter(presented(before.current))
                    .any(|asked| in_time(&asked))
                {
                    breaks(
                        "login-unasked",
                        *at,
                        format!("{family} goes on, and nobody asked for it"),
                    );
                }
            } else if before.revoked.is_none() && after.revoked.is_some() {
                let ends = |asked: &&&Asked| matches!(asked.ask, Ask::End | Ask::Refresh(_));
                if !asked.iter().filter(ends).any(|asked| in_time(&asked)) {
                    breaks(
                        "login-unasked",
                        *at,
                        format!("{family} is ended, and nobody asked for it"),
                    );
                }
            } else if before.revoked != after.revoked || before.previous != after.previous {
                breaks("one-line", *at, format!("{after:?} follows {before:?}"));
            }
        }
    }
}

/// What whoever came with a refresh token was told.
fn check_refreshes(history: &History, breaks: Breaks<'_>) {
    let mut successors: BTreeMap<&TokenId, &TokenId> = BTreeMap::new();
    let clock = |at: Instant| history.beginning + Duration::from_nanos(at);
    for asked in &history.asked {
        let (Ask::Refresh(token), Some(family)) = (&asked.ask, &asked.family) else {
            continue;
        };
        let hash = token_hash(token);
        let empty = Vec::new();
        let all = history.logins.get(&family_hash(family)).unwrap_or(&empty);
        // It is replaced once: whatever says so later says nothing new.
        let replaced = all.iter().find(|(_, line)| line.previous == Some(hash));
        let replaced = replaced.map(|(_, line)| line.rotated);
        let lines: Vec<&Line> = during(all, asked.from, asked.until).collect();
        match &asked.told {
            Told::Next(next) => {
                let is_good = lines.iter().any(|line| {
                    let just_replaced = line.previous == Some(hash)
                        && replaced.is_some_and(|at| clock(asked.from).duration_since(at) < GRACE);
                    line.revoked.is_none() && (line.current == hash || just_replaced)
                });
                if !is_good {
                    breaks(
                        "used-is-refused",
                        asked.until,
                        format!("{} was used before, and bought another", token.as_str()),
                    );
                }
                // Where it was overtaken, it is the one before by now.
                let stands = lines
                    .iter()
                    .any(|line| line.current == token_hash(next) || line.previous == Some(token_hash(next)));
                let other = successors.insert(token, next).filter(|other| *other != next);
                if !stands || other.is_some() {
                    breaks(
                        "one-line",
                        asked.until,
                        format!("{} has a successor that is none", token.as_str()),
                    );
                }
            }
            Told::Ended => {
                let has_reason = lines
                    .iter()
                    .any(|line| line.revoked.is_some() || line.current != hash);
                if !has_reason {
                    breaks(
                        "ended-with-reason",
                        asked.until,
                        format!("{} was good, and ended its login", token.as_str()),
                    );
                }
            }
            Told::Missing => breaks(
                "ended-with-reason",
                asked.until,
                format!("the login of {} is not known", token.as_str()),
            ),
            Told::Done | Told::Unsure => {}
        }
    }
}

/// Each ledger beside the one before it.
fn check_ledger(history: &History, breaks: Breaks<'_>) {
    let mut claims = Claims::default();
    for pair in history.pages.windows(2) {
        let [(_, before), (at, after)] = pair else {
            continue;
        };
        let mut changes = 0;
        for (hash, is_kept) in before
            .tokens
            .keys()
            .chain(after.tokens.keys())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(|hash| {
                (
                    hash,
                    (before.tokens.contains_key(hash), after.tokens.contains_key(hash)),
                )
            })
            .filter(|(_, (was, is))| was != is)
            .map(|(hash, (_, is))| (hash, is))
        {
            changes += 1;
            let wanted = match is_kept {
                true => Ask::Keep(*hash),
                false => Ask::Revoke(*hash),
            };
            let causes = (0..history.asked.len())
                .filter(|index| {
                    let asked = &history.asked[*index];
                    asked.ask == wanted && may_have(asked, *at)
                })
                .collect();
            if !claims.claim(causes) {
                breaks(
                    "tokens-unasked",
                    *at,
                    format!("{wanted:?} happened, and nobody asked for it then"),
                );
            }
        }
        for family in after
            .revoked
            .keys()
            .filter(|family| !before.revoked.contains_key(*family))
        {
            changes += 1;
            let ends = |asked: &Asked| {
                let of_it = asked.family.as_ref().map(family_hash) == Some(*family);
                of_it && matches!(asked.ask, Ask::End | Ask::Refresh(_)) && may_have(asked, *at)
            };
            if !history.asked.iter().any(ends) {
                breaks(
                    "tokens-unasked",
                    *at,
                    format!("{family} is over, and nobody asked for it"),
                );
            }
        }
        let forgotten = before
            .revoked
            .keys()
            .find(|family| !after.revoked.contains_key(*family));
        if let Some(family) = forgotten {
            breaks("over-is-over", *at, format!("{family} is over no more"));
        }
        if changes > 1 {
            breaks("tokens-unasked", *at, format!("{changes} changes at once"));
        }
    }
}

/// Who is told that something was made, or is over, finds it so.
fn check_ends(history: &History, breaks: Breaks<'_>) {
    for asked in &history.asked {
        let was = |fits: &dyn Fn(&Page) -> bool| during(&history.pages, asked.from, asked.until).any(fits);
        match (&asked.ask, &asked.told, &asked.family) {
            (Ask::End, Told::Done, Some(family)) | (Ask::Refresh(_), Told::Ended, Some(family)) => {
                let hash = family_hash(family);
                let line = history.logins.get(&hash).and_then(|lines| {
                    let before = lines.iter().take_while(|(at, _)| *at <= asked.until);
                    before.last()
                });
                let is_ended = line.is_some_and(|(_, line)| line.revoked.is_some());
                let is_told = was(&|page| page.revoked.contains_key(&hash));
                if !is_ended || !is_told {
                    breaks(
                        "over-is-over",
                        asked.until,
                        format!("{family} was said to be over"),
                    );
                }
            }
            (Ask::Begin(token), Told::Done, Some(family)) => {
                let lines = history.logins.get(&family_hash(family));
                let begins = lines.and_then(|lines| lines.first());
                if !begins.is_some_and(|(at, line)| *at <= asked.until && line.current == token_hash(token)) {
                    breaks("login-unasked", asked.until, format!("{family} was not begun"));
                }
            }
            (Ask::Keep(hash), Told::Done, _) if !was(&|page| page.tokens.contains_key(hash)) => {
                breaks("token-is-kept", asked.until, format!("{hash} was not made"));
            }
            (Ask::Revoke(hash), Told::Done | Told::Missing, _)
                if !was(&|page| !page.tokens.contains_key(hash)) =>
            {
                breaks("token-is-kept", asked.until, format!("{hash} was not ended"));
            }
            _ => {}
        }
    }
}

fn check_decisions(history: &History, breaks: Breaks<'_>) {
    for decided in &history.decided {
        let lately = decided.at.saturating_sub(nanos(BELIEVED));
        let is_good = |page: &Page| match &decided.what {
            Credential::Login(family) => !page.revoked.contains_key(family),
            Credential::Token(hash) => page.tokens.contains_key(hash),
        };
        if !during(&history.pages, lately, decided.at).any(|page| is_good(page) == decided.is_good) {
            breaks("token-is-over", decided.at, format!("{decided:?}"));
        }
    }
}
