//! A request through the entrance, built word by word and sent by `.await`.

use std::{future::IntoFuture, pin::Pin};

use reqwest::{Method, RequestBuilder, header};
use serde_json::Value;
use uuid::Uuid;

use crate::{Answer, Member, Shop};

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A request that has not been sent yet.
#[must_use = "a call is made by awaiting it"]
#[derive(Debug)]
pub struct Call {
    asked: String,
    request: RequestBuilder,
    key: Option<String>,
}

impl Shop {
    /// `path` with its query, as a shopper's browser would ask the entrance.
    pub fn call(&self, method: Method, path: &str) -> Call {
        let request = self.http.request(method.clone(), format!("{}{path}", self.place.entrance));
        Call { asked: format!("{method} {path}"), request, key: None }
    }

    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    /// A POST with an idempotency key of its own.
    pub fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path).key(&Uuid::now_v7().to_string())
    }

    pub fn put(&self, path: &str) -> Call {
        self.call(Method::PUT, path)
    }

    pub fn patch(&self, path: &str) -> Call {
        self.call(Method::PATCH, path)
    }

    pub fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }

    /// A request to the outside world: the mail sink, the payment provider.
    pub fn outside(&self, method: Method, url: &str) -> Call {
        let request = self.http.request(method.clone(), url);
        Call { asked: format!("{method} {url}"), request, key: None }
    }
}

impl Call {
    /// Sends it as a member.
    pub fn by(self, member: &Member) -> Self {
        self.bearer(&member.token)
    }

    /// Sends it with an access token.
    pub fn bearer(mut self, token: &str) -> Self {
        self.request = self.request.bearer_auth(token);
        self
    }

    pub fn json(mut self, body: &Value) -> Self {
        self.request = self.request.json(body);
        self
    }

    /// Sends a body as it is.
    pub fn body(mut self, content_type: &str, body: impl Into<reqwest::Body>) -> Self {
        self.request = self.request.header(header::CONTENT_TYPE, content_type).body(body);
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Sets the version that an edit starts from.
    pub fn if_match(self, etag: &str) -> Self {
        self.header("if-match", etag)
    }

    /// Sets the idempotency key.
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    pub fn without_key(mut self) -> Self {
        self.key = None;
        self
    }

    /// The answer, or why there is none; then the outcome is unknown.
    pub async fn send(mut self) -> reqwest::Result<Answer> {
        if let Some(key) = &self.key {
            self.request = self.request.header(IDEMPOTENCY_KEY, key);
        }
        let response = self.request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { asked: self.asked, status, headers, text: response.text().await? })
    }
}

impl IntoFuture for Call {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let asked = self.asked.clone();
        Box::pin(
            async move { self.send().await.unwrap_or_else(|error| panic!("{asked}: no answer: {error:?}")) },
        )
    }
}
