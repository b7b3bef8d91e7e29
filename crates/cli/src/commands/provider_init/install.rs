//! The provider beside the workspace that uses it, where Terraform and OpenTofu look without asking a registry.
//!
//! ```text
//! .opentaco/providers/registry.terraform.io/digger/opentaco/0.1.0/linux_amd64/terraform-provider-opentaco_v0.1.0
//! .opentaco/providers/registry.opentofu.org/…     the same file once more
//! terraform.d/plugins -> ../.opentaco/providers   where both look if no CLI configuration says otherwise
//! ```

use std::fs::{self, File, Permissions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::Failure;

/// What is installed.
pub(super) const PROGRAM: &str = "terraform-provider-opentaco";
/// Its version: it is released with this program.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Below the workspace.
pub(super) const MIRROR: &str = ".opentaco/providers";
/// What a configuration calls it, for Terraform and for OpenTofu.
pub(super) const SOURCES: [&str; 2] = [
    "registry.terraform.io/digger/opentaco",
    "registry.opentofu.org/digger/opentaco",
];
/// Where clients look by themselves, below the directory that they run in.
const IMPLIED: &str = "terraform.d/plugins";

/// Looks for the provider beside this program, then on PATH.
pub(super) fn find() -> Option<PathBuf> {
    let myself = std::env::current_exe().ok();
    // A link to this program may lie elsewhere than the program.
    let real = myself.as_deref().and_then(|path| fs::canonicalize(path).ok());
    let beside = [myself, real]
        .into_iter()
        .flatten()
        .filter_map(|path| path.parent().map(Path::to_owned));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = beside.chain(std::env::split_paths(&path)).collect();
    directories
        .into_iter()
        .map(|directory| directory.join(PROGRAM))
        .find(|program| is_program(program))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The provider, and where it is to be.
pub(super) struct Installation {
    workspace: PathBuf,
    program: Option<PathBuf>,
}

impl Installation {
    pub(super) fn below(workspace: &Path, program: Option<PathBuf>) -> Self {
        Self {
            workspace: workspace.to_owned(),
            program,
        }
    }

    /// Where it is installed for each source.
    fn targets(&self) -> [PathBuf; 2] {
        SOURCES.map(|source| {
            self.workspace
                .join(MIRROR)
                .join(source)
                .join(VERSION)
                .join(platform())
                .join(format!("{PROGRAM}_v{VERSION}"))
        })
    }

    /// What was not put there by this: a directory or a link where the program is to be.
    pub(super) fn in_the_way(&self) -> Vec<PathBuf> {
        let is_foreign = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file());
        self.targets().into_iter().filter(is_foreign).collect()
    }

    /// Whether another program is installed, which will be replaced.
    pub(super) fn replaces(&self) -> bool {
        let Some(program) = &self.program else {
            return false;
        };
        let differs = |path: &PathBuf| path.exists() && !same(program, path).unwrap_or(false);
        self.targets().iter().any(differs)
    }

    /// Copies the provider to where it is to be: what was copied, if there is one. A link would change under the feet of
    /// Terraform, which notes the checksum of what it has seen.
    pub(super) fn install(&self) -> Result<Option<&Path>, Failure> {
        let Some(program) = &self.program else {
            return Ok(None);
        };
        for target in self.targets() {
            let installed = copy(program, &target);
            installed.map_err(|error| Failure::file("install the provider as", &target, &error))?;
        }
        Ok(Some(program))
    }

    /// Leads clients there that look by themselves. What somebody else has put there stays: the CLI configuration leads
    /// there, too.
    pub(super) fn link(&self) -> Result<(), Failure> {
        let implied = self.workspace.join(IMPLIED);
        let target = Path::new("..").join(MIRROR);
        if fs::symlink_metadata(&implied).is_ok() {
            return Ok(());
        }
        let linked =
            fs::create_dir_all(self.workspace.join("terraform.d")).and_then(|()| symlink(&target, &implied));
        linked.map_err(|error| Failure::file("link", &implied, &error))
    }
}

/// As Terraform calls this machine.
fn platform() -> String {
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let processor = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    format!("{system}_{processor}")
}

/// A nameless beginning of a file that is to be here, with these rights as far as the user's mask grants them.
pub(super) fn readable_by_all(directory: &Path, mode: u32) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".taco-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(directory)
}

fn copy(program: &Path, target: &Path) -> io::Result<()> {
    let directory = target.parent().expect("it is below the workspace");
    fs::create_dir_all(directory)?;
    if same(program, target).unwrap_or(false) {
        return Ok(());
    }
    let mut copy = readable_by_all(directory, 0o755)?;
    io::copy(&mut File::open(program)?, copy.as_file_mut())?;
    copy.persist(target).map(drop).map_err(|refused| refused.error)
}

/// Whether two files hold the same.
fn same(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (BufReader::new(one), BufReader::new(other));
    let (mut here, mut there) = ([0; 8192], [0; 8192]);
    loop {
        let read = one.read(&mut here)?;
        if read == 0 {
            return Ok(true);
        }
        other.read_exact(&mut there[..read])?;
        if here[..read] != there[..read] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_is_copied_for_both_clients_and_stays_what_it_was() {
        let home = tempfile::tempdir().unwrap();
        let program = home.path().join(PROGRAM);
        fs::write(&program, "one").unwrap();
        let workspace = home.path().join("w");
        let installation = Installation::below(&workspace, Some(program.clone()));
        assert!(installation.in_the_way().is_empty());
        assert_eq!(installation.install().unwrap(), Some(program.as_path()));
        installation.link().unwrap();
        installation.link().unwrap();
        for source in SOURCES {
            let file = workspace
                .join(IMPLIED)
                .join(source)
                .join(VERSION)
                .join(platform())
                .join(format!("{PROGRAM}_v{VERSION}"));
            assert!(is_program(&file));
            assert_eq!(fs::read(&file).unwrap(), b"one");
        }
        assert!(!installation.replaces());
        fs::write(&program, "two").unwrap();
        assert!(installation.replaces() && installation.in_the_way().is_empty());
        installation.install().unwrap();
        assert!(!installation.replaces());
    }

    #[test]
    fn plugins_of_somebody_elses_stay() {
        let home = tempfile::tempdir().unwrap();
        let theirs = home.path().join(IMPLIED);
        fs::create_dir_all(&theirs).unwrap();
        Installation::below(home.path(), None).link().unwrap();
        assert!(fs::symlink_metadata(theirs).unwrap().is_dir());
    }
}
