//! The management API `/v1/units`: units by their names, for people, the SDK and whoever has `curl` (`docs/management-api`).
//!
//! Its words are those of `opentaco-api`, so that what is sent and what is read cannot drift apart. Each handler carries
//! its own description, and [`openapi`] makes the document of them. Unlike Terraform's door this one checks what is
//! uploaded, and says 404 of what there is not: whoever asks here reads the answer.

pub mod audit;
pub mod auth;
pub mod error;
pub mod graph;
pub mod info;
pub mod locks;
pub mod openapi;
pub mod outputs;
pub mod query;
pub mod rbac;
pub mod rejected;
pub mod request;
pub mod state;
pub mod tokens;
pub mod units;
pub mod versions;

pub use error::Refused;
