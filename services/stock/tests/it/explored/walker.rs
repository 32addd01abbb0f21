//! Walks paths of the model on the functions of a real Redis.

use std::collections::HashMap;
use std::time::Duration;

use rocketmart_stock::{
    BuyerId, ConfirmOutcome, OrderId, PaymentDetails, PaymentOutcome, ReleaseOutcome, ReleaseReason,
    Reservation, ReserveOutcome, SubmitPayment,
};
use uuid::Uuid;

use super::way::{Action, InRedis, Payment, State};
use super::{BUYER_OF, UNITS};
use crate::support::{Sale, TEA, wish};

/// Longer than a walk: in the model, a submitted payment never expires.
const GRACE: Duration = Duration::from_hours(1);

pub(super) struct Walker<'a> {
    pub(super) sale: &'a Sale,
    pub(super) reservations: HashMap<usize, Reservation>,
}

fn buyer(at: usize) -> BuyerId {
    BuyerId(Uuid::from_u128(1 + BUYER_OF[at] as u128))
}

impl Walker<'_> {
    fn order(&self, at: usize) -> OrderId {
        self.reservations[&at].order
    }

    /// Does `action` in Redis, and compares the answers.
    pub(super) async fn step(&mut self, before: &State, action: Action) {
        let (stock, id) = (&self.sale.stock, self.sale.id());
        match action {
            Action::Reserve(at) => {
                let wanted = wish(id, buyer(at), &format!("key-{at}"), &[(TEA, 1)]);
                let found = self.sale.decide(&wanted).await;
                let ReserveOutcome::Reserved(reservation) = found else { panic!("{found:?}") };
                self.reservations.insert(at, reservation);
                // I6: the same key gives the same order, and another body is an error.
                let again = self.sale.decide(&wanted).await;
                assert!(
                    matches!(&again, ReserveOutcome::Duplicate(same) if same.order == self.order(at)),
                    "{again:?}"
                );
                let other = wish(id, buyer(at), &format!("key-{at}"), &[(TEA, 2)]);
                assert_eq!(self.sale.decide(&other).await, ReserveOutcome::KeyReused);
            }
            Action::Submit(at) => {
                let payment = SubmitPayment {
                    sale: id,
                    order: self.order(at),
                    buyer: buyer(at),
                    details: Some(PaymentDetails::default()),
                    traceparent: None,
                };
                let found = stock.submit_payments(id, &[payment]).await.unwrap().remove(0);
                assert!(matches!(found, PaymentOutcome::Submitted(_)), "{found:?}");
            }
            Action::Cancel(at) => {
                for expected in
                    [ReleaseOutcome::Released, ReleaseOutcome::AlreadyReleased(ReleaseReason::Cancelled)]
                {
                    assert_eq!(stock.cancel(id, self.order(at), buyer(at)).await, Ok(expected));
                }
            }
            Action::DeadlinePasses(at) => self.sale.let_deadline_pass(&self.reservations[&at]).await,
            Action::Expire => {
                let due =
                    before.iter().filter(|order| order.redis == InRedis::Reserved { past: true }).count();
                for expected in [due, 0] {
                    let expired = stock.expire(id, 10, GRACE).await.unwrap();
                    assert_eq!(expired.released, expected);
                }
            }
            Action::AskAndDie(at) | Action::Settle(at) => self.ask(before, at).await,
            Action::Deliver(_) | Action::Charge(_) | Action::Decline(_) | Action::Refund(_) => {}
        }
    }

    async fn ask(&self, before: &State, at: usize) {
        let (stock, id, order) = (&self.sale.stock, self.sale.id(), self.order(at));
        let mut model = before[at];
        if before[at].payment == Payment::Succeeded {
            let found = stock.confirm(id, &[order]).await.unwrap().remove(0);
            let won = matches!(found, ConfirmOutcome::Confirmed | ConfirmOutcome::AlreadyConfirmed);
            assert_eq!(won, model.confirm(), "{found:?}");
        } else {
            let found = stock.release(id, &[(order, ReleaseReason::PaymentFailed)]).await.unwrap().remove(0);
            let now = found == ReleaseOutcome::Released;
            assert_eq!(now, model.redis.is_outstanding(), "{found:?}");
        }
    }

    pub(super) async fn compare(&self, state: &State, path: &[(State, Action, State)]) {
        let count = |wanted: fn(InRedis) -> bool| state.iter().filter(|order| wanted(order.redis)).count();
        let sold = count(|found| found == InRedis::Confirmed);
        let reserved = count(InRedis::is_outstanding);
        let expected = (UNITS - sold - reserved, reserved, sold);
        let (remaining, really_reserved, really_sold) = self.sale.tea().await;
        let found = [remaining, really_reserved, really_sold].map(|units| units as usize);
        assert_eq!(
            found,
            [expected.0, expected.1, expected.2],
            "{:?}",
            path.iter().map(|step| step.1).collect::<Vec<_>>()
        );
    }
}
