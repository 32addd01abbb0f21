//! The simulated outside world, for development and tests: what the shop talks to but does not own.

pub mod entrance;
pub mod mail;
pub mod provider;
