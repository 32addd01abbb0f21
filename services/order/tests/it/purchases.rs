//! Whole purchases over HTTP, through Redis, Kafka and PostgreSQL and back.

use std::time::Duration;

use reqwest::Method;
use rocketmart_contracts::event::{
    OrderPaid, OrderReleased, Payload as _, PaymentRequested, RefundRequested,
};
use rocketmart_stock::{BuyerId, Line, OrderId, Reserve, ReserveOutcome, SaleId};
use serde_json::json;
use uuid::Uuid;

use crate::shop::{GRACE_SECONDS, MUG, PRICE, Shop, eventually, from_now, moment, now_ms, offer};

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_is_reserved_then_paid_then_delivered_and_the_books_follow() {
    let shop = Shop::open().await;
    let sale = shop.open_sale(10).await;
    let buyer = shop.buyer();

    let (status, order) = buyer.purchase(sale, 1, "first").await;
    assert_eq!(status, 201, "{order}");
    assert_eq!(order["state"], "reserved");
    assert_eq!(order["sale"], sale.to_string());
    assert_eq!((order["amount"].as_i64(), order["currency"].as_str()), (Some(PRICE), Some("EUR")));
    assert_eq!(order["lines"], json!([{ "sku": "MUG", "quantity": 1, "unit_price": PRICE }]));
    let id = order["id"].as_str().unwrap();
    let (status, found) = buyer.get(&format!("/api/v1/orders/{id}")).await;
    assert_eq!((status, &found["id"]), (200, &order["id"]), "found before SQL has it");

    let address = Uuid::now_v7();
    let wish = json!({ "delivery_address_id": address });
    let (status, paying) = buyer.post(&format!("/api/v1/orders/{id}/payment"), &wish).await;
    assert_eq!((status, &paying["payment"]["state"]), (202, &json!("requested")), "{paying}");
    let requested = shop.told.until(PaymentRequested::TYPE, id, 1).await;
    assert_eq!(requested[0]["amount"], PRICE);
    assert_eq!(requested[0]["buyer_id"], buyer.id.to_string());

    let payment = Uuid::now_v7();
    shop.payment_succeeds(&order, payment).await;
    let paid = shop.until(&buyer, id, "paid").await;
    let told = shop.told.until(OrderPaid::TYPE, id, 1).await;
    assert_eq!(told[0]["payment_id"], payment.to_string());
    assert_eq!(told[0]["delivery_address_id"], address.to_string());
    assert_eq!(told[0]["lines"], order["lines"]);
    shop.until_booked(id, "paid").await;
    assert_eq!(shop.backing.ledger().await, [10, 9, 0, 1]);
    assert_eq!(shop.backing.standing().await, [99, 9], "only a payment reduces the stock");
    assert_eq!(paid["amount"], PRICE);

    for state in ["preparing", "shipped", "delivered"] {
        shop.shipment_is(&order, state).await;
    }
    let delivered = shop.until(&buyer, id, "delivered").await;
    assert_eq!(delivered["shipment"]["tracking_number"], "RM1");
    let (_, list) = buyer.get("/api/v1/orders?limit=1").await;
    assert_eq!(list["data"][0]["id"], order["id"]);
    assert_eq!(list["has_more"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpaid_order_expires_and_a_later_buyer_gets_its_unit() {
    let shop = Shop::open().await;
    let mut terms = offer(1);
    terms["payment_seconds"] = json!(2);
    let sale = shop.sale(terms).await;
    let (leaver, later) = (shop.buyer(), shop.buyer());
    let (_, left) = leaver.purchase(sale, 1, "k").await;
    let (status, refused) = later.purchase(sale, 1, "too-early").await;
    assert_eq!((status, refused["code"].as_str()), (409, Some("sold-out")), "{refused}");

    shop.until_booked(left["id"].as_str().unwrap(), "expired").await;
    let mut bought = json!(null);
    eventually("the unit is for sale again", async || {
        let (status, answer) = later.purchase(sale, 1, "again").await;
        bought = answer;
        status == 201
    })
    .await;
    let id = left["id"].as_str().unwrap();
    let released = shop.told.until(OrderReleased::TYPE, id, 1).await;
    assert_eq!(released[0]["reason"], "expired");
    let (status, refused) = leaver.post(&format!("/api/v1/orders/{id}/payment"), &json!({})).await;
    assert_eq!((status, refused["code"].as_str()), (409, Some("order-expired")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_that_comes_after_expiry_is_given_back_and_the_order_stays_expired() {
    let shop = Shop::open().await;
    let mut terms = offer(1);
    terms["payment_seconds"] = json!(1);
    let sale = shop.sale(terms).await;
    let buyer = shop.buyer();
    let (_, order) = buyer.purchase(sale, 1, "k").await;
    let id = order["id"].as_str().unwrap();
    shop.until_booked(id, "expired").await;

    let payment = Uuid::now_v7();
    shop.payment_succeeds(&order, payment).await;
    let refund = shop.told.until(RefundRequested::TYPE, id, 1).await;
    assert_eq!(refund[0]["payment_id"], payment.to_string());
    assert_eq!(
        (refund[0]["amount"].as_i64(), refund[0]["reason"].as_str()),
        (Some(PRICE), Some("order_released"))
    );
    shop.until_booked(id, "expired").await;
    assert_eq!(shop.backing.ledger().await, [1, 1, 0, 0]);
    assert_eq!(shop.backing.standing().await, [100, 1]);
    assert!(shop.told.of(OrderPaid::TYPE, id).is_empty());

    shop.payment_refunded(&order, payment).await;
    eventually("the refund is booked", async || {
        let (_, seen) = buyer.get(&format!("/api/v1/orders/{id}")).await;
        seen["payment"]["state"] == "refunded"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_payment_nobody_works_on_expires_after_the_grace_and_a_late_success_is_given_back() {
    let shop = Shop::open().await;
    let mut terms = offer(1);
    terms["payment_seconds"] = json!(1);
    let sale = shop.sale(terms).await;
    let (buyer, later) = (shop.buyer(), shop.buyer());
    let (_, order) = buyer.purchase(sale, 1, "k").await;
    let id = order["id"].as_str().unwrap();
    let (status, paying) = buyer.post(&format!("/api/v1/orders/{id}/payment"), &json!({})).await;
    assert_eq!(status, 202, "{paying}");
    shop.until_booked(id, "expired").await;
    let grace = time::Duration::seconds(GRACE_SECONDS.into());
    assert!(time::OffsetDateTime::now_utc() >= moment(&paying["pay_by"]) + grace, "the grace was granted");
    let (status, bought) = later.purchase(sale, 1, "k").await;
    assert_eq!(status, 201, "the unit is on sale again: {bought}");

    let payment = Uuid::now_v7();
    shop.payment_succeeds(&order, payment).await;
    let refund = shop.told.until(RefundRequested::TYPE, id, 1).await;
    assert_eq!(
        (&refund[0]["payment_id"], &refund[0]["reason"]),
        (&json!(payment), &json!("order_released")),
        "{refund:?}"
    );
    shop.until_booked(id, "expired").await;
    assert!(shop.told.of(OrderPaid::TYPE, id).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_submitted_before_an_outage_comes_through_though_its_deadline_passed_meanwhile() {
    let mut shop = Shop::with_api_only().await;
    shop.backing.grace.payment_grace_seconds = 300;
    shop.keep(shop.backing.run_relay().await);
    let mut terms = offer(1);
    terms["payment_seconds"] = json!(1);
    let sale = shop.sale(terms).await;
    let buyer = shop.buyer();
    let (_, order) = buyer.purchase(sale, 1, "k").await;
    let id = order["id"].as_str().unwrap();
    let (status, paying) = buyer.post(&format!("/api/v1/orders/{id}/payment"), &json!({})).await;
    assert_eq!(status, 202, "{paying}");

    // Nobody works until it is too late to submit anything.
    let pay_by = moment(&paying["pay_by"]).unix_timestamp_nanos() / 1_000_000;
    eventually("the deadline has passed", async || i128::from(now_ms()) > pay_by + 500).await;
    shop.keep(shop.backing.run_worker().await);
    let asked = shop.told.until(PaymentRequested::TYPE, id, 1).await;
    assert!(asked[0]["pay_by_ms"].as_i64().unwrap() > now_ms(), "it may still be charged: {asked:?}");
    shop.payment_succeeds(&order, Uuid::now_v7()).await;
    shop.until_booked(id, "paid").await;
    assert_eq!(shop.backing.ledger().await, [1, 0, 0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_payment_told_twice_restocks_once() {
    let shop = Shop::open().await;
    let sale = shop.open_sale(3).await;
    let (buyer, keeper) = (shop.buyer(), shop.buyer());
    let (_, kept) = keeper.purchase(sale, 1, "k").await;
    let (_, order) = buyer.purchase(sale, 1, "k").await;
    let id = order["id"].as_str().unwrap();
    buyer.post(&format!("/api/v1/orders/{id}/payment"), &json!({})).await;
    shop.told.until(PaymentRequested::TYPE, id, 1).await;

    let payment = Uuid::now_v7();
    shop.payment_fails(&order, payment).await;
    shop.payment_fails(&order, payment).await;
    shop.until_booked(id, "payment_failed").await;
    let failed = shop.until(&buyer, id, "payment_failed").await;
    assert_eq!(failed["payment"]["reason"], "declined");
    shop.until_booked(kept["id"].as_str().unwrap(), "reserved").await;
    // A second restock would take the other buyer's unit out of `reserved`.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(shop.backing.ledger().await, [3, 2, 1, 0]);
    let counters = shop.backing.stock.counters(sale.into()).await.unwrap().unwrap();
    assert_eq!((counters.items[0].remaining, counters.items[0].reserved), (2, 1));
    assert_eq!(shop.told.of(OrderReleased::TYPE, id).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_is_one_order_and_the_limit_holds_across_keys() {
    let shop = Shop::open().await;
    let sale = shop.open_sale(10).await;
    let buyer = shop.buyer();
    let (_, first) = buyer.purchase(sale, 1, "same").await;
    let (status, again) = buyer.purchase(sale, 1, "same").await;
    assert_eq!((status, &again["id"]), (201, &first["id"]), "the same key gives the same order");
    let (status, reused) = buyer.purchase(sale, 2, "same").await;
    assert_eq!((status, reused["code"].as_str()), (422, Some("idempotency-key-reused")));
    let (status, limited) = buyer.purchase(sale, 1, "another").await;
    assert_eq!((status, limited["code"].as_str()), (409, Some("buyer-limit-exceeded")));
    let (status, _) = shop.buyer().purchase(sale, 1, "same").await;
    assert_eq!(status, 201, "a key belongs to its buyer");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_bought_is_refused_with_a_code_of_its_own() {
    let shop = Shop::with_api_only().await;
    let sale = shop.open_sale(10).await;
    let buyer = shop.buyer();
    let path = format!("/api/v1/sales/{sale}/purchases");
    let nowhere = format!("/api/v1/sales/{}/purchases", Uuid::now_v7());
    let good = json!({ "sku": "MUG", "quantity": 1 });
    let cases = [
        (&path, good.clone(), None, 400, "idempotency-key-missing"),
        (&path, json!({ "sku": "PEN", "quantity": 1 }), Some("a"), 422, "sku-not-in-sale"),
        (&path, json!({ "sku": "MUG", "quantity": 0 }), Some("b"), 422, "validation-failed"),
        (&path, json!({ "sku": "MUG", "quantity": -1 }), Some("c"), 422, "validation-failed"),
        (&path, json!({ "sku": "MUG", "quantity": 1, "price": 1 }), Some("d"), 422, "validation-failed"),
        (&path, json!({ "sku": "MUG" }), Some("e"), 422, "validation-failed"),
        (&nowhere, good.clone(), Some("f"), 404, "sale-unknown"),
    ];
    for (path, body, key, status, code) in cases {
        let (found, answer) = buyer.call(Method::POST, path, Some(&body), key).await;
        assert_eq!((found, answer["code"].as_str()), (status, Some(code)), "{body} {answer}");
    }
    let anonymous = crate::shop::Caller { token: "no".into(), ..buyer.clone() };
    let (status, _) = anonymous.call(Method::POST, &path, Some(&good), Some("g")).await;
    assert_eq!(status, 401);

    let mut later = offer(10);
    (later["name"], later["opens_at"]) = (json!("later"), json!(from_now(300)));
    let later_id = Uuid::now_v7();
    shop.operator().put(&format!("/internal/v1/sales/{later_id}"), &later).await;
    let (status, answer) = buyer.purchase(later_id, 1, "h").await;
    assert_eq!((status, answer["code"].as_str()), (409, Some("sale-not-open")), "{answer}");
    assert!(answer["opens_at"].is_string());

    for (action, status, code) in [("suspend", 503, "sale-paused"), ("close", 409, "sale-closed")] {
        shop.operator().post(&format!("/internal/v1/sales/{sale}/{action}"), &json!({ "fence": 1 })).await;
        let (found, answer) = buyer.purchase(sale, 1, "i").await;
        assert_eq!((found, answer["code"].as_str()), (status, Some(code)), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_in_two_steps_waits_for_its_confirmation() {
    let shop = Shop::open().await;
    let sale = shop.open_sale(10).await;
    let buyer = shop.buyer();
    let (_, order) = buyer.purchase(sale, 1, "k").await;
    let id = order["id"].as_str().unwrap();
    let confirm = format!("/api/v1/orders/{id}/payment/confirm");
    let (status, early) = buyer.post(&confirm, &json!({})).await;
    assert_eq!((status, early["code"].as_str()), (409, Some("order-not-payable")));

    let method = Uuid::now_v7();
    let wish = json!({ "payment_method_id": method, "confirm": false });
    let (status, prepared) = buyer.post(&format!("/api/v1/orders/{id}/payment"), &wish).await;
    assert_eq!((status, &prepared["payment"]["state"]), (202, &json!("awaiting_confirmation")));
    shop.until_booked(id, "reserved").await;
    assert!(shop.told.of(PaymentRequested::TYPE, id).is_empty());

    let (status, _) = buyer.post(&confirm, &json!({})).await;
    assert_eq!(status, 202);
    let requested = shop.told.until(PaymentRequested::TYPE, id, 1).await;
    assert_eq!(requested[0]["payment_method_id"], method.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_found_whichever_sale_its_id_hints_at() {
    let shop = Shop::open().await;
    let (sold_in, other) = (shop.open_sale(10).await, shop.open_sale(10).await);
    // The hint is only a hint. Some ids come from other versions, or share the last bytes of another sale.
    // They are found once PostgreSQL knows where they are.
    for (key, hinted) in [("right", sold_in), ("wrong", other), ("none", Uuid::nil())] {
        let buyer = shop.buyer();
        let order = OrderId::fresh(SaleId(hinted));
        let wish = Reserve {
            sale: SaleId(sold_in),
            order,
            buyer: BuyerId(buyer.id),
            lines: vec![Line::new(MUG, 1)],
            key: key.into(),
            request_hash: String::new(),
            traceparent: None,
        };
        let outcome = shop.backing.stock.reserve(SaleId(sold_in), &[wish]).await.unwrap();
        assert!(matches!(outcome[..], [ReserveOutcome::Reserved(_)]), "{key}: {outcome:?}");
        eventually("it is found", async || buyer.get(&format!("/api/v1/orders/{order}")).await.0 == 200)
            .await;
        let (status, paid) = buyer.post(&format!("/api/v1/orders/{order}/payment"), &json!({})).await;
        assert_eq!((status, &paid["sale"]), (202, &json!(sold_in)), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_a_sale_that_was_loaded_a_moment_ago_is_paid_at_once() {
    let shop = Shop::with_api_only().await;
    let buyer = shop.buyer();
    // Several rounds, so that a list that happens to be read right then does not hide a missing look-up.
    for round in 0..5 {
        let sale = Uuid::now_v7();
        let (status, loaded) = shop.operator().put(&format!("/internal/v1/sales/{sale}"), &offer(10)).await;
        assert_eq!((status, &loaded["verified"]), (200, &json!(true)), "{loaded}");
        let (status, order) = buyer.purchase(sale, 1, "k").await;
        assert_eq!(status, 201, "{order}");
        let id = order["id"].as_str().unwrap();
        let (status, paid) = buyer.post(&format!("/api/v1/orders/{id}/payment"), &json!({})).await;
        assert_eq!((status, &paid["sale"]), (202, &json!(sale)), "{round}: {paid}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_gives_its_unit_back_and_one_being_paid_cannot_be_cancelled() {
    let shop = Shop::open().await;
    let sale = shop.open_sale(10).await;
    let buyer = shop.buyer();
    let (_, order) = buyer.purchase(sale, 1, "k").await;
    let id = order["id"].as_str().unwrap();
    for _ in 0..2 {
        let (status, cancelled) =
            buyer.post(&format!("/api/v1/orders/{id}/cancel"), &json!({ "reason": "changed my mind" })).await;
        assert_eq!((status, &cancelled["state"]), (200, &json!("cancelled")), "{cancelled}");
    }
    shop.until_booked(id, "cancelled").await;
    assert_eq!(shop.backing.ledger().await, [10, 10, 0, 0]);

    let (_, order) = buyer.purchase(sale, 1, "k2").await;
    let id = order["id"].as_str().unwrap();
    buyer.post(&format!("/api/v1/orders/{id}/payment"), &json!({})).await;
    let (status, refused) = buyer.post(&format!("/api/v1/orders/{id}/cancel"), &json!({})).await;
    assert_eq!((status, refused["code"].as_str()), (409, Some("order-not-cancellable")));
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_order_is_unknown_before_and_after_sql_has_it() {
    let mut shop = Shop::with_api_only().await;
    let sale = shop.open_sale(10).await;
    let (buyer, other) = (shop.buyer(), shop.buyer());
    let (_, order) = buyer.purchase(sale, 1, "k").await;
    let id = order["id"].as_str().unwrap();
    let order_path = format!("/api/v1/orders/{id}");
    for round in 0..2 {
        assert_eq!(other.get(&order_path).await.0, 404);
        for path in ["payment", "payment/confirm", "cancel"] {
            let (status, answer) = other.post(&format!("{order_path}/{path}"), &json!({})).await;
            assert_eq!((status, answer["code"].as_str()), (404, Some("order-unknown")), "{path}");
        }
        assert_eq!(buyer.get(&order_path).await.0, 200);
        if round == 0 {
            let (relay, worker) = (shop.backing.run_relay().await, shop.backing.run_worker().await);
            shop.keep(relay);
            shop.keep(worker);
            shop.until_booked(id, "reserved").await;
        }
    }
    assert_eq!(buyer.get(&format!("/api/v1/orders/{}", Uuid::now_v7())).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn purchases_and_payments_are_accepted_while_sql_is_away_and_booked_once_it_is_back() {
    let (shop, mut postgres) = Shop::open_on_its_own_postgres().await;
    let sale = shop.open_sale(10).await;
    tokio::task::block_in_place(|| postgres.kill());
    let buyer = shop.buyer();
    let (status, order) = buyer.purchase(sale, 1, "k").await;
    assert_eq!(status, 201, "{order}");
    let id = order["id"].as_str().unwrap();
    let (status, answer) = buyer.post(&format!("/api/v1/orders/{id}/payment"), &json!({})).await;
    assert_eq!(status, 202, "{answer}");
    let (status, seen) = buyer.get(&format!("/api/v1/orders/{id}")).await;
    assert_eq!((status, &seen["payment"]["state"]), (200, &json!("requested")), "{seen}");

    tokio::task::block_in_place(|| postgres.restart().unwrap());
    shop.told.until(PaymentRequested::TYPE, id, 1).await;
    shop.payment_succeeds(&order, Uuid::now_v7()).await;
    shop.until_booked(id, "paid").await;
    assert_eq!(shop.backing.ledger().await, [10, 9, 0, 1]);
}
