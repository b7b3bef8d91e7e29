//! What the tests of OpenTaco share. Only tests see this crate; it sees everything.

pub mod buckets;
pub mod content_tags;
pub mod faults;
