//! Lists, newest first. Each is read where it is written: no filtering, no OFFSET.
//!
//! A list entry is no more than an id; whether the product belongs in the list is read from the product. We
//! write an entry before what makes it true, and remove it after it has become untrue. The product's version
//! is its timestamp, so late writes of older versions have no effect.

use time::OffsetDateTime;
use uuid::Uuid;

use super::cluster::Cluster;
use crate::domain::{Product, State};
use crate::store::Result;

/// A list's key, and how to read the list.
pub(super) enum Walk {
    /// The months that exist, newest first, starting with the one to go on in.
    Published {
        months: Vec<i32>,
    },
    OfSeller(Uuid),
}

impl Walk {
    pub(super) async fn published(cluster: &Cluster, after: Option<Uuid>) -> Result<Self> {
        let from = after.map_or(i32::MAX, month_of);
        let rows: Vec<(i32,)> =
            cluster.read("SELECT month FROM months WHERE shop = 0 AND month <= ?", (from,)).await?;
        Ok(Self::Published { months: rows.into_iter().map(|(month,)| month).collect() })
    }

    /// Up to `count` ids after `after`. The list ends with an empty answer.
    pub(super) async fn ids(
        &mut self,
        cluster: &Cluster,
        after: Option<Uuid>,
        count: i32,
    ) -> Result<Vec<Uuid>> {
        match self {
            Self::OfSeller(seller) => {
                let of_seller = (*seller, after.unwrap_or(GREATEST), count);
                let rows: Vec<(Uuid,)> = cluster
                    .read(
                        "SELECT id FROM products_of_seller WHERE seller_id = ? AND id < ? LIMIT ?",
                        of_seller,
                    )
                    .await?;
                Ok(ids(rows))
            }
            Self::Published { months } => {
                while let Some(month) = months.first() {
                    let of_month = (*month, after.unwrap_or(GREATEST), count);
                    let rows: Vec<(Uuid,)> = cluster
                        .read("SELECT id FROM published WHERE month = ? AND id < ? LIMIT ?", of_month)
                        .await?;
                    if !rows.is_empty() {
                        return Ok(ids(rows));
                    }
                    months.remove(0);
                }
                Ok(Vec::new())
            }
        }
    }
}

/// Cassandra orders UUIDs by their version first, so this is greater than any of version 7.
const GREATEST: Uuid = Uuid::max();

fn ids(rows: Vec<(Uuid,)>) -> Vec<Uuid> {
    rows.into_iter().map(|(id,)| id).collect()
}

/// Before a version is written: adds the entries without which nobody could find it.
pub(super) async fn enter(cluster: &Cluster, product: &Product) -> Result<()> {
    if product.version == 1 {
        cluster
            .write(
                "INSERT INTO products_of_seller (seller_id, id) VALUES (?, ?) USING TIMESTAMP ?",
                (product.seller_id, product.id, product.version),
            )
            .await?;
    }
    if product.state == State::Published {
        let month = month_of(product.id);
        cluster.write("INSERT INTO months (shop, month) VALUES (0, ?)", (month,)).await?;
        cluster
            .write(
                "INSERT INTO published (month, id) VALUES (?, ?) USING TIMESTAMP ?",
                (month, product.id, product.version),
            )
            .await?;
    }
    Ok(())
}

/// After a version was written: removes entries that no longer lead anywhere.
pub(super) async fn leave_published(cluster: &Cluster, id: Uuid, version: i64) -> Result<()> {
    cluster
        .write(
            "DELETE FROM published USING TIMESTAMP ? WHERE month = ? AND id = ?",
            (version, month_of(id), id),
        )
        .await
}

/// After a product was deleted at `version`.
pub(super) async fn leave_all(cluster: &Cluster, product: &Product, version: i64) -> Result<()> {
    leave_published(cluster, product.id, version).await?;
    cluster
        .write(
            "DELETE FROM products_of_seller USING TIMESTAMP ? WHERE seller_id = ? AND id = ?",
            (version, product.seller_id, product.id),
        )
        .await
}

/// The month in which the id was made, `year * 100 + month`; 0 for an id that does not say.
fn month_of(id: Uuid) -> i32 {
    let made = id.get_timestamp().and_then(|made| i64::try_from(made.to_unix().0).ok());
    let made = made.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    made.map_or(0, |made| made.year() * 100 + i32::from(u8::from(made.month())))
}
