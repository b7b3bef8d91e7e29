//! Measures OpenTaco, for people and for machines: what it asks of a bucket, how fast it is beside a handler that does
//! nothing but move the same bytes, what memory it takes, how it starts.
//!
//! In reading order: what is told ([`report`]), kept ([`figures`]) and written into the documentation ([`page`], [`plots`]);
//! the measurements: what is counted ([`requests`], [`cost`]), every operation beside raw calls ([`latency`]), where there is
//! more ([`scale`]), several replicas ([`replicas`]), an hour ([`soak`]), and [`access`], [`throughput`], [`s3`], [`graph`],
//! [`bodies`], [`process`], [`command_line`]; what they are made of: round trips that are counted ([`rounds`]), stores and how
//! far away they are ([`ground`], [`delay`]), raw calls ([`raw`]), states of an exact size ([`states`]), child processes
//! ([`service`]), a client ([`client`]), the handler to compare with ([`bare`]), and where the time of a request goes
//! ([`profile`]).
//!
//! A missed aim is told, with what a profile says; it is no failure. A measurement that cannot be made is one.

pub mod access;
pub mod bare;
pub mod bodies;
pub mod client;
pub mod command_line;
pub mod cost;
pub mod delay;
pub mod failure;
pub mod figures;
pub mod graph;
pub mod ground;
pub mod latency;
pub mod page;
pub mod plots;
pub mod process;
pub mod profile;
pub mod raw;
pub mod replicas;
pub mod report;
pub mod requests;
pub mod rounds;
pub mod s3;
pub mod scale;
pub mod service;
pub mod soak;
pub mod states;
pub mod throughput;
pub mod usage;
