//! Redis loses its data in the middle of a sale. The sale pauses, is rebuilt from SQL, and the books hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rocketmart_contracts::event::{OrderPaid, Payload as _, PaymentRequested, RefundRequested};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::crowd::{Crowd, KEY, UNITS};
use crate::shop::{Caller, Shop, eventually, moment, offer};

pub async fn flush(shop: &Shop) {
    let client = redis::Client::open(shop.backing.redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let _: () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
}

pub async fn command(shop: &Shop, sale: Uuid, what: &str) -> (u16, Value) {
    shop.operator().post(&format!("/internal/v1/sales/{sale}/{what}"), &json!({ "fence": 1 })).await
}

pub async fn status(shop: &Shop, sale: Uuid) -> Value {
    shop.operator().get(&format!("/internal/v1/sales/{sale}")).await.1
}

pub fn kinds(status: &Value) -> Vec<&str> {
    status["differences"].as_array().unwrap().iter().map(|found| found["kind"].as_str().unwrap()).collect()
}

/// Rebuilds as the operator does: again and again until nothing is under way any more, and then resumes the
/// sale.
pub async fn rebuild(shop: &Shop, sale: Uuid) -> Value {
    let mut last = Value::Null;
    eventually("the sale is rebuilt", async || {
        let (status, answer) = command(shop, sale, "rebuild").await;
        last = answer;
        status == 200 || {
            assert_eq!((status, last["code"].as_str()), (409, Some("events-in-flight")), "{last}");
            false
        }
    })
    .await;
    assert_eq!((&last["verified"], &last["state"]), (&json!(true), &json!("suspended")), "{last}");
    assert_eq!(command(shop, sale, "resume").await.0, 200);
    last
}

/// Closes the sale and waits for its report, which may show no difference.
pub async fn closed(shop: &Shop, sale: Uuid) -> Value {
    assert_eq!(command(shop, sale, "close").await.0, 200);
    let mut report = Value::Null;
    eventually("the sale is drained", async || {
        let (status, answer) = command(shop, sale, "close-out").await;
        report = answer;
        status == 200
    })
    .await;
    assert_eq!((&report["differences"], &report["differences_total"]), (&json!([]), &json!(0)), "{report}");
    report
}

/// Closes the only sale. The report must match every order in the books and show no difference.
pub async fn close_out(shop: &Shop, sale: Uuid) -> Value {
    let report = closed(shop, sale).await;
    assert_eq!(report["matched"], shop.backing.number("SELECT count(*) FROM orders").await, "{report}");
    assert!(report["closed_out_at"].is_string(), "{report}");
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_lost_under_load_is_rebuilt_and_every_unit_is_sold_once() {
    let shop = Arc::new(Shop::open().await);
    let mut crowd = Crowd::gather(&shop).await;
    let sale = crowd.sale;
    let mut unknown = Vec::new();
    for loss in [15, 35] {
        crowd.until_booked(loss).await;
        flush(&shop).await;
        let rebuilt = rebuild(&shop, sale).await["rebuilt"].clone();
        unknown.push((moment(&rebuilt["unknown_from"]), moment(&rebuilt["unknown_until"])));
    }
    let served = crowd.until_all_is_sold().await;

    // I3, I6: an order that reached the books came to its end, and its key still leads to it. An order that
    // Redis alone knew is lost whole, and lies in the time for which the rebuild says that purchases are
    // unknown.
    let booked: BTreeMap<String, String> =
        sqlx::query_as::<_, (String, String)>("SELECT id::text, state FROM orders")
            .fetch_all(&shop.backing.pool)
            .await
            .unwrap()
            .into_iter()
            .collect();
    let second = Duration::from_secs(1);
    for (buyer, order) in &served {
        let id = order["id"].as_str().unwrap();
        if let Some(state) = booked.get(id) {
            assert!(matches!(state.as_str(), "paid" | "expired"), "{id} is {state}");
            let (status, again) = buyer.purchase(sale, 1, KEY).await;
            assert_eq!((status, again["id"].as_str()), (201, Some(id)), "{again}");
        } else {
            let at = moment(&order["reserved_at"]);
            let told = unknown.iter().any(|(from, until)| *from <= at && at <= *until + second);
            assert!(told, "{id} of {at} is lost, the unknown ones are of {unknown:?}");
            assert!(shop.told.of(PaymentRequested::TYPE, id).is_empty(), "nothing was charged for it");
        }
    }
    let report = close_out(&shop, sale).await;
    assert_eq!(report["orders"]["paid"], UNITS, "{report}");
    crowd.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_that_end_while_redis_is_empty_wait_and_are_booked_once() {
    let shop = Shop::open().await;
    let mut terms = offer(10);
    terms["payment_seconds"] = json!(3);
    let sale = shop.sale(terms).await;
    let delivered = shop.buy_and_pay(&shop.buyer(), sale).await;
    // One is cancelled, and charged all the same.
    let leaver = shop.buyer();
    let (_, late) = leaver.purchase(sale, 1, KEY).await;
    let late_id = late["id"].as_str().unwrap();
    leaver.post(&format!("/api/v1/orders/{late_id}/cancel"), &json!({})).await;
    shop.until_booked(late_id, "cancelled").await;
    let mut submitted = Vec::new();
    for _ in 0..2 {
        let buyer = shop.buyer();
        let (_, order) = buyer.purchase(sale, 1, KEY).await;
        let id = order["id"].as_str().unwrap().to_owned();
        buyer.post(&format!("/api/v1/orders/{id}/payment"), &json!({})).await;
        shop.told.until(PaymentRequested::TYPE, &id, 1).await;
        submitted.push((buyer, order, id));
    }
    let [(buyer, succeeds, paid), (failing, fails, failed)] = submitted.as_slice() else { panic!() };
    let lingerer = shop.buyer();
    let (_, held) = lingerer.purchase(sale, 1, KEY).await;
    let held_id = held["id"].as_str().unwrap();
    shop.until_booked(held_id, "reserved").await;

    flush(&shop).await;
    shop.payment_succeeds(succeeds, Uuid::now_v7()).await;
    shop.payment_fails(fails, Uuid::now_v7()).await;
    shop.payment_succeeds(&late, Uuid::now_v7()).await;
    let parked = "SELECT count(*) FROM parked_payments";
    eventually("two payments are parked", async || shop.backing.number(parked).await == 2).await;
    // What comes after them in Kafka gets through, and what SQL knows to be too late goes back.
    shop.shipment_is(&delivered, "delivered").await;
    shop.until_booked(delivered["id"].as_str().unwrap(), "delivered").await;
    let refund = shop.told.until(RefundRequested::TYPE, late_id, 1).await.remove(0);
    shop.gives_back(&refund).await;

    // Nobody hears anything wrong meanwhile, only: come again.
    let standing = status(&shop, sale).await;
    assert_eq!((kinds(&standing), &standing["verified"]), (vec!["redis-lost"], &json!(false)), "{standing}");
    for (what, body) in [
        (format!("/api/v1/sales/{sale}/purchases"), json!({ "sku": crate::shop::MUG, "quantity": 1 })),
        (format!("/api/v1/orders/{held_id}/payment"), json!({})),
    ] {
        let request = lingerer.http.post(format!("{}{what}", lingerer.api)).bearer_auth(&lingerer.token);
        let answer = request.header("idempotency-key", "another").json(&body).send().await.unwrap();
        let (code, after) = (answer.status(), answer.headers().get("retry-after").cloned());
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(
            (code.as_u16(), problem["code"].as_str()),
            (503, Some("sale-paused")),
            "{what}: {problem}"
        );
        assert!(after.is_some(), "{what}");
    }
    // All deadlines pass, grace included.
    let grace = i64::from(crate::shop::GRACE_SECONDS) * 1_000;
    let over = moment(&held["pay_by"]).unix_timestamp() * 1_000 + grace + 1_500 - crate::shop::now_ms();
    tokio::time::sleep(Duration::from_millis(over.max(0).cast_unsigned())).await;
    assert_eq!(shop.backing.ledger().await, [10, 6, 3, 1]);

    let rebuilt = rebuild(&shop, sale).await;
    assert_eq!(
        (&rebuilt["rebuilt"]["parked"], &rebuilt["rebuilt"]["orders"]),
        (&json!(2), &json!(5)),
        "{rebuilt}"
    );
    // It is sold before it is booked; otherwise it would expire first.
    assert_eq!(rebuilt["items"][0]["sold"], 2, "{rebuilt}");
    shop.until_booked(paid, "paid").await;
    shop.until_booked(held_id, "expired").await;
    // Its deadline has passed and its payment has failed: either may come first.
    eventually("the one whose payment failed has ended", async || {
        let ended = "SELECT count(*) FROM orders WHERE state IN ('payment_failed', 'expired')";
        shop.backing.number(ended).await == 2 && shop.backing.number(parked).await == 0
    })
    .await;
    let (_, ended) = failing.get(&format!("/api/v1/orders/{failed}")).await;
    assert_ne!(ended["state"], "reserved");
    shop.told.until(OrderPaid::TYPE, paid, 1).await;
    assert!(shop.told.of(RefundRequested::TYPE, paid).is_empty());
    assert_eq!(buyer.purchase(sale, 1, KEY).await.1["id"], succeeds["id"], "the same key, the same order");
    let report = close_out(&shop, sale).await;
    assert_eq!(
        (&report["orders"]["paid"], &report["orders"]["cancelled"]),
        (&json!(2), &json!(1)),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_were_cancelled_or_returned_since_are_rebuilt_as_sold() {
    let shop = Shop::open().await;
    let sale = shop.open_sale(10).await;
    let returner = shop.buyer();
    let returned = shop.buy_and_receive(&returner, sale, 1).await;
    let id = returned["id"].as_str().unwrap();
    let wish = json!({ "lines": [{ "sku": crate::shop::MUG, "quantity": 1 }], "reason": "too small" });
    let (code, back) = returner.send_back(id, "back", &wish).await;
    assert_eq!(code, 201, "{back}");
    shop.return_is(id, &back, "received").await;
    let refund = shop.told.until(RefundRequested::TYPE, id, 1).await.remove(0);
    shop.gives_back(&refund).await;
    shop.until_booked(id, "refunded").await;
    let canceller = shop.buyer();
    let cancelled = shop.buy_and_pay(&canceller, sale).await;
    let cancelled_id = cancelled["id"].as_str().unwrap();
    canceller.post(&format!("/api/v1/orders/{cancelled_id}/cancel"), &json!({})).await;
    shop.shipment_is(&cancelled, "cancelled").await;
    let refund = shop.told.until(RefundRequested::TYPE, cancelled_id, 1).await.remove(0);
    shop.gives_back(&refund).await;
    shop.until_booked(cancelled_id, "cancelled").await;
    let leaver = shop.buyer();
    let (_, left) = leaver.purchase(sale, 1, KEY).await;
    let left_id = left["id"].as_str().unwrap();
    leaver.post(&format!("/api/v1/orders/{left_id}/cancel"), &json!({})).await;
    shop.until_booked(left_id, "cancelled").await;

    flush(&shop).await;
    let standing = rebuild(&shop, sale).await;
    let units =
        json!([{ "sku": crate::shop::MUG, "preloaded": 10, "remaining": 8, "reserved": 0, "sold": 2 }]);
    assert_eq!((&standing["items"], &standing["ledger"]), (&units, &units), "{standing}");
    // The limit counts what was bought, and not what was never paid for.
    assert_eq!(returner.purchase(sale, 1, "once-more").await.1["code"], "buyer-limit-exceeded");
    assert_eq!(leaver.purchase(sale, 1, "once-more").await.0, 201);
    let report = close_out_after_cancel(&shop, sale, &leaver).await;
    assert_eq!(report["orders"]["paid"], 1, "the refunded one: {report}");
}

/// Cancels what `buyer` holds, so that the test need not wait for anything.
async fn close_out_after_cancel(shop: &Shop, sale: Uuid, buyer: &Caller) -> Value {
    let (_, held) = buyer.purchase(sale, 1, "once-more").await;
    let id = held["id"].as_str().unwrap();
    buyer.post(&format!("/api/v1/orders/{id}/cancel"), &json!({})).await;
    close_out(shop, sale).await
}
