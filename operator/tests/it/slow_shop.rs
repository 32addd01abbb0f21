//! A shop whose order service hangs, beside a shop whose order service is well.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
};
use serde_json::json;

use crate::{
    cluster::{sale_condition, shop},
    market::{Market, launch},
    order_service::eventually,
    proxy::{self, Asked},
};

/// So many that, one after another, their time-outs would outlast the test's patience.
const SLOW_SALES: usize = 40;

struct Doors {
    /// Requests to the shop that hangs.
    hanging: AtomicUsize,
    /// The order service of the healthy shop.
    target: String,
    http: reqwest::Client,
}

/// Leads `/rocket/…` to the real order service and answers nothing for any other shop. Returns its URL.
async fn doors(target: &str) -> (Arc<Doors>, String) {
    let doors = Arc::new(Doors {
        hanging: AtomicUsize::new(0),
        target: target.to_owned(),
        http: reqwest::Client::new(),
    });
    let url = proxy::serve(Router::new().fallback(lead).with_state(doors.clone())).await;
    (doors, format!("{url}/{{shop}}"))
}

async fn lead(State(doors): State<Arc<Doors>>, request: Request) -> Response {
    let mut asked = Asked::read(request).await;
    let Some(path) = asked.path.strip_prefix("/rocket").map(str::to_owned) else {
        doors.hanging.fetch_add(1, Ordering::Relaxed);
        return std::future::pending().await;
    };
    asked.path = path;
    asked.pass_on(&doors.http, &doors.target).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_that_never_answers_keeps_its_own_sales_waiting_and_no_others() {
    let market = Market::open("slow-shop").await;
    let mut slow = shop("nowhere:9092");
    slow["metadata"]["name"] = json!("tar");
    market.cluster.apply(slow).await.unwrap();
    let token = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "tar-operator-token" },
        "stringData": { "token": "of-an-order-service-that-hangs" },
    });
    market.cluster.apply(token).await.unwrap();
    for number in 0..SLOW_SALES {
        let mut sale = launch(3_600, 600, 1);
        sale["metadata"]["name"] = json!(format!("slow-{number}"));
        sale["spec"]["shop"] = json!("tar");
        market.apply(&sale).await.unwrap();
    }
    let (doors, url) = doors(&market.service.api).await;
    let operator = market.cluster.sales_operator(&url, 1).await;
    eventually("the slow shop is asked", async || doors.hanging.load(Ordering::Relaxed) >= 4).await;

    market.apply(&launch(3_600, 600, 5)).await.unwrap();
    market
        .cluster
        .sale_that("launch", "was looked at beside the slow ones", |sale| {
            sale_condition(sale, "Ready", "False").is_some_and(|why| why.starts_with("stock is loaded"))
        })
        .await;
    assert!(doors.hanging.load(Ordering::Relaxed) < SLOW_SALES, "the test had too few slow sales");
    operator.crash().await;
}
