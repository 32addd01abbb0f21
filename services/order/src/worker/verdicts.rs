//! Asks Redis what the outcome of a payment changes.
//!
//! A successful payment confirms its reservation. A failed payment leaves the reservation to its buyer, who
//! may pay in another way until the deadline. When nothing may be charged any more, or the deadline has
//! passed, a failed payment releases the reservation. Whichever decision Redis saw first stands. We ask
//! Redis before we write SQL: if we are cut short in between, the events come again, and Redis gives the
//! same answer.
//!
//! A Redis that has lost something has no verdicts: what it knows of the sale is not the sale. Its payments
//! are deferred until the rebuild. Only a failed payment may have to be decided earlier: a reservation may
//! wait for the units that it gives back, and the rebuild for that reservation. By then SQL has everything
//! that Redis ever told, and Redis decides nothing any more, so SQL takes its place.

use std::collections::{BTreeMap, HashMap};

use anyhow::anyhow;
use futures::future::try_join_all;
use rocketmart_kit::kafka::HandleError;
use rocketmart_stock::{
    ConfirmOutcome, DeclineOutcome, OrderId, ReleaseOutcome, ReleaseReason, SaleId, Stock, StockError,
};
use sqlx::PgPool;
use uuid::Uuid;

use super::read::News;
use crate::domain::batch::Fact;
use crate::domain::order::{Order, Verdict};
use crate::domain::state::OrderState;
use crate::store::parked::SALE_UNKNOWN;
use crate::store::trust::{self, Trust};
use crate::vouch::{self, Seen};

/// Verdicts on the payments of a batch, by the index of their event.
type Verdicts = HashMap<usize, Verdict>;

/// The answers about a batch.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) verdicts: Verdicts,
    /// Payments without a verdict, with the sales about which we do not trust Redis; [`SALE_UNKNOWN`] when
    /// the order is not known.
    pub(super) deferred: HashMap<usize, Uuid>,
    /// The sales we asked about, and their incarnations at that time.
    pub(super) incarnations: HashMap<Uuid, i32>,
}

/// What we know about an order before we ask Redis.
#[derive(Clone, Copy)]
enum Known<'a> {
    /// As last committed.
    Booked(&'a Order),
    /// An event of the same batch reserved it.
    JustReserved { sale: Uuid, amount: i64, currency: &'a str },
}

impl Known<'_> {
    fn sale(self) -> Uuid {
        match self {
            Self::Booked(order) => order.sale_id,
            Self::JustReserved { sale, .. } => sale,
        }
    }

    fn state(self) -> OrderState {
        match self {
            Self::Booked(order) => order.state,
            Self::JustReserved { .. } => OrderState::Reserved,
        }
    }

    fn was_paid(self) -> bool {
        matches!(self, Self::Booked(order) if order.was_paid())
    }

    fn is_price(self, charged: i64, in_currency: &str) -> bool {
        match self {
            Self::Booked(order) => order.is_price(charged, in_currency),
            Self::JustReserved { amount, currency, .. } => amount == charged && currency == in_currency,
        }
    }
}

/// What to ask Redis about one sale.
#[derive(Default)]
struct Questions {
    confirm: Vec<(usize, OrderId)>,
    release: Vec<(usize, OrderId)>,
    /// With the numbers of the payments.
    decline: Vec<(usize, (OrderId, u32))>,
}

impl Questions {
    fn add(&mut self, index: usize, order: OrderId, news: &News) {
        match news {
            News::PaymentFailed(event) if event.closed => self.release.push((index, order)),
            News::PaymentFailed(event) => {
                // An impossible number matches no payment under way.
                let number = u32::try_from(event.attempt()).unwrap_or_default();
                self.decline.push((index, (order, number)));
            }
            _ => self.confirm.push((index, order)),
        }
    }

    fn indices(&self) -> impl Iterator<Item = usize> {
        self.confirm.iter().chain(&self.release).map(|(index, _)| *index).chain(self.failures())
    }

    /// Failed payments that another one may follow.
    fn failures(&self) -> impl Iterator<Item = usize> {
        self.decline.iter().map(|(index, _)| *index)
    }
}

/// Redis' verdicts on every payment in `news`. `orders` are the orders of those payments, as committed.
pub(super) async fn ask(
    pool: &PgPool,
    stock: &Stock,
    news: &[News],
    orders: &[Order],
) -> Result<Asked, HandleError> {
    let known = known(news, orders);
    let mut asked = Asked::default();
    let mut questions: BTreeMap<Uuid, Questions> = BTreeMap::new();
    for (index, news) in news.iter().enumerate() {
        let (News::PaymentSucceeded(_) | News::PaymentFailed(_)) = news else { continue };
        let Some((id, order)) = news.order_id().and_then(|id| Some((id, *known.get(&id)?))) else {
            // A payment is requested only once its order is in SQL. So SQL was restored from a backup, and
            // the order comes again, perhaps after this.
            asked.deferred.insert(index, SALE_UNKNOWN);
            continue;
        };
        if let Some(verdict) = decided(news, order) {
            asked.verdicts.insert(index, verdict);
        } else {
            questions.entry(order.sale()).or_default().add(index, OrderId(id), news);
        }
    }
    // Before we ask Redis: a sale that is rebuilt in between gets another incarnation.
    let sales: Vec<Uuid> = questions.keys().copied().collect();
    let trusts = trust::of(pool, &sales).await?;
    let answers = questions.iter().map(async |(sale, questions)| {
        let trust = trusts.get(sale).cloned().unwrap_or_default();
        let answer = decide(pool, stock, *sale, &trust, questions).await?;
        anyhow::Ok((*sale, trust.incarnation, questions, answer))
    });
    for (sale, incarnation, questions, answer) in try_join_all(answers).await? {
        if !answer.is_empty() {
            asked.incarnations.insert(sale, incarnation);
        }
        let unanswered = questions.indices().filter(|index| !answer.contains_key(index));
        asked.deferred.extend(unanswered.map(|index| (index, sale)));
        asked.verdicts.extend(answer);
    }
    Ok(asked)
}

/// The verdicts about one sale. If we do not trust Redis about it, there are at most those of the books.
async fn decide(
    pool: &PgPool,
    stock: &Stock,
    sale: Uuid,
    trust: &Trust,
    questions: &Questions,
) -> anyhow::Result<Verdicts> {
    if trust.doubt.is_some() {
        if !trust.books_decide {
            return Ok(Verdicts::new());
        }
        // With Redis we have lost whether there was time to pay in another way: the units may be spoken
        // for.
        let released = questions.release.iter().map(|(index, _)| *index);
        return Ok(released.chain(questions.failures()).map(|index| (index, Verdict::Won)).collect());
    }
    let unknown = match put(stock, SaleId(sale), questions).await {
        Ok(Ok(verdicts)) => return Ok(verdicts),
        Ok(Err(unknown)) => Some(unknown),
        Err(StockError::Unvouched) => None,
        Err(error) => return Err(error.into()),
    };
    match (vouch::look(pool, stock, sale).await?, unknown) {
        (Seen::Doubted(_), _) => Ok(Verdicts::new()),
        // SQL has the order as reserved, and Redis has never heard of it.
        (Seen::Vouched, Some(order)) => {
            let reason = format!("Redis does not know order {order}");
            vouch::doubt(pool, stock, sale, trust.incarnation, &reason).await?;
            Ok(Verdicts::new())
        }
        (seen, _) => Err(anyhow!("sale {sale} could not be asked; now it is {seen:?}")),
    }
}

fn known<'a>(news: &'a [News], orders: &'a [Order]) -> HashMap<Uuid, Known<'a>> {
    let mut known: HashMap<Uuid, Known<'a>> = HashMap::with_capacity(orders.len());
    for news in news {
        if let News::Fact(Fact::Reserved(event)) = news {
            let of =
                Known::JustReserved { sale: event.sale_id, amount: event.amount, currency: &event.currency };
            known.insert(event.order_id, of);
        }
    }
    known.extend(orders.iter().map(|order| (order.id, Known::Booked(order))));
    known
}

/// The verdict where we need not ask Redis. SQL repeats what Redis decided earlier (and Redis may have
/// forgotten a finished sale). A charge of another amount must not confirm anything.
fn decided(news: &News, order: Known<'_>) -> Option<Verdict> {
    let won = |won| Some(if won { Verdict::Won } else { Verdict::Lost });
    match (news, order.state()) {
        (News::PaymentSucceeded(event), _) if !order.is_price(event.amount, &event.currency) => won(false),
        (_, OrderState::Reserved) => None,
        (News::PaymentFailed(_), state) => won(state == OrderState::PaymentFailed),
        (..) => won(order.was_paid()),
    }
}

/// Puts the questions; the inner error is an order that Redis does not know.
///
/// Confirms go first. When one batch has two pieces of news about one order, either may win, but both books
/// must hear of the same winner.
async fn put(
    stock: &Stock,
    sale: SaleId,
    questions: &Questions,
) -> Result<Result<Verdicts, OrderId>, StockError> {
    let mut verdicts = Verdicts::new();
    if !questions.confirm.is_empty() {
        let orders: Vec<_> = questions.confirm.iter().map(|(_, order)| *order).collect();
        for ((index, order), outcome) in questions.confirm.iter().zip(stock.confirm(sale, &orders).await?) {
            let verdict = match outcome {
                ConfirmOutcome::Confirmed | ConfirmOutcome::AlreadyConfirmed => Verdict::Won,
                ConfirmOutcome::Released(_) => Verdict::Lost,
                ConfirmOutcome::Unknown => return Ok(Err(*order)),
            };
            verdicts.insert(*index, verdict);
        }
    }
    if !questions.decline.is_empty() {
        let payments: Vec<_> = questions.decline.iter().map(|(_, payment)| *payment).collect();
        let outcomes = stock.decline_payments(sale, &payments).await?;
        for ((index, (order, _)), outcome) in questions.decline.iter().zip(outcomes) {
            let verdict = match outcome {
                DeclineOutcome::Held => Verdict::Held,
                DeclineOutcome::Released | DeclineOutcome::AlreadyReleased(ReleaseReason::PaymentFailed) => {
                    Verdict::Won
                }
                DeclineOutcome::AlreadyReleased(_) | DeclineOutcome::AlreadyConfirmed => Verdict::Lost,
                DeclineOutcome::Unknown => return Ok(Err(*order)),
            };
            verdicts.insert(*index, verdict);
        }
    }
    if !questions.release.is_empty() {
        let orders: Vec<_> =
            questions.release.iter().map(|(_, order)| (*order, ReleaseReason::PaymentFailed)).collect();
        for ((index, order), outcome) in questions.release.iter().zip(stock.release(sale, &orders).await?) {
            let verdict = match outcome {
                ReleaseOutcome::Released | ReleaseOutcome::AlreadyReleased(ReleaseReason::PaymentFailed) => {
                    Verdict::Won
                }
                ReleaseOutcome::AlreadyReleased(_)
                | ReleaseOutcome::AlreadyConfirmed
                | ReleaseOutcome::NotDue => Verdict::Lost,
                ReleaseOutcome::Unknown => return Ok(Err(*order)),
            };
            verdicts.insert(*index, verdict);
        }
    }
    Ok(Ok(verdicts))
}
