//! While Kafka is down, the catalog keeps taking changes, and it publishes them when Kafka is back. If Kafka
//! comes back without what it had, the catalog publishes all products.

use std::collections::HashMap;

use rocketmart_harness::backing::Kafka;
use rocketmart_kit::kafka::{TopicSpec, create_topics};
use serde_json::json;

use crate::events::Listener;
use crate::shop::{Shop, args_on_cassandra, args_on_postgres, mug};

/// One outage for both stores: a Kafka of its own takes seconds to start, and to start again.
#[tokio::test(flavor = "multi_thread")]
async fn changes_made_while_kafka_is_down_are_told_in_order_when_it_is_back() {
    let mut kafka = tokio::task::spawn_blocking(|| Kafka::start().unwrap()).await.unwrap();
    let (postgres, cassandra) =
        tokio::join!(args_on_postgres(kafka.brokers()), args_on_cassandra(kafka.brokers()));
    let (postgres, cassandra) = tokio::join!(Shop::open(postgres), Shop::open(cassandra));
    let (by_postgres, by_cassandra) =
        tokio::join!(told_of_a_product(&postgres), told_of_a_product(&cassandra));
    let mut listeners = (by_postgres.0, by_cassandra.0);

    kafka.kill();
    let ids = tokio::join!(changed_meanwhile(&postgres), changed_meanwhile(&cassandra));
    let kafka = tokio::task::spawn_blocking(move || {
        kafka.restart().unwrap();
        kafka
    })
    .await
    .unwrap();
    tokio::join!(listeners.0.told(&ids.0, 3), listeners.1.told(&ids.1, 3));
    // Closing a consumer waits for its broker.
    drop(listeners);
    drop(kafka);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_products_are_told_again_when_kafka_is_back_and_empty() {
    let mut kafka = tokio::task::spawn_blocking(|| Kafka::start().unwrap()).await.unwrap();
    let (postgres, cassandra) =
        tokio::join!(args_on_postgres(kafka.brokers()), args_on_cassandra(kafka.brokers()));
    let shops = [Shop::open(postgres).await, Shop::open(cassandra).await];
    let mut products = Vec::new();
    for shop in &shops {
        products.push(told_of_a_product(shop).await.1);
    }
    // What was read long ago is in no outbox. (Nobody reads here, so it would be kept for an hour.)
    shops[0].forget_outbox().await;

    let kafka = tokio::task::spawn_blocking(move || {
        kafka.restart_empty().unwrap();
        kafka
    })
    .await
    .unwrap();
    for (shop, id) in shops.iter().zip(products) {
        let topic = TopicSpec { name: "products", partitions: 3, compacted: true };
        create_topics(shop.kafka(), &[topic]).await.unwrap();
        let heard = Listener::of(shop).next().await;
        assert_eq!((heard.key, &heard.data["version"]), (id, &json!(2)));
    }
    drop(kafka);
}

/// Hears of products, and knows the newest version that it has heard of each.
struct Hearing {
    listener: Listener,
    known: HashMap<String, u64>,
}

impl Hearing {
    /// Hears all versions of a product, one after the other. What it knows may be told again in between: a
    /// topic that was not marked yet when Kafka went away counts as new.
    async fn told(&mut self, id: &str, versions: u64) {
        while self.known.get(id).is_none_or(|known| *known < versions) {
            let heard = self.listener.next().await;
            let version = heard.data["version"].as_u64().unwrap();
            if self.known.get(&heard.key).is_some_and(|known| version <= *known) {
                continue;
            }
            let next = self.known.get(id).map_or(1, |known| known + 1);
            assert_eq!((heard.key.as_str(), version), (id, next));
            self.known.insert(heard.key, version);
        }
    }
}

/// Who heard of it, and its id.
async fn told_of_a_product(shop: &Shop) -> (Hearing, String) {
    let id = shop.seller().published(&mug()).await.id();
    let mut hearing = Hearing { listener: Listener::of(shop), known: HashMap::new() };
    hearing.told(&id, 2).await;
    (hearing, id)
}

async fn changed_meanwhile(shop: &Shop) -> String {
    let seller = shop.seller();
    let product = seller.published(&mug()).await;
    let id = product.id();
    seller.edit(&id, &product.etag, &json!({ "title": "While Kafka was down" })).await.expect(200);
    let found = shop.stranger().get(&format!("/api/v1/products/{id}")).await.expect(200);
    assert_eq!(found.body["title"], "While Kafka was down");
    shop.buyer().put(&format!("/api/v1/likes/{id}")).await.expect(204);
    id
}
