//! The member service over HTTP, with a real PostgreSQL and mails over real SMTP.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]
#![allow(unreachable_pub, reason = "nothing outside sees a test; `pub` says which module serves the others")]

mod accounts;
mod administrators;
mod bad_input;
mod forged_tokens;
mod limits;
mod lock_outs;
mod mails;
mod openapi;
mod password_resets;
mod revocations;
mod rotation;
mod security_log;
mod shop;
mod sign_up;
