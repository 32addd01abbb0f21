//! The rules of payments, free of any store, broker or protocol.

pub mod backoff;
pub mod dispute;
pub mod method;
pub mod payment;
