//! Errors as HTTP answers: `application/problem+json` (RFC 9457) with a stable `code`.
//!
//! A handler returns [`Result`]. If the caller did something wrong, the [`Problem`] names fields and rules.
//! If something went wrong here, we log the cause and leave it out of the answer.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// What a handler returns.
pub type Result<T, E = Problem> = std::result::Result<T, E>;

/// Media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Something wrong with the request, or something that went wrong while serving it.
#[derive(Clone, Debug)]
pub struct Problem {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable name of the kind of problem; also the tail of `type`.
    pub code: &'static str,
    /// The kind of problem in words; the same for every occurrence.
    pub title: Cow<'static, str>,
    /// This occurrence in words.
    pub detail: Option<String>,
    /// Which fields broke which rules.
    pub errors: Vec<FieldError>,
    /// Members that only this problem type has, e.g. `opens_at`.
    pub extra: Option<Box<Map<String, Value>>>,
    /// How long to wait before trying again; sent as `Retry-After`, in whole seconds.
    pub retry_after: Option<Duration>,
}

/// A problem as it is written, for descriptions.
#[derive(ToSchema)]
#[schema(title = "Problem", description = "An error as RFC 9457 describes it")]
#[expect(dead_code, reason = "a shape to describe, never a value")]
struct Written {
    /// `urn:rocketmart:problem:` and the code.
    #[schema(example = "urn:rocketmart:problem:validation-failed")]
    r#type: String,
    /// The kind of problem in words; the same for every occurrence.
    title: String,
    /// The HTTP status.
    #[schema(example = 422)]
    status: u16,
    /// Stable name of the kind of problem.
    #[schema(example = "validation-failed")]
    code: String,
    /// This occurrence in words.
    #[schema(required = false, nullable = false)]
    detail: Option<String>,
    /// Which fields broke which rules, 50 at most.
    #[schema(required = false)]
    errors: Vec<FieldError>,
    /// How many rules were broken beyond those of `errors`.
    #[schema(required = false, nullable = false)]
    more_errors: Option<usize>,
}

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        Written::schema()
    }
}

impl ToSchema for Problem {
    fn name() -> Cow<'static, str> {
        "Problem".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((FieldError::name().into_owned(), FieldError::schema()));
    }
}

/// A field that broke a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Path of the field, e.g. `items[0].units`.
    pub field: String,
    /// Stable name of the rule, e.g. `required` or `range`.
    pub rule: String,
    /// The rule in words.
    pub detail: String,
}

impl FieldError {
    /// A field and the rule it broke. Both may quote the caller, so both are shortened.
    pub fn new(field: impl Into<String>, rule: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            field: shortened(field.into(), MOST_FIELD_BYTES),
            rule: rule.into(),
            detail: shortened(detail.into(), MOST_DETAIL_BYTES),
        }
    }
}

/// How much of a request an answer quotes at most, in bytes.
const MOST_FIELD_BYTES: usize = 200;
const MOST_DETAIL_BYTES: usize = 400;

/// Cuts a text after the last character that ends within `most` bytes, and shows that it did.
fn shortened(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
    text
}

impl Problem {
    /// How many broken rules an answer names. For the others it only gives their number.
    pub const MOST_ERRORS: usize = 50;

    pub fn new(status: StatusCode, code: &'static str, title: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            code,
            title: title.into(),
            detail: None,
            errors: Vec::new(),
            extra: None,
            retry_after: None,
        }
    }

    /// Says what happened this time.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(shortened(detail.into(), MOST_DETAIL_BYTES));
        self
    }

    /// Adds a field that broke a rule. Beyond [`Self::MOST_ERRORS`] it is only counted.
    pub fn field(
        mut self,
        field: impl Into<String>,
        rule: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        if self.errors.len() < Self::MOST_ERRORS {
            self.errors.push(FieldError::new(field, rule, detail));
            return self;
        }
        let more = self.extra.as_ref().and_then(|extra| extra.get("more_errors")?.as_u64());
        self.with("more_errors", more.unwrap_or_default() + 1)
    }

    /// Adds an extra member to the body.
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.get_or_insert_default().insert(key.into(), value.into());
        self
    }

    /// Says when to try again.
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// 404: `code` says what is unknown, e.g. `order-unknown`.
    pub fn not_found(code: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, "Not found")
    }

    /// 409: the thing is in a state that does not allow this.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, "Not possible in the present state").detail(detail)
    }

    /// 503 with `Retry-After`: something behind this service does not answer.
    pub fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, "Temporarily unavailable")
            .detail(detail)
            .retry_after(Duration::from_secs(1))
    }

    /// 429 `too-many-requests`: the caller did this too often, and learns when to come back.
    pub fn too_many_requests(pause: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many attempts").retry_after(pause)
    }

    /// 422 `validation-failed` with the fields that broke a rule: the first [`Self::MOST_ERRORS`], and in
    /// `more_errors` the number of the others.
    pub fn validation(mut errors: Vec<FieldError>) -> Self {
        let mut problem =
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation-failed", "The request breaks a rule");
        let more = errors.len().saturating_sub(Self::MOST_ERRORS);
        errors.truncate(Self::MOST_ERRORS);
        problem.errors = errors;
        if more > 0 { problem.with("more_errors", more) } else { problem }
    }

    /// 500 `internal`: logs the cause and hides it from the caller.
    pub fn internal(error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        tracing::error!(error = format!("{error:#}"), "request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong here")
    }

    fn database_unavailable(error: &sqlx::Error) -> Self {
        tracing::warn!(%error, "PostgreSQL unavailable");
        Self::unavailable("database-unavailable", "the database does not answer")
    }

    fn body(&self) -> Value {
        let mut body = self.extra.as_deref().cloned().unwrap_or_default();
        body.insert("type".to_owned(), format!("urn:rocketmart:problem:{}", self.code).into());
        body.insert("title".to_owned(), self.title.as_ref().into());
        body.insert("status".to_owned(), self.status.as_u16().into());
        body.insert("code".to_owned(), self.code.into());
        if let Some(detail) = &self.detail {
            body.insert("detail".to_owned(), detail.as_str().into());
        }
        if !self.errors.is_empty() {
            let errors = self
                .errors
                .iter()
                .map(|e| serde_json::json!({ "field": e.field, "rule": e.rule, "detail": e.detail }));
            body.insert("errors".to_owned(), errors.collect());
        }
        Value::Object(body)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON))];
        let mut response = (self.status, content_type, self.body().to_string()).into_response();
        let headers = response.headers_mut();
        if let Some(pause) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(pause)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// `Retry-After` counts whole seconds only; a shorter pause must not become zero.
fn whole_seconds(pause: Duration) -> u64 {
    pause.as_secs() + u64::from(pause.subsec_nanos() > 0)
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        match error.chain().find_map(|cause| cause.downcast_ref::<sqlx::Error>()) {
            Some(cause) if is_unavailable(cause) => Self::database_unavailable(cause),
            _ => Self::internal(error),
        }
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if is_unavailable(&error) { Self::database_unavailable(&error) } else { Self::internal(error) }
    }
}

/// Whether trying again later can help: no connection, a server that stops or starts, or one that is too
/// busy.
pub(crate) fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Io(_) => true,
        sqlx::Error::Database(database) => database.code().is_some_and(|code| {
            // connection exceptions, insufficient resources, operator intervention (which
            // includes statement time-outs), serialization failures, lock time-outs
            ["08", "53", "57", "40"].iter().any(|class| code.starts_with(class)) || code == "55P03"
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(problem: Problem) -> (http::response::Parts, Value) {
        let (parts, body) = problem.into_response().into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        (parts, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn a_problem_is_written_as_rfc_9457_with_its_own_members() {
        let problem = Problem::new(StatusCode::CONFLICT, "sale-not-open", "The sale is not open")
            .detail("opens later")
            .field("items[0].units", "range", "at least 1")
            .with("opens_at", "2026-01-01T00:00:00Z")
            .retry_after(Duration::from_millis(1500));
        let (parts, body) = answer(problem).await;
        assert_eq!(parts.status, StatusCode::CONFLICT);
        assert_eq!(parts.headers["content-type"], PROBLEM_JSON);
        assert_eq!(parts.headers["retry-after"], "2");
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:rocketmart:problem:sale-not-open",
                "title": "The sale is not open",
                "status": 409,
                "code": "sale-not-open",
                "detail": "opens later",
                "errors": [{ "field": "items[0].units", "rule": "range", "detail": "at least 1" }],
                "opens_at": "2026-01-01T00:00:00Z",
            })
        );
    }

    #[tokio::test]
    async fn the_cause_of_an_internal_error_is_not_told() {
        let (parts, body) = answer(anyhow::anyhow!("password=hunter2").into()).await;
        assert_eq!(parts.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!body.to_string().contains("hunter2"));
    }

    #[test]
    fn a_busy_pool_is_unavailable_even_below_other_context() {
        let error = anyhow::Error::new(sqlx::Error::PoolTimedOut).context("cannot load the order");
        assert_eq!(Problem::from(error).code, "database-unavailable");
        assert_eq!(Problem::from(sqlx::Error::RowNotFound).code, "internal");
    }

    #[tokio::test]
    async fn an_answer_repeats_a_bounded_part_of_the_request_h1() {
        let long = "가".repeat(1 << 12);
        let errors = (0..10_000).map(|_| FieldError::new(long.as_str(), "unknown", long.as_str())).collect();
        let (_, body) = answer(Problem::validation(errors).detail(long.as_str())).await;
        assert_eq!(body["more_errors"], 9_950);
        let taken =
            |problem: Problem, n: usize| problem.field(format!("variants[{n}].sku"), "taken", "taken");
        let (_, body) = answer((0..100).fold(Problem::conflict("sku-taken", "taken"), taken)).await;
        assert_eq!(body["errors"].as_array().map(Vec::len), Some(50));
        assert_eq!(body["more_errors"], 50);
        assert!(body.to_string().len() < 1 << 16, "{}", body.to_string().len());
    }

    #[test]
    fn a_problem_is_small_enough_to_be_returned_by_value() {
        assert!(size_of::<Problem>() < 128, "{}", size_of::<Problem>());
    }
}
