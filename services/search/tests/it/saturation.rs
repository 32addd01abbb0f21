//! More searches at once than the service can answer soon.

use futures::future::join_all;
use rocketmart_kit::request_limits::RequestLimitArgs;
use rocketmart_search::admission::AdmissionArgs;
use serde_json::{Value, json};

use crate::shop::{Shop, product};

#[tokio::test(flavor = "multi_thread")]
async fn of_200_searches_at_once_those_that_cannot_be_answered_soon_are_told_to_come_back_h5() {
    let shop = Shop::open().await;
    let things: Vec<Value> =
        (0..3_000).map(|n| product(&format!("Wireless headphones number {n}"), n + 1)).collect();
    shop.announce(&things).await;
    let search = shop.search_admitting(AdmissionArgs { searches_at_once: 1, searches_waiting: 4 }).await;
    search.is_ready_soon().await;

    let query = [("q", "wireles headphnes numbr"), ("limit", "100")];
    let answers = join_all((0..200).map(|_| search.answer(&query))).await;
    let (mut found, mut refused) = (0, 0);
    for answer in answers {
        match answer.status().as_u16() {
            200 => found += 1,
            429 => {
                assert_eq!(answer.headers()["retry-after"], "1");
                let problem: Value = answer.json().await.unwrap();
                assert_eq!(problem["code"], "overloaded");
                refused += 1;
            }
            other => panic!("answered {other}"),
        }
    }
    assert!(found >= 5 && refused > 0, "{found} found, {refused} refused");
    assert_eq!(search.page(&query).await["data"].as_array().unwrap().len(), 100, "it goes on as before");
    let (_, metrics) = search.admin("/metrics").await;
    assert!(metrics.contains("search_refused_total"), "{metrics}");
    assert_ne!(json!(found), json!(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_that_asks_too_much_is_told_when_to_come_back_and_nobody_else_is_h9() {
    let shop = Shop::open().await;
    let limits = RequestLimitArgs {
        requests_per_address: 1,
        request_burst_per_address: 10,
        ..RequestLimitArgs::default()
    };
    let search = shop.search_limited(limits).await;
    search.is_ready_soon().await;

    let answers = join_all((0..40).map(|_| search.answer_from("192.0.2.1"))).await;
    let refused = answers.into_iter().filter(|answer| answer.status() == 429);
    let mut count = 0;
    for answer in refused {
        count += 1;
        assert!(answer.headers().contains_key("retry-after"));
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], "too-many-requests");
    }
    assert!(count >= 20, "{count} of 40 were refused");
    assert_eq!(search.answer_from("198.51.100.1").await.status(), 200, "another address is served");
}
