//! Whether Redis is believed.
//!
//! Redis decides about a sale only after somebody has vouched for it since this Redis began to run.
//! Every process of this service does, as soon as it notices a new run: it compares what Redis has with
//! what SQL knows to have left Redis. What is missing there is written down as a doubt, which ends with a
//! rebuild.

use std::collections::BTreeSet;
use std::time::Duration;

use rocketmart_kit::pace::Pace;
use rocketmart_stock::{SaleId, Stock, StockError, VouchOutcome};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::trust;

/// How soon a new run of Redis is noticed.
const PERIOD: Duration = Duration::from_millis(250);
const GONE: &str = "Redis does not know the sale any more";

/// What came of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Redis has everything, and decides.
    Vouched,
    /// It has not, or is not believed for another reason, in words.
    Doubted(String),
    /// It need not know the sale.
    NotExpected,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error(transparent)]
    Stock(#[from] StockError),
}

/// Compares Redis with SQL and vouches for the sale, or writes down why not.
pub(crate) async fn look(pool: &PgPool, stock: &Stock, sale: Uuid) -> Result<Seen, Error> {
    let Some(expected) = trust::expected(pool, sale).await? else { return Ok(Seen::NotExpected) };
    if let Some(doubt) = expected.doubt {
        return Ok(Seen::Doubted(doubt));
    }
    let reason = match stock.vouch(SaleId(sale), expected.incarnation, expected.left).await? {
        VouchOutcome::Vouched => return Ok(Seen::Vouched),
        VouchOutcome::Behind(detail) => format!("Redis is behind: {detail}"),
        VouchOutcome::UnknownSale => GONE.to_owned(),
    };
    doubt(pool, stock, sale, expected.incarnation, &reason).await?;
    Ok(Seen::Doubted(reason))
}

/// Writes a doubt down, and stops Redis from deciding.
pub(crate) async fn doubt(
    pool: &PgPool,
    stock: &Stock,
    sale: Uuid,
    incarnation: i32,
    reason: &str,
) -> Result<(), Error> {
    if trust::doubt(pool, sale, incarnation, reason).await? {
        tracing::error!(%sale, reason, "Redis has lost something: the sale waits for its rebuild");
        metrics::counter!("order_sales_doubted_total").increment(1);
        stock.revoke(SaleId(sale)).await?;
    }
    Ok(())
}

/// Looks at every sale whenever Redis, or a master of a cluster, runs anew, until `stop`.
pub(crate) async fn keep(pool: PgPool, stock: Stock, stop: CancellationToken) -> anyhow::Result<()> {
    let mut settled = BTreeSet::new();
    let mut pace = Pace::every(PERIOD, "cannot vouch for the sales");
    loop {
        let looked = look_at_all(&pool, &stock, &mut settled).await;
        if !pace.rest(looked, &stop).await {
            break;
        }
    }
    Ok(())
}

/// Nothing is to be done in the runs that are `settled`: all sales were looked at in them. A master that is
/// away for a moment and comes back as it was is none that runs anew.
async fn look_at_all(pool: &PgPool, stock: &Stock, settled: &mut BTreeSet<String>) -> Result<(), Error> {
    let session = stock.session().await?;
    if session.is_subset(settled) {
        return Ok(());
    }
    let mut outcome = Ok(());
    for sale in trust::all_expected(pool).await? {
        // One that cannot be looked at does not hold up the others.
        if let Err(error) = look(pool, stock, sale).await {
            outcome = Err(error);
        }
    }
    if outcome.is_ok() {
        *settled = session;
    }
    outcome
}
