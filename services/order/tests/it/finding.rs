//! However many sales there are, we find each one and its orders. An order that nobody has costs one
//! look-up.

use std::collections::BTreeSet;

use rocketmart_order::api::LimitArgs;
use rocketmart_stock::{BuyerId, Line, OrderId, Reserve, ReserveOutcome, SaleId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shop::{Caller, MUG, Shop, eventually, from_now, offer, product};

/// One more than the list once took for all of them.
const LATER: i64 = 101;

/// The names of all sales in the list, page by page.
async fn listed(anybody: &Caller, limit: u32) -> Vec<String> {
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, page) = anybody.get(&format!("/api/v1/sales?limit={limit}{cursor}")).await;
        assert_eq!(status, 200, "{page}");
        let sales = page["data"].as_array().unwrap();
        names.extend(sales.iter().map(|sale| sale["name"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        assert_eq!((page["has_more"].as_bool(), sales.len()), (Some(true), limit as usize));
        cursor = format!("&cursor={next}");
    }
    names
}

/// Sales that ended days ago, latest first, as their close-outs left them.
async fn past_sales(shop: &Shop, count: i64) {
    sqlx::query(
        "INSERT INTO sales (id, name, state, currency, opens_at, closes_at, payment_seconds, fence, loaded)
         SELECT gen_random_uuid(), 'past-' || n, 'closed_out', 'EUR', now() - n * interval '1 day' - interval '2 days',
             now() - n * interval '1 day' - interval '1 day', 60, 1, true
         FROM generate_series(1, $1) AS n",
    )
    .bind(count)
    .execute(&shop.backing.pool)
    .await
    .unwrap();
}

/// S3
#[tokio::test(flavor = "multi_thread")]
async fn an_open_sale_behind_a_hundred_later_ones_is_found_and_its_orders_are_paid_and_cancelled() {
    let shop = Shop::open().await;
    shop.backing.follow(&product(MUG, 300, 2)).await;
    let mut terms = offer(10);
    terms["name"] = json!("the-long-one");
    // A busy machine needs a while for a hundred sales.
    terms["payment_seconds"] = json!(600);
    let sale = shop.sale(terms).await;
    let (payer, leaver) = (shop.buyer(), shop.buyer());
    let bought = payer.purchase(sale, 1, "k").await;
    let (_, left) = leaver.purchase(sale, 1, "k").await;

    for number in 0..LATER {
        let mut later = offer(1);
        later["name"] = json!(format!("later-{number}"));
        later["opens_at"] = json!(from_now(3_600 + number));
        later["closes_at"] = json!(from_now(9_000));
        let id = Uuid::now_v7();
        let (status, answer) = shop.operator().put(&format!("/internal/v1/sales/{id}"), &later).await;
        assert_eq!(status, 200, "{answer}");
    }
    eventually("all sales are listed", async || listed(&payer, 100).await.len() == 102).await;
    for named in [sale.to_string(), "the-long-one".to_owned()] {
        let (status, found) = payer.get(&format!("/api/v1/sales/{named}")).await;
        assert_eq!((status, found["state"].as_str()), (200, Some("open")), "{named}: {found}");
    }
    for limit in [1, 7, 100] {
        let names = listed(&payer, limit).await;
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "each once");
        assert_eq!((names.len(), names.last().unwrap().as_str()), (102, "the-long-one"));
    }

    let order = shop.pay(&payer, bought).await;
    shop.until(&payer, order["id"].as_str().unwrap(), "paid").await;
    let left = left["id"].as_str().unwrap();
    let (status, cancelled) = leaver.post(&format!("/api/v1/orders/{left}/cancel"), &json!({})).await;
    assert_eq!((status, cancelled["state"].as_str()), (200, Some("cancelled")), "{cancelled}");
    let (status, more) = shop
        .buyer()
        .call(
            reqwest::Method::POST,
            "/api/v1/sales/the-long-one/purchases",
            Some(&json!({ "sku": MUG, "quantity": 1 })),
            Some("k"),
        )
        .await;
    assert_eq!(status, 201, "{more}");
}

/// S3
#[tokio::test(flavor = "multi_thread")]
async fn sales_that_are_long_over_are_found_and_listed_behind_all_others() {
    let shop = Shop::with_api_only().await;
    past_sales(&shop, 250).await;
    let sale = shop.open_sale(1).await;
    let anybody = shop.buyer();
    for limit in [9, 100] {
        let names = listed(&anybody, limit).await;
        let expected: Vec<_> =
            std::iter::once("mugs".to_owned()).chain((1..=250).map(|n| format!("past-{n}"))).collect();
        assert_eq!(names, expected);
    }
    let (status, oldest) = anybody.get("/api/v1/sales/past-250").await;
    assert_eq!((status, oldest["state"].as_str()), (200, Some("closed")), "{oldest}");
    let id = oldest["id"].as_str().unwrap();
    assert_eq!(anybody.get(&format!("/api/v1/sales/{id}")).await.1, oldest);
    for named in ["past-250", id] {
        let body = json!({ "sku": MUG, "quantity": 1 });
        let path = format!("/api/v1/sales/{named}/purchases");
        let (status, refused) = anybody.call(reqwest::Method::POST, &path, Some(&body), Some("k")).await;
        assert_eq!((status, refused["code"].as_str()), (409, Some("sale-closed")), "{refused}");
    }
    let nobodys = Uuid::new_v4().to_string();
    for unknown in ["no-such-sale", &nobodys, "%00", &"x".repeat(300)] {
        let (status, refused) = anybody.get(&format!("/api/v1/sales/{unknown}")).await;
        assert_eq!((status, refused["code"].as_str()), (404, Some("sale-unknown")), "{unknown}: {refused}");
    }
    assert_eq!(anybody.purchase(sale, 1, "k").await.0, 201);
}

async fn hgets(shop: &Shop) -> u64 {
    let client = redis::Client::open(shop.backing.redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_hget:calls="));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or_default()
}

/// H8
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_nobody_has_is_looked_for_once_and_not_in_every_sale() {
    let shop = Shop::with_api_only().await;
    for number in 0..40 {
        let mut terms = offer(1);
        terms["name"] = json!(format!("sale-{number}"));
        shop.operator().put(&format!("/internal/v1/sales/{}", Uuid::now_v7()), &terms).await;
    }
    let somebody = shop.buyer();
    eventually("all sales are listed", async || listed(&somebody, 100).await.len() == 40).await;
    let before = hgets(&shop).await;
    for (path, body) in [("", None), ("/payment", Some(json!({}))), ("/cancel", Some(json!({})))] {
        let path = format!("/api/v1/orders/{}{path}", Uuid::now_v7());
        let (status, answer) = match body {
            None => somebody.get(&path).await,
            Some(body) => somebody.post(&path, &body).await,
        };
        assert_eq!((status, answer["code"].as_str()), (404, Some("order-unknown")), "{path}: {answer}");
    }
    let asked = hgets(&shop).await - before;
    assert!(asked <= 6, "Redis was asked {asked} times about three orders that nobody has");
}

/// H8
#[tokio::test(flavor = "multi_thread")]
async fn who_looks_for_orders_that_nobody_has_is_told_to_wait_and_nobody_else_is() {
    let limits = LimitArgs { purchases_per_member: 1, purchase_burst_per_member: 5, ..LimitArgs::default() };
    let shop = Shop::with_limits(limits).await;
    let sale = shop.open_sale(2).await;
    let (guesser, buyer) = (shop.buyer(), shop.buyer());
    let (_, order) = buyer.purchase(sale, 1, "k").await;
    let order = order["id"].as_str().unwrap();
    let mut unknown = 0;
    let refused = loop {
        let request = guesser.http.get(format!("{}/api/v1/orders/{}", guesser.api, Uuid::now_v7()));
        let answer = request.bearer_auth(&guesser.token).send().await.unwrap();
        if answer.status() == 429 {
            break answer;
        }
        assert_eq!(answer.status(), 404);
        unknown += 1;
        assert!(unknown < 100, "never refused");
    };
    assert!(unknown >= 5 && refused.headers().contains_key("retry-after"));
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "too-many-requests");
    // Other people's orders are just as unknown, and count as well.
    let (status, theirs) = guesser.get(&format!("/api/v1/orders/{order}")).await;
    assert!(matches!(status, 404 | 429), "{theirs}");
    for _ in 0..20 {
        assert_eq!(buyer.get(&format!("/api/v1/orders/{order}")).await.0, 200, "what is found costs nothing");
    }
    assert_eq!(guesser.purchase(sale, 1, "k").await.0, 201, "purchases are counted by themselves");
}

/// An order from before ids told their sale.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_id_does_not_end_as_its_sale_does_is_found_in_the_books() {
    let shop = Shop::open().await;
    let sale = shop.open_sale(10).await;
    for (path, state) in [("payment", "reserved"), ("cancel", "cancelled")] {
        let (buyer, order) = (shop.buyer(), OrderId(Uuid::now_v7()));
        assert!(!order.hints_at(SaleId(sale)));
        let wish = Reserve {
            sale: SaleId(sale),
            order,
            buyer: BuyerId(buyer.id),
            request_hash: "hash".into(),
            lines: vec![Line::new(MUG, 1)],
            key: "k".into(),
            traceparent: None,
        };
        let made = shop.backing.stock.reserve(SaleId(sale), &[wish]).await.unwrap();
        assert!(matches!(made[0], ReserveOutcome::Reserved(_)), "{made:?}");
        shop.until_booked(&order.to_string(), "reserved").await;
        let (status, answer) = buyer.post(&format!("/api/v1/orders/{order}/{path}"), &json!({})).await;
        assert!(matches!(status, 200 | 202), "{path}: {answer}");
        assert_eq!(answer["state"], state, "{path}: {answer}");
    }
}
