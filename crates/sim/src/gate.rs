//! A door to the bucket with somebody standing in it, who decides when each request goes through and what becomes of
//! it: where the simulation is not left to chance.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::bucket::Door;
use crate::executor::{Executor, Group};

/// What a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Whose it is; none once its sender is gone or has given it up.
    pub by: Option<Group>,
    /// What it does.
    pub verb: Verb,
    /// To which key; to all keys that start so, if it lists.
    pub key: String,
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Fetches an object, or asks for its size and tag.
    Get,
    /// Stores an object.
    Put,
    /// Stores an object if the object there is the expected one, or if there is none.
    PutIf,
    /// Removes an object.
    Delete,
    /// Lists names.
    List,
}

impl Verb {
    /// Whether it can change the bucket.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self, Self::Put | Self::PutIf | Self::Delete)
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// It takes effect and is answered.
    Passes,
    /// It takes effect, and the answer is a failure that says nothing.
    AnswerLost,
    /// Its sender is told that it timed out; it stands at the gate again, without a sender.
    GivenUp,
    /// It is told that its condition does not hold, whatever the truth.
    Conflict,
    /// It never arrives, and is never answered.
    Vanishes,
}

/// Who stands in the door.
pub trait Gatekeeper: Send + Sync {
    /// A request has come. The answer, some time, is what becomes of it.
    fn arrives(&self, asked: &Asked) -> BoxFuture<'static, Fate>;
    /// A request has taken effect, and is about to be answered.
    fn passed(&self, asked: &Asked);
}

/// The bucket as one life of one replica sees it past its gatekeeper.
#[derive(Clone)]
pub struct GatedDoor {
    door: Door,
    group: Group,
    executor: Executor,
    keeper: Arc<dyn Gatekeeper>,
}

impl GatedDoor {
    /// Puts a gatekeeper into a door.
    #[must_use]
    pub fn new(door: Door, group: Group, executor: Executor, keeper: Arc<dyn Gatekeeper>) -> Self {
        Self {
            door,
            group,
            executor,
            keeper,
        }
    }

    /// The request travels by itself, as requests do: it outlives its sender.
    async fn through<T: Send + 'static>(
        &self,
        verb: Verb,
        key: &str,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let asked = Asked {
            by: Some(self.group),
            verb,
            key: key.to_owned(),
        };
        let arrived = self.keeper.arrives(&asked);
        let keeper = Arc::clone(&self.keeper);
        let (answer, answered) = oneshot::channel();
        self.executor.spawn(Group::Network, async move {
            let outcome = match arrived.await {
                Fate::Passes => {
                    let outcome = work.await;
                    keeper.passed(&asked);
                    outcome
                }
                Fate::AnswerLost => {
                    let _ = work.await;
                    keeper.passed(&asked);
                    Err(generic("500, after the effect"))
                }
                Fate::GivenUp => {
                    let _ = answer.send(Err(generic("no answer in time")));
                    let late = Asked { by: None, ..asked };
                    if keeper.arrives(&late).await != Fate::Vanishes {
                        let _ = work.await;
                        keeper.passed(&late);
                    }
                    return;
                }
                Fate::Conflict => Err(Error::Precondition {
                    path: asked.key.clone(),
                    source: "409 ConditionalRequestConflict".into(),
                }),
                Fate::Vanishes => return,
            };
            let _ = answer.send(outcome);
        });
        match answered.await {
            Ok(outcome) => outcome,
            Err(_) => std::future::pending().await,
        }
    }
}

fn generic(what: &'static str) -> Error {
    Error::Generic {
        store: "sim",
        source: what.into(),
    }
}

impl fmt::Debug for GatedDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatedDoor")
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for GatedDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulated bucket, past a gatekeeper")
    }
}

#[async_trait]
impl ObjectStore for GatedDoor {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let verb = if options.mode == PutMode::Overwrite {
            Verb::Put
        } else {
            Verb::PutIf
        };
        let (door, to) = (self.door.clone(), location.clone());
        self.through(verb, location.as_ref(), async move {
            door.put_opts(&to, payload, options).await
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.door.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (door, from) = (self.door.clone(), location.clone());
        self.through(Verb::Get, location.as_ref(), async move {
            door.get_opts(&from, options).await
        })
        .await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let gated = self.clone();
        locations
            .then(move |location| {
                let gated = gated.clone();
                async move {
                    let location = location?;
                    let (door, gone) = (gated.door.clone(), location.clone());
                    gated
                        .through(Verb::Delete, location.as_ref(), async move {
                            door.delete(&gone).await
                        })
                        .await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.door.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.door.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.door.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl PaginatedListStore for GatedDoor {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        options: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        let (door, below) = (self.door.clone(), prefix.map(str::to_owned));
        let work = async move { door.list_paginated(below.as_deref(), options).await };
        self.through(Verb::List, prefix.unwrap_or_default(), work).await
    }
}
