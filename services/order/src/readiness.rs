//! What the three processes need, as `/readyz` checks it.
//!
//! The relay and the worker can do nothing while one of their stores is away. The API can: purchases and
//! payments need only Redis, and orders can be read from PostgreSQL alone. If the API were unready while
//! one of the two is away, the entrance would cut off what still works with the other. It would also answer
//! itself, in place of the API's problem with `Retry-After` (docs/adr/0025).

use std::time::Duration;

use anyhow::Context;
use futures::future::{FutureExt, select_ok};
use rocketmart_kit::kafka::Producer;
use rocketmart_kit::service::Service;
use rocketmart_stock::{Stock, StockError};
use sqlx::PgPool;
use tokio::time::timeout;

/// How long a check waits for Redis when it can do without the answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the relay and the worker need.
pub(crate) fn of_all_stores(service: Service, pool: &PgPool, stock: &Stock, kafka: &Producer) -> Service {
    let (pool, stock, kafka) = (pool.clone(), stock.clone(), kafka.clone());
    service
        .ready("postgresql", move || {
            let pool = pool.clone();
            async move { postgresql(&pool).await }
        })
        .ready("redis", move || {
            let stock = stock.clone();
            async move { redis(&stock).await }
        })
        .ready("kafka", move || {
            let kafka = kafka.clone();
            async move { kafka.ready().await }
        })
}

pub(crate) async fn postgresql(pool: &PgPool) -> anyhow::Result<()> {
    sqlx::query("SELECT 1").execute(pool).await?;
    Ok(())
}

/// Redis answers, and keeps what it accepts.
async fn redis(stock: &Stock) -> anyhow::Result<()> {
    Ok(stock.ensure_safe().await?)
}

/// Whether Redis, if it answers, keeps what it accepts and belongs to this shop. Unlike an outage, a wrong
/// setting does not pass by itself: a shop on such a Redis is not in order, however well it seems to sell.
pub(crate) async fn redis_settings(stock: &Stock) -> anyhow::Result<()> {
    match timeout(PATIENCE, stock.ensure_safe()).await {
        Ok(Err(error)) if matches!(error, StockError::Unsafe(_)) || error.is_of_another_shop() => {
            Err(error.into())
        }
        _ => Ok(()),
    }
}

/// At least one of the stores is there to work with.
pub(crate) async fn a_store(pool: &PgPool, stock: &Stock) -> anyhow::Result<()> {
    let redis = async { anyhow::Ok(stock.ping().await?) };
    let found = select_ok([redis.boxed(), postgresql(pool).boxed()]).await;
    found.map(drop).context("neither Redis nor PostgreSQL answers")
}
