//! A new product and the answer to its request, once per `Idempotency-Key`, in steps that may be cut short
//! anywhere.
//!
//! ```text
//!  key + product ──▶ note, list entries ──▶ product with its event ──▶ answer
//! ```
//!
//! The first step decides which product the key stands for. From there on, whoever repeats the request finds
//! the product that it has made or is making, and can continue where the first was cut short: no step does
//! harm when it is repeated.

use axum::response::Response;
use rocketmart_kit::idempotency::{self, KeptAnswer};
use rocketmart_kit::problem;
use scylla::DeserializeRow;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::cluster::Cluster;
use super::conditional::Verdict;
use super::lists;
use super::pending::{Note, PendingEvent};
use super::rows::{self, ANSWER_SECONDS, Kept};
use crate::domain::{self, Content, Product};
use crate::events;
use crate::store::{Answer, Once, Result, StoreError, refusal};

/// After this, a request without an answer is no longer running: a request takes ten seconds at most.
const LEASE: time::Duration = time::Duration::seconds(15);
const ATTEMPTS: usize = 3;

#[derive(DeserializeRow)]
struct CreationRow {
    request_hash: Option<Vec<u8>>,
    product: Option<String>,
    started_at: Option<OffsetDateTime>,
    status: Option<i16>,
    headers: Option<String>,
    body: Option<Vec<u8>>,
}

/// What a new product is made from.
#[derive(Serialize, Deserialize)]
struct Draft {
    id: Uuid,
    seller_id: Uuid,
    content: Content,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

impl Draft {
    fn of(product: &Product) -> Self {
        Self {
            id: product.id,
            seller_id: product.seller_id,
            content: product.content.clone(),
            created_at: product.created_at,
        }
    }

    fn into_product(self) -> Product {
        Product::first(self.id, self.seller_id, self.content, self.created_at)
    }
}

/// What a key stands for.
enum Begun {
    /// This request is the one that makes the product.
    Mine {
        product: Box<Product>,
        started_at: OffsetDateTime,
    },
    Answered(KeptAnswer),
    Running,
    Reused,
}

pub(super) async fn create(
    cluster: &Cluster,
    product: Product,
    once: Once,
    answer: Answer,
) -> problem::Result<Response> {
    let (product, started_at) = match begin(cluster, product, &once).await.map_err(refusal)? {
        Begun::Mine { product, started_at } => (product, started_at),
        Begun::Answered(kept) => return kept.replay(),
        Begun::Running => return Err(idempotency::in_progress()),
        Begun::Reused => return Err(idempotency::key_reused()),
    };
    match make(cluster, &product).await {
        Ok(()) => {
            let (kept, response) = KeptAnswer::of(answer(*product, Ok(()))?).await?;
            if let Err(error) = keep(cluster, &once, started_at, &kept).await {
                // The product is there. A repetition finds it and gives the same answer.
                tracing::warn!(%error, "the answer to a creation was not stored");
            }
            Ok(response)
        }
        // It did not happen, and it never will by itself: the key may be used again.
        Err(error @ StoreError::Unavailable(_)) => {
            forget(cluster, &once, started_at).await;
            Err(refusal(error))
        }
        // It may have happened: a repetition continues from here.
        Err(error) => Err(refusal(error)),
    }
}

/// Makes the key stand for this product, or finds what it stands for.
async fn begin(cluster: &Cluster, product: Product, once: &Once) -> Result<Begun> {
    let draft = serde_json::to_string(&Draft::of(&product)).map_err(StoreError::unreadable)?;
    for _ in 0..ATTEMPTS {
        let started_at = domain::now();
        let first = cluster
            .conditionally(
                "INSERT INTO creations (owner, key, request_hash, product, started_at) VALUES (?, ?, ?, ?, ?) \
                 IF NOT EXISTS USING TTL ?",
                (once.owner, &once.key.0, once.request_hash.as_slice(), &draft, started_at, ANSWER_SECONDS),
            )
            .await?;
        if first.is_applied() {
            return Ok(Begun::Mine { product: Box::new(product), started_at });
        }
        let rows: Vec<CreationRow> = cluster
            .read_settled(
                "SELECT request_hash, product, started_at, status, headers, body FROM creations \
                 WHERE owner = ? AND key = ?",
                (once.owner, &once.key.0),
            )
            .await?;
        // It may be gone again; then this request is the first.
        let Some(row) = rows.into_iter().next() else { continue };
        let (Some(hash), Some(begun_at)) = (row.request_hash, row.started_at) else { continue };
        if hash != once.request_hash {
            return Ok(Begun::Reused);
        }
        if let (Some(status), Some(headers), Some(body)) = (row.status, row.headers, row.body) {
            let headers = serde_json::from_str(&headers).map_err(StoreError::unreadable)?;
            return Ok(Begun::Answered(KeptAnswer { status, headers, body }));
        }
        let found: Draft = serde_json::from_str(row.product.as_deref().unwrap_or_default())
            .map_err(StoreError::unreadable)?;
        // The write timed out but had happened after all.
        if first == Verdict::RefusedAfterDoubt && found.id == product.id {
            return Ok(Begun::Mine { product: Box::new(product), started_at: begun_at });
        }
        if domain::now() - begun_at < LEASE {
            return Ok(Begun::Running);
        }
        let resumed = cluster
            .conditionally(
                "UPDATE creations USING TTL ? SET started_at = ? WHERE owner = ? AND key = ? IF started_at = ?",
                (ANSWER_SECONDS, started_at, once.owner, &once.key.0, begun_at),
            )
            .await?;
        return Ok(if resumed.is_applied() {
            Begun::Mine { product: Box::new(found.into_product()), started_at }
        } else {
            Begun::Running
        });
    }
    Ok(Begun::Running)
}

/// Everything but the answer. If the product is there already, an earlier attempt made it.
async fn make(cluster: &Cluster, product: &Product) -> Result<()> {
    match rows::find_settled(cluster, product.id).await? {
        Kept::Live(_) | Kept::Deleted => return Ok(()),
        Kept::Nothing | Kept::Void => {}
    }
    let event = PendingEvent::of(&events::changed(product))?;
    let note = Note::leave(cluster, product.id, product.version).await?;
    lists::enter(cluster, product).await?;
    if !rows::make(cluster, product, &event).await?.is_applied() {
        match rows::find_settled(cluster, product.id).await? {
            Kept::Live(_) | Kept::Deleted => {}
            Kept::Nothing | Kept::Void => {
                let id = product.id;
                return Err(StoreError::unavailable(anyhow::anyhow!(
                    "product {id} was given up before it was made"
                )));
            }
        }
    }
    note.renew_if_late(cluster).await
}

async fn keep(cluster: &Cluster, once: &Once, started_at: OffsetDateTime, kept: &KeptAnswer) -> Result<()> {
    let headers = serde_json::to_string(&kept.headers).map_err(StoreError::unreadable)?;
    cluster
        .conditionally(
            "UPDATE creations USING TTL ? SET request_hash = ?, status = ?, headers = ?, body = ? \
             WHERE owner = ? AND key = ? IF started_at = ?",
            (
                ANSWER_SECONDS,
                once.request_hash.as_slice(),
                kept.status,
                &headers,
                kept.body.as_slice(),
                once.owner,
                &once.key.0,
                started_at,
            ),
        )
        .await?;
    Ok(())
}

async fn forget(cluster: &Cluster, once: &Once, started_at: OffsetDateTime) {
    let forgotten = cluster
        .conditionally(
            "DELETE FROM creations WHERE owner = ? AND key = ? IF started_at = ?",
            (once.owner, &once.key.0, started_at),
        )
        .await;
    if let Err(error) = forgotten {
        tracing::warn!(%error, "a refused creation keeps its key for a while");
    }
}
