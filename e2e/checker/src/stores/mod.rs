//! Reading the stores, each in its own file, formats as in docs/contracts.md.

pub mod kafka;
pub mod provider;
pub mod redis;
pub mod sql;
