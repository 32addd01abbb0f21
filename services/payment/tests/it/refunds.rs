//! Money going back.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::shop::{Order, Shop, a_while, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_asked_for_twice_is_made_once() {
    let shop = Shop::open().await;
    let _worker = shop.worker().await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    shop.send(&[order.payment_requested()]).await;
    let payment = shop.told("succeeded", order.id).await;
    let part_of = Some(Uuid::now_v7());
    let event = order.refund_requested_for(part_of, &payment, 5_000);
    // The same event again, and another event about the same refund.
    shop.send(&[event.clone(), event, order.refund_requested_for(part_of, &payment, 5_000)]).await;

    let refund = shop.told("refunded", order.id).await;
    assert_eq!(refund["payment_id"], payment["payment_id"]);
    assert_eq!((&refund["amount"], &refund["reason"]), (&json!(5_000), &json!("returned")));
    assert_eq!(refund["reference"], json!(part_of));
    // And again, long after the refund was made.
    shop.send(&[order.refund_requested_for(part_of, &payment, 5_000)]).await;
    a_while().await;
    assert_eq!(shop.heard_of(order.id).len(), 2);
    assert_eq!(shop.charges_of(order.id).await[0].refunded, 5_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_refunded_up_to_the_whole_and_survive_an_outage() {
    let shop = Shop::open().await;
    let _worker = shop.worker().await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    shop.send(&[order.payment_requested()]).await;
    let payment = shop.told("succeeded", order.id).await;
    shop.control(json!({"outage": true})).await;
    let too_much = Some(Uuid::now_v7());
    let mut parts = [5_000, 7_000].map(|part| order.refund_requested(&payment, part)).to_vec();
    parts.push(order.refund_requested_for(too_much, &payment, 1_000));
    parts.push(order.refund_requested(&payment, 900));
    shop.send(&parts).await;
    // A refund that is impossible fails without asking the provider.
    let failed = shop.told("refund_failed", order.id).await;
    assert_eq!((&failed["amount"], &failed["reason"]), (&json!(1_000), &json!("exceeds_captured")));
    assert_eq!((&failed["reference"], &failed["payment_id"]), (&json!(too_much), &payment["payment_id"]));
    a_while().await;
    shop.control(json!({"outage": false})).await;
    eventually("the parts that fit", async || (shop.all_told("refunded", order.id).len() == 3).then_some(()))
        .await;
    a_while().await;
    assert_eq!(shop.heard_of(order.id).len(), 5);
    assert_eq!(shop.charges_of(order.id).await[0].refunded, 12_900);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_workers_asked_for_the_whole_at_once_refund_it_once() {
    let shop = Shop::open().await;
    let _workers = [shop.worker().await, shop.worker().await];
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    shop.send(&[order.payment_requested()]).await;
    let payment = shop.told("succeeded", order.id).await;
    let requests: Vec<_> = (0..8)
        .map(|n| {
            let mut request = order.refund_requested(&payment, 12_900);
            // Spreads them over the partitions and so over the workers.
            request.key = n.to_string();
            request
        })
        .collect();
    shop.send(&requests).await;
    eventually("every answer", async || {
        let answers =
            shop.all_told("refunded", order.id).len() + shop.all_told("refund_failed", order.id).len();
        (answers == requests.len()).then_some(())
    })
    .await;
    assert_eq!(shop.all_told("refunded", order.id).len(), 1);
    assert_eq!(shop.charges_of(order.id).await[0].refunded, 12_900);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_the_provider_refuses_is_told_and_its_money_can_be_asked_for_again() {
    let shop = Shop::open().await;
    let _worker = shop.worker().await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    shop.send(&[order.payment_requested()]).await;
    let payment = shop.told("succeeded", order.id).await;
    let charge = shop.charges_of(order.id).await.remove(0);
    let charge_is = async |id: &str| {
        sqlx::query("UPDATE payments SET provider_charge_id = $1")
            .bind(id)
            .execute(&shop.pool)
            .await
            .unwrap();
    };
    charge_is("ch_gone_0").await;
    let reference = Some(Uuid::now_v7());
    shop.send(&[order.refund_requested_for(reference, &payment, 12_900)]).await;
    let failed = shop.told("refund_failed", order.id).await;
    assert_eq!((&failed["reason"], &failed["reference"]), (&json!("charge_unknown"), &json!(reference)));
    // After a failed refund, its name is free again.
    charge_is(&charge.id).await;
    shop.send(&[order.refund_requested_for(reference, &payment, 2_900)]).await;
    assert_eq!(shop.told("refunded", order.id).await["amount"], 2_900);
    assert_eq!(shop.charges_of(order.id).await[0].refunded, 2_900);
}

/// Gives money back as somebody would in the provider's console, and returns the refund.
async fn refund_in_the_console(shop: &Shop, order: &Order, amount: i64) -> Value {
    let charge = shop.charges_of(order.id).await.remove(0);
    let request = shop
        .http
        .post(format!("{}/v1/charges/{}/refunds", shop.provider.url(), charge.id))
        .header("idempotency-key", Uuid::now_v7().to_string())
        .json(&json!({"amount": amount}));
    request.send().await.unwrap().json().await.unwrap()
}

/// What went back, by reference; `null` if nobody here asked for it.
async fn given_back(shop: &Shop, order: &Order, count: usize) -> Vec<(i64, Value)> {
    let told = eventually("what went back", async || {
        let told = shop.all_told("refunded", order.id);
        (told.len() == count).then_some(told)
    })
    .await;
    told.into_iter().map(|refund| (refund["amount"].as_i64().unwrap(), refund["reference"].clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_a_refund_in_the_providers_console_is_taken_over_and_a_later_one_gives_back_what_is_left() {
    let shop = Shop::open().await;
    let (api, _worker) = (shop.api().await, shop.worker().await);
    shop.control(json!({"callback_url": format!("{}/api/v1/payments/callbacks", api.url),
                        "duplicate_callbacks": true}))
        .await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    shop.send(&[order.payment_requested()]).await;
    let payment = shop.told("succeeded", order.id).await;
    refund_in_the_console(&shop, &order, 10_000).await;
    assert_eq!(given_back(&shop, &order, 1).await, [(10_000, Value::Null)]);
    assert_eq!(shop.all_told("refunded", order.id)[0]["reason"], "by_provider");

    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    shop.send(&[order.refund_requested_for(Some(first), &payment, 12_900)]).await;
    assert_eq!(given_back(&shop, &order, 2).await[1], (2_900, json!(first)));
    shop.send(&[order.refund_requested_for(Some(second), &payment, 5_000)]).await;
    let answers = given_back(&shop, &order, 3).await;
    assert_eq!(answers[2], (0, json!(second)), "nothing is left, and that is an answer");
    a_while().await;
    assert!(shop.all_told("refund_failed", order.id).is_empty());
    assert_eq!(given_back(&shop, &order, 3).await.len(), 3);
    assert_eq!(shop.charges_of(order.id).await[0].refunded, 12_900);
    assert!(shop.differences().await.is_empty(), "our own refunds are told of too");
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_a_refund_that_nobody_told_of_is_found_when_less_is_left_than_is_asked_for() {
    let shop = Shop::open().await;
    let _worker = shop.worker().await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    shop.send(&[order.payment_requested()]).await;
    let payment = shop.told("succeeded", order.id).await;
    refund_in_the_console(&shop, &order, 10_000).await;
    let reference = Uuid::now_v7();
    shop.send(&[order.refund_requested_for(Some(reference), &payment, 12_900)]).await;
    assert_eq!(given_back(&shop, &order, 2).await, [(10_000, Value::Null), (2_900, json!(reference))]);
    assert_eq!(shop.charges_of(order.id).await[0].refunded, 12_900);

    let whole = Order::of(order.buyer);
    shop.send(&[whole.payment_requested()]).await;
    let payment = shop.told("succeeded", whole.id).await;
    refund_in_the_console(&shop, &whole, 12_900).await;
    shop.send(&[whole.refund_requested_for(Some(reference), &payment, 12_900)]).await;
    assert_eq!(given_back(&shop, &whole, 2).await, [(12_900, Value::Null), (0, json!(reference))]);
    a_while().await;
    assert!(shop.all_told("refund_failed", order.id).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_the_reconciliation_takes_over_what_nobody_told_of() {
    let shop = Shop::open().await;
    let worker = shop.worker().await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    shop.send(&[order.payment_requested()]).await;
    shop.told("succeeded", order.id).await;
    worker.stop().await;
    refund_in_the_console(&shop, &order, 10_000).await;
    let mut args = shop.worker_args();
    args.reconciliation.reconciliation_seconds = 2;
    args.reconciliation.reconciliation_settling_seconds = 0;
    let _worker = shop.worker_with(args).await;
    assert_eq!(given_back(&shop, &order, 1).await, [(10_000, Value::Null)]);
    assert!(shop.differences().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_of_what_was_never_charged_is_parked_and_holds_up_nobody() {
    let shop = Shop::open().await;
    let _worker = shop.worker().await;
    let buyer = shop.buyer_paying_with("tok_1").await;
    let order = Order::of(buyer);
    let unknown = Order { id: Uuid::now_v7(), ..order.clone() };
    let nonsense = unknown.refund_requested(&json!({"payment_id": Uuid::now_v7()}), 1);
    shop.send(&[nonsense, order.payment_requested()]).await;
    shop.told("succeeded", order.id).await;
    shop.wait_for_parked(1).await;
}
