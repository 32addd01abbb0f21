//! Asking Redis what a payment's outcome changes.
//!
//! A payment that succeeded confirms its reservation. One that failed leaves it to its buyer, who may pay in
//! another way until the deadline; when nothing may be charged any more, or the deadline has passed, it
//! releases the reservation. Whichever decision Redis saw first stands. Redis is asked before SQL is
//! written: cut short in between, the events come again and Redis answers the same.
//!
//! A Redis that has lost something has no verdicts: what it knows of the sale is not the sale. Its payments
//! are deferred until it is rebuilt. Only one that failed may have to be decided before: a reservation may
//! wait for the units that it gives back, and the rebuild for that reservation. Then SQL has everything that
//! Redis ever told, Redis decides nothing any more, and SQL takes its place.

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

/// Verdicts on the payments of a batch, by the place of their event.
type Verdicts = HashMap<usize, Verdict>;

/// What came of asking about a batch.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) verdicts: Verdicts,
    /// Payments without a verdict, and the sales that Redis is not believed about; [`SALE_UNKNOWN`] when the
    /// order is not known.
    pub(super) deferred: HashMap<usize, Uuid>,
    /// The sales that were asked about, and their incarnations then.
    pub(super) incarnations: HashMap<Uuid, i32>,
}

/// What is known of an order before Redis is asked.
#[derive(Clone, Copy)]
enum Known<'a> {
    /// As last committed.
    Booked(&'a Order),
    /// Reserved by an event of the same batch.
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

/// What Redis is asked about one sale.
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
                // A number that is none is that of no payment under way.
                let number = u32::try_from(event.attempt()).unwrap_or_default();
                self.decline.push((index, (order, number)));
            }
            _ => self.confirm.push((index, order)),
        }
    }

    fn indices(&self) -> impl Iterator<Item = usize> {
        self.confirm.iter().chain(&self.release).map(|(index, _)| *index).chain(self.failures())
    }

    /// Those of payments that failed while another one may follow.
    fn failures(&self) -> impl Iterator<Item = usize> {
        self.decline.iter().map(|(index, _)| *index)
    }
}

/// Redis' verdicts on every payment in `news`. `orders` are those of the payments, as committed.
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
            // Payments are asked for once an order is in SQL, so SQL was restored from a backup: the order comes
            // again, perhaps behind this.
            asked.deferred.insert(index, SALE_UNKNOWN);
            continue;
        };
        if let Some(verdict) = decided(news, order) {
            asked.verdicts.insert(index, verdict);
        } else {
            questions.entry(order.sale()).or_default().add(index, OrderId(id), news);
        }
    }
    // Before Redis is asked: a sale that is rebuilt in between has another incarnation.
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

/// The verdicts about one sale; when Redis is not believed about it, at most those of the books.
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
        // Whether there was time to pay in another way is lost with Redis: the units may be spoken for.
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

/// The verdict where Redis need not be asked: SQL repeats what Redis decided earlier (and Redis may
/// have forgotten a finished sale), and a charge of another amount must not confirm anything.
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
/// Confirms go first: of two tidings about one order in one batch either may win, but both books must hear
/// of the same winner.
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
