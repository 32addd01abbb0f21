//! Every possible history of 2 units and 3 buyers, one of whom may try twice.
//!
//! This is an explicit-state model of an order's whole way. Redis decides, its stream is delivered (at least
//! once, and in order within an order), order-worker follows in SQL, the provider is charged, its outcome
//! comes back, and any process may die between any two steps. The test visits all reachable states and
//! asserts I1 to I6 in each of them. Where nothing more can happen, everything has to be final (I3), and
//! Redis and SQL have to agree (I7).
//!
//! We do not take the decisions of the model's Redis on trust: the test walks paths through the graph again,
//! on the real functions in a real Redis.

mod walker;
mod way;

use std::collections::{HashMap, VecDeque};

use rocketmart_stock::{LoadOutcome, SaleState};

use crate::support::{Sale, TEA, item, spec};
use walker::Walker;
use way::{Action, InRedis, InSql, Order, Payment, State, after, possible};

const UNITS: usize = 2;
/// Orders by buyer. The last is a second attempt of buyer 0, under a key of its own.
const BUYER_OF: [usize; 4] = [0, 1, 2, 0];
/// How many paths are walked on the real Redis.
const WALKED: usize = 120;

/// I1, I2, I4 and I5 in any state; I3 and I7 where nothing more can happen.
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
    // Fewer would mean that something became unreachable, and that we did not look at it.
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
    // The map's order is random from run to run, so we walk other paths each time.
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
