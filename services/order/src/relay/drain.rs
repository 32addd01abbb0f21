//! When Redis has lost something, we rebuild its sales from SQL. First SQL must have everything that left
//! Redis, and everything that others have said about its orders. The latter matters when SQL, too, was
//! restored from a backup: an order paid since then is sold, and must not be rebuilt as one whose time to
//! pay is over.
//!
//! ```text
//!   a doubt ──▶ nothing is in this relay's hands ──▶ where does Kafka's log end? ──▶ the worker has
//!                                                                            committed that ──▶ drained
//! ```
//! What another relay still holds arrives later, and the worker recognizes that it is too late.

use std::time::Duration;

use rocketmart_kit::kafka::GroupProgress;
use rocketmart_kit::pace::Pace;
use tokio_util::sync::CancellationToken;

use super::{ERROR_PAUSE, Relay};
use crate::store::trust;

/// How soon we notice a doubt, and the end of its draining.
const PERIOD: Duration = Duration::from_millis(200);

pub(super) async fn run(relay: Relay, booked: GroupProgress, stop: CancellationToken) -> anyhow::Result<()> {
    let mut pace = Pace::every(PERIOD, "cannot tell whether SQL has everything").after_error(ERROR_PAUSE);
    while pace.rest(drain(&relay, &booked, &stop).await, &stop).await {}
    Ok(())
}

async fn drain(relay: &Relay, booked: &GroupProgress, stop: &CancellationToken) -> anyhow::Result<()> {
    let doubts = trust::undrained(&relay.pool).await?;
    if doubts.is_empty() {
        return Ok(());
    }
    drop(relay.in_hand.write().await);
    let ends = booked.ends().await?;
    while booked.behind(&ends).await? > 0 {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
    trust::note_drained(&relay.pool, &doubts).await?;
    tracing::info!(sales = doubts.len(), "SQL has everything that had left Redis");
    Ok(())
}
