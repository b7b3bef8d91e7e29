//! Every order of things, where the world is small: two replicas, a few clients, one unit, a fault or two.
//!
//! What is chosen is which request takes effect next, and which of them fails and how. Between two requests a replica
//! computes by itself, and nobody can tell in which order two replicas do so; so every request that may matter waits at
//! a gate, and the explorer lets one through at a time. A path is a list of choices; the world is played anew for each,
//! from its beginning, and the next path differs in the last choice that still has another (depth first).
//!
//! Two steps that commute are tried in one order only, by sleep sets: after the step `a` was explored from some point,
//! paths that begin with a step `b` from the same point do not take `a` until something happened that `a` does not
//! commute with. Steps commute unless
//!
//! - the same replica ran in both (it remembers things), or
//! - they are about the same key and one of them writes it, or
//! - both can be seen from outside: a client was answered or asked anew, the head or the copy was written. The checker
//!   compares answers with what was true meanwhile, so the order of these is never assumed not to matter; or
//! - both are faults, of which there is a limited number.
//!
//! Where even that is too much, the number of switches is limited: how often a replica that could go on is made to wait
//! for another one. Few bugs need many. Then nothing is asleep, as the order that stands for others may have too many.
//!
//! What is left out, and why that loses nothing: time does not pass, because a request that waits at the gate may wait
//! as long as it likes, and pauses between tries are such waits; lock copies, lock files and the listing of refused
//! writes behind a refusal go through at once, because nothing is decided by them once a unit has a head, and a first
//! head that was made beside another one is refused; looks for a graph find none, and the bucket is always
//! there. The scenario that has a graph is about who sees whose swap: only requests about heads wait there, and what
//! versions and copies hold is left to the others. What is left out, and does lose something: reads never fail by
//! themselves (they are only tried again), and a request that was given up lands before the end or never.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use opentaco_domain::unit::GRAPH_UNIT;
use opentaco_domain::{Caller, Clock, Principal, UnitId};
use opentaco_storage::Surroundings;
use opentaco_storage::surroundings::Tasks;

use crate::checker::{self, Violation};
use crate::chooser::Scripted;
use crate::executor::{Executor, Group, hold};
use crate::gate::{Asked, Fate, Gatekeeper, Verb};
use crate::stage::{Replica, Stage};
use crate::trace;
use crate::world::{Ask, History, Told};

/// How often a client sends a request at most.
const ATTEMPTS: usize = 3;
/// A sleep of at least this is patience, which ends only when the explorer says so; a shorter one is a pause.
const PATIENCE: Duration = Duration::from_secs(10);
/// No step takes more polls than this, unless it goes round in circles.
const POLLS_MAX: u64 = 1_000_000;

/// What somebody does on a scene.
pub type Part = fn(Scene) -> BoxFuture<'static, ()>;

/// A small world.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// What it is about.
    pub name: &'static str,
    /// What has happened before, in one order and without faults.
    pub before: Part,
    /// What everybody does, in every order.
    pub parts: &'static [Part],
    /// There is a graph of dependencies, and what is looked up in it matters.
    pub with_graph: bool,
}

/// How far a scenario is explored.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// How many faults there are on one path, at most.
    pub faults: usize,
    /// How many of these are a replica that dies or a client that waits no longer, at most; the others are the bucket's.
    pub kills: usize,
    /// How often a replica that could go on waits for another one on one path, at most; none: as often as it likes.
    pub switches: Option<usize>,
    /// How many paths are begun, at most.
    pub paths_max: u64,
}

/// What exploring a scenario came to.
#[derive(Debug, Default)]
pub struct Explored {
    /// Within what.
    pub bounds: Bounds,
    /// Paths that were played to their end and checked.
    pub interleavings: u64,
    /// Paths that were left as soon as they were seen to be another one in another order.
    pub pruned: u64,
    /// How often a lock was asked for on those.
    pub locks: u64,
    /// The most steps that a path had.
    pub longest: usize,
    /// Whether there is no path left.
    pub exhausted: bool,
    /// The first path that breaks a promise: its steps, what it breaks, and its table.
    pub broken: Option<Broken>,
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            bounds,
            interleavings,
            pruned,
            longest,
            exhausted,
            ..
        } = self;
        let switches = bounds
            .switches
            .map_or("any number of".to_owned(), |switches| format!("up to {switches}"));
        let end = if *exhausted {
            "that is all"
        } else {
            "and there are more"
        };
        write!(
            f,
            "{interleavings} interleavings with up to {} faults, up to {} of them kills, {switches} switches, up to {longest} steps ({pruned} left as others in another order), {end}",
            bounds.faults,
            bounds.kills.min(bounds.faults)
        )
    }
}

/// A path that breaks a promise.
#[derive(Debug)]
pub struct Broken {
    /// Its steps.
    pub steps: Vec<String>,
    /// What it breaks.
    pub violations: Vec<Violation>,
    /// Everything that happened.
    pub table: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "  {step}")?;
        }
        write!(f, "{}", self.table)?;
        for violation in &self.violations {
            writeln!(f, "VIOLATION {violation}")?;
        }
        Ok(())
    }
}

/// Where a scenario is played: two replicas before one bucket. Cheap to clone.
#[derive(Clone)]
pub struct Scene {
    stage: Stage,
    replicas: Arc<Mutex<Vec<Replica>>>,
    gate: Arc<Gate>,
    playing: Arc<Mutex<usize>>,
}

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// This becomes of the request with this number.
    Request(u64, Fate),
    /// A replica dies and starts anew. What it has sent is on its way.
    Crash(usize),
    /// A client waits no longer.
    GiveUp(String),
    /// Whatever is still on its way never arrives.
    Forget,
}

impl Step {
    fn is_fault(&self) -> bool {
        match self {
            Self::Request(_, fate) => !matches!(fate, Fate::Passes),
            Self::Crash(_) | Self::GiveUp(_) => true,
            Self::Forget => false,
        }
    }

    fn is_kill(&self) -> bool {
        matches!(self, Self::Crash(_) | Self::GiveUp(_))
    }
}

/// What a step had to do with, as far as others may care.
#[derive(Debug, Clone)]
struct Marks {
    replicas: BTreeSet<usize>,
    request: Option<Asked>,
    seen: bool,
    fault: bool,
    all: bool,
}

impl Marks {
    fn commutes(&self, other: &Self) -> bool {
        let same_key = match (&self.request, &other.request) {
            (Some(a), Some(b)) => (a.verb.writes() || b.verb.writes()) && touch(a, b),
            _ => false,
        };
        let clash = self.all
            || other.all
            || same_key
            || (self.seen && other.seen)
            || (self.fault && other.fault)
            || !self.replicas.is_disjoint(&other.replicas);
        !clash
    }
}

/// Whether two requests are about a common key.
fn touch(a: &Asked, b: &Asked) -> bool {
    match (a.verb, b.verb) {
        (Verb::List, _) => b.key.starts_with(&a.key),
        (_, Verb::List) => a.key.starts_with(&b.key),
        _ => a.key == b.key,
    }
}

/// The gate at which requests wait for the explorer.
#[derive(Default)]
struct Gate {
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    open: bool,
    with_graph: bool,
    next: u64,
    waiting: BTreeMap<u64, (Asked, oneshot::Sender<Fate>)>,
}

/// What nothing is decided by.
fn is_trifle(asked: &Asked, with_graph: bool) -> bool {
    let a_lock_file = asked.key.ends_with(".lock") || asked.key.ends_with(".tflock");
    let a_refusal = asked.verb == Verb::List && asked.key.starts_with("__opentaco_rejected/");
    let no_graph = !with_graph && asked.verb == Verb::Get && asked.key.contains(GRAPH_UNIT);
    let no_head = with_graph && !asked.key.ends_with("@head.json");
    let a_bucket = asked.verb == Verb::List && asked.key.starts_with("__opentaco_ping/");
    a_lock_file || a_refusal || no_graph || no_head || a_bucket
}

impl Gatekeeper for Gate {
    fn arrives(&self, asked: &Asked) -> BoxFuture<'static, Fate> {
        let mut inside = hold(&self.inside);
        if inside.open || is_trifle(asked, inside.with_graph) {
            return futures::future::ready(Fate::Passes).boxed();
        }
        let (decide, decided) = oneshot::channel();
        let number = inside.next;
        inside.next += 1;
        inside.waiting.insert(number, (asked.clone(), decide));
        async move { decided.await.unwrap_or(Fate::Vanishes) }.boxed()
    }

    fn passed(&self, _: &Asked) {}
}

impl Gate {
    fn open(&self, open: bool) {
        hold(&self.inside).open = open;
    }

    fn waiting(&self) -> Vec<(u64, Asked)> {
        hold(&self.inside)
            .waiting
            .iter()
            .map(|(number, (asked, _))| (*number, asked.clone()))
            .collect()
    }

    fn decide(&self, number: u64, fate: Fate) -> Option<Asked> {
        let (asked, decide) = hold(&self.inside).waiting.remove(&number)?;
        let _ = decide.send(fate);
        Some(asked)
    }

    /// The sender is gone: what it wanted to write is on its way, what it wanted to know nobody wants to know.
    fn orphan(&self, group: Group) {
        let mut inside = hold(&self.inside);
        inside
            .waiting
            .retain(|_, (asked, _)| asked.by != Some(group) || asked.verb.writes());
        for (asked, _) in inside
            .waiting
            .values_mut()
            .filter(|(asked, _)| asked.by == Some(group))
        {
            asked.by = None;
        }
    }
}

/// Pauses end at once, patience never: see the module.
struct Timeless {
    executor: Executor,
    group: Group,
}

impl Tasks for Timeless {
    fn spawn(&self, work: BoxFuture<'static, ()>) {
        self.executor.spawn(self.group, work);
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration < PATIENCE {
            futures::future::ready(()).boxed()
        } else {
            futures::future::pending().boxed()
        }
    }
}

impl Scene {
    fn new() -> Self {
        let executor = Executor::with(Box::new(Scripted::default()));
        let scene = Self {
            stage: Stage::new(executor),
            replicas: Arc::default(),
            gate: Arc::default(),
            playing: Arc::default(),
        };
        for index in 0..2 {
            let replica = scene.start(index, 0);
            hold(&scene.replicas).push(replica);
        }
        scene
    }

    fn start(&self, index: usize, life: u32) -> Replica {
        let group = Group::Replica(index, life);
        let executor = self.stage.executor();
        let clock: Arc<dyn Clock> = executor.surroundings(group).clock;
        let entropy = executor.surroundings(group).entropy;
        let tasks = Arc::new(Timeless {
            executor: executor.clone(),
            group,
        });
        self.stage.replica(
            index,
            life,
            self.gate.clone(),
            Surroundings {
                clock,
                entropy,
                tasks,
            },
        )
    }

    fn restart(&self, index: usize) {
        let Group::Replica(_, life) = hold(&self.replicas)[index].group else {
            return;
        };
        self.stage.executor().crash(Group::Replica(index, life));
        self.gate.orphan(Group::Replica(index, life));
        let replica = self.start(index, life + 1);
        hold(&self.replicas)[index] = replica;
    }

    /// The stage below.
    #[must_use]
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// One request to one replica.
    pub async fn ask(&self, client: &str, replica: usize, ask: Ask) -> Told {
        let replica = hold(&self.replicas)[replica].clone();
        self.stage.ask(client, &replica, ask).await
    }

    /// Somebody applies the unit of the graph, without a lock, through one replica.
    pub async fn declares(&self, client: &str, replica: usize, bytes: bytes::Bytes) -> Told {
        let replica = hold(&self.replicas)[replica].clone();
        let ask = Ask::Write { bytes, lock: None };
        self.stage
            .ask_about(&UnitId::graph(), client, &replica, ask)
            .await
    }

    /// What a reconciliation of the graph by a fresh replica would mend: nothing, if it has followed.
    fn mended(&self) -> Vec<String> {
        let replica = hold(&self.replicas)[0].clone();
        let found: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = Arc::clone(&found);
        self.stage.executor().spawn(replica.group, async move {
            let caller = Caller::new(Principal::new("end"));
            *hold(&told) = match replica.control.reconcile_graph(&caller, None).await {
                Ok(found) => found.changed.iter().map(|edge| format!("{edge:?}")).collect(),
                Err(error) => vec![error.to_string()],
            };
        });
        self.settle_down();
        std::mem::take(&mut *hold(&found))
    }

    /// The same request up to three times, to one replica and the other in turn: on no answer and on 5xx.
    pub async fn insist(&self, client: &str, replica: usize, ask: Ask) -> Told {
        let mut told = Told::Nothing;
        for attempt in 0..ATTEMPTS {
            told = self.ask(client, (replica + attempt) % 2, ask.clone()).await;
            if !matches!(told, Told::Nothing | Told::Unavailable | Told::Saved) {
                break;
            }
        }
        told
    }

    /// The housekeeping of the unit, now, by one replica.
    pub async fn tidy(&self, replica: usize) {
        let replica = hold(&self.replicas)[replica].clone();
        let (done, ended) = oneshot::channel::<()>();
        let unit = self.stage.unit().clone();
        self.stage.executor().spawn(replica.group, async move {
            let _ = replica.vault.tidy(&unit).await;
            drop(done);
        });
        let _ = ended.await;
    }

    /// Somebody puts the state copy directly, at a moment of the explorer's choice.
    pub async fn person(&self, bytes: bytes::Bytes) {
        self.turn(Verb::Put, &self.stage.unit().state_key()).await;
        self.stage.person_puts(bytes);
    }

    /// Waits for the moment of the explorer's choice at which somebody else may touch an object.
    pub async fn turn(&self, verb: Verb, key: &str) {
        let asked = Asked {
            by: Some(Group::Outside),
            verb,
            key: key.to_owned(),
        };
        self.gate.arrives(&asked).await;
    }

    fn begin(scenario: &Scenario) -> Self {
        let scene = Self::new();
        hold(&scene.gate.inside).with_graph = scenario.with_graph;
        scene.gate.open(true);
        scene
            .stage
            .executor()
            .spawn(Group::Outside, (scenario.before)(scene.clone()));
        scene.settle_down();
        scene.gate.open(false);
        *hold(&scene.playing) = scenario.parts.len();
        for part in scenario.parts {
            let (work, playing) = (part(scene.clone()), Arc::clone(&scene.playing));
            scene.stage.executor().spawn(Group::Outside, async move {
                work.await;
                *hold(&playing) -= 1;
            });
        }
        scene.settle_down();
        scene
    }

    fn settle_down(&self) {
        assert!(
            self.stage.executor().run_now(POLLS_MAX),
            "a step goes round in circles"
        );
    }

    /// Whose work a step goes on with; what is nobody's any more is nobody's work.
    fn runs(&self, step: &Step) -> Option<Group> {
        let Step::Request(number, _) = step else {
            return None;
        };
        let waiting = self.gate.waiting();
        waiting
            .iter()
            .find(|(other, _)| other == number)
            .and_then(|(_, asked)| asked.by)
    }

    /// Whether whoever ran last could go on, and somebody else does.
    fn is_interrupted(&self, running: Option<Group>, next: Group) -> bool {
        running.is_some_and(|running| {
            running != next
                && self
                    .gate
                    .waiting()
                    .iter()
                    .any(|(_, asked)| asked.by == Some(running))
        })
    }

    /// What can happen next.
    fn enabled(&self, left: Bounds, running: Option<Group>) -> Vec<Step> {
        let waiting = self.gate.waiting();
        let may_run = |by: Option<Group>| {
            left.switches != Some(0) || by.is_none_or(|group| !self.is_interrupted(running, group))
        };
        let passes = waiting.iter().filter(|(_, asked)| may_run(asked.by));
        let mut steps: Vec<Step> = passes
            .map(|(number, _)| Step::Request(*number, Fate::Passes))
            .collect();
        let sent = || {
            waiting
                .iter()
                .filter(|(_, asked)| matches!(asked.by, Some(Group::Replica(..))))
        };
        if left.faults > 0 {
            for (number, asked) in sent().filter(|(_, asked)| may_run(asked.by)) {
                if asked.verb.writes() {
                    steps.push(Step::Request(*number, Fate::GivenUp));
                }
                if asked.verb == Verb::PutIf {
                    steps.push(Step::Request(*number, Fate::Conflict));
                }
            }
        }
        if left.faults > 0 && left.kills > 0 {
            let busy: BTreeSet<usize> = sent().filter_map(|(_, asked)| index(asked.by)).collect();
            steps.extend(busy.into_iter().map(Step::Crash));
            steps.extend(self.stage.waiting().into_iter().map(Step::GiveUp));
        }
        let all_orphans = waiting.iter().all(|(_, asked)| asked.by.is_none());
        if all_orphans && !waiting.is_empty() {
            steps.push(Step::Forget);
        }
        steps
    }

    fn take(&self, step: &Step) -> Marks {
        let executor = self.stage.executor();
        executor.pass(Duration::from_millis(1));
        let _ = executor.take_polled();
        let outside = (self.stage.records(), self.stage.waiting());
        let mut replicas = BTreeSet::new();
        let mut request = None;
        match step {
            Step::Request(number, fate) => {
                let asked = self.gate.decide(*number, *fate);
                replicas.extend(index(asked.as_ref().and_then(|asked| asked.by)));
                // What does not take effect has nothing to do with its key.
                request = asked.filter(|_| *fate == Fate::Passes);
            }
            Step::Crash(index) => {
                replicas.insert(*index);
                self.restart(*index);
            }
            Step::GiveUp(client) => self.stage.give_up(client),
            Step::Forget => {
                for (number, _) in self.gate.waiting() {
                    self.gate.decide(number, Fate::Vanishes);
                }
            }
        }
        self.settle_down();
        replicas.extend(
            executor
                .take_polled()
                .into_iter()
                .filter_map(|group| index(Some(group))),
        );
        let told = outside != (self.stage.records(), self.stage.waiting());
        let shown = request
            .as_ref()
            .is_some_and(|asked| asked.verb.writes() && self.is_shown(&asked.key));
        Marks {
            replicas,
            request,
            seen: told || shown,
            fault: step.is_fault(),
            all: *step == Step::Forget,
        }
    }

    /// Whether the checker looks at the object with this key.
    fn is_shown(&self, key: &str) -> bool {
        key.ends_with("@head.json") || key == self.stage.unit().state_key()
    }

    /// Everybody is done: a fresh replica looks at the unit, and the checker at everything.
    fn end(&self) -> (History, Vec<Violation>) {
        let done = *hold(&self.playing) == 0;
        self.gate.open(true);
        for index in 0..2 {
            self.restart(index);
        }
        let scene = self.clone();
        self.stage.executor().spawn(Group::Outside, async move {
            scene.ask("end", 0, Ask::Read).await;
        });
        self.settle_down();
        let mut history = self.stage.history();
        history.ended = done;
        let mut violations = checker::check(&history);
        let with_graph = hold(&self.gate.inside).with_graph;
        for what in if with_graph { self.mended() } else { Vec::new() } {
            violations.push(Violation {
                invariant: "edges-follow",
                unit: UnitId::graph(),
                at: history.now,
                what,
            });
        }
        (history, violations)
    }

    /// Breaks the circle of references between tasks and their world.
    fn close(&self) {
        let executor = self.stage.executor();
        for group in hold(&self.replicas)
            .drain(..)
            .map(|replica| replica.group)
            .collect::<Vec<_>>()
        {
            executor.crash(group);
        }
        executor.crash(Group::Outside);
        executor.crash(Group::Network);
        hold(&self.gate.inside).waiting.clear();
    }

    fn spell(&self, step: &Step) -> String {
        match step {
            Step::Request(number, fate) => {
                let waiting = self.gate.waiting();
                let asked = waiting
                    .iter()
                    .find(|(other, _)| other == number)
                    .map(|(_, asked)| asked);
                asked.map_or(String::new(), |asked| {
                    let by = index(asked.by).map_or("a late".to_owned(), |index| format!("R{index}'s"));
                    format!("{by} {:?} of {} {fate:?}", asked.verb, asked.key)
                })
            }
            Step::Crash(index) => format!("R{index} crashes"),
            Step::GiveUp(client) => format!("{client} gives up waiting"),
            Step::Forget => "what is still on its way never arrives".to_owned(),
        }
    }
}

fn index(group: Option<Group>) -> Option<usize> {
    match group {
        Some(Group::Replica(index, _)) => Some(index),
        _ => None,
    }
}

/// A point of a path: what was chosen there, what was chosen before, and what need not be.
struct Node {
    enabled: Vec<Step>,
    asleep: Vec<(Step, Marks)>,
    done: Vec<(Step, Marks)>,
    chosen: Step,
}

impl Node {
    /// A step from here that is neither explored nor asleep.
    fn next(&self) -> Option<Step> {
        let known = |step: &Step| {
            self.asleep
                .iter()
                .chain(&self.done)
                .any(|(other, _)| other == step)
        };
        self.enabled.iter().find(|step| !known(step)).cloned()
    }
}

/// Plays every order of everything within bounds, until there is none left or one breaks a promise.
#[must_use]
pub fn explore(scenario: &Scenario, bounds: Bounds) -> Explored {
    let mut explored = Explored {
        bounds,
        ..Explored::default()
    };
    let mut path: Vec<Node> = Vec::new();
    loop {
        if explored.interleavings + explored.pruned == bounds.paths_max {
            return explored;
        }
        let scene = Scene::begin(scenario);
        let complete = walk(&scene, bounds, &mut path);
        if complete {
            explored.interleavings += 1;
            explored.longest = explored.longest.max(path.len());
            let (history, violations) = scene.end();
            explored.locks += history.lock_attempts();
            if !violations.is_empty() {
                let steps = retell(scenario, &path);
                let table = trace::tell(&history);
                scene.close();
                explored.broken = Some(Broken {
                    steps,
                    violations,
                    table,
                });
                return explored;
            }
        } else {
            explored.pruned += 1;
        }
        scene.close();
        if !turn(&mut path) {
            explored.exhausted = true;
            return explored;
        }
    }
}

/// Follows a path and goes on to its end, always by the first step that is not asleep. False: all of them were.
fn walk(scene: &Scene, bounds: Bounds, path: &mut Vec<Node>) -> bool {
    let mut left = bounds;
    let mut asleep: Vec<(Step, Marks)> = Vec::new();
    let mut running = None;
    for depth in 0.. {
        if depth == path.len() {
            let enabled = scene.enabled(left, running);
            if enabled.is_empty() {
                return true;
            }
            let node = Node {
                chosen: enabled[0].clone(),
                enabled,
                asleep,
                done: Vec::new(),
            };
            let Some(chosen) = node.next() else { return false };
            path.push(Node { chosen, ..node });
        }
        let last = depth + 1 == path.len();
        let node = &mut path[depth];
        if let Some(group) = scene.runs(&node.chosen) {
            if scene.is_interrupted(running, group) {
                left.switches = left.switches.map(|switches| switches.saturating_sub(1));
            }
            running = Some(group);
        }
        left.faults -= usize::from(node.chosen.is_fault());
        left.kills -= usize::from(node.chosen.is_kill());
        let marks = scene.take(&node.chosen);
        asleep = match bounds.switches {
            None => node
                .asleep
                .iter()
                .chain(&node.done)
                .filter(|(_, other)| other.commutes(&marks))
                .cloned()
                .collect(),
            Some(_) => Vec::new(),
        };
        if last {
            node.done.push((node.chosen.clone(), marks));
        }
    }
    true
}

/// Goes back to the last point that has another step, and chooses it. False: there is none.
fn turn(path: &mut Vec<Node>) -> bool {
    while let Some(node) = path.last_mut() {
        if let Some(next) = node.next() {
            node.chosen = next;
            return true;
        }
        path.pop();
    }
    false
}

/// The steps of a path, in words.
fn retell(scenario: &Scenario, path: &[Node]) -> Vec<String> {
    let scene = Scene::begin(scenario);
    let mut steps = Vec::new();
    for node in path {
        steps.push(scene.spell(&node.chosen));
        scene.take(&node.chosen);
    }
    scene.close();
    steps
}
