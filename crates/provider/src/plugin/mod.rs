//! What Terraform and OpenTofu ask of any provider. Nothing here knows OpenTaco.
//!
//! ```text
//! handshake    how a plugin is started, and the line it answers with
//! tls          the one certificate that may ask
//! serve        the socket, and when to go
//! proto        the messages
//! service      requests, answered with the provider's verbs
//! provider     what these verbs are
//! plan         what a change will come to
//! schema       attributes: told, checked, completed
//! object       attributes of one resource
//! value        values over the wire; `types` their types, `json` values in states
//! diagnostic   what is told to people
//! ```

pub mod diagnostic;
pub mod handshake;
pub mod json;
pub mod object;
pub mod plan;
pub mod proto;
pub mod provider;
pub mod schema;
pub mod serve;
pub mod service;
pub mod tls;
pub mod types;
pub mod value;
