//! TLS with certificates that are renewed while the service runs.
//!
//! The files are looked at every few seconds and when a SIGHUP comes. What has changed is read as a whole and taken over
//! only if it is a certificate with its key: until then, and for connections that are open already, the one before goes
//! on. Whoever renews may replace one file after the other.

mod expiry;
mod prompt;

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use jiff::Timestamp;
use opentaco_domain::{Clock as _, SystemClock};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::metrics::gauge;
use crate::problem::chain;

pub(crate) use prompt::Prompt;

/// How often the files are looked at. Two calls that ask for nothing but sizes and times.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Where the certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those that lead from it to an authority, in PEM, the certificate first.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read as PEM.
    #[error("{what} cannot be read from {}", path.display())]
    Unreadable {
        /// Certificates, or the key.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: pem::Error,
    },
    /// There is no certificate in the file.
    #[error("there is no certificate in {}", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// The certificate and the key are not a pair, or not of a kind that is known here.
    #[error("{} and {} do not serve together", certificate.display(), key.display())]
    Unfit {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
    /// Signals cannot be listened to.
    #[error("cannot listen for SIGHUP")]
    Signal(#[from] io::Error),
}

/// A certificate in use, and the files it comes from.
pub struct Tls {
    files: TlsFiles,
    config: RustlsConfig,
    /// What the files were when they were last read.
    seen: Stamps,
    asked: Signal,
    state: Arc<Renewals>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// What became of renewals, for `/metrics`.
#[derive(Debug, Default)]
pub struct Renewals {
    expires: AtomicI64,
    done: AtomicU64,
    refused: AtomicU64,
    is_refused: AtomicBool,
}

/// What tells a file from the one that stood there before.
type Stamp = Option<(u64, u64, i64, i64)>;
type Stamps = [Stamp; 2];

/// A certificate that can be used.
struct Usable {
    config: Arc<ServerConfig>,
    /// None if it does not say so in a way that is understood here.
    expires: Option<Timestamp>,
}

impl Tls {
    /// Takes the certificate from its files, and hears SIGHUP from here on.
    ///
    /// # Errors
    /// If they hold none.
    pub fn open(files: &TlsFiles) -> Result<Self, TlsError> {
        let seen = stamps(files);
        let usable = usable(files)?;
        let tls = Self {
            files: files.clone(),
            config: RustlsConfig::from_config(Arc::clone(&usable.config)),
            seen,
            asked: signal(SignalKind::hangup())?,
            state: Arc::default(),
        };
        tls.state.note(&usable);
        Ok(tls)
    }

    /// When the certificate in use expires.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        self.state.expires()
    }

    /// Says so in the log if the certificate in use is of no use to clients any more.
    pub fn warn_if_expired(&self) {
        if self.expires().is_some_and(|expires| expires < SystemClock.now()) {
            tracing::warn!("THE CERTIFICATE HAS EXPIRED: clients refuse it");
        }
    }

    /// What becomes of renewals.
    #[must_use]
    pub fn renewals(&self) -> Arc<Renewals> {
        Arc::clone(&self.state)
    }

    /// What turns connections into TLS connections, with whichever certificate is in use then.
    pub(crate) fn acceptor(&self) -> RustlsAcceptor<NoDelayAcceptor> {
        RustlsAcceptor::new(self.config.clone()).acceptor(NoDelayAcceptor::new())
    }

    /// Takes renewed certificates over as they come. Never returns.
    pub async fn renew(mut self) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {
                    // The files are on local disk and small; what a thread for them costs is more than what they take.
                    if stamps(&self.files) != self.seen {
                        self.read_again();
                    }
                }
                Some(()) = self.asked.recv() => self.read_again(),
            }
        }
    }

    fn read_again(&mut self) {
        // Before they are read: what changes meanwhile is read once more.
        self.seen = stamps(&self.files);
        let certificate = self.files.certificate.display();
        match usable(&self.files) {
            Ok(usable) => {
                self.config.reload_from_config(Arc::clone(&usable.config));
                self.state.note(&usable);
                self.state.done.fetch_add(1, Ordering::Relaxed);
                let expires = usable.expires.map(|expires| expires.to_string());
                tracing::info!(%certificate, expires, "the certificate was read anew, and is used from now on");
                self.warn_if_expired();
            }
            Err(error) => {
                self.state.refused.fetch_add(1, Ordering::Relaxed);
                self.state.is_refused.store(true, Ordering::Relaxed);
                let cause = chain(&error);
                let expires = self.expires().map(|expires| expires.to_string());
                tracing::error!(
                    cause,
                    expires,
                    "the renewed certificate cannot be used; the one before stays in use until the files change again"
                );
            }
        }
    }
}

impl Renewals {
    fn note(&self, usable: &Usable) {
        let expires = usable.expires.map_or(0, Timestamp::as_second);
        self.expires.store(expires, Ordering::Relaxed);
        self.is_refused.store(false, Ordering::Relaxed);
    }

    fn expires(&self) -> Option<Timestamp> {
        let second = self.expires.load(Ordering::Relaxed);
        (second != 0)
            .then(|| Timestamp::from_second(second).ok())
            .flatten()
    }
}

impl Collector for Renewals {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(expires) = self.expires() {
            gauge(
                &mut encoder,
                "opentaco_tls_certificate_expiry_timestamp_seconds",
                "When the certificate in use expires, since 1970",
                u64::try_from(expires.as_second()).unwrap_or_default(),
            )?;
        }
        gauge(
            &mut encoder,
            "opentaco_tls_renewal_refused",
            "1 while the files hold something that cannot be used, and an older certificate is in use",
            self.is_refused.load(Ordering::Relaxed).into(),
        )?;
        let mut renewals = encoder.encode_descriptor(
            "opentaco_tls_renewals",
            "How often the files of the certificate were read anew, by what became of it",
            None,
            MetricType::Counter,
        )?;
        for (outcome, count) in [("done", &self.done), ("refused", &self.refused)] {
            renewals
                .encode_family(&[("outcome", outcome)])?
                .encode_counter::<NoLabelSet, _, u64>(&count.load(Ordering::Relaxed), None)?;
        }
        Ok(())
    }
}

fn usable(files: &TlsFiles) -> Result<Usable, TlsError> {
    let unreadable = |what, path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Unreadable { what, path, source }
    };
    let certificates = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable("certificates", &files.certificate))?;
    let Some(first) = certificates.first() else {
        let path = files.certificate.clone();
        return Err(TlsError::Empty { path });
    };
    let expires = expiry::of(first);
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(unreadable("the key", &files.key))?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key));
    let mut config = config.map_err(|source| TlsError::Unfit {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        source,
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Usable {
        config: Arc::new(config),
        expires,
    })
}

fn stamps(files: &TlsFiles) -> Stamps {
    // By way of links: Kubernetes swaps a link to a directory.
    [&files.certificate, &files.key].map(|file| {
        let metadata = fs::metadata(file).ok()?;
        Some((
            metadata.ino(),
            metadata.len(),
            metadata.mtime(),
            metadata.mtime_nsec(),
        ))
    })
}
