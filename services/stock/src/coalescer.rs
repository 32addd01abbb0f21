//! How purchases get to Redis: each replica sends everything that arrived during its previous call as one
//! call. Sold-out sales cost next to nothing (see `sold_out.rs`).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::StockError;
use crate::id::SaleId;
use crate::lane::{Lanes, Width};
use crate::reply::unexpected;
use crate::reservation::{PaymentOutcome, Reserve, ReserveOutcome, SubmitPayment};
use crate::stock::Stock;

/// How much a [`Coalescer`] gathers, and how much it lets wait.
#[derive(Debug, Clone, Copy)]
pub struct CoalescerLimits {
    /// Most wishes in one call.
    pub max_batch: usize,
    /// Most wishes waiting per sale. One more is refused as [`StockError::Overloaded`].
    pub max_waiting: usize,
    /// We also refuse a wish that would wait longer than this before it leaves, going by how long the last
    /// call took. It is shorter than anybody's patience, so a wish that is not refused gets an answer.
    pub max_wait: Duration,
    /// How many waiting wishes make a second call leave while one is under way.
    pub crowd: usize,
    /// How long we believe that a sold-out SKU stays sold out; at most 1 s is sensible.
    pub sold_out_for: Duration,
}

impl Default for CoalescerLimits {
    fn default() -> Self {
        Self {
            max_batch: 256,
            max_waiting: 4096,
            max_wait: Duration::from_secs(2),
            crowd: 64,
            sold_out_for: Duration::from_secs(1),
        }
    }
}

/// Cheap to clone; all clones share their queues. Have one per process.
#[derive(Clone)]
pub struct Coalescer {
    reservations: Arc<Lanes<Reserve, ReserveOutcome>>,
    payments: Arc<Lanes<SubmitPayment, PaymentOutcome>>,
}

impl fmt::Debug for Coalescer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coalescer").finish_non_exhaustive()
    }
}

impl Coalescer {
    pub fn new(stock: Stock, limits: CoalescerLimits) -> Self {
        let payments_of = stock.clone();
        let CoalescerLimits { max_batch, max_waiting, max_wait, crowd, sold_out_for } = limits;
        let width = Width { max_batch, max_waiting, max_wait, crowd };
        let reservations = Lanes::new("reserve", width, move |sale, wishes: Vec<Reserve>| {
            let stock = stock.clone();
            async move { reserve(&stock, sold_out_for, sale, wishes).await }
        });
        let payments = Lanes::new("submit_payment", width, move |sale, wishes: Vec<SubmitPayment>| {
            let stock = payments_of.clone();
            async move { stock.submit_payments(sale, &wishes).await }
        });
        Self { reservations: Arc::new(reservations), payments: Arc::new(payments) }
    }

    /// Like [`Stock::reserve`] for one wish. After [`StockError::Unknown`] the reservation may exist: ask
    /// again with the same key. If a caller goes away while waiting, its wish is not sent.
    pub async fn reserve(&self, wish: Reserve) -> Result<ReserveOutcome, StockError> {
        if let Some((field, rule)) = wish.flaw(wish.sale) {
            return Ok(ReserveOutcome::Invalid { field: field.to_owned(), rule: rule.to_owned() });
        }
        self.reservations.submit(wish.sale, wish).await
    }

    /// Like [`Stock::submit_payment`].
    pub async fn submit_payment(&self, wish: SubmitPayment) -> Result<PaymentOutcome, StockError> {
        self.payments.submit(wish.sale, wish).await
    }
}

/// Decides a batch. Wishes for SKUs that are marked as sold out are refused unless their key is known. The
/// rest goes to Redis in order.
async fn reserve(
    stock: &Stock,
    sold_out_for: Duration,
    sale: SaleId,
    wishes: Vec<Reserve>,
) -> Result<Vec<ReserveOutcome>, StockError> {
    let mut outcomes = refuse_sold_out(stock, sold_out_for, sale, &wishes).await?;
    let open: Vec<Reserve> = wishes
        .into_iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| outcome.is_none())
        .map(|(wish, _)| wish)
        .collect();
    let restocks = stock.sold_out.restocks(sale);
    let decided = stock.reserve(sale, &open).await?;
    for outcome in &decided {
        if let ReserveOutcome::SoldOut { sku, remaining: 0 } = outcome {
            stock.sold_out.set(sale, sku, restocks);
        }
    }
    let mut decided = decided.into_iter();
    for outcome in &mut outcomes {
        if outcome.is_none() {
            *outcome = decided.next();
        }
    }
    outcomes
        .into_iter()
        .map(|outcome| outcome.ok_or_else(|| unexpected("one more outcome", "the end")))
        .collect()
}

/// The refusals among the wishes. `None` means that Redis has to decide.
async fn refuse_sold_out(
    stock: &Stock,
    sold_out_for: Duration,
    sale: SaleId,
    wishes: &[Reserve],
) -> Result<Vec<Option<ReserveOutcome>>, StockError> {
    let marked_sku = |wish: &Reserve| {
        let marked = wish.lines.iter().find(|line| stock.sold_out.is_fresh(sale, &line.sku, sold_out_for));
        marked.map(|line| line.sku.clone())
    };
    let mut refusals: Vec<_> = wishes
        .iter()
        .map(|wish| marked_sku(wish).map(|sku| ReserveOutcome::SoldOut { sku, remaining: 0 }))
        .collect();
    if refusals.iter().all(Option::is_none) {
        return Ok(refusals);
    }
    let known = stock.known_keys(sale, wishes).await?;
    for (refusal, known) in refusals.iter_mut().zip(known) {
        if known {
            *refusal = None;
        }
    }
    let refused = refusals.iter().flatten().count();
    metrics::counter!("rocketmart_stock_marked_sold_out_total").increment(refused as u64);
    Ok(refusals)
}
