//! What the three processes need, as `/readyz` asks for it.
//!
//! The relay and the worker can do nothing while one of their stores is away. The API can: purchases and
//! payments need Redis alone, orders are read from PostgreSQL alone. Were it unready while only one of the two
//! is away, the entrance would cut off what goes on with the other, and answer itself instead of the problem
//! with `Retry-After` that the API has for the rest (docs/adr/0025).

use std::time::Duration;

use anyhow::Context;
use futures::future::{FutureExt, select_ok};
use rocketmart_kit::kafka::Producer;
use rocketmart_kit::service::Service;
use rocketmart_stock::{Stock, StockError};
use sqlx::PgPool;
use tokio::time::timeout;

/// How long Redis is waited for by a question that it need not answer.
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

/// It answers, and keeps what it accepts.
async fn redis(stock: &Stock) -> anyhow::Result<()> {
    Ok(stock.ensure_safe().await?)
}

/// Whether Redis, if it answers, keeps what it accepts, and is this shop's. This does not pass by itself, as an
/// outage does: a shop on such a Redis is not in order, however well it seems to sell.
pub(crate) async fn redis_settings(stock: &Stock) -> anyhow::Result<()> {
    match timeout(PATIENCE, stock.ensure_safe()).await {
        Ok(Err(error)) if matches!(error, StockError::Unsafe(_)) || error.is_of_another_shop() => {
            Err(error.into())
        }
        _ => Ok(()),
    }
}

/// One of them is there to work with.
pub(crate) async fn a_store(pool: &PgPool, stock: &Stock) -> anyhow::Result<()> {
    let redis = async { anyhow::Ok(stock.ping().await?) };
    let found = select_ok([redis.boxed(), postgresql(pool).boxed()]).await;
    found.map(drop).context("neither Redis nor PostgreSQL answers")
}
