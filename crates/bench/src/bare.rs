//! The handler to compare with: it moves the same bytes over the same HTTP, and does nothing else.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::any;
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use http::Method;
use tokio::net::TcpListener;

use crate::failure::{Doing, Failure};
use crate::states::States;

/// What is kept. One for all units: nothing is looked up.
type Kept = Arc<Mutex<Bytes>>;

/// Serves on a free port of loopback, which is told in one line, until it is killed.
///
/// # Errors
/// If it cannot listen.
pub async fn serve(bytes: usize, out: &mut dyn Write) -> Result<(), Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.doing("listening")?;
    let address = listener.local_addr().doing("listening")?;
    let kept: Kept = Arc::new(Mutex::new(States::of(bytes).state(0).whole()));
    let router = Router::new()
        .route("/healthz", any(async || "ok"))
        .route("/v1/backend/{*unit}", any(handle))
        .layer(DefaultBodyLimit::disable())
        .with_state(kept);
    writeln!(out, "{address}")?;
    out.flush()?;
    let listener = listener.tap_io(|stream| {
        // A connection without it is slower, and no less right.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await.doing("serving")
}

/// GET answers with what is kept, POST keeps what it is sent, a lock is answered with what it was sent.
async fn handle(State(kept): State<Kept>, method: Method, body: Bytes) -> Bytes {
    match method.as_str() {
        "GET" => kept.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        "POST" => {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = body;
            Bytes::new()
        }
        _ => body,
    }
}
