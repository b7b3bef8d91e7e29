//! From a bound address to an orderly end: connections, time-outs, signals.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum_server::accept::NoDelayAcceptor;
use axum_server::{Handle, Server};
use futures::FutureExt as _;
use hyper_util::rt::TokioTimer;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::app::App;
use crate::routes::{self, router};
use crate::tls::{Prompt, Tls};

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

/// Where to listen, and how.
#[derive(Debug)]
pub struct Listening {
    /// For everything.
    pub main: TcpListener,
    /// What is spoken there, if it is not plain HTTP/1.
    pub tls: Option<Tls>,
    /// For `/metrics` without credentials, always plain.
    pub metrics: Option<TcpListener>,
}

impl From<TcpListener> for Listening {
    fn from(main: TcpListener) -> Self {
        Self {
            main,
            tls: None,
            metrics: None,
        }
    }
}

/// Serves `app` until `stop` comes to pass, then ends what is under way.
///
/// # Errors
/// If a listener cannot be used.
pub async fn serve(
    listening: impl Into<Listening>,
    app: App,
    stop: impl Future<Output = ()> + Send + 'static,
    patience: Patience,
) -> io::Result<()> {
    let Listening { main, tls, metrics } = listening.into();
    let handle: Handle<SocketAddr> = Handle::new();
    let server = limited(main, patience)?.handle(handle.clone());
    let service = router(app.clone()).into_make_service_with_connect_info::<SocketAddr>();
    let serving = match &tls {
        // Last, because a new acceptor forgets it. Without it the first bytes of a connection are awaited without a
        // limit.
        None => server
            .acceptor(NoDelayAcceptor::new())
            .http1_only()
            .serve(service)
            .boxed(),
        Some(tls) => server
            .acceptor(Prompt::over(tls.acceptor(), patience.head))
            .serve(service)
            .boxed(),
    };
    let measuring = match metrics {
        Some(listener) => limited(listener, patience)?
            .acceptor(NoDelayAcceptor::new())
            .http1_only()
            .serve(routes::metrics_alone(app.clone()).into_make_service())
            .boxed(),
        None => std::future::pending().boxed(),
    };
    let renewing = async {
        match tls {
            Some(tls) => tls.renew().await,
            None => std::future::pending().await,
        }
    };
    let drain = async {
        stop.await;
        tracing::info!(
            connections = handle.connection_count(),
            "stopping: no new connections, requests under way are finished"
        );
        handle.graceful_shutdown(Some(patience.drain));
        std::future::pending::<()>().await;
    };
    // Numbers are told to the end, and certificates taken over: whoever is still here may be here for long.
    tokio::select! {
        served = serving => served?,
        served = measuring => served?,
        () = renewing => {}
        () = drain => {}
    }
    if timeout(patience.drain, app.close()).await.is_err() {
        tracing::warn!(
            "stopped before all work behind answers was done; the next start or the next request finishes it"
        );
    }
    tracing::info!("stopped");
    Ok(())
}

/// A server with our limits, for either version of HTTP.
fn limited(listener: TcpListener, patience: Patience) -> io::Result<Server<SocketAddr>> {
    listener.set_nonblocking(true)?;
    let mut server = axum_server::from_tcp(listener)?;
    let http = server.http_builder();
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head);
    // A connection of HTTP/2 may have nothing to say for long; that somebody is there is asked for.
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(patience.head / 2)
        .keep_alive_timeout(patience.head / 2);
    Ok(server)
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
