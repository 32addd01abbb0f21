use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use rocketmart_kit::client::{Call, CallError, Client};
use rocketmart_kit::trace::{self, TraceContext};
use tokio::net::TcpListener;

/// A neighbour that counts calls and fails the first `failing` of them.
#[derive(Clone)]
struct Neighbour {
    calls: Arc<AtomicUsize>,
    failing: Arc<AtomicUsize>,
}

impl Neighbour {
    async fn start(failing: usize) -> (Self, Client) {
        let neighbour = Self { calls: Arc::default(), failing: Arc::new(AtomicUsize::new(failing)) };
        let router = Router::new()
            .route("/v1/things", get(answer).post(answer))
            .route("/v1/slow", post(async || tokio::time::sleep(Duration::from_mins(1)).await))
            .route("/v1/refused", get(async || (StatusCode::CONFLICT, "no")))
            .with_state(neighbour.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (neighbour, Client::with_timeout(base, "neighbour", Duration::from_secs(3)).unwrap())
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

async fn answer(State(neighbour): State<Neighbour>, headers: HeaderMap) -> Response {
    neighbour.calls.fetch_add(1, Ordering::SeqCst);
    let failing =
        neighbour.failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    if failing.is_ok() {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let traceparent = headers.get("traceparent").map(|value| value.to_str().unwrap().to_owned());
    axum::Json(traceparent).into_response()
}

#[tokio::test]
async fn a_call_that_is_safe_to_repeat_is_repeated() {
    let (neighbour, client) = Neighbour::start(2).await;
    client.call::<Option<String>>(Call::get("things")).await.unwrap();
    assert_eq!(neighbour.calls(), 3);
}

#[tokio::test]
async fn a_post_is_made_once_unless_it_has_an_idempotency_key() {
    let (neighbour, client) = Neighbour::start(2).await;
    let error = client.send(Call::post("things")).await.unwrap_err();
    assert!(matches!(error, CallError::Status { status: StatusCode::BAD_GATEWAY, .. }), "{error}");
    assert_eq!(neighbour.calls(), 1);
    client.send(Call::post("/things").idempotency_key("k")).await.unwrap();
    assert_eq!(neighbour.calls(), 3);
}

#[tokio::test]
async fn no_answer_in_time_is_told_apart_from_a_refusal() {
    let (_, client) = Neighbour::start(0).await;
    let slow = client.send(Call::post("slow")).await.unwrap_err();
    assert!(matches!(slow, CallError::NoAnswer { .. }), "{slow}");
    let refused = client.send(Call::get("refused")).await.unwrap_err();
    let CallError::Status { status, body, .. } = refused else { panic!("{refused}") };
    assert_eq!((status, body.as_str()), (StatusCode::CONFLICT, "no"));
}

#[tokio::test]
async fn a_neighbour_that_keeps_failing_is_left_alone_and_then_tried_again() {
    let (neighbour, client) = Neighbour::start(5).await;
    for _ in 0..5 {
        client.send(Call::post("things")).await.unwrap_err();
    }
    let error = client.send(Call::post("things")).await.unwrap_err();
    assert!(matches!(error, CallError::CircuitOpen { .. }), "{error}");
    assert_eq!(neighbour.calls(), 5);
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    client.send(Call::post("things")).await.unwrap();
}

#[tokio::test]
async fn refusals_do_not_open_the_circuit() {
    let (_, client) = Neighbour::start(0).await;
    for _ in 0..20 {
        let error = client.send(Call::get("refused")).await.unwrap_err();
        assert!(matches!(error, CallError::Status { .. }), "{error}");
    }
}

#[tokio::test]
async fn the_trace_goes_along() {
    let (_, client) = Neighbour::start(0).await;
    let context = TraceContext::root();
    let call = client.call::<Option<String>>(Call::get("things"));
    let seen: TraceContext = trace::scope(context, call).await.unwrap().unwrap().parse().unwrap();
    assert_eq!(seen.trace_id(), context.trace_id());
}
