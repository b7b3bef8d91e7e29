//! The HTTP backend of `terraform` and `tofu`, as their sources and the wire have it (`docs/backend-service`).
//!
//! What the clients cannot bear decides the shape of every answer here. A 404 is an empty state, so nothing forbidden
//! is ever a 404. A 5xx is tried again three times and then thrown away unread, so nothing that was decided is ever a
//! 5xx. A redirect turns LOCK into GET, so there is none. A conflict must carry the holder in the client's own
//! spelling, and of that it prints little: so the sentence a person needs stands in `Who` and `Info`.

pub mod error;
pub mod lock;
pub mod state;

pub use error::Refused;
