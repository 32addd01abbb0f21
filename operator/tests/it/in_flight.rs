//! A leader is replaced while its commands are under way. They reach the order service after the next
//! leader's commands, and change nothing.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::{Request, State},
    http::Method,
    response::Response,
};
use rocketmart_crds::Phase;
use serde_json::{Value, json};

use crate::{
    market::{Market, launch},
    order_service::eventually,
    proxy::{self, Asked},
};

/// One leader's way to the order service, on which one command is held up.
struct Way {
    target: String,
    http: reqwest::Client,
    is_held: fn(&Method, &str) -> bool,
    held: Mutex<Option<Asked>>,
}

impl Way {
    /// Returns the URL as well.
    async fn holding(market: &Market, is_held: fn(&Method, &str) -> bool) -> (Arc<Self>, String) {
        let way = Arc::new(Self {
            target: market.service.api.clone(),
            http: reqwest::Client::new(),
            is_held,
            held: Mutex::default(),
        });
        let url = proxy::serve(Router::new().fallback(go).with_state(way.clone())).await;
        (way, url)
    }

    async fn until_held(&self) {
        eventually("the command is on its way", async || self.held.lock().unwrap().is_some()).await;
    }

    /// Lets the command arrive after all, and returns the answer.
    async fn arrives(&self, market: &Market) -> (u16, Value) {
        let held = self.held.lock().unwrap().take().unwrap();
        let body = serde_json::from_slice(&held.body).unwrap();
        market.service.operator().call(held.method, &held.path, Some(&body), None).await
    }
}

async fn go(State(way): State<Arc<Way>>, request: Request) -> Response {
    let asked = Asked::read(request).await;
    if (way.is_held)(&asked.method, &asked.path) {
        *way.held.lock().unwrap() = Some(asked);
        return std::future::pending().await;
    }
    asked.pass_on(&way.http, &way.target).await.unwrap()
}

fn is_stale((status, answer): (u16, Value)) {
    assert_eq!((status, answer["code"].as_str()), (409, Some("stale-fence")), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_an_old_leader_that_arrives_after_the_new_ones_is_refused() {
    let market = Market::open("in-flight").await;
    let mut sale = launch(2, 600, 5);
    market.apply(&sale).await.unwrap();
    let (load, url) = Way::holding(&market, |method, _| method == Method::PUT).await;
    let first = market.cluster.sales_operator(&url, 1).await;
    load.until_held().await;
    first.crash().await;

    // The next leader loads the same generation of the sale. Only the term tells the two loads apart.
    let (suspend, url) = Way::holding(&market, |_, path| path.ends_with("/suspend")).await;
    let second = market.cluster.sales_operator(&url, 2).await;
    market.until(Phase::Open).await;
    is_stale(load.arrives(&market).await);
    assert_eq!(market.service.backing.ledger().await, [5, 5, 0, 0]);
    assert_eq!(market.service.backing.standing().await, [100, 5], "loaded once");

    sale["spec"]["suspend"] = json!(true);
    market.apply(&sale).await.unwrap();
    suspend.until_held().await;
    second.crash().await;
    let third = market.operator(3).await;
    eventually("it is suspended", async || market.standing().await.1["state"] == "suspended").await;
    sale["spec"]["suspend"] = json!(false);
    market.apply(&sale).await.unwrap();
    eventually("it sells again", async || market.standing().await.1["state"] == "ready").await;
    is_stale(suspend.arrives(&market).await);
    let (status, answer) = market.service.buyer().purchase(market.id().await, 1, "k").await;
    assert_eq!(status, 201, "nobody wants it suspended: {answer}");
    third.stop().await;
}
