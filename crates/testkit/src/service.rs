//! The built service as a process: started, killed, started again on the same data and port.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::certificates::{self, Authority, Renewing};
use crate::client::Client;
use crate::process::Process;
use crate::proxy::Proxy;
use crate::tools;

/// The root token of every service in tests.
pub const ROOT_TOKEN: &str = "test-root-token-0123456789abcdef0123456789";

/// `opentacosvc`, running.
#[derive(Debug)]
pub struct Service {
    process: Process,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    home: PathBuf,
    port: u16,
    tls: Option<Tls>,
}

/// What it takes to be trusted.
#[derive(Debug)]
struct Tls {
    authority: Arc<Authority>,
    process: Arc<AtomicU32>,
    _renewing: Renewing,
}

impl Service {
    /// Serves on local disk below `home`.
    #[must_use]
    pub fn on_disk(home: &Path) -> Self {
        Self::start(home, &["-storage", "local"], &[])
    }

    /// Serves on local disk below `home` over TLS, with a certificate that is renewed several times a second.
    ///
    /// # Panics
    /// If certificates cannot be written.
    #[must_use]
    pub fn on_disk_over_tls(home: &Path) -> Self {
        Self::on_disk_over_tls_with(home, &[])
    }

    /// The same, with more flags.
    ///
    /// # Panics
    /// If certificates cannot be written.
    #[must_use]
    pub fn on_disk_over_tls_with(home: &Path, more: &[&str]) -> Self {
        let authority = Arc::new(Authority::default());
        let directory = home.join("tls");
        std::fs::create_dir_all(&directory).expect("a directory can be made");
        authority.renew(&directory);
        let [certificate, key] =
            certificates::files(&directory).map(|file| file.to_str().expect("it is text").to_owned());
        let flags = ["-storage", "local", "-tls-cert", &certificate, "-tls-key", &key];
        let mut service = Self::start(home, &[&flags, more].concat(), &[]);
        let process = Arc::new(AtomicU32::new(service.process.id()));
        let _renewing = Renewing::start(Arc::clone(&authority), directory, Arc::clone(&process));
        service.tls = Some(Tls {
            authority,
            process,
            _renewing,
        });
        service
    }

    /// Serves with these flags and variables; its own files rest in `home`.
    #[must_use]
    pub fn start(home: &Path, flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let environment: Vec<_> = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let (process, port) = launch(home, &flags, &environment, 0);
        Self {
            process,
            flags,
            environment,
            home: home.to_owned(),
            port,
            tls: None,
        }
    }

    /// `http://127.0.0.1:port`, or `https`.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// The authority that vouches for it, in PEM.
    #[must_use]
    pub fn authority(&self) -> Option<String> {
        self.tls.as_ref().map(|tls| tls.authority.pem())
    }

    /// A client whose state is this unit here, with `resources` in its configuration.
    #[must_use]
    pub fn client(&self, unit: &str, resources: &str) -> Client {
        Client::new(&self.backend(unit), resources).trusting(self.authority())
    }

    /// A proxy in front of it, which speaks to clients what the service speaks.
    #[must_use]
    pub fn proxy(&self) -> Proxy {
        match &self.tls {
            None => Proxy::before(self.port),
            Some(tls) => Proxy::before_tls(self.port, &tls.authority),
        }
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of a unit, for a backend block.
    #[must_use]
    pub fn backend(&self, unit: &str) -> String {
        format!("{}/v1/backend/{unit}", self.url())
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.printed()
    }

    /// The process, for signals.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.tell_of_process(0);
        self.process.kill();
    }

    /// Starts it again on the same data and port.
    pub fn restart(&mut self) {
        self.kill();
        let (process, _) = launch(&self.home, &self.flags, &self.environment, self.port);
        self.tell_of_process(process.id());
        self.process = process;
    }

    fn tell_of_process(&self, id: u32) {
        if let Some(tls) = &self.tls {
            tls.process.store(id, Ordering::Release);
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.tls.is_some() && !std::thread::panicking() && self.process.is_running() {
            let log = self.process.log().to_owned();
            // A short journey is over before that: what it shows is that the service goes on renewing.
            self.process.until("a certificate that was renewed twice", || {
                let printed = std::fs::read_to_string(&log).ok()?;
                (printed.matches("is used from now on").count() > 1).then_some(())
            });
        }
        self.tell_of_process(0);
    }
}

fn launch(home: &Path, flags: &[String], environment: &[(String, String)], port: u16) -> (Process, u16) {
    std::fs::create_dir_all(home).expect("a home can be made");
    let port_file = home.join("port");
    let _ = std::fs::remove_file(&port_file);
    let mut command = Command::new(tools::built("opentacosvc"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("OPENTACO_") || name.starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command
        .args(flags)
        .args(["-port", &port.to_string(), "-port-file"])
        .arg(&port_file)
        .arg("-data-dir")
        .arg(home.join("data"))
        .env("OPENTACO_ROOT_TOKEN", ROOT_TOKEN)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(environment.iter().map(|(name, value)| (name, value)));
    let mut process = Process::start(command, &home.join("log"));
    let bound = process.until("an open port", || {
        std::fs::read_to_string(&port_file)
            .ok()
            .filter(|text| text.ends_with('\n'))
    });
    let port = bound
        .trim()
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("host:port is written there");
    (process, port)
}
