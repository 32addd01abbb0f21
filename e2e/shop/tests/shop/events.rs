//! The events of a running shop against the schemas that are kept of them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;

use rocketmart_shop::{DECLINED_CARD, GOOD_CARD, Member, Sale, Shop, eventually};
use serde_json::{Value, json};

use crate::kafka::{self, Raw};
use crate::schemas::{self, Case};

const TOPICS: [&str; 6] = ["reservations", "orders", "payments", "deliveries", "products", "stock-levels"];

/// Types that a shop in good order need not have written: whether the carrier or a cancellation is
/// faster is not for a test to say, and the provider refuses no refund.
const RARE: [&str; 3] = [
    "rocketmart.order.cancel_requested.v1",
    "rocketmart.payment.refund_failed.v1",
    "rocketmart.shipment.cancel_refused.v1",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_event_of_a_running_shop_is_as_its_schema_says() {
    let shop = Shop::open().await;
    tokio::join!(bought_and_returned(&shop), cancelled_unpaid(&shop), declined(&shop), cancelled_paid(&shop));
    let schemas = kept();
    let expected: BTreeSet<&str> =
        schemas.keys().map(String::as_str).filter(|name| !RARE.contains(name)).collect();
    let messages = eventually("an event of each type was written", async || {
        let messages = kafka::read(&TOPICS).await;
        let types: HashSet<&str> = messages.iter().map(type_of).collect();
        expected.iter().all(|name| types.contains(name)).then_some(messages)
    })
    .await;

    let mut by_type: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for message in &messages {
        let schema = schemas.get(type_of(message)).unwrap_or_else(|| panic!("no schema: {message:?}"));
        assert_envelope(message, schema);
        if let Some(payload) = &message.payload {
            let data: Value = serde_json::from_slice(payload).unwrap();
            let named = schema["x-key"].as_str().unwrap().replace(' ', "_");
            assert_eq!(data[&named], message.key, "{message:?}");
            by_type.entry(type_of(message).to_owned()).or_default().push(data);
        }
    }
    let cases = by_type.into_iter().map(|(name, documents)| Case {
        schema: schemas[&name].clone(),
        name,
        documents,
        closed: true,
    });
    schemas::assert_fit(cases.collect()).await;
}

fn type_of(message: &Raw) -> &str {
    message.headers.get("ce_type").map(String::as_str).unwrap_or_default()
}

/// What makes a message an event of its topic.
fn assert_envelope(message: &Raw, schema: &Value) {
    let header = |name: &str| message.headers.get(name).map(String::as_str).unwrap_or_default();
    assert_eq!(schema["x-topic"], message.topic, "{message:?}");
    assert_eq!(
        (header("ce_specversion"), header("content-type")),
        ("1.0", "application/json"),
        "{message:?}"
    );
    assert!(header("ce_source").starts_with("/rocketmart/") && !header("ce_id").is_empty(), "{message:?}");
    let time = time::OffsetDateTime::parse(header("ce_time"), &time::format_description::well_known::Rfc3339);
    assert!(time.is_ok(), "{message:?}");
}

/// The schemas of docs/events by type.
fn kept() -> BTreeMap<String, Value> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/events"));
    let paths = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let schemas = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    schemas
        .map(|path| {
            let schema: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            (schema["title"].as_str().unwrap().to_owned(), schema)
        })
        .collect()
}

async fn with_card(shop: &Shop, card: &str) -> (Member, Sale) {
    let (buyer, sale) = (shop.buyer().await, shop.sale_of(1).await);
    shop.card(&buyer, card).await;
    shop.address(&buyer).await;
    (buyer, sale)
}

async fn bought_and_returned(shop: &Shop) {
    let (buyer, sale) = with_card(shop, GOOD_CARD).await;
    let order = shop.purchase(&buyer, &sale).await.expect(201);
    let id = order["id"].as_str().unwrap();
    shop.pay(&buyer, &order, &json!({})).await.expect(202);
    shop.order_in(&buyer, id, &["delivered"]).await;
    let wish = json!({"reason": "too small"});
    shop.post(&format!("/api/v1/orders/{id}/returns")).by(&buyer).json(&wish).await.expect(201);
    shop.order_in(&buyer, id, &["refunded"]).await;
}

async fn cancelled_unpaid(shop: &Shop) {
    let (buyer, sale) = with_card(shop, GOOD_CARD).await;
    let order = shop.purchase(&buyer, &sale).await.expect(201);
    cancel(shop, &buyer, &order).await;
}

async fn cancelled_paid(shop: &Shop) {
    let (buyer, sale) = with_card(shop, GOOD_CARD).await;
    let order = shop.purchase(&buyer, &sale).await.expect(201);
    shop.pay(&buyer, &order, &json!({})).await.expect(202);
    shop.order_in(&buyer, order["id"].as_str().unwrap(), &["paid", "preparing", "shipped", "delivered"])
        .await;
    // It may be too late; then there is one event less to look at.
    cancel(shop, &buyer, &order).await;
}

async fn declined(shop: &Shop) {
    let (buyer, sale) = with_card(shop, DECLINED_CARD).await;
    let order = shop.purchase(&buyer, &sale).await.expect(201);
    shop.pay(&buyer, &order, &json!({})).await.expect(202);
    shop.failed_payment(&buyer, &order).await;
}

async fn cancel(shop: &Shop, buyer: &Member, order: &Value) {
    let path = format!("/api/v1/orders/{}/cancel", order["id"].as_str().unwrap());
    shop.post(&path).by(buyer).json(&json!({"reason": "changed my mind"})).await;
}
