//! The simulator: the real code, a lying bucket, one seed.
//!
//! [`world::play`] plays the history of a seed, [`checker::check`] says which promises it breaks, and
//! [`trace::tell`] tells it as a table. The same seed is the same history, byte for byte.

pub mod bucket;
pub mod checker;
pub mod chooser;
pub mod executor;
pub mod mask;
pub mod trace;
pub mod world;
