//! The real client, `terraform` or `tofu`, in a directory of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::process::Process;
use crate::service::ROOT_TOKEN;
use crate::tools;

/// A working directory with a configuration, and the client to run there.
#[derive(Debug)]
pub struct Client {
    directory: TempDir,
    program: PathBuf,
    token: String,
    authority: Option<String>,
    environment: Vec<(String, String)>,
}

/// What a run of the client ended with.
#[derive(Debug)]
pub struct Ran {
    /// Whether its exit code was 0.
    pub ok: bool,
    /// Everything it printed, without line breaks that depend on the width of a terminal.
    pub printed: String,
    /// Only its standard output, as it is.
    pub stdout: Vec<u8>,
}

impl Ran {
    /// Asserts that it succeeded.
    ///
    /// # Panics
    /// If not, with what it printed.
    #[must_use]
    pub fn worked(self) -> Self {
        assert!(self.ok, "the client failed:\n{}", self.printed);
        self
    }

    /// Asserts that it failed and said so.
    ///
    /// # Panics
    /// If not, with what it printed.
    #[must_use]
    pub fn failed_with(self, text: &str) -> Self {
        assert!(!self.ok, "the client succeeded:\n{}", self.printed);
        assert!(
            self.printed.contains(text),
            "`{text}` is not in:\n{}",
            self.printed
        );
        self
    }
}

impl Client {
    /// A client whose state is at this address, with `resources` in its configuration.
    ///
    /// # Panics
    /// If its files cannot be written.
    #[must_use]
    pub fn new(backend: &str, resources: &str) -> Self {
        let client = Self::without_backend(resources);
        client.backend(backend);
        client
    }

    /// A client that keeps its state in its own directory.
    ///
    /// # Panics
    /// If its files cannot be written.
    #[must_use]
    pub fn without_backend(resources: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        std::fs::write(directory.path().join("clirc"), "").expect("a file can be written");
        let client = Self {
            directory,
            program: tools::client(),
            token: ROOT_TOKEN.to_owned(),
            authority: None,
            environment: Vec::new(),
        };
        client.resources(resources);
        client
    }

    /// The same client with another password.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        token.clone_into(&mut self.token);
        self
    }

    /// The same client, which trusts this authority, in PEM.
    #[must_use]
    pub fn trusting(mut self, authority: Option<String>) -> Self {
        self.authority = authority;
        self
    }

    /// The same client with a variable in its environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes the backend block.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn backend(&self, address: &str) {
        let block = format!(
            "terraform {{\n  backend \"http\" {{\n    address = \"{address}\"\n    lock_address = \"{address}\"\n    unlock_address = \"{address}\"\n    retry_wait_min = 1\n  }}\n}}\n"
        );
        self.write("backend.tf", &block);
    }

    /// Takes the backend block away.
    ///
    /// # Panics
    /// If it is not there.
    pub fn no_backend(&self) {
        std::fs::remove_file(self.directory.path().join("backend.tf")).expect("there was a backend block");
    }

    /// Replaces the configuration.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn resources(&self, resources: &str) {
        self.write("main.tf", resources);
    }

    /// Writes a file into its directory.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, name: &str, content: &str) {
        std::fs::write(self.directory.path().join(name), content).expect("a file can be written");
    }

    /// `init`, which must succeed.
    #[must_use]
    pub fn init(self) -> Self {
        let _ = self.run(&["init", "-input=false"]).worked();
        self
    }

    /// `apply`, without asking.
    #[must_use]
    pub fn apply(&self) -> Ran {
        self.run(&["apply", "-input=false", "-auto-approve"])
    }

    /// Runs the client to its end.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let Output {
            status,
            stdout,
            stderr,
        } = self
            .command(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("the client can be started");
        let printed = format!(
            "{}{}",
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        );
        // Boxes and line breaks of its error messages stand between the words.
        let printed = printed
            .replace(['│', '╷', '╵'], " ")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        Ran {
            ok: status.success(),
            printed,
            stdout,
        }
    }

    /// Starts the client and goes on.
    #[must_use]
    pub fn start(&self, arguments: &[&str]) -> Process {
        Process::start(self.command(arguments), &self.directory.path().join("output"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            let name_is = |start: &str| name.to_string_lossy().starts_with(start);
            if name_is("TF_") || name_is("AWS_") || name_is("OPENTACO_TOKEN") {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("CHECKPOINT_DISABLE", "1")
            .env("TF_CLI_CONFIG_FILE", self.directory.path().join("clirc"))
            .env("TF_CLI_ARGS", "-no-color")
            .env("TF_IN_AUTOMATION", "1")
            .env("TF_HTTP_USERNAME", "root")
            .env("TF_HTTP_PASSWORD", &self.token)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(authority) = &self.authority {
            command.env("TF_HTTP_CLIENT_CA_CERTIFICATE_PEM", authority);
        }
        command
    }
}
