//! Three replicas beside one, over the same bucket, ten milliseconds away: how much they get done on many units, and on one
//! unit that everybody wants.
//!
//! On the one unit every client counts: it takes the lock, reads a number, writes the next, and gives the lock back. In the
//! end the number must be how often that was done, or somebody wrote over somebody.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::client::{Client, note};
use crate::failure::{Doing, Failure};
use crate::ground::{Ground, Place};
use crate::report::{Report, Table, figure};
use crate::s3::bearer;
use crate::service::{Process, TOKEN};
use crate::states::States;
use crate::throughput::{median, quantile};

/// Clients on units of their own.
const CLIENTS: usize = 24;
/// Clients that want the same unit.
const RIVALS: usize = 6;
/// Who finds the unit locked tries again so much later.
const PAUSE: Duration = Duration::from_millis(10);
const STATE_BYTES: usize = 10_000;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How far the bucket is away, in milliseconds.
    pub delay: u64,
    /// Slices of each, in turns.
    pub rounds: usize,
    /// How long each is.
    pub slice: Duration,
}

impl Plan {
    /// For figures that are kept.
    pub const FULL: Self = Self {
        delay: 10,
        rounds: 3,
        slice: Duration::from_secs(3),
    };
    /// For `--quick`.
    pub const QUICK: Self = Self {
        delay: 10,
        rounds: 1,
        slice: Duration::from_millis(600),
    };
}

/// One or three of them.
struct Fleet {
    replicas: Vec<Process>,
    name: String,
}

/// What a slice came to.
#[derive(Default)]
struct Done {
    cycles: u64,
    refused: u64,
    milliseconds: Vec<f64>,
    seconds: f64,
}

impl Done {
    fn per_second(&self) -> f64 {
        self.cycles as f64 / self.seconds
    }
}

/// Measures, prints, and keeps the rows.
///
/// # Errors
/// If a process does not start, there is no S3 server, or the unit that everybody wants has lost a write.
pub async fn report(report: &mut Report<'_>, plan: Plan) -> Result<(), Failure> {
    report.say(format!(
        "\nThree replicas beside one, on S3 {} ms away; a cycle is lock, read, write, unlock\n",
        plan.delay
    ))?;
    let ground = Ground::open(Place::S3(plan.delay))?;
    let mut fleets = Vec::new();
    for replicas in [1, 3] {
        let bucket = ground.new_bucket();
        let flags = ["-max-versions", "10", "-versions-min-age", "0s"];
        let started: Result<Vec<_>, _> = (0..replicas).map(|_| ground.service(&bucket, &flags)).collect();
        fleets.push(Fleet {
            replicas: started?,
            name: format!("{replicas}_replicas").replace("1_replicas", "1_replica"),
        });
    }
    for fleet in &fleets {
        // Units and connections are there before the bucket goes away.
        many(fleet, plan.slice / 4).await?;
        contend(fleet, plan.slice / 4).await?;
    }
    ground.go_away();
    let mut all: Vec<[Vec<Done>; 2]> = fleets.iter().map(|_| Default::default()).collect();
    for _ in 0..plan.rounds {
        for (fleet, done) in fleets.iter().zip(&mut all) {
            done[0].push(many(fleet, plan.slice).await?);
            done[1].push(contend(fleet, plan.slice).await?);
        }
    }
    let mut table = Table::new(&["", "cycles/s", "p50 ms", "p99 ms", "locks refused for each"]);
    for (index, what) in ["many_units", "one_unit"].into_iter().enumerate() {
        let mut rates = Vec::new();
        for (fleet, done) in fleets.iter().zip(&all) {
            let slices = &done[index];
            let mut of_slices: Vec<f64> = slices.iter().map(Done::per_second).collect();
            let mut times: Vec<f64> = slices
                .iter()
                .flat_map(|done| done.milliseconds.iter().copied())
                .collect();
            let cycles: u64 = slices.iter().map(|done| done.cycles).sum();
            let refused: u64 = slices.iter().map(|done| done.refused).sum();
            let rate = median(&mut of_slices);
            let [p50, p99] = [0.50, 0.99].map(|part| quantile(&mut times, part));
            let refused = refused as f64 / cycles.max(1) as f64;
            let name = format!("replicas.{what}.{}", fleet.name);
            report.row(name.clone(), rate, "cycles/s");
            report.row(format!("{name}.p50"), p50, "ms");
            report.row(format!("{name}.p99"), p99, "ms");
            report.row(format!("{name}.refused"), refused, "per cycle");
            table.line([
                format!("{what}, {}", fleet.name).replace('_', " "),
                figure(rate),
                figure(p50),
                figure(p99),
                figure(refused),
            ]);
            rates.push(rate);
        }
        report.ratio(
            format!("replicas.{what}.ratio"),
            rates[1] / rates[0],
            format!("replicas.{what}.1_replica"),
        );
    }
    report.say(&table)?;
    report.say(format!(
        "  Many units are {CLIENTS} clients with one each; one unit is {RIVALS} clients that count in it, and no number was lost.\n  All of it runs on the processors of one machine: replicas share them."
    ))?;
    Ok(())
}

/// Clients on units of their own, spread over the replicas.
async fn many(fleet: &Fleet, slice: Duration) -> Result<Done, Failure> {
    let states = States::of(STATE_BYTES);
    let mut asking = JoinSet::new();
    let ready = Arc::new(Barrier::new(CLIENTS));
    for number in 0..CLIENTS {
        let address = fleet.replicas[number % fleet.replicas.len()].address();
        let (states, ready) = (states.clone(), Arc::clone(&ready));
        asking.spawn(async move {
            let unit = format!("many/unit-{number}");
            let mut client = Client::connect(address, &unit).await?;
            client.write_without_lock(&states.state(0)).await?;
            ready.wait().await;
            let mut done = Done::default();
            let began = Instant::now();
            while began.elapsed() < slice {
                let asked = Instant::now();
                let lock = client.lock().await?;
                client.read().await?;
                client.write(&states.state(done.cycles + 1), &lock).await?;
                client.unlock(&lock).await?;
                done.milliseconds.push(asked.elapsed().as_secs_f64() * 1e3);
                done.cycles += 1;
            }
            done.seconds = began.elapsed().as_secs_f64();
            Ok::<_, Failure>(done)
        });
    }
    together(asking).await
}

/// Clients that count in one unit, spread over the replicas.
async fn contend(fleet: &Fleet, slice: Duration) -> Result<Done, Failure> {
    let mut client = Client::connect(fleet.replicas[0].address(), "one/unit").await?;
    let before = counted(&mut client).await?;
    let mut asking = JoinSet::new();
    let ready = Arc::new(Barrier::new(RIVALS));
    for number in 0..RIVALS {
        let address = fleet.replicas[number % fleet.replicas.len()].address();
        let ready = Arc::clone(&ready);
        asking.spawn(async move {
            let mut client = Client::connect(address, "one/unit").await?;
            ready.wait().await;
            let mut done = Done::default();
            let began = Instant::now();
            let mut wanted = Instant::now();
            while began.elapsed() < slice {
                let lock = client.next_lock();
                let method = Method::from_bytes(b"LOCK").expect("LOCK is a token");
                let info = note(&lock).whole();
                let (status, _) = client
                    .status_of(method, UNIT, &bearer(TOKEN), info.clone())
                    .await?;
                if status == StatusCode::LOCKED {
                    done.refused += 1;
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "a client waits for another; nothing here is simulated"
                    )]
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                if !status.is_success() {
                    return Err(Failure::new(format!("a lock was answered with {status}")));
                }
                let number = counted(&mut client).await?;
                let next = format!(r#"{{"version":4,"serial":{},"lineage":"one"}}"#, number + 1);
                let path = format!("{UNIT}?ID={lock}");
                client
                    .ask(Method::POST, &path, &bearer(TOKEN), next.into())
                    .await?;
                let method = Method::from_bytes(b"UNLOCK").expect("UNLOCK is a token");
                client.ask(method, UNIT, &bearer(TOKEN), info).await?;
                done.milliseconds.push(wanted.elapsed().as_secs_f64() * 1e3);
                wanted = Instant::now();
                done.cycles += 1;
            }
            done.seconds = began.elapsed().as_secs_f64();
            Ok::<_, Failure>(done)
        });
    }
    let done = together(asking).await?;
    let after = counted(&mut client).await?;
    if after - before != done.cycles {
        return Err(Failure::new(format!(
            "{} clients counted to {}, and the unit says {}",
            RIVALS,
            before + done.cycles,
            after
        )));
    }
    Ok(done)
}

/// The unit that everybody wants.
const UNIT: &str = "/v1/backend/one/unit";

/// The number in it; 0 before the first.
async fn counted(client: &mut Client) -> Result<u64, Failure> {
    let (status, said) = client
        .status_of(Method::GET, UNIT, &bearer(TOKEN), Bytes::new())
        .await?;
    match status {
        StatusCode::NOT_FOUND => Ok(0),
        StatusCode::OK => {
            let state: serde_json::Value = serde_json::from_slice(&said).doing("reading a state")?;
            state["serial"]
                .as_u64()
                .ok_or_else(|| Failure::new("a state has lost its number"))
        }
        other => Err(Failure::new(format!("a read was answered with {other}"))),
    }
}

async fn together(mut asking: JoinSet<Result<Done, Failure>>) -> Result<Done, Failure> {
    let mut all = Done::default();
    while let Some(done) = asking.join_next().await {
        let done = done.doing("asking")??;
        all.cycles += done.cycles;
        all.refused += done.refused;
        all.milliseconds.extend(done.milliseconds);
        all.seconds = all.seconds.max(done.seconds);
    }
    Ok(all)
}
