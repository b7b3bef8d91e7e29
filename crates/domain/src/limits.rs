//! Every limit, with its reason.

use jiff::SignedDuration;

/// A write that is committed, and whose graph is looked at, within this time after its request came finds what its client
/// has seen. Nobody has given it up by then, tried again and been answered: clients wait a second before they repeat what
/// they have no answer to.
pub const COMMITTED_AT_ONCE: SignedDuration = SignedDuration::from_secs(1);

/// No request to the bucket lands later than this after it was sent. Stores refuse a signature that is older than a quarter
/// of an hour.
pub const REQUEST_LANDS_WITHIN: SignedDuration = SignedDuration::from_mins(20);

/// The longest unit id. Keys of S3 hold 1,024 bytes: this leaves room for a prefix, our folders and a version's name.
pub const UNIT_ID_BYTES_MAX: usize = 800;

/// The longest segment of a unit id: what a file system takes as one name.
pub const UNIT_SEGMENT_BYTES_MAX: usize = 255;

/// The largest body of a LOCK. A real one has some 300 bytes, and all of it is kept in the head.
pub const LOCK_BODY_BYTES_MAX: usize = 16 * 1024;

/// The largest body of a request about a unit, besides its state: as many labels as there may be, escaped, and a
/// description.
pub const MANAGEMENT_BODY_BYTES_MAX: usize = 256 * 1024;

/// The longest lock id. A UUID has 36 bytes; people choose their own, and 64 of them stand in a head.
pub const LOCK_ID_BYTES_MAX: usize = 255;

/// How many locks that are over a head remembers: what a late retry may still belong to.
pub const RELEASED_LOCKS_MAX: usize = 64;

/// How many S3 sessions a head remembers whose lock was broken. None of them may write before it has locked again, and a
/// session may live for days.
pub const BROKEN_SESSIONS_MAX: usize = 256;

/// How many S3 sessions a head remembers that gave their lock back. A signature is good for a quarter of an hour, so what
/// such a session sent before comes soon or never.
pub const DONE_SESSIONS_MAX: usize = 32;

/// How many committed versions before the current one a head names: a retry finds its commit there.
pub const RECENT_VERSIONS_MAX: usize = 32;

/// One collection of version objects that no head names, every so many commits of a unit.
pub const COMMITS_BETWEEN_COLLECTIONS: usize = 16;

/// How many versions of a unit are kept unless `OPENTACO_MAX_VERSIONS` says otherwise.
pub const VERSIONS_MAX_DEFAULT: usize = 100;

/// How many refused writes of a unit are kept, the newest: a client in a loop must not fill the bucket.
pub const REJECTED_MAX: usize = 100;

/// How long a refused write is kept: long enough to be missed after a holiday.
pub const REJECTED_DAYS: i64 = 30;

/// How long a deleted unit can be brought back, its versions included.
pub const TOMBSTONE_DAYS: i64 = 30;

/// The largest state taken, unless configured. Terraform itself becomes unusable long before.
pub const STATE_BODY_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// How many bytes of bodies are held at a time, unless configured; a larger body is admitted alone.
pub const BODIES_IN_FLIGHT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Keys in a page of a listing: what S3 answers at most.
pub const LIST_PAGE: usize = 1000;

/// How many heads are read at a time: enough to hide the way to the bucket, few enough not to be throttled by it.
pub const HEADS_READ_AT_ONCE: usize = 32;

/// The longest description of a unit: it is part of every head that is read.
pub const DESCRIPTION_BYTES_MAX: usize = 4096;

/// How many labels a unit may have: they too are part of its head.
pub const LABELS_MAX: usize = 64;

/// The longest name and the longest value of a label.
pub const LABEL_BYTES_MAX: usize = 255;

/// The longest lineage and client version taken from a state into its head; a UUID and `1.15.9` in practice.
pub const STATE_FIELD_BYTES_MAX: usize = 1024;

/// How often a read settles a copy that a busy writer keeps changing, before it serves what the head names.
pub const READ_SETTLE_ROUNDS: usize = 3;

/// An output whose value is longer has no digest: reading it takes several times its length of memory, on every write.
pub const OUTPUT_DIGEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// So long the outputs of a state may be together for any of them to have a digest.
pub const OUTPUTS_DIGEST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// So many outputs have their digests in a unit's head, which is written with every lock. Of a unit with more the state
/// is read where they are asked for.
pub const HEAD_OUTPUTS_MAX: usize = 256;

/// So long the names of these outputs may be together.
pub const HEAD_OUTPUT_NAMES_BYTES_MAX: usize = 16 * 1024;

/// So many of the graph's newest versions keep their place in its head if the service wrote them: those of people must
/// not be driven out by them.
pub const RECENT_GRAPH_VERSIONS_MAX: usize = 4;
