//! What the command line promises, held by the built program against the built service.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be had is a failed test")]

mod careful;
mod encrypted;
mod generated;
mod large;
mod pipes;
mod provider_init;
mod sessions;
mod support;
mod terminal;
