//! Payments: the methods that members keep, and at most one charge for every order.
//!
//! An order that wants to be paid arrives as an event and becomes one row; [`domain::payment`] says which
//! states it can go through. The [`worker`] charges what is due through a [`provider`], many at once, and
//! writes results and events in batches. A time-out means *unknown*: the worker tries the same idempotency
//! key again, and after the deadline it asks the provider for a final word. The [`api`] serves members their
//! methods and payments, and takes the provider's signed call-backs.

pub mod api;
pub mod domain;
pub mod events;
pub mod provider;
mod store;
pub mod worker;

/// The schema of the service's own database.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");
