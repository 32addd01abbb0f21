//! Delivery: where buyers want their parcels, and where the parcels are.
//!
//! A paid order arrives as an event and becomes one shipment, with the address as it was then. The [`worker`]
//! asks the [`carrier`] about moving shipments in batches, and emits an event for each step. The [`api`]
//! keeps members' addresses and shows them their shipments.

pub mod api;
pub mod carrier;
pub mod domain;
pub mod events;
mod store;
pub mod worker;

/// The schema of the service's own database.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");
