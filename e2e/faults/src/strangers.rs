//! What others may do to our stores: hold locks, take connections, write rubbish into topics.

use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
    producer::{FutureProducer, FutureRecord},
};
use sqlx::{Connection as _, PgConnection};
use tokio::time::Instant;

const KAFKA_LIMIT: Duration = Duration::from_secs(30);
const DEAD_LETTERS: &str = "order-worker.dead-letters";

/// Locks the orders for a while. Whoever works with them waits and holds a connection meanwhile, until a pool
/// has none left.
pub async fn lock_orders(url: &str, hold: Duration) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let mut transaction = connection.begin().await?;
    sqlx::query("SET LOCAL idle_in_transaction_session_timeout = 0").execute(&mut *transaction).await?;
    sqlx::query("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").execute(&mut *transaction).await?;
    tokio::time::sleep(hold).await;
    Ok(transaction.rollback().await?)
}

/// Locks ledger and stock in the opposite order to everybody else, so that one of two has to give way.
/// Returns how often it was us or somebody else.
pub async fn make_deadlocks(url: &str, during: Duration) -> Result<u64> {
    let mut connection = PgConnection::connect(url).await?;
    let before = deadlocks(&mut connection).await?;
    let end = Instant::now() + during;
    while Instant::now() < end {
        let mut transaction = connection.begin().await?;
        let locked: Result<(), sqlx::Error> = async {
            sqlx::query("SELECT 1 FROM sale_items FOR UPDATE").execute(&mut *transaction).await?;
            tokio::time::sleep(Duration::from_millis(300)).await;
            sqlx::query("SELECT 1 FROM stock FOR UPDATE").execute(&mut *transaction).await?;
            Ok(())
        }
        .await;
        // A deadlock counts too if we are its victim.
        if locked.is_err() {
            let _ = transaction.rollback().await;
        } else {
            transaction.rollback().await?;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The statistics come a moment late.
    tokio::time::sleep(Duration::from_secs(2)).await;
    Ok(u64::try_from(deadlocks(&mut connection).await? - before).unwrap_or_default())
}

async fn deadlocks(connection: &mut PgConnection) -> Result<i64> {
    let query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    Ok(sqlx::query_scalar(query).fetch_one(connection).await?)
}

/// Writes a message that nobody can understand to each topic that order-worker reads.
pub async fn poison(brokers: &str) -> Result<()> {
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("message.timeout.ms", "30000").create()?;
    for topic in ["reservations", "payments", "deliveries"] {
        let rubbish = FutureRecord::to(topic).key("rubbish").payload("{\"this is\": not JSON");
        producer.send(rubbish, KAFKA_LIMIT).await.map_err(|(error, _)| error)?;
    }
    Ok(())
}

/// How many messages were parked so far. Blocking.
pub fn parked(brokers: &str) -> Result<i64> {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let metadata = consumer.fetch_metadata(Some(DEAD_LETTERS), KAFKA_LIMIT)?;
    let partitions = metadata.topics().first().context("no such topic")?.partitions();
    let mut parked = 0;
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(DEAD_LETTERS, partition.id(), KAFKA_LIMIT)?;
        parked += high - low;
    }
    Ok(parked)
}
