//! An API server that conflicts, throttles, fails, forgets its watches, loses answers, and goes away.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Bytes, HttpBody};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use kube::client::Body;
use rocketmart_crds::Phase;
use serde_json::json;
use tower::{BoxError, Layer, Service};

use crate::{
    children::children,
    cluster::{Cluster, brokers, condition, sale_condition, shop},
    market::{Market, launch},
};

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The API server answers with this instead of carrying the request out.
    Status(u16),
    /// The request is carried out, and the answer never arrives.
    LostReply,
}

/// The API server's own answer, or an invented one.
type Answer = UnsyncBoxBody<Bytes, BoxError>;

/// Faults by the number of the request; reads and writes are counted separately.
#[derive(Clone)]
pub struct Trouble {
    reads: Arc<BTreeMap<usize, Fault>>,
    writes: Arc<BTreeMap<usize, Fault>>,
    counts: Arc<[AtomicUsize; 2]>,
    happened: Arc<AtomicUsize>,
}

impl Trouble {
    fn with<const R: usize, const W: usize>(reads: [(usize, Fault); R], writes: [(usize, Fault); W]) -> Self {
        Self {
            reads: Arc::new(reads.into()),
            writes: Arc::new(writes.into()),
            counts: Arc::default(),
            happened: Arc::default(),
        }
    }

    fn next(&self, method: &Method) -> Option<Fault> {
        let (faults, count) = if method == Method::GET { (&self.reads, 0) } else { (&self.writes, 1) };
        let fault = faults.get(&self.counts[count].fetch_add(1, Ordering::SeqCst)).copied();
        self.happened.fetch_add(usize::from(fault.is_some()), Ordering::SeqCst);
        fault
    }

    fn happened(&self) -> usize {
        self.happened.load(Ordering::SeqCst)
    }
}

impl<S> Layer<S> for Trouble {
    type Service = Troubled<S>;

    fn layer(&self, inner: S) -> Troubled<S> {
        Troubled { inner, trouble: self.clone() }
    }
}

pub struct Troubled<S> {
    inner: S,
    trouble: Trouble,
}

impl<S, B> Service<Request<Body>> for Troubled<S>
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
        let fault = self.trouble.next(request.method());
        if let Some(Fault::Status(code)) = fault {
            return Box::pin(std::future::ready(Ok(refusal(code))));
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await.map_err(Into::into)?;
            match fault {
                Some(Fault::LostReply) => Err("the connection was reset".into()),
                _ => Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync())),
            }
        })
    }
}

fn refusal(code: u16) -> Response<Answer> {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": "Trouble", "message": "trouble on purpose",
    });
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response.headers_mut().insert("content-type", "application/json".parse().unwrap());
    response
}

const READS: [(usize, Fault); 3] =
    [(4, Fault::Status(500)), (14, Fault::Status(410)), (25, Fault::Status(429))];

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_gets_ready_through_all_kinds_of_trouble_and_looks_like_any_other() {
    let troubled = Cluster::new("trouble-shop").await;
    let calm = Cluster::new("calm-shop").await;
    let writes =
        [(3, Fault::Status(409)), (12, Fault::LostReply), (20, Fault::Status(500)), (30, Fault::Status(429))];
    let trouble = Trouble::with(READS, writes);
    let operators = [troubled.shop_operator_through(&trouble).await, calm.operator().await];
    for cluster in [&troubled, &calm] {
        cluster.apply_secrets().await;
        let mut spec = shop(&brokers().await);
        spec["spec"]["kafka"]["partitions"] = json!(1);
        cluster.apply(spec).await.unwrap();
    }
    for cluster in [&troubled, &calm] {
        cluster
            .shop_that("had all its Deployments", |shop| {
                condition(shop, "Ready", "False")
                    .is_some_and(|why| why.contains("(0 of 1)") && !why.contains("not made yet"))
            })
            .await;
        cluster.let_deployments_be_ready().await;
        cluster.shop_that("got ready", |shop| condition(shop, "Ready", "True").is_some()).await;
    }
    assert!(trouble.happened() >= 6, "{} faults", trouble.happened());
    assert_eq!(children(&troubled).await, children(&calm).await);
    for operator in operators {
        operator.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_loaded_once_and_closed_through_all_kinds_of_trouble() {
    let market = Market::open("trouble-sale").await;
    let writes = [
        (0, Fault::LostReply),
        (2, Fault::Status(409)),
        (4, Fault::Status(500)),
        (6, Fault::LostReply),
        (8, Fault::Status(429)),
    ];
    let trouble = Trouble::with(READS, writes);
    let operator = market.cluster.sales_operator_through(&trouble, &market.service.api).await;
    // On a busy machine an operator comes late. No phase is short enough to be skipped for that, with its writes.
    let mut sale = launch(12, 3_600, 5);
    sale["spec"]["preloadLeadSeconds"] = json!(6);
    market.apply(&sale).await.unwrap();
    market.until(Phase::Open).await;
    assert_eq!(market.service.backing.standing().await, [100, 5], "loaded once");
    sale["spec"]["closeEarly"] = json!(true);
    market.apply(&sale).await.unwrap();
    let closed = market.until(Phase::Closed).await;
    assert!(sale_condition(&closed, "Reconciled", "True").is_some());
    assert_eq!(market.service.backing.standing().await, [100, 0]);
    assert!(trouble.happened() >= 5, "{} faults", trouble.happened());
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_goes_on_when_the_api_server_was_away_for_half_a_minute() {
    let (cluster, mut server) = Cluster::with_a_server_of_its_own("away").await;
    let operator = cluster.operator_as_administrator();
    cluster.apply(shop(&brokers().await)).await.unwrap();
    cluster.shop_that("was degraded", |shop| condition(shop, "Degraded", "True").is_some()).await;
    let server = tokio::task::spawn_blocking(move || {
        server.kill();
        std::thread::sleep(Duration::from_secs(30));
        server.restart().unwrap();
        server
    })
    .await
    .unwrap();
    // Something happens that the cut watches did not see; the operator still notices it.
    cluster.apply_secrets().await;
    cluster
        .shop_that("had all its Deployments", |shop| {
            condition(shop, "Ready", "False").is_some_and(|why| why.contains("(0 of 1)"))
        })
        .await;
    operator.stop().await;
    drop(server);
}
