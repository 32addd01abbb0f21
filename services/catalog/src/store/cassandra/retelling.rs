//! Publishes every product once more, for a topic that has lost what it held.
//!
//! We put the event beside the version that it is about, and write a note after it: if the note came first,
//! the publisher might look at it, and settle it, before there is an event. Should this process die in
//! between, all of it is done again, since the topic still lacks its mark.

use futures::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::AT_ONCE;
use super::cluster::Cluster;
use super::pending::{Note, PendingEvent};
use super::rows;
use crate::events;
use crate::store::Result;

/// How often we try while others change the product.
const ATTEMPTS: usize = 5;

pub(super) async fn tell_all(cluster: &Cluster) -> Result<u64> {
    let mut ids = Vec::new();
    cluster.scan("SELECT id FROM products", |(id,): (Uuid,)| ids.push(id)).await?;
    stream::iter(ids)
        .map(|id| tell(cluster, id))
        .buffer_unordered(AT_ONCE)
        .try_fold(0, async |told, is_told| Ok(told + u64::from(is_told)))
        .await
}

/// False: it is gone, or each attempt met another version, which has an event of its own.
async fn tell(cluster: &Cluster, id: Uuid) -> Result<bool> {
    for _ in 0..ATTEMPTS {
        let Some(live) = rows::find_settled(cluster, id).await?.live() else { return Ok(false) };
        let event = PendingEvent::of(&events::changed(&live.product))?;
        if rows::announce(cluster, &live, &event).await?.is_applied() {
            Note::leave(cluster, id, live.product.version).await?;
            return Ok(true);
        }
    }
    Ok(false)
}
