//! `credentials.json`: who is logged in where, so that `taco` and the Terraform provider ask as them.
//!
//! ```text
//! ~/.config/opentaco/                    0700; $XDG_CONFIG_HOME/opentaco where that is set
//! ~/.config/opentaco/credentials.json    0600: by the origin of a server, the tokens of one login
//! ~/.config/opentaco/turn                locked by whoever changes it
//! ```
//!
//! A refresh token serves once, and commands run side by side. So whoever refreshes takes the turn, looks whether somebody
//! else has done it meanwhile, and saves what came of it before the turn is given back: ten commands that begin with an
//! access token that is over make one refresh.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use opentaco_api::auth::{RefreshRequest, Session};
use opentaco_domain::{Clock as _, Principal, Secret, SystemClock};
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::error::SdkError;
use crate::private;
use crate::server::Server;
use crate::token::{Token, TokenError, TokenProvider};

/// How long before its end an access token is replaced: what is asked with it has to arrive in time.
const EARLY: SignedDuration = SignedDuration::from_secs(60);

/// A login at one server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// Who.
    pub principal: Principal,
    access_token: String,
    /// Until when the access token is good.
    pub expires: Timestamp,
    refresh_token: String,
    /// Until when the login goes on, if it is not used.
    pub refresh_expires: Timestamp,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("principal", &self.principal)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl From<Session> for Login {
    fn from(session: Session) -> Self {
        Self {
            principal: session.principal,
            access_token: session.access_token.expose().to_owned(),
            expires: session.expires,
            refresh_token: session.refresh_token.expose().to_owned(),
            refresh_expires: session.refresh_expires,
        }
    }
}

impl Login {
    /// What opens the doors, while it is good.
    #[must_use]
    pub fn access(&self) -> Secret {
        Secret::new(self.access_token.as_str())
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Document {
    #[serde(default)]
    servers: BTreeMap<String, Login>,
}

/// Logins could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// The system does not let us.
    #[error("cannot {doing} `{}`", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What is there was not written by us. What is wrong with it is told without showing any of it.
    #[error("`{}` holds no logins", path.display())]
    NotOurs {
        /// Which file.
        path: PathBuf,
    },
}

impl StoredError {
    fn file(doing: &'static str, path: &Path, error: io::Error) -> Self {
        // One that a library has wrapped names a path that people do not know.
        let source = match error.raw_os_error() {
            Some(_) => error,
            None => error.kind().into(),
        };
        Self::File {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    /// What to try, if anything is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File { .. } => None,
            Self::NotOurs { .. } => Some("move it away, and log in again with `taco login`".to_owned()),
        }
    }
}

impl From<StoredError> for TokenError {
    fn from(error: StoredError) -> Self {
        let what = match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        Self {
            what,
            hint: error.hint(),
        }
    }
}

/// The file.
#[derive(Debug, Clone)]
pub struct Credentials {
    home: PathBuf,
}

impl Credentials {
    /// Where the environment says, whose variables the caller looks up; none if it names no home.
    #[must_use]
    pub fn found(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let config = variable("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".config")))?;
        Some(Self {
            home: config.join("opentaco"),
        })
    }

    /// The file itself.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.home.join("credentials.json")
    }

    /// The login at this server, if there is one.
    ///
    /// # Errors
    /// If the file cannot be read, or is none of ours.
    pub fn login(&self, server: &Server) -> Result<Option<Login>, StoredError> {
        Ok(self.read()?.servers.remove(server.origin()))
    }

    fn read(&self) -> Result<Document, StoredError> {
        let path = self.path();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Document::default()),
            Err(error) => return Err(StoredError::file("read the logins in", &path, error)),
        };
        serde_json::from_slice(&text).map_err(|_| StoredError::NotOurs { path })
    }

    /// Saves a login at this server, or forgets it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, server: &Server, login: Option<Login>) -> Result<(), StoredError> {
        let _turn = self.turn()?;
        self.write(server, login)
    }

    fn write(&self, server: &Server, login: Option<Login>) -> Result<(), StoredError> {
        let mut document = self.read()?;
        match login {
            Some(login) => document.servers.insert(server.origin().to_owned(), login),
            None => document.servers.remove(server.origin()),
        };
        let mut text = serde_json::to_vec_pretty(&document).expect("logins are JSON");
        text.push(b'\n');
        let path = self.path();
        private::write(&path, &text).map_err(|error| StoredError::file("save the login in", &path, error))
    }

    /// Waits until nobody else changes the file, and keeps others from it.
    fn turn(&self) -> Result<File, StoredError> {
        let turn = self.home.join("turn");
        let taken = make_parents(&self.home)
            .and_then(|()| private::directory(&self.home))
            .and_then(|()| File::create(&turn))
            .and_then(|file| file.lock().map(|()| file));
        taken.map_err(|error| StoredError::file("keep logins in", &self.home, error))
    }
}

fn make_parents(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent),
        None => Ok(()),
    }
}

/// Asks as whoever is logged in, and goes on with the login before it is over.
#[derive(Debug)]
pub struct LoggedIn {
    credentials: Credentials,
    /// Asks for the next session as nobody: what has expired is no help there.
    nobody: Client,
}

impl LoggedIn {
    /// Whoever is logged in by these credentials; `nobody` is a client of the same server without a token.
    #[must_use]
    pub fn new(credentials: Credentials, nobody: Client) -> Self {
        Self { credentials, nobody }
    }

    async fn refreshed(&self, server: &Server, refused: Option<&Token>) -> Result<Option<Login>, TokenError> {
        let credentials = self.credentials.clone();
        // On a thread of its own: somebody else may keep the turn for as long as their request takes.
        let turn = tokio::task::spawn_blocking(move || credentials.turn());
        let _turn = turn.await.map_err(|error| TokenError {
            what: format!("nobody can wait for a turn: {error}"),
            hint: None,
        })??;
        let Some(login) = self.credentials.login(server)? else {
            return Ok(None);
        };
        let is_good = match refused {
            Some(refused) => refused.expose() != login.access_token,
            None => is_fresh(&login),
        };
        if is_good {
            return Ok(Some(login));
        }
        let request = RefreshRequest {
            refresh_token: Secret::new(login.refresh_token.as_str()),
        };
        match self.nobody.refresh(&request).await {
            Ok(session) => {
                let login = Login::from(session);
                self.credentials.write(server, Some(login.clone()))?;
                Ok(Some(login))
            }
            Err(SdkError::NotAuthenticated { .. }) => Err(TokenError {
                what: format!("the login of {} at {server} is over", login.principal),
                hint: Some("log in again with `taco login`".to_owned()),
            }),
            // It has a minute left, and the service may be back by then.
            Err(_) if refused.is_none() && login.expires > SystemClock.now() => Ok(Some(login)),
            Err(error) => Err(TokenError {
                what: format!("the login of {} cannot be gone on with: {error}", login.principal),
                hint: error.hint(),
            }),
        }
    }
}

fn is_fresh(login: &Login) -> bool {
    login.expires.duration_since(SystemClock.now()) > EARLY
}

fn token(login: &Login) -> Result<Token, TokenError> {
    Token::parse(&login.access_token).map_err(|error| TokenError {
        what: format!("the saved login holds no token: {error}"),
        hint: Some("log in again with `taco login`".to_owned()),
    })
}

#[async_trait]
impl TokenProvider for LoggedIn {
    async fn token(&self, server: &Server) -> Result<Option<Token>, TokenError> {
        let login = self.credentials.login(server)?;
        let login = match login {
            Some(login) if !is_fresh(&login) => self.refreshed(server, None).await?,
            other => other,
        };
        login.as_ref().map(token).transpose()
    }

    async fn instead_of(&self, server: &Server, refused: &Token) -> Result<Option<Token>, TokenError> {
        let login = self.refreshed(server, Some(refused)).await?;
        login.as_ref().map(token).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> Server {
        Server::parse(text).unwrap()
    }

    fn login(name: &str) -> Login {
        Login {
            principal: Principal::new(name),
            access_token: format!("access-of-{name}"),
            expires: "2026-11-23T12:00:00Z".parse().unwrap(),
            refresh_token: format!("refresh-of-{name}"),
            refresh_expires: "2026-12-23T12:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_login_is_kept_by_origin_for_its_owner_alone_and_is_never_shown() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let credentials = Credentials {
            home: directory.path().join("config/opentaco"),
        };
        let (here, there) = (
            server("https://taco.example.com"),
            server("https://taco.example.com:8443"),
        );
        assert_eq!(credentials.login(&here).unwrap(), None);
        credentials.save(&here, Some(login("ada"))).unwrap();
        credentials.save(&there, Some(login("bob"))).unwrap();
        let same = server("https://TACO.example.com/behind/a/proxy");
        assert_eq!(credentials.login(&same).unwrap(), Some(login("ada")));
        for other in ["http://taco.example.com", "https://taco.example.com.evil.org"] {
            assert_eq!(credentials.login(&server(other)).unwrap(), None, "{other}");
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&credentials.path()), 0o600);
        assert_eq!(mode(&credentials.home), 0o700);
        credentials.save(&here, None).unwrap();
        assert_eq!(credentials.login(&here).unwrap(), None);
        assert_eq!(credentials.login(&there).unwrap(), Some(login("bob")));
        let shown = format!("{:?}", login("ada"));
        assert!(
            !shown.contains("access-of") && !shown.contains("refresh-of"),
            "{shown}"
        );
    }

    #[test]
    fn a_file_that_is_none_of_ours_is_told_without_a_word_of_it_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let credentials = Credentials {
            home: directory.path().to_owned(),
        };
        fs::write(credentials.path(), "{\"servers\": {\"x\": \"secret\"").unwrap();
        let here = server("http://localhost:8080");
        let failure = credentials.save(&here, Some(login("ada"))).unwrap_err();
        assert!(!format!("{failure:?}").contains("secret"), "{failure:?}");
        assert!(fs::read_to_string(credentials.path()).unwrap().contains("secret"));
    }
}
