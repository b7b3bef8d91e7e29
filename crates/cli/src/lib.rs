//! `taco`: state control from the command line.
//!
//! In reading order: what can be typed ([`args`]), what every command has at hand ([`context`]), the commands
//! ([`commands`], one file each), what they answer ([`output`], [`progress`], [`confirm`]) and how they fail
//! ([`error`], [`interrupt`]). Beside them: the locks of this directory ([`saved_locks`]), files that hold states
//! ([`files`]), what differs between two states ([`diff`]), and what is made from the command tree ([`complete`],
//! [`man`], [`mod@reference`]).

pub mod args;
pub mod commands;
pub mod complete;
pub mod confirm;
pub mod context;
pub mod diff;
pub mod error;
pub mod files;
pub mod interrupt;
pub mod man;
pub mod output;
pub mod progress;
pub mod reference;
pub mod saved_locks;
