//! Every history there can be, for 2 units and 3 buyers, one of whom may try twice.
//!
//! An explicit-state model of the whole way of an order: Redis decides, its stream is delivered (at
//! least once, in order per order), order-worker follows in SQL, the provider is charged, its outcome
//! comes back, and any process may die between any two steps. All reachable states are visited, and I1
//! to I6 are asserted in each of them; where nothing can happen any more, everything has to be final
//! (I3) and Redis and SQL have to agree (I7).
//!
//! The decisions of the model's Redis are not taken on trust: paths through the graph are walked again
//! on the real functions in a real Redis.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rocketmart_stock::{
    BuyerId, ConfirmOutcome, LoadOutcome, OrderId, PaymentDetails, PaymentOutcome, ReleaseOutcome,
    ReleaseReason, Reservation, ReserveOutcome, SaleState, SubmitPayment,
};
use uuid::Uuid;

use crate::support::{Sale, TEA, item, spec, wish};

const UNITS: usize = 2;
/// Orders by buyer: the last is a second attempt of buyer 0, under a key of its own.
const BUYER_OF: [usize; 4] = [0, 1, 2, 0];
/// Longer than a walk: the model does not let a submitted payment expire.
const GRACE: Duration = Duration::from_hours(1);
/// Paths that are walked on the real Redis.
const WALKED: usize = 120;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum InRedis {
    Absent,
    Reserved { past: bool },
    Submitted,
    Confirmed,
    Expired,
    Cancelled,
    PaymentFailed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum InSql {
    Absent,
    Reserved,
    Paid,
    Released,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Payment {
    None,
    /// order-worker has asked for the money.
    Requested,
    /// The outcome is on its way; a charge is at the provider.
    Succeeded,
    Declined,
    /// order-worker has heard.
    Settled {
        charged: bool,
    },
    RefundRequested,
    Refunded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Event {
    Reserved,
    Submitted,
    Released,
}

/// One order everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Order {
    redis: InRedis,
    sql: InSql,
    payment: Payment,
    /// What Redis has told about it, and how much of that SQL has committed.
    stream: [Option<Event>; 3],
    committed: u8,
}

type State = [Order; BUYER_OF.len()];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Reserve(usize),
    Submit(usize),
    Cancel(usize),
    DeadlinePasses(usize),
    Expire,
    /// SQL commits the next event of an order.
    Deliver(usize),
    Charge(usize),
    Decline(usize),
    /// order-worker asks Redis about a payment's outcome, and dies before it writes SQL.
    AskAndDie(usize),
    /// The same, and it lives.
    Settle(usize),
    Refund(usize),
}

impl InRedis {
    fn is_outstanding(self) -> bool {
        matches!(self, Self::Reserved { .. } | Self::Submitted)
    }

    fn is_released(self) -> bool {
        matches!(self, Self::Expired | Self::Cancelled | Self::PaymentFailed)
    }
}

impl Order {
    const NONE: Self = Self {
        redis: InRedis::Absent,
        sql: InSql::Absent,
        payment: Payment::None,
        stream: [None; 3],
        committed: 0,
    };

    fn tell(&mut self, event: Event) {
        if let Some(free) = self.stream.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(event);
        }
    }

    /// Redis' answer to a success: whichever decision was first stands.
    fn confirm(&mut self) -> bool {
        if self.redis.is_outstanding() {
            self.redis = InRedis::Confirmed;
        }
        self.redis == InRedis::Confirmed
    }

    fn fail(&mut self) {
        if self.redis.is_outstanding() {
            self.redis = InRedis::PaymentFailed;
        }
    }

    fn deliver(&mut self) {
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
    fn settle(&mut self) {
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

    fn net_charges(self) -> u32 {
        u32::from(matches!(
            self.payment,
            Payment::Succeeded | Payment::Settled { charged: true } | Payment::RefundRequested
        ))
    }
}

/// What can happen next.
fn possible(state: &State) -> Vec<Action> {
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
            // The API refuses this, a race with it may not.
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

fn after(state: &State, action: Action) -> State {
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

/// I1, I2, I4 and I5 in any state; I3 and I7 where nothing can happen any more.
fn assert_sound(state: &State, is_last: bool) {
    let redis = |wanted: fn(InRedis) -> bool| state.iter().filter(|order| wanted(order.redis)).count();
    let sold = redis(|found| found == InRedis::Confirmed);
    let reserved = redis(InRedis::is_outstanding);
    assert!(sold + reserved <= UNITS, "I1, I2: {state:?}");
    let paid = state.iter().filter(|order| order.sql == InSql::Paid).count();
    assert!(paid <= UNITS, "I2 in SQL: {state:?}");
    for (at, order) in state.iter().enumerate() {
        assert!(
            order.sql != InSql::Paid || order.redis == InRedis::Confirmed,
            "I4: paid and not sold: {state:?}"
        );
        assert!(order.sql != InSql::Paid || order.net_charges() == 1, "I4: paid and not charged: {state:?}");
        let of_buyer = state.iter().zip(BUYER_OF).filter(|(_, buyer)| *buyer == BUYER_OF[at]);
        let held =
            of_buyer.filter(|(o, _)| o.redis.is_outstanding() || o.redis == InRedis::Confirmed).count();
        assert!(held <= 1, "I5: {state:?}");
        if is_last && order.redis != InRedis::Absent {
            let agree = match order.sql {
                InSql::Paid => order.redis == InRedis::Confirmed && order.net_charges() == 1,
                InSql::Released => order.redis.is_released() && order.net_charges() == 0,
                InSql::Absent | InSql::Reserved => false,
            };
            assert!(agree, "I3, I4, I7: nothing can happen any more to {order:?} in {state:?}");
        }
    }
}

/// All reachable states, each with how it was first reached.
fn explored() -> HashMap<State, Option<(State, Action)>> {
    let start: State = [Order::NONE; BUYER_OF.len()];
    let mut reached: HashMap<State, Option<(State, Action)>> = HashMap::from([(start, None)]);
    let mut open = VecDeque::from([start]);
    while let Some(state) = open.pop_front() {
        let actions = possible(&state);
        let can_end = !actions.iter().any(|action| !matches!(action, Action::Reserve(_)));
        assert_sound(&state, can_end);
        for action in actions {
            let next = after(&state, action);
            reached.entry(next).or_insert_with(|| {
                open.push_back(next);
                Some((state, action))
            });
        }
    }
    reached
}

#[test]
fn no_history_of_two_units_and_three_buyers_breaks_an_invariant() {
    let reached = explored();
    // Fewer would mean that something has become unreachable, and was not looked at.
    assert!(reached.len() > 50_000, "{} states", reached.len());
    let seen = |wanted: fn(&Order) -> bool| reached.keys().flatten().any(wanted);
    assert!(seen(|order| order.payment == Payment::Refunded), "a late success is refunded");
    assert!(seen(|order| order.sql == InSql::Paid));
    assert!(seen(|order| order.redis == InRedis::Expired && order.sql == InSql::Released));
}

#[tokio::test]
async fn the_functions_in_redis_decide_along_these_histories_as_the_model_does() {
    let reached = explored();
    let mut ends: Vec<&State> = reached.keys().filter(|state| possible(state).len() <= 2).collect();
    // The map's order is random from run to run, so other paths are walked each time.
    ends.truncate(WALKED);
    let mut sale = Sale::of_tea(1).await;
    for end in ends {
        let mut path = Vec::new();
        let mut at = *end;
        while let Some(Some((before, action))) = reached.get(&at) {
            path.push((*before, *action, at));
            at = *before;
        }
        path.reverse();
        sale.spec = spec(vec![item(TEA, 2, Some(1))]);
        assert_eq!(sale.stock.load(&sale.spec).await, Ok(LoadOutcome::Loaded));
        sale.set_state(SaleState::Ready).await;
        let mut walker = Walker { sale: &sale, reservations: HashMap::new() };
        for (before, action, after) in &path {
            walker.step(before, *action).await;
            walker.compare(after, &path).await;
        }
    }
}

struct Walker<'a> {
    sale: &'a Sale,
    reservations: HashMap<usize, Reservation>,
}

fn buyer(at: usize) -> BuyerId {
    BuyerId(Uuid::from_u128(1 + BUYER_OF[at] as u128))
}

impl Walker<'_> {
    fn order(&self, at: usize) -> OrderId {
        self.reservations[&at].order
    }

    async fn step(&mut self, before: &State, action: Action) {
        let (stock, id) = (&self.sale.stock, self.sale.id());
        match action {
            Action::Reserve(at) => {
                let wanted = wish(id, buyer(at), &format!("key-{at}"), &[(TEA, 1)]);
                let found = self.sale.decide(&wanted).await;
                let ReserveOutcome::Reserved(reservation) = found else { panic!("{found:?}") };
                self.reservations.insert(at, reservation);
                // I6: the same key gives the same order, another body is an error.
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

    async fn compare(&self, state: &State, path: &[(State, Action, State)]) {
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
