//! Ordinary products on their way from the cart to the buyer, through the same engine and the same books as
//! a sale.

use std::time::Duration;

use rocketmart_contracts::event::{OrderPaid, Payload as _, RefundRequested};
use rocketmart_order::domain::standing::{Offer, sale_id};
use rocketmart_order::store::standing;
use rocketmart_stock::SaleId;
use serde_json::json;
use uuid::Uuid;

use crate::ordinary::{PEN, agreed, buy, check_out, fill, shelf_becomes, with_pens};
use crate::shop::{MUG, PRICE, Shop, eventually, product, supply};

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_becomes_one_order_that_is_paid_delivered_and_returned_in_part_like_any_other() {
    let shop = with_pens(10).await;
    let buyer = shop.buyer();
    fill(&buyer, &[(MUG, 2), (PEN, 3)]).await;
    let (status, order) = check_out(&buyer, "k", &agreed(&[(MUG, 2), (PEN, 3)])).await;
    assert_eq!(status, 201, "{order}");
    assert_eq!((&order["state"], &order["amount"]), (&json!("reserved"), &json!(5 * PRICE)));
    assert_eq!(order.get("sale"), None, "it is no flash sale: {order}");
    assert_eq!(buyer.get("/api/v1/cart").await.1["lines"], json!([]), "what was ordered left the cart");
    let id = order["id"].as_str().unwrap();
    assert_eq!(buyer.get(&format!("/api/v1/orders/{id}")).await.0, 200, "found before SQL has it");
    shop.until_booked(id, "reserved").await;
    shelf_becomes(&shop, MUG, [100, 98, 2, 0]).await;
    assert_eq!(shop.backing.stock_of(MUG).await, [100, 0, 100], "only a payment reduces the stock");

    shop.pay(&buyer, (status, order.clone())).await;
    shelf_becomes(&shop, MUG, [100, 98, 0, 2]).await;
    shelf_becomes(&shop, PEN, [10, 7, 0, 3]).await;
    assert_eq!(shop.backing.stock_of(MUG).await, [98, 0, 98]);
    let paid = shop.told.until(OrderPaid::TYPE, id, 1).await;
    assert_eq!(paid[0]["lines"].as_array().unwrap().len(), 2, "delivery hears of all of it: {paid:?}");

    for state in ["preparing", "shipped", "delivered"] {
        shop.shipment_is(&order, state).await;
    }
    shop.until(&buyer, id, "delivered").await;
    let wish = json!({ "lines": [{ "sku": PEN, "quantity": 1 }], "reason": "one too many" });
    let (status, returned) = buyer.send_back(id, "back", &wish).await;
    assert_eq!((status, &returned["amount"]), (201, &json!(PRICE)), "{returned}");
    for _ in 0..2 {
        shop.return_is(id, &returned, "received").await;
    }
    // The unit stays sold in the ledger, and one more goes on the shelf: once.
    shelf_becomes(&shop, PEN, [11, 8, 0, 3]).await;
    assert_eq!(shop.backing.stock_of(PEN).await, [8, 0, 8]);
    let (_, list) = buyer.get("/api/v1/orders").await;
    assert_eq!(list["data"][0]["id"], order["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn either_all_lines_are_reserved_or_none_and_what_stands_in_the_way_is_named() {
    let shop = with_pens(2).await;
    let buyer = shop.buyer();
    let (status, refused) = buy(&buyer, &[(MUG, 1), (PEN, 3)]).await;
    assert_eq!((status, refused["code"].as_str()), (409, Some("sold-out")), "{refused}");
    assert_eq!((&refused["sku"], &refused["remaining"]), (&json!(PEN), &json!(2)));
    assert_eq!(shop.backing.shelf_in_redis(MUG).await, Some([100, 100, 0, 0]), "nothing was reserved");
    let cart = buyer.get("/api/v1/cart").await.1;
    assert_eq!(cart["lines"].as_array().unwrap().len(), 2, "the cart is as it was: {cart}");
    assert_eq!(cart["lines"][1]["available"], 2);

    let (status, changed) = check_out(&buyer, "less", &agreed(&[(MUG, 1), (PEN, 2)])).await;
    assert_eq!((status, changed["code"].as_str()), (409, Some("cart-changed")), "{changed}");
    assert_eq!(changed["lines"], json!([{ "sku": PEN, "quantity": 3 }]));
    fill(&buyer, &[(PEN, 2)]).await;
    let (status, order) = check_out(&buyer, "less", &agreed(&[(PEN, 2)])).await;
    assert_eq!(status, 201, "the refusals did not use the key up: {order}");
    assert_eq!(buyer.get("/api/v1/cart").await.1["lines"][0]["sku"], MUG, "the rest stays in the cart");

    let mut withdrawn = product(MUG, 100, 2);
    withdrawn["state"] = json!("withdrawn");
    shop.backing.follow(&withdrawn).await;
    let (status, gone) = check_out(&buyer, "gone", &agreed(&[(MUG, 1)])).await;
    assert_eq!((status, gone["code"].as_str()), (409, Some("not-for-sale")), "{gone}");
    shelf_becomes(&shop, MUG, [0, 0, 0, 0]).await;
    assert_eq!(shop.backing.stock_of(MUG).await, [100, 0, 0], "withdrawn is not gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_redis_has_not_heard_of_yet_is_not_called_sold_out() {
    const INK: &str = "INK";
    let shop = with_pens(10).await;
    let buyer = shop.buyer();
    let mut alone = shop.backing.pool.begin().await.unwrap();
    while !standing::try_lock(&mut alone).await.unwrap() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    supply(&shop.backing.pool, INK, 5).await;
    let offer = Offer { currency: "EUR".to_owned(), price: PRICE, units: 5 };
    let mut tx = shop.backing.pool.begin().await.unwrap();
    standing::offer(&mut tx, &[(INK, offer)]).await.unwrap();
    tx.commit().await.unwrap();

    let (status, refused) = buy(&buyer, &[(INK, 1)]).await;
    assert_eq!((status, refused["code"].as_str()), (503, Some("stock-unavailable")), "{refused}");
    alone.rollback().await.unwrap();
    shelf_becomes(&shop, INK, [5, 5, 0, 0]).await;
    let (status, order) = check_out(&buyer, "buy", &agreed(&[(INK, 1)])).await;
    assert_eq!(status, 201, "the same key, once it can be had: {order}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_pays_another_price_than_the_one_they_saw() {
    let shop = with_pens(10).await;
    let buyer = shop.buyer();
    fill(&buyer, &[(MUG, 2), (PEN, 1)]).await;
    let mut dearer = product(MUG, 100, 2);
    dearer["variants"][0]["price"] = json!(1800);
    shop.backing.follow(&dearer).await;
    eventually("Redis asks the new price", async || {
        let counters = shop.backing.stock.counters(SaleId(sale_id("EUR"))).await.unwrap().unwrap();
        counters.items.iter().any(|item| item.sku == MUG && item.price == 1800)
    })
    .await;
    let (status, refused) = check_out(&buyer, "k", &agreed(&[(MUG, 2), (PEN, 1)])).await;
    assert_eq!((status, refused["code"].as_str()), (409, Some("price-changed")), "{refused}");
    assert_eq!(refused["lines"], json!([{ "sku": MUG, "unit_price": 1800, "currency": "EUR" }]));
    let mut wish = agreed(&[(MUG, 2), (PEN, 1)]);
    wish["lines"][0]["unit_price"] = json!(1800);
    let (status, order) = check_out(&buyer, "k", &wish).await;
    assert_eq!((status, &order["amount"]), (201, &json!(2 * 1800 + PRICE)), "{order}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_out_is_in_a_currency_that_people_pay_with_s10() {
    let shop = Shop::with_api_only().await;
    for code in ["KWR", "XXX", "XTS", "eur", ""] {
        let mut wish = agreed(&[(MUG, 1)]);
        wish["currency"] = json!(code);
        let (status, refused) = check_out(&shop.buyer(), "k", &wish).await;
        let named = (&refused["errors"][0]["field"], &refused["errors"][0]["rule"]);
        assert_eq!((status, named), (422, (&json!("currency"), &json!("iso-4217"))), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_is_one_order_also_when_the_answer_was_lost_on_its_way_into_the_books() {
    let shop = with_pens(10).await;
    let buyer = shop.buyer();
    let lines = [(MUG, 1), (PEN, 1)];
    let (status, order) = buy(&buyer, &lines).await;
    assert_eq!(status, 201, "{order}");
    let (status, again) = check_out(&buyer, "buy", &agreed(&lines)).await;
    assert_eq!((status, &again["id"]), (201, &order["id"]), "the same key gives the same order");
    let (status, reused) = check_out(&buyer, "buy", &agreed(&[(PEN, 1)])).await;
    assert_eq!((status, reused["code"].as_str()), (422, Some("idempotency-key-reused")));
    // Redis reserved, and the process died before SQL committed: the cart is full, and the key unknown.
    sqlx::query("DELETE FROM idempotency").execute(&shop.backing.pool).await.unwrap();
    fill(&buyer, &lines).await;
    let (status, found) = check_out(&buyer, "buy", &agreed(&lines)).await;
    assert_eq!((status, &found["id"]), (201, &order["id"]), "{found}");
    assert_eq!(buyer.get("/api/v1/cart").await.1["lines"], json!([]));
    shelf_becomes(&shop, MUG, [100, 99, 1, 0]).await;
    let (status, _) = buy(&shop.buyer(), &lines).await;
    assert_eq!(status, 201, "a key belongs to its buyer");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_paid_in_time_is_for_sale_again_and_money_that_comes_later_goes_back() {
    let shop = Shop::open_with_seconds_to_pay(3).await;
    shelf_becomes(&shop, MUG, [100, 100, 0, 0]).await;
    let buyer = shop.buyer();
    let (status, order) = buy(&buyer, &[(MUG, 100)]).await;
    assert_eq!(status, 201, "{order}");
    let id = order["id"].as_str().unwrap();
    let (status, refused) = buy(&shop.buyer(), &[(MUG, 1)]).await;
    assert_eq!((status, refused["code"].as_str()), (409, Some("sold-out")), "{refused}");
    shop.until_booked(id, "expired").await;
    shelf_becomes(&shop, MUG, [100, 100, 0, 0]).await;
    shop.payment_succeeds(&order, Uuid::now_v7()).await;
    let refund = shop.told.until(RefundRequested::TYPE, id, 1).await;
    assert_eq!((&refund[0]["amount"], &refund[0]["reason"]), (&json!(100 * PRICE), &json!("order_released")));
    assert_eq!(shop.backing.stock_of(MUG).await, [100, 0, 100]);
    assert!(shop.told.of(OrderPaid::TYPE, id).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_cancelled_before_and_after_its_payment_and_its_units_come_back_once() {
    let shop = with_pens(1).await;
    let (buyer, payer) = (shop.buyer(), shop.buyer());
    let (_, order) = buy(&buyer, &[(PEN, 1)]).await;
    let id = order["id"].as_str().unwrap();
    let (status, cancelled) = buyer.post(&format!("/api/v1/orders/{id}/cancel"), &json!({})).await;
    assert_eq!((status, &cancelled["state"]), (200, &json!("cancelled")), "{cancelled}");
    shelf_becomes(&shop, PEN, [1, 1, 0, 0]).await;

    let bought = buy(&payer, &[(PEN, 1)]).await;
    let order = shop.pay(&payer, bought).await;
    let id = order["id"].as_str().unwrap();
    let (status, pending) = payer.post(&format!("/api/v1/orders/{id}/cancel"), &json!({})).await;
    assert_eq!(status, 202, "{pending}");
    for _ in 0..2 {
        shop.shipment_is(&order, "cancelled").await;
    }
    shop.until(&payer, id, "cancelled").await;
    let refund = shop.told.until(RefundRequested::TYPE, id, 1).await;
    assert_eq!(refund[0]["amount"], PRICE);
    shelf_becomes(&shop, PEN, [2, 1, 0, 1]).await;
    assert_eq!(shop.backing.stock_of(PEN).await, [1, 0, 1], "one unit, as ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_holds_so_many_unpaid_orders_and_units_and_no_more_s6() {
    let shop = with_pens(500).await;
    let (buyer, other) = (shop.buyer(), shop.buyer());
    let (status, refused) = buy(&buyer, &[(PEN, 101)]).await;
    assert_eq!((status, refused["code"].as_str()), (409, Some("unpaid-limit-exceeded")), "{refused}");
    assert_eq!(refused["limits"], json!({ "orders": 10, "units": 100 }));
    shelf_becomes(&shop, PEN, [500, 500, 0, 0]).await;

    // Ten orders, whether or not the books have heard of the earlier ones.
    let mut orders = Vec::new();
    for n in 0..12 {
        fill(&buyer, &[(PEN, 5)]).await;
        let (status, answer) = check_out(&buyer, &format!("order-{n}"), &agreed(&[(PEN, 5)])).await;
        if status == 201 {
            orders.push(answer);
        } else {
            assert_eq!((status, answer["code"].as_str()), (409, Some("unpaid-limit-exceeded")), "{answer}");
            assert_eq!(answer["unpaid"], json!({ "orders": 10, "units": 50 }));
        }
    }
    assert_eq!(orders.len(), 10);
    let again = check_out(&buyer, "order-0", &agreed(&[(PEN, 5)])).await;
    assert_eq!((again.0, &again.1["id"]), (201, &orders[0]["id"]), "a repetition is no new order");
    assert_eq!(buy(&other, &[(PEN, 100)]).await.0, 201, "others have limits of their own");

    let id = orders[3]["id"].as_str().unwrap();
    shop.until_booked(id, "reserved").await;
    assert_eq!(buyer.post(&format!("/api/v1/orders/{id}/cancel"), &json!({})).await.0, 200);
    shop.until_booked(id, "cancelled").await;
    fill(&buyer, &[(PEN, 50)]).await;
    assert_eq!(check_out(&buyer, "after-all", &agreed(&[(PEN, 50)])).await.0, 201);
    fill(&buyer, &[(PEN, 1)]).await;
    assert_eq!(check_out(&buyer, "too-much", &agreed(&[(PEN, 1)])).await.0, 409);
}
