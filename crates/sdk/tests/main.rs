//! What the SDK promises.
