//! From a bound address to an orderly end: connections, time-outs, signals.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use hyper_util::rt::TokioTimer;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::app::App;
use crate::routes::router;

/// How long we wait for clients.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the head of a request, and with the same clock for the next request on an idle connection. Go's clients drop
    /// idle connections after 90 seconds; ours stay a little longer, so that no request meets a closing door.
    pub head: Duration,
    /// For requests under way, once the service was asked to stop; and once more for what is left to do behind answers.
    pub drain: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(100),
            drain: Duration::from_secs(30),
        }
    }
}

/// Serves `app` on `listener` until `stop` comes to pass, then ends what is under way.
///
/// # Errors
/// If the listener cannot be used.
pub async fn serve(
    listener: TcpListener,
    app: App,
    stop: impl Future<Output = ()> + Send + 'static,
    patience: Patience,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let handle: Handle<SocketAddr> = Handle::new();
    let mut server = axum_server::from_tcp(listener)?
        .acceptor(NoDelayAcceptor::new())
        .handle(handle.clone());
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head);
    // Last, because a new acceptor forgets it. Without it the first bytes of a connection are awaited without a limit.
    let server = server.http1_only();
    let drain = async {
        stop.await;
        tracing::info!(
            connections = handle.connection_count(),
            "stopping: no new connections, requests under way are finished"
        );
        handle.graceful_shutdown(Some(patience.drain));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        served = server.serve(router(app.clone()).into_make_service()) => served?,
        () = drain => {}
    }
    if timeout(patience.drain, app.settle_down()).await.is_err() {
        tracing::warn!(
            "stopped before all work behind answers was done; the next start or the next request finishes it"
        );
    }
    tracing::info!("stopped");
    Ok(())
}

/// Returns when the process is asked to stop. Asked a second time, it ends at once.
///
/// # Errors
/// If signals cannot be listened to.
pub fn asked_to_stop() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let mut asked = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        asked().await;
        #[expect(
            clippy::disallowed_methods,
            reason = "waits for the operator, beside everything a simulation looks at"
        )]
        drop(tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::warn!("asked again: stopping at once");
            std::process::exit(130);
        }));
    })
}
