//! `.taco/`: the locks that were taken from this directory, so that nobody has to remember their ids.
//!
//! ```text
//! .taco/                                       0700
//! .taco/.gitignore                             *
//! .taco/turn                                   locked by whoever looks whether there is a lock, and saves one
//! .taco/locks/myapp__prod-1f0c….json           0600, one for each server and unit
//! ```
//!
//! A lock is saved before it is asked for: whatever happens to the answer, its id is known here. It stays until the
//! service has said that it is over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use opentaco_domain::{LockId, Sha256, UnitId, VersionId};
use opentaco_sdk::{Server, private};
use serde::{Deserialize, Serialize};

use crate::error::{Failure, Kind};

/// The locks saved below one directory.
#[derive(Debug, Clone)]
pub struct SavedLocks {
    home: PathBuf,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedLock {
    /// The service that it was asked of.
    pub server: String,
    /// The unit that it is on.
    pub unit: UnitId,
    /// Its id.
    pub lock: LockId,
    /// When it was asked for.
    pub since: Timestamp,
    /// Set once it was released with a state: a second `release` of the same is then known to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Released>,
}

/// How a lock ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// What the file hashed to that was released.
    pub sha256: Sha256,
    /// The version it became.
    pub version: VersionId,
    /// When.
    pub at: Timestamp,
}

impl SavedLocks {
    /// Those of the directory `home`.
    #[must_use]
    pub fn below(home: &Path) -> Self {
        Self {
            home: home.join(".taco"),
        }
    }

    /// The lock that is held on a unit, as far as is known here.
    ///
    /// # Errors
    /// If there is a file and it cannot be read.
    pub fn held(&self, server: &Server, unit: &UnitId) -> Result<Option<SavedLock>, Failure> {
        Ok(self.find(server, unit)?.filter(|saved| saved.released.is_none()))
    }

    /// What is saved for a unit, also if it is over.
    ///
    /// # Errors
    /// If there is a file and it cannot be read.
    pub fn find(&self, server: &Server, unit: &UnitId) -> Result<Option<SavedLock>, Failure> {
        let path = self.path(server, unit);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(Failure::file("read the saved lock", &path, &error)),
        };
        let saved: SavedLock = serde_json::from_slice(&bytes).map_err(|error| {
            Failure::new(
                Kind::Failure,
                format!("the saved lock `{}` is not readable", path.display()),
            )
            .because(&error)
            .hint(format!(
                "remove the file; `taco unit info {unit}` shows who holds the lock"
            ))
        })?;
        Ok((saved.server == server.as_str() && saved.unit == *unit).then_some(saved))
    }

    /// Saves a lock unless one is held already; tells which of them is saved then.
    ///
    /// Of two that are started at once the second finds the lock of the first, and does not write over its id.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn reserve(&self, server: &Server, wanted: SavedLock) -> Result<SavedLock, Failure> {
        let _turn = self.turn();
        match self.held(server, &wanted.unit)? {
            Some(held) => Ok(held),
            None => self.save(server, &wanted).map(|()| wanted),
        }
    }

    /// Waits until nobody else reserves, and keeps others from it; nobody is waited for where files cannot be locked.
    fn turn(&self) -> Option<fs::File> {
        self.prepare().ok()?;
        let turn = fs::File::create(self.home.join("turn")).ok()?;
        turn.lock().ok()?;
        Some(turn)
    }

    /// Saves a lock in the place of what was saved for that unit.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, server: &Server, saved: &SavedLock) -> Result<(), Failure> {
        let path = self.path(server, &saved.unit);
        let written = self.prepare().and_then(|()| {
            let mut bytes = serde_json::to_vec_pretty(saved).expect("a saved lock is JSON");
            bytes.push(b'\n');
            private::write(&path, &bytes)
        });
        written.map_err(|error| {
            Failure::file("save the lock in", &path, &error)
                .hint("nothing was locked; run taco where it may write `.taco/`")
        })
    }

    /// Forgets what is saved for a unit.
    ///
    /// # Errors
    /// If it is there and cannot be removed.
    pub fn forget(&self, server: &Server, unit: &UnitId) -> Result<(), Failure> {
        let path = self.path(server, unit);
        match fs::remove_file(&path) {
            Err(error) if !is_absence(&error) => Err(Failure::file("remove the saved lock", &path, &error)),
            _ => Ok(()),
        }
    }

    fn prepare(&self) -> io::Result<()> {
        private::directory(&self.home)?;
        private::directory(&self.home.join("locks"))?;
        let ignore = self.home.join(".gitignore");
        if ignore.exists() {
            return Ok(());
        }
        private::write(&ignore, b"*\n")
    }

    /// A readable beginning, and what tells it from every other server and unit.
    fn path(&self, server: &Server, unit: &UnitId) -> PathBuf {
        let key = Sha256::of(format!("{server}\n{unit}").as_bytes()).to_string();
        let readable: String = unit
            .to_segment()
            .chars()
            .filter(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(*letter))
            .take(80)
            .collect();
        self.home
            .join("locks")
            .join(format!("{readable}-{}.json", &key[..16]))
    }
}

/// Nothing is saved here; that nothing can be is told when it is tried.
fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> Server {
        Server::parse(text).unwrap()
    }

    fn lock(server: &Server, unit: &str, id: &str) -> SavedLock {
        SavedLock {
            server: server.to_string(),
            unit: UnitId::parse(unit).unwrap(),
            lock: LockId::parse(id).unwrap(),
            since: Timestamp::UNIX_EPOCH,
            released: None,
        }
    }

    #[test]
    fn the_same_unit_of_two_servers_has_two_locks() {
        let home = tempfile::tempdir().unwrap();
        let locks = SavedLocks::below(home.path());
        let servers = ["http://a", "http://a:81", "http://a/b"].map(server);
        for (at, server) in servers.iter().enumerate() {
            locks.save(server, &lock(server, "x", &at.to_string())).unwrap();
        }
        for (at, server) in servers.iter().enumerate() {
            let held = locks.held(server, &UnitId::parse("x").unwrap()).unwrap().unwrap();
            assert_eq!(held.lock.as_str(), at.to_string());
        }
        locks.forget(&servers[0], &UnitId::parse("x").unwrap()).unwrap();
        assert!(
            locks
                .held(&servers[0], &UnitId::parse("x").unwrap())
                .unwrap()
                .is_none()
        );
        assert!(
            locks
                .held(&servers[1], &UnitId::parse("x").unwrap())
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn of_many_that_reserve_at_once_one_is_saved_and_all_are_told_it() {
        let home = tempfile::tempdir().unwrap();
        let locks = SavedLocks::below(home.path());
        let server = server("http://a");
        for round in 0..20 {
            let unit = format!("x{round}");
            let told: std::collections::BTreeSet<_> = std::thread::scope(|scope| {
                let all: Vec<_> = (0..8)
                    .map(|at| {
                        let wanted = lock(&server, &unit, &at.to_string());
                        scope.spawn(|| locks.reserve(&server, wanted).unwrap().lock.to_string())
                    })
                    .collect();
                all.into_iter().map(|one| one.join().unwrap()).collect()
            });
            let held = locks
                .held(&server, &UnitId::parse(&unit).unwrap())
                .unwrap()
                .unwrap();
            assert_eq!(told, [held.lock.to_string()].into());
        }
    }

    #[test]
    fn the_longest_unit_id_has_a_file_name() {
        let home = tempfile::tempdir().unwrap();
        let locks = SavedLocks::below(home.path());
        let server = server("http://a");
        for letter in ["a", "ü"] {
            let unit = vec![letter.repeat(100 / letter.len()); 7].join("/");
            locks.save(&server, &lock(&server, &unit, "1")).unwrap();
            assert!(
                locks
                    .held(&server, &UnitId::parse(&unit).unwrap())
                    .unwrap()
                    .is_some()
            );
        }
    }

    #[test]
    fn what_is_saved_and_not_readable_is_an_error_and_not_nothing() {
        let home = tempfile::tempdir().unwrap();
        let locks = SavedLocks::below(home.path());
        let server = server("http://a");
        let saved = lock(&server, "x", "1");
        locks.save(&server, &saved).unwrap();
        fs::write(locks.path(&server, &saved.unit), "{").unwrap();
        let failure = locks.held(&server, &saved.unit).unwrap_err();
        assert!(failure.text().contains("is not readable"), "{}", failure.text());
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_can_read_what_is_saved_and_git_does_not_see_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let locks = SavedLocks::below(home.path());
        let server = server("http://a");
        let saved = lock(&server, "x", "1");
        locks.save(&server, &saved).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&locks.home), 0o700);
        assert_eq!(mode(&locks.path(&server, &saved.unit)), 0o600);
        assert_eq!(fs::read_to_string(locks.home.join(".gitignore")).unwrap(), "*\n");
    }
}
