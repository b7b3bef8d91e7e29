//! Whether the directory at our path is still the one that was opened.
//!
//! A disk that is unmounted, or a directory that is moved away or replaced, leaves a path at which no object is there. To
//! take that for "no state" would make Terraform plan to create everything again, and a write there would be lost the
//! moment the disk returns. So whoever has looked or written makes sure here, before anybody is told what was found.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path as FilePath, PathBuf};

use super::disk::{Trouble, trouble};

/// The directory that was opened and the lock file in it, as they were then. Both are held open, so that no other file
/// is ever given their numbers.
#[derive(Debug)]
pub(super) struct Anchor {
    root: Held,
    /// The directory is ours as long as this file is open. Looked at too: a hand that removes it lets a second process
    /// in, and the root of a copy made of hard links holds the same one.
    lock: Held,
}

/// A file that is open, and the path at which it was found.
#[derive(Debug)]
struct Held {
    path: PathBuf,
    identity: Identity,
    _open: File,
}

#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Anchor {
    /// Remembers the directory `root`, whose lock file is open as `lock`.
    pub(super) fn cast(root: &FilePath, lock: File, lock_path: &FilePath) -> Result<Self, Trouble> {
        let directory = File::open(root).map_err(trouble("opening", root))?;
        let anchor = Self {
            root: Held::new(root, directory)?,
            lock: Held::new(lock_path, lock)?,
        };
        anchor.holds()?;
        Ok(anchor)
    }

    pub(super) fn root(&self) -> &FilePath {
        &self.root.path
    }

    /// Fails unless the directory at the path is the one that was opened. Two looks at what the kernel has in memory.
    pub(super) fn holds(&self) -> Result<(), Trouble> {
        self.root.is_in_place()?;
        self.lock.is_in_place()
    }
}

impl Held {
    fn new(path: &FilePath, open: File) -> Result<Self, Trouble> {
        let metadata = open.metadata().map_err(trouble("looking at", path))?;
        Ok(Self {
            path: path.to_owned(),
            identity: Identity::of(&metadata),
            _open: open,
        })
    }

    fn is_in_place(&self) -> Result<(), Trouble> {
        let describe = trouble("making sure of the data directory at", &self.path);
        match fs::metadata(&self.path) {
            Ok(metadata) if Identity::of(&metadata) == self.identity => Ok(()),
            Ok(_) => Err(describe(io::Error::other(
                "something else is there now than when the service started: put back what was there, or start again",
            ))),
            Err(error) => Err(describe(error)),
        }
    }
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}
