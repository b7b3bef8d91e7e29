//! The replicas: killed with SIGKILL and started again, stopped with SIGSTOP for up to two minutes, with a wall clock
//! that is off, and on a disk that fills up.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentaco_testkit::process::Process;
use opentaco_testkit::service::ROOT_TOKEN;
use opentaco_testkit::tools;

use crate::dice::Dice;
use crate::hold;

/// How one replica is started.
#[derive(Debug, Clone)]
pub struct Start {
    /// Its flags, beside those of its port and its own files.
    pub flags: Vec<String>,
    /// Its variables.
    pub environment: Vec<(String, String)>,
    /// By how many seconds its wall clock is off in one life of ten.
    pub clock: i64,
}

/// All of them. Cheap to clone.
#[derive(Clone)]
pub struct Fleet {
    inner: Arc<Inner>,
}

struct Inner {
    program: PathBuf,
    shim: PathBuf,
    disk: PathBuf,
    dice: Dice,
    replicas: Vec<Replica>,
    reborn: Box<dyn Fn(usize) + Send + Sync>,
    kills: AtomicU64,
    stops: AtomicU64,
    starts_failed: AtomicU64,
    is_over: AtomicBool,
}

struct Replica {
    home: PathBuf,
    port: u16,
    start: Start,
    /// None between two lives.
    process: Mutex<Option<Process>>,
    stopped: AtomicBool,
}

/// Compiles what is loaded before the C library of a replica.
///
/// # Errors
/// What the compiler said.
pub fn shim(below: &Path) -> Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/shim.rs");
    let library = below.join("shim.so");
    let compiled = Command::new("rustc")
        .args(["--edition", "2024", "-O", "--crate-type", "cdylib", "-o"])
        .args([&library, &source])
        .output()
        .map_err(|error| format!("rustc cannot be run: {error}"))?;
    match compiled.status.success() {
        true => Ok(library),
        false => Err(String::from_utf8_lossy(&compiled.stderr).into_owned()),
    }
}

impl Fleet {
    /// Starts all of them, with their files below `home`. `reborn` is told before each further life.
    ///
    /// # Errors
    /// If the shim cannot be compiled or the file that rules the disks not be written.
    pub fn start(
        program: PathBuf,
        home: &Path,
        starts: Vec<(u16, Start)>,
        dice: Dice,
        reborn: impl Fn(usize) + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let shim = shim(home)?;
        let disk = home.join("disk");
        std::fs::write(&disk, b"0").map_err(|error| format!("{}: {error}", disk.display()))?;
        let replicas = starts
            .into_iter()
            .enumerate()
            .map(|(index, (port, start))| Replica {
                home: home.join(format!("replica-{index}")),
                port,
                start,
                process: Mutex::new(None),
                stopped: AtomicBool::new(false),
            });
        let inner = Inner {
            program,
            shim,
            disk,
            dice,
            replicas: replicas.collect(),
            reborn: Box::new(reborn),
            kills: AtomicU64::new(0),
            stops: AtomicU64::new(0),
            starts_failed: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        };
        let fleet = Self {
            inner: Arc::new(inner),
        };
        for index in 0..fleet.inner.replicas.len() {
            fleet.launch(index);
        }
        Ok(fleet)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.replicas.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often one was killed, stopped, and did not come up.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        let count = |of: &AtomicU64| of.load(Ordering::SeqCst);
        let inner = &self.inner;
        (
            count(&inner.kills),
            count(&inner.stops),
            count(&inner.starts_failed),
        )
    }

    fn launch(&self, index: usize) {
        let replica = &self.inner.replicas[index];
        std::fs::create_dir_all(&replica.home).expect("a home can be made");
        let off = match self.inner.dice.below(20) {
            0 => replica.start.clock,
            1 => -replica.start.clock,
            _ => 0,
        };
        let mut command = Command::new(&self.inner.program);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("OPENTACO_") || name.starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        command
            .args(&replica.start.flags)
            .args(["-port", &replica.port.to_string()])
            .env("OPENTACO_ROOT_TOKEN", ROOT_TOKEN)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("LD_PRELOAD", &self.inner.shim)
            .env("TORTURE_CLOCK", off.to_string())
            .env("TORTURE_DISK", &self.inner.disk)
            .envs(replica.start.environment.iter().cloned());
        *hold(&replica.process) = Some(Process::start(command, &replica.home.join("log")));
    }

    /// Whoever ended by itself is started again, as any platform does: it may not have reached its bucket.
    pub async fn watch(self) {
        while !self.inner.is_over.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(200)).await;
            for (index, replica) in self.inner.replicas.iter().enumerate() {
                let ended = hold(&replica.process)
                    .as_mut()
                    .is_some_and(|process| !process.is_running());
                if ended {
                    self.inner.starts_failed.fetch_add(1, Ordering::SeqCst);
                    self.again(index);
                }
            }
        }
    }

    fn again(&self, index: usize) {
        let replica = &self.inner.replicas[index];
        let before = hold(&replica.process).take();
        drop(before);
        replica.stopped.store(false, Ordering::SeqCst);
        (self.inner.reborn)(index);
        self.launch(index);
    }

    /// SIGKILL, and another life.
    pub fn kill(&self, index: usize) {
        self.inner.kills.fetch_add(1, Ordering::SeqCst);
        self.again(index);
    }

    /// SIGSTOP, and SIGCONT so much later, unless it was killed meanwhile.
    pub async fn stop(&self, index: usize, duration: Duration) {
        let replica = &self.inner.replicas[index];
        if replica.stopped.swap(true, Ordering::SeqCst) {
            return;
        }
        self.inner.stops.fetch_add(1, Ordering::SeqCst);
        let signal = |name: &str| {
            if let Some(process) = &*hold(&replica.process) {
                process.signal(name);
            }
        };
        signal("STOP");
        tokio::time::sleep(duration).await;
        if replica.stopped.swap(false, Ordering::SeqCst) {
            signal("CONT");
        }
    }

    /// Whether it is stopped now.
    #[must_use]
    pub fn is_stopped(&self, index: usize) -> bool {
        self.inner.replicas[index].stopped.load(Ordering::SeqCst)
    }

    /// All disks are full, or read-only, for so long.
    ///
    /// # Panics
    /// If the file that says so cannot be written.
    pub async fn spoil_disks(&self, how: Disk, duration: Duration) {
        self.rule_disks(how);
        tokio::time::sleep(duration).await;
        self.rule_disks(Disk::Well);
    }

    fn rule_disks(&self, how: Disk) {
        let file = std::fs::File::options()
            .write(true)
            .open(&self.inner.disk)
            .expect("it was written at the start");
        file.write_all_at(&[how as u8], 0).expect("it is one byte");
    }

    /// All are killed and started anew: none remembers anything.
    pub fn renew(&self) {
        for index in 0..self.len() {
            self.again(index);
        }
    }

    /// What they wrote to their logs.
    #[must_use]
    pub fn logs(&self) -> Vec<String> {
        let read = |replica: &Replica| std::fs::read_to_string(replica.home.join("log")).unwrap_or_default();
        self.inner.replicas.iter().map(read).collect()
    }

    /// The ports they listen on.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.inner.replicas.iter().map(|replica| replica.port).collect()
    }

    /// Ends all of them.
    pub fn end(&self) {
        self.inner.is_over.store(true, Ordering::SeqCst);
        for replica in &self.inner.replicas {
            drop(hold(&replica.process).take());
        }
    }
}

/// What disks are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Disk {
    /// As they should be.
    Well = b'0',
    /// No room is left.
    Full = b'1',
    /// Nothing can be written.
    ReadOnly = b'2',
}

/// So many free ports.
#[must_use]
pub fn ports(count: usize) -> Vec<u16> {
    (0..count).map(|_| tools::free_port()).collect()
}

/// Kills and stops replicas until `is_over`, about one every so often.
pub async fn misfortune(
    fleet: Fleet,
    dice: Dice,
    every: Duration,
    stop_max: Duration,
    is_over: Arc<AtomicBool>,
) {
    while !is_over.load(Ordering::SeqCst) {
        let milliseconds = u64::try_from(every.as_millis()).unwrap_or(u64::MAX / 4);
        tokio::time::sleep(Duration::from_millis(milliseconds / 2) + dice.up_to(milliseconds)).await;
        let index = usize::try_from(dice.below(fleet.len() as u64)).unwrap_or(0);
        let others_stand = (0..fleet.len()).all(|other| other == index || !fleet.is_stopped(other));
        if dice.chance(60) && others_stand {
            let fleet = fleet.clone();
            let most = u64::try_from(stop_max.as_millis()).unwrap_or(u64::MAX / 4);
            // Mostly for moments, at times for as long as may be.
            let duration = match dice.chance(300) {
                true => dice.up_to(most),
                false => dice.up_to(most.min(5000)),
            };
            tokio::spawn(async move { fleet.stop(index, duration).await });
        } else if !fleet.is_stopped(index) || dice.chance(300) {
            fleet.kill(index);
        }
    }
}
