//! The doors of OpenTaco: they translate dialects and decide nothing.
//!
//! ```text
//! serve      listeners, TLS, time-outs, SIGTERM: from an address to an orderly end
//!   layers     request id, one log line, panics, bodies nobody read
//!     doorkeeper   who is asking; 401 before anything else is said
//!       routes       every address, in one table
//!         terraform    the HTTP backend of `terraform` and `tofu`
//!         management   units by their names, for people, the SDK and curl
//!         operator     health, metrics
//! ```
//!
//! Below the doors is `opentaco-control`, and this crate has no other way down: it does not know the storage crate.
//! What is written in here is about HTTP, flags and files of the operator's; a rule about locks or versions would be in
//! the wrong place.
//!
//! In reading order: [`config`], [`root_token`] and [`logging`] before anything runs; then [`serve`], [`tls`] and [`app`];
//! [`layers`], [`doorkeeper`], [`routes`], [`extract`] and [`bodies`] on the way in; the doors; `transfer`, which moves
//! states through each of them; [`problem`] on the way out.

pub mod app;
pub mod bodies;
pub mod config;
pub mod doorkeeper;
pub mod extract;
pub mod kept;
pub mod keys;
pub mod layers;
pub mod logging;
pub mod logins;
pub mod management;
pub mod metrics;
pub mod operator;
pub mod pace;
pub mod problem;
pub mod root_token;
pub mod routes;
pub mod run;
pub mod s3;
pub mod serve;
pub mod terraform;
pub mod tls;
mod transfer;

pub use app::App;
pub use routes::router;
