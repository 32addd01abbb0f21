//! One published product per SKU in the whole shop, although no write spans two rows.
//!
//! A writer first *claims* a SKU for its product, and then writes the product as published. The invariant:
//! whenever a published product lists a SKU, the claim on it is that product's. A withdrawn product keeps its
//! claims against other sellers, but another product of its own seller may take them over. A draft has none.
//!
//! If the product does not hold the claimed SKU, there are three possibilities: its write is still to come,
//! it was given up half-way, or the claim is left over from an earlier version. Time alone cannot tell these
//! apart. So whoever wants to end such a claim first *fences* the product, as it was seen without the SKU: a
//! write that is still to come then fails. Only after that is the claim taken over or given up, if it is
//! still the same one. A product that claims again for itself makes a new claim, so nobody can confuse the
//! two.
//!
//! The row of a SKU stays when the SKU is given up, with nobody's id: the numbers of its claims only ever
//! grow.

use futures::{StreamExt, TryStreamExt, stream};
use scylla::DeserializeRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::cluster::Cluster;
use super::rows::{self, Kept};
use crate::domain;
use crate::store::{Result, StoreError};

/// We assume that a write is under way for a claim this young, and leave it alone.
const LEASE: time::Duration = time::Duration::seconds(30);
/// How often we try one SKU while others keep changing it.
const ATTEMPTS: usize = 5;
/// How many SKUs we claim at the same time.
const AT_ONCE: usize = 16;

/// Replaces a product's id in the row of a SKU that was given up.
const NOBODY: Uuid = Uuid::nil();

#[derive(DeserializeRow)]
struct ClaimRow {
    product_id: Option<Uuid>,
    claim: Option<Uuid>,
    claimed_at: Option<OffsetDateTime>,
    number: Option<i64>,
}

/// A claim as it was made or found.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) sku: String,
    /// Of two claims on a SKU, the later has the greater number.
    pub(super) number: i64,
    claim: Uuid,
}

/// A claim and its owner.
struct Found {
    claim: Claim,
    owner: Uuid,
    claimed_at: OffsetDateTime,
}

/// For whom SKUs are claimed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claimant {
    pub(super) product_id: Uuid,
    pub(super) seller_id: Uuid,
}

/// Claims all of the SKUs for the product, or names every one that another product has.
///
/// [`StoreError::SkusTaken`] leaves the claims that were made; [`release`] them.
pub(super) async fn claim_all(
    cluster: &Cluster,
    claimant: Claimant,
    skus: Vec<String>,
) -> Result<Vec<Claim>, Failed> {
    let outcomes: Vec<_> = stream::iter(skus)
        .map(async |sku| claim(cluster, claimant, &sku).await.map(|made| (sku, made)))
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

/// We could not claim all of them, only these.
pub(super) struct Failed {
    pub(super) made: Vec<Claim>,
    pub(super) error: StoreError,
}

/// Claims one SKU; `None` if another product has it.
async fn claim(cluster: &Cluster, claimant: Claimant, sku: &str) -> Result<Option<Claim>> {
    let Claimant { product_id, seller_id } = claimant;
    let id = Uuid::new_v4();
    for _ in 0..ATTEMPTS {
        let mine = Claim { sku: sku.to_owned(), number: number_after(0), claim: id };
        let made = cluster
            .conditionally(
                "INSERT INTO skus (sku, product_id, claim, claimed_at, number) VALUES (?, ?, ?, ?, ?) IF NOT EXISTS",
                (sku, product_id, id, domain::now(), mine.number),
            )
            .await?;
        if made.is_applied() {
            return Ok(Some(mine));
        }
        let Some(Found { claim: found, owner, claimed_at }) = find(cluster, sku).await? else { continue };
        if found.claim == id {
            return Ok(Some(found));
        }
        if owner != product_id && owner != NOBODY {
            let holder = rows::find_settled(cluster, owner).await?;
            let may_be_writing = domain::now() - claimed_at < LEASE;
            match &holder {
                Kept::Live(live) if live.keeps_from(seller_id, sku) => return Ok(None),
                Kept::Live(_) | Kept::Nothing if may_be_writing => return Ok(None),
                _ => {}
            }
            if !rows::fence(cluster, owner, &holder).await? {
                continue;
            }
        }
        let mine = Claim { number: number_after(found.number), ..mine };
        let taken_over = cluster
            .conditionally(
                "UPDATE skus SET product_id = ?, claim = ?, claimed_at = ?, number = ? WHERE sku = ? IF claim = ?",
                (product_id, id, domain::now(), mine.number, sku, found.claim),
            )
            .await?;
        if taken_over.is_applied() {
            return Ok(Some(mine));
        }
    }
    // So contested that somebody else will end up with it.
    Ok(None)
}

/// The number of the next claim: the time in microseconds, wherever clocks agree.
fn number_after(before: i64) -> i64 {
    let now = i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX);
    now.max(before + 1)
}

async fn find(cluster: &Cluster, sku: &str) -> Result<Option<Found>> {
    let rows: Vec<ClaimRow> = cluster
        .read_settled("SELECT product_id, claim, claimed_at, number FROM skus WHERE sku = ?", (sku,))
        .await?;
    Ok(rows.into_iter().next().and_then(|row| {
        let claim = Claim { sku: sku.to_owned(), number: row.number.unwrap_or_default(), claim: row.claim? };
        Some(Found { claim, owner: row.product_id?, claimed_at: row.claimed_at? })
    }))
}

/// A product's current claims on these SKUs.
pub(super) async fn claims_of(cluster: &Cluster, product_id: Uuid, skus: Vec<String>) -> Result<Vec<Claim>> {
    stream::iter(skus)
        .map(async |sku| {
            let found = find(cluster, &sku).await?;
            Ok(found.filter(|found| found.owner == product_id).map(|found| found.claim))
        })
        .buffer_unordered(AT_ONCE)
        .try_filter_map(async |claim| Ok(claim))
        .try_collect()
        .await
}

/// Gives up those claims of a product whose SKU it does not hold, so that others can have them.
///
/// Without this others would take them over anyway, only later. So we only log an error.
pub(super) async fn release(cluster: &Cluster, product_id: Uuid, claims: Vec<Claim>) {
    if claims.is_empty() {
        return;
    }
    if let Err(error) = try_release(cluster, product_id, claims).await {
        tracing::warn!(%product_id, %error, "SKUs stay claimed until somebody wants them");
    }
}

/// Says that no write of these claims is under way any more: whoever may take them over need not wait.
///
/// Without this they would wait for [`LEASE`]. So we only log an error.
pub(super) async fn settle(cluster: &Cluster, product_id: Uuid, skus: Vec<String>) {
    let settled = async {
        for claim in claims_of(cluster, product_id, skus).await? {
            cluster
                .conditionally(
                    "UPDATE skus SET claimed_at = ? WHERE sku = ? IF claim = ?",
                    (OffsetDateTime::UNIX_EPOCH, &claim.sku, claim.claim),
                )
                .await?;
        }
        Ok::<_, StoreError>(())
    };
    if let Err(error) = settled.await {
        tracing::warn!(%product_id, %error, "SKUs of a withdrawn product stay claimed for a while");
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
                    .conditionally(
                        "UPDATE skus SET product_id = ? WHERE sku = ? IF claim = ?",
                        (NOBODY, &claim.sku, claim.claim),
                    )
                    .await?;
            }
            return Ok(());
        }
    }
    Ok(())
}
