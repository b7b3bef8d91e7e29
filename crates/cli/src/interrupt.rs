//! Ctrl-C: at once where nothing is lost, after tidying up where something is.

use std::cell::Cell;
use std::future::Future;

use tokio::sync::Notify;

use crate::error::{Failure, Kind};

/// What stands between Ctrl-C and a command that holds something it must give back.
#[derive(Debug, Default)]
pub struct Interrupt {
    holding: Cell<bool>,
    raised: Cell<bool>,
    notify: Notify,
}

impl Interrupt {
    /// From now on Ctrl-C is told to the command, and does not end it.
    pub fn hold(&self) {
        self.holding.set(true);
    }

    /// Nothing is held any more: Ctrl-C ends the command again.
    pub fn release(&self) {
        self.holding.set(false);
    }

    /// Does something that is given up when Ctrl-C comes.
    ///
    /// # Errors
    /// If it was.
    pub async fn or<T>(&self, doing: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.raised() => Err(interrupted()),
            result = doing => result,
        }
    }

    async fn raised(&self) {
        while !self.raised.get() {
            self.notify.notified().await;
        }
    }

    /// Runs a command until it ends or is interrupted.
    ///
    /// # Errors
    /// As the command, or that it was interrupted.
    pub async fn guard<T>(&self, command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let mut command = std::pin::pin!(command);
        loop {
            tokio::select! {
                result = &mut command => return result,
                () = signal() => {
                    if !self.holding.get() || self.raised.replace(true) {
                        return Err(interrupted());
                    }
                    self.notify.notify_one();
                }
            }
        }
    }
}

fn interrupted() -> Failure {
    Failure::new(Kind::Interrupted, "interrupted")
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminated) => {
                terminated.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

#[cfg(not(unix))]
async fn signal() {
    let _ = tokio::signal::ctrl_c().await;
}
