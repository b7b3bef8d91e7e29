//! What the tests of OpenTaco share. Only tests see this crate; it sees everything.

pub mod buckets;
pub mod certificates;
pub mod client;
pub mod content_tags;
pub mod faults;
pub mod issuer;
pub mod process;
pub mod proxy;
pub mod s3_server;
pub mod service;
pub mod signer;
pub mod tools;
