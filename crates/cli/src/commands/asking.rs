//! Which process asks for credentials: as long as it lives, it is one session, however often it asks.
//!
//! An SDK runs `credential_process` in a shell of its own, a new one each time: `terraform` asks `sh -c 'taco creds …'`. So
//! a shell that was started for this one command is passed over, and whoever started it is who asks. A shell that runs
//! a script, or a line of several commands, is somebody of its own: two jobs of one runner are two.

use std::path::Path;
use std::process::Command;

/// What is known of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    id: u32,
    parent: u32,
    /// When it was started, in the spelling of the system; an id may be used again.
    started: String,
    /// Its program and arguments, with spaces between them.
    command: String,
}

/// No line of processes is longer.
const ANCESTORS_MAX: usize = 8;

/// The process that asks, by its id and when it was started, on this machine since its start; none if it cannot be told.
pub(super) fn asking_process() -> Option<String> {
    let asking = asker(std::os::unix::process::parent_id(), look_at)?;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Some(format!(
        "process-{}-{}-{}",
        asking.id,
        asking.started,
        boot.trim()
    ))
}

fn asker(parent: u32, look_at: impl Fn(u32) -> Option<Process>) -> Option<Process> {
    let mut process = look_at(parent)?;
    for _ in 0..ANCESTORS_MAX {
        if !runs_one_command(&process.command) {
            break;
        }
        // Whoever started it has ended: what is left of them is the shell.
        let Some(parent) = look_at(process.parent).filter(|parent| parent.id > 1) else {
            break;
        };
        process = parent;
    }
    Some(process)
}

/// Whether this is a shell that was started for one simple command.
fn runs_one_command(command: &str) -> bool {
    let Some((shell, line)) = command.split_once(" -c ") else {
        return false;
    };
    let name = Path::new(shell).file_name().and_then(|name| name.to_str());
    let is_shell = matches!(
        name,
        Some("sh" | "dash" | "bash" | "ash" | "ksh" | "zsh" | "busybox sh")
    );
    let is_simple = !line.contains([';', '&', '|', '`', '\n', '(', '{', '<', '>']);
    is_shell && is_simple
}

fn look_at(id: u32) -> Option<Process> {
    of_proc(id).or_else(|| of_ps(id))
}

/// As Linux tells it.
fn of_proc(id: u32) -> Option<Process> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // Behind the name, which may hold anything: the parent is the second word, the start the twentieth.
    let (_, rest) = stat.rsplit_once(')')?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let command = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    Some(Process {
        id,
        parent: words.get(1)?.parse().ok()?,
        started: (*words.get(19)?).to_owned(),
        command: command.trim().to_owned(),
    })
}

/// As `ps` tells it, where there is no `/proc`.
fn of_ps(id: u32) -> Option<Process> {
    let told = |column: &str| {
        let output = Command::new("ps")
            .args(["-o", column, "-p", &id.to_string()])
            .env("LC_ALL", "C")
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    Some(Process {
        id,
        parent: told("ppid=")?.parse().ok()?,
        started: told("lstart=")?.split_whitespace().collect::<Vec<_>>().join("-"),
        command: told("command=")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(id: u32, command: &str) -> Process {
        Process {
            id,
            parent: id - 1,
            started: "1".to_owned(),
            command: command.to_owned(),
        }
    }

    fn who_asks(line: &[&str]) -> u32 {
        let all: Vec<Process> = (1..)
            .zip(line)
            .map(|(id, command)| process(id, command))
            .collect();
        let last = u32::try_from(all.len()).unwrap();
        let look_at = |id: u32| all.iter().find(|process| process.id == id).cloned();
        asker(last, look_at).unwrap().id
    }

    #[test]
    fn the_shell_of_an_sdk_is_passed_over_and_whoever_started_it_asks() {
        let creds = "taco creds --json --server http://localhost:8080";
        assert_eq!(who_asks(&["init", "terraform apply"]), 2);
        assert_eq!(
            who_asks(&["init", "terraform apply", &format!("sh -c {creds}")]),
            2
        );
        let quoted = format!("/bin/bash -c env OPENTACO_TOKEN=x \"/opt/my tools/{creds}\"");
        assert_eq!(who_asks(&["init", "-bash", "terraform apply", &quoted]), 3);
        assert_eq!(
            who_asks(&[
                "init",
                "terraform apply",
                "sh -c sh -c taco creds",
                "sh -c taco creds"
            ]),
            2
        );
    }

    #[test]
    fn scripts_and_lines_of_several_commands_are_somebody_of_their_own() {
        for shell in [
            "sh /builds/1/deploy.sh",
            "bash -c eval $(taco creds); terraform apply",
            "sh -c taco creds > creds.json",
            "sh -c taco creds | jq . ",
            "sh -c taco creds && make",
            "-zsh",
            "bash",
            "python3 -c import os",
        ] {
            assert_eq!(who_asks(&["init", "runner", shell]), 3, "{shell}");
        }
        assert_eq!(
            who_asks(&["init", "sh -c taco creds"]),
            2,
            "nobody is left but the shell"
        );
    }

    #[test]
    fn both_ways_to_look_at_a_process_tell_the_same_parent_and_command() {
        let own = std::process::id();
        let one = of_proc(own).unwrap();
        // Small systems have no `ps`, and whoever has a /proc needs none.
        let Some(other) = of_ps(own) else {
            assert!(
                Command::new("ps").output().is_err(),
                "ps is there, and was not understood"
            );
            return;
        };
        assert_eq!(one.parent, std::os::unix::process::parent_id());
        assert_eq!((one.parent, one.command), (other.parent, other.command));
        assert_eq!(of_ps(own).unwrap().started, other.started);
    }
}
