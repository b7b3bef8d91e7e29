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
use std::time::Duration;

use bytes::Bytes;
use opentaco_control::versions::Reinstate;
use opentaco_control::{ControlError, Door, ListUnits, StateControl};
use opentaco_domain::state::with_serial;
use opentaco_domain::{Holding, VersionId};
use opentaco_storage::head::kept_name;
use opentaco_testkit::buckets::World;
use opentaco_testkit::faults::{Does, Fate, Late, On};

use crate::common::{
    alice, body, control, create, described, history, listed, lock, prod, read, rejected, replica, state, under, unit,
    unlock, uuid, write, written,
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
            lock: view.as_ref().and_then(|view| view.holder.as_ref()).map(|holder| holder.info.id.to_string()),
            description: view.map(|view| view.description).unwrap_or_default(),
            reads,
            history: history(&control, &prod()).await,
            rejected: rejected(&control, &prod()).await.into_iter().collect(),
        };
        let copy = world.copy(&prod()).await.filter(|copy| !copy.is_empty());
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
    assert!(matches!(refused, Err(ControlError::NotHolder { .. })), "{refused:?}");
    control.settle_down().await;
    let mut head: serde_json::Value = serde_json::from_slice(&world.person_gets(HEAD).await.unwrap()).unwrap();
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
                return world.person_puts(&format!("{COPY}.tflock"), r#"{"ID":"old","Who":"bob"}"#).await;
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
                let saved = write(&super::common::control(vault), &prod(), Holding::Nothing, &v(4)).await;
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
            return Facts { exists: true, reads: Some(v(1)), lock, ..Facts::default() };
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
            Self::WriteUnderLock | Self::WriteRefused | Self::Describe => facts.lock = Some(uuid(1).to_string()),
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
        let adopted = Facts { history: vec![v(1)], ..self.before() };
        let old = matches!(self, Self::LockOld | Self::WriteOld);
        *facts == self.before() || *facts == self.after() || (old && *facts == adopted)
    }

    /// Performs it. A wrong answer panics; how it failed is for the table.
    async fn perform(self, control: &StateControl) -> Result<(), ControlError> {
        let (alice, prod) = (alice(), prod());
        let mut how = Reinstate::plainly(Door::Management);
        how.idempotency_key = Some("the same request".to_owned());
        match self {
            Self::Lock | Self::LockOld => lock(control, &prod, 1).await.map(|info| assert_eq!(info.id, uuid(1))),
            Self::Unlock => unlock(control, &prod, 1).await,
            Self::ForceUnlock => control.force_unlock(&alice, &prod).await.map(|_| ()),
            Self::Read => read(control, &prod).await.map(|bytes| assert_eq!(bytes, Some(v(3)))),
            Self::ReadLagging => read(control, &prod).await.map(|bytes| assert_eq!(bytes, Some(v(4)))),
            Self::ReadOverwritten => read(control, &prod).await.map(|bytes| assert_eq!(bytes, Some(by_hand()))),
            Self::ReadOld => read(control, &prod).await.map(|bytes| assert_eq!(bytes, Some(v(1)))),
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
                let described = control.annotate_unit(&alice, &prod, None, Some("new".to_owned())).await;
                described.map(|view| assert_eq!(view.description, "new"))
            }
            Self::Delete => control.delete_unit(&alice, &prod).await,
            Self::Undelete => control.undelete_unit(&alice, &prod, Door::Management).await,
            Self::List => control.list_units(&alice, ListUnits::default()).await.map(|page| {
                let names: Vec<&str> = page.units.iter().map(|view| view.unit.as_str()).collect();
                assert_eq!(names, ["empty", "myapp/prod", "team/x"]);
            }),
            Self::Versions => control.versions(&alice, &prod, None, None).await.map(|versions| {
                let serials: Vec<_> = versions.iter().map(|committed| committed.serial.unwrap()).collect();
                assert_eq!(serials, [3, 2, 1]);
            }),
            Self::FetchVersion => {
                let read = control.read_version(&alice, &prod, &oldest(control).await?).await?;
                body(read).await.map(|bytes| assert_eq!(bytes, v(1)))
            }
            Self::Restore => {
                let restored = control.restore(&alice, &prod, &oldest(control).await?, how).await;
                restored.map(|receipt| assert_eq!(receipt.serial, Some(4)))
            }
            Self::ListRejected => control.rejected(&alice, &prod).await.map(|writes| {
                let why: Vec<&str> = writes.iter().map(|write| write.why.as_str()).collect();
                assert_eq!(why, ["lock-lost"]);
            }),
            Self::FetchRejected => {
                let (told, read) = control.read_rejected(&alice, &prod, &refused(control).await?).await?;
                assert_eq!(told.lock, Some(uuid(9).to_string()));
                body(read).await.map(|bytes| assert_eq!(bytes, refused_before()))
            }
            Self::Promote => control.promote(&alice, &prod, &refused(control).await?, how).await.map(|_| ()),
        }
    }

    /// Whether this says of a repeated request that it was done before.
    fn was_done(self, answer: &Result<(), ControlError>) -> bool {
        match answer {
            Ok(()) => self != Self::WriteRefused,
            Err(ControlError::NotHolder { .. }) => self == Self::WriteRefused,
            Err(ControlError::AlreadyExists { .. }) => matches!(self, Self::Create | Self::Undelete),
            Err(ControlError::NotFound { .. }) => self == Self::Delete,
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

/// The version that a person picks from the list.
async fn oldest(control: &StateControl) -> Result<VersionId, ControlError> {
    let versions = control.versions(&alice(), &prod(), None, None).await?;
    Ok(versions.iter().find(|committed| committed.serial == Some(1)).expect("it is in the history").version)
}

/// The refused write that a person picks from the list.
async fn refused(control: &StateControl) -> Result<String, ControlError> {
    let writes = control.rejected(&alice(), &prod()).await?;
    Ok(writes.first().expect("it is kept").id.clone())
}

/// What an answer is called in the table.
fn letter(answer: &Result<(), ControlError>) -> char {
    match answer {
        Ok(()) => 'D',
        Err(ControlError::Unavailable { .. }) => 'U',
        Err(ControlError::Saved { .. }) => 'S',
        Err(ControlError::NotHolder { .. }) => 'H',
        Err(other) => panic!("no answer of design.md: {other:?}"),
    }
}

/// One cell: its letter, after everything that must hold was found to hold.
async fn cell(operation: Operation, object: (&str, Does, &str), fault: Fault, reach: Reach) -> char {
    let world = World::new();
    operation.stage(&world).await;
    let others = others(&world).await;

    let (vault, faults) = world.failing_replica();
    let acting = control(vault);
    if reach == Reach::OnceRemembering {
        drop(acting.describe_unit(&alice(), &prod()).await);
    }
    let late = Late::new();
    faults.say(on(object, reach), fault.fate(&late));
    let answer = operation.perform(&acting).await;
    let word = letter(&answer);
    let failed = !matches!(word, 'D' | 'H');
    if fault == Fault::Late && failed {
        // The client tries again at once, elsewhere; what it sent first lands after that.
        let again = operation.perform(&replica(&world)).await;
        assert!(operation.was_done(&again), "again, before the first landed: {again:?}");
    }
    acting.settle_down().await;
    while late.waiting() > 0 {
        drop(late.land().await);
    }
    faults.heal();

    let facts = Facts::of(&world).await;
    let befallen = faults.befallen() > 0;
    match word {
        'D' | 'S' | 'H' => assert_eq!(facts, operation.after()),
        _ => assert!(operation.may_leave(&facts), "neither before nor after: {facts:#?}"),
    }
    if befallen && object.0 == "head write" && reach == Reach::Always && !fault.takes_effect() {
        assert_eq!(facts, operation.before(), "only a head decides, and none was written");
    }
    if let (Some(head), 'D', false) = (world.head(&prod()).await, word, object.0 == "lock copy write") {
        let shown = world.person_gets(&format!("{COPY}.lock")).await.is_some();
        assert_eq!(shown, head.lock.is_some(), "the lock copy is there while the unit is locked");
    }
    assert_eq!(self::others(&world).await, others, "other units");

    let again = operation.perform(&replica(&world)).await;
    assert!(operation.was_done(&again), "again: {again:?}");
    assert_eq!(Facts::of(&world).await, operation.after(), "after it was done again");
    assert!(listed(&replica(&world)).await.contains(&"team/x".to_owned()));
    if befallen { word } else { '.' }
}

/// The objects of the other units, with their bytes.
async fn others(world: &World) -> Vec<(String, Option<Bytes>)> {
    let mut all = Vec::new();
    for key in world.keys().await.into_iter().filter(|key| !key.contains("myapp/prod")) {
        all.push((key.clone(), world.person_gets(&key).await));
    }
    all
}
