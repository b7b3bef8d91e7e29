//! Secrets that were drawn once and are kept in a file that only its owner reads. A file appears whole or not at all,
//! and of processes that start at once all end up with the same one.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use opentaco_domain::Secret;
use uuid::Uuid;

/// Puts `secret` where nothing is yet; what somebody else has put there stays.
///
/// # Errors
/// If the file or its directory cannot be made.
pub fn keep_once(path: &Path, secret: &Secret) -> io::Result<()> {
    match link(path, secret) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

/// Puts `secret` where nothing is yet.
///
/// # Errors
/// If something is there, or the file or its directory cannot be made.
pub fn keep_new(path: &Path, secret: &Secret) -> io::Result<()> {
    link(path, secret)
}

/// A hard link either makes the whole file or finds one there.
fn link(path: &Path, secret: &Secret) -> io::Result<()> {
    if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
    }
    let draft = path.with_extension(Uuid::new_v4().simple().to_string());
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    let linked = file
        .write_all(format!("{}\n", secret.expose().trim_end()).as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    linked
}
