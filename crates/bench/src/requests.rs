//! Requests to the bucket per operation, and round trips awaited, exactly: counted, not timed.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt as _, TryStreamExt as _};
use object_store::ObjectStoreExt as _;
use opentaco_control::objects::{ListObjects, Wanted};
use opentaco_control::{ControlError, Door, ListUnits, LockRequest, Retention, StateControl, StateWrite};
use opentaco_domain::access::AllowAll;
use opentaco_domain::{Caller, CredentialSession, Holding, LockId, LockInfo, Principal, Signed, UnitId};
use opentaco_storage::{Bucket, Vault};

use crate::failure::{Doing, Failure};
use crate::report::{Aim, Report, Table};
use crate::rounds::{Cost, Gate};

/// Commits of a unit before it is measured: its head then names as many versions and locks as a head does, and none
/// of the measured commits is one that the housekeeping follows.
const COMMITS_BEFORE: u64 = 34;
/// Locks, reads, writes and unlocks of a unit after which its head remembers as many locks as it ever does.
const CYCLES_BEFORE: u64 = 66;
/// How often each operation is measured. The costliest is reported.
const REPEATS: u64 = 3;
/// Commits over which the housekeeping is averaged.
const COMMITS_AVERAGED: u64 = 160;
/// Sizes of buckets that are listed.
const LISTED: [usize; 3] = [1, 1_000, 2_500];
/// Units of a listed bucket that have a history.
const UNITS_WITH_HISTORY: usize = 20;
/// How long that history is.
const HISTORY: u64 = 50;

/// The budget of the design, section 4: requests, and round trips awaited. A commit has the look at the graph with it.
const BUDGET: [(&str, u64, u64); 6] = [
    ("lock", 2, 1),
    ("read", 2, 1),
    ("commit", 4, 3),
    ("unlock", 2, 1),
    ("commit_without_lock", 5, 3),
    ("lock_read_write_unlock", 10, 6),
];

/// What one operation costs, and what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// As in `requests.NAME` and `round_trips.NAME`.
    pub name: &'static str,
    /// What it costs in steady state.
    pub cost: Cost,
    /// Requests it should cost at most.
    pub requests_max: u64,
    /// Round trips it should await at most.
    pub round_trips_max: u64,
}

/// What a listing of everything costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Units in the bucket; as many objects lie under the state names.
    pub units: usize,
    /// All objects in the bucket, history included.
    pub objects: u64,
    /// What it costs.
    pub cost: Cost,
}

impl Listed {
    /// One for every thousand objects under the state names, and one for the graph's own unit, which lies among the
    /// names that are listed around.
    #[must_use]
    pub fn requests_max(&self) -> u64 {
        (self.units as u64).div_ceil(1_000) + 1
    }
}

/// Measures, prints, and keeps the rows.
///
/// # Errors
/// If an operation fails, or waits for something that is no request.
pub fn report(report: &mut Report<'_>) -> Result<(), Failure> {
    report.say("\nRequests to the bucket, and round trips awaited: counted in steady state, one replica, on memory\n")?;
    let mut table = Table::new(&[
        "",
        "requests",
        "before the answer",
        "awaited round trips",
        "budget",
        "",
        "",
    ]);
    for Measured {
        name,
        cost,
        requests_max,
        round_trips_max,
    } in operations()?
    {
        let budget = BUDGET.iter().find(|(budgeted, ..)| *budgeted == name);
        if let Some((_, requests, awaited)) = budget
            && (*requests, *awaited) != (cost.requests, cost.awaited_round_trips)
        {
            return Err(Failure::new(format!(
                "{name} makes {} requests and awaits {} round trips, and the budget says {requests} and {awaited}",
                cost.requests, cost.awaited_round_trips
            )));
        }
        if let Some((_, requests, awaited)) = budget {
            report.row(format!("budget.requests.{name}"), *requests as f64, "requests");
            report.row(
                format!("budget.round_trips.{name}"),
                *awaited as f64,
                "round trips",
            );
        }
        report.row(format!("requests.{name}"), cost.requests as f64, "requests");
        let requests = report.judge(Aim::AtMost(requests_max as f64));
        report.row(
            format!("round_trips.{name}"),
            cost.awaited_round_trips as f64,
            "round trips",
        );
        let round_trips = report.judge(Aim::AtMost(round_trips_max as f64));
        table.line([
            name.replace('_', " "),
            cost.requests.to_string(),
            cost.begun_before_answer.to_string(),
            cost.awaited_round_trips.to_string(),
            budget.map_or_else(String::new, |(_, requests, awaited)| {
                format!("{requests}, {awaited} awaited")
            }),
            requests,
            round_trips,
        ]);
    }
    report.say(&table)?;

    let average = commits_with_housekeeping()?;
    report.row("requests.commit.with_housekeeping", average, "requests");
    report.say(format!(
        "  A commit with the housekeeping behind it, on average of {COMMITS_AVERAGED}: {average:.2} requests (outside the budget)\n"
    ))?;

    let mut table = Table::new(&[
        "list everything",
        "objects",
        "requests",
        "awaited round trips",
        "",
    ]);
    for units in LISTED {
        for with_history in [false, true] {
            let listed = listing(units, with_history)?;
            let (history, suffix) = if with_history {
                (", some with 50 versions", ".with_history")
            } else {
                ("", "")
            };
            report.row(
                format!("requests.list.{units}_units{suffix}"),
                listed.cost.requests as f64,
                "requests",
            );
            let verdict = report.judge(Aim::AtMost(listed.requests_max() as f64));
            table.line([
                format!("{units} units{history}"),
                listed.objects.to_string(),
                listed.cost.requests.to_string(),
                listed.cost.awaited_round_trips.to_string(),
                verdict,
            ]);
        }
    }
    report.say(&table)?;
    report.say(
        "  One request is for the graph's own unit, whose name is among those that the listing goes around. The store folds\n  \
         those names into one, which takes the place of one object on the first page: 1000 units are 1001 names.",
    )?;
    Ok(())
}

/// How large the head of a unit is that has been worked on for a while.
///
/// # Errors
/// As [`report`].
pub fn head_bytes() -> Result<usize, Failure> {
    let mut replica = Replica::new();
    replica.commit_alone()?;
    for _ in 0..CYCLES_BEFORE {
        replica.cycle()?;
    }
    replica.size_of_head()
}

/// Every operation in steady state.
///
/// # Errors
/// As [`report`].
pub fn operations() -> Result<Vec<Measured>, Failure> {
    let mut replica = Replica::new();
    for _ in 0..COMMITS_BEFORE {
        replica.commit_alone()?;
    }
    let measured = |name, (requests_max, round_trips_max), cost| Measured {
        name,
        cost,
        requests_max,
        round_trips_max,
    };
    let mut all = Vec::new();

    let (mut lock, mut read, mut commit, mut unlock) = <(Cost, Cost, Cost, Cost)>::default();
    for _ in 0..REPEATS {
        let id = replica.next_lock();
        lock = lock.max(replica.cost(replica.lock(&id))?);
        read = read.max(replica.cost(replica.read())?);
        let state = replica.next_state();
        commit = commit.max(replica.cost(replica.write(state, Holding::Lock(id.clone())))?);
        unlock = unlock.max(replica.cost(replica.unlock(&id))?);
    }
    all.push(measured("lock", (2, 1), lock));
    all.push(measured("read", (2, 1), read));
    all.push(measured("commit", (4, 3), commit));
    all.push(measured("unlock", (2, 1), unlock));

    let (mut alone, mut describe, mut cycle) = <(Cost, Cost, Cost)>::default();
    for _ in 0..REPEATS {
        alone = alone.max(replica.commit_alone()?);
        describe = describe.max(replica.cost(replica.describe())?);
        cycle = cycle.max(replica.cycle()?);
    }
    all.push(measured("commit_without_lock", (5, 3), alone));
    all.push(measured("describe", (1, 1), describe));
    all.push(measured("lock_read_write_unlock", (10, 6), cycle));

    let mut apply = Cost::default();
    for _ in 0..REPEATS {
        let (id, state) = (replica.next_lock(), replica.next_state());
        apply = apply.max(replica.cost(replica.s3_apply(&id, state))?);
    }
    // The look at the graph is one more than it was without dependencies.
    all.push(measured("s3_apply", (11, 8), apply));

    // Another value of an output that a dependency leads from, each time: one commit of the graph.
    // The unit is a new one: no housekeeping follows its commits yet.
    replica.unit = UnitId::parse("myapp/network").doing("naming a unit")?;
    replica.commit_alone()?;
    replica.cost(replica.declare_an_edge())?;
    let mut followed = Cost::default();
    for _ in 0..REPEATS {
        let (id, state) = (replica.next_lock(), replica.next_state());
        replica.cost(replica.lock(&id))?;
        followed = followed.max(replica.cost(replica.write(state, Holding::Lock(id.clone())))?);
        replica.cost(replica.unlock(&id))?;
    }
    all.push(measured("commit_that_changes_an_edge", (8, 6), followed));
    Ok(all)
}

/// Requests per commit on average, when what follows behind every sixteenth is counted too.
///
/// # Errors
/// As [`report`].
pub fn commits_with_housekeeping() -> Result<f64, Failure> {
    let mut replica = Replica::new();
    let id = replica.next_lock();
    replica.cost(replica.lock(&id))?;
    for _ in 0..COMMITS_BEFORE {
        let state = replica.next_state();
        replica.cost(replica.write(state, Holding::Lock(id.clone())))?;
    }
    let mut requests = 0;
    for _ in 0..COMMITS_AVERAGED {
        let state = replica.next_state();
        requests += replica
            .cost(replica.write(state, Holding::Lock(id.clone())))?
            .requests;
    }
    Ok(requests as f64 / COMMITS_AVERAGED as f64)
}

/// What it costs to list a bucket of so many units, by a replica that has just started.
///
/// # Errors
/// As [`report`].
pub fn listing(units: usize, with_history: bool) -> Result<Listed, Failure> {
    let mut writer = Replica::new();
    for n in 0..units {
        writer.unit = UnitId::parse(&format!("team-{}/app-{n:05}", n % 7)).doing("naming a unit")?;
        let versions = if with_history && n < UNITS_WITH_HISTORY {
            HISTORY
        } else {
            1
        };
        for _ in 0..versions {
            writer.commit_alone()?;
        }
    }
    let reader = Replica::over(writer.gate.clone());
    let (mut found, mut cost) = (0, Cost::default());
    for _ in 0..REPEATS {
        cost = cost.max(reader.cost(async {
            found = reader
                .control
                .list_units(&reader.caller, ListUnits::default())
                .await?
                .units
                .len();
            Ok(())
        })?);
    }
    if found != units {
        return Err(Failure::new(format!("a listing of {units} units shows {found}")));
    }
    Ok(Listed {
        units,
        objects: reader.gate.objects(),
        cost,
    })
}

/// One replica, one unit, and the next state to write.
pub(crate) struct Replica {
    pub(crate) gate: Gate,
    pub(crate) control: StateControl,
    pub(crate) caller: Caller,
    pub(crate) unit: UnitId,
    serial: u64,
    locks: u64,
}

impl Replica {
    pub(crate) fn new() -> Self {
        Self::over(Gate::new())
    }

    pub(crate) fn over(gate: Gate) -> Self {
        let bucket = Bucket::new(Arc::new(gate.clone()), "", gate.surroundings());
        let vault = Vault::new(bucket, Retention::default());
        Self {
            gate,
            control: StateControl::new(vault, Arc::new(AllowAll), "memory"),
            caller: Caller::new(Principal::new("bench")),
            unit: UnitId::parse("myapp/prod").expect("a plain name is a unit id"),
            serial: 0,
            locks: 0,
        }
    }

    pub(crate) fn next_state(&mut self) -> Bytes {
        self.serial += 1;
        format!(
            r#"{{"version":4,"serial":{0},"lineage":"one","outputs":{{"x":{{"value":{0},"type":"number"}}}},"resources":[]}}"#,
            self.serial
        )
        .into()
    }

    pub(crate) fn next_lock(&mut self) -> LockId {
        self.locks += 1;
        let uuid = format!("00000000-0000-4000-8000-{:012x}", self.locks);
        LockId::parse(&uuid).expect("a UUID is a lock id")
    }

    /// What an operation costs. What the code says it sent must be what arrived.
    pub(crate) fn cost(
        &self,
        operation: impl Future<Output = Result<(), ControlError>>,
    ) -> Result<Cost, Failure> {
        let before = self.control.counts().total();
        let (done, cost) = self
            .gate
            .cost(operation, self.control.settle_down())
            .doing("counting what an operation awaits")?;
        done.doing("measuring an operation")?;
        let told = self.control.counts().total() - before;
        if told != cost.requests {
            return Err(Failure::new(format!(
                "{told} requests are counted, and {} arrived",
                cost.requests
            )));
        }
        Ok(cost)
    }

    /// A lock, a read, a write and an unlock.
    pub(crate) fn cycle(&mut self) -> Result<Cost, Failure> {
        let (id, state) = (self.next_lock(), self.next_state());
        self.cost(async {
            self.lock(&id).await?;
            self.read().await?;
            self.write(state, Holding::Lock(id.clone())).await?;
            self.unlock(&id).await
        })
    }

    fn size_of_head(&self) -> Result<usize, Failure> {
        let key = format!("__opentaco_units/{}/@head.json", self.unit);
        let key = object_store::path::Path::parse(key).doing("naming a head")?;
        let found = self.gate.store().head(&key).now_or_never();
        let found = found.ok_or_else(|| Failure::new("memory keeps us waiting"))?;
        Ok(usize::try_from(found.doing("looking at a head")?.size).unwrap_or(usize::MAX))
    }

    pub(crate) fn commit_alone(&mut self) -> Result<Cost, Failure> {
        let state = self.next_state();
        self.cost(self.write(state, Holding::Nothing))
    }

    /// The graph, with a dependency on this unit.
    async fn declare_an_edge(&self) -> Result<(), ControlError> {
        let graph = format!(
            r#"{{"version":4,"serial":1,"lineage":"graph","resources":[{{"mode":"managed","type":"opentaco_dependency","name":"e","instances":[{{"attributes":{{"from_unit_id":"{}","from_output":"x","to_unit_id":"other"}}}}]}}]}}"#,
            self.unit
        );
        let write = StateWrite::new(graph.into(), Holding::Nothing, Door::Terraform);
        let graph = self.control.graph_unit();
        self.control
            .write_state(&self.caller, graph, write)
            .await
            .map(drop)
    }

    pub(crate) async fn lock(&self, id: &LockId) -> Result<(), ControlError> {
        self.control
            .lock(&self.caller, &self.unit, lock_request(id))
            .await
            .map(drop)
    }

    pub(crate) async fn unlock(&self, id: &LockId) -> Result<(), ControlError> {
        self.control.unlock(&self.caller, &self.unit, id).await
    }

    pub(crate) async fn read(&self) -> Result<(), ControlError> {
        let reading = self.control.read_state(&self.caller, &self.unit).await?;
        reading.body.try_for_each(async |_| Ok(())).await
    }

    pub(crate) async fn write(&self, state: Bytes, holding: Holding) -> Result<(), ControlError> {
        let write = StateWrite::new(state, holding, Door::Terraform);
        self.control
            .write_state(&self.caller, &self.unit, write)
            .await
            .map(drop)
    }

    /// What a `terraform apply` asks of the S3 door: the workspaces, the lock file, the state looked at and read, the new
    /// state, the lock file again, and its end.
    pub(crate) async fn s3_apply(&self, id: &LockId, state: Bytes) -> Result<(), ControlError> {
        let (control, caller, unit) = (&self.control, &self.caller, &self.unit);
        let signed = Signed {
            session: CredentialSession::new("bench"),
            at: None,
            invocation: None,
        };
        let bucket = "opentaco";
        let workspaces = ListObjects {
            bucket: bucket.to_owned(),
            prefix: "env:/".to_owned(),
            limit: 1000,
            ..ListObjects::default()
        };
        control.list_objects(caller, &workspaces).await?;
        let lock = LockRequest {
            door: Door::S3,
            credential: Some(signed.clone()),
            ..lock_request(id)
        };
        control.lock(caller, unit, lock).await?;
        control.look_at_state(caller, unit, Some(&signed)).await?;
        let part = control
            .read_part(caller, unit, &Wanted::Bounded(0..5 << 20))
            .await?;
        part.body.try_for_each(async |_| Ok(())).await?;
        let write = StateWrite::new(state, Holding::Session(signed.clone()), Door::S3);
        control.write_state(caller, unit, write).await?;
        control.lock_file(caller, unit, bucket, Some(&signed)).await?;
        control.remove_lock_file(caller, unit, &signed).await
    }

    pub(crate) async fn describe(&self) -> Result<(), ControlError> {
        self.control
            .describe_unit(&self.caller, &self.unit)
            .await
            .map(drop)
    }
}

/// A lock as Terraform asks for it.
pub(crate) fn lock_request(id: &LockId) -> LockRequest {
    let info = LockInfo {
        id: id.clone(),
        operation: "OperationTypeApply".to_owned(),
        info: String::new(),
        who: "bench@localhost".to_owned(),
        version: "1.11.4".to_owned(),
        created: "2026-11-22T12:00:00Z".to_owned(),
        path: String::new(),
    };
    LockRequest {
        info,
        sent: Bytes::from_static(b"{}"),
        door: Door::Terraform,
        credential: None,
    }
}
