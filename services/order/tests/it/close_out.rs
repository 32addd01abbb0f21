//! The end of a sale: drained, compared order by order, signed once.

use rocketmart_contracts::event::{Payload as _, PaymentRequested};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shop::{Shop, eventually};

/// A closed and drained sale of five mugs: two sold, one cancelled, one payment failed.
async fn drained(shop: &Shop) -> Uuid {
    let sale = shop.open_sale(5).await;
    for _ in 0..2 {
        shop.buy_and_pay(&shop.buyer(), sale).await;
    }
    let leaver = shop.buyer();
    let (_, left) = leaver.purchase(sale, 1, "k").await;
    let id = left["id"].as_str().unwrap();
    leaver.post(&format!("/api/v1/orders/{id}/cancel"), &json!({})).await;
    shop.until_booked(id, "cancelled").await;
    let poor = shop.buyer();
    let (_, declined) = poor.purchase(sale, 1, "k").await;
    let id = declined["id"].as_str().unwrap();
    poor.post(&format!("/api/v1/orders/{id}/payment"), &json!({})).await;
    shop.told.until(PaymentRequested::TYPE, id, 1).await;
    let (status, early) = close_out(shop, sale).await;
    assert_eq!((status, early["code"].as_str()), (409, Some("sale-not-closed")));
    shop.operator().post(&format!("/internal/v1/sales/{sale}/close"), &json!({ "fence": 1 })).await;
    let (status, early) = close_out(shop, sale).await;
    assert_eq!((status, early["code"].as_str()), (409, Some("not-drained")), "{early}");
    assert_eq!(early["outstanding"]["reservations"], 1);
    shop.payment_fails(&declined, Uuid::now_v7()).await;
    shop.until_booked(id, "payment_failed").await;
    eventually("nothing is outstanding", async || {
        let (_, status) = shop.operator().get(&format!("/internal/v1/sales/{sale}")).await;
        status["outstanding"]
            == json!({ "reservations": 0, "stream_entries": 0, "outbox": 0, "payments_pending": 0 })
    })
    .await;
    sale
}

async fn close_out(shop: &Shop, sale: Uuid) -> (u16, Value) {
    shop.operator().post(&format!("/internal/v1/sales/{sale}/close-out"), &json!({ "fence": 1 })).await
}

fn kinds(report: &Value) -> Vec<&str> {
    report["differences"].as_array().unwrap().iter().map(|d| d["kind"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_sale_is_signed_once_and_its_unsold_units_return_once() {
    let shop = Shop::open().await;
    let sale = drained(&shop).await;
    assert_eq!(shop.backing.standing().await, [98, 3]);
    let (status, report) = close_out(&shop, sale).await;
    assert_eq!(status, 200, "{report}");
    assert_eq!((&report["differences"], &report["differences_total"]), (&json!([]), &json!(0)), "{report}");
    assert_eq!(report["matched"], 4);
    assert_eq!(report["orders"], json!({ "paid": 2, "expired": 0, "cancelled": 1, "payment_failed": 1 }));
    assert_eq!(
        report["items"][0],
        json!({ "sku": "MUG", "preloaded": 5, "remaining": 3, "reserved": 0, "sold": 2 })
    );
    assert!(report["closed_out_at"].is_string());
    assert_eq!(shop.backing.standing().await, [98, 0]);

    let (status, again) = close_out(&shop, sale).await;
    assert_eq!((status, again), (200, report));
    assert_eq!(shop.backing.standing().await, [98, 0], "unsold units return once");
    let (_, status) = shop.operator().get(&format!("/internal/v1/sales/{sale}")).await;
    assert_eq!(status["state"], "closed_out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_difference_is_found_and_nothing_is_signed_until_it_is_gone() {
    let shop = Shop::open().await;
    let sale = drained(&shop).await;
    let client = redis::Client::open(shop.backing.redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let stock = format!("rm:{{{sale}}}:stock");

    // Redis claims one more sold than there was.
    for (counter, by) in [("MUG:sold", 1), ("MUG:remaining", -1)] {
        let _: i64 = redis::cmd("HINCRBY")
            .arg(&stock)
            .arg(counter)
            .arg(by)
            .query_async(&mut connection)
            .await
            .unwrap();
    }
    let (status, report) = close_out(&shop, sale).await;
    assert_eq!((status, kinds(&report)), (200, vec!["counters-differ"]), "{report}");
    assert!(report.get("closed_out_at").is_none());
    assert_eq!(shop.backing.standing().await, [98, 3], "nothing is returned while the books differ");
    for (counter, by) in [("MUG:sold", -1), ("MUG:remaining", 1)] {
        let _: i64 = redis::cmd("HINCRBY")
            .arg(&stock)
            .arg(counter)
            .arg(by)
            .query_async(&mut connection)
            .await
            .unwrap();
    }

    // SQL forgets that a payment was kept, and then forgets a paid order altogether.
    let pool = &shop.backing.pool;
    sqlx::query("UPDATE payments_seen SET outcome = 'refunded' WHERE payment_id = (SELECT min(payment_id::text)::uuid FROM payments_seen WHERE outcome = 'succeeded')")
        .execute(pool).await.unwrap();
    let (_, report) = close_out(&shop, sale).await;
    assert_eq!(kinds(&report), ["payment-missing"], "{report}");
    sqlx::query("UPDATE payments_seen SET outcome = 'succeeded' WHERE outcome = 'refunded'")
        .execute(pool)
        .await
        .unwrap();

    sqlx::query("DELETE FROM orders WHERE id = (SELECT id FROM orders WHERE state = 'paid' LIMIT 1)")
        .execute(pool)
        .await
        .unwrap();
    let (_, report) = close_out(&shop, sale).await;
    let mut found = kinds(&report);
    found.sort_unstable();
    assert_eq!(found, ["order-missing", "orders-differ-from-ledger", "payment-without-order"], "{report}");
}
