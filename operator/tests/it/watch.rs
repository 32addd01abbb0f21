//! Watches are cut, and nothing else, while objects change. Requests of any other kind go through, so only
//! the watch can tell the operator about a change. Once it watches again, it makes up for what it missed.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::{Body as Answer, Bytes, HttpBody};
use futures::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::BodyDataStream;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{api::DeleteParams, client::Body};
use rocketmart_crds::{FlashSale, Phase};
use serde_json::{Value, json};
use tokio::sync::watch::{self, Receiver, Sender};
use tower::{BoxError, Layer, Service};

use crate::{
    cluster::{Cluster, brokers, condition, shop},
    market::{Market, launch, phase},
    order_service::eventually,
};

/// What happens to the streams of all watches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Cut {
    /// They end, as the API server ends them every few minutes.
    Ended,
    /// The connection breaks in the middle of an event.
    Broken,
    /// They end, and when they are requested again the server has forgotten what happened since: `410
    /// Gone`.
    Forgotten,
}

const CUTS: [Cut; 3] = [Cut::Ended, Cut::Broken, Cut::Forgotten];

/// The way to the API server. It cuts watches and holds them up until it is repaired.
#[derive(Clone, Debug)]
pub struct Wire {
    cut: Arc<Sender<Option<Cut>>>,
    /// Watches that were requested while it is cut.
    held: Arc<Sender<usize>>,
}

impl Wire {
    fn new() -> Self {
        Self { cut: Arc::new(watch::channel(None).0), held: Arc::new(watch::channel(0).0) }
    }

    /// Returns once all of the operator's `watches` are cut and waiting.
    async fn cut(&self, cut: Cut, watches: usize) {
        self.cut.send_replace(Some(cut));
        eventually(&format!("{watches} watches are {cut:?}"), async || *self.held.borrow() >= watches).await;
    }

    fn mend(&self) {
        self.cut.send_replace(None);
    }
}

impl<S> Layer<S> for Wire {
    type Service = Wired<S>;

    fn layer(&self, inner: S) -> Wired<S> {
        Wired { inner, wire: self.clone() }
    }
}

pub struct Wired<S> {
    inner: S,
    wire: Wire,
}

impl<S, B> Service<Request<Body>> for Wired<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Answer>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        // The request is not sent before it is polled.
        let answer = self.inner.call(request);
        let wire = self.wire.clone();
        Box::pin(async move {
            if !watches {
                return Ok(answer.await.map_err(Into::into)?.map(Answer::new));
            }
            let mut cut = wire.cut.subscribe();
            let held_by = *cut.borrow_and_update();
            if held_by.is_some() {
                wire.held.send_modify(|held| *held += 1);
                cut.wait_for(Option::is_none).await?;
                wire.held.send_modify(|held| *held -= 1);
            }
            if held_by == Some(Cut::Forgotten) {
                return Ok(Response::new(Answer::from(gone())));
            }
            Ok(answer.await.map_err(Into::into)?.map(|events| until_cut(events, cut)))
        })
    }
}

/// The events of a watch, until it is cut.
fn until_cut<B>(events: B, mut cut: Receiver<Option<Cut>>) -> Answer
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let end = cut.clone();
    let events = BodyDataStream::new(events).map(|data| data.map_err(Into::<BoxError>::into));
    let events = events.take_until(Box::pin(async move { drop(cut.wait_for(Option::is_some).await) }));
    let end = stream::once(async move { *end.borrow() }).flat_map(|cut| {
        let broken: Vec<Result<Bytes, BoxError>> = match cut {
            Some(Cut::Broken) => vec![Ok(r#"{"type":"MODI"#.into()), Err("the connection was reset".into())],
            _ => vec![],
        };
        stream::iter(broken)
    });
    Answer::from_stream(events.chain(end))
}

/// What the API server says about a version that it no longer has.
fn gone() -> String {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 410,
        "reason": "Expired", "message": "too old resource version: 1 (2)",
    });
    format!("{}\n", json!({ "type": "ERROR", "object": status }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_paused_resumed_and_deleted_while_nobody_watches() {
    let market = Market::open("sale-unwatched").await;
    let wire = Wire::new();
    let operator = market.cluster.sales_operator_on(&wire, &market.service.api).await;
    let mut sale = launch(2, 3_600, 5);
    market.apply(&sale).await.unwrap();
    market.until(Phase::Open).await;
    for cut in CUTS {
        for (suspend, state) in [(true, "suspended"), (false, "ready")] {
            wire.cut(cut, 1).await;
            sale["spec"]["suspend"] = json!(suspend);
            market.apply(&sale).await.unwrap();
            wire.mend();
            eventually(&format!("{state} after {cut:?}"), async || {
                market.standing().await.1["state"] == state
            })
            .await;
        }
    }

    // A new object, and the end of the other: neither is in the past of the watch that follows.
    wire.cut(Cut::Forgotten, 1).await;
    let sales = market.cluster.api::<FlashSale>();
    sales.delete("launch", &DeleteParams::default()).await.unwrap();
    let mut next = launch(2, 3_600, 5);
    next["metadata"]["name"] = json!("encore");
    market.apply(&next).await.unwrap();
    wire.mend();
    eventually("the deleted one is gone", async || sales.get_opt("launch").await.unwrap().is_none()).await;
    market.cluster.sale_that("encore", "was open", |sale| phase(sale) == Some(Phase::Open)).await;
    assert_eq!(market.service.backing.standing().await, [100, 5], "loaded and returned once");
    operator.stop().await;
}

/// Shops, seven kinds of children, and sales. Routes are of a kind that need not exist.
const WATCHES_OF_SHOPS: usize = 9;

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_is_changed_and_damaged_while_nobody_watches() {
    let cluster = Cluster::new("shop-unwatched").await;
    let wire = Wire::new();
    let operator = cluster.shop_operator_on(&wire).await;
    cluster.apply_secrets().await;
    let mut declared: Value = shop(&brokers().await);
    declared["spec"]["kafka"]["partitions"] = json!(1);
    cluster.apply(declared.clone()).await.unwrap();
    cluster
        .shop_that("had all its Deployments", |shop| {
            condition(shop, "Ready", "False")
                .is_some_and(|why| why.contains("(0 of 1)") && !why.contains("not made yet"))
        })
        .await;
    let (deployments, configs) = (cluster.api::<Deployment>(), cluster.api::<ConfigMap>());
    for (cut, image) in CUTS.into_iter().zip(["rocketmart:1", "rocketmart:2", "rocketmart:3"]) {
        wire.cut(cut, WATCHES_OF_SHOPS).await;
        configs.delete("rocket-search", &DeleteParams::default()).await.unwrap();
        declared["spec"]["image"] = json!(image);
        cluster.apply(declared.clone()).await.unwrap();
        wire.mend();
        eventually(&format!("{image} runs after {cut:?}"), async || {
            let search = deployments.get("rocket-search").await.unwrap();
            let containers = search.spec.unwrap().template.spec.unwrap().containers;
            containers[0].image.as_deref() == Some(image)
        })
        .await;
        eventually(&format!("what was deleted is back after {cut:?}"), async || {
            configs.get_opt("rocket-search").await.unwrap().is_some()
        })
        .await;
    }
    operator.stop().await;
}
