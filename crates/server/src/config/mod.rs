//! What the operator says, by flags and by variables: read once, understood once, and then nobody looks at the
//! environment again.
//!
//! A flag wins over its variable. Every flag may be written with one dash or with two. What does not parse is shown
//! with the name of the variable or flag it came from, unless it is a secret.

mod flags;
mod given;
mod identity;
mod store;
mod values;

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use opentaco_control::StoreConfig;
use opentaco_domain::{UnitId, limits};

use crate::bodies::BodyLimits;
use crate::logging::Logging;
use crate::pace::Pace;
use crate::root_token::RootToken;
use crate::s3::BUCKET_DEFAULT;
use crate::tls::TlsFiles;

pub use flags::{FLAGS, Flag};
use given::Given;
pub use identity::{IdentityConfig, ProviderConfig, StsConfig, TokensConfig};

/// Exit codes of `opentacosvc`, as its help documents them.
pub mod exit {
    /// It did what it was asked to, and ended.
    pub const DONE: u8 = 0;
    /// It could not.
    pub const FAILED: u8 = 1;
    /// It did not understand what it was asked.
    pub const USAGE: u8 = 2;
    /// `doctor`: the store does not keep its word.
    pub const UNSAFE_STORE: u8 = 3;
    /// `doctor`: the store could not be asked.
    pub const STORE_UNREACHABLE: u8 = 4;
}

/// What was asked for on the command line.
#[derive(Debug)]
pub enum Asked {
    /// To print this.
    Print(String),
    /// To serve.
    Serve(Box<Config>),
    /// To ask the store whether it keeps its word.
    Doctor(StoreConfig),
    /// To make a key that signs tokens, and put it into this file, or print it.
    NewKey(Option<PathBuf>),
}

/// Everything there is to know before the service starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; the first that can be bound.
    pub listen: Vec<SocketAddr>,
    /// Where to write the address that was bound.
    pub port_file: Option<PathBuf>,
    /// The certificate, if TLS is spoken.
    pub tls: Option<TlsFiles>,
    /// Where to listen for `/metrics` alone; the first that can be bound.
    pub metrics: Option<Vec<SocketAddr>>,
    /// Where states rest.
    pub store: StoreConfig,
    /// Whether other processes may serve from the same store.
    pub shared: bool,
    /// Serve from memory if the store cannot be opened.
    pub fallback_memory: bool,
    /// Serve from a store without conditional writes.
    pub single_replica: bool,
    /// Versions kept of each unit.
    pub versions_max: usize,
    /// Age below which no version is dropped.
    pub versions_min_age: Duration,
    /// How much clients may send.
    pub bodies: BodyLimits,
    /// What the bucket of the S3 door is called.
    pub s3_door_bucket: String,
    /// Who may come in.
    pub auth: Auth,
    /// Who somebody is.
    pub identity: IdentityConfig,
    /// Whether a change is answered only when its event is in the bucket.
    pub audit_sync: bool,
    /// The unit that holds the graph of dependencies.
    pub system_unit: UnitId,
    /// How often an address may ask for tokens.
    pub tokens_per_minute: NonZeroU32,
    /// Our own files.
    pub data_dir: PathBuf,
    /// The log.
    pub logging: Logging,
}

/// Who may come in.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Anybody.
    Disabled,
    /// Whoever knows this token of the operator's.
    Token(RootToken),
    /// Whoever knows the token in this file of the operator's.
    TokenFile(PathBuf),
    /// Whoever knows the token that is kept in the data directory.
    KeptToken,
}

/// Why the command line or the environment cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// A variable of the environment, if it is set.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Understands a command line (without the program's name) and an environment.
///
/// # Errors
/// What is not understood, where it came from and what would be.
pub fn understand(arguments: &[String], environment: Environment<'_>) -> Result<Asked, ConfigError> {
    let (command, given) = match given::read(arguments, environment)? {
        given::Read::Print(text) => return Ok(Asked::Print(text)),
        given::Read::NewKey(out) => return Ok(Asked::NewKey(out)),
        given::Read::Given(command, given) => (command, given),
    };
    let data_dir = given
        .path("data-dir")
        .unwrap_or_else(|| PathBuf::from("opentaco-data"));
    let store = store::choose(&given, environment, &data_dir)?;
    match command {
        given::Command::Doctor => Ok(Asked::Doctor(store)),
        given::Command::Serve => Ok(Asked::Serve(Box::new(config(
            &given,
            environment,
            store,
            data_dir,
        )?))),
    }
}

fn config(
    given: &Given,
    environment: Environment<'_>,
    store: StoreConfig,
    data_dir: PathBuf,
) -> Result<Config, ConfigError> {
    let defaults = BodyLimits::default();
    Ok(Config {
        listen: listen(given, given.parse("port", values::port)?.unwrap_or(8080))?,
        port_file: given.path("port-file"),
        tls: tls(given)?,
        metrics: given
            .parse("metrics-port", values::port)?
            .map(|port| listen(given, port))
            .transpose()?,
        shared: !matches!(store, StoreConfig::Memory | StoreConfig::Local { .. }),
        store,
        fallback_memory: given.switch("fallback-memory")?,
        single_replica: given.switch("single-replica")?,
        versions_max: given
            .parse("max-versions", values::count)?
            .unwrap_or(limits::VERSIONS_MAX_DEFAULT),
        versions_min_age: given
            .parse("versions-min-age", values::duration)?
            .unwrap_or(Duration::from_secs(24 * 60 * 60)),
        bodies: BodyLimits {
            one_bytes_max: given
                .parse("max-body-size", values::bytes)?
                .unwrap_or(defaults.one_bytes_max),
            in_flight_bytes_max: given
                .parse("max-bodies-in-flight", values::bytes)?
                .unwrap_or(defaults.in_flight_bytes_max),
            ..defaults
        },
        s3_door_bucket: given
            .parse("s3-door-bucket", values::bucket_name)?
            .unwrap_or_else(|| BUCKET_DEFAULT.to_owned()),
        auth: auth(given, environment)?,
        identity: identity::identity(given, environment)?,
        system_unit: given
            .parse("system-unit", |text| {
                UnitId::parse(text).map_err(|error| error.to_string())
            })?
            .unwrap_or_else(UnitId::graph),
        audit_sync: given.switch("audit-sync")?,
        tokens_per_minute: given
            .parse("auth-rate-limit", values::per_minute)?
            .unwrap_or(Pace::DEFAULT),
        data_dir,
        logging: Logging {
            format: given
                .parse("log-format", values::log_format)?
                .unwrap_or(crate::logging::LogFormat::Text),
            filter: given
                .parse("log-level", values::log_filter)?
                .unwrap_or_else(|| "info".to_owned()),
        },
    })
}

fn listen(given: &Given, port: u16) -> Result<Vec<SocketAddr>, ConfigError> {
    let host = given.text("host").unwrap_or("127.0.0.1");
    match (host, port).to_socket_addrs() {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(given.refuse("host", &format!("not an address to listen on ({error})"))),
    }
}

fn tls(given: &Given) -> Result<Option<TlsFiles>, ConfigError> {
    let missing = |named: &str, missing: &str| {
        let origin = given.origin(named);
        let variable = missing.to_uppercase().replace('-', "_");
        Err(ConfigError::new(format!(
            "{origin} is set, and TLS takes both: set -{missing} (or OPENTACO_{variable}), too"
        )))
    };
    match (given.path("tls-cert"), given.path("tls-key")) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (Some(_), None) => missing("tls-cert", "tls-key"),
        (None, Some(_)) => missing("tls-key", "tls-cert"),
        (None, None) => Ok(None),
    }
}

fn auth(given: &Given, environment: Environment<'_>) -> Result<Auth, ConfigError> {
    let token = environment("OPENTACO_ROOT_TOKEN").filter(|token| !token.is_empty());
    let file = given.path("root-token-file");
    if given.switch("auth-disable")? {
        return Ok(Auth::Disabled);
    }
    match (token, file) {
        (Some(_), Some(_)) => Err(ConfigError::new(format!(
            "both OPENTACO_ROOT_TOKEN and {} are set, and only one token opens: unset one of them",
            given.origin("root-token-file")
        ))),
        (Some(token), None) => RootToken::parse(&token).map(Auth::Token).map_err(|error| {
            ConfigError::new(format!(
                "OPENTACO_ROOT_TOKEN (not shown) is no root token: {error}"
            ))
        }),
        (None, Some(file)) => Ok(Auth::TokenFile(file)),
        (None, None) => Ok(Auth::KeptToken),
    }
}
