//! The lock copy: a courtesy to people who look into the bucket. Written behind the answer, in the order of this
//! replica's decisions, the latest only; nothing ever depends on it.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use opentaco_domain::UnitId;
use tokio::sync::Notify;

use crate::StorageError;
use crate::bucket::Kind;
use crate::head::Lock;
use crate::vault::{Vault, hold};

/// What this replica has yet to write.
#[derive(Debug, Default)]
pub(crate) struct LockCopies {
    pending: Mutex<Wishes>,
    granted: Notify,
}

#[derive(Debug, Default)]
struct Wishes {
    by_unit: HashMap<UnitId, Pending>,
    /// How many wishes there have been so far.
    count: u64,
}

/// What the lock copy of a unit should say. Wishes are numbered in the order they were made.
#[derive(Debug, Default)]
struct Pending {
    /// The latest wish, with the number of the oldest one that it overtook.
    wanted: Option<(Wish, u64)>,
    /// The number of the wish that is being written.
    writing: Option<u64>,
}

impl Pending {
    /// Whether everything that was wished up to `number` is written.
    fn is_past(&self, number: u64) -> bool {
        self.writing.is_none_or(|writing| writing > number)
            && self.wanted.as_ref().is_none_or(|(_, oldest)| *oldest > number)
    }
}

#[derive(Debug, Clone)]
enum Wish {
    Present(Box<Lock>),
    Absent { adopted: bool },
}

impl Vault {
    /// Writes the lock copy behind the answer.
    pub(crate) fn show_lock(&self, unit: &UnitId, lock: &Lock) {
        self.wish(unit, Wish::Present(Box::new(lock.clone())));
    }

    /// Removes the lock copy behind the answer, and the lock file of another tool if that is where the lock was found.
    pub(crate) fn hide_lock(&self, unit: &UnitId, adopted: bool) {
        self.wish(unit, Wish::Absent { adopted });
    }

    /// Returns when every lock copy that this replica has yet to write is written. Later wishes are not waited for.
    pub(crate) async fn lock_copies_written(&self) {
        let until = hold(&self.lock_copies().pending).count;
        loop {
            let granted = self.lock_copies().granted.notified();
            if hold(&self.lock_copies().pending)
                .by_unit
                .values()
                .all(|of_unit| of_unit.is_past(until))
            {
                return;
            }
            granted.await;
        }
    }

    fn wish(&self, unit: &UnitId, wish: Wish) {
        let is_new = {
            let mut pending = hold(&self.lock_copies().pending);
            pending.count += 1;
            let number = pending.count;
            let is_new = !pending.by_unit.contains_key(unit);
            let of_unit = pending.by_unit.entry(unit.clone()).or_default();
            let oldest = of_unit.wanted.as_ref().map_or(number, |(_, oldest)| *oldest);
            of_unit.wanted = Some((wish, oldest));
            is_new
        };
        if !is_new {
            return;
        }
        let vault = self.clone();
        let unit = unit.clone();
        self.behind(async move {
            while let Some(wish) = vault.next_wish(&unit) {
                if let Err(error) = vault.grant(&unit, &wish).await {
                    tracing::warn!(%unit, %error, "the lock copy in the bucket is not up to date; nothing depends on it");
                }
            }
        });
    }

    /// The wish to write now, the one before being written; none when all are, and the unit is no longer pending.
    fn next_wish(&self, unit: &UnitId) -> Option<Wish> {
        let mut pending = hold(&self.lock_copies().pending);
        let of_unit = pending.by_unit.get_mut(unit)?;
        let next = of_unit.wanted.take();
        of_unit.writing = next.as_ref().map(|(_, oldest)| *oldest);
        if next.is_none() {
            pending.by_unit.remove(unit);
        }
        self.lock_copies().granted.notify_waiters();
        next.map(|(wish, _)| wish)
    }

    async fn grant(&self, unit: &UnitId, wish: &Wish) -> Result<(), StorageError> {
        let layout = self.bucket().layout();
        match wish {
            Wish::Present(lock) => {
                let bytes = serde_json::to_vec(&lock.info)
                    .map(Bytes::from)
                    .unwrap_or_default();
                self.bucket()
                    .put(Kind::LockCopy, &layout.lock_copy(unit), bytes, &[])
                    .await
            }
            Wish::Absent { adopted } => {
                self.bucket()
                    .delete(Kind::LockCopy, &layout.lock_copy(unit))
                    .await?;
                if *adopted {
                    self.bucket()
                        .delete(Kind::LockCopy, &layout.foreign_lock(unit))
                        .await?;
                }
                Ok(())
            }
        }
    }
}
