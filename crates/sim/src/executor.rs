//! One thread, virtual time, one seed: tasks are polled in an order that the seed draws, and time passes only when
//! nobody has anything to do.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{BoxFuture, Either, select};
use jiff::Timestamp;
use opentaco_domain::Clock;
use opentaco_storage::Surroundings;
use opentaco_storage::surroundings::{Entropy, Tasks};

use crate::chooser::{Chooser, Seeded};

/// Nanoseconds since the world began.
pub type Instant = u64;

/// Who a task belongs to: what crashes and pauses together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Requests on their way: they outlive their senders.
    Network,
    /// People and clients.
    Outside,
    /// One life of one replica.
    Replica(usize, u32),
}

/// The world's one thread. Cheap to clone.
#[derive(Clone)]
pub struct Executor {
    state: Arc<Mutex<State>>,
    woken: Arc<Mutex<Vec<u64>>>,
}

struct State {
    now: Instant,
    chooser: Box<dyn Chooser>,
    next: u64,
    tasks: BTreeMap<u64, Task>,
    ready: BTreeSet<u64>,
    timers: BTreeMap<(Instant, u64), Waker>,
    paused: BTreeMap<Group, Instant>,
    polls: u64,
    polled: BTreeSet<Group>,
}

struct Task {
    group: Group,
    future: Option<BoxFuture<'static, ()>>,
}

struct Alarm {
    task: u64,
    woken: Arc<Mutex<Vec<u64>>>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        hold(&self.woken).push(self.task);
    }
}

pub(crate) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor")
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

impl Executor {
    /// A world at its beginning, in which everything that is left open is drawn from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with(Box::new(Seeded::new(seed)))
    }

    /// A world at its beginning, in which somebody chooses what is left open.
    #[must_use]
    pub fn with(chooser: Box<dyn Chooser>) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                now: 0,
                chooser,
                next: 0,
                tasks: BTreeMap::new(),
                ready: BTreeSet::new(),
                timers: BTreeMap::new(),
                paused: BTreeMap::new(),
                polls: 0,
                polled: BTreeSet::new(),
            })),
            woken: Arc::default(),
        }
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        hold(&self.state).now
    }

    /// How often a task was polled so far.
    #[must_use]
    pub fn polls(&self) -> u64 {
        hold(&self.state).polls
    }

    /// Whose tasks were polled since this was last asked.
    #[must_use]
    pub fn take_polled(&self) -> BTreeSet<Group> {
        std::mem::take(&mut hold(&self.state).polled)
    }

    /// Lets so much time pass; whoever sleeps sleeps on until the world runs.
    pub fn pass(&self, duration: Duration) {
        hold(&self.state).now += nanos(duration);
    }

    /// From here on somebody else chooses.
    pub fn choose_by(&self, chooser: Box<dyn Chooser>) {
        hold(&self.state).chooser = chooser;
    }

    /// True in so many of a thousand cases.
    #[must_use]
    pub fn chance(&self, per_mille: u32) -> bool {
        hold(&self.state).chooser.chance(per_mille)
    }

    /// A number below `end`.
    #[must_use]
    pub fn below(&self, end: u64) -> u64 {
        hold(&self.state).chooser.below(end.max(1))
    }

    /// An index below `end`; 0, if there is none.
    #[must_use]
    pub fn index(&self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap_or(0)
    }

    /// One of these; there has to be one.
    #[must_use]
    pub fn one_of<T: Clone>(&self, these: &[T]) -> T {
        these[self.index(these.len())].clone()
    }

    /// 64 bits that nobody else draws.
    #[must_use]
    pub fn bits(&self) -> u64 {
        hold(&self.state).chooser.bits()
    }

    /// Starts a task.
    pub fn spawn(&self, group: Group, future: impl Future<Output = ()> + Send + 'static) {
        self.spawn_boxed(group, Box::pin(future));
    }

    fn spawn_boxed(&self, group: Group, future: BoxFuture<'static, ()>) {
        let mut state = hold(&self.state);
        let id = state.next;
        state.next += 1;
        state.tasks.insert(
            id,
            Task {
                group,
                future: Some(future),
            },
        );
        state.ready.insert(id);
    }

    /// Ends all tasks of a group where they stand.
    pub fn crash(&self, group: Group) {
        let gone: Vec<Task> = {
            let mut state = hold(&self.state);
            let ids: Vec<u64> = state
                .tasks
                .iter()
                .filter(|(_, task)| task.group == group)
                .map(|(id, _)| *id)
                .collect();
            ids.iter().filter_map(|id| state.tasks.remove(id)).collect()
        };
        // Dropped outside of the lock: a future may wake others when it goes.
        drop(gone);
    }

    /// Lets a group stand still for so long, its requests under way excepted.
    pub fn pause(&self, group: Group, duration: Duration) {
        let mut state = hold(&self.state);
        let until = state.now + nanos(duration);
        state.paused.insert(group, until);
    }

    /// Returns after `duration` of virtual time.
    #[must_use]
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep {
            executor: self.clone(),
            until: self.now() + nanos(duration),
            timer: None,
        }
    }

    /// Returns after less than so many milliseconds, as it is drawn.
    pub async fn rest(&self, millis_max: u64) {
        let millis = self.below(millis_max);
        self.sleep(Duration::from_millis(millis)).await;
    }

    /// What a group answers to somebody who waits for so long: what its work comes to. None: it was ended before, or takes
    /// longer.
    pub async fn answer<T: Send + 'static>(
        &self,
        group: Group,
        patience: Duration,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (sender, answered) = oneshot::channel();
        self.spawn(group, async move {
            let _ = sender.send(work.await);
        });
        match select(answered, self.sleep(patience)).await {
            Either::Left((answer, _)) => answer.ok(),
            Either::Right(_) => None,
        }
    }

    /// Runs until nothing is left to do, or `polls_max` polls were made. False: they were.
    pub fn run(&self, polls_max: u64) -> bool {
        self.run_while(polls_max, true)
    }

    /// Runs a story, and everything it begins, as [`Executor::run`] does. Whatever still hangs then goes with its world; so
    /// does every reference that tasks hold to it.
    pub fn play(&self, story: impl Future<Output = ()> + Send + 'static, polls_max: u64) -> bool {
        self.spawn(Group::Outside, story);
        let ended = self.run(polls_max);
        self.end();
        ended
    }

    /// Ends all tasks where they stand.
    pub fn end(&self) {
        let gone = std::mem::take(&mut hold(&self.state).tasks);
        // Dropped outside of the lock, as above.
        drop(gone);
    }

    /// Runs until nothing is left to do at this moment: no time passes. False: `polls_max` polls were made.
    pub fn run_now(&self, polls_max: u64) -> bool {
        self.run_while(polls_max, false)
    }

    fn run_while(&self, polls_max: u64, time_passes: bool) -> bool {
        loop {
            let Some((id, mut future)) = self.next_task(time_passes) else {
                return true;
            };
            let waker = Waker::from(Arc::new(Alarm {
                task: id,
                woken: Arc::clone(&self.woken),
            }));
            let done = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
            let over = {
                let mut state = hold(&self.state);
                state.polls += 1;
                if done {
                    state.tasks.remove(&id);
                } else if let Some(task) = state.tasks.get_mut(&id) {
                    task.future = Some(future);
                    if state.polls > polls_max {
                        return false;
                    }
                    continue;
                }
                state.polls > polls_max
            };
            // Dropped outside of the lock, be it done or crashed while it was polled.
            if over {
                return false;
            }
        }
    }

    /// A task that can go on, time passing (if it may) when there is none.
    fn next_task(&self, time_passes: bool) -> Option<(u64, BoxFuture<'static, ()>)> {
        loop {
            let woken = std::mem::take(&mut *hold(&self.woken));
            let mut state = hold(&self.state);
            let state = &mut *state;
            state.ready.extend(woken);
            state.ready.retain(|id| state.tasks.contains_key(id));
            let now = state.now;
            state.paused.retain(|_, until| *until > now);
            let able: Vec<u64> = state
                .ready
                .iter()
                .copied()
                .filter(|id| {
                    state
                        .tasks
                        .get(id)
                        .is_some_and(|task| !state.paused.contains_key(&task.group))
                })
                .collect();
            if !able.is_empty() {
                let id = able[state.chooser.task(able.len())];
                state.ready.remove(&id);
                let Some(task) = state.tasks.get_mut(&id) else {
                    continue;
                };
                let Some(future) = task.future.take() else {
                    continue;
                };
                state.polled.insert(task.group);
                return Some((id, future));
            }
            if !time_passes {
                return None;
            }
            let timer = state.timers.keys().next().map(|(at, _)| *at);
            let pause = (!state.ready.is_empty())
                .then(|| state.paused.values().min().copied())
                .flatten();
            let next = match (timer, pause) {
                (None, None) => return None,
                (Some(at), None) | (None, Some(at)) => at,
                (Some(a), Some(b)) => a.min(b),
            };
            state.now = state.now.max(next);
            let now = state.now;
            let due: Vec<_> = state
                .timers
                .range(..=(now, u64::MAX))
                .map(|(key, _)| *key)
                .collect();
            for key in due {
                if let Some(waker) = state.timers.remove(&key) {
                    waker.wake();
                }
            }
        }
    }

    /// What the code of one replica's life is given.
    #[must_use]
    pub fn surroundings(&self, group: Group) -> Surroundings {
        self.surroundings_with_clock(group, 0)
    }

    /// The same, with a clock that is so many seconds fast; slow, if there are less than none.
    #[must_use]
    pub fn surroundings_with_clock(&self, group: Group, fast_seconds: i64) -> Surroundings {
        let world = World {
            executor: self.clone(),
            group,
            fast_seconds,
        };
        Surroundings {
            clock: Arc::new(world.clone()),
            entropy: Arc::new(world.clone()),
            tasks: Arc::new(world),
        }
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4)
}

/// See [`Executor::sleep`].
pub struct Sleep {
    executor: Executor,
    until: Instant,
    timer: Option<(Instant, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let executor = self.executor.clone();
        let mut state = hold(&executor.state);
        if let Some(timer) = self.timer.take() {
            state.timers.remove(&timer);
        }
        if state.now >= self.until {
            return Poll::Ready(());
        }
        let timer = (self.until, state.next);
        state.next += 1;
        state.timers.insert(timer, context.waker().clone());
        self.timer = Some(timer);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            hold(&self.executor.state).timers.remove(&timer);
        }
    }
}

#[derive(Clone, Debug)]
struct World {
    executor: Executor,
    group: Group,
    fast_seconds: i64,
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        let nanos = i128::from(self.executor.now()) + i128::from(self.fast_seconds) * 1_000_000_000;
        Timestamp::from_nanosecond(BEGINNING + nanos).unwrap_or_default()
    }
}

/// The world begins on a day of 2026.
const BEGINNING: i128 = 1_790_000_000_000_000_000;

impl Entropy for World {
    fn draw(&self) -> u64 {
        self.executor.bits()
    }
}

impl Tasks for World {
    fn spawn(&self, work: BoxFuture<'static, ()>) {
        self.executor.spawn_boxed(self.group, work);
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(self.executor.sleep(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(seed: u64) -> Vec<(u64, u64)> {
        let executor = Executor::new(seed);
        let seen: Arc<Mutex<Vec<(u64, u64)>>> = Arc::default();
        for task in 0..5 {
            let (inside, seen) = (executor.clone(), Arc::clone(&seen));
            executor.spawn(Group::Outside, async move {
                for _ in 0..3 {
                    let wait = inside.below(1000);
                    inside.sleep(Duration::from_nanos(wait)).await;
                    hold(&seen).push((task, inside.now()));
                }
            });
        }
        assert!(executor.run(1000));
        hold(&seen).clone()
    }

    #[test]
    fn one_seed_is_one_order_and_another_seed_another() {
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }

    #[test]
    fn a_crash_ends_the_tasks_of_one_group_and_a_pause_holds_them() {
        let executor = Executor::new(1);
        let seen: Arc<Mutex<Vec<&str>>> = Arc::default();
        for (group, name) in [
            (Group::Replica(0, 0), "a"),
            (Group::Replica(1, 0), "b"),
            (Group::Outside, "c"),
        ] {
            let (inside, seen) = (executor.clone(), Arc::clone(&seen));
            executor.spawn(group, async move {
                inside.sleep(Duration::from_secs(2)).await;
                hold(&seen).push(name);
            });
        }
        executor.pause(Group::Replica(1, 0), Duration::from_secs(9));
        let inside = executor.clone();
        executor.spawn(Group::Outside, async move {
            inside.sleep(Duration::from_secs(1)).await;
            inside.crash(Group::Replica(0, 0));
        });
        assert!(executor.run(1000));
        assert_eq!(*hold(&seen), ["c", "b"]);
        assert_eq!(
            executor.now(),
            11_000_000_000,
            "the pause came first, the sleep after it"
        );
    }
}
