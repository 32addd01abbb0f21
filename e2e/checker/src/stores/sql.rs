//! PostgreSQL: orders and ledger, payments, shipments, each from the database of its own service.

use anyhow::{Context, Result};
use sqlx::{PgPool, Row as _, postgres::PgPoolOptions};
use uuid::Uuid;

use crate::books::{Books, Counters, Order, Payment, Units};

async fn connect(url: &str) -> Result<PgPool> {
    PgPoolOptions::new().max_connections(1).connect(url).await.context("connecting to PostgreSQL")
}

pub async fn read_orders(url: &str, sale: Uuid, books: &mut Books) -> Result<()> {
    let pool = connect(url).await?;
    books.opens_at = sqlx::query_scalar("SELECT opens_at FROM sales WHERE id = $1")
        .bind(sale)
        .fetch_optional(&pool)
        .await?;
    books.unknown = sqlx::query_as("SELECT unknown_from, unknown_until FROM rebuilds WHERE sale_id = $1")
        .bind(sale)
        .fetch_all(&pool)
        .await?;
    books.late = sqlx::query_scalar(
        "SELECT coalesce(sum(late_reservations), 0)::bigint FROM rebuilds WHERE sale_id = $1",
    )
    .bind(sale)
    .fetch_one(&pool)
    .await?;
    let items =
        sqlx::query("SELECT sku, preloaded, remaining, reserved, sold FROM sale_items WHERE sale_id = $1")
            .bind(sale)
            .fetch_all(&pool)
            .await?;
    for item in items {
        let counters = Counters {
            preloaded: item.try_get("preloaded")?,
            remaining: item.try_get("remaining")?,
            reserved: item.try_get("reserved")?,
            sold: item.try_get("sold")?,
        };
        books.ledger.insert(item.try_get("sku")?, counters);
    }
    let orders = sqlx::query(
        "SELECT id, state, buyer_id, amount, paid_at, refunded, pay_by, released_at \
         FROM orders WHERE sale_id = $1",
    )
    .bind(sale)
    .fetch_all(&pool)
    .await?;
    for order in orders {
        books.orders.insert(
            order.try_get("id")?,
            Order {
                state: order.try_get("state")?,
                buyer: order.try_get("buyer_id")?,
                amount: order.try_get("amount")?,
                units: Units::new(),
                paid_at: order.try_get("paid_at")?,
                refunded: order.try_get("refunded")?,
                pay_by: order.try_get("pay_by")?,
                released_at: order.try_get("released_at")?,
            },
        );
    }
    let lines = sqlx::query(
        "SELECT order_id, sku, quantity FROM order_lines JOIN orders ON id = order_id WHERE sale_id = $1",
    )
    .bind(sale)
    .fetch_all(&pool)
    .await?;
    for line in lines {
        if let Some(order) = books.orders.get_mut(&line.try_get("order_id")?) {
            *order.units.entry(line.try_get("sku")?).or_default() += line.try_get::<i64, _>("quantity")?;
        }
    }
    Ok(())
}

/// Payments for the orders that are already in the books.
pub async fn read_payments(url: &str, books: &mut Books) -> Result<()> {
    let rows = sqlx::query("SELECT order_id, state, amount, refunded FROM payments")
        .fetch_all(&connect(url).await?)
        .await?;
    for row in rows {
        let order: Uuid = row.try_get("order_id")?;
        if books.orders.contains_key(&order) {
            let payment = Payment {
                state: row.try_get("state")?,
                amount: row.try_get("amount")?,
                refunded: row.try_get("refunded")?,
            };
            books.payments.insert(order, payment);
        }
    }
    Ok(())
}

/// Shipments of the orders that are already in the books.
pub async fn read_shipments(url: &str, books: &mut Books) -> Result<()> {
    let rows = sqlx::query("SELECT order_id, state FROM shipments").fetch_all(&connect(url).await?).await?;
    for row in rows {
        let order: Uuid = row.try_get("order_id")?;
        if books.orders.contains_key(&order) {
            books.shipments.insert(order, row.try_get("state")?);
        }
    }
    Ok(())
}
