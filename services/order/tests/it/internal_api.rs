//! The internal API: loading once, fences, rules by field, and the states of a sale.

use rocketmart_stock::{SaleId, SaleState};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shop::{Caller, MUG, PRICE, Shop, eventually, from_now, offer, product, supply};

#[tokio::test(flavor = "multi_thread")]
async fn putting_a_sale_twice_loads_it_once_and_a_stale_fence_is_refused() {
    let shop = Shop::with_api_only().await;
    let operator = shop.operator();
    let path = format!("/internal/v1/sales/{}", Uuid::now_v7());
    let mut terms = offer(40);
    terms["fence"] = json!(7);
    for _ in 0..2 {
        let (status, answer) = operator.put(&path, &terms).await;
        assert_eq!(
            (status, &answer["state"], &answer["verified"]),
            (200, &json!("ready"), &json!(true)),
            "{answer}"
        );
        let units = json!([{ "sku": MUG, "preloaded": 40, "remaining": 40, "reserved": 0, "sold": 0 }]);
        assert_eq!((&answer["items"], &answer["ledger"]), (&units, &units));
        assert_eq!(shop.backing.standing().await, [100, 40]);
    }
    terms["fence"] = json!(6);
    let (status, answer) = operator.put(&path, &terms).await;
    assert_eq!((status, answer["code"].as_str()), (409, Some("stale-fence")));
    let (status, _) = operator.post(&format!("{path}/suspend"), &json!({ "fence": 6 })).await;
    assert_eq!(status, 409);

    (terms["fence"], terms["items"][0]["units"]) = (json!(8), json!(50));
    let (status, grown) = operator.put(&path, &terms).await;
    assert_eq!((status, &grown["items"][0]["remaining"]), (200, &json!(50)), "{grown}");
    assert_eq!(shop.backing.standing().await, [100, 50]);
    assert_eq!(shop.backing.ledger().await, [50, 50, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_puts_at_once_allot_the_units_once() {
    let shop = Shop::with_api_only().await;
    let path = format!("/internal/v1/sales/{}", Uuid::now_v7());
    let terms = offer(60);
    let (a, b) = (shop.operator(), shop.operator());
    let ((first, _), (second, _)) = tokio::join!(a.put(&path, &terms), b.put(&path, &terms));
    assert_eq!((first, second), (200, 200));
    assert_eq!(shop.backing.standing().await, [100, 60]);
    assert_eq!(shop.backing.ledger().await, [60, 60, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_breaks_a_rule_names_field_and_rule_and_loads_nothing() {
    type Spoil<'a> = Box<dyn Fn(&mut Value) + 'a>;
    let shop = Shop::with_api_only().await;
    supply(&shop.backing.pool, "PEN", 5).await;
    let item =
        |sku: &str, units: i64| json!({ "sku": sku, "units": units, "price": PRICE, "per_buyer_limit": 1 });
    let cases: Vec<(Spoil<'_>, &str, &str)> = vec![
        (Box::new(|o| o["closes_at"] = json!(from_now(-10))), "closes_at", "after-opens-at"),
        (Box::new(|o| o["items"] = json!([])), "items", "length"),
        (Box::new(|o| o["items"][0]["units"] = json!(0)), "items[0].units", "at-least-one"),
        (Box::new(|o| o["items"][0]["units"] = json!(-3)), "items[0].units", "at-least-one"),
        (Box::new(|o| o["items"][0]["units"] = json!(101)), "items[0].units", "within-stock"),
        (Box::new(|o| o["items"][0]["price"] = json!(-1)), "items[0].price", "not-negative"),
        (
            Box::new(|o| o["items"][0]["per_buyer_limit"] = json!(99)),
            "items[0].per_buyer_limit",
            "within-units",
        ),
        (Box::new(|o| o["items"] = json!([item(MUG, 1), item(MUG, 1)])), "items[1].sku", "unique"),
        (Box::new(|o| o["items"] = json!([item("GONE", 1)])), "items[0].sku", "known-to-catalog"),
        (Box::new(|o| o["items"] = json!([item(MUG, 1), item("PEN", 6)])), "items[1].units", "within-stock"),
        (Box::new(|o| o["currency"] = json!("USD")), "currency", "same-as-catalog"),
        (Box::new(|o| o["currency"] = json!("KWR")), "currency", "iso-4217"),
        (Box::new(|o| o["payment_seconds"] = json!(0)), "payment_seconds", "range"),
        (Box::new(|o| o["fence"] = json!(-1)), "fence", "range"),
        (Box::new(|o| o["surprise"] = json!(1)), "surprise", "unknown"),
        (Box::new(|o| o["items"][0]["units"] = json!("ten")), "items[0].units", "type"),
    ];
    for (spoil, field, rule) in cases {
        let mut terms = offer(10);
        spoil(&mut terms);
        let path = format!("/internal/v1/sales/{}", Uuid::now_v7());
        let (status, answer) = shop.operator().put(&path, &terms).await;
        let errors = answer["errors"].as_array().cloned().unwrap_or_default();
        assert_eq!(status, 422, "{field} {rule}: {answer}");
        assert!(errors.iter().any(|e| e["field"] == field && e["rule"] == rule), "{field} {rule}: {answer}");
        assert_eq!(shop.operator().get(&path).await.0, 404, "nothing half-loaded");
    }
    assert_eq!(shop.backing.standing().await, [100, 0]);
    assert!(shop.backing.stock.sales().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_goes_on_in_its_currency_when_the_catalog_changes_its_own_s9() {
    let shop = Shop::with_api_only().await;
    let mut terms = offer(10);
    let sale = shop.sale(terms.clone()).await;
    let mut in_dollars = product(MUG, 100, 9);
    in_dollars["currency"] = json!("USD");
    shop.backing.follow(&in_dollars).await;

    (terms["fence"], terms["closes_at"]) = (json!(2), json!(from_now(9_000)));
    let (status, answer) = shop.operator().put(&format!("/internal/v1/sales/{sale}"), &terms).await;
    assert_eq!((status, &answer["state"]), (200, &json!("ready")), "{answer}");
    let (status, order) = shop.buyer().purchase(sale, 1, "k").await;
    assert_eq!(
        (status, &order["currency"], &order["amount"]),
        (201, &json!("EUR"), &json!(PRICE)),
        "{order}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_suspended_resumed_and_closed_in_both_books() {
    let shop = Shop::with_api_only().await;
    let sale = shop.open_sale(10).await;
    let operator = shop.operator();
    let redis = async || shop.backing.stock.counters(SaleId(sale)).await.unwrap().unwrap().state;
    let steps = [
        ("suspend", 200, "suspended", SaleState::Suspended),
        ("suspend", 200, "suspended", SaleState::Suspended),
        ("resume", 200, "ready", SaleState::Ready),
        ("close", 200, "closed", SaleState::Closed),
        ("cancel", 200, "cancelled", SaleState::Closed),
    ];
    for (action, expected, state, in_redis) in steps {
        let (status, answer) =
            operator.post(&format!("/internal/v1/sales/{sale}/{action}"), &json!({ "fence": 2 })).await;
        assert_eq!((status, &answer["state"]), (expected, &json!(state)), "{action}: {answer}");
        assert_eq!(redis().await, in_redis, "{action}");
    }
    let (status, answer) =
        operator.post(&format!("/internal/v1/sales/{sale}/resume"), &json!({ "fence": 2 })).await;
    assert_eq!((status, answer["code"].as_str()), (409, Some("sale-closed")));
    let mut grown = offer(20);
    grown["fence"] = json!(2);
    let (status, answer) = operator.put(&format!("/internal/v1/sales/{sale}"), &grown).await;
    assert_eq!((status, answer["code"].as_str()), (409, Some("sale-closed")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_internal_api_opens_to_the_operators_token_alone() {
    let shop = Shop::with_api_only().await;
    let path = format!("/internal/v1/sales/{}", Uuid::now_v7());
    for stranger in [shop.buyer(), Caller { token: String::new(), ..shop.operator() }] {
        assert_eq!(stranger.put(&path, &offer(1)).await.0, 401);
        assert_eq!(stranger.get("/internal/v1/skus?sku=MUG").await.0, 401);
    }
    let (status, answer) = shop.operator().get("/internal/v1/skus?sku=MUG&sku=GONE").await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!((&answer["skus"][0]["available"], &answer["unknown"]), (&json!(100), &json!(["GONE"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_that_redis_has_lost_is_shown_and_never_loaded_a_second_time() {
    let mut shop = Shop::with_api_only().await;
    let terms = offer(10);
    let sale = shop.sale(terms.clone()).await;
    shop.backing.redis.restart_empty().unwrap();
    let path = format!("/internal/v1/sales/{sale}");
    let mut answer = json!(null);
    eventually("Redis answers again", async || {
        let (status, found) = shop.operator().put(&path, &terms).await;
        answer = found;
        status == 200
    })
    .await;
    assert_eq!(answer["verified"], false, "{answer}");
    assert_eq!(answer["differences"][0]["kind"], "redis-lost");
    assert_eq!(shop.backing.stock.counters(SaleId(sale)).await.unwrap(), None);
}
