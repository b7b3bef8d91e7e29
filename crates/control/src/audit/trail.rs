//! Events on their way into the bucket: gathered for a second, sealed into a segment, put where nothing is.
//!
//! One task writes, and only while there is something to write: a service that nobody asks anything writes nothing. A
//! bucket that does not answer is asked again and again; what is told meanwhile waits in memory, and when there is no
//! room left it is let go, loudly: the log says so, a number counts it, and the next segment of the chain tells how many
//! are missing.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use jiff::{SignedDuration, Timestamp};
use opentaco_domain::audit::segment::{Beside, Replica, SPAN};
use opentaco_domain::audit::{Draft, Event, Seal};
use opentaco_domain::{Caller, Sha256};
use opentaco_storage::segments::{DAY, Segments, Stored};
use opentaco_storage::{Bucket, Surroundings};
use tokio::sync::{Notify, watch};

use super::Unwritten;
use crate::open::chain;

/// How long events are gathered.
const GATHERED: Duration = Duration::from_secs(1);
/// How many events are not gathered any longer.
const GATHERED_MAX: usize = 1024;
/// How many events a segment has at most.
const SEGMENT_MAX: usize = 8 * 1024;
/// How many events wait in memory for a bucket that does not answer: some 20 MB.
const WAITING_MAX: usize = 32 * 1024;
/// How long somebody waits for an event to be written.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the first segment waits for what is to be seen of others.
const LOOKING: Duration = Duration::from_secs(3);
/// How long to wait before a segment is tried again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// After how long somebody who looks at the audit again is told to have done so.
const READ_AGAIN: SignedDuration = SignedDuration::from_mins(1);
/// Of how many other chains the first segment tells how far they were seen.
const BESIDE_MAX: usize = 1024;

/// How the audit does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Events told so far.
    pub told: u64,
    /// Events that are not written yet.
    pub waiting: u64,
    /// Events that were let go.
    pub lost: u64,
}

/// The chain of this process, as far as it is written, and what waits to be.
#[derive(Debug)]
pub(super) struct Trail {
    segments: Segments,
    surroundings: Surroundings,
    seal: Option<Arc<dyn Seal>>,
    queue: Mutex<Queue>,
    hurry: Notify,
    progress: watch::Sender<Progress>,
    /// Who has looked at the audit lately.
    readers: Mutex<BTreeMap<String, Timestamp>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// How many of the events that were taken are written.
    written: u64,
    closed: bool,
}

#[derive(Debug)]
struct Queue {
    replica: Replica,
    /// The place of the next segment.
    next: u64,
    previous: Option<Sha256>,
    pending: VecDeque<Event>,
    /// How many events were taken so far; with those that were let go, how many were told.
    taken: u64,
    lost: u64,
    /// How many were let go since the last segment.
    lost_unsaid: u64,
    /// Whether the task that writes is at work.
    writing: bool,
    /// Whether somebody waits.
    hurried: bool,
    closing: bool,
}

impl Trail {
    pub(super) fn new(bucket: Bucket, seal: Option<Arc<dyn Seal>>) -> Self {
        let surroundings = bucket.surroundings().clone();
        let queue = Queue {
            replica: Replica::new(surroundings.entropy.draw()),
            next: 0,
            previous: None,
            pending: VecDeque::new(),
            taken: 0,
            lost: 0,
            lost_unsaid: 0,
            writing: false,
            hurried: false,
            closing: false,
        };
        Self {
            segments: Segments::new(bucket),
            surroundings,
            seal,
            queue: Mutex::new(queue),
            hurry: Notify::new(),
            progress: watch::Sender::new(Progress::default()),
            readers: Mutex::default(),
        }
    }

    /// Whether it is a while since this caller was told to have looked at the audit.
    pub(super) fn is_new_reader(&self, caller: &Caller) -> bool {
        let now = self.now();
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|_, at| (SignedDuration::ZERO..READ_AGAIN).contains(&now.duration_since(*at)));
        // Somebody else with a copy of their token is another reader.
        let asked = caller.asked();
        let via = asked.and_then(|asked| asked.via.as_deref()).unwrap_or_default();
        let address = asked
            .and_then(|asked| asked.address.as_deref())
            .unwrap_or_default();
        let reader = format!("{}\n{via}\n{address}", caller.principal());
        let is_new = !readers.contains_key(&reader);
        if is_new {
            readers.insert(reader, now);
        }
        is_new
    }

    /// Takes an event; which place it has among all that were taken, or that there was no room.
    pub(super) fn tell(self: &Arc<Self>, mut event: Event) -> Option<u64> {
        let mut queue = self.hold();
        // Under the lock: of two events the later one is not queued first, which would split a segment.
        event.at = self.now();
        if queue.closing || queue.pending.len() >= WAITING_MAX {
            queue.lost += 1;
            queue.lost_unsaid += 1;
            if queue.lost_unsaid == 1 {
                tracing::error!(
                    waiting = queue.pending.len(),
                    stopping = queue.closing,
                    "the audit cannot be written, and events are let go from here on; their lines are in this log"
                );
            }
            return None;
        }
        queue.pending.push_back(event);
        queue.taken += 1;
        if queue.pending.len() >= GATHERED_MAX {
            self.hurry.notify_one();
        }
        self.begin_to_write(&mut queue);
        Some(queue.taken)
    }

    /// Takes an event, and returns when it is written.
    pub(super) async fn write(self: &Arc<Self>, event: Event) -> Result<(), Unwritten> {
        let place = self.tell(event).ok_or(Unwritten)?;
        self.until_written(place).await
    }

    /// Returns when everything that was taken before is written.
    pub(super) async fn flush(self: &Arc<Self>) -> Result<(), Unwritten> {
        let taken = self.hold().taken;
        self.until_written(taken).await
    }

    /// Writes what is left, and the last segment.
    pub(super) async fn close(self: &Arc<Self>) {
        let mut progress = self.progress.subscribe();
        {
            let mut queue = self.hold();
            queue.closing = true;
            if queue.taken == 0 {
                return;
            }
            self.begin_to_write(&mut queue);
        }
        self.hurry.notify_one();
        let closed = pin!(progress.wait_for(|progress| progress.closed));
        if let Either::Right(_) = select(closed, self.surroundings.tasks.sleep(PATIENCE)).await {
            tracing::error!("stopping without the last events of the audit; their lines are in this log");
        }
    }

    pub(super) fn numbers(&self) -> Numbers {
        let queue = self.hold();
        Numbers {
            told: queue.taken + queue.lost,
            waiting: queue.taken - self.progress.borrow().written,
            lost: queue.lost,
        }
    }

    async fn until_written(self: &Arc<Self>, place: u64) -> Result<(), Unwritten> {
        let mut progress = self.progress.subscribe();
        if progress.borrow().written >= place {
            return Ok(());
        }
        self.hold().hurried = true;
        self.hurry.notify_one();
        let written = pin!(progress.wait_for(|progress| progress.written >= place));
        match select(written, self.surroundings.tasks.sleep(PATIENCE)).await {
            Either::Left((Ok(_), _)) => Ok(()),
            Either::Left((Err(_), _)) | Either::Right(_) => Err(Unwritten),
        }
    }

    fn begin_to_write(self: &Arc<Self>, queue: &mut Queue) {
        if !queue.writing {
            queue.writing = true;
            let trail = Arc::clone(self);
            let work = async move { trail.write_all().await };
            self.surroundings.tasks.spawn(Box::pin(work));
        }
    }

    /// Writes until nothing is left.
    async fn write_all(&self) {
        loop {
            if !self.is_hurried() {
                let gathered = self.surroundings.tasks.sleep(GATHERED);
                let _why = select(gathered, pin!(self.hurry.notified())).await;
            }
            let is_first = self.hold().next == 0;
            let beside = match is_first {
                true => self.chains_beside_soon().await,
                false => Vec::new(),
            };
            let Some(draft) = self.cut(beside) else { return };
            let (events, is_last) = (draft.events.len() as u64, draft.last);
            self.put(draft).await;
            self.progress.send_modify(|progress| {
                progress.written += events;
                progress.closed |= is_last;
            });
        }
    }

    fn is_hurried(&self) -> bool {
        let queue = self.hold();
        queue.hurried || queue.closing || queue.pending.len() >= GATHERED_MAX
    }

    /// The next segment, of what waits by now. None: nothing does, and the task ends.
    fn cut(&self, beside: Vec<Beside>) -> Option<Draft> {
        let mut queue = self.hold();
        let first = queue.pending.front().map(|event| event.at);
        let is_closed = self.progress.borrow().closed;
        if first.is_none() && (!queue.closing || is_closed) {
            queue.writing = false;
            queue.hurried = false;
            return None;
        }
        let at = first.unwrap_or_else(|| self.now());
        // A clock that was set back begins another segment, so that each begins with its earliest event.
        let fits = |event: &&Event| (SignedDuration::ZERO..SPAN).contains(&event.at.duration_since(at));
        let n = queue.pending.iter().take(SEGMENT_MAX).take_while(fits).count();
        let events: Vec<Event> = queue.pending.drain(..n).collect();
        let is_all = queue.pending.is_empty();
        // What did not fit is written at once.
        queue.hurried = !is_all;
        Some(Draft {
            replica: queue.replica,
            sequence: queue.next,
            previous: queue.previous,
            lost: std::mem::take(&mut queue.lost_unsaid),
            beside,
            last: queue.closing && is_all,
            at,
            events,
        })
    }

    /// Puts a segment, however long that takes.
    async fn put(&self, mut draft: Draft) {
        let mut pause = PAUSE.0;
        loop {
            let (id, bytes) = draft.sealed(self.seal.as_deref());
            let bytes = Bytes::from(bytes);
            match self.segments.put(&id, &bytes).await {
                Ok(Stored::Done) => {
                    let mut queue = self.hold();
                    queue.next = draft.sequence + 1;
                    queue.previous = Some(Sha256::of(&bytes));
                    return;
                }
                Ok(Stored::Taken) => {
                    tracing::error!(
                        segment = %id,
                        "something that this process did not write lies where the next segment of the audit belongs; it goes into the place after it"
                    );
                    draft.sequence += 1;
                }
                Err(error) => {
                    tracing::warn!(segment = %id, cause = chain(&error), "a segment of the audit could not be written; trying again");
                    self.surroundings.tasks.sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
    }

    /// As [`Self::chains_beside`], if that is told soon: events do not wait for it.
    async fn chains_beside_soon(&self) -> Vec<Beside> {
        let looked = pin!(self.chains_beside());
        match select(looked, self.surroundings.tasks.sleep(LOOKING)).await {
            Either::Left((beside, _)) => beside,
            Either::Right(_) => {
                tracing::warn!(
                    "the audit of other replicas was not listed in time, so this one does not vouch for how far they came"
                );
                Vec::new()
            }
        }
    }

    /// How far the chains of others have come that wrote something in the last day.
    async fn chains_beside(&self) -> Vec<Beside> {
        let now = self.now();
        let (from, to) = (
            now.saturating_sub(DAY).unwrap_or(now),
            now.saturating_add(SignedDuration::from_hours(1)).unwrap_or(now),
        );
        match self.segments.between(from, to).await {
            Ok(ids) => {
                let mut last: BTreeMap<Replica, u64> = BTreeMap::new();
                for id in ids {
                    let furthest = last.entry(id.replica).or_default();
                    *furthest = (*furthest).max(id.sequence);
                }
                let all = last.into_iter().take(BESIDE_MAX);
                all.map(|(replica, sequence)| Beside { replica, sequence })
                    .collect()
            }
            Err(error) => {
                tracing::warn!(
                    cause = chain(&error),
                    "the audit of other replicas cannot be listed, so this one does not vouch for how far they came"
                );
                Vec::new()
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.surroundings.clock.now()
    }

    fn hold(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
