//! Shipments and returns as their buyers see them.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::types::Json;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::shipment::Line;

#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct ShipmentRow {
    pub(crate) id: Uuid,
    pub(crate) order_id: Uuid,
    pub(crate) lines: Json<Vec<Line>>,
    pub(crate) address: Option<Json<ShippingAddress>>,
    pub(crate) state: String,
    pub(crate) tracking_number: Option<String>,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) shipped_at: Option<OffsetDateTime>,
    pub(crate) delivered_at: Option<OffsetDateTime>,
    pub(crate) cancelled_at: Option<OffsetDateTime>,
}

/// The address a parcel goes to, as it was when the order was paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ShippingAddress {
    recipient: String,
    line1: String,
    line2: Option<String>,
    city: Option<String>,
    region: Option<String>,
    postal_code: Option<String>,
    country: String,
    phone: Option<String>,
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct ReturnRow {
    pub(crate) id: Uuid,
    pub(crate) shipment_id: Uuid,
    pub(crate) lines: Json<Vec<Line>>,
    pub(crate) reason: String,
    pub(crate) state: String,
    pub(crate) tracking_number: Option<String>,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) collected_at: Option<OffsetDateTime>,
    pub(crate) received_at: Option<OffsetDateTime>,
}

/// Where a page of shipments ended.
pub(crate) type Place = (OffsetDateTime, Uuid);

/// Newest first, at most `limit`, those after `after` in that order.
pub(crate) async fn list(
    pool: &PgPool,
    buyer: Uuid,
    after: Option<Place>,
    limit: i64,
) -> sqlx::Result<Vec<ShipmentRow>> {
    let (created_at, id) = after.unzip();
    sqlx::query_as(
        "SELECT id, order_id, lines, address, state, tracking_number, created_at, shipped_at, delivered_at,
                cancelled_at
         FROM shipments
         WHERE buyer_id = $1 AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3))
         ORDER BY created_at DESC, id DESC LIMIT $4",
    )
    .bind(buyer)
    .bind(created_at)
    .bind(id)
    .bind(limit)
    .fetch_all(pool)
    .await
}

pub(crate) async fn one(pool: &PgPool, buyer: Uuid, id: Uuid) -> sqlx::Result<Option<ShipmentRow>> {
    sqlx::query_as(
        "SELECT id, order_id, lines, address, state, tracking_number, created_at, shipped_at, delivered_at,
                cancelled_at
         FROM shipments WHERE buyer_id = $1 AND id = $2",
    )
    .bind(buyer)
    .bind(id)
    .fetch_optional(pool)
    .await
}

/// The returns of the given shipments, oldest first, by shipment.
pub(crate) async fn returns(
    pool: &PgPool,
    shipments: &[Uuid],
) -> sqlx::Result<HashMap<Uuid, Vec<ReturnRow>>> {
    let rows: Vec<ReturnRow> = sqlx::query_as(
        "SELECT id, shipment_id, lines, reason, state, tracking_number, created_at, collected_at, received_at
         FROM returns WHERE shipment_id = ANY($1) ORDER BY created_at, id",
    )
    .bind(shipments)
    .fetch_all(pool)
    .await?;
    let mut by_shipment: HashMap<Uuid, Vec<ReturnRow>> = HashMap::new();
    for row in rows {
        by_shipment.entry(row.shipment_id).or_default().push(row);
    }
    Ok(by_shipment)
}
