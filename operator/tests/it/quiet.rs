//! An obstructed sale says so once, and then stays quiet until something changes (K1).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use k8s_openapi::api::events::v1::Event;
use kube::{ResourceExt, api::ListParams};
use rocketmart_crds::{FlashSale, Phase};
use serde_json::json;
use tokio::time::sleep;

use crate::{
    cluster::sale_condition,
    market::{Market, launch, phase},
    order_service::eventually,
    proxy::{self, Asked},
};

/// Several times the shortest pause between two looks at such a sale.
const LONG_ENOUGH: Duration = Duration::from_secs(12);

fn reason(sale: &FlashSale) -> Option<&str> {
    let mut conditions = sale.status.iter().flat_map(|status| &status.conditions);
    conditions.find(|it| it.type_ == "Ready" && it.status == "False").map(|it| it.reason.as_str())
}

/// Nobody writes the sale, its `Ready` stays false for this reason, and a single Event has reported it.
pub async fn is_quiet(market: &Market, why: &str) {
    eventually(&format!("{why} is told"), async || market.events().await.iter().any(|told| told == why))
        .await;
    let before = market.get().await;
    let began = Instant::now();
    while began.elapsed() < LONG_ENOUGH {
        let now = market.get().await;
        assert_eq!(reason(&now), Some(why), "{:?}", now.status);
        assert_eq!(now.resource_version(), before.resource_version(), "written again: {:?}", now.status);
        sleep(Duration::from_millis(20)).await;
    }
    let events = market.cluster.api::<Event>().list(&ListParams::default()).await.unwrap();
    let told: Vec<_> = events.into_iter().filter(|event| event.reason.as_deref() == Some(why)).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].series.is_none(), "told again and again: {:?}", told[0].series);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_of_an_unknown_sku_whose_time_has_come_is_refused_once() {
    let market = Market::open("refused-once").await;
    let operator = market.operator(1).await;
    let mut sale = launch(300, 600, 1);
    sale["spec"]["items"][0]["sku"] = json!("NO-SUCH-SKU");
    sale["spec"]["preloadLeadSeconds"] = json!(3_600);
    market.apply(&sale).await.unwrap();
    // From the first look on; the sale was never in order before.
    loop {
        let seen = market.get().await;
        if seen.status.is_some() {
            assert_eq!((phase(&seen), reason(&seen)), (Some(Phase::Failed), Some("Refused")));
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    is_quiet(&market, "Refused").await;
    assert_eq!(operator.writes(), 2, "one status and one Event");
    assert!(market.get().await.finalizers().is_empty(), "nothing was loaded, nothing holds it");
    operator.stop().await;
}

/// The way to an order service that cannot rebuild the sale yet.
#[derive(Clone)]
struct Way {
    target: Arc<str>,
    http: reqwest::Client,
}

async fn go(State(way): State<Way>, request: Request) -> Response {
    let asked = Asked::read(request).await;
    if asked.path.ends_with("/rebuild") {
        let body = json!({ "code": "events-in-flight", "detail": "events are on their way into SQL" });
        return (StatusCode::CONFLICT, axum::Json(body)).into_response();
    }
    asked.pass_on(&way.http, &way.target).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_sale_that_cannot_be_rebuilt_yet_says_so_once() {
    let market = Market::open("rebuilt-later").await;
    let way = Way { target: market.service.api.as_str().into(), http: reqwest::Client::new() };
    let url = proxy::serve(Router::new().fallback(go).with_state(way)).await;
    let operator = market.cluster.sales_operator(&url, 1).await;
    market.apply(&launch(3, 600, 5)).await.unwrap();
    market.until(Phase::Open).await;
    let redis = redis::Client::open(market.service.backing.redis.url()).unwrap();
    let mut connection = redis.get_multiplexed_async_connection().await.unwrap();
    let _: () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    market
        .cluster
        .sale_that("launch", "waits for its rebuild", |sale| {
            sale_condition(sale, "Ready", "False").is_some_and(|said| said.contains("on their way"))
        })
        .await;
    is_quiet(&market, "Rebuilding").await;
    operator.stop().await;
}
