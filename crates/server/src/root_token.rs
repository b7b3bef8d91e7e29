//! The root token: the one way in until people can log in.
//!
//! It is set by the operator, or drawn once and kept in `<data-dir>/root-token`, readable by the owner alone. The file
//! appears whole or not at all, and two processes that start at once end up with the same token.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use opentaco_domain::Secret;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::kept;

/// Fewer characters than this can be guessed by somebody who tries.
const LENGTH_MIN: usize = 16;

/// The file in the data directory that keeps a token we drew ourselves.
const FILE_NAME: &str = "root-token";

/// A secret text. Holding one proves that a client can send it in a header.
#[derive(Clone)]
pub struct RootToken(String);

impl fmt::Debug for RootToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootToken(…)")
    }
}

/// Why there is no root token. Never shows one.
#[derive(Debug, thiserror::Error)]
pub enum RootTokenError {
    /// Too short to be a secret.
    #[error("a root token has at least {LENGTH_MIN} characters")]
    TooShort,
    /// It could not be sent in a header.
    #[error("a root token is made of visible ASCII characters, without spaces")]
    Unprintable,
    /// The file could not be read or written.
    #[error("the root token file {} cannot be {doing}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Read, or written.
        doing: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What stands in the file is no token.
    #[error("what stands in {} is no root token", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<RootTokenError>,
    },
}

impl RootToken {
    /// Takes an operator's choice, without the white space that files and shells leave around it.
    ///
    /// # Errors
    /// If it is too short to be a secret, or cannot stand in a header.
    pub fn parse(text: &str) -> Result<Self, RootTokenError> {
        let text = text.trim();
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(RootTokenError::Unprintable);
        }
        if text.len() < LENGTH_MIN {
            return Err(RootTokenError::TooShort);
        }
        Ok(Self(text.to_owned()))
    }

    /// Reads an operator's file.
    ///
    /// # Errors
    /// If the file cannot be read, or holds no token.
    pub fn read(path: &Path) -> Result<Self, RootTokenError> {
        let text = fs::read_to_string(path).map_err(trouble(path, "read"))?;
        Self::parse(&text).map_err(|source| RootTokenError::Content {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    /// The token that is kept in the data directory, drawn now if there is none; and the file it stands in.
    ///
    /// # Errors
    /// If the file or its directory cannot be made or read. A file that holds no token is an error, and is not
    /// replaced: it may be somebody's.
    pub fn kept_in(data_dir: &Path) -> Result<(Self, PathBuf), RootTokenError> {
        let path = data_dir.join(FILE_NAME);
        if !path.exists() {
            let drawn = Secret::new(Self::draw().0);
            kept::keep_once(&path, &drawn).map_err(trouble(&path, "written"))?;
        }
        Ok((Self::read(&path)?, path))
    }

    /// Whether `offered` is this token, in a time that does not tell how much of it was right.
    #[must_use]
    pub fn is(&self, offered: &str) -> bool {
        self.0.as_bytes().ct_eq(offered.as_bytes()).into()
    }

    /// Two random UUIDs: 244 random bits, and a prefix by which scanners for leaked secrets can know it.
    fn draw() -> Self {
        Self(format!(
            "otroot_{}{}",
            Uuid::new_v4().simple(),
            Uuid::new_v4().simple()
        ))
    }
}

/// Whether others than the owner may read the file.
///
/// # Errors
/// If the file cannot be looked at.
pub fn is_readable_by_others(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}

fn trouble(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> RootTokenError {
    let path = path.to_owned();
    move |source| RootTokenError::File { path, doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_token_is_kept_for_the_next_start_and_only_the_owner_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("not/yet/there");
        let (first, path) = RootToken::kept_in(&data_dir).unwrap();
        let (second, _) = RootToken::kept_in(&data_dir).unwrap();
        assert!(first.is(&second.0));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!is_readable_by_others(&path).unwrap());
        let files: Vec<_> = fs::read_dir(&data_dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(files, [FILE_NAME], "no draft is left behind");
    }

    #[test]
    fn of_processes_that_start_at_once_all_end_up_with_one_token() {
        let directory = tempfile::tempdir().unwrap();
        let tokens: Vec<String> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| RootToken::kept_in(directory.path()).unwrap().0.0))
                .collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    }

    #[test]
    fn a_token_that_no_header_can_carry_or_anybody_can_guess_is_refused() {
        assert!(matches!(RootToken::parse(""), Err(RootTokenError::TooShort)));
        assert!(matches!(
            RootToken::parse("fifteen-letters"),
            Err(RootTokenError::TooShort)
        ));
        assert!(matches!(
            RootToken::parse("sixteen letters and more"),
            Err(RootTokenError::Unprintable)
        ));
        assert!(matches!(
            RootToken::parse("zwölf-Boxkämpfer-jagen"),
            Err(RootTokenError::Unprintable)
        ));
        assert!(
            RootToken::parse("  sixteen-letters!\n")
                .unwrap()
                .is("sixteen-letters!")
        );
    }

    #[test]
    fn a_file_that_holds_no_token_is_an_error_that_names_the_file_and_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        fs::write(&path, "short").unwrap();
        let error = RootToken::kept_in(directory.path()).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "short");
    }

    #[test]
    fn debug_tells_nothing() {
        let token = RootToken::parse("a-secret-of-somebody").unwrap();
        assert_eq!(format!("{token:?}"), "RootToken(…)");
        assert!(!token.is("a-secret-of-somebodz"));
        assert!(!token.is("a-secret-of-somebod"));
        assert!(!token.is(""));
    }
}
