//! What every request needs: the room behind the doors, who may come in, and how much may come in at once.

use std::sync::Arc;

use opentaco_control::StateControl;
use tokio::sync::RwLock;

use crate::bodies::Bodies;
use crate::doorkeeper::Doorkeeper;
use crate::logins::Logins;
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::s3;

/// The service, without its listener. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    /// Everything that decides.
    pub control: StateControl,
    /// Who may come in.
    pub doorkeeper: Arc<Doorkeeper>,
    /// How people and jobs come in.
    pub logins: Arc<Logins>,
    /// How often tokens may be asked for.
    pub pace: Arc<Pace>,
    /// How bodies are read.
    pub bodies: Bodies,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What the bucket of the S3 door is called.
    pub s3_bucket: Arc<str>,
    /// Held for reading by every operation under way.
    under_way: Arc<RwLock<()>>,
}

impl App {
    /// A service over `control`.
    #[must_use]
    pub fn new(control: StateControl, doorkeeper: Doorkeeper, bodies: Bodies) -> Self {
        Self {
            metrics: Arc::new(Metrics::new(&control, &bodies)),
            control,
            doorkeeper: Arc::new(doorkeeper),
            logins: Arc::default(),
            pace: Arc::new(Pace::new(Pace::DEFAULT)),
            bodies,
            s3_bucket: s3::BUCKET_DEFAULT.into(),
            under_way: Arc::default(),
        }
    }

    /// The same, where people and jobs come in by these.
    #[must_use]
    pub fn with_logins(mut self, logins: Logins, pace: Pace) -> Self {
        self.logins = Arc::new(logins);
        self.pace = Arc::new(pace);
        self
    }

    /// The same, whose S3 door has a bucket of this name.
    #[must_use]
    pub fn with_s3_bucket(mut self, name: &str) -> Self {
        self.s3_bucket = name.into();
        self
    }

    /// Carries `operation` to its end even when the client hangs up meanwhile.
    ///
    /// A state that has arrived whole is in our care: a client that is killed between its last byte and our answer must
    /// find the state committed or kept, never half thought about.
    pub async fn carry_through<T, F>(&self, operation: impl FnOnce(StateControl) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let operation = operation(self.control.clone());
        let under_way = Arc::clone(&self.under_way).read_owned().await;
        let operation = async move {
            let _under_way = under_way;
            operation.await
        };
        let operation = tracing::Instrument::in_current_span(operation);
        #[expect(
            clippy::disallowed_methods,
            reason = "a door is outside of every simulation, and hyper drops the futures of clients that hang up"
        )]
        let running = tokio::spawn(operation);
        match running.await {
            Ok(outcome) => outcome,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Only a runtime that is going away cancels it, and that takes this request with it.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Returns when every operation that was under way has ended, and all that was left to be done behind answers.
    pub async fn settle_down(&self) {
        drop(self.under_way.write().await);
        self.control.settle_down().await;
    }

    /// As [`App::settle_down`], for good: the audit of this process ends.
    pub async fn close(&self) {
        self.settle_down().await;
        self.control.audit().close().await;
    }
}
