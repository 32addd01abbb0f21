//! Many buyers at once, through several replicas: the books balance, and nobody gets too much.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rocketmart_stock::{
    BuyerId, Coalescer, CoalescerLimits, OrderId, PaymentOutcome, ReleaseReason, ReserveOutcome, StockError,
};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::{Sale, TEA, a_buyer, item};

const REPLICAS: usize = 3;
const UNITS: u32 = 300;
const BUYERS: u128 = 400;
const LIMIT: u32 = 1;

/// Each buyer asks for more than the limit and repeats every request through another replica. Some cancel, so
/// that something comes back for those who already hold enough. Meanwhile nothing may ever be oversold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rush_through_several_replicas_sells_exactly_what_there_is() {
    let sale = Sale::of(vec![item(TEA, UNITS, Some(LIMIT))]).await;
    let replicas: Vec<_> = (0..REPLICAS)
        .map(|_| {
            let stock = sale.another_replica();
            let limits = CoalescerLimits { sold_out_for: Duration::from_millis(5), ..Default::default() };
            (stock.clone(), Coalescer::new(stock, limits))
        })
        .collect();
    let mut buyers = JoinSet::new();
    for number in 0..BUYERS {
        let buyer = BuyerId(Uuid::from_u128(number));
        let wishes: Vec<_> = (0..3).map(|n| sale.wish(buyer, &format!("key-{n}"), &[(TEA, 1)])).collect();
        let replicas = replicas.clone();
        let id = sale.id();
        buyers.spawn(async move {
            let mut orders: HashMap<OrderId, bool> = HashMap::new();
            for (n, wish) in wishes.into_iter().enumerate() {
                let at = usize::try_from(number).unwrap() + n;
                let (one, other) = (&replicas[at % REPLICAS], &replicas[(at + 1) % REPLICAS]);
                let (first, again) = tokio::join!(one.1.reserve(wish.clone()), other.1.reserve(wish));
                let mut accepted = HashSet::new();
                for outcome in [first.unwrap(), again.unwrap()] {
                    match outcome {
                        ReserveOutcome::Reserved(r) | ReserveOutcome::Duplicate(r) => {
                            accepted.insert(r.order);
                        }
                        ReserveOutcome::SoldOut { .. } | ReserveOutcome::LimitExceeded { .. } => {}
                        other => panic!("{other:?}"),
                    }
                }
                assert!(accepted.len() <= 1, "one key, one order");
                if let Some(&order) = accepted.iter().next() {
                    let cancelled = number % 5 == 0 && n == 0;
                    if cancelled {
                        one.0.cancel(id, order, buyer).await.unwrap();
                    }
                    orders.insert(order, cancelled);
                }
            }
            orders
        });
    }
    // Watch the books all the while.
    let watcher = {
        let (stock, id) = (sale.another_replica(), sale.id());
        tokio::spawn(async move {
            loop {
                let counters = stock.counters(id).await.unwrap().unwrap();
                counters.items.iter().for_each(crate::support::assert_balanced);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
    };
    let mut kept = 0;
    while let Some(orders) = buyers.join_next().await {
        let orders = orders.unwrap();
        let keeps = orders.values().filter(|cancelled| !**cancelled).count();
        assert!(keeps <= LIMIT as usize);
        kept += keeps;
    }
    assert!(!watcher.is_finished(), "the books never failed to balance");
    watcher.abort();

    // Units that were cancelled after the last buyer had asked are still there.
    let (remaining, reserved, sold) = sale.tea().await;
    assert_eq!((reserved as usize, sold), (kept, 0));
    assert_eq!(remaining + reserved, UNITS);
    assert_eq!(sale.counters().await.outstanding_reservations, kept as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rush_becomes_few_calls() {
    let sale = Sale::of_tea(2_000).await;
    let coalescer = Coalescer::new(sale.stock.clone(), CoalescerLimits::default());
    let mut buyers = JoinSet::new();
    for _ in 0..2_000 {
        let (coalescer, wish) = (coalescer.clone(), sale.wish(a_buyer(), "key", &[(TEA, 1)]));
        buyers.spawn(async move { coalescer.reserve(wish).await.unwrap() });
    }
    let outcomes = buyers.join_all().await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, ReserveOutcome::Reserved(_))));
    let calls = sale.counters().await.stream_length;
    assert!(calls < 500, "{calls} calls for 2,000 buyers");
}

#[tokio::test]
async fn submitted_payments_are_gathered_as_well() {
    let sale = Sale::of_tea(50).await;
    let coalescer = Coalescer::new(sale.stock.clone(), CoalescerLimits::default());
    let mut wishes = Vec::new();
    for _ in 0..50 {
        wishes.push(sale.payment(&sale.reserve_tea(a_buyer()).await));
    }
    let mut payments = JoinSet::new();
    for payment in wishes {
        let coalescer = coalescer.clone();
        payments.spawn(async move { coalescer.submit_payment(payment).await.unwrap() });
    }
    let outcomes = payments.join_all().await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, PaymentOutcome::Submitted(_))));
    let calls = sale.counters().await.stream_length - 50;
    assert!(calls < 25, "{calls} calls for 50 payments");
    assert_eq!(sale.expire(100).await, 0);
}

#[tokio::test]
async fn a_stuck_redis_fills_the_queue_and_then_callers_are_refused_at_once() {
    let sale = Sale::of_tea(50).await;
    let limits = CoalescerLimits { max_batch: 1, max_waiting: 1, ..CoalescerLimits::default() };
    let coalescer = Coalescer::new(sale.stock.clone(), limits);
    sale.redis.signal("STOP").unwrap();
    let mut callers = JoinSet::new();
    for _ in 0..10 {
        let (coalescer, wish) = (coalescer.clone(), sale.wish(a_buyer(), "key", &[(TEA, 1)]));
        callers.spawn(async move { coalescer.reserve(wish).await });
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    sale.redis.signal("CONT").unwrap();
    let outcomes = callers.join_all().await;
    let refused = outcomes.iter().filter(|outcome| **outcome == Err(StockError::Overloaded)).count();
    assert!(refused >= 8, "{outcomes:?}");
    let reserved = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(refused + reserved, 10);
}

#[tokio::test]
async fn a_wish_with_a_flaw_is_refused_before_it_waits() {
    let sale = Sale::of_tea(1).await;
    let coalescer = Coalescer::new(sale.stock.clone(), CoalescerLimits::default());
    let outcome = coalescer.reserve(sale.wish(a_buyer(), "", &[(TEA, 1)])).await.unwrap();
    assert!(matches!(outcome, ReserveOutcome::Invalid { field, .. } if field == "key"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_unit_given_back_in_a_rush_is_sold_to_somebody_else() {
    let sale = Sale::of_tea(20).await;
    let coalescer = Coalescer::new(sale.stock.clone(), CoalescerLimits::default());
    let elsewhere = sale.another_replica();
    let mut buyers = JoinSet::new();
    for number in 0..200 {
        let (coalescer, stock, id) = (coalescer.clone(), elsewhere.clone(), sale.id());
        let wish = sale.wish(a_buyer(), "key", &[(TEA, 1)]);
        // Nine out of ten take what they can get and give it back; 20 wait for a unit and pay.
        let stays = number >= 180;
        buyers.spawn(async move {
            loop {
                match coalescer.reserve(wish.clone()).await.unwrap() {
                    ReserveOutcome::Reserved(reservation) if stays => {
                        stock.confirm(id, &[reservation.order]).await.unwrap();
                        return;
                    }
                    ReserveOutcome::Reserved(reservation) => {
                        stock.release(id, &[(reservation.order, ReleaseReason::Cancelled)]).await.unwrap();
                        return;
                    }
                    ReserveOutcome::SoldOut { .. } if stays => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    ReserveOutcome::SoldOut { .. } => return,
                    other => panic!("{other:?}"),
                }
            }
        });
    }
    buyers.join_all().await;
    assert_eq!(sale.tea().await, (0, 0, 20));
}
