//! An authority of a test's own, and certificates that are renewed more often than anybody would.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// Between two renewals.
const PACE: Duration = Duration::from_millis(100);

/// Gives out certificates for loopback.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Default for Authority {
    fn default() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority of the tests");
        let key = KeyPair::generate().expect("a key can be made");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate can be made"))
    }
}

impl Authority {
    /// What clients trust, in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for loopback, and its key.
    fn issue(&self) -> (Certificate, KeyPair) {
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let params = CertificateParams::new(names).expect("these are names");
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params
            .signed_by(&key, &self.0)
            .expect("a certificate can be made");
        (certificate, key)
    }

    /// How to serve with a certificate of this authority.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        let (certificate, key) = self.issue();
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("it was just spelled");
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("the key is the certificate's");
        Arc::new(config)
    }

    /// How to trust whoever has a certificate of this authority.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("it is a certificate");
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }

    /// Puts a new certificate and its key where a service looks for them, one after the other.
    ///
    /// # Panics
    /// If they cannot be written.
    pub fn renew(&self, directory: &Path) {
        let (certificate, key) = self.issue();
        let [certificate_file, key_file] = files(directory);
        for (file, text) in [
            (certificate_file, certificate.pem()),
            (key_file, key.serialize_pem()),
        ] {
            let draft = file.with_extension("draft");
            std::fs::write(&draft, text).expect("a file can be written");
            std::fs::rename(draft, file).expect("a file can be renamed");
        }
    }
}

/// The certificate, and its key.
#[must_use]
pub fn files(directory: &Path) -> [PathBuf; 2] {
    ["cert.pem", "key.pem"].map(|name| directory.join(name))
}

/// Renews a certificate again and again, and tells the service each time, until it is dropped.
#[derive(Debug)]
pub(crate) struct Renewing {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Renewing {
    /// `process` is the number of the process to send SIGHUP to; 0 while there is none.
    pub(crate) fn start(authority: Arc<Authority>, directory: PathBuf, process: Arc<AtomicU32>) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            while matches!(stopped.recv_timeout(PACE), Err(RecvTimeoutError::Timeout)) {
                authority.renew(&directory);
                let process = process.load(Ordering::Acquire);
                if process != 0 {
                    // It may just have ended.
                    let _ = Command::new("kill")
                        .args(["-HUP", &process.to_string()])
                        .stderr(Stdio::null())
                        .status();
                }
            }
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Renewing {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
