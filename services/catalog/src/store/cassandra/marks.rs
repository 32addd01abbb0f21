//! Likes and wishes.
//!
//! A member's marks are one partition: the list in the order of marking, and for each mark a row that says
//! since when it exists. Both rows change together. A like is also counted with the product, in shards by
//! member. A shard's count and the member in it change together, so a like is counted once, whatever is
//! repeated. The member's own list decides; we make the count follow it, and then look again. So if a like
//! and an unlike come at the same time, the count ends up with the last one, too.

use futures::{StreamExt, TryStreamExt, stream};
use time::OffsetDateTime;
use uuid::Uuid;

use super::cluster::Cluster;
use crate::store::{MarkKind, MarkPlace, Result, StoreError};

/// How many shards one product's likes have. Reading a product reads them all.
const SHARDS: u8 = 4;
const ATTEMPTS: usize = 20;
/// How many counts we read at the same time.
const AT_ONCE: usize = 16;
/// The position of the rows that say since when a mark exists.
const EPOCH: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

pub(super) async fn add(
    cluster: &Cluster,
    kind: MarkKind,
    member: Uuid,
    product_id: Uuid,
    at: OffsetDateTime,
) -> Result<()> {
    let kind_name = kind.as_str();
    cluster
        .all_conditionally(
            &[
                "INSERT INTO marks (member_id, kind, marked_at, product_id, since) VALUES (?, ?, ?, ?, ?) IF NOT EXISTS",
                "INSERT INTO marks (member_id, kind, marked_at, product_id) VALUES (?, ?, ?, ?)",
            ],
            ((member, kind_name, EPOCH, product_id, at), (member, kind_name, at, product_id)),
        )
        .await?;
    if kind == MarkKind::Like { count(cluster, member, product_id).await } else { Ok(()) }
}

pub(super) async fn remove(cluster: &Cluster, kind: MarkKind, member: Uuid, product_id: Uuid) -> Result<()> {
    if let Some(since) = since(cluster, kind, member, product_id).await? {
        let kind_name = kind.as_str();
        cluster
            .all_conditionally(
                &[
                    "DELETE FROM marks WHERE member_id = ? AND kind = ? AND marked_at = ? AND product_id = ? IF since = ?",
                    "DELETE FROM marks WHERE member_id = ? AND kind = ? AND marked_at = ? AND product_id = ?",
                ],
                ((member, kind_name, EPOCH, product_id, since), (member, kind_name, since, product_id)),
            )
            .await?;
    }
    if kind == MarkKind::Like { count(cluster, member, product_id).await } else { Ok(()) }
}

/// Since when the mark exists, if it does.
async fn since(
    cluster: &Cluster,
    kind: MarkKind,
    member: Uuid,
    product_id: Uuid,
) -> Result<Option<OffsetDateTime>> {
    let rows: Vec<(Option<OffsetDateTime>,)> = cluster
        .read_settled(
            "SELECT since FROM marks WHERE member_id = ? AND kind = ? AND marked_at = ? AND product_id = ?",
            (member, kind.as_str(), EPOCH, product_id),
        )
        .await?;
    Ok(rows.into_iter().next().and_then(|(since,)| since))
}

/// Up to `count` places of a member's marks after `after`, latest first.
pub(super) async fn list(
    cluster: &Cluster,
    kind: MarkKind,
    member: Uuid,
    after: Option<MarkPlace>,
    count: i32,
) -> Result<Vec<MarkPlace>> {
    let rows: Vec<(OffsetDateTime, Uuid)> = match after {
        None => {
            cluster
                .read(
                    "SELECT marked_at, product_id FROM marks WHERE member_id = ? AND kind = ? AND marked_at > ? LIMIT ?",
                    (member, kind.as_str(), EPOCH, count),
                )
                .await?
        }
        Some(after) => {
            cluster
                .read(
                    "SELECT marked_at, product_id FROM marks WHERE member_id = ? AND kind = ? \
                     AND (marked_at, product_id) < (?, ?) AND (marked_at) > (?) LIMIT ?",
                    (member, kind.as_str(), after.marked_at, after.product_id, EPOCH, count),
                )
                .await?
        }
    };
    Ok(rows.into_iter().map(|(marked_at, product_id)| MarkPlace { marked_at, product_id }).collect())
}

/// How many members like the product.
pub(super) async fn likes(cluster: &Cluster, product_id: Uuid) -> Result<i64> {
    let shards: Vec<i8> = (0..SHARDS.cast_signed()).collect();
    let counts: Vec<(Option<i64>,)> = cluster
        .read(
            "SELECT DISTINCT count, product_id, shard FROM likes WHERE product_id = ? AND shard IN ?",
            (product_id, shards),
        )
        .await
        .map(|rows: Vec<(Option<i64>, Uuid, i8)>| rows.into_iter().map(|(count, ..)| (count,)).collect())?;
    Ok(counts.into_iter().filter_map(|(count,)| count).sum())
}

/// [`likes`] of several products, in their order.
pub(super) async fn likes_of(cluster: &Cluster, products: &[Uuid]) -> Result<Vec<i64>> {
    stream::iter(products.iter().copied()).map(|id| likes(cluster, id)).buffered(AT_ONCE).try_collect().await
}

/// Forgets who liked a product that is gone.
pub(super) async fn forget(cluster: &Cluster, product_id: Uuid) -> Result<()> {
    for shard in 0..SHARDS.cast_signed() {
        cluster.write("DELETE FROM likes WHERE product_id = ? AND shard = ?", (product_id, shard)).await?;
    }
    Ok(())
}

/// Makes the count agree with the member's own list.
async fn count(cluster: &Cluster, member: Uuid, product_id: Uuid) -> Result<()> {
    let shard = (member.as_bytes()[15] % SHARDS).cast_signed();
    let likes =
        || async { Ok::<_, StoreError>(since(cluster, MarkKind::Like, member, product_id).await?.is_some()) };
    let mut wanted = likes().await?;
    for _ in 0..ATTEMPTS {
        let counts: Vec<(Option<i64>,)> = cluster
            .read_settled(
                "SELECT count FROM likes WHERE product_id = ? AND shard = ? LIMIT 1",
                (product_id, shard),
            )
            .await?;
        let before = counts.first().and_then(|(count,)| *count);
        let counted: Vec<(Uuid,)> = cluster
            .read_settled(
                "SELECT member_id FROM likes WHERE product_id = ? AND shard = ? AND member_id = ?",
                (product_id, shard, member),
            )
            .await?;
        let is_counted = !counted.is_empty();
        if is_counted == wanted {
            let now = likes().await?;
            if now == wanted {
                return Ok(());
            }
            wanted = now;
            continue;
        }
        let change = if wanted {
            "INSERT INTO likes (product_id, shard, member_id) VALUES (?, ?, ?) IF NOT EXISTS"
        } else {
            "DELETE FROM likes WHERE product_id = ? AND shard = ? AND member_id = ? IF EXISTS"
        };
        let after = before.unwrap_or_default() + if wanted { 1 } else { -1 };
        // Refused or not, the next turn looks at what is there.
        cluster
            .all_conditionally(
                &[change, "UPDATE likes SET count = ? WHERE product_id = ? AND shard = ? IF count = ?"],
                ((product_id, shard, member), (after, product_id, shard, before)),
            )
            .await?;
    }
    Err(StoreError::unavailable(anyhow::anyhow!("too many members like product {product_id} at once")))
}
