//! Which shop owns a keyspace: the first that reaches it, as with a database (docs/adr/0032).
//!
//! The claim is one row, and a conditional write creates it: if two shops try at once, one gets the keyspace.
//! `TRUNCATE rocketmart_shop` gives it up.

use super::{cluster::Cluster, migrations};

const TABLE: &str = "rocketmart_shop (claim text PRIMARY KEY, shop text)";

/// Claims the keyspace for this shop if nobody owns it; fails if another shop does.
pub(super) async fn claim(cluster: &Cluster, shop: &str) -> anyhow::Result<()> {
    migrations::make_table(cluster, TABLE).await?;
    let mut owner = owner(cluster).await?;
    if owner.is_none() {
        let insert = "INSERT INTO rocketmart_shop (claim, shop) VALUES ('keyspace', ?) IF NOT EXISTS";
        let claimed = cluster.conditionally(insert, (shop,)).await?;
        if claimed.is_applied() {
            tracing::info!(shop, "this keyspace is claimed for the shop");
        }
        owner = self::owner(cluster).await?;
    }
    let owner = owner.unwrap_or_default();
    anyhow::ensure!(owner == shop, "this keyspace belongs to the shop {owner}, and this is {shop}");
    Ok(())
}

/// The owner, if there is one. The read settles a claim that was left half-way.
async fn owner(cluster: &Cluster) -> anyhow::Result<Option<String>> {
    let query = "SELECT shop FROM rocketmart_shop WHERE claim = 'keyspace'";
    let rows: Vec<(Option<String>,)> = cluster.read_settled(query, ()).await?;
    Ok(rows.into_iter().next().and_then(|(shop,)| shop))
}
