//! Keeps the ordinary stock on offer: the standing sales, in Redis and in SQL.
//!
//! ```text
//!   supply, close-out, cancelled and returned units        SQL ──▶ Redis   (offer)
//!   allotment to a flash sale, smaller supply, withdrawal  Redis ──▶ SQL   (take off)
//! ```
//!
//! The side that has to be right if the process dies in between goes first. What we put on offer is on a
//! shelf in SQL before Redis may sell it. What we take off is out of Redis before SQL may promise it to
//! somebody else. Every crash leaves Redis with less than SQL allows, never with more.
//!
//! | cut short after | Redis | SQL | repaired by |
//! |---|---|---|---|
//! | SQL offers more, Redis not told | less | more | its SKU is still unsettled: the next look |
//! | Redis took off, SQL rolled back | less | as before | comparing, some shelves at each look |
//! | Redis took off, answer lost | less or as before | rolled back | the same |
//! | SQL committed, answer lost | taken off | taken off | nothing to repair |
//!
//! All of this happens under one lock in SQL. A process that loses the lock (its connection died) may still
//! have a call on its way to Redis. The call carries a fence, and the next holder of the lock has a higher
//! one, so a late call that would raise an offer is refused. Any number of replicas may run: one works at a
//! time, the others look again later.

mod shelf;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rocketmart_kit::pace::{Next, Pace};
use rocketmart_stock::Stock;
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

pub(crate) use shelf::{NotTaken, take};

use crate::domain::standing::{Offer, Plan, plan};
use crate::store::heirs;
use crate::store::standing::{self, Found, Units};

/// How soon a change of the stock reaches the offer.
const PERIOD: Duration = Duration::from_millis(500);
/// How many SKUs we settle, and shelves we compare, in one look. Redis is busy with that many at once.
const AT_ONCE: i64 = 200;

/// SKUs by currency.
type Shelves = BTreeMap<String, BTreeSet<String>>;

pub(crate) struct Standing {
    pool: PgPool,
    stock: Stock,
    /// How long a buyer of ordinary stock may take to pay.
    payment_seconds: u32,
    /// The last SKU we looked at: those that have to wait must not keep others waiting.
    after: String,
    /// The last shelf we compared: currency and SKU.
    compared: (String, String),
}

impl Standing {
    pub(crate) fn new(pool: PgPool, stock: Stock, payment_seconds: u32) -> Self {
        let compared = (String::new(), String::new());
        Self { pool, stock, payment_seconds, after: String::new(), compared }
    }

    /// Follows the stock until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut pace = Pace::every(PERIOD, "the ordinary stock waits");
        while pace.rest(self.look().await.map(Next::more), &stop).await {}
        Ok(())
    }

    /// Settles some SKUs that something has happened to, and compares some shelves with Redis. Returns
    /// whether more SKUs need settling.
    async fn look(&mut self) -> anyhow::Result<bool> {
        heirs::let_in(&self.pool).await?;
        if let Some(tx) = self.alone().await? {
            self.follow_plans(tx).await?;
        }
        let Some(tx) = self.alone().await? else { return Ok(false) };
        let last = self.push_and_sign_off(tx).await?;
        let more = last.is_some();
        self.after = last.unwrap_or_default();
        Ok(more)
    }

    /// A transaction in which nobody else changes an offer; `None` while somebody else has one.
    async fn alone(&self) -> sqlx::Result<Option<sqlx::Transaction<'static, sqlx::Postgres>>> {
        let mut tx = self.pool.begin().await?;
        Ok(standing::try_lock(&mut tx).await?.then_some(tx))
    }

    /// Does in SQL what the next unsettled SKUs need, after taking units off in Redis.
    async fn follow_plans(&self, mut tx: sqlx::Transaction<'_, sqlx::Postgres>) -> anyhow::Result<()> {
        let found = standing::unsettled(&mut tx, &self.after, AT_ONCE).await?;
        let plans: Vec<(&str, Plan)> =
            found.iter().map(|(sku, shelves)| (sku.sku.as_str(), plan(sku, shelves))).collect();
        if plans.iter().all(|(_, plan)| plan.is_settled()) {
            // At once: a dropped transaction would keep the lock for a moment.
            return Ok(tx.rollback().await?);
        }
        let taken = self.take_off(&mut tx, &plans).await?;
        let mut cut = Units::new();
        let mut offers: Vec<(&str, Offer)> = Vec::new();
        for (sku, plan) in plans {
            let from_shelf = if plan.cut_what_is_taken_off { taken.get(sku).copied() } else { None };
            let units = plan.cut + from_shelf.unwrap_or_default();
            if units > 0 {
                cut.insert(sku.to_owned(), units);
            }
            if let Some(offer) = plan.offer {
                standing::ensure(&mut tx, &offer.currency, self.payment_seconds).await?;
                offers.push((sku, offer));
            }
        }
        standing::cut_surplus(&mut tx, &cut).await?;
        standing::offer(&mut tx, &offers).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes off what is planned, as far as it is free, and returns what it took by SKU. The rest comes off
    /// when buyers give it back.
    async fn take_off(&self, tx: &mut PgConnection, plans: &[(&str, Plan)]) -> anyhow::Result<Units> {
        let mut wanted: BTreeMap<&str, Units> = BTreeMap::new();
        for (sku, plan) in plans {
            for (currency, units) in &plan.take_off {
                wanted.entry(currency).or_default().insert((*sku).to_owned(), *units);
            }
        }
        let mut taken = Units::new();
        for (currency, units) in wanted {
            for (sku, units) in shelf::take_free(&self.stock, tx, currency, units).await? {
                *taken.entry(sku).or_default() += units;
            }
        }
        Ok(taken)
    }

    /// Makes Redis offer what SQL says for these SKUs and for some more shelves, and settles SKUs that need
    /// nothing more. Returns the last of the SKUs if there may be more.
    async fn push_and_sign_off(
        &mut self,
        mut tx: sqlx::Transaction<'_, sqlx::Postgres>,
    ) -> anyhow::Result<Option<String>> {
        let found = standing::unsettled(&mut tx, &self.after, AT_ONCE).await?;
        let mut shelves = self.next_to_compare(&mut tx).await?;
        for (sku, on) in &found {
            for shelf in on {
                shelves.entry(shelf.currency.clone()).or_default().insert(sku.sku.clone());
            }
        }
        let mut away = BTreeSet::new();
        for (currency, skus) in &shelves {
            let skus: Vec<&str> = skus.iter().map(String::as_str).collect();
            if let Err(error) = shelf::push(&self.stock, &mut tx, currency, &skus).await {
                tracing::warn!(currency, error = format!("{error:#}"), "Redis does not offer ordinary stock");
                away.insert(currency.as_str());
            }
        }
        let settled = |(sku, on): &&Found| {
            plan(sku, on).is_settled() && !on.iter().any(|shelf| away.contains(shelf.currency.as_str()))
        };
        let settled: Vec<&str> = found.iter().filter(settled).map(|(sku, _)| sku.sku.as_str()).collect();
        standing::settled(&mut tx, &settled).await?;
        tx.commit().await?;
        let full = i64::try_from(found.len()) == Ok(AT_ONCE);
        Ok(found.last().filter(|_| full).map(|(sku, _)| sku.sku.clone()))
    }

    /// The next shelves in turn, so that all are compared sooner or later.
    async fn next_to_compare(&mut self, tx: &mut PgConnection) -> sqlx::Result<Shelves> {
        let next = standing::shelves_after(tx, &self.compared, AT_ONCE).await?;
        let all = i64::try_from(next.len()) != Ok(AT_ONCE);
        self.compared = next.last().filter(|_| !all).cloned().unwrap_or_default();
        let mut shelves = Shelves::new();
        for (currency, sku) in next {
            shelves.entry(currency).or_default().insert(sku);
        }
        Ok(shelves)
    }
}
