//! One product per SKU in the whole shop, though no write spans two rows.
//!
//! A writer first *claims* a SKU for its product, then writes the product. What must hold: whenever a
//! product holds a SKU, the claim on it is that product's. A claim whose product does not hold the
//! SKU is one of three: its write is still to come, was given up half-way, or it is left over from a
//! version before. Time alone cannot tell these apart, so whoever wants to end such a claim first
//! *fences* the product as it was seen without the SKU: a write that is still to come then fails, and
//! only after that the claim is taken over or removed, if it is still the same claim. A product
//! claiming again for itself makes a new claim, so the two cannot be confused.

use futures::{StreamExt, TryStreamExt, stream};
use scylla::DeserializeRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::cluster::Cluster;
use super::rows::{self, Kept};
use crate::domain;
use crate::store::{Result, StoreError};

/// A claim this young is taken to be of a write under way, and not interfered with.
const LEASE: time::Duration = time::Duration::seconds(30);
/// Attempts on one SKU while others keep changing it.
const ATTEMPTS: usize = 5;
/// SKUs claimed at the same time.
const AT_ONCE: usize = 16;

#[derive(DeserializeRow)]
struct ClaimRow {
    product_id: Option<Uuid>,
    claim: Option<Uuid>,
    claimed_at: Option<OffsetDateTime>,
}

/// A claim as it was made or found.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) sku: String,
    claim: Uuid,
}

/// Claims all of the SKUs for the product, or names every one that another product has.
///
/// [`StoreError::SkusTaken`] leaves the claims that were made; [`release`] them.
pub(super) async fn claim_all(
    cluster: &Cluster,
    product_id: Uuid,
    skus: Vec<String>,
) -> Result<Vec<Claim>, Failed> {
    let outcomes: Vec<_> = stream::iter(skus)
        .map(async |sku| claim(cluster, product_id, &sku).await.map(|made| (sku, made)))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let (mut made, mut taken, mut error) = (Vec::new(), Vec::new(), None);
    for outcome in outcomes {
        match outcome {
            Ok((_, Some(claim))) => made.push(claim),
            Ok((sku, None)) => taken.push(sku),
            Err(failed) => error = Some(failed),
        }
    }
    taken.sort();
    match error {
        Some(error) => Err(Failed { made, error }),
        None if taken.is_empty() => Ok(made),
        None => Err(Failed { made, error: StoreError::SkusTaken(taken) }),
    }
}

/// Not all could be claimed; these were.
pub(super) struct Failed {
    pub(super) made: Vec<Claim>,
    pub(super) error: StoreError,
}

/// Claims one SKU; `None` when another product has it.
async fn claim(cluster: &Cluster, product_id: Uuid, sku: &str) -> Result<Option<Claim>> {
    let mine = Claim { sku: sku.to_owned(), claim: Uuid::new_v4() };
    for _ in 0..ATTEMPTS {
        let made = cluster
            .conditionally(
                "INSERT INTO skus (sku, product_id, claim, claimed_at) VALUES (?, ?, ?, ?) IF NOT EXISTS",
                (sku, product_id, mine.claim, domain::now()),
            )
            .await?;
        if made.is_applied() {
            return Ok(Some(mine));
        }
        let Some((owner, found, claimed_at)) = find(cluster, sku).await? else { continue };
        if found == mine.claim {
            return Ok(Some(mine));
        }
        if owner != product_id {
            let holder = rows::find_settled(cluster, owner).await?;
            match &holder {
                Kept::Live(live) if live.holds(sku) => return Ok(None),
                Kept::Live(_) | Kept::Nothing if domain::now() - claimed_at < LEASE => return Ok(None),
                _ => {}
            }
            if !rows::fence(cluster, owner, &holder).await? {
                continue;
            }
        }
        let taken_over = cluster
            .conditionally(
                "UPDATE skus SET product_id = ?, claim = ?, claimed_at = ? WHERE sku = ? IF claim = ?",
                (product_id, mine.claim, domain::now(), sku, found),
            )
            .await?;
        if taken_over.is_applied() {
            return Ok(Some(mine));
        }
    }
    // So contested that somebody else will have it in the end.
    Ok(None)
}

/// The product a SKU is claimed for, the claim, and when it was made.
async fn find(cluster: &Cluster, sku: &str) -> Result<Option<(Uuid, Uuid, OffsetDateTime)>> {
    let rows: Vec<ClaimRow> =
        cluster.read_settled("SELECT product_id, claim, claimed_at FROM skus WHERE sku = ?", (sku,)).await?;
    Ok(rows.into_iter().next().and_then(|row| Some((row.product_id?, row.claim?, row.claimed_at?))))
}

/// The claims of a product on these SKUs, as they are now.
pub(super) async fn claims_of(cluster: &Cluster, product_id: Uuid, skus: Vec<String>) -> Result<Vec<Claim>> {
    stream::iter(skus)
        .map(async |sku| {
            let found = find(cluster, &sku).await?;
            Ok(found.filter(|(owner, ..)| *owner == product_id).map(|(_, claim, _)| Claim { sku, claim }))
        })
        .buffer_unordered(AT_ONCE)
        .try_filter_map(async |claim| Ok(claim))
        .try_collect()
        .await
}

/// Gives up those of a product's claims whose SKU it does not hold, so that others can have them.
///
/// Without this they would be taken over all the same, only later: an error is no more than logged.
pub(super) async fn release(cluster: &Cluster, product_id: Uuid, claims: Vec<Claim>) {
    if claims.is_empty() {
        return;
    }
    if let Err(error) = try_release(cluster, product_id, claims).await {
        tracing::warn!(%product_id, %error, "SKUs stay claimed until somebody wants them");
    }
}

async fn try_release(cluster: &Cluster, product_id: Uuid, claims: Vec<Claim>) -> Result<()> {
    for _ in 0..ATTEMPTS {
        let seen = rows::find_settled(cluster, product_id).await?;
        let held = |claim: &Claim| matches!(&seen, Kept::Live(live) if live.holds(&claim.sku));
        let unused: Vec<&Claim> = claims.iter().filter(|claim| !held(claim)).collect();
        if unused.is_empty() {
            return Ok(());
        }
        if rows::fence(cluster, product_id, &seen).await? {
            for claim in unused {
                cluster
                    .conditionally("DELETE FROM skus WHERE sku = ? IF claim = ?", (&claim.sku, claim.claim))
                    .await?;
            }
            return Ok(());
        }
    }
    Ok(())
}
