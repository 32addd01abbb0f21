//! The end of the time to return: any number of workers find it after downtime, and each order completes
//! once.

use serde_json::json;

use crate::shop::{Shop, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn delivered_orders_are_completed_once_by_two_workers_at_once_also_after_downtime() {
    let shop = Shop::with_api_only().await;
    // Delivered while no worker ran: 1,200 whose time is over, 30 whose time is not, and 30 being returned.
    for (count, state, ago) in [(1200, "delivered", 2), (30, "delivered", 0), (30, "return_requested", 2)] {
        let sale = "INSERT INTO sales (id, name, state, currency, opens_at, closes_at, payment_seconds, fence)
             VALUES ('00000000-0000-0000-0000-000000000001', 's', 'closed', 'EUR', now() - interval '1 day', now(), 60, 1)
             ON CONFLICT DO NOTHING";
        sqlx::query(sale).execute(&shop.backing.pool).await.unwrap();
        sqlx::query(
            "INSERT INTO orders (id, sale_id, buyer_id, state, amount, currency, reserved_at, pay_by, paid_at, delivered_at)
             SELECT gen_random_uuid(), '00000000-0000-0000-0000-000000000001', gen_random_uuid(), $1, 5, 'EUR',
                 now(), now(), now(), now() - make_interval(hours => $2) FROM generate_series(1, $3)",
        )
        .bind(state)
        .bind(ago)
        .bind(count)
        .execute(&shop.backing.pool)
        .await
        .unwrap();
    }
    let _workers = (shop.backing.run_worker().await, shop.backing.run_worker().await);
    eventually("all that is due is completed", async || {
        shop.backing.number("SELECT count(*) FROM orders WHERE state = 'completed'").await == 1200
    })
    .await;
    let twice =
        "SELECT count(*) FROM (SELECT order_id FROM order_events GROUP BY order_id HAVING count(*) > 1) AS t";
    assert_eq!(shop.backing.number(twice).await, 0, "each was completed once");
    assert_eq!(
        shop.backing.number("SELECT count(*) FROM order_events WHERE cause = 'return-window-over'").await,
        1200
    );
    assert_eq!(shop.backing.number("SELECT count(*) FROM orders WHERE state = 'delivered'").await, 30);
    let (status, list) = shop.buyer().get("/api/v1/orders").await;
    assert_eq!((status, &list["data"]), (200, &json!([])));
}
