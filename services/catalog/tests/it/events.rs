//! What the rest of the shop hears.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::message::{Headers, Message};
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use crate::shop::{Shop, mug};

pub(crate) struct Heard {
    pub key: String,
    pub event_type: String,
    pub data: Value,
}

/// Listens on `products` from its beginning, and hears of each version once, as receivers do.
pub(crate) struct Listener {
    consumer: StreamConsumer,
    heard: Mutex<HashMap<String, i64>>,
}

impl Listener {
    pub(crate) fn of(shop: &Shop) -> Self {
        let consumer: StreamConsumer = ClientConfig::new()
            .set("bootstrap.servers", &shop.kafka().kafka_brokers)
            .set("group.id", Uuid::new_v4().to_string())
            .set("auto.offset.reset", "earliest")
            .set("topic.metadata.refresh.interval.ms", "500")
            .create()
            .unwrap();
        consumer.subscribe(&[&shop.kafka().topic("products")]).unwrap();
        Self { consumer, heard: Mutex::default() }
    }

    pub(crate) async fn next(&self) -> Heard {
        loop {
            let heard = self.receive().await;
            let mut known = self.heard.lock().unwrap();
            let version = heard.data["version"].as_i64().unwrap_or(i64::MAX);
            if known.insert(heard.key.clone(), version).is_none_or(|before| before < version) {
                return heard;
            }
        }
    }

    async fn receive(&self) -> Heard {
        let next = async {
            loop {
                // A topic that is not there yet is an error that passes.
                if let Ok(message) = self.consumer.recv().await {
                    break message;
                }
            }
        };
        let message = timeout(Duration::from_mins(1), next).await.expect("an event");
        let header = |name: &str| {
            let headers = message.headers().unwrap();
            let found = headers.iter().find(|header| header.key == name).and_then(|header| header.value);
            String::from_utf8(found.unwrap_or_else(|| panic!("no header {name}")).to_vec()).unwrap()
        };
        assert_eq!(header("ce_specversion"), "1.0");
        assert_eq!(header("ce_source"), "/rocketmart/catalog");
        Heard {
            key: String::from_utf8(message.key().unwrap().to_vec()).unwrap(),
            event_type: header("ce_type"),
            data: message.payload().map_or(Value::Null, |data| serde_json::from_slice(data).unwrap()),
        }
    }
}

async fn every_change_is_an_event_with_the_whole_product_and_deletion_a_tombstone(shop: Shop) {
    let seller = shop.seller();
    let product = mug();
    let id = seller.create(&product).await.expect(201).id();
    seller.edit(&id, "\"1\"", &json!({ "title": "Red mug" })).await.expect(200);
    let published = seller.post(&format!("/api/v1/products/{id}/publish")).await.expect(200);
    seller.put(&format!("/api/v1/likes/{id}")).await.expect(204);
    seller.delete(&format!("/api/v1/products/{id}"), Some(&published.etag)).await.expect(204);

    let listener = Listener::of(&shop);
    for (version, state, title) in
        [(1, "draft", "Blue mug"), (2, "draft", "Red mug"), (3, "published", "Red mug")]
    {
        let heard = listener.next().await;
        assert_eq!(
            (heard.key.as_str(), heard.event_type.as_str()),
            (id.as_str(), "rocketmart.product.changed.v1")
        );
        let mut expected = json!({
            "product_id": id,
            "seller_id": seller.id,
            "version": version,
            "state": state,
            "title": title,
            "updated_at": heard.data["updated_at"],
        });
        for same in ["description", "currency", "categories", "tags", "pictures", "variants"] {
            expected[same] = product[same].clone();
        }
        let variant = &mut expected["variants"][0];
        variant["counted_in"] = json!(1);
        let claim = &heard.data["variants"][0]["claim"];
        assert_eq!(claim.is_i64(), state == "published", "a draft has claimed nothing: {claim}");
        if claim.is_i64() {
            variant["claim"] = claim.clone();
        }
        assert_eq!(heard.data, expected);
    }
    let last = listener.next().await;
    assert_eq!((last.key, last.data), (id, Value::Null), "deletion is a tombstone");
}

async fn a_refused_change_is_not_heard_of(shop: Shop) {
    let seller = shop.seller();
    let product = mug();
    let id = seller.published(&product).await.id();
    let copy = seller.create(&product).await.expect(201).id();
    seller.publish(&copy).await.refused(409, "sku-taken");
    seller.edit(&id, "\"9\"", &json!({ "title": "x" })).await.refused(412, "version-conflict");
    let last = seller.published(&mug()).await.id();

    let listener = Listener::of(&shop);
    let mut keys = Vec::new();
    for _ in 0..5 {
        keys.push(listener.next().await.key);
    }
    keys.sort();
    let mut expected = vec![id.clone(), id, copy, last.clone(), last];
    expected.sort();
    assert_eq!(keys, expected, "the copy is a draft and no more");
}

async fn of_two_products_that_had_a_sku_the_later_has_the_greater_claim_s1(shop: Shop) {
    let seller = shop.seller();
    let product = mug();
    // Made first and published last: neither ids nor versions say whose the SKU is.
    let last = seller.create(&product).await.expect(201).id();
    let before = seller.published(&product).await;
    seller.delete(&format!("/api/v1/products/{}", before.id()), Some(&before.etag)).await.expect(204);
    seller.publish(&last).await.expect(200);

    let listener = Listener::of(&shop);
    let mut claims = HashMap::new();
    while claims.len() < 2 {
        let heard = listener.next().await;
        if let Some(claim) = heard.data["variants"][0]["claim"].as_i64() {
            claims.insert(heard.key, claim);
        }
    }
    assert!(claims[&last] > claims[&before.id()], "{claims:?}");
}

crate::on_both_stores![
    of_two_products_that_had_a_sku_the_later_has_the_greater_claim_s1,
    every_change_is_an_event_with_the_whole_product_and_deletion_a_tombstone,
    a_refused_change_is_not_heard_of,
];
