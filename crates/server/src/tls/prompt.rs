//! Connections that have to say something.
//!
//! Behind TLS a connection may speak HTTP/1 or HTTP/2, and the server below us waits for its first bytes to know which,
//! without a limit. Here is the limit. Once it is known, each version has limits of its own.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::accept::Accept;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What every HTTP/2 client says first, and no HTTP/1 client.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Accepts what `A` accepts, and gives it so long to say which HTTP it speaks.
#[derive(Debug, Clone)]
pub(crate) struct Prompt<A> {
    inner: A,
    patience: Duration,
}

impl<A> Prompt<A> {
    pub(crate) fn over(inner: A, patience: Duration) -> Self {
        Self { inner, patience }
    }
}

impl<A, I, S> Accept<I, S> for Prompt<A>
where
    A: Accept<I, S>,
    A::Future: Send + 'static,
    A::Stream: Send + 'static,
    A::Service: Send + 'static,
{
    type Stream = Prompted<A::Stream>;
    type Service = A::Service;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let patience = self.patience;
        let accepting = self.inner.accept(stream, service);
        async move {
            let (stream, service) = accepting.await?;
            Ok((Prompted::new(stream, patience), service))
        }
        .boxed()
    }
}

/// A connection that breaks off if it does not say in time which HTTP it speaks.
#[derive(Debug)]
pub(crate) struct Prompted<S> {
    inner: S,
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    until: Pin<Box<Sleep>>,
    /// How much of the preface has come.
    matched: usize,
}

impl<S> Prompted<S> {
    fn new(inner: S, patience: Duration) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "waits for a client's bytes, where no simulation is"
        )]
        let until = Box::pin(sleep(patience));
        Self {
            inner,
            waiting: Some(Waiting { until, matched: 0 }),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prompted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(waiting) = &mut this.waiting
            && waiting.until.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        if let Some(waiting) = &mut this.waiting {
            let new = &buffer.filled()[before..];
            let expected = &PREFACE[waiting.matched..];
            if new.len() < expected.len() && expected.starts_with(new) {
                waiting.matched += new.len();
            } else {
                this.waiting = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prompted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    fn prompted() -> (DuplexStream, Prompted<DuplexStream>) {
        let (client, server) = duplex(1024);
        (client, Prompted::new(server, Duration::from_secs(100)))
    }

    /// Whether the connection breaks off when nothing more comes, after this was said and read.
    async fn breaks_off_after(said: &[u8]) -> bool {
        let (mut client, mut server) = prompted();
        for byte in said {
            client.write_all(&[*byte]).await.unwrap();
            let mut read = [0; 8];
            assert_eq!(server.read(&mut read).await.unwrap(), 1);
        }
        // Time stands still but for those who wait, and whoever waits least goes first.
        let mut read = [0; 8];
        let day = Duration::from_secs(24 * 60 * 60);
        match tokio::time::timeout(day, server.read(&mut read)).await {
            Ok(Err(error)) => {
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                true
            }
            Ok(Ok(read)) => panic!("{read} bytes came from nowhere"),
            Err(_) => false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_breaks_off_until_it_is_known_what_it_speaks() {
        assert!(breaks_off_after(b"").await);
        assert!(breaks_off_after(b"P").await, "that may be PRI, POST or PUT");
        assert!(breaks_off_after(&PREFACE[..PREFACE.len() - 1]).await);
        assert!(!breaks_off_after(PREFACE).await);
        assert!(!breaks_off_after(b"PO").await);
        assert!(!breaks_off_after(b"G").await);
    }
}
