//! The binary itself: how it starts, what it says first, how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use serde_json::Value;

use crate::support::{Answer, connect, state};

/// A running `opentacosvc`; killed when the test ends without it.
pub(crate) struct Running {
    child: Child,
    pub(crate) log: BufReader<ChildStderr>,
    pub(crate) opened: Value,
    pub(crate) address: SocketAddr,
}

impl Running {
    pub(crate) fn start(data_dir: &Path, arguments: &[&str]) -> Self {
        let mut child = command(data_dir)
            .args(["-port", "0", "-log-format", "json"])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let opened = next_line(&mut log);
        let address = opened["address"].as_str().unwrap_or_else(|| panic!("{opened}"));
        let (_, address) = address.split_once("://").unwrap();
        let address = address.parse().unwrap();
        Self {
            child,
            log,
            opened,
            address,
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// The rest of the log, and the exit code.
    pub(crate) fn end(mut self) -> (String, Option<i32>) {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (rest, self.child.wait().unwrap().code())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails when it has ended already, and that is the usual case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn next_line(log: &mut BufReader<ChildStderr>) -> Value {
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
}

fn command(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_opentacosvc"));
    command.env_clear().arg("-data-dir").arg(data_dir);
    command
}

pub(crate) fn run(data_dir: &Path, arguments: &[&str]) -> (Output, String) {
    let output = command(data_dir).args(arguments).output().unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output, text)
}

fn ask(address: SocketAddr, token: &str, method: &str, path: &str, body: &str) -> Answer {
    let mut stream = connect(address);
    stream
        .write_all(head(token, method, path, body).as_bytes())
        .unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    Answer::read(stream, false)
}

fn head(token: &str, method: &str, path: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
}

#[test]
fn the_first_line_of_the_log_says_where_everything_is_and_states_outlive_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("data");
    let token_file = data_dir.join("root-token");
    let port_file = directory.path().join("port");
    let running = Running::start(&data_dir, &["-port-file", port_file.to_str().unwrap()]);
    assert_eq!(running.opened["auth"], "root token, API tokens");
    assert_eq!(running.opened["root_token"], token_file.to_str().unwrap());
    let bucket = data_dir.join("bucket");
    assert!(
        running.opened["storage"]
            .as_str()
            .unwrap()
            .contains(bucket.to_str().unwrap()),
        "{}",
        running.opened
    );
    let token = std::fs::read_to_string(&token_file).unwrap();
    let token = token.trim();
    assert_eq!(
        ask(running.address, "some-other-token", "GET", "/v1/backend/a", "").status,
        401
    );
    assert_eq!(
        ask(running.address, token, "POST", "/v1/backend/a", &state(1)).status,
        200
    );
    assert_eq!(
        std::fs::read_to_string(&port_file).unwrap().trim(),
        running.address.to_string()
    );
    running.signal("-TERM");
    let (log, code) = running.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains(token), "{log}");

    let again = Running::start(&data_dir, &[]);
    assert_eq!(
        ask(again.address, token, "GET", "/v1/backend/a", "").text(),
        state(1)
    );
    assert_eq!(
        std::fs::read_to_string(bucket.join("a/terraform.tfstate")).unwrap(),
        state(1)
    );
}

#[test]
fn asked_to_stop_it_finishes_what_is_under_way_and_takes_nothing_new() {
    for signal in ["-TERM", "-INT"] {
        let directory = tempfile::tempdir().unwrap();
        let mut running = Running::start(directory.path(), &[]);
        let token = std::fs::read_to_string(directory.path().join("root-token")).unwrap();
        let state = state(1);
        let mut stream = connect(running.address);
        let head = head(token.trim(), "POST", "/v1/backend/late", &state);
        let head = head.replace("Content-Length", "Expect: 100-continue\r\nContent-Length");
        stream.write_all(head.as_bytes()).unwrap();
        // Now it waits for the body.
        assert_eq!(Answer::read(&stream, false).status, 100);
        running.signal(signal);
        let stopping = next_line(&mut running.log);
        assert!(
            stopping["message"].as_str().unwrap().starts_with("stopping"),
            "{stopping}"
        );
        stream.write_all(state.as_bytes()).unwrap();
        assert_eq!(Answer::read(&stream, false).status, 200);
        let address = running.address;
        let (log, code) = running.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("\"stopped\""), "{log}");
        assert!(TcpStream::connect(address).is_err());
        let kept = directory.path().join("bucket/late/terraform.tfstate");
        assert_eq!(std::fs::read_to_string(kept).unwrap(), state);
    }
}

#[test]
fn without_a_certificate_a_hangup_is_told_and_ends_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::start(directory.path(), &["-storage", "memory"]);
    running.signal("-HUP");
    loop {
        let line = next_line(&mut running.log);
        if line["message"].as_str().unwrap().starts_with("SIGHUP") {
            assert_eq!(line["level"], "INFO", "{line}");
            break;
        }
    }
    assert_eq!(ask(running.address, "", "GET", "/healthz", "").status, 200);
    running.signal("-TERM");
    let (log, code) = running.end();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn without_auth_everybody_is_let_in_and_the_log_is_loud_about_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::start(directory.path(), &["-auth-disable", "-storage", "memory"]);
    assert_eq!(running.opened["auth"], "disabled");
    let warnings = [next_line(&mut running.log), next_line(&mut running.log)];
    assert!(
        warnings.iter().all(|line| line["level"] == "WARN"),
        "{warnings:?}"
    );
    assert!(
        warnings[0]["message"]
            .as_str()
            .unwrap()
            .starts_with("AUTH IS DISABLED"),
        "{warnings:?}"
    );
    assert!(
        warnings[1]["message"].as_str().unwrap().contains("LOST"),
        "{warnings:?}"
    );
    assert_eq!(
        ask(running.address, "anything", "GET", "/v1/backend/a", "").status,
        404
    );
    assert!(!directory.path().join("root-token").exists());
}

#[test]
fn a_second_service_on_the_same_directory_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let _running = Running::start(directory.path(), &[]);
    let (output, text) = run(directory.path(), &["-port", "0"]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(directory.path().to_str().unwrap()), "{text}");
}

#[test]
fn an_s3_that_is_not_there_is_a_reason_not_to_start_unless_memory_will_do() {
    let directory = tempfile::tempdir().unwrap();
    // A port that was free a moment ago and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let s3 = [
        "-s3-bucket",
        "b",
        "-s3-region",
        "r",
        "-s3-endpoint",
        &endpoint,
        "-port",
        "0",
        "-log-format",
        "json",
    ];
    let asked = |more: &[&str]| {
        let mut command = command(directory.path());
        command
            .env("AWS_ACCESS_KEY_ID", "canary-id")
            .env("AWS_SECRET_ACCESS_KEY", "canary-secret");
        command
            .args(s3)
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let output = asked(&[]).wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&endpoint) && !text.contains("canary"), "{text}");

    let mut fallen_back = asked(&["-fallback-memory"]);
    let mut log = BufReader::new(fallen_back.stderr.take().unwrap());
    let warning = next_line(&mut log);
    assert!(
        warning["message"]
            .as_str()
            .unwrap()
            .starts_with("THE STORE CANNOT BE OPENED"),
        "{warning}"
    );
    let opened = next_line(&mut log);
    assert!(
        opened["storage"].as_str().unwrap().starts_with("memory"),
        "{opened}"
    );
    fallen_back.kill().unwrap();
    fallen_back.wait().unwrap();
}

#[test]
fn the_doctor_has_exit_codes_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let (output, text) = run(directory.path(), &["doctor"]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("If-None-Match") && text.contains("If-Match"),
        "{text}"
    );
    std::fs::write(directory.path().join("in-the-way"), "").unwrap();
    let (output, text) = run(&directory.path().join("in-the-way"), &["doctor"]);
    assert_eq!(output.status.code(), Some(4), "{text}");
}

#[test]
fn what_is_not_understood_is_usage_and_names_the_variable() {
    let directory = tempfile::tempdir().unwrap();
    let output = command(directory.path())
        .env("OPENTACO_PORT", "eighty")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("OPENTACO_PORT") && text.contains("`eighty`"),
        "{text}"
    );
    assert!(!directory.path().join("root-token").exists());
}

#[test]
fn an_address_that_is_taken_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (output, text) = run(directory.path(), &["-storage", "memory", "-port", &port]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
}
