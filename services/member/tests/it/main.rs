//! The member service over HTTP, with a real PostgreSQL and mails over real SMTP.

mod accounts;
mod administrators;
mod bad_input;
mod forged_tokens;
mod mails;
mod openapi;
mod password_resets;
mod rotation;
mod shop;
mod sign_up;
