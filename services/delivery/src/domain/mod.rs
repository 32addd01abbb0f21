//! The rules of addresses and shipments, free of any store, broker or protocol.

pub mod address;
mod country;
pub mod shipment;
