//! On a terminal: tables with a head, colours, questions and bars.

use std::io::{BufRead as _, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Child;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use opentaco_testkit::process::eventually;
use opentaco_testkit::service::Service;

use crate::support::{Desk, FOREIGN, TACO, environment, service, state};

/// `taco` on a terminal of its own.
struct Terminal {
    pty: Arc<Mutex<pty_process::blocking::Pty>>,
    shown: Arc<Mutex<String>>,
    child: Child,
    reader: Option<JoinHandle<()>>,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // After `ends` there is nothing left to kill; after a panic there may be.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Terminal {
    fn run(desk: &Desk, line: &str, more: &[(&str, &str)]) -> Self {
        let (pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(pty_process::Size::new(40, 100)).unwrap();
        let mut command = pty_process::blocking::Command::new(TACO)
            .args(line.split(' '))
            .current_dir(desk.path());
        for name in FOREIGN {
            command = command.env_remove(name);
        }
        let child = command
            .envs(environment())
            .envs(more.iter().copied())
            .spawn(pts)
            .unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let (into, mut from) = (
            Arc::clone(&shown),
            std::fs::File::from(std::os::fd::AsFd::as_fd(&pty).try_clone_to_owned().unwrap()),
        );
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal whose program has ended is an error to read from.
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                into.lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
        });
        Self {
            pty: Arc::new(Mutex::new(pty)),
            shown,
            child,
            reader: Some(reader),
        }
    }

    fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// Waits until this is on the screen.
    fn until(&self, text: &str) {
        eventually(text, || self.shown().contains(text));
    }

    fn types(&self, text: &str) {
        self.pty.lock().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// How it ended, and all it has shown.
    fn ends(mut self) -> (i32, String) {
        eventually("its end", || self.child.try_wait().unwrap().is_some());
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        // What it wrote last may still be on its way; the terminal closes behind it.
        self.reader.take().unwrap().join().unwrap();
        (code, self.shown())
    }
}

/// Codes of colours and styles, and no cursor movements.
fn is_coloured(text: &str) -> bool {
    text.split("\x1b[").skip(1).any(|rest| {
        let code: String = rest
            .chars()
            .take_while(|c| c.is_ascii_digit() || *c == ';')
            .collect();
        rest[code.len()..].starts_with('m')
    })
}

#[test]
fn what_others_have_written_does_not_speak_to_the_terminal() {
    const CLEAR: &str = "\x1b[2J";
    let desk = Desk::new();
    desk.write("one.json", &state(1, "a"));
    desk.taco("unit push terminal/evil one.json").worked();
    let evil = r#"{"version":4,"serial":2,"lineage":"l","outputs":{"o\u001b[2J":{"value":"\u009b2J"}},
        "resources":[{"mode":"managed","type":"t","name":"n\u001b[2J\nerror: x","instances":[{"attributes":{"id":"1"}}]}]}"#;
    desk.write("evil.json", evil);
    let other = Desk::new();
    let reason = format!("--reason={CLEAR}\nerror:x");
    let mut lock = other.program(TACO, &["unit", "lock", "terminal/evil", &reason]);
    assert!(
        lock.env("USER", format!("eve{CLEAR}\nerror: you"))
            .status()
            .unwrap()
            .success()
    );
    for (line, said) in [
        ("unit info terminal/evil", "eve"),
        ("unit lock terminal/evil", "is locked by eve"),
        ("unit diff terminal/evil --file evil.json", "output.o"),
    ] {
        let (_, shown) = Terminal::run(&desk, line, &[]).ends();
        assert!(shown.contains(said), "{line}: {shown:?}");
        assert!(
            !shown.contains(CLEAR) && !shown.contains('\u{9b}'),
            "{line}: {shown:?}"
        );
        assert!(!shown.contains("\nerror: "), "{line}: {shown:?}");
    }
    other.taco("unit unlock terminal/evil").worked();
}

#[test]
fn a_file_is_not_written_over_without_being_asked() {
    let desk = Desk::new();
    desk.write("one.json", &state(1, "a"));
    desk.taco("unit push terminal/over one.json").worked();
    for line in [
        "unit pull terminal/over mine.json",
        "unit acquire terminal/over mine.json",
    ] {
        desk.write("mine.json", "work");
        let terminal = Terminal::run(&desk, line, &[]);
        terminal.until("write over `mine.json`? [y/N]");
        terminal.types("n\n");
        let (code, shown) = terminal.ends();
        assert_eq!(code, 1, "{shown}");
        assert_eq!(desk.read("mine.json"), "work", "{line}");
        let terminal = Terminal::run(&desk, line, &[]);
        terminal.until("write over `mine.json`? [y/N]");
        terminal.types("y\n");
        assert_eq!(terminal.ends().0, 0);
        assert_eq!(desk.read("mine.json"), state(1, "a"), "{line}");
    }
    desk.taco("unit unlock terminal/over").worked();
    for line in [
        "unit pull terminal/over new.json",
        "unit pull terminal/over mine.json --yes",
    ] {
        let (code, shown) = Terminal::run(&desk, line, &[]).ends();
        assert!(code == 0 && !shown.contains("[y/N]"), "{line}: {shown}");
    }
    // In a script nobody can be asked, and a script says what it means.
    desk.write("mine.json", "work");
    desk.taco("unit pull terminal/over mine.json").worked();
    assert_eq!(desk.read("mine.json"), state(1, "a"));
}

#[test]
fn a_table_has_a_head_and_colours_which_no_color_takes_away() {
    let desk = Desk::new();
    desk.write("one.json", &state(1, "a"));
    desk.taco("unit push terminal/table one.json").worked();
    desk.taco("unit lock terminal/table").worked();
    let (code, shown) = Terminal::run(&desk, "unit ls terminal/", &[]).ends();
    assert_eq!(code, 0);
    assert!(shown.contains("UNIT") && shown.contains("UPDATED"), "{shown}");
    assert!(shown.contains("just now") || shown.contains("ago"), "{shown}");
    assert!(shown.contains(" B ") && is_coloured(&shown), "{shown}");

    for more in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let (_, shown) = Terminal::run(&desk, "unit ls terminal/", &[more]).ends();
        assert!(
            shown.contains("UPDATED") && !is_coloured(&shown),
            "{more:?}: {shown}"
        );
    }
    let (_, shown) = Terminal::run(&desk, "--color never unit info terminal/table", &[]).ends();
    assert!(shown.contains("lock holder") && !is_coloured(&shown), "{shown}");
    let (_, shown) = Terminal::run(&desk, "unit ls terminal/ --json", &[]).ends();
    assert!(shown.starts_with('{') && !is_coloured(&shown), "{shown}");
}

#[test]
fn errors_are_red_and_hints_stand_below() {
    let desk = Desk::new();
    let (code, shown) = Terminal::run(&desk, "unit info terminal/nothing", &[]).ends();
    assert_eq!(code, 3);
    assert!(shown.contains("\x1b[1m\x1b[31merror:"), "{shown:?}");
}

#[test]
fn what_cannot_be_taken_back_is_asked_first() {
    let desk = Desk::new();
    desk.taco("unit create terminal/asked").worked();
    for (typed, code) in [("n\r", 1), ("\r", 1), ("what?\r", 1), ("\x04", 1), ("\x03", 130)] {
        let terminal = Terminal::run(&desk, "unit rm terminal/asked", &[]);
        terminal.until("delete `terminal/asked`? [y/N]");
        terminal.types(typed);
        let (ended, shown) = terminal.ends();
        assert_eq!(ended, code, "{typed:?}: {shown}");
        desk.taco("unit info terminal/asked").worked();
    }
    let terminal = Terminal::run(&desk, "unit rm terminal/asked", &[]);
    terminal.until("[y/N]");
    terminal.types("y\r");
    let (code, shown) = terminal.ends();
    assert_eq!(code, 0);
    assert!(shown.contains("deleted"), "{shown}");
    desk.taco("unit info terminal/asked").with(3);
}

#[test]
fn every_destructive_verb_asks() {
    let desk = Desk::new();
    desk.write("one.json", &state(1, "a"));
    desk.write("two.json", &state(2, "b"));
    desk.taco("unit push terminal/verbs one.json").worked();
    desk.taco("unit push terminal/verbs two.json").worked();
    desk.taco("unit lock terminal/verbs").worked();
    desk.taco("unit push terminal/verbs one.json --lock-id not-the-lock --force")
        .with(4);
    for (line, question) in [
        (
            "unit unlock terminal/verbs --force",
            "break the lock of `terminal/verbs`, whoever holds it?",
        ),
        ("unit restore terminal/verbs previous", "current again?"),
        (
            "unit rejected promote terminal/verbs 0",
            "make the rejected write current",
        ),
        (
            "unit push terminal/verbs one.json --force",
            "write `terminal/verbs` whatever is there?",
        ),
    ] {
        let terminal = Terminal::run(&desk, line, &[]);
        terminal.until(question);
        terminal.types("n\r");
        let (code, shown) = terminal.ends();
        assert_eq!(code, 1, "{line}: {shown}");
        let (code, shown) = Terminal::run(&desk, &format!("{line} --yes"), &[]).ends();
        assert_eq!(code, 0, "{line}: {shown}");
        assert!(!shown.contains("[y/N]"), "{shown}");
        // The first has broken the lock that the others write under.
        if line.contains("unlock") {
            desk.taco("unit lock terminal/verbs").worked();
        }
    }
}

#[test]
fn a_transfer_that_takes_its_time_shows_a_bar_and_leaves_none_behind() {
    let desk = Desk::new();
    desk.write("one.json", &state(1, &"x".repeat(100_000)));
    desk.taco("unit push terminal/slow one.json").worked();
    let (url, go_on) = half_way();
    let terminal = Terminal::run(
        &desk,
        "unit pull terminal/slow copy.json",
        &[("OPENTACO_SERVER", &url)],
    );
    terminal.until("pulling terminal/slow");
    go_on.send(()).unwrap();
    let (code, shown) = terminal.ends();
    assert_eq!(code, 0, "{shown}");
    let (_, last) = shown.rsplit_once("pulling terminal/slow").unwrap();
    assert!(
        last.contains("\x1b[2K") || last.contains("\r"),
        "the bar is wiped: {last:?}"
    );
    assert!(last.contains("pulled `terminal/slow`"), "{last:?}");
    assert_eq!(desk.read("copy.json").len(), desk.read("one.json").len());

    let (_, shown) = Terminal::run(&desk, "unit pull terminal/slow again.json", &[]).ends();
    assert!(
        !shown.contains("pulling"),
        "what ends at once has no bar: {shown}"
    );
    let (url, go_on) = half_way();
    let waits = desk
        .program(
            TACO,
            &["unit", "pull", "terminal/slow", "copy.json", "--server", &url],
        )
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Longer than a bar is waited for on a terminal.
    let started = std::time::Instant::now();
    eventually("time to show a bar", || started.elapsed().as_millis() > 1500);
    go_on.send(()).unwrap();
    let output = waits.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.starts_with("pulled `terminal/slow`"),
        "no bar in a pipe: {said:?}"
    );
}

/// The screen since it was last wiped.
fn on_screen(shown: &str) -> &str {
    shown.rsplit_once("\x1b[2J").map_or(shown, |(_, last)| last)
}

#[test]
fn a_watch_redraws_what_has_changed_tells_of_an_outage_and_ends_with_ctrl_c() {
    let home = tempfile::tempdir().unwrap();
    let mut service = Service::on_disk(home.path());
    let desk = Desk::at(&service.url());
    let edge = r#"{"version":4,"serial":1,"lineage":"g","outputs":{},"resources":[{"mode":"managed",
        "type":"opentaco_dependency","name":"e","provider":"provider[\"registry.terraform.io/digger/opentaco\"]","instances":[{"attributes":
        {"from_unit_id":"a","from_output":"o","to_unit_id":"b","to_input":"o"}}]}]}"#;
    desk.write("edge.json", edge);
    desk.write("one.json", &state(1, "a"));
    desk.write("two.json", &state(2, "b"));
    desk.taco("unit push __opentaco_system edge.json").worked();
    desk.taco("unit push a one.json").worked();
    desk.taco("unit push b one.json").worked();

    let url = service.url();
    let line = "unit status --dependent --watch=1 --exit-code";
    let terminal = Terminal::run(&desk, line, &[("OPENTACO_SERVER", &url)]);
    terminal.until("2 are up to date");
    service.kill();
    terminal.until("error:");
    assert!(
        !on_screen(&terminal.shown()).contains("up to date"),
        "{}",
        terminal.shown()
    );
    service.restart();
    eventually("the table again", || {
        on_screen(&terminal.shown()).contains("2 are up to date")
    });
    desk.taco("unit push a two.json").worked();
    eventually("the change", || {
        on_screen(&terminal.shown()).contains("needs re-apply")
    });
    terminal.types("\x03");
    let (code, shown) = terminal.ends();
    assert_eq!(code, 2, "{shown}");
    assert!(!on_screen(&shown).contains("error"), "{shown}");

    // In a pipe nothing is wiped, and without --exit-code a watch that was ended is no failure.
    let mut piped = desk
        .program(TACO, &["unit", "status", "b", "--watch=1"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(piped.stdout.take().unwrap()).lines();
    let mut next = |start: &str| {
        let found = lines.find(|line| line.as_ref().unwrap().starts_with(start));
        found.unwrap().unwrap()
    };
    assert_eq!(next("status"), "status\tneeds re-apply");
    desk.write("three.json", &state(2, "b"));
    desk.taco("unit push b three.json").worked();
    assert_eq!(next("status"), "status\tup to date");
    let pid = piped.id().to_string();
    let interrupted = desk.program("kill", &["-INT", &pid]).status().unwrap();
    assert!(interrupted.success() && piped.wait().unwrap().success());
}

/// A relay to the service that stops in the middle of an answer until it is told to go on.
fn half_way() -> (String, Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut request = [0; 8192];
        let read = client.read(&mut request).unwrap();
        let mut service = TcpStream::connect(("127.0.0.1", service().port())).unwrap();
        let text = String::from_utf8_lossy(&request[..read]).replacen("\r\n", "\r\nConnection: close\r\n", 1);
        service.write_all(text.as_bytes()).unwrap();
        let mut answer = Vec::new();
        service.read_to_end(&mut answer).unwrap();
        let (first, second) = answer.split_at(answer.len() / 2);
        client.write_all(first).unwrap();
        let () = told.recv().unwrap();
        client.write_all(second).unwrap();
    });
    (url, tell)
}
