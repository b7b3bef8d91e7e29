//! Nothing but tests: journeys of real clients through the built service, in `tests/`.
