//! A typed client of OpenTaco's management API.
//!
//! ```text
//! client     a client of one service, and how it asks
//! units      create, list, describe, change, delete, bring back
//! state      upload and download, as streams
//! locks      take, give back, break
//! versions   the history, and making a part of it current again
//! rejected   writes that were refused, and kept
//! outputs    what a state hands out
//! graph      dependencies between units, and what they say of them
//! info       the service itself
//! auth       logging in, tokens, and who one is
//! rbac       who may do what
//! audit      who did what, and whether somebody has changed that
//! stored     the logins that `taco` keeps, and asking as whoever is logged in
//! private    files that only their owner reads
//! ```
//!
//! What a request is and answers is spelled in [`api`]; how it fails is [`SdkError`], which carries the holder of a lock
//! and the id of what was refused. A request is repeated where that is safe and nowhere else ([`retry`]): writes carry an
//! `Idempotency-Key`, and what was perhaps done is never blindly done again. A token goes to the one origin it is for
//! ([`token`]), and redirects are not followed.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use opentaco_sdk::{Client, Server, StaticToken, Token};
//!
//! let server = Server::parse("https://taco.example.com")?;
//! let token = StaticToken::new(&server, Token::parse(&std::env::var("OPENTACO_TOKEN")?)?);
//! let client = Client::builder(server).tokens(token).build()?;
//! let unit = client.unit(&"myapp/prod".parse()?).await?;
//! println!("{} has serial {:?}", unit.id, unit.serial);
//! # Ok(())
//! # }
//! ```

pub mod audit;
pub mod auth;
pub mod body;
pub mod client;
pub mod error;
pub mod graph;
pub mod info;
pub mod locks;
pub mod outputs;
pub mod private;
pub mod rbac;
pub mod rejected;
pub mod retry;
pub mod server;
pub mod state;
pub mod stored;
pub mod token;
pub mod units;
pub mod versions;

pub use body::Outgoing;
pub use client::{Builder, Client};
pub use error::{Refusal, SdkError};
pub use opentaco_api as api;
pub use retry::RetryPolicy;
pub use server::{Server, ServerError};
pub use token::{NoToken, StaticToken, Token, TokenError, TokenProvider};
