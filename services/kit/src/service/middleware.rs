//! What every request passes on its way in, and every answer on its way out.
//!
//! It is one middleware instead of a tower of them: each layer would box its future again, and the order
//! service answers tens of thousands of requests a second on two cores. In order: request id and trace → what
//! every request must satisfy → time-outs → panic guard → handler → metrics → problem form → security
//! headers.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::{FutureExt, StreamExt as _};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::Instant;
use uuid::Uuid;

use super::body::Timely;
use super::{envelope, measure, security};
use crate::problem::{Problem, Result};
use crate::request_limits::RequestLimits;
use crate::telemetry;
use crate::trace::{self, TRACEPARENT, TraceContext};

/// Larger bodies are refused, bytes.
const BODY_LIMIT: usize = 1024 * 1024;
/// How much of a refused body we read all the same, in bytes, and for how long. A client that is still
/// sending when its connection closes loses the answer with it.
const REFUSED_BODY_LIMIT: usize = 16 * 1024 * 1024;
const REFUSED_BODY_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest request id that we accept from a caller, in bytes.
const REQUEST_ID_LIMIT: usize = 128;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long a request may take, and how many there may be.
#[derive(Clone)]
pub(super) struct Limits {
    /// From its head to its answer.
    pub request: Duration,
    /// From its head to the end of its body.
    pub body: Duration,
    /// Per member and per address.
    pub rates: Option<RequestLimits>,
}

/// `router` under the standard middleware.
pub(super) fn wrap(router: Router, limits: Limits) -> Router {
    router
        .fallback(async || Problem::not_found("route-unknown"))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn_with_state(limits, frame))
}

/// Pages for people, without time-outs and limits. Nothing may frame them, and what is not there gets the
/// same answer as anywhere else.
pub(super) fn wrap_pages(pages: Router) -> Router {
    pages.layer(from_fn(page))
}

/// Probes and metrics.
pub(super) fn wrap_plain(router: Router) -> Router {
    router.layer(from_fn(async |request: Request, next: Next| match envelope::check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }))
}

async fn page(request: Request, next: Next) -> Response {
    let over_tls = security::came_over_tls(request.headers());
    let mut response = match envelope::check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    if response.status() == StatusCode::NOT_FOUND {
        response = Problem::not_found("route-unknown").into_response();
    }
    security::protect_page(response.headers_mut(), over_tls);
    response
}

async fn frame(State(limits): State<Limits>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let context = trace_context(request.headers());
    let over_tls = security::came_over_tls(request.headers());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let named = telemetry::Request { id: id.clone(), context, method: method.clone(), route: route.clone() };

    let handled = named.scope(trace::scope(context, async {
        let handled = match envelope::check(&request).and_then(|()| limits.admit(&mut request)) {
            Err(problem) => problem.into_response(),
            Ok(()) if announces_too_much(request.headers()) => refuse_body(request).await,
            Ok(()) => guarded(limits.request, timely(limits.body, request), next).await,
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
    security::protect(headers, over_tls);
    response
}

impl Limits {
    /// Counts the request by its address, and attaches what its member is counted with.
    fn admit(&self, request: &mut Request) -> Result<()> {
        if let Some(rates) = &self.rates {
            rates.admit(request.headers())?;
            request.extensions_mut().insert(rates.per_member.clone());
        }
        Ok(())
    }
}

fn timely(limit: Duration, request: Request) -> Request {
    if request.body().is_end_stream() {
        return request;
    }
    request.map(|body| Body::new(Timely::new(body, limit)))
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

/// The handler's answer, or another in its place if the handler panics or takes too long.
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
        // From the thread's own generator: the system's would cost a system call.
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

/// Gives a problem body to errors that axum or a handler answered without one. Headers such as `Allow` stay.
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
