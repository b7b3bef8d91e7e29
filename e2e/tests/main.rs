//! Journeys of real clients through the built service, over local disk and a real S3 server.

#![expect(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod adoption;
mod audit;
mod ci;
mod docs;
mod every_store;
mod graph;
mod http;
mod journeys;
mod login;
mod management_api;
mod provider;
mod replicas;
mod s3;
mod stores;
