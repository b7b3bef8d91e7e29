//! Finding the programs that tests run: our own, the real client, real servers. `./test` installs them.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// The top of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("crates/testkit lies two levels deep")
        .to_owned()
}

/// A binary of ours, as this build made it.
///
/// # Panics
/// If it is not there: `./test` builds it first, and so does `cargo build --workspace --bins`.
#[must_use]
pub fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let found = test
        .ancestors()
        .skip(1)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is not built; run `cargo build --workspace --bins`, or `./test`"))
}

/// The real client: what `./test` found, else terraform or tofu on PATH.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn client() -> PathBuf {
    std::env::var_os("OPENTACO_TEST_CLIENT")
        .map(PathBuf::from)
        .or_else(|| on_path("terraform"))
        .or_else(|| on_path("tofu"))
        .expect("no terraform or tofu; `./test` gets one")
}

/// A program that `./test` installs.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn installed(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("{name} is not installed; `./test` installs it"))
}

/// The same; none if it is not there.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    let tools = home();
    [
        "bin",
        "npm/node_modules/.bin",
        "aws/bin",
        "moto/bin",
        "stores/bin",
        "schemathesis/bin",
    ]
    .iter()
    .map(|directory| tools.join(directory).join(name))
    .find(|file| file.is_file())
    .or_else(|| on_path(name))
}

/// A Python that has boto3: moto's, which needs it.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn python() -> PathBuf {
    let python = home().join("moto/bin/python");
    assert!(python.is_file(), "moto is not installed; `./test` does it");
    python
}

/// The browser that `./test` found or installed.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn browser() -> PathBuf {
    std::env::var_os("OPENTACO_TEST_BROWSER")
        .map(PathBuf::from)
        .or_else(|| on_path("chromium"))
        .expect("no chromium; `./test` gets one")
}

/// What `./test` has installed from the npm registry.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn node_modules() -> PathBuf {
    let modules = home().join("npm/node_modules");
    assert!(
        modules.is_dir(),
        "nothing is installed from npm; `./test` does it"
    );
    modules
}

/// Where `./test` installs.
#[must_use]
pub fn home() -> PathBuf {
    std::env::var_os("OPENTACO_TEST_TOOLS").map_or_else(|| repository().join(".tools"), PathBuf::from)
}

/// A program on PATH.
#[must_use]
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// A port on loopback that was free a moment ago.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}
