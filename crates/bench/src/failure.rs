//! Why a measurement could not be made. All such reasons end the program in the same way, so there is one type.

use std::error::Error;

/// A measurement could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct Failure {
    doing: String,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure with nothing behind it.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            doing: what.into(),
            source: None,
        }
    }

    /// The failure with its causes, in one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    }
}

/// Says what was being done when something failed.
pub trait Doing<T> {
    /// # Errors
    /// The same, with `doing` in front.
    fn doing(self, doing: impl Into<String>) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Doing<T> for Result<T, E> {
    fn doing(self, doing: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            doing: doing.into(),
            source: Some(error.into()),
        })
    }
}

/// The report could not be printed.
impl From<std::io::Error> for Failure {
    fn from(source: std::io::Error) -> Self {
        Self {
            doing: "printing the report".to_owned(),
            source: Some(Box::new(source)),
        }
    }
}
