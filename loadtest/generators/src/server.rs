//! The server under load: it answers a purchase and does nothing else.

use std::net::SocketAddr;

use anyhow::Result;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::PATH;

/// Serves until the process ends. It uses one thread, so that neither side can use both processors.
pub(crate) fn serve(listen: SocketAddr) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(listen_at(listen))
}

async fn listen_at(listen: SocketAddr) -> Result<()> {
    let router = Router::new().route(PATH, post(purchase));
    let listener = TcpListener::bind(listen).await?.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    axum::serve(listener, router).await?;
    Ok(())
}

#[derive(Deserialize)]
struct Purchase {
    sku: String,
    quantity: u32,
}

/// As long as one of our orders.
#[derive(Serialize)]
struct Order {
    id: Uuid,
    sku: String,
    quantity: u32,
    state: &'static str,
    currency: &'static str,
    reserved_at: &'static str,
    pay_by: &'static str,
}

async fn purchase(headers: HeaderMap, Json(wish): Json<Purchase>) -> (StatusCode, Json<Option<Order>>) {
    if !headers.contains_key("authorization") || !headers.contains_key("idempotency-key") {
        return (StatusCode::BAD_REQUEST, Json(None));
    }
    let order = Order {
        id: Uuid::now_v7(),
        sku: wish.sku,
        quantity: wish.quantity,
        state: "reserved",
        currency: "KRW",
        reserved_at: "2026-01-01T00:00:00.123Z",
        pay_by: "2026-01-01T00:10:00.123Z",
    };
    (StatusCode::CREATED, Json(Some(order)))
}
