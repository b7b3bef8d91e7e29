//! Where the log goes and what it looks like.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: an object a line.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct Logging {
    /// How lines look.
    pub format: LogFormat,
    /// Which lines: a level, or directives as `tracing-subscriber` reads them. Parsed, so that a bad one is told early.
    pub filter: String,
}

impl Logging {
    /// Whether `filter` is one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(filter: &str) -> Result<(), String> {
        EnvFilter::try_new(filter)
            .map(|_| ())
            .map_err(|error| error.to_string())
    }

    /// A subscriber that writes to `writer`.
    ///
    /// # Errors
    /// If the filter is none.
    pub fn subscriber<W>(&self, writer: W) -> io::Result<Box<dyn tracing::Subscriber + Send + Sync>>
    where
        W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
    {
        let filter = EnvFilter::try_new(&self.filter).map_err(io::Error::other)?;
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(writer);
        Ok(match self.format {
            LogFormat::Text => Box::new(lines.with_ansi(false).finish()),
            LogFormat::Json => Box::new(lines.json().flatten_event(true).with_current_span(false).finish()),
        })
    }

    /// Sends the log of this process to standard error.
    ///
    /// # Errors
    /// If the filter is none, or a log was started before.
    pub fn start(&self) -> io::Result<()> {
        self.subscriber(io::stderr)?.try_init().map_err(io::Error::other)
    }
}
