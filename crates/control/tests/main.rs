//! The integration tests of control, in one binary.
//!
//! The fault table ([`faults`]), who may do what ([`permit`]), the operations one by one ([`operations`]), buckets that
//! are older than us ([`adoption`]), what only the management door asks for ([`management`]), the graph that follows writes ([`graph`]), races of two replicas
//! ([`races`]), and who did what ([`audit`]).

mod access;
mod adoption;
mod audit;
mod common;
mod faults;
mod graph;
mod management;
mod objects;
mod operations;
mod permit;
mod races;
mod tokens;
