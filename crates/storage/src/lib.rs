//! Where bytes rest: one bucket, and the protocol by which a lock and a commit become one step on it.
//!
//! ```text
//! <prefix>/
//!   myapp/prod/terraform.tfstate             the current state, byte for byte: a copy, for people and other tools
//!   myapp/prod/terraform.tfstate.lock        present only while locked: a courtesy
//!   __opentaco_units/myapp/prod/@head.json   the head: lock, current version, history. THE TRUTH
//!   __opentaco_versions/myapp/prod/@/…       the bytes of every version, immutable
//!   __opentaco_rejected/myapp/prod/@/…       refused writes, kept
//!   __opentaco_access/…, __opentaco_tokens/… who may do what, and whose tokens are good: records
//!   __opentaco_audit/…                       who did what: segments, put once
//! ```
//!
//! What is atomic is one object: the head, by compare-and-swap. Nothing else decides anything. What is not atomic is
//! everything else, and [`settle`] is the one way to mend it.
//!
//! In reading order: what we ask of a store ([`store`], `contract`, [`proof`]) and which there are ([`open`],
//! [`local`], [`memory`]); names ([`layout`]) and requests ([`bucket`], counted in [`counts`]); the documents ([`head`]); then the protocol:
//! [`heads`], [`touch`], [`locks`], [`commit`], [`settle`], [`read`], [`lifecycle`], [`versions`], [`rejected`],
//! [`collect`], [`listing`]. All of it is reached through [`Vault`]. Beside the units lie [`records`] and [`segments`].
//!
//! This crate knows buckets; it knows nobody. It asks no clock, draws no number and spawns no task but through
//! [`surroundings`].

pub mod bucket;
pub mod collect;
pub mod commit;
#[cfg(feature = "contract")]
pub mod contract;
pub mod counts;
pub mod error;
pub mod head;
pub mod heads;
pub mod layout;
pub mod lifecycle;
pub mod listing;
pub mod local;
mod lock_copies;
pub mod locks;
pub mod memory;
pub mod open;
pub mod planted;
pub mod proof;
pub mod read;
pub mod records;
pub mod rejected;
pub mod segments;
pub mod settle;
pub mod store;
pub mod surroundings;
pub mod touch;
#[cfg(feature = "cloud")]
pub mod transport;
pub mod uploads;
mod vacancy;
pub mod vault;
pub mod versions;

#[cfg(feature = "cloud")]
mod aws;

pub use bucket::{Bucket, Kind, Tag, Verb};
pub use commit::{CommitRequest, Committing};
pub use counts::Counts;
pub use error::StorageError;
pub use head::{Committed, CopyRecord, Deleted, Head, Lock, Origin};
pub use object_store::GetRange;
pub use store::Store;
pub use surroundings::Surroundings;
pub use vacancy::is_vacant;
pub use vault::{Noticed, Observer, Retention, Vault};
