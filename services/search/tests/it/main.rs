//! Search as its callers see it: over HTTP, fed through a real Kafka topic.

#![allow(unreachable_pub, reason = "nothing outside sees a test; `pub` says which module serves the others")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]

mod feed;
mod queries;
mod saturation;
mod shop;
