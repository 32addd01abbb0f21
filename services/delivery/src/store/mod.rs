//! The delivery database. Batches go in as arrays and come out of `RETURNING`. A step and its event are
//! written in one transaction.

pub(crate) mod addresses;
pub(crate) mod parcels;
pub(crate) mod reading;
pub(crate) mod returns;
pub(crate) mod shipments;
