//! Objects as plain files, durably: a file is written beside the tree, synced, and renamed into it, and the directories
//! that lead to it are synced before anybody is told.
//!
//! Everything here blocks. What it relies on: `rename` replaces a file at once, and `fsync` of a file and of a directory
//! keeps what it says.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::MetadataExt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Attributes, Error, ObjectMeta, PutMode, PutPayload, Result};

use super::anchor::Anchor;
use super::pages::Page;
use super::sidecars::Sidecars;
use super::{HIDDEN, STORE};

/// The locks that keys are dealt to. Two keys that meet on one wait for each other and are none the worse.
const DOORS: usize = 1024;
/// How often a put makes the directories that a delete takes away under its hands.
const TRIES: usize = 100;
/// How the copy of a lock ends, beside the state it belongs to. Only a file is called so.
const LOCK_COPY: &str = ".tfstate.lock";
/// How many directories are remembered as durable; beyond that all are forgotten and synced once more.
const DURABLE_MAX: usize = 65_536;

/// The files below one root.
#[derive(Debug)]
pub(super) struct Disk {
    anchor: Anchor,
    drafts: PathBuf,
    sidecars: Sidecars,
    doors: Vec<RwLock<()>>,
    /// Directories that exist, and whose way from the root is known to be synced.
    durable: Mutex<HashSet<PathBuf>>,
    /// Directories in which opening has made others, to be synced before the first put is answered: those that lead to
    /// the root, and those of our own files.
    ground: Mutex<Vec<PathBuf>>,
    tickets: AtomicU64,
}

/// What tells one content of a file from the next: when it was written, its size, and its inode.
///
/// The kernel's clock ticks every few milliseconds, too coarse to tell two writes of one size apart. So every file of
/// ours has its last six digits of nanoseconds set to a ticket of its own. A file that is overwritten by hand gets a time
/// from the kernel, and that one has other digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    nanoseconds: i128,
    pub(super) size: u64,
    inode: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let nanoseconds = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        Self {
            nanoseconds,
            size: metadata.len(),
            inode: metadata.ino(),
        }
    }

    pub(super) fn etag(self) -> String {
        format!("\"{}-{:x}\"", self.moment(), self.inode)
    }

    /// The stamp without what changes when the data directory moves to another disk.
    pub(super) fn moment(self) -> String {
        format!("{:x}-{:x}", self.nanoseconds, self.size)
    }

    pub(super) fn meta(self, key: Path) -> ObjectMeta {
        let milliseconds = i64::try_from(self.nanoseconds.div_euclid(1_000_000)).unwrap_or(i64::MAX);
        ObjectMeta {
            location: key,
            last_modified: chrono::DateTime::from_timestamp_millis(milliseconds).unwrap_or_default(),
            size: self.size,
            e_tag: Some(self.etag()),
            version: None,
        }
    }
}

/// An object that is open for reading: one content, whatever happens to its key meanwhile.
#[derive(Debug)]
pub(super) struct Opened {
    file: File,
    key: Path,
    pub(super) stamp: Stamp,
    pub(super) attributes: Attributes,
    left: u64,
}

impl Opened {
    /// Goes to where a range starts.
    pub(super) fn seek(&mut self, range: &Range<u64>) -> Result<()> {
        if range.start > 0 {
            self.file
                .seek(SeekFrom::Start(range.start))
                .map_err(|source| self.torn(source))?;
        }
        self.left = range.end - range.start;
        Ok(())
    }

    /// The next bytes, at most `most`; none at the end. The last ones come only if nobody has written over the file by
    /// hand since it was opened.
    pub(super) fn read(&mut self, most: u64) -> Result<Bytes> {
        let wanted = self.left.min(most);
        let mut bytes = Vec::with_capacity(usize::try_from(wanted).unwrap_or(0));
        (&self.file)
            .take(wanted)
            .read_to_end(&mut bytes)
            .map_err(|source| self.torn(source))?;
        self.left -= wanted;
        let whole = bytes.len() as u64 == wanted;
        let unchanged = self.left > 0
            || self.stamp
                == self
                    .file
                    .metadata()
                    .map(|m| Stamp::of(&m))
                    .map_err(|source| self.torn(source))?;
        if whole && unchanged {
            return Ok(bytes.into());
        }
        Err(self.torn(io::Error::other("it was overwritten in place while it was read")))
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.left == 0
    }

    fn torn(&self, source: io::Error) -> Error {
        Trouble {
            doing: "reading",
            path: PathBuf::from(self.key.as_ref()),
            source,
        }
        .in_doubt()
    }
}

impl Disk {
    /// The files below a directory that is ours alone. Entries may have been made in the directories `changed`, and are
    /// not synced.
    pub(super) fn open(anchor: Anchor, mut changed: Vec<PathBuf>) -> std::result::Result<Self, Trouble> {
        let root = anchor.root();
        let hidden = root.join(HIDDEN);
        let (drafts, metadata) = (hidden.join("tmp"), hidden.join("metadata"));
        for directory in [&drafts, &metadata] {
            fs::create_dir_all(directory).map_err(trouble("making the directory", directory))?;
        }
        // An earlier process may have died before it synced them.
        changed.extend([hidden, root.to_owned()]);
        let disk = Self {
            anchor,
            drafts,
            sidecars: Sidecars::new(metadata),
            doors: std::iter::repeat_with(RwLock::default).take(DOORS).collect(),
            durable: Mutex::default(),
            ground: Mutex::new(changed),
            // A process that starts in the very millisecond in which another one died has another number.
            tickets: AtomicU64::new(u64::from(std::process::id()) * 7919),
        };
        disk.clean()?;
        Ok(disk)
    }

    pub(super) fn root(&self) -> &FilePath {
        self.anchor.root()
    }

    /// Tries the disk with one file, as a put would: written, synced, renamed, read. Whether the file system keeps its
    /// time to the nanosecond, as [`Stamp`] needs.
    pub(super) fn keeps_what_it_is_given(&self) -> std::result::Result<bool, Trouble> {
        let body = Bytes::from_static(b"opentaco tries this disk");
        let draft = self.write_draft(&body.clone().into())?;
        let renamed = Leaving {
            path: self.new_draft().1,
            stamp: draft.stamp,
        };
        let path = &renamed.path;
        fs::rename(&draft.path, path).map_err(trouble("renaming", &draft.path))?;
        let describe = trouble("reading back", path);
        if fs::read(path).map_err(describe)? != body {
            return Err(describe(io::Error::other(
                "it holds other bytes than were written",
            )));
        }
        let seen = Stamp::of(&fs::metadata(path).map_err(describe)?);
        let ticket = i128::from(draft.ticket % 1_000_000);
        Ok(seen == draft.stamp && seen.nanoseconds.rem_euclid(1_000_000) == ticket)
    }

    /// Stores an object under its condition; durable when it returns.
    pub(super) fn put(
        &self,
        key: &Path,
        payload: &PutPayload,
        mode: &PutMode,
        attributes: &Attributes,
    ) -> Result<Stamp> {
        self.writing(key, || self.put_here(key, payload, mode, attributes))
    }

    fn put_here(
        &self,
        key: &Path,
        payload: &PutPayload,
        mode: &PutMode,
        attributes: &Attributes,
    ) -> Result<Stamp> {
        let path = self.path(key)?;
        let door = self.door(key);
        {
            // A condition that does not hold is answered before anything is written.
            let _looking = door.read().unwrap_or_else(PoisonError::into_inner);
            allow(mode, key, self.stamp(&path, key)?)?;
        }
        let mut draft = self.write_draft(payload).map_err(|t| t.before_anything(key))?;
        if !attributes.is_empty() {
            draft.describes = Some(key.clone());
            self.sidecars
                .write(key, draft.stamp, attributes)
                .map_err(|t| t.before_anything(key))?;
        }
        let _alone = door.write().unwrap_or_else(PoisonError::into_inner);
        let replaced = self.stamp(&path, key)?;
        allow(mode, key, replaced)?;
        let leaving = replaced
            .filter(|stamp| self.sidecars.knows(*stamp))
            .map(|stamp| self.link_leaving(&path, stamp));
        self.publish(&draft.path, &path)
            .map_err(|t| t.before_anything(key))?;
        draft.published = true;
        self.sync_way_to(&path).map_err(Trouble::in_doubt)?;
        if let Some(leaving) = leaving {
            self.sidecars.remove(key, leaving.stamp);
        }
        Ok(draft.stamp)
    }

    /// Opens an object. What is seen is durable: a put that is about to be waits at the same door.
    pub(super) fn get(&self, key: &Path) -> Result<Opened> {
        let path = self.path(key)?;
        let _looking = self.door(key).read().unwrap_or_else(PoisonError::into_inner);
        self.reading(key, || self.open_file(key, &path))
    }

    /// [`Disk::get`], unless it would have to wait.
    pub(super) fn get_at_once(&self, key: &Path) -> Option<Result<Opened>> {
        let path = match self.path(key) {
            Ok(path) => path,
            Err(error) => return Some(Err(error)),
        };
        let _looking = match self.door(key).try_read() {
            Ok(looking) => looking,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(self.reading(key, || self.open_file(key, &path)))
    }

    /// Removes an object; one that is not there is removed already.
    pub(super) fn delete(&self, key: &Path) -> Result<()> {
        self.writing(key, || self.delete_here(key))
    }

    fn delete_here(&self, key: &Path) -> Result<()> {
        let path = self.path(key)?;
        let alone = self.door(key).write().unwrap_or_else(PoisonError::into_inner);
        let Some(stamp) = self.stamp(&path, key)? else {
            return Ok(());
        };
        let directory = path.parent().unwrap_or(self.root());
        // Opened before: once the object has left it, another delete may take the directory away.
        let opened = match File::open(directory) {
            Ok(opened) => opened,
            Err(source) => return Err(trouble("opening", directory)(source).before_anything(key)),
        };
        let leaving = Leaving {
            path: self.new_draft().1,
            stamp,
        };
        match fs::rename(&path, &leaving.path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(trouble("deleting", &path)(source).before_anything(key)),
        }
        opened
            .sync_all()
            .map_err(trouble("syncing", directory))
            .map_err(Trouble::in_doubt)?;
        self.sidecars.remove(key, leaving.stamp);
        drop(leaving);
        drop(alone);
        self.prune(directory);
        Ok(())
    }

    /// Fills a page, in byte order of keys.
    pub(super) fn list(&self, page: &mut Page) -> Result<()> {
        let Some(below) = page.directory() else {
            return Ok(());
        };
        if below.parts().next().is_some_and(|first| first.as_ref() == HIDDEN) {
            return Ok(());
        }
        let (directory, keys) = if below.is_root() {
            (self.root().to_owned(), String::new())
        } else {
            (self.root().join(below.as_ref()), format!("{below}/"))
        };
        self.reading(&below, || self.walk(&directory, &keys, page).map(|_| ()))
    }

    /// Looks, and then makes sure that it was our directory that was looked at: nothing that was seen, or not seen, in
    /// another one is told.
    fn reading<T>(&self, key: &Path, look: impl FnOnce() -> Result<T>) -> Result<T> {
        let seen = look();
        self.anchor.holds().map_err(|t| t.elsewhere(key))?;
        seen
    }

    /// Changes our directory, and no other; if it went away meanwhile, nobody knows where the change is.
    fn writing<T>(&self, key: &Path, change: impl FnOnce() -> Result<T>) -> Result<T> {
        self.anchor.holds().map_err(|t| t.elsewhere(key))?;
        let done = change();
        self.anchor.holds().map_err(Trouble::in_doubt)?;
        done
    }

    fn walk(&self, directory: &FilePath, keys: &str, page: &mut Page) -> Result<ControlFlow<()>> {
        for (key, is_directory) in self.entries(directory, keys, page)? {
            let path = self.root().join(&key);
            let flow = if !is_directory {
                let name = Path::parse(&key)?;
                page.offer(&key, || {
                    Ok(self.stamp(&path, &name)?.map(|stamp| stamp.meta(name.clone())))
                })?
            } else if page.wants_below(&key) {
                self.walk(&path, &key, page)?
            } else {
                ControlFlow::Continue(())
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// What may be on the page of one directory, in byte order of keys; directories have their slash. Names that are no
    /// part of a key are passed over, and so are links to directories, which could lead in a circle.
    fn entries(&self, directory: &FilePath, keys: &str, page: &Page) -> Result<Vec<(String, bool)>> {
        let failed = |source| {
            Trouble {
                doing: "listing",
                path: directory.to_owned(),
                source,
            }
            .before_anything(&Path::ROOT)
        };
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if is_absence(&error) => return Ok(Vec::new()),
            // The owner of a whole disk finds this directory of the system's on it.
            Err(error) if error.kind() == ErrorKind::PermissionDenied && keys == "lost+found/" => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(failed(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let is_directory = match entry.file_type() {
                Ok(kind) => kind.is_dir(),
                Err(error) if is_absence(&error) => continue,
                Err(error) => return Err(failed(error)),
            };
            if (keys.is_empty() && name == HIDDEN) || object_store::path::PathPart::parse(&name).is_err() {
                continue;
            }
            let key = if is_directory {
                format!("{keys}{name}/")
            } else {
                format!("{keys}{name}")
            };
            if page.wants_below(&key) {
                found.push((key, is_directory));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Removes what a process that died has left.
    fn clean(&self) -> std::result::Result<(), Trouble> {
        let describe = trouble("cleaning", &self.drafts);
        for entry in fs::read_dir(&self.drafts).map_err(describe)? {
            let path = entry.map_err(describe)?.path();
            if let Ok(metadata) = fs::metadata(&path) {
                let stamp = Stamp::of(&metadata);
                let lives =
                    |key: &str| fs::metadata(self.root().join(key)).is_ok_and(|m| Stamp::of(&m) == stamp);
                self.sidecars.remove_leftover(stamp, lives);
            }
            fs::remove_file(&path).map_err(trouble("cleaning", &path))?;
        }
        Ok(())
    }

    fn path(&self, key: &Path) -> Result<PathBuf> {
        match key.parts().next() {
            None => Err(unsupported("an object needs a name".to_owned())),
            Some(first) if first.as_ref() == HIDDEN => Err(unsupported(format!(
                "`{key}` cannot be an object: the local disk keeps its own files in `{HIDDEN}`"
            ))),
            Some(_) => match folders(key).find(|folder| folder.ends_with(LOCK_COPY)) {
                None => Ok(self.root().join(key.as_ref())),
                Some(folder) => Err(unsupported(format!(
                    "`{key}` cannot be an object: `{folder}` is the name of a lock's file, and on a local disk a name \
                     is a file or a directory"
                ))),
            },
        }
    }

    fn door(&self, key: &Path) -> &RwLock<()> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let doors = self.doors.len() as u64;
        &self.doors[usize::try_from(hasher.finish() % doors).unwrap_or(0)]
    }

    fn stamp(&self, path: &FilePath, key: &Path) -> Result<Option<Stamp>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(metadata.is_file().then(|| Stamp::of(&metadata))),
            Err(error) if is_absence(&error) => Ok(None),
            Err(source) => Err(Trouble {
                doing: "looking at",
                path: path.to_owned(),
                source,
            }
            .before_anything(key)),
        }
    }

    fn open_file(&self, key: &Path, path: &FilePath) -> Result<Opened> {
        let absent = || Error::NotFound {
            path: key.to_string(),
            source: "there is no such file".into(),
        };
        // Looked at before it is opened: to open a named pipe would wait for its other end.
        if self.stamp(path, key)?.is_none() {
            self.leads_nowhere(path).map_err(Trouble::in_doubt)?;
            return Err(absent());
        }
        let failed = |source| {
            Trouble {
                doing: "opening",
                path: path.to_owned(),
                source,
            }
            .before_anything(key)
        };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if is_absence(&error) => return Err(absent()),
            Err(error) => return Err(failed(error)),
        };
        let stamp = Stamp::of(&file.metadata().map_err(failed)?);
        let attributes = self
            .sidecars
            .read(key, stamp)
            .map_err(|t| t.before_anything(key))?;
        Ok(Opened {
            file,
            key: key.clone(),
            stamp,
            attributes,
            left: stamp.size,
        })
    }

    /// Fails if the way to an object that is not there ends in something that is neither a directory nor an object: a
    /// link whose target is gone (another disk, unmounted) tells nothing about what is behind it.
    fn leads_nowhere(&self, path: &FilePath) -> std::result::Result<(), Trouble> {
        for place in path.ancestors().take_while(|place| *place != self.root()) {
            let describe = trouble("following", place);
            let there = match fs::symlink_metadata(place) {
                Ok(there) if there.is_symlink() => fs::metadata(place).map_err(describe)?,
                Ok(there) => there,
                Err(error) if is_absence(&error) => continue,
                Err(error) => return Err(describe(error)),
            };
            // What is at the very name may have come since.
            if there.is_dir() || there.is_file() || place == path {
                return Ok(());
            }
            return Err(describe(ErrorKind::NotADirectory.into()));
        }
        Ok(())
    }

    /// A name in the directory of drafts that no other has.
    fn new_draft(&self) -> (u64, PathBuf) {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        (ticket, self.drafts.join(ticket.to_string()))
    }

    /// Writes a file beside the tree, with its stamp, and syncs it.
    fn write_draft(&self, payload: &PutPayload) -> std::result::Result<Draft<'_>, Trouble> {
        let (ticket, path) = self.new_draft();
        let describe = trouble("writing", &path);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(describe)?;
        let mut draft = Draft {
            sidecars: &self.sidecars,
            path: path.clone(),
            stamp: Stamp {
                nanoseconds: 0,
                size: 0,
                inode: 0,
            },
            ticket,
            describes: None,
            published: false,
        };
        let mut write = || {
            for chunk in payload {
                file.write_all(chunk)?;
            }
            let written = file.metadata()?.modified()?;
            file.set_modified(with_ticket(written, ticket))?;
            file.sync_all()?;
            file.metadata()
        };
        draft.stamp = Stamp::of(&write().map_err(describe)?);
        Ok(draft)
    }

    /// Gives an object that is about to be replaced a second name among the drafts, so that a crash in between leaves a
    /// trace of the metadata that goes with it. Without it (a file system may have no links), only that is left over.
    fn link_leaving(&self, path: &FilePath, stamp: Stamp) -> Leaving {
        let leaving = Leaving {
            path: self.new_draft().1,
            stamp,
        };
        let _best_effort = fs::hard_link(path, &leaving.path);
        leaving
    }

    /// Renames a draft to where it belongs, and makes the directories for it.
    fn publish(&self, draft: &FilePath, path: &FilePath) -> std::result::Result<(), Trouble> {
        let failed = trouble("storing", path);
        let mut tries = 1;
        loop {
            let error = match fs::rename(draft, path) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::NotFound if tries < TRIES => {
                    self.make_directories(path.parent().unwrap_or(self.root()))?;
                }
                // A directory in which nothing is left is no object's.
                ErrorKind::IsADirectory if tries < TRIES && fs::remove_dir(path).is_ok() => {
                    self.remembered().remove(path);
                }
                _ => return Err(failed(error)),
            }
            tries += 1;
        }
    }

    fn make_directories(&self, directory: &FilePath) -> std::result::Result<(), Trouble> {
        if directory == self.root() {
            // It was there: whoever took it away wants no empty one in its place.
            return Err(trouble("storing in", directory)(ErrorKind::NotFound.into()));
        }
        let mut made = self.make_directory(directory);
        if matches!(&made, Err(error) if error.kind() == ErrorKind::NotFound) {
            self.make_directories(directory.parent().unwrap_or(self.root()))?;
            made = self.make_directory(directory);
        }
        match made {
            Ok(()) => Ok(()),
            // Somebody else made it, or a delete took away what is above it: the caller's next try tells.
            Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => Ok(()),
            Err(source) => Err(trouble("making the directory", directory)(source)),
        }
    }

    fn make_directory(&self, directory: &FilePath) -> io::Result<()> {
        fs::create_dir(directory)?;
        // New, whatever is remembered of an older one that was removed by hand.
        self.remembered().remove(directory);
        Ok(())
    }

    /// Syncs the directory of an object that has just been put there, and every directory on the way whose own entry is
    /// not known to be durable. None of them can be pruned meanwhile: the object is in it, and its door is ours.
    fn sync_way_to(&self, path: &FilePath) -> std::result::Result<(), Trouble> {
        self.sync_ground()?;
        let mut directory = path.parent().unwrap_or(self.root());
        sync_directory(directory)?;
        let mut synced = Vec::new();
        while directory != self.root() && !self.remembered().contains(directory) {
            let above = directory.parent().unwrap_or(self.root());
            sync_directory(above)?;
            synced.push(directory.to_owned());
            directory = above;
        }
        if !synced.is_empty() {
            let mut remembered = self.remembered();
            if remembered.len() >= DURABLE_MAX {
                remembered.clear();
            }
            remembered.extend(synced);
        }
        Ok(())
    }

    /// Syncs, once, where opening has made something. Whoever comes meanwhile waits until it is done.
    fn sync_ground(&self) -> std::result::Result<(), Trouble> {
        let mut ground = self.ground.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(directory) = ground.last() {
            sync_directory(directory)?;
            ground.pop();
        }
        Ok(())
    }

    /// Removes directories in which nothing is left, upwards. A put that loses its directory makes it again.
    fn prune(&self, directory: &FilePath) {
        let mut directory = directory;
        while directory != self.root() {
            let mut remembered = self.remembered();
            let was_durable = remembered.remove(directory);
            if fs::remove_dir(directory).is_err() {
                if was_durable {
                    remembered.insert(directory.to_owned());
                }
                return;
            }
            drop(remembered);
            directory = directory.parent().unwrap_or(self.root());
        }
    }

    fn remembered(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file beside the tree. Dropped, it is gone with its sidecar, unless it was published.
struct Draft<'d> {
    sidecars: &'d Sidecars,
    path: PathBuf,
    stamp: Stamp,
    ticket: u64,
    describes: Option<Path>,
    published: bool,
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        if let Some(key) = &self.describes {
            self.sidecars
                .remove_leftover(self.stamp, |described| described != key.as_ref());
        }
        let _gone = fs::remove_file(&self.path);
    }
}

/// The last name of a file that is no object any more.
struct Leaving {
    path: PathBuf,
    stamp: Stamp,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.path);
    }
}

/// Something that the disk did not do.
#[derive(Debug, thiserror::Error)]
#[error("{doing} `{}` failed", path.display())]
pub(super) struct Trouble {
    pub(super) doing: &'static str,
    pub(super) path: PathBuf,
    #[source]
    pub(super) source: io::Error,
}

impl Trouble {
    /// Nothing has changed.
    fn before_anything(self, key: &Path) -> Error {
        match self.source.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Error::PermissionDenied {
                path: key.to_string(),
                source: Box::new(self),
            },
            ErrorKind::IsADirectory => unsupported(format!(
                "`{key}` cannot be an object: there are objects below it, and on a local disk a name is a file or a \
                 directory"
            )),
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => unsupported(format!(
                "`{key}` cannot be an object: a part of its name is an object, and on a local disk a name is a file or \
                 a directory"
            )),
            ErrorKind::InvalidFilename => unsupported(format!(
                "`{key}` cannot be an object: a part of its name is longer than this disk takes"
            )),
            _ => self.in_doubt(),
        }
    }

    /// Nothing has changed, for our directory is not where it was.
    fn elsewhere(self, key: &Path) -> Error {
        match self.source.kind() {
            ErrorKind::PermissionDenied => self.before_anything(key),
            _ => self.in_doubt(),
        }
    }

    /// Nobody knows whether it has.
    pub(super) fn in_doubt(self) -> Error {
        Error::Generic {
            store: STORE,
            source: Box::new(self),
        }
    }
}

pub(super) fn trouble<'p>(
    doing: &'static str,
    path: &'p FilePath,
) -> impl Fn(io::Error) -> Trouble + Copy + 'p {
    move |source| Trouble {
        doing,
        path: path.to_owned(),
        source,
    }
}

pub(super) fn sync_directory(directory: &FilePath) -> std::result::Result<(), Trouble> {
    File::open(directory)
        .and_then(|opened| opened.sync_all())
        .map_err(trouble("syncing", directory))
}

/// The names on the way to an object.
fn folders(key: &Path) -> impl Iterator<Item = &str> {
    let (folders, _) = key.as_ref().rsplit_once('/').unwrap_or_default();
    folders.split('/')
}

fn unsupported(reason: String) -> Error {
    Error::NotSupported {
        source: reason.into(),
    }
}

/// Whether an error says that there is no such file, in any of the ways a path can lead nowhere.
fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename
    )
}

/// Whether a put of this mode may go on, given what is there.
fn allow(mode: &PutMode, key: &Path, present: Option<Stamp>) -> Result<()> {
    let stale = |seen: String| Error::Precondition {
        path: key.to_string(),
        source: seen.into(),
    };
    match (mode, present) {
        (PutMode::Overwrite, _) | (PutMode::Create, None) => Ok(()),
        (PutMode::Create, Some(stamp)) => {
            let source = format!("its ETag is {}", stamp.etag()).into();
            Err(Error::AlreadyExists {
                path: key.to_string(),
                source,
            })
        }
        (PutMode::Update(_), None) => Err(stale("there is no such object".to_owned())),
        (PutMode::Update(expected), Some(stamp)) => match &expected.e_tag {
            Some(etag) if *etag == stamp.etag() => Ok(()),
            Some(etag) => Err(stale(format!("its ETag is {}, not {etag}", stamp.etag()))),
            None => Err(unsupported(format!(
                "the update of `{key}` names no ETag to compare"
            ))),
        },
    }
}

/// The same millisecond, with other digits behind it.
fn with_ticket(time: SystemTime, ticket: u64) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let milliseconds = u64::try_from(since.as_millis()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds) + Duration::from_nanos(ticket % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::lock;

    fn opened() -> (tempfile::TempDir, PathBuf, Disk) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir(&root).unwrap();
        let disk = Disk::open(lock(&root).unwrap(), Vec::new()).unwrap();
        (directory, root, disk)
    }

    #[test]
    fn what_was_seen_while_the_directory_went_away_is_not_told() {
        let (directory, root, disk) = opened();
        let key = Path::parse("a").unwrap();
        let seen = disk.reading(&key, || {
            fs::rename(&root, directory.path().join("aside")).unwrap();
            disk.open_file(&key, &root.join("a"))
        });
        assert!(matches!(seen, Err(Error::Generic { .. })), "{seen:?}");
    }

    #[test]
    fn a_write_while_the_directory_goes_away_is_in_doubt_and_makes_no_empty_one_in_its_place() {
        let (directory, root, disk) = opened();
        let key = Path::parse("deep/er/a").unwrap();
        let done = disk.writing(&key, || {
            let draft = disk.write_draft(&PutPayload::from("x")).unwrap();
            fs::rename(&root, directory.path().join("aside")).unwrap();
            let published = disk.publish(&draft.path, &root.join(key.as_ref()));
            assert!(published.is_err());
            Ok(())
        });
        assert!(matches!(done, Err(Error::Generic { .. })), "{done:?}");
        assert!(!root.exists());
    }

    #[test]
    fn what_opening_has_made_is_synced_before_the_first_put_is_answered() {
        let (directory, root, disk) = opened();
        let put = |disk: &Disk, name: &str| {
            let (key, body) = (Path::parse(name).unwrap(), PutPayload::from("x"));
            disk.put(&key, &body, &PutMode::Overwrite, &Attributes::new())
        };
        assert!(disk.ground.lock().unwrap().contains(&root));
        put(&disk, "a").unwrap();
        assert!(disk.ground.lock().unwrap().is_empty());

        // Where that cannot be done, no put is answered with success, neither the first nor a later one.
        let lost = directory.path().join("lost");
        disk.ground.lock().unwrap().push(lost.clone());
        for name in ["a", "b"] {
            let answer = put(&disk, name);
            assert!(matches!(answer, Err(Error::Generic { .. })), "{answer:?}");
        }
        fs::create_dir(lost).unwrap();
        put(&disk, "b").unwrap();
    }
}
