//! `POST /internal/v1/sales/{id}/rebuild`: rebuilds a sale that Redis has lost, whole or in part, from what
//! SQL has (docs/adr/0005).
//!
//! ```text
//!   suspend, doubt, revoke ──▶ has SQL all that left Redis? ──▶ begin an incarnation (committed)
//!                                                                                │
//!   suspended, until the operator has  ◀── end the doubt ◀── swap in ◀── write beside the sale
//!   seen it verified                       (committed), vouch
//! ```
//! Until the doubt has ended, Redis decides nothing about the sale, and payments wait. If the rebuild is
//! cut short anywhere, the same POST starts again with the next incarnation. Whoever has an older one is
//! refused.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use rocketmart_contracts::event;
use rocketmart_contracts::internal_api::{Code, Fenced, MAX_FENCE, SaleState, SaleStatus};
use rocketmart_kit::extract::{Json, Path};
use rocketmart_kit::problem::{Problem, Result};
use rocketmart_stock::{
    BuyerId, OrderId, PricedLine, ReleaseReason, Remembered, Reservation, ReservationState, Restore,
    RestoreOutcome, SaleId, SaleState as StateInRedis,
};
use sqlx::PgConnection;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::spec::spec;
use super::{InternalApi, away, database, sale_unknown, stale_fence};
use crate::domain::rebuild::{self as domain, InRedis};
use crate::domain::standing::may_be_standing;
use crate::store::rebuild::{self, Begun};
use crate::store::sales::{self, Sale};
use crate::store::{parked, standing, trust};
use crate::vouch::Seen;

/// How long one call waits for what is under way; the operator calls again.
const WAIT: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(100);
/// How soon we notice that ordinary stock was lost.
const KEEP: Duration = Duration::from_secs(1);

pub(super) async fn rebuild(
    State(api): State<InternalApi>,
    Path(id): Path<Uuid>,
    Json(Fenced { fence }): Json<Fenced>,
) -> Result<Json<SaleStatus>> {
    let builder = api.clone();
    // Runs to its end even if nobody waits for it any more. If each call started over, the rebuild of a
    // large sale would never finish.
    tokio::spawn(async move { builder.rebuild(id, fence).await }).await.map_err(Problem::internal)??;
    api.status(id).await.map(Json)
}

impl InternalApi {
    /// Rebuilds ordinary stock that Redis has lost, until `stop`: no operator takes care of it.
    pub(crate) async fn keep_standing(self, stop: CancellationToken) -> anyhow::Result<()> {
        while !stop.is_cancelled() {
            if let Err(error) = self.rebuild_standing().await {
                tracing::warn!(?error, "the ordinary stock waits for its rebuild");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(KEEP) => {}
            }
        }
        Ok(())
    }

    async fn rebuild_standing(&self) -> Result<()> {
        for sale in standing::doubted(&self.pool).await? {
            let mut tx = self.pool.begin().await?;
            let fence = standing::next_fence(&mut tx, 0).await?;
            tx.commit().await?;
            self.rebuild(sale, fence).await?;
        }
        Ok(())
    }

    async fn rebuild(&self, id: Uuid, asked: i64) -> Result<()> {
        if self.give_up(id, asked).await? && self.is_drained(id).await? {
            let Some(begun) = self.begin(id, asked).await? else { return Ok(()) };
            self.build(id, asked, &begun).await?;
            self.look(id).await?;
        }
        Ok(())
    }

    /// Stops the sale in both books. `false` means that Redis has lost nothing, so there is nothing to
    /// rebuild.
    async fn give_up(&self, id: Uuid, asked: i64) -> Result<bool> {
        let seen = self.look(id).await?;
        let mut tx = self.pool.begin().await.map_err(database)?;
        let sale = self.locked(&mut tx, id, asked).await?;
        if seen == Seen::Vouched {
            return Ok(false);
        }
        // Only the shelves' keeper resumes the ordinary stock, as soon as Redis is trusted again.
        let stays = sale.state.is_over() || sale.standing;
        let state = if stays { sale.state } else { SaleState::Suspended };
        sales::set_state(&mut tx, id, asked, state).await.map_err(database)?;
        tx.commit().await.map_err(database)?;
        self.stock.revoke(SaleId(id)).await.map_err(away)?;
        Ok(true)
    }

    /// Waits until SQL has everything that has left Redis or is still in it. `false` means that somebody
    /// else has rebuilt the sale meanwhile.
    async fn is_drained(&self, id: Uuid) -> Result<bool> {
        let limit = Instant::now() + WAIT;
        loop {
            let Some(drained) = trust::is_drained(&self.pool, id).await.map_err(database)? else {
                return Ok(false);
            };
            let entries = self.entries_left(id).await?;
            if entries == 0 {
                if drained {
                    return Ok(true);
                }
                trust::let_books_decide(&self.pool, id).await.map_err(database)?;
            }
            if Instant::now() >= limit {
                let detail =
                    "events that left Redis are on their way into SQL; the sale is rebuilt after them";
                return Err(
                    Problem::conflict(Code::EventsInFlight.as_str(), detail).with("stream_entries", entries)
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Entries in Redis that SQL may lack and must not. A Redis of an earlier incarnation has none:
    /// whatever is not in SQL was already void.
    async fn entries_left(&self, id: Uuid) -> Result<u64> {
        let sale = SaleId(id);
        let known = trust::of(&self.pool, &[id]).await.map_err(database)?;
        let present = known.get(&id).map_or(0, |trust| trust.incarnation);
        if self.stock.incarnation(sale).await.map_err(away)?.is_none_or(|found| found < present) {
            return Ok(0);
        }
        let left = self.stock.counters(sale).await.map_err(away)?;
        Ok(left.map_or(0, |counters| counters.stream_length))
    }

    async fn begin(&self, id: Uuid, asked: i64) -> Result<Option<Begun>> {
        let now_ms = self.stock.now_ms(SaleId(id)).await.map_err(away)?;
        let mut tx = self.pool.begin().await.map_err(database)?;
        self.locked(&mut tx, id, asked).await?;
        let begun = rebuild::begin(&mut tx, id, asked, now_ms).await.map_err(database)?;
        tx.commit().await.map_err(database)?;
        Ok(begun)
    }

    /// From here on nothing changes what Redis has to know about the sale: decisions and their events are
    /// refused or wait.
    async fn build(&self, id: Uuid, asked: i64, begun: &Begun) -> Result<()> {
        let mut tx = self.pool.begin().await.map_err(database)?;
        let sale = self.locked(&mut tx, id, asked).await?;
        if !rebuild::is_present(&mut tx, id, begun.incarnation).await.map_err(database)? {
            return Err(superseded());
        }
        parked::find_sales(&mut tx).await.map_err(database)?;
        let orders = rebuild::orders(&mut tx, id).await.map_err(database)?;
        let ledger: BTreeMap<_, _> = sale.items.iter().map(|item| (item.sku.as_str(), item.ledger)).collect();
        let disagreements = domain::disagreements(&orders, &ledger);
        if !disagreements.is_empty() {
            return Err(Problem::conflict("books-disagree", disagreements.join("; ")));
        }
        let restore = Restore {
            spec: spec(&sale)?,
            state: if sale.state.is_over() { StateInRedis::Closed } else { StateInRedis::Suspended },
            incarnation: begun.incarnation,
            stream_from_ms: begun.void_until_ms + 1,
            reservations: orders.into_iter().map(|order| remembered(&sale, order)).collect::<Result<_>>()?,
        };
        match self.stock.restore(&restore).await.map_err(away)? {
            RestoreOutcome::Restored => {}
            RestoreOutcome::Superseded => return Err(superseded()),
            RestoreOutcome::StaleFence { seen } => {
                return Err(stale_fence(i64::try_from(seen).unwrap_or(MAX_FENCE)));
            }
            RestoreOutcome::Differs { what, found } => {
                let detail = format!("Redis counted {what} {found}, which is not what it was given");
                return Err(Problem::conflict("books-disagree", detail));
            }
        }
        let orders = i64::try_from(restore.reservations.len()).map_err(Problem::internal)?;
        if !rebuild::finish(&mut tx, id, begun, orders).await.map_err(database)? {
            return Err(superseded());
        }
        tx.commit().await.map_err(database)?;
        let Begun { incarnation, reason, .. } = begun;
        tracing::warn!(sale = %id, incarnation, orders, reason, "rebuilt in Redis from the books");
        metrics::counter!("order_sales_rebuilt_total").increment(1);
        Ok(())
    }

    /// The sale, locked until the transaction ends. Refuses a fence that is too old, and a sale that Redis
    /// is not expected to know.
    async fn locked(&self, tx: &mut PgConnection, id: Uuid, asked: i64) -> Result<Sale> {
        if may_be_standing(id) {
            standing::lock(tx).await.map_err(database)?;
        }
        let sale = sales::lock_any(tx, id).await.map_err(database)?.ok_or_else(sale_unknown)?;
        if asked < sale.fence {
            return Err(stale_fence(sale.fence));
        }
        if !sale.loaded || sale.state == SaleState::ClosedOut {
            return Err(Problem::conflict("nothing-to-rebuild", "Redis is not expected to hold this sale"));
        }
        Ok(Sale { fence: asked, ..sale })
    }
}

fn superseded() -> Problem {
    Problem::conflict(Code::RebuildSuperseded.as_str(), "another rebuild of this sale has begun since")
}

fn remembered(sale: &Sale, order: domain::Remembered) -> Result<Remembered> {
    let (in_redis, declined_payments) = (order.in_redis(), order.declined_payments());
    let lines = order.lines.into_iter().map(|line| {
        let quantity = u32::try_from(line.quantity).map_err(Problem::internal)?;
        Ok(PricedLine { sku: line.sku, quantity, unit_price: line.unit_price })
    });
    let reservation = Reservation {
        order: OrderId(order.order_id),
        sale: SaleId(sale.id),
        buyer: BuyerId(order.buyer_id),
        lines: lines.collect::<Result<_>>()?,
        amount: order.amount,
        currency: sale.currency.clone(),
        state: match in_redis {
            InRedis::Reserved | InRedis::Lapsed => ReservationState::Reserved,
            InRedis::Submitted => ReservationState::PaymentSubmitted,
            InRedis::Confirmed => ReservationState::Confirmed,
            InRedis::Released(reason) => ReservationState::Released(released(reason)),
        },
        reserved_at_ms: order.reserved_at_ms,
        // The time of the reservation is long enough ago.
        pay_by_ms: if in_redis == InRedis::Lapsed { order.reserved_at_ms } else { order.pay_by_ms },
        payment_prepared: false,
        payment_method_id: order.payment_method_id,
        delivery_address_id: order.delivery_address_id,
        declined_payments,
    };
    Ok(Remembered { reservation, wish: order.wish })
}

fn released(reason: event::ReleaseReason) -> ReleaseReason {
    match reason {
        event::ReleaseReason::Expired => ReleaseReason::Expired,
        event::ReleaseReason::Cancelled => ReleaseReason::Cancelled,
        event::ReleaseReason::PaymentFailed => ReleaseReason::PaymentFailed,
    }
}
