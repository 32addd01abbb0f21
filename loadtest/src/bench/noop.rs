//! The limit for everything over HTTP: a handler that does nothing, behind the same token check and the same
//! JSON as the real one, on plain axum.
//!
//! It is served without the frame that our services run in (request ids, traces, time-outs, metrics, security
//! headers), so the cost of that frame counts against us.

use std::net::SocketAddr;

use anyhow::Result;
use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::serve::ListenerExt as _;
use axum::{Json as Answer, Router};
use rocketmart_kit::auth::{Member, Verifier};
use rocketmart_kit::config::AuthConfig;
use rocketmart_kit::extract::{IdempotencyKey, Json, Path};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[derive(Clone)]
struct App {
    verifier: Verifier,
}

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Purchase {
    pub(crate) sku: String,
    pub(crate) quantity: u32,
}

/// An answer of the same shape and size as the real one.
#[derive(Serialize)]
pub(crate) struct Order {
    pub(crate) id: Uuid,
    sale: Uuid,
    state: &'static str,
    lines: [Line; 1],
    amount: i64,
    currency: &'static str,
    reserved_at: &'static str,
    pay_by: &'static str,
}

#[derive(Serialize)]
struct Line {
    sku: String,
    quantity: u32,
    unit_price: i64,
}

impl Order {
    pub(crate) fn reserved(id: Uuid, sale: Uuid, purchase: Purchase) -> Self {
        Self {
            id,
            sale,
            state: "reserved",
            amount: 19_900 * i64::from(purchase.quantity),
            lines: [Line { sku: purchase.sku, quantity: purchase.quantity, unit_price: 19_900 }],
            currency: "KRW",
            reserved_at: "2026-01-01T00:00:00.123Z",
            pay_by: "2026-01-01T00:10:00.123Z",
        }
    }
}

/// Serves until the process ends.
pub(crate) async fn serve(listen: SocketAddr, auth: &AuthConfig) -> Result<()> {
    let verifier = Verifier::from_jwks_url(auth)?;
    tokio::spawn(verifier.clone().refresh_loop(CancellationToken::new()));
    let router =
        Router::new().route("/api/v1/sales/{sale}/purchases", post(noop)).with_state(App { verifier });
    let listener = TcpListener::bind(listen).await?.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    axum::serve(listener, router).await?;
    Ok(())
}

async fn noop(
    State(_app): State<App>,
    Member(claims): Member,
    Path(sale): Path<Uuid>,
    _key: IdempotencyKey,
    Json(purchase): Json<Purchase>,
) -> (StatusCode, Answer<Order>) {
    (StatusCode::CREATED, Answer(Order::reserved(claims.sub, sale, purchase)))
}
