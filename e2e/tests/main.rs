//! Journeys of real clients through the built service, over local disk and a real S3 server.

mod adoption;
mod docs;
mod http;
mod journeys;
mod replicas;
mod stores;
