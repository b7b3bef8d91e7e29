//! The lock copy: a courtesy to people who look into the bucket. Written behind the answer, in the order of this
//! replica's decisions, the latest only; nothing ever depends on it.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use opentaco_domain::UnitId;
use tokio::sync::Notify;

use crate::bucket::Kind;
use crate::head::Lock;
use crate::vault::{Vault, hold};
use crate::StorageError;

/// What this replica has yet to write.
#[derive(Debug, Default)]
pub(crate) struct LockCopies {
    pending: Mutex<HashMap<UnitId, Pending>>,
    idle: Notify,
}

/// What the lock copy of a unit should say. `wanted` is none while the last wish is being written.
#[derive(Debug)]
struct Pending {
    wanted: Option<Wish>,
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

    /// Returns when this replica has no lock copy left to write.
    pub(crate) async fn lock_copies_written(&self) {
        loop {
            let idle = self.lock_copies().idle.notified();
            if hold(&self.lock_copies().pending).is_empty() {
                return;
            }
            idle.await;
        }
    }

    fn wish(&self, unit: &UnitId, wish: Wish) {
        {
            let mut pending = hold(&self.lock_copies().pending);
            if let Some(writing) = pending.get_mut(unit) {
                writing.wanted = Some(wish);
                return;
            }
            pending.insert(unit.clone(), Pending { wanted: Some(wish) });
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

    /// The wish to write now; none when all are written, and the unit is no longer pending.
    fn next_wish(&self, unit: &UnitId) -> Option<Wish> {
        let mut pending = hold(&self.lock_copies().pending);
        let wish = pending.get_mut(unit).and_then(|writing| writing.wanted.take());
        if wish.is_none() {
            pending.remove(unit);
            if pending.is_empty() {
                self.lock_copies().idle.notify_waiters();
            }
        }
        wish
    }

    async fn grant(&self, unit: &UnitId, wish: &Wish) -> Result<(), StorageError> {
        let layout = self.bucket().layout();
        match wish {
            Wish::Present(lock) => {
                let bytes = serde_json::to_vec(&lock.info).map(Bytes::from).unwrap_or_default();
                self.bucket().put(Kind::LockCopy, &layout.lock_copy(unit), bytes, &[]).await
            }
            Wish::Absent { adopted } => {
                self.bucket().delete(Kind::LockCopy, &layout.lock_copy(unit)).await?;
                if *adopted {
                    self.bucket().delete(Kind::LockCopy, &layout.foreign_lock(unit)).await?;
                }
                Ok(())
            }
        }
    }
}
