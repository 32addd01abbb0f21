//! What we ask of a neighbour.

use http::Method;
use serde::Serialize;
use url::form_urlencoded;

use crate::extract::IdempotencyKey;

/// A call to be made.
#[derive(Clone, Debug)]
pub struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<serde_json::Value>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) repeatable: bool,
}

impl Call {
    fn new(method: Method, path: impl Into<String>, repeatable: bool) -> Self {
        Self { method, path: path.into(), body: None, headers: Vec::new(), repeatable }
    }

    /// `path` is joined to the client's base and may include a query.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, true)
    }

    /// Sent once, unless it carries an [idempotency key](Self::idempotency_key).
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path, false)
    }

    pub fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path, true)
    }

    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path, true)
    }

    /// Adds a parameter to the query.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        let parameter = form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(&parameter);
        self
    }

    /// A JSON body.
    ///
    /// # Errors
    /// When `body` has no JSON form.
    pub fn json(self, body: &impl Serialize) -> serde_json::Result<Self> {
        Ok(self.value(serde_json::to_value(body)?))
    }

    /// A body that is JSON already.
    pub fn value(mut self, body: serde_json::Value) -> Self {
        self.body = Some(body);
        self
    }

    pub fn bearer(mut self, token: &str) -> Self {
        self.headers.push(("authorization", format!("Bearer {token}")));
        self
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Lets the receiver recognize repetitions, so that the call may be repeated.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.headers.push((IdempotencyKey::HEADER, key.into()));
        self.repeatable = true;
        self
    }
}
