//! What the order service says about a sale, as a status shows it.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use rocketmart_contracts::internal_api::{self, CloseOut, ItemCount};
use rocketmart_crds::flash_sale::{CloseOutReport, Difference, ItemStatus, OrderCounts};
use time::OffsetDateTime;

/// How many differences a status lists.
pub(crate) const LISTED: usize = 20;

/// The close-out as a status shows it, and all the differences we were told of.
pub(super) fn report(books: CloseOut) -> (CloseOutReport, Vec<Difference>) {
    let differences: Vec<_> = books.differences.into_iter().map(difference).collect();
    let report = CloseOutReport {
        matched: count(books.matched),
        orders: OrderCounts {
            paid: count(books.orders.paid),
            expired: count(books.orders.expired),
            cancelled: count(books.orders.cancelled),
            payment_failed: count(books.orders.payment_failed),
        },
        items: books.items.iter().map(item).collect(),
        differences: differences.iter().take(LISTED).cloned().collect(),
        differences_total: count(books.differences_total),
        differences_config_map: None,
        closed_out_at: books.closed_out_at.map(time),
    };
    (report, differences)
}

pub(crate) fn item(counted: &ItemCount) -> ItemStatus {
    ItemStatus {
        sku: counted.sku.clone(),
        preloaded: counted.units.preloaded,
        remaining: counted.units.remaining,
        reserved: counted.units.reserved,
        sold: counted.units.sold,
    }
}

fn difference(found: internal_api::Difference) -> Difference {
    Difference {
        kind: found.kind.to_string(),
        order_id: found.order_id.map(|id| id.to_string()),
        sku: found.sku,
        detail: found.detail,
    }
}

/// Numbers in a status are signed.
fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn time(at: OffsetDateTime) -> Time {
    // Both types range from the year -9999 to 9999.
    Time(Timestamp::from_nanosecond(at.unix_timestamp_nanos()).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_lists_the_first_differences_and_counts_all() {
        let difference = json!({"kind": "order-missing", "order_id": uuid::Uuid::nil(), "detail": "d"});
        let books = json!({
            "matched": 3, "orders": {"paid": 2, "expired": 1, "cancelled": 0, "payment_failed": 0},
            "items": [{"sku": "A", "preloaded": 5, "remaining": 3, "reserved": 0, "sold": 2}],
            "differences": vec![difference; 30], "differences_total": 40,
            "closed_out_at": "2030-01-01T10:00:00.25Z",
        });
        let (report, told) = report(serde_json::from_value(books).unwrap());
        assert_eq!((report.differences.len(), told.len(), report.differences_total), (LISTED, 30, 40));
        assert_eq!((report.matched, report.orders.paid, report.items[0].sold), (3, 2, 2));
        assert_eq!(told[0].kind, "order-missing");
        assert_eq!(report.closed_out_at.unwrap().0.as_millisecond(), 1_893_492_000_250);
    }
}
