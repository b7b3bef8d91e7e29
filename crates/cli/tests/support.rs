//! One service for all tests of this binary, and `taco` in a directory of its own.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use opentaco_testkit::service::{ROOT_TOKEN, Service};
use tempfile::TempDir;

/// The program under test.
pub(crate) const TACO: &str = env!("CARGO_BIN_EXE_taco");

struct Shared {
    service: Service,
    _home: TempDir,
}

static SHARED: LazyLock<Shared> = LazyLock::new(|| {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    Shared {
        service: Service::start(home.path(), &["-storage", "memory", "-audit-sync"], &[]),
        _home: home,
    }
});

/// The service.
pub(crate) fn service() -> &'static Service {
    &SHARED.service
}

/// What the environment of `taco` is made of in every test, whatever this machine has set.
pub(crate) fn environment() -> [(&'static str, String); 5] {
    [
        ("OPENTACO_SERVER", service().url()),
        ("OPENTACO_TOKEN", ROOT_TOKEN.to_owned()),
        ("USER", "alice".to_owned()),
        ("TERM", "xterm-256color".to_owned()),
        ("COLUMNS", "100".to_owned()),
    ]
}

/// Variables of this machine that would change what `taco` does.
pub(crate) const FOREIGN: &[&str] = &[
    "NO_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "CI",
    "OPENTACO_CA_FILE",
    "COMPLETE",
    "http_proxy",
    "HTTP_PROXY",
    "all_proxy",
    "ALL_PROXY",
];

/// A directory to work in.
pub(crate) struct Desk {
    home: TempDir,
    server: String,
}

/// What a run of `taco` ended with.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts how it ended.
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// Asserts that it worked.
    #[track_caller]
    pub(crate) fn worked(self) -> Self {
        self.with(0)
    }

    /// Asserts what it said on standard error.
    #[track_caller]
    pub(crate) fn said(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "`{text}` is not in {self:#?}");
        self
    }
}

impl Desk {
    /// An empty one, and the service of all tests.
    pub(crate) fn new() -> Self {
        Self::at(&service().url())
    }

    /// An empty one, and another address.
    pub(crate) fn at(server: &str) -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            server: server.to_owned(),
        }
    }

    /// The same desk, with another service.
    pub(crate) fn asks(&mut self, server: &str) {
        server.clone_into(&mut self.server);
    }

    pub(crate) fn path(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// A program with the environment of `taco`.
    pub(crate) fn program(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        for name in FOREIGN {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .envs(environment())
            .env("OPENTACO_SERVER", &self.server)
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs `taco` to its end.
    pub(crate) fn taco(&self, line: &str) -> Ran {
        let words: Vec<&str> = line.split(' ').collect();
        Ran::of(&self.program(TACO, &words).output().unwrap())
    }

    /// Runs a line of shell to its end, with `taco` on its path.
    pub(crate) fn shell(&self, line: &str) -> Ran {
        let directory = Path::new(TACO).parent().unwrap().display();
        let path = format!("{directory}:{}", std::env::var("PATH").unwrap());
        let mut command = self.program("bash", &["-o", "pipefail", "-c", line]);
        Ran::of(&command.env("PATH", path).output().unwrap())
    }
}

/// A small state.
pub(crate) fn state(serial: u64, value: &str) -> String {
    format!(
        r#"{{"version":4,"serial":{serial},"lineage":"l","outputs":{{"o":{{"value":"{value}","type":"string"}}}},"resources":[]}}"#
    )
}
