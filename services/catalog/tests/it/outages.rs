//! With Kafka down the catalog keeps taking changes, and tells of them when it is back.

use rocketmart_harness::backing::Kafka;
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
    let listeners = tokio::join!(told_of_a_product(&postgres), told_of_a_product(&cassandra));

    kafka.kill();
    let ids = tokio::join!(changed_meanwhile(&postgres), changed_meanwhile(&cassandra));
    let kafka = tokio::task::spawn_blocking(move || {
        kafka.restart().unwrap();
        kafka
    })
    .await
    .unwrap();
    tokio::join!(told(&listeners.0, &ids.0, 3), told(&listeners.1, &ids.1, 3));
    // A consumer that is closed without its broker waits for it.
    drop(listeners);
    drop(kafka);
}

async fn told_of_a_product(shop: &Shop) -> Listener {
    let id = shop.seller().published(&mug()).await.id();
    let listener = Listener::of(shop);
    told(&listener, &id, 2).await;
    listener
}

async fn told(listener: &Listener, id: &str, versions: u8) {
    for version in 1..=versions {
        let heard = listener.next().await;
        assert_eq!((heard.key.as_str(), &heard.data["version"]), (id, &json!(version)));
    }
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
