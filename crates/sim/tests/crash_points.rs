//! Every operation is killed before and after each of its requests to the bucket. A fresh replica then answers what the
//! client would send again, and everything must be as if nothing had happened.
//!
//! The requests are counted by the test, so the number of points is exact: when it changes, the protocol has changed.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use opentaco_domain::{Session, Sha256, VersionId};
use opentaco_sim::checker::{self, short};
use opentaco_sim::executor::{Executor, Group};
use opentaco_sim::gate::{Asked, Fate, Gatekeeper};
use opentaco_sim::stage::{Replica, Stage, lock_id, state};
use opentaco_sim::trace;
use opentaco_sim::world::{Ask, Told};

/// No history here takes more polls than this, unless it goes round in circles.
const POLLS_MAX: u64 = 1_000_000;

/// On which side of a request its sender dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// It is never sent.
    Before,
    /// It takes effect, and nobody hears the answer.
    After,
}

/// A trap at one request of one replica.
#[derive(Clone)]
struct Trap {
    executor: Executor,
    group: Group,
    inside: Arc<Mutex<Armed>>,
}

#[derive(Default)]
struct Armed {
    /// Counted since the trap was armed.
    requests: usize,
    at: Option<(usize, Side)>,
    /// The request that passes now and is to be the last.
    last: Option<Asked>,
    sprung: bool,
}

impl Trap {
    fn new(executor: &Executor, group: Group) -> Self {
        Self {
            executor: executor.clone(),
            group,
            inside: Arc::default(),
        }
    }

    fn arm(&self, at: Option<(usize, Side)>) {
        *self.inside.lock().unwrap() = Armed {
            at,
            ..Armed::default()
        };
    }

    fn requests(&self) -> usize {
        self.inside.lock().unwrap().requests
    }

    fn sprung(&self) -> bool {
        self.inside.lock().unwrap().sprung
    }

    fn spring(&self) {
        self.inside.lock().unwrap().sprung = true;
        self.executor.crash(self.group);
    }
}

impl Gatekeeper for Trap {
    fn arrives(&self, asked: &Asked) -> BoxFuture<'static, Fate> {
        let side = {
            let mut armed = self.inside.lock().unwrap();
            armed.requests += 1;
            let here = armed
                .at
                .filter(|(number, _)| *number == armed.requests)
                .map(|(_, side)| side);
            if here == Some(Side::After) {
                armed.last = Some(asked.clone());
            }
            here
        };
        if side == Some(Side::Before) {
            self.spring();
            return futures::future::ready(Fate::Vanishes).boxed();
        }
        futures::future::ready(Fate::Passes).boxed()
    }

    fn passed(&self, asked: &Asked) {
        let is_last = self
            .inside
            .lock()
            .unwrap()
            .last
            .take_if(|last| *last == *asked)
            .is_some();
        if is_last {
            self.spring();
        }
    }
}

/// What is asked of a replica.
#[derive(Debug, Clone)]
enum Act {
    /// A request of somebody.
    Ask(&'static str, Ask),
    /// Restore the oldest version there is.
    RestoreOldest,
    /// Accept the refused write there is.
    PromoteFirst,
    /// The housekeeping.
    Tidy,
    /// Somebody puts the state copy directly.
    Person(Bytes),
    /// Another tool's lock file lies there.
    ForeignLock,
    /// The version object of a write that was never committed lies there.
    Orphan,
}

/// An operation, what came before it, and what must be true afterwards, wherever it was killed.
struct Operation {
    name: &'static str,
    before: Vec<Act>,
    act: Act,
    /// The answers that its client may be left with, the retries counted in.
    told: &'static [&'static str],
    /// What everybody does afterwards, each with the answers there are, with `|` in between.
    then: Vec<(Act, &'static str)>,
    /// How many requests it makes, those behind its answer included: on the replica that did all that came before,
    /// and on one that remembers nothing.
    requests: (usize, usize),
}

fn ask(ask: Ask) -> Act {
    Act::Ask("alice", ask)
}

fn lock(n: u8) -> Act {
    ask(Ask::Lock(lock_id(n)))
}

fn unlock(n: u8) -> Act {
    ask(Ask::Unlock(lock_id(n)))
}

fn post(serial: u64, by: &str, under: Option<u8>) -> Act {
    ask(Ask::Write {
        bytes: state(serial, by),
        lock: under.map(lock_id),
    })
}

fn read() -> Act {
    ask(Ask::Read)
}

/// An answer in words; a state by its content.
fn word(told: &Told) -> String {
    match told {
        Told::State(bytes) => {
            let state: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            format!("{} {}", state["by"].as_str().unwrap(), state["serial"])
        }
        other => short(other),
    }
}

/// Where a point of a crash lies.
#[derive(Debug, Clone, Copy)]
struct Point {
    /// Whether the operation is asked of the replica that did everything before.
    warm: bool,
    /// Which requests are the last ones, of the first replica, of the one that recovers, …; none: nobody dies.
    crashes: [Option<(usize, Side)>; 2],
}

/// What was seen at one point.
struct Seen {
    /// How many requests each of the replicas made, as far as they came.
    requests: [usize; 2],
    /// Whether each of them died where it should.
    sprung: [bool; 2],
    /// What is wrong, with a table of what happened.
    wrong: Option<String>,
}

/// Plays an operation with its crashes, and everything after it.
fn play(operation: &Operation, point: Point) -> Seen {
    let executor = Executor::new(1);
    let stage = Stage::new(executor.clone());
    let made: Vec<(Trap, Replica)> = (0..4)
        .map(|index| {
            let group = Group::Replica(index, 0);
            let trap = Trap::new(&executor, group);
            let replica = stage.replica(index, 0, Arc::new(trap.clone()), executor.surroundings(group));
            (trap, replica)
        })
        .collect();
    let [first, second, third, other] = made.try_into().ok().unwrap();

    // What came before, whole.
    let before = if point.warm { &first.1 } else { &other.1 };
    for act in &operation.before {
        run(&stage, before, act);
    }

    // The operation, on one replica after the other, as long as they die.
    let mut wrong = Vec::new();
    let (mut requests, mut sprung) = ([0, 0], [false, false]);
    let mut told = None;
    // What is restored or promoted was chosen once.
    let act = chosen(&stage, &operation.act);
    for (number, (trap, replica)) in [&first, &second].into_iter().enumerate() {
        trap.arm(point.crashes[number]);
        if told.as_ref().is_none_or(|told| *told == Told::Nothing) {
            told = Some(run(&stage, replica, &act));
        }
        requests[number] = trap.requests();
        sprung[number] = trap.sprung();
        if !sprung[number] {
            break;
        }
    }
    if told == Some(Told::Nothing) {
        told = Some(run(&stage, &third.1, &act));
    }
    let told = word(&told.unwrap());
    if !operation.told.contains(&told.as_str()) {
        wrong.push(format!(
            "its client is left with `{told}`, which is none of {:?}",
            operation.told
        ));
    }

    // Life goes on without anybody doing anything about it.
    for (act, expected) in &operation.then {
        let act = chosen(&stage, act);
        let told = word(&run(&stage, &third.1, &act));
        if !expected.split('|').any(|expected| told == expected) {
            wrong.push(format!(
                "afterwards {act:?} is answered `{told}`, not `{expected}`"
            ));
        }
    }
    let locks = stage.bucket().keys("app/terraform.tfstate.lock");
    if !locks.is_empty() {
        wrong.push(format!("a lock copy is left at {locks:?}"));
    }
    if stage.bucket().person_gets(&orphan()).is_some() {
        wrong.push("what was never committed is not collected".to_owned());
    }
    let history = stage.history();
    wrong.extend(checker::check(&history).iter().map(ToString::to_string));
    let wrong = (!wrong.is_empty()).then(|| {
        format!(
            "{} at {point:?}:\n  {}\n{}",
            operation.name,
            wrong.join("\n  "),
            trace::tell(&history)
        )
    });
    Seen {
        requests,
        sprung,
        wrong,
    }
}

/// An act whose object is looked up in the bucket, looked up.
fn chosen(stage: &Stage, act: &Act) -> Act {
    let first = |prefix: &str| {
        let keys = stage.bucket().keys(prefix);
        keys[0].strip_prefix(prefix).unwrap().to_owned()
    };
    match act {
        Act::RestoreOldest => ask(Ask::Restore(first("__opentaco_versions/app/@/").parse().unwrap())),
        Act::PromoteFirst => ask(Ask::Promote(first("__opentaco_rejected/app/@/"))),
        other => other.clone(),
    }
}

/// Does something, and waits until everything that follows from it is done too.
fn run(stage: &Stage, replica: &Replica, act: &Act) -> Told {
    let told = Arc::new(Mutex::new(Told::Nothing));
    match chosen(stage, act) {
        Act::Ask(who, ask) => {
            let (stage, replica, told) = (stage.clone(), replica.clone(), Arc::clone(&told));
            stage.executor().clone().spawn(Group::Outside, async move {
                let answer = stage.ask(who, &replica, ask).await;
                *told.lock().unwrap() = answer;
            });
        }
        Act::Tidy => {
            let (vault, unit, told) = (replica.vault.clone(), stage.unit().clone(), Arc::clone(&told));
            stage.executor().spawn(replica.group, async move {
                let answer = if vault.tidy(&unit).await.is_ok() {
                    Told::Done
                } else {
                    Told::Unavailable
                };
                *told.lock().unwrap() = answer;
            });
        }
        Act::Person(bytes) => stage.person_puts(bytes),
        Act::ForeignLock => {
            let info = r#"{"ID":"00000000-0000-4000-8000-000000000099","Who":"another tool"}"#;
            stage.bucket().person_puts(
                "app/terraform.tfstate.tflock",
                Bytes::from_static(info.as_bytes()),
            );
        }
        Act::Orphan => stage.bucket().person_puts(&orphan(), state(2, "orphan")),
        Act::RestoreOldest | Act::PromoteFirst => unreachable!("it was looked up"),
    }
    assert!(stage.executor().run(POLLS_MAX), "{act:?} comes to no end");
    told.lock().unwrap().clone()
}

/// The key of a version object that no head names.
fn orphan() -> String {
    let sha256 = Sha256::of(&state(2, "orphan"));
    let version = VersionId {
        epoch: 2,
        serial: 2,
        session: Session::NONE,
        sha256,
        nonce: 7,
    };
    format!("__opentaco_versions/app/@/{version}")
}

/// Nobody holds the unit: somebody locks it, reads it, writes it and gives it back.
fn life_goes_on(state: &'static str) -> Vec<(Act, &'static str)> {
    vec![
        (lock(90), "Done"),
        (read(), state),
        (post(90, "later", Some(90)), "Done"),
        (unlock(90), "Done"),
        (read(), "later 90"),
    ]
}

/// The holder of the first lock goes on, gives it back, and life goes on.
fn its_holder_goes_on(state: &'static str) -> Vec<(Act, &'static str)> {
    let mut then = vec![
        (read(), state),
        (post(80, "holder", Some(1)), "Done"),
        (unlock(1), "Done"),
    ];
    then.extend(life_goes_on("holder 80"));
    then
}

fn operations() -> Vec<Operation> {
    let written = || vec![lock(1), post(1, "one", Some(1)), unlock(1)];
    let twice = || {
        vec![
            lock(1),
            post(1, "one", Some(1)),
            post(2, "two", Some(1)),
            unlock(1),
        ]
    };
    let of = |name, before, act, told, then| Operation {
        name,
        before,
        act,
        told,
        then,
        requests: (0, 0),
    };
    let mut all = vec![
        of(
            "lock, the first touch of a unit",
            vec![],
            lock(1),
            &["Done"],
            its_holder_goes_on("NoState"),
        ),
        of("lock", written(), lock(2), &["Done"], {
            let mut then = vec![
                (read(), "one 1"),
                (post(3, "two", Some(2)), "Done"),
                (unlock(2), "Done"),
            ];
            then.extend(life_goes_on("two 3"));
            then
        }),
        of(
            "lock, refused",
            vec![lock(1)],
            lock(2),
            &["locked by 1"],
            its_holder_goes_on("NoState"),
        ),
        of(
            "unlock",
            vec![lock(1), post(1, "one", Some(1))],
            unlock(1),
            &["Done"],
            life_goes_on("one 1"),
        ),
        of(
            "force unlock",
            vec![lock(1), post(1, "one", Some(1))],
            ask(Ask::ForceUnlock),
            &["Done"],
            {
                let mut then = vec![(post(2, "late", Some(1)), "refused, kept")];
                then.extend(life_goes_on("one 1"));
                then
            },
        ),
        of("read", written(), read(), &["one 1"], life_goes_on("one 1")),
        of(
            "read of a unit without a state",
            vec![ask(Ask::Create)],
            read(),
            &["NoState"],
            life_goes_on("NoState"),
        ),
        of(
            "write under a lock, the first",
            vec![lock(1)],
            post(1, "one", Some(1)),
            &["Done"],
            its_holder_goes_on("one 1"),
        ),
        of(
            "write under a lock, the second",
            vec![lock(1), post(1, "one", Some(1))],
            post(2, "two", Some(1)),
            &["Done"],
            its_holder_goes_on("two 2"),
        ),
        of(
            "write without a lock, the first touch of a unit",
            vec![],
            post(1, "one", None),
            &["Done"],
            life_goes_on("one 1"),
        ),
        of(
            "write without a lock",
            written(),
            post(2, "two", None),
            &["Done"],
            life_goes_on("two 2"),
        ),
        of(
            "write under a lock that was broken, refused",
            vec![lock(1), post(1, "one", Some(1)), ask(Ask::ForceUnlock)],
            post(2, "two", Some(1)),
            &["refused, kept"],
            {
                let mut then = life_goes_on("one 1");
                then.push((Act::PromoteFirst, "Done"));
                then.push((read(), "two 91"));
                then
            },
        ),
        of(
            "write under a lock that somebody else holds, refused",
            vec![lock(2), lock(1)],
            post(2, "two", Some(1)),
            &["refused, kept"],
            {
                let mut then = vec![(unlock(2), "Done")];
                then.extend(life_goes_on("NoState"));
                then
            },
        ),
        of(
            "write that comes late under its own lock, refused",
            vec![lock(1), post(2, "two", Some(1))],
            post(1, "one", Some(1)),
            &["refused, kept"],
            its_holder_goes_on("two 2"),
        ),
        of(
            "create",
            vec![],
            ask(Ask::Create),
            &["Done", "NoSuchThing"],
            life_goes_on("NoState"),
        ),
        of(
            "create after a delete",
            [written(), vec![ask(Ask::Delete)]].concat(),
            ask(Ask::Create),
            &["Done", "NoSuchThing"],
            life_goes_on("NoState"),
        ),
        of(
            "delete",
            written(),
            ask(Ask::Delete),
            &["Done", "NoSuchThing"],
            life_goes_on("NoState"),
        ),
        of(
            "delete of a unit without a state",
            vec![ask(Ask::Create)],
            ask(Ask::Delete),
            &["Done", "NoSuchThing"],
            life_goes_on("NoState"),
        ),
        of(
            "delete, refused",
            vec![lock(1), post(1, "one", Some(1))],
            ask(Ask::Delete),
            &["locked by 1"],
            its_holder_goes_on("one 1"),
        ),
        of(
            "undelete",
            [written(), vec![ask(Ask::Delete)]].concat(),
            ask(Ask::Undelete),
            &["Done", "NoSuchThing"],
            life_goes_on("one 1"),
        ),
        of(
            "undelete of a unit without a state",
            vec![ask(Ask::Create), ask(Ask::Delete)],
            ask(Ask::Undelete),
            &["Done", "NoSuchThing"],
            life_goes_on("NoState"),
        ),
        of(
            "restore",
            twice(),
            Act::RestoreOldest,
            &["Done"],
            vec![
                (lock(90), "Done"),
                (post(90, "later", Some(90)), "Done"),
                (unlock(90), "Done"),
                (read(), "later 90"),
            ],
        ),
        of(
            "promote",
            vec![
                lock(1),
                post(1, "one", Some(1)),
                ask(Ask::ForceUnlock),
                post(2, "two", Some(1)),
            ],
            Act::PromoteFirst,
            &["Done"],
            // Without a key of its own, a promotion that is asked for again is another one, with the next serial.
            life_goes_on("two 2|two 3|two 4"),
        ),
        of(
            "lock, the first touch of an older bucket",
            vec![Act::Person(state(7, "old"))],
            lock(1),
            &["Done"],
            its_holder_goes_on("old 7"),
        ),
        of(
            "lock, the first touch of an older bucket that is locked",
            vec![Act::Person(state(7, "old")), Act::ForeignLock],
            lock(1),
            &["locked by 99"],
            {
                let mut then = vec![(ask(Ask::ForceUnlock), "Done")];
                then.extend(life_goes_on("old 7"));
                then
            },
        ),
        of(
            "write without a lock, the first touch of an older bucket",
            vec![Act::Person(state(7, "old"))],
            post(8, "new", None),
            &["Done"],
            life_goes_on("new 8"),
        ),
        of(
            "delete, the first touch of an older bucket",
            vec![Act::Person(state(7, "old"))],
            ask(Ask::Delete),
            &["Done", "NoSuchThing"],
            life_goes_on("NoState"),
        ),
        of(
            "read that adopts a copy written by hand",
            [written(), vec![Act::Person(state(5, "hand"))]].concat(),
            read(),
            &["hand 5"],
            life_goes_on("hand 5"),
        ),
        of(
            "read that keeps a copy written by hand aside",
            vec![lock(1), post(1, "one", Some(1)), Act::Person(state(5, "hand"))],
            read(),
            &["one 1"],
            its_holder_goes_on("one 1"),
        ),
        of(
            "write over a copy written by hand",
            vec![lock(1), post(1, "one", Some(1)), Act::Person(state(5, "hand"))],
            post(2, "two", Some(1)),
            &["Done"],
            its_holder_goes_on("two 2"),
        ),
        of(
            "delete of a unit whose copy was written by hand",
            [written(), vec![Act::Person(state(5, "hand"))]].concat(),
            ask(Ask::Delete),
            &["Done", "NoSuchThing"],
            life_goes_on("NoState"),
        ),
        of(
            "housekeeping",
            [many_writes(34), vec![Act::Orphan]].concat(),
            Act::Tidy,
            &["Done"],
            life_goes_on("w 34"),
        ),
        of(
            "write that is followed by housekeeping",
            many_writes(48),
            post(49, "w", None),
            &["Done"],
            life_goes_on("w 49"),
        ),
    ];
    for operation in &mut all {
        operation.requests = REQUESTS
            .iter()
            .find(|(name, ..)| *name == operation.name)
            .map(|(_, warm, cold)| (*warm, *cold))
            .unwrap_or_default();
    }
    all
}

fn many_writes(count: u64) -> Vec<Act> {
    (1..=count).map(|serial| post(serial, "w", None)).collect()
}

/// How many requests each operation makes: where it can be killed.
const REQUESTS: &[(&str, usize, usize)] = &[
    ("lock, the first touch of a unit", 8, 8),
    ("lock", 2, 3),
    ("lock, refused", 1, 1),
    ("unlock", 2, 7),
    ("force unlock", 3, 7),
    ("read", 2, 2),
    ("read of a unit without a state", 2, 2),
    ("write under a lock, the first", 8, 8),
    ("write under a lock, the second", 4, 14),
    ("write without a lock, the first touch of a unit", 17, 17),
    ("write without a lock", 5, 9),
    ("write under a lock that was broken, refused", 3, 4),
    ("write under a lock that somebody else holds, refused", 4, 4),
    ("write that comes late under its own lock, refused", 3, 4),
    ("create", 9, 9),
    ("create after a delete", 8, 8),
    ("delete", 12, 15),
    ("delete of a unit without a state", 16, 16),
    ("delete, refused", 4, 4),
    ("undelete", 8, 11),
    ("undelete of a unit without a state", 9, 9),
    ("restore", 8, 11),
    ("promote", 7, 10),
    ("lock, the first touch of an older bucket", 9, 9),
    ("lock, the first touch of an older bucket that is locked", 7, 7),
    ("write without a lock, the first touch of an older bucket", 17, 17),
    ("delete, the first touch of an older bucket", 21, 21),
    ("read that adopts a copy written by hand", 8, 8),
    ("read that keeps a copy written by hand aside", 12, 12),
    ("write over a copy written by hand", 12, 16),
    ("delete of a unit whose copy was written by hand", 14, 17),
    ("housekeeping", 5, 5),
    ("write that is followed by housekeeping", 9, 13),
];

/// Kills an operation at every request, on both sides, until it makes no more.
fn points(operation: &Operation, warm: bool) -> (usize, usize, Vec<String>) {
    let mut wrong = Vec::new();
    let mut killed = 0;
    for number in 1.. {
        for side in [Side::Before, Side::After] {
            let seen = play(
                operation,
                Point {
                    warm,
                    crashes: [Some((number, side)), None],
                },
            );
            if !seen.sprung[0] {
                wrong.extend(seen.wrong);
                return (number - 1, killed, wrong);
            }
            killed += 1;
            wrong.extend(seen.wrong);
        }
    }
    unreachable!("it returns after the last request")
}

#[test]
fn every_operation_survives_a_crash_on_both_sides_of_each_of_its_requests() {
    let (mut table, mut total, mut wrong, mut unexpected) = (String::new(), 0, Vec::new(), Vec::new());
    let mut by_operation = Vec::new();
    for operation in operations() {
        let (warm, killed_warm, mut wrong_warm) = points(&operation, true);
        let (cold, killed_cold, mut wrong_cold) = points(&operation, false);
        table += &format!(
            "{:<62} {warm:>3} {cold:>3} {:>4}\n",
            operation.name,
            killed_warm + killed_cold
        );
        total += killed_warm + killed_cold;
        wrong_warm.append(&mut wrong_cold);
        if let Some(first) = wrong_warm.first() {
            by_operation.push(format!("{} points; {first}", wrong_warm.len()));
        }
        wrong.append(&mut wrong_warm);
        if operation.requests != (warm, cold) {
            unexpected.push(format!("    (\"{}\", {warm}, {cold}),", operation.name));
        }
    }
    println!(
        "{:<62} requests, warm and cold; crashes\n{table}{total} crash points",
        "operation"
    );
    assert!(
        wrong.is_empty(),
        "{} points are not survived; the first of each:\n{}",
        wrong.len(),
        by_operation.join("\n")
    );
    assert!(
        unexpected.is_empty(),
        "the number of requests has changed:\n{}",
        unexpected.join("\n")
    );
    assert_eq!(total, CRASH_POINTS);
}

/// All of them.
const CRASH_POINTS: usize = 1134;

#[test]
fn recovery_survives_a_crash_after_each_of_its_own_requests() {
    let (mut total, mut wrong) = (0, Vec::new());
    for operation in operations().iter().filter(|operation| operation.requests.1 < 24) {
        for first in (1..=operation.requests.1).map(|number| (number, Side::After)) {
            for second in (1..).map(|number| (number, Side::After)) {
                let seen = play(
                    operation,
                    Point {
                        warm: false,
                        crashes: [Some(first), Some(second)],
                    },
                );
                wrong.extend(seen.wrong);
                if !seen.sprung[1] {
                    break;
                }
                total += 1;
            }
        }
    }
    println!("{total} pairs of crash points");
    assert!(
        wrong.is_empty(),
        "{} pairs are not survived; the first:\n{}",
        wrong.len(),
        wrong[0]
    );
    assert_eq!(total, CRASHES_IN_RECOVERY);
}

/// All pairs of a crash and a crash in what recovers from it, each after a request took effect.
const CRASHES_IN_RECOVERY: usize = 2961;

#[test]
fn a_trap_kills_its_replica_at_the_request_it_was_set_for() {
    let operation = &operations()[0];
    let calm = play(
        operation,
        Point {
            warm: true,
            crashes: [None, None],
        },
    );
    assert_eq!((calm.sprung, calm.wrong), ([false, false], None));
    let killed = play(
        operation,
        Point {
            warm: true,
            crashes: [Some((3, Side::Before)), Some((1, Side::After))],
        },
    );
    assert_eq!(
        (killed.sprung, killed.requests),
        ([true, true], [4, 1]),
        "the fourth is under way beside the third"
    );
}
