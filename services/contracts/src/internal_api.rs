//! The internal API of the order service: what the operator asks of a sale, and what it is told.
//!
//! ```text
//!   PUT  /internal/v1/sales/{id}             SaleTerms ──▶ SaleStatus
//!   GET  /internal/v1/sales/{id}                       ──▶ SaleStatus
//!   POST /internal/v1/sales/{id}/{command}   Fenced    ──▶ SaleStatus, of `close-out` CloseOut
//!   GET  /internal/v1/skus?sku=a&sku=b                 ──▶ Skus
//! ```
//!
//! It is never routed from outside, and guarded by the shop's internal token. Every command carries a fencing
//! token and may be repeated. Operator and order service are rolled out one after the other, so an answer may
//! have fields, kinds of differences and codes that its reader has not heard of.

mod close_out;
mod code;
mod command;
mod difference;
mod sale;
mod skus;

pub use self::{
    close_out::{CloseOut, Endings},
    code::Code,
    command::{Command, Fenced, MAX_FENCE},
    difference::{Difference, DifferenceKind},
    sale::{Counters, Item, ItemCount, MAX_ITEMS, Outstanding, Rebuilt, SaleState, SaleStatus, SaleTerms},
    skus::{MAX_SKUS, PublishedSku, Skus},
};

/// One sale, by the id of its `FlashSale`.
pub const SALE: &str = "/internal/v1/sales/{id}";
/// What the catalog has published of the SKUs that the query names, each as `sku`.
pub const SKUS: &str = "/internal/v1/skus";

/// The path of one sale.
pub fn sale(id: &str) -> String {
    SALE.replace("{id}", id)
}
