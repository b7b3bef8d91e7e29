//! Replicas over one bucket: each lives, dies, and begins anew, in the large world and in the small ones.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::channel::oneshot;
use opentaco_storage::{Bucket, Surroundings};

use crate::bucket::SimBucket;
use crate::executor::{Executor, Group, hold};

/// One life of a replica: which replica it is, and how often that died before.
pub type Life = (usize, u32);

/// The last life of each replica, and what answers for it: `R`. Cheap to clone.
#[derive(Clone)]
pub struct Replicas<R> {
    executor: Executor,
    bucket: SimBucket,
    last: Arc<Mutex<Vec<(Life, R)>>>,
}

impl<R: Clone + Send + 'static> Replicas<R> {
    /// None yet, over this bucket.
    pub fn new(executor: &Executor, bucket: &SimBucket) -> Self {
        Self {
            executor: executor.clone(),
            bucket: bucket.clone(),
            last: Arc::default(),
        }
    }

    /// What the code of a life is given.
    pub fn ground(&self, life: Life) -> (Bucket, Surroundings) {
        self.ground_with_clock(life, 0)
    }

    /// The same, with a clock that is so many seconds fast; slow, if there are less than none.
    pub fn ground_with_clock(&self, life: Life, fast_seconds: i64) -> (Bucket, Surroundings) {
        let surroundings = self.executor.surroundings_with_clock(group(life), fast_seconds);
        let door = Arc::new(self.bucket.door(group(life)));
        (Bucket::new(door, "", surroundings.clone()), surroundings)
    }

    /// Begins a life, and returns once it can be asked.
    pub async fn begin<F>(&self, life: Life, open: impl FnOnce(Bucket, Surroundings) -> F)
    where
        F: Future<Output = R> + Send + 'static,
    {
        let (bucket, surroundings) = self.ground(life);
        let opening = open(bucket, surroundings);
        let (sender, opened) = oneshot::channel();
        self.executor.spawn(group(life), async move {
            let _ = sender.send(opening.await);
        });
        if let Ok(replica) = opened.await {
            self.put(life, replica);
        }
    }

    /// From here on this life is asked, and the one before it no more.
    pub fn put(&self, life: Life, replica: R) {
        let mut last = hold(&self.last);
        match last.get_mut(life.0) {
            Some(before) => *before = (life, replica),
            None => last.push((life, replica)),
        }
    }

    /// A life is over, and the next one of the same replica begins.
    pub fn restart(&self, life: Life, start: impl FnOnce(Life) -> R) {
        self.crash(life);
        self.put(next(life), start(next(life)));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        hold(&self.last).len()
    }

    /// The last life of this one.
    pub fn get(&self, index: usize) -> (Life, R) {
        hold(&self.last)[index].clone()
    }

    /// The last life of each.
    pub fn all(&self) -> Vec<(Life, R)> {
        hold(&self.last).clone()
    }

    /// The last life of one of them, as it is drawn.
    pub fn any(&self) -> (Life, R) {
        self.executor.one_of(&hold(&self.last))
    }

    /// What a life answers to somebody who waits for so long; see [`Executor::answer`].
    pub async fn ask<T: Send + 'static>(
        &self,
        life: Life,
        patience: Duration,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.executor.answer(group(life), patience, work).await
    }

    /// A life is over.
    pub fn crash(&self, life: Life) {
        self.executor.crash(group(life));
    }

    /// A life stands still for so long.
    pub fn pause(&self, life: Life, duration: Duration) {
        self.executor.pause(group(life), duration);
    }

    /// One of them stands still for up to so many seconds, in so many of a thousand cases; else it dies, and the life that
    /// is to begin is returned.
    pub fn strike(&self, pauses_per_mille: u32, pause_seconds_max: u64) -> Option<Life> {
        let (life, _) = self.any();
        if self.executor.chance(pauses_per_mille) {
            let seconds = 1 + self.executor.below(pause_seconds_max);
            self.pause(life, Duration::from_secs(seconds));
            return None;
        }
        self.crash(life);
        Some(next(life))
    }

    /// All of them die; what they have sent lands without them.
    pub fn end(&self) {
        for (life, _) in self.all() {
            self.crash(life);
        }
    }
}

fn next((index, life): Life) -> Life {
    (index, life + 1)
}

/// What belongs to a life.
#[must_use]
pub fn group((index, life): Life) -> Group {
    Group::Replica(index, life)
}
