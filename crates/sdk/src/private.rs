//! Small files of ours that only their owner reads: logins, ids of locks.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use tempfile::NamedTempFile;

/// Writes a small file of ours in one step, for its owner alone.
///
/// # Errors
/// If it cannot be written; then what was there before still is.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path
        .parent()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut file = NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|refused| refused.error)
}

/// Makes a directory for its owner alone, or makes one so.
///
/// # Errors
/// If it cannot be made.
pub fn directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => tighten(path),
        other => other,
    }
}

#[cfg(unix)]
fn tighten(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o700))
}

#[cfg(not(unix))]
fn tighten(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_directory_of_ours_is_tightened_and_never_loosened() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("ours");
        directory(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        for (before, after) in [(0o755, 0o700), (0o500, 0o500)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(before)).unwrap();
            directory(&path).unwrap();
            assert_eq!(mode(&path), after, "from {before:o}");
        }
    }
}
