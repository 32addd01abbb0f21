//! The provider's list against our payments.

use serde_json::json;
use uuid::Uuid;

use crate::shop::{Order, Shop, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn differences_between_the_providers_list_and_the_payments_are_recorded() {
    let shop = Shop::open().await;
    let mut args = shop.worker_args();
    args.reconciliation.reconciliation_seconds = 2;
    args.reconciliation.reconciliation_settling_seconds = 0;
    let worker = shop.worker().await;
    let buyer = shop.buyer_paying_with("tok_1").await;
    let fine = Order::of(buyer);
    let differs = Order::of(buyer);
    let lost = Order::of(buyer);
    shop.send(&[&fine, &differs, &lost].map(Order::payment_requested)).await;
    for order in [&fine, &differs, &lost] {
        shop.told("succeeded", order.id).await;
    }
    worker.stop().await;
    let stray = Uuid::now_v7();
    shop.http
        .post(format!("{}/v1/charges", shop.provider.url()))
        .header("idempotency-key", "not ours")
        .json(&json!({"token": "tok_1", "amount": 5, "currency": "KRW", "reference": stray}))
        .send()
        .await
        .unwrap();
    let held = Order::of(buyer);
    shop.http
        .post(format!("{}/v1/authorizations", shop.provider.url()))
        .header("idempotency-key", "held")
        .json(&json!({"token": "tok_1", "amount": 7, "currency": "KRW", "reference": held.id}))
        .send()
        .await
        .unwrap();
    for tampering in [
        "UPDATE payments SET amount = amount + 1 WHERE order_id = $1",
        "UPDATE payments SET provider_charge_id = 'ch_lost' WHERE order_id = $1",
    ]
    .into_iter()
    .zip([differs.id, lost.id])
    {
        sqlx::query(tampering.0).bind(tampering.1).execute(&shop.pool).await.unwrap();
    }

    let workers = [shop.worker_with(args.clone()).await, shop.worker_with(args).await];
    let found = eventually("differences", async || {
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT kind, reference FROM reconciliation_differences ORDER BY kind")
                .fetch_all(&shop.pool)
                .await
                .unwrap();
        (!rows.is_empty()).then_some(rows)
    })
    .await;
    let expected = [
        ("amount_differs", differs.id),
        ("charge_without_payment", stray),
        ("money_left_set_aside", held.id),
        ("order_charged_twice", lost.id),
        ("payment_without_charge", lost.id),
    ];
    assert_eq!(found, expected.map(|(kind, order)| (kind.to_owned(), order.to_string())));
    drop(workers);
    let (runs, charges): (i64, i64) =
        sqlx::query_as("SELECT count(*), max(charges) FROM reconciliation_runs WHERE differences = 5")
            .fetch_one(&shop.pool)
            .await
            .unwrap();
    assert_eq!((runs, charges), (1, 4));
}
