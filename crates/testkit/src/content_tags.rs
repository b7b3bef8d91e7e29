//! A store whose tags are digests of the content, as S3's are: the same bytes put again have the same tag.
//!
//! The memory store counts instead. Histories are tried over both, because a condition that names a content holds
//! again when the content comes back.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use opentaco_domain::Sha256;
use opentaco_storage::Store;
use tokio::sync::Mutex;

/// See the module.
#[derive(Clone)]
pub struct ContentTags {
    store: Arc<dyn Store>,
    /// The tag of each object; held while the store below is asked, so that both always agree.
    tags: Arc<Mutex<HashMap<Path, String>>>,
}

impl ContentTags {
    /// Wraps an empty store, which nobody else may write.
    #[must_use]
    pub fn over(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            tags: Arc::default(),
        }
    }
}

fn tagged(tags: &HashMap<Path, String>, meta: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        e_tag: tags.get(&meta.location).cloned(),
        version: None,
        ..meta
    }
}

impl fmt::Debug for ContentTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentTags({})", self.store)
    }
}

impl fmt::Display for ContentTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with tags of its content", self.store)
    }
}

#[async_trait]
impl ObjectStore for ContentTags {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let tag = Sha256::of(&Bytes::from(payload.clone())).to_string();
        let mut tags = self.tags.lock().await;
        let mode = match &options.mode {
            PutMode::Update(wanted) if wanted.e_tag.as_ref() != tags.get(location) => {
                return Err(Error::Precondition {
                    path: location.to_string(),
                    source: "other content".into(),
                });
            }
            PutMode::Update(_) => PutMode::Overwrite,
            mode => mode.clone(),
        };
        self.store
            .put_opts(location, payload, PutOptions { mode, ..options })
            .await?;
        tags.insert(location.clone(), tag.clone());
        Ok(PutResult {
            e_tag: Some(tag),
            version: None,
            extensions: Default::default(),
        })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let tags = self.tags.lock().await;
        let got = self.store.get_opts(location, options).await?;
        Ok(GetResult {
            meta: tagged(&tags, got.meta.clone()),
            ..got
        })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        locations
            .and_then(move |location| {
                let this = this.clone();
                async move {
                    let mut tags = this.tags.lock().await;
                    this.store.delete(&location).await?;
                    tags.remove(&location);
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let tags = Arc::clone(&self.tags);
        self.store
            .list(prefix)
            .and_then(move |meta| {
                let tags = Arc::clone(&tags);
                async move { Ok(tagged(&*tags.lock().await, meta)) }
            })
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let tags = self.tags.lock().await;
        let mut listed = self.store.list_with_delimiter(prefix).await?;
        listed.objects = listed
            .objects
            .into_iter()
            .map(|meta| tagged(&tags, meta))
            .collect();
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let mut tags = self.tags.lock().await;
        self.store.copy_opts(from, to, options).await?;
        let tag = tags.get(from).cloned();
        tags.extend(tag.map(|tag| (to.clone(), tag)));
        Ok(())
    }
}

#[async_trait]
impl PaginatedListStore for ContentTags {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        options: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        let tags = self.tags.lock().await;
        let mut listed = self.store.list_paginated(prefix, options).await?;
        listed.result.objects = listed
            .result
            .objects
            .into_iter()
            .map(|meta| tagged(&tags, meta))
            .collect();
        Ok(listed)
    }
}
