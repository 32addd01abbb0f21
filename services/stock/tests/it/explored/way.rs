//! An order's way as a model: where it stands in Redis, in SQL and at the provider, and what can happen to it
//! next.

use super::{BUYER_OF, UNITS};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum InRedis {
    Absent,
    Reserved { past: bool },
    Submitted,
    Confirmed,
    Expired,
    Cancelled,
    PaymentFailed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum InSql {
    Absent,
    Reserved,
    Paid,
    Released,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Payment {
    None,
    /// order-worker has asked for the money.
    Requested,
    /// The outcome is on its way; the provider has charged.
    Succeeded,
    Declined,
    /// order-worker has heard the outcome.
    Settled {
        charged: bool,
    },
    RefundRequested,
    Refunded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Event {
    Reserved,
    Submitted,
    Released,
}

/// One order, everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Order {
    pub(super) redis: InRedis,
    pub(super) sql: InSql,
    pub(super) payment: Payment,
    /// What Redis has said about it, and how much of that SQL has committed.
    pub(super) stream: [Option<Event>; 3],
    pub(super) committed: u8,
}

pub(super) type State = [Order; BUYER_OF.len()];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Reserve(usize),
    Submit(usize),
    Cancel(usize),
    DeadlinePasses(usize),
    Expire,
    /// SQL commits an order's next event.
    Deliver(usize),
    Charge(usize),
    Decline(usize),
    /// order-worker asks Redis about a payment's outcome, and dies before it writes to SQL.
    AskAndDie(usize),
    /// The same, and it lives.
    Settle(usize),
    Refund(usize),
}

impl InRedis {
    pub(super) fn is_outstanding(self) -> bool {
        matches!(self, Self::Reserved { .. } | Self::Submitted)
    }

    pub(super) fn is_released(self) -> bool {
        matches!(self, Self::Expired | Self::Cancelled | Self::PaymentFailed)
    }
}

impl Order {
    pub(super) const NONE: Self = Self {
        redis: InRedis::Absent,
        sql: InSql::Absent,
        payment: Payment::None,
        stream: [None; 3],
        committed: 0,
    };

    pub(super) fn tell(&mut self, event: Event) {
        if let Some(free) = self.stream.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(event);
        }
    }

    /// Redis' answer to a successful payment: whichever decision came first stands.
    pub(super) fn confirm(&mut self) -> bool {
        if self.redis.is_outstanding() {
            self.redis = InRedis::Confirmed;
        }
        self.redis == InRedis::Confirmed
    }

    pub(super) fn fail(&mut self) {
        if self.redis.is_outstanding() {
            self.redis = InRedis::PaymentFailed;
        }
    }

    pub(super) fn deliver(&mut self) {
        let event = self.stream[usize::from(self.committed)];
        self.committed += 1;
        match (event, self.sql) {
            (Some(Event::Reserved), InSql::Absent) => self.sql = InSql::Reserved,
            (Some(Event::Submitted), InSql::Reserved) => self.payment = Payment::Requested,
            (Some(Event::Released), InSql::Reserved) => self.sql = InSql::Released,
            _ => {}
        }
    }

    /// What order-worker writes once Redis has answered.
    pub(super) fn settle(&mut self) {
        let succeeded = self.payment == Payment::Succeeded;
        self.payment = match succeeded && self.confirm() {
            true => {
                self.sql = InSql::Paid;
                Payment::Settled { charged: true }
            }
            false if succeeded => Payment::RefundRequested,
            _ => {
                self.fail();
                if self.redis == InRedis::PaymentFailed {
                    self.sql = InSql::Released;
                }
                Payment::Settled { charged: false }
            }
        };
    }

    pub(super) fn net_charges(self) -> u32 {
        u32::from(matches!(
            self.payment,
            Payment::Succeeded | Payment::Settled { charged: true } | Payment::RefundRequested
        ))
    }
}

/// What can happen next.
pub(super) fn possible(state: &State) -> Vec<Action> {
    let mut actions = vec![];
    let held = |buyer: usize| {
        state.iter().zip(BUYER_OF).any(|(order, of)| {
            of == buyer && (order.redis.is_outstanding() || order.redis == InRedis::Confirmed)
        })
    };
    let taken = state.iter().filter(|o| o.redis.is_outstanding() || o.redis == InRedis::Confirmed).count();
    if state.iter().any(|order| order.redis == InRedis::Reserved { past: true }) {
        actions.push(Action::Expire);
    }
    for (at, order) in state.iter().enumerate() {
        if order.redis == InRedis::Absent && taken < UNITS && !held(BUYER_OF[at]) {
            actions.push(Action::Reserve(at));
        }
        if let InRedis::Reserved { past } = order.redis {
            actions.push(Action::Cancel(at));
            if !past {
                actions.extend([Action::Submit(at), Action::DeadlinePasses(at)]);
            }
        }
        if order.redis == InRedis::Submitted {
            // The API refuses this, but a race with it may not.
            actions.push(Action::Cancel(at));
        }
        if usize::from(order.committed) < order.stream.iter().flatten().count() {
            actions.push(Action::Deliver(at));
        }
        match order.payment {
            Payment::Requested => actions.extend([Action::Charge(at), Action::Decline(at)]),
            Payment::Succeeded | Payment::Declined => {
                actions.push(Action::Settle(at));
                if order.redis.is_outstanding() {
                    actions.push(Action::AskAndDie(at));
                }
            }
            Payment::RefundRequested => actions.push(Action::Refund(at)),
            Payment::None | Payment::Settled { .. } | Payment::Refunded => {}
        }
    }
    actions
}

pub(super) fn after(state: &State, action: Action) -> State {
    let mut next = *state;
    match action {
        Action::Reserve(at) => {
            next[at].redis = InRedis::Reserved { past: false };
            next[at].tell(Event::Reserved);
        }
        Action::Submit(at) => {
            next[at].redis = InRedis::Submitted;
            next[at].tell(Event::Submitted);
        }
        Action::Cancel(at) => {
            next[at].redis = InRedis::Cancelled;
            next[at].tell(Event::Released);
        }
        Action::DeadlinePasses(at) => next[at].redis = InRedis::Reserved { past: true },
        Action::Expire => {
            for order in next.iter_mut().filter(|order| order.redis == InRedis::Reserved { past: true }) {
                order.redis = InRedis::Expired;
                order.tell(Event::Released);
            }
        }
        Action::Deliver(at) => next[at].deliver(),
        Action::Charge(at) => next[at].payment = Payment::Succeeded,
        Action::Decline(at) => next[at].payment = Payment::Declined,
        Action::AskAndDie(at) if next[at].payment == Payment::Succeeded => drop(next[at].confirm()),
        Action::AskAndDie(at) => next[at].fail(),
        Action::Settle(at) => next[at].settle(),
        Action::Refund(at) => next[at].payment = Payment::Refunded,
    }
    next
}
