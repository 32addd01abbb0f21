//! The rules of addresses, shipments and returns, free of any store, broker or protocol.

pub mod address;
mod country;
pub mod journey;
mod phone;
pub mod returns;
pub mod shipment;
