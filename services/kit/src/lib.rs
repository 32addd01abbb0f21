//! What every Rocket Mart process is made of, apart from its business.
//!
//! A process parses its configuration ([`config`]), starts telemetry ([`telemetry`]) and runs a
//! [`service::Service`]: an HTTP API under one standard middleware, background tasks, and the admin
//! endpoints. Requests come in through [`extract`] and [`auth`], and fail as [`problem::Problem`]s. [`text`]
//! and [`validation`] check what people write, and [`label`] compares what people tag things with. A [`list`]
//! in a request is read only up to its limit; lists are answered by the [`page`]. Facts leave a database
//! through the [`outbox`] and travel as [`event::Event`]s over [`kafka`], in the shape of their
//! [`event_schema`]; the inbox makes a receiver handle each once. [`idempotency`] makes a repeated POST
//! answer as the first one did; a [`precondition`] limits a change to what its caller saw. [`rate_limit`] and
//! [`request_limits`] keep one caller, known by a token or a [`client_address`], from crowding out the
//! others. [`client`] calls other services through their [`internal`] doors; [`trace`] carries one trace
//! through all of them. Background tasks keep a [`pace`].

pub mod auth;
pub mod client;
pub mod client_address;
pub mod config;
pub mod event;
pub mod event_schema;
pub mod extract;
pub mod failpoint;
pub mod idempotency;
pub mod internal;
pub mod kafka;
pub mod label;
pub mod outbox;
pub mod pace;
pub mod page;
pub mod precondition;
pub mod problem;
pub mod rate_limit;
pub mod request_limits;
mod retention;
pub mod security_log;
pub mod service;
pub mod startup;
pub mod telemetry;
pub mod text;
pub mod trace;
pub mod validation;

pub use rocketmart_contracts::list;
