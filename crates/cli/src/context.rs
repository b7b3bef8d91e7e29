//! What every command has at hand: the service, credentials and output, resolved once. Only here
//! is the environment read.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use opentaco_domain::{Clock, SystemClock};
use opentaco_sdk::client::Builder;
use opentaco_sdk::stored::{Credentials, LoggedIn};
use opentaco_sdk::token::TokenProvider as _;
use opentaco_sdk::{Client, SdkError, Server, StaticToken, Token};
use tracing_subscriber::EnvFilter;

use crate::args::{Color, Global};
use crate::error::{Failure, Kind};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::saved_locks::SavedLocks;

/// Where the service is if nobody says where.
pub(crate) const SERVER: &str = "http://localhost:8080";

/// What every command has at hand.
#[derive(Debug)]
pub struct Context {
    /// The service.
    pub server: Server,
    /// How to answer.
    pub output: Output,
    /// The locks of this directory.
    pub locks: SavedLocks,
    /// Ctrl-C.
    pub interrupt: Interrupt,
    /// What time it is.
    pub clock: SystemClock,
    token: Option<Token>,
    ca_file: Option<PathBuf>,
    client: OnceCell<Client>,
}

impl Context {
    /// Understands what holds for every command.
    ///
    /// # Errors
    /// If the address or the token cannot be one; with how to report it.
    pub fn resolve(global: &Global) -> Result<Self, Box<(Output, Failure)>> {
        colours(global.color);
        log(global.verbose);
        let clock = SystemClock;
        let output = Output::new(global.json, clock.now());
        let server = setting(global.server.as_deref(), "OPENTACO_SERVER");
        let server = server.as_deref().unwrap_or(SERVER);
        let server = Server::parse(server).map_err(|error| {
            let failure = Failure::new(Kind::Usage, "--server is no address of a service").because(&error);
            let failure = failure.hint("write it as http://localhost:8080; OPENTACO_SERVER sets it, too");
            Box::new((output, failure))
        })?;
        let token = setting(global.token.as_deref(), "OPENTACO_TOKEN");
        let token = token.as_deref().map(Token::parse).transpose().map_err(|error| {
            let failure = Failure::new(Kind::Usage, "--token is no token").because(&error);
            Box::new((output, failure))
        })?;
        Ok(Self {
            server,
            output,
            locks: SavedLocks::below(std::path::Path::new("")),
            interrupt: Interrupt::default(),
            clock,
            token,
            ca_file: global
                .ca_file
                .clone()
                .or_else(|| variable("OPENTACO_CA_FILE").map(PathBuf::from)),
            client: OnceCell::new(),
        })
    }

    /// The client, made when it is first asked for: certificates take their time. It asks with the token that was given,
    /// or else as whoever is logged in.
    ///
    /// # Errors
    /// If the certificates to trust cannot be read.
    pub fn client(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = match &self.token {
            Some(token) => {
                self.built(|builder| builder.tokens(StaticToken::new(&self.server, token.clone())))?
            }
            None => self.logged_in()?,
        };
        Ok(self.client.get_or_init(|| client))
    }

    /// A client that asks as whoever is logged in, whatever token was given.
    ///
    /// # Errors
    /// As [`Context::client`].
    pub fn logged_in(&self) -> Result<Client, Failure> {
        match Credentials::found(variable) {
            None => self.nobody(),
            Some(credentials) => {
                let provider = LoggedIn::new(credentials, self.nobody()?);
                self.built(|builder| builder.tokens(provider))
            }
        }
    }

    /// A client that asks as nobody.
    ///
    /// # Errors
    /// As [`Context::client`].
    pub fn nobody(&self) -> Result<Client, Failure> {
        self.built(|builder| builder)
    }

    fn built(&self, with: impl FnOnce(Builder) -> Builder) -> Result<Client, Failure> {
        let agent = concat!("taco/", env!("CARGO_PKG_VERSION"));
        let mut builder = with(Client::builder(self.server.clone()).agent(agent));
        if let Some(pem) = self.trusted()? {
            builder = builder.trust(pem);
        }
        builder.build().map_err(Failure::from)
    }

    fn trusted(&self) -> Result<Option<Vec<u8>>, Failure> {
        let Some(path) = &self.ca_file else {
            return Ok(None);
        };
        let pem = std::fs::read(path);
        pem.map(Some)
            .map_err(|error| Failure::file("read the certificates in", path, &error))
    }

    /// Whether a token was given.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The certificates to trust beside the system's, if some were named.
    #[must_use]
    pub fn ca_file(&self) -> Option<&std::path::Path> {
        self.ca_file.as_deref()
    }

    /// What asks others than the service: an identity provider. It takes no token along, and follows no redirect.
    ///
    /// # Errors
    /// If the certificates to trust cannot be read.
    pub fn http(&self, patience: Duration) -> Result<reqwest::Client, Failure> {
        let unusable = |error: &dyn std::error::Error| {
            Failure::new(Kind::Failure, "TLS cannot be set up").because(error)
        };
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(patience);
        if let Some(pem) = self.trusted()? {
            for certificate in
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| unusable(&error))?
            {
                builder = builder.add_root_certificate(certificate);
            }
        }
        builder.build().map_err(|error| unusable(&error))
    }

    /// Where logins are kept.
    ///
    /// # Errors
    /// If the environment names no home.
    pub fn credentials(&self) -> Result<Credentials, Failure> {
        Credentials::found(variable).ok_or_else(|| {
            Failure::new(Kind::Usage, "there is nowhere to keep a login").hint("set HOME or XDG_CONFIG_HOME")
        })
    }

    /// The token to ask with: the one that was given, or that of the login, gone on with if need be.
    ///
    /// # Errors
    /// If the login is over, or cannot be read.
    pub async fn token(&self) -> Result<Option<Token>, Failure> {
        if let Some(token) = &self.token {
            return Ok(Some(token.clone()));
        }
        let Some(credentials) = Credentials::found(variable) else {
            return Ok(None);
        };
        let provider = LoggedIn::new(credentials, self.nobody()?);
        let token = provider.token(&self.server).await;
        token.map_err(|error| Failure::from(SdkError::Token(error)))
    }

    /// Who is at work here, for those who have to wait: `alice@laptop`.
    #[must_use]
    pub fn who(&self) -> String {
        let named = |variables: &[&str]| {
            variables
                .iter()
                .find_map(|name| std::env::var(name).ok())
                .filter(|name| !name.is_empty())
        };
        let user = named(&["USER", "LOGNAME", "USERNAME"]).unwrap_or_else(|| "somebody".to_owned());
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
            .ok()
            .map(|host| host.trim().to_owned())
            .or_else(|| named(&["HOSTNAME", "COMPUTERNAME"]))
            .unwrap_or_else(|| "somewhere".to_owned());
        format!("{user}@{host}")
    }
}

/// What was given, or else what its variable says.
pub(crate) fn setting(given: Option<&str>, name: &str) -> Option<String> {
    let given = given.map(str::to_owned);
    given.or_else(|| variable(name).map(|value| value.to_string_lossy().into_owned()))
}

/// A variable of the environment; one that is empty says nothing.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn colours(when: Color) {
    let choice = match when {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
}

/// What is asked of the service, on standard error.
fn log(verbose: u8) {
    let filter = match verbose {
        0 => return,
        1 => "opentaco_sdk=info,opentaco_cli=info",
        _ => "opentaco_sdk=debug,opentaco_cli=debug",
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .without_time();
    // Only a second call fails, and there is none.
    let _ = subscriber.try_init();
}
