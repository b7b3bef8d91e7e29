//! Objects as plain files on a local disk, with the same promises as a bucket.
//!
//! ```text
//! <root>/
//!   myapp/prod/terraform.tfstate        an object is a file under its own name: read it, or overwrite it, with `cp`
//!   .opentaco-local/lock                held while the directory is served, against a second process
//!   .opentaco-local/tmp/…               files on their way in or out; emptied when the directory is opened
//!   .opentaco-local/metadata/…          the metadata of objects that have any (`sidecars.rs`)
//! ```
//!
//! What it promises:
//!
//! - A put that was answered survives a power cut: file, metadata, and every new directory on the way are synced before,
//!   those that opening made among them. (Opening itself hardly waits for the disk.)
//! - An object is one put's whole body at every moment, whatever dies; a body that is being read stays that body.
//! - Of puts with a condition that race, one wins: each key has a lock, and the condition is looked at inside.
//! - A file that was overwritten by hand has another ETag, so a put that is conditional on the old one is refused. (The
//!   hand takes no lock of ours: a `cp` in the very instant between our look and our rename is lost.)
//! - A key and a key below it (`a` and `a/b`) cannot both be: the second put fails and says why. So that the copy of a
//!   lock, which comes and goes, is never in the way of a unit, no folder is called like one (`….tfstate.lock/…`).
//! - If the directory is not there any more (unmounted, moved away, replaced), every answer is an error until it is back:
//!   never "no such object", never an empty listing (`anchor.rs`).
//!
//! A link to a file is read as an object, a put or a delete takes the link and leaves its target alone, and a link to a
//! directory is not listed. On a disk that does not tell `A` from `a`, neither does this store.

use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

mod anchor;
mod disk;
pub(crate) mod pages;
mod sidecars;

use anchor::Anchor;
use disk::{Disk, Opened};
use pages::{Page, below};

/// The name of this store in errors.
const STORE: &str = "local disk";
/// The directory of our own files. The only first segment that no key can have.
const HIDDEN: &str = ".opentaco-local";
/// What is read without leaving the thread: opening a file from the cache takes less time than handing it over.
const AT_ONCE_BYTES_MAX: u64 = 64 * 1024;
/// What is read of a larger file at a time.
const CHUNK_BYTES: u64 = 1024 * 1024;
/// How many deletes of one stream are under way at a time.
const DELETES: usize = 8;

/// Why a directory cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// Another process, or another store of this process, serves it.
    #[error(
        "`{}` is in use by another process; stop that one, or choose another data directory (two processes can share \
         a bucket, but not a directory)", directory.display()
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// It cannot tell two contents of a file apart.
    #[error(
        "`{}` is on a file system that does not keep times to the nanosecond, so that changes could go unnoticed; \
         choose a directory on another one (ext4, xfs, btrfs, zfs, apfs)", directory.display()
    )]
    CoarseTimes {
        /// The directory.
        directory: PathBuf,
    },
    /// The disk does not do what is needed.
    #[error("{doing} `{}` failed", path.display())]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl From<disk::Trouble> for LocalError {
    fn from(disk::Trouble { doing, path, source }: disk::Trouble) -> Self {
        Self::Disk { doing, path, source }
    }
}

/// A bucket in a directory. A clone is the same bucket.
#[derive(Debug, Clone)]
pub struct LocalStore {
    disk: Arc<Disk>,
}

impl LocalStore {
    /// Opens the bucket in `root`, and makes the directory (for the owner's eyes only: states hold secrets) if it is not
    /// there. What an earlier process left unfinished is removed, and the disk is tried with one small file.
    ///
    /// # Errors
    /// If somebody else has it open, or the disk cannot do what is needed.
    pub fn open(root: &FilePath) -> std::result::Result<Self, LocalError> {
        let failed = |doing| {
            move |source| LocalError::Disk {
                doing,
                path: root.to_owned(),
                source,
            }
        };
        let absolute = std::path::absolute(root).map_err(failed("looking for the data directory"))?;
        let missing = absolute.ancestors().take_while(|directory| !directory.exists());
        let changed = missing
            .filter_map(FilePath::parent)
            .map(FilePath::to_owned)
            .collect();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(failed("making the data directory"))?;
        let root = fs::canonicalize(root).map_err(failed("looking at the data directory"))?;
        let disk = Disk::open(lock(&root)?, changed)?;
        if !disk.keeps_what_it_is_given()? {
            return Err(LocalError::CoarseTimes {
                directory: disk.root().to_owned(),
            });
        }
        Ok(Self { disk: Arc::new(disk) })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let disk = Arc::clone(&self.disk);
        tokio::task::spawn_blocking(move || work(&disk)).await?
    }
}

/// Takes the directory for this process.
fn lock(root: &FilePath) -> std::result::Result<Anchor, LocalError> {
    let hidden = root.join(HIDDEN);
    let path = hidden.join("lock");
    let failed = |source| LocalError::Disk {
        doing: "locking",
        path: path.clone(),
        source,
    };
    fs::create_dir_all(&hidden).map_err(failed)?;
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Anchor::cast(root, file, &path)?),
        Err(TryLockError::WouldBlock) => Err(LocalError::InUse {
            directory: root.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{STORE} `{}`", self.disk.root().display())
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let key = location.clone();
        let stamp = self
            .blocking(move |disk| disk.put(&key, &payload, &opts.mode, &opts.attributes))
            .await?;
        Ok(PutResult {
            e_tag: Some(stamp.etag()),
            version: None,
            extensions: http::Extensions::default(),
        })
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(not_implemented("put_multipart"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.version.is_some() {
            return Err(not_implemented("get of an older version"));
        }
        let mut opened = match self.disk.get_at_once(location) {
            Some(opened) => opened?,
            None => {
                let key = location.clone();
                self.blocking(move |disk| disk.get(&key)).await?
            }
        };
        let meta = opened.stamp.meta(location.clone());
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            Some(range) => range.as_range(meta.size).map_err(|source| Error::Generic {
                store: STORE,
                source: Box::new(source),
            })?,
            None => 0..meta.size,
        };
        let attributes = std::mem::take(&mut opened.attributes);
        let body = if options.head {
            stream::empty().boxed()
        } else {
            read(opened, &range)?
        };
        let payload = GetResultPayload::Stream(body);
        Ok(GetResult {
            payload,
            meta,
            range,
            attributes,
            extensions: http::Extensions::default(),
        })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .map(move |location| {
                let store = store.clone();
                async move {
                    let location = location?;
                    store
                        .blocking(move |disk| disk.delete(&location).map(|()| location))
                        .await
                }
            })
            .buffered(DELETES)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = self.clone();
        let prefix = below(prefix);
        let first = Some(PaginatedListOptions::default());
        stream::try_unfold(first, move |next| {
            let (store, prefix) = (store.clone(), prefix.clone());
            async move {
                let Some(opts) = next else { return Ok(None) };
                let page = store.list_paginated(Some(&prefix), opts).await?;
                let next = page.page_token.map(|token| PaginatedListOptions {
                    page_token: Some(token),
                    ..PaginatedListOptions::default()
                });
                Ok::<_, Error>(Some((
                    stream::iter(page.result.objects.into_iter().map(Ok)),
                    next,
                )))
            }
        })
        .try_flatten()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = below(prefix);
        let mut opts = PaginatedListOptions {
            delimiter: Some("/".into()),
            ..PaginatedListOptions::default()
        };
        let mut all = self.list_paginated(Some(&prefix), opts.clone()).await?;
        while let Some(token) = all.page_token.take() {
            opts.page_token = Some(token);
            let more = self.list_paginated(Some(&prefix), opts.clone()).await?;
            all.result.objects.extend(more.result.objects);
            all.result.common_prefixes.extend(more.result.common_prefixes);
            all.page_token = more.page_token;
        }
        Ok(all.result)
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(not_implemented("copy"))
    }
}

#[async_trait]
impl PaginatedListStore for LocalStore {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        opts: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        let mut page = Page::new(prefix, &opts)?;
        self.blocking(move |disk| {
            disk.list(&mut page)?;
            Ok(page.finish())
        })
        .await
    }
}

/// The bytes of a range: a small one is read here and now, a large one chunk by chunk as it is asked for.
fn read(mut opened: Opened, range: &std::ops::Range<u64>) -> Result<BoxStream<'static, Result<Bytes>>> {
    opened.seek(range)?;
    if range.end - range.start <= AT_ONCE_BYTES_MAX {
        let bytes = opened.read(AT_ONCE_BYTES_MAX)?;
        return Ok(stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed());
    }
    let chunks = stream::try_unfold(opened, |mut opened| async move {
        if opened.is_at_end() {
            return Ok(None);
        }
        tokio::task::spawn_blocking(move || opened.read(CHUNK_BYTES).map(|bytes| Some((bytes, opened))))
            .await?
    });
    Ok(chunks.boxed())
}

/// Nothing of ours needs it: heads and copies are single conditional puts, and nothing is ever moved.
fn not_implemented(operation: &str) -> Error {
    Error::NotImplemented {
        operation: operation.to_owned(),
        implementer: STORE.to_owned(),
    }
}
