//! `GET /internal/v1/skus?sku=a&sku=b`: what the catalog has published of these SKUs.

use axum::extract::State;
use rocketmart_contracts::internal_api::{MAX_SKUS, PublishedSku, Skus};
use rocketmart_kit::extract::{Json, Query};
use rocketmart_kit::problem::{FieldError, Problem, Result};
use serde::Deserialize;

use super::{InternalApi, database};
use crate::store::skus;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    #[serde(default)]
    sku: Vec<String>,
}

pub(super) async fn list(
    State(api): State<InternalApi>,
    Query(Question { sku: mut asked }): Query<Question>,
) -> Result<Json<Skus>> {
    if asked.len() > MAX_SKUS {
        return Err(Problem::validation(vec![FieldError::new(
            "sku",
            "length",
            format!("at most {MAX_SKUS} at once"),
        )]));
    }
    let known = skus::find(&api.pool, &asked).await.map_err(database)?;
    asked.sort();
    asked.dedup();
    asked.retain(|sku| !known.iter().any(|known| known.sku == *sku));
    let skus = known.into_iter().map(|known| PublishedSku {
        published: known.state == "published",
        sku: known.sku,
        product_id: known.product_id,
        seller_id: known.seller_id,
        title: known.title,
        price: known.price,
        currency: known.currency,
        available: known.available,
    });
    Ok(Json(Skus { skus: skus.collect(), unknown: asked }))
}
