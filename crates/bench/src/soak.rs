//! Mixed load for a long time, and the memory of the service once a second: does it go on growing?
//!
//! One client does one thing after the other, at a pace that leaves the processor idle most of the time: what is looked
//! for is a leak, not a limit. Everything that the service keeps something of is among it: locks and histories of fifty
//! units, refused writes, tokens made and revoked, S3 credentials, lists, dependencies, the audit.
//!
//! A line is fitted through the second half, when caches are full and the allocator has what it wants. How steep it is, in
//! megabytes per hour, is the figure.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};

use crate::client::{Client, note};
use crate::failure::{Doing, Failure};
use crate::report::{Aim, Report, Table, figure};
use crate::s3::{Asker, Door, bearer, member};
use crate::service::{Process, Storage, TOKEN};
use crate::states::States;
use crate::usage::{MB, memory, processor};

/// Units that are worked on.
const UNITS: u64 = 50;
/// The size of most states.
const STATE_BYTES: usize = 10_000;
/// The size of one in a while.
const LARGE_STATE_BYTES: usize = 5_000_000;
/// The steepest that memory may rise over the second half, in megabytes per hour.
const MB_PER_HOUR_MAX: f64 = 2.0;
/// Over less than this a slope says nothing.
const JUDGED_FROM: Duration = Duration::from_secs(30 * 60);
/// A token that was made is known at every replica by then.
const KNOWN_WITHIN: Duration = Duration::from_secs(6);
/// Between two looks at the memory.
const GLANCE: Duration = Duration::from_secs(1);

/// How long, and how much.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// From the first turn to the last.
    pub time: Duration,
    /// Things done in a second, each some requests.
    pub turns_per_second: f64,
}

/// What is done in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// LOCK, GET, POST, UNLOCK at the Terraform door.
    Apply,
    /// The same with the lock file at the S3 door.
    S3Apply,
    /// Lists and histories at the management door.
    Look,
    /// A token is made, asked with, and revoked; and then it must be refused.
    Login,
    /// S3 credentials are made.
    Credentials,
    /// A lock is broken, and a write under it refused and kept.
    Break,
    /// An output that another unit takes changes.
    Output,
    /// An edge is added or taken away.
    Edge,
    /// A state of five megabytes.
    Large,
}

impl Turn {
    const ALL: [Self; 9] = [
        Self::Apply,
        Self::S3Apply,
        Self::Look,
        Self::Login,
        Self::Credentials,
        Self::Break,
        Self::Output,
        Self::Edge,
        Self::Large,
    ];

    /// Of twenty turns in order; the rarest come once in a hundred.
    fn number(n: u64) -> Self {
        match n % 20 {
            1 | 6 | 11 | 16 => Self::S3Apply,
            3 | 8 | 13 => Self::Look,
            5 => Self::Login,
            10 => Self::Break,
            15 => Self::Output,
            19 => match n / 20 % 5 {
                0 => Self::Edge,
                1 | 3 => Self::Credentials,
                2 => Self::Large,
                _ => Self::Apply,
            },
            _ => Self::Apply,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::S3Apply => "s3_apply",
            Self::Look => "look",
            Self::Login => "login",
            Self::Credentials => "credentials",
            Self::Break => "force_unlock",
            Self::Output => "output",
            Self::Edge => "edge",
            Self::Large => "large",
        }
    }
}

/// Measures, prints, and keeps the rows and the series.
///
/// # Errors
/// If the service does not start, or does not do what it is asked for.
pub async fn report(report: &mut Report<'_>, plan: Plan) -> Result<(), Failure> {
    let minutes = plan.time.as_secs_f64() / 60.0;
    report.say(format!(
        "\nMixed load on local disk for {} minutes, {} turns a second at most; memory once a second\n",
        figure(minutes),
        figure(plan.turns_per_second)
    ))?;
    let mut load = Load::begin().await?;
    let service = load.door.process.id();
    let used_before = processor(service)?;
    let before = memory(service)?.resident as f64 / MB;
    let watch = Watch::over(service);
    let began = Instant::now();
    let (mut n, mut failed) = (0, None);
    while began.elapsed() < plan.time {
        if let Err(failure) = load.turn(n).await {
            // What was seen until then is told all the same.
            failed = Some(failure);
            break;
        }
        n += 1;
        let next = began + Duration::from_secs_f64(n as f64 / plan.turns_per_second);
        tokio::time::sleep_until(next.into()).await;
    }
    let elapsed = began.elapsed();
    let points = watch.end()?;
    let used = processor(service)? - used_before;
    let share = (used.user + used.system) / 1e6 / elapsed.as_secs_f64();

    let second_half: Vec<_> = points
        .iter()
        .copied()
        .filter(|(at, _)| *at >= elapsed.as_secs_f64() / 2.0)
        .collect();
    let highest = |points: &[(f64, f64)]| points.iter().map(|(_, mb)| *mb).fold(0.0, f64::max);
    let slope = slope(&second_half) * 3600.0;
    report.row("soak.time", elapsed.as_secs_f64() / 60.0, "minutes");
    report.row("soak.requests", load.requests as f64, "requests");
    report.row("soak.tokens_known_late", load.known_late as f64, "tokens");
    report.row("soak.processor", share * 100.0, "% of a core");
    report.row("soak.resident.before", before, "MB");
    report.row("soak.resident.highest", highest(&points), "MB");
    report.row(
        "soak.resident.highest_in_second_half",
        highest(&second_half),
        "MB",
    );
    report.row("soak.resident.slope", slope, "MB/hour");
    let verdict = if plan.time >= JUDGED_FROM {
        report.judge(Aim::AtMost(MB_PER_HOUR_MAX))
    } else {
        "(too short a time to say something)".to_owned()
    };
    let mut table = Table::new(&["", "turns"]);
    for turn in Turn::ALL {
        let turns = (0..n).filter(|n| Turn::number(*n) == turn).count();
        report.row(format!("soak.turns.{}", turn.name()), turns as f64, "turns");
        table.line([turn.name().replace('_', " "), turns.to_string()]);
    }
    report.series("soak.resident", "seconds", "MB", points.clone());
    report.say(&table)?;
    report.say(format!(
        "  {} requests in {} minutes, {} % of a core; resident {} MB before, {} MB at most, {} MB at most in the second half; the line through that half rises by {} MB per hour {verdict}",
        load.requests,
        figure(elapsed.as_secs_f64() / 60.0),
        figure(share * 100.0),
        figure(before),
        figure(highest(&points)),
        figure(highest(&second_half)),
        figure(slope)
    ))?;
    failed.map_or(Ok(()), Err)
}

/// Who does it all.
struct Load {
    door: Door,
    client: Client,
    askers: Vec<Asker>,
    states: States,
    large: States,
    requests: u64,
    known_late: u64,
}

impl Load {
    async fn begin() -> Result<Self, Failure> {
        // Versions go after a day otherwise: a soak of an hour would never see one go.
        let retention = ["-max-versions", "20", "-versions-min-age", "0s"];
        let door =
            Door::open_by(|flags| Process::service(Storage::Local, &[flags, &retention].concat())).await?;
        let client = Client::connect(door.process.address(), "soak").await?;
        let mut load = Self {
            door,
            client,
            askers: Vec::new(),
            states: States::of(STATE_BYTES),
            large: States::of(LARGE_STATE_BYTES),
            requests: 0,
            known_late: 0,
        };
        load.sign_anew().await?;
        Ok(load)
    }

    async fn sign_anew(&mut self) -> Result<(), Failure> {
        self.door.renew(&mut self.client).await?;
        self.askers.clear();
        for unit in 0..UNITS {
            self.askers
                .push(self.door.connect(&format!("soak/s3-{unit}")).await?);
        }
        self.requests += 1;
        Ok(())
    }

    async fn turn(&mut self, n: u64) -> Result<(), Failure> {
        let unit = (n * 7) % UNITS;
        match Turn::number(n) {
            Turn::Apply => self.apply(unit, n).await,
            Turn::S3Apply => self.s3_apply(unit, n).await,
            Turn::Look => self.look(unit).await,
            Turn::Login => self.login().await,
            Turn::Credentials => self.sign_anew().await,
            Turn::Break => self.break_lock(unit, n).await,
            Turn::Output => self.output(n).await,
            Turn::Edge => self.edge(n).await,
            Turn::Large => self.write_large(n).await,
        }
    }

    async fn apply(&mut self, unit: u64, n: u64) -> Result<(), Failure> {
        self.client.about(&format!("soak/unit-{unit}"));
        let lock = self.client.lock().await?;
        // Nothing is there for the first one, which is an answer too.
        let path = format!("/v1/backend/soak/unit-{unit}");
        self.client
            .status_of(Method::GET, &path, &bearer(TOKEN), Bytes::new())
            .await?;
        self.client.write(&self.states.state(n), &lock).await?;
        self.client.unlock(&lock).await?;
        self.requests += 4;
        Ok(())
    }

    async fn s3_apply(&mut self, unit: u64, n: u64) -> Result<(), Failure> {
        let lock = note(&self.client.next_lock()).whole();
        let asker = &mut self.askers[usize::try_from(unit).unwrap_or_default()];
        asker.lock(lock).await?;
        asker.put(self.states.state(n).whole()).await?;
        asker.get(STATE_BYTES).await?;
        asker.unlock().await?;
        self.requests += 4;
        Ok(())
    }

    async fn look(&mut self, unit: u64) -> Result<(), Failure> {
        for path in [
            "/v1/units?limit=100".to_owned(),
            "/v1/status".to_owned(),
            format!("/v1/units/soak__unit-{unit}/versions"),
            "/v1/audit?limit=20".to_owned(),
        ] {
            // A unit that nobody has written yet is not found.
            let (status, said) = self
                .client
                .status_of(Method::GET, &path, &bearer(TOKEN), Bytes::new())
                .await?;
            if !status.is_success() && status != StatusCode::NOT_FOUND {
                return Err(Failure::new(format!(
                    "{path} was answered with {status}: {}",
                    String::from_utf8_lossy(&said)
                )));
            }
            self.requests += 1;
        }
        Ok(())
    }

    async fn login(&mut self) -> Result<(), Failure> {
        let wanted = Bytes::from_static(br#"{"name":"soak","service_account":"bench","days":1}"#);
        let made = self
            .client
            .ask(Method::POST, "/v1/auth/tokens", &bearer(TOKEN), wanted)
            .await?;
        let token = member(&made, "token")?;
        let about: serde_json::Value = serde_json::from_slice(&made).doing("reading an answer")?;
        let id = about["about"]["id"].as_str().unwrap_or_default();
        self.come_in(&token).await?;
        let path = format!("/v1/auth/tokens/{id}");
        self.client
            .ask(Method::DELETE, &path, &bearer(TOKEN), Bytes::new())
            .await?;
        self.requests += 3;
        Ok(())
    }

    /// Asks with a token that was just made. That it is not known yet is counted; that it is not after five seconds, which
    /// is how long a replica may believe what it read, ends the soak.
    async fn come_in(&mut self, token: &str) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            let (status, said) = self
                .client
                .status_of(Method::GET, "/v1/auth/me", &bearer(token), Bytes::new())
                .await?;
            if status.is_success() {
                return Ok(());
            }
            if status != StatusCode::UNAUTHORIZED || began.elapsed() > KNOWN_WITHIN {
                return Err(Failure::new(format!(
                    "a new token was answered with {status}: {}",
                    String::from_utf8_lossy(&said)
                )));
            }
            if began.elapsed() < GLANCE / 10 {
                self.known_late += 1;
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "a client tries again; nothing here is simulated"
            )]
            tokio::time::sleep(GLANCE / 5).await;
        }
    }

    async fn break_lock(&mut self, unit: u64, n: u64) -> Result<(), Failure> {
        let path = format!("/v1/backend/soak/broken-{unit}");
        self.client.about(&format!("soak/broken-{unit}"));
        self.client.write_without_lock(&self.states.state(n)).await?;
        let lock = self.client.lock().await?;
        let broken = format!("/v1/units/soak__broken-{unit}/unlock?force=true");
        self.client
            .ask(Method::DELETE, &broken, &bearer(TOKEN), Bytes::new())
            .await?;
        let late = self.states.state(n + 1).whole();
        let (status, _) = self
            .client
            .status_of(Method::POST, &format!("{path}?ID={lock}"), &bearer(TOKEN), late)
            .await?;
        self.requests += 4;
        match status {
            StatusCode::CONFLICT => Ok(()),
            other => Err(Failure::new(format!(
                "a write under a broken lock was answered with {other}"
            ))),
        }
    }

    /// A unit with one output, which others take.
    async fn output(&mut self, n: u64) -> Result<(), Failure> {
        let state = format!(
            r#"{{"version":4,"serial":{n},"lineage":"soak","outputs":{{"x":{{"value":"{n}","type":"string"}}}},"resources":[]}}"#
        );
        self.client
            .ask(
                Method::POST,
                "/v1/backend/soak/source",
                &bearer(TOKEN),
                state.into(),
            )
            .await?;
        self.requests += 1;
        Ok(())
    }

    /// The graph as a user's workspace writes it, with another number of edges each time.
    async fn edge(&mut self, n: u64) -> Result<(), Failure> {
        let mut instances = String::new();
        for edge in 0..10 + n / 100 % 3 {
            let comma = if edge == 0 { "" } else { "," };
            write!(
                instances,
                r#"{comma}{{"index_key":"{edge}","schema_version":0,"attributes":{{"from_unit_id":"soak/source","from_output":"x","to_unit_id":"soak/unit-{edge}","to_input":"x"}}}}"#
            )
            .expect("a String takes all");
        }
        let graph = format!(
            r#"{{"version":4,"serial":{},"lineage":"graph","outputs":{{}},"resources":[{{"mode":"managed","type":"opentaco_dependency","name":"edge","instances":[{instances}]}}]}}"#,
            n + 1
        );
        self.client
            .ask(
                Method::POST,
                "/v1/backend/__opentaco_system",
                &bearer(TOKEN),
                graph.into(),
            )
            .await?;
        self.requests += 1;
        Ok(())
    }

    async fn write_large(&mut self, n: u64) -> Result<(), Failure> {
        self.client.about("soak/large");
        let state = self.large.state(n);
        self.client.write_without_lock(&state).await?;
        self.client.read_and_compare(&state).await?;
        self.requests += 2;
        Ok(())
    }
}

/// Looks at the memory of a process once a second.
struct Watch {
    enough: Arc<AtomicBool>,
    watching: JoinHandle<Result<Vec<(f64, f64)>, Failure>>,
}

impl Watch {
    fn over(process: u32) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&enough);
        let watching = std::thread::spawn(move || {
            let began = Instant::now();
            let mut points = Vec::new();
            while !asked.load(Ordering::Relaxed) {
                let at = began.elapsed().as_secs_f64();
                let megabytes = memory(process)?.resident as f64 / MB;
                points.push(((at * 10.0).round() / 10.0, (megabytes * 100.0).round() / 100.0));
                let next = GLANCE * u32::try_from(points.len()).unwrap_or(u32::MAX);
                std::thread::sleep(next.saturating_sub(began.elapsed()));
            }
            Ok(points)
        });
        Self { enough, watching }
    }

    fn end(self) -> Result<Vec<(f64, f64)>, Failure> {
        self.enough.store(true, Ordering::Relaxed);
        self.watching
            .join()
            .map_err(|_| Failure::new("whoever looked at the memory is gone"))?
    }
}

/// How steep the line is that fits these points best, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len().max(1) as f64;
    let middle = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (middle(|point| point.0), middle(|point| point.1));
    let (mut together, mut across) = (0.0, 0.0);
    for point in points {
        together += (point.0 - x) * (point.1 - y);
        across += (point.0 - x) * (point.0 - x);
    }
    if across == 0.0 { 0.0 } else { together / across }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_through_points_that_lie_on_one_is_that_line() {
        let rising: Vec<_> = (0..10)
            .map(|n| (f64::from(n), 3.0 + 0.5 * f64::from(n)))
            .collect();
        assert!((slope(&rising) - 0.5).abs() < 1e-9);
        assert!(slope(&[(1.0, 5.0)]).abs() < 1e-9);
    }

    #[test]
    fn every_kind_of_turn_comes_in_a_hundred() {
        for turn in Turn::ALL {
            assert!((0..100).any(|n| Turn::number(n) == turn), "{turn:?}");
        }
    }
}
