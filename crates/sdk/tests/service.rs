//! The real service, over memory, with a proxy in between that loses answers.
