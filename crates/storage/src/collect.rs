//! Housekeeping behind the answer: collecting what was never committed, and pruning what is too old.
//!
//! It lists first, then bumps the head, then deletes what the new head still does not name. The bump defeats every
//! commit that was in flight at the listing, so nothing that is deleted can ever be named.

use std::collections::HashSet;

use jiff::SignedDuration;
use opentaco_domain::limits::{RECENT_GRAPH_VERSIONS_MAX, RECENT_VERSIONS_MAX, TOMBSTONE_DAYS};
use opentaco_domain::{Session, UnitId, VersionId};

use crate::StorageError;
use crate::bucket::{Kind, Meta};
use crate::commit::is_kept;
use crate::head::{Head, Origin, Past, kept_name};
use crate::heads::Swap;
use crate::planted::{Bug, planted};
use crate::settle::Insist;
use crate::vault::{Retention, Vault};

/// How often the bump is tried; a unit so busy is collected sixteen commits later.
const BUMP_TRIES: usize = 3;

/// After so many housekeepings that came to nothing somebody should know.
const OVERDUE: usize = 4;

impl Vault {
    /// Starts the housekeeping of a unit behind the answer, once every so many commits ([`Retention::collect_every`]).
    pub(crate) fn tidy_behind(&self, unit: &UnitId, head: &Head) {
        let keep = RECENT_VERSIONS_MAX.min(self.retention().versions_max.saturating_sub(1));
        if head.recent.len() < keep + self.retention().collect_every {
            return;
        }
        let overdue = head.recent.len() >= keep + OVERDUE * self.retention().collect_every;
        let vault = self.clone();
        let unit = unit.clone();
        self.behind(async move {
            match vault.tidy(&unit).await {
                Err(error) if overdue => {
                    tracing::warn!(%unit, %error, "housekeeping fails again and again, and the head grows with each commit");
                }
                Err(error) => tracing::debug!(%unit, %error, "housekeeping is put off"),
                Ok(()) => {}
            }
        });
    }

    /// Drops the versions of a unit that was deleted more than thirty days ago, behind the answer.
    pub(crate) fn expire_behind(&self, unit: &UnitId, head: &Head) {
        let expired = head
            .deleted
            .as_ref()
            .is_some_and(|deleted| deleted.at < self.now() - SignedDuration::from_hours(24 * TOMBSTONE_DAYS));
        if !expired || (head.recent.is_empty() && head.kept.is_empty()) {
            return;
        }
        let vault = self.clone();
        let unit = unit.clone();
        self.behind(async move {
            if let Err(error) = vault.tidy(&unit).await {
                tracing::debug!(%unit, %error, "the versions of a deleted unit are dropped later");
            }
        });
    }

    /// Collects and prunes one unit now.
    ///
    /// # Errors
    /// If the bucket gives no answer; nothing that is committed is ever deleted half-way.
    pub async fn tidy(&self, unit: &UnitId) -> Result<(), StorageError> {
        let mut expired = false;
        if let Some(known) = self.load(unit).await?
            && known.head.deleted.is_some()
        {
            // What still lies in the copy must be known for ours before its version is forgotten.
            self.mend(unit, Insist::No).await?;
            expired = self.is_expired(unit).await?;
        }
        let listed = self.list_versions(unit).await?;
        for _ in 0..BUMP_TRIES {
            let Some(known) = self.load(unit).await? else {
                return Ok(());
            };
            let next = self.thinned(&known.head, &listed, expired && known.head.deleted.is_some());
            let bumped = match planted(Bug::CollectorDoesNotBump) {
                true => Swap::Done(known),
                false => self.swap(unit, Some(&known), next).await?,
            };
            let Swap::Done(now) = bumped else { continue };
            for (version, _) in listed.iter().filter(|(version, _)| !now.head.names(version)) {
                self.bucket()
                    .delete(Kind::Version, &self.bucket().layout().version(unit, version))
                    .await?;
            }
            return Ok(());
        }
        Ok(())
    }

    /// Whether a unit was deleted thirty days ago, by the clock of whoever deleted it and by that of the store: one of
    /// them may be wrong.
    async fn is_expired(&self, unit: &UnitId) -> Result<bool, StorageError> {
        let Some(known) = self.load(unit).await? else {
            return Ok(false);
        };
        let Some(deleted) = &known.head.deleted else {
            return Ok(false);
        };
        let head = self
            .bucket()
            .head(Kind::Head, &self.bucket().layout().head(unit))
            .await?;
        let youngest = head.map_or(deleted.at, |head| head.modified.max(deleted.at));
        Ok(youngest < self.now() - SignedDuration::from_hours(24 * TOMBSTONE_DAYS))
    }

    /// The head without what is to be pruned, and with what leaves `recent` named in `kept`.
    fn thinned(&self, head: &Head, listed: &[(VersionId, Meta)], expired: bool) -> Head {
        let now = self.now();
        let mut next = head.clone();
        if expired {
            next.recent.clear();
            next.kept.clear();
            if let Some(deleted) = &mut next.deleted {
                deleted.expired |= deleted.version.take().is_some();
            }
            return next;
        }

        // What the service wrote of the graph pushes nobody's versions out: it has a number of its own, below.
        let mut history: Vec<(VersionId, jiff::Timestamp)> = head
            .recent
            .iter()
            .filter(|committed| committed.origin != Origin::Graph)
            .map(|committed| (committed.version, committed.committed_at))
            .collect();
        let mut older: Vec<_> = listed
            .iter()
            .filter(|(version, _)| is_kept(head, version))
            .map(|(version, meta)| (*version, meta.modified))
            .collect();
        older.sort_by(|(a, _), (b, _)| b.cmp(a));
        history.extend(older);

        let guard = match head.copy.as_ref().and_then(|copy| copy.version) {
            Some(version) => version.epoch,
            // The copy may hold any version that was ever committed: none of them may become a stranger's.
            None if head.current.is_some() => 0,
            None => u64::MAX,
        };
        let guard = if planted(Bug::PrunedPastCopy) {
            u64::MAX
        } else {
            guard
        };
        let pruned = to_prune(
            &history,
            usize::from(
                head.current
                    .as_ref()
                    .is_some_and(|current| current.origin != Origin::Graph),
            ),
            self.retention(),
            now,
            guard,
        );
        next.recent
            .retain(|committed| !pruned.contains(&committed.version));
        let mut leaving = leaving(&mut next.recent);
        // What the service wrote of the graph is nobody's work that somebody would restore, and there is much of it. What
        // the copy may still hold stays known for ours.
        leaving.retain(|past| past.origin != Origin::Graph || past.version.epoch >= guard);
        // A name that was not listed is kept as it is: another replica may have moved it here since the listing.
        let gone: HashSet<String> = pruned.iter().map(kept_name).collect();
        next.kept.retain(|name| !gone.contains(name));
        next.kept.splice(
            0..0,
            leaving.iter().map(|committed| kept_name(&committed.version)),
        );
        next
    }
}

/// Takes out what need not be known in full any longer, newest first. What the service wrote of the graph counts apart:
/// whoever sent a graph and repeats it must be found among the others, however much has happened since.
fn leaving(recent: &mut Vec<Past>) -> Vec<Past> {
    let (mut sent, mut followed) = (0, 0);
    let (staying, leaving) = std::mem::take(recent).into_iter().partition(|past| {
        let (count, most) = match past.origin {
            Origin::Graph => (&mut followed, RECENT_GRAPH_VERSIONS_MAX),
            _ => (&mut sent, RECENT_VERSIONS_MAX),
        };
        *count += 1;
        *count <= most
    });
    *recent = staying;
    leaving
}

/// Which of the versions before the current one (newest first) are to go.
///
/// Nothing younger than the minimum age goes, and nothing from the version on that the copy was last seen holding
/// (`guard`, its epoch). What lies in the middle of a lock session goes first, then the oldest.
fn to_prune(
    history: &[(VersionId, jiff::Timestamp)],
    besides: usize,
    retention: Retention,
    now: jiff::Timestamp,
    guard: u64,
) -> HashSet<VersionId> {
    let surplus = (history.len() + besides).saturating_sub(retention.versions_max.max(1));
    let min_age = SignedDuration::try_from(retention.versions_min_age).unwrap_or(SignedDuration::MAX);
    let edges = session_edges(history);
    let mut candidates: Vec<_> = history
        .iter()
        .filter(|(version, at)| version.epoch < guard && now.duration_since(*at) >= min_age)
        .map(|(version, _)| *version)
        .collect();
    candidates.sort_by_key(|version| (edges.contains(version), *version));
    candidates.into_iter().take(surplus).collect()
}

/// The first and the last write of each lock session.
fn session_edges(history: &[(VersionId, jiff::Timestamp)]) -> HashSet<VersionId> {
    let mut edges = HashSet::new();
    let mut seen_last: HashSet<Session> = HashSet::new();
    let mut first: std::collections::HashMap<Session, VersionId> = std::collections::HashMap::new();
    for (version, _) in history {
        if version.session == Session::NONE {
            continue;
        }
        if seen_last.insert(version.session) {
            edges.insert(*version);
        }
        first.insert(version.session, *version);
    }
    edges.extend(first.into_values());
    edges
}
