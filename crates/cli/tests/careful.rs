//! What a careful person expects when something goes wrong in the middle.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use opentaco_testkit::process::eventually;
use opentaco_testkit::proxy::{Fate, Proxy};
use opentaco_testkit::service::Service;

use crate::support::{Desk, Ran, TACO, service, state};

fn proxied() -> (Proxy, Desk) {
    let proxy = Proxy::before(service().port());
    let desk = Desk::at(&proxy.url());
    (proxy, desk)
}

fn is_locked(unit: &str) -> bool {
    let ran = Desk::new().taco(&format!("unit info {unit} --json")).worked();
    ran.stdout.contains("\"locked\": true")
}

fn versions(unit: &str) -> usize {
    let ran = Desk::new().taco(&format!("unit versions {unit}")).worked();
    ran.stdout.lines().count()
}

fn saved(desk: &Desk) -> Vec<PathBuf> {
    match std::fs::read_dir(desk.path().join(".taco/locks")) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => Vec::new(),
    }
}

#[test]
fn acquire_edit_release_writes_what_was_edited_and_leaves_the_unit_free() {
    let desk = Desk::new();
    desk.write("one.json", &state(1, "before"));
    desk.taco("unit push careful/edit one.json").worked();
    desk.taco("unit acquire careful/edit mine.json").worked();
    assert!(is_locked("careful/edit"));
    assert_eq!(desk.read("mine.json"), state(1, "before"));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&desk.path().join("mine.json")), 0o600);
    assert_eq!(mode(&desk.path().join(".taco")), 0o700);
    assert_eq!(mode(&saved(&desk)[0]), 0o600);

    desk.write("mine.json", &state(2, "after"));
    desk.taco("unit release careful/edit mine.json").worked();
    assert!(!is_locked("careful/edit"));
    assert_eq!(desk.taco("unit pull careful/edit").stdout, state(2, "after"));
}

#[test]
fn an_edited_file_is_not_written_over_by_a_second_acquire() {
    let desk = Desk::new();
    desk.write("one.json", &state(1, "before"));
    desk.taco("unit push careful/twice one.json").worked();
    desk.taco("unit acquire careful/twice mine.json").worked();
    desk.write("mine.json", &state(2, "edited"));
    desk.taco("unit acquire careful/twice mine.json")
        .with(4)
        .said("may hold your work");
    assert_eq!(desk.read("mine.json"), state(2, "edited"));
    assert!(is_locked("careful/twice"), "it is still held");
    desk.taco("unit release careful/twice mine.json").worked();
}

#[test]
fn a_release_whose_answers_are_lost_is_done_once_and_says_so() {
    let (proxy, desk) = proxied();
    desk.write("one.json", &state(1, "a"));
    desk.write("two.json", &state(2, "b"));
    desk.taco("unit push careful/lost one.json").worked();
    desk.taco("unit acquire careful/lost mine.json").worked();
    proxy.next("POST", Fate::LoseAnswer);
    proxy.next("DELETE", Fate::LoseAnswer);
    desk.taco("unit release careful/lost two.json")
        .worked()
        .said("is released");
    assert_eq!(proxy.met(), ["POST", "DELETE"]);
    assert_eq!(versions("careful/lost"), 2);
    assert!(!is_locked("careful/lost"));
    desk.taco("unit release careful/lost two.json")
        .worked()
        .said("was released before");
    assert_eq!(versions("careful/lost"), 2);
}

#[test]
fn a_release_that_was_given_up_in_the_middle_is_finished_by_the_same_command() {
    let (proxy, desk) = proxied();
    desk.write("one.json", &state(1, "a"));
    desk.write("two.json", &state(2, "b"));
    desk.taco("unit push careful/given-up one.json").worked();
    desk.taco("unit acquire careful/given-up mine.json").worked();
    // Written, and the answer lost; the service stays away for every attempt after that.
    let gone = opentaco_testkit::tools::free_port();
    proxy.next("POST", Fate::LoseAnswer);
    let (there, away) = (service().port(), std::sync::Arc::new(proxy));
    let turn = std::sync::Arc::clone(&away);
    away.next_with("POST", Fate::LoseRequest, move || turn.lead_to(gone));
    desk.taco("unit release careful/given-up two.json").with(6);
    assert!(is_locked("careful/given-up"));
    assert_eq!(versions("careful/given-up"), 2, "the write was done");

    away.lead_to(there);
    desk.taco("unit release careful/given-up two.json")
        .worked()
        .said("is released");
    assert_eq!(versions("careful/given-up"), 2, "and is not done twice");
    assert!(!is_locked("careful/given-up"));
}

#[test]
fn a_release_under_a_lock_that_was_broken_is_refused_and_kept() {
    let desk = Desk::new();
    desk.write("one.json", &state(1, "a"));
    desk.write("two.json", &state(2, "b"));
    desk.taco("unit push careful/broken one.json").worked();
    desk.taco("unit acquire careful/broken mine.json").worked();
    Desk::new()
        .taco("unit unlock careful/broken --force --yes")
        .worked();
    let ran = desk.taco("unit release careful/broken two.json").with(4);
    let ran = ran
        .said("rejected promote careful/broken")
        .said("that lock is over");
    let words: Vec<&str> = ran.stderr.split("rejected promote careful/broken ").collect();
    let id = words[1].split('`').next().unwrap();
    desk.taco(&format!("unit rejected promote careful/broken {id}"))
        .with(4);
    desk.taco("unit unlock careful/broken").worked();
    desk.taco(&format!("unit rejected promote careful/broken {id}"))
        .worked();
    assert!(
        desk.taco("unit pull careful/broken")
            .stdout
            .contains("\"value\":\"b\"")
    );
}

#[test]
fn the_same_unit_of_two_servers_has_two_locks() {
    let home = tempfile::tempdir().unwrap();
    let other = Service::start(home.path(), &["-storage", "memory"], &[]);
    let mut desk = Desk::new();
    desk.write("one.json", &state(1, "here"));
    desk.taco("unit push careful/both one.json").worked();
    let here = desk.taco("unit lock careful/both").worked().stdout;
    desk.asks(&other.url());
    desk.write("one.json", &state(1, "there"));
    desk.taco("unit push careful/both one.json").worked();
    let there = desk.taco("unit lock careful/both").worked().stdout;
    assert_ne!(here, there);
    desk.taco("unit unlock careful/both").worked();
    assert!(
        is_locked("careful/both"),
        "the lock on the first server is another"
    );
    desk.asks(&service().url());
    assert_eq!(desk.taco("unit lock careful/both").worked().stdout, here);
    desk.taco("unit unlock careful/both").worked();
    assert!(!is_locked("careful/both"));
}

#[test]
fn where_locks_cannot_be_saved_none_is_taken() {
    let desk = Desk::new();
    desk.write("one.json", &state(1, "a"));
    desk.taco("unit push careful/unsaved one.json").worked();
    // A file stands where the directory should be: the same to root as to anybody.
    desk.write(".taco", "");
    for line in [
        "unit lock careful/unsaved",
        "unit acquire careful/unsaved mine.json",
    ] {
        desk.taco(line).with(1).said("nothing was locked");
        assert!(!is_locked("careful/unsaved"), "{line}");
    }
    assert!(!desk.path().join("mine.json").exists());
    desk.taco("unit pull careful/unsaved mine.json").worked();
}

#[test]
fn an_acquire_that_knows_it_cannot_write_takes_no_lock() {
    let desk = Desk::new();
    desk.write("one.json", &state(1, "a"));
    desk.taco("unit push careful/nowhere one.json").worked();
    desk.taco("unit acquire careful/nowhere missing/mine.json")
        .with(1)
        .said("cannot write");
    desk.taco("unit acquire careful/nowhere .")
        .with(1)
        .said("is a directory");
    assert!(saved(&desk).is_empty());
    assert!(!is_locked("careful/nowhere"));
}

#[test]
fn an_acquire_that_cannot_write_in_the_end_gives_the_lock_back() {
    let (proxy, desk) = proxied();
    desk.write("one.json", &state(1, "a"));
    desk.taco("unit push careful/full one.json").worked();
    let directory = desk.path().join("there");
    std::fs::create_dir(&directory).unwrap();
    proxy.next_with("GET", Fate::Twice, move || {
        assert!(is_locked("careful/full"), "it was locked before it was read");
        std::fs::remove_dir_all(directory).unwrap();
    });
    desk.taco("unit acquire careful/full there/mine.json")
        .with(1)
        .said("was given back");
    assert!(!is_locked("careful/full"));
    assert!(saved(&desk).is_empty());
}

#[test]
fn an_acquire_that_is_interrupted_gives_the_lock_back() {
    let (proxy, desk) = proxied();
    desk.write("one.json", &state(1, "a"));
    desk.taco("unit push careful/interrupted one.json").worked();
    let (tell, told) = mpsc::channel::<u32>();
    proxy.next_with("GET", Fate::Twice, move || {
        let pid = told.recv().unwrap().to_string();
        assert!(is_locked("careful/interrupted"));
        assert!(
            Command::new("kill")
                .args(["-INT", &pid])
                .status()
                .unwrap()
                .success()
        );
        // Until then the state stays on its way.
        eventually("the lock is given back", || !is_locked("careful/interrupted"));
    });
    let mut command = desk.program(TACO, &["unit", "acquire", "careful/interrupted", "mine.json"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    tell.send(child.id()).unwrap();
    Ran::of(&child.wait_with_output().unwrap())
        .with(130)
        .said("interrupted");
    assert!(!desk.path().join("mine.json").exists());
    assert!(saved(&desk).is_empty());
    let left: Vec<_> = std::fs::read_dir(desk.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        left.iter()
            .all(|name| !name.to_string_lossy().starts_with(".taco-")),
        "{left:?}"
    );
}

#[test]
fn a_lock_whose_answer_never_comes_is_known_here_and_can_be_given_back() {
    let (proxy, desk) = proxied();
    desk.write("one.json", &state(1, "a"));
    desk.taco("unit push careful/doubt one.json").worked();
    let proxy = std::sync::Arc::new(proxy);
    let turn = std::sync::Arc::clone(&proxy);
    let gone = opentaco_testkit::tools::free_port();
    proxy.next("POST", Fate::LoseAnswer);
    proxy.next_with("POST", Fate::LoseRequest, move || turn.lead_to(gone));
    desk.taco("unit lock careful/doubt").with(6).said("gives it back");
    assert!(is_locked("careful/doubt"));
    proxy.lead_to(service().port());
    desk.taco("unit unlock careful/doubt").worked();
    assert!(!is_locked("careful/doubt"));
}

#[test]
fn a_lock_that_is_held_stays_known_here_when_it_cannot_be_asked_about() {
    let (proxy, desk) = proxied();
    desk.write("one.json", &state(1, "a"));
    desk.taco("unit push careful/kept one.json").worked();
    let id = desk.taco("unit lock careful/kept").worked().stdout;
    for line in ["unit lock careful/kept", "unit acquire careful/kept mine.json"] {
        desk.taco(&format!("--token wrong {line}")).with(5);
        assert_eq!(saved(&desk).len(), 1, "{line} without the right token");
        proxy.lead_to(opentaco_testkit::tools::free_port());
        desk.taco(line).with(6);
        proxy.lead_to(service().port());
        assert_eq!(saved(&desk).len(), 1, "{line} without a service");
    }
    assert_eq!(desk.taco("unit lock careful/kept").worked().stdout, id);
    desk.taco("unit unlock careful/kept").worked();
    assert!(!is_locked("careful/kept"));
}

#[test]
fn a_lock_that_was_held_before_survives_an_interrupted_acquire() {
    let (proxy, desk) = proxied();
    desk.write("one.json", &state(1, "a"));
    desk.taco("unit push careful/before one.json").worked();
    desk.taco("unit lock careful/before").worked();
    let (tell, told) = mpsc::channel::<u32>();
    let (over, ended) = mpsc::channel::<()>();
    proxy.next_with("POST", Fate::LoseRequest, move || {
        let pid = told.recv().unwrap().to_string();
        let killed = Command::new("kill").args(["-INT", &pid]).status().unwrap();
        assert!(killed.success());
        // No answer to the lock while taco makes up its mind.
        ended.recv().unwrap();
    });
    let mut command = desk.program(TACO, &["unit", "acquire", "careful/before", "mine.json"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    tell.send(child.id()).unwrap();
    Ran::of(&child.wait_with_output().unwrap()).with(130);
    over.send(()).unwrap();
    assert!(is_locked("careful/before"));
    desk.taco("unit unlock careful/before").worked();
    assert!(!is_locked("careful/before"));
}

#[test]
fn a_pull_that_fails_leaves_the_file_that_was_there() {
    let desk = Desk::new();
    desk.write("mine.json", "before");
    desk.taco("unit pull careful/missing mine.json").with(3);
    assert_eq!(desk.read("mine.json"), "before");
}

#[test]
fn a_service_that_is_not_there_is_told_with_where_it_was_looked_for() {
    let port = opentaco_testkit::tools::free_port();
    let desk = Desk::at(&format!("http://127.0.0.1:{port}"));
    let ran = desk.taco("unit ls").with(6).said("cannot be reached");
    ran.said(&format!("http://127.0.0.1:{port}"))
        .said("OPENTACO_SERVER");
}

#[test]
fn somebody_else_who_answers_is_not_taken_for_the_service() {
    let tls = service().url().replace("http://", "https://");
    Desk::at(&tls)
        .taco("unit ls")
        .with(6)
        .said("does not seem to speak TLS");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let desk = Desk::at(&format!("http://{}", listener.local_addr().unwrap()));
    let answers = ["200 OK", "404 Not Found", "501 Not Implemented"];
    let welcome = std::thread::spawn(move || {
        for answer in answers {
            let (client, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(&client).lines();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let page =
                format!("HTTP/1.1 {answer}\r\nContent-Length: 9\r\nConnection: close\r\n\r\n<p>Hi</p>");
            std::io::Write::write_all(&mut &client, page.as_bytes()).unwrap();
        }
    });
    for answer in answers {
        let ran = desk.taco("unit ls").with(1);
        assert!(
            ran.stderr.contains("is that a service of OpenTaco?"),
            "{answer}: {ran:?}"
        );
    }
    welcome.join().unwrap();
}

#[test]
fn a_variable_that_is_empty_says_nothing() {
    let desk = Desk::new();
    let mut command = desk.program(
        TACO,
        &["--server", &service().url(), "unit", "ls", "careful/none/"],
    );
    for name in ["OPENTACO_SERVER", "OPENTACO_CA_FILE"] {
        command.env(name, "");
    }
    Ran::of(&command.output().unwrap()).worked();
    // Nobody listens where it looks then.
    let mut command = desk.program(TACO, &["version", "--json"]);
    let ran = Ran::of(&command.env("OPENTACO_SERVER", "").output().unwrap()).worked();
    assert!(ran.stdout.contains("http://localhost:8080"), "{ran:?}");
    let mut command = desk.program(TACO, &["unit", "ls"]);
    Ran::of(&command.env("OPENTACO_TOKEN", "").output().unwrap())
        .with(5)
        .said("no credentials came");
}

#[test]
fn units_are_completed_from_the_service_and_silence_is_kept_without_one() {
    let desk = Desk::new();
    desk.taco("unit create careful/completed").worked();
    let complete = |desk: &Desk, words: &[&str]| {
        let mut command = desk.program(TACO, &["--"]);
        command
            .args(words)
            .env("COMPLETE", "bash")
            .env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string());
        Ran::of(&command.output().unwrap())
    };
    let ran = complete(&desk, &["taco", "unit", "info", "careful/compl"]).worked();
    assert!(ran.stdout.contains("careful/completed"), "{ran:?}");
    let nobody = Desk::at("http://127.0.0.1:1");
    let ran = complete(
        &nobody,
        &[
            "taco",
            "--server",
            &service().url(),
            "unit",
            "pull",
            "careful/compl",
        ],
    );
    assert!(
        ran.worked().stdout.contains("careful/completed"),
        "the server of the line counts"
    );
    let ran = complete(&nobody, &["taco", "unit", "info", "careful/compl"]).worked();
    assert!(
        !ran.stdout.contains("careful") && ran.stderr.is_empty(),
        "{ran:?}"
    );

    // Somebody who takes the call and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let desk = Desk::at(&format!("http://{}", silent.local_addr().unwrap()));
    let started = Instant::now();
    let ran = complete(&desk, &["taco", "unit", "info", "careful/compl"]).worked();
    assert!(ran.stderr.is_empty(), "{ran:?}");
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "a second, and what a busy machine adds"
    );
}

#[test]
fn every_shell_gets_a_script_that_its_shell_can_read() {
    let desk = Desk::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = desk.taco(&format!("completions {shell}")).worked();
        assert!(ran.stdout.contains("taco"), "{shell}");
    }
    let lines = desk
        .shell("source <(taco completions bash) && complete -p taco")
        .worked()
        .stdout;
    assert!(BufReader::new(lines.as_bytes()).lines().count() == 1, "{lines}");
}

#[test]
fn it_starts_within_twenty_milliseconds() {
    let desk = Desk::new();
    let fastest = (0..20).map(|_| {
        let started = Instant::now();
        desk.taco("version").worked();
        started.elapsed()
    });
    let fastest = fastest.min().unwrap();
    assert!(fastest < Duration::from_millis(20), "{fastest:?}");
}
