//! Opening the service's one bucket: connect, prove that it keeps its word, and only then serve from it.

use std::sync::Arc;

use opentaco_domain::{Policy, UnitId};
use opentaco_storage::open::{StoreConfig, open};
use opentaco_storage::proof::{SingleReplica, prove};
use opentaco_storage::records::Records;
use opentaco_storage::{Bucket, Retention, Store, Surroundings, Vault};

pub use opentaco_storage::proof::Verdict;

use crate::graph::Hearing;
use crate::{Access, Audit, AuditOptions, ControlError, StateControl};

/// What is asked of an opened bucket besides where it is.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Serve from a store without conditional writes. Safe only while this is the one process that writes there.
    pub single_replica: bool,
    /// How long versions are kept.
    pub retention: Retention,
    /// By what it is decided who may do what.
    pub rights: Rights,
    /// How it is kept who did what.
    pub audit: AuditOptions,
    /// The unit that holds the graph of dependencies.
    pub graph_unit: UnitId,
    /// Time, chance and background work.
    pub surroundings: Surroundings,
}

/// By what it is decided who may do what.
#[derive(Debug, Clone, Default)]
pub enum Rights {
    /// By the roles that are written down in the bucket.
    #[default]
    Roles,
    /// By this, and roles count for nothing.
    Policy(Arc<dyn Policy>),
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            single_replica: false,
            retention: Retention::default(),
            rights: Rights::default(),
            audit: AuditOptions::default(),
            graph_unit: UnitId::graph(),
            surroundings: Surroundings::real(),
        }
    }
}

/// A bucket that was asked whether it keeps its word.
#[derive(Debug)]
pub struct Described {
    /// Where it is.
    pub description: String,
    /// What was found, property by property.
    pub verdict: Verdict,
}

impl StateControl {
    /// Opens the bucket, proves compare-and-swap on it, and serves from it.
    ///
    /// Memory and local disk are not asked for that proof at each start (only by [`StateControl::doctor`]): nobody else
    /// serves them, their conditions are kept by code of ours that the contract test holds to its word, and whoever opens
    /// a directory tries its disk. Racing writers, each synced, would be most of a start's time.
    ///
    /// # Errors
    /// [`ControlError::Unopened`]: it cannot be reached, or it does not keep its word; with what to do.
    pub async fn open(config: &StoreConfig, options: OpenOptions) -> Result<Self, ControlError> {
        let opened = connect(config).await?;
        let store: Arc<dyn Store> = if options.single_replica {
            Arc::new(SingleReplica::new(opened.store))
        } else {
            opened.store
        };
        if !is_ours(config) {
            let verdict = prove(&store, Some(&opened.prefix), &options.surroundings).await;
            if !verdict.is_safe() {
                return Err(ControlError::Unopened {
                    what: refusal(&opened.description, &verdict),
                });
            }
        }
        let surroundings = options.surroundings.clone();
        let bucket = Bucket::new(store, &opened.prefix, options.surroundings);
        let audit = Audit::kept(bucket.clone(), options.audit);
        let hearing = Arc::new(Hearing::new(audit.clone()));
        let vault = Vault::observed(bucket.clone(), options.retention, hearing.clone());
        let control = match options.rights {
            Rights::Policy(policy) => {
                let control = Self::new(vault, policy, &opened.description);
                control.audited(&audit)
            }
            Rights::Roles => {
                let access = Access::open(Records::new(bucket), surroundings).await;
                access.keep_fresh();
                let control = Self::by_roles(vault, access, &opened.description).audited(&audit);
                control.ledger().keep_fresh().await;
                control
            }
        };
        let control = control.with_graph_in(options.graph_unit).collecting_uploads();
        hearing.tell(&control.graph);
        Ok(control.keeping_up())
    }

    /// Asks a bucket whether it keeps its word, property by property.
    ///
    /// # Errors
    /// [`ControlError::Unopened`] if what is configured is no store at all.
    pub async fn doctor(config: &StoreConfig) -> Result<Described, ControlError> {
        let opened = connect(config).await?;
        let verdict = prove(&opened.store, Some(&opened.prefix), &Surroundings::real()).await;
        Ok(Described {
            description: opened.description,
            verdict,
        })
    }
}

/// Whether this very process decides the conditions of writes, rather than somebody's server.
fn is_ours(config: &StoreConfig) -> bool {
    match config {
        StoreConfig::Memory | StoreConfig::Local { .. } => true,
        StoreConfig::S3(_) | StoreConfig::Gcs(_) | StoreConfig::Azure(_) => false,
    }
}

async fn connect(config: &StoreConfig) -> Result<opentaco_storage::open::Opened, ControlError> {
    open(config)
        .await
        .map_err(|error| ControlError::Unopened { what: chain(&error) })
}

fn refusal(description: &str, verdict: &Verdict) -> String {
    if verdict.is_unknown() {
        return format!(
            "{description} cannot be served from: it did not answer the questions that must be answered first\n\n{verdict}\n\nCheck the address, the bucket's name, the credentials and their rights, then start again."
        );
    }
    let remedy = if verdict.sole_replica_only() {
        "Use a store that honours conditional writes, or start with --single-replica if this is the only process that ever writes to this bucket."
    } else {
        "Use another store: states are not safe on this one."
    };
    format!("{description} does not keep its word, and states could be lost\n\n{verdict}\n\n{remedy}")
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use opentaco_domain::Caller;

    use super::*;

    /// A directory that goes with the test.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("opentaco-control-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn config(&self) -> StoreConfig {
            StoreConfig::Local {
                directory: self.0.clone(),
                prefix: None,
            }
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _gone = fs::remove_dir_all(&self.0);
        }
    }

    #[tokio::test]
    async fn a_start_on_a_local_disk_leaves_the_racing_writers_to_the_doctor() {
        let directory = Directory::new("start");
        // Where the writers of the proof would race.
        fs::write(directory.0.join("__opentaco_probe"), "no directory").unwrap();
        let control = StateControl::open(&directory.config(), OpenOptions::default())
            .await
            .unwrap();
        control.ready().await.unwrap();
        drop(control);
        let described = StateControl::doctor(&directory.config()).await.unwrap();
        assert!(!described.verdict.is_safe(), "{}", described.verdict);
    }

    #[tokio::test]
    async fn a_name_that_the_store_can_never_hold_is_refused_with_the_reason() {
        let directory = Directory::new("names");
        let control = StateControl::open(&directory.config(), OpenOptions::default())
            .await
            .unwrap();
        let unit = UnitId::parse(".opentaco-local/prod").unwrap();
        let refused = control.read_state(&Caller::root(), &unit).await;
        let Err(error @ ControlError::Invalid { .. }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(
            error.to_string(),
            "this cannot be kept in the store below: `.opentaco-local/prod/terraform.tfstate` cannot be an object: the \
             local disk keeps its own files in `.opentaco-local`; choose another name"
        );
    }
}
