//! What the service and the raw calls stand on, side by side: memory, local disk, or a real S3 server that is so many
//! milliseconds away. Each side has a bucket of its own in the same store, and reaches it by the same code.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentaco_storage::Store;
use opentaco_storage::open::{S3Config, StoreConfig, open};
use opentaco_testkit::s3_server::S3Server;
use opentaco_testkit::tools;
use tempfile::TempDir;

use crate::delay::Delay;
use crate::failure::{Doing, Failure};
use crate::service::{Process, Storage};

/// Where states rest, and how far away that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In memory: of the service, and of this process for the raw calls.
    Memory,
    /// On one local disk, in a directory each.
    Local,
    /// In a bucket each of one S3 server, every request so many milliseconds late.
    S3(u64),
}

impl Place {
    /// All that are compared.
    pub const ALL: [Self; 5] = [Self::Memory, Self::Local, Self::S3(0), Self::S3(10), Self::S3(30)];
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Local => f.write_str("local"),
            Self::S3(milliseconds) => write!(f, "s3_{milliseconds}ms"),
        }
    }
}

/// A store of either side.
#[derive(Debug)]
pub struct Ground {
    place: Place,
    relay: Option<Delay>,
    // Last, so that whoever uses them has ended when they go.
    server: Option<S3Server>,
    directory: TempDir,
    buckets: AtomicU64,
}

impl Ground {
    /// Opens one. On S3 nothing is late until [`Self::go_away`].
    ///
    /// # Errors
    /// If there is no S3 server on this machine.
    pub fn open(place: Place) -> Result<Self, Failure> {
        let (server, relay) = match place {
            Place::Memory | Place::Local => (None, None),
            Place::S3(_) => {
                if tools::find("versitygw").is_none() {
                    return Err(Failure::new(
                        "versitygw, the S3 server, is not installed; `./test` installs it below .tools/",
                    ));
                }
                let server = S3Server::start();
                let address: SocketAddr = server
                    .endpoint()
                    .trim_start_matches("http://")
                    .parse()
                    .doing("reading the address of the S3 server")?;
                let relay = Delay::before(address)?;
                (Some(server), Some(relay))
            }
        };
        Ok(Self {
            place,
            relay,
            server,
            directory: TempDir::with_prefix("opentaco-bench-raw-")
                .doing("making a directory for raw calls")?,
            buckets: AtomicU64::new(0),
        })
    }

    /// From now on the bucket is as far away as it is said to be.
    pub fn go_away(&self) {
        if let (Some(relay), Place::S3(milliseconds)) = (&self.relay, self.place) {
            relay.set(Duration::from_millis(milliseconds));
        }
    }

    /// It is near again.
    pub fn come_back(&self) {
        if let Some(relay) = &self.relay {
            relay.set(Duration::ZERO);
        }
    }

    /// A name for one bucket more, which is made if that is what it takes.
    #[must_use]
    pub fn new_bucket(&self) -> String {
        let name = format!("bench-{}", self.buckets.fetch_add(1, Ordering::Relaxed));
        if let Some(server) = &self.server {
            server.bucket(&name);
        }
        name
    }

    /// A service over this bucket, with these flags more. In memory and on local disk each service has its own.
    ///
    /// # Errors
    /// If it does not start.
    pub fn service(&self, bucket: &str, flags: &[&str]) -> Result<Process, Failure> {
        let (storage, mut all) = match (self.place, &self.relay) {
            (Place::S3(_), Some(relay)) => {
                let named = [
                    "-s3-bucket",
                    bucket,
                    "-s3-region",
                    "us-east-1",
                    "-s3-endpoint",
                    &relay.endpoint(),
                ];
                (Storage::S3, named.map(str::to_owned).to_vec())
            }
            (Place::Local, _) => (Storage::Local, Vec::new()),
            _ => (Storage::Memory, Vec::new()),
        };
        all.extend(flags.iter().map(ToString::to_string));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        Process::service(storage, &all)
    }

    /// The store itself, by the code and the transport that the service reaches it by.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub async fn raw(&self, bucket: &str) -> Result<Arc<dyn Store>, Failure> {
        let config = match (self.place, &self.server, &self.relay) {
            (Place::S3(_), Some(server), Some(relay)) => match server.config(bucket) {
                StoreConfig::S3(config) => StoreConfig::S3(S3Config {
                    endpoint: Some(relay.endpoint()),
                    ..config
                }),
                other => other,
            },
            (Place::Local, ..) => StoreConfig::Local {
                directory: self.directory.path().join(bucket),
                prefix: None,
            },
            _ => StoreConfig::Memory,
        };
        Ok(open(&config)
            .await
            .doing("opening the store for raw calls")?
            .store)
    }
}
