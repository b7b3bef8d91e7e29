//! The simulator: the real code, a lying bucket, one seed.
//!
//! [`world::play`] plays the history of a seed, [`checker::check`] says which promises it breaks, and
//! [`trace::tell`] tells it as a table. The same seed is the same history, byte for byte. [`shrink`] shortens what is
//! broken.
//!
//! [`roles`] does the same for who may do what, [`tokens`] for logins and API tokens, and [`graph`] for what
//! depends on what, each in a world of its own ([`promise::WORLDS`]). All of them begin, ask and kill their
//! [`replicas`] in the same way.
//!
//! Beside it stand two machines that leave nothing to chance, over the same code, bucket and checker: a [`gate`] at which
//! a test kills a replica at the very request it likes (on a [`stage`] where nothing is drawn), and [`explore`], which
//! plays every order of everything in [`scenarios`] that are small enough.

pub mod bucket;
pub mod checker;
pub mod chooser;
pub mod executor;
pub mod explore;
pub mod gate;
pub mod graph;
pub mod mask;
#[cfg(feature = "planted")]
pub mod planted;
pub mod promise;
pub mod replicas;
pub mod roles;
pub mod scenarios;
pub mod shrink;
pub mod stage;
pub mod tokens;
pub mod trace;
pub mod world;
