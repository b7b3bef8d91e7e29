//! How long each operation takes through each door, beside the raw calls that it comes down to: in the same run, in turns,
//! on the same store, through the same transport, with objects of the same size.
//!
//! A lane is one client that does one thing after the other, and makes the raw call before or after each of its own. Where
//! the store is far away there are several lanes: everybody waits, and nobody is in anybody's way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use opentaco_storage::Store;
use tokio::task::JoinSet;

use crate::client::{Client, note};
use crate::failure::{Doing, Failure};
use crate::ground::{Ground, Place};
use crate::raw::{Call, Raw};
use crate::report::{Aim, Report, Table, figure};
use crate::requests::head_bytes;
use crate::s3::{Asker, Door, bearer};
use crate::service::TOKEN;
use crate::states::{State, States};
use crate::throughput::quantile;

/// The size of the states.
const STATE_BYTES: usize = 10_000;
/// Rounds before anything is measured: heads then name as much history as they ever do.
const ROUNDS_BEFORE: usize = 40;
/// After each operation on a store that is near: what is left to do behind the answer is done before the next is timed.
const REST: Duration = Duration::from_millis(2);
/// What the slowest in a hundred may take beside the slowest in a hundred raw calls.
const MORE_MS_MAX: f64 = 1.0;
/// How far from a whole number of round trips the time may be by which an operation gets longer with the way.
const ROUND_TRIPS_BESIDE: f64 = 0.1;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Rounds on a store that is near.
    pub rounds: usize,
    /// Rounds of each lane on a store that is far away.
    pub rounds_far: usize,
    /// Lanes there.
    pub lanes: usize,
    /// Rounds before.
    pub rounds_before: usize,
    /// Units of the bucket that is listed.
    pub listed: usize,
}

impl Plan {
    /// For figures that are kept.
    pub const FULL: Self = Self {
        rounds: 250,
        rounds_far: 60,
        lanes: 4,
        rounds_before: ROUNDS_BEFORE,
        listed: 100,
    };
    /// For `--quick`.
    pub const QUICK: Self = Self {
        rounds: 30,
        rounds_far: 3,
        lanes: 4,
        rounds_before: 5,
        listed: 100,
    };
}

/// What is asked, in the order of a round, and what it comes down to.
pub const LINES: [(&str, Call); 15] = [
    ("http.lock", Call::Swap),
    ("http.read", Call::Read),
    ("http.write", Call::Commit),
    ("http.unlock", Call::Swap),
    ("http.write_without_lock", Call::Commit),
    ("s3.lock", Call::Swap),
    ("s3.read", Call::Read),
    ("s3.write", Call::Commit),
    ("s3.unlock", Call::Swap),
    ("management.lock", Call::Swap),
    ("management.read", Call::Read),
    ("management.write", Call::Commit),
    ("management.unlock", Call::Swap),
    ("management.describe", Call::Look),
    ("management.list", Call::List),
];

/// How long each took, in milliseconds: ours, and the raw call beside it.
type Samples = BTreeMap<&'static str, (Vec<f64>, Vec<f64>)>;

/// Measures, prints, and keeps the rows.
///
/// # Errors
/// If a process does not start, there is no S3 server, or a request is not answered as it should be.
pub async fn report(report: &mut Report<'_>, places: &[Place], plan: Plan) -> Result<(), Failure> {
    report.say(format!(
        "\nEvery operation beside the raw calls that it comes down to, in turns; states of {} KB",
        STATE_BYTES / 1000
    ))?;
    let mut middles: BTreeMap<(&str, u64), f64> = BTreeMap::new();
    for &place in places {
        let mut samples = measure(place, plan).await?;
        let mut table = Table::new(&[
            "", "p50 ms", "p99 ms", "raw p50", "raw p99", "ratio", "p50 more", "p99 more", "",
        ]);
        let mut taken = 0;
        for (line, _) in LINES {
            let (ours, raw) = samples.get_mut(line).expect("every line is asked");
            taken = ours.len();
            let name = format!("latency.{place}.{line}");
            let [p50, p99] = [0.50, 0.99].map(|part| quantile(ours, part));
            let [raw_p50, raw_p99] = [0.50, 0.99].map(|part| quantile(raw, part));
            report.row(format!("{name}.p50"), p50, "ms");
            report.row(format!("{name}.p99"), p99, "ms");
            report.row(format!("{name}.raw.p50"), raw_p50, "ms");
            report.row(format!("{name}.raw.p99"), raw_p99, "ms");
            report.ratio(format!("{name}.ratio"), p50 / raw_p50, format!("{name}.raw.p50"));
            report.row(format!("{name}.p50_more"), p50 - raw_p50, "ms");
            report.row(format!("{name}.p99_more"), p99 - raw_p99, "ms");
            let verdict = report.judge(Aim::AtMost(MORE_MS_MAX));
            if let Place::S3(milliseconds) = place {
                middles.insert((line, milliseconds), p50);
            }
            table.line([
                line.replace('_', " ").replace('.', ": "),
                figure(p50),
                figure(p99),
                figure(raw_p50),
                figure(raw_p99),
                figure(p50 / raw_p50),
                figure(p50 - raw_p50),
                figure(p99 - raw_p99),
                verdict,
            ]);
        }
        report.row(format!("latency.{place}.samples"), taken as f64, "samples");
        report.say(format!(
            "\n  {}, {taken} of each\n",
            place.to_string().replace('_', ", ")
        ))?;
        report.say(&table)?;
    }
    round_trips(report, &middles)?;
    Ok(())
}

/// What the way to the bucket tells: an operation that awaits three round trips gets three milliseconds longer with each.
fn round_trips(report: &mut Report<'_>, middles: &BTreeMap<(&str, u64), f64>) -> Result<(), Failure> {
    let mut table = Table::new(&["", "round trips by the clock", "counted", ""]);
    let mut any = false;
    for (line, call) in LINES {
        let (Some(near), Some(far)) = (middles.get(&(line, 10)), middles.get(&(line, 30))) else {
            continue;
        };
        any = true;
        let round_trips = (far - near) / 20.0;
        report.row(format!("latency.round_trips.{line}"), round_trips, "round trips");
        let verdict = report.judge(Aim::AtMost(call.round_trips() as f64 + ROUND_TRIPS_BESIDE));
        table.line([
            line.replace('_', " ").replace('.', ": "),
            figure(round_trips),
            call.round_trips().to_string(),
            verdict,
        ]);
    }
    if any {
        report.say(
            "\n  By how much each gets longer when the bucket is 30 ms away and not 10, in round trips\n",
        )?;
        report.say(&table)?;
    }
    Ok(())
}

async fn measure(place: Place, plan: Plan) -> Result<Samples, Failure> {
    let far = matches!(place, Place::S3(milliseconds) if milliseconds > 0);
    let (lanes, rounds) = if far {
        (plan.lanes, plan.rounds_far)
    } else {
        (1, plan.rounds)
    };
    let ground = Ground::open(place)?;
    let (ours, raws) = (ground.new_bucket(), ground.new_bucket());
    let door = Door::open_by(|flags| {
        let retention = ["-max-versions", "10", "-versions-min-age", "0s"];
        ground.service(&ours, &[flags, &retention].concat())
    })
    .await?;
    let store = ground.raw(&raws).await?;
    let states = States::of(STATE_BYTES);
    let mut client = Client::connect(door.process.address(), "listed").await?;
    for unit in 0..plan.listed {
        client.about(&format!("listed/unit-{unit:03}"));
        client.write_without_lock(&states.state(0)).await?;
        Raw::begin(
            Arc::clone(&store),
            &format!("listed/unit-{unit:03}"),
            1,
            &states.state(0),
        )
        .await?;
    }
    let mut all = Vec::new();
    for number in 0..lanes {
        let mut lane = Lane::begin(&door, Arc::clone(&store), number, &states).await?;
        for round in 0..plan.rounds_before {
            lane.round(round, Duration::ZERO).await?;
        }
        lane.samples.clear();
        all.push(lane);
    }
    ground.go_away();
    let rest = if far { Duration::ZERO } else { REST };
    let mut running = JoinSet::new();
    for mut lane in all {
        running.spawn(async move {
            // The connections that the service keeps are as far away as the bucket.
            lane.round(1, rest).await?;
            lane.samples.clear();
            for round in 0..rounds {
                lane.round(round, rest).await?;
            }
            Ok::<_, Failure>(lane.samples)
        });
    }
    let mut together = Samples::new();
    while let Some(done) = running.join_next().await {
        for (line, (ours, raw)) in done.doing("asking")?? {
            let both = together.entry(line).or_default();
            both.0.extend(ours);
            both.1.extend(raw);
        }
    }
    ground.come_back();
    Ok(together)
}

/// One client at every door, about units of its own, and one that makes raw calls.
struct Lane {
    client: Client,
    asker: Asker,
    raw: Raw,
    states: States,
    number: usize,
    written: u64,
    lock: String,
    samples: Samples,
}

impl Lane {
    async fn begin(
        door: &Door,
        store: Arc<dyn Store>,
        number: usize,
        states: &States,
    ) -> Result<Self, Failure> {
        let mut client = Client::connect(door.process.address(), "lane").await?;
        for unit in ["http", "alone", "managed"] {
            client.about(&format!("lane-{number}/{unit}"));
            client.write_without_lock(&states.state(0)).await?;
        }
        Ok(Self {
            client,
            asker: door.connect(&format!("lane-{number}/s3")).await?,
            raw: Raw::begin(store, &format!("lane-{number}"), head_bytes()?, &states.state(0)).await?,
            states: states.clone(),
            number,
            written: 0,
            lock: String::new(),
            samples: Samples::new(),
        })
    }

    async fn round(&mut self, round: usize, rest: Duration) -> Result<(), Failure> {
        for (line, call) in LINES {
            self.written += 1;
            let state = self.states.state(self.written);
            let first = round % 2 == 1;
            let mut raw = Duration::ZERO;
            if first {
                raw = self.call(call, &state).await?;
            }
            let ours = self.ask(line, &state).await?;
            if !rest.is_zero() {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "lets a real process come to rest; nothing here is simulated"
                )]
                tokio::time::sleep(rest).await;
            }
            if !first {
                raw = self.call(call, &state).await?;
            }
            let both = self.samples.entry(line).or_default();
            both.0.push(ours.as_secs_f64() * 1e3);
            both.1.push(raw.as_secs_f64() * 1e3);
        }
        Ok(())
    }

    async fn call(&mut self, call: Call, state: &State) -> Result<Duration, Failure> {
        let began = Instant::now();
        self.raw.call(call, state).await?;
        Ok(began.elapsed())
    }

    async fn ask(&mut self, line: &str, state: &State) -> Result<Duration, Failure> {
        let number = self.number;
        let managed = format!("/v1/units/lane-{number}__managed");
        let whole = match line {
            "s3.write" | "management.write" => state.whole(),
            _ => Bytes::new(),
        };
        if line.ends_with(".lock") {
            self.lock = self.client.next_lock();
        }
        self.client.about(&match line {
            "http.write_without_lock" => format!("lane-{number}/alone"),
            _ => format!("lane-{number}/http"),
        });
        let began = Instant::now();
        match line {
            "http.lock" => self.lock = self.client.lock().await?,
            "http.read" => drop(self.client.read().await?),
            "http.write" => drop(self.client.write(state, &self.lock).await?),
            "http.unlock" => self.client.unlock(&self.lock).await?,
            "http.write_without_lock" => self.client.write_without_lock(state).await?,
            "s3.lock" => self.asker.lock(note(&self.lock).whole()).await?,
            // Before the first write there is nothing to read.
            "s3.read" if self.written < LINES.len() as u64 => {}
            "s3.read" => self.asker.get(STATE_BYTES).await?,
            "s3.write" => self.asker.put(whole).await?,
            "s3.unlock" => self.asker.unlock().await?,
            "management.lock" => {
                let wanted = format!(r#"{{"id":"{}","who":"bench@localhost"}}"#, self.lock);
                self.manage(Method::POST, &format!("{managed}/lock"), wanted.into())
                    .await?;
            }
            "management.read" => {
                self.manage(Method::GET, &format!("{managed}/download"), Bytes::new())
                    .await?;
            }
            "management.write" => {
                let path = format!("{managed}/upload?if_locked_by={}", self.lock);
                self.manage(Method::POST, &path, whole).await?;
            }
            "management.unlock" => {
                let wanted = format!(r#"{{"id":"{}"}}"#, self.lock);
                self.manage(Method::DELETE, &format!("{managed}/unlock"), wanted.into())
                    .await?;
            }
            "management.describe" => self.manage(Method::GET, &managed, Bytes::new()).await?,
            "management.list" => {
                self.manage(Method::GET, "/v1/units?limit=1000", Bytes::new())
                    .await?;
            }
            other => return Err(Failure::new(format!("nobody knows how to ask for {other}"))),
        }
        Ok(began.elapsed())
    }

    async fn manage(&mut self, method: Method, path: &str, body: Bytes) -> Result<(), Failure> {
        self.client
            .ask(method, path, &bearer(TOKEN), body)
            .await
            .map(drop)
    }
}
