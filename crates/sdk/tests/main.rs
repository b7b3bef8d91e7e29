//! What the SDK promises: to a service that was scripted to be difficult, and to the real one.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be had is a failed test")]

mod asking;
mod moving;
mod scripted;
mod service;
