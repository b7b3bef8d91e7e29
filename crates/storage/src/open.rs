//! From a configuration to a store: S3, GCS, Azure, local disk or memory, all as one kind of value.
//!
//! Opening asks nothing of the bucket: whether it answers, and whether it keeps its word, is for [`crate::proof`] to
//! find out. Nothing here reads the environment, but what the AWS and Google chains look up by their own rules.

#[cfg(feature = "cloud")]
mod cloud;
#[cfg(feature = "cloud")]
mod listing;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use object_store::path::Path;
pub use opentaco_domain::Secret;

use crate::local::{LocalError, LocalStore};
use crate::memory::MemoryStore;
use crate::store::Store;

/// Which store, and where in it.
#[derive(Debug, Clone)]
pub enum StoreConfig {
    /// Gone with the process.
    Memory,
    /// A directory on this machine's disk.
    Local {
        /// Where it is; made when it is missing.
        directory: PathBuf,
        /// What all names start with.
        prefix: Option<String>,
    },
    /// Amazon S3, or whatever speaks its protocol.
    S3(S3Config),
    /// Google Cloud Storage.
    Gcs(GcsConfig),
    /// Azure Blob Storage.
    Azure(AzureConfig),
}

/// A bucket of S3 or of something compatible.
#[derive(Debug, Clone, Default)]
pub struct S3Config {
    /// Its name.
    pub bucket: String,
    /// What all names start with, without slashes around it.
    pub prefix: Option<String>,
    /// Its region; by default what the AWS environment and profile say, and `us-east-1` on an endpoint of one's own.
    pub region: Option<String>,
    /// Where to find it if not at AWS; over plain http only if it says so.
    pub endpoint: Option<String>,
    /// Whether the bucket is named in the host; by default it is at AWS, and stands in the path on a custom endpoint.
    pub virtual_hosted: Option<bool>,
    /// Whom to be; by default whom the standard AWS chain finds.
    pub credentials: Option<S3Key>,
}

/// An access key that was given by hand.
#[derive(Debug, Clone)]
pub struct S3Key {
    /// Its public half.
    pub access_key_id: String,
    /// Its secret half.
    pub secret_access_key: Secret,
    /// What comes with a temporary key.
    pub session_token: Option<Secret>,
}

/// A bucket of Google Cloud Storage.
#[derive(Debug, Clone, Default)]
pub struct GcsConfig {
    /// Its name.
    pub bucket: String,
    /// What all names start with, without slashes around it.
    pub prefix: Option<String>,
    /// Where to find it if not at Google.
    pub endpoint: Option<String>,
    /// Whom to be.
    pub credentials: GcsCredentials,
}

/// Whom to be at Google.
#[derive(Debug, Clone, Default)]
pub enum GcsCredentials {
    /// What `gcloud auth application-default login` left behind, else what the machine we run on may do.
    #[default]
    Default,
    /// The same, from this file (`GOOGLE_APPLICATION_CREDENTIALS`).
    File(PathBuf),
    /// The JSON key of a service account.
    ServiceAccount(Secret),
    /// Nobody: for emulators.
    Anonymous,
}

/// A container of Azure Blob Storage.
#[derive(Debug, Clone, Default)]
pub struct AzureConfig {
    /// The storage account.
    pub account: String,
    /// The container in it.
    pub container: String,
    /// What all names start with, without slashes around it.
    pub prefix: Option<String>,
    /// Where to find the account if not at `https://<account>.blob.core.windows.net`; for azurite
    /// `http://127.0.0.1:10000/devstoreaccount1`.
    pub endpoint: Option<String>,
    /// Whom to be.
    pub credentials: AzureCredentials,
}

/// Whom to be at Azure.
#[derive(Debug, Clone, Default)]
pub enum AzureCredentials {
    /// The managed identity of the machine we run on.
    #[default]
    Machine,
    /// The same, where it has several identities: this one.
    ManagedIdentity {
        /// The client id of the identity.
        client_id: String,
    },
    /// A key of the account.
    AccessKey(Secret),
    /// A shared access signature: the part of its address after the `?`.
    SharedAccessSignature(Secret),
    /// A service principal.
    ClientSecret {
        /// Its directory.
        tenant_id: String,
        /// Its application.
        client_id: String,
        /// Its password.
        client_secret: Secret,
    },
    /// A token that Kubernetes keeps fresh in a file.
    WorkloadIdentity {
        /// The directory.
        tenant_id: String,
        /// The application.
        client_id: String,
        /// The file.
        token_file: PathBuf,
    },
    /// Whoever `az login` logged in.
    Cli,
}

/// A store, ready to be asked.
#[derive(Clone)]
pub struct Opened {
    /// The store itself; keys are given to it with the prefix.
    pub store: Arc<dyn Store>,
    /// What all names start with: empty, or without a slash at either end.
    pub prefix: String,
    /// The store and the place in it, for people: `s3://bucket/prefix at http://127.0.0.1:7070`.
    pub description: String,
    /// What went over the wire; stays at zero where there is no wire.
    pub counts: Arc<HttpCounts>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("description", &self.description)
            .finish_non_exhaustive()
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The prefix cannot be the start of a key.
    #[error("`{prefix}` cannot be a prefix in a bucket")]
    Prefix {
        /// What was asked for.
        prefix: String,
        /// What is wrong with it.
        #[source]
        source: object_store::path::Error,
    },
    /// The endpoint is not the address of a server.
    #[error("`{endpoint}` is not an endpoint: {reason}")]
    Endpoint {
        /// What was asked for.
        endpoint: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nobody said in which region the bucket is.
    #[error(
        "the region of the bucket `{bucket}` is not known: set OPENTACO_S3_REGION, AWS_REGION or `region` in the AWS profile"
    )]
    Region {
        /// The bucket.
        bucket: String,
    },
    /// The directory could not be taken.
    #[error("the local store could not be opened")]
    Local(#[from] LocalError),
    /// What was configured does not add up to a store.
    #[error("{description} could not be opened")]
    Client {
        /// Which store.
        description: String,
        /// What its client says.
        #[source]
        source: object_store::Error,
    },
    /// This build does not know the store.
    #[error("{kind} is not part of this build (feature `cloud`)")]
    NotBuilt {
        /// The kind of store.
        kind: &'static str,
    },
}

/// Opens the store that `config` names.
///
/// # Errors
/// If the configuration cannot be a store's, or the local directory cannot be had. A bucket that does not exist or
/// does not let us in is noticed by the first request to it, not here.
pub async fn open(config: &StoreConfig) -> Result<Opened, OpenError> {
    let counts = Arc::new(HttpCounts::default());
    match config {
        StoreConfig::Memory => Ok(Opened {
            store: Arc::new(MemoryStore::new()),
            prefix: String::new(),
            description: "memory (everything is lost when the process ends)".to_owned(),
            counts,
        }),
        StoreConfig::Local { directory, prefix } => Ok(Opened {
            prefix: normalized(prefix.as_deref())?,
            store: Arc::new(LocalStore::open(directory)?),
            description: format!("local disk at {}", directory.display()),
            counts,
        }),
        #[cfg(feature = "cloud")]
        StoreConfig::S3(config) => cloud::s3(config, counts).await,
        #[cfg(feature = "cloud")]
        StoreConfig::Gcs(config) => cloud::gcs(config, counts),
        #[cfg(feature = "cloud")]
        StoreConfig::Azure(config) => cloud::azure(config, counts),
        #[cfg(not(feature = "cloud"))]
        StoreConfig::S3(_) => Err(OpenError::NotBuilt { kind: "S3" }),
        #[cfg(not(feature = "cloud"))]
        StoreConfig::Gcs(_) => Err(OpenError::NotBuilt {
            kind: "Google Cloud Storage",
        }),
        #[cfg(not(feature = "cloud"))]
        StoreConfig::Azure(_) => Err(OpenError::NotBuilt {
            kind: "Azure Blob Storage",
        }),
    }
}

/// The prefix without the slashes people put around it.
fn normalized(prefix: Option<&str>) -> Result<String, OpenError> {
    let trimmed = prefix.unwrap_or_default().trim_matches('/');
    match Path::parse(trimmed) {
        Ok(path) => Ok(path.to_string()),
        Err(source) => Err(OpenError::Prefix {
            prefix: trimmed.to_owned(),
            source,
        }),
    }
}

/// What became of an HTTP request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// 2xx.
    Done,
    /// 3xx or 4xx: the server had a reason, a condition that did not hold among them.
    Refused,
    /// 5xx: the server could not.
    Failed,
    /// No answer came: not connected, cut off, or silent for too long.
    Unanswered,
    /// We stopped waiting for the answer.
    Abandoned,
}

/// How many HTTP requests left for a store, by method and outcome, and what of its listings had to be skipped.
///
/// These are the requests themselves, where [`crate::Counts`] are the ones the protocol meant to make: that the two
/// agree is what tests hold against a library that repeats requests by itself. At GCS and Azure the requests for access
/// tokens are among them.
#[derive(Debug, Default)]
pub struct HttpCounts {
    requests: Mutex<BTreeMap<(String, Outcome), u64>>,
    skipped: AtomicU64,
}

impl HttpCounts {
    /// Every count that is not zero.
    #[must_use]
    pub fn requests(&self) -> BTreeMap<(String, Outcome), u64> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many requests of one method left, whatever became of them.
    #[must_use]
    pub fn of(&self, method: &str) -> u64 {
        self.requests()
            .iter()
            .filter(|((of, _), _)| of == method)
            .map(|(_, count)| count)
            .sum()
    }

    /// How many requests left.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.requests().values().sum()
    }

    /// How many entries were left out of listings because no key of ours can be called that, each listing counted.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Counts one request.
    #[cfg_attr(
        not(feature = "cloud"),
        expect(dead_code, reason = "without a cloud there is no wire")
    )]
    pub(crate) fn count(&self, method: &str, outcome: Outcome) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((method.to_owned(), outcome)).or_default() += 1;
    }

    /// Counts entries that were left out of a listing.
    #[cfg_attr(
        not(feature = "cloud"),
        expect(dead_code, reason = "without a cloud there is no wire")
    )]
    pub(crate) fn skip(&self, entries: u64) {
        self.skipped.fetch_add(entries, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_loses_the_slashes_around_it_and_nothing_else() {
        for (asked, used) in [
            (None, ""),
            (Some(""), ""),
            (Some("/"), ""),
            (Some("teams"), "teams"),
            (Some("/teams/red/"), "teams/red"),
            (Some("ä b+c=~"), "ä b+c=~"),
            (Some("50%"), "50%"),
        ] {
            assert_eq!(normalized(asked).unwrap(), used, "{asked:?}");
        }
    }

    #[test]
    fn a_prefix_no_key_can_start_with_is_refused_and_named() {
        for prefix in ["a//b", "a/../b", ".", "a\nb"] {
            let refused = normalized(Some(prefix)).unwrap_err();
            assert!(
                matches!(&refused, OpenError::Prefix { prefix: named, .. } if named == prefix),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn a_configuration_can_be_printed_without_its_secrets() {
        let shown = format!(
            "{:?} {:?} {:?}",
            S3Config {
                credentials: Some(S3Key {
                    access_key_id: "AKIA".to_owned(),
                    secret_access_key: Secret::new("hush"),
                    session_token: Some(Secret::new("hush")),
                }),
                ..S3Config::default()
            },
            GcsCredentials::ServiceAccount(Secret::new("hush")),
            AzureCredentials::AccessKey(Secret::new("hush")),
        );
        assert!(shown.contains("AKIA") && !shown.contains("hush"), "{shown}");
    }

    #[tokio::test]
    async fn local_disk_is_opened_where_it_was_asked_for() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("data");
        let config = StoreConfig::Local {
            directory: directory.clone(),
            prefix: Some("/teams/".to_owned()),
        };
        let opened = open(&config).await.unwrap();
        assert_eq!(opened.prefix, "teams");
        assert_eq!(
            opened.description,
            format!("local disk at {}", directory.display())
        );
        assert!(directory.is_dir());
    }

    #[tokio::test]
    async fn memory_says_that_it_forgets_and_makes_no_request() {
        let opened = open(&StoreConfig::Memory).await.unwrap();
        assert!(opened.description.contains("lost"));
        assert_eq!(opened.counts.total(), 0);
    }
}
