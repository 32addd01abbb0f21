//! What a Redis that lost a sale has to hold again, derived from what SQL has of each order.
//!
//! Redis decided and SQL followed, so SQL was not ahead when Redis was lost (though it may since have
//! decided failed payments). What Redis had decided and not yet told is lost with it, and the units of such
//! a decision are free again.

use std::collections::BTreeMap;

use rocketmart_contracts::event::ReleaseReason;
use uuid::Uuid;

use super::ledger::Counters;
use super::order::{Line, PaymentState};
use super::state::OrderState;

/// What SQL has of one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    pub order_id: Uuid,
    pub buyer_id: Uuid,
    pub state: OrderState,
    /// Whether its money was taken at some time: Redis knows nothing of what came after.
    pub was_paid: bool,
    pub payment: PaymentState,
    /// The number of its last payment.
    pub payment_attempt: i32,
    /// A successful payment waits to be booked.
    pub payment_waits: bool,
    pub lines: Vec<Line>,
    pub amount: i64,
    pub reserved_at_ms: i64,
    pub pay_by_ms: i64,
    pub payment_method_id: Option<Uuid>,
    pub delivery_address_id: Option<Uuid>,
    /// The idempotency key and the fingerprint of the request.
    pub wish: Option<(String, String)>,
}

/// How Redis has to know an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InRedis {
    /// Held until its deadline.
    Reserved,
    /// Held, but past its deadline: it can no longer be paid.
    Lapsed,
    /// Its payment is under way.
    Submitted,
    /// Sold, whatever happened to it afterwards.
    Confirmed,
    Released(ReleaseReason),
}

impl Remembered {
    /// A waiting payment was made in time: nobody released the order before the payment came. So the order
    /// is already sold, and must not expire before it is booked.
    pub fn in_redis(&self) -> InRedis {
        match self.by_books() {
            InRedis::Reserved | InRedis::Lapsed | InRedis::Submitted if self.payment_waits => {
                InRedis::Confirmed
            }
            by_books => by_books,
        }
    }

    fn by_books(&self) -> InRedis {
        match self.state {
            _ if self.was_paid => InRedis::Confirmed,
            OrderState::Expired => InRedis::Released(ReleaseReason::Expired),
            OrderState::Cancelled => InRedis::Released(ReleaseReason::Cancelled),
            OrderState::PaymentFailed => InRedis::Released(ReleaseReason::PaymentFailed),
            OrderState::Reserved => match self.payment {
                // After a failed payment there may be another until the deadline.
                PaymentState::None | PaymentState::Failed => InRedis::Reserved,
                PaymentState::Requested => InRedis::Submitted,
                // Its payment ended without paying for it. Either Redis had released the order and the news
                // was lost on its way here, or the amount was wrong.
                _ => InRedis::Lapsed,
            },
            _ => InRedis::Confirmed,
        }
    }
}

impl Remembered {
    /// How many payments failed, not counting one that is under way.
    pub fn declined_payments(&self) -> u32 {
        let under_way = i32::from(self.payment == PaymentState::Requested);
        u32::try_from(self.payment_attempt - under_way).unwrap_or_default()
    }
}

/// The units of the sale's SKUs as SQL counts them.
pub type Ledger<'a> = BTreeMap<&'a str, Counters>;

/// Where the orders and the ledger of a sale disagree. We do not rebuild a sale from books that do.
pub fn disagreements(orders: &[Remembered], ledger: &Ledger<'_>) -> Vec<String> {
    let mut counted: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for order in orders {
        for line in &order.lines {
            let (reserved, sold) = counted.entry(&line.sku).or_default();
            match order.by_books() {
                InRedis::Reserved | InRedis::Lapsed | InRedis::Submitted => *reserved += line.quantity,
                InRedis::Confirmed => *sold += line.quantity,
                InRedis::Released(_) => {}
            }
        }
    }
    let mut found = Vec::new();
    for (sku, units) in ledger {
        let (reserved, sold) = counted.remove(sku).unwrap_or_default();
        if (reserved, sold) != (units.reserved, units.sold) || !units.balanced() {
            found.push(format!(
                "{sku}: the orders hold {reserved} reserved and {sold} sold, the ledger has {units:?}"
            ));
        }
    }
    found.extend(counted.into_keys().map(|sku| format!("{sku}: ordered, but not part of the sale")));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(state: OrderState, was_paid: bool, payment: PaymentState) -> Remembered {
        Remembered {
            order_id: Uuid::nil(),
            buyer_id: Uuid::nil(),
            state,
            was_paid,
            payment,
            payment_attempt: i32::from(payment != PaymentState::None),
            payment_waits: false,
            lines: vec![Line { sku: "MUG".into(), quantity: 2, unit_price: 5 }],
            amount: 10,
            reserved_at_ms: 1,
            pay_by_ms: 2,
            payment_method_id: None,
            delivery_address_id: None,
            wish: None,
        }
    }

    #[test]
    fn every_order_is_known_to_redis_as_it_was_decided() {
        let of = |state, was_paid, payment| order(state, was_paid, payment).in_redis();
        assert_eq!(of(OrderState::Reserved, false, PaymentState::None), InRedis::Reserved);
        assert_eq!(of(OrderState::Reserved, false, PaymentState::Requested), InRedis::Submitted);
        // Whatever happened to it after it was paid, it stays sold.
        for state in [
            OrderState::Paid,
            OrderState::Shipped,
            OrderState::Completed,
            OrderState::Cancelled,
            OrderState::ReturnRequested,
            OrderState::Returned,
            OrderState::Refunded,
        ] {
            assert_eq!(of(state, true, PaymentState::Refunded), InRedis::Confirmed, "{state}");
        }
        let cancelled = InRedis::Released(ReleaseReason::Cancelled);
        assert_eq!(of(OrderState::Cancelled, false, PaymentState::None), cancelled);
        let expired = InRedis::Released(ReleaseReason::Expired);
        assert_eq!(of(OrderState::Expired, false, PaymentState::Refunded), expired);
    }

    #[test]
    fn a_payment_that_ended_without_paying_leaves_nothing_to_wait_for() {
        for payment in [PaymentState::RefundRequested, PaymentState::Refunded, PaymentState::RefundFailed] {
            assert_eq!(order(OrderState::Reserved, false, payment).in_redis(), InRedis::Lapsed);
        }
    }

    #[test]
    fn p4_an_order_whose_payment_failed_may_still_be_paid_by_the_next_one() {
        let failed = order(OrderState::Reserved, false, PaymentState::Failed);
        assert_eq!((failed.in_redis(), failed.declined_payments()), (InRedis::Reserved, 1));
        let again = Remembered { payment: PaymentState::Requested, payment_attempt: 2, ..failed };
        assert_eq!((again.in_redis(), again.declined_payments()), (InRedis::Submitted, 1));
        let first = order(OrderState::Reserved, false, PaymentState::Requested);
        assert_eq!(first.declined_payments(), 0);
    }

    #[test]
    fn an_order_whose_payment_waits_is_sold_unless_it_was_released_before() {
        let waits =
            |state| Remembered { payment_waits: true, ..order(state, false, PaymentState::Requested) };
        assert_eq!(waits(OrderState::Reserved).in_redis(), InRedis::Confirmed);
        let expired = InRedis::Released(ReleaseReason::Expired);
        assert_eq!(waits(OrderState::Expired).in_redis(), expired, "its money goes back");
        // The ledger has it as reserved until it is booked.
        let ledger = Ledger::from([("MUG", Counters { preloaded: 2, remaining: 0, reserved: 2, sold: 0 })]);
        assert!(disagreements(&[waits(OrderState::Reserved)], &ledger).is_empty());
    }

    #[test]
    fn books_that_disagree_are_told_and_not_built_upon() {
        let orders = [
            order(OrderState::Reserved, false, PaymentState::None),
            order(OrderState::Paid, true, PaymentState::Succeeded),
            order(OrderState::Expired, false, PaymentState::None),
        ];
        let ledger = |reserved, sold| {
            Ledger::from([(
                "MUG",
                Counters { preloaded: 10, remaining: 10 - reserved - sold, reserved, sold },
            )])
        };
        assert!(disagreements(&orders, &ledger(2, 2)).is_empty());
        assert_eq!(disagreements(&orders, &ledger(0, 2)).len(), 1);
        assert_eq!(disagreements(&orders, &Ledger::new()).len(), 1);
    }
}
