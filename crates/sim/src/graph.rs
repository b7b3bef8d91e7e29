//! Histories of the graph: units are written while people apply the graph's own unit, on replicas that remember, die and
//! stand still, over a bucket that lies.
//!
//! What is promised ([`PROMISES`]) is checked from the bucket, which saw every head and every document in order, and from
//! what people were told. What an output is worth is computed here from the states that lie there.

mod check;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, select};
use futures::{FutureExt, TryStreamExt, future};
use opentaco_control::{ControlError, Door, LockRequest, StateControl, StateWrite};
use opentaco_domain::access::AllowAll;
use opentaco_domain::graph::document::OWNED;
use opentaco_domain::graph::{Document, EdgeEnds, UnitStatus};
use opentaco_domain::{Caller, Holding, LockId, LockInfo, Principal, UnitId};
use opentaco_storage::head::Head;
use opentaco_storage::{Retention, Vault};

pub use self::check::check;
use crate::bucket::{SimBucket, Sort, Weather};
use crate::executor::{Executor, Group, Instant, hold};
use crate::promise;
use crate::replicas::{Life, Replicas};

/// The units at the ends of edges.
const UNITS: [&str; 4] = ["a", "b", "c", "d"];
/// Their outputs.
const OUTPUTS: [&str; 2] = ["x", "y"];
/// Another one, that nothing depends on, which is written when all is quiet: what is left undone is done then.
const LAST: &str = "last";
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often Terraform sends a request.
const ATTEMPTS: u64 = 3;
/// A history that takes more polls than this does not end by itself.
const POLLS_MAX: u64 = 1_000_000;

/// What is promised, by name.
pub const PROMISES: &[(&str, &str)] = &[
    ("it-ends", "every history comes to its end"),
    (
        "no-write-fails",
        "no write of a unit is refused, or waits, because of the graph",
    ),
    (
        "graph-goes-on",
        "each version of the graph follows the one before it, and the service changes nothing in it but what is its own",
    ),
    (
        "sent-is-stored",
        "what Terraform sends of the graph is stored as it is sent, but for what is known of the edges",
    ),
    (
        "known-stays-known",
        "what is known of an edge is replaced by nothing that Terraform sends",
    ),
    (
        "acknowledged-is-there",
        "a write of the graph or of a unit that is answered was committed",
    ),
    (
        "edges-speak-truth",
        "what an edge says of a version was so in that version",
    ),
    (
        "taken-is-what-was-seen",
        "no unit is said to have taken a value that came after its write was answered",
    ),
    (
        "edges-follow",
        "when all is quiet, each edge says what the states say, but where a replica died with its news",
    ),
    (
        "debts-are-paid",
        "what the graph is owed is done by whoever owes it",
    ),
    (
        "status-fits",
        "the colour that is told of a unit was that of the graph at some moment of the request",
    ),
    (
        "unreadable-is-no-colour",
        "where the graph cannot be read, no colour is told",
    ),
];

/// What somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ask {
    /// A state of a unit.
    Write(&'static str, Bytes),
    /// The end of a unit.
    Delete(&'static str),
    /// The colour of a unit.
    Status(&'static str),
    /// The lock of the graph.
    Lock(LockId),
    /// And back.
    Unlock(LockId),
    /// Whoever holds the graph holds it no more.
    Break,
    /// The graph.
    Read,
    /// The graph, as it is to be.
    Post(Bytes, Option<LockId>),
}

/// What they were told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Done,
    Graph(Bytes),
    Colour(UnitStatus),
    /// The graph is unreadable.
    Unreadable,
    /// There is no such thing.
    Missing,
    /// Somebody holds it, or the lock is over, or it comes late.
    Refused,
    /// Committed, and not copied yet; or nobody can say; or no answer came.
    Unsure,
}

#[derive(Debug, Clone)]
struct Asked {
    who: String,
    of: Life,
    ask: Ask,
    told: Told,
    from: Instant,
    /// When its replica got to know of it, which may have stood still when its client gave up.
    begun: Arc<OnceLock<Instant>>,
    until: Instant,
}

/// Everything that can be known of a history.
#[derive(Debug, Clone)]
pub struct History {
    /// Every head of the graph's unit and of the others, by the name of the unit.
    heads: BTreeMap<String, Vec<(Instant, Head)>>,
    /// The bytes of every version object that ever lay in the bucket, by its name.
    versions: BTreeMap<String, Bytes>,
    asked: Vec<Asked>,
    /// Lives of replicas that died with something undone, or owe something when all is quiet.
    indebted: Vec<Life>,
    unpaid: Vec<Life>,
    /// What a reconciliation by a fresh replica had to mend when all was quiet; none if it could not be made.
    mended: Option<Vec<EdgeEnds>>,
    /// Nothing went wrong but what people did to each other.
    calm: bool,
    ended: bool,
    /// Everything that happened, for people.
    pub lines: Vec<(Instant, String)>,
}

impl History {
    /// How many writes of units there were, and how many of the graph by people.
    #[must_use]
    pub fn writes(&self) -> (usize, usize) {
        let count =
            |is_it: &dyn Fn(&Ask) -> bool| self.asked.iter().filter(|asked| is_it(&asked.ask)).count();
        (
            count(&|ask| matches!(ask, Ask::Write(..) | Ask::Delete(_))),
            count(&|ask| matches!(ask, Ask::Post(..))),
        )
    }

    /// How many versions the graph had.
    #[must_use]
    pub fn versions_of_the_graph(&self) -> usize {
        self.heads.get(UnitId::graph().as_str()).map_or(0, Vec::len)
    }
}

#[derive(Clone)]
struct World {
    executor: Executor,
    bucket: SimBucket,
    replicas: Replicas<StateControl>,
    asked: Arc<Mutex<Vec<Asked>>>,
    indebted: Arc<Mutex<Vec<Life>>>,
    unpaid: Arc<Mutex<Vec<Life>>>,
    mended: Arc<Mutex<Option<Vec<EdgeEnds>>>>,
    counter: Arc<Mutex<u64>>,
    /// Which number comes next in a state of each unit.
    serials: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

/// Plays the history of a seed to its end.
#[must_use]
pub fn play(seed: u64) -> History {
    let executor = Executor::new(seed);
    let faults = executor.one_of(&[0, 0, 10, 40, 120]);
    let misfortune = executor.chance(500);
    let bucket = SimBucket::new(executor.clone(), Weather { faults: 0 });
    if executor.chance(150) {
        bucket.tag_by_digest();
    }
    let world = World {
        executor: executor.clone(),
        replicas: Replicas::new(&executor, &bucket),
        bucket,
        asked: Arc::default(),
        indebted: Arc::default(),
        unpaid: Arc::default(),
        mended: Arc::default(),
        counter: Arc::default(),
        serials: Arc::default(),
    };
    let living = world.clone();
    let ended = executor.play(async move { living.live(faults, misfortune).await }, POLLS_MAX);
    world.history(faults == 0 && !misfortune, ended)
}

impl World {
    async fn live(&self, faults: u32, misfortune: bool) {
        for index in 0..1 + self.executor.index(3) {
            self.replicas.put((index, 0), self.start((index, 0)));
        }
        self.bucket.set_weather(Weather { faults });
        let mut actors: Vec<BoxFuture<'_, ()>> = Vec::new();
        for unit in UNITS {
            for _ in 0..1 + self.executor.below(2) {
                actors.push(self.writer(unit).boxed());
            }
        }
        for number in 0..1 + self.executor.below(3) {
            actors.push(self.planner(format!("planner{number}")).boxed());
        }
        actors.push(self.onlooker().boxed());
        if self.executor.chance(500) {
            actors.push(self.breaker().boxed());
        }
        if misfortune {
            actors.push(self.misfortune().boxed());
        }
        future::join_all(actors).await;
        self.quiet().await;
    }

    /// Everybody is done: the weather clears, what hangs lands, what is owed is paid, and a fresh replica looks.
    async fn quiet(&self) {
        self.bucket.set_weather(Weather { faults: 0 });
        self.bucket.clear_up();
        self.executor.sleep(Duration::from_secs(4000)).await;
        // Whoever writes next looks at what nobody has looked at yet.
        let bytes = self.state(LAST);
        self.insist("end", Ask::Write(LAST, bytes)).await;
        self.executor.sleep(Duration::from_secs(60)).await;
        for (life, control) in self.replicas.all() {
            if control.graph_counts().1 > 0 {
                hold(&self.unpaid).push(life);
            }
            self.replicas.crash(life);
        }
        let fresh = (self.replicas.count(), 0);
        let control = self.start(fresh);
        let work = async move { control.reconcile_graph(&somebody("end"), None).await };
        if let Some(Ok(found)) = self.replicas.ask(fresh, Duration::from_secs(600), work).await {
            let ends = found.changed.into_iter().map(|edge| edge.ends);
            *hold(&self.mended) = Some(ends.collect());
        }
        self.replicas.crash(fresh);
    }

    /// Mostly short, at times long enough for a lock to be broken or a late request to land.
    async fn dawdle(&self) {
        let millis_max = self.executor.one_of(&[1000, 1000, 3000, 10_000, 120_000]);
        self.executor.rest(millis_max).await;
    }

    /// Any moment; often a bad one, just after something has changed.
    async fn moment(&self) {
        if self.executor.chance(400) {
            return self.dawdle().await;
        }
        let patience = Duration::from_secs(1 + self.executor.below(20));
        select(self.bucket.next_change(), Box::pin(self.executor.sleep(patience))).await;
        self.executor.rest(120).await;
    }

    fn start(&self, life: Life) -> StateControl {
        let (bucket, _) = self.replicas.ground(life);
        let vault = Vault::new(bucket, Retention::default());
        StateControl::new(vault, Arc::new(AllowAll), "simulated").keeping_up()
    }

    fn restart(&self, life: Life, control: &StateControl) {
        if control.graph_counts().1 > 0 {
            hold(&self.indebted).push(life);
        }
        self.replicas.restart(life, |next| self.start(next));
    }

    fn number(&self) -> u64 {
        let mut counter = hold(&self.counter);
        *counter += 1;
        *counter
    }

    fn lock_id(&self) -> LockId {
        let number = self.number();
        LockId::parse(&format!("00000000-0000-4000-8000-{number:012}")).expect("a UUID is a lock id")
    }

    /// The next state of a unit. Its outputs have few values, so that they come back.
    fn state(&self, unit: &'static str) -> Bytes {
        let serial = {
            let mut serials = hold(&self.serials);
            let serial = serials.entry(unit).or_default();
            *serial += 1;
            *serial
        };
        let mut outputs = String::new();
        for output in OUTPUTS {
            // At times there is no such output.
            if self.executor.chance(50) {
                continue;
            }
            let comma = if outputs.is_empty() { "" } else { "," };
            let value = self.executor.below(3);
            let _ = write!(
                outputs,
                r#"{comma}"{output}":{{"value":"{unit}{value}","type":"string"}}"#
            );
        }
        let number = self.number();
        Bytes::from(format!(
            r#"{{"version":4,"serial":{serial},"lineage":"{unit}","outputs":{{{outputs}}},"resources":[],"by":{number}}}"#
        ))
    }

    /// One request to some replica.
    async fn ask(&self, who: &str, ask: Ask) -> Told {
        let (life, control) = self.replicas.any();
        let from = self.executor.now();
        let patience = match self.executor.chance(60) {
            true => Duration::from_millis(self.executor.below(2000)),
            false => PATIENCE,
        };
        let (name, what) = (who.to_owned(), ask.clone());
        let begun = Arc::new(OnceLock::new());
        let (executor, begins) = (self.executor.clone(), begun.clone());
        let work = async move {
            let _ = begins.set(executor.now());
            perform(&control, &name, what).await
        };
        let told = self.replicas.ask(life, patience, work).await;
        let told = told.unwrap_or(Told::Unsure);
        hold(&self.asked).push(Asked {
            who: who.to_owned(),
            of: life,
            ask,
            told: told.clone(),
            from,
            begun,
            until: self.executor.now(),
        });
        told
    }

    /// The same request up to three times, as Go's retrying client sends it.
    async fn insist(&self, who: &str, ask: Ask) -> Told {
        for attempt in 1..=ATTEMPTS {
            let told = self.ask(who, ask.clone()).await;
            if told != Told::Unsure {
                return told;
            }
            self.executor.sleep(Duration::from_secs(attempt)).await;
        }
        Told::Unsure
    }

    /// Whoever writes one of the units, again and again.
    async fn writer(&self, unit: &'static str) {
        for _ in 0..2 + self.executor.below(6) {
            self.moment().await;
            let who = format!("writer of {unit}");
            match self.executor.chance(60) {
                true => self.insist(&who, Ask::Delete(unit)).await,
                false => self.insist(&who, Ask::Write(unit, self.state(unit))).await,
            };
        }
    }

    /// Whoever looks at the colours.
    async fn onlooker(&self) {
        for _ in 0..20 {
            self.moment().await;
            let unit = self.executor.one_of(&UNITS);
            self.ask("onlooker", Ask::Status(unit)).await;
        }
    }

    /// Whoever breaks the lock of the graph.
    async fn breaker(&self) {
        for _ in 0..1 + self.executor.below(3) {
            self.executor.rest(60_000).await;
            self.moment().await;
            self.ask("breaker", Ask::Break).await;
        }
    }

    /// `terraform apply` in the workspace of the graph.
    async fn planner(&self, who: String) {
        for _ in 0..1 + self.executor.below(4) {
            self.moment().await;
            // `-lock=false`, at times.
            let lock = Some(self.lock_id()).filter(|_| !self.executor.chance(150));
            if let Some(id) = &lock {
                let mut told = self.insist(&who, Ask::Lock(id.clone())).await;
                for _ in 0..3 {
                    if told != Told::Refused {
                        break;
                    }
                    self.executor.rest(5000).await;
                    told = self.insist(&who, Ask::Lock(id.clone())).await;
                }
                if told != Told::Done {
                    continue;
                }
            }
            let mut plan = match self.insist(&who, Ask::Read).await {
                Told::Graph(bytes) => Plan::of(&bytes),
                Told::Missing => Plan::default(),
                _ => continue,
            };
            for _ in 0..1 + self.executor.below(2) {
                plan.change(self);
                // An apply takes its time, and knows no better than when it began.
                self.dawdle().await;
                let unreadable = self.executor.chance(40);
                let bytes = plan.spelled(unreadable, self.number());
                let told = self.insist(&who, Ask::Post(bytes, lock.clone())).await;
                if told == Told::Refused {
                    break;
                }
            }
            if let Some(id) = lock
                && !self.executor.chance(100)
            {
                self.insist(&who, Ask::Unlock(id)).await;
            } else if self.executor.chance(500) {
                // Whoever finds the lock of somebody who died breaks it.
                self.executor.rest(20_000).await;
                self.ask(&who, Ask::Break).await;
            }
        }
    }

    /// Replicas die and start anew, or stand still, or the bucket fails them.
    async fn misfortune(&self) {
        for _ in 0..1 + self.executor.below(5) {
            self.moment().await;
            self.executor.rest(10_000).await;
            let (life, control) = self.replicas.any();
            match self.executor.below(10) {
                0..4 => self.restart(life, &control),
                4..7 => {
                    let seconds = self.executor.below(120);
                    self.replicas.pause(life, Duration::from_secs(seconds));
                }
                _ => {
                    let over = self.executor.one_of(&[Sort::Head, Sort::Version, Sort::Copy]);
                    self.bucket
                        .storm(over, Duration::from_secs(self.executor.below(120)));
                }
            }
        }
    }

    fn history(&self, calm: bool, ended: bool) -> History {
        let events = self.bucket.events();
        let mut heads: BTreeMap<String, Vec<(Instant, Head)>> = BTreeMap::new();
        let mut versions = BTreeMap::new();
        for event in &events {
            let Some(Some(bytes)) = &event.now else { continue };
            let of = |below: &str| event.key.strip_prefix(below).map(str::to_owned);
            if let Some(unit) = of("__opentaco_units/").and_then(|name| {
                let unit = name.strip_suffix("/@head.json")?;
                Some(unit.to_owned())
            }) {
                let head: Head = serde_json::from_slice(bytes).expect("a head is a head");
                heads.entry(unit).or_default().push((event.at, head));
            }
            if let Some(name) = of("__opentaco_versions/") {
                versions.insert(name, bytes.clone());
            }
        }
        let by = |by| match by {
            Some(Group::Replica(index, life)) => format!("{:<11}", format!("R{index}.{life}")),
            _ => format!("{:<11}", "network"),
        };
        let asked = hold(&self.asked).clone();
        let said = asked.iter().map(|asked| {
            let who = &asked.who;
            let what = match &asked.ask {
                Ask::Write(unit, bytes) => format!("WRITE {unit} {}", text(bytes)),
                Ask::Post(bytes, lock) => format!("POST {} under {lock:?}", text(bytes)),
                other => format!("{other:?}"),
            };
            let told = match &asked.told {
                Told::Graph(bytes) => format!("Graph {}", text(bytes)),
                other => format!("{other:?}"),
            };
            let by = format!("R{}.{}", asked.of.0, asked.of.1);
            [
                (asked.from, format!("{who} asks {by}: {what}")),
                (asked.until, format!("{who} is told by {by}: {told} of {what}")),
            ]
        });
        let lines = promise::lines(&events, by, said);
        History {
            heads,
            versions,
            asked,
            indebted: hold(&self.indebted).clone(),
            unpaid: hold(&self.unpaid).clone(),
            mended: hold(&self.mended).clone(),
            calm,
            ended,
            lines,
        }
    }
}

fn text(bytes: &Bytes) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn somebody(who: &str) -> Caller {
    Caller::new(Principal::new(who))
}

/// What a door would do with a request.
async fn perform(control: &StateControl, who: &str, ask: Ask) -> Told {
    let (caller, graph) = (somebody(who), UnitId::graph());
    let unit = |name: &str| UnitId::parse(name).expect("a letter is an id");
    let done = |result: Result<(), ControlError>| match result {
        Ok(()) => Told::Done,
        Err(error) => refused(&error),
    };
    match ask {
        Ask::Write(name, bytes) => {
            let write = StateWrite::new(bytes, Holding::Nothing, Door::Terraform);
            done(control.write_state(&caller, &unit(name), write).await.map(drop))
        }
        Ask::Delete(name) => done(control.delete_unit(&caller, &unit(name)).await),
        Ask::Status(name) => match control.unit_status(&caller, &unit(name)).await {
            Ok(status) => Told::Colour(status.status),
            Err(error) => refused(&error),
        },
        Ask::Lock(id) => {
            let request = LockRequest {
                info: LockInfo::of(id),
                sent: Bytes::from_static(b"{}"),
                door: Door::Terraform,
                credential: None,
            };
            done(control.lock(&caller, &graph, request).await.map(drop))
        }
        Ask::Unlock(id) => done(control.unlock(&caller, &graph, &id).await),
        Ask::Break => done(control.force_unlock(&caller, &graph).await.map(drop)),
        Ask::Read => match control.read_state(&caller, &graph).await {
            Ok(read) => match read.body.try_collect::<Vec<Bytes>>().await {
                Ok(pieces) => Told::Graph(pieces.concat().into()),
                Err(error) => refused(&error),
            },
            Err(error) => refused(&error),
        },
        Ask::Post(bytes, lock) => {
            let holding = lock.map_or(Holding::Nothing, Holding::Lock);
            let write = StateWrite::new(bytes, holding, Door::Terraform);
            done(control.write_state(&caller, &graph, write).await.map(drop))
        }
    }
}

fn refused(error: &ControlError) -> Told {
    match error {
        ControlError::GraphUnreadable { .. } => Told::Unreadable,
        ControlError::NoState { .. } | ControlError::NotFound { .. } => Told::Missing,
        ControlError::Saved { .. }
        | ControlError::Unwritten(_)
        | ControlError::Unavailable { .. }
        | ControlError::Corrupt { .. }
        | ControlError::PolicyUnreadable { .. }
        | ControlError::Forbidden { .. }
        | ControlError::Unopened { .. } => Told::Unsure,
        ControlError::Locked { .. }
        | ControlError::LockOver { .. }
        | ControlError::NotHolder { .. }
        | ControlError::Late { .. }
        | ControlError::DeletedMeanwhile { .. }
        | ControlError::Conflict { .. }
        | ControlError::OtherLineage { .. }
        | ControlError::OlderSerial { .. }
        | ControlError::Protected { .. }
        | ControlError::AlreadyExists { .. }
        | ControlError::Encrypted { .. }
        | ControlError::Invalid { .. } => Told::Refused,
    }
}

/// What Terraform means the graph to be: edges in their order, each with what was known of it when it was read.
#[derive(Debug, Clone, Default)]
struct Plan {
    serial: u64,
    edges: Vec<(EdgeEnds, u64, String)>,
    note: u64,
}

impl Plan {
    /// What stands in a document; nothing, if it is none that can be read.
    fn of(bytes: &Bytes) -> Self {
        let serial = crate::world::serial_of(bytes);
        let Ok(document) = Document::read(bytes.clone()) else {
            return Self {
                serial,
                ..Self::default()
            };
        };
        let state: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
        let instances = state["resources"][0]["instances"].as_array().cloned();
        let known = instances.unwrap_or_default().into_iter().map(|instance| {
            let owned = OWNED.map(|name| format!(r#", "{name}": {}"#, instance["attributes"][name]));
            (instance["index_key"].as_u64().unwrap_or(0), owned.concat())
        });
        let edges = document.edges().iter().map(|edge| edge.ends.clone());
        Self {
            serial,
            edges: edges
                .zip(known)
                .map(|(ends, (key, owned))| (ends, key, owned))
                .collect(),
            note: state["note"].as_u64().unwrap_or(0),
        }
    }

    /// Some edges come, some go, some move; and something else changes that is none of ours.
    fn change(&mut self, world: &World) {
        self.serial += 1;
        self.note = world.number();
        for _ in 0..1 + world.executor.below(3) {
            match world.executor.below(10) {
                0 | 1 if !self.edges.is_empty() => {
                    self.edges.swap_remove(world.executor.index(self.edges.len()));
                }
                2 if !self.edges.is_empty() => {
                    let at = world.executor.index(self.edges.len());
                    let (ends, _, owned) = self.edges.remove(at);
                    self.edges.insert(0, (ends, world.number(), owned));
                }
                _ => {
                    let from = world.executor.one_of(&UNITS);
                    let to = world.executor.one_of(&UNITS);
                    let output = world.executor.one_of(&OUTPUTS);
                    let ends = EdgeEnds::new(from, output, to, output);
                    let is_new = self.edges.iter().all(|(there, ..)| *there != ends);
                    if from != to && is_new && self.edges.len() < 6 {
                        self.edges
                            .push((ends, world.number(), r#", "in_digest": null"#.to_owned()));
                    }
                }
            }
        }
    }

    /// As Terraform writes it, with what else may stand in a state.
    fn spelled(&self, unreadable: bool, number: u64) -> Bytes {
        let mut instances = String::new();
        for (ends, key, owned) in &self.edges {
            let comma = if instances.is_empty() { "" } else { ",\n" };
            let EdgeEnds {
                from_unit,
                from_output,
                to_unit,
                to_input,
            } = ends;
            let _ = write!(
                instances,
                r#"{comma}{{"index_key": {key}, "attributes": {{"from_output": "{from_output}", "from_unit_id": "{from_unit}", "to_input": "{to_input}", "to_unit_id": "{to_unit}"{owned}}}, "private": "bnVsbA=="}}"#
            );
        }
        let (serial, note) = (self.serial, self.note);
        // What no program of ours has written: resources that are none.
        let resources = match unreadable {
            true => "7".to_owned(),
            false => format!(
                r#"[{{"mode": "managed", "type": "opentaco_dependency", "name": "e", "instances": [{instances}]}}]"#
            ),
        };
        Bytes::from(format!(
            r#"{{
  "version": 4, "serial": {serial}, "lineage": "graph", "note": {note}, "number": {number},
  "outputs": {{"n": {{"value": 9007199254740993, "type": "number"}}}},
  "resources": {resources},
  "check_results": null, "unheard_of": 1.50
}}
"#
        ))
    }
}
