//! What an operation would cost without us: the requests to the store that its answer waits for, sent to the store itself,
//! with objects of the same size, in the same order and as many at a time.
//!
//! Nothing is checked, parsed or written down here. What the service does behind its answers is not done at all.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::{join, try_join};
use object_store::list::PaginatedListOptions;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, PutResult, UpdateVersion,
};
use opentaco_domain::unit::RESERVED;
use opentaco_storage::Store;

use crate::failure::{Doing, Failure};
use crate::states::State;

/// What an operation of ours comes down to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// A lock, an unlock: one conditional put of the head.
    Swap,
    /// A read: the head and the copy, both at once.
    Read,
    /// A commit: the version and a look at the graph's head at once, then the head, then the copy, each under its
    /// condition.
    Commit,
    /// A description: the head.
    Look,
    /// A listing: one page of names, and a look at the graph's head, both at once.
    List,
}

impl Call {
    /// How many round trips it takes, one after the other.
    #[must_use]
    pub fn round_trips(self) -> u64 {
        match self {
            Self::Commit => 3,
            Self::Swap | Self::Read | Self::Look | Self::List => 1,
        }
    }
}

/// One unit in a bucket of its own kind.
pub struct Raw {
    store: Arc<dyn Store>,
    unit: String,
    head: Bytes,
    at_head: UpdateVersion,
    at_copy: UpdateVersion,
    commits: u64,
}

impl Raw {
    /// A unit whose head has so many bytes, and whose copy is this state.
    ///
    /// # Errors
    /// If the store does not take them.
    pub async fn begin(
        store: Arc<dyn Store>,
        unit: &str,
        head_bytes: usize,
        state: &State,
    ) -> Result<Self, Failure> {
        let nowhere = UpdateVersion {
            e_tag: None,
            version: None,
        };
        let mut raw = Self {
            store,
            unit: unit.to_owned(),
            head: vec![b' '; head_bytes].into(),
            at_head: nowhere.clone(),
            at_copy: nowhere,
            commits: 0,
        };
        let (head, copy) = (raw.head_key(), raw.copy_key());
        raw.at_head = raw.put(&head, raw.head.clone().into(), PutMode::Create).await?;
        raw.at_copy = raw.put(&copy, payload(state), PutMode::Create).await?;
        Ok(raw)
    }

    /// Makes one call. Only a commit needs the state.
    ///
    /// # Errors
    /// If the store does not do what it is asked for.
    pub async fn call(&mut self, call: Call, state: &State) -> Result<(), Failure> {
        match call {
            Call::Swap => self.swap().await,
            Call::Read => try_join(self.get(&self.head_key()), self.get(&self.copy_key()))
                .await
                .map(drop),
            Call::Commit => self.commit(state).await,
            Call::Look => self.get(&self.head_key()).await.map(drop),
            Call::List => self.list().await,
        }
    }

    async fn swap(&mut self) -> Result<(), Failure> {
        let only_if = PutMode::Update(self.at_head.clone());
        self.at_head = self
            .put(&self.head_key(), self.head.clone().into(), only_if)
            .await?;
        Ok(())
    }

    async fn commit(&mut self, state: &State) -> Result<(), Failure> {
        self.commits += 1;
        let version = format!("__opentaco_versions/{}/@/{:016x}", self.unit, self.commits);
        let (version, _) = join(
            self.put(&version, payload(state), PutMode::Create),
            self.look_at_graph(),
        )
        .await;
        version?;
        self.swap().await?;
        let only_if = PutMode::Update(self.at_copy.clone());
        self.at_copy = self.put(&self.copy_key(), payload(state), only_if).await?;
        Ok(())
    }

    async fn list(&self) -> Result<(), Failure> {
        let page = self.store.list_paginated(
            None,
            PaginatedListOptions {
                max_keys: Some(1000),
                // Ours are folded into one name, as the service has it done.
                delimiter: Some(RESERVED.into()),
                ..PaginatedListOptions::default()
            },
        );
        let (page, _) = join(page, self.look_at_graph()).await;
        page.doing("listing names").map(drop)
    }

    /// There is none, which is an answer.
    async fn look_at_graph(&self) {
        let _none = self.get("__opentaco_units/__opentaco_system/@head.json").await;
    }

    async fn get(&self, key: &str) -> Result<Bytes, Failure> {
        let doing = || format!("getting {key}");
        let got = self.store.get(&path(key)?).await.doing(doing())?;
        got.bytes().await.doing(doing())
    }

    async fn put(&self, key: &str, payload: PutPayload, mode: PutMode) -> Result<UpdateVersion, Failure> {
        let mut options = PutOptions::from(mode);
        if key.starts_with("__opentaco_versions/") {
            // As much as ours has: who and how.
            options.attributes = Attributes::from_iter([
                (Attribute::Metadata("by".into()), "root"),
                (Attribute::Metadata("door".into()), "terraform"),
                (Attribute::Metadata("at".into()), "2026-11-22T12:00:00Z"),
            ]);
        }
        let done = self.store.put_opts(&path(key)?, payload, options).await;
        let PutResult { e_tag, version, .. } = done.doing(format!("putting {key}"))?;
        Ok(UpdateVersion { e_tag, version })
    }

    fn head_key(&self) -> String {
        format!("__opentaco_units/{}/@head.json", self.unit)
    }

    fn copy_key(&self) -> String {
        format!("{}/terraform.tfstate", self.unit)
    }
}

fn path(key: &str) -> Result<Path, Failure> {
    Path::parse(key).doing("naming an object")
}

fn payload(state: &State) -> PutPayload {
    state.pieces.iter().cloned().collect()
}
