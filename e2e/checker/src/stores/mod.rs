//! Readers of the stores, one file each. The formats are those of docs/contracts.md.

pub mod kafka;
pub mod provider;
pub mod redis;
pub mod sql;
