//! A child process that is stopped by its own number when its test ends, and also when the test is killed.

use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take to come up, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running program with its output in a file.
#[derive(Debug)]
pub struct Process {
    child: Child,
    heir: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with all output in `log`.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(mut command: Command, log: &Path) -> Self {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("a log file can be written");
        let errors = file.try_clone().expect("a file can be opened twice");
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        let heir = heir_of(&child);
        Self {
            child,
            heir,
            log: log.to_owned(),
        }
    }

    /// What it has printed so far.
    #[must_use]
    pub fn printed(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Where it prints to.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sends a signal, as in `KILL`, `TERM`, `STOP` or `CONT`.
    ///
    /// # Panics
    /// If there is no `kill` program.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(
            status.expect("kill can be run").success() || name == "KILL",
            "SIG{name} was not delivered"
        );
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn wait(&mut self) -> ExitStatus {
        let status = self.child.wait().expect("a child can be waited for");
        self.disinherit();
        status
    }

    /// Kills it with SIGKILL and waits for its end.
    pub fn kill(&mut self) {
        self.disinherit();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its number may soon be another process's: nobody kills by it any more.
    fn disinherit(&mut self) {
        let _ = self.heir.kill();
        let _ = self.heir.wait();
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks again and again until `ready` has an answer.
    ///
    /// # Panics
    /// If the process ends before, or a minute passes; with what it printed.
    pub fn until<T>(&mut self, what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(answer) = ready() {
                return answer;
            }
            assert!(self.is_running(), "it ended before {what}:\n{}", self.printed());
            assert!(
                started.elapsed() < PATIENCE,
                "no {what} within a minute:\n{}",
                self.printed()
            );
            nap();
        }
    }

    /// Waits until something listens on a port of loopback.
    pub fn until_listening(&mut self, port: u16) {
        self.until("listening", || {
            TcpStream::connect(("127.0.0.1", port)).ok().map(|_| ())
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A shell that ends the process if we cannot: its input closes when this test ends, however it ends.
fn heir_of(child: &Child) -> Child {
    Command::new("sh")
        .args(["-c", "read -r nothing; kill -9 \"$0\"", &child.id().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("there is a shell")
}

/// Between two looks at something that another process does.
pub fn nap() {
    std::thread::sleep(Duration::from_millis(10));
}

/// Waits until `holds`, looking again and again.
///
/// # Panics
/// If it does not within a minute.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "not within a minute: {what}");
        nap();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn a_process_is_killed_when_whoever_started_it_is_gone() {
        let mut child = Command::new("sleep")
            .arg("600")
            .spawn()
            .expect("there is a sleep");
        let mut heir = heir_of(&child);
        // This is all that is left of a test that was killed.
        drop(heir.stdin.take());
        assert_eq!(child.wait().expect("a child can be waited for").signal(), Some(9));
        let _ = heir.wait();
    }
}
