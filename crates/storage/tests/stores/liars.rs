//! Stores that do not keep their word: memory with one fault each.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result,
};
use opentaco_storage::memory::MemoryStore;

/// How a store lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Nothing can be written, for want of rights.
    DeniesWrites,
    /// It never answers.
    Hangs,
    /// What is read has one byte changed.
    SpoilsBytes,
    /// A get names another ETag than the put.
    RenamesEtags,
    /// Every object has the same ETag, and conditions are looked at honestly with that.
    OneEtag,
    /// Every put succeeds.
    IgnoresConditions,
    /// A create of what exists succeeds, unless others are at it.
    CreatesOverAnything,
    /// Creates look first and write later, with time in between.
    LosesCreateRaces,
    /// Updates look first and write later, with time in between.
    LosesUpdateRaces,
    /// An update is always refused.
    RefusesUpdates,
    /// A condition is answered by an error of its own.
    KnowsNoConditions,
    /// An update is accepted whatever it names, if there is an object.
    AcceptsStaleUpdates,
    /// One writer of a race is told that it won, and the bytes are another's.
    KeepsTheLosersBytes,
    /// What was just written is not listed.
    ListsLate,
    /// Metadata is dropped.
    ForgetsMetadata,
    /// Deletes are acknowledged and forgotten.
    KeepsDeleted,
}

/// A store with one fault.
#[derive(Debug, Clone)]
pub(crate) struct Liar {
    inner: MemoryStore,
    lie: Lie,
    /// Whether it did, where once is enough.
    lied: Arc<AtomicBool>,
}

impl Liar {
    pub(crate) fn new(lie: Lie) -> Self {
        Self {
            inner: MemoryStore::new(),
            lie,
            lied: Arc::default(),
        }
    }

    pub(crate) fn bucket(&self) -> &MemoryStore {
        &self.inner
    }

    /// Looks whether the condition holds, lets others look too, and writes as if nothing could have changed.
    async fn look_then_write(&self, key: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let present = self.inner.head(key).await.ok().and_then(|meta| meta.e_tag);
        let refused = match &opts.mode {
            PutMode::Create => present.is_some(),
            PutMode::Update(expected) => present != expected.e_tag,
            PutMode::Overwrite => false,
        };
        if refused {
            return Err(Error::Precondition {
                path: key.to_string(),
                source: "looked at".into(),
            });
        }
        tokio::task::yield_now().await;
        self.inner
            .put_opts(
                key,
                payload,
                PutOptions {
                    mode: PutMode::Overwrite,
                    ..opts
                },
            )
            .await
    }

    async fn put_lying(&self, key: &Path, payload: PutPayload, mut opts: PutOptions) -> Result<PutResult> {
        let (create, update) = (
            opts.mode == PutMode::Create,
            matches!(opts.mode, PutMode::Update(_)),
        );
        match self.lie {
            Lie::DeniesWrites => {
                return Err(Error::PermissionDenied {
                    path: key.to_string(),
                    source: "AccessDenied".into(),
                });
            }
            Lie::Hangs => std::future::pending().await,
            Lie::KnowsNoConditions if create || update => {
                return Err(Error::NotImplemented {
                    operation: "conditions".into(),
                    implementer: "a liar".into(),
                });
            }
            Lie::IgnoresConditions => opts.mode = PutMode::Overwrite,
            Lie::CreatesOverAnything if create && !key.as_ref().contains("race") => {
                opts.mode = PutMode::Overwrite;
            }
            Lie::LosesCreateRaces if create => return self.look_then_write(key, payload, opts).await,
            Lie::LosesUpdateRaces if update => return self.look_then_write(key, payload, opts).await,
            Lie::RefusesUpdates if update => {
                return Err(Error::Precondition {
                    path: key.to_string(),
                    source: "always".into(),
                });
            }
            Lie::AcceptsStaleUpdates if update && !key.as_ref().contains("race") => {
                opts.mode = PutMode::Overwrite;
            }
            Lie::OneEtag if update => opts.mode = PutMode::Overwrite,
            Lie::ForgetsMetadata => opts.attributes = Attributes::new(),
            _ => {}
        }
        let answer = self.inner.put_opts(key, payload.clone(), opts).await;
        let lies = self.lie == Lie::KeepsTheLosersBytes && key.as_ref().contains("race") && answer.is_err();
        if lies && !self.lied.swap(true, Ordering::SeqCst) {
            self.inner.put(key, payload).await?;
        }
        answer
    }

    fn etag(&self, honest: Option<String>, on_put: bool) -> Option<String> {
        match self.lie {
            Lie::OneEtag => Some("\"same\"".to_owned()),
            Lie::RenamesEtags if !on_put => honest.map(|etag| format!("W/{etag}")),
            _ => honest,
        }
    }
}

impl fmt::Display for Liar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a store that lies: {:?}", self.lie)
    }
}

#[async_trait]
impl ObjectStore for Liar {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let mut done = self.put_lying(location, payload, opts).await?;
        done.e_tag = self.etag(done.e_tag, true);
        Ok(done)
    }

    async fn put_multipart_opts(
        &self,
        key: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let mut got = self.inner.get_opts(location, options).await?;
        got.meta.e_tag = self.etag(got.meta.e_tag, false);
        if self.lie == Lie::SpoilsBytes {
            let (meta, range, attributes, extensions) = (
                got.meta.clone(),
                got.range.clone(),
                got.attributes.clone(),
                got.extensions.clone(),
            );
            let mut bytes = got.bytes().await?.to_vec();
            if let Some(first) = bytes.first_mut() {
                *first ^= 1;
            }
            let payload = GetResultPayload::Stream(stream::iter([Ok(Bytes::from(bytes))]).boxed());
            return Ok(GetResult {
                payload,
                meta,
                range,
                attributes,
                extensions,
            });
        }
        Ok(got)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        if self.lie == Lie::KeepsDeleted {
            return locations;
        }
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl PaginatedListStore for Liar {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        opts: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        let mut page = self.inner.list_paginated(prefix, opts).await?;
        if self.lie == Lie::ListsLate {
            page.result.objects.clear();
        }
        Ok(page)
    }
}
