//! How events get into the books: what every transaction does, both for a batch from Kafka and for events
//! that were deferred.
//!
//! ```text
//!   understand ──▶ ask Redis about payments ──▶ BEGIN
//!                                                 hold the sales: none is rebuilt meanwhile
//!                                                 which events are new
//!                                                 lock their orders, apply in order (pure)
//!                                                 write orders, transitions, charges, outbox
//!                                                 write ledger and stock (hot rows, last)
//!                                               COMMIT
//! ```
//!
//! Two kinds of events are deferred, each to its own table and with what follows them:
//!
//! - reservations whose units are not there yet ([`deferred_reservations`](super::deferred_reservations));
//! - payments for a sale about which we do not trust Redis ([`deferred_payments`](super::deferred_payments)), and
//!   news of an order that is not known yet, or not known to be paid.
//!
//! After a rebuild of the sale, two kinds of news are out of date. Verdicts that were asked for before are
//! asked for again. Stream entries that came too late for the rebuild are void.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context, anyhow};
use rocketmart_kit::event::Event;
use rocketmart_kit::kafka::{Delivery, HandleError};
use rocketmart_stock::Stock;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::deferred_payments::DeferredPayments;
use super::deferred_reservations::{DeferredReservations, Free};
use super::read::{News, read};
use super::verdicts::{self, Asked};
use crate::domain::batch::{Applied, Batch, Fact, Outcome};
use crate::store::parked::SALE_UNKNOWN;
use crate::store::rebuild::Wish;
use crate::store::trust::Trust;
use crate::store::{self, orders, parked, rebuild, skus, trust};
use crate::stream_id;

const SOURCE: &str = "/rocketmart/order-worker";

/// Applies batches of events to the books.
pub struct Worker {
    pub(super) pool: PgPool,
    stock: Stock,
    charge_late: Duration,
}

/// What we judge events by.
pub(super) struct Ground {
    pub(super) asked: Asked,
    /// The sales that the events are about, held as they are until the transaction ends.
    pub(super) standing: HashMap<Uuid, Trust>,
    /// The units that are there, if reservations have to fit.
    pub(super) free: Option<Free>,
}

impl Worker {
    /// `charge_late`: how long after its order's deadline we may still charge a payment that was submitted
    /// before it.
    pub fn new(pool: PgPool, stock: Stock, charge_late: Duration) -> Self {
        Self { pool, stock, charge_late }
    }

    /// What Redis says about the payments in `news`.
    pub(super) async fn ask(&self, news: &[News]) -> Result<Asked, HandleError> {
        let paid_for: Vec<Uuid> = news
            .iter()
            .filter(|news| matches!(news, News::PaymentSucceeded(_) | News::PaymentFailed(_)))
            .filter_map(News::order_id)
            .collect();
        if paid_for.is_empty() {
            return Ok(Asked::default());
        }
        let booked = orders::find(&self.pool, &paid_for).await?;
        verdicts::ask(&self.pool, &self.stock, news, &booked).await
    }

    /// Books the events that are `new`. Returns the ids of those that wait for units.
    pub(super) async fn apply(
        &self,
        tx: &mut PgConnection,
        deliveries: &[Delivery],
        news: Vec<News>,
        Ground { asked, standing, free }: &Ground,
        mut new: HashSet<String>,
    ) -> Result<HashSet<String>, HandleError> {
        let ids = ids(deliveries);
        let mut named: Vec<Uuid> = news.iter().filter_map(News::order_id).collect();
        named.sort_unstable();
        named.dedup();
        let mut batch = Batch::new(orders::lock(tx, &named).await?).charging_late(self.charge_late);
        let mut deferred_reservations = DeferredReservations::default();
        let mut deferred_payments = DeferredPayments::before(tx, &news).await?;
        let (mut wishes, mut late) = (Vec::new(), BTreeMap::new());
        for (index, news) in news.into_iter().enumerate() {
            // Removed, so that an event that comes twice in one batch is new only once.
            if !new.remove(&ids[index]) {
                continue;
            }
            if let Some(sale) = is_void(&news, &ids[index], standing) {
                let reservation = matches!(news, News::Fact(Fact::Reserved(_)));
                tracing::warn!(%sale, event = ids[index], order = ?news.order_id(), reservation, "lost with Redis: it comes too late");
                *late.entry(sale).or_default() += i64::from(reservation);
                continue;
            }
            let event = &deliveries[index].event;
            if let (Some(sale_id), Some(order_id)) = (asked.deferred.get(&index), news.order_id()) {
                deferred_payments.defer(*sale_id, order_id, event);
                continue;
            }
            if let Some((sale_id, order_id)) = deferred_payments.comes_before(&news) {
                deferred_payments.defer(sale_id, order_id, event);
                continue;
            }
            let origin = news.sale_id().zip(news.order_id());
            if let News::Fact(Fact::Reserved(event)) = &news {
                if free.as_ref().is_some_and(|free| !batch.fits(event, free)) {
                    deferred_reservations.too_early(index, event);
                    continue;
                }
                wishes.extend(Wish::of(event));
            }
            match news {
                News::ProductChanged(product) => skus::follow(tx, &product).await?,
                News::ProductDeleted(product_id) => skus::withdraw(tx, product_id).await?,
                News::Other => {}
                of_an_order => {
                    let follows = of_an_order.follows_a_payment();
                    let fact = of_an_order
                        .fact(asked.verdicts.get(&index).copied())
                        .ok_or_else(|| anyhow!("no verdict on event {}", ids[index]))?;
                    let order_id = fact.order_id();
                    match batch.apply(index, fact) {
                        Ok(Applied::Done) => {}
                        Ok(Applied::NotYet) => deferred_reservations.without_order(index, origin),
                        Ok(Applied::OrderMissing) => deferred_payments.defer(SALE_UNKNOWN, order_id, event),
                        Err(contradiction) => match missing_payment(tx, &batch, order_id).await? {
                            Some(sale_id) if follows => deferred_payments.defer(sale_id, order_id, event),
                            _ => return Err(HandleError::Poison { index, error: contradiction.into() }),
                        },
                    }
                }
            }
        }
        let waits = deferred_reservations.keep(tx, deliveries).await?;
        deferred_payments.keep(tx).await?;
        rebuild::note_late(tx, &late).await?;
        rebuild::note_wishes(tx, &wishes).await?;
        write(tx, deliveries, batch.finish()).await?;
        Ok(waits)
    }
}

pub(super) fn ids(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| delivery.event.id.clone()).collect()
}

/// Holds the sales that this is about as they are until the transaction ends. A verdict counts only in the
/// incarnation in which it was asked for.
pub(super) async fn hold(
    tx: &mut PgConnection,
    news: &[News],
    asked: &Asked,
) -> Result<HashMap<Uuid, Trust>, HandleError> {
    let mut sales: Vec<Uuid> =
        news.iter().filter_map(News::sale_id).chain(asked.incarnations.keys().copied()).collect();
    sales.sort_unstable();
    sales.dedup();
    let standing = trust::hold(tx, &sales).await?;
    for (sale, incarnation) in &asked.incarnations {
        if standing.get(sale).is_some_and(|now| now.incarnation != *incarnation) {
            return Err(HandleError::Retry(anyhow!(
                "sale {sale} was rebuilt while its payments were decided"
            )));
        }
    }
    Ok(standing)
}

/// The sale of an order whose payment may still come, so that what follows it has to wait: nobody has heard
/// of the payment, or Redis has no say.
async fn missing_payment(tx: &mut PgConnection, batch: &Batch, order: Uuid) -> sqlx::Result<Option<Uuid>> {
    match batch.sale_of_unpaid(order) {
        Some(sale) => Ok(Some(sale)),
        None => parked::doubted_sale(tx, order).await,
    }
}

/// The sale, if this reports a decision that was lost because the sale was rebuilt without it.
fn is_void(news: &News, id: &str, standing: &HashMap<Uuid, Trust>) -> Option<Uuid> {
    let sale = news.sale_id()?;
    let until = standing.get(&sale)?.void_until_ms?;
    (stream_id::position(id)?.ms <= until).then_some(sale)
}

pub(super) fn understand(batch: &[Delivery]) -> Result<Vec<News>, HandleError> {
    batch
        .iter()
        .enumerate()
        .map(|(index, delivery)| {
            read(&delivery.event)
                .with_context(|| format!("event {} from {}", delivery.event.id, delivery.topic))
                .map_err(|error| HandleError::Poison { index, error })
        })
        .collect()
}

async fn write(tx: &mut PgConnection, deliveries: &[Delivery], outcome: Outcome) -> sqlx::Result<()> {
    let causes = outcome.effects.emitted.iter().map(|emitted| &deliveries[emitted.cause].event);
    let told = store::told(SOURCE, &outcome).into_iter().zip(causes);
    let told: Vec<Event> = told.map(|(event, cause)| event.caused_by(cause)).collect();
    store::write(tx, &outcome, &told, |index| deliveries[index].event.id.clone()).await
}
