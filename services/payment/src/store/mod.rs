//! The payment database. Batches go in as arrays and come out of `RETURNING`. A fact and its event are
//! written in one transaction.

pub(crate) mod charging;
pub(crate) mod disputes;
pub(crate) mod foreign_refunds;
pub(crate) mod intake;
pub(crate) mod methods;
pub(crate) mod reading;
pub(crate) mod reconciliation;
pub(crate) mod refund_requests;
pub(crate) mod refunding;
