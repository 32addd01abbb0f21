//! The shoppers: everything they do, over HTTP, as a person's browser or telephone would.
//!
//! [`people`] makes members, sellers and products before a sale. [`rush`] lets thousands of shoppers compete
//! for its units. What each of them did and was told goes to a [`history`] file. The checker, which shares no
//! code with this crate or the services, reads that file, and so does the [`summary`]. Nothing here looks
//! into a store: only what a shopper can see counts.

pub mod client;
pub mod generator;
pub mod history;
pub mod people;
pub mod rush;
pub mod shopper;
pub mod summary;
