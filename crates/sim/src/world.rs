//! One history: replicas over one bucket, clients that behave as Terraform does, and a world that is unkind to all of
//! them. Everything is drawn from the seed; what happened is recorded for the [`checker`](crate::checker).

pub mod s3;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, select};
use futures::{FutureExt, TryStreamExt};
use opentaco_control::uploads::UploadId;
use opentaco_control::versions::Reinstate;
use opentaco_control::{ControlError, CreateUnit, Door, LockRequest, StateControl, StateWrite};
use opentaco_domain::{Caller, Holding, LockId, LockInfo, Principal, UnitId, VersionId};
use opentaco_storage::head::Head;
use opentaco_storage::{Retention, Vault};

use crate::bucket::{Ledger, Outage, SimBucket, Sort, Weather};
use crate::chooser::{Chooser as _, Seeded};
use crate::executor::{Executor, Group, Instant, hold};
use crate::mask::Mask;
use crate::replicas::{Life, Replicas};

/// How long a client waits for an answer before it gives a request up, unless somebody pulls its plug.
const CLIENT_PATIENCE: Duration = Duration::from_secs(90);
/// How often Terraform sends a request.
const ATTEMPTS: usize = 3;

/// Who reads what a person has put when all is quiet.
pub const EPILOGUE: &str = "epilogue";

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// LOCK.
    Lock(LockId),
    /// UNLOCK.
    Unlock(LockId),
    /// UNLOCK with an empty body.
    ForceUnlock,
    /// GET.
    Read,
    /// POST under a lock, or without one.
    Write {
        /// What is sent: unique.
        bytes: Bytes,
        /// Under which lock.
        lock: Option<LockId>,
    },
    /// Create the unit.
    Create,
    /// Delete the unit.
    Delete,
    /// Bring the unit back.
    Undelete,
    /// Make an old version current.
    Restore(VersionId),
    /// Accept a refused write.
    Promote(String),
    /// A request of an S3 client.
    S3(s3::Ask),
}

impl Ask {
    /// What is to become the state.
    #[must_use]
    pub fn sent(&self) -> Option<Bytes> {
        match self {
            Self::Write { bytes, .. } => Some(bytes.clone()),
            Self::S3(ask) => ask.sent().map(|(bytes, _)| bytes),
            _ => None,
        }
    }
}

/// What it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Done.
    Done,
    /// Done, and this is the state.
    State(Bytes),
    /// There is none.
    NoState,
    /// Somebody else holds the unit.
    Locked(LockId),
    /// The lock id is over.
    LockOver,
    /// Refused and kept.
    Refused(Option<String>),
    /// Committed, not copied.
    Saved,
    /// No such thing, or there is one already.
    NoSuchThing,
    /// This upload was begun.
    Begun(UploadId),
    /// The bucket could not be asked.
    Unavailable,
    /// No answer: the replica died, or the client lost patience.
    Nothing,
}

/// One request of a client, from sending it to its answer.
#[derive(Debug, Clone)]
pub struct Record {
    /// Who.
    pub client: String,
    /// To which replica.
    pub replica: usize,
    /// About which unit.
    pub unit: UnitId,
    /// What.
    pub ask: Ask,
    /// What it was told.
    pub told: Told,
    /// When it was sent.
    pub from: Instant,
    /// When it was answered; the end of time if it never was.
    pub until: Instant,
}

/// Everything that can be known of a history.
#[derive(Debug)]
pub struct History {
    /// The seed it came from.
    pub seed: u64,
    /// The bucket at the end, with all its events.
    pub bucket: Ledger,
    /// What clients asked and were told, in the order of the answers.
    pub records: Vec<Record>,
    /// The units there are.
    pub units: Vec<UnitId>,
    /// What people put into the bucket by hand: unit, bytes, whether they were new.
    pub by_hand: Vec<(UnitId, Bytes, bool)>,
    /// How long versions were kept.
    pub retention: Retention,
    /// Whether everything came to an end.
    pub ended: bool,
    /// The time at the end.
    pub now: Instant,
}

impl History {
    /// How often a lock was asked for.
    #[must_use]
    pub fn lock_attempts(&self) -> u64 {
        self.records
            .iter()
            .filter(|record| matches!(record.ask, Ask::Lock(_) | Ask::S3(s3::Ask::Lock { .. })))
            .count() as u64
    }
}

/// A request that is recorded when its client is done with it, be it that the client is stopped in the middle.
struct Asking {
    record: Record,
    records: Arc<Mutex<Vec<Record>>>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        hold(&self.records).push(self.record.clone());
    }
}

#[derive(Clone)]
struct Replica {
    control: StateControl,
    /// What lies below, for what no request asks for.
    vault: Vault,
}

/// The world while it runs.
#[derive(Clone)]
struct World {
    executor: Executor,
    bucket: SimBucket,
    replicas: Replicas<Replica>,
    records: Arc<Mutex<Vec<Record>>>,
    by_hand: Arc<Mutex<Vec<(UnitId, Bytes, bool)>>>,
    units: Vec<UnitId>,
    counter: Arc<Mutex<u64>>,
    retention: Retention,
    /// Everybody is there at once, and nobody waits for long.
    busy: bool,
    /// Nothing goes wrong but what clients and people do to each other.
    calm: bool,
    /// The clocks of replicas are minutes to an hour fast or slow.
    skewed: bool,
    /// There are S3 clients, too. It is drawn apart, so that a history without them is what it was before there were any.
    with_s3: bool,
}

/// Plays the history of a seed to its end.
#[must_use]
pub fn play(seed: u64) -> History {
    play_masked(seed, &Mask::default())
}

/// Plays what a mask leaves of the history of a seed.
#[must_use]
pub fn play_masked(seed: u64, mask: &Mask) -> History {
    let executor = Executor::new(seed);
    let faults = executor.one_of(&[0, 10, 40, 100, 200]);
    let faults = faults.min(mask.faults.unwrap_or(faults));
    let digests = executor.chance(150);
    let faults = if digests && executor.chance(500) {
        0
    } else {
        faults
    };
    let bucket = SimBucket::new(executor.clone(), Weather { faults });
    if digests {
        bucket.tag_by_digest();
    }
    let retention = retention(&executor);
    // Everybody is there at once, about one unit, and nobody waits for long.
    let busy = executor.chance(400);
    let misfortune = executor.chance(if busy { 800 } else { 600 });
    let units_max = if busy { 1 } else { 2 };
    let units: Vec<UnitId> = ["app", "net/prod.tfstate"][..1 + executor.index(units_max)]
        .iter()
        .take(mask.units.unwrap_or(usize::MAX))
        .map(|id| UnitId::parse(id).expect("a plain id is an id"))
        .collect();
    let world = World {
        executor: executor.clone(),
        replicas: Replicas::new(&executor, &bucket),
        bucket,
        records: Arc::default(),
        by_hand: Arc::default(),
        units,
        counter: Arc::default(),
        retention,
        busy,
        calm: faults == 0 && !misfortune,
        skewed: executor.chance(400),
        with_s3: Seeded::new(seed ^ S3_CHANCE).chance(300),
    };
    if faults > 0 && executor.chance(if busy { 500 } else { 200 }) {
        world.a_storm(Duration::from_secs(600));
    }
    world.begin(mask, misfortune);
    let ended = executor.run(POLLS_MAX);
    let records = hold(&world.records).clone();
    let by_hand = hold(&world.by_hand).clone();
    // Whatever still hangs goes with its world; so does every reference that tasks hold to it.
    executor.end();
    History {
        seed,
        bucket: world.bucket.ledger(),
        records,
        units: world
            .units
            .iter()
            .cloned()
            .chain([late_unit(), older_unit(), undeleted_unit()])
            .collect(),
        by_hand,
        retention,
        ended,
        now: executor.now(),
    }
}

/// A unit that nobody touches until all is quiet.
fn late_unit() -> UnitId {
    UnitId::parse("late").expect("a plain id is an id")
}

/// Another one, which is deleted and brought back.
fn undeleted_unit() -> UnitId {
    UnitId::parse("undeleted").expect("a plain id is an id")
}

/// A unit that is older than us, and that nobody touches until all is quiet.
fn older_unit() -> UnitId {
    UnitId::parse("older").expect("a plain id is an id")
}

/// Mostly as it is; at times so short that versions are pruned, and what no head names collected, after every write.
fn retention(executor: &Executor) -> Retention {
    if !executor.chance(400) {
        return Retention::default();
    }
    let a_few = || 1 + executor.index(4);
    Retention {
        versions_max: a_few(),
        versions_min_age: Duration::ZERO,
        collect_every: a_few(),
    }
}

/// A history that takes more polls than this does not end by itself.
const POLLS_MAX: u64 = 2_000_000;
/// Tells the chance of there being S3 clients from all other chance.
const S3_CHANCE: u64 = 0x5333;

impl World {
    fn begin(&self, mask: &Mask, misfortune: bool) {
        let replicas = 1 + self.executor.below(3);
        let replicas = replicas.min(mask.replicas.unwrap_or(replicas));
        for index in 0..usize::try_from(replicas).unwrap_or(0) {
            self.replicas.put((index, 0), self.start((index, 0)));
        }
        let mut actors: Vec<BoxFuture<'static, ()>> = Vec::new();
        if self.executor.chance(300) {
            actors.extend(self.an_older_bucket());
        }
        for n in 0..2 + self.executor.below(3) {
            actors.push(self.clone().terraform(format!("tf{n}")).boxed());
        }
        let is_there = || self.executor.chance(if self.busy { 700 } else { 400 });
        if is_there() {
            actors.push(self.clone().operator().boxed());
        }
        if is_there() {
            actors.push(self.clone().without_locks().boxed());
        }
        if is_there() {
            actors.push(self.clone().manager().boxed());
        }
        if self.executor.chance(250) {
            actors.push(self.clone().rivals().boxed());
        }
        if is_there() {
            actors.push(self.clone().person().boxed());
        }
        if self.executor.chance(100) {
            actors.push(self.clone().another_tool().boxed());
        }
        if is_there() {
            actors.push(self.clone().reader().boxed());
        }
        if misfortune {
            actors.push(self.clone().misfortune().boxed());
        }
        if self.with_s3 {
            actors.extend(self.s3_clients());
        }
        let mut actors: Vec<_> = actors
            .into_iter()
            .enumerate()
            .filter(|(number, _)| mask.keeps(*number))
            .map(|(_, actor)| actor)
            .collect();
        if let Some(end) = mask.end() {
            actors = actors
                .into_iter()
                .map(|actor| self.stopped_after(end, actor))
                .collect();
        }
        if let Some(again) = mask.again {
            self.executor.choose_by(Box::new(Seeded::new(again)));
        }
        let world = self.clone();
        self.executor.spawn(Group::Outside, async move {
            futures::future::join_all(actors).await;
            world.quiet().await;
        });
    }

    fn stopped_after(&self, end: Duration, actor: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
        let late = self.executor.sleep(end);
        async move {
            select(actor, late).await;
        }
        .boxed()
    }

    /// Everybody is done: the weather clears, what hangs lands, and a fresh replica looks at every unit.
    async fn quiet(&self) {
        self.bucket.set_weather(Weather { faults: 0 });
        self.pause(Duration::from_secs(4000)).await;
        for index in 0..self.replicas.count() {
            self.restart(index);
        }
        for unit in self.units.clone() {
            for _ in 0..2 {
                self.ask("end", &unit, Ask::Read).await;
                self.pause(Duration::from_secs(60)).await;
            }
            let put = match self.executor.below(10) {
                0..2 => self.new_or_refused_by_hand(unit.clone()).boxed(),
                2..4 => self.old_by_hand(unit.clone()).boxed(),
                4..6 => self.refused_then_free(unit.clone()).boxed(),
                6 => self.refused_by_another(unit.clone()).boxed(),
                7 | 8 => self.lagging_for_another(unit.clone()).boxed(),
                _ => continue,
            };
            if put.await {
                self.epilogue(&unit).await;
            }
        }
        if self.executor.chance(150) {
            self.touched_while_the_bucket_is_gone().await;
        }
        if self.executor.chance(100) && !self.bucket.tags_by_digest() {
            self.undeleted_while_it_is_emptied().await;
        }
        if self.executor.chance(150) {
            self.deleted_while_it_travels().await;
            // It has killed a replica that may have had something to finish: whoever looks next finishes it.
            for unit in self.units.clone() {
                while self.ask("end", &unit, Ask::Read).await == Told::Nothing {}
            }
            self.pause(Duration::from_secs(60)).await;
        }
    }

    /// A unit is written while it is being deleted, and the writer dies with the first copy of its state, or the first
    /// after an empty one, on its way.
    async fn deleted_while_it_travels(&self) {
        let (unit, who) = (late_unit(), "last");
        if self.replicas.count() < 2 {
            return;
        }
        if self.executor.chance(500) {
            self.ask_of(Some(0), who, &unit, Ask::Create).await;
            self.pause(Duration::from_secs(60)).await;
        }
        self.bucket.hold_back(Sort::Copy);
        let write = Ask::Write {
            bytes: self.state(1, who),
            lock: None,
        };
        let apart = Duration::from_millis(self.executor.below(200));
        let first = self.executor.chance(500);
        for (ask, replica, hesitates) in [(write, 0, !first), (Ask::Delete, 1, first)] {
            let (world, about) = (self.clone(), unit.clone());
            self.executor.spawn(Group::Outside, async move {
                if hesitates {
                    world.pause(apart).await;
                }
                world.ask_of(Some(replica), who, &about, ask).await;
            });
        }
        let head = format!("__opentaco_units/{unit}/@head.json");
        for _ in 0..100 {
            self.pause(Duration::from_millis(10)).await;
            let bytes = self.bucket.person_gets(&head).unwrap_or_default();
            if serde_json::from_slice::<Head>(&bytes).is_ok_and(|head| head.current.is_some()) {
                break;
            }
        }
        self.pause(Duration::from_millis(45)).await;
        self.restart(0);
        self.bucket.clear_up();
        self.pause(Duration::from_secs(900)).await;
        self.ask("end", &unit, Ask::Read).await;
        self.pause(Duration::from_secs(60)).await;
    }

    /// With nothing under way any more, a person puts a state: at times the very bytes that were put and refused before.
    async fn new_or_refused_by_hand(&self, unit: UnitId) -> bool {
        let again = self
            .some_refused_by_hand(&unit)
            .filter(|_| self.calm && self.replicas.count() == 1);
        let new = again.is_none();
        let bytes = again.unwrap_or_else(|| self.state(5, "epilogue"));
        self.by_hand(&unit, bytes, new);
        true
    }

    /// Or an old version of ours.
    async fn old_by_hand(&self, unit: UnitId) -> bool {
        let version = match self.bucket.tags_by_digest() {
            true => None,
            false => self.some_version(&unit),
        };
        let bytes = version.and_then(|version| {
            self.bucket
                .person_gets(&format!("__opentaco_versions/{unit}/@/{version}"))
        });
        let Some(bytes) = bytes else { return false };
        self.by_hand(&unit, bytes, false);
        true
    }

    /// Or what the last holder's work has just thrown out, the moment the unit is free. Another replica would not know
    /// yet that it was thrown out and mended.
    async fn refused_then_free(&self, unit: UnitId) -> bool {
        if self.replicas.count() != 1 {
            return false;
        }
        let (id, who) = (self.lock_id(), "last");
        self.ask(who, &unit, Ask::ForceUnlock).await;
        let write = Ask::Write {
            bytes: self.state(9, who),
            lock: Some(id.clone()),
        };
        for ask in [Ask::Lock(id.clone()), write] {
            if self.ask(who, &unit, ask).await != Told::Done {
                return false;
            }
        }
        let thrown_out = self.state(10, "hand");
        self.by_hand(&unit, thrown_out.clone(), true);
        let mended = matches!(self.ask(who, &unit, Ask::Read).await, Told::State(_));
        if !mended || self.ask(who, &unit, Ask::Unlock(id)).await != Told::Done {
            return false;
        }
        self.by_hand(&unit, thrown_out, false);
        if self.executor.chance(500) {
            self.restart(0);
        }
        true
    }

    /// Or a replica throws out what a person has put and falls silent before it has mended the copy, and the holder's
    /// own replica gives the lock back. False: what was thrown out stays so, and nobody reads it.
    async fn refused_by_another(&self, unit: UnitId) -> bool {
        if self.replicas.count() < 2 {
            return false;
        }
        let (id, who) = (self.lock_id(), "last");
        self.ask(who, &unit, Ask::ForceUnlock).await;
        let write = Ask::Write {
            bytes: self.state(9, who),
            lock: Some(id.clone()),
        };
        for ask in [Ask::Lock(id.clone()), write] {
            if self.ask_of(Some(0), who, &unit, ask).await != Told::Done {
                return false;
            }
        }
        self.by_hand(&unit, self.state(10, "hand"), true);
        let (world, about) = (self.clone(), unit.clone());
        self.executor.spawn(Group::Outside, async move {
            world.ask_of(Some(1), "reader", &about, Ask::Read).await;
        });
        // The bytes are kept, then the head says so.
        for _ in 0..2 {
            let patience = Box::pin(self.executor.sleep(Duration::from_secs(60)));
            select(self.bucket.next_change(), patience).await;
        }
        let (life, _) = self.replicas.get(1);
        match self.executor.chance(500) {
            true => self.restart(1),
            false => self.replicas.pause(life, Duration::from_secs(60)),
        }
        self.ask_of(Some(0), who, &unit, Ask::Unlock(id)).await;
        self.ask_of(Some(0), "end", &unit, Ask::Read).await;
        self.pause(Duration::from_secs(120)).await;
        self.ask("end", &unit, Ask::Read).await;
        self.pause(Duration::from_secs(60)).await;
        false
    }

    /// Or a person puts an older write of the holder back, a replica takes it for a lagging copy and falls silent, and the
    /// holder's own replica, which knows better, gives the lock back. False, as above.
    async fn lagging_for_another(&self, unit: UnitId) -> bool {
        if self.replicas.count() < 2 || self.bucket.tags_by_digest() {
            return false;
        }
        let (id, who) = (self.lock_id(), "last");
        self.ask(who, &unit, Ask::ForceUnlock).await;
        let [first, second] = [8, 9].map(|serial| self.state(serial, who));
        let write = |bytes: &Bytes| Ask::Write {
            bytes: bytes.clone(),
            lock: Some(id.clone()),
        };
        for ask in [Ask::Lock(id.clone()), write(&first), write(&second)] {
            if self.ask_of(Some(0), who, &unit, ask).await != Told::Done {
                return false;
            }
        }
        self.by_hand(&unit, first, false);
        let (world, about) = (self.clone(), unit.clone());
        self.executor.spawn(Group::Outside, async move {
            world.ask_of(Some(1), "reader", &about, Ask::Read).await;
        });
        self.pause(Duration::from_millis(50 + self.executor.below(150)))
            .await;
        let (life, _) = self.replicas.get(1);
        self.replicas.pause(life, Duration::from_secs(60));
        self.ask_of(Some(0), who, &unit, Ask::Unlock(id)).await;
        self.ask_of(Some(0), "end", &unit, Ask::Read).await;
        self.pause(Duration::from_secs(120)).await;
        self.ask("end", &unit, Ask::Read).await;
        self.pause(Duration::from_secs(60)).await;
        false
    }

    /// A unit is brought back while the put that empties its copy is on its way.
    async fn undeleted_while_it_is_emptied(&self) {
        let (unit, who) = (undeleted_unit(), "last");
        let write = Ask::Write {
            bytes: self.state(1, who),
            lock: None,
        };
        if self.ask(who, &unit, write).await != Told::Done {
            return;
        }
        self.pause(Duration::from_secs(60)).await;
        self.bucket.hold_back(Sort::Copy);
        let (world, about) = (self.clone(), unit.clone());
        self.executor.spawn(Group::Outside, async move {
            world.ask_of(Some(0), who, &about, Ask::Delete).await;
        });
        self.pause(Duration::from_secs(1)).await;
        self.restart(0);
        self.bucket.clear_up();
        self.ask(who, &unit, Ask::Undelete).await;
        self.pause(Duration::from_secs(900)).await;
        while self.ask("end", &unit, Ask::Read).await == Told::Nothing {}
        self.pause(Duration::from_secs(60)).await;
    }

    /// The bucket is not found for a moment, while a unit that is older than us is touched for the first time.
    async fn touched_while_the_bucket_is_gone(&self) {
        let (unit, who) = (older_unit(), "last");
        self.by_hand(&unit, self.state(1, "old"), true);
        self.pause(Duration::from_secs(60)).await;
        let lock = Ask::Lock(self.lock_id());
        let (world, about) = (self.clone(), unit.clone());
        self.executor.spawn(Group::Outside, async move {
            world.insist(who, &about, lock).await;
        });
        self.executor.rest(150).await;
        let moment = Duration::from_millis(20 + self.executor.below(100));
        self.bucket.lose(Outage::NoSuchBucket, moment);
        self.pause(Duration::from_secs(300)).await;
        while self.ask("end", &unit, Ask::Read).await == Told::Nothing {}
        self.pause(Duration::from_secs(60)).await;
    }

    /// Whoever reads must see it.
    async fn epilogue(&self, unit: &UnitId) {
        self.pause(Duration::from_secs(1)).await;
        while self.ask(EPILOGUE, unit, Ask::Read).await == Told::Nothing {}
        self.pause(Duration::from_secs(60)).await;
    }

    /// What a person put and the service refused, where the same bytes have the same tag.
    fn some_refused_by_hand(&self, unit: &UnitId) -> Option<Bytes> {
        if !self.bucket.tags_by_digest() {
            return None;
        }
        let refused = self.bucket.keys(&format!("__opentaco_rejected/{unit}/@/"));
        let refused: Vec<Bytes> = refused
            .iter()
            .filter_map(|key| self.bucket.person_gets(key))
            .collect();
        let adopted = self.bucket.keys(&format!("__opentaco_versions/{unit}/@/"));
        let adopted: Vec<Bytes> = adopted
            .iter()
            .filter_map(|key| self.bucket.person_gets(key))
            .collect();
        let by_hand = hold(&self.by_hand);
        let mut by_hand = by_hand
            .iter()
            .rev()
            .filter(|(of, ..)| of == unit)
            .map(|(_, bytes, _)| bytes);
        by_hand
            .find(|bytes| refused.contains(bytes) && !adopted.contains(bytes))
            .cloned()
    }

    fn by_hand(&self, unit: &UnitId, bytes: Bytes, new: bool) {
        hold(&self.by_hand).push((unit.clone(), bytes.clone(), new));
        self.bucket.person_puts(&unit.state_key(), bytes);
    }

    /// States that were there before us, some of them locked; and who locked them.
    fn an_older_bucket(&self) -> Vec<BoxFuture<'static, ()>> {
        let mut holders = Vec::new();
        for unit in &self.units {
            self.by_hand(unit, self.state(1, "old"), true);
            if self.executor.chance(300) {
                let id = self.lock_id();
                let file = if self.executor.chance(500) {
                    "lock"
                } else {
                    "tflock"
                };
                let info = format!(
                    r#"{{"ID":"{id}","Operation":"OperationTypeApply","Who":"before","Version":"1.11.4"}}"#
                );
                self.bucket
                    .person_puts(&format!("{}.{file}", unit.state_key()), Bytes::from(info));
                holders.push(self.clone().before(unit.clone(), id).boxed());
            }
        }
        holders
    }

    /// Somebody who locked a unit before there was a service, and comes to it to write and unlock.
    async fn before(self, unit: UnitId, id: LockId) {
        self.moment().await;
        if self.executor.chance(500) {
            let bytes = self.state(2, "before");
            self.insist(
                "before",
                &unit,
                Ask::Write {
                    bytes,
                    lock: Some(id.clone()),
                },
            )
            .await;
            self.moment().await;
        }
        if self.executor.chance(800) {
            self.insist("before", &unit, Ask::Unlock(id)).await;
        }
    }

    fn start(&self, life: Life) -> Replica {
        let fast = match self.skewed {
            true => i64::try_from(self.executor.below(7200)).unwrap_or(0) - 3600,
            false => 0,
        };
        let (bucket, _) = self.replicas.ground_with_clock(life, fast);
        let vault = Vault::new(bucket, self.retention);
        Replica {
            control: StateControl::new(vault.clone(), Arc::new(s3::Rights), "simulated"),
            vault,
        }
    }

    fn restart(&self, index: usize) {
        let (life, _) = self.replicas.get(index);
        self.replicas.restart(life, |next| self.start(next));
    }

    fn number(&self) -> u64 {
        let mut counter = hold(&self.counter);
        *counter += 1;
        *counter
    }

    fn state(&self, serial: u64, by: &str) -> Bytes {
        let number = self.number();
        Bytes::from(format!(
            r#"{{"version":4,"serial":{serial},"lineage":"one","outputs":{{}},"by":"{by} {number}"}}"#
        ))
    }

    fn lock_id(&self) -> LockId {
        let number = self.number();
        LockId::parse(&format!("00000000-0000-4000-8000-{number:012}")).expect("a UUID is a lock id")
    }

    fn any_unit(&self) -> UnitId {
        self.executor.one_of(&self.units)
    }

    async fn pause(&self, duration: Duration) {
        self.executor.sleep(duration).await;
    }

    /// Mostly short, at times long enough for a lock to be broken or a late request to land.
    async fn dawdle(&self) {
        let seconds = match self.executor.below(10) {
            0 if !self.busy => self.executor.below(900),
            0..3 => self.executor.below(30),
            _ => 0,
        };
        let millis = self.executor.below(200);
        self.pause(Duration::from_millis(seconds * 1000 + millis)).await;
    }

    /// Any moment; often a bad one, just after something has changed.
    async fn moment(&self) {
        if self.executor.chance(if self.busy { 200 } else { 500 }) {
            return self.dawdle().await;
        }
        let patience = Duration::from_secs(1 + self.executor.below(300));
        for _ in 0..1 + self.executor.below(4) {
            select(self.bucket.next_change(), Box::pin(self.executor.sleep(patience))).await;
        }
        self.executor.rest(150).await;
    }

    /// One request to some replica.
    async fn ask(&self, client: &str, unit: &UnitId, ask: Ask) -> Told {
        self.ask_of(None, client, unit, ask).await
    }

    /// One request to this replica, or to any.
    async fn ask_of(&self, replica: Option<usize>, client: &str, unit: &UnitId, ask: Ask) -> Told {
        let from = self.executor.now();
        let patience = match self.executor.chance(60) {
            true => Duration::from_millis(self.executor.below(2000)),
            false => CLIENT_PATIENCE,
        };
        let (life, Replica { control, .. }) = match replica {
            Some(index) => self.replicas.get(index),
            None => self.replicas.any(),
        };
        let (what, about, who) = (ask.clone(), unit.clone(), client.to_owned());
        let work = async move { perform(&control, &who, &about, what).await };
        let record = Record {
            client: client.to_owned(),
            replica: life.0,
            unit: unit.clone(),
            ask,
            told: Told::Nothing,
            from,
            until: Instant::MAX,
        };
        let mut asking = Asking {
            record,
            records: Arc::clone(&self.records),
        };
        let told = self.replicas.ask(life, patience, work).await;
        let told = told.unwrap_or(Told::Nothing);
        if told != Told::Nothing {
            asking.record.until = self.executor.now();
        }
        asking.record.told = told.clone();
        told
    }

    /// The same request up to three times, as Go's retrying client sends it: on no answer and on 5xx.
    async fn insist(&self, client: &str, unit: &UnitId, ask: Ask) -> Told {
        if self.executor.chance(50) {
            // Something on the way sends it twice, and the second goes elsewhere and takes its time.
            let (world, client, unit, ask) = (self.clone(), client.to_owned(), unit.clone(), ask.clone());
            self.executor.spawn(Group::Outside, async move {
                world.dawdle().await;
                world.ask(&client, &unit, ask).await;
            });
        }
        for attempt in 1.. {
            let told = self.ask(client, unit, ask.clone()).await;
            let again = matches!(told, Told::Nothing | Told::Unavailable | Told::Saved);
            if !again || attempt == ATTEMPTS {
                return told;
            }
            self.pause(Duration::from_secs(attempt as u64)).await;
        }
        Told::Nothing
    }

    /// `terraform apply`, again and again.
    async fn terraform(self, name: String) {
        for _ in 0..1 + self.executor.below(3) {
            self.dawdle().await;
            let unit = self.any_unit();
            let id = self.lock_id();
            let mut told = self.insist(&name, &unit, Ask::Lock(id.clone())).await;
            for _ in 0..self.executor.below(4) {
                if !matches!(told, Told::Locked(_)) {
                    break;
                }
                self.pause(Duration::from_secs(1)).await;
                told = self.insist(&name, &unit, Ask::Lock(id.clone())).await;
            }
            if told != Told::Done {
                continue;
            }
            let read = self.insist(&name, &unit, Ask::Read).await;
            let mut serial = match &read {
                Told::State(bytes) => serial_of(bytes),
                Told::NoState => 0,
                _ => {
                    self.insist(&name, &unit, Ask::Unlock(id)).await;
                    continue;
                }
            };
            for _ in 0..self.executor.below(4) {
                self.dawdle().await;
                serial += 1;
                let bytes = self.state(serial, &name);
                let write = Ask::Write {
                    bytes,
                    lock: Some(id.clone()),
                };
                if self.executor.chance(100) {
                    // A request that its client does not wait for: it hangs somewhere and goes on when it likes.
                    let (world, name, unit) = (self.clone(), name.clone(), unit.clone());
                    self.executor.spawn(Group::Outside, async move {
                        world.insist(&name, &unit, write).await;
                    });
                } else {
                    self.insist(&name, &unit, write).await;
                }
            }
            if self.executor.chance(100) {
                // It dies without giving the lock back.
                return;
            }
            self.dawdle().await;
            self.insist(&name, &unit, Ask::Unlock(id)).await;
        }
    }

    /// Somebody who breaks locks.
    async fn operator(self) {
        for _ in 0..1 + self.executor.below(4) {
            let wait = self.executor.below(400);
            self.pause(Duration::from_secs(wait)).await;
            self.moment().await;
            let unit = self.any_unit();
            self.ask("operator", &unit, Ask::ForceUnlock).await;
        }
    }

    /// `-lock=false`, now and then with the very bytes of before.
    async fn without_locks(self) {
        let mut written: Vec<(UnitId, Bytes)> = Vec::new();
        for _ in 0..1 + self.executor.below(5) {
            self.moment().await;
            let unit = self.any_unit();
            let before = written
                .iter()
                .find(|(of, _)| *of == unit)
                .map(|(_, bytes)| bytes.clone());
            let again = before.filter(|_| self.executor.chance(300) && !self.bucket.tags_by_digest());
            let bytes = again.unwrap_or_else(|| self.state(self.executor.below(9), "lockless"));
            written.push((unit.clone(), bytes.clone()));
            self.insist("lockless", &unit, Ask::Write { bytes, lock: None })
                .await;
        }
    }

    /// Somebody who creates, deletes, brings back, restores and promotes.
    async fn manager(self) {
        let mut gone = false;
        for _ in 0..1 + self.executor.below(7) {
            self.moment().await;
            let unit = self.any_unit();
            let ask = match self.executor.below(10) {
                0..5 if gone => Ask::Undelete,
                5..7 if gone => Ask::Create,
                0..4 => Ask::Delete,
                4 => Ask::Create,
                5 => Ask::Undelete,
                6 | 7 => match self.some_version(&unit) {
                    Some(version) => Ask::Restore(version),
                    None => Ask::Undelete,
                },
                _ => match self.some_rejected(&unit) {
                    Some(id) => Ask::Promote(id),
                    None => Ask::Create,
                },
            };
            gone = ask == Ask::Delete;
            let world = self.clone();
            let wish = async move { world.wish("manager", &unit, ask).await };
            if self.executor.chance(300) {
                // Whoever is impatient goes on while the first request is still under way.
                self.executor.spawn(Group::Outside, wish);
            } else {
                wish.await;
            }
        }
    }

    /// A request that is made again a few times while somebody holds the unit.
    async fn wish(&self, client: &str, unit: &UnitId, ask: Ask) {
        for _ in 0..4 {
            if !matches!(self.ask(client, unit, ask.clone()).await, Told::Locked(_)) {
                return;
            }
            self.moment().await;
        }
    }

    /// Two or three people who want different things of one unit at the same moment, each of some replica.
    async fn rivals(self) {
        for _ in 0..1 + self.executor.below(4) {
            self.moment().await;
            let unit = self.any_unit();
            let wishes = (0..2 + self.executor.below(2)).map(|number| {
                let lockless = Ask::Write {
                    bytes: self.state(self.executor.below(9), "rival"),
                    lock: None,
                };
                let ask = match self.executor.below(8) {
                    0 => Ask::Delete,
                    1 | 2 => Ask::Undelete,
                    3 => self.some_version(&unit).map_or(Ask::Delete, Ask::Restore),
                    4 => self.some_rejected(&unit).map_or(Ask::Undelete, Ask::Promote),
                    5 => Ask::Create,
                    _ => lockless,
                };
                let (world, unit) = (self.clone(), unit.clone());
                let hesitates = Duration::from_millis(self.executor.below(100));
                async move {
                    world.pause(hesitates).await;
                    world.wish(&format!("rival{number}"), &unit, ask).await;
                }
            });
            let wishes: Vec<_> = wishes.collect();
            futures::future::join_all(wishes).await;
        }
    }

    fn some_version(&self, unit: &UnitId) -> Option<VersionId> {
        let prefix = format!("__opentaco_versions/{unit}/@/");
        let keys = self.bucket.keys(&prefix);
        keys.get(self.executor.index(keys.len()))?
            .strip_prefix(&prefix)?
            .parse()
            .ok()
    }

    fn some_rejected(&self, unit: &UnitId) -> Option<String> {
        let prefix = format!("__opentaco_rejected/{unit}/@/");
        self.bucket
            .keys(&prefix)
            .first()?
            .strip_prefix(&prefix)
            .map(str::to_owned)
    }

    /// Somebody with `aws s3 cp`.
    async fn person(self) {
        for _ in 0..1 + self.executor.below(if self.busy { 10 } else { 4 }) {
            self.moment().await;
            let unit = self.any_unit();
            let old = match self.bucket.tags_by_digest() {
                true => None,
                false => self.some_version(&unit).filter(|_| self.executor.chance(350)),
            };
            let old = old.and_then(|version| {
                self.bucket
                    .person_gets(&format!("__opentaco_versions/{unit}/@/{version}"))
            });
            let new = old.is_none();
            let bytes = old.unwrap_or_else(|| self.state(self.executor.below(9), "hand"));
            self.by_hand(&unit, bytes, new);
        }
    }

    /// A tool that knows nothing of us: it puts a lock file of its own beside the state, writes, and takes it away.
    async fn another_tool(self) {
        for _ in 0..1 + self.executor.below(3) {
            self.moment().await;
            let (unit, id) = (self.any_unit(), self.lock_id());
            let file = match self.executor.chance(300) {
                true => "lock",
                false => "tflock",
            };
            let key = format!("{}.{file}", unit.state_key());
            let info = format!(
                r#"{{"ID":"{id}","Operation":"OperationTypeApply","Who":"another tool","Version":"1.11.4"}}"#
            );
            self.bucket.person_puts(&key, Bytes::from(info));
            self.dawdle().await;
            if self.executor.chance(500) {
                let bytes = self.state(self.executor.below(9), "tool");
                self.by_hand(&unit, bytes, true);
                self.dawdle().await;
            }
            if self.executor.chance(300) {
                self.insist("another tool", &unit, Ask::Unlock(id)).await;
            }
            self.bucket.person_deletes(&key);
        }
    }

    /// Somebody who only looks.
    async fn reader(self) {
        for _ in 0..1 + self.executor.below(if self.busy { 20 } else { 6 }) {
            self.moment().await;
            let unit = self.any_unit();
            self.ask("reader", &unit, Ask::Read).await;
        }
    }

    /// For so long most requests about one sort of objects go wrong; the copies are hit most often.
    fn a_storm(&self, duration: Duration) {
        let over = match self.executor.chance(500) {
            true => Sort::Copy,
            false => self.executor.one_of(&Sort::ALL),
        };
        self.bucket.storm(over, duration);
    }

    /// Replicas die and start anew, or stand still for minutes, or the bucket fails them.
    async fn misfortune(self) {
        for _ in 0..1 + self.executor.below(6) {
            self.moment().await;
            let (life, _) = self.replicas.any();
            match self.executor.below(10) {
                0..4 => self.replicas.restart(life, |next| self.start(next)),
                4..8 => {
                    let seconds = self.executor.below(600);
                    self.replicas.pause(life, Duration::from_secs(seconds));
                }
                8 => self.a_storm(Duration::from_secs(self.executor.below(300))),
                _ => {
                    let how = match self.executor.chance(500) {
                        true => Outage::NoSuchBucket,
                        false => Outage::Denied,
                    };
                    let seconds = self.executor.below(300);
                    self.bucket.lose(how, Duration::from_secs(seconds));
                }
            }
        }
    }
}

/// The serial in a state of ours.
#[must_use]
pub fn serial_of(bytes: &[u8]) -> u64 {
    opentaco_domain::StateSummary::read(bytes)
        .ok()
        .and_then(|summary| summary.serial)
        .unwrap_or(0)
}

/// What a door would do with a request.
pub async fn perform(control: &StateControl, who: &str, unit: &UnitId, ask: Ask) -> Told {
    let caller = Caller::new(Principal::new(who));
    let done = |result: Result<(), ControlError>| match result {
        Ok(()) => Told::Done,
        Err(error) => refused(error),
    };
    match ask {
        Ask::Lock(id) => {
            let info = LockInfo {
                id,
                operation: "OperationTypeApply".to_owned(),
                info: String::new(),
                who: who.to_owned(),
                version: "1.11.4".to_owned(),
                created: String::new(),
                path: String::new(),
            };
            let request = LockRequest {
                info,
                sent: Bytes::from_static(b"{}"),
                door: Door::Terraform,
                credential: None,
            };
            done(control.lock(&caller, unit, request).await.map(|_| ()))
        }
        Ask::Unlock(id) => done(control.unlock(&caller, unit, &id).await),
        Ask::ForceUnlock => done(control.force_unlock(&caller, unit).await.map(|_| ())),
        Ask::Read => match control.read_state(&caller, unit).await {
            Ok(read) => match read.body.try_collect::<Vec<Bytes>>().await {
                Ok(chunks) => Told::State(chunks.concat().into()),
                Err(error) => refused(error),
            },
            Err(error) => refused(error),
        },
        Ask::Write { bytes, lock } => {
            let holding = lock.map_or(Holding::Nothing, Holding::Lock);
            let write = StateWrite::new(bytes, holding, Door::Terraform);
            done(control.write_state(&caller, unit, write).await.map(|_| ()))
        }
        Ask::Create => done(
            control
                .create_unit(&caller, unit, CreateUnit::default())
                .await
                .map(|_| ()),
        ),
        Ask::Delete => done(control.delete_unit(&caller, unit).await),
        Ask::Undelete => done(
            control
                .undelete_unit(&caller, unit, Door::Management)
                .await
                .map(|_| ()),
        ),
        Ask::Restore(version) => {
            let how = Reinstate::plainly(Door::Management);
            done(control.restore(&caller, unit, &version, how).await.map(|_| ()))
        }
        Ask::Promote(id) => {
            let how = Reinstate::plainly(Door::Management);
            done(control.promote(&caller, unit, &id, how).await.map(|_| ()))
        }
        Ask::S3(ask) => s3::perform(control, &caller, unit, ask).await,
    }
}

fn refused(error: ControlError) -> Told {
    match error {
        ControlError::NoState { .. } => Told::NoState,
        ControlError::Locked { holder, .. } => Told::Locked(holder.info.id),
        ControlError::LockOver { .. } => Told::LockOver,
        ControlError::NotHolder { kept, .. }
        | ControlError::Late { kept, .. }
        | ControlError::DeletedMeanwhile { kept, .. } => Told::Refused(kept),
        ControlError::Conflict { .. }
        | ControlError::OtherLineage { .. }
        | ControlError::OlderSerial { .. }
        | ControlError::Protected { .. } => Told::Refused(None),
        ControlError::Saved { .. } | ControlError::Unwritten(_) => Told::Saved,
        ControlError::NotFound { .. }
        | ControlError::AlreadyExists { .. }
        | ControlError::Encrypted { .. }
        | ControlError::GraphUnreadable { .. }
        | ControlError::Invalid { .. } => Told::NoSuchThing,
        ControlError::Unavailable { .. }
        | ControlError::Corrupt { .. }
        | ControlError::PolicyUnreadable { .. }
        | ControlError::Forbidden { .. }
        | ControlError::Unopened { .. } => Told::Unavailable,
    }
}
