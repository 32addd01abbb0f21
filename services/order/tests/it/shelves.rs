//! The shelves of ordinary stock: what sales take off them, what Redis forgets or loses, and what goes back
//! on.

use rocketmart_order::domain::standing::sale_id;
use rocketmart_order::relay::old_orders;
use rocketmart_stock::SaleId;
use serde_json::json;
use uuid::Uuid;

use crate::ordinary::{PEN, buy, shelf_becomes, until_known, with_pens};
use crate::shop::{MUG, PRICE, becomes, eventually, offer, product};

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
    // Now, and not only when the books are next compared: until then both could sell the same units.
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
    // As if a process had died after it took units off in Redis and before SQL committed.
    let key = format!("rm:{{{}}}:stock", sale_id("EUR"));
    let mut pipeline = redis::pipe();
    pipeline.atomic();
    for counter in ["PEN:preloaded", "PEN:remaining"] {
        pipeline.cmd("HINCRBY").arg(&key).arg(counter).arg(-4).ignore();
    }
    let () = pipeline.query_async(&mut connection).await.unwrap();
    shelf_becomes(&shop, PEN, [7, 7, 0, 0]).await;
    // The ordinary stock is nobody's sale. Nobody can buy from it as a sale, load it or close it.
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
    let pay = format!("/api/v1/orders/{paid}/payment");
    let (status, again) = payer.post(&pay, &json!({})).await;
    assert_eq!(
        (status, &again["state"]),
        (202, &json!("paid")),
        "a repetition is answered as before: {again}"
    );
    let another_card = json!({ "payment_method_id": uuid::Uuid::now_v7() });
    let (status, refused) = payer.post(&pay, &another_card).await;
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
