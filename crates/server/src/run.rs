//! What `opentacosvc` does, from a configuration to its end.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use opentaco_control::{AuditOptions, ControlError, OpenOptions, Rights, StateControl, StoreConfig};
use opentaco_domain::access::AllowAll;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::App;
use crate::bodies::Bodies;
use crate::config::{Auth, Config, exit};
use crate::doorkeeper::Doorkeeper;
use crate::logins::{Logins, LoginsError};
use crate::pace::Pace;
use crate::problem::chain;
use crate::root_token::{self, RootToken, RootTokenError};
use crate::serve::{Listening, Patience, asked_to_stop, serve};
use crate::tls::{Tls, TlsError};

/// Why the service could not start, or ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No root token.
    #[error(transparent)]
    RootToken(#[from] RootTokenError),
    /// Nobody could come in as configured.
    #[error(transparent)]
    Logins(#[from] LoginsError),
    /// No certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No bucket.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// No address.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which one.
        address: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// No port file.
    #[error("cannot write the port file {file}")]
    PortFile {
        /// Which one.
        file: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// No service.
    #[error("cannot serve")]
    Serve(#[from] io::Error),
}

/// Serves until the process is asked to stop.
///
/// # Errors
/// What keeps it from serving.
pub async fn run(config: Config) -> Result<(), RunError> {
    let stop = asked_to_stop()?;
    let hangups = signal(SignalKind::hangup())?;
    let tls = config.tls.as_ref().map(Tls::open).transpose()?;
    let main = bind(&config.listen)?;
    let metrics = config.metrics.as_deref().map(bind).transpose()?;
    let (doorkeeper, token_at) = doorkeeper(&config)?;
    let logins = Logins::open(&config)?;
    let control = open(&config, &logins).await?;
    let address = main.local_addr()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let metrics_address = metrics.as_ref().map(TcpListener::local_addr).transpose()?;
    tracing::info!(
        address = %format!("{scheme}://{address}"),
        metrics = metrics_address.map(|address| format!("http://{address}/metrics")),
        certificate_expires = tls.as_ref().and_then(Tls::expires).map(|expires| expires.to_string()),
        storage = control.description(),
        auth = match &doorkeeper {
            Doorkeeper::Nobody => "disabled",
            Doorkeeper::Root(_) | Doorkeeper::Known(_) => logins.mode(),
        },
        root_token = token_at,
        "opentacosvc is open"
    );
    warn(&config, token_at.as_deref());
    if let Some(file) = &config.port_file {
        // Whoever waits for this file may connect as soon as it is there: the listener is bound, and holds whoever
        // comes until we answer.
        write_whole(file, &format!("{address}\n")).map_err(|source| RunError::PortFile {
            file: file.display().to_string(),
            source,
        })?;
    }
    let pace = Pace::new(config.tokens_per_minute);
    let app = App::new(control, doorkeeper, Bodies::new(config.bodies))
        .with_logins(logins, pace)
        .with_s3_bucket(&config.s3_door_bucket);
    if let Some(tls) = &tls {
        tls.warn_if_expired();
        app.metrics.show(tls.renewals());
    }
    let has_tls = tls.is_some();
    let listening = Listening { main, tls, metrics };
    tokio::select! {
        served = serve(listening, app, stop, Patience::default()) => Ok(served?),
        () = outlive(hangups, has_tls) => Ok(()),
    }
}

/// Hears SIGHUP, which would end the process otherwise. Never returns.
///
/// With TLS it is [`Tls::renew`] that does something about it; without, whoever sends it to every service after renewing
/// a certificate means no harm.
async fn outlive(mut hangups: Signal, has_tls: bool) {
    while hangups.recv().await.is_some() {
        if !has_tls {
            tracing::info!("SIGHUP: there is no certificate to read anew; nothing was done");
        }
    }
    std::future::pending::<()>().await;
}

fn bind(addresses: &[SocketAddr]) -> Result<TcpListener, RunError> {
    TcpListener::bind(addresses).map_err(|source| {
        let addresses: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        RunError::Listen {
            address: addresses.join(", "),
            source,
        }
    })
}

/// Asks the store whether it keeps its word: what to print, and the exit code.
pub async fn doctor(store: &StoreConfig) -> (String, u8) {
    match StateControl::doctor(store).await {
        Ok(described) => {
            let verdict = described.verdict;
            let code = if verdict.is_safe() {
                exit::DONE
            } else if verdict.is_unknown() {
                exit::STORE_UNREACHABLE
            } else {
                exit::UNSAFE_STORE
            };
            (format!("{}\n\n{verdict}\n", described.description), code)
        }
        Err(error) => (
            format!("the store could not be asked: {}\n", chain(&error)),
            exit::STORE_UNREACHABLE,
        ),
    }
}

fn doorkeeper(config: &Config) -> Result<(Doorkeeper, Option<String>), RootTokenError> {
    let (token, at) = match &config.auth {
        Auth::Disabled => return Ok((Doorkeeper::Nobody, None)),
        Auth::Token(token) => (token.clone(), "OPENTACO_ROOT_TOKEN".to_owned()),
        Auth::TokenFile(file) => (RootToken::read(file)?, file.display().to_string()),
        Auth::KeptToken => {
            let (token, file) = RootToken::kept_in(&config.data_dir)?;
            (token, file.display().to_string())
        }
    };
    Ok((Doorkeeper::Root(token), Some(at)))
}

async fn open(config: &Config, logins: &Logins) -> Result<StateControl, ControlError> {
    let mut options = OpenOptions {
        single_replica: config.single_replica,
        rights: match config.auth {
            Auth::Disabled => Rights::Policy(Arc::new(AllowAll)),
            Auth::Token(_) | Auth::TokenFile(_) | Auth::KeptToken => Rights::Roles,
        },
        audit: AuditOptions {
            seal: logins.seal(),
            sync: config.audit_sync,
        },
        graph_unit: config.system_unit.clone(),
        ..OpenOptions::default()
    };
    options.retention.versions_max = config.versions_max;
    options.retention.versions_min_age = config.versions_min_age;
    match StateControl::open(&config.store, options.clone()).await {
        Err(error) if config.fallback_memory => {
            tracing::warn!(
                cause = chain(&error),
                "THE STORE CANNOT BE OPENED. As -fallback-memory says, states are kept in memory and are LOST when this process ends"
            );
            StateControl::open(&StoreConfig::Memory, options).await
        }
        opened => opened,
    }
}

/// What an operator may not know and should.
fn warn(config: &Config, token_at: Option<&str>) {
    if matches!(config.auth, Auth::Disabled) {
        tracing::warn!(
            "AUTH IS DISABLED: whoever reaches this address may read, change and delete every state. Start without -auth-disable to close it"
        );
    }
    if matches!(config.store, StoreConfig::Memory) {
        tracing::warn!("states are kept in memory and are LOST when this process ends");
    }
    let Some(at) = token_at else { return };
    if matches!(config.auth, Auth::KeptToken) && config.shared {
        tracing::warn!(
            root_token = at,
            "the root token was drawn by this replica alone; on a shared bucket give all replicas the same one, by OPENTACO_ROOT_TOKEN or OPENTACO_ROOT_TOKEN_FILE"
        );
    }
    if !matches!(config.auth, Auth::Token(_))
        && root_token::is_readable_by_others(Path::new(at)).unwrap_or(false)
    {
        tracing::warn!(
            root_token = at,
            "others on this machine can read the root token; chmod 600 would stop them"
        );
    }
}

/// Whoever sees the file sees all of it.
fn write_whole(file: &Path, text: &str) -> io::Result<()> {
    let draft = file.with_extension("draft");
    std::fs::write(&draft, text)?;
    std::fs::rename(&draft, file)
}
