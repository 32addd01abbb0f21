//! A proxy between an operator and an order service.

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, Method},
    response::Response,
};

/// A request whose body was read to the end.
pub struct Asked {
    pub method: Method,
    /// Includes the query.
    pub path: String,
    headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Serves on loopback as long as the test runs. Returns the URL.
pub async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

impl Asked {
    pub async fn read(request: Request) -> Self {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        let path = parts.uri.path_and_query().unwrap().as_str().to_owned();
        Self { method: parts.method, path, headers: parts.headers, body }
    }

    /// Sends the same request to `target`.
    pub async fn pass_on(self, http: &reqwest::Client, target: &str) -> reqwest::Result<Response> {
        let request = http.request(self.method, format!("{target}{}", self.path)).headers(self.headers);
        let answer = request.body(self.body).send().await?;
        let mut response = Response::builder().status(answer.status());
        if let Some(content) = answer.headers().get("content-type") {
            response = response.header("content-type", content);
        }
        Ok(response.body(Body::from(answer.bytes().await?)).unwrap())
    }
}
