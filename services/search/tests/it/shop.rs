//! A running search service and the topic that feeds it.

use std::time::Duration;

use rocketmart_harness::backing::shared;
use rocketmart_kit::config::{KafkaConfig, ListenConfig};
use rocketmart_kit::event::Event;
use rocketmart_kit::kafka::{Producer, TopicSpec, create_topics};
use rocketmart_kit::request_limits::RequestLimitArgs;
use rocketmart_kit::service::Bound;
use rocketmart_kit::telemetry;
use rocketmart_search::admission::AdmissionArgs;
use rocketmart_search::api::{self, Args};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

const CHANGED: &str = "rocketmart.product.changed.v1";
const LEVEL_CHANGED: &str = "rocketmart.stock.level_changed.v1";
const PATIENCE: Duration = Duration::from_secs(90);

/// A product topic for one test.
pub struct Shop {
    pub kafka: KafkaConfig,
    producer: Producer,
}

impl Shop {
    pub async fn open() -> Self {
        let brokers = tokio::task::spawn_blocking(|| shared::brokers().unwrap()).await.unwrap();
        let kafka = KafkaConfig::open(brokers, format!("{}.", Uuid::new_v4()));
        let topics =
            ["products", "stock-levels"].map(|name| TopicSpec { name, partitions: 3, compacted: true });
        create_topics(&kafka, &topics).await.unwrap();
        let producer = kafka.producer().unwrap();
        Self { kafka, producer }
    }

    /// Sends what the catalog would say about these products.
    pub async fn announce(&self, products: &[Value]) {
        let event = |product: &Value| {
            Event::new("/rocketmart/catalog", CHANGED, product["product_id"].as_str().unwrap(), product)
        };
        let events: Vec<_> = products.iter().map(event).collect();
        self.producer.send_all("products", &events).await.unwrap();
    }

    /// Sends what order would say about a SKU of this product.
    pub async fn level(&self, product: &Value, available: i64, version: i64) {
        let sku = product["variants"][0]["sku"].as_str().unwrap();
        let level = json!({ "sku": sku, "product_id": product["product_id"], "available": available,
            "version": version });
        let event = Event::new("/rocketmart/order-worker", LEVEL_CHANGED, sku, &level);
        self.producer.send_all("stock-levels", &[event]).await.unwrap();
    }

    pub async fn delete(&self, product: &Value) {
        let key = product["product_id"].as_str().unwrap();
        self.producer
            .send_all("products", &[Event::tombstone("/rocketmart/catalog", CHANGED, key)])
            .await
            .unwrap();
    }

    /// Sends a message that is not a product at all.
    pub async fn announce_nonsense(&self) {
        let nonsense =
            Event::new("/rocketmart/catalog", CHANGED, Uuid::now_v7(), &json!({ "product_id": 7 }));
        self.producer.send_all("products", &[nonsense]).await.unwrap();
    }

    /// Starts a search service on this topic without waiting for it.
    pub async fn search(&self) -> Search {
        self.search_admitting(AdmissionArgs { searches_at_once: 0, searches_waiting: 64 }).await
    }

    /// The same, with these limits on searches.
    pub async fn search_admitting(&self, admission: AdmissionArgs) -> Search {
        self.search_with(admission, RequestLimitArgs::default()).await
    }

    /// The same, with these limits on requests from one address.
    pub async fn search_limited(&self, limits: RequestLimitArgs) -> Search {
        self.search_with(AdmissionArgs { searches_at_once: 0, searches_waiting: 64 }, limits).await
    }

    async fn search_with(&self, admission: AdmissionArgs, limits: RequestLimitArgs) -> Search {
        telemetry::metrics_handle();
        let anywhere = "127.0.0.1:0".parse().unwrap();
        let args = Args {
            listen: ListenConfig { listen: anywhere, admin_listen: anywhere },
            kafka: self.kafka.clone(),
            limits,
            admission,
        };
        let stop = CancellationToken::new();
        let (bound, is_bound) = oneshot::channel();
        let running = api::service(&args).unwrap().run_until(stop.clone(), |at| bound.send(at).unwrap());
        tokio::spawn(async move { running.await.unwrap() });
        Search { at: is_bound.await.unwrap(), http: reqwest::Client::new(), _stop: stop.drop_guard() }
    }

    /// Starts a search service and waits until its index is complete.
    pub async fn ready_search(&self) -> Search {
        let search = self.search().await;
        search.is_ready_soon().await;
        search
    }
}

pub struct Search {
    at: Bound,
    http: reqwest::Client,
    _stop: DropGuard,
}

impl Search {
    pub async fn get(&self, query: &[(&str, &str)]) -> (u16, Value) {
        let response = self.answer(query).await;
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub async fn answer(&self, query: &[(&str, &str)]) -> reqwest::Response {
        let url = format!("http://{}/api/v1/search", self.at.api);
        self.http.get(url).query(query).send().await.unwrap()
    }

    /// Asks as if from this address, which a proxy of ours vouches for.
    pub async fn answer_from(&self, address: &str) -> reqwest::Response {
        let url = format!("http://{}/api/v1/search", self.at.api);
        self.http.get(url).header("x-forwarded-for", address).send().await.unwrap()
    }

    pub async fn page(&self, query: &[(&str, &str)]) -> Value {
        let (status, body) = self.get(query).await;
        assert_eq!(status, 200, "{body:#}");
        body
    }

    pub async fn titles(&self, query: &[(&str, &str)]) -> Vec<String> {
        titles(&self.page(query).await)
    }

    /// Waits until the query finds exactly these titles, in this order.
    pub async fn finds(&self, query: &[(&str, &str)], expected: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.titles(query).await;
            if found == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{query:?} finds {found:?}, not {expected:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn admin(&self, path: &str) -> (u16, String) {
        let response = self.http.get(format!("http://{}{path}", self.at.admin)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub async fn is_ready_soon(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.admin("/readyz").await.0 != 200 {
            assert!(Instant::now() < deadline, "not ready: {}", self.admin("/readyz").await.1);
            sleep(Duration::from_millis(20)).await;
        }
    }
}

pub fn titles(page: &Value) -> Vec<String> {
    page["data"].as_array().unwrap().iter().map(|hit| hit["title"].as_str().unwrap().to_owned()).collect()
}

/// A published product as the catalog announces it, with one variant.
pub fn product(title: &str, price: i64) -> Value {
    json!({
        "product_id": Uuid::now_v7(),
        "seller_id": Uuid::now_v7(),
        "version": 2,
        "state": "published",
        "title": title,
        "description": "",
        "currency": "KRW",
        "categories": [],
        "tags": [],
        "pictures": [],
        "variants": [{ "sku": Uuid::new_v4(), "price": price, "quantity": 5, "options": {} }],
        "updated_at": "2026-01-01T00:00:00Z",
    })
}
