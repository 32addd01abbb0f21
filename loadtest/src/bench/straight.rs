//! The limit for purchases that are carried to the end: two clients write the same rows in batches straight
//! into PostgreSQL, with nothing around them.
//!
//! The rows go into copies of the real tables, with all their indexes and checks.

use std::time::{Duration, Instant};

use anyhow::Result;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

const BATCH: usize = 500;
const CLIENTS: usize = 2;

const COPIES: [(&str, &[&str]); 3] = [
    ("order", &["orders", "order_lines", "order_events", "payments_seen"]),
    ("payment", &["payments"]),
    ("delivery", &["shipments"]),
];

/// Purchases inserted per second, each an order with its line, its steps, its payment and its shipment.
pub(crate) async fn insert(order: &str, payment: &str, delivery: &str, length: Duration) -> Result<f64> {
    let pools =
        [PgPool::connect(order).await?, PgPool::connect(payment).await?, PgPool::connect(delivery).await?];
    for ((_, tables), pool) in COPIES.iter().zip(&pools) {
        sqlx::raw_sql("DROP SCHEMA IF EXISTS straight CASCADE; CREATE SCHEMA straight;")
            .execute(pool)
            .await?;
        for table in *tables {
            let copy = format!("CREATE TABLE straight.{table} (LIKE public.{table} INCLUDING ALL)");
            sqlx::raw_sql(sqlx::AssertSqlSafe(copy)).execute(pool).await?;
        }
    }
    let began = Instant::now();
    let clients = (0..CLIENTS).map(|_| async {
        let mut connections = Vec::with_capacity(pools.len());
        for pool in &pools {
            connections.push(pool.acquire().await?);
        }
        let mut inserted = 0;
        while began.elapsed() < length {
            let orders: Vec<Uuid> = (0..BATCH).map(|_| Uuid::now_v7()).collect();
            let [order, payment, delivery] = connections.as_mut_slice() else { break };
            insert_orders(order, &orders).await?;
            insert_payments(payment, &orders).await?;
            insert_shipments(delivery, &orders).await?;
            inserted += BATCH;
        }
        anyhow::Ok(inserted)
    });
    let inserted: usize = futures::future::try_join_all(clients).await?.into_iter().sum();
    let seconds = began.elapsed().as_secs_f64();
    for pool in &pools {
        sqlx::raw_sql("DROP SCHEMA straight CASCADE").execute(pool).await?;
    }
    #[expect(clippy::cast_precision_loss, reason = "a number of rows is far below 2^52")]
    Ok(inserted as f64 / seconds)
}

async fn insert_orders(connection: &mut PgConnection, orders: &[Uuid]) -> Result<()> {
    use sqlx::Connection as _;
    let mut tx = connection.begin().await?;
    for statement in [
        "INSERT INTO straight.orders (id, sale_id, buyer_id, state, amount, currency, reserved_at, pay_by,
             payment_state, payment_id, paid_at)
         SELECT id, id, id, 'preparing', 19900, 'KRW', now(), now(), 'succeeded', id, now()
         FROM unnest($1::uuid[]) AS o (id)",
        "INSERT INTO straight.order_lines (order_id, sku, quantity, unit_price)
         SELECT id, 'B0000000000000000-0', 1, 19900 FROM unnest($1::uuid[]) AS o (id)",
        "INSERT INTO straight.order_events (order_id, from_state, to_state, cause)
         SELECT id, step.came_from, step.went_to, id || '/1700000000000-0/0' FROM unnest($1::uuid[]) AS o (id),
             (VALUES (NULL, 'reserved'), ('reserved', 'paid'), ('paid', 'preparing')) AS step (came_from, went_to)",
        "INSERT INTO straight.payments_seen (payment_id, order_id, outcome, amount)
         SELECT id, id, 'succeeded', 19900 FROM unnest($1::uuid[]) AS o (id)",
    ] {
        sqlx::query(statement).bind(orders).execute(&mut *tx).await?;
    }
    Ok(tx.commit().await?)
}

async fn insert_payments(connection: &mut PgConnection, orders: &[Uuid]) -> Result<()> {
    let statement =
        "INSERT INTO straight.payments (id, order_id, buyer_id, amount, currency, payment_method_id,
             provider_token, state, provider_charge_id, attempts, pay_by, settled_at, charged_at)
         SELECT id, id, id, 19900, 'KRW', id, 'tok_' || id, 'succeeded', 'ch_' || id, 1, now(), now(), now()
         FROM unnest($1::uuid[]) AS o (id)";
    sqlx::query(statement).bind(orders).execute(connection).await?;
    Ok(())
}

async fn insert_shipments(connection: &mut PgConnection, orders: &[Uuid]) -> Result<()> {
    let statement = "INSERT INTO straight.shipments (id, order_id, buyer_id, lines, state, next_look_at)
         SELECT id, id, id, '[{\"sku\": \"B0000000000000000-0\", \"quantity\": 1}]', 'preparing', now()
         FROM unnest($1::uuid[]) AS o (id)";
    sqlx::query(statement).bind(orders).execute(connection).await?;
    Ok(())
}
