//! The row of a product, and the writes that move it from version to version.
//!
//! Every write is conditional on the version and the fence that it saw, and brings its event along in the
//! same row. A new fence makes writes that began earlier fail: that is how [`super::skus`] knows that a
//! product will not come to hold a SKU after all.

use std::collections::BTreeMap;

use scylla::DeserializeRow;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::cluster::Cluster;
use super::conditional::Verdict;
use super::pending::PendingEvent;
use crate::domain::{Content, Product, State, Variant};
use crate::store::{Result, StoreError};

/// How long we remember a deleted product, in seconds: longer than a repetition of its creation can take.
pub(super) const GRAVE_SECONDS: i32 = 8 * 24 * 3600;
/// How long we keep an answer for repetitions, in seconds.
pub(super) const ANSWER_SECONDS: i32 = 7 * 24 * 3600;
const DELETED: &str = "deleted";
/// The state of a product that was never made and never will be.
const VOID: &str = "void";

const SELECT: &str = "SELECT id, version, state, seller_id, content, supply, created_at, updated_at, write_id, fence \
                      FROM products WHERE id = ?";

#[derive(DeserializeRow)]
struct ProductRow {
    id: Uuid,
    version: Option<i64>,
    state: Option<String>,
    seller_id: Option<Uuid>,
    content: Option<String>,
    supply: Option<String>,
    created_at: Option<OffsetDateTime>,
    updated_at: Option<OffsetDateTime>,
    write_id: Option<Uuid>,
    fence: Option<Uuid>,
}

/// What exists under an id.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    Nothing,
    /// Nobody sees it any more; final.
    Deleted,
    /// Fenced before it was made; final.
    Void,
    Live(Box<Live>),
}

/// A product without its likes, which are counted elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) product: Product,
    pub(super) write_id: Option<Uuid>,
    pub(super) fence: Option<Uuid>,
}

impl Live {
    /// Whether it holds the SKU, if it has claimed it.
    pub(super) fn holds(&self, sku: &str) -> bool {
        self.product.state != State::Draft && self.product.skus().any(|listed| listed == sku)
    }

    /// The same, but not if another product of this seller may take it over.
    pub(super) fn keeps_from(&self, seller_id: Uuid, sku: &str) -> bool {
        self.holds(sku) && (self.product.is_published() || self.product.seller_id != seller_id)
    }
}

impl Kept {
    pub(super) fn live(self) -> Option<Live> {
        match self {
            Self::Live(live) => Some(*live),
            _ => None,
        }
    }

    fn from_row(row: ProductRow) -> Result<Self> {
        let (Some(version), Some(state)) = (row.version, row.state.as_deref()) else {
            return Ok(Self::Nothing);
        };
        let incomplete =
            |column: &str| StoreError::unreadable(anyhow::anyhow!("product {} without {column}", row.id));
        let state = match state {
            DELETED => return Ok(Self::Deleted),
            VOID => return Ok(Self::Void),
            name => State::parse(name).ok_or_else(|| incomplete("a known state"))?,
        };
        let mut content: Content =
            serde_json::from_str(row.content.as_deref().ok_or_else(|| incomplete("content"))?)
                .map_err(StoreError::unreadable)?;
        if let Some(supply) = &row.supply {
            supplied(&mut content, supply)?;
        }
        Ok(Self::Live(Box::new(Live {
            product: Product {
                id: row.id,
                seller_id: row.seller_id.ok_or_else(|| incomplete("seller_id"))?,
                version,
                state,
                content,
                likes: 0,
                created_at: row.created_at.ok_or_else(|| incomplete("created_at"))?,
                updated_at: row.updated_at.ok_or_else(|| incomplete("updated_at"))?,
            },
            write_id: row.write_id,
            fence: row.fence,
        })))
    }
}

fn kept(rows: Vec<ProductRow>) -> Result<Kept> {
    rows.into_iter().next().map_or(Ok(Kept::Nothing), Kept::from_row)
}

pub(super) async fn find(cluster: &Cluster, id: Uuid) -> Result<Kept> {
    kept(cluster.read(SELECT, (id,)).await?)
}

pub(super) async fn find_settled(cluster: &Cluster, id: Uuid) -> Result<Kept> {
    kept(cluster.read_settled(SELECT, (id,)).await?)
}

/// Makes the first version, unless something exists under its id.
pub(super) async fn make(cluster: &Cluster, product: &Product, event: &PendingEvent) -> Result<Verdict> {
    let (content, supply) = (json(&product.content)?, supply(&product.content)?);
    cluster
        .conditionally(
            "UPDATE products SET version = ?, state = ?, seller_id = ?, content = ?, supply = ?, created_at = ?, \
             updated_at = ?, write_id = ?, pending[?] = ? WHERE id = ? IF version = null",
            (
                product.version,
                product.state.as_str(),
                product.seller_id,
                &content,
                &supply,
                product.created_at,
                product.updated_at,
                Uuid::new_v4(),
                product.version,
                &event.to_json()?,
                product.id,
            ),
        )
        .await
}

/// Replaces `before` with the next version.
pub(super) async fn replace(
    cluster: &Cluster,
    before: &Live,
    product: &Product,
    write_id: Uuid,
    event: &PendingEvent,
) -> Result<Verdict> {
    let (content, supply) = (json(&product.content)?, supply(&product.content)?);
    cluster
        .conditionally(
            "UPDATE products SET version = ?, state = ?, content = ?, supply = ?, updated_at = ?, write_id = ?, \
             pending[?] = ? WHERE id = ? IF version = ? AND fence = ?",
            (
                product.version,
                product.state.as_str(),
                &content,
                &supply,
                product.updated_at,
                write_id,
                product.version,
                &event.to_json()?,
                product.id,
                before.product.version,
                before.fence,
            ),
        )
        .await
}

/// The same, and notes beside it the key and the answer.
pub(super) async fn replace_once(
    cluster: &Cluster,
    before: &Live,
    product: &Product,
    event: &PendingEvent,
    (key, made): (&str, &str),
) -> Result<Verdict> {
    let (content, supply) = (json(&product.content)?, supply(&product.content)?);
    let seen = before.product.version;
    cluster
        .all_conditionally(
            &[
                "UPDATE products SET version = ?, content = ?, supply = ?, updated_at = ?, write_id = ?, \
                 pending[?] = ? WHERE id = ? IF version = ? AND fence = ?",
                "UPDATE products USING TTL ? SET adjusted[?] = ? WHERE id = ? IF version = ?",
            ],
            (
                (
                    product.version,
                    &content,
                    &supply,
                    product.updated_at,
                    Uuid::new_v4(),
                    product.version,
                    &event.to_json()?,
                    product.id,
                    seen,
                    before.fence,
                ),
                (ANSWER_SECONDS, key, made, product.id, seen),
            ),
        )
        .await
}

/// Puts an event about the current version beside it.
pub(super) async fn announce(cluster: &Cluster, live: &Live, event: &PendingEvent) -> Result<Verdict> {
    let (id, version) = (live.product.id, live.product.version);
    cluster
        .conditionally(
            "UPDATE products SET pending[?] = ? WHERE id = ? IF version = ?",
            (version, &event.to_json()?, id, version),
        )
        .await
}

/// Keeps of `before` only that it is gone, and the event that says so.
pub(super) async fn delete(cluster: &Cluster, before: &Live, event: &PendingEvent) -> Result<Verdict> {
    let version = before.product.version + 1;
    cluster
        .conditionally(
            "UPDATE products SET version = ?, state = 'deleted', content = null, supply = null, pending[?] = ? \
             WHERE id = ? IF version = ? AND fence = ?",
            (version, version, &event.to_json()?, before.product.id, before.product.version, before.fence),
        )
        .await
}

/// Makes every write of this product that began earlier fail. False: it is no longer as it was seen.
pub(super) async fn fence(cluster: &Cluster, id: Uuid, seen: &Kept) -> Result<bool> {
    let fence = Uuid::new_v4();
    let verdict = match seen {
        // Nothing can be written there any more.
        Kept::Deleted | Kept::Void => return Ok(true),
        Kept::Nothing => cluster
            .conditionally(
                "UPDATE products USING TTL ? SET version = 0, state = 'void' WHERE id = ? IF version = null",
                (GRAVE_SECONDS, id),
            )
            .await?,
        Kept::Live(live) => {
            cluster
                .conditionally(
                    "UPDATE products SET fence = ? WHERE id = ? IF version = ? AND fence = ?",
                    (fence, id, live.product.version, live.fence),
                )
                .await?
        }
    };
    // A refusal after doubt may be our own doing. The caller looks again in any case.
    Ok(verdict.is_applied())
}

/// Lets the remains of a deleted product expire, once its events are published.
pub(super) async fn bury(cluster: &Cluster, id: Uuid, version: i64) -> Result<()> {
    cluster
        .conditionally(
            "UPDATE products USING TTL ? SET version = ?, state = 'deleted', seller_id = null, created_at = null, \
             updated_at = null, write_id = null, fence = null WHERE id = ? IF version = ?",
            (GRAVE_SECONDS, version, id, version),
        )
        .await?;
    Ok(())
}

/// What only the shop knows about a variant. It is kept beside the content, because a process of the previous
/// version reads that as well.
#[derive(Serialize, Deserialize)]
struct Supply {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claim: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counted_in: Option<i64>,
}

fn supply(content: &Content) -> Result<String> {
    let of = |variant: &Variant| {
        (variant.sku.clone(), Supply { claim: variant.claim, counted_in: variant.counted_in })
    };
    let supply: BTreeMap<String, Supply> = content.variants.iter().map(of).collect();
    serde_json::to_string(&supply).map_err(StoreError::unreadable)
}

fn supplied(content: &mut Content, supply: &str) -> Result<()> {
    let mut supply: BTreeMap<String, Supply> =
        serde_json::from_str(supply).map_err(StoreError::unreadable)?;
    for variant in &mut content.variants {
        if let Some(Supply { claim, counted_in }) = supply.remove(&variant.sku) {
            (variant.claim, variant.counted_in) = (claim, counted_in);
        }
    }
    Ok(())
}

fn json(content: &Content) -> Result<String> {
    serde_json::to_string(content).map_err(StoreError::unreadable)
}
