//! `/api/v1/shipments`: where a buyer's parcels are, and which goods are on their way back.

use axum::extract::State;
use rocketmart_kit::auth::Member;
use rocketmart_kit::extract::{Json, Path, Query};
use rocketmart_kit::page::{Page, PageQuery};
use rocketmart_kit::problem::{Problem, Result};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::App;
use crate::domain::returns::ReturnState;
use crate::domain::shipment::{Line, ShipmentState};
use crate::store::reading::{self, Place, ReturnRow, ShipmentRow, ShippingAddress};

#[derive(Serialize, ToSchema)]
pub(super) struct Shipment {
    id: Uuid,
    order_id: Uuid,
    state: ShipmentState,
    lines: Vec<Line>,
    /// As it was when the order was paid. Null: the parcel is kept for collection.
    address: Option<ShippingAddress>,
    tracking_number: Option<String>,
    /// What has happened so far, in order.
    steps: Vec<Step>,
    /// What the buyer sends back, oldest first.
    returns: Vec<Return>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Step {
    state: ShipmentState,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
}

/// Goods on their way back.
#[derive(Serialize, ToSchema)]
pub(super) struct Return {
    /// As the order names it.
    id: Uuid,
    state: ReturnState,
    lines: Vec<Line>,
    reason: String,
    tracking_number: Option<String>,
    /// What has happened so far, in order.
    steps: Vec<ReturnStep>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ReturnStep {
    state: ReturnState,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
}

impl Shipment {
    fn from_rows(row: ShipmentRow, returns: Vec<ReturnRow>) -> anyhow::Result<Self> {
        let state = ShipmentState::parse(&row.state)
            .ok_or_else(|| anyhow::anyhow!("shipment {} has the state {:?}", row.id, row.state))?;
        let steps = [
            (ShipmentState::Preparing, Some(row.created_at)),
            (ShipmentState::Shipped, row.shipped_at),
            (ShipmentState::Delivered, row.delivered_at),
            (ShipmentState::Cancelled, row.cancelled_at),
        ];
        Ok(Self {
            id: row.id,
            order_id: row.order_id,
            state,
            lines: row.lines.0,
            address: row.address.map(|address| address.0),
            tracking_number: row.tracking_number,
            steps: steps.into_iter().filter_map(|(state, at)| Some(Step { state, at: at? })).collect(),
            returns: returns.into_iter().map(TryInto::try_into).collect::<anyhow::Result<_>>()?,
        })
    }
}

impl TryFrom<ReturnRow> for Return {
    type Error = anyhow::Error;

    fn try_from(row: ReturnRow) -> anyhow::Result<Self> {
        let state = ReturnState::parse(&row.state)
            .ok_or_else(|| anyhow::anyhow!("return {} has the state {:?}", row.id, row.state))?;
        let steps = [
            (ReturnState::Announced, Some(row.created_at)),
            (ReturnState::InTransit, row.collected_at),
            (ReturnState::Received, row.received_at),
        ];
        Ok(Self {
            id: row.id,
            state,
            lines: row.lines.0,
            reason: row.reason,
            tracking_number: row.tracking_number,
            steps: steps.into_iter().filter_map(|(state, at)| Some(ReturnStep { state, at: at? })).collect(),
        })
    }
}

/// List shipments
#[utoipa::path(
    get, path = "/api/v1/shipments", operation_id = "list_shipments", tag = "shipments", security(("bearer" = [])),
    params(PageQuery),
    responses(
        (status = 200, description = "Newest first", body = Page<Shipment>),
        (status = 400, description = "`cursor-invalid`, `query-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation-failed`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(app): State<App>,
    Member(claims): Member,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Shipment>>> {
    let limit = query.limit()?;
    let rows = reading::list(&app.pool, claims.sub, query.after::<Place>()?, i64::from(limit) + 1).await?;
    let page = Page::from_rows(rows, limit, |last| (last.created_at, last.id));
    let ids: Vec<Uuid> = page.data.iter().map(|row| row.id).collect();
    let mut returns = reading::returns(&app.pool, &ids).await?;
    let data = page.data.into_iter().map(|row| {
        let returns = returns.remove(&row.id).unwrap_or_default();
        Shipment::from_rows(row, returns)
    });
    let data = data.collect::<anyhow::Result<_>>()?;
    Ok(Json(Page { data, next_cursor: page.next_cursor, has_more: page.has_more }))
}

/// See a shipment
#[utoipa::path(
    get, path = "/api/v1/shipments/{id}", operation_id = "get_shipment", tag = "shipments", security(("bearer" = [])),
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "The shipment", body = Shipment),
        (status = 400, description = "`path-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`shipment-unknown`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn one(
    State(app): State<App>,
    Member(claims): Member,
    Path(id): Path<Uuid>,
) -> Result<Json<Shipment>> {
    let row = reading::one(&app.pool, claims.sub, id).await?;
    let row = row.ok_or_else(|| Problem::not_found("shipment-unknown"))?;
    let returns = reading::returns(&app.pool, &[id]).await?.remove(&id).unwrap_or_default();
    Ok(Json(Shipment::from_rows(row, returns)?))
}
