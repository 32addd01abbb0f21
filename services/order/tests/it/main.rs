//! The order service against a real Redis, PostgreSQL and Kafka. The test plays the payment, the
//! delivery and the catalog service by speaking their events.

mod close_out;
mod purchases;
mod relay;
mod settlement;
mod shop;
mod side_door;
