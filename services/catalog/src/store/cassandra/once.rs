//! A change of a product that is made once per `Idempotency-Key`. The key and its answer are part of the
//! product's row and are written with its new version, so neither exists without the other.

use std::collections::BTreeMap;

use axum::response::Response;
use rocketmart_kit::idempotency::{self, KeptAnswer};
use rocketmart_kit::problem;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::cluster::Cluster;
use super::pending::{Note, PendingEvent};
use super::{marks, rows};
use crate::domain::Product;
use crate::events;
use crate::store::{Changed, Once, Result, Step, StoreError, refusal};

/// How often we try while others change the product.
const ATTEMPTS: usize = 10;

/// A change that was made. Its answer is JSON.
#[derive(Serialize, Deserialize)]
struct Made {
    hash: String,
    status: i16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Made {
    fn of(hash: &[u8; 32], answer: &KeptAnswer) -> Result<Self> {
        let body = String::from_utf8(answer.body.clone()).map_err(StoreError::unreadable)?;
        Ok(Self { hash: hex::encode(hash), status: answer.status, headers: answer.headers.clone(), body })
    }

    fn replay(self, hash: &[u8; 32]) -> problem::Result<Response> {
        if self.hash != hex::encode(hash) {
            return Err(idempotency::key_reused());
        }
        KeptAnswer { status: self.status, headers: self.headers, body: self.body.into_bytes() }.replay()
    }
}

pub(super) async fn change(
    cluster: &Cluster,
    id: Uuid,
    once: &Once,
    step: &Step,
    answer: Changed,
) -> problem::Result<Response> {
    for _ in 0..ATTEMPTS {
        let before = rows::find_settled(cluster, id).await.map_err(refusal)?.live();
        let before = before.ok_or_else(|| refusal(StoreError::Unknown))?;
        // We look after reading the product: what was made before we read it is found here, and what is made
        // from then on changes its version, so that the write below fails.
        if let Some(made) = find(cluster, id, &once.key.0).await.map_err(refusal)? {
            return made.replay(&once.request_hash);
        }
        let product = step(before.product.clone())?;
        let likes = marks::likes(cluster, id).await.map_err(refusal)?;
        let (kept, response) = KeptAnswer::of(answer(Product { likes, ..product.clone() })).await?;
        let written = async {
            let made = serde_json::to_string(&Made::of(&once.request_hash, &kept)?)
                .map_err(StoreError::unreadable)?;
            let event = PendingEvent::of(&events::changed(&product))?;
            let note = Note::leave(cluster, id, product.version).await?;
            let verdict =
                rows::replace_once(cluster, &before, &product, &event, (once.key.0.as_str(), made.as_str()))
                    .await?;
            note.renew_if_late(cluster).await?;
            Ok::<_, StoreError>(verdict.is_applied())
        };
        if written.await.map_err(refusal)? {
            return Ok(response);
        }
    }
    Err(refusal(StoreError::VersionConflict))
}

async fn find(cluster: &Cluster, id: Uuid, key: &str) -> Result<Option<Made>> {
    let rows: Vec<(Option<BTreeMap<String, String>>,)> =
        cluster.read_settled("SELECT adjusted FROM products WHERE id = ?", (id,)).await?;
    let made = rows.into_iter().next().and_then(|(adjusted,)| adjusted?.remove(key));
    made.map(|made| serde_json::from_str(&made).map_err(StoreError::unreadable)).transpose()
}
