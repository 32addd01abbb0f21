//! What crosses a boundary between parts, as types: no I/O, no runtime, nothing that only one side needs.

pub mod choices;
pub mod component;
pub mod currency;
pub mod event;
pub mod internal_api;
pub mod list;
pub mod route;
pub mod topic;
