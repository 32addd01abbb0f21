//! What buyers and sellers do, one requirement per row, and everything that can be wrong in a request,
//! against one shop of processes on loopback.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]

mod account;
mod bad_input;
mod buying;
mod cart;
mod dead_letters;
mod described;
mod desk;
mod dev;
mod document;
mod entrance;
mod events;
mod fuzz;
mod kafka;
mod mistakes;
mod operations;
mod schemas;
mod selling;
mod strangers;
mod sweep;
mod tokens;
mod tour;
