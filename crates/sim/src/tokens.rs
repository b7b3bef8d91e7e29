//! Histories of tokens: people log in, go on with their logins and end them; thieves have copies of their refresh tokens;
//! API tokens are made and ended. Requests are lost and land late, replicas die, and each decides by what it remembers.
//!
//! What is promised ([`PROMISES`]) is checked from both ends: from the records that lay in the bucket, one after the
//! other, and from what people were told. How a refresh token is judged is `opentaco_identity`'s own code; what a door
//! does around it (`rotate`) is as short here as it is there.

mod check;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, future};
use jiff::{SignedDuration, Timestamp};
use opentaco_control::StateControl;
use opentaco_control::access::Access;
use opentaco_control::tokens::{KeptToken, Owner, TokenError};
use opentaco_domain::access::Member;
use opentaco_domain::{Caller, Principal, Sha256};
use opentaco_identity::session::{self, Outcome, Record, Why};
use opentaco_identity::{FamilyId, Login, Refresh, TokenId, Verified};
use opentaco_storage::planted::{Bug, planted};
use opentaco_storage::records::Records;
use opentaco_storage::{Bucket, Retention, Surroundings, Vault};
use serde::Deserialize;

pub use self::check::check;
use crate::bucket::{SimBucket, Weather};
use crate::executor::{Executor, Group, Instant, hold};
use crate::promise::{self, record_in};
use crate::replicas::Replicas;

/// Who logs in.
const PEOPLE: [&str; 2] = ["ada", "bob"];
/// The document of everything that is over.
const LEDGER: &str = "__opentaco_tokens/ledger.json";
/// Below it, the records of logins.
const LOGINS: &str = "__opentaco_tokens/logins/";
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a refresh token is good, and an API token: longer than any history.
const LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A history that takes more polls than this does not end by itself.
const POLLS_MAX: u64 = 500_000;

/// What is promised, by name.
pub const PROMISES: &[(&str, &str)] = &[
    ("it-ends", "every history comes to its end"),
    (
        "one-line",
        "of a login there is one line of refresh tokens: each replaces the one before, once, and none beside another",
    ),
    (
        "login-unasked",
        "no login is gone on with or ended without a request for it",
    ),
    (
        "used-is-refused",
        "a refresh token that was replaced longer than ten seconds ago buys nothing",
    ),
    (
        "ended-with-reason",
        "a login goes on until it is ended, or a token of it comes that was used before",
    ),
    (
        "over-is-over",
        "who is told that a login is over, or has ended one, finds it so for every replica, and it stays so",
    ),
    (
        "tokens-unasked",
        "every change of the ledger was asked for, each once: no token that was ended comes back",
    ),
    (
        "token-is-kept",
        "who is told that an API token was made or ended finds it so, at some moment of the request",
    ),
    (
        "token-is-over",
        "nobody decides by what is older than five seconds which tokens are good",
    ),
];

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ask {
    /// A login, with its first refresh token.
    Begin(TokenId),
    /// The next session, for this refresh token.
    Refresh(TokenId),
    /// The end of a login.
    End,
    /// An API token.
    Keep(Sha256),
    /// The end of an API token.
    Revoke(Sha256),
}

/// What a client was told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Done,
    /// The next refresh token.
    Next(TokenId),
    /// The login is over, and everything of it was ended.
    Ended,
    /// There is no such thing.
    Missing,
    /// Nobody could say, or no answer came: anything may have happened.
    Unsure,
}

#[derive(Debug, Clone)]
struct Asked {
    who: &'static str,
    family: Option<FamilyId>,
    ask: Ask,
    told: Told,
    from: Instant,
    until: Instant,
}

/// What a replica let in, or did not.
#[derive(Debug, Clone)]
struct Decided {
    what: Credential,
    is_good: bool,
    at: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Credential {
    /// An access token of this login.
    Login(Sha256),
    /// An API token.
    Token(Sha256),
}

/// The record of a login, as it lay in the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Line {
    current: Sha256,
    #[serde(default)]
    previous: Option<Sha256>,
    rotated: Timestamp,
    #[serde(default)]
    revoked: Option<serde_json::Value>,
}

/// The ledger, as it lay in the bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct Page {
    #[serde(default)]
    revoked: BTreeMap<Sha256, serde_json::Value>,
    #[serde(default)]
    tokens: BTreeMap<Sha256, serde_json::Value>,
}

/// Everything that can be known of a history.
#[derive(Debug)]
pub struct History {
    /// When it began, by the clocks.
    beginning: Timestamp,
    /// By the hash of its family, every record of a login that lay in the bucket.
    logins: BTreeMap<Sha256, Vec<(Instant, Line)>>,
    /// Nothing, and then every ledger that lay there.
    pages: Vec<(Instant, Page)>,
    asked: Vec<Asked>,
    decided: Vec<Decided>,
    ended: bool,
    /// Everything that happened, for people.
    pub lines: Vec<(Instant, String)>,
}

impl History {
    /// How many refresh tokens were presented.
    #[must_use]
    pub fn refreshes(&self) -> usize {
        let refreshes = |asked: &&Asked| matches!(asked.ask, Ask::Refresh(_));
        self.asked.iter().filter(refreshes).count()
    }

    /// How many logins were ended because a used token came.
    #[must_use]
    pub fn thefts(&self) -> usize {
        let lines = self.logins.values().filter_map(|lines| lines.last());
        lines
            .filter(|(_, line)| line.revoked.as_ref().is_some_and(|why| why["why"] == "reused"))
            .count()
    }

    /// How many decisions were made.
    #[must_use]
    pub fn decisions(&self) -> usize {
        self.decided.len()
    }
}

#[derive(Clone)]
struct Replica {
    control: StateControl,
    surroundings: Surroundings,
}

#[derive(Clone)]
struct World {
    executor: Executor,
    bucket: SimBucket,
    replicas: Replicas<Replica>,
    asked: Arc<Mutex<Vec<Asked>>>,
    decided: Arc<Mutex<Vec<Decided>>>,
    /// What can be presented: logins and API tokens that somebody has.
    known: Arc<Mutex<Vec<Credential>>>,
}

/// Plays the history of a seed to its end.
#[must_use]
pub fn play(seed: u64) -> History {
    let executor = Executor::new(seed);
    let bucket = SimBucket::new(executor.clone(), Weather { faults: 0 });
    if executor.chance(300) {
        bucket.tag_by_digest();
    }
    let world = World {
        executor: executor.clone(),
        replicas: Replicas::new(&executor, &bucket),
        bucket,
        asked: Arc::default(),
        decided: Arc::default(),
        known: Arc::default(),
    };
    let beginning = executor.surroundings(Group::Outside).clock.now();
    let living = world.clone();
    let ended = executor.play(async move { living.live().await }, POLLS_MAX);
    world.history(beginning, ended)
}

impl World {
    async fn live(&self) {
        for index in 0..1 + self.executor.index(3) {
            self.replicas.begin((index, 0), open).await;
        }
        let (_, first) = self.replicas.get(0);
        let members = [Member::User("ada".into())];
        let access = first.control.access().expect("roles decide here");
        let initialised = access.initialise(&Caller::root(), &members).await;
        debug_assert!(initialised.is_ok(), "the weather is fair");
        let faults = self.executor.one_of(&[0, 20, 60, 150, 300]);
        self.bucket.set_weather(Weather { faults });

        let mut actors: Vec<BoxFuture<'_, ()>> = Vec::new();
        for number in 0..2 + self.executor.below(3) {
            actors.push(self.person(number).boxed());
        }
        actors.push(self.programmer().boxed());
        actors.push(self.guard().boxed());
        if self.executor.chance(600) {
            actors.push(self.misfortune().boxed());
        }
        future::join_all(actors).await;
        // Replicas go on looking for ever.
        self.replicas.end();
    }

    /// An id that nobody else draws.
    fn draw(&self) -> String {
        format!(
            "{:016x}{:06x}",
            self.executor.bits(),
            self.executor.bits() & 0xff_ffff
        )
    }

    /// One request to some replica.
    async fn ask(&self, who: &'static str, family: Option<&FamilyId>, ask: Ask) -> Told {
        let (life, replica) = self.replicas.any();
        let from = self.executor.now();
        let (login, what) = (family.cloned(), ask.clone());
        let work = async move { perform(&replica, who, login.as_ref(), &what).await };
        let told = self.replicas.ask(life, PATIENCE, work).await.flatten();
        let told = told.unwrap_or(Told::Unsure);
        hold(&self.asked).push(Asked {
            who,
            family: family.cloned(),
            ask,
            told: told.clone(),
            from,
            until: self.executor.now(),
        });
        told
    }

    /// The same up to three times, as clients do who are not answered.
    async fn insist(&self, who: &'static str, family: Option<&FamilyId>, ask: Ask) -> Told {
        for _ in 0..3 {
            let told = self.ask(who, family, ask.clone()).await;
            if told != Told::Unsure {
                return told;
            }
            self.executor.rest(4000).await;
        }
        Told::Unsure
    }

    /// Somebody who logs in, and goes on with it.
    async fn person(&self, number: u64) {
        let who = PEOPLE[usize::try_from(number).unwrap_or(0) % PEOPLE.len()];
        for _ in 0..1 + self.executor.below(3) {
            let family: FamilyId = self.draw().parse().expect("22 hex digits are an id");
            let mut token: TokenId = self.draw().parse().expect("22 hex digits are an id");
            if self.insist(who, Some(&family), Ask::Begin(token.clone())).await != Told::Done {
                continue;
            }
            hold(&self.known).push(Credential::Login(family_hash(&family)));
            let mut used: Vec<TokenId> = Vec::new();
            for _ in 0..2 + self.executor.below(8) {
                match self.executor.below(20) {
                    // It was copied, and comes from somebody else as well: what was used, or what is good.
                    0 | 1 => {
                        let stolen = match used.is_empty() || self.executor.chance(200) {
                            true => token.clone(),
                            false => self.executor.one_of(&used),
                        };
                        self.insist(who, Some(&family), Ask::Refresh(stolen)).await;
                    }
                    2 if self.executor.chance(500) => {
                        self.insist(who, Some(&family), Ask::End).await;
                    }
                    _ => {}
                }
                // A second process of the same person does the same at the same time.
                let twice = self.executor.chance(250);
                let other = async {
                    if twice {
                        self.executor.rest(2000).await;
                        self.ask(who, Some(&family), Ask::Refresh(token.clone())).await;
                    }
                };
                let first = self.insist(who, Some(&family), Ask::Refresh(token.clone()));
                let (told, ()) = futures::join!(first, other);
                match told {
                    Told::Next(next) => used.push(std::mem::replace(&mut token, next)),
                    Told::Unsure => {}
                    _ => break,
                }
                let rest = self.executor.one_of(&[1000, 5000, 30_000]);
                self.executor.rest(rest).await;
            }
        }
    }

    /// Somebody who makes API tokens and ends them.
    async fn programmer(&self) {
        let mut kept: Vec<Sha256> = Vec::new();
        for _ in 0..4 + self.executor.below(10) {
            if kept.is_empty() || self.executor.chance(500) {
                let hash = Sha256::of(self.draw().as_bytes());
                self.insist("ada", None, Ask::Keep(hash)).await;
                kept.push(hash);
                hold(&self.known).push(Credential::Token(hash));
            } else {
                let hash = kept.swap_remove(self.executor.index(kept.len()));
                self.insist("ada", None, Ask::Revoke(hash)).await;
                // Impatience: it is made sure of once more, elsewhere.
                if self.executor.chance(200) {
                    self.ask("ada", None, Ask::Revoke(hash)).await;
                }
            }
            self.executor.rest(6000).await;
        }
    }

    /// Somebody who comes with what there is, as every request does.
    async fn guard(&self) {
        for _ in 0..80 {
            self.executor.rest(2000).await;
            let known = hold(&self.known).clone();
            if known.is_empty() {
                continue;
            }
            let what = self.executor.one_of(&known);
            let (_, replica) = self.replicas.any();
            let ledger = replica.control.ledger();
            // Where nobody can say, nobody is let in, and nothing is decided.
            let is_good = match &what {
                Credential::Login(family) => ledger.is_revoked(family).map(|revoked| !revoked),
                Credential::Token(hash) => ledger.token(hash).map(|kept| kept.is_some()),
            };
            if let Ok(is_good) = is_good {
                let at = self.executor.now();
                hold(&self.decided).push(Decided { what, is_good, at });
            }
        }
    }

    /// Replicas die and come back, or stand still.
    async fn misfortune(&self) {
        for _ in 0..1 + self.executor.below(5) {
            self.executor.rest(20_000).await;
            if let Some(life) = self.replicas.strike(400, 60) {
                self.replicas.begin(life, open).await;
            }
        }
    }

    fn history(&self, beginning: Timestamp, ended: bool) -> History {
        let events = self.bucket.events();
        let mut logins: BTreeMap<Sha256, Vec<(Instant, Line)>> = BTreeMap::new();
        let mut pages = vec![(0, Page::default())];
        for event in &events {
            let Some(Some(bytes)) = &event.now else { continue };
            if event.key == LEDGER {
                pages.push((event.at, record_in(bytes)));
            }
            let family = event
                .key
                .strip_prefix(LOGINS)
                .and_then(|name| name.rsplit_once('/'));
            if let Some(family) = family.and_then(|(_, family)| family.parse().ok()) {
                logins
                    .entry(family)
                    .or_default()
                    .push((event.at, record_in(bytes)));
            }
        }
        let asked = hold(&self.asked).clone();
        let said = asked.iter().map(|asked| {
            let who = asked.who;
            let about = asked.family.as_ref().map_or(String::new(), ToString::to_string);
            let what = match &asked.ask {
                Ask::Begin(token) => format!("logs in with {}", token.as_str()),
                Ask::Refresh(token) => format!("comes with {}", token.as_str()),
                other => format!("{other:?}"),
            };
            let told = match &asked.told {
                Told::Next(token) => format!("next is {}", token.as_str()),
                other => format!("{other:?}"),
            };
            [
                (asked.from, format!("{who} {what} {about}")),
                (asked.until, format!("{who} {what} {about}: is told {told}")),
            ]
        });
        let lines = promise::lines(&events, |by| format!("{by:?}"), said);
        History {
            beginning,
            logins,
            pages,
            asked,
            decided: hold(&self.decided).clone(),
            ended,
            lines,
        }
    }
}

/// One life of a replica.
async fn open(bucket: Bucket, surroundings: Surroundings) -> Replica {
    let access = Access::open(Records::new(bucket.clone()), surroundings.clone()).await;
    access.keep_fresh();
    let vault = Vault::new(bucket, Retention::default());
    let control = StateControl::by_roles(vault, access, "simulated");
    control.ledger().keep_fresh().await;
    Replica {
        control,
        surroundings,
    }
}

fn family_hash(family: &FamilyId) -> Sha256 {
    Sha256::of(family.as_str().as_bytes())
}

fn token_hash(id: &TokenId) -> Sha256 {
    Sha256::of(id.as_str().as_bytes())
}

/// What the doors of `auth` do with a request. None: nobody can say what became of it.
async fn perform(replica: &Replica, who: &str, family: Option<&FamilyId>, ask: &Ask) -> Option<Told> {
    let (control, now) = (&replica.control, replica.surroundings.clock.now());
    let (principal, caller) = (Principal::new(who), Caller::user(who));
    match (ask, family) {
        (Ask::Begin(first), Some(family)) => {
            let record = session::begin(&principal, first, LIFETIME, now);
            let begun = control
                .sessions()
                .begin(&principal, &family_hash(family), &record)
                .await;
            // That there is one already is told to somebody who asks again after no answer, too.
            begun
                .ok()
                .map(|begun| if begun { Told::Done } else { Told::Missing })
        }
        (Ask::Refresh(token), Some(family)) => rotate(replica, &principal, family, token).await,
        (Ask::End, Some(family)) => {
            let revoke = |record: &Record| {
                let now = replica.surroundings.clock.now();
                (Some(session::revoke(record, Why::LoggedOut, now)), ())
            };
            let hash = family_hash(family);
            control.sessions().change(&principal, &hash, revoke).await.ok()?;
            control.ledger().revoke_logins(&[hash], LIFETIME).await.ok()?;
            Some(Told::Done)
        }
        (Ask::Keep(hash), _) => {
            let kept = KeptToken {
                id: hash.to_string(),
                name: "ci".to_owned(),
                owner: Owner::User {
                    name: who.to_owned(),
                    groups: Vec::new(),
                },
                roles: Vec::new(),
                created: now,
                created_by: principal,
                expires: now.saturating_add(LIFETIME).unwrap_or(Timestamp::MAX),
            };
            let access = control.access().ok()?;
            let done = control.ledger().keep_token(access, &caller, *hash, &kept).await;
            done.ok().map(|()| Told::Done)
        }
        (Ask::Revoke(hash), _) => {
            let access = control.access().ok()?;
            let id = hash.to_string();
            match control.ledger().revoke_token(access, &caller, &id).await {
                Ok(()) => Some(Told::Done),
                Err(TokenError::NotFound { .. }) => Some(Told::Missing),
                Err(_) => None,
            }
        }
        (_, None) => None,
    }
}

/// The token that replaces `presented`, once that is written down; or the end of its login.
async fn rotate(
    replica: &Replica,
    principal: &Principal,
    family: &FamilyId,
    presented: &TokenId,
) -> Option<Told> {
    let hash = family_hash(family);
    let presented = Refresh(Verified {
        login: Login {
            principal: principal.clone(),
            email: None,
            name: None,
            groups: Vec::new(),
            via: "simulated".to_owned(),
        },
        family: family.clone(),
        id: presented.clone(),
        issued: Timestamp::UNIX_EPOCH,
        expires: Timestamp::MAX,
    });
    let decide = |record: &Record| {
        let now = replica.surroundings.clock.now();
        let mut outcome = session::rotate(record, &presented, LIFETIME, now);
        if planted(Bug::UsedTokenAccepted) && matches!(outcome, Outcome::Reused(_)) {
            let believed = session::begin(principal, &presented.0.id, LIFETIME, now);
            outcome = session::rotate(&believed, &presented, LIFETIME, now);
        }
        match outcome {
            Outcome::Rotated(record, next) => (Some(record), Told::Next(next.id)),
            Outcome::Repeated(next) => (None, Told::Next(next.id)),
            Outcome::Reused(record) => (Some(record), Told::Ended),
            Outcome::Revoked(_) => (None, Told::Ended),
            Outcome::Expired | Outcome::Stranger => (None, Told::Missing),
        }
    };
    let sessions = replica.control.sessions();
    let told = sessions.change(principal, &hash, decide).await.ok()?;
    let told = told.unwrap_or(Told::Missing);
    if told == Told::Ended {
        let ledger = replica.control.ledger();
        ledger.revoke_logins(&[hash], LIFETIME).await.ok()?;
    }
    Some(told)
}
