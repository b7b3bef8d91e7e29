//! What a login leaves behind: a record, so that a refresh token serves once.
//!
//! Whoever steals a refresh token has a month. So each refresh replaces the token ("rotates" it), and a token that
//! comes again after it was replaced proves that two parties hold copies: nobody can tell which is the thief, and the
//! whole family is revoked. The person logs in again; the thief cannot.
//!
//! The rule, with `current` the token issued last and `previous` the one it replaced:
//!
//! | presented | | answer |
//! |---|---|---|
//! | `current` | | rotated: its successor is issued, it becomes `previous` |
//! | `previous` | within [`GRACE`] of its rotation | repeated: **the same successor again**, and nothing changes |
//! | `previous` | later | reused: the family is revoked |
//! | any other | | reused: the family is revoked |
//!
//! The second line is for honest clients: an answer was lost on the way, or two processes of one person refreshed at
//! once. They must not be logged out, and it must not help a thief either. A second successor *beside* the first would:
//! each party could go on along its own branch, and nobody would ever notice. So a successor is a function of the token
//! it replaces (HMAC-SHA256 keyed with its id), and a repetition gets the very token that was issued before. There is
//! one line of tokens and never a branch: whoever else holds the successor meets the third line at the next refresh,
//! unless they win a race of ten seconds at every single one. Once `current` was used, what was `previous` is "any
//! other": repeating it is reuse, however fast.
//!
//! Knowing an id buys nothing without our signature around it, so ids that can be computed from older ones give nothing
//! away. The record keeps hashes only: who reads the bucket learns no id.
//!
//! Everything here is a pure function. The caller stores the record by compare-and-swap *before* it answers, and where
//! it lost that race, reads again and asks again: the loser of two simultaneous refreshes finds the winner's rotation a
//! moment ago and is told [`Outcome::Repeated`].

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use opentaco_domain::{Principal, Sha256};
use serde::{Deserialize, Serialize};

use crate::ids::{FamilyId, TokenId};
use crate::token::Refresh;

/// How long after its rotation a refresh token may come again: a client's repetition, or a second process.
pub const GRACE: SignedDuration = SignedDuration::from_secs(10);

/// What is kept of a login. Opaque: it is stored and given back, by compare-and-swap.
///
/// A field that is not known here is an error: a replica of an older version must not write a record back without what
/// a newer one put into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    format: Format,
    principal: Principal,
    begun: Timestamp,
    expires: Timestamp,
    current: Sha256,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Sha256>,
    rotated: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked: Option<Revocation>,
}

/// The one format there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
struct Format;

/// When a family was revoked, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub why: Why,
}

/// Why a family was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The person logged out.
    LoggedOut,
    /// An administrator did it.
    Revoked,
    /// A refresh token was used again.
    Reused,
}

/// What to do about a refresh token that was presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Store this record in place of the one before; when it is stored, issue the successor.
    Rotated(Record, Successor),
    /// Store nothing; issue the successor again.
    Repeated(Successor),
    /// Store this record, tell the audit, and refuse: the family is revoked from now on.
    Reused(Record),
    /// Refuse: the family was revoked before.
    Revoked(Revocation),
    /// Refuse: the family has expired.
    Expired,
    /// Refuse: the record is not this token's.
    Stranger,
}

/// The refresh token to issue, by [`crate::token::Tokens::issue_refresh`] with both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Successor {
    /// Its id.
    pub id: TokenId,
    /// The moment to issue it for: that of the rotation, also when it is issued again.
    pub at: Timestamp,
}

/// The record of a login now, whose first refresh token is `first`, and whose tokens are good for `lifetime`.
#[must_use]
pub fn begin(principal: &Principal, first: &TokenId, lifetime: SignedDuration, now: Timestamp) -> Record {
    Record {
        format: Format,
        principal: principal.clone(),
        begun: now,
        expires: after(now, lifetime),
        current: hash(first),
        previous: None,
        rotated: now,
        revoked: None,
    }
}

/// What to do about `presented`, a token of the family that `record` stands for.
#[must_use]
pub fn rotate(record: &Record, presented: &Refresh, lifetime: SignedDuration, now: Timestamp) -> Outcome {
    let Refresh(token) = presented;
    if token.login.principal != record.principal {
        return Outcome::Stranger;
    }
    if let Some(revocation) = &record.revoked {
        return Outcome::Revoked(revocation.clone());
    }
    if record.is_over(now) {
        return Outcome::Expired;
    }
    let hash_presented = hash(&token.id);
    let next = successor(&token.family, &token.id);
    if same(&hash_presented, &record.current) {
        let (id, at) = (next, now);
        return Outcome::Rotated(record.rotated_to(&id, lifetime, now), Successor { id, at });
    }
    if record.was_just_replaced(&hash_presented, now) {
        let (id, at) = (next, record.rotated);
        return Outcome::Repeated(Successor { id, at });
    }
    Outcome::Reused(revoke(record, Why::Reused, now))
}

/// The record of a family that is revoked from now on. One that was revoked before keeps its first reason.
#[must_use]
pub fn revoke(record: &Record, why: Why, now: Timestamp) -> Record {
    let revocation = record.revoked.clone().unwrap_or(Revocation { at: now, why });
    Record {
        revoked: Some(revocation),
        ..record.clone()
    }
}

impl Record {
    /// Whose login it is.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// When they logged in.
    #[must_use]
    pub fn begun(&self) -> Timestamp {
        self.begun
    }

    /// When the last refresh token expires. Some days later nothing can ask for the record any more.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Whether and why it was revoked; access tokens of the family open nothing then.
    #[must_use]
    pub fn revoked(&self) -> Option<&Revocation> {
        self.revoked.as_ref()
    }

    /// Whether no token of the family can be refreshed any more for its age.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires <= now
    }

    fn rotated_to(&self, next: &TokenId, lifetime: SignedDuration, now: Timestamp) -> Self {
        Self {
            expires: after(now, lifetime),
            previous: Some(self.current),
            current: hash(next),
            rotated: now,
            ..self.clone()
        }
    }

    /// A replica whose clock is behind the one that rotated sees the rotation in its future: that is as good as now.
    fn was_just_replaced(&self, presented: &Sha256, now: Timestamp) -> bool {
        let replaced = self
            .previous
            .as_ref()
            .is_some_and(|previous| same(presented, previous));
        replaced && now.duration_since(self.rotated) < GRACE
    }
}

impl TryFrom<u8> for Format {
    type Error = String;

    fn try_from(format: u8) -> Result<Self, String> {
        match format {
            1 => Ok(Self),
            other => Err(format!("records of format {other} are not known here")),
        }
    }
}

impl From<Format> for u8 {
    fn from(_: Format) -> Self {
        1
    }
}

/// The id of the token that replaces `id`.
fn successor(family: &FamilyId, id: &TokenId) -> TokenId {
    let key = hmac::Key::new(hmac::HMAC_SHA256, id.as_str().as_bytes());
    let tag = hmac::sign(&key, family.as_str().as_bytes());
    let name = URL_SAFE_NO_PAD.encode(&tag.as_ref()[..16]);
    name.parse().expect("16 bytes are 22 characters of base64url")
}

fn hash(id: &TokenId) -> Sha256 {
    Sha256::of(id.as_str().as_bytes())
}

fn same(one: &Sha256, other: &Sha256) -> bool {
    verify_slices_are_equal(one.bytes(), other.bytes()).is_ok()
}

fn after(now: Timestamp, lifetime: SignedDuration) -> Timestamp {
    now.saturating_add(lifetime).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Login, Verified};

    const MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);

    /// One login, its record as it is stored, and a clock.
    struct World {
        family: FamilyId,
        record: Record,
        now: Timestamp,
    }

    /// A world just after a login, and the first refresh token.
    fn world() -> (World, TokenId) {
        let first = TokenId::draw();
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        let world = World {
            family: FamilyId::draw(),
            record: begin(&Principal::new("alice"), &first, MONTH, now),
            now,
        };
        (world, first)
    }

    impl World {
        fn token(&self, id: &TokenId) -> Refresh {
            let login = Login {
                principal: Principal::new("alice"),
                email: None,
                name: None,
                groups: Vec::new(),
                via: "test".to_owned(),
            };
            Refresh(Verified {
                login,
                family: self.family.clone(),
                id: id.clone(),
                issued: self.now,
                expires: self.now + MONTH,
            })
        }

        fn present(&self, id: &TokenId) -> Outcome {
            rotate(&self.record, &self.token(id), MONTH, self.now)
        }

        fn wait(&mut self, seconds: i64) {
            self.now += SignedDuration::from_secs(seconds);
        }

        /// Presents a token that must rotate, stores the record, and returns the successor.
        #[track_caller]
        fn rotated(&mut self, id: &TokenId) -> TokenId {
            match self.present(id) {
                Outcome::Rotated(record, next) => {
                    self.record = record;
                    next.id
                }
                other => panic!("a rotation was expected: {other:?}"),
            }
        }

        /// Presents a token that must be found reused, and stores the record.
        #[track_caller]
        fn reused(&mut self, id: &TokenId) {
            match self.present(id) {
                Outcome::Reused(record) => self.record = record,
                other => panic!("reuse was expected: {other:?}"),
            }
        }

        #[track_caller]
        fn repeated(&self, id: &TokenId) -> Successor {
            match self.present(id) {
                Outcome::Repeated(next) => next,
                other => panic!("a repetition was expected: {other:?}"),
            }
        }
    }

    #[test]
    fn each_refresh_replaces_the_token() {
        let (mut world, first) = world();
        let second = world.rotated(&first);
        world.wait(3600);
        let third = world.rotated(&second);
        assert!(first != second && second != third && first != third);
    }

    #[test]
    fn an_old_token_revokes_the_whole_family() {
        let (mut world, first) = world();
        let second = world.rotated(&first);
        world.wait(3600);
        world.reused(&first);
        assert_eq!(world.record.revoked().unwrap().why, Why::Reused);
        assert!(
            matches!(world.present(&second), Outcome::Revoked(_)),
            "the thief's, or ours"
        );
        assert!(matches!(world.present(&first), Outcome::Revoked(_)));
    }

    #[test]
    fn a_token_that_comes_again_at_once_gets_the_same_successor_and_changes_nothing() {
        let (mut world, first) = world();
        let second = world.rotated(&first);
        let rotated = world.now;
        world.wait(9);
        for _ in 0..3 {
            assert_eq!(
                world.repeated(&first),
                Successor {
                    id: second.clone(),
                    at: rotated
                }
            );
        }
        world.wait(3600);
        world.rotated(&second);
    }

    #[test]
    fn the_grace_is_over_after_ten_seconds() {
        let (mut world, first) = world();
        world.rotated(&first);
        world.wait(10);
        world.reused(&first);
    }

    #[test]
    fn a_repetition_does_not_prolong_the_grace() {
        let (mut world, first) = world();
        world.rotated(&first);
        world.wait(6);
        world.repeated(&first);
        world.wait(6);
        world.reused(&first);
    }

    #[test]
    fn a_token_that_comes_again_after_its_successor_was_used_is_reuse_however_fast() {
        let (mut world, first) = world();
        let second = world.rotated(&first);
        world.rotated(&second);
        world.reused(&first);
    }

    #[test]
    fn a_thief_within_the_grace_is_found_at_the_next_refresh_of_either() {
        for thief_is_first in [true, false] {
            let (mut world, stolen) = world();
            let owners = world.rotated(&stolen);
            let thiefs = world.repeated(&stolen).id;
            assert_eq!(owners, thiefs, "there is no second branch to go on along");
            world.wait(3600);
            let (next, late) = if thief_is_first {
                (&thiefs, &owners)
            } else {
                (&owners, &thiefs)
            };
            world.rotated(next);
            world.wait(3600);
            world.reused(late);
        }
    }

    #[test]
    fn two_processes_that_refresh_at_once_stay_logged_in() {
        let (mut world, first) = world();
        let lost_the_swap = world.present(&first);
        let won = world.rotated(&first);
        assert!(
            matches!(lost_the_swap, Outcome::Rotated(..)),
            "it read before the other stored"
        );
        assert_eq!(world.repeated(&first).id, won, "it reads again, and asks again");
    }

    #[test]
    fn a_replica_whose_clock_is_behind_repeats_as_well() {
        let (mut world, first) = world();
        let second = world.rotated(&first);
        world.wait(-30);
        assert_eq!(world.repeated(&first).id, second);
    }

    #[test]
    fn a_token_that_the_record_never_knew_is_reuse() {
        let (mut world, _) = world();
        world.reused(&TokenId::draw());
    }

    #[test]
    fn a_revoked_family_refreshes_nothing_and_keeps_its_first_reason() {
        let (mut world, first) = world();
        world.record = revoke(&world.record, Why::LoggedOut, world.now);
        world.wait(60);
        world.record = revoke(&world.record, Why::Revoked, world.now);
        let Outcome::Revoked(revocation) = world.present(&first) else {
            panic!("the family was revoked");
        };
        assert_eq!(revocation.why, Why::LoggedOut);
    }

    #[test]
    fn a_family_lives_for_its_lifetime_after_the_last_refresh() {
        let (mut world, first) = world();
        world.wait(29 * 24 * 3600);
        let second = world.rotated(&first);
        world.wait(29 * 24 * 3600);
        let third = world.rotated(&second);
        world.wait(30 * 24 * 3600);
        assert_eq!(world.present(&third), Outcome::Expired);
        assert!(world.record.is_over(world.now));
    }

    #[test]
    fn a_record_is_no_use_for_somebody_elses_token() {
        let (mut world, first) = world();
        world.record.principal = Principal::new("bob");
        assert_eq!(world.present(&first), Outcome::Stranger);
    }

    #[test]
    fn a_record_comes_back_as_it_was_stored_and_holds_no_id() {
        let (mut world, first) = world();
        let second = world.rotated(&first);
        world.record = revoke(&world.record, Why::Revoked, world.now);
        let json = serde_json::to_string(&world.record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), world.record);
        assert!(!json.contains(first.as_str()) && !json.contains(second.as_str()));
    }

    #[test]
    fn a_record_that_a_later_version_wrote_is_not_read() {
        let (world, _) = world();
        let mut json = serde_json::to_value(&world.record).unwrap();
        json["frozen"] = true.into();
        assert!(serde_json::from_value::<Record>(json.clone()).is_err());
        json.as_object_mut().unwrap().remove("frozen");
        json["format"] = 2.into();
        assert!(serde_json::from_value::<Record>(json).is_err());
    }
}
