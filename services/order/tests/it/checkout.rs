//! Ordinary products from the cart to the buyer, through the same engine and the same books as a sale.

use std::time::Duration;

use reqwest::Method;
use rocketmart_order::domain::standing::{Offer, sale_id};
use rocketmart_order::events::types;
use rocketmart_order::relay::old_orders;
use rocketmart_order::store::standing;
use rocketmart_stock::SaleId;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shop::{Backing, Caller, MUG, PRICE, Shop, becomes, eventually, offer, product, supply};

const PEN: &str = "PEN";

/// A shop with 100 mugs and some pens on its shelves.
async fn with_pens(pens: i64) -> Shop {
    let shop = Shop::open().await;
    supply(&shop.backing.pool, PEN, pens).await;
    shelf_becomes(&shop, MUG, [100, 100, 0, 0]).await;
    shelf_becomes(&shop, PEN, [pens, pens, 0, 0]).await;
    shop
}

impl Backing {
    /// `preloaded, remaining, reserved, sold` of a SKU on its shelf, by SQL.
    async fn shelf(&self, sku: &str) -> Option<[i64; 4]> {
        let row: Option<(i64, i64, i64, i64)> = sqlx::query_as(
            "SELECT preloaded, remaining, reserved, sold FROM sale_items JOIN sales ON id = sale_id
             WHERE standing AND sku = $1",
        )
        .bind(sku)
        .fetch_optional(&self.pool)
        .await
        .unwrap();
        row.map(Into::into)
    }

    /// The same by Redis, once it sells.
    async fn shelf_in_redis(&self, sku: &str) -> Option<[i64; 4]> {
        let counters = self.stock.counters(SaleId(sale_id("EUR"))).await.ok()??;
        let item = counters.items.into_iter().find(|item| item.sku == sku)?;
        let sells = counters.state == rocketmart_stock::SaleState::Ready;
        sells.then(|| [item.preloaded, item.remaining, item.reserved, item.sold].map(i64::from))
    }

    /// `on_hand, allocated, shelved` of a SKU.
    async fn stock_of(&self, sku: &str) -> [i64; 3] {
        let row: (i64, i64, i64) =
            sqlx::query_as("SELECT on_hand, allocated, shelved FROM stock WHERE sku = $1")
                .bind(sku)
                .fetch_one(&self.pool)
                .await
                .unwrap();
        row.into()
    }
}

/// Waits until both books show these counters.
async fn shelf_becomes(shop: &Shop, sku: &str, expected: [i64; 4]) {
    becomes(&format!("the shelf of {sku} in both books"), (Some(expected), Some(expected)), async || {
        (shop.backing.shelf(sku).await, shop.backing.shelf_in_redis(sku).await)
    })
    .await;
}

async fn fill(buyer: &Caller, lines: &[(&str, i64)]) {
    for (sku, quantity) in lines {
        let path = format!("/api/v1/cart/lines/{sku}");
        let (status, answer) = buyer.put(&path, &json!({ "quantity": quantity })).await;
        assert_eq!(status, 200, "{answer}");
    }
}

/// All these lines at the usual price.
fn agreed(lines: &[(&str, i64)]) -> Value {
    let line =
        |(sku, quantity): &(&str, i64)| json!({ "sku": sku, "quantity": quantity, "unit_price": PRICE });
    json!({ "currency": "EUR", "lines": lines.iter().map(line).collect::<Vec<_>>() })
}

async fn check_out(buyer: &Caller, key: &str, wish: &Value) -> (u16, Value) {
    buyer.call(Method::POST, "/api/v1/cart/checkout", Some(wish), Some(key)).await
}

async fn buy(buyer: &Caller, lines: &[(&str, i64)]) -> (u16, Value) {
    fill(buyer, lines).await;
    check_out(buyer, "buy", &agreed(lines)).await
}

/// What came of a request that is made again, as buyers and the operator do, while that is unknown.
async fn until_known(mut ask: impl AsyncFnMut() -> (u16, Value)) -> (u16, Value) {
    let mut answer = (503, Value::Null);
    eventually("it is known what came of a request", async || {
        answer = ask().await;
        answer.0 != 503
    })
    .await;
    answer
}

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
    let paid = shop.told.until(types::ORDER_PAID, id, 1).await;
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
    // The unit is sold in the ledger for ever, and one more is put on the shelf: once.
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
    // Redis reserved, and the process died before SQL committed: the cart is full, the key unknown.
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
    let refund = shop.told.until(types::REFUND_REQUESTED, id, 1).await;
    assert_eq!((&refund[0]["amount"], &refund[0]["reason"]), (&json!(100 * PRICE), &json!("order_released")));
    assert_eq!(shop.backing.stock_of(MUG).await, [100, 0, 100]);
    assert!(shop.told.of(types::ORDER_PAID, id).is_empty());
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
    let refund = shop.told.until(types::REFUND_REQUESTED, id, 1).await;
    assert_eq!(refund[0]["amount"], PRICE);
    shelf_becomes(&shop, PEN, [2, 1, 0, 1]).await;
    assert_eq!(shop.backing.stock_of(PEN).await, [1, 0, 1], "one unit, as ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flash_sale_takes_its_units_off_the_shelf_and_what_it_leaves_comes_back() {
    let shop = with_pens(1).await;
    let bought = buy(&shop.buyer(), &[(MUG, 3)]).await;
    let id = bought.1["id"].as_str().unwrap().to_owned();
    shop.until_booked(&id, "reserved").await;
    let path = format!("/internal/v1/sales/{}", Uuid::now_v7());
    let (status, answer) = shop.operator().put(&path, &offer(98)).await;
    assert_eq!((status, &answer["errors"][0]["rule"]), (422, &json!("within-stock")), "{answer}");
    let (_, known) = shop.operator().get("/internal/v1/skus?sku=MUG").await;
    assert_eq!(known["skus"][0]["available"], 97, "a buyer holds three");
    let (status, answer) = shop.operator().put(&path, &offer(97)).await;
    assert_eq!((status, &answer["verified"]), (200, &json!(true)), "{answer}");
    // Not only at the next comparison of the books: until then both could sell the same units.
    assert_eq!(shop.backing.shelf_in_redis(MUG).await, Some([3, 0, 3, 0]), "once the sale is loaded");
    shelf_becomes(&shop, MUG, [3, 0, 3, 0]).await;
    assert_eq!(shop.backing.stock_of(MUG).await, [100, 97, 3]);
    let (status, refused) = buy(&shop.buyer(), &[(MUG, 1)]).await;
    assert_eq!((status, refused["code"].as_str()), (409, Some("sold-out")), "{refused}");

    for step in ["close", "close-out"] {
        eventually(&format!("{step} is done"), async || {
            shop.operator().post(&format!("{path}/{step}"), &json!({ "fence": 1 })).await.0 == 200
        })
        .await;
    }
    shelf_becomes(&shop, MUG, [100, 97, 3, 0]).await;
    assert_eq!(shop.backing.stock_of(MUG).await, [100, 0, 100]);
}

#[tokio::test(flavor = "multi_thread")]
async fn buyers_a_flash_sale_and_the_seller_want_the_same_units_and_no_unit_goes_twice() {
    let shop = with_pens(20).await;
    let rush = (0..30).map(async |_| {
        let buyer = shop.buyer();
        until_known(async || buy(&buyer, &[(PEN, 1), (MUG, 1)]).await).await.0
    });
    let sale = async {
        let mut terms = offer(60);
        terms["items"] = json!([{ "sku": PEN, "units": 8, "price": PRICE, "per_buyer_limit": 1 }]);
        let path = format!("/internal/v1/sales/{}", Uuid::now_v7());
        until_known(async || shop.operator().put(&path, &terms).await).await.0
    };
    let seller = async {
        for (version, pens) in [(2, 25), (3, 15), (4, 30)] {
            shop.backing.follow(&product(PEN, pens, version)).await;
            tokio::task::yield_now().await;
        }
    };
    let (bought, sale, ()) = tokio::join!(futures::future::join_all(rush), sale, seller);
    assert!(
        bought.iter().chain([&sale]).all(|status| [200, 201, 409, 422].contains(status)),
        "{bought:?}, {sale}"
    );
    let bought = i64::try_from(bought.iter().filter(|status| **status == 201).count()).unwrap();
    let promised = if sale == 200 { 8 } else { 0 };
    becomes("on hand, allocated and shelved", [30, promised, 30 - promised], async || {
        shop.backing.stock_of(PEN).await
    })
    .await;
    shelf_becomes(&shop, PEN, [30 - promised, 30 - promised - bought, bought, 0]).await;
    assert!(bought + promised <= 30, "{bought} bought, {promised} promised");
    shelf_becomes(&shop, MUG, [100, 100 - bought, bought, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shelf_that_redis_offers_less_of_than_the_books_say_is_filled_up_again() {
    let shop = with_pens(7).await;
    let client = redis::Client::open(shop.backing.redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    // As when a process dies after it took units off in Redis and before SQL has committed.
    let key = format!("rm:{{{}}}:stock", sale_id("EUR"));
    let mut pipeline = redis::pipe();
    pipeline.atomic();
    for counter in ["PEN:preloaded", "PEN:remaining"] {
        pipeline.cmd("HINCRBY").arg(&key).arg(counter).arg(-4).ignore();
    }
    let () = pipeline.query_async(&mut connection).await.unwrap();
    shelf_becomes(&shop, PEN, [7, 7, 0, 0]).await;
    // The ordinary stock is nobody's sale: neither bought from as one, nor loaded, nor closed.
    let standing = sale_id("EUR");
    let (status, refused) = shop.buyer().purchase(standing, 1, "k").await;
    assert_eq!((status, refused["code"].as_str()), (404, Some("sale-unknown")), "{refused}");
    let path = format!("/internal/v1/sales/{standing}");
    assert_eq!(shop.operator().put(&path, &offer(1)).await.0, 404);
    assert_eq!(shop.operator().post(&format!("{path}/close"), &json!({ "fence": 9 })).await.0, 404);
    shelf_becomes(&shop, MUG, [100, 100, 0, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_forgets_old_orders_of_ordinary_stock_and_their_buyers_still_see_them() {
    let shop = with_pens(10).await;
    let (payer, holder) = (shop.buyer(), shop.buyer());
    let bought = buy(&payer, &[(PEN, 2)]).await;
    let paid = shop.pay(&payer, bought).await;
    let (_, held) = buy(&holder, &[(PEN, 1)]).await;
    let (paid, held) = (paid["id"].as_str().unwrap(), held["id"].as_str().unwrap());
    shop.until_booked(held, "reserved").await;
    shelf_becomes(&shop, PEN, [10, 7, 1, 2]).await;
    let (pool, stock) = (&shop.backing.pool, &shop.backing.stock);
    let now = time::OffsetDateTime::now_utc();
    let (hour_ago, in_an_hour) = (now - time::Duration::hours(1), now + time::Duration::hours(1));
    assert_eq!(old_orders::forget(pool, stock, hour_ago).await.unwrap(), 0, "they are not old");
    assert_eq!(old_orders::forget(pool, stock, in_an_hour).await.unwrap(), 1, "one is not decided");
    let in_redis =
        async |order: &str| stock.get(SaleId(sale_id("EUR")), order.parse().unwrap()).await.unwrap();
    assert!(in_redis(paid).await.is_none() && in_redis(held).await.is_some());
    shelf_becomes(&shop, PEN, [10, 7, 1, 2]).await;
    let (status, seen) = payer.get(&format!("/api/v1/orders/{paid}")).await;
    assert_eq!((status, &seen["state"]), (200, &json!("paid")), "{seen}");
    let (status, refused) = payer.post(&format!("/api/v1/orders/{paid}/payment"), &json!({})).await;
    assert_eq!((status, refused["code"].as_str()), (409, Some("order-not-payable")), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ordinary_stock_that_redis_lost_is_rebuilt_by_itself_and_sells_on() {
    let mut shop = with_pens(10).await;
    let (payer, holder) = (shop.buyer(), shop.buyer());
    let bought = buy(&payer, &[(PEN, 2)]).await;
    shop.pay(&payer, bought).await;
    let (_, held) = buy(&holder, &[(PEN, 3)]).await;
    shop.until_booked(held["id"].as_str().unwrap(), "reserved").await;
    shelf_becomes(&shop, PEN, [10, 5, 3, 2]).await;
    tokio::task::block_in_place(|| shop.backing.redis.restart_empty().unwrap());
    eventually("it is rebuilt", async || {
        shop.backing.number("SELECT count(*) FROM rebuilds JOIN sales ON id = sale_id WHERE standing").await
            == 1
    })
    .await;
    shelf_becomes(&shop, PEN, [10, 5, 3, 2]).await;
    shop.pay(&holder, (201, held)).await;
    shelf_becomes(&shop, PEN, [10, 5, 0, 5]).await;
    assert_eq!(buy(&shop.buyer(), &[(PEN, 6)]).await.0, 409);
    assert_eq!(buy(&shop.buyer(), &[(PEN, 5)]).await.0, 201);
}
