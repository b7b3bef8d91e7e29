//! The exact requests of every operation, and the shape of what machines read.
