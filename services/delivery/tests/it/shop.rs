//! Everything around the service under test: a database, its own topics, a listener on the deliveries topic;
//! and short names for what tests do.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Method, StatusCode};
use rocketmart_delivery::{api, worker};
use rocketmart_harness::backing::shared;
use rocketmart_kit::config::{AuthConfig, DatabaseConfig, KafkaConfig, ListenConfig};
use rocketmart_kit::event::Event;
use rocketmart_kit::kafka::{
    Consumer, DeadLetterBox, Delivery, HandleError, Handler, Producer, TopicSpec, create_topics,
};
use rocketmart_kit::request_limits::RequestLimitArgs;
use rocketmart_kit::service::Service;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::tokens;

pub(crate) const INTERNAL_TOKEN: &str = "a token shared by the services";
/// How long tests wait for something to happen.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct Shop {
    pub(crate) pool: PgPool,
    database: DatabaseConfig,
    kafka: KafkaConfig,
    producer: Producer,
    heard: Heard,
    _ear: DropGuard,
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Event>>>);

#[async_trait]
impl Handler for Heard {
    async fn handle(&self, batch: &[Delivery]) -> Result<(), HandleError> {
        self.0.lock().unwrap().extend(batch.iter().map(|delivery| delivery.event.clone()));
        Ok(())
    }
}

/// A running process of the service; it stops when dropped.
pub(crate) struct Process {
    url: String,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Process {
    async fn start(service: Service) -> Self {
        let stop = CancellationToken::new();
        let (tell, bound) = tokio::sync::oneshot::channel();
        let running = service.run_until(stop.clone(), move |addresses| {
            let _ = tell.send(addresses);
        });
        let ended = tokio::spawn(running);
        let url = format!("http://{}", bound.await.expect("the service binds").api);
        Self { url, stop, ended }
    }

    /// Stops as on SIGTERM and waits for the end.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.ended).await.unwrap().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Shop {
    pub(crate) async fn open() -> Self {
        static LOGS: Once = Once::new();
        LOGS.call_once(|| rocketmart_kit::telemetry::init("delivery-tests"));
        let (url, brokers) = tokio::task::spawn_blocking(|| {
            let url = shared::create_database("delivery").unwrap();
            (url, shared::brokers().unwrap())
        })
        .await
        .unwrap();
        let prefix = format!("t{}.", Uuid::new_v4().simple());
        let kafka = KafkaConfig::open(brokers, prefix);
        let topics = ["orders", "deliveries", "delivery-worker.dead-letters"];
        let topics = topics.map(|name| TopicSpec { name, partitions: 2, compacted: false });
        create_topics(&kafka, &topics).await.unwrap();
        let database = DatabaseConfig { database_url: url, database_max_connections: 6, shop_id: None };
        let heard = Heard::default();
        let ear = CancellationToken::new();
        let listening = Consumer::new(&kafka, "ear", &["deliveries"]).batch(500, Duration::from_millis(5));
        tokio::spawn(listening.run(Arc::new(heard.clone()), ear.clone()));
        Self {
            pool: database.connect().await.unwrap(),
            producer: kafka.producer().unwrap(),
            database,
            kafka,
            heard,
            _ear: ear.drop_guard(),
        }
    }

    /// A worker whose carrier needs `step` seconds for each step.
    pub(crate) async fn worker(&self, step: u32) -> Process {
        let args = worker::Args {
            listen: any_port(),
            database: self.database.clone(),
            kafka: self.kafka.clone(),
            carrier_step_seconds: step,
        };
        Process::start(worker::service(args).await.unwrap()).await
    }

    pub(crate) async fn api(&self) -> Process {
        self.api_with(RequestLimitArgs::default()).await
    }

    pub(crate) async fn api_with(&self, limits: RequestLimitArgs) -> Process {
        let args = api::Args {
            listen: any_port(),
            database: self.database.clone(),
            auth: AuthConfig {
                auth_issuer: "rocketmart".into(),
                auth_audience: "rocketmart".into(),
                auth_jwks_url: Some(tokens::publish_keys().await),
                auth_revocations_url: None,
            },
            limits,
            internal_token: Some(INTERNAL_TOKEN.parse().unwrap()),
        };
        Process::start(api::service(args).await.unwrap()).await
    }

    pub(crate) async fn send(&self, events: &[Event]) {
        self.producer.send_all("orders", events).await.unwrap();
    }

    /// The states of an order's shipment that were announced so far, in order.
    pub(crate) fn states_told(&self, order: Uuid) -> Vec<String> {
        let of_order = self.updates(order);
        of_order.iter().map(|update| update["state"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn updates(&self, order: Uuid) -> Vec<Value> {
        self.heard_of(order, "shipment.updated")
    }

    /// The data of every `rocketmart.<kind>.v1` about an order so far, in order.
    pub(crate) fn heard_of(&self, order: Uuid, kind: &str) -> Vec<Value> {
        let event_type = format!("rocketmart.{kind}.v1");
        let heard = self.heard.0.lock().unwrap();
        // Another process publishes again what may not have been read.
        let mut ids = HashSet::new();
        let of_order =
            heard.iter().filter(|event| event.key == order.to_string() && event.event_type == event_type);
        of_order.filter(|event| ids.insert(&event.id)).map(|event| event.parse().unwrap()).collect()
    }

    /// The answers so far to requests to cancel an order: `cancelled`, or the state in which it was refused.
    pub(crate) fn answers(&self, order: Uuid) -> Vec<String> {
        let mut answers = self.states_told(order);
        answers.retain(|state| state == "cancelled");
        let refused = self.heard_of(order, "shipment.cancel_refused");
        answers.extend(refused.iter().map(|refusal| refusal["state"].as_str().unwrap().to_owned()));
        answers
    }

    pub(crate) fn dead_letters(&self) -> DeadLetterBox {
        DeadLetterBox::of(&self.kafka, "delivery-worker")
    }

    /// Waits until this many events were parked because nobody could handle them.
    pub(crate) async fn wait_for_parked(&self, count: usize) {
        let parked = Heard::default();
        let stop = CancellationToken::new();
        let _stop = stop.clone().drop_guard();
        let consumer = Consumer::new(&self.kafka, "undertaker", &["delivery-worker.dead-letters"]);
        tokio::spawn(consumer.run(Arc::new(parked.clone()), stop));
        eventually("events to be parked", async || (parked.0.lock().unwrap().len() == count).then_some(()))
            .await;
    }

    pub(crate) async fn wait_for_told(&self, order: Uuid, states: &[&str]) {
        eventually(&format!("{states:?} of {order}"), async || {
            (self.states_told(order) == states).then_some(())
        })
        .await;
    }

    /// Waits until the worker has handled every event sent so far.
    pub(crate) async fn wait_for_taken(&self, events: usize) {
        eventually("events to be taken", async || {
            let taken: i64 =
                sqlx::query_scalar("SELECT count(*) FROM inbox").fetch_one(&self.pool).await.unwrap();
            (taken == i64::try_from(events).unwrap()).then_some(())
        })
        .await;
    }
}

/// An order of one line.
#[derive(Clone)]
pub(crate) struct Order {
    pub(crate) id: Uuid,
    pub(crate) buyer: Uuid,
    pub(crate) address: Option<Uuid>,
}

impl Order {
    pub(crate) fn of(buyer: Uuid) -> Self {
        Self { id: Uuid::now_v7(), buyer, address: None }
    }

    pub(crate) fn paid(&self) -> Event {
        let mut data = json!({
            "order_id": self.id, "sale_id": Uuid::now_v7(), "buyer_id": self.buyer,
            "lines": [{"sku": "SNEAKER-42", "quantity": 1, "unit_price": 12_900}],
            "amount": 12_900, "currency": "KRW", "payment_id": Uuid::now_v7(), "paid_at_ms": 1_700_000_000_000_i64,
        });
        if let Some(address) = self.address {
            data["delivery_address_id"] = json!(address);
        }
        Event::new("/rocketmart/order-worker", "rocketmart.order.paid.v1", self.id, &data)
    }

    pub(crate) fn released(&self) -> Event {
        let data = json!({
            "order_id": self.id, "sale_id": Uuid::now_v7(), "buyer_id": self.buyer, "reason": "cancelled",
        });
        Event::new("/rocketmart/order-worker", "rocketmart.order.released.v1", self.id, &data)
    }
}

impl Order {
    pub(crate) fn cancel_requested(&self) -> Event {
        let data = json!({"order_id": self.id, "buyer_id": self.buyer, "reason": "changed my mind"});
        Event::new("/rocketmart/order-worker", "rocketmart.order.cancel_requested.v1", self.id, &data)
    }

    pub(crate) fn return_requested(&self, id: Uuid, quantity: u32) -> Event {
        let data = json!({
            "return_id": id, "order_id": self.id, "buyer_id": self.buyer, "reason": "too small",
            "lines": [{"sku": "SNEAKER-42", "quantity": quantity}],
        });
        Event::new("/rocketmart/order-worker", "rocketmart.order.return_requested.v1", self.id, &data)
    }
}

/// A member calling the API.
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) base: String,
    pub(crate) token: String,
}

impl Client {
    pub(crate) fn new(api: &Process, member: Uuid) -> Self {
        Self { http: reqwest::Client::new(), base: api.url.clone(), token: tokens::buyer(member) }
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
        self.call_with_key(method, path, &Uuid::now_v7().to_string(), body).await
    }

    pub(crate) async fn call_with_key(
        &self,
        method: Method,
        path: &str,
        key: &str,
        body: Option<&Value>,
    ) -> (StatusCode, Value) {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token)
            .header("idempotency-key", key);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        (status, answer.json().await.unwrap_or_default())
    }

    /// Adds an address in the given city and returns its id.
    pub(crate) async fn add_address(&self, city: &str) -> Uuid {
        let (status, address) = self.call(Method::POST, "/api/v1/addresses", Some(&address(city))).await;
        assert_eq!(status, StatusCode::CREATED, "{address}");
        serde_json::from_value(address["id"].clone()).unwrap()
    }
}

pub(crate) fn address(city: &str) -> Value {
    json!({
        "recipient": "홍길동", "line1": "세종대로 110", "city": city, "postal_code": "04524", "country": "KR",
        "phone": "+82 2-120-0000",
    })
}

pub(crate) async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = check().await {
            return seen;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Long enough for a second event to show up, if there were one.
pub(crate) async fn a_while() {
    tokio::time::sleep(Duration::from_millis(1_500)).await;
}

fn any_port() -> ListenConfig {
    let any = "127.0.0.1:0".parse().unwrap();
    ListenConfig { listen: any, admin_listen: any }
}
