//! The simulated outside world, used over the wire as the shop uses it.

mod provider;
