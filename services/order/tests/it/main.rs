//! The order service against a real Redis, PostgreSQL and Kafka. The test plays the payment, the
//! delivery and the catalog service by speaking their events.

mod cancel;
mod close_out;
mod completion;
mod purchases;
mod relay;
mod returns;
mod settlement;
mod shop;
mod side_door;
