//! The integration tests of storage, in one binary.

mod budget;
mod common;
mod lost_head;
mod records;
mod review;
mod traces;
