//! Where the processor time of a request goes: its parts are run here, in this process, each by itself, and timed. What
//! the parts leave of the time that the service took is HTTP, routing, credentials, and the threads waking each other.

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use opentaco_control::{Door, Retention, StateControl, StateWrite};
use opentaco_domain::access::AllowAll;
use opentaco_domain::digest::md5_base64;
use opentaco_domain::{Caller, Holding, LockId, Principal, Sha256, StateSummary, UnitId};
use opentaco_storage::lifecycle::Described;
use opentaco_storage::memory::MemoryStore;
use opentaco_storage::{Bucket, Head, Surroundings, Vault};

use crate::failure::{Doing, Failure};
use crate::report::figure;
use crate::requests::lock_request;
use crate::states::States;
use crate::throughput::Operation;
use crate::usage::{Processor, processor};

/// How long each part is repeated.
const TIME: Duration = Duration::from_millis(150);
/// Versions that are kept, as in the measurement that is explained.
const KEPT: usize = 10;
/// What happened to the unit before.
const WRITES_BEFORE: u64 = 40;
/// As many locks as a head remembers.
const CYCLES_BEFORE: u64 = 64;

/// One part of a request.
#[derive(Debug, Clone)]
pub struct Section {
    /// What is done.
    pub what: &'static str,
    /// How long it takes, in microseconds.
    pub microseconds: f64,
}

/// The parts of an operation on a state of so many bytes, on the memory store.
///
/// # Errors
/// If the operation fails.
pub async fn sections(operation: Operation, bytes: usize) -> Result<Vec<Section>, Failure> {
    let states = States::of(bytes);
    let room = Room::open(&states).await?;
    match operation {
        Operation::Get => {
            let whole = room.repeated(async |_| room.read().await).await?;
            Ok(vec![Section {
                what: "head and copy from the store, head parsed",
                microseconds: whole,
            }])
        }
        // Has no aim to miss.
        Operation::Lock => Ok(Vec::new()),
        Operation::Post => {
            let state = states.state(0).whole();
            let copy = timed(|| {
                let mut copy = BytesMut::with_capacity(state.len());
                copy.extend_from_slice(&state);
                copy
            })?;
            let md5 = timed(|| md5_base64(&state))?;
            let sha256 = timed(|| Sha256::of(&state))?;
            let json = timed(|| StateSummary::read(&state))?;
            let head = room.head().await?;
            let head = timed(|| serde_json::to_vec(&*head))?;
            // Each write is of a new state, which has to be put together.
            let whole = room
                .repeated(async |n| room.write(states.state(n).whole()).await)
                .await?;
            let rest = (whole - copy - md5 - sha256 - json - head).max(0.0);
            Ok([
                ("body into one buffer", copy),
                ("MD5, for Content-MD5 and the head", md5),
                ("SHA-256, for the version's name", sha256),
                ("state read as JSON", json),
                ("head written as JSON", head),
                ("version, head and copy put, and the housekeeping", rest),
            ]
            .map(|(what, microseconds)| Section { what, microseconds })
            .into())
        }
    }
}

/// Why a ratio is what it is, in lines for people.
#[must_use]
pub fn explain(name: &str, ours: Processor, bare: Processor, sections: &[Section]) -> String {
    let [total, bare_total] = [ours, bare].map(|side| side.user + side.system);
    let mut text = format!(
        "  {name} missed its aim: a request takes {} us of processor ({} of them in the kernel), the bare handler {} ({})\n",
        figure(total),
        figure(ours.system),
        figure(bare_total),
        figure(bare.system)
    );
    let mut left = total;
    for Section { what, microseconds } in sections {
        left -= microseconds;
        writeln!(text, "    {:>8} us  {what}", figure(*microseconds)).expect("a String takes all");
    }
    if left > 0.0 {
        writeln!(
            text,
            "    {:>8} us  the rest: HTTP, routing, credentials, threads waking each other",
            figure(left)
        )
        .expect("a String takes all");
    } else {
        text.push_str("    Each part was timed alone; together they would take longer than the whole did.\n");
    }
    text
}

fn timed<T>(mut work: impl FnMut() -> T) -> Result<f64, Failure> {
    let before = used()?;
    let began = Instant::now();
    let mut times = 0;
    while began.elapsed() < TIME {
        black_box(work());
        times += 1;
    }
    Ok((used()? - before) / f64::from(times))
}

/// Processor time of this process so far, in microseconds: others on the machine do not lengthen it.
fn used() -> Result<f64, Failure> {
    processor(std::process::id()).map(|Processor { user, system }| user + system)
}

/// The room below the doors, and in it one unit, with the history that a unit usually has.
struct Room {
    vault: Vault,
    control: StateControl,
    caller: Caller,
    unit: UnitId,
    lock: LockId,
}

impl Room {
    async fn open(states: &States) -> Result<Self, Failure> {
        let bucket = Bucket::new(Arc::new(MemoryStore::new()), "", Surroundings::real());
        let retention = Retention {
            versions_max: KEPT,
            versions_min_age: Duration::ZERO,
            ..Retention::default()
        };
        let vault = Vault::new(bucket, retention);
        let control = StateControl::new(vault.clone(), Arc::new(AllowAll), "memory");
        let unit = UnitId::parse("bench/unit").doing("naming a unit")?;
        let room = Self {
            vault,
            control,
            caller: Caller::new(Principal::new("bench")),
            unit,
            lock: lock_id(0)?,
        };
        for n in 1..=CYCLES_BEFORE {
            let id = lock_id(n)?;
            room.lock(&id).await?;
            room.control
                .unlock(&room.caller, &room.unit, &id)
                .await
                .doing("unlocking")?;
        }
        room.lock(&room.lock).await?;
        for n in 1..=WRITES_BEFORE {
            room.write(states.state(n).whole()).await?;
        }
        room.control.settle_down().await;
        Ok(room)
    }

    /// The processor time of an operation, with what follows behind its answer.
    async fn repeated(&self, operation: impl AsyncFn(u64) -> Result<(), Failure>) -> Result<f64, Failure> {
        let before = used()?;
        let began = Instant::now();
        let mut times = 0;
        while began.elapsed() < 3 * TIME {
            times += 1;
            operation(WRITES_BEFORE + times).await?;
        }
        self.control.settle_down().await;
        Ok((used()? - before) / times as f64)
    }

    async fn head(&self) -> Result<Arc<Head>, Failure> {
        match self.vault.describe(&self.unit).await.doing("reading a head")? {
            Described::Known(known) => Ok(known.head),
            Described::Untouched(..) | Described::NoUnit => {
                Err(Failure::new("a unit that was written has no head"))
            }
        }
    }

    async fn read(&self) -> Result<(), Failure> {
        let reading = self
            .control
            .read_state(&self.caller, &self.unit)
            .await
            .doing("reading a state")?;
        reading
            .body
            .try_for_each(async |_| Ok(()))
            .await
            .doing("reading a state")
    }

    async fn write(&self, state: Bytes) -> Result<(), Failure> {
        let write = StateWrite::new(state, Holding::Lock(self.lock.clone()), Door::Terraform);
        self.control
            .write_state(&self.caller, &self.unit, write)
            .await
            .doing("writing a state")
            .map(drop)
    }

    async fn lock(&self, id: &LockId) -> Result<(), Failure> {
        self.control
            .lock(&self.caller, &self.unit, lock_request(id))
            .await
            .doing("locking")
            .map(drop)
    }
}

fn lock_id(n: u64) -> Result<LockId, Failure> {
    LockId::parse(&format!("00000000-0000-4000-8000-{n:012x}")).doing("naming a lock")
}
