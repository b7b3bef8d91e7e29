//! Requests per second and their latencies, of the service on the memory store beside the bare handler.
//!
//! Both run at the same time, each in a process of its own, and are asked in turns, a slice of time each: whatever else
//! the machine does meanwhile, it does to both. The ratio is the median of the ratios of neighbouring slices. Because
//! the client runs on the same processors, the processor time that each side takes per request is told as well.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::client::Client;
use crate::failure::{Doing, Failure};
use crate::profile::{self, Section};
use crate::report::{Aim, Report, Table, figure};
use crate::service::{Process, Storage};
use crate::states::States;
use crate::usage::{Processor, processor};

/// Connections, each about a unit of its own.
const CONNECTIONS: usize = 8;
/// Writes to each unit before anything is measured: its head then names as much history as it ever does.
const WRITES_BEFORE: usize = 40;
/// The memory store would keep a hundred versions of each unit, younger ones beyond that; here it keeps these.
const RETENTION: [&str; 4] = ["-max-versions", "10", "-versions-min-age", "0s"];

/// The sizes of states that are sent.
pub const SIZES: [(&str, usize); 2] = [("10kb", 10_000), ("1mb", 1_000_000)];

/// How much time is spent.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Slices of each side, for each operation at each size.
    pub rounds: usize,
    /// How long each is.
    pub slice: Duration,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// GET of the state.
    Get,
    /// POST of a state, under a lock.
    Post,
    /// LOCK, then UNLOCK: one cycle.
    Lock,
}

impl Operation {
    const ALL: [Self; 3] = [Self::Get, Self::Post, Self::Lock];

    fn aim(self) -> Option<Aim> {
        match self {
            Self::Get => Some(Aim::AtLeast(0.7)),
            Self::Post => Some(Aim::AtLeast(0.5)),
            Self::Lock => None,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Lock => "lock_cycle",
        })
    }
}

/// Measures, prints, and keeps the rows.
///
/// # Errors
/// If a process does not start, or a request is not answered as it should be.
pub async fn report(report: &mut Report<'_>, plan: Plan) -> Result<(), Failure> {
    report.say(format!(
        "\nThroughput on the memory store, credentials checked, beside a bare axum handler; {CONNECTIONS} connections, {} slices of {:?} a side in turns\n",
        plan.rounds, plan.slice
    ))?;
    let mut table = Table::new(&[
        "",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "cpu us",
        "bare/s",
        "p50 ms",
        "p99 ms",
        "cpu us",
        "ratio",
        "",
    ]);
    let mut missed = Vec::new();
    for (size, bytes) in SIZES {
        let states = States::of(bytes);
        let mut ours = Side::new(Process::service(Storage::Memory, &RETENTION)?, &states).await?;
        let mut bare = Side::new(Process::bare(bytes)?, &states).await?;
        for operation in Operation::ALL {
            let compared = compare(&mut ours, &mut bare, operation, plan).await?;
            let verdict = keep(report, operation, size, &compared);
            if verdict.ends_with("MISSED") {
                missed.push((
                    operation,
                    size,
                    bytes,
                    compared.ours.processor(),
                    compared.bare.processor(),
                ));
            }
            let Compared { ours, bare, ratio } = &compared;
            table.line([
                format!("{operation} {size}").replace('_', " "),
                figure(ours.per_second()),
                figure(ours.latency_ms(0.50)),
                figure(ours.latency_ms(0.99)),
                figure(total(ours.processor())),
                figure(bare.per_second()),
                figure(bare.latency_ms(0.50)),
                figure(bare.latency_ms(0.99)),
                figure(total(bare.processor())),
                figure(*ratio),
                verdict,
            ]);
        }
    }
    report.say(&table)?;
    for (operation, size, bytes, ours, bare) in missed {
        let mut sections = profile::sections(operation, bytes).await?;
        let what = "a line in the log, told by running without";
        let microseconds = (total(ours) - total(without_log(operation, bytes, plan).await?)).max(0.0);
        sections.push(Section { what, microseconds });
        report.say(profile::explain(
            &format!("{operation} {size}"),
            ours,
            bare,
            &sections,
        ))?;
    }
    Ok(())
}

/// What the service takes for a request that it writes no line about.
async fn without_log(operation: Operation, bytes: usize, plan: Plan) -> Result<Processor, Failure> {
    let [a, b, c, d] = RETENTION;
    let quiet = Process::service(Storage::Memory, &[a, b, c, d, "-log-level", "warn"])?;
    let mut quiet = Side::new(quiet, &States::of(bytes)).await?;
    quiet.slice(operation, plan.slice / 4).await?;
    Ok(quiet.slice(operation, plan.slice).await?.processor())
}

fn total(processor: Processor) -> f64 {
    processor.user + processor.system
}

/// Keeps the rows of one line of the table; answers with what becomes of the aim.
fn keep(report: &mut Report<'_>, operation: Operation, size: &str, compared: &Compared) -> String {
    let name = format!("{operation}.{size}");
    for (side, samples) in [("", &compared.ours), (".bare", &compared.bare)] {
        report.row(
            format!("throughput.{name}{side}"),
            samples.per_second(),
            "requests/s",
        );
        report.row(
            format!("latency_p50.{name}{side}"),
            samples.latency_ms(0.50),
            "ms",
        );
        report.row(
            format!("latency_p99.{name}{side}"),
            samples.latency_ms(0.99),
            "ms",
        );
        report.row(
            format!("processor.{name}{side}"),
            total(samples.processor()),
            "us/request",
        );
    }
    report.ratio(
        format!("ratio.{name}"),
        compared.ratio,
        format!("throughput.{name}.bare"),
    );
    operation.aim().map_or_else(String::new, |aim| report.judge(aim))
}

/// Both sides, measured in turns.
#[derive(Debug)]
struct Compared {
    ours: Samples,
    bare: Samples,
    ratio: f64,
}

async fn compare(
    ours: &mut Side,
    bare: &mut Side,
    operation: Operation,
    plan: Plan,
) -> Result<Compared, Failure> {
    // Once for nothing: caches, connections, and the memory that both will use again.
    ours.slice(operation, plan.slice / 4).await?;
    bare.slice(operation, plan.slice / 4).await?;
    let (mut all_ours, mut all_bare) = (Samples::default(), Samples::default());
    let mut ratios = Vec::new();
    for round in 0..plan.rounds {
        let (a, b) = if round % 2 == 0 {
            let a = ours.slice(operation, plan.slice).await?;
            (a, bare.slice(operation, plan.slice).await?)
        } else {
            let b = bare.slice(operation, plan.slice).await?;
            (ours.slice(operation, plan.slice).await?, b)
        };
        ratios.push(a.per_second() / b.per_second());
        all_ours.add(a);
        all_bare.add(b);
    }
    Ok(Compared {
        ours: all_ours,
        bare: all_bare,
        ratio: median(&mut ratios),
    })
}

/// The middle one.
///
/// # Panics
/// If there is none.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The value that so large a part of all is not above.
pub fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = ((values.len() as f64 * part) as usize).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or_default()
}

/// Requests that were answered.
#[derive(Debug, Default)]
struct Samples {
    latencies: Vec<Duration>,
    elapsed: Duration,
    used: Processor,
}

impl Samples {
    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.elapsed += other.elapsed;
        self.used = self.used + other.used;
    }

    fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// Of the process that answered, per request.
    fn processor(&self) -> Processor {
        let requests = self.latencies.len().max(1) as f64;
        Processor {
            user: self.used.user / requests,
            system: self.used.system / requests,
        }
    }

    fn latency_ms(&self, quantile: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort();
        let at = ((sorted.len() as f64 * quantile) as usize).min(sorted.len().saturating_sub(1));
        sorted
            .get(at)
            .map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    }
}

/// One process, and who asks it.
struct Side {
    process: Process,
    askers: Vec<Asker>,
}

/// One connection about one unit.
struct Asker {
    client: Client,
    states: States,
    written: u64,
    lock: Option<String>,
}

impl Side {
    async fn new(process: Process, states: &States) -> Result<Self, Failure> {
        let mut askers = Vec::new();
        for n in 0..CONNECTIONS {
            let client = Client::connect(process.address(), &format!("bench/unit-{n}")).await?;
            let mut asker = Asker {
                client,
                states: states.clone(),
                written: 0,
                lock: None,
            };
            asker.take_lock().await?;
            for _ in 0..WRITES_BEFORE {
                asker.ask(Operation::Post).await?;
            }
            asker.give_back().await?;
            askers.push(asker);
        }
        Ok(Self { process, askers })
    }

    async fn slice(&mut self, operation: Operation, slice: Duration) -> Result<Samples, Failure> {
        if operation == Operation::Post {
            for asker in &mut self.askers {
                asker.take_lock().await?;
            }
        }
        let before = processor(self.process.id())?;
        let began = Instant::now();
        let mut asking = JoinSet::new();
        for mut asker in self.askers.drain(..) {
            asking.spawn(async move {
                let mut latencies = Vec::new();
                while began.elapsed() < slice {
                    let asked = Instant::now();
                    asker.ask(operation).await?;
                    latencies.push(asked.elapsed());
                }
                Ok::<_, Failure>((asker, latencies))
            });
        }
        let mut latencies = Vec::new();
        while let Some(asked) = asking.join_next().await {
            let (asker, taken) = asked.doing("asking")??;
            self.askers.push(asker);
            latencies.extend(taken);
        }
        let elapsed = began.elapsed();
        let used = processor(self.process.id())? - before;
        if operation == Operation::Post {
            for asker in &mut self.askers {
                asker.give_back().await?;
            }
        }
        Ok(Samples {
            latencies,
            elapsed,
            used,
        })
    }
}

impl Asker {
    async fn take_lock(&mut self) -> Result<(), Failure> {
        self.lock = Some(self.client.lock().await?);
        Ok(())
    }

    async fn give_back(&mut self) -> Result<(), Failure> {
        match self.lock.take() {
            Some(lock) => self.client.unlock(&lock).await,
            None => Ok(()),
        }
    }

    async fn ask(&mut self, operation: Operation) -> Result<(), Failure> {
        match operation {
            Operation::Get => {
                self.client.read().await?;
            }
            Operation::Post => {
                self.written += 1;
                let state = self.states.state(self.written);
                self.client
                    .write(&state, self.lock.as_deref().unwrap_or_default())
                    .await?;
            }
            Operation::Lock => {
                let lock = self.client.lock().await?;
                self.client.unlock(&lock).await?;
            }
        }
        Ok(())
    }
}
