//! A running order service, the people who call it, and the services around it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Client, Method};
use rocketmart_harness::backing::{Kafka, Postgres, Redis};
use rocketmart_kit::auth::{Claims, Role, Verifier};
use rocketmart_kit::config::{self, AuthConfig, DatabaseConfig, KafkaConfig, ListenConfig};
use rocketmart_kit::event::Event;
use rocketmart_kit::kafka::{Consumer, Delivery, HandleError, Handler, Producer, TopicSpec, create_topics};
use rocketmart_kit::service::Service;
use rocketmart_order::{
    GraceConfig, MIGRATOR, OrdinaryConfig, ReturnsConfig, StockConfig, api, events, relay, worker,
};
use rocketmart_stock::Stock;
use serde_json::{Value, json};
use sqlx::PgPool;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

/// The example key of RFC 8410.
const SIGNING_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
    -----END PRIVATE KEY-----\n";
const PUBLIC_KEY: &str = "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE";

pub const OPERATOR_TOKEN: &str = "the-operator-of-this-test";

/// The SKU every sale of these tests sells, at this price.
pub const MUG: &str = "MUG";
pub const PRICE: i64 = 1500;

/// A payment under way may take this much longer than its order, unless a test says otherwise.
pub const GRACE_SECONDS: u32 = 2;

/// Redis, PostgreSQL and Kafka of one test, with the schema in place and nothing running on them.
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
    pub grace: GraceConfig,
}

impl Backing {
    pub async fn start() -> Self {
        let database = || Postgres::shared().unwrap().create_database("order").unwrap();
        Self::start_with(tokio::task::spawn_blocking(database).await.unwrap()).await
    }

    pub async fn start_with(database_url: String) -> Self {
        let (redis, kafka_brokers) =
            tokio::task::spawn_blocking(|| (Redis::start().unwrap(), Kafka::shared().unwrap().brokers()))
                .await
                .unwrap();
        let database = DatabaseConfig { database_url, database_max_connections: 6 };
        let pool = database.connect().await.unwrap();
        config::migrate(&pool, &MIGRATOR).await.unwrap();
        let kafka =
            KafkaConfig { kafka_brokers, kafka_topic_prefix: format!("{}.", Uuid::now_v7().simple()) };
        let topics =
            [events::RESERVATIONS, events::ORDERS, events::PAYMENTS, events::DELIVERIES, events::PRODUCTS];
        let topics = topics.map(|name| TopicSpec { name, partitions: 2, compacted: false });
        create_topics(&kafka, &topics).await.unwrap();
        let stock_config = StockConfig::of_url(redis.url());
        let stock = stock_config.connect().unwrap();
        let producer = kafka.producer().unwrap();
        let returns = ReturnsConfig { return_window_seconds: 3600 };
        let ordinary = OrdinaryConfig { ordinary_payment_seconds: 60 };
        // Tests ask as soon and as often as they can; the limits have tests of their own.
        let limits =
            api::LimitArgs { purchases_per_member: 0, purchases_per_address: 0, ..api::LimitArgs::default() };
        let grace = GraceConfig { payment_grace_seconds: GRACE_SECONDS };
        Self { redis, database, kafka, pool, stock_config, stock, producer, returns, ordinary, limits, grace }
    }

    /// Runs a service until the guard is dropped; answers where its API listens.
    pub async fn run(service: Service) -> (String, DropGuard) {
        let stop = CancellationToken::new();
        let (bound, is_bound) = oneshot::channel();
        let running = service.run_until(stop.clone(), |at| {
            let _ = bound.send(at);
        });
        tokio::spawn(async move { running.await.unwrap() });
        (format!("http://{}", is_bound.await.unwrap().api), stop.drop_guard())
    }

    pub async fn run_api(&self) -> (String, DropGuard) {
        let auth = AuthConfig {
            auth_issuer: "rocketmart".into(),
            auth_audience: "rocketmart".into(),
            auth_jwks_url: None,
        };
        let jwks = serde_json::from_value(json!({ "keys": [
            { "kty": "OKP", "crv": "Ed25519", "kid": "test", "alg": "EdDSA", "use": "sig", "x": PUBLIC_KEY }
        ]}))
        .unwrap();
        let verifier = Verifier::from_jwks(&auth, &jwks);
        let args = api::Args {
            listen: any_port(),
            database: self.database.clone(),
            stock: self.stock_config.clone(),
            auth,
            returns: self.returns.clone(),
            limits: self.limits,
            operator_token: OPERATOR_TOKEN.parse().unwrap(),
        };
        Self::run(api::service_with(args, verifier).await.unwrap()).await
    }

    pub async fn run_relay(&self) -> DropGuard {
        let args = relay::Args {
            listen: any_port(),
            database: self.database.clone(),
            stock: self.stock_config.clone(),
            kafka: self.kafka.clone(),
            grace: self.grace.clone(),
        };
        Self::run(relay::service(args).await.unwrap()).await.1
    }

    pub async fn run_worker(&self) -> DropGuard {
        let args = worker::Args {
            listen: any_port(),
            database: self.database.clone(),
            stock: self.stock_config.clone(),
            kafka: self.kafka.clone(),
            returns: self.returns.clone(),
            ordinary: self.ordinary.clone(),
            grace: self.grace.clone(),
        };
        Self::run(worker::service(args).await.unwrap()).await.1
    }

    /// A number of the database.
    pub async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.pool).await.unwrap()
    }

    /// `preloaded, remaining, reserved, sold` of the only row that the ledger of the flash sales has.
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

    /// Takes over what the catalog says of a product, as the worker does on its event.
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

/// The whole order service with its surroundings.
pub struct Shop {
    pub backing: Backing,
    pub told: Told,
    pub api: String,
    http: Client,
    parts: Vec<DropGuard>,
}

impl Shop {
    /// API, relay and worker, and a catalog that supplies 100 mugs.
    pub async fn open() -> Self {
        Self::with_api_only().await.and_the_rest().await
    }

    /// The same on a PostgreSQL of its own, which may be killed.
    pub async fn open_on_its_own_postgres() -> (Self, Postgres) {
        let (postgres, url) = tokio::task::spawn_blocking(|| {
            let postgres = Postgres::start().unwrap();
            let url = postgres.create_database("order").unwrap();
            (postgres, url)
        })
        .await
        .unwrap();
        let shop = Self::on(Backing::start_with(url).await).await.and_the_rest().await;
        (shop, postgres)
    }

    /// The same with so many seconds to pay for ordinary stock.
    pub async fn open_with_seconds_to_pay(seconds: u32) -> Self {
        let mut backing = Backing::start().await;
        backing.ordinary.ordinary_payment_seconds = seconds;
        Self::on(backing).await.and_the_rest().await
    }

    /// The same on a Redis of the test's own.
    pub async fn open_on_redis(stock_config: StockConfig) -> Self {
        let stock = stock_config.connect().unwrap();
        let backing = Backing { stock_config, stock, ..Backing::start().await };
        Self::on(backing).await.and_the_rest().await
    }

    /// The API alone; the mugs are in SQL already.
    pub async fn with_api_only() -> Self {
        Self::on(Backing::start().await).await
    }

    /// The API alone, under limits of the test's choice.
    pub async fn with_limits(limits: api::LimitArgs) -> Self {
        Self::on(Backing { limits, ..Backing::start().await }).await
    }

    async fn and_the_rest(mut self) -> Self {
        self.parts.push(self.backing.run_relay().await);
        self.parts.push(self.backing.run_worker().await);
        self
    }

    async fn on(backing: Backing) -> Self {
        supply(&backing.pool, MUG, 100).await;
        let told = Told::default();
        let stop = CancellationToken::new();
        let consumer =
            Consumer::new(&backing.kafka, "test", &[events::ORDERS]).batch(100, Duration::from_millis(5));
        tokio::spawn(consumer.run(Arc::new(told.clone()), stop.clone()));
        let (api, api_guard) = backing.run_api().await;
        Self { backing, told, api, http: Client::new(), parts: vec![api_guard, stop.drop_guard()] }
    }

    pub fn keep(&mut self, part: DropGuard) {
        self.parts.push(part);
    }

    pub fn buyer(&self) -> Caller {
        let claims = claims();
        Caller { id: claims.sub, token: signed(&claims), api: self.api.clone(), http: self.http.clone() }
    }

    /// Expired, for somebody else, from somebody else, unsigned, signed with the public key, garbage.
    pub fn bad_tokens() -> Vec<String> {
        let good = signed(&claims());
        let body = good.split('.').nth(1).unwrap();
        let mut with_public_key = Header::new(Algorithm::HS256);
        with_public_key.kid = Some("test".into());
        let key = EncodingKey::from_secret(PUBLIC_KEY.as_bytes());
        vec![
            signed(&Claims { exp: claims().iat - 3600, ..claims() }),
            signed(&Claims { aud: "another".into(), ..claims() }),
            signed(&Claims { iss: "another".into(), ..claims() }),
            // {"alg":"none","typ":"JWT"}
            format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}."),
            jsonwebtoken::encode(&with_public_key, &claims(), &key).unwrap(),
            format!("{good}x"),
            String::new(),
        ]
    }

    pub fn operator(&self) -> Caller {
        Caller {
            id: Uuid::nil(),
            token: OPERATOR_TOKEN.into(),
            api: self.api.clone(),
            http: self.http.clone(),
        }
    }

    /// Opens a sale of mugs and waits until shoppers see it.
    pub async fn sale(&self, offer: Value) -> Uuid {
        let id = Uuid::now_v7();
        let (status, answer) = self.operator().put(&format!("/internal/v1/sales/{id}"), &offer).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["verified"], true, "{answer}");
        let api = self.buyer();
        eventually("the sale is listed as open", async || {
            let (_, sale) = api.get(&format!("/api/v1/sales/{id}")).await;
            sale["state"] == "open"
        })
        .await;
        id
    }

    /// A sale of mugs that is open now: `units` of them, one per buyer, a minute to pay.
    pub async fn open_sale(&self, units: i64) -> Uuid {
        self.sale(offer(units)).await
    }

    /// Waits until the order is in `state` for its buyer.
    pub async fn until(&self, buyer: &Caller, order: &str, state: &str) -> Value {
        let mut seen = Value::Null;
        eventually(&format!("order {order} is {state}"), async || {
            seen = buyer.get(&format!("/api/v1/orders/{order}")).await.1;
            seen["state"] == state
        })
        .await;
        seen
    }

    /// Waits until SQL has the order in `state`.
    pub async fn until_booked(&self, order: &str, state: &str) {
        let id: Uuid = order.parse().unwrap();
        eventually(&format!("order {order} is booked as {state}"), async || {
            let found: Option<String> = sqlx::query_scalar("SELECT state FROM orders WHERE id = $1")
                .bind(id)
                .fetch_optional(&self.backing.pool)
                .await
                .unwrap();
            found.as_deref() == Some(state)
        })
        .await;
    }

    pub async fn payment_succeeds(&self, order: &Value, payment: Uuid) {
        let id: Uuid = order["id"].as_str().unwrap().parse().unwrap();
        let data = json!({ "payment_id": payment, "order_id": id, "amount": order["amount"],
            "currency": order["currency"], "succeeded_at_ms": 1_700_000_000_000_i64 });
        self.backing.send(events::PAYMENTS, events::types::PAYMENT_SUCCEEDED, id, &data).await;
    }

    pub async fn payment_fails(&self, order: &Value, payment: Uuid) {
        let id: Uuid = order["id"].as_str().unwrap().parse().unwrap();
        let data = json!({ "payment_id": payment, "order_id": id, "reason": "declined" });
        self.backing.send(events::PAYMENTS, events::types::PAYMENT_FAILED, id, &data).await;
    }

    pub async fn payment_refunded(&self, order: &Value, payment: Uuid) {
        let id: Uuid = order["id"].as_str().unwrap().parse().unwrap();
        let data = json!({ "payment_id": payment, "refund_id": Uuid::now_v7(), "order_id": id,
            "amount": order["amount"], "currency": order["currency"], "reason": "order_released" });
        self.backing.send(events::PAYMENTS, events::types::PAYMENT_REFUNDED, id, &data).await;
    }

    pub async fn shipment_is(&self, order: &Value, state: &str) {
        let id: Uuid = order["id"].as_str().unwrap().parse().unwrap();
        let data = json!({ "shipment_id": Uuid::nil(), "order_id": id, "state": state,
            "at_ms": now_ms(), "tracking_number": "RM1" });
        self.backing.send(events::DELIVERIES, events::types::SHIPMENT_UPDATED, id, &data).await;
    }

    /// Delivery answers a cancellation: the parcel is on its way.
    pub async fn cancel_is_refused(&self, order: &Value) {
        let id: Uuid = order["id"].as_str().unwrap().parse().unwrap();
        let data = json!({ "shipment_id": Uuid::nil(), "order_id": id, "state": "shipped" });
        self.backing.send(events::DELIVERIES, events::types::CANCEL_REFUSED, id, &data).await;
    }

    pub async fn return_is(&self, order: &str, returned: &Value, state: &str) {
        let id: Uuid = order.parse().unwrap();
        let data = json!({ "return_id": returned["id"], "order_id": id, "state": state, "at_ms": now_ms(),
            "tracking_number": "BACK1" });
        self.backing.send(events::DELIVERIES, events::types::RETURN_UPDATED, id, &data).await;
    }

    /// The payment service gives back what it was asked for.
    pub async fn gives_back(&self, asked: &Value) {
        let id: Uuid = asked["order_id"].as_str().unwrap().parse().unwrap();
        let mut data = asked.clone();
        data["refund_id"] = json!(Uuid::now_v7());
        self.backing.send(events::PAYMENTS, events::types::PAYMENT_REFUNDED, id, &data).await;
    }

    /// Buys mugs that are delivered.
    pub async fn buy_and_receive(&self, buyer: &Caller, sale: Uuid, quantity: u32) -> Value {
        let order = self.pay(buyer, buyer.purchase(sale, quantity, "k").await).await;
        self.shipment_is(&order, "delivered").await;
        self.until(buyer, order["id"].as_str().unwrap(), "delivered").await
    }

    /// Pays for what was just bought; the test plays the payment service.
    pub async fn pay(&self, buyer: &Caller, (status, order): (u16, Value)) -> Value {
        assert_eq!(status, 201, "{order}");
        let id = order["id"].as_str().unwrap();
        let (status, answer) = buyer.post(&format!("/api/v1/orders/{id}/payment"), &json!({})).await;
        assert_eq!(status, 202, "{answer}");
        self.told.until(events::types::PAYMENT_REQUESTED, id, 1).await;
        self.payment_succeeds(&order, Uuid::now_v7()).await;
        self.until_booked(id, "paid").await;
        order
    }

    /// Buys one mug and pays for it; the test plays the payment service.
    pub async fn buy_and_pay(&self, buyer: &Caller, sale: Uuid) -> Value {
        self.pay(buyer, buyer.purchase(sale, 1, "k").await).await
    }
}

fn claims() -> Claims {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed();
    Claims {
        sub: Uuid::now_v7(),
        roles: vec![Role::Buyer],
        sid: Uuid::now_v7(),
        jti: Uuid::now_v7(),
        exp: now + 600,
        iat: now,
        iss: "rocketmart".into(),
        aud: "rocketmart".into(),
    }
}

fn signed(claims: &Claims) -> String {
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some("test".into());
    let key = EncodingKey::from_ed_pem(SIGNING_KEY.as_bytes()).unwrap();
    jsonwebtoken::encode(&header, claims, &key).unwrap()
}

/// The terms of a sale of mugs that opened a moment ago.
pub fn offer(units: i64) -> Value {
    json!({
        "name": "mugs", "fence": 1, "currency": "EUR", "payment_seconds": 60,
        "opens_at": from_now(-5), "closes_at": from_now(600),
        "items": [{ "sku": MUG, "units": units, "price": PRICE, "per_buyer_limit": 1 }],
    })
}

pub fn now_ms() -> i64 {
    (OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).try_into().unwrap()
}

/// A moment as the API writes it.
pub fn moment(text: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(text.as_str().unwrap(), &Rfc3339).unwrap()
}

pub fn from_now(seconds: i64) -> String {
    (OffsetDateTime::now_utc() + time::Duration::seconds(seconds)).format(&Rfc3339).unwrap()
}

/// Somebody with a token.
#[derive(Clone)]
pub struct Caller {
    pub id: Uuid,
    pub token: String,
    pub api: String,
    pub http: Client,
}

impl Caller {
    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, None, None).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call(Method::PUT, path, Some(body), None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call(Method::POST, path, Some(body), None).await
    }

    pub async fn send_back(&self, order: &str, key: &str, wish: &Value) -> (u16, Value) {
        self.call(Method::POST, &format!("/api/v1/orders/{order}/returns"), Some(wish), Some(key)).await
    }

    pub async fn purchase(&self, sale: Uuid, quantity: u32, key: &str) -> (u16, Value) {
        let body = json!({ "sku": MUG, "quantity": quantity });
        self.call(Method::POST, &format!("/api/v1/sales/{sale}/purchases"), Some(&body), Some(key)).await
    }

    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> (u16, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.api)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }
}

/// What the order service told the others.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<Vec<Event>>>);

#[async_trait]
impl Handler for Told {
    async fn handle(&self, batch: &[Delivery]) -> Result<(), HandleError> {
        let events = batch.iter().map(|delivery| delivery.event.clone());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(events);
        Ok(())
    }
}

impl Told {
    /// Data of the events of this type about this order.
    pub fn of(&self, event_type: &str, order: &str) -> Vec<Value> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = std::collections::HashSet::new();
        told.iter()
            .filter(|event| {
                event.event_type == event_type && event.key == order && seen.insert(event.id.clone())
            })
            .map(|event| event.parse().unwrap())
            .collect()
    }

    /// Waits until it was told `times` times.
    pub async fn until(&self, event_type: &str, order: &str, times: usize) -> Vec<Value> {
        eventually(&format!("{event_type} of {order}"), async || self.of(event_type, order).len() == times)
            .await;
        self.of(event_type, order)
    }
}

/// Waits up to half a minute for something to become true.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < limit, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
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

/// The catalog's event about a product of one SKU.
pub fn product(sku: &str, quantity: i64, version: i64) -> Value {
    json!({
        "product_id": Uuid::new_v5(&Uuid::NAMESPACE_OID, sku.as_bytes()), "seller_id": Uuid::nil(),
        "version": version, "state": "published", "title": "A mug", "description": "", "currency": "EUR",
        "categories": [], "tags": [], "pictures": [], "updated_at": "2026-01-01T00:00:00Z",
        "variants": [{ "sku": sku, "price": PRICE, "quantity": quantity, "options": {} }],
    })
}

pub fn any_port() -> ListenConfig {
    ListenConfig { listen: ([127, 0, 0, 1], 0).into(), admin_listen: ([127, 0, 0, 1], 0).into() }
}
