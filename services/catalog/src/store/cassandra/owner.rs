//! Whose keyspace it is: the first shop's that reaches it, as with a database (docs/adr/0032).
//!
//! The claim is one row, written by a conditional write: of two shops at once one gets the keyspace.
//! `TRUNCATE rocketmart_shop` gives it away.

use super::{cluster::Cluster, migrations};

const TABLE: &str = "rocketmart_shop (claim text PRIMARY KEY, shop text)";

/// Makes the keyspace this shop's if it is nobody's, and refuses it if it is another's.
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

/// Whose it is, if anybody's; a claim that was left half-way is settled by asking.
async fn owner(cluster: &Cluster) -> anyhow::Result<Option<String>> {
    let query = "SELECT shop FROM rocketmart_shop WHERE claim = 'keyspace'";
    let rows: Vec<(Option<String>,)> = cluster.read_settled(query, ()).await?;
    Ok(rows.into_iter().next().and_then(|(shop,)| shop))
}
