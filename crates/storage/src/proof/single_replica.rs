//! For a store without conditional writes: conditions kept by one process that writes there alone.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::Mutex;

use crate::store::Store;

/// The locks that keys are dealt to.
const DOORS: usize = 1024;

/// A store whose conditional puts are decided here: a lock on the key, a look, and a plain put.
///
/// Safe only while nothing else writes to the bucket, and only if the store reads what it has just written and changes
/// an object's ETag with its bytes. A put that is given up by its caller goes on to its end, and holds the lock until
/// then.
#[derive(Clone)]
pub struct SingleReplica {
    inner: Arc<dyn Store>,
    doors: Arc<[Arc<Mutex<()>>]>,
}

impl SingleReplica {
    /// A store that keeps the conditions which `inner` does not. Make one for a bucket, and clone it.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            doors: std::iter::repeat_with(Arc::default).take(DOORS).collect(),
        }
    }

    /// Works on one key alone, to the end, even if nobody waits for it any more.
    async fn alone<T, F>(
        &self,
        key: &Path,
        work: impl FnOnce(Arc<dyn Store>) -> F + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send,
    {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let door = usize::try_from(hasher.finish() % self.doors.len() as u64).unwrap_or(0);
        let (door, inner) = (Arc::clone(&self.doors[door]), Arc::clone(&self.inner));
        let held = door.lock_owned().await;
        #[expect(
            clippy::disallowed_methods,
            reason = "the lock must outlive a caller who gives up, and so must its work"
        )]
        tokio::spawn(async move {
            let done = work(inner).await;
            drop(held);
            done
        })
        .await?
    }
}

impl fmt::Debug for SingleReplica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleReplica")
            .field("inner", &self.inner.to_string())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for SingleReplica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, written by this process alone", self.inner)
    }
}

/// Whether a put of this mode may go on, by what is there.
async fn allow(store: &dyn Store, key: &Path, mode: &PutMode) -> Result<()> {
    if *mode == PutMode::Overwrite {
        return Ok(());
    }
    let present = match store.head(key).await {
        Ok(meta) => Some(meta),
        Err(Error::NotFound { .. }) => None,
        Err(error) => return Err(error),
    };
    match (mode, present) {
        (PutMode::Overwrite, _) | (PutMode::Create, None) => Ok(()),
        (PutMode::Create, Some(_)) => Err(Error::AlreadyExists {
            path: key.to_string(),
            source: "it is there".into(),
        }),
        (PutMode::Update(expected), Some(meta))
            if expected.e_tag.is_some()
                && expected.e_tag == meta.e_tag
                && (expected.version.is_none() || expected.version == meta.version) =>
        {
            Ok(())
        }
        (PutMode::Update(_), _) => Err(Error::Precondition {
            path: key.to_string(),
            source: "it is not what it was".into(),
        }),
    }
}

#[async_trait]
impl ObjectStore for SingleReplica {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let key = location.clone();
        self.alone(location, move |inner| async move {
            allow(&*inner, &key, &opts.mode).await?;
            inner
                .put_opts(
                    &key,
                    payload,
                    PutOptions {
                        mode: PutMode::Overwrite,
                        ..opts
                    },
                )
                .await
        })
        .await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(not_implemented("put_multipart"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .then(move |location| {
                let store = store.clone();
                async move {
                    let key = location?;
                    let of = key.clone();
                    store
                        .alone(
                            &of,
                            move |inner| async move { inner.delete(&key).await.map(|()| key) },
                        )
                        .await
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(not_implemented("copy"))
    }
}

#[async_trait]
impl PaginatedListStore for SingleReplica {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        opts: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        self.inner.list_paginated(prefix, opts).await
    }
}

/// It would go around the locks, and nothing of ours needs it.
fn not_implemented(operation: &str) -> Error {
    Error::NotImplemented {
        operation: operation.to_owned(),
        implementer: "a store with a single writer".to_owned(),
    }
}
