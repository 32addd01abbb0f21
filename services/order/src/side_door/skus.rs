//! `GET /internal/v1/skus?sku=a&sku=b`: what the catalog has published of these SKUs.

use axum::extract::State;
use rocketmart_kit::extract::{Json, Query};
use rocketmart_kit::problem::{FieldError, Problem, Result};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{SideDoor, database};
use crate::store::skus;

/// Most SKUs in one question.
const LIMIT: usize = 200;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    #[serde(default)]
    sku: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    skus: Vec<Known>,
    /// Those asked for that the catalog has never published.
    unknown: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Known {
    sku: String,
    /// Whether its product is published now, so that it may go on sale.
    published: bool,
    product_id: Uuid,
    seller_id: Uuid,
    title: String,
    /// Minor units of `currency`.
    price: i64,
    currency: String,
    /// Units no sale has been allotted.
    available: i64,
}

pub(super) async fn list(
    State(door): State<SideDoor>,
    Query(Question { sku: mut asked }): Query<Question>,
) -> Result<Json<Answer>> {
    if asked.len() > LIMIT {
        return Err(Problem::validation(vec![FieldError::new(
            "sku",
            "length",
            format!("at most {LIMIT} at once"),
        )]));
    }
    let known = skus::find(&door.pool, &asked).await.map_err(database)?;
    asked.sort();
    asked.dedup();
    asked.retain(|sku| !known.iter().any(|known| known.sku == *sku));
    let skus = known.into_iter().map(|known| Known {
        published: known.state == "published",
        sku: known.sku,
        product_id: known.product_id,
        seller_id: known.seller_id,
        title: known.title,
        price: known.price,
        currency: known.currency,
        available: known.available,
    });
    Ok(Json(Answer { skus: skus.collect(), unknown: asked }))
}
