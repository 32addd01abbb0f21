//! What one test runs on, and the order service's processes on top of it.

use rocketmart_contracts::topic;
use rocketmart_harness::backing::{Redis, shared};
use rocketmart_kit::config::{self, DatabaseConfig, KafkaConfig, ListenConfig};
use rocketmart_kit::event::Event;
use rocketmart_kit::kafka::{Producer, TopicSpec, create_topics};
use rocketmart_kit::service::{Bound, Service};
use rocketmart_order::{
    GraceConfig, MIGRATOR, OrdinaryConfig, ReturnsConfig, StockConfig, api, relay, worker,
};
use rocketmart_stock::Stock;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::people::{self, OPERATOR_TOKEN};

/// The SKU that every sale of these tests sells, at this price.
pub const MUG: &str = "MUG";
pub const PRICE: i64 = 1500;

/// How much longer than its order a payment under way may take, unless a test says otherwise.
pub const GRACE_SECONDS: u32 = 2;

/// Redis, PostgreSQL and Kafka for one test, with the schema in place and nothing running on them.
pub struct Backing {
    pub redis: Redis,
    pub database: DatabaseConfig,
    pub kafka: KafkaConfig,
    pub pool: PgPool,
    pub stock_config: StockConfig,
    pub stock: Stock,
    pub producer: Producer,
    pub returns: ReturnsConfig,
    pub ordinary: OrdinaryConfig,
    pub limits: api::LimitArgs,
    pub neighbours: api::NeighbourArgs,
    pub grace: GraceConfig,
}

impl Backing {
    pub async fn start() -> Self {
        let database = || shared::create_database("order").unwrap();
        Self::start_with(tokio::task::spawn_blocking(database).await.unwrap()).await
    }

    pub async fn start_with(database_url: String) -> Self {
        let (redis, kafka_brokers) =
            tokio::task::spawn_blocking(|| (Redis::start().unwrap(), shared::brokers().unwrap()))
                .await
                .unwrap();
        let database = DatabaseConfig { database_url, database_max_connections: 6, shop_id: None };
        let pool = database.connect().await.unwrap();
        config::migrate(&pool, &MIGRATOR).await.unwrap();
        let kafka = KafkaConfig::open(kafka_brokers, format!("{}.", Uuid::now_v7().simple()));
        let topics = [
            topic::RESERVATIONS,
            topic::ORDERS,
            topic::PAYMENTS,
            topic::DELIVERIES,
            topic::PRODUCTS,
            topic::STOCK_LEVELS,
        ];
        let topics = topics.map(|name| TopicSpec { name, partitions: 2, compacted: false });
        create_topics(&kafka, &topics).await.unwrap();
        let stock_config = StockConfig::of_url(redis.url());
        let stock = stock_config.connect().unwrap();
        let producer = kafka.producer().unwrap();
        let returns = ReturnsConfig { return_window_seconds: 3600 };
        let ordinary = OrdinaryConfig { ordinary_payment_seconds: 600 };
        // Tests ask as soon and as often as they can; the limits have their own tests.
        let limits =
            api::LimitArgs { purchases_per_member: 0, purchases_per_address: 0, ..api::LimitArgs::default() };
        let grace = GraceConfig { payment_grace_seconds: GRACE_SECONDS };
        let neighbours = api::NeighbourArgs::default();
        Self {
            redis,
            database,
            kafka,
            pool,
            stock_config,
            stock,
            producer,
            returns,
            ordinary,
            limits,
            neighbours,
            grace,
        }
    }

    /// Runs a service until the guard is dropped. Returns where its API listens.
    pub async fn run(service: Service) -> (String, DropGuard) {
        let (at, guard) = Self::run_at(service).await;
        (format!("http://{}", at.api), guard)
    }

    /// The same. Returns all its addresses.
    pub async fn run_at(service: Service) -> (Bound, DropGuard) {
        let stop = CancellationToken::new();
        let (bound, is_bound) = oneshot::channel();
        let running = service.run_until(stop.clone(), |at| {
            let _ = bound.send(at);
        });
        tokio::spawn(async move { running.await.unwrap() });
        (is_bound.await.unwrap(), stop.drop_guard())
    }

    pub async fn run_api(&self) -> (String, DropGuard) {
        Self::run(self.api().await).await
    }

    pub async fn api(&self) -> Service {
        let (auth, verifier) = people::verifier();
        let args = api::Args {
            listen: any_port(),
            database: self.database.clone(),
            stock: self.stock_config.clone(),
            auth,
            returns: self.returns.clone(),
            limits: self.limits,
            neighbours: self.neighbours.clone(),
            operator_token: OPERATOR_TOKEN.parse().unwrap(),
        };
        api::service_with(args, verifier).await.unwrap()
    }

    pub async fn run_relay(&self) -> DropGuard {
        Self::run(self.relay().await).await.1
    }

    pub async fn relay(&self) -> Service {
        let args = relay::Args {
            listen: any_port(),
            database: self.database.clone(),
            stock: self.stock_config.clone(),
            kafka: self.kafka.clone(),
            grace: self.grace.clone(),
        };
        relay::service(args).await.unwrap()
    }

    pub async fn run_worker(&self) -> DropGuard {
        Self::run(self.worker().await).await.1
    }

    pub async fn worker(&self) -> Service {
        let args = worker::Args {
            listen: any_port(),
            database: self.database.clone(),
            stock: self.stock_config.clone(),
            kafka: self.kafka.clone(),
            returns: self.returns.clone(),
            ordinary: self.ordinary.clone(),
            grace: self.grace.clone(),
        };
        worker::service(args).await.unwrap()
    }

    /// A number from the database.
    pub async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.pool).await.unwrap()
    }

    /// `preloaded, remaining, reserved, sold` of the only row in the flash sales' ledger.
    pub async fn ledger(&self) -> [i64; 4] {
        let row: (i64, i64, i64, i64) = sqlx::query_as(
            "SELECT preloaded, remaining, reserved, sold FROM sale_items JOIN sales ON id = sale_id
             WHERE NOT standing",
        )
        .fetch_one(&self.pool)
        .await
        .unwrap();
        row.into()
    }

    /// `on_hand, allocated` of the mug.
    pub async fn standing(&self) -> [i64; 2] {
        let row: (i64, i64) = sqlx::query_as("SELECT on_hand, allocated FROM stock WHERE sku = 'MUG'")
            .fetch_one(&self.pool)
            .await
            .unwrap();
        row.into()
    }

    /// Takes over what the catalog says about a product, as the worker does on its event.
    pub async fn follow(&self, product: &Value) {
        let product = serde_json::from_value(product.clone()).unwrap();
        let mut tx = self.pool.begin().await.unwrap();
        rocketmart_order::store::skus::follow(&mut tx, &product).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub async fn send(&self, topic: &str, event_type: &str, key: Uuid, data: &Value) {
        let event = Event::new("/rocketmart/test", event_type, key, data);
        self.producer.send_all(topic, &[event]).await.unwrap();
    }
}

/// Puts units of a published SKU into the standing stock, as a `products` event would.
pub async fn supply(pool: &PgPool, sku: &str, units: i64) {
    let product = product(sku, units, 1);
    let mut connection = pool.acquire().await.unwrap();
    rocketmart_order::store::skus::follow(&mut connection, &serde_json::from_value(product).unwrap())
        .await
        .unwrap();
}

/// The catalog's event for a one-SKU product.
pub fn product(sku: &str, quantity: i64, version: i64) -> Value {
    json!({
        "product_id": Uuid::new_v5(&Uuid::NAMESPACE_OID, sku.as_bytes()), "seller_id": Uuid::nil(),
        "version": version, "state": "published", "title": "A mug", "description": "", "currency": "EUR",
        "categories": [], "tags": [], "pictures": [], "updated_at": "2026-01-01T00:00:00Z",
        "variants": [{ "sku": sku, "price": PRICE, "quantity": quantity, "options": {} }],
    })
}

fn any_port() -> ListenConfig {
    ListenConfig { listen: ([127, 0, 0, 1], 0).into(), admin_listen: ([127, 0, 0, 1], 0).into() }
}
