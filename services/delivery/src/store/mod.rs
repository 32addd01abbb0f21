//! The delivery database. Batches go in as arrays and come out of `RETURNING`; a step and the event
//! that tells it are written in one transaction.

pub(crate) mod addresses;
pub(crate) mod parcels;
pub(crate) mod reading;
pub(crate) mod returns;
pub(crate) mod shipments;
