//! Members: who they are, and the tokens that prove it to every other service.
//!
//! ```text
//!            ┌ http ── reads a request, asks `domain`, calls `store`, answers
//! request ──▶┤            │            │           │
//!            │            ▼            ▼           ▼
//!            │        tokens       passwords     store ──▶ PostgreSQL
//!            │       (Ed25519)    (Argon2id)       │
//!            └                                     └ mail_outbox ──▶ mail ──SMTP──▶
//! ```
//!
//! `domain` holds the rules and does no I/O. Mails leave through an outbox, so that sign-up neither waits for
//! the mail server nor loses a mail when that is down.

pub mod api;
mod domain;
mod first_admin;
mod http;
mod mail;
mod passwords;
mod store;
mod tokens;
