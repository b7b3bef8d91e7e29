//! Child processes: the service itself, and the handler it is compared with. Each listens on loopback, is known by its
//! process id, and ends with the value that stands for it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use opentaco_testkit::s3_server;
use tempfile::TempDir;

use crate::failure::{Doing, Failure};

/// The root token of every service that is started here.
pub const TOKEN: &str = "bench-root-token-0123456789";

/// A process that has not said where it listens by then never will.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often we look whether it has.
const GLANCE: Duration = Duration::from_micros(100);

/// Where states rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// In memory.
    Memory,
    /// On local disk, in a directory of its own.
    Local,
    /// In a bucket that the flags name, by the credentials of the S3 server of the tests.
    S3,
}

impl Storage {
    /// As the flag spells it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Local => "local",
            Self::S3 => "s3",
        }
    }
}

/// A process that listens; it is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    address: SocketAddr,
    directory: Option<TempDir>,
    /// When it was started.
    pub began: Instant,
    /// From then until it was known where it listens.
    pub listening_after: Duration,
}

impl Process {
    /// Starts `opentacosvc`, in a new directory of its own, with its default configuration but for `flags`.
    ///
    /// # Errors
    /// If it is not there, or does not listen.
    pub fn service(storage: Storage, flags: &[&str]) -> Result<Self, Failure> {
        let directory =
            TempDir::with_prefix("opentaco-bench-").doing("making a directory for the service")?;
        Self::service_in(directory, storage, flags)
    }

    /// The same in a directory where one may have been before.
    ///
    /// # Errors
    /// As [`service`](Self::service).
    pub fn service_in(directory: TempDir, storage: Storage, flags: &[&str]) -> Result<Self, Failure> {
        let program = beside("opentacosvc")?;
        let port_file = directory.path().join("port");
        // Left by whoever ran here before.
        let _ = fs::remove_file(&port_file);
        let log = fs::File::create(directory.path().join("log")).doing("making a log for the service")?;
        let mut command = Command::new(&program);
        // As it is delivered: nothing of the environment that this was started from has a say.
        command
            .env_clear()
            .env("OPENTACO_ROOT_TOKEN", TOKEN)
            .env("AWS_ACCESS_KEY_ID", s3_server::ACCESS)
            .env("AWS_SECRET_ACCESS_KEY", s3_server::SECRET)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            // Replicas of a shared bucket are told the key that credentials for S3 are made from.
            .env("OPENTACO_STS_KID", "bench")
            .env("OPENTACO_STS_HMAC_bench", "0123456789abcdef0123456789abcdef")
            .args(["-storage", storage.word(), "-port", "0", "-port-file"])
            .arg(&port_file)
            .arg("-data-dir")
            .arg(directory.path().join("data"))
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let began = Instant::now();
        let child = command.spawn().doing(format!("starting {}", program.display()))?;
        let mut process = Self {
            child,
            address: unknown(),
            directory: Some(directory),
            began,
            listening_after: Duration::ZERO,
        };
        loop {
            if let Some(address) = fs::read_to_string(&port_file)
                .ok()
                .and_then(|text| text.trim().parse().ok())
            {
                process.listening_after = began.elapsed();
                process.address = address;
                return Ok(process);
            }
            let ended = process.child.try_wait().doing("waiting for the service")?;
            if ended.is_some() || began.elapsed() > PATIENCE {
                return Err(Failure::new(format!(
                    "opentacosvc did not start: {}",
                    process.last_words()
                )));
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Starts the handler to compare with, as another process of this very program.
    ///
    /// # Errors
    /// If it does not listen.
    pub fn bare(bytes: usize) -> Result<Self, Failure> {
        let program = std::env::current_exe().doing("finding this program")?;
        let began = Instant::now();
        let mut child = Command::new(program)
            .args(["bare", "--bytes", &bytes.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .doing("starting the bare handler")?;
        let stdout = child.stdout.take();
        let mut process = Self {
            child,
            address: unknown(),
            directory: None,
            began,
            listening_after: Duration::ZERO,
        };
        let mut line = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout)
                .read_line(&mut line)
                .doing("reading where the bare handler listens")?;
        }
        process.listening_after = began.elapsed();
        process.address = line
            .trim()
            .parse()
            .doing("reading where the bare handler listens")?;
        Ok(process)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks `/healthz`, once, without waiting for anything else in this process.
    ///
    /// # Errors
    /// If the answer is not 200.
    pub fn ask_health(&self) -> Result<(), Failure> {
        let doing = "asking for /healthz";
        let mut stream = TcpStream::connect(self.address).doing(doing)?;
        stream.set_nodelay(true).doing(doing)?;
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")
            .doing(doing)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).doing(doing)?;
        if answer.starts_with("HTTP/1.1 200") {
            return Ok(());
        }
        Err(Failure::new(format!(
            "/healthz answers {:?}",
            answer.lines().next().unwrap_or_default()
        )))
    }

    /// The directory that it keeps its own things in; a bare handler has none.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_ref().map(TempDir::path)
    }

    /// What the log says at its end, for a failure.
    #[must_use]
    pub fn last_words(&self) -> String {
        let Some(directory) = &self.directory else {
            return "it left no log".to_owned();
        };
        let log = fs::read_to_string(directory.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    /// Stops it, and gives back its directory.
    ///
    /// # Errors
    /// If it had none.
    pub fn stop(mut self) -> Result<TempDir, Failure> {
        self.end();
        self.directory
            .take()
            .ok_or_else(|| Failure::new("a bare handler has no directory"))
    }

    fn end(&mut self) {
        // Both fail where it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn unknown() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A program that was built together with this one.
///
/// # Errors
/// If it was not.
pub fn beside(name: &str) -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().doing("finding this program")?;
    let here = own.parent().unwrap_or(Path::new("."));
    // A test lies one level below what it tests.
    let places = [Some(here), here.parent()];
    let found = places
        .into_iter()
        .flatten()
        .map(|place| place.join(name))
        .find(|program| program.is_file());
    found.ok_or_else(|| {
        Failure::new(format!(
            "{} is not there: `cargo build --release --workspace --bins` builds both",
            here.join(name).display()
        ))
    })
}
