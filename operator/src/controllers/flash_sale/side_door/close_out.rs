//! A close-out as the order service tells it, and as a status shows it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rocketmart_crds::flash_sale::{CloseOutReport, Difference, OrderCounts};
use serde::Deserialize;

use super::standing::{Discrepancy, Item};

/// Differences that a status lists.
pub(crate) const LISTED: usize = 20;

#[derive(Deserialize)]
pub(super) struct CloseOut {
    matched: i64,
    orders: Endings,
    items: Vec<Item>,
    differences: Vec<Discrepancy>,
    differences_total: i64,
    #[serde(default)]
    closed_out_at: Option<Time>,
}

#[derive(Deserialize)]
struct Endings {
    paid: i64,
    expired: i64,
    cancelled: i64,
    payment_failed: i64,
}

/// The close-out for a status, and all differences that were told.
pub(super) fn report(books: CloseOut) -> (CloseOutReport, Vec<Difference>) {
    let differences: Vec<_> = books
        .differences
        .into_iter()
        .map(|found| Difference {
            kind: found.kind,
            order_id: found.order_id,
            sku: found.sku,
            detail: found.detail,
        })
        .collect();
    let report = CloseOutReport {
        matched: books.matched,
        orders: OrderCounts {
            paid: books.orders.paid,
            expired: books.orders.expired,
            cancelled: books.orders.cancelled,
            payment_failed: books.orders.payment_failed,
        },
        items: books.items.iter().map(Item::status).collect(),
        differences: differences.iter().take(LISTED).cloned().collect(),
        differences_total: books.differences_total,
        differences_config_map: None,
        closed_out_at: books.closed_out_at,
    };
    (report, differences)
}
