//! The pages are true: every command in README.md and docs/ is run as it stands, every configuration is used, every
//! output that is shown is compared, and what can be generated is.
//!
//! How a block is marked, and what is done with it:
//!
//! | Block | What is done |
//! |---|---|
//! | ` ```bash ` | run by `bash -e`; what it exports and where it goes hold for the next one on the page |
//! | ` ```bash refused ` | run, and must fail |
//! | ` ```bash service ` | its last command is started in the background, and stopped by its pid at the end of the page |
//! | ` ```hcl main.tf `, ` ```json rules.json ` | written to that file |
//! | ` ```text output `, `json`, `http` | must be what the block before it printed; `…` stands for anything |
//! | ` ```text `, ` ```json ` | shown to people |
//!
//! A comment `not run: <reason>` keeps the next block from being run. Ports stand in the pages as people type them, and
//! are replaced by free ones.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be had is a failed test")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use opentaco_server::config::{self, Asked, FLAGS, Flag};
use opentaco_storage::open::StoreConfig;
use opentaco_testkit::s3_server::S3Server;
use opentaco_testkit::tools;

/// Every page, and how many of its blocks are not run.
const PAGES: &[(&str, usize)] = &[
    ("README.md", 3),
    ("docs/overview.mdx", 0),
    ("docs/getting-started.mdx", 1),
    ("docs/demo.mdx", 0),
    ("docs/backend-service.mdx", 0),
    ("docs/s3-compat.mdx", 1),
    ("docs/management-api.mdx", 0),
    ("docs/cli.mdx", 1),
    ("docs/cli-reference.mdx", 0),
    ("docs/storage.mdx", 0),
    ("docs/dependencies.mdx", 0),
    ("docs/provider.mdx", 0),
    ("docs/access.mdx", 0),
    ("docs/audit.mdx", 0),
    ("docs/authentication.mdx", 1),
    ("docs/ci-identities.mdx", 0),
    ("docs/operations.mdx", 3),
    ("docs/troubleshooting.mdx", 0),
    ("docs/reference.mdx", 0),
    ("docs/reliability.md", 0),
    ("docs/performance.md", 0),
    ("docs/scope.mdx", 0),
];

/// The ports that pages use.
const PORTS: &[&str] = &["8080", "8081", "8082"];

/// Set to have the generated parts of pages written anew.
const UPDATE: &str = "OPENTACO_UPDATE_DOCS";

#[test]
fn the_readme_does_what_it_says() {
    Session::run("README.md");
}

#[test]
fn getting_started_does_what_it_says() {
    Session::run("docs/getting-started.mdx");
}

#[test]
fn the_demo_does_what_it_says() {
    Session::run("docs/demo.mdx");
}

#[test]
fn the_page_about_the_backend_does_what_it_says() {
    Session::run("docs/backend-service.mdx");
}

#[test]
fn the_page_about_the_s3_door_does_what_it_says() {
    Session::run("docs/s3-compat.mdx");
}

#[test]
fn the_page_about_the_cli_does_what_it_says() {
    Session::run("docs/cli.mdx");
}

#[test]
fn the_page_about_the_management_api_does_what_it_says() {
    Session::run("docs/management-api.mdx");
}

#[test]
fn the_page_about_authentication_does_what_it_says() {
    Session::run("docs/authentication.mdx");
}

#[test]
fn the_page_about_the_audit_does_what_it_says() {
    Session::run("docs/audit.mdx");
}

#[test]
fn the_page_about_access_does_what_it_says() {
    Session::run("docs/access.mdx");
}

#[test]
fn the_page_about_storage_does_what_it_says() {
    Session::run("docs/storage.mdx");
}

#[test]
fn the_page_about_reliability_does_what_it_says() {
    Session::run("docs/reliability.md");
}

#[test]
fn the_page_about_operations_does_what_it_says() {
    Session::run("docs/operations.mdx");
}

#[test]
fn what_the_page_about_operations_shows_of_deploy_stands_there() {
    let mut files = String::new();
    for file in ["Containerfile", "opentacosvc.service", "kubernetes.yaml"] {
        files.push_str(&read(&format!("deploy/{file}")));
    }
    let shown = blocks("docs/operations.mdx")
        .into_iter()
        .filter(|block| matches!(block.part, Part::Shown) && !block.body.contains("rate("));
    let mut excerpts = 0;
    for block in shown {
        assert!(
            files.contains(&block.body),
            "no file below deploy/ has line {} of the page and what follows",
            block.line
        );
        excerpts += 1;
    }
    assert_eq!(excerpts, 4);
}

#[test]
fn the_page_about_dependencies_does_what_it_says() {
    Session::run("docs/dependencies.mdx");
}

#[test]
fn the_page_about_the_provider_does_what_it_says() {
    Session::run("docs/provider.mdx");
}

#[test]
fn the_example_of_dependencies_does_what_it_says() {
    Session::run("examples/dependencies/README.md");
}

#[test]
fn the_basic_example_does_what_it_says() {
    Session::run("examples/basic/README.md");
}

#[test]
fn troubleshooting_does_what_it_says() {
    Session::run("docs/troubleshooting.mdx");
}

#[test]
fn pages_that_no_other_test_runs_have_nothing_to_run() {
    for page in [
        "docs/overview.mdx",
        "docs/reference.mdx",
        "docs/cli-reference.mdx",
        "docs/scope.mdx",
        // Its one command takes minutes; what it prints is held by crates/bench/tests/main.rs.
        "docs/performance.md",
    ] {
        let runs = blocks(page)
            .into_iter()
            .find(|block| !matches!(block.part, Part::Shown));
        assert!(
            runs.is_none(),
            "{page} has something to run now: give it a test of its own"
        );
    }
}

#[test]
fn every_page_is_known_here_and_stands_in_the_navigation_once() {
    let mut on_disk: BTreeSet<String> = fs::read_dir(tools::repository().join("docs"))
        .unwrap()
        .map(|entry| format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()))
        .filter(|name| name.ends_with(".mdx") || name.ends_with(".md"))
        .collect();
    on_disk.insert("README.md".to_owned());
    let known: BTreeSet<String> = PAGES.iter().map(|(page, _)| (*page).to_owned()).collect();
    assert_eq!(on_disk, known);

    let navigation: serde_json::Value = serde_json::from_str(&read("docs/docs.json")).unwrap();
    let groups = navigation["navigation"]["groups"].as_array().unwrap();
    let mut named: Vec<String> = groups
        .iter()
        .flat_map(|group| group["pages"].as_array().unwrap())
        .map(|page| page_file(page.as_str().unwrap()))
        .collect();
    named.sort();
    let pages: Vec<String> = known
        .into_iter()
        .filter(|page| page.starts_with("docs/"))
        .collect();
    assert_eq!(named, pages);
}

#[test]
fn the_blocks_that_are_not_run_are_counted() {
    for (page, not_run) in PAGES {
        let marked = blocks(page)
            .iter()
            .filter(|block| matches!(block.part, Part::NotRun))
            .count();
        assert_eq!(marked, *not_run, "{page}: blocks that are not run");
    }
}

#[test]
fn every_link_leads_somewhere() {
    let with_links =
        PAGES
            .iter()
            .map(|(page, _)| *page)
            .chain(["ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]);
    let mut links = 0;
    for page in with_links {
        for target in link_targets(&prose(page)) {
            if target.starts_with("https://") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = match path.strip_prefix('/') {
                Some(name) => page_file(name),
                None if path.is_empty() => page.to_owned(),
                // A picture lies beside its page.
                None if path.starts_with("images/") => format!("docs/{path}"),
                None => path.to_owned(),
            };
            assert!(
                tools::repository().join(&file).is_file(),
                "{page} links to {target}, and there is no {file}"
            );
            assert!(
                anchor.is_empty() || anchors(&file).contains(anchor),
                "{page} links to {target}, and {file} has only {:?}",
                anchors(&file)
            );
            links += 1;
        }
    }
    assert!(links > 30, "only {links} links were found");
}

#[test]
fn every_file_and_function_that_a_page_names_is_there() {
    let mut sources = String::new();
    gather(&tools::repository().join("crates"), &mut sources);
    let mut files = 0;
    let mut functions = 0;
    for page in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        for code in inline_code(&prose(page)) {
            if ["crates/", "e2e/", "docs/", "fuzz/"]
                .iter()
                .any(|start| code.starts_with(start))
            {
                assert!(
                    tools::repository().join(&code).exists(),
                    "{page} names {code}, and it is not there"
                );
                files += 1;
            }
        }
        for owner in ["Vault::", "StateControl::", "Bodies::", "App::"] {
            for rest in read(page).split(owner).skip(1) {
                let name: String = rest
                    .chars()
                    .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                    .collect();
                let is_there = ["(", "<"]
                    .iter()
                    .any(|next| sources.contains(&format!("fn {name}{next}")));
                assert!(is_there, "{page} names {owner}{name}, and it is not there");
                functions += 1;
            }
        }
    }
    assert!(
        files > 30 && functions > 15,
        "only {files} files and {functions} functions were found"
    );
}

#[test]
fn the_reference_is_made_from_what_the_service_knows() {
    let page = read("docs/reference.mdx");
    let fresh = with_generated(&page, &generated_reference());
    if std::env::var_os(UPDATE).is_some() {
        fs::write(tools::repository().join("docs/reference.mdx"), &fresh).unwrap();
        return;
    }
    assert!(
        page == fresh,
        "docs/reference.mdx is stale: run the tests of the pages once with {UPDATE}=1, and look at what changed"
    );
}

#[test]
fn the_reference_names_every_refusal_of_the_service_and_no_other() {
    let mut said = BTreeSet::new();
    let mut sources = String::new();
    gather(&tools::repository().join("crates/server/src"), &mut sources);
    for rest in sources.split("StatusCode::").skip(1) {
        let Some((status, rest)) = rest.split_once(',') else {
            continue;
        };
        let word = rest.trim_start().strip_prefix("ErrorCode::").map(word_of);
        if let (Some(word), Some(code)) = (word, code_of(status)) {
            said.insert((code, word));
        }
    }
    let page = read("docs/reference.mdx");
    let (_, table) = page.split_once("## HTTP codes").expect("the page has the codes");
    let listed: BTreeSet<(u16, String)> = table
        .lines()
        .take_while(|line| !line.starts_with("## "))
        .filter_map(|line| {
            let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
            let code = cells.next()?.parse().ok()?;
            Some((code, cells.next()?.trim_matches('`').to_owned()))
        })
        .collect();
    assert_eq!(listed, said);
}

/// One block of a page.
struct Block {
    part: Part,
    body: String,
    line: usize,
}

/// What is to be done with a block.
enum Part {
    Run,
    Refused,
    Service,
    Write(String),
    Output,
    Shown,
    NotRun,
}

/// The blocks of a page, in order.
fn blocks(page: &str) -> Vec<Block> {
    let text = read(page);
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    let mut mark: Option<usize> = None;
    while let Some((number, line)) = lines.next() {
        let line_number = number + 1;
        assert!(
            !line.trim_start().starts_with("```") || line.starts_with("```"),
            "{page}:{line_number}: a block that is indented would not be seen here"
        );
        if let Some(reason) = reason_not_to_run(line) {
            assert!(
                !reason.is_empty(),
                "{page}:{line_number}: why is the block not run?"
            );
            mark = Some(line_number);
            continue;
        }
        let Some(info) = line.strip_prefix("```") else {
            assert!(
                mark.is_none() || line.trim().is_empty(),
                "{page}:{line_number}: a block should follow the comment that keeps it from being run"
            );
            continue;
        };
        let mut body = String::new();
        for (_, line) in lines.by_ref().take_while(|(_, line)| *line != "```") {
            writeln!(body, "{line}").unwrap();
        }
        let part = match (mark.take(), part_of(info)) {
            (_, None) => panic!("{page}:{line_number}: nothing is known to do with a block `{info}`"),
            (None, Some(part)) => part,
            (Some(_), Some(Part::Run | Part::Refused | Part::Service)) => Part::NotRun,
            (Some(mark), Some(_)) => {
                panic!("{page}:{mark}: the block that follows would not have been run anyhow")
            }
        };
        blocks.push(Block {
            part,
            body,
            line: line_number,
        });
    }
    blocks
}

fn part_of(info: &str) -> Option<Part> {
    let (language, title) = info.split_once(' ').unwrap_or((info, ""));
    Some(match (language, title) {
        ("bash" | "sh", "") => Part::Run,
        ("bash" | "sh", "refused") => Part::Refused,
        ("bash" | "sh", "service") => Part::Service,
        ("text" | "json" | "http", "output") => Part::Output,
        ("hcl" | "json", file) if !file.is_empty() => Part::Write(file.to_owned()),
        ("text" | "json" | "http", "") => Part::Shown,
        _ => return None,
    })
}

fn reason_not_to_run(line: &str) -> Option<&str> {
    let inside = line.strip_prefix("{/*").and_then(|rest| rest.strip_suffix("*/}"));
    let inside = inside.or_else(|| {
        line.strip_prefix("<!--")
            .and_then(|rest| rest.strip_suffix("-->"))
    });
    Some(inside?.trim().strip_prefix("not run:")?.trim())
}

/// A reader who types a page from its first block to its last.
struct Session {
    page: &'static str,
    /// Where the reader is.
    directory: tempfile::TempDir,
    /// What is ours and not the reader's: scripts, outputs, what was exported.
    backstage: tempfile::TempDir,
    ports: Vec<(&'static str, String)>,
    services: Vec<Service>,
    s3: Option<S3Server>,
    printed: String,
}

impl Session {
    fn run(page: &'static str) {
        let ports = PORTS
            .iter()
            .map(|port| (*port, tools::free_port().to_string()))
            .collect();
        let mut session = Self {
            page,
            directory: tempfile::tempdir().unwrap(),
            backstage: tempfile::tempdir().unwrap(),
            ports,
            services: Vec::new(),
            s3: None,
            printed: String::new(),
        };
        if let Some(example) = page.strip_suffix("/README.md") {
            session.lay_out(&tools::repository().join(example), session.directory.path());
        }
        session.s3 = read(page).contains("\naws s3 ").then(S3Server::start);
        session.equip();
        let blocks = blocks(page);
        let ran = blocks
            .iter()
            .filter(|block| matches!(block.part, Part::Run | Part::Refused))
            .count();
        assert!(ran > 0, "{page} has nothing to run");
        for block in blocks {
            session.take(block);
        }
        for service in std::mem::take(&mut session.services) {
            service.stop();
        }
    }

    /// An example has files beside its page: the reader is among them.
    fn lay_out(&self, from: &Path, to: &Path) {
        for entry in fs::read_dir(from).unwrap() {
            let from = entry.unwrap().path();
            let to = to.join(from.file_name().unwrap());
            if from.is_dir() {
                fs::create_dir(&to).unwrap();
                self.lay_out(&from, &to);
            } else {
                fs::write(to, self.with_ports(&fs::read_to_string(&from).unwrap())).unwrap();
            }
        }
    }

    /// What a reader has before the first line: programs, credentials for a bucket, and no settings of this machine.
    fn equip(&mut self) {
        let mut prologue = String::new();
        for (name, _) in std::env::vars() {
            let foreign = ["OPENTACO_", "TF_", "AWS_", "AZURE_", "GOOGLE_"]
                .iter()
                .any(|start| name.starts_with(start));
            if foreign {
                writeln!(prologue, "unset {name}").unwrap();
            }
        }
        let bin = self.backstage.path().join("bin");
        fs::create_dir(&bin).unwrap();
        for (name, program) in [
            ("opentacosvc", tools::built("opentacosvc")),
            ("taco", tools::built("taco")),
            ("opentaco-sim", tools::built("opentaco-sim")),
            ("opentaco-torture", tools::built("opentaco-torture")),
            ("terraform", tools::client()),
        ] {
            std::os::unix::fs::symlink(program, bin.join(name)).unwrap();
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let nothing = self.backstage.path().join("nothing");
        File::create(&nothing).unwrap();
        let mut settings = vec![
            ("PATH", format!("{}:{path}", bin.display())),
            ("OPENTACO_PORT", self.port("8080").to_owned()),
            ("CHECKPOINT_DISABLE", "1".to_owned()),
            ("TF_CLI_CONFIG_FILE", nothing.display().to_string()),
            ("TF_CLI_ARGS", "-no-color".to_owned()),
            ("AWS_CONFIG_FILE", nothing.display().to_string()),
            ("AWS_SHARED_CREDENTIALS_FILE", nothing.display().to_string()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ];
        if let Some(s3) = &self.s3 {
            settings.extend(credentials(s3));
            std::os::unix::fs::symlink(aws(), bin.join("aws")).unwrap();
        }
        for (name, value) in settings {
            writeln!(prologue, "export {name}='{value}'").unwrap();
        }
        writeln!(prologue, "cd '{}'", self.directory.path().display()).unwrap();
        fs::write(self.state(), prologue).unwrap();
    }

    fn take(&mut self, block: Block) {
        let at = format!("{}:{}", self.page, block.line);
        let body = self.with_ports(&block.body);
        match block.part {
            Part::Run => assert!(self.bash(&body), "{at} failed:\n{body}\n{}", self.printed),
            Part::Refused => assert!(!self.bash(&body), "{at} should fail:\n{body}\n{}", self.printed),
            Part::Service => {
                let script = self.script(&format!(". '{}'\n{}", self.state().display(), with_exec(&body)));
                self.services.push(Service::start(at, &script));
            }
            Part::Write(file) => {
                let file = self.directory.path().join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, body).unwrap();
            }
            Part::Output => assert!(
                shows(&self.printed, body.trim_end()),
                "{at} shows\n{body}\nand this was printed:\n{}",
                self.printed
            ),
            Part::Shown | Part::NotRun => {}
        }
    }

    /// Runs a script to its end; whether it succeeded.
    fn bash(&mut self, body: &str) -> bool {
        let state = self.state();
        let script = self.script(&format!(
            ". '{0}'\n{body}\n{{ export -p; printf 'cd %q\\n' \"$PWD\"; }} > '{0}.next'\nmv '{0}.next' '{0}'\n",
            state.display()
        ));
        let printed = self.backstage.path().join("printed");
        let output = File::create(&printed).unwrap();
        let status = Command::new("bash")
            .args(["-e", "-o", "pipefail"])
            .arg(script)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .status()
            .unwrap();
        self.printed = String::from_utf8_lossy(&fs::read(printed).unwrap()).replace('\r', "");
        status.success()
    }

    fn script(&self, text: &str) -> PathBuf {
        let script = self.backstage.path().join("script");
        fs::write(&script, text).unwrap();
        script
    }

    /// Where the session is between two blocks: what it exports, and the directory.
    fn state(&self) -> PathBuf {
        self.backstage.path().join("session")
    }

    fn port(&self, of_the_page: &str) -> &str {
        &self
            .ports
            .iter()
            .find(|(port, _)| *port == of_the_page)
            .expect("it is one of PORTS")
            .1
    }

    fn with_ports(&self, text: &str) -> String {
        self.ports
            .iter()
            .fold(text.to_owned(), |text, (port, free)| text.replace(port, free))
    }
}

/// What a reader has exported who may use this server.
fn credentials(s3: &S3Server) -> [(&'static str, String); 4] {
    let StoreConfig::S3(config) = s3.config("any") else {
        unreachable!("it is an S3 server")
    };
    let key = config.credentials.expect("it asks for credentials");
    [
        ("AWS_ENDPOINT_URL_S3", s3.endpoint()),
        ("AWS_ACCESS_KEY_ID", key.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", key.secret_access_key.expose().to_owned()),
        ("AWS_REGION", config.region.expect("it is somewhere")),
    ]
}

/// The AWS CLI: the one on PATH, else one from PyPI.
fn aws() -> PathBuf {
    static AWS: OnceLock<PathBuf> = OnceLock::new();
    let found = AWS.get_or_init(|| {
        tools::on_path("aws").unwrap_or_else(|| {
            let home = tools::repository().join(".tools/aws");
            let aws = home.join("bin/aws");
            if !aws.is_file() {
                must(Command::new("python3").args(["-m", "venv"]).arg(&home));
                must(Command::new(home.join("bin/pip")).args(["install", "--quiet", "awscli==1.45.11"]));
            }
            aws
        })
    });
    found.clone()
}

fn must(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?} ended with {status}");
}

/// A service that a page starts.
struct Service {
    at: String,
    process: Child,
    log: Receiver<String>,
}

impl Service {
    /// Starts it, and returns when it says that it is open.
    fn start(at: String, script: &Path) -> Self {
        let mut process = Command::new("bash")
            .arg("-e")
            .arg(script)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, log) = mpsc::channel();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                // Read on when nobody listens any more, so that the service never waits for its log.
                let _ = lines.send(line);
            }
        });
        let service = Self { at, process, log };
        let mut said = String::new();
        while !said.contains("opentacosvc is open") {
            match service.log.recv_timeout(Duration::from_secs(60)) {
                Ok(line) => writeln!(said, "{line}").unwrap(),
                Err(error) => panic!("{}: the service does not open ({error}):\n{said}", service.at),
            }
        }
        service
    }

    /// Asks it to stop; it must end well.
    fn stop(mut self) {
        let asked = Command::new("kill")
            .arg(self.process.id().to_string())
            .status()
            .unwrap();
        assert!(
            asked.success(),
            "{}: the service is gone before its page ends",
            self.at
        );
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{}: the service ended with {status}", self.at);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // After `stop` there is nothing left to kill; after a panic there is.
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// A script whose last command takes the place of the shell, so that the pid of the one is the pid of the other.
fn with_exec(body: &str) -> String {
    let lines: Vec<&str> = body.trim_end().lines().collect();
    let continued = |line: &&&str| line.ends_with('\\');
    let last = lines.len() - 1 - lines.iter().rev().skip(1).take_while(continued).count();
    let (before, command) = lines.split_at(last);
    format!("{}\nexec env {}\n", before.join("\n"), command.join("\n"))
}

/// Whether `printed` has what `shown` shows, where `…` stands for anything.
fn shows(printed: &str, shown: &str) -> bool {
    let mut rest = printed;
    shown.split('…').all(|piece| match rest.find(piece) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}

fn read(page: &str) -> String {
    fs::read_to_string(tools::repository().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// A page without its blocks.
fn prose(page: &str) -> String {
    let mut inside = false;
    let mut prose = String::new();
    for line in read(page).lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if !inside {
            writeln!(prose, "{line}").unwrap();
        }
    }
    prose
}

fn link_targets(prose: &str) -> Vec<String> {
    prose
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.to_owned())
        .collect()
}

fn inline_code(prose: &str) -> Vec<String> {
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The anchors of a page's headings, as Mintlify and GitHub make them.
/// The file of a page in the navigation: one that needs no components may be plain Markdown.
fn page_file(name: &str) -> String {
    let plain = format!("docs/{name}.md");
    match tools::repository().join(&plain).is_file() {
        true => plain,
        false => format!("docs/{name}.mdx"),
    }
}

fn anchors(page: &str) -> BTreeSet<String> {
    let prose = prose(page);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = kept
            .chars()
            .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_');
        kept.collect::<String>().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

/// All Rust sources below a directory, one after the other.
fn gather(directory: &Path, sources: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

const BEGIN: &str = "{/* generated from the service: do not edit */}\n";
const END: &str = "{/* end of what is generated */}\n";

fn with_generated(page: &str, generated: &str) -> String {
    let (before, rest) = page
        .split_once(BEGIN)
        .expect("the page says where the generated part begins");
    let (_, after) = rest
        .split_once(END)
        .expect("the page says where the generated part ends");
    format!("{before}{BEGIN}\n{generated}\n{END}{after}")
}

/// Flags by group, and the exit codes, as tables.
fn generated_reference() -> String {
    let help = match config::understand(&["help".to_owned()], &|_| None) {
        Ok(Asked::Print(help)) => help,
        other => panic!("{other:?}"),
    };
    let mut page = String::new();
    for group in help.split("\n\n") {
        let flags: Vec<&Flag> = FLAGS
            .iter()
            .filter(|flag| group.contains(&format!("\n  -{0}, --{0}", flag.name)))
            .collect();
        if !flags.is_empty() {
            let title: Vec<&str> = group
                .trim()
                .lines()
                .take_while(|line| !line.starts_with("  -"))
                .collect();
            describe_group(&mut page, &title.join(" "), &flags);
        }
    }
    let shown = FLAGS
        .iter()
        .filter(|flag| page.contains(&format!("| `-{}", flag.name)))
        .count();
    assert_eq!(shown, FLAGS.len(), "the help shows every flag in a group");

    let (_, codes) = help
        .split_once("\nExit codes\n")
        .expect("the help tells the exit codes");
    page.push_str("## Exit codes\n\n| Code | Meaning |\n|---|---|\n");
    for line in codes.lines() {
        let (code, meaning) = line.trim().split_once("  ").expect("a code, and what it means");
        writeln!(page, "| {code} | {} |", for_a_table(meaning)).unwrap();
    }
    page
}

fn describe_group(page: &mut String, title: &str, flags: &[&Flag]) {
    let (title, remark) = title
        .split_once(" (")
        .map_or((title, ""), |(title, rest)| (title, rest));
    writeln!(page, "### {title}\n").unwrap();
    if let Some(remark) = remark.strip_suffix(')') {
        writeln!(page, "{}.\n", for_a_table(&with_capital(remark))).unwrap();
    }
    page.push_str("| Flag | Variable | Default | What it is for |\n|---|---|---|---|\n");
    for flag in flags {
        let value = flag.value.map(|value| format!(" {value}")).unwrap_or_default();
        let variables: Vec<String> = flag
            .variables
            .iter()
            .map(|variable| format!("`{variable}`"))
            .collect();
        writeln!(
            page,
            "| `-{}{value}` | {} | {} | {} |",
            flag.name,
            variables.join(", "),
            for_a_table(flag.default),
            for_a_table(&flag.help.replace('\n', " "))
        )
        .unwrap();
    }
    page.push('\n');
}

fn with_capital(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

/// What MDX would take for something else, escaped.
fn for_a_table(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "\\<").replace('{', "\\{")
}

/// The word of a code of the management API, by the name of its variant.
fn word_of(code: &str) -> String {
    let mut word = String::new();
    for letter in code.chars().take_while(char::is_ascii_alphanumeric) {
        if letter.is_ascii_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.push(letter.to_ascii_lowercase());
    }
    word
}

fn code_of(status: &str) -> Option<u16> {
    Some(match status.trim() {
        "BAD_REQUEST" => 400,
        "UNAUTHORIZED" => 401,
        "FORBIDDEN" => 403,
        "NOT_FOUND" => 404,
        "METHOD_NOT_ALLOWED" => 405,
        "REQUEST_TIMEOUT" => 408,
        "CONFLICT" => 409,
        "GONE" => 410,
        "PRECONDITION_FAILED" => 412,
        "PAYLOAD_TOO_LARGE" => 413,
        "LOCKED" => 423,
        "TOO_MANY_REQUESTS" => 429,
        "INTERNAL_SERVER_ERROR" => 500,
        "SERVICE_UNAVAILABLE" => 503,
        _ => return None,
    })
}
