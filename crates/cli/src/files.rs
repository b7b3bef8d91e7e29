//! Files that hold states: only their owner reads them, and they are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::Failure;

/// A place for bytes that become a file's content in one step, or go away.
#[derive(Debug)]
pub struct Pending {
    place: Place,
    shown: PathBuf,
}

#[derive(Debug)]
enum Place {
    /// Beside the file, to be renamed.
    Beside(NamedTempFile, PathBuf),
    /// Nameless, to be copied to standard output or to what is no regular file.
    Nameless(File, Option<PathBuf>),
}

impl Pending {
    /// A place for what is to become `file`; standard output for `None` and for `-`.
    ///
    /// # Errors
    /// If its directory takes no file.
    pub fn open(file: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = file.filter(|path| *path != Path::new("-")) else {
            let nameless = tempfile::tempfile().map_err(|error| {
                Failure::file("keep what is downloaded in", &std::env::temp_dir(), &error)
            })?;
            return Ok(Self {
                place: Place::Nameless(nameless, None),
                shown: PathBuf::from("-"),
            });
        };
        let cannot = |error: io::Error| Failure::file("write", path, &error);
        // A link stays a link, and what it leads to is written.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let place = match fs::metadata(&target) {
            Ok(meta) if meta.is_dir() => return Err(cannot(io::ErrorKind::IsADirectory.into())),
            Ok(meta) if !meta.is_file() => {
                Place::Nameless(tempfile::tempfile().map_err(cannot)?, Some(target))
            }
            _ => {
                let directory = target
                    .parent()
                    .filter(|directory| !directory.as_os_str().is_empty());
                let directory = directory.unwrap_or(Path::new("."));
                let beside = tempfile::Builder::new()
                    .prefix(".taco-")
                    .tempfile_in(directory)
                    .map_err(cannot)?;
                Place::Beside(beside, target)
            }
        };
        Ok(Self {
            place,
            shown: path.to_owned(),
        })
    }

    /// Where to put the bytes.
    pub fn file(&mut self) -> &mut File {
        match &mut self.place {
            Place::Beside(file, _) => file.as_file_mut(),
            Place::Nameless(file, _) => file,
        }
    }

    /// Whether it goes to standard output.
    #[must_use]
    pub fn is_standard_output(&self) -> bool {
        matches!(self.place, Place::Nameless(_, None))
    }

    /// Makes it the content of the file, or prints it.
    ///
    /// # Errors
    /// If that cannot be done; then nothing has changed.
    pub fn keep(self) -> Result<(), Failure> {
        let shown = self.shown;
        let cannot = |error: io::Error| Failure::file("write", &shown, &error);
        match self.place {
            Place::Beside(file, target) => {
                file.as_file().sync_all().map_err(cannot)?;
                file.persist(target)
                    .map(drop)
                    .map_err(|refused| cannot(refused.error))
            }
            Place::Nameless(mut file, Some(target)) => {
                file.rewind().map_err(cannot)?;
                let mut target = File::options().write(true).open(target).map_err(cannot)?;
                io::copy(&mut file, &mut target).map(drop).map_err(cannot)
            }
            Place::Nameless(mut file, None) => {
                file.rewind().map_err(|error| Failure::output(&error))?;
                let mut out = io::stdout().lock();
                io::copy(&mut file, &mut out)
                    .and_then(|_| out.flush())
                    .map_err(|error| Failure::output(&error))
            }
        }
    }
}

/// A file to be read as a whole, more than once if need be; standard input for `-`.
///
/// # Errors
/// If it cannot be read.
pub fn open_to_send(path: &Path) -> Result<File, Failure> {
    if path == Path::new("-") {
        return spool(&mut io::stdin().lock())
            .map_err(|error| Failure::file("read", Path::new("standard input"), &error));
    }
    let cannot = |error: io::Error| Failure::file("read", path, &error);
    let mut file = File::open(path).map_err(cannot)?;
    let meta = file.metadata().map_err(cannot)?;
    if meta.is_dir() {
        return Err(cannot(io::ErrorKind::IsADirectory.into()));
    }
    if meta.is_file() {
        return Ok(file);
    }
    // A pipe is read once, and what is sent may have to be sent twice.
    spool(&mut file).map_err(cannot)
}

fn spool(from: &mut impl io::Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(from, &mut file)?;
    file.rewind()?;
    Ok(file)
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
    fn a_pending_file_is_private_and_appears_only_when_it_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("state");
        fs::write(&path, "before").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();

        let mut dropped = Pending::open(Some(&path)).unwrap();
        dropped.file().write_all(b"half").unwrap();
        drop(dropped);
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");

        let mut kept = Pending::open(Some(&path)).unwrap();
        kept.file().write_all(b"after").unwrap();
        kept.keep().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "after");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_stays_a_link_and_what_it_leads_to_is_written() {
        let home = tempfile::tempdir().unwrap();
        let (target, link) = (home.path().join("target"), home.path().join("link"));
        fs::write(&target, "before").unwrap();
        std::os::unix::fs::symlink("target", &link).unwrap();
        let mut pending = Pending::open(Some(&link)).unwrap();
        pending.file().write_all(b"after").unwrap();
        pending.keep().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "after");
    }
}
