//! What crosses a boundary between parts, as types: no I/O, no runtime, nothing that only one side needs.

pub mod choices;
pub mod currency;
