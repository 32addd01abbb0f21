//! What sellers say about their stock, and what is left of it.

use rocketmart_kit::event::Event;
use rocketmart_kit::kafka::{TopicSpec, create_topics};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::events::Listener;
use crate::shop::{Answer, Caller, Shop, mug, variant};

impl Caller {
    async fn adjust(&self, id: &str, key: &str, adjustment: &Value) -> Answer {
        let path = format!("/api/v1/products/{id}/stock-adjustments");
        self.send(reqwest::Method::POST, &path, &[("Idempotency-Key", key)], Some(adjustment)).await
    }
}

async fn a_quantity_that_is_named_is_a_count_and_one_that_is_not_stays_s5(shop: Shop) {
    let seller = shop.seller();
    let product = mug();
    let sku = product["variants"][0]["sku"].as_str().unwrap();
    let published = seller.published(&product).await;
    let id = published.id();
    let edit = |variant: Value| json!({ "variants": [variant] });
    let counted = seller.edit(&id, &published.etag, &edit(variant(sku, 12_900))).await.expect(200);
    assert_eq!(counted.body["version"], 3, "the same number, and yet a count");
    let dearer = json!({ "sku": sku, "price": 13_000, "options": { "colour": "blue" } });
    let dearer = seller.edit(&id, &counted.etag, &edit(dearer)).await.expect(200);
    assert_eq!(dearer.each_variant("quantity"), [json!(5)]);
    let uncounted = edit(json!({ "sku": "NEW", "price": 1 }));
    let refused = seller.edit(&id, &dearer.etag, &uncounted).await.refused(422, "validation-failed");
    assert_eq!(refused.body["errors"][0]["field"], "variants[0].quantity");

    let listener = Listener::of(&shop);
    for counted_in in [1, 1, 3, 3] {
        let heard = listener.next().await;
        assert_eq!(heard.data["variants"][0]["counted_in"], counted_in, "{}", heard.data);
    }
}

async fn a_difference_corrects_the_stock_once_per_key_s5(shop: Shop) {
    let seller = shop.seller();
    let product = mug();
    let sku = &product["variants"][0]["sku"];
    let id = seller.published(&product).await.id();
    let broken = json!({ "sku": sku, "difference": -2, "reason": "broken in transit" });
    let first = seller.adjust(&id, "k", &broken).await.expect(200);
    assert_eq!((first.each_variant("quantity"), &first.body["version"]), (vec![json!(3)], &json!(3)));
    let again = seller.adjust(&id, "k", &broken).await.expect(200);
    assert_eq!((again.body, again.etag), (first.body, first.etag));
    let other = json!({ "sku": sku, "difference": -1 });
    seller.adjust(&id, "k", &other).await.refused(422, "idempotency-key-reused");
    let more = seller.adjust(&id, "l", &json!({ "sku": sku, "difference": 10 })).await.expect(200);
    assert_eq!(more.each_variant("quantity"), [json!(13)]);

    for (wrong, field, rule) in [
        (json!({ "sku": sku, "difference": 0 }), "difference", "not-zero"),
        (json!({ "sku": sku, "difference": -14 }), "difference", "range"),
        (json!({ "sku": sku, "difference": i64::MAX }), "difference", "range"),
        (json!({ "sku": sku, "difference": i64::MIN }), "difference", "range"),
        (json!({ "sku": "ANOTHER", "difference": 1 }), "sku", "in-product"),
        (json!({ "sku": sku, "difference": 1, "reason": "\u{202e}" }), "reason", "no-bidi-controls"),
    ] {
        let refused = seller.adjust(&id, "wrong", &wrong).await.refused(422, "validation-failed");
        assert_eq!(
            (&refused.body["errors"][0]["field"], &refused.body["errors"][0]["rule"]),
            (&json!(field), &json!(rule))
        );
    }
    shop.seller().adjust(&id, "k", &broken).await.refused(404, "product-unknown");

    let listener = Listener::of(&shop);
    for (version, quantity) in [(1, 5), (2, 5), (3, 3), (4, 13)] {
        let heard = listener.next().await;
        let told = &heard.data["variants"][0];
        assert_eq!(
            (&heard.data["version"], &told["quantity"], &told["counted_in"]),
            (&json!(version), &json!(quantity), &json!(1))
        );
    }
}

async fn many_corrections_at_once_are_made_once_each_s5(shop: Shop) {
    let other = shop.another_replica().await;
    let seller = shop.seller();
    let product = mug();
    let id = seller.published(&product).await.id();
    let more = json!({ "sku": product["variants"][0]["sku"], "difference": 1 });
    let at = [seller.clone(), seller.at(&other)];
    let requests = (0..8).map(|n| {
        let (caller, id, more) = (&at[n % 2], &id, &more);
        async move {
            // Four keys, each at both replicas.
            let key = format!("k{}", n / 2);
            loop {
                match caller.adjust(id, &key, more).await.status {
                    200 => return,
                    409 | 412 | 503 => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                    status => panic!("{status}"),
                }
            }
        }
    });
    futures::future::join_all(requests).await;
    let product = seller.get(&format!("/api/v1/products/{id}")).await.expect(200);
    assert_eq!(product.each_variant("quantity"), [json!(9)]);
}

async fn what_is_left_is_shown_apart_from_what_was_supplied_s4(shop: Shop) {
    let topic = TopicSpec { name: "stock-levels", partitions: 2, compacted: true };
    create_topics(shop.kafka(), &[topic]).await.unwrap();
    let producer = shop.kafka().producer().unwrap();
    let seller = shop.seller();
    let product = mug();
    let sku = product["variants"][0]["sku"].as_str().unwrap();
    let published = seller.published(&product).await;
    assert_eq!(published.each_variant("available"), [Value::Null], "nobody has told yet");
    let path = format!("/api/v1/products/{}", published.id());
    let id: Uuid = published.id().parse().unwrap();
    // From another product that had the SKU; the current level; an older one.
    for (product_id, available, version) in [(Uuid::now_v7(), 9, 1), (id, 0, 3), (id, 5, 2)] {
        let level =
            json!({ "sku": sku, "product_id": product_id, "available": available, "version": version });
        let event = Event::new("/rocketmart/order-worker", "rocketmart.stock.level_changed.v1", sku, &level);
        producer.send_all("stock-levels", &[event]).await.unwrap();
    }
    while shop.stranger().get(&path).await.expect(200).each_variant("available") != [json!(0)] {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let shown = shop.stranger().get(&path).await.expect(200);
    assert_eq!(shown.each_variant("quantity"), [json!(5)]);
    let listed = shop.stranger().get("/api/v1/products").await.expect(200);
    assert_eq!(listed.each("variants")[0][0]["available"], 0);
    let mut made_up = mug();
    made_up["variants"][0]["available"] = json!(7);
    seller.create(&made_up).await.refused(422, "validation-failed");
}

crate::on_both_stores![
    a_quantity_that_is_named_is_a_count_and_one_that_is_not_stays_s5,
    a_difference_corrects_the_stock_once_per_key_s5,
    many_corrections_at_once_are_made_once_each_s5,
    what_is_left_is_shown_apart_from_what_was_supplied_s4,
];
