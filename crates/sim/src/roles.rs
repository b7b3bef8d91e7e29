//! Histories of who may do what: replicas change the roles in one bucket and decide by what they remember, administrators
//! take each other's right, requests are lost and land late, replicas die.
//!
//! What is promised ([`PROMISES`]) is checked from both ends: from the documents that lay in the bucket, one after the
//! other, and from what people were told.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, future};
use opentaco_control::access::{Access, AccessError, Change};
use opentaco_domain::access::{Document, Member, Name};
use opentaco_domain::{Action, Caller, Decision, Policy, UnitId};
use opentaco_storage::records::Records;
use opentaco_storage::{Bucket, Surroundings};

use crate::bucket::{SimBucket, Weather};
use crate::checker::claims::Claims;
use crate::executor::{Executor, Instant, hold, nanos};
use crate::promise::{self, Broken, during};
use crate::replicas::Replicas;

/// The document.
const POLICY: &str = "__opentaco_access/policy.json";
/// The role that may do everything.
const ADMINISTRATOR: &str = "admin";
/// Who may be an administrator.
const ADMINISTRATORS: [&str; 3] = ["ada", "eve", "zoe"];
/// Who is given what, and loses it.
const OTHERS: [&str; 2] = ["bob", "carol"];
/// How old what is decided by may be.
const BELIEVED: Duration = Duration::from_secs(5);
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(90);
/// A history that takes more polls than this does not end by itself.
const POLLS_MAX: u64 = 500_000;

/// What is promised, by name.
pub const PROMISES: &[(&str, &str)] = &[
    ("it-ends", "every history comes to its end"),
    (
        "roles-unasked",
        "every document differs from the one before by what one request asked for",
    ),
    (
        "once",
        "no request changes it twice, so that nothing comes back after it was taken away",
    ),
    (
        "role-is-given",
        "who is told that it is done finds it so, at some moment of the request",
    ),
    (
        "role-is-refused",
        "who is refused has changed nothing, and there was a reason",
    ),
    (
        "by-administrators",
        "whoever changes it was an administrator at that moment",
    ),
    ("somebody-may", "there always is an administrator"),
    ("fresh", "nobody decides by what is older than five seconds"),
];

/// Who holds which role.
type Held = (String, String);

/// What changes: somebody holds a role from now on, or does not.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Turn {
    held: Held,
    holds: bool,
}

/// What a client was told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Done,
    /// There was nothing to take.
    NotHeld,
    /// Whoever asked may not.
    Forbidden,
    /// It would leave nobody who may.
    Last,
    /// Nobody could say, or no answer came: anything may have happened.
    Unsure,
}

/// One request to change something.
#[derive(Debug, Clone)]
struct Asked {
    who: String,
    turn: Turn,
    told: Told,
    from: Instant,
    until: Instant,
}

/// One decision: may this person read?
#[derive(Debug, Clone)]
struct Decided {
    who: String,
    allowed: bool,
    at: Instant,
}

/// Everything that can be known of a history.
#[derive(Debug)]
pub struct History {
    /// Nothing, and then every document that lay in the bucket.
    documents: Vec<(Instant, BTreeSet<Held>)>,
    asked: Vec<Asked>,
    decided: Vec<Decided>,
    ended: bool,
    /// Everything that happened, for people.
    pub lines: Vec<(Instant, String)>,
}

impl History {
    /// How many requests to change something were made.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.asked.len()
    }

    /// How many decisions were made.
    #[must_use]
    pub fn decisions(&self) -> usize {
        self.decided.len()
    }
}

#[derive(Clone)]
struct World {
    executor: Executor,
    bucket: SimBucket,
    replicas: Replicas<Access>,
    asked: Arc<Mutex<Vec<Asked>>>,
    decided: Arc<Mutex<Vec<Decided>>>,
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
    };
    let living = world.clone();
    let ended = executor.play(async move { living.live().await }, POLLS_MAX);
    world.history(ended)
}

impl World {
    async fn live(&self) {
        for index in 0..1 + self.executor.index(3) {
            self.replicas.begin((index, 0), open).await;
        }
        let (_, first) = self.replicas.get(0);
        let members = ADMINISTRATORS[..2]
            .iter()
            .map(|name| user(name))
            .collect::<Vec<_>>();
        let initialised = first.initialise(&Caller::root(), &members).await;
        debug_assert!(initialised.is_ok(), "the weather is fair");
        let faults = self.executor.one_of(&[0, 20, 60, 150, 300]);
        self.bucket.set_weather(Weather { faults });

        let mut actors: Vec<BoxFuture<'_, ()>> = Vec::new();
        for n in 0..2 + self.executor.below(3) {
            actors.push(self.administrator(n).boxed());
        }
        actors.push(self.reader().boxed());
        if self.executor.chance(600) {
            actors.push(self.misfortune().boxed());
        }
        future::join_all(actors).await;
        // Replicas go on looking for ever.
        self.replicas.end();
    }

    /// Somebody who gives and takes roles, those of administrators too.
    async fn administrator(&self, number: u64) {
        for _ in 0..4 + self.executor.below(12) {
            let who = self.executor.one_of(&ADMINISTRATORS);
            let held = match self.executor.chance(250) {
                true => (self.executor.one_of(&ADMINISTRATORS), ADMINISTRATOR),
                false => (
                    self.executor.one_of(&OTHERS),
                    self.executor.one_of(&["reader", "writer"]),
                ),
            };
            let turn = Turn {
                held: (held.0.to_owned(), held.1.to_owned()),
                holds: self.executor.chance(550),
            };
            self.ask(who, turn).await;
            self.executor.rest(if number == 0 { 200 } else { 4000 }).await;
        }
    }

    async fn ask(&self, who: &str, turn: Turn) {
        let (life, access) = self.replicas.any();
        let (member, role) = (user(&turn.held.0), name(&turn.held.1));
        let change = match turn.holds {
            true => Change::Assign { member, role },
            false => Change::Revoke { member, role },
        };
        let from = self.executor.now();
        let caller = Caller::user(who);
        let work = async move { access.change(&caller, &change).await.map(drop) };
        let told = match self.replicas.ask(life, PATIENCE, work).await {
            Some(Ok(())) => Told::Done,
            Some(Err(error)) => match error {
                AccessError::NotFound { .. } => Told::NotHeld,
                AccessError::Forbidden { .. } => Told::Forbidden,
                AccessError::LastAdministrator | AccessError::UncertainAdministrator => Told::Last,
                _ => Told::Unsure,
            },
            None => Told::Unsure,
        };
        hold(&self.asked).push(Asked {
            who: who.to_owned(),
            turn,
            told,
            from,
            until: self.executor.now(),
        });
    }

    /// Somebody who asks replicas what they would decide, as every request does.
    async fn reader(&self) {
        let unit = UnitId::parse("app").expect("a plain id is an id");
        for _ in 0..40 {
            let who = self.executor.one_of(&OTHERS);
            let (_, access) = self.replicas.any();
            // Where nobody can say, nothing is decided.
            if let Ok(decision) = access.decide(&Caller::user(who), Action::Read, &unit) {
                hold(&self.decided).push(Decided {
                    who: who.to_owned(),
                    allowed: decision == Decision::Allow,
                    at: self.executor.now(),
                });
            }
            self.executor.rest(1500).await;
        }
    }

    /// Replicas die and come back, or stand still.
    async fn misfortune(&self) {
        for _ in 0..1 + self.executor.below(4) {
            self.executor.rest(15_000).await;
            if let Some(life) = self.replicas.strike(500, 120) {
                self.replicas.begin(life, open).await;
            }
        }
    }

    fn history(&self, ended: bool) -> History {
        let events = self.bucket.events();
        let put = events
            .iter()
            .filter(|event| event.key == POLICY)
            .filter_map(|event| Some((event.at, held_in(event.now.as_ref()?.as_ref()?))));
        let documents = std::iter::once((0, BTreeSet::new())).chain(put).collect();
        let asked = hold(&self.asked).clone();
        let said = asked.iter().map(|asked| {
            let Asked { who, turn, told, .. } = asked;
            let (whose, role) = &turn.held;
            let does = if turn.holds { "gives" } else { "takes from" };
            [
                (asked.from, format!("{who} {does} {whose} {role}")),
                (
                    asked.until,
                    format!("{who} is told {told:?} about {whose} {role}"),
                ),
            ]
        });
        let lines = promise::lines(&events, |by| format!("{by:?}"), said);
        History {
            documents,
            asked,
            decided: hold(&self.decided).clone(),
            ended,
            lines,
        }
    }
}

/// One life of a replica.
async fn open(bucket: Bucket, surroundings: Surroundings) -> Access {
    let access = Access::open(Records::new(bucket), surroundings).await;
    access.keep_fresh();
    access
}

fn user(name: &str) -> Member {
    Member::User(name.into())
}

fn name(text: &str) -> Name {
    text.parse().expect("a plain word is a name")
}

/// Who holds what in the bytes of a document.
fn held_in(bytes: &[u8]) -> BTreeSet<Held> {
    let document: Document = promise::record_in(bytes);
    let pairs = document.members.iter().flat_map(|(member, roles)| {
        let member = member.to_string();
        let name = member.trim_start_matches("user:").to_owned();
        roles.iter().map(move |role| (name.clone(), role.to_string()))
    });
    pairs.collect()
}

/// Which promises a history breaks.
#[must_use]
pub fn check(history: &History) -> Vec<Broken> {
    let mut broken = Vec::new();
    let mut breaks = |promise, at, what| broken.push(Broken { promise, at, what });
    if !history.ended {
        breaks("it-ends", 0, "the history does not end by itself".to_owned());
    }
    check_documents(history, &mut breaks);
    check_answers(history, &mut breaks);
    check_decisions(history, &mut breaks);
    broken
}

fn is_administrator(held: &BTreeSet<Held>, who: &str) -> bool {
    held.contains(&(who.to_owned(), ADMINISTRATOR.to_owned()))
}

fn check_documents(history: &History, breaks: &mut impl FnMut(&'static str, Instant, String)) {
    let mut claims = Claims::default();
    // The first document is the one that everything begins with.
    for pair in history.documents[1..].windows(2) {
        let [(_, before), (at, after)] = pair else {
            continue;
        };
        if !ADMINISTRATORS.iter().any(|who| is_administrator(after, who)) {
            breaks(
                "somebody-may",
                *at,
                "nobody is an administrator any more".to_owned(),
            );
        }
        let turns: Vec<Turn> = before
            .symmetric_difference(after)
            .map(|held| Turn {
                held: held.clone(),
                holds: after.contains(held),
            })
            .collect();
        let [turn] = turns.as_slice() else {
            breaks("roles-unasked", *at, format!("{turns:?} at once"));
            continue;
        };
        let may = |asked: &Asked| {
            let in_time = asked.from <= *at && (asked.until >= *at || asked.told == Told::Unsure);
            asked.turn == *turn && in_time && matches!(asked.told, Told::Done | Told::Unsure)
        };
        let causes: Vec<usize> = (0..history.asked.len())
            .filter(|index| may(&history.asked[*index]))
            .collect();
        let by_right: Vec<usize> = causes
            .iter()
            .copied()
            .filter(|index| is_administrator(before, &history.asked[*index].who))
            .collect();
        match (causes.is_empty(), by_right.is_empty()) {
            (true, _) => breaks(
                "roles-unasked",
                *at,
                format!("{turn:?}, and nobody asked for it then"),
            ),
            (false, true) => {
                breaks(
                    "by-administrators",
                    *at,
                    format!("{turn:?} by somebody who was none"),
                );
            }
            (false, false) => {
                if !claims.claim(by_right) {
                    breaks("once", *at, format!("{turn:?} once more"));
                }
            }
        }
    }
}

fn check_answers(history: &History, breaks: &mut impl FnMut(&'static str, Instant, String)) {
    for asked in &history.asked {
        let Turn { held, holds } = &asked.turn;
        let was = |fits: &dyn Fn(&BTreeSet<Held>) -> bool| {
            during(&history.documents, asked.from, asked.until).any(fits)
        };
        let fits = match asked.told {
            Told::Unsure => true,
            Told::Done => was(&|now| now.contains(held) == *holds),
            Told::NotHeld => !holds && was(&|now| !now.contains(held)),
            // A replica goes by what it remembers before it looks.
            Told::Forbidden => {
                let lately = asked.from.saturating_sub(nanos(BELIEVED));
                during(&history.documents, lately, asked.until).any(|now| !is_administrator(now, &asked.who))
            }
            Told::Last => {
                held.1 == ADMINISTRATOR
                    && !holds
                    && was(&|now| {
                        !ADMINISTRATORS
                            .iter()
                            .any(|who| *who != held.0 && is_administrator(now, who))
                    })
            }
        };
        if !fits {
            let promise = match asked.told {
                Told::Done => "role-is-given",
                _ => "role-is-refused",
            };
            breaks(promise, asked.until, format!("{asked:?}"));
        }
    }
}

fn check_decisions(history: &History, breaks: &mut impl FnMut(&'static str, Instant, String)) {
    for decided in &history.decided {
        let lately = decided.at.saturating_sub(nanos(BELIEVED));
        let reads = |now: &BTreeSet<Held>| {
            ["reader", "writer"]
                .iter()
                .any(|role| now.contains(&(decided.who.clone(), (*role).to_owned())))
        };
        if !during(&history.documents, lately, decided.at).any(|now| reads(now) == decided.allowed) {
            breaks("fresh", decided.at, format!("{decided:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promise::{Lie, each_lie_breaks_its_own};

    const SECOND: Instant = 1_000_000_000;

    fn held(pairs: &[(&str, &str)]) -> BTreeSet<Held> {
        let own = |(who, role): &(&str, &str)| ((*who).to_owned(), (*role).to_owned());
        pairs.iter().map(own).collect()
    }

    fn asks(who: &str, turn: (&str, &str, bool), told: Told, from: Instant, until: Instant) -> Asked {
        Asked {
            who: who.to_owned(),
            turn: Turn {
                held: (turn.0.to_owned(), turn.1.to_owned()),
                holds: turn.2,
            },
            told,
            from: from * SECOND,
            until: until * SECOND,
        }
    }

    fn decides(allowed: bool, at: Instant) -> Decided {
        Decided {
            who: "bob".to_owned(),
            allowed,
            at: at * SECOND,
        }
    }

    /// Ada gives Bob a role and takes it back; Eve may not.
    fn kept() -> History {
        let (ada, both) = ([("ada", "admin")], [("ada", "admin"), ("bob", "reader")]);
        History {
            documents: vec![
                (0, held(&[])),
                (SECOND, held(&ada)),
                (11 * SECOND, held(&both)),
                (31 * SECOND, held(&ada)),
            ],
            asked: vec![
                asks("ada", ("bob", "reader", true), Told::Done, 10, 12),
                asks("ada", ("bob", "reader", false), Told::Done, 30, 32),
                asks("ada", ("bob", "writer", false), Told::NotHeld, 40, 41),
                asks("ada", ("ada", "admin", false), Told::Last, 42, 43),
                asks("eve", ("bob", "writer", true), Told::Forbidden, 44, 45),
            ],
            decided: vec![decides(false, 9), decides(true, 20), decides(false, 40)],
            ended: true,
            lines: Vec::new(),
        }
    }

    const LIES: &[Lie<History>] = &[
        ("it-ends", "it goes on", |history| history.ended = false),
        ("roles-unasked", "nobody asked for a change", |history| {
            history.asked.remove(1);
        }),
        ("roles-unasked", "a change comes after its answer", |history| {
            history.asked[0].until = history.asked[0].from;
        }),
        ("roles-unasked", "two things change at once", |history| {
            history.documents.remove(1);
            history.documents[1]
                .1
                .insert(("zoe".to_owned(), "admin".to_owned()));
            history.documents[2]
                .1
                .insert(("carol".to_owned(), "reader".to_owned()));
        }),
        ("once", "a role that was taken comes back", |history| {
            history.asked[0].until = 100 * SECOND;
            let again = history.documents[2].1.clone();
            history.documents.push((50 * SECOND, again));
        }),
        ("role-is-given", "done, and nothing changed", |history| {
            history.asked[2] = asks("ada", ("carol", "reader", true), Told::Done, 40, 41);
        }),
        ("role-is-refused", "what is held is called not held", |history| {
            history
                .asked
                .push(asks("ada", ("bob", "reader", false), Told::NotHeld, 15, 16));
        }),
        ("role-is-refused", "an administrator is forbidden", |history| {
            history.asked[4].who = "ada".to_owned();
        }),
        ("role-is-refused", "the last one, beside another", |history| {
            for (_, held) in &mut history.documents[1..] {
                held.insert(("eve".to_owned(), "admin".to_owned()));
            }
            history.asked.pop();
        }),
        ("by-administrators", "somebody else changes it", |history| {
            history.asked[1].who = "eve".to_owned();
        }),
        ("somebody-may", "the last administrator is gone", |history| {
            history
                .asked
                .push(asks("ada", ("ada", "admin", false), Told::Done, 50, 52));
            history.documents.push((51 * SECOND, held(&[])));
        }),
        (
            "fresh",
            "a right that was taken counts for ten seconds",
            |history| {
                history.decided.push(decides(true, 41));
            },
        ),
        ("fresh", "a right that was given counts for nothing", |history| {
            history.decided.push(decides(false, 25));
        }),
    ];

    #[test]
    fn what_keeps_every_promise_breaks_none_and_each_lie_breaks_its_own() {
        each_lie_breaks_its_own(PROMISES, check, kept, LIES);
    }
}
