//! A running order service, and the services around it.
//!
//! ```text
//! people ──HTTP──▶ Shop (its processes on what `backing` starts) ◀──events── neighbours
//!                              └──events──▶ told
//! ```
//! The operator's tests also run on this, so it needs nothing from the other tests.

mod backing;
mod neighbours;
mod people;
mod told;

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Client;
use rocketmart_contracts::event::{Payload as _, PaymentRequested};
use rocketmart_contracts::topic;
use rocketmart_harness::backing::Postgres;
use rocketmart_kit::kafka::Consumer;
use rocketmart_order::{StockConfig, api};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

pub use self::backing::{Backing, GRACE_SECONDS, MUG, PRICE, product, supply};
pub use self::people::{Caller, OPERATOR_TOKEN, bad_tokens};
use self::people::{claims, signed};
use self::told::Told;

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

    /// The same, on its own PostgreSQL, which a test may kill.
    pub async fn open_on_its_own_postgres() -> (Self, Postgres) {
        let (postgres, url) = tokio::task::spawn_blocking(|| {
            let postgres = Postgres::start().unwrap();
            postgres.create_database("order").unwrap();
            let url = postgres.url("order");
            (postgres, url)
        })
        .await
        .unwrap();
        let shop = Self::on(Backing::start_with(url).await).await.and_the_rest().await;
        (shop, postgres)
    }

    /// The same, with this many seconds to pay for ordinary stock.
    pub async fn open_with_seconds_to_pay(seconds: u32) -> Self {
        let mut backing = Backing::start().await;
        backing.ordinary.ordinary_payment_seconds = seconds;
        Self::on(backing).await.and_the_rest().await
    }

    /// The same, on the test's own Redis.
    pub async fn open_on_redis(stock_config: StockConfig) -> Self {
        let stock = stock_config.connect().unwrap();
        let backing = Backing { stock_config, stock, ..Backing::start().await };
        Self::on(backing).await.and_the_rest().await
    }

    /// The API alone; the mugs are already in SQL.
    pub async fn with_api_only() -> Self {
        Self::on(Backing::start().await).await
    }

    /// The API alone, with limits of the test's choice.
    pub async fn with_limits(limits: api::LimitArgs) -> Self {
        Self::on(Backing { limits, ..Backing::start().await }).await
    }

    /// The API alone, with neighbours that keep cards and addresses.
    pub async fn with_neighbours(neighbours: api::NeighbourArgs) -> Self {
        Self::on(Backing { neighbours, ..Backing::start().await }).await
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
            Consumer::new(&backing.kafka, "test", &[topic::ORDERS]).batch(100, Duration::from_millis(5));
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

    /// Buys mugs and has them delivered.
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
        self.told.until(PaymentRequested::TYPE, id, 1).await;
        self.payment_succeeds(&order, Uuid::now_v7()).await;
        self.until_booked(id, "paid").await;
        order
    }

    /// Buys one mug and pays for it; the test plays the payment service.
    pub async fn buy_and_pay(&self, buyer: &Caller, sale: Uuid) -> Value {
        self.pay(buyer, buyer.purchase(sale, 1, "k").await).await
    }
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

/// A moment in the API's notation.
pub fn moment(text: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(text.as_str().unwrap(), &Rfc3339).unwrap()
}

pub fn from_now(seconds: i64) -> String {
    (OffsetDateTime::now_utc() + time::Duration::seconds(seconds)).format(&Rfc3339).unwrap()
}

/// How long a test waits for what it expects, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_mins(1);

/// Waits for something to become true.
pub async fn eventually(what: &str, holds: impl AsyncFnMut() -> bool) {
    assert!(in_time(holds).await, "waited in vain until {what}");
}

/// Waits until what it sees is what it expects.
pub async fn becomes<T: PartialEq + std::fmt::Debug>(
    what: &str,
    expected: T,
    mut seen: impl AsyncFnMut() -> T,
) {
    let mut last = None;
    let became = in_time(async || {
        let now = seen().await;
        let is_expected = now == expected;
        last = Some(now);
        is_expected
    })
    .await;
    assert!(became, "{what}: {expected:?} was expected and {last:?} is seen");
}

/// Whether it becomes true before patience runs out.
async fn in_time(mut holds: impl AsyncFnMut() -> bool) -> bool {
    let limit = Instant::now() + PATIENCE;
    while !holds().await {
        if Instant::now() >= limit {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    true
}
