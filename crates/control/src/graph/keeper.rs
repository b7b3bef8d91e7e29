//! The graph follows writes: what becomes of it when a unit changes, and when Terraform writes it.
//!
//! The graph is a unit, and changes as one: by a compare-and-swap on its head. The service does so whoever holds its
//! lock, and what Terraform writes is merged on the way in, so that neither side overwrites the other and nobody waits
//! for anybody.
//!
//! **When it is looked at.** After the swap that commits a write, beside the put of its copy. Not before: an edge that is
//! declared between the look and the swap would never hear of this write. Whoever declares an edge looks at its source
//! after that is committed; so of the two, each later one sees the earlier one.
//!
//! **How often it is written.** Not at all where no edge changes, and at most once for a write. Writes that wait for
//! their turn on a replica are done together, in one commit.
//!
//! **When it cannot be written**, the write is answered all the same: its state is safe. What the graph is owed is tried
//! again, every two seconds and with each later write. A replica that dies owing takes that with it; so whoever starts
//! compares the graph whole, once, behind everything else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use opentaco_domain::graph::{
    Change, Declared, Document, DocumentError, EdgeState, Outputs, Source, Taking, Unknown, follow,
};
use opentaco_domain::{Principal, StateSummary, UnitId, VersionId, limits};
use opentaco_storage::commit::{CommitRequest, Committing, Fresh, Made};
use opentaco_storage::head::{Committed, Origin};
use opentaco_storage::heads::Known;
use opentaco_storage::planted::{Bug, planted};
use opentaco_storage::{Noticed, Observer, StorageError, Vault};

use crate::Audit;
use crate::believed::{EVERY, again_and_again};

/// Who the graph's history names for what the service writes.
const SERVICE: &str = "opentaco";
/// How often a commit of the graph is made anew because somebody was faster.
const TRIES: usize = 64;
/// How long it is believed that a bucket older than us has no graph. One that is made through us has a head, which each
/// look sees; this is about one that somebody puts there directly.
const ABSENT_BELIEVED: SignedDuration = SignedDuration::from_secs(60);
/// So many changes may be owed to the graph. More are forgotten, and left to a reconciliation.
const OWED_MAX: usize = 10_000;
/// So long a write waits for the graph. What is not done by then stays owed, and is done behind.
const AWAITED: Duration = Duration::from_secs(10);

/// What is told of the graph's commits.
#[derive(Debug, Default)]
pub struct GraphCounts {
    /// Commits of the graph by this process.
    pub commits: AtomicU64,
    /// Writes of units that these commits tell of.
    pub followed: AtomicU64,
    /// Times when the graph could not be brought up to date.
    pub failures: AtomicU64,
}

/// Keeps the graph true. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Keeper {
    inner: Arc<Inner>,
}

struct Inner {
    vault: Vault,
    unit: UnitId,
    /// The graph as it was last read.
    read: Mutex<Option<(VersionId, Read)>>,
    /// The version of the graph that was compared whole because it did not come from Terraform or from here.
    compared: Mutex<Option<VersionId>>,
    /// Whether the graph was compared whole since this process began.
    has_begun: AtomicBool,
    /// When it was last seen that nothing lies where a graph would.
    absent: Mutex<Option<Timestamp>>,
    owed: Mutex<Owed>,
    turn: futures::lock::Mutex<()>,
    counts: GraphCounts,
}

/// A graph that was read: what it says, or why it says nothing.
pub(crate) type Read = Result<Arc<Document>, DocumentError>;

/// Changes that the graph does not tell of yet.
#[derive(Default)]
struct Owed {
    changes: Vec<(u64, Change)>,
    /// Units that could not be looked at.
    unseen: BTreeSet<UnitId>,
    /// The number of the change that came last.
    last: u64,
    /// Nobody waits for the changes up to this one any more: they are in the graph, or it cannot be written for now.
    heard: u64,
}

/// What is done to the graph in one commit.
enum Work<'a> {
    /// What these changes say.
    Follow(&'a mut [(u64, Change)]),
    /// Everything, as the states say; and that a unit has taken what its edges have.
    Reconcile(Option<(&'a UnitId, Taking)>),
}

/// What a reconciliation came to.
#[derive(Debug)]
pub(crate) struct Reconciliation {
    /// The graph since.
    pub(crate) graph: Arc<Document>,
    /// Its version.
    pub(crate) version: VersionId,
    /// Which of its edges were not as they should be, by their places.
    pub(crate) changed: BTreeSet<usize>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Keeper")
            .field("unit", &self.inner.unit)
            .finish_non_exhaustive()
    }
}

impl Keeper {
    /// Of the graph in this unit.
    pub(crate) fn new(vault: Vault, unit: UnitId) -> Self {
        Self {
            inner: Arc::new(Inner {
                vault,
                unit,
                read: Mutex::default(),
                compared: Mutex::default(),
                has_begun: AtomicBool::new(false),
                absent: Mutex::default(),
                owed: Mutex::default(),
                turn: futures::lock::Mutex::default(),
                counts: GraphCounts::default(),
            }),
        }
    }

    /// The unit that holds the graph.
    pub(crate) fn unit(&self) -> &UnitId {
        &self.inner.unit
    }

    /// What was done to the graph so far.
    pub(crate) fn counts(&self) -> &GraphCounts {
        &self.inner.counts
    }

    /// How many changes the graph is owed.
    pub(crate) fn owed(&self) -> usize {
        let owed = hold(&self.inner.owed);
        owed.changes.len() + owed.unseen.len()
    }

    /// Tries again and again what could not be done at once, as long as somebody has this.
    pub(crate) fn keep_up(&self) {
        let surroundings = self.inner.vault.bucket().surroundings().clone();
        again_and_again(&surroundings, EVERY, &self.inner, |inner| {
            let keeper = Self { inner };
            async move {
                keeper.begin().await;
                keeper.catch_up().await;
            }
        });
    }

    /// Compares the graph whole, once: whoever was here before may have died with what it owed.
    async fn begin(&self) {
        if self.inner.has_begun.load(Ordering::Acquire) {
            return;
        }
        let _turn = self.inner.turn.lock().await;
        if Box::pin(self.change(&mut Work::Reconcile(None))).await.is_ok() {
            self.inner.has_begun.store(true, Ordering::Release);
        }
    }

    /// Does what the graph is owed, if anything.
    pub(crate) async fn catch_up(&self) {
        if self.owed() == 0 {
            return;
        }
        let unseen = hold(&self.inner.owed).unseen.clone();
        for unit in unseen {
            let Ok(source) = self.source(&unit).await else {
                continue;
            };
            let change = Change {
                unit: unit.clone(),
                source,
                before: None,
                taking: None,
            };
            self.owe(change);
            hold(&self.inner.owed).unseen.remove(&unit);
        }
        let _turn = self.inner.turn.lock().await;
        self.take_turn().await;
    }

    /// The graph follows a write that was committed just now. Returns when it has, or when it cannot for now.
    pub(crate) async fn follow_commit(&self, unit: &UnitId, fresh: &Fresh, summary: &StateSummary) {
        let outputs = Outputs::of_state(summary);
        let committed = &fresh.committed;
        // A version that was found committed may have been followed by others since.
        let is_current = fresh.head().current_version() == Some(committed.version);
        let source = match fresh.before.is_some() || is_current {
            true => Some(committed.source(outputs)),
            false => fresh.head().source(),
        };
        let mut taking = taking(committed);
        if let Some(taking) = &mut taking {
            taking.is_late = (fresh.before.is_none() || !is_current) && !planted(Bug::LateTakesNow);
        }
        let Some(source) = source else {
            return self.follow_unit(unit, taking).await;
        };
        // Of a write that is repeated it is not known what it changed: it is said once more.
        let before = fresh.before.as_ref().and_then(|before| before.source());
        self.follow(Change {
            unit: unit.clone(),
            source,
            before: before.map(|before| before.outputs),
            taking,
        })
        .await;
    }

    /// The graph follows a unit that has changed somehow: it is looked at. `taking` is what it was written by, if it was.
    pub(crate) async fn follow_unit(&self, unit: &UnitId, taking: Option<Taking>) {
        if *unit == self.inner.unit {
            // The graph itself came back, or somebody put one there: it is compared whole.
            return Box::pin(self.look_at_new()).await;
        }
        match Box::pin(self.source(unit)).await {
            Ok(source) => {
                let change = Change {
                    unit: unit.clone(),
                    before: None,
                    source,
                    taking,
                };
                self.follow(change).await;
            }
            Err(error) => {
                self.inner.counts.failures.fetch_add(1, Ordering::Relaxed);
                hold(&self.inner.owed).unseen.insert(unit.clone());
                tracing::warn!(%unit, %error, "the dependencies on this unit could not be brought up to date; it is tried again");
            }
        }
    }

    /// As [`Keeper::follow_unit`], of a version that was found in the bucket.
    pub(crate) async fn follow_found(&self, unit: &UnitId, version: VersionId) {
        match self.inner.vault.load(unit).await {
            Ok(known) => {
                let current = known.and_then(|known| known.head.current.clone());
                let found = current.filter(|current| current.version == version);
                self.follow_unit(unit, found.as_ref().and_then(taking)).await;
            }
            Err(error) => {
                tracing::warn!(%unit, %error, "the dependencies on this unit could not be brought up to date; `taco graph reconcile` does");
            }
        }
    }

    async fn follow(&self, change: Change) {
        if change.unit == self.inner.unit {
            return;
        }
        let number = self.owe(change);
        // It holds a commit of the graph within a commit of a unit: both on one stack would be much.
        let done = Box::pin(async {
            let _turn = self.inner.turn.lock().await;
            if hold(&self.inner.owed).heard < number {
                self.take_turn().await;
            }
        });
        if self.inner.vault.bucket().at_most(AWAITED, done).await.is_none() {
            self.inner.counts.failures.fetch_add(1, Ordering::Relaxed);
            self.say_late(number);
            tracing::warn!(graph = %self.inner.unit, "the graph takes too long; what it is owed is done behind the answer");
        }
    }

    /// Notes a change that the graph is to tell of, and gives it a number.
    fn owe(&self, mut change: Change) -> u64 {
        let mut owed = hold(&self.inner.owed);
        owed.last += 1;
        let (number, heard) = (owed.last, owed.heard);
        // Of a unit that is owed already and that nobody waits for, the later word counts.
        let before = owed.changes.len();
        owed.changes
            .retain(|(number, earlier)| *number > heard || earlier.unit != change.unit);
        if owed.changes.len() < before {
            change.before = None;
        }
        owed.changes.push((number, change));
        if owed.changes.len() > OWED_MAX {
            let (_, forgotten) = owed.changes.remove(0);
            tracing::warn!(unit = %forgotten.unit, "the graph is owed too much; `taco graph reconcile` brings it up to date when it can be written again");
        }
        number
    }

    /// What is done of these changes is done later than they were made.
    fn say_late(&self, last: u64) {
        let mut owed = hold(&self.inner.owed);
        owed.heard = owed.heard.max(last);
        for (number, change) in &mut owed.changes {
            if *number <= last
                && let Some(taking) = &mut change.taking
            {
                taking.is_late = true;
            }
        }
    }

    /// Does everything that is owed by now, for all who wait for it.
    async fn take_turn(&self) {
        // What is being done stays owed until it is done: this may be dropped half-way.
        let mut batch = hold(&self.inner.owed).changes.clone();
        let Some(last) = batch.last().map(|(number, _)| *number) else {
            return;
        };
        let done = Box::pin(self.step(&mut batch)).await;
        match done {
            Ok(()) => {
                let mut owed = hold(&self.inner.owed);
                owed.heard = owed.heard.max(last);
                owed.changes.retain(|(number, _)| *number > last);
            }
            Err(error) => {
                self.inner.counts.failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    graph = %self.inner.unit, owed = batch.len(), %error,
                    "the graph could not be brought up to date; it is tried again"
                );
                {
                    // What their targets took was seen now, and is not what is there later.
                    let mut owed = hold(&self.inner.owed);
                    for (number, change) in &mut owed.changes {
                        if let Ok(at) = batch.binary_search_by_key(number, |(number, _)| *number) {
                            *change = batch[at].1.clone();
                        }
                    }
                }
                self.say_late(last);
            }
        }
    }

    /// One commit of the graph with all that these changes say, if they say anything.
    async fn step(&self, batch: &mut [(u64, Change)]) -> Result<(), StorageError> {
        let units = batch.len() as u64;
        let committed = self.change(&mut Work::Follow(batch)).await?;
        if committed.is_some_and(|(_, _, changed)| !changed.is_empty()) {
            self.inner.counts.followed.fetch_add(units, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Looks at the time, when the graph was looked at: any step before that may have hung, the request of a write, its
    /// swap, the wait for a turn, the turn (histories 60, 62 to 64, 66 and 67). What is told too late to believe that its
    /// client has seen what the graph shows takes only what had not changed since it was sent, and nothing if another write
    /// came after it, which has said what it took. What an output is worth counts as new when it is told, then.
    async fn judge_lateness(&self, number: u64, change: &mut Change) -> Result<(), StorageError> {
        let heard = hold(&self.inner.owed).heard;
        let now = self.now();
        let is_late = |since: Timestamp| {
            !(SignedDuration::ZERO..=limits::COMMITTED_AT_ONCE).contains(&now.duration_since(since))
        };
        if change.source.at.is_some_and(is_late) {
            change.source.at = Some(now);
        }
        let Some(taking) = change.taking.as_mut().filter(|taking| !taking.has_looked()) else {
            return Ok(());
        };
        taking.is_late |= number <= heard || is_late(taking.sent) && !planted(Bug::LateTakesNow);
        if taking.is_late {
            let known = self.inner.vault.load(&change.unit).await?;
            let current = known.and_then(|known| known.head.current_version());
            change.taking.take_if(|taking| current != Some(taking.version));
        }
        Ok(())
    }

    /// Edges that were declared and whose sources nobody has looked at since, with what is found there.
    async fn sources_of_new(&self, graph: &Document) -> Result<BTreeMap<usize, EdgeState>, StorageError> {
        let new: Vec<&Declared> = graph.edges().iter().filter(|edge| edge.state.is_new()).collect();
        if new.is_empty() {
            return Ok(BTreeMap::new());
        }
        let sources = self.sources(&new, Ends::From).await;
        let found = follow::reconciled(graph, self.now(), |unit| sources.get(unit));
        Ok(found
            .into_iter()
            .filter(|(at, _)| graph.edges()[*at].state.is_new())
            .collect())
    }

    /// Compares every edge with the state of its source, and mends what is not so. With `taken_by`, the incoming edges of
    /// this unit are said to be taken.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub(crate) async fn reconcile(
        &self,
        taken_by: Option<&UnitId>,
    ) -> Result<Option<Reconciliation>, StorageError> {
        let _turn = self.inner.turn.lock().await;
        let current = match taken_by {
            Some(unit) => self
                .inner
                .vault
                .load(unit)
                .await?
                .and_then(|known| known.head.current.clone()),
            None => None,
        };
        let taken = taken_by.zip(current.map(|current| Taking::by(current.version, self.now())));
        let committed = self.change(&mut Work::Reconcile(taken)).await?;
        Ok(committed.map(|(version, graph, changed)| Reconciliation {
            graph,
            version,
            changed: changed.into_keys().collect(),
        }))
    }

    /// Every edge compared with the state of its source: those that are not so, by their places.
    async fn compared(&self, graph: &Document) -> BTreeMap<usize, EdgeState> {
        let all: Vec<&Declared> = graph.edges().iter().collect();
        let sources = self.sources(&all, Ends::Both).await;
        follow::reconciled(graph, self.now(), |unit| sources.get(unit))
    }

    /// What is to be changed of a graph, by the places of its edges; `whole` if it comes from elsewhere.
    async fn wanted(
        &self,
        graph: &Document,
        work: &mut Work<'_>,
        whole: bool,
    ) -> Result<BTreeMap<usize, EdgeState>, StorageError> {
        match work {
            Work::Follow(batch) => {
                let mut changed = match whole {
                    true => self.compared(graph).await,
                    false => self.sources_of_new(graph).await?,
                };
                for (number, change) in &mut **batch {
                    self.judge_lateness(*number, change).await?;
                    change.apply(graph, &mut changed);
                }
                Ok(changed)
            }
            Work::Reconcile(taken) => {
                // What was seen by whoever says so, and not what is found now.
                if let Some((unit, taking)) = taken {
                    taking.look_at(unit, graph);
                }
                let mut changed = self.compared(graph).await;
                if let Some((unit, taking)) = taken {
                    taking.take_all(unit, graph, &mut changed);
                }
                Ok(changed)
            }
        }
    }

    /// Commits what the work makes of the graph, and makes it anew for as long as somebody else is faster. None: there is
    /// no graph, or none that can be read.
    async fn change(
        &self,
        work: &mut Work<'_>,
    ) -> Result<Option<(VersionId, Arc<Document>, BTreeMap<usize, EdgeState>)>, StorageError> {
        let unit = &self.inner.unit;
        for _ in 0..TRIES {
            let (version, graph) = match self.look().await? {
                None => return Ok(None),
                Some((version, Ok(graph))) => (version, graph),
                Some((version, Err(error))) => {
                    tracing::warn!(graph = %unit, %version, %error, "the graph cannot be read, so it does not follow what is written");
                    return Ok(None);
                }
            };
            let whole = *hold(&self.inner.compared) != Some(version) && self.is_from_elsewhere(&version);
            let changed = self.wanted(&graph, work, whole).await?;
            if changed.is_empty() {
                *hold(&self.inner.compared) = Some(version);
                return Ok(Some((version, graph, changed)));
            }
            let Ok(bytes) = graph.changed(&changed) else {
                return Ok(None);
            };
            let summary = StateSummary::read(&bytes).unwrap_or_default();
            let made = Made {
                bytes: bytes.clone(),
                summary,
                beside: Some(version),
            };
            let request = CommitRequest::by_the_service(made, Principal::new(SERVICE));
            let committed = match Box::pin(self.inner.vault.commit(unit, &request)).await? {
                Committing::Done(committed) | Committing::Uncopied(committed, _) => committed,
                Committing::Overtaken
                | Committing::Refused { .. }
                | Committing::Unmet { .. }
                | Committing::NoUnit
                | Committing::OtherLineage { .. }
                | Committing::OlderSerial { .. } => continue,
            };
            self.inner.counts.commits.fetch_add(1, Ordering::Relaxed);
            return match self.keep(committed.version, bytes) {
                Ok(graph) => Ok(Some((committed.version, graph, changed))),
                Err(_) => Ok(None),
            };
        }
        Err(StorageError::Busy {
            key: self.inner.vault.bucket().layout().head(unit),
            tries: TRIES,
        })
    }

    /// What is stored of a graph that somebody sends, beside the one that is current; none if what is sent is no graph
    /// that can be read, and is stored as it is.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub(crate) async fn made_of(&self, sent: &Bytes) -> Result<Option<Made>, StorageError> {
        let Ok(sent) = Document::read(sent.clone()) else {
            return Ok(None);
        };
        let current = self.look_fresh().await?;
        let beside = current.as_ref().map(|(version, _)| *version);
        let serial = beside.map(|version| version.serial);
        let stored = current.and_then(|(_, read)| read.ok());
        let sent = match &stored {
            Some(stored) if planted(Bug::GraphMergeDropped) => (**stored).clone(),
            _ => sent,
        };
        let known = stored.filter(|_| !planted(Bug::GraphStoredAsSent));
        let Ok(bytes) = Document::merged(known.as_deref(), serial, &sent) else {
            return Ok(None);
        };
        Ok(Some(Made {
            summary: StateSummary::read(&bytes).unwrap_or_default(),
            bytes,
            beside,
        }))
    }

    /// Looks at the sources of edges that were declared just now.
    pub(crate) async fn look_at_new(&self) {
        let _turn = self.inner.turn.lock().await;
        if let Err(error) = Box::pin(self.step(&mut [])).await {
            self.inner.counts.failures.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(graph = %self.inner.unit, %error, "the sources of new dependencies could not be looked at; the next write does");
        }
    }

    /// The graph as its head has it now: one request, unless it has changed since it was last read here.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub(crate) async fn look(&self) -> Result<Option<(VersionId, Read)>, StorageError> {
        let believed = *hold(&self.inner.absent);
        let age = |at: Timestamp| self.now().duration_since(at);
        let is_absent = believed.is_some_and(|at| (SignedDuration::ZERO..ABSENT_BELIEVED).contains(&age(at)));
        if !is_absent {
            return self.look_fresh().await;
        }
        match self.inner.vault.load(&self.inner.unit).await? {
            Some(known) => self.read(&known).await,
            None => Ok(None),
        }
    }

    /// Whether an edge begins or ends at this unit, as far as can be seen. For a planted bug alone: whoever asks before a
    /// swap has asked too early.
    pub(crate) async fn has_edges_at(&self, unit: &UnitId) -> bool {
        match self.look().await {
            Ok(Some((_, Ok(graph)))) => {
                let unit = unit.as_str();
                graph.outgoing(unit).next().is_some() || graph.incoming(unit).next().is_some()
            }
            Ok(_) => false,
            Err(_) => true,
        }
    }

    async fn look_fresh(&self) -> Result<Option<(VersionId, Read)>, StorageError> {
        match self.inner.vault.find(&self.inner.unit).await? {
            Some(known) => self.read(&known).await,
            None => {
                *hold(&self.inner.absent) = Some(self.now());
                Ok(None)
            }
        }
    }

    async fn read(&self, known: &Known) -> Result<Option<(VersionId, Read)>, StorageError> {
        let Some(version) = known.head.current_version() else {
            return Ok(None);
        };
        if let Some(read) = self.remembered(&version) {
            return Ok(Some((version, read)));
        }
        let whole = self.inner.vault.version_bytes(&self.inner.unit, &version).await?;
        Ok(Some((version, self.keep(version, whole.bytes.clone()))))
    }

    /// The graph of this version, if it was read here.
    pub(crate) fn remembered(&self, version: &VersionId) -> Option<Read> {
        let read = hold(&self.inner.read);
        read.as_ref()
            .filter(|(of, _)| of == version)
            .map(|(_, read)| read.clone())
    }

    /// Reads a graph, and remembers it.
    pub(crate) fn keep(&self, version: VersionId, bytes: Bytes) -> Read {
        let read = Document::read(bytes).map(Arc::new);
        let mut kept = hold(&self.inner.read);
        if kept
            .as_ref()
            .is_none_or(|(before, _)| before.epoch <= version.epoch)
        {
            *kept = Some((version, read.clone()));
        }
        read
    }

    /// Whether the graph of this version was put there by somebody, or is an old one that came back: what it says of its
    /// edges is of another time.
    fn is_from_elsewhere(&self, version: &VersionId) -> bool {
        let known = self.inner.vault.remembered_head(&self.inner.unit);
        let current = known.and_then(|head| head.current.clone());
        current.is_none_or(|current| {
            current.version == *version
                && matches!(
                    current.origin,
                    Origin::Adopted | Origin::External | Origin::Undelete
                )
        })
    }

    /// The units at these ends of edges, by the names that the edges call them. One that cannot be read is left out, and
    /// its edges as they are: it must not keep the others from being told.
    async fn sources(&self, edges: &[&Declared], ends: Ends) -> BTreeMap<String, Source> {
        let units: BTreeMap<String, UnitId> = edges
            .iter()
            .flat_map(|edge| {
                let from = Some((&edge.ends.from_unit, edge.ends.from()));
                let to = (ends == Ends::Both).then(|| (&edge.ends.to_unit, edge.ends.to()));
                from.into_iter().chain(to)
            })
            .filter_map(|(name, unit)| Some((name.clone(), unit?)))
            .collect();
        stream::iter(units)
            .map(|(name, unit)| {
                let keeper = self.clone();
                async move {
                    match Box::pin(keeper.source(&unit)).await {
                        Ok(source) => Some((name, source)),
                        Err(error) => {
                            tracing::warn!(%unit, %error, "the dependencies on this unit are left as they are: it cannot be read");
                            None
                        }
                    }
                }
            })
            .buffer_unordered(limits::HEADS_READ_AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await
    }

    /// A unit as the source of an edge that nobody has declared yet. Nothing is changed by asking: a unit that nobody has
    /// touched through us stays so.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub(crate) async fn source_to_be(&self, unit: &UnitId) -> Result<Source, StorageError> {
        if self.inner.vault.load(unit).await?.is_some() {
            return self.source(unit).await;
        }
        let Some(reading) = self.inner.vault.read(unit).await? else {
            return Ok(Source::nothing(0, None));
        };
        let state: Vec<Bytes> = reading.body.try_collect().await?;
        Ok(Source {
            at: reading.found.map(|found| found.modified),
            outputs: outputs_of(&state.concat()),
            ..Source::nothing(0, None)
        })
    }

    /// A unit as the source of edges, as it is now.
    ///
    /// # Errors
    /// If the bucket gives no answer.
    pub(crate) async fn source(&self, unit: &UnitId) -> Result<Source, StorageError> {
        let Some(known) = self.inner.vault.find(unit).await? else {
            return Ok(Source::nothing(0, None));
        };
        if let Some(source) = known.head.source() {
            return Ok(source);
        }
        let Some(current) = &known.head.current else {
            return Ok(Source::nothing(known.head.epoch, None));
        };
        let whole = self.inner.vault.version_bytes(unit, &current.version).await?;
        Ok(current.source(outputs_of(&whole)))
    }

    fn now(&self) -> Timestamp {
        self.inner.vault.bucket().surroundings().clock.now()
    }
}

/// Hears what the vault finds in the bucket, and has the graph follow; everything is told the audit.
#[derive(Debug)]
pub(crate) struct Hearing {
    audit: Audit,
    keeper: OnceLock<WeakKeeper>,
}

/// A keeper that is not kept alive: it has the vault that has this.
struct WeakKeeper(Weak<Inner>);

impl fmt::Debug for WeakKeeper {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WeakKeeper")
    }
}

impl Hearing {
    /// For nobody but the audit yet.
    pub(crate) fn new(audit: Audit) -> Self {
        Self {
            audit,
            keeper: OnceLock::new(),
        }
    }

    /// From now on for this keeper, too.
    pub(crate) fn tell(&self, keeper: &Keeper) {
        let _first = self.keeper.set(WeakKeeper(Arc::downgrade(&keeper.inner)));
    }
}

impl Observer for Hearing {
    fn notice(&self, unit: &UnitId, noticed: Noticed) {
        if let Noticed::Adopted(version) = &noticed
            && let Some(inner) = self.keeper.get().and_then(|keeper| keeper.0.upgrade())
        {
            let (unit, version) = (unit.clone(), *version);
            let vault = inner.vault.clone();
            let keeper = Keeper { inner };
            vault.behind(async move { keeper.follow_found(&unit, version).await });
        }
        self.audit.notice(unit, noticed);
    }
}

fn outputs_of(state: &[u8]) -> Outputs {
    match StateSummary::read(state) {
        Ok(summary) => Outputs::of_state(&summary),
        Err(_) => Outputs::Unknown(Unknown::Unreadable),
    }
}

/// Which ends of edges are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    From,
    Both,
}

/// What a version says of the edges that lead to its unit. Old content that is made current again takes nothing: it was
/// applied before what they have now, and what was taken since is taken no more.
fn taking(committed: &Committed) -> Option<Taking> {
    let mut taking = Taking::by(committed.version, committed.committed_at);
    taking.sent = committed.asked_at.unwrap_or(committed.committed_at);
    match &committed.origin {
        Origin::Write | Origin::Promote(_) | Origin::External => Some(taking),
        Origin::Restore(version) => {
            taking.back_to = Some(version.epoch);
            Some(taking)
        }
        Origin::Adopted | Origin::Undelete | Origin::Graph => None,
    }
}

/// What these mutexes guard is replaced whole: a panic in between leaves nothing half done.
fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
