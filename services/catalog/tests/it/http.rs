//! What HTTP lets a caller say beside the request itself: conditions, cursors, and how often.

use reqwest::Method;
use rocketmart_kit::request_limits::RequestLimitArgs;
use serde_json::{Value, json};

use crate::shop::{Shop, args_on_postgres, mug, shared_kafka};

async fn a_condition_means_what_rfc_9110_says_h7(shop: Shop) {
    let seller = shop.seller();
    let created = seller.create(&mug()).await.expect(201);
    let (id, path) = (created.id(), format!("/api/v1/products/{}", created.id()));
    let read = async |tags: &str| seller.send(Method::GET, &path, &[("If-None-Match", tags)], None).await;
    for known in ["\"1\"", "W/\"1\"", "\"7\", \"1\"", "*"] {
        let answer = read(known).await.expect(304);
        assert_eq!((answer.etag.as_str(), answer.body), ("\"1\"", Value::Null), "{known}");
    }
    assert_eq!(read("\"2\"").await.expect(200).body["title"], "Blue mug");

    let retitled = json!({ "title": "First" });
    seller.edit(&id, "W/\"1\"", &retitled).await.refused(412, "version-conflict");
    seller.edit(&id, "\"7\", \"8\"", &retitled).await.refused(412, "version-conflict");
    seller.edit(&id, "1", &retitled).await.refused(400, "if-match-invalid");
    seller.edit(&id, "\"7\", \"1\"", &retitled).await.expect(200);
    seller.edit(&id, "*", &json!({ "title": "Second" })).await.expect(200);
    seller.delete(&path, Some("*")).await.expect(204);
    seller.edit(&id, "*", &retitled).await.refused(404, "product-unknown");
}

async fn a_cursor_that_somebody_made_up_is_refused_h2(shop: Shop) {
    let buyer = shop.buyer();
    for list in ["/api/v1/likes", "/api/v1/wishlist", "/api/v1/products"] {
        for cursor in [
            "",
            "bnVsbA",
            // The last day of the year 9999 west of Greenwich, the first of the year -9999, and the year 10000.
            "W1s5OTk5LDM2NSwyMyw1OSw1OSwwLC0yMywwLDBdLCIwMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDAiXQ",
            "W1stOTk5OSwxLDAsMCwwLDAsMCwwLDBdLCIwMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDAiXQ",
            "WzI1MzQwMjMwMDgwMDAwMDAwMCwiMDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwIl0",
        ] {
            buyer.get(&format!("{list}?cursor={cursor}")).await.refused(400, "cursor-invalid");
        }
    }
    // An id of any version is a place in a list of ids, although none of ours is there.
    for id in ["00000000-0000-1000-8000-000000000000", "ffffffff-ffff-1fff-bfff-ffffffffffff"] {
        let cursor = rocketmart_kit::page::encode_cursor(&id.parse::<uuid::Uuid>().unwrap());
        buyer.get(&format!("/api/v1/products?cursor={cursor}")).await.expect(200);
    }
}

async fn a_list_that_is_too_long_is_one_broken_rule_h1(shop: Shop) {
    let seller = shop.seller();
    for field in ["tags", "categories", "pictures", "variants"] {
        let mut product = mug();
        product[field] = vec![""; 340_000].into();
        let refused = seller.create(&product).await.refused(422, "validation-failed");
        let errors = refused.body["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{field}");
        assert_eq!(errors[0]["field"].as_str().unwrap().split('[').next(), Some(field));
    }
    let mut product = mug();
    product["variants"][0]["options"] = (0..11).map(|n| (n.to_string(), json!("x"))).collect();
    let refused = seller.create(&product).await.refused(422, "validation-failed");
    assert_eq!(refused.body["errors"][0]["rule"], "max-items");
}

crate::on_both_stores![
    a_condition_means_what_rfc_9110_says_h7,
    a_cursor_that_somebody_made_up_is_refused_h2,
    a_list_that_is_too_long_is_one_broken_rule_h1,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_member_who_asks_too_often_is_told_to_wait_h9() {
    let mut args = args_on_postgres(shared_kafka().await).await;
    args.limits = RequestLimitArgs {
        requests_per_member: 1,
        request_burst_per_member: 20,
        ..RequestLimitArgs::default()
    };
    let shop = Shop::open(args).await;
    let (buyer, other) = (shop.buyer(), shop.buyer());
    let mut refused = 0;
    for _ in 0..60 {
        let answer = buyer.get("/api/v1/likes").await;
        if answer.status == 429 {
            answer.refused(429, "too-many-requests");
            refused += 1;
        }
    }
    assert!(refused >= 10, "{refused} of 60");
    other.get("/api/v1/likes").await.expect(200);
}
