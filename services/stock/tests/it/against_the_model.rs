//! Plays random histories, of a sale with a window and of standing stock, to the real engine and to the
//! model. Every answer, all counters, and the events and reservations at the end must be the same.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, FileFailurePersistence};
use rocketmart_stock::{
    BuyerId, ItemSpec, Line, LoadOutcome, OrderId, PaymentDetails, ReleaseReason, Reservation, Reserve,
    ReserveOutcome, SaleSpec, SaleState, SubmitPayment,
};
use uuid::Uuid;

use crate::model::Model;
use crate::support::{CUP, Sale, TEA, fingerprint, item, now_ms, spec};

const BUYERS: u128 = 4;
const MAX_STEPS: usize = 60;
/// A grace that is not over for any deadline of this century.
const CENTURY: Duration = Duration::from_hours(100 * 365 * 24);

#[derive(Debug, Clone)]
enum Step {
    Reserve(Vec<Wish>),
    Prepare(Target, Details),
    Submit(Vec<(Target, Option<Details>)>),
    Confirm(Vec<Target>),
    Release(Vec<(Target, ReleaseReason)>),
    Decline(Vec<(Target, u32)>),
    Cancel(Target),
    Expire(usize, Duration),
    LetDeadlinePass(Target),
    SetState(SaleState),
    AddUnits(bool, u32),
    /// Standing stock only: the seller changes the price and how many there are.
    FollowCatalog(bool, u32, i64),
    RestartRedis,
}

/// Few buyers and keys, so that keys repeat, with the same body and with another.
#[derive(Debug, Clone)]
struct Wish {
    buyer: u128,
    key: u8,
    lines: Vec<(&'static str, u32, Option<i64>)>,
    reuses_order: Option<Index>,
}

/// One of the orders so far (or one that nobody has seen), requested by its buyer or by somebody else.
#[derive(Debug, Clone)]
struct Target {
    order: Index,
    by_owner: bool,
}

#[derive(Debug, Clone, Copy)]
struct Details {
    method: bool,
    address: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let target = || {
        (any::<Index>(), prop::bool::weighted(0.85)).prop_map(|(order, by_owner)| Target { order, by_owner })
    };
    let details = || any::<(bool, bool)>().prop_map(|(method, address)| Details { method, address });
    let reason = prop_oneof![
        Just(ReleaseReason::Expired),
        Just(ReleaseReason::Cancelled),
        Just(ReleaseReason::PaymentFailed)
    ];
    let line = (
        prop_oneof![6 => Just(TEA), 4 => Just(CUP), 1 => Just("gone")],
        prop_oneof![1 => Just(0_u32), 20 => 1..4_u32],
        prop_oneof![4 => Just(None), 6 => Just(Some(1_000)), 1 => Just(Some(900))],
    );
    let wish =
        (0..BUYERS, 0..6_u8, prop::collection::vec(line, 1..3), prop::option::weighted(0.03, any::<Index>()))
            .prop_map(|(buyer, key, lines, reuses_order)| Wish { buyer, key, lines, reuses_order });
    let step = prop_oneof![
        20 => prop::collection::vec(wish, 1..6).prop_map(Step::Reserve),
        5 => (target(), details()).prop_map(|(target, details)| Step::Prepare(target, details)),
        8 => prop::collection::vec((target(), prop::option::of(details())), 1..4).prop_map(Step::Submit),
        6 => prop::collection::vec(target(), 1..4).prop_map(Step::Confirm),
        6 => prop::collection::vec((target(), reason), 1..4).prop_map(Step::Release),
        6 => prop::collection::vec((target(), 1..4_u32), 1..4).prop_map(Step::Decline),
        4 => target().prop_map(Step::Cancel),
        4 => (1..4_usize, prop_oneof![Just(Duration::ZERO), Just(CENTURY)])
            .prop_map(|(limit, grace)| Step::Expire(limit, grace)),
        8 => target().prop_map(Step::LetDeadlinePass),
        3 => prop_oneof![4 => Just(SaleState::Ready), 2 => Just(SaleState::Suspended)].prop_map(Step::SetState),
        3 => (any::<bool>(), 1..4_u32).prop_map(|(tea, units)| Step::AddUnits(tea, units)),
        4 => (any::<bool>(), 0..14_u32, prop_oneof![3 => Just(1_000), 1 => Just(900)])
            .prop_map(|(tea, units, price)| Step::FollowCatalog(tea, units, price)),
        1 => Just(Step::RestartRedis),
    ];
    prop::collection::vec(step, 1..MAX_STEPS)
}

/// The engine and the model side by side.
struct Pair {
    sale: Sale,
    model: Model,
    orders_made: u128,
}

impl Pair {
    fn next_order(&mut self) -> OrderId {
        self.orders_made += 1;
        OrderId(Uuid::from_u128(self.orders_made))
    }

    fn item(&self, sku: &str) -> ItemSpec {
        self.model.spec.items.iter().find(|item| item.sku == sku).unwrap().clone()
    }

    fn order(&self, index: Index) -> OrderId {
        // One more than there are: nobody has that one.
        OrderId(Uuid::from_u128(1 + index.index(usize::try_from(self.orders_made).unwrap() + 1) as u128))
    }

    fn resolve(&self, target: &Target) -> (OrderId, BuyerId) {
        let order = self.order(target.order);
        let owner = self.model.reservations.get(&order).map(|reservation| reservation.buyer);
        let buyer = owner.filter(|_| target.by_owner).unwrap_or(BuyerId(Uuid::from_u128(99)));
        (order, buyer)
    }

    async fn play(&mut self, step: &Step) {
        match step {
            Step::Reserve(wishes) => self.reserve(wishes).await,
            Step::Prepare(target, details) => {
                let (order, buyer) = self.resolve(target);
                let found =
                    self.sale.stock.prepare_payment(self.sale.id(), order, buyer, details.ids()).await;
                assert_eq!(found, Ok(self.model.prepare(order, buyer, details.ids())));
            }
            Step::Submit(payments) => self.submit(payments).await,
            Step::Confirm(targets) => {
                let orders: Vec<_> = targets.iter().map(|target| self.order(target.order)).collect();
                let found = self.sale.stock.confirm(self.sale.id(), &orders).await;
                let expected: Vec<_> = orders.iter().map(|&order| self.model.confirm(order)).collect();
                assert_eq!(found, Ok(expected));
            }
            Step::Release(targets) => {
                let orders: Vec<_> =
                    targets.iter().map(|(target, reason)| (self.order(target.order), *reason)).collect();
                let found = self.sale.stock.release(self.sale.id(), &orders).await;
                let expected: Vec<_> =
                    orders.iter().map(|&(order, reason)| self.model.release(order, None, reason)).collect();
                assert_eq!(found, Ok(expected));
            }
            Step::Decline(targets) => {
                let payments: Vec<_> =
                    targets.iter().map(|(target, number)| (self.order(target.order), *number)).collect();
                let found = self.sale.stock.decline_payments(self.sale.id(), &payments).await;
                let expected: Vec<_> =
                    payments.iter().map(|&(order, number)| self.model.decline(order, number)).collect();
                assert_eq!(found, Ok(expected));
            }
            Step::Cancel(target) => {
                let (order, buyer) = self.resolve(target);
                let found = self.sale.stock.cancel(self.sale.id(), order, buyer).await;
                assert_eq!(found, Ok(self.model.release(order, Some(buyer), ReleaseReason::Cancelled)));
            }
            Step::Expire(limit, grace) => {
                let found = self.sale.stock.expire(self.sale.id(), *limit, *grace).await;
                assert_eq!(found, Ok(self.model.expire(*limit, *grace)));
            }
            Step::LetDeadlinePass(target) => {
                let order = self.order(target.order);
                if let Some(reservation) = self.model.reservations.get(&order) {
                    self.sale.let_deadline_pass(reservation).await;
                    self.model.let_deadline_pass(order);
                }
            }
            Step::SetState(state) => {
                self.sale.set_state(*state).await;
                self.model.state = *state;
            }
            Step::AddUnits(tea, units) => {
                self.model.spec.items[usize::from(*tea)].units += units;
                assert_eq!(self.sale.stock.load(&self.model.spec).await, Ok(LoadOutcome::Loaded));
            }
            Step::FollowCatalog(tea, units, price) => {
                if self.model.spec.closes_at_ms.is_none() {
                    let sku = if *tea { TEA } else { CUP };
                    let wanted = ItemSpec { units: *units, price: *price, ..self.item(sku) };
                    let partial = SaleSpec { items: vec![wanted], ..self.model.spec.clone() };
                    let found = self.sale.stock.load(&partial).await;
                    assert_eq!(found, Ok(self.model.follow_catalog(sku, *units, *price)));
                }
            }
            Step::RestartRedis => {
                self.sale.redis.restart().unwrap();
                while self.sale.stock.ping().await.is_err() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                self.sale.vouch().await;
            }
        }
    }

    async fn reserve(&mut self, wishes: &[Wish]) {
        let mut made = Vec::new();
        for wish in wishes {
            let fresh = self.next_order();
            let order = wish.reuses_order.map_or(fresh, |index| self.order(index));
            let line = |&(sku, quantity, agreed_price): &(&str, u32, Option<i64>)| Line {
                agreed_price,
                ..Line::new(sku, quantity)
            };
            let lines: Vec<_> = wish.lines.iter().map(line).collect();
            made.push(Reserve {
                sale: self.sale.id(),
                order,
                buyer: BuyerId(Uuid::from_u128(wish.buyer)),
                key: wish.key.to_string(),
                request_hash: fingerprint(&lines),
                lines,
                traceparent: None,
            });
        }
        let before = now_ms();
        let found = self.sale.stock.reserve(self.sale.id(), &made).await.unwrap();
        let now = found.iter().find_map(|outcome| match outcome {
            ReserveOutcome::Reserved(reservation) => Some(reservation.reserved_at_ms),
            _ => None,
        });
        assert!(now.is_none_or(|now| (before..=now_ms()).contains(&now)), "Redis' clock: {now:?}");
        let expected: Vec<_> =
            made.iter().map(|wish| self.model.reserve(now.unwrap_or_default(), wish)).collect();
        assert_eq!(found, expected);
    }

    async fn submit(&mut self, payments: &[(Target, Option<Details>)]) {
        let wishes: Vec<_> = payments
            .iter()
            .map(|(target, details)| {
                let (order, buyer) = self.resolve(target);
                let details = details.map(Details::ids);
                SubmitPayment { sale: self.sale.id(), order, buyer, details, traceparent: None }
            })
            .collect();
        let found = self.sale.stock.submit_payments(self.sale.id(), &wishes).await;
        let expected: Vec<_> =
            wishes.iter().map(|wish| self.model.submit(wish.order, wish.buyer, wish.details)).collect();
        assert_eq!(found, Ok(expected));
    }

    async fn assert_same_counters(&self) {
        let counters = self.sale.counters().await;
        assert_eq!(counters.items, self.model.counters());
        assert_eq!(counters.outstanding_reservations, self.model.outstanding());
        assert_eq!(counters.state, self.model.state);
        let named = self.sale.stock.counters_of(self.sale.id(), [TEA, "gone"]).await.unwrap().unwrap();
        assert!(named.items.iter().eq(counters.items.iter().filter(|item| item.sku == TEA)));
    }

    async fn assert_same_history(&self) {
        let entries = self.sale.stock.read_events(self.sale.id(), "0", 10_000, Duration::ZERO).await.unwrap();
        let events: Vec<_> = entries.into_iter().flat_map(|entry| entry.events).collect();
        let found: Vec<_> = events
            .iter()
            .map(|event| (event.event_type.as_str(), OrderId(event.key.parse().unwrap())))
            .collect();
        assert_eq!(found, self.model.events);
        let mut reservations: Vec<Reservation> = Vec::new();
        let mut cursor = 0;
        loop {
            let (next, page) = self.sale.stock.scan_reservations(self.sale.id(), cursor, 10).await.unwrap();
            reservations.extend(page);
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        reservations.sort_by_key(|reservation| reservation.order);
        reservations.dedup();
        assert!(reservations.iter().eq(self.model.reservations.values()));
    }
}

impl Details {
    fn ids(self) -> PaymentDetails {
        PaymentDetails {
            payment_method_id: self.method.then(|| Uuid::from_u128(1_001)),
            delivery_address_id: self.address.then(|| Uuid::from_u128(1_002)),
        }
    }
}

#[test]
fn the_engine_answers_as_the_model_does_whatever_happens() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sale = runtime.block_on(Sale::of_tea(1));
    let sale = std::cell::RefCell::new(Some(sale));
    let config = Config {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(96),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/it/against_the_model.regressions",
        ))),
        ..Config::default()
    };
    proptest!(config, |(steps in steps(), standing in any::<bool>())| {
        let mut spec = spec(vec![item(CUP, 6, None), item(TEA, 10, Some(4))]);
        if standing {
            spec.closes_at_ms = None;
        }
        // All cases share one Redis, and each has a sale of its own.
        let mut pair = Pair { sale: sale.take().unwrap(), model: Model::new(spec.clone()), orders_made: 0 };
        pair.sale.spec = spec;
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(async {
            assert_eq!(pair.sale.stock.load(&pair.sale.spec).await, Ok(LoadOutcome::Loaded));
            pair.sale.set_state(SaleState::Ready).await;
            for step in &steps {
                pair.play(step).await;
                pair.assert_same_counters().await;
            }
            pair.assert_same_history().await;
        })));
        sale.replace(Some(pair.sale));
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
}
