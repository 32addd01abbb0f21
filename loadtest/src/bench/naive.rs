//! The same purchase as most shops implement it, behind the same token check and JSON: once as one SQL
//! transaction that locks the hot row, once as one Redis call per request.

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
use rocketmart_kit::problem::{Problem, Result as Answered};
use rocketmart_stock::{BuyerId, Line, OrderId, Reserve, ReserveOutcome, SaleId, Stock};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::noop::{Order, Purchase};

/// As many as help on a hot row; more would only queue inside PostgreSQL.
const CONNECTIONS: u32 = 32;

/// The tables of the naive shop, with more units of `SKU` than anybody can buy.
pub(crate) const SCHEMA: &str = "
CREATE TABLE stock (sku text PRIMARY KEY, price bigint NOT NULL, remaining bigint NOT NULL CHECK (remaining >= 0));
CREATE TABLE orders (
    id uuid PRIMARY KEY, sale_id uuid NOT NULL, buyer_id uuid NOT NULL, key text NOT NULL, sku text NOT NULL,
    quantity bigint NOT NULL, amount bigint NOT NULL, reserved_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (buyer_id, key)
);
CREATE INDEX orders_of_buyer ON orders (buyer_id, sale_id);
";

#[derive(Clone)]
struct App {
    verifier: Verifier,
    pool: PgPool,
    stock: Stock,
}

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

/// Serves `/sql/…` and `/redis/…` until the process ends.
pub(crate) async fn serve(listen: SocketAddr, auth: &AuthConfig, database: &str, redis: &str) -> Result<()> {
    let verifier = Verifier::from_jwks_url(auth)?;
    tokio::spawn(verifier.clone().refresh_loop(CancellationToken::new()));
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(database).await?;
    let app = App { verifier, pool, stock: Stock::connect(redis)? };
    let router = Router::new()
        .route("/sql/api/v1/sales/{sale}/purchases", post(in_sql))
        .route("/redis/api/v1/sales/{sale}/purchases", post(in_redis))
        .with_state(app);
    let listener = TcpListener::bind(listen).await?.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    axum::serve(listener, router).await?;
    Ok(())
}

fn sold_out() -> Problem {
    Problem::new(StatusCode::CONFLICT, "sold-out", "Sold out")
}

/// One transaction: lock the row, check the limit, take the units, write the order.
async fn in_sql(
    State(app): State<App>,
    Member(claims): Member,
    Path(sale): Path<Uuid>,
    key: IdempotencyKey,
    Json(purchase): Json<Purchase>,
) -> Answered<(StatusCode, Answer<Order>)> {
    let quantity = i64::from(purchase.quantity);
    let order = Uuid::now_v7();
    let mut tx = app.pool.begin().await?;
    let (price, remaining): (i64, i64) =
        sqlx::query_as("SELECT price, remaining FROM stock WHERE sku = $1 FOR UPDATE")
            .bind(&purchase.sku)
            .fetch_one(&mut *tx)
            .await?;
    let _held: i64 = sqlx::query_scalar(
        "SELECT coalesce(sum(quantity), 0)::bigint FROM orders WHERE buyer_id = $1 AND sale_id = $2",
    )
    .bind(claims.sub)
    .bind(sale)
    .fetch_one(&mut *tx)
    .await?;
    if remaining < quantity {
        return Err(sold_out());
    }
    sqlx::query("UPDATE stock SET remaining = remaining - $2 WHERE sku = $1")
        .bind(&purchase.sku)
        .bind(quantity)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "INSERT INTO orders (id, sale_id, buyer_id, key, sku, quantity, amount) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(order)
    .bind(sale)
    .bind(claims.sub)
    .bind(&key.0)
    .bind(&purchase.sku)
    .bind(quantity)
    .bind(price * quantity)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Answer(Order::reserved(order, sale, purchase))))
}

/// One function call for this request only.
async fn in_redis(
    State(app): State<App>,
    Member(claims): Member,
    Path(sale): Path<Uuid>,
    key: IdempotencyKey,
    Json(purchase): Json<Purchase>,
) -> Answered<(StatusCode, Answer<Order>)> {
    let wish = Reserve {
        sale: SaleId(sale),
        order: OrderId(Uuid::now_v7()),
        buyer: BuyerId(claims.sub),
        lines: vec![Line::new(&purchase.sku, purchase.quantity)],
        key: key.0,
        request_hash: purchase.quantity.to_string(),
        traceparent: None,
    };
    let outcomes = app.stock.reserve(SaleId(sale), &[wish]).await.map_err(Problem::internal)?;
    match outcomes.into_iter().next() {
        Some(ReserveOutcome::Reserved(held) | ReserveOutcome::Duplicate(held)) => {
            Ok((StatusCode::CREATED, Answer(Order::reserved(held.order.0, sale, purchase))))
        }
        _ => Err(sold_out()),
    }
}
