//! What a handler takes from a request. A misfit becomes a [`Problem`] that names field and rule.

use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::list::TOO_LONG;
use crate::problem::{FieldError, Problem};

/// A JSON body, read or written. Bodies should be `#[serde(deny_unknown_fields)]`.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The body must be JSON",
            )
            .detail("send Content-Type: application/json"));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(unreadable_body)?;
        if is_array(&bytes) && is_well_formed(&bytes) {
            return Err(Problem::validation(vec![FieldError::new(".", "type", "must be an object")]));
        }
        // Tracking the path to an offending field costs time, so we look for it only once there is one.
        serde_json::from_slice(&bytes).map(Self).or_else(|_| parse_with_path(&bytes).map(Self))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn unreadable_body(rejection: BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large")
    } else if is_late(&rejection) {
        Problem::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", "The body did not arrive in time")
            .detail("nothing was changed")
    } else {
        Problem::new(StatusCode::BAD_REQUEST, "body-unreadable", "The body could not be read")
    }
}

fn is_late(error: &(dyn std::error::Error + 'static)) -> bool {
    let timed_out = |error: &std::io::Error| error.kind() == std::io::ErrorKind::TimedOut;
    error.downcast_ref().is_some_and(timed_out) || error.source().is_some_and(is_late)
}

fn parse_with_path<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        match error.inner().classify() {
            // serde also says "syntax error" when it expected a name and found something else.
            serde_json::error::Category::Syntax if !is_well_formed(bytes) => malformed(error.inner()),
            serde_json::error::Category::Data | serde_json::error::Category::Syntax => {
                Problem::validation(vec![field_error(&error.path().to_string(), error.inner())])
            }
            _ => malformed(error.inner()),
        }
    })?;
    deserializer.end().map_err(|error| malformed(&error))?;
    Ok(parsed)
}

/// serde accepts an array as a struct's fields in order. So `[]` would count as a body that leaves out
/// everything optional.
fn is_array(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first() == Some(&b'[')
}

fn is_well_formed(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed-json", "The body is not JSON").detail(error.to_string())
}

/// Extracts field and rule from serde's message; serde offers nothing more structured.
fn field_error(path: &str, error: &impl ToString) -> FieldError {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    let quoted = || message.split('`').nth(1).unwrap_or_default();
    let parent = if path == "." { "" } else { path };
    let child = |name: &str| if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
    if message.starts_with("missing field") {
        FieldError::new(child(quoted()), "required", "is required")
    } else if message.starts_with("unknown field") {
        // The path ends with the unknown field if serde got as far as the value.
        let field =
            if parent.rsplit('.').next() == Some(quoted()) { parent.to_owned() } else { child(quoted()) };
        FieldError::new(field, "unknown", "is not a known field")
    } else if message.starts_with(TOO_LONG) {
        FieldError::new(path, "max-items", message)
    } else if message.starts_with("invalid type") {
        FieldError::new(path, "type", message)
    } else {
        FieldError::new(path, "invalid", message)
    }
}

/// Parameters in the route's path.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "path-invalid",
                "The path holds a value of the wrong kind",
            )
            .detail(error.body_text())),
            Err(rejection) => Err(Problem::internal(rejection)),
        }
    }
}

/// Parameters of the query string. One that is repeated fills a `Vec`.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let deserializer = serde_html_form::Deserializer::from_bytes(query.as_bytes());
        serde_path_to_error::deserialize(deserializer).map(Self).map_err(|error| {
            let mut problem =
                Problem::new(StatusCode::BAD_REQUEST, "query-invalid", "The query string breaks a rule");
            problem.errors = vec![field_error(&error.path().to_string(), error.inner())];
            problem
        })
    }
}

/// The `Idempotency-Key` header: 1–128 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(pub String);

impl IdempotencyKey {
    pub const HEADER: &'static str = "idempotency-key";
    pub const MAX_LENGTH: usize = 128;
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let value = parts.headers.get(Self::HEADER).ok_or_else(|| {
            Problem::new(StatusCode::BAD_REQUEST, "idempotency-key-missing", "Idempotency-Key is required")
                .detail("send the same Idempotency-Key again when you repeat this request")
        })?;
        let visible = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_graphic);
        match value.to_str() {
            Ok(key) if (1..=Self::MAX_LENGTH).contains(&key.len()) && visible(key.as_bytes()) => {
                Ok(Self(key.to_owned()))
            }
            _ => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "idempotency-key-invalid",
                "Idempotency-Key must be 1 to 128 visible ASCII characters",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use serde::Deserialize;
    use uuid::Uuid;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sale {
        #[expect(dead_code, reason = "only its presence is looked at")]
        name: String,
        #[serde(deserialize_with = "crate::list::at_most::<2, _, _>")]
        items: Vec<Item>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        units: u32,
        #[expect(dead_code, reason = "only its absence is looked at")]
        size: Option<Size>,
    }

    #[derive(Debug, Deserialize)]
    enum Size {
        #[serde(rename = "large")]
        Large,
    }

    async fn json(content_type: &str, body: &str) -> Result<Json<Sale>, Problem> {
        let request =
            Request::post("/").header("content-type", content_type).body(Body::from(body.to_owned()));
        Json::from_request(request.unwrap(), &()).await
    }

    async fn refused(body: &str) -> Problem {
        json("application/json", body).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_good_body_is_parsed() {
        let Json(sale) =
            json("application/json; charset=utf-8", r#"{"name":"x","items":[{"units":2}]}"#).await.unwrap();
        assert_eq!(sale.items[0].units, 2);
    }

    #[tokio::test]
    async fn a_misfit_names_the_field_and_the_rule() {
        for (body, field, rule) in [
            (r#"{"name":"x","items":[{"units":"two"}]}"#, "items[0].units", "type"),
            (r#"{"name":"x","items":[{"units":-1}]}"#, "items[0].units", "invalid"),
            (r#"{"name":"x","items":[{}]}"#, "items[0].units", "required"),
            (r#"{"name":"x","items":[{"units":1,"size":7}]}"#, "items[0].size", "invalid"),
            (r#"{"name":"x","items":[{"units":1,"size":"huge"}]}"#, "items[0].size", "invalid"),
            (r#"{"name":"x","items":[{"units":1},{"units":1},{}]}"#, "items", "max-items"),
            (r#"["x",[]]"#, ".", "type"),
            (r#"{"items":[]}"#, "name", "required"),
            (r#"{"name":"x","items":[],"colour":1}"#, "colour", "unknown"),
            (r#"{"name":"x","items":[{"units":1,"unit":1}]}"#, "items[0].unit", "unknown"),
        ] {
            let problem = refused(body).await;
            assert_eq!(problem.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
            assert_eq!(
                (problem.errors[0].field.as_str(), problem.errors[0].rule.as_str()),
                (field, rule),
                "{body}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_not_json_is_told_apart_from_json_that_breaks_a_rule() {
        assert_eq!(refused(r#"{"name":"#).await.code, "malformed-json");
        assert_eq!(refused(r#"{"name":"x","items":[]} trailing"#).await.code, "malformed-json");
        assert_eq!(refused(r#"{"name":"x","items":[{"units":1,"size":}]}"#).await.code, "malformed-json");
        assert_eq!(json("text/plain", "{}").await.unwrap_err().code, "unsupported-media-type");
    }

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Skus {
        #[serde(default)]
        sku: Vec<String>,
        limit: Option<u32>,
    }

    #[tokio::test]
    async fn a_query_may_repeat_a_parameter_and_a_misfit_is_named() {
        let query = async |uri| Query::<Skus>::from_request_parts(&mut parts(uri, &[]), &()).await;
        let Query(skus) = query("/?sku=a&sku=b%20c&limit=3").await.unwrap();
        assert_eq!((skus.sku, skus.limit), (vec!["a".to_owned(), "b c".to_owned()], Some(3)));
        assert_eq!(query("/?limit=many").await.unwrap_err().errors[0].field, "limit");
        assert_eq!(query("/?page=1").await.unwrap_err().errors[0].rule, "unknown");
    }

    #[tokio::test]
    async fn an_idempotency_key_is_required_and_bounded() {
        let key = async |headers: &[(&str, &str)]| {
            IdempotencyKey::from_request_parts(&mut parts("/", headers), &()).await
        };
        assert_eq!(key(&[("idempotency-key", "a-1")]).await.unwrap().0, "a-1");
        assert_eq!(key(&[]).await.unwrap_err().code, "idempotency-key-missing");
        for wrong in ["", "with space", &"x".repeat(129)] {
            assert_eq!(key(&[("idempotency-key", wrong)]).await.unwrap_err().code, "idempotency-key-invalid");
        }
    }

    #[tokio::test]
    async fn a_path_of_the_wrong_kind_is_a_bad_request() {
        use tower::ServiceExt;
        let app: axum::Router =
            axum::Router::new().route("/orders/{id}", axum::routing::get(|_: Path<Uuid>| async {}));
        let request = Request::get("/orders/seven").body(Body::empty()).unwrap();
        assert_eq!(app.oneshot(request).await.unwrap().status(), StatusCode::BAD_REQUEST);
    }
}
