//! What every request passes on its way in and every answer on its way out.
//!
//! One middleware instead of a tower of them: each layer would box its future again, and the
//! order service answers tens of thousands of requests a second on two cores. In order:
//! request id and trace → time-out → panic guard → handler → metrics → problem form →
//! security headers.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use futures::{FutureExt, StreamExt as _};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::Instant;
use uuid::Uuid;

use super::measure;
use crate::problem::Problem;
use crate::telemetry;
use crate::trace::{self, TRACEPARENT, TraceContext};

/// Bodies larger than this are refused, bytes.
const BODY_LIMIT: usize = 1024 * 1024;
/// How much of a refused body is read all the same, bytes, and for how long. A client that is still
/// sending when its connection closes loses the answer with it.
const REFUSED_BODY_LIMIT: usize = 16 * 1024 * 1024;
const REFUSED_BODY_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest request id accepted from a caller, bytes.
const REQUEST_ID_LIMIT: usize = 128;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// For JSON answers: nothing may frame, sniff or keep them unless the handler says so.
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// `router` under the standard middleware.
pub(super) fn wrap(router: Router, request_timeout: Duration) -> Router {
    router
        .fallback(async || Problem::not_found("route-unknown"))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn_with_state(request_timeout, frame))
}

/// Pages for people, of which nobody waits for an answer: framed by nobody, and what is not there is
/// answered as everywhere.
pub(super) fn wrap_pages(pages: Router) -> Router {
    pages.layer(map_response(async |response: Response| {
        if response.status() == StatusCode::NOT_FOUND {
            return Problem::not_found("route-unknown").into_response();
        }
        let mut response = response;
        // A page has scripts and styles of its own, which the policy for JSON forbids.
        for (name, value) in
            SECURITY_HEADERS.iter().filter(|(name, _)| name != header::CONTENT_SECURITY_POLICY)
        {
            response.headers_mut().entry(name).or_insert_with(|| value.clone());
        }
        response
    }))
}

async fn frame(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let context = trace_context(request.headers());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let named = telemetry::Request { id: id.clone(), context, method: method.clone(), route: route.clone() };

    let handled = named.scope(trace::scope(context, async {
        let handled = if announces_too_much(request.headers()) {
            refuse_body(request).await
        } else {
            guarded(limit, request, next).await
        };
        let (status, took) = (handled.status(), started.elapsed());
        tracing::debug!(status = status.as_u16(), took_ms = took.as_millis(), "answered");
        handled
    }));
    let mut response = as_problem(handled.await);
    let route = route.as_ref().map_or("unknown", MatchedPath::as_str);
    measure::request(&method, route, response.status(), started.elapsed());
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    for (name, value) in &SECURITY_HEADERS {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    response
}

fn announces_too_much(headers: &HeaderMap) -> bool {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    announced.is_some_and(|length: usize| length > BODY_LIMIT)
}

async fn refuse_body(request: Request) -> Response {
    let mut chunks = request.into_body().into_data_stream();
    let discard = async {
        let mut read = 0;
        while let Some(Ok(chunk)) = chunks.next().await
            && read < REFUSED_BODY_LIMIT
        {
            read += chunk.len();
        }
    };
    // Whatever comes of it, the answer is the same.
    let _ = tokio::time::timeout(REFUSED_BODY_TIMEOUT, discard).await;
    StatusCode::PAYLOAD_TOO_LARGE.into_response()
}

/// The handler's answer, or one in its place when it panics or takes too long.
async fn guarded(limit: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, AssertUnwindSafe(next.run(request)).catch_unwind()).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            Problem::internal(anyhow::anyhow!("handler panicked: {}", message(&*panic))).into_response()
        }
        Err(_elapsed) => {
            Problem::unavailable("request-timeout", "the request took too long; its outcome is unknown")
                .into_response()
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

fn request_id(headers: &HeaderMap) -> HeaderValue {
    let acceptable = |value: &&HeaderValue| {
        (1..=REQUEST_ID_LIMIT).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    headers.get(REQUEST_ID).filter(acceptable).cloned().unwrap_or_else(|| {
        let mut buffer = Uuid::encode_buffer();
        // Of the thread's own generator: the system's would cost a system call.
        let id = Uuid::from_u128(rand::random()).simple().encode_lower(&mut buffer);
        // Hexadecimal digits are always a valid header value.
        HeaderValue::from_str(id).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    })
}

fn trace_context(headers: &HeaderMap) -> TraceContext {
    headers
        .get(TRACEPARENT)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<TraceContext>().ok())
        .map_or_else(TraceContext::root, TraceContext::child)
}

/// Errors that axum or a handler answered without a problem body get one; headers such as `Allow`
/// stay.
fn as_problem(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let is_plain = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_none_or(|content_type| content_type.as_bytes().starts_with(b"text/plain"));
    if !(is_error && is_plain) {
        return response;
    }
    let code = match status {
        StatusCode::NOT_FOUND => "not-found",
        StatusCode::METHOD_NOT_ALLOWED => "method-not-allowed",
        StatusCode::PAYLOAD_TOO_LARGE => "body-too-large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported-media-type",
        _ if status.is_server_error() => "internal",
        _ => "bad-request",
    };
    let mut problem =
        Problem::new(status, code, status.canonical_reason().unwrap_or("Error")).into_response();
    for (name, value) in response.headers() {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            problem.headers_mut().append(name, value.clone());
        }
    }
    problem
}
