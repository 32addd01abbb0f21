//! What members hold of the ordinary stock without having paid: orders in the books, and check-outs on
//! their way there.
//!
//! Whoever asks and adds holds the lock of the buyer's cart, so that two check-outs are counted one after
//! the other.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::cart::Unpaid;

/// This member's open unpaid orders of ordinary stock, without the one made with this key.
pub async fn unpaid(tx: &mut PgConnection, buyer: Uuid, key: &str) -> sqlx::Result<Unpaid> {
    sqlx::query(
        "DELETE FROM checkouts WHERE buyer_id = $1
             AND (pay_by < now() OR EXISTS (SELECT FROM orders WHERE orders.id = order_id))",
    )
    .bind(buyer)
    .execute(&mut *tx)
    .await?;
    let (orders, units) = sqlx::query_as(
        "WITH open AS (
             SELECT orders.id, (SELECT sum(quantity) FROM order_lines WHERE order_id = orders.id) AS units
             FROM orders JOIN sales ON sales.id = sale_id AND standing
             WHERE buyer_id = $1 AND orders.state = 'reserved'
             UNION ALL
             SELECT order_id, units FROM checkouts WHERE buyer_id = $1
         )
         SELECT count(*), coalesce(sum(units), 0)::bigint FROM open
         WHERE NOT EXISTS (SELECT FROM wishes WHERE order_id = open.id AND idempotency_key = $2)",
    )
    .bind(buyer)
    .bind(key)
    .fetch_one(tx)
    .await?;
    Ok(Unpaid { orders, units })
}

/// Notes a check-out that Redis accepted.
pub async fn note(
    tx: &mut PgConnection,
    order: Uuid,
    buyer: Uuid,
    units: i64,
    pay_by: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO checkouts (order_id, buyer_id, units, pay_by) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(order)
    .bind(buyer)
    .bind(units)
    .bind(pay_by)
    .execute(tx)
    .await?;
    Ok(())
}
