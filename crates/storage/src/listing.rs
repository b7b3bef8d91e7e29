//! Listing units: one page of names per thousand objects under the state names, never a request per unit, and never a
//! page of history. The names of ours are folded into one by the store, or jumped over where it cannot fold.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use opentaco_domain::unit::{GRAPH_UNIT, RESERVED};
use opentaco_domain::{UnitId, UnitPrefix, limits};

use crate::StorageError;
use crate::bucket::{Kind, Listing, Meta, Page};
use crate::head::Head;
use crate::heads::Known;
use crate::layout::Listed;
use crate::vacancy::{is_vacant, may_be_vacant};
use crate::vault::Vault;

/// How old a remembered head may be to tell a created unit from a deleted one, or its labels.
const HEAD_AGE_MAX: SignedDuration = SignedDuration::from_secs(60);

/// A unit as a listing shows it.
#[derive(Debug, Clone)]
pub struct ListedUnit {
    /// Which.
    pub unit: UnitId,
    /// Size of its state, in bytes; 0 for a unit without one.
    pub size: u64,
    /// When its state was last written, by the clock of the store.
    pub updated: Timestamp,
    /// Whether a lock copy lies beside it.
    pub locked: bool,
    /// Its head, where the listing had to read it.
    pub head: Option<Arc<Head>>,
    /// MD5 of its state in base64, where it is known without asking.
    pub md5: Option<String>,
}

/// One page of units.
#[derive(Debug, Default)]
pub struct Units {
    /// In the byte order of their names in the bucket.
    pub units: Vec<ListedUnit>,
    /// What to give as `after` for the next page.
    pub next: Option<String>,
    /// How many keys look like states and cannot be units.
    pub skipped: u64,
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListUnits {
    /// Only units whose id starts so.
    pub prefix: UnitPrefix,
    /// Only units after this position, as told by the page before.
    pub after: Option<String>,
    /// At most so many.
    pub limit: Option<usize>,
    /// Only units that have all of these labels.
    pub labels: BTreeMap<String, String>,
}

/// Whether a unit is shown to whoever asks.
pub type Shown<'a> = &'a (dyn Fn(&UnitId) -> bool + Send + Sync);

#[derive(Default)]
struct Found {
    copies: BTreeMap<String, (ListedUnit, Meta)>,
    locked: HashSet<UnitId>,
    skipped: u64,
}

impl Vault {
    /// Lists units.
    ///
    /// # Errors
    /// If the bucket gives no answer. A key that cannot be a unit is skipped and counted.
    pub async fn list(&self, wanted: &ListUnits) -> Result<Units, StorageError> {
        self.list_shown(wanted, &|_| true).await
    }

    /// Lists the units that are shown, as if there were no others: they fill pages, and nothing is read of the rest.
    ///
    /// # Errors
    /// See [`Vault::list`].
    pub async fn list_shown(&self, wanted: &ListUnits, shown: Shown<'_>) -> Result<Units, StorageError> {
        self.lock_copies_written().await;
        let mut after = wanted.after.clone();
        let mut units = Units::default();
        loop {
            let missing = wanted.limit.map(|limit| limit - units.units.len());
            let (found, next) = self
                .names(&wanted.prefix, after.as_deref(), missing, shown)
                .await?;
            units.skipped += found.skipped;
            let mut listed = self.with_heads(found, !wanted.labels.is_empty()).await?;
            listed.retain(|unit| has_labels(unit, &wanted.labels));
            units.units.extend(listed);
            units.next.clone_from(&next);
            match next {
                // Tombstones and other labels have thinned the page out: go on until it is full.
                Some(next) if wanted.limit.is_some_and(|limit| units.units.len() < limit) => {
                    after = Some(next);
                }
                _ => return Ok(units),
            }
        }
    }

    /// Copies in the bucket, at most so many, and where to go on.
    async fn names(
        &self,
        prefix: &UnitPrefix,
        after: Option<&str>,
        limit: Option<usize>,
        shown: Shown<'_>,
    ) -> Result<(Found, Option<String>), StorageError> {
        let layout = self.bucket().layout();
        let start = format!("{}{}", layout.prefix(), prefix.as_str());
        let mut found = Found::default();
        let is_listed = |unit: &UnitId| prefix.matches(unit) && shown(unit);
        let enough = |found: &Found| limit.is_some_and(|limit| found.copies.len() > limit);

        // The one name of ours that is a unit is asked for by itself, at the same time.
        let graph = async {
            if GRAPH_UNIT.starts_with(prefix.as_str()) || prefix.as_str().starts_with(GRAPH_UNIT) {
                let graph = format!("{}{GRAPH_UNIT}/", layout.prefix());
                self.list_all(Kind::Units, &graph).await
            } else {
                Ok(Vec::new())
            }
        };
        if prefix.as_str().starts_with(RESERVED) {
            for (key, meta) in graph.await? {
                self.take(&mut found, &key, &meta, is_listed, after);
            }
            return Ok((found, None));
        }

        // A prefix that ends inside `__opentaco_` hides the word from the store's folding.
        let fold = (!RESERVED.starts_with(prefix.as_str()) || prefix.as_str().is_empty()).then_some(RESERVED);
        let mut listing = Listing {
            prefix: &start,
            after: after.map(str::to_owned),
            page: None,
            fold,
        };
        let pages = async {
            loop {
                let page = self.bucket().list(Kind::Units, listing.clone()).await?;
                for (key, meta) in &page.objects {
                    self.take(&mut found, key, meta, is_listed, after);
                }
                for folded in self.unfold(&page).await? {
                    for (key, meta) in folded {
                        self.take(&mut found, &key, &meta, is_listed, after);
                    }
                }
                let inside = page
                    .objects
                    .last()
                    .is_some_and(|(key, _)| key.starts_with(&layout.reserved()));
                match page.next {
                    None => return Ok(()),
                    Some(_) if enough(&found) => return Ok(()),
                    Some(_) if inside => {
                        listing.after = Some(layout.after_reserved());
                        listing.page = None;
                    }
                    Some(next) => listing.page = Some(next),
                }
            }
        };
        let (graph, ()) = futures::try_join!(graph, pages)?;
        for (key, meta) in graph {
            self.take(&mut found, &key, &meta, is_listed, after);
        }

        let next = limit.filter(|_| enough(&found)).and_then(|limit| {
            let last = found.copies.keys().nth(limit.saturating_sub(1)).cloned()?;
            found.copies = found
                .copies
                .iter()
                .take(limit)
                .map(|(key, copy)| (key.clone(), copy.clone()))
                .collect();
            Some(last)
        });
        Ok((found, next))
    }

    /// Names in which `__opentaco_` stands somewhere inside are units like any other.
    async fn unfold(&self, page: &Page) -> Result<Vec<Vec<(String, Meta)>>, StorageError> {
        let reserved = self.bucket().layout().reserved();
        let mut all = Vec::new();
        for folded in page.folded.iter().filter(|folded| !folded.starts_with(&reserved)) {
            all.push(self.list_all(Kind::Units, folded).await?);
        }
        Ok(all)
    }

    fn take(
        &self,
        found: &mut Found,
        key: &str,
        meta: &Meta,
        is_listed: impl Fn(&UnitId) -> bool,
        after: Option<&str>,
    ) {
        match self.bucket().layout().listed(key) {
            Listed::Copy(unit) if after.is_none_or(|after| key > after) && is_listed(&unit) => {
                let listed = ListedUnit {
                    unit,
                    size: meta.size,
                    updated: meta.modified,
                    locked: false,
                    head: None,
                    md5: None,
                };
                found.copies.insert(key.to_owned(), (listed, meta.clone()));
            }
            Listed::LockCopy(unit) => {
                found.locked.insert(unit);
            }
            Listed::Other
                if key.ends_with(".tfstate") && !key.starts_with(&self.bucket().layout().reserved()) =>
            {
                tracing::warn!(
                    key,
                    "this key looks like a state and cannot be a unit; it is left out of the listing"
                );
                found.skipped += 1;
            }
            Listed::Copy(_) | Listed::Other => {}
        }
    }

    /// Reads the heads that a listing cannot do without: of units whose copy may hold no state, or all for their labels.
    async fn with_heads(&self, found: Found, all: bool) -> Result<Vec<ListedUnit>, StorageError> {
        let Found { copies, locked, .. } = found;
        let units: Vec<Option<ListedUnit>> = stream::iter(copies.into_values())
            .map(|(mut listed, copy)| {
                listed.locked = locked.contains(&listed.unit);
                listed.md5 = self.remembered(&listed.unit).and_then(|known| {
                    let current = known.head.current.as_ref()?;
                    known.head.copy_is_current(&copy).then(|| current.md5.clone())?
                });
                async move {
                    let known = match all || may_be_vacant(&copy) {
                        true => self.recent_head(&listed.unit).await?,
                        false => None,
                    };
                    let head = known.as_ref().map(|known| &*known.head);
                    let current = head.and_then(|head| head.current.as_ref());
                    if self.holds_note(&listed.unit, head, &copy).await? {
                        listed.size = 0;
                    } else if let Some(current) = current.filter(|_| may_be_vacant(&copy)) {
                        // Its copy may be behind, and what it holds then is not the size of a state.
                        listed.size = current.size;
                    }
                    if !all && listed.size > 0 && current.is_none() {
                        if listed.locked && !self.is_known_to_be_locked(&listed.unit) {
                            self.repair_lock_copy_behind(&listed.unit, true);
                        }
                        return Ok(Some(listed));
                    }
                    let Some(known) = known else {
                        return Ok(Some(listed));
                    };
                    if !known.head.exists() {
                        self.expire_behind(&listed.unit, &known.head);
                        return Ok(None);
                    }
                    if listed.locked != known.head.lock.is_some() {
                        self.repair_lock_copy_behind(&listed.unit, listed.locked);
                        listed.locked = known.head.lock.is_some();
                    }
                    listed.head = Some(known.head);
                    Ok::<_, StorageError>(Some(listed))
                }
            })
            .buffered(limits::HEADS_READ_AT_ONCE)
            .try_collect()
            .await?;
        Ok(units.into_iter().flatten().collect())
    }

    /// Whether what was seen of a copy is a note that there is no state.
    pub(crate) async fn holds_note(
        &self,
        unit: &UnitId,
        head: Option<&Head>,
        copy: &Meta,
    ) -> Result<bool, StorageError> {
        if copy.size == 0 || !may_be_vacant(copy) || head.is_some_and(|head| head.current.is_some()) {
            return Ok(false);
        }
        let record = head.and_then(|head| head.copy.as_ref());
        if record.is_some_and(|record| record.version.is_none() && record.is(copy)) {
            return Ok(true);
        }
        let key = self.bucket().layout().copy(unit);
        let fetched = self.bucket().fetch(Kind::Copy, &key).await?;
        Ok(fetched.is_some_and(|(_, bytes)| is_vacant(&bytes)))
    }

    /// A head from memory, up to a minute old, or else from the bucket.
    async fn recent_head(&self, unit: &UnitId) -> Result<Option<Known>, StorageError> {
        match self.remembered(unit) {
            Some(known) if self.now().duration_since(known.seen) <= HEAD_AGE_MAX => Ok(Some(known)),
            _ => self.load(unit).await,
        }
    }

    /// Whether a head of the last minute says so.
    fn is_known_to_be_locked(&self, unit: &UnitId) -> bool {
        self.remembered(unit).is_some_and(|known| {
            known.head.lock.is_some() && self.now().duration_since(known.seen) <= HEAD_AGE_MAX
        })
    }

    /// Has a unit that a listing shows as locked, or as not, be shown as its head says: a lock copy that landed late
    /// would stand there until somebody locks the unit again. A lock file beside a unit that nobody has touched through
    /// us is somebody else's, and holds.
    fn repair_lock_copy_behind(&self, unit: &UnitId, shown: bool) {
        let vault = self.clone();
        let unit = unit.clone();
        self.behind(async move {
            let Ok(Some(mut known)) = vault.load(&unit).await else {
                return;
            };
            if shown && known.head.lock.is_none() {
                vault.hide_lock(&unit, false);
                vault.lock_copies_written().await;
                // Another replica may have granted a lock, and shown it, in between.
                match vault.load(&unit).await {
                    Ok(Some(now)) => known = now,
                    _ => return,
                }
            } else if shown {
                return;
            }
            if let Some(lock) = &known.head.lock {
                vault.show_lock(&unit, lock);
            }
        });
    }
}

fn has_labels(unit: &ListedUnit, wanted: &BTreeMap<String, String>) -> bool {
    wanted.is_empty()
        || unit.head.as_ref().is_some_and(|head| {
            wanted
                .iter()
                .all(|(name, value)| head.labels.get(name).is_some_and(|has| has == value))
        })
}
