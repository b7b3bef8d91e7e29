//! Serving one client on a socket of our own, until it says that we may go.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use rustls::ServerConfig;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status};

use super::proto::plugin::Empty;
use super::proto::plugin::grpc_controller_server::{GrpcController, GrpcControllerServer};
use super::proto::tfplugin6::provider_server::ProviderServer;
use super::provider::Provider;
use super::service::Service;

/// The largest message that a client may send: what Terraform takes itself.
const MESSAGE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How many connections may be in their handshake. There is one client, which makes one.
const HANDSHAKES_MAX: usize = 8;

/// How long an answer may take to go out after the client has said goodbye. It kills after two seconds.
const GOODBYE: Duration = Duration::from_millis(500);

/// A socket that only we and our client find; it goes away with this.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    _directory: TempDir,
}

impl Socket {
    /// Opens one.
    ///
    /// # Errors
    /// If the directory for temporary files takes none.
    pub fn open() -> io::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("opentaco-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()?;
        let path = directory.path().join("plugin.sock");
        Ok(Self {
            listener: UnixListener::bind(&path)?,
            path,
            _directory: directory,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Serves a provider until the client has it shut down or `stopped` is over: over TLS if there is a configuration of it,
/// and in plain without.
///
/// # Errors
/// If it cannot be served.
pub async fn serve(
    socket: Socket,
    tls: Option<Arc<ServerConfig>>,
    provider: impl Provider,
    stopped: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let goodbye = Arc::new(Notify::new());
    let controller = Controller {
        goodbye: Arc::clone(&goodbye),
    };
    let provider = ProviderServer::new(Service::new(provider))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let ended = async move {
        tokio::select! {
            () = goodbye.notified() => {}
            () = stopped => {}
        }
    };
    let ended = ended.shared();
    let serving = Server::builder()
        .add_service(GrpcControllerServer::new(controller))
        .add_service(provider)
        .serve_with_incoming_shutdown(connections(socket.listener, tls), ended.clone());
    let overdue = async {
        ended.await;
        // What is still asked then was given up by whoever asked it.
        let _ = tokio::time::timeout(GOODBYE, std::future::pending::<()>()).await;
    };
    tokio::select! {
        served = serving => served,
        () = overdue => Ok(()),
    }
}

fn connections(
    listener: UnixListener,
    tls: Option<Arc<ServerConfig>>,
) -> impl Stream<Item = io::Result<Connection>> {
    let acceptor = tls.map(TlsAcceptor::from);
    stream::unfold(listener, |listener| async {
        let accepted = listener.accept().await;
        Some((accepted.map(|(stream, _)| stream), listener))
    })
    .map(move |accepted| opened(accepted, acceptor.clone()))
    .buffer_unordered(HANDSHAKES_MAX)
    // Whoever is not let in is no reason to stop.
    .filter(|connection| std::future::ready(connection.is_ok()))
}

async fn opened(accepted: io::Result<UnixStream>, acceptor: Option<TlsAcceptor>) -> io::Result<Connection> {
    let stream = accepted?;
    match acceptor {
        Some(acceptor) => Ok(Connection(Box::pin(acceptor.accept(stream).await?))),
        None => Ok(Connection(Box::pin(stream))),
    }
}

trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// A connection, with TLS or without.
struct Connection(Pin<Box<dyn Io>>);

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(context)
    }
}

/// Hears that the plugin may go.
struct Controller {
    goodbye: Arc<Notify>,
}

#[tonic::async_trait]
impl GrpcController for Controller {
    async fn shutdown(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        self.goodbye.notify_one();
        Ok(Response::new(Empty {}))
    }
}
