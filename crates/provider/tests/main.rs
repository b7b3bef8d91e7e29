//! The provider from outside: its pages, and what it answers to requests, with a service that the test plays.

#![expect(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod generated;
mod requests;
