//! Whether we trust Redis.
//!
//! Redis decides about a sale only after somebody has vouched for it since this Redis began to run. Every
//! process of this service does that as soon as it notices a new run: it compares what Redis has with what,
//! according to SQL, has left Redis. If something is missing, it records a doubt, and the doubt ends with a
//! rebuild.
//!
//! Nobody vouches for a Redis whose settings allow it to lose what it accepts. An administrator may change
//! the settings while Redis runs. Then Redis decides nothing more until they are right again.

use std::collections::BTreeSet;
use std::time::Duration;

use rocketmart_kit::pace::Pace;
use rocketmart_stock::{SaleId, Stock, StockError, VouchOutcome};
use sqlx::PgPool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::trust;

/// How soon we notice a new run of Redis.
const PERIOD: Duration = Duration::from_millis(250);
/// How soon we notice that somebody changed Redis' settings.
const LOOK_AT_SETTINGS: Duration = Duration::from_secs(5);
const GONE: &str = "Redis does not know the sale any more";

/// What a look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Redis has everything, and decides.
    Vouched,
    /// Redis lacks something, or we distrust it for another reason, given in words.
    Doubted(String),
    /// Redis need not know the sale.
    NotExpected,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error(transparent)]
    Stock(#[from] StockError),
}

/// Compares Redis with SQL and vouches for the sale, or records why not.
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

/// Records a doubt, and stops Redis from deciding.
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

/// Looks at every sale whenever Redis, or a master of a cluster, starts a new run, until `stop`.
pub(crate) async fn keep(pool: PgPool, stock: Stock, stop: CancellationToken) -> anyhow::Result<()> {
    let mut keeper = Keeper { pool, stock, settled: BTreeSet::new(), settings: Settings::Unknown };
    let mut pace = Pace::every(PERIOD, "cannot vouch for the sales");
    while pace.rest(keeper.look_at_all().await, &stop).await {}
    Ok(())
}

struct Keeper {
    pool: PgPool,
    stock: Stock,
    /// The runs that need nothing more, because all sales were looked at in them. A master that is away for
    /// a moment and comes back unchanged has not started a new run.
    settled: BTreeSet<String>,
    settings: Settings,
}

/// What we know about Redis' settings.
enum Settings {
    Unknown,
    Safe {
        seen: Instant,
    },
    /// Nobody vouches for any sale any more.
    Unsafe,
}

impl Keeper {
    async fn look_at_all(&mut self) -> Result<(), Error> {
        self.look_at_settings().await?;
        let session = self.stock.session().await?;
        if session.is_subset(&self.settled) {
            return Ok(());
        }
        let mut outcome = Ok(());
        for sale in trust::all_expected(&self.pool).await? {
            // A sale that we cannot look at does not hold up the others.
            if let Err(error) = look(&self.pool, &self.stock, sale).await {
                outcome = Err(error);
            }
        }
        if outcome.is_ok() {
            self.settled = session;
        }
        outcome
    }

    async fn look_at_settings(&mut self) -> Result<(), Error> {
        if matches!(self.settings, Settings::Safe { seen } if seen.elapsed() < LOOK_AT_SETTINGS) {
            return Ok(());
        }
        let checked = self.stock.ensure_safe().await;
        if let Err(StockError::Unsafe(why)) = &checked
            && !matches!(self.settings, Settings::Unsafe)
        {
            tracing::error!(why, "nothing is sold until Redis is set otherwise");
            for sale in trust::all_expected(&self.pool).await? {
                self.stock.revoke(SaleId(sale)).await?;
            }
            self.settled.clear();
            self.settings = Settings::Unsafe;
        }
        checked?;
        if matches!(self.settings, Settings::Unknown) {
            self.say_what_is_not_told().await?;
        }
        self.settings = Settings::Safe { seen: Instant::now() };
        Ok(())
    }

    /// Managed servers hide some of their settings: then somebody else has to check them.
    async fn say_what_is_not_told(&self) -> Result<(), Error> {
        for told in self.stock.durability().await? {
            let (server, settings) = (&told.server, told.unknown());
            if !settings.is_empty() {
                tracing::warn!(server, ?settings, "Redis does not tell how it is set: it is taken for safe");
            }
        }
        Ok(())
    }
}
