//! Sending back what was delivered: whole or in parts, once, in time.

use reqwest::Method;
use rocketmart_contracts::event::{Payload as _, RefundRequested, ReturnRequested};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shop::bad_tokens;
use crate::shop::{MUG, PRICE, Shop, offer};

/// A sale of ten mugs, up to five for each buyer.
async fn sale(shop: &Shop) -> Uuid {
    let mut terms = offer(10);
    terms["items"][0]["per_buyer_limit"] = json!(5);
    shop.sale(terms).await
}

fn mugs(quantity: i64) -> Value {
    json!({ "lines": [{ "sku": MUG, "quantity": quantity }], "reason": "too small" })
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_come_back_one_after_the_other_with_their_money_and_never_more_than_was_bought() {
    let shop = Shop::open().await;
    let sale = sale(&shop).await;
    let buyer = shop.buyer();
    let order = shop.buy_and_receive(&buyer, sale, 3).await;
    let id = order["id"].as_str().unwrap();
    assert_eq!(shop.backing.standing().await, [97, 7]);

    let (status, first) = buyer.send_back(id, "one", &mugs(2)).await;
    assert_eq!(
        (status, &first["amount"], &first["state"]),
        (201, &json!(2 * PRICE), &json!("requested")),
        "{first}"
    );
    let (status, again) = buyer.send_back(id, "one", &mugs(2)).await;
    assert_eq!((status, &again), (201, &first), "the same key gives the same return");
    let (status, reused) = buyer.send_back(id, "one", &mugs(1)).await;
    assert_eq!((status, reused["code"].as_str()), (422, Some("idempotency-key-reused")));
    let (status, greedy) = buyer.send_back(id, "two", &mugs(2)).await;
    assert_eq!((status, &greedy["errors"][0]["rule"]), (422, &json!("within-bought")), "{greedy}");

    let told = shop.told.until(ReturnRequested::TYPE, id, 1).await;
    assert_eq!(
        told[0],
        json!({ "return_id": first["id"], "order_id": id, "buyer_id": buyer.id,
        "lines": [{ "sku": MUG, "quantity": 2 }], "reason": "too small" })
    );
    for state in ["announced", "in_transit", "received", "received"] {
        shop.return_is(id, &first, state).await;
    }
    let returned = shop.until(&buyer, id, "returned").await;
    assert_eq!(returned["returns"][0]["tracking_number"], "BACK1");
    let refund = shop.told.until(RefundRequested::TYPE, id, 1).await;
    assert_eq!((&refund[0]["reference"], &refund[0]["amount"]), (&first["id"], &json!(2 * PRICE)));
    for _ in 0..2 {
        shop.gives_back(&refund[0]).await;
    }
    let kept = shop.until(&buyer, id, "delivered").await;
    assert_eq!(
        (&kept["payment"]["state"], &kept["payment"]["refunded"]),
        (&json!("succeeded"), &json!(2 * PRICE))
    );
    assert_eq!(kept["returns"][0]["state"], "refunded");
    assert_eq!(shop.backing.standing().await, [99, 7], "two came back, once");

    let (status, rest) = buyer.send_back(id, "three", &json!({ "reason": "broken" })).await;
    assert_eq!((status, &rest["lines"]), (201, &json!([{ "sku": MUG, "quantity": 1 }])), "{rest}");
    let (status, nothing) = buyer.send_back(id, "four", &json!({ "reason": "more" })).await;
    assert_eq!((status, nothing["code"].as_str()), (409, Some("order-not-returnable")));
    shop.return_is(id, &rest, "received").await;
    let refunds = shop.told.until(RefundRequested::TYPE, id, 2).await;
    shop.gives_back(&refunds[1]).await;
    let over = shop.until(&buyer, id, "refunded").await;
    assert_eq!(
        (&over["payment"]["state"], &over["payment"]["refunded"]),
        (&json!("refunded"), &json!(3 * PRICE))
    );
    assert_eq!(over["returns"].as_array().unwrap().len(), 2);
    assert_eq!(shop.backing.standing().await, [100, 7]);
    assert_eq!(shop.backing.ledger().await, [10, 7, 0, 3]);
    assert_eq!(shop.told.of(ReturnRequested::TYPE, id).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_bought_a_moment_ago_cannot_be_returned_yet_and_is_known_to_its_buyer_alone() {
    let shop = Shop::with_api_only().await;
    let sale = sale(&shop).await;
    let (buyer, other) = (shop.buyer(), shop.buyer());
    let (_, order) = buyer.purchase(sale, 1, "k").await;
    let id = order["id"].as_str().unwrap();
    let (status, early) = buyer.send_back(id, "one", &mugs(1)).await;
    assert_eq!((status, early["code"].as_str()), (409, Some("order-not-returnable")), "{early}");
    let (status, foreign) = other.send_back(id, "one", &mugs(1)).await;
    assert_eq!((status, foreign["code"].as_str()), (404, Some("order-unknown")));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_returns_of_the_same_units_at_once_make_one() {
    let shop = Shop::open().await;
    let sale = sale(&shop).await;
    let buyer = shop.buyer();
    let order = shop.buy_and_receive(&buyer, sale, 2).await;
    let id = order["id"].as_str().unwrap();
    let (two, two_more) = (mugs(2), mugs(2));
    let (one, other) = tokio::join!(buyer.send_back(id, "a", &two), buyer.send_back(id, "b", &two_more));
    let mut statuses = [one.0, other.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 422], "{one:?} {other:?}");
    assert_eq!(shop.backing.number("SELECT sum(returned)::bigint FROM order_lines").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_refuse_more_units_or_money_back_than_were_bought_and_paid() {
    let shop = Shop::open().await;
    let sale = sale(&shop).await;
    shop.buy_and_receive(&shop.buyer(), sale, 2).await;
    for statement in [
        "UPDATE order_lines SET returned = 3",
        "UPDATE order_lines SET returned = -1",
        "UPDATE orders SET refunds_requested = amount + 1",
        "UPDATE orders SET refunded = 1",
        "UPDATE orders SET refunds_requested = 1, paid_at = NULL",
    ] {
        let refused = sqlx::query(statement).execute(&shop.backing.pool).await.unwrap_err();
        assert!(rocketmart_order::store::is_violation(&refused), "{statement}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_returned_is_refused_by_field_rule_and_code() {
    let shop = Shop::open().await;
    let sale = sale(&shop).await;
    let buyer = shop.buyer();
    let order = shop.buy_and_receive(&buyer, sale, 2).await;
    let id = order["id"].as_str().unwrap();
    let path = format!("/api/v1/orders/{id}/returns");
    let line = |sku: Value, quantity: Value| json!({ "lines": [{ "sku": sku, "quantity": quantity }], "reason": "r" });
    let long = "x".repeat(501);
    let cases = [
        (json!({}), "reason", "required"),
        (json!({ "reason": 7 }), "reason", "type"),
        (json!({ "reason": "" }), "reason", "min-length"),
        (json!({ "reason": long }), "reason", "max-length"),
        (json!({ "reason": "r", "refund": 1 }), "refund", "unknown"),
        (json!({ "reason": "r", "lines": [] }), "lines", "length"),
        (json!({ "reason": "r", "lines": "all" }), "lines", "type"),
        (json!({ "reason": "r", "lines": [{ "sku": MUG }] }), "lines[0].quantity", "required"),
        (line(json!(MUG), json!("two")), "lines[0].quantity", "type"),
        (line(json!(MUG), json!(0)), "lines[0].quantity", "at-least-one"),
        (line(json!(MUG), json!(-1)), "lines[0].quantity", "at-least-one"),
        (line(json!(MUG), json!(3)), "lines[0].quantity", "within-bought"),
        (line(json!("PEN"), json!(1)), "lines[0].sku", "in-order"),
    ];
    for (index, (body, field, rule)) in cases.into_iter().enumerate() {
        let (status, answer) = buyer.send_back(id, &format!("key-{index}"), &body).await;
        let error = &answer["errors"][0];
        assert_eq!(
            (status, &error["field"], &error["rule"]),
            (422, &json!(field), &json!(rule)),
            "{body} {answer}"
        );
    }
    let good = mugs(1);
    let (status, answer) = buyer.post(&path, &good).await;
    assert_eq!((status, answer["code"].as_str()), (400, Some("idempotency-key-missing")));
    assert_eq!(shop.buyer().send_back(id, "k", &good).await.0, 404, "somebody else's order is unknown");
    assert_eq!(buyer.send_back(&Uuid::now_v7().to_string(), "k", &good).await.0, 404);
    assert_eq!(buyer.send_back("seven", "k", &good).await.0, 400);
    for token in bad_tokens() {
        let stranger = crate::shop::Caller { token, ..buyer.clone() };
        assert_eq!(stranger.call(Method::POST, &path, Some(&good), Some("k")).await.0, 401);
    }

    let early = shop.buyer();
    let paid = shop.buy_and_pay(&early, sale).await;
    let (status, answer) = early.send_back(paid["id"].as_str().unwrap(), "k", &good).await;
    assert_eq!((status, answer["code"].as_str()), (409, Some("order-not-returnable")), "{answer}");

    // Delivered a little over an hour ago.
    sqlx::query("UPDATE orders SET delivered_at = now() - interval '2 hours' WHERE id = $1")
        .bind(id.parse::<Uuid>().unwrap())
        .execute(&shop.backing.pool)
        .await
        .unwrap();
    let (status, answer) = buyer.send_back(id, "late", &good).await;
    assert_eq!(status, 409, "{answer}");
    // A worker may already have completed it.
    let code = answer["code"].as_str();
    assert!(matches!(code, Some("return-window-over" | "order-not-returnable")), "{answer}");
}
