//! Asking Redis what a payment's outcome changes.
//!
//! A payment that succeeded confirms its reservation, one that failed releases it, and whichever
//! decision Redis saw first stands. Redis is asked before SQL is written: cut short in between, the
//! events come again and Redis answers the same.

use std::collections::{BTreeMap, HashMap};

use anyhow::anyhow;
use futures::future::try_join_all;
use rocketmart_kit::kafka::HandleError;
use rocketmart_stock::{ConfirmOutcome, OrderId, ReleaseOutcome, ReleaseReason, SaleId, Stock, StockError};
use uuid::Uuid;

use super::read::News;
use crate::domain::batch::Fact;
use crate::domain::order::{Order, Verdict};
use crate::domain::state::OrderState;

/// Verdicts on the payments of a batch, by the place of their event.
pub(super) type Verdicts = HashMap<usize, Verdict>;

/// What is known of an order before Redis is asked.
#[derive(Clone, Copy)]
enum Known<'a> {
    /// As last committed.
    Booked(&'a Order),
    /// Reserved by an event of the same batch.
    JustReserved { sale: Uuid, amount: i64, currency: &'a str },
}

impl Known<'_> {
    fn sale(self) -> SaleId {
        SaleId(match self {
            Self::Booked(order) => order.sale_id,
            Self::JustReserved { sale, .. } => sale,
        })
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

#[derive(Default)]
struct Questions {
    confirm: BTreeMap<SaleId, Vec<(usize, OrderId)>>,
    release: BTreeMap<SaleId, Vec<(usize, OrderId)>>,
}

/// Redis' verdicts on every payment in `news`. `orders` are those of the payments, as committed.
pub(super) async fn ask(stock: &Stock, news: &[News], orders: &[Order]) -> Result<Verdicts, HandleError> {
    let known = known(news, orders);
    let mut verdicts = Verdicts::new();
    let mut questions = Questions::default();
    for (index, news) in news.iter().enumerate() {
        let (News::PaymentSucceeded(_) | News::PaymentFailed(_)) = news else { continue };
        let Some((id, order)) = news.order_id().and_then(|id| Some((id, *known.get(&id)?))) else {
            // Payments are asked for once an order is in SQL, so it must appear.
            return Err(HandleError::Retry(anyhow!(
                "a payment of an order that is not known: {:?}",
                news.order_id()
            )));
        };
        if let Some(verdict) = decided(news, order) {
            verdicts.insert(index, verdict);
        } else {
            let of_kind = if matches!(news, News::PaymentSucceeded(_)) {
                &mut questions.confirm
            } else {
                &mut questions.release
            };
            of_kind.entry(order.sale()).or_default().push((index, OrderId(id)));
        }
    }
    // Confirms go first: of two tidings about one order in one batch either may win, but both books
    // must hear of the same winner.
    let confirmed = questions.confirm.iter().map(|(sale, asked)| confirm(stock, *sale, asked));
    verdicts.extend(try_join_all(confirmed).await.map_err(away)?.into_iter().flatten());
    let released = questions.release.iter().map(|(sale, asked)| release(stock, *sale, asked));
    verdicts.extend(try_join_all(released).await.map_err(away)?.into_iter().flatten());
    Ok(verdicts)
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

async fn confirm(
    stock: &Stock,
    sale: SaleId,
    asked: &[(usize, OrderId)],
) -> Result<Vec<(usize, Verdict)>, StockError> {
    let orders: Vec<_> = asked.iter().map(|(_, order)| *order).collect();
    let outcomes = stock.confirm(sale, &orders).await?;
    asked
        .iter()
        .zip(outcomes)
        .map(|((index, order), outcome)| match outcome {
            ConfirmOutcome::Confirmed | ConfirmOutcome::AlreadyConfirmed => Ok((*index, Verdict::Won)),
            ConfirmOutcome::Released(_) => Ok((*index, Verdict::Lost)),
            ConfirmOutcome::Unknown => Err(lost(sale, *order)),
        })
        .collect()
}

async fn release(
    stock: &Stock,
    sale: SaleId,
    asked: &[(usize, OrderId)],
) -> Result<Vec<(usize, Verdict)>, StockError> {
    let orders: Vec<_> = asked.iter().map(|(_, order)| (*order, ReleaseReason::PaymentFailed)).collect();
    let outcomes = stock.release(sale, &orders).await?;
    asked
        .iter()
        .zip(outcomes)
        .map(|((index, order), outcome)| match outcome {
            ReleaseOutcome::Released | ReleaseOutcome::AlreadyReleased(ReleaseReason::PaymentFailed) => {
                Ok((*index, Verdict::Won))
            }
            ReleaseOutcome::AlreadyReleased(_)
            | ReleaseOutcome::AlreadyConfirmed
            | ReleaseOutcome::NotDue => Ok((*index, Verdict::Lost)),
            ReleaseOutcome::Unknown => Err(lost(sale, *order)),
        })
        .collect()
}

/// SQL has the order as reserved and Redis has never heard of it: Redis has lost something. Nothing
/// may be decided until it is rebuilt.
fn lost(sale: SaleId, order: OrderId) -> StockError {
    StockError::Unavailable(format!("Redis does not know order {order} of sale {sale}"))
}

fn away(error: StockError) -> HandleError {
    HandleError::Retry(error.into())
}
