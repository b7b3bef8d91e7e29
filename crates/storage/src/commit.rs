//! Committing a version: put its bytes under a name of its own, swap the head, put the copy, answer.
//!
//! The swap is the commit. Before it, nothing has happened but an object that no head names; after it, the version is
//! in the history for good, whatever becomes of this replica, and whoever repeats the request is told so.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use opentaco_domain::digest::md5_base64;
use opentaco_domain::{Holding, LockId, Principal, Session, Sha256, StateSummary, UnitId, VersionId, limits};

use crate::StorageError;
use crate::bucket::{If, Kind, Put};
use crate::head::{Committed, CopyRecord, Head, Lock, Origin, kept_name};
use crate::heads::{Known, Sight, Swap};
use crate::planted::{Bug, planted};
use crate::settle::{Insist, Settled};
use crate::vault::Vault;

/// How often a write without a lock tries to get its turn among others.
const TURNS_MAX: usize = 100;
/// How often the copy is mended before the answer is "safe, but not copied yet". Rounds are lost to other writers only.
pub(crate) const COPY_ROUNDS: usize = 32;

/// What is to be committed.
#[derive(Debug, Clone)]
pub struct CommitRequest {
    /// The state.
    pub bytes: Bytes,
    /// What was read from `bytes`.
    pub summary: StateSummary,
    /// MD5 of `bytes` in base64, if somebody has computed it already.
    pub md5: Option<String>,
    /// What the writer claims to hold.
    pub holding: Holding,
    /// Who writes.
    pub principal: Principal,
    /// Through which door.
    pub door: &'static str,
    /// The request's own key, where its door has one.
    pub key: Option<String>,
    /// Only if this version is current.
    pub if_match: Option<VersionId>,
    /// Only if the current state is this one by content, or there is none.
    pub if_content: Option<IfContent>,
    /// An older write of the same lock may come after a newer one, and another lineage may replace the current one.
    pub force: bool,
    /// Another lineage than the current one is refused, and of a plain write a serial that is not higher.
    pub same_lineage: bool,
    /// The writer may create units: a write to one that does not exist makes it.
    pub may_create: bool,
    /// When the service got to know of the request; none where nobody has seen anything before.
    pub asked_at: Option<Timestamp>,
    /// Only while the unit is deleted, and only the incarnation that began at this epoch (see [`Head::living_since`]).
    pub revives: Option<u64>,
    /// Where the bytes come from.
    pub origin: Origin,
    /// What is stored instead of `bytes`: the graph is merged with what is known of it.
    pub made: Option<Made>,
}

/// What is stored instead of what was sent.
#[derive(Debug, Clone)]
pub struct Made {
    /// The state.
    pub bytes: Bytes,
    /// What was read from `bytes`.
    pub summary: StateSummary,
    /// What was current when it was made. Beside another version it is not committed ([`Committing::Overtaken`]).
    pub beside: Option<VersionId>,
}

impl CommitRequest {
    /// What the service itself has made of what is current, whoever holds the unit.
    #[must_use]
    pub fn by_the_service(made: Made, principal: Principal) -> Self {
        Self {
            bytes: made.bytes.clone(),
            summary: made.summary.clone(),
            md5: None,
            holding: Holding::Nothing,
            principal,
            door: "service",
            key: None,
            if_match: None,
            if_content: None,
            force: false,
            same_lineage: false,
            may_create: false,
            asked_at: None,
            revives: None,
            origin: Origin::Graph,
            made: Some(made),
        }
    }

    /// The bytes that are stored.
    fn stored(&self) -> &Bytes {
        self.made.as_ref().map_or(&self.bytes, |made| &made.bytes)
    }

    /// What was read from the bytes that are stored.
    fn stored_summary(&self) -> &StateSummary {
        self.made.as_ref().map_or(&self.summary, |made| &made.summary)
    }
}

/// A condition on what is current, told by content: S3 clients know no versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfContent {
    /// There is no state.
    Nothing,
    /// There is a state, whichever.
    Something,
    /// The state has this MD5, in base64.
    Is(String),
}

impl IfContent {
    fn holds(&self, current: Option<&Committed>) -> bool {
        match (self, current) {
            (Self::Nothing, current) => current.is_none(),
            (Self::Something, current) => current.is_some(),
            (Self::Is(wanted), current) => {
                current.is_some_and(|current| current.md5.as_ref() == Some(wanted))
            }
        }
    }
}

/// How a commit was decided.
#[derive(Debug)]
pub enum Committing {
    /// It is committed, now or by an earlier attempt, and the copy holds what is current.
    Done(Committed),
    /// It is committed and safe, but the copy could not be brought up to date.
    Uncopied(Committed, StorageError),
    /// It is not committed. The bytes are kept under this id.
    Refused {
        /// Why.
        why: Refusal,
        /// The id among the rejected writes of the unit.
        kept: String,
    },
    /// It is not committed, and nothing needed to be kept: the request itself asked for a condition.
    Unmet {
        /// What is current instead.
        current: Option<VersionId>,
    },
    /// It is not committed: there is no such unit, and the writer may not create one.
    NoUnit,
    /// It is not committed: another lineage is current. Asked for only by doors that check.
    OtherLineage {
        /// The lineage that is current.
        current: Option<String>,
    },
    /// It is not committed: its serial is no higher than the current one, and its bytes are others. Asked for only by
    /// doors that check.
    OlderSerial {
        /// The serial that is current.
        current: u64,
    },
    /// It is not committed: what is stored was [made](Made) beside a version that is not current any more. Make it anew.
    Overtaken,
}

/// A commit that is decided, and not answered yet.
#[expect(
    clippy::large_enum_variant,
    reason = "one is made per request and matched at once"
)]
#[derive(Debug)]
pub enum Decided {
    /// It is committed. The copy does not hold it yet: [`Vault::publish`].
    Committed(Box<Fresh>),
    /// All there is to say.
    Concluded(Committing),
}

/// A version that is committed, and not published yet.
#[derive(Debug, Clone)]
pub struct Fresh {
    /// The version.
    pub committed: Committed,
    /// The head that was replaced; none if an earlier attempt of this request did it.
    pub before: Option<Arc<Head>>,
    /// The head since.
    known: Known,
    /// What the copy is to hold, if this very attempt committed it.
    bytes: Option<Bytes>,
}

impl Fresh {
    /// The head since.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.known.head
    }
}

/// Why a write was refused and its bytes kept.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// Somebody else holds the unit.
    Held(Box<Lock>),
    /// The lock that the writer names is not held by anybody: it was released, broken, or never taken.
    Lost(LockId),
    /// A newer write of the same lock was committed before.
    Late,
    /// The unit was deleted after the write was sent.
    Deleted,
}

impl Refusal {
    /// In a word, as it stands beside the kept bytes.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Held(_) => "held-by-another",
            Self::Lost(_) => "lock-lost",
            Self::Late => "late",
            Self::Deleted => "deleted-meanwhile",
        }
    }
}

/// What one look at the head says about a commit.
#[expect(
    clippy::large_enum_variant,
    reason = "one is made per request and matched at once"
)]
enum Verdict {
    Go(Session),
    Already(Committed),
    No(Refusal),
    Unmet(Option<VersionId>),
    NoUnit,
    OtherLineage(Option<String>),
    OlderSerial(u64),
    Overtaken,
}

impl Vault {
    /// Commits a version.
    ///
    /// # Errors
    /// As [`Vault::decide`].
    pub async fn commit(&self, unit: &UnitId, request: &CommitRequest) -> Result<Committing, StorageError> {
        match self.decide(unit, request).await? {
            Decided::Committed(fresh) => Ok(self.publish(unit, *fresh).await),
            Decided::Concluded(committing) => Ok(committing),
        }
    }

    /// Decides about a commit. Whoever is told that it is committed must [publish](Vault::publish) it before they answer,
    /// and may do something else meanwhile.
    ///
    /// # Errors
    /// If the bucket could not be asked, or did not confirm. Then the write may be committed or not: the same request
    /// again finds out, and is answered like the first.
    pub async fn decide(&self, unit: &UnitId, request: &CommitRequest) -> Result<Decided, StorageError> {
        let sent_sha256 = Sha256::of(&request.bytes);
        let sha256 = match &request.made {
            Some(made) => Sha256::of(&made.bytes),
            None => sent_sha256,
        };
        let mut known = self.touch(unit).await?;
        let was_deleted = known.head.deleted.is_some();
        let mut orphans: Vec<VersionId> = Vec::new();
        let turns = self.turns(unit);
        let mut my_turn = None;

        for _ in 0..TURNS_MAX {
            let holding = held(&known.head, request);
            let verdict = judge(&known.head, request, &holding, sent_sha256, was_deleted);
            let session = match verdict {
                Verdict::Go(session) => session,
                // Only a successful compare-and-swap may be answered from memory.
                _ if !known.fresh && !planted(Bug::WriteRefusedFromMemory) => {
                    known = self.touch_fresh(unit).await?;
                    continue;
                }
                verdict => {
                    drop(my_turn);
                    return self.conclude(unit, request, known, verdict, orphans).await;
                }
            };

            let committed = self.new_version(&known.head, request, &holding, (sha256, sent_sha256), session);
            self.put_version(unit, &committed, request.stored().clone(), request.door)
                .await?;

            let mut next = (*known.head).clone();
            next.advance(Some(committed.clone()));
            next.tell_outputs(request.stored_summary());
            if next.deleted.is_some() || next.created.is_none() {
                next.begin_to_live(self.now(), None);
            }
            match self.swap(unit, Some(&known), next).await? {
                Swap::Done(now) => {
                    drop(my_turn);
                    self.discard_behind(unit, orphans, &now.head);
                    return Ok(Decided::Committed(Box::new(Fresh {
                        committed,
                        before: Some(known.head),
                        known: now,
                        bytes: Some(request.stored().clone()),
                    })));
                }
                Swap::Moved(now) => {
                    let now = self.moved(unit, now).await?;
                    // Our swap may have landed, and somebody else's after it.
                    if now.head.names(&committed.version) && !planted(Bug::RefusalBelieved) {
                        drop(my_turn);
                        self.discard_behind(unit, orphans, &now.head);
                        let again = planted(Bug::StepFourWhateverIsCurrent);
                        return Ok(Decided::Committed(Box::new(Fresh {
                            committed,
                            before: Some(known.head),
                            known: now,
                            bytes: again.then(|| request.stored().clone()),
                        })));
                    }
                    orphans.push(committed.version);
                    known = now;
                }
            }
            if my_turn.is_none() {
                my_turn = self.queue(&turns.writing).await;
                // Whoever had the turn before has moved the head again, and this replica remembers how.
                known = self.touch(unit).await?;
            }
        }
        self.discard_behind(unit, orphans, &known.head);
        Err(StorageError::Busy {
            key: self.bucket().layout().head(unit),
            tries: TURNS_MAX,
        })
    }

    /// Whether a write now would be the first of this unit. Costs nothing while the head is remembered and the unit
    /// exists.
    ///
    /// # Errors
    /// If the head cannot be read.
    pub async fn is_first_write(&self, unit: &UnitId) -> Result<bool, StorageError> {
        if self.remembered(unit).is_some_and(|known| known.head.exists()) {
            return Ok(false);
        }
        match self.load(unit).await? {
            Some(known) => Ok(!known.head.exists()),
            None => {
                let copy = self
                    .bucket()
                    .head(Kind::Copy, &self.bucket().layout().copy(unit))
                    .await?;
                if copy.is_none() {
                    self.bucket().ping().await?;
                }
                Ok(copy.is_none())
            }
        }
    }

    async fn conclude(
        &self,
        unit: &UnitId,
        request: &CommitRequest,
        known: Known,
        verdict: Verdict,
        orphans: Vec<VersionId>,
    ) -> Result<Decided, StorageError> {
        let answer = match verdict {
            Verdict::Already(committed) => {
                self.discard_behind(unit, orphans, &known.head);
                return Ok(Decided::Committed(Box::new(Fresh {
                    committed,
                    before: None,
                    known,
                    bytes: None,
                })));
            }
            Verdict::No(why) => {
                // Keep first, then refuse: whoever reads the refusal must find the bytes.
                let kept = self.keep_rejected(unit, request, &why).await?;
                Committing::Refused { why, kept }
            }
            Verdict::Unmet(current) => Committing::Unmet { current },
            Verdict::NoUnit => Committing::NoUnit,
            Verdict::OtherLineage(current) => Committing::OtherLineage { current },
            Verdict::OlderSerial(current) => Committing::OlderSerial { current },
            Verdict::Overtaken => Committing::Overtaken,
            Verdict::Go(_) => {
                return Err(StorageError::Busy {
                    key: self.bucket().layout().head(unit),
                    tries: 1,
                });
            }
        };
        self.discard_behind(unit, orphans, &known.head);
        Ok(Decided::Concluded(answer))
    }

    /// After the commit: the copy, the housekeeping, the answer.
    pub async fn publish(&self, unit: &UnitId, fresh: Fresh) -> Committing {
        let Fresh {
            committed,
            known,
            bytes,
            ..
        } = fresh;
        let copied = match &bytes {
            _ if planted(Bug::AnsweredBeforeCopy) => {
                self.settle_behind(unit);
                Ok(())
            }
            Some(bytes) => self.put_or_mend(unit, &known, &committed, bytes).await,
            None => self.mend(unit, Insist::No).await,
        };
        if known.head.lock.is_none() {
            self.record_copy_behind(unit);
        }
        self.tidy_behind(unit, &known.head);
        match copied {
            Ok(()) => Committing::Done(committed),
            Err(error) => Committing::Uncopied(committed, error),
        }
    }

    /// Puts the copy while this version is current, conditional on what the copy is known to be; else settles.
    async fn put_or_mend(
        &self,
        unit: &UnitId,
        known: &Known,
        committed: &Committed,
        bytes: &Bytes,
    ) -> Result<(), StorageError> {
        let undeletes = committed.origin == Origin::Undelete;
        if undeletes && planted(Bug::UndeleteTrustsCopy) {
            let key = self.bucket().layout().copy(unit);
            let there = self.bucket().fetch(Kind::Copy, &key).await?;
            if there.is_some_and(|(_, there)| *there == *bytes) {
                return Ok(());
            }
            return self.mend(unit, Insist::No).await;
        }
        if known.head.current_version() == Some(committed.version) || planted(Bug::StepFourWhateverIsCurrent)
        {
            let condition = known
                .head
                .copy
                .as_ref()
                .map_or(If::Absent, |copy| If::Still(copy.tag.clone()));
            match self.put_copy(unit, known, bytes.clone(), condition).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) if error.in_doubt() => {}
                Err(denied) => return Err(denied),
            }
        }
        if planted(Bug::MendedWithOwnBytes) {
            let there = self
                .bucket()
                .head(Kind::Copy, &self.bucket().layout().copy(unit))
                .await?;
            let condition = there.map_or(If::Absent, |meta| If::Still(meta.tag));
            return self
                .put_copy(unit, known, bytes.clone(), condition)
                .await
                .map(|_| ());
        }
        if planted(Bug::MovedOnIsDone)
            && self.touch_fresh(unit).await?.head.current_version() != Some(committed.version)
        {
            return Ok(());
        }
        let insist = if undeletes { Insist::PutAgain } else { Insist::No };
        self.mend(unit, insist).await
    }

    /// Settles until the copy holds what is current.
    pub(crate) async fn mend(&self, unit: &UnitId, insist: Insist) -> Result<(), StorageError> {
        // One at a time on this replica, and in one queue with writers that lost a race: else fifty of them would move
        // the head faster than anybody can copy it.
        let turns = self.turns(unit);
        let _my_turn = self.queue(&turns.writing).await;
        // Whoever waits for this answers for the copy; a reader does not.
        let insist = match insist {
            Insist::No if !planted(Bug::EmptyStays) => Insist::EmptyAgain,
            insist => insist,
        };
        match self.settle(unit, COPY_ROUNDS, insist).await? {
            Settled::Done(_) => Ok(()),
            Settled::Unsettled {
                failure: Some(failure),
                ..
            } => Err(failure),
            Settled::Unsettled { failure: None, .. } => Err(StorageError::Busy {
                key: self.bucket().layout().copy(unit),
                tries: COPY_ROUNDS,
            }),
        }
    }

    /// Puts what `known` names into the copy and remembers what that was answered. False: the condition did not hold.
    pub(crate) async fn put_copy(
        &self,
        unit: &UnitId,
        known: &Known,
        bytes: Bytes,
        condition: If,
    ) -> Result<bool, StorageError> {
        let key = self.bucket().layout().copy(unit);
        match self.bucket().put_if(Kind::Copy, &key, bytes, condition).await? {
            Put::Done(tag) => {
                let record = CopyRecord {
                    version: known.head.current_version(),
                    tag,
                };
                self.keep_sight(
                    unit,
                    Sight {
                        record,
                        replaced: known.head.copy.clone(),
                    },
                );
                Ok(true)
            }
            Put::Refused => Ok(false),
        }
    }

    fn new_version(
        &self,
        head: &Head,
        request: &CommitRequest,
        holding: &Holding,
        (sha256, sent_sha256): (Sha256, Sha256),
        session: Session,
    ) -> Committed {
        let now = self.now();
        let summary = request.stored_summary();
        let stored = request.stored();
        let md5 = request.md5.as_ref().filter(|_| request.made.is_none());
        // What the service writes down sends nothing: what was sent last stays so, for whoever compares.
        let sent = match (&request.origin, &head.current) {
            (Origin::Graph, Some(current)) => (current.sent_sha256, current.sent_serial),
            _ => (sent_sha256, request.summary.serial),
        };
        Committed {
            version: VersionId {
                epoch: head.epoch + 1,
                serial: summary.serial.unwrap_or_default(),
                session,
                sha256,
                nonce: self.draw_short(),
            },
            sha256,
            md5: Some(md5.cloned().unwrap_or_else(|| md5_base64(stored))),
            size: stored.len() as u64,
            serial: summary.serial,
            lineage: summary.lineage.clone(),
            terraform_version: summary.terraform_version.clone(),
            committed_at: now,
            asked_at: request
                .asked_at
                .filter(|asked| now.duration_since(*asked) > limits::COMMITTED_AT_ONCE),
            by: request.principal.clone(),
            lock_id: match holding {
                Holding::Lock(id) => Some(id.clone()),
                Holding::Nothing | Holding::Session(_) => None,
            },
            sent_sha256: sent.0,
            sent_serial: sent.1,
            key: request.key.clone(),
            door: Some(request.door.to_owned()),
            origin: request.origin.clone(),
        }
    }

    /// Removes version objects of attempts that did not commit. `head` is newer than all of them, so none of them can
    /// commit any more: their swaps were conditional on heads that are gone.
    pub(crate) fn discard_behind(&self, unit: &UnitId, orphans: Vec<VersionId>, head: &Head) {
        let orphans: Vec<_> = orphans
            .into_iter()
            .filter(|version| !head.names(version) || planted(Bug::RefusalBelieved))
            .collect();
        if orphans.is_empty() {
            return;
        }
        let vault = self.clone();
        let unit = unit.clone();
        self.behind(async move {
            for version in orphans {
                let key = vault.bucket().layout().version(&unit, &version);
                if let Err(error) = vault.bucket().delete(Kind::Version, &key).await {
                    tracing::debug!(%unit, %version, %error, "an object of a write that was not committed is left to the collector");
                }
            }
        });
    }
}

/// What the writer holds, as this head tells: nothing, or the lock of an id. Of an S3 session it is the lock that it has
/// taken, or the one that is over and under which it wrote.
fn held(head: &Head, request: &CommitRequest) -> Holding {
    match &request.holding {
        Holding::Session(signed) => match head.lock_of(&request.principal, signed) {
            Some(id) => Holding::Lock(id.clone()),
            None => Holding::Nothing,
        },
        named => named.clone(),
    }
}

/// What the head says about a commit; nothing here performs I/O.
fn judge(
    head: &Head,
    request: &CommitRequest,
    holding: &Holding,
    sha256: Sha256,
    was_deleted: bool,
) -> Verdict {
    let overtaken = request
        .made
        .as_ref()
        .is_some_and(|made| made.beside != head.current_version());
    if request.origin == Origin::Graph {
        let overtaken = overtaken && !planted(Bug::GraphWrittenUnconditionally);
        return match overtaken {
            true => Verdict::Overtaken,
            false => Verdict::Go(Session::NONE),
        };
    }
    let unmet = request
        .if_content
        .as_ref()
        .is_some_and(|wanted| !wanted.holds(head.current.as_ref()));
    // Whoever may only write where nothing is must not hear "done" because somebody else wrote the same.
    if unmet && head.lock.is_none() && !matches!(holding, Holding::Lock(_)) {
        return Verdict::Unmet(head.current_version());
    }
    if let Some(committed) = already(head, request, holding, sha256) {
        return Verdict::Already(committed.clone());
    }
    if request
        .revives
        .is_some_and(|since| head.deleted.is_none() || head.living_since != since)
    {
        return Verdict::Unmet(head.current_version());
    }
    let session = match (&head.lock, holding) {
        (None, Holding::Nothing | Holding::Session(_)) => Session::NONE,
        (Some(lock), Holding::Lock(id)) if lock.info.id == *id => lock.session,
        (Some(lock), _) => return Verdict::No(Refusal::Held(Box::new(lock.clone()))),
        (None, Holding::Lock(id)) => return Verdict::No(Refusal::Lost(id.clone())),
    };
    if head.deleted.is_some() && session == Session::NONE && !was_deleted {
        return Verdict::No(Refusal::Deleted);
    }
    if !request.may_create && !head.exists() {
        return Verdict::NoUnit;
    }
    if request
        .if_match
        .is_some_and(|wanted| head.current_version() != Some(wanted))
    {
        return Verdict::Unmet(head.current_version());
    }
    if unmet {
        return Verdict::Unmet(head.current_version());
    }
    if !request.force {
        if is_late(head, request, holding, session) {
            return Verdict::No(Refusal::Late);
        }
        if let (true, Some(current)) = (request.same_lineage, &head.current)
            && let (Some(ours), Some(theirs)) = (&request.summary.lineage, &current.lineage)
            && ours != theirs
        {
            return Verdict::OtherLineage(current.lineage.clone());
        }
        if let (true, Some(current)) = (
            request.same_lineage && request.origin == Origin::Write,
            &head.current,
        ) && let Some(serial) = current.sent_serial
            && request.summary.serial.is_none_or(|ours| ours <= serial)
            && (request.summary.serial.is_some_and(|ours| ours < serial) || current.sent_sha256 != sha256)
        {
            return Verdict::OlderSerial(serial);
        }
    }
    if overtaken {
        return Verdict::Overtaken;
    }
    Verdict::Go(session)
}

/// The commit that an earlier attempt of this very request has made.
fn already<'a>(
    head: &'a Head,
    request: &CommitRequest,
    holding: &Holding,
    sha256: Sha256,
) -> Option<&'a Committed> {
    if planted(Bug::CommitForgotten) {
        return None;
    }
    if let Some(key) = &request.key {
        // Whoever brings old content back raises its serial to what is current, so its bytes differ at every try.
        let same = |committed: &Committed| match request.origin {
            Origin::Write => committed.sent_sha256 == sha256,
            _ => committed.origin == request.origin,
        };
        return head
            .known()
            .find(|committed| committed.key.as_ref() == Some(key) && same(committed));
    }
    // What the service wrote of the graph since was sent by nobody.
    let last_sent = head
        .current
        .as_ref()
        .and_then(|_| head.known().find(|committed| committed.origin != Origin::Graph));
    if request.origin != Origin::Write {
        return last_sent.filter(|current| current.origin == request.origin && current.sent_sha256 == sha256);
    }
    match holding {
        Holding::Lock(id) if id.is_uuid() => head
            .known()
            .find(|committed| committed.lock_id.as_ref() == Some(id) && committed.sent_sha256 == sha256),
        // Without a lock, or with an id that may be used again, the same bytes may be meant anew: A, then B, then A.
        Holding::Lock(id) => {
            last_sent.filter(|current| current.lock_id.as_ref() == Some(id) && current.sent_sha256 == sha256)
        }
        Holding::Nothing | Holding::Session(_) if planted(Bug::AgainIsAlready) => head
            .known()
            .find(|committed| committed.lock_id.is_none() && committed.sent_sha256 == sha256),
        Holding::Nothing | Holding::Session(_) => {
            last_sent.filter(|current| current.lock_id.is_none() && current.sent_sha256 == sha256)
        }
    }
}

/// Whether this lock has already committed a newer write of the same lineage.
fn is_late(head: &Head, request: &CommitRequest, holding: &Holding, session: Session) -> bool {
    let (Holding::Lock(id), Some(serial), Some(lineage)) =
        (holding, request.summary.serial, &request.summary.lineage)
    else {
        return false;
    };
    !planted(Bug::LateWriteCommits)
        && head.known().any(|committed| {
            committed.version.session == session
                && committed.lock_id.as_ref() == Some(id)
                && committed.lineage.as_ref() == Some(lineage)
                && committed.sent_serial.is_some_and(|sent| sent > serial)
        })
}

/// Whether `kept` of a head names this version. For the collector.
pub(crate) fn is_kept(head: &Head, version: &VersionId) -> bool {
    head.kept.contains(&kept_name(version))
}
