//! Cuts an operator off in the middle of its work, at a chosen request.
//!
//! The scissors count every request that may change something, whether it goes to the API server or to the
//! order service. At the chosen one they cut the operator off: either the request is not sent, or it is
//! carried out and its answer is lost. Nothing gets through after that, so the operator is as good as
//! crashed.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    Router,
    extract::{Request as HttpRequest, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response as HttpResponse},
};
use http::{Request, Response};
use kube::client::Body;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, Layer, Service};

use crate::proxy::{self, Asked};

/// On which side of the request to cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    Before,
    After,
}

#[derive(Clone, Debug)]
pub struct Scissors {
    at: usize,
    side: Side,
    count: Arc<AtomicUsize>,
    cut: CancellationToken,
}

enum Verdict {
    Refuse,
    Pass,
    PassAndCut,
}

impl Scissors {
    /// Cuts at the request with this number, counted from zero.
    pub fn at(request: usize, side: Side) -> Self {
        Self { at: request, side, count: Arc::default(), cut: CancellationToken::new() }
    }

    /// Never cuts.
    pub fn blunt() -> Self {
        Self::at(usize::MAX, Side::Before)
    }

    pub async fn was_cut(&self) {
        self.cut.cancelled().await;
    }

    fn judge(&self, method: &Method) -> Verdict {
        if self.cut.is_cancelled() {
            return Verdict::Refuse;
        }
        if method == Method::GET || self.count.fetch_add(1, Ordering::SeqCst) != self.at {
            return Verdict::Pass;
        }
        match self.side {
            Side::Before => {
                self.cut.cancel();
                Verdict::Refuse
            }
            Side::After => Verdict::PassAndCut,
        }
    }

    /// Stands between the operator and the order service at `target`. Returns the address for the operator.
    pub async fn proxy(&self, target: &str) -> String {
        let state = (self.clone(), target.to_owned(), reqwest::Client::new());
        proxy::serve(Router::new().fallback(forward).with_state(state)).await
    }
}

async fn forward(
    State((scissors, target, http)): State<(Scissors, String, reqwest::Client)>,
    request: HttpRequest,
) -> HttpResponse {
    let verdict = scissors.judge(request.method());
    // The operator cannot tell this from an answer that never came: the outcome is unknown.
    let nothing = || StatusCode::SERVICE_UNAVAILABLE.into_response();
    if matches!(verdict, Verdict::Refuse) {
        return nothing();
    }
    let answer = Asked::read(request).await.pass_on(&http, &target).await;
    if matches!(verdict, Verdict::PassAndCut) {
        scissors.cut.cancel();
        return nothing();
    }
    answer.unwrap_or_else(|_| nothing())
}

impl<S> Layer<S> for Scissors {
    type Service = Cutting<S>;

    fn layer(&self, inner: S) -> Cutting<S> {
        Cutting { inner, scissors: self.clone() }
    }
}

/// A way to the API server that can be cut.
pub struct Cutting<S> {
    inner: S,
    scissors: Scissors,
}

impl<S, B> Service<Request<Body>> for Cutting<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let verdict = self.scissors.judge(request.method());
        if matches!(verdict, Verdict::Refuse) {
            return Box::pin(std::future::ready(Err("cut off".into())));
        }
        let answer = self.inner.call(request);
        let scissors = self.scissors.clone();
        Box::pin(async move {
            let answer = answer.await.map_err(Into::into);
            if matches!(verdict, Verdict::PassAndCut) {
                scissors.cut.cancel();
                return Err("cut off".into());
            }
            answer
        })
    }
}
