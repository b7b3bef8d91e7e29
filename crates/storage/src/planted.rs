//! Bugs to be planted, one at a time: each takes away one rule of the protocol, and the simulator must notice.
//!
//! A checker that never finds anything may be one that cannot. So every rule that a history in the list of traces has
//! taught us has its own bug here, at the line that keeps the rule, and each bug names the invariant that has to catch it
//! and within how many seeds. Without the feature `planted` the question `planted` is answered `false` at compile time
//! and nothing of this is left in the program.
//!
//! Two histories have no bug here: see `EXCUSED`. That a busy unit's commits take turns has none either, for it decides
//! nothing.

#[cfg(all(feature = "planted", not(debug_assertions)))]
compile_error!("`planted` is for tests of the simulator: no release carries it");

/// A rule that is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table below says of each what it does")]
pub enum Bug {
    ReleasedIgnored,
    RetriedUnlockRefused,
    LockRefusedFromMemory,
    UnlockAnsweredFromMemory,
    WriteRefusedFromMemory,
    CommitForgotten,
    LateWriteCommits,
    MovedOnIsDone,
    HandsThrownOutWhileLocked,
    EmptyBesideState,
    JudgedWithoutSwap,
    FirstTouchSkipsCopy,
    CollectorDoesNotBump,
    ConflictMeansExists,
    CreateForgetsHistory,
    CopyDeleted,
    RefusedBeforeKept,
    AnsweredBeforeCopy,
    EtagAloneTrusted,
    PrunedPastCopy,
    CopyPutUnconditionally,
    LockByLooking,
    RefusalBelieved,
    OldVersionUndone,
    RefusalNotRecorded,
    LaggingNotRecorded,
    MendedWithOwnBytes,
    MovedMeansOverwrite,
    LeftoversAdopted,
    AgainIsAlready,
    OldSightRecorded,
    OrphansAreOurs,
    UndeleteTrustsCopy,
    StepFourWhateverIsCurrent,
    MendingNotRecorded,
    AbsentIsEmpty,
    FoundNotRecorded,
    GoneMeansAbsent,
    EmptyStays,
    EmptyCopiesAlike,
    HeadPutUnconditionally,
    LockForgottenAtAdoption,
    AnsweredBeforeVersion,
    TrailForgotten,
    UsedTokenAccepted,
    BelievedForEver,
    BrokenSessionWrites,
    SignedBeforeCounts,
    RetryBreaksAnother,
    PartsOfAnother,
    GraphLookedAtBefore,
    GraphWrittenUnconditionally,
    GraphMergeDropped,
    GraphStoredAsSent,
    UnreadableIsGreen,
    SessionsAlike,
    OlderThanItsLock,
    LateTakesNow,
}

/// Whether this bug is planted in this process.
#[cfg(not(feature = "planted"))]
#[must_use]
pub const fn planted(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted")]
pub use table::{BUGS, EXCUSED, Planted, plant, planted};

#[cfg(feature = "planted")]
mod table {
    use std::sync::OnceLock;

    use super::Bug;

    static PLANTED: OnceLock<Bug> = OnceLock::new();

    /// Whether this bug is planted in this process.
    #[must_use]
    pub fn planted(bug: Bug) -> bool {
        PLANTED.get() == Some(&bug)
    }

    /// Plants a bug for as long as this process lives. False: there is one already.
    pub fn plant(bug: Bug) -> bool {
        PLANTED.set(bug).is_ok()
    }

    /// A bug that can be planted.
    #[derive(Debug, Clone, Copy)]
    pub struct Planted {
        /// What it is called on the command line.
        pub name: &'static str,
        /// Where it sits.
        pub bug: Bug,
        /// Which rule is taken away.
        pub what: &'static str,
        /// The histories that taught us the rule, by their numbers; none for rules that nobody ever left out.
        pub traces: &'static [u8],
        /// The invariant that has to catch it.
        pub caught_by: &'static str,
        /// Within how many seeds, counted from 1.
        pub within: u64,
    }

    /// The histories that have no bug here, each with its reason.
    pub const EXCUSED: &[(u8, &str)] = &[
        (
            15,
            "that two writes of the very same bytes are told apart is not promised",
        ),
        (
            38,
            "that a reader settles three rounds at most keeps it quick, not right: no answer shows that it went on for longer",
        ),
        (
            47,
            "a write of a session is looked for in the history by the very line that does so for 4",
        ),
        (
            53,
            "it takes a commit of the graph that hangs between two writes of one value; a directed test does, and 300 histories do not",
        ),
        (
            54,
            "it takes forty writes between two of one lock, which no history has; a directed test does",
        ),
        (
            57,
            "what is late for an edge is judged in `domain`, which has no bugs to plant; a directed test does",
        ),
        (
            58,
            "no history copies a bucket into another one; a directed test does",
        ),
        (59, "no history deletes the graph; a directed test does"),
        (
            55,
            "what is taken anew within a second is seldom another value; a directed test of `domain` has it",
        ),
        (
            60,
            "it comes once in some hundred histories, none of them among the first; a directed test has it",
        ),
        (
            63,
            "it comes once in some thousand histories; a directed test has it",
        ),
        (
            65,
            "it comes once in ten thousand histories; a directed test has it",
        ),
        (
            66,
            "it comes once in ten thousand histories; a directed test has it",
        ),
        (
            67,
            "it comes once in some thousand histories; a directed test has it",
        ),
    ];

    const fn bug(
        name: &'static str,
        bug: Bug,
        traces: &'static [u8],
        caught_by: &'static str,
        within: u64,
        what: &'static str,
    ) -> Planted {
        Planted {
            name,
            bug,
            what,
            traces,
            caught_by,
            within,
        }
    }

    /// Every bug, in the order of the histories.
    #[rustfmt::skip]
    pub const BUGS: &[Planted] = &[
        bug("released-ignored", Bug::ReleasedIgnored, &[1, 31], "one-lock", 1_000,
            "a lock id that is over may take the lock again"),
        bug("retried-unlock-refused", Bug::RetriedUnlockRefused, &[2], "answers-fit", 1_000,
            "an unlock is refused if somebody else holds the unit, though its own lock was released before"),
        bug("lock-refused-from-memory", Bug::LockRefusedFromMemory, &[3, 24], "answers-fit", 1_000,
            "a lock is refused, or called taken already, because of what a replica remembers"),
        bug("unlock-answered-from-memory", Bug::UnlockAnsweredFromMemory, &[3], "answers-fit", 1_000,
            "an unlock is answered, or refused, because of what a replica remembers"),
        bug("write-refused-from-memory", Bug::WriteRefusedFromMemory, &[3, 24], "answers-fit", 1_000,
            "a write is refused because of what a replica remembers"),
        bug("commit-forgotten", Bug::CommitForgotten, &[4], "refused-has-no-effect", 1_000,
            "a write that is sent again is not looked for in the history"),
        bug("late-write-commits", Bug::LateWriteCommits, &[5], "late-stays-late", 1_000,
            "an older write of a lock may follow a newer one"),
        bug("moved-on-is-done", Bug::MovedOnIsDone, &[6], "copy-is-current", 10_000,
            "a writer whose copy failed leaves it to whoever committed after it"),
        bug("hands-thrown-out-while-locked", Bug::HandsThrownOutWhileLocked, &[7], "hands-are-honoured", 1_000,
            "what a person wrote directly is refused whenever somebody holds the unit"),
        bug("empty-beside-state", Bug::EmptyBesideState, &[8], "never-empty", 1_000,
            "a unit whose head names nothing reads as empty, whatever lies in its copy"),
        bug("judged-without-swap", Bug::JudgedWithoutSwap, &[9, 18, 26], "adopted-as-it-stands", 1_000,
            "a judgement of the copy is recorded although the head has moved since"),
        bug("first-touch-skips-copy", Bug::FirstTouchSkipsCopy, &[10], "adopted-in-place", 1_000,
            "the first head of an older unit is made without reading its copy"),
        bug("collector-does-not-bump", Bug::CollectorDoesNotBump, &[11], "durable", 10_000,
            "the collector deletes without defeating the commits in flight"),
        bug("conflict-means-exists", Bug::ConflictMeansExists, &[12], "durable", 1_000,
            "a conflict at the put of a version object is taken for its being there"),
        bug("create-forgets-history", Bug::CreateForgetsHistory, &[13], "durable", 10_000,
            "a unit that is created again begins with an empty history"),
        bug("copy-deleted", Bug::CopyDeleted, &[14], "copy-never-goes-back", 10_000,
            "the copy of a deleted unit is deleted, not emptied"),
        bug("refused-before-kept", Bug::RefusedBeforeKept, &[16], "refused-is-kept", 1_000,
            "a refusal is answered before the bytes are kept"),
        bug("answered-before-copy", Bug::AnsweredBeforeCopy, &[17], "copy-is-current", 1_000,
            "a write is answered before the copy holds it"),
        bug("etag-alone-trusted", Bug::EtagAloneTrusted, &[19], "answers-fit", 1_000,
            "a copy that is the recorded one is served, whichever version it holds"),
        bug("pruned-past-copy", Bug::PrunedPastCopy, &[20], "durable", 1_000,
            "pruning forgets versions that the copy may still hold"),
        bug("copy-put-unconditionally", Bug::CopyPutUnconditionally, &[21], "copy-never-goes-back", 1_000,
            "the copy is put whatever is there"),
        bug("lock-by-looking", Bug::LockByLooking, &[22], "one-lock", 1_000,
            "a lock is taken by looking, then putting"),
        bug("refusal-believed", Bug::RefusalBelieved, &[23], "durable", 1_000,
            "a conflict is believed without looking whose swap it was"),
        bug("old-version-undone", Bug::OldVersionUndone, &[25], "hands-are-honoured", 1_000,
            "an old version that a person put back is taken for a lagging copy, though the copy was seen holding the current one"),
        bug("refusal-not-recorded", Bug::RefusalNotRecorded, &[26], "copy-never-goes-back", 10_000,
            "what a person wrote is refused, and overwritten, without a word in the head"),
        bug("lagging-not-recorded", Bug::LaggingNotRecorded, &[27], "copy-never-goes-back", 10_000,
            "a copy is called lagging, and overwritten, without a word in the head"),
        bug("mended-with-own-bytes", Bug::MendedWithOwnBytes, &[28], "copy-never-goes-back", 1_000,
            "a writer whose copy was refused puts its own bytes again, not what the head names by now"),
        bug("moved-means-overwrite", Bug::MovedMeansOverwrite, &[29], "hand-written-is-not-lost", 10_000,
            "what a person wrote is overwritten when the head moved while it was judged"),
        bug("leftovers-adopted", Bug::LeftoversAdopted, &[30], "no-strangers", 1_000,
            "bytes of ours beside a head that names nothing are adopted"),
        bug("again-is-already", Bug::AgainIsAlready, &[32], "answers-fit", 1_000,
            "a write without a lock counts as committed if it ever was, though another came after it"),
        bug("old-sight-recorded", Bug::OldSightRecorded, &[33], "judged-once", 1_000,
            "what a replica once saw of the copy is recorded over a later judgement"),
        bug("orphans-are-ours", Bug::OrphansAreOurs, &[34], "hand-written-is-not-lost", 1_000,
            "version objects that no head ever named count as ours"),
        bug("undelete-trusts-copy", Bug::UndeleteTrustsCopy, &[35], "copy-never-goes-back", 10_000,
            "an undelete leaves a copy that holds the right bytes already"),
        bug("step-four-whatever-is-current", Bug::StepFourWhateverIsCurrent, &[36], "copy-never-goes-back", 10_000,
            "a commit that was found in the history puts its bytes, though another is current"),
        bug("mending-not-recorded", Bug::MendingNotRecorded, &[37], "hands-are-honoured", 1_000,
            "a mended copy is not recorded in the head"),
        bug("absent-is-empty", Bug::AbsentIsEmpty, &[39], "copy-never-goes-back", 10_000,
            "a delete leaves no empty copy where there is none, for a first copy that is still on its way to find"),
        bug("found-not-recorded", Bug::FoundNotRecorded, &[40], "hands-are-honoured", 1_000,
            "a copy that is found to hold the current version is not recorded beside a free unit"),
        bug("gone-means-absent", Bug::GoneMeansAbsent, &[41], "adopted-in-place", 10_000,
            "a bucket that is not found is taken for an object that is not there"),
        bug("empty-stays", Bug::EmptyStays, &[42], "copy-never-goes-back", 10_000,
            "a copy that is empty already is left so beside a deletion, for the put of an earlier write to find"),
        bug("empty-copies-alike", Bug::EmptyCopiesAlike, &[43], "copy-never-goes-back", 10_000,
            "a copy is emptied to no bytes at all, also where the same bytes have the same tag"),
        bug("trail-forgotten", Bug::TrailForgotten, &[], "once", 2_000,
            "a change of the roles that landed and was followed by another is made again"),
        bug("broken-session-writes", Bug::BrokenSessionWrites, &[44, 46], "no-stale-session", 1_000,
            "a session whose lock was broken may write while nobody holds the unit"),
        bug("signed-before-counts", Bug::SignedBeforeCounts, &[45], "no-stale-session", 10_000,
            "what a session signed before it gave its lock back counts as signed after it"),
        bug("retry-breaks-another", Bug::RetryBreaksAnother, &[49, 61], "retry-breaks-nothing", 10_000,
            "the removal of a lock file that is sent again breaks the lock that somebody has taken since"),
        bug("sessions-alike", Bug::SessionsAlike, &[48], "nothing-unasked", 10_000,
            "two persons whose sessions have one name are one holder"),
        bug("older-than-its-lock", Bug::OlderThanItsLock, &[50, 51], "no-stale-session", 10_000,
            "what a session signed before it asked for its present lock counts as made under that"),
        bug("parts-of-another", Bug::PartsOfAnother, &[], "upload-is-its-parts", 1_000,
            "a part is looked for by its number, in whichever upload has one"),
        bug("graph-looked-at-before", Bug::GraphLookedAtBefore, &[52], "edges-follow", 10_000,
            "the graph is looked at before the swap of a write, and not after it"),
        bug("late-takes-now", Bug::LateTakesNow, &[56, 62, 64], "taken-is-what-was-seen", 10_000,
            "a write takes what its sources are worth when the graph is looked at, however long after it was written"),
        bug("graph-written-unconditionally", Bug::GraphWrittenUnconditionally, &[], "graph-goes-on", 1_000,
            "the service writes the graph it has made over whatever graph is current"),
        bug("graph-merge-dropped", Bug::GraphMergeDropped, &[], "sent-is-stored", 1_000,
            "a graph that Terraform sends is answered, and the one that was there is stored"),
        bug("graph-stored-as-sent", Bug::GraphStoredAsSent, &[], "known-stays-known", 1_000,
            "a graph that Terraform sends is stored with what it believes of the edges"),
        bug("unreadable-is-green", Bug::UnreadableIsGreen, &[], "unreadable-is-no-colour", 1_000,
            "a graph that cannot be read is taken for none"),
        bug("used-token-accepted", Bug::UsedTokenAccepted, &[], "used-is-refused", 1_000,
            "a refresh token that was used before buys another"),
        bug("believed-for-ever", Bug::BelievedForEver, &[], "token-is-over", 1_000,
            "what a replica has read of the tokens and the roles it believes for as long as the bucket does not answer"),
        bug("head-put-unconditionally", Bug::HeadPutUnconditionally, &[], "one-chain", 1_000,
            "the head is put whatever is there"),
        bug("lock-forgotten-at-adoption", Bug::LockForgottenAtAdoption, &[], "adopted-in-place", 1_000,
            "a lock file beside an older unit is not seen"),
        bug("answered-before-version", Bug::AnsweredBeforeVersion, &[], "durable", 1_000,
            "a commit does not wait for its version object"),
    ];
}
