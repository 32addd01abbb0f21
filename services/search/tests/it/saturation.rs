//! More searches at once than can be answered soon.

use futures::future::join_all;
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
