//! The fault table: every fault on every object of a unit in every operation, and what the caller is told.
//!
//! Each cell is a bucket of its own. A replica performs one operation while one fault befalls its requests to one
//! object; then the bucket is healed, and a replica that has just started tells what is true now. Whatever the cell:
//!
//! - an operation that was answered with success has its whole effect, one that failed has its whole effect or none;
//! - what was acknowledged is in the history and reads back byte for byte, what was refused is kept;
//! - the copy holds what the head names after one more read, and other units are as they were;
//! - the same request again is answered, and its effect is there once.
//!
//! [`TABLE`] is what is expected and what is printed.

#![expect(clippy::unwrap_used, reason = "where a fixture fails, the test fails")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use opentaco_control::versions::Reinstate;
use opentaco_control::{ControlError, Door, ListUnits, StateControl, StateRead};
use opentaco_domain::state::with_serial;
use opentaco_domain::{Holding, VersionId};
use opentaco_storage::head::kept_name;
use opentaco_storage::is_vacant;
use opentaco_testkit::buckets::World;
use opentaco_testkit::faults::{Does, Fate, Late, On};

use crate::common::{
    alice, body, control, create, history, listed, lock, prod, read, rejected, replica, said, state, under,
    unit, unlock, uuid, versions, write, written,
};

const COPY: &str = "myapp/prod/terraform.tfstate";
const HEAD: &str = "__opentaco_units/myapp/prod/@head.json";

/// How long a slow request takes: less than its sender waits.
const SLOW: Duration = Duration::from_secs(10);
/// When a late request lands: its sender gives up after fifteen seconds.
const LATE: Duration = Duration::from_secs(25);

/// An operation, with the unit as it finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Lock,
    Unlock,
    ForceUnlock,
    Read,
    ReadLagging,
    ReadOverwritten,
    WriteUnderLock,
    WriteWithoutLock,
    WriteRefused,
    FirstWrite,
    Create,
    Describe,
    Annotate,
    Delete,
    Undelete,
    List,
    Versions,
    FetchVersion,
    Restore,
    ListRejected,
    FetchRejected,
    Promote,
    ReadOld,
    DescribeOld,
    LockOld,
    WriteOld,
}

const OPERATIONS: [(&str, Operation); 26] = [
    ("lock", Operation::Lock),
    ("unlock", Operation::Unlock),
    ("force unlock", Operation::ForceUnlock),
    ("read", Operation::Read),
    ("read a lagging copy", Operation::ReadLagging),
    ("read what a person put", Operation::ReadOverwritten),
    ("write under a lock", Operation::WriteUnderLock),
    ("write without a lock", Operation::WriteWithoutLock),
    ("refused write", Operation::WriteRefused),
    ("first write", Operation::FirstWrite),
    ("create", Operation::Create),
    ("describe", Operation::Describe),
    ("annotate", Operation::Annotate),
    ("delete", Operation::Delete),
    ("undelete", Operation::Undelete),
    ("list", Operation::List),
    ("versions", Operation::Versions),
    ("fetch a version", Operation::FetchVersion),
    ("restore", Operation::Restore),
    ("rejected list", Operation::ListRejected),
    ("fetch a rejected", Operation::FetchRejected),
    ("promote", Operation::Promote),
    ("read an old unit", Operation::ReadOld),
    ("describe an old unit", Operation::DescribeOld),
    ("lock an old unit", Operation::LockOld),
    ("write an old unit", Operation::WriteOld),
];

/// Requests to one object of a unit, by what they do; `names` is the listing of units.
const OBJECTS: [(&str, Does, &str); 11] = [
    ("head read", Does::Read, "/@head.json"),
    ("head write", Does::Write, "/@head.json"),
    ("copy read", Does::Read, COPY),
    ("copy write", Does::Write, COPY),
    ("version read", Does::Read, "__opentaco_versions/myapp"),
    ("version write", Does::Write, "__opentaco_versions/myapp"),
    ("lock copy read", Does::Read, "myapp/prod/terraform.tfstate."),
    ("lock copy write", Does::Write, "myapp/prod/terraform.tfstate."),
    ("rejected read", Does::Read, "__opentaco_rejected/myapp"),
    ("rejected write", Does::Write, "__opentaco_rejected/myapp"),
    ("names read", Does::List, ""),
];

/// What befalls a request, in the order of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Denied,
    InternalError,
    Unavailable,
    Silence,
    SilenceAfterEffect,
    Conflict,
    PreconditionFailed,
    Truncated,
    Slow,
    Late,
}

const FAULTS: [Fault; 10] = [
    Fault::Denied,
    Fault::InternalError,
    Fault::Unavailable,
    Fault::Silence,
    Fault::SilenceAfterEffect,
    Fault::Conflict,
    Fault::PreconditionFailed,
    Fault::Truncated,
    Fault::Slow,
    Fault::Late,
];

/// Whom it befalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The first such request of a replica that has just started.
    Once,
    /// The first such request of a replica that remembers the head.
    OnceRemembering,
    /// Every such request of a replica that has just started, until the bucket is healed.
    Always,
}

const REACHES: [Reach; 3] = [Reach::Once, Reach::OnceRemembering, Reach::Always];

impl Fault {
    fn fate(self, late: &Late) -> Fate {
        match self {
            Self::Denied => Fate::Denied,
            Self::InternalError => Fate::InternalError,
            Self::Unavailable => Fate::Unavailable,
            Self::Silence => Fate::Silence,
            Self::SilenceAfterEffect => Fate::SilenceAfterEffect,
            Self::Conflict => Fate::Conflict,
            Self::PreconditionFailed => Fate::PreconditionFailed,
            Self::Truncated => Fate::Truncated,
            Self::Slow => Fate::Slow(SLOW),
            Self::Late => Fate::LandsAfter(LATE, late.clone()),
        }
    }

    fn takes_effect(self) -> bool {
        matches!(self, Self::SilenceAfterEffect | Self::Slow | Self::Late)
    }
}

fn on((_, does, key): (&str, Does, &str), reach: Reach) -> On {
    let on = match key {
        "" => On::next(does, key).exactly(),
        COPY => On::next(does, key).ending(),
        _ => On::next(does, key),
    };
    if reach == Reach::Always { on.always() } else { on }
}

/// What is true of the unit, as a replica tells that has just started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Facts {
    exists: bool,
    description: String,
    lock: Option<String>,
    reads: Option<Bytes>,
    history: Vec<Bytes>,
    rejected: BTreeSet<Bytes>,
}

impl Facts {
    async fn of(world: &World) -> Self {
        let control = replica(world);
        let reads = read(&control, &prod()).await.unwrap();
        control.settle_down().await;
        let view = match control.describe_unit(&alice(), &prod()).await {
            Err(ControlError::NotFound { .. }) => None,
            view => Some(view.unwrap()),
        };
        let facts = Self {
            exists: view.is_some(),
            lock: view
                .as_ref()
                .and_then(|view| view.holder.as_ref())
                .map(|holder| holder.info.id.to_string()),
            description: view.map(|view| view.description).unwrap_or_default(),
            reads,
            history: history(&control, &prod()).await,
            rejected: rejected(&control, &prod()).await.into_iter().collect(),
        };
        let copy = world.copy(&prod()).await.filter(|copy| !is_vacant(copy));
        assert_eq!(copy, facts.reads, "the copy holds what the head names");
        facts
    }
}

fn v(serial: u64) -> Bytes {
    state(serial, "v")
}

fn refused_before() -> Bytes {
    state(4, "refused before")
}

fn by_hand() -> Bytes {
    state(4, "by hand")
}

/// The unit that most operations find: three versions, the oldest so old that the head knows only its name, and a
/// refused write.
async fn with_history(world: &World) -> StateControl {
    let control = replica(world);
    for serial in 1..=3 {
        written(&control, &prod(), &v(serial)).await;
    }
    let refused = write(&control, &prod(), under(9), &refused_before()).await;
    assert!(
        matches!(refused, Err(ControlError::NotHolder { .. })),
        "{refused:?}"
    );
    control.settle_down().await;
    let mut head: serde_json::Value =
        serde_json::from_slice(&world.person_gets(HEAD).await.unwrap()).unwrap();
    let oldest = head["recent"].as_array_mut().unwrap().pop().unwrap();
    let oldest: VersionId = oldest["version"].as_str().unwrap().parse().unwrap();
    head["kept"] = serde_json::json!([kept_name(&oldest)]);
    world.person_puts(HEAD, serde_json::to_vec(&head).unwrap()).await;
    replica(world)
}

impl Operation {
    /// Makes the unit as the operation finds it; the other units are always there.
    async fn stage(self, world: &World) {
        let others = replica(world);
        written(&others, &unit("team/x"), &state(1, "x")).await;
        create(&others, &unit("empty")).await.unwrap();
        others.settle_down().await;

        match self {
            Self::FirstWrite | Self::Create => return,
            Self::ReadOld | Self::LockOld | Self::WriteOld => return world.person_puts(COPY, v(1)).await,
            Self::DescribeOld => {
                world.person_puts(COPY, v(1)).await;
                return world
                    .person_puts(&format!("{COPY}.tflock"), r#"{"ID":"old","Who":"bob"}"#)
                    .await;
            }
            _ => {}
        }
        let control = with_history(world).await;
        match self {
            Self::Unlock | Self::ForceUnlock => {
                lock(&control, &prod(), 1).await.unwrap();
                write(&control, &prod(), under(1), &v(4)).await.unwrap();
            }
            Self::WriteUnderLock | Self::WriteRefused | Self::Describe => {
                lock(&control, &prod(), 1).await.unwrap();
            }
            Self::ReadLagging => {
                let (vault, faults) = world.failing_replica();
                faults.say(On::next(Does::Put, COPY).ending().always(), Fate::Denied);
                let saved = write(&self::control(vault), &prod(), Holding::Nothing, &v(4)).await;
                assert!(matches!(saved, Err(ControlError::Saved { .. })), "{saved:?}");
            }
            Self::ReadOverwritten => world.person_puts(COPY, by_hand()).await,
            Self::Delete => {}
            Self::Undelete => control.delete_unit(&alice(), &prod()).await.unwrap(),
            _ => {}
        }
        control.settle_down().await;
    }

    /// What the stage leaves true. Written out here, so that the stage itself is checked.
    fn before(self) -> Facts {
        let old = [Self::ReadOld, Self::DescribeOld, Self::LockOld, Self::WriteOld];
        if [Self::FirstWrite, Self::Create].contains(&self) {
            return Facts::default();
        }
        if old.contains(&self) {
            let lock = (self == Self::DescribeOld).then(|| "old".to_owned());
            return Facts {
                exists: true,
                reads: Some(v(1)),
                lock,
                ..Facts::default()
            };
        }
        let mut facts = Facts {
            exists: true,
            reads: Some(v(3)),
            history: vec![v(3), v(2), v(1)],
            rejected: [refused_before()].into(),
            ..Facts::default()
        };
        match self {
            Self::Unlock | Self::ForceUnlock => {
                facts.lock = Some(uuid(1).to_string());
                facts.commits(v(4));
            }
            Self::WriteUnderLock | Self::WriteRefused | Self::Describe => {
                facts.lock = Some(uuid(1).to_string());
            }
            Self::ReadLagging => facts.commits(v(4)),
            // A reader adopts it, whoever that is.
            Self::ReadOverwritten => facts.commits(by_hand()),
            Self::Undelete => (facts.exists, facts.reads) = (false, None),
            _ => {}
        }
        facts
    }

    /// What it is meant to make true.
    fn after(self) -> Facts {
        let mut facts = self.before();
        match self {
            Self::Lock => facts.lock = Some(uuid(1).to_string()),
            Self::Unlock | Self::ForceUnlock => facts.lock = None,
            Self::WriteUnderLock | Self::WriteWithoutLock => facts.commits(v(4)),
            Self::WriteRefused => drop(facts.rejected.insert(v(4))),
            Self::FirstWrite => facts.commits(v(1)),
            Self::Create => facts.exists = true,
            Self::Annotate => facts.description = "new".to_owned(),
            Self::Delete => (facts.exists, facts.reads) = (false, None),
            Self::Undelete => facts.commits(v(3)),
            Self::Restore => facts.commits(with_serial(&v(1), 4).unwrap().into()),
            Self::Promote => facts.commits(refused_before()),
            Self::LockOld => (facts.history, facts.lock) = (vec![v(1)], Some(uuid(1).to_string())),
            Self::WriteOld => {
                facts.history = vec![v(1)];
                facts.commits(v(2));
            }
            Self::Read
            | Self::ReadLagging
            | Self::ReadOverwritten
            | Self::Describe
            | Self::List
            | Self::Versions
            | Self::FetchVersion
            | Self::ListRejected
            | Self::FetchRejected
            | Self::ReadOld
            | Self::DescribeOld => {}
        }
        facts
    }

    /// Whether a failed operation may leave this behind.
    fn may_leave(self, facts: &Facts) -> bool {
        // The first touch of an old unit makes what is there its first version, before anything else is decided.
        let adopted = Facts {
            history: vec![v(1)],
            ..self.before()
        };
        let old = matches!(self, Self::LockOld | Self::WriteOld);
        *facts == self.before() || *facts == self.after() || (old && *facts == adopted)
    }

    /// Performs it. A wrong answer panics; how it failed is for the table.
    async fn perform(self, control: &StateControl, picked: &Picked) -> Result<(), Told> {
        let (alice, prod) = (alice(), prod());
        let mut how = Reinstate::plainly(Door::Management);
        how.idempotency_key = Some("the same request".to_owned());
        let done = match self {
            Self::Lock | Self::LockOld => lock(control, &prod, 1)
                .await
                .map(|info| assert_eq!(info.id, uuid(1))),
            Self::Unlock => unlock(control, &prod, 1).await,
            Self::ForceUnlock => control.force_unlock(&alice, &prod).await.map(|_| ()),
            Self::Read => return fetch(control.read_state(&alice, &prod).await, v(3)).await,
            Self::ReadLagging => return fetch(control.read_state(&alice, &prod).await, v(4)).await,
            Self::ReadOverwritten => return fetch(control.read_state(&alice, &prod).await, by_hand()).await,
            Self::ReadOld => return fetch(control.read_state(&alice, &prod).await, v(1)).await,
            Self::WriteUnderLock => write(control, &prod, under(1), &v(4)).await.map(|_| ()),
            Self::WriteWithoutLock => write(control, &prod, Holding::Nothing, &v(4)).await.map(|_| ()),
            Self::FirstWrite => write(control, &prod, Holding::Nothing, &v(1)).await.map(|_| ()),
            Self::WriteOld => write(control, &prod, Holding::Nothing, &v(2)).await.map(|_| ()),
            Self::WriteRefused => match write(control, &prod, under(2), &v(4)).await {
                Err(ControlError::NotHolder { holder, kept, unit }) => {
                    assert_eq!(holder.as_ref().map(|holder| &holder.info.id), Some(&uuid(1)));
                    assert!(kept.is_some());
                    Err(ControlError::NotHolder { holder, kept, unit })
                }
                Ok(receipt) => panic!("somebody else holds it: {receipt:?}"),
                other => other.map(|_| ()),
            },
            Self::Create => create(control, &prod).await.map(|_| ()),
            Self::Describe => control.describe_unit(&alice, &prod).await.map(|view| {
                assert_eq!(view.holder.unwrap().info.id, uuid(1));
                assert_eq!(view.current.unwrap().serial, Some(3));
            }),
            Self::DescribeOld => control.describe_unit(&alice, &prod).await.map(|view| {
                assert_eq!(view.holder.unwrap().info.id.as_str(), "old");
            }),
            Self::Annotate => {
                let described = control.annotate_unit(&alice, &prod, &said("new")).await;
                described.map(|view| assert_eq!(view.description, "new"))
            }
            Self::Delete => control.delete_unit(&alice, &prod).await,
            Self::Undelete => control
                .undelete_unit(&alice, &prod, Door::Management)
                .await
                .map(drop),
            Self::List => control
                .list_units(&alice, ListUnits::default())
                .await
                .map(|page| {
                    let names: Vec<&str> = page.units.iter().map(|view| view.unit.as_str()).collect();
                    assert_eq!(names, ["empty", "myapp/prod", "team/x"]);
                }),
            Self::Versions => control.versions(&alice, &prod, None, None).await.map(|versions| {
                let serials: Vec<_> = versions
                    .iter()
                    .map(|committed| committed.serial.unwrap())
                    .collect();
                assert_eq!(serials, [3, 2, 1]);
            }),
            Self::FetchVersion => {
                let oldest = picked.oldest.as_ref().unwrap();
                return fetch(control.read_version(&alice, &prod, oldest).await, v(1)).await;
            }
            Self::Restore => {
                let restored = control
                    .restore(&alice, &prod, picked.oldest.as_ref().unwrap(), how)
                    .await;
                restored.map(|receipt| assert_eq!(receipt.serial, Some(4)))
            }
            Self::ListRejected => control.rejected(&alice, &prod).await.map(|writes| {
                let why: Vec<&str> = writes.iter().map(|write| write.why.as_str()).collect();
                assert_eq!(why, ["lock-lost"]);
            }),
            Self::FetchRejected => {
                let (told, read) = control
                    .read_rejected(&alice, &prod, picked.refused.as_ref().unwrap())
                    .await?;
                assert_eq!(told.lock, Some(uuid(9).to_string()));
                return fetch(Ok(read), refused_before()).await;
            }
            Self::Promote => control
                .promote(&alice, &prod, picked.refused.as_ref().unwrap(), how)
                .await
                .map(|_| ()),
        };
        done.map_err(Told::Error)
    }

    /// Whether this says of a repeated request that it was done before.
    fn was_done(self, answer: &Result<(), Told>) -> bool {
        match answer {
            Ok(()) => self != Self::WriteRefused,
            Err(Told::Error(ControlError::NotHolder { .. })) => self == Self::WriteRefused,
            Err(Told::Error(ControlError::AlreadyExists { .. })) => {
                matches!(self, Self::Create | Self::Undelete)
            }
            Err(Told::Error(ControlError::NotFound { .. })) => self == Self::Delete,
            Err(_) => false,
        }
    }
}

impl Facts {
    fn commits(&mut self, bytes: Bytes) {
        self.exists = true;
        self.reads = Some(bytes.clone());
        self.history.insert(0, bytes);
    }
}

/// What a person has picked from the lists of versions and of refused writes.
struct Picked {
    oldest: Option<VersionId>,
    refused: Option<String>,
}

impl Picked {
    async fn from(world: &World) -> Self {
        let control = replica(world);
        let versions = versions(&control, &prod()).await;
        let refused = control.rejected(&alice(), &prod()).await.unwrap();
        Self {
            oldest: versions
                .iter()
                .find(|committed| committed.serial == Some(1))
                .map(|committed| committed.version),
            refused: refused.first().map(|write| write.id.clone()),
        }
    }
}

/// How an operation failed, as its caller sees it.
#[derive(Debug)]
enum Told {
    Error(ControlError),
    /// The answer had begun, and its body broke off.
    Cut(ControlError),
}

impl From<ControlError> for Told {
    fn from(error: ControlError) -> Self {
        Self::Error(error)
    }
}

/// GET, as a client sees it that notices when a body breaks off.
async fn fetch(read: Result<StateRead, ControlError>, expected: Bytes) -> Result<(), Told> {
    let bytes = body(read?).await.map_err(Told::Cut)?;
    assert_eq!(bytes, expected);
    Ok(())
}

/// What an answer is called in the table.
fn letter(answer: &Result<(), Told>) -> char {
    match answer {
        Ok(()) => 'D',
        Err(Told::Error(ControlError::Unavailable { .. })) => 'U',
        Err(Told::Error(ControlError::Saved { .. })) => 'S',
        Err(Told::Error(ControlError::NotHolder { .. })) => 'H',
        Err(Told::Cut(ControlError::Unavailable { .. })) => 'C',
        Err(other) => panic!("no answer of design.md: {other:?}"),
    }
}

/// One cell: its letter, after everything that must hold was found to hold.
async fn cell(
    world: World,
    operation: Operation,
    object: (&str, Does, &str),
    fault: Fault,
    reach: Reach,
) -> char {
    operation.stage(&world).await;
    let others = others(&world).await;
    let picked = Picked::from(&world).await;

    let (vault, faults) = world.failing_replica();
    let acting = control(vault);
    if reach == Reach::OnceRemembering {
        drop(acting.describe_unit(&alice(), &prod()).await);
    }
    let late = Late::new();
    faults.say(on(object, reach), fault.fate(&late));
    let answer = operation.perform(&acting, &picked).await;
    let word = letter(&answer);
    let failed = !matches!(word, 'D' | 'H');
    if word == 'S' || (fault == Fault::Late && failed) {
        // The client tries again at once, elsewhere; what it sent first and is late lands after that.
        let again = operation.perform(&replica(&world), &picked).await;
        assert!(operation.was_done(&again), "again, at once: {again:?}");
        let copy = world.copy(&prod()).await.filter(|copy| !is_vacant(copy));
        assert!(
            word != 'S' || copy == operation.after().reads,
            "the same request again finishes it: {copy:?}"
        );
    }
    acting.settle_down().await;
    while late.waiting() > 0 {
        drop(late.land().await);
    }
    faults.heal();

    let facts = Facts::of(&world).await;
    let befallen = faults.befallen() > 0;
    match word {
        'D' | 'S' | 'H' => {
            assert_eq!(facts, operation.after());
            assert_eq!(is_listed(&world).await, facts.exists, "what exists is listed");
        }
        _ => assert!(
            operation.may_leave(&facts),
            "neither before nor after: {facts:#?}"
        ),
    }
    if befallen && object.0 == "head write" && reach == Reach::Always && !fault.takes_effect() {
        assert_eq!(
            facts,
            operation.before(),
            "only a head decides, and none was written"
        );
    }
    if let (Some(head), 'D', false) = (world.head(&prod()).await, word, object.0 == "lock copy write") {
        let shown = world.person_gets(&format!("{COPY}.lock")).await.is_some();
        assert_eq!(
            shown,
            head.lock.is_some(),
            "the lock copy is there while the unit is locked"
        );
    }
    assert_eq!(self::others(&world).await, others, "other units");

    let again = operation.perform(&replica(&world), &picked).await;
    assert!(operation.was_done(&again), "again: {again:?}");
    assert_eq!(
        Facts::of(&world).await,
        operation.after(),
        "after it was done again"
    );
    assert_eq!(
        is_listed(&world).await,
        operation.after().exists,
        "what exists is listed, after it was done again"
    );
    if befallen { word } else { '.' }
}

async fn is_listed(world: &World) -> bool {
    listed(&replica(world)).await.contains(&prod().to_string())
}

/// The objects of the other units, with their bytes.
async fn others(world: &World) -> Vec<(String, Option<Bytes>)> {
    let mut all = Vec::new();
    for key in world
        .keys()
        .await
        .into_iter()
        .filter(|key| !key.contains("myapp/prod"))
    {
        all.push((key.clone(), world.person_gets(&key).await));
    }
    all
}

/// One row: ten cells for each reach, and what was found wrong in them.
async fn row(
    fresh: fn() -> World,
    operation: Operation,
    object: (&str, Does, &str),
) -> (String, Vec<String>) {
    let (mut row, mut wrong) = (String::new(), Vec::new());
    for reach in REACHES {
        let mut letters = String::new();
        for fault in FAULTS {
            // A request that is not made is not made whatever would have become of it: one try proves it.
            if letters.starts_with('.') {
                letters.push('.');
                continue;
            }
            match AssertUnwindSafe(cell(fresh(), operation, object, fault, reach))
                .catch_unwind()
                .await
            {
                Ok(letter) => letters.push(letter),
                Err(_) => {
                    letters.push('!');
                    wrong.push(format!("{fault:?} on `{}` in {operation:?}, {reach:?}", object.0));
                }
            }
        }
        row = format!("{row} {letters}");
    }
    (row, wrong)
}

/// Plays the whole table, prints it, and holds it against [`TABLE`] with these rows of it replaced.
async fn the_table_holds(fresh: fn() -> World) {
    let (mut table, mut wrong) = (String::new(), Vec::new());
    for (name, operation) in OPERATIONS {
        for object in OBJECTS {
            let (row, found) = row(fresh, operation, object).await;
            writeln!(table, "{name:22} {:15}{row}", object.0).unwrap();
            wrong.extend(found);
        }
    }
    #[expect(clippy::print_stdout, reason = "the table is what this test has to show")]
    {
        println!("{LEGEND}\n{table}");
    }

    let cells: usize = TABLE
        .lines()
        .map(|line| line[39..].chars().filter(|letter| *letter != ' ').count())
        .sum();
    assert_eq!(cells, 8_580);
    assert_eq!(
        cells,
        OPERATIONS.len() * OBJECTS.len() * REACHES.len() * FAULTS.len()
    );
    let other: Vec<_> = table
        .lines()
        .zip(TABLE.lines())
        .filter(|(is, expected)| is != expected)
        .collect();
    assert!(
        wrong.is_empty() && other.is_empty(),
        "did not hold: {wrong:#?}\nother than expected: {other:#?}"
    );
    assert_eq!(table.lines().count(), TABLE.lines().count());
}

#[tokio::test(start_paused = true)]
async fn every_fault_in_every_operation_is_answered_as_in_the_table_and_changes_nothing_else() {
    the_table_holds(World::new).await;
}

#[tokio::test(start_paused = true)]
async fn every_fault_is_answered_so_where_tags_are_digests_of_the_content_too() {
    the_table_holds(World::with_content_tags).await;
}

const LEGEND: &str = "\
Columns, three times: 403, 500, 503, time-out, time-out after taking effect, 409, 412, truncated body, slow, and a
request that lands ten seconds after its sender gave up. First it befalls one request of a replica that has just
started, then one of a replica that remembers the head, then every such request until the bucket is healed.
D done; H refused, not the holder, and the bytes are kept; S saved, but not copied yet; U unavailable;
C the answer had begun and its body broke off; . no such request was made.
";

const TABLE: &str = "\
lock                   head read       UDDDDDDDDD .......... UUUUUUUUDU
lock                   head write      UDDDDDDDDD UDDDDDDDDD UUUUDUUUDD
lock                   copy read       .......... .......... ..........
lock                   copy write      .......... .......... ..........
lock                   version read    .......... .......... ..........
lock                   version write   .......... .......... ..........
lock                   lock copy read  .......... .......... ..........
lock                   lock copy write DDDDDDDDDD DDDDDDDDDD DDDDDDDDDD
lock                   rejected read   .......... .......... ..........
lock                   rejected write  .......... .......... ..........
lock                   names read      .......... .......... ..........
unlock                 head read       UDDDDDDDDD DDDDDDDDDD UUUUUUUUDU
unlock                 head write      UDDDDDDDDD UDDDDDDDDD UUUUDUUUDD
unlock                 copy read       DDDDDDDDDD DDDDDDDDDD DDDDDDDDDD
unlock                 copy write      .......... .......... ..........
unlock                 version read    .......... .......... ..........
unlock                 version write   .......... .......... ..........
unlock                 lock copy read  .......... .......... ..........
unlock                 lock copy write DDDDDDDDDD DDDDDDDDDD DDDDDDDDDD
unlock                 rejected read   .......... .......... ..........
unlock                 rejected write  .......... .......... ..........
unlock                 names read      .......... .......... ..........
force unlock           head read       UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
force unlock           head write      UDDDDDDDDD UDDDDDDDDD UUUUDUUUDD
force unlock           copy read       DDDDDDDDDD DDDDDDDDDD DDDDDDDDDD
force unlock           copy write      .......... .......... ..........
force unlock           version read    .......... .......... ..........
force unlock           version write   .......... .......... ..........
force unlock           lock copy read  .......... .......... ..........
force unlock           lock copy write DDDDDDDDDD DDDDDDDDDD DDDDDDDDDD
force unlock           rejected read   .......... .......... ..........
force unlock           rejected write  .......... .......... ..........
force unlock           names read      .......... .......... ..........
read                   head read       UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
read                   head write      .......... .......... ..........
read                   copy read       UDDDDDDCDD UDDDDDDCDD UUUUUUUCDU
read                   copy write      .......... .......... ..........
read                   version read    .......... .......... ..........
read                   version write   .......... .......... ..........
read                   lock copy read  .......... .......... ..........
read                   lock copy write .......... .......... ..........
read                   rejected read   .......... .......... ..........
read                   rejected write  .......... .......... ..........
read                   names read      .......... .......... ..........
read a lagging copy    head read       UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
read a lagging copy    head write      DDDDDDDDDD DDDDDDDDDD DDDDDDDDDD
read a lagging copy    copy read       UDDDDDDDDD UDDDDDDDDD UUUUUUUDDU
read a lagging copy    copy write      DDDDDDDDDD DDDDDDDDDD DDDDDDDDDD
read a lagging copy    version read    UDDDDDDCDD UDDDDDDCDD UUUUUUUCDU
read a lagging copy    version write   .......... .......... ..........
read a lagging copy    lock copy read  .......... .......... ..........
read a lagging copy    lock copy write .......... .......... ..........
read a lagging copy    rejected read   .......... .......... ..........
read a lagging copy    rejected write  .......... .......... ..........
read a lagging copy    names read      .......... .......... ..........
read what a person put head read       UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
read what a person put head write      UDDDDDDDDD UDDDDDDDDD UUUUDUUUDD
read what a person put copy read       UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
read what a person put copy write      .......... .......... ..........
read what a person put version read    UDDDDDDCDD UDDDDDDCDD UUUUUUUCDU
read what a person put version write   UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
read what a person put lock copy read  .......... .......... ..........
read what a person put lock copy write .......... .......... ..........
read what a person put rejected read   .......... .......... ..........
read what a person put rejected write  .......... .......... ..........
read what a person put names read      .......... .......... ..........
write under a lock     head read       UDDDDDDDDD DDDDDDDDDD UUUUUUUUDU
write under a lock     head write      UDDDDDDDDD UDDDDDDDDD UUUUDUUUDD
write under a lock     copy read       .......... .......... ..........
write under a lock     copy write      SDDDDDDDDD SDDDDDDDDD SSSSDSSSDD
write under a lock     version read    .......... .......... ..........
write under a lock     version write   UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
write under a lock     lock copy read  .......... .......... ..........
write under a lock     lock copy write .......... .......... ..........
write under a lock     rejected read   .......... .......... ..........
write under a lock     rejected write  .......... .......... ..........
write under a lock     names read      .......... .......... ..........
write without a lock   head read       UDDDDDDDDD DDDDDDDDDD UUUUUUUUDU
write without a lock   head write      UDDDDDDDDD UDDDDDDDDD UUUUDUUUDD
write without a lock   copy read       .......... .......... ..........
write without a lock   copy write      SDDDDDDDDD SDDDDDDDDD SSSSDSSSDD
write without a lock   version read    .......... .......... ..........
write without a lock   version write   UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
write without a lock   lock copy read  .......... .......... ..........
write without a lock   lock copy write .......... .......... ..........
write without a lock   rejected read   .......... .......... ..........
write without a lock   rejected write  .......... .......... ..........
write without a lock   names read      .......... .......... ..........
refused write          head read       UHHHHHHHHH UHHHHHHHHH UUUUUUUUHU
refused write          head write      .......... .......... ..........
refused write          copy read       .......... .......... ..........
refused write          copy write      .......... .......... ..........
refused write          version read    .......... .......... ..........
refused write          version write   .......... .......... ..........
refused write          lock copy read  .......... .......... ..........
refused write          lock copy write .......... .......... ..........
refused write          rejected read   HHHHHHHHHH HHHHHHHHHH HHHHHHHHHH
refused write          rejected write  UHHHHHHHHH UHHHHHHHHH UUUUUUUUHU
refused write          names read      .......... .......... ..........
first write            head read       UDDDDDDDDD UDDDDDDDDD UUUUUUUDDU
first write            head write      UDDDDDDDDD UDDDDDDDDD UUUUDUUUDD
first write            copy read       UDDDDDDDDD UDDDDDDDDD UUUUUUUDDU
first write            copy write      SDDDDDDDDD SDDDDDDDDD SSSSDSSSDD
first write            version read    UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
first write            version write   UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
first write            lock copy read  UDDDDDDDDD UDDDDDDDDD UUUUUUUDDU
first write            lock copy write .......... .......... ..........
first write            rejected read   .......... .......... ..........
first write            rejected write  .......... .......... ..........
first write            names read      .......... .......... ..........
create                 head read       UDDDDDDDDD UDDDDDDDDD UUUUUUUDDU
create                 head write      UDDDDDDDDD UDDDDDDDDD UUUUDUUUDD
create                 copy read       UDDDDDDDDD UDDDDDDDDD UUUUUUUDDU
create                 copy write      UDDDDDDDDD UDDDDDDDDD UUUUDUUUDD
create                 version read    UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
create                 version write   .......... .......... ..........
create                 lock copy read  UDDDDDDDDD UDDDDDDDDD UUUUUUUDDU
create                 lock copy write .......... .......... ..........
create                 rejected read   .......... .......... ..........
create                 rejected write  .......... .......... ..........
create                 names read      .......... .......... ..........
describe               head read       UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
describe               head write      .......... .......... ..........
describe               copy read       .......... .......... ..........
describe               copy write      .......... .......... ..........
describe               version read    .......... .......... ..........
describe               version write   .......... .......... ..........
describe               lock copy read  .......... .......... ..........
describe               lock copy write .......... .......... ..........
describe               rejected read   .......... .......... ..........
describe               rejected write  .......... .......... ..........
describe               names read      .......... .......... ..........
annotate               head read       UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
annotate               head write      UDDDDDDDDD UDDDDDDDDD UUUUDUUUDD
annotate               copy read       .......... .......... ..........
annotate               copy write      .......... .......... ..........
annotate               version read    .......... .......... ..........
annotate               version write   .......... .......... ..........
annotate               lock copy read  .......... .......... ..........
annotate               lock copy write .......... .......... ..........
annotate               rejected read   .......... .......... ..........
annotate               rejected write  .......... .......... ..........
annotate               names read      .......... .......... ..........
delete                 head read       UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
delete                 head write      UDDDDDDDDD UDDDDDDDDD UUUUDUUUDD
delete                 copy read       UDDDDDDDDD UDDDDDDDDD UUUUUUUDDU
delete                 copy write      UDDDDDDDDD UDDDDDDDDD UUUUDUUUDD
delete                 version read    .......... .......... ..........
delete                 version write   .......... .......... ..........
delete                 lock copy read  .......... .......... ..........
delete                 lock copy write .......... .......... ..........
delete                 rejected read   .......... .......... ..........
delete                 rejected write  .......... .......... ..........
delete                 names read      .......... .......... ..........
undelete               head read       UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
undelete               head write      UDDDDDDDDD UDDDDDDDDD UUUUDUUUDD
undelete               copy read       .......... .......... ..........
undelete               copy write      SDDDDDDDDD SDDDDDDDDD SSSSSSSSDS
undelete               version read    UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
undelete               version write   UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
undelete               lock copy read  .......... .......... ..........
undelete               lock copy write .......... .......... ..........
undelete               rejected read   .......... .......... ..........
undelete               rejected write  .......... .......... ..........
undelete               names read      .......... .......... ..........
list                   head read       UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
list                   head write      .......... .......... ..........
list                   copy read       .......... .......... ..........
list                   copy write      .......... .......... ..........
list                   version read    .......... .......... ..........
list                   version write   .......... .......... ..........
list                   lock copy read  .......... .......... ..........
list                   lock copy write .......... .......... ..........
list                   rejected read   .......... .......... ..........
list                   rejected write  .......... .......... ..........
list                   names read      UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
versions               head read       UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
versions               head write      .......... .......... ..........
versions               copy read       .......... .......... ..........
versions               copy write      .......... .......... ..........
versions               version read    UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
versions               version write   .......... .......... ..........
versions               lock copy read  .......... .......... ..........
versions               lock copy write .......... .......... ..........
versions               rejected read   .......... .......... ..........
versions               rejected write  .......... .......... ..........
versions               names read      .......... .......... ..........
fetch a version        head read       UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
fetch a version        head write      .......... .......... ..........
fetch a version        copy read       .......... .......... ..........
fetch a version        copy write      .......... .......... ..........
fetch a version        version read    UDDDDDDCDD UDDDDDDCDD UUUUUUUCDU
fetch a version        version write   .......... .......... ..........
fetch a version        lock copy read  .......... .......... ..........
fetch a version        lock copy write .......... .......... ..........
fetch a version        rejected read   .......... .......... ..........
fetch a version        rejected write  .......... .......... ..........
fetch a version        names read      .......... .......... ..........
restore                head read       UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
restore                head write      UDDDDDDDDD UDDDDDDDDD UUUUDUUUDD
restore                copy read       .......... .......... ..........
restore                copy write      SDDDDDDDDD SDDDDDDDDD SSSSDSSSDD
restore                version read    UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
restore                version write   UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
restore                lock copy read  .......... .......... ..........
restore                lock copy write .......... .......... ..........
restore                rejected read   .......... .......... ..........
restore                rejected write  .......... .......... ..........
restore                names read      .......... .......... ..........
rejected list          head read       .......... .......... ..........
rejected list          head write      .......... .......... ..........
rejected list          copy read       .......... .......... ..........
rejected list          copy write      .......... .......... ..........
rejected list          version read    .......... .......... ..........
rejected list          version write   .......... .......... ..........
rejected list          lock copy read  .......... .......... ..........
rejected list          lock copy write .......... .......... ..........
rejected list          rejected read   UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
rejected list          rejected write  .......... .......... ..........
rejected list          names read      .......... .......... ..........
fetch a rejected       head read       .......... .......... ..........
fetch a rejected       head write      .......... .......... ..........
fetch a rejected       copy read       .......... .......... ..........
fetch a rejected       copy write      .......... .......... ..........
fetch a rejected       version read    .......... .......... ..........
fetch a rejected       version write   .......... .......... ..........
fetch a rejected       lock copy read  .......... .......... ..........
fetch a rejected       lock copy write .......... .......... ..........
fetch a rejected       rejected read   UDDDDDDCDD UDDDDDDCDD UUUUUUUCDU
fetch a rejected       rejected write  .......... .......... ..........
fetch a rejected       names read      .......... .......... ..........
promote                head read       UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
promote                head write      UDDDDDDDDD UDDDDDDDDD UUUUDUUUDD
promote                copy read       .......... .......... ..........
promote                copy write      SDDDDDDDDD SDDDDDDDDD SSSSDSSSDD
promote                version read    .......... .......... ..........
promote                version write   UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
promote                lock copy read  .......... .......... ..........
promote                lock copy write .......... .......... ..........
promote                rejected read   UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
promote                rejected write  .......... .......... ..........
promote                names read      .......... .......... ..........
read an old unit       head read       UDDDDDDDDD UDDDDDDDDD UUUUUUUDDU
read an old unit       head write      .......... .......... ..........
read an old unit       copy read       UDDDDDDCDD UDDDDDDCDD UUUUUUUCDU
read an old unit       copy write      .......... .......... ..........
read an old unit       version read    .......... .......... ..........
read an old unit       version write   .......... .......... ..........
read an old unit       lock copy read  .......... .......... ..........
read an old unit       lock copy write .......... .......... ..........
read an old unit       rejected read   .......... .......... ..........
read an old unit       rejected write  .......... .......... ..........
read an old unit       names read      .......... .......... ..........
describe an old unit   head read       UDDDDDDDDD UDDDDDDDDD UUUUUUUDDU
describe an old unit   head write      .......... .......... ..........
describe an old unit   copy read       UDDDDDDDDD UDDDDDDDDD UUUUUUUDDU
describe an old unit   copy write      .......... .......... ..........
describe an old unit   version read    .......... .......... ..........
describe an old unit   version write   .......... .......... ..........
describe an old unit   lock copy read  UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
describe an old unit   lock copy write .......... .......... ..........
describe an old unit   rejected read   .......... .......... ..........
describe an old unit   rejected write  .......... .......... ..........
describe an old unit   names read      .......... .......... ..........
lock an old unit       head read       UDDDDDDDDD UDDDDDDDDD UUUUUUUDDU
lock an old unit       head write      UDDDDDDDDD UDDDDDDDDD UUUUDUUUDD
lock an old unit       copy read       UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
lock an old unit       copy write      .......... .......... ..........
lock an old unit       version read    UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
lock an old unit       version write   UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
lock an old unit       lock copy read  UDDDDDDDDD UDDDDDDDDD UUUUUUUDDU
lock an old unit       lock copy write DDDDDDDDDD DDDDDDDDDD DDDDDDDDDD
lock an old unit       rejected read   .......... .......... ..........
lock an old unit       rejected write  .......... .......... ..........
lock an old unit       names read      .......... .......... ..........
write an old unit      head read       UDDDDDDDDD UDDDDDDDDD UUUUUUUDDU
write an old unit      head write      UDDDDDDDDD UDDDDDDDDD UUUUDUUUDD
write an old unit      copy read       UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
write an old unit      copy write      SDDDDDDDDD SDDDDDDDDD SSSSDSSSDD
write an old unit      version read    UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
write an old unit      version write   UDDDDDDDDD UDDDDDDDDD UUUUUUUUDU
write an old unit      lock copy read  UDDDDDDDDD UDDDDDDDDD UUUUUUUDDU
write an old unit      lock copy write .......... .......... ..........
write an old unit      rejected read   .......... .......... ..........
write an old unit      rejected write  .......... .......... ..........
write an old unit      names read      .......... .......... ..........
";
