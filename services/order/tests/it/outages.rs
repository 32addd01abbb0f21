//! Redis or PostgreSQL is away. What still works says so, and what does not says when to come again.

use rocketmart_kit::service::Bound;
use serde_json::{Value, json};

use crate::shop::{Backing, Shop, becomes, eventually};

/// Status and report of a process.
pub async fn readyz(at: &Bound) -> (u16, Value) {
    let answer = reqwest::get(format!("http://{}/readyz", at.admin)).await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Waits until `/readyz` answers with this status, with these as missing, and with these as what others do
/// without.
async fn says(at: &Bound, status: u16, missing: &[&str], degraded: &[&str]) {
    becomes("what /readyz says", (status, json!(missing), json!(degraded)), async || {
        let (status, report) = readyz(at).await;
        let names = |of: &str| report[of].as_array().map(Vec::as_slice).unwrap_or_default().to_vec();
        let named = |of| json!(names(of).iter().map(|what| what["name"].clone()).collect::<Vec<_>>());
        (status, named("missing"), named("degraded"))
    })
    .await;
}

/// O5
#[tokio::test(flavor = "multi_thread")]
async fn while_only_redis_is_away_orders_are_read_and_purchases_are_told_to_come_again() {
    let mut shop = Shop::open().await;
    let sale = shop.open_sale(10).await;
    let (reader, payer) = (shop.buyer(), shop.buyer());
    let (_, reserved) = reader.purchase(sale, 1, "k").await;
    let paid = shop.buy_and_pay(&payer, sale).await;
    let (reserved, paid) = (reserved["id"].as_str().unwrap(), paid["id"].as_str().unwrap());
    shop.until_booked(reserved, "reserved").await;

    shop.backing.redis.kill();
    // One API that was running before, and one that starts now.
    let started = Backing::run_at(shop.backing.api().await).await;
    says(&started.0, 200, &[], &["redis"]).await;
    for api in [shop.api.clone(), format!("http://{}", started.0.api)] {
        for (buyer, order, state) in [(&reader, reserved, "reserved"), (&payer, paid, "paid")] {
            let buyer = crate::shop::Caller { api: api.clone(), ..buyer.clone() };
            let (code, found) = buyer.get(&format!("/api/v1/orders/{order}")).await;
            assert_eq!((code, found["state"].as_str()), (200, Some(state)), "{found}");
            let (code, list) = buyer.get("/api/v1/orders").await;
            assert_eq!((code, list["data"][0]["id"].as_str()), (200, Some(order)), "{list}");
            let (code, found) = buyer.get(&format!("/api/v1/sales/{sale}")).await;
            assert_eq!(code, 200, "{found}");
        }
        let request = reader.http.post(format!("{api}/api/v1/sales/{sale}/purchases"));
        let request = request.bearer_auth(&reader.token).header("idempotency-key", "another");
        let refused = request.json(&json!({ "sku": "MUG", "quantity": 1 })).send().await.unwrap();
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
        assert!(refused.headers().contains_key("retry-after"));
    }
    shop.backing.redis.restart().unwrap();
    eventually("purchases go on", async || shop.buyer().purchase(sale, 1, "k").await.0 == 201).await;
    says(&started.0, 200, &[], &[]).await;
}

/// O4
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_and_a_relay_without_one_of_their_stores_are_not_ready_and_name_it() {
    let (mut shop, mut postgres) = Shop::open_on_its_own_postgres().await;
    let (api, _api) = Backing::run_at(shop.backing.api().await).await;
    let (relay, _relay) = Backing::run_at(shop.backing.relay().await).await;
    let (worker, _worker) = Backing::run_at(shop.backing.worker().await).await;
    for part in [&api, &relay, &worker] {
        says(part, 200, &[], &[]).await;
    }

    tokio::task::block_in_place(|| postgres.kill());
    for part in [&relay, &worker] {
        says(part, 503, &["postgresql"], &[]).await;
    }
    // Purchases go on.
    says(&api, 200, &[], &["postgresql"]).await;

    shop.backing.redis.kill();
    for part in [&relay, &worker] {
        says(part, 503, &["postgresql", "redis"], &[]).await;
    }
    says(&api, 503, &["stores"], &["redis", "postgresql"]).await;

    tokio::task::block_in_place(|| postgres.restart()).unwrap();
    shop.backing.redis.restart().unwrap();
    for part in [&api, &relay, &worker] {
        says(part, 200, &[], &[]).await;
    }
}
