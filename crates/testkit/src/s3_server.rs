//! A real S3 server (versitygw over a directory), with a bucket for each test, and what a person does to it by hand.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use opentaco_storage::Store;
use opentaco_storage::open::{S3Config, S3Key, Secret, StoreConfig, open};
use tempfile::TempDir;

use crate::process::Process;
use crate::service::Service;
use crate::tools;

/// The access key id that it knows.
pub const ACCESS: &str = "tester";
/// The secret access key of it.
pub const SECRET: &str = "testersecret";

/// A running S3 server.
#[derive(Debug)]
pub struct S3Server {
    // First, so that it has ended when its directory goes.
    _process: Process,
    home: TempDir,
    port: u16,
}

impl S3Server {
    /// Starts one.
    ///
    /// # Panics
    /// If versitygw is not installed (`./test` does) or does not start.
    #[must_use]
    pub fn start() -> Self {
        let home = tempfile::tempdir().expect("a temporary directory can be made");
        std::fs::create_dir(home.path().join("data")).expect("a directory can be made");
        let port = tools::free_port();
        let mut command = Command::new(tools::installed("versitygw"));
        command
            .args([
                "--access",
                ACCESS,
                "--secret",
                SECRET,
                "--port",
                &format!("127.0.0.1:{port}"),
                "posix",
            ])
            .arg(home.path().join("data"));
        let mut process = Process::start(command, &home.path().join("log"));
        process.until_listening(port);
        Self {
            _process: process,
            home,
            port,
        }
    }

    /// The one that the tests of this binary share, each with buckets of its own. It ends with the last test that has it.
    ///
    /// # Panics
    /// As [`Self::start`] does.
    #[must_use]
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<S3Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let started = Arc::new(Self::start());
            *shared = Arc::downgrade(&started);
            started
        })
    }

    /// Its address.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes a bucket: to this server it is a directory.
    ///
    /// # Panics
    /// If there is one of that name.
    pub fn bucket(&self, name: &str) {
        std::fs::create_dir(self.home.path().join("data").join(name)).expect("a bucket is made once");
    }

    /// Removes a bucket with all that is in it.
    ///
    /// # Panics
    /// If there is none of that name.
    pub fn remove_bucket(&self, name: &str) {
        std::fs::remove_dir_all(self.home.path().join("data").join(name)).expect("the bucket is there");
    }

    /// How our code is told of a bucket.
    #[must_use]
    pub fn config(&self, bucket: &str) -> StoreConfig {
        StoreConfig::S3(S3Config {
            bucket: bucket.to_owned(),
            endpoint: Some(self.endpoint()),
            region: Some("us-east-1".to_owned()),
            credentials: Some(S3Key {
                access_key_id: ACCESS.to_owned(),
                secret_access_key: Secret::new(SECRET),
                session_token: None,
            }),
            ..S3Config::default()
        })
    }

    /// A client of its own to a bucket, with which a test does what a person does with `aws s3 cp`.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn by_hand(&self, bucket: &str) -> Arc<dyn Store> {
        open(&self.config(bucket))
            .await
            .expect("the configuration is right")
            .store
    }

    /// A replica of the service over a bucket.
    #[must_use]
    pub fn replica(&self, home: &Path, bucket: &str) -> Service {
        self.replica_at(home, bucket, &self.endpoint())
    }

    /// A replica that reaches the server by another address, a proxy's.
    #[must_use]
    pub fn replica_at(&self, home: &Path, bucket: &str, endpoint: &str) -> Service {
        self.replica_with(home, bucket, endpoint, &[])
    }

    /// The same, with more flags.
    #[must_use]
    pub fn replica_with(&self, home: &Path, bucket: &str, endpoint: &str, more: &[&str]) -> Service {
        self.replica_of(home, bucket, endpoint, more, &[])
    }

    /// A replica that is told more, by flags and by variables.
    #[must_use]
    pub fn replica_told(
        &self,
        home: &Path,
        bucket: &str,
        more: &[&str],
        variables: &[(&str, &str)],
    ) -> Service {
        self.replica_of(home, bucket, &self.endpoint(), more, variables)
    }

    fn replica_of(
        &self,
        home: &Path,
        bucket: &str,
        endpoint: &str,
        more: &[&str],
        variables: &[(&str, &str)],
    ) -> Service {
        let mut flags = vec![
            "-s3-bucket",
            bucket,
            "-s3-endpoint",
            endpoint,
            "-s3-region",
            "us-east-1",
        ];
        flags.extend(more);
        let credentials = [("AWS_ACCESS_KEY_ID", ACCESS), ("AWS_SECRET_ACCESS_KEY", SECRET)];
        Service::start(home, &flags, &[&credentials, variables].concat())
    }
}
