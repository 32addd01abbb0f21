//! The simulated outside world, used over the wire as the shop uses it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]
#![allow(unreachable_pub, reason = "nothing outside sees a test; `pub` says which module serves the others")]

mod provider;
