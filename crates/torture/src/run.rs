//! One run, from an empty bucket to a verdict.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use opentaco_domain::limits;
use opentaco_sim::bucket::Ledger;
use opentaco_storage::Retention;
use opentaco_testkit::issuer::TokenIssuer;
use opentaco_testkit::s3_server::{ACCESS, S3Server, SECRET};
use serde_json::Value;

use crate::clients::{GRAPH, S3_CLIENTS, World};
use crate::dice::Dice;
use crate::door::Door;
use crate::fleet::{self, Disk, Fleet, Start};
use crate::history::Kept;
use crate::hold;
use crate::outside::{self, Listed};
use crate::verdict::{self, Aims, Counts, Verdict};
use crate::wire::{Wire, eventually};

const BUCKET: &str = "torture";
/// More versions than this are pruned, so that pruning and collecting are tortured too.
const VERSIONS_MAX: usize = 12;
/// How long everybody may take to stop when time is up.
const STOPPING: Duration = Duration::from_secs(60);

/// Where states rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// On a real S3 server, behind a proxy.
    S3,
    /// On local disk, below one replica.
    Disk,
}

/// The platform that issues tokens to CI jobs; none while it is down.
type Platform = Arc<Mutex<Option<TokenIssuer>>>;

/// What is run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The service.
    pub program: PathBuf,
    /// Where states rest.
    pub store: Store,
    /// For how many seconds.
    pub seconds: u64,
    /// Which faults are drawn.
    pub seed: u64,
    /// A rule of the protocol that is taken away; the service has to be built with the feature `planted`.
    pub bug: Option<String>,
    /// How much has to happen.
    pub aims: Aims,
    /// Where its history goes.
    pub keep: Option<PathBuf>,
}

/// Tortures the service.
///
/// # Errors
/// If it cannot be begun, or its history cannot be written; what it came to is the verdict's.
pub async fn run(plan: &Plan) -> Result<Verdict, String> {
    let home = tempfile::tempdir().map_err(|error| format!("a temporary directory: {error}"))?;
    let dice = Dice::new(plan.seed);
    let key = home.path().join("key.pem");
    new_key(&plan.program, &key)?;
    let platform = TokenIssuer::start();
    let url = platform.url();
    let auth = format!(
        "provider: {{ issuer: {url}, client_id: taco }}\nci:\n  - issuer: {url}\n    audience: https://taco.example.com\n    rules:\n      - when: {{ repository: acme/infra }}\n        principal: \"ci:github:{{repository}}\"\n        roles: [worker]\n"
    );
    std::fs::write(home.path().join("auth.yaml"), auth).map_err(|error| error.to_string())?;
    let platform = Arc::new(Mutex::new(Some(platform)));
    match plan.store {
        Store::S3 => on_s3(plan, home.path(), &key, dice, platform).await,
        Store::Disk => on_disk(plan, home.path(), &key, dice, platform).await,
    }
}

fn new_key(program: &Path, key: &Path) -> Result<(), String> {
    let made = Command::new(program)
        .args(["keys", "new", "--out"])
        .arg(key)
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    match made.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&made.stderr).into_owned()),
    }
}

fn flags(home: &Path, index: usize, key: &Path, more: &[&str]) -> Vec<String> {
    let data = home.join(format!("replica-{index}/data"));
    let mut flags: Vec<String> = [
        "-audit-sync",
        "-log-level",
        "warn",
        "-versions-min-age",
        "0s",
        "-sts-ttl",
        "60s",
    ]
    .map(str::to_owned)
    .into();
    let auth = home.join("auth.yaml");
    for (flag, value) in [
        ("-data-dir", &*data),
        ("-tokens-private-key-pem-path", key),
        ("-auth-config", &auth),
    ] {
        flags.push(flag.to_owned());
        flags.push(value.display().to_string());
    }
    flags.extend(more.iter().map(|flag| (*flag).to_owned()));
    flags
}

async fn on_s3(
    plan: &Plan,
    home: &Path,
    key: &Path,
    dice: Dice,
    platform: Platform,
) -> Result<Verdict, String> {
    const REPLICAS: usize = 3;
    let server = S3Server::start();
    server.bucket(BUCKET);
    let port = server
        .endpoint()
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    let port = port.ok_or("the S3 server has no port")?;
    let by_hand = server.by_hand(BUCKET).await;
    let wire = Wire::new(port, BUCKET, REPLICAS, by_hand, dice.clone());
    let ports = fleet::ports(REPLICAS);
    let mut starts = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let way = wire.open(index).await.map_err(|error| error.to_string())?;
        let endpoint = format!("http://127.0.0.1:{way}");
        let versions = VERSIONS_MAX.to_string();
        let more = [
            "-s3-bucket",
            BUCKET,
            "-s3-endpoint",
            &endpoint,
            "-s3-region",
            "us-east-1",
            "-max-versions",
            &versions,
        ];
        let environment = [("AWS_ACCESS_KEY_ID", ACCESS), ("AWS_SECRET_ACCESS_KEY", SECRET)];
        let start = Start {
            flags: flags(home, index, key, &more),
            environment: with_bug(plan, &environment),
            // S3 takes nothing that is signed a quarter of an hour off.
            clock: 600,
        };
        starts.push((*port, start));
    }
    let reborn = wire.clone();
    let fleet = Fleet::start(plan.program.clone(), home, starts, dice.clone(), move |index| {
        reborn.reborn(index);
    })?;
    let clock = wire.clone();
    let door = Door::new(ports, dice.clone(), move || clock.now());
    let work = Work {
        plan,
        fleet: fleet.clone(),
        door: door.clone(),
        wire: Some(wire.clone()),
        dice,
        platform,
    };
    let done = work.done().await?;
    let kept = Kept {
        ledger: wire.ledger(),
        records: door.records(),
        by_hand: done.world.by_hand(),
        retention: Retention {
            versions_max: VERSIONS_MAX,
            versions_min_age: Duration::ZERO,
            collect_every: limits::COMMITS_BETWEEN_COLLECTIONS,
        },
        now: wire.now(),
    };
    work.come_to(done, &kept, || {
        let mut broken = verdict::checked(&kept);
        for key in wire.unclear() {
            broken.push(format!("the S3 server gave no answer about {key}"));
        }
        let objects = kept.ledger.objects.iter();
        let segments = objects
            .filter(|(key, _)| key.starts_with("__opentaco_audit/"))
            .map(|(key, bytes)| (key.clone(), bytes.clone()))
            .collect();
        Seen { broken, segments }
    })
}

async fn on_disk(
    plan: &Plan,
    home: &Path,
    key: &Path,
    dice: Dice,
    platform: Platform,
) -> Result<Verdict, String> {
    let ports = fleet::ports(1);
    // Nobody sees the bucket, so every version has to be there in the end.
    let more = ["-storage", "local", "-max-versions", "100000"];
    let start = Start {
        flags: flags(home, 0, key, &more),
        environment: with_bug(plan, &[]),
        clock: 3600,
    };
    let fleet = Fleet::start(
        plan.program.clone(),
        home,
        vec![(ports[0], start)],
        dice.clone(),
        |_| {},
    )?;
    let started = Instant::now();
    let now = move || u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let door = Door::new(ports, dice.clone(), now);
    let work = Work {
        plan,
        fleet: fleet.clone(),
        door: door.clone(),
        wire: None,
        dice,
        platform,
    };
    let done = work.done().await?;
    let kept = Kept {
        ledger: Ledger::default(),
        records: door.records(),
        by_hand: Vec::new(),
        retention: Retention::default(),
        now: now(),
    };
    let mut broken = Vec::new();
    for unit in kept.units() {
        let versions = listed(&done.world, unit.as_str()).await?;
        let records: Vec<_> = kept
            .records
            .iter()
            .filter(|record| record.unit == unit)
            .cloned()
            .collect();
        // The service merges what it knows into the graph on the way in: those bytes are nobody's.
        if unit.as_str() != GRAPH {
            broken.extend(outside::judge(&unit, &records, &versions));
        }
    }
    work.come_to(done, &kept, || {
        let mut segments = BTreeMap::new();
        gather(
            &home.join("replica-0/data/bucket/__opentaco_audit"),
            &mut segments,
        );
        Seen { broken, segments }
    })
}

/// How often the disk goes bad, for a second or two.
const DISK_EVERY_SECONDS: u64 = 10;

fn with_bug(plan: &Plan, environment: &[(&str, &str)]) -> Vec<(String, String)> {
    let bug = plan.bug.as_deref().map(|bug| ("OPENTACO_PLANTED", bug));
    // All replicas make and know the same S3 credentials.
    let sts = [
        ("OPENTACO_STS_KID", "torture"),
        ("OPENTACO_STS_HMAC_torture", "0123456789abcdef0123456789abcdef"),
    ];
    environment
        .iter()
        .copied()
        .chain(sts)
        .chain(bug)
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Lines of a log that no service should write.
fn panics(logs: &[String]) -> Vec<String> {
    let lines = logs.iter().flat_map(|log| log.lines());
    lines
        .filter(|line| line.contains("panicked at"))
        .map(|line| format!("a replica panicked: {line}"))
        .collect()
}

fn gather(directory: &Path, into: &mut BTreeMap<String, Bytes>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            gather(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "jsonl")
            && let Ok(bytes) = std::fs::read(&path)
        {
            into.insert(path.display().to_string(), Bytes::from(bytes));
        }
    }
}

async fn jwks(world: &World) -> Result<Bytes, String> {
    let answer = world.insist("end", "GET", "/oidc/jwks.json", Bytes::new()).await;
    Ok(answer.ok_or("nobody tells the keys of the audit")?.into_body())
}

/// All versions of a unit, page by page, oldest first.
async fn listed(world: &World, unit: &str) -> Result<Vec<Listed>, String> {
    let mut versions = Vec::new();
    let mut token = String::new();
    loop {
        let path = format!("/v1/units/{}/versions?limit=500{token}", unit.replace('/', "%2F"));
        let answer = world.insist("end", "GET", &path, Bytes::new()).await;
        let answer = answer.ok_or_else(|| format!("nobody lists the versions of {unit}"))?;
        let told: Value = serde_json::from_slice(answer.body()).map_err(|error| error.to_string())?;
        for version in told["versions"].as_array().into_iter().flatten() {
            let name = version["version"].as_str().unwrap_or_default();
            let sha256 = version["sha256"].as_str().unwrap_or_default();
            let digest = sha256.parse().map_err(|_| format!("{sha256} is no digest"))?;
            versions.push(Listed {
                epoch: name
                    .parse::<opentaco_domain::VersionId>()
                    .map_err(|error| format!("{name}: {error}"))?
                    .epoch,
                sha256: digest,
                written: version["origin"] == "write",
            });
        }
        match told["next_page_token"].as_str() {
            Some(next) => token = format!("&page_token={next}"),
            None => break,
        }
    }
    versions.sort_by_key(|listed| listed.epoch);
    Ok(versions)
}

/// The platform of CI jobs goes away for a while and comes back, each time with another key.
async fn outages(platform: Platform, dice: Dice, is_over: Arc<AtomicBool>) {
    while !is_over.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_secs(5) + dice.up_to(10_000)).await;
        let gone = hold(&platform).take();
        let Some(gone) = gone else { continue };
        let address = gone.url().trim_start_matches("http://").to_owned();
        let _ended = tokio::task::spawn_blocking(move || drop(gone)).await;
        tokio::time::sleep(dice.up_to(3000)).await;
        while let Err(_busy) = std::net::TcpListener::bind(&address).map(|listener| {
            *hold(&platform) = Some(TokenIssuer::on(listener));
        }) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Everybody at work, until time is up and all is quiet.
struct Work<'a> {
    plan: &'a Plan,
    fleet: Fleet,
    door: Door,
    wire: Option<Wire>,
    dice: Dice,
    platform: Platform,
}

/// Time is up and all is quiet; the replicas still answer.
struct Done {
    /// Who worked.
    world: World,
    /// What the graph was missing in the end.
    reconciled: Vec<String>,
    /// The keys of the audit.
    jwks: Bytes,
}

/// What the store shows when nobody writes to it any more.
struct Seen {
    broken: Vec<String>,
    /// The segments of the audit, by their names.
    segments: BTreeMap<String, Bytes>,
}

impl Work<'_> {
    /// Everybody works, until time is up and all is quiet.
    async fn done(&self) -> Result<Done, String> {
        let at = self.door.open().await.map_err(|error| error.to_string())?;
        let is_over = Arc::new(AtomicBool::new(false));
        let world = World::new(at, self.dice.clone(), Arc::clone(&is_over));
        self.until_ready(&world).await?;
        world.prepare().await?;
        let watched = tokio::spawn(self.fleet.clone().watch());
        self.rough(true);
        let mut at_work = self.everybody(&world);
        let seconds = Duration::from_secs(self.plan.seconds);
        // Two minutes are longer than anybody waits; in a short run, a tenth of it.
        let stop_max = Duration::from_secs(120).min(seconds / 10);
        at_work.push(tokio::spawn(fleet::misfortune(
            self.fleet.clone(),
            self.dice.clone(),
            Duration::from_millis(2_200),
            stop_max,
            Arc::clone(&is_over),
        )));
        at_work.push(tokio::spawn(outages(
            Arc::clone(&self.platform),
            self.dice.clone(),
            Arc::clone(&is_over),
        )));
        let until = Instant::now() + seconds;
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_secs(DISK_EVERY_SECONDS).min(until - Instant::now())).await;
            if self.plan.store == Store::Disk && Instant::now() < until {
                let how = *self.dice.one(&[Disk::Full, Disk::ReadOnly]);
                self.fleet.spoil_disks(how, self.dice.up_to(2000)).await;
            }
        }
        is_over.store(true, Ordering::SeqCst);
        self.rough(false);
        let all = futures::future::join_all(at_work);
        if tokio::time::timeout(STOPPING, all).await.is_err() {
            return Err("somebody works on though time is up".to_owned());
        }
        // Whoever stands still is killed, and with that everything that anybody remembers is gone.
        self.fleet.renew();
        self.until_ready(&world).await?;
        let (door, wire) = (self.door.clone(), self.wire.clone());
        let is_quiet = move || door.is_quiet() && wire.as_ref().is_none_or(Wire::is_quiet);
        if !eventually(STOPPING, is_quiet).await {
            return Err("a request is under way though all is quiet".to_owned());
        }
        let reconciled = self.looked_at(&world).await?;
        watched.abort();
        let jwks = jwks(&world).await?;
        Ok(Done {
            world,
            reconciled,
            jwks,
        })
    }

    /// Ends the replicas and keeps the history, looks at the store only then, and says what all of it came to.
    fn come_to(&self, done: Done, kept: &Kept, look: impl FnOnce() -> Seen) -> Result<Verdict, String> {
        let Done {
            world,
            reconciled,
            jwks,
        } = done;
        let logs = self.fleet.logs();
        let (kills, stops, starts_failed) = self.fleet.counts();
        self.fleet.end();
        if let Some(directory) = &self.plan.keep {
            kept.write(directory)
                .map_err(|error| format!("{}: {error}", directory.display()))?;
        }
        let Seen { broken, segments } = look();
        let (audit_events, audited) = verdict::audited(&segments, &jwks, &kept.records);
        let (bucket_requests, bucket_faults) = self.wire.as_ref().map(Wire::counts).unwrap_or_default();
        let disk_faults = match self.plan.store {
            Store::S3 => 0,
            Store::Disk => self.plan.seconds / DISK_EVERY_SECONDS,
        };
        let counts = Counts {
            kills,
            stops,
            starts_failed,
            takeovers: world.takeovers(),
            applies: world.applies(),
            jobs: world.jobs(),
            bucket_requests,
            bucket_faults,
            door_faults: self.door.faults(),
            disk_faults,
            audit_events,
            ..verdict::counted(&kept.records)
        };
        let mut verdict = Verdict {
            counts,
            broken: [reconciled, broken, audited, panics(&logs)].concat(),
            missed: Vec::new(),
        };
        verdict.measure(self.plan.aims);
        Ok(verdict)
    }

    fn rough(&self, rough: bool) {
        self.door.rough(rough);
        if let Some(wire) = &self.wire {
            wire.rough(rough);
        }
    }

    async fn until_ready(&self, world: &World) -> Result<(), String> {
        let until = Instant::now() + STOPPING;
        let mut in_a_row = 0;
        while in_a_row < 3 * self.fleet.len() {
            let answer = world.once("end", "GET", "/readyz", Bytes::new()).await;
            match answer.is_some_and(|answer| answer.status().is_success()) {
                true => in_a_row += 1,
                false => {
                    in_a_row = 0;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            if Instant::now() > until {
                return Err(format!(
                    "the replicas are not ready:\n{}",
                    self.fleet.logs().join("\n")
                ));
            }
        }
        Ok(())
    }

    fn everybody(&self, world: &World) -> Vec<tokio::task::JoinHandle<()>> {
        let units = |prefix: &str, count: usize| -> Arc<Vec<String>> {
            Arc::new((0..count).map(|n| format!("{prefix}-{n}")).collect())
        };
        let (apps, managed, by_hand) = (units("app", 48), units("managed", 4), units("hand", 3));
        let mut at_work = Vec::new();
        for n in 0..32 {
            at_work.push(tokio::spawn(
                world.clone().worker(format!("worker-{n}"), Arc::clone(&apps)),
            ));
        }
        at_work.push(tokio::spawn(
            world
                .clone()
                .without_locks("lockless".to_owned(), Arc::clone(&apps)),
        ));
        for n in 0..2 {
            let name = format!("manager-{n}");
            at_work.push(tokio::spawn(world.clone().manager(name, Arc::clone(&managed))));
        }
        at_work.push(tokio::spawn(
            world.clone().reader("reader".to_owned(), Arc::clone(&apps)),
        ));
        for n in 0..2 {
            at_work.push(tokio::spawn(world.clone().grapher(format!("grapher-{n}"))));
        }
        if let Some(wire) = &self.wire {
            at_work.push(tokio::spawn(
                world.clone().person(wire.clone(), Arc::clone(&by_hand)),
            ));
            at_work.push(tokio::spawn(world.clone().worker("by-hand".to_owned(), by_hand)));
        }
        for n in 0..S3_CLIENTS {
            at_work.push(tokio::spawn(world.clone().s3(n, units("object", 4))));
        }
        at_work.push(tokio::spawn(world.clone().administrator()));
        at_work.push(tokio::spawn(
            world.clone().job(Arc::clone(&self.platform), "job".to_owned()),
        ));
        let terraform = world.clone();
        at_work.push(tokio::task::spawn_blocking(move || {
            terraform.terraform("real/terraform");
        }));
        at_work
    }

    /// All is quiet: everybody's state is read twice, and the graph is compared with what the states say.
    async fn looked_at(&self, world: &World) -> Result<Vec<String>, String> {
        let mut units: Vec<_> = self
            .door
            .records()
            .into_iter()
            .map(|record| record.unit)
            .collect();
        units.sort();
        units.dedup();
        for unit in &units {
            for _ in 0..2 {
                world
                    .once("end", "GET", &format!("/v1/backend/{unit}"), Bytes::new())
                    .await;
            }
        }
        // Behind the answers, whoever owes the graph something gives it within seconds.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let answer = world
            .insist("end", "POST", "/v1/graph/reconcile", Bytes::new())
            .await;
        let answer = answer.ok_or("nobody reconciles the graph")?;
        let told: Value = serde_json::from_slice(answer.body()).map_err(|error| error.to_string())?;
        let changed = told["changed"].as_array().cloned().unwrap_or_default();
        Ok(changed
            .iter()
            .map(|edge| format!("the graph was not as the states say: {edge}"))
            .collect())
    }
}
