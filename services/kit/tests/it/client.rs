use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use rocketmart_kit::client::{Call, CallError, Client, Limits};
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
        Self::start_for(failing, Limits { timeout: Duration::from_secs(3), ..Limits::default() }).await
    }

    async fn start_for(failing: usize, limits: Limits) -> (Self, Client) {
        let neighbour = Self { calls: Arc::default(), failing: Arc::new(AtomicUsize::new(failing)) };
        let router = Router::new()
            .route("/v1/things", get(answer).post(answer))
            .route("/v1/slow", post(slow))
            .route("/v1/long", get(async || "x".repeat(2_000)))
            .route("/v1/long-refusal", get(async || (StatusCode::CONFLICT, "x".repeat(2_000))))
            .route("/v1/query", get(async |RawQuery(query): RawQuery| axum::Json(query)))
            .route("/v1/refused", get(async || (StatusCode::CONFLICT, "no")))
            .with_state(neighbour.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (neighbour, Client::with_limits(base, "neighbour", limits).unwrap())
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

async fn slow(State(neighbour): State<Neighbour>) {
    neighbour.calls.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_mins(1)).await;
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
async fn a_post_without_a_key_is_not_repeated_after_a_time_out_either() {
    let limits = Limits { timeout: Duration::from_secs(1), ..Limits::default() };
    let (neighbour, client) = Neighbour::start_for(0, limits).await;
    let error = client.send(Call::post("slow")).await.unwrap_err();
    assert!(matches!(error, CallError::NoAnswer { .. }) && error.may_have_arrived(), "{error}");
    // Longer than all the pauses between retries.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(neighbour.calls(), 1);
}

#[tokio::test]
async fn who_repeats_by_themselves_gets_the_first_failure() {
    let (neighbour, client) = Neighbour::start_for(1, Limits { retries: 0, ..Limits::default() }).await;
    client.send(Call::post("things").idempotency_key("k")).await.unwrap_err();
    assert_eq!(neighbour.calls(), 1);
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
async fn while_the_circuit_is_open_nothing_is_sent_and_the_error_says_so() {
    let (neighbour, client) = Neighbour::start(usize::MAX).await;
    for _ in 0..5 {
        let error = client.send(Call::post("things")).await.unwrap_err();
        assert!(error.may_have_arrived(), "{error}");
    }
    for call in [Call::post("things"), Call::post("things").idempotency_key("k"), Call::get("things")] {
        let error = client.send(call).await.unwrap_err();
        assert!(matches!(error, CallError::CircuitOpen { .. }) && !error.may_have_arrived(), "{error}");
    }
    assert_eq!(neighbour.calls(), 5);
}

#[tokio::test]
async fn a_call_that_arrived_before_the_circuit_opened_is_not_told_as_never_sent() {
    let limits = Limits { circuit: Some(2), ..Limits::default() };
    let (neighbour, client) = Neighbour::start_for(usize::MAX, limits).await;
    let error = client.send(Call::post("things").idempotency_key("k")).await.unwrap_err();
    assert!(matches!(error, CallError::Status { .. }) && error.may_have_arrived(), "{error}");
    assert_eq!(neighbour.calls(), 2);
}

#[tokio::test]
async fn where_nobody_listens_nothing_has_arrived() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let client = Client::new(base, "neighbour").unwrap();
    let error = client.send(Call::post("things")).await.unwrap_err();
    assert!(matches!(error, CallError::NoAnswer { .. }) && !error.may_have_arrived(), "{error}");
}

#[tokio::test]
async fn without_a_circuit_every_call_is_made() {
    let limits = Limits { retries: 0, circuit: None, ..Limits::default() };
    let (neighbour, client) = Neighbour::start_for(20, limits).await;
    for _ in 0..20 {
        client.send(Call::get("things")).await.unwrap_err();
    }
    client.send(Call::get("things")).await.unwrap();
    assert_eq!(neighbour.calls(), 21);
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_limit() {
    let (_, client) = Neighbour::start_for(0, Limits { answer: 2_000, ..Limits::default() }).await;
    assert_eq!(client.send(Call::get("long")).await.unwrap().len(), 2_000);
    let (_, client) = Neighbour::start_for(0, Limits { answer: 1_999, ..Limits::default() }).await;
    let error = client.send(Call::get("long")).await.unwrap_err();
    assert!(matches!(error, CallError::TooLong { most: 1_999, .. }) && error.may_have_arrived(), "{error}");
}

#[tokio::test]
async fn a_refusal_is_quoted_in_part_and_kept_whole() {
    let (_, client) = Neighbour::start(0).await;
    let refused = client.send(Call::get("long-refusal")).await.unwrap_err();
    let CallError::Status { body, whole, .. } = refused else { panic!("{refused}") };
    assert_eq!((body.len(), whole.len()), (500, 2_000));
}

#[tokio::test]
async fn parameters_are_added_to_the_query() {
    let (_, client) = Neighbour::start(0).await;
    let call = Call::get("query?a=1").query("since", "2026-01-01T00:00:00+09:00").query("b", "&");
    let query = client.call::<Option<String>>(call).await.unwrap().unwrap();
    assert_eq!(query, "a=1&since=2026-01-01T00%3A00%3A00%2B09%3A00&b=%26");
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
