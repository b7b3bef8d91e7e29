//! What the kernel says a process has used.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::failure::{Doing, Failure};

/// Bytes in a megabyte, as sizes and limits are told here.
pub const MB: f64 = 1_000_000.0;

/// How often a watched process is looked at.
const GLANCE: Duration = Duration::from_millis(2);

/// The memory of a process, in bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub resident: u64,
    /// Resident at most, since the start or the last [`forget_peak`].
    pub peak: u64,
    /// Of what is resident, its own: heap and stacks.
    pub anonymous: u64,
    /// Of what is resident, pages of files: its own program and libraries.
    pub file: u64,
    /// Threads.
    pub threads: u64,
}

/// Reads the memory of a process.
///
/// # Errors
/// If it has ended, or this is not Linux.
pub fn memory(process: u32) -> Result<Memory, Failure> {
    let file = format!("/proc/{process}/status");
    let text = fs::read_to_string(&file).doing(format!("reading {file}"))?;
    Memory::parse(&text)
        .ok_or_else(|| Failure::new(format!("{file} does not tell the memory of the process")))
}

impl Memory {
    fn parse(status: &str) -> Option<Self> {
        let number = |name: &str| -> Option<u64> {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let bytes = |name| number(name).map(|kib| kib * 1024);
        Some(Self {
            resident: bytes("VmRSS")?,
            peak: bytes("VmHWM")?,
            anonymous: bytes("RssAnon")?,
            file: bytes("RssFile")?,
            threads: number("Threads")?,
        })
    }
}

/// Starts the peak anew from what is resident now; false where the kernel does not let us.
#[must_use]
pub fn forget_peak(process: u32) -> bool {
    fs::write(format!("/proc/{process}/clear_refs"), "5").is_ok()
}

/// Processor time of a process, in microseconds: of its own code, and of the kernel on its behalf.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Processor {
    /// Its own code.
    pub user: f64,
    /// The kernel on its behalf.
    pub system: f64,
}

impl std::ops::Sub for Processor {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            user: self.user - before.user,
            system: self.system - before.system,
        }
    }
}

impl std::ops::Add for Processor {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            user: self.user + other.user,
            system: self.system + other.system,
        }
    }
}

/// Reads the processor time of a process.
///
/// # Errors
/// If it has ended, or this is not Linux.
pub fn processor(process: u32) -> Result<Processor, Failure> {
    let file = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&file).doing(format!("reading {file}"))?;
    ticks(&text).ok_or_else(|| Failure::new(format!("{file} does not tell the time of the process")))
}

fn ticks(stat: &str) -> Option<Processor> {
    // Linux counts in hundredths of a second for everybody who asks here. The name before may hold spaces.
    const MICROSECONDS: f64 = 10_000.0;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11).map(str::parse::<u32>);
    let (user, system) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some(Processor {
        user: f64::from(user) * MICROSECONDS,
        system: f64::from(system) * MICROSECONDS,
    })
}

/// Where the memory of a process was largest.
#[derive(Debug, Default, Clone, Copy)]
pub struct Summit {
    /// What it was made of.
    pub memory: Memory,
    /// When, counted from the start of the watch.
    pub after: Duration,
}

/// Looks at the memory of a process again and again, until it is asked what it saw.
#[derive(Debug)]
pub struct Watch {
    enough: Arc<AtomicBool>,
    watching: JoinHandle<Summit>,
}

impl Watch {
    /// Starts to look.
    #[must_use]
    pub fn over(process: u32) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&enough);
        let watching = std::thread::spawn(move || {
            let began = Instant::now();
            let mut summit = Summit::default();
            while !asked.load(Ordering::Relaxed) {
                let after = began.elapsed();
                if let Ok(memory) = memory(process)
                    && memory.resident > summit.memory.resident
                {
                    summit = Summit { memory, after };
                }
                std::thread::sleep(GLANCE);
            }
            summit
        });
        Self { enough, watching }
    }

    /// What it saw.
    #[must_use]
    pub fn end(self) -> Summit {
        self.enough.store(true, Ordering::Relaxed);
        self.watching.join().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_what_the_kernel_writes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nRssAnon:\t     512 kB\nRssFile:\t     500 kB\nThreads:\t3\n";
        let memory = Memory::parse(status).unwrap();
        assert_eq!(
            memory,
            Memory {
                resident: 1 << 20,
                peak: 2 << 20,
                anonymous: 1 << 19,
                file: 512_000,
                threads: 3
            }
        );
        assert_eq!(Memory::parse("Name:\tzombie\n"), None);
    }

    #[test]
    fn processor_time_is_read_behind_a_name_with_spaces_and_brackets() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 30 0 0";
        assert_eq!(
            ticks(stat),
            Some(Processor {
                user: 2_500_000.0,
                system: 300_000.0
            })
        );
        assert_eq!(ticks("7 (a) S"), None);
    }
}
