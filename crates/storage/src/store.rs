//! What we ask of a store: `object_store`'s two traits, and nothing of our own.
//!
//! Every store is one value of this trait: S3, GCS, Azure, our local disk, memory, and in tests the ones that fail
//! on purpose. One code path, no drift.

use object_store::ObjectStore;
use object_store::list::PaginatedListStore;

/// A store that can be conditionally written ([`ObjectStore`]) and listed page by page ([`PaginatedListStore`]).
///
/// What the protocol relies on, and the contract (`contract.rs`) tests:
///
/// - `PutMode::Create` and `PutMode::Update` are atomic against each other, also from two processes;
/// - a successful put answers with the ETag that a later get or listing of the same bytes shows;
/// - attributes given to a put come back with a get;
/// - `list_paginated` takes a prefix **of the string** (not of whole segments), answers in the byte order of keys,
///   honours `offset` as "strictly after", `max_keys`, and a page token.
pub trait Store: ObjectStore + PaginatedListStore {}

impl<T: ObjectStore + PaginatedListStore> Store for T {}
