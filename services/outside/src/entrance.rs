//! The entrance of a shop without a cluster: what the Ingress is to a deployed one.
//!
//! ```text
//! shopper ──▶ path prefix → component ──▶ its address, `X-Forwarded-For` completed
//! ```
//!
//! It routes by the same table and hides the same paths. Like an Ingress, it knows nothing of tokens. If a
//! component does not answer, the answer is 503, as from any proxy.

use std::collections::HashMap;
use std::net::SocketAddr;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::uri::{Authority, PathAndQuery, Scheme};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rocketmart_contracts::component::{Component, UnknownComponent};
use rocketmart_contracts::route::component_of;
use rocketmart_server::ConnectionLimits;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where shoppers connect.
    #[arg(long, env = "ENTRANCE_LISTEN", default_value = "0.0.0.0:8080")]
    pub entrance_listen: SocketAddr,

    /// Where each component listens: `member=127.0.0.1:8081,order=127.0.0.1:8084`.
    #[arg(long, env = "ENTRANCE_BACKENDS", value_delimiter = ',', value_parser = backend)]
    pub entrance_backends: Vec<(Component, Authority)>,
}

fn backend(text: &str) -> Result<(Component, Authority), String> {
    let (component, address) = text.split_once('=').ok_or("must be component=host:port")?;
    let component = component.parse().map_err(|error: UnknownComponent| error.to_string())?;
    let address = address.parse().map_err(|error| format!("{address}: {error}"))?;
    Ok((component, address))
}

#[derive(Debug, Clone)]
struct Entrance {
    backends: std::sync::Arc<HashMap<Component, Authority>>,
    http: Client<HttpConnector, Body>,
}

/// Headers that belong to one connection and are not forwarded (RFC 9110, section 7.6.1).
const OF_THE_CONNECTION: [HeaderName; 5] =
    [header::CONNECTION, header::TE, header::TRAILER, header::TRANSFER_ENCODING, header::UPGRADE];
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Serves until SIGTERM or SIGINT.
pub async fn run(args: Args) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let stop = CancellationToken::new();
    let asked_to_stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        asked_to_stop.cancel();
    });
    let listener = TcpListener::bind(args.entrance_listen)
        .await
        .with_context(|| format!("listening on {}", args.entrance_listen))?;
    tracing::info!(address = %listener.local_addr()?, "entrance listening");
    let entrance = Entrance {
        backends: std::sync::Arc::new(args.entrance_backends.into_iter().collect()),
        http: Client::builder(TokioExecutor::new()).build_http(),
    };
    let router = Router::new().fallback(forward).with_state(entrance);
    rocketmart_server::serve(listener, router, ConnectionLimits::API, stop).await;
    Ok(())
}

async fn forward(
    State(entrance): State<Entrance>,
    ConnectInfo(shopper): ConnectInfo<SocketAddr>,
    mut request: Request,
) -> Response {
    let backend = component_of(request.uri().path()).and_then(|component| entrance.backends.get(&component));
    let Some(backend) = backend else { return StatusCode::NOT_FOUND.into_response() };
    *request.uri_mut() = match behind(backend, request.uri()) {
        Ok(uri) => uri,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    for name in &OF_THE_CONNECTION {
        request.headers_mut().remove(name);
    }
    // Appended after what the shopper claims: a service that trusts one proxy reads the last entry.
    let shopper = shopper.ip().to_string();
    if let Ok(value) = HeaderValue::from_str(&shopper) {
        request.headers_mut().append(FORWARDED_FOR, value);
    }
    match entrance.http.request(request).await {
        Ok(response) => {
            let mut response = response.map(Body::new);
            for name in &OF_THE_CONNECTION {
                response.headers_mut().remove(name);
            }
            response
        }
        Err(error) => {
            tracing::warn!(%backend, %error, "a component does not answer");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

fn behind(backend: &Authority, uri: &Uri) -> Result<Uri, axum::http::Error> {
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    Uri::builder().scheme(Scheme::HTTP).authority(backend.clone()).path_and_query(path).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_named_with_its_address() {
        let (component, address) = backend("member=127.0.0.1:8081").unwrap();
        assert_eq!((component.as_str(), address.as_str()), ("member", "127.0.0.1:8081"));
        assert!(backend("127.0.0.1:8081").is_err());
    }

    #[test]
    fn path_and_query_stay_as_they_are() {
        let uri: Uri = "http://shop.example/api/v1/search?q=%EC%BB%B5&limit=2".parse().unwrap();
        let there = behind(&"127.0.0.1:8083".parse().unwrap(), &uri).unwrap();
        assert_eq!(there.to_string(), "http://127.0.0.1:8083/api/v1/search?q=%EC%BB%B5&limit=2");
    }
}
