//! Everything around the service under test: a database, its own topics, the provider, a listener on the
//! payments topic; and short names for what tests do.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use async_trait::async_trait;
use rocketmart_harness::backing::shared;
use rocketmart_kit::config::{AuthConfig, DatabaseConfig, KafkaConfig, ListenConfig};
use rocketmart_kit::event::Event;
use rocketmart_kit::kafka::{Consumer, Delivery, HandleError, Handler, Producer, TopicSpec, create_topics};
use rocketmart_kit::request_limits::RequestLimitArgs;
use rocketmart_kit::service::Service;
use rocketmart_outside::provider::{self, Authorization, Charge};
use rocketmart_payment::domain::payment::Capture;
use rocketmart_payment::worker::{ProviderArgs, ReconciliationArgs};
use rocketmart_payment::{api, worker};
use serde_json::{Value, json};
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::tokens;

pub(crate) const SECRET: &str = "a secret shared by shop and provider";
pub(crate) const INTERNAL_TOKEN: &str = "a token shared by the services";
/// A secret that the provider may still sign with.
pub(crate) const PREVIOUS_SECRET: &str = "the secret that they shared before";
/// How long tests wait for something to happen.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct Shop {
    pub(crate) provider: provider::Running,
    pub(crate) pool: PgPool,
    pub(crate) http: reqwest::Client,
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
    pub(crate) url: String,
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
        LOGS.call_once(|| rocketmart_kit::telemetry::init("payment-tests"));
        let (url, brokers) = tokio::task::spawn_blocking(|| {
            let url = shared::create_database("payment").unwrap();
            (url, shared::brokers().unwrap())
        })
        .await
        .unwrap();
        let prefix = format!("t{}.", Uuid::new_v4().simple());
        let kafka = KafkaConfig::open(brokers, prefix);
        let topics = ["orders", "payments", "payment-worker.dead-letters"];
        let topics = topics.map(|name| TopicSpec { name, partitions: 2, compacted: false });
        create_topics(&kafka, &topics).await.unwrap();
        let database = DatabaseConfig { database_url: url, database_max_connections: 6, shop_id: None };
        let provider = provider::start(provider::Args {
            provider_listen: "127.0.0.1:0".parse().unwrap(),
            payment_provider_secret: SECRET.into(),
            provider_callback_url: None,
            provider_state_file: None,
        })
        .await
        .unwrap();
        let heard = Heard::default();
        let ear = CancellationToken::new();
        let listening = Consumer::new(&kafka, "ear", &["payments"]).batch(500, Duration::from_millis(5));
        tokio::spawn(listening.run(Arc::new(heard.clone()), ear.clone()));
        Self {
            provider,
            pool: database.connect().await.unwrap(),
            http: reqwest::Client::new(),
            producer: kafka.producer().unwrap(),
            database,
            kafka,
            heard,
            _ear: ear.drop_guard(),
        }
    }

    pub(crate) fn worker_args(&self) -> worker::Args {
        worker::Args {
            listen: any_port(),
            database: self.database.clone(),
            kafka: self.kafka.clone(),
            provider: ProviderArgs {
                payment_provider_url: self.provider.url().parse().unwrap(),
                payment_provider_timeout_ms: 500,
                payment_provider_concurrency: 32,
                payment_capture: Capture::Manual,
            },
            reconciliation: ReconciliationArgs {
                reconciliation_seconds: 86_400,
                reconciliation_settling_seconds: 600,
            },
        }
    }

    pub(crate) async fn worker(&self) -> Process {
        self.worker_with(self.worker_args()).await
    }

    pub(crate) async fn worker_with(&self, args: worker::Args) -> Process {
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
            payment_provider_secret: SECRET.into(),
            payment_provider_previous_secret: Some(PREVIOUS_SECRET.into()),
            payment_provider_url: self.provider.url().parse().unwrap(),
            payment_provider_timeout_ms: 5_000,
        };
        Process::start(api::service(args).await.unwrap()).await
    }

    /// Sets the provider's misbehaviour.
    pub(crate) async fn control(&self, settings: Value) {
        let url = format!("{}/control", self.provider.url());
        let answer = self.http.put(url).json(&settings).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    /// The charges the provider made for an order, declined ones included.
    pub(crate) async fn charges_of(&self, order: Uuid) -> Vec<Charge> {
        let url = format!("{}/v1/charges?reference={order}", self.provider.url());
        let list: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        serde_json::from_value(list["data"].clone()).unwrap()
    }

    /// Makes a charge at the provider without the workers' knowledge.
    pub(crate) async fn charge_by_hand(&self, order: Uuid, amount: i64) -> Charge {
        let request = self
            .http
            .post(format!("{}/v1/charges", self.provider.url()))
            .header("idempotency-key", Uuid::now_v7().to_string())
            .json(&json!({"token": "tok_1", "amount": amount, "currency": "KRW", "reference": order}));
        request.send().await.unwrap().json().await.unwrap()
    }

    /// The differences that a person has to look at: kind and reference, in the order they were found.
    pub(crate) async fn differences(&self) -> Vec<(String, String)> {
        sqlx::query_as("SELECT kind, reference FROM reconciliation_differences ORDER BY found_at, kind")
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    /// An order whose payment is unfinished and stays so: no worker runs.
    pub(crate) async fn stuck_payment(&self) -> Order {
        self.control(json!({"outage": true})).await;
        let worker = self.worker().await;
        let order = Order::of(self.buyer_paying_with("tok_1").await);
        self.send(&[order.payment_requested()]).await;
        self.wait_for_state(order.id, "processing").await;
        worker.stop().await;
        self.control(json!({"outage": false})).await;
        order
    }

    /// What the provider set aside for an order.
    pub(crate) async fn authorizations_of(&self, order: Uuid) -> Vec<Authorization> {
        let url = format!("{}/v1/authorizations?reference={order}", self.provider.url());
        let list: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        serde_json::from_value(list["data"].clone()).unwrap()
    }

    /// A buyer whose default method is `token`. The schema must exist.
    pub(crate) async fn buyer_paying_with(&self, token: &str) -> Uuid {
        let buyer = Uuid::now_v7();
        self.add_method(buyer, token, true).await;
        buyer
    }

    pub(crate) async fn add_method(&self, buyer: Uuid, token: &str, is_default: bool) -> Uuid {
        let id = Uuid::now_v7();
        sqlx::query(
            "INSERT INTO payment_methods (id, member_id, provider_token, is_default) VALUES ($1, $2, $3, $4)",
        )
        .bind(id)
        .bind(buyer)
        .bind(token)
        .bind(is_default)
        .execute(&self.pool)
        .await
        .unwrap();
        id
    }

    pub(crate) async fn send(&self, events: &[Event]) {
        self.producer.send_all("orders", events).await.unwrap();
    }

    /// Waits for the one event about `order` of the kind `rocketmart.payment.<kind>.v1`.
    pub(crate) async fn told(&self, kind: &str, order: Uuid) -> Value {
        let event_type = format!("rocketmart.payment.{kind}.v1");
        let of_kind = |event: &&Event| event.event_type == event_type;
        eventually(&format!("{kind} of {order}"), async || {
            self.heard_of(order).iter().find(of_kind).map(|event| event.parse().unwrap())
        })
        .await
    }

    /// The data of every `rocketmart.payment.<kind>.v1` about `order` so far.
    pub(crate) fn all_told(&self, kind: &str, order: Uuid) -> Vec<Value> {
        let event_type = format!("rocketmart.payment.{kind}.v1");
        let heard = self.heard_of(order).into_iter();
        heard.filter(|event| event.event_type == event_type).map(|event| event.parse().unwrap()).collect()
    }

    /// Every event about `order` so far, each once: another process may publish events again.
    pub(crate) fn heard_of(&self, order: Uuid) -> Vec<Event> {
        let heard = self.heard.0.lock().unwrap();
        let mut ids = HashSet::new();
        let of_order = heard.iter().filter(|event| event.key == order.to_string());
        of_order.filter(|event| ids.insert(&event.id)).cloned().collect()
    }

    pub(crate) async fn state_of(&self, order: Uuid) -> Option<String> {
        sqlx::query_scalar("SELECT state FROM payments WHERE order_id = $1")
            .bind(order)
            .fetch_optional(&self.pool)
            .await
            .unwrap()
    }

    pub(crate) async fn wait_for_state(&self, order: Uuid, state: &str) {
        eventually(&format!("payment of {order} to be {state}"), async || {
            (self.state_of(order).await.as_deref() == Some(state)).then_some(())
        })
        .await;
    }

    /// Waits until this many events were parked because nobody could handle them.
    pub(crate) async fn wait_for_parked(&self, count: usize) {
        let parked = Heard::default();
        let stop = CancellationToken::new();
        let _stop = stop.clone().drop_guard();
        let consumer = Consumer::new(&self.kafka, "undertaker", &["payment-worker.dead-letters"]);
        tokio::spawn(consumer.run(Arc::new(parked.clone()), stop));
        eventually("events to be parked", async || (parked.0.lock().unwrap().len() == count).then_some(()))
            .await;
    }
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

/// Long enough for a second event or charge to show up, if there were one.
pub(crate) async fn a_while() {
    tokio::time::sleep(Duration::from_millis(1_500)).await;
}

fn any_port() -> ListenConfig {
    let any = "127.0.0.1:0".parse().unwrap();
    ListenConfig { listen: any, admin_listen: any }
}

/// An order that asks to be paid by a buyer's default method within a minute.
#[derive(Clone)]
pub(crate) struct Order {
    pub(crate) id: Uuid,
    pub(crate) buyer: Uuid,
    pub(crate) method: Option<Uuid>,
    pub(crate) amount: i64,
    pub(crate) pay_by: OffsetDateTime,
}

impl Order {
    pub(crate) fn of(buyer: Uuid) -> Self {
        let pay_by = OffsetDateTime::now_utc() + Duration::from_mins(1);
        Self { id: Uuid::now_v7(), buyer, method: None, amount: 12_900, pay_by }
    }

    pub(crate) fn pay_within(mut self, time: Duration) -> Self {
        self.pay_by = OffsetDateTime::now_utc() + time;
        self
    }

    pub(crate) fn payment_requested(&self) -> Event {
        let pay_by_ms = i64::try_from(self.pay_by.unix_timestamp_nanos() / 1_000_000).unwrap();
        let mut data = json!({
            "order_id": self.id, "sale_id": Uuid::now_v7(), "buyer_id": self.buyer,
            "amount": self.amount, "currency": "KRW", "pay_by_ms": pay_by_ms,
        });
        if let Some(method) = self.method {
            data["payment_method_id"] = json!(method);
        }
        self.event("rocketmart.order.payment_requested.v1", &data)
    }

    /// A further request, after the earlier ones failed.
    pub(crate) fn payment_requested_again(&self, attempt: i32) -> Event {
        let first = self.payment_requested();
        let mut data: Value = first.parse().unwrap();
        data["attempt"] = json!(attempt);
        self.event("rocketmart.order.payment_requested.v1", &data)
    }

    pub(crate) fn released(&self) -> Event {
        let data = json!({
            "order_id": self.id, "sale_id": Uuid::now_v7(), "buyer_id": self.buyer, "reason": "cancelled",
        });
        self.event("rocketmart.order.released.v1", &data)
    }

    pub(crate) fn refund_requested(&self, payment: &Value, amount: i64) -> Event {
        self.refund_requested_for(None, payment, amount)
    }

    /// A refund that the order has a name for, such as a return's id.
    pub(crate) fn refund_requested_for(
        &self,
        reference: Option<Uuid>,
        payment: &Value,
        amount: i64,
    ) -> Event {
        let mut data = json!({
            "order_id": self.id, "payment_id": payment["payment_id"], "amount": amount,
            "currency": "KRW", "reason": "returned",
        });
        if let Some(reference) = reference {
            data["reference"] = json!(reference);
        }
        self.event("rocketmart.order.refund_requested.v1", &data)
    }

    fn event(&self, event_type: &str, data: &Value) -> Event {
        Event::new("/rocketmart/order-worker", event_type, self.id, data)
    }
}
