//! Whether an operation costs more where there is more: beside 1,000 units or 100,000, after 10 versions or 1,000.
//!
//! Twice: counted, on memory, where the requests must be the very same; and timed, on local disk, the small and the large
//! one in turns.
//!
//! So many units are not made by writing them through the service. One is, and its head and its copy are put under all the
//! other names; a listing, which is all that ever looks at them, sees what it would see.

use std::fs;
use std::path::Path as FilePath;
use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt as _;
use http::Method;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use opentaco_control::ListUnits;
use opentaco_domain::{Holding, UnitId};
use tempfile::TempDir;

use crate::client::Client;
use crate::failure::{Doing, Failure};
use crate::report::{Report, Table, figure};
use crate::requests::Replica;
use crate::rounds::Cost;
use crate::s3::bearer;
use crate::service::{Process, Storage, TOKEN};
use crate::states::States;
use crate::throughput::quantile;

/// The size of the states.
const STATE_BYTES: usize = 10_000;
/// Names on a page.
const PAGE: usize = 1000;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Units, few and many.
    pub units: [usize; 2],
    /// Versions, few and many. Neither may have housekeeping behind the few commits that follow.
    pub versions: [u64; 2],
    /// How often each operation is timed.
    pub rounds: usize,
}

impl Plan {
    /// For figures that are kept.
    pub const FULL: Self = Self {
        units: [1_000, 100_000],
        versions: [10, 1_000],
        rounds: 100,
    };
    /// For `--quick`.
    pub const QUICK: Self = Self {
        units: [1_000, 5_000],
        versions: [10, 104],
        rounds: 10,
    };
}

/// Measures, prints, and keeps the rows.
///
/// # Errors
/// If the service does not start, does not do what it is asked for, or an operation makes more requests where there is
/// more.
pub async fn report(report: &mut Report<'_>, plan: Plan) -> Result<(), Failure> {
    let [few, many] = plan.units;
    let counted = [costs_beside(few)?, costs_beside(many)?];
    let timed = beside_units(plan).await?;
    tell(report, "units", [few, many], &counted, timed)?;
    let [few, many] = plan.versions;
    let counted = [costs_after(few)?, costs_after(many)?];
    let timed = after_versions(plan).await?;
    let sizes = [few, many].map(|versions| usize::try_from(versions).unwrap_or(usize::MAX));
    tell(report, "versions", sizes, &counted, timed)
}

/// Operations by name, and what each costs.
pub type Costs = Vec<(&'static str, Cost)>;
/// Operations by name, and how long each took in milliseconds, in the small one and in the large one.
type Times = Vec<(&'static str, [Vec<f64>; 2])>;

fn tell(
    report: &mut Report<'_>,
    what: &str,
    sizes: [usize; 2],
    counted: &[Costs; 2],
    mut timed: Times,
) -> Result<(), Failure> {
    let [few, many] = sizes;
    report.say(format!(
        "\n{few} {what} and {many}: requests counted on memory, times on local disk, in turns\n"
    ))?;
    let columns = [
        String::new(),
        format!("requests at {few}"),
        format!("at {many}"),
        format!("p50 ms at {few}"),
        format!("at {many}"),
        "ratio".to_owned(),
    ];
    let mut table = Table::new(&columns.each_ref().map(String::as_str));
    for ((operation, small), (_, large)) in counted[0].iter().zip(&counted[1]) {
        if small != large {
            return Err(Failure::new(format!(
                "{operation} costs {small:?} at {few} {what}, and {large:?} at {many}"
            )));
        }
        let name = format!("scale.{what}.{operation}");
        report.row(
            format!("{name}.requests.{few}"),
            small.requests as f64,
            "requests",
        );
        report.row(
            format!("{name}.requests.{many}"),
            large.requests as f64,
            "requests",
        );
        let times = timed.iter_mut().find(|(timed, _)| timed == operation);
        let Some((_, [of_few, of_many])) = times else {
            return Err(Failure::new(format!("{operation} was not timed")));
        };
        let (fast, slow) = (quantile(of_few, 0.5), quantile(of_many, 0.5));
        report.row(format!("{name}.p50.{few}"), fast, "ms");
        report.row(format!("{name}.p50.{many}"), slow, "ms");
        report.ratio(format!("{name}.ratio"), slow / fast, format!("{name}.p50.{few}"));
        table.line([
            operation.replace('_', " "),
            small.requests.to_string(),
            large.requests.to_string(),
            figure(fast),
            figure(slow),
            figure(slow / fast),
        ]);
    }
    report.say(&table)?;
    Ok(())
}

/// What operations on a unit cost beside so many others, and a page of a listing of all.
///
/// # Errors
/// If one fails.
pub fn costs_beside(units: usize) -> Result<Costs, Failure> {
    let mut replica = Replica::new();
    for _ in 0..34 {
        replica.commit_alone()?;
    }
    let (head, copy) = (
        object(&replica, &head_key("myapp/prod"))?,
        object(&replica, &copy_key("myapp/prod"))?,
    );
    for n in 0..units {
        let unit = name(n);
        put(&replica, &head_key(&unit), &head)?;
        put(&replica, &copy_key(&unit), &copy)?;
    }
    let mut costs = costs(&mut replica)?;
    let limit = Some(PAGE.min(units));
    let listed = replica.cost(async {
        let asked = ListUnits {
            limit,
            ..ListUnits::default()
        };
        replica.control.list_units(&replica.caller, asked).await.map(drop)
    })?;
    costs.push(("list_page", listed));
    Ok(costs)
}

/// What operations on a unit cost after so many versions, and a page of its history.
///
/// # Errors
/// If one fails.
pub fn costs_after(versions: u64) -> Result<Costs, Failure> {
    let mut replica = Replica::new();
    for _ in 0..versions {
        replica.commit_alone()?;
    }
    let mut costs = costs(&mut replica)?;
    let history = replica.cost(async {
        let (caller, unit) = (&replica.caller, &replica.unit);
        replica
            .control
            .versions(caller, unit, None, Some(10))
            .await
            .map(drop)
    })?;
    costs.push(("history_page", history));
    Ok(costs)
}

fn costs(replica: &mut Replica) -> Result<Costs, Failure> {
    let (id, state) = (replica.next_lock(), replica.next_state());
    Ok(vec![
        ("lock", replica.cost(replica.lock(&id))?),
        ("read", replica.cost(replica.read())?),
        (
            "write",
            replica.cost(replica.write(state, Holding::Lock(id.clone())))?,
        ),
        ("unlock", replica.cost(replica.unlock(&id))?),
        ("describe", replica.cost(replica.describe())?),
    ])
}

/// Two services on local disk, one with few units and one with many, asked in turns.
async fn beside_units(plan: Plan) -> Result<Times, Failure> {
    let mut sides = Vec::new();
    for units in plan.units {
        sides.push(Side::over(filled(units).await?).await?);
    }
    let limit = PAGE.min(plan.units[0]);
    let list = format!("/v1/units?limit={limit}");
    let mut times = Times::new();
    for round in 0..plan.rounds {
        for at in in_turns(round) {
            let side = &mut sides[at];
            side.about("bench/unit");
            side.round(&mut times, at, ("list_page", &list)).await?;
        }
    }
    Ok(times)
}

/// One service on local disk, with a unit of many versions, and many units of few.
async fn after_versions(plan: Plan) -> Result<Times, Failure> {
    let [few, many] = plan.versions;
    let mut side = Side::over(Process::service(Storage::Local, &[])?).await?;
    side.about("bench/many");
    for _ in 0..many {
        side.write_alone().await?;
    }
    let mut times = Times::new();
    for round in 0..plan.rounds {
        // A new one each time: it would not have few for long.
        let unit = format!("bench/few-{round}");
        side.about(&unit);
        for _ in 0..few {
            side.write_alone().await?;
        }
        for at in in_turns(round) {
            let unit = [unit.as_str(), "bench/many"][at];
            side.about(unit);
            let history = format!("/v1/units/{}/versions?limit=10", unit.replace('/', "__"));
            side.round(&mut times, at, ("history_page", &history)).await?;
        }
    }
    Ok(times)
}

fn in_turns(round: usize) -> [usize; 2] {
    if round.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}

/// A client of one service.
struct Side {
    _process: Process,
    client: Client,
    states: States,
    unit: String,
    written: u64,
}

impl Side {
    async fn over(process: Process) -> Result<Self, Failure> {
        let client = Client::connect(process.address(), "bench/unit").await?;
        let mut side = Self {
            _process: process,
            client,
            states: States::of(STATE_BYTES),
            unit: "bench/unit".to_owned(),
            written: 0,
        };
        for _ in 0..10 {
            side.write_alone().await?;
        }
        Ok(side)
    }

    fn about(&mut self, unit: &str) {
        unit.clone_into(&mut self.unit);
        self.client.about(unit);
    }

    async fn write_alone(&mut self) -> Result<(), Failure> {
        self.written += 1;
        let state = self.states.state(self.written);
        self.client.write_without_lock(&state).await
    }

    async fn round(
        &mut self,
        times: &mut Times,
        at: usize,
        (last, path): (&'static str, &str),
    ) -> Result<(), Failure> {
        self.written += 1;
        let state = self.states.state(self.written);
        let describe = format!("/v1/units/{}", self.unit.replace('/', "__"));
        let mut took = |operation: &'static str, began: Instant| {
            let milliseconds = began.elapsed().as_secs_f64() * 1e3;
            match times.iter_mut().find(|(known, _)| *known == operation) {
                Some((_, of)) => of[at].push(milliseconds),
                None => {
                    let mut of = [Vec::new(), Vec::new()];
                    of[at].push(milliseconds);
                    times.push((operation, of));
                }
            }
        };
        let began = Instant::now();
        let lock = self.client.lock().await?;
        took("lock", began);
        let began = Instant::now();
        self.client.read().await?;
        took("read", began);
        let began = Instant::now();
        self.client.write(&state, &lock).await?;
        took("write", began);
        let began = Instant::now();
        self.client.unlock(&lock).await?;
        took("unlock", began);
        for (operation, path) in [("describe", describe.as_str()), (last, path)] {
            let began = Instant::now();
            self.client
                .ask(Method::GET, path, &bearer(TOKEN), Bytes::new())
                .await?;
            took(operation, began);
        }
        Ok(())
    }
}

/// A service on local disk with so many units.
async fn filled(units: usize) -> Result<Process, Failure> {
    let process = Process::service(Storage::Local, &[])?;
    let mut client = Client::connect(process.address(), "bench/pattern").await?;
    client
        .write_without_lock(&States::of(STATE_BYTES).state(1))
        .await?;
    let directory: TempDir = process.stop()?;
    let bucket = directory.path().join("data/bucket");
    let doing = "making many units";
    let head = fs::read(bucket.join(head_key("bench/pattern"))).doing(doing)?;
    let copy = fs::read(bucket.join(copy_key("bench/pattern"))).doing(doing)?;
    for n in 0..units {
        let unit = name(n);
        file(&bucket.join(head_key(&unit)), &head)?;
        file(&bucket.join(copy_key(&unit)), &copy)?;
    }
    Process::service_in(directory, Storage::Local, &[])
}

fn file(path: &FilePath, bytes: &[u8]) -> Result<(), Failure> {
    let doing = "making many units";
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).doing(doing)?;
    }
    fs::write(path, bytes).doing(doing)
}

/// The name of one of many.
fn name(n: usize) -> String {
    let name = format!("team-{:02}/app-{n:06}", n % 50);
    debug_assert!(UnitId::parse(&name).is_ok());
    name
}

fn head_key(unit: &str) -> String {
    format!("__opentaco_units/{unit}/@head.json")
}

fn copy_key(unit: &str) -> String {
    format!("{unit}/terraform.tfstate")
}

fn object(replica: &Replica, key: &str) -> Result<Bytes, Failure> {
    let doing = || format!("reading {key}");
    let key = Path::parse(key).doing(doing())?;
    let reading = async { replica.gate.store().get(&key).await?.bytes().await };
    let read = reading
        .now_or_never()
        .ok_or_else(|| Failure::new("memory keeps us waiting"))?;
    read.doing(doing())
}

fn put(replica: &Replica, key: &str, bytes: &Bytes) -> Result<(), Failure> {
    let key = Path::parse(key).doing("naming an object")?;
    let store = replica.gate.store();
    let put = store
        .put(&key, PutPayload::from(bytes.clone()))
        .now_or_never()
        .ok_or_else(|| Failure::new("memory keeps us waiting"))?;
    put.doing("making many units").map(drop)
}
